//! Scale: many addresses, many routers; what they cost beside keepalived.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use netns_tests::gate::{Gate, Subject};
use netns_tests::lan::Cut;
use netns_tests::ownership::Ownership;
use netns_tests::pair::{FrontPair, PATIENCE, VRID};
use netns_tests::plan::{Plan, Vip};
use netns_tests::report::{Table, ms};
use netns_tests::wait::{pass, try_until};

const ROUNDS: usize = 3;
/// A round of keepalived with 200 routers takes up to a minute.
const KEEPALIVEDS_WITH_MANY: usize = 1;
/// What many may take beside one.
const RATIO: f64 = 1.2;
/// Two measurements of the same thing on two busy cores.
const NOISE: Duration = Duration::from_millis(20);
/// For how long processor time is counted.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Single,
    EightyAddresses,
    TwoHundredRouters,
}

impl Size {
    const ALL: [Self; 3] = [Self::Single, Self::EightyAddresses, Self::TwoHundredRouters];

    /// Routers, and addresses of each.
    fn counts(self) -> (u8, u8) {
        match self {
            Self::Single => (1, 1),
            Self::EightyAddresses => (1, 80),
            Self::TwoHundredRouters => (200, 1),
        }
    }

    fn apply(self, plan: &mut Plan) {
        let (routers, each) = self.counts();
        plan.services.clear();
        let first = plan.routers[0].clone();
        plan.routers = (0..routers)
            .map(|i| {
                let mut router = first.clone();
                router.name = format!("router-{i}");
                router.vrid = vrid(i);
                router.addresses = (0..each).map(|j| vip(address(i, j))).collect();
                router
            })
            .collect();
    }

    /// Every address, with the VRID of its router.
    fn addresses(self) -> Vec<(u8, IpAddr)> {
        let (routers, each) = self.counts();
        (0..routers).flat_map(|i| (0..each).map(move |j| (vrid(i), address(i, j)))).collect()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "one router, one address",
            Self::EightyAddresses => "one router, 80 addresses",
            Self::TwoHundredRouters => "200 routers",
        })
    }
}

/// From 1 on, so that 200 fit.
fn vrid(router: u8) -> u8 {
    (VRID - 1 + router) % 255 + 1
}

fn address(router: u8, index: u8) -> IpAddr {
    Ipv4Addr::new(172, 20, router, 1 + index).into()
}

fn vip(address: IpAddr) -> Vip {
    Vip { address: format!("{address}/32"), interface: "eth1".to_owned(), label: None }
}

/// What one size costs one subject.
struct Cost {
    /// From the last advert of a router to the arrival of the last of its addresses; the worst router, the median round.
    takeover: Duration,
    /// `Duration::MAX` where something never arrived, or never came back.
    rounds: Vec<Duration>,
    /// Processor time a second, of the master and of the backup.
    processor: [Duration; 2],
    /// Resident memory of all processes, of the master and of the backup.
    resident: [u64; 2],
}

#[test]
fn many_addresses_and_many_routers_move_as_fast_as_one() {
    let mut table = Table::new(
        "scale, adverts every 100 ms: from a router's last advert to the arrival of its last address, link cut",
        &["size", "subject", "rounds", "median", "of single", "CPU master", "CPU backup", "memory master", "backup"],
    );
    let mut broken = Vec::new();
    let mut single = [Duration::ZERO; 2];
    for size in Size::ALL {
        for (who, subject) in [Subject::Toml, Subject::Daemons].into_iter().enumerate() {
            let Some(pair) = FrontPair::build(&format!("scale: {size}"), subject) else { return };
            let cost = measure(&mut pair.with(|plan| size.apply(plan)), size);
            if size == Size::Single {
                single[who] = cost.takeover;
            }
            let ratio = cost.takeover.as_secs_f64() / single[who].as_secs_f64();
            let rounds: Vec<String> = cost.rounds.iter().map(|&round| span(round)).collect();
            table.row(&[
                &size.to_string(),
                if subject == Subject::Daemons { "keepalived" } else { "vipgate" },
                &rounds.join(" / "),
                &span(cost.takeover),
                &if cost.takeover == Duration::MAX { "-".to_owned() } else { format!("{ratio:.2}") },
                &percent(cost.processor[0]),
                &percent(cost.processor[1]),
                &mib(cost.resident[0]),
                &mib(cost.resident[1]),
            ]);
            if subject != Subject::Daemons && cost.takeover > single[who].mul_f64(RATIO) + NOISE {
                broken.push(format!("{size}: {}, one alone {}", span(cost.takeover), ms(single[who])));
            }
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn measure(pair: &mut FrontPair, size: Size) -> Cost {
    let addresses = size.addresses();
    let only: Vec<IpAddr> = addresses.iter().map(|&(_, address)| address).collect();
    pair.ownership = Ownership::watch(&[&pair.nodes[0], &pair.nodes[1]], &only);
    for which in [0, 1] {
        let (node, plan) = (&pair.nodes[which], &pair.plans[which]);
        pair.gates[which] = Some(match pair.subject {
            Subject::Daemons => Gate::keepalived_alone(node, plan),
            subject => Gate::start(node, subject, plan),
        });
        if which == 0 {
            settle(pair, &only);
        }
    }
    pair.wait_standby();
    settle(pair, &only);
    let used = || [0, 1].map(|which| pair.gate(which).main().cpu_time());
    let before = used();
    pass(QUIET);
    let after = used();
    let processor = [0, 1].map(|which: usize| (after[which] - before[which]).div_f64(QUIET.as_secs_f64()));
    let resident = [0, 1].map(|which| pair.gate(which).main().resident());
    let is_slow = (pair.subject, size) == (Subject::Daemons, Size::TwoHundredRouters);
    let count = if is_slow { KEEPALIVEDS_WITH_MANY } else { ROUNDS };
    let rounds: Vec<Duration> = (0..count).map(|_| round(pair, &addresses, &only)).collect();
    let mut sorted = rounds.clone();
    sorted.sort_unstable();
    Cost { takeover: sorted[count / 2], rounds, processor, resident }
}

/// Cuts the master's link, waits for every address to be at the other node, mends the link.
fn round(pair: &FrontPair, addresses: &[(u8, IpAddr)], only: &[IpAddr]) -> Duration {
    let begun = Instant::now();
    pair.front[0].cut(Cut::Silent);
    let cut = Instant::now();
    let arrived = try_until(patience(pair), || {
        let arrived = pair.ownership.all_gained(&pair.nodes[1], begun);
        only.iter().all(|address| arrived.contains_key(address)).then_some(arrived)
    });
    // An advert sent while the link was being cut may pass for heard; that shortens few routers' time, and the worst
    // counts.
    let one = |(vrid, address): &(u8, IpAddr)| {
        let last = pair.adverts.between(*vrid, begun - PATIENCE, cut).pop()?;
        Some(arrived.as_ref()?.get(address)?.saturating_duration_since(last.at))
    };
    let worst = addresses.iter().map(|address| one(address).unwrap_or(Duration::MAX)).max();
    pair.front[0].restore();
    let back = settle(pair, only);
    pair.wait_standby();
    if back { worst.unwrap_or(Duration::MAX) } else { Duration::MAX }
}

/// Waits until the first node has every address alone. What the peer cannot do is for the table to say.
#[track_caller]
fn settle(pair: &FrontPair, only: &[IpAddr]) -> bool {
    let wanted = only.iter().copied().collect();
    let name = pair.nodes[0].name();
    let settled =
        try_until(patience(pair), || pair.ownership.all_at(name).is_superset(&wanted).then_some(())).is_some();
    assert!(settled || pair.subject == Subject::Daemons, "{name} does not get every address back");
    settled
}

/// keepalived with 200 routers may never settle.
fn patience(pair: &FrontPair) -> Duration {
    if pair.subject == Subject::Daemons { PATIENCE / 4 } else { PATIENCE }
}

fn span(span: Duration) -> String {
    if span == Duration::MAX { "never".to_owned() } else { ms(span) }
}

fn percent(a_second: Duration) -> String {
    format!("{:.1} %", a_second.as_secs_f64() * 100.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
