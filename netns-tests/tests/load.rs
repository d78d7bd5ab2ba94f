//! Real load: adverts of many routers while traffic and a hog have every core.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use netns_tests::adverts::by_source;
use netns_tests::gate::{Gate, Subject};
use netns_tests::load::{Busy, Carried, Load};
use netns_tests::ownership::Ownership;
use netns_tests::pair::{FrontPair, PATIENCE, VIP, VRID};
use netns_tests::pauses::{Pauses, STOOD_STILL};
use netns_tests::plan::{Plan, Vip};
use netns_tests::report::{Table, line, ms};
use netns_tests::wait::{pass, until_true};

const ROUTERS: u8 = 20;
const INTERVAL: Duration = Duration::from_millis(100);
/// Half an interval late, one time in a thousand.
const BOUND: Duration = Duration::from_millis(150);
const GATES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 168, 56, 101)), IpAddr::V4(Ipv4Addr::new(192, 168, 56, 102))];

/// How long each subject is under load: `VIPGATE_SOAK` in seconds (`make soak`), or short.
fn span() -> Duration {
    let seconds = std::env::var("VIPGATE_SOAK").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(12))
}

#[test]
fn adverts_are_on_time_while_every_core_is_busy() {
    let title = format!(
        "{ROUTERS} routers of two nodes, adverts every {}, for {} s of load: spacing of adverts",
        ms(INTERVAL),
        span().as_secs()
    );
    let mut table = Table::new(
        &title,
        &[
            "subject",
            "cores busy",
            "connections",
            "MiB echoed",
            "adverts",
            "median",
            "p99",
            "p99.9",
            "without pauses",
            "longest",
            "false takeovers",
        ],
    );
    let mut broken = Vec::new();
    for subject in [Subject::Toml, Subject::Daemons] {
        let Some(mut measured) = measure(subject) else { return };
        if !measured.faults().is_empty() && measured.paused >= STOOD_STILL {
            table.row(&measured.cells().each_ref().map(String::as_str));
            line(&format!("{subject}: the machine paused for {} at a time; once more", ms(measured.paused)));
            let Some(again) = measure(subject) else { return };
            measured = again;
        }
        table.row(&measured.cells().each_ref().map(String::as_str));
        broken.extend(measured.faults().into_iter().map(|fault| format!("{subject}: {fault}")));
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// None: it cannot be done here.
fn measure(subject: Subject) -> Option<Measured> {
    let pair = FrontPair::build("adverts under load", subject)?;
    let mut pair = pair.every(INTERVAL).with(add_routers);
    share_out(&mut pair);
    pair.ownership = Ownership::watch(&[&pair.nodes[0], &pair.nodes[1]], &addresses());
    pair.start_gate(0);
    pair.start_gate(1);
    until_true("each router to be at its first choice", PATIENCE, || settled(&pair));
    pair.wait_serving();
    pair.wait_standby();

    let said = [0, 1].map(|which| pair.gate(which).log().lines().count());
    let pauses = Pauses::watch();
    let load = Load::start(&pair.client, &pair.targets(), 4, &pair.nodes);
    let busy = Busy::watch();
    let begun = Instant::now();
    pass(span());
    let ended = Instant::now();
    let done = (busy.share(), load.carried());
    drop(load);
    let mut measured = Measured::of(&pair, &pauses, [begun, ended], done);
    if measured.takeovers > 0 {
        measured.words = [0, 1].into_iter().flat_map(|which| words(pair.gate(which), said[which])).collect();
    }
    Some(measured)
}

/// What a node said of its roles after so many lines, and how late it woke at worst.
fn words(gate: &Gate, said: usize) -> Vec<String> {
    let late = gate.status().map(|status| status["process"]["late_wakes"]["max_seconds"].clone());
    let log = gate.log();
    let changes = log.lines().skip(said).filter(|line| line.contains("role changed")).map(str::to_owned);
    changes.chain([format!("the latest wake-up in its life, in seconds: {late:?}")]).collect()
}

/// Spacings of all routers' adverts, and what moved.
struct Measured {
    subject: Subject,
    /// The share of the cores' time that was used.
    busy: f64,
    carried: Carried,
    /// The machine's longest pause.
    paused: Duration,
    /// As seen, and without the machine's pauses.
    spacings: Vec<[Duration; 2]>,
    takeovers: usize,
    /// What both nodes said, if something moved.
    words: Vec<String>,
}

impl Measured {
    fn of(pair: &FrontPair, pauses: &Pauses, [from, to]: [Instant; 2], (busy, carried): (f64, Carried)) -> Self {
        let mut spacings = Vec::new();
        // An address that moved is gained by somebody; a router of two masters need not have moved one.
        let mut takeovers = pair.ownership.events().iter().filter(|event| event.at > from && event.owned).count();
        for router in 0..ROUTERS {
            let adverts = pair.adverts.between(VRID + router, from, to);
            let masters = by_source(&adverts);
            takeovers = takeovers.max(masters.len().saturating_sub(1));
            let home = GATES[usize::from(router % 2)];
            let times: Vec<Instant> =
                adverts.iter().filter(|advert| advert.source == home).map(|advert| advert.at).collect();
            spacings.extend(times.windows(2).map(|pair| {
                let seen = pair[1] - pair[0];
                [seen, seen.saturating_sub(pauses.within(pair[0], pair[1]))]
            }));
        }
        let paused = pauses.longest(from, to);
        Self { subject: pair.subject, busy, carried, paused, spacings, takeovers, words: Vec::new() }
    }

    fn cells(&self) -> [String; 11] {
        let at = |thousandth| ms(self.seen(thousandth));
        [
            self.subject.to_string(),
            format!("{:.0} %", self.busy * 100.0),
            self.carried.connections.to_string(),
            (self.carried.bytes >> 20).to_string(),
            self.spacings.len().to_string(),
            at(500),
            at(990),
            at(999),
            ms(self.own(999)),
            at(1000),
            self.takeovers.to_string(),
        ]
    }

    /// What is not as promised. What the peer cannot do is for the table to say.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.busy <= 0.95 {
            faults.push(format!("the cores were {:.2} busy: no load", self.busy));
        }
        if self.carried.connections == 0 {
            faults.push("no traffic".to_owned());
        }
        if self.subject != Subject::Daemons {
            let p999 = self.own(999);
            if p999 > BOUND {
                faults.push(format!("one advert in a thousand is {p999:?} after the one before"));
            }
            if self.takeovers > 0 {
                faults.push(format!(
                    "{} false takeovers; adverts up to {} apart, {} without the machine's pauses, of which the longest took {}\n{}",
                    self.takeovers,
                    ms(self.seen(1000)),
                    ms(self.own(1000)),
                    ms(self.paused),
                    self.words.join("\n")
                ));
            }
        }
        faults
    }

    fn seen(&self, thousandth: usize) -> Duration {
        quantile(self.spacings.iter().map(|&[seen, _]| seen).collect(), thousandth)
    }

    fn own(&self, thousandth: usize) -> Duration {
        quantile(self.spacings.iter().map(|&[_, own]| own).collect(), thousandth)
    }
}

/// The spacing that `thousandth` in a thousand do not exceed; for ever if there is none.
fn quantile(mut spacings: Vec<Duration>, thousandth: usize) -> Duration {
    spacings.sort_unstable();
    let rank = (spacings.len() * thousandth).div_ceil(1000);
    spacings.get(rank.saturating_sub(1)).copied().unwrap_or(Duration::MAX)
}

fn addresses() -> Vec<IpAddr> {
    (0..ROUTERS).map(|i| if i == 0 { VIP } else { Ipv4Addr::new(192, 168, 56, 200 + i).into() }).collect()
}

fn add_routers(plan: &mut Plan) {
    let first = plan.routers[0].clone();
    for (i, address) in (0..ROUTERS).zip(addresses()).skip(1) {
        let mut router = first.clone();
        router.name = format!("router-{i}");
        router.vrid = VRID + i;
        router.addresses = vec![Vip { address: format!("{address}/24"), interface: "eth1".to_owned(), label: None }];
        plan.routers.push(router);
    }
}

/// Each node is the first choice for every other router.
fn share_out(pair: &mut FrontPair) {
    for (which, plan) in pair.plans.iter_mut().enumerate() {
        for (i, router) in plan.routers.iter_mut().enumerate() {
            router.priority = if i % 2 == which { 150 } else { 100 };
        }
    }
}

fn settled(pair: &FrontPair) -> bool {
    addresses().into_iter().enumerate().all(|(i, address)| pair.ownership.owners(address) == [pair.nodes[i % 2].name()])
}
