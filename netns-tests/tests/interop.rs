//! Beside Debian's keepalived: as its master and as its backup, in every dialect.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netns_tests::adverts::by_source;
use netns_tests::gate::{Gate, Subject};
use netns_tests::lab::Lab;
use netns_tests::lan::Cut;
use netns_tests::pair::{FrontPair, PATIENCE, VIP, VIP6, VRID};
use netns_tests::plan::{Plan, Vip};
use netns_tests::report::{Table, ms};
use netns_tests::wait::{pass, until_true};

/// What two busy cores may add to a bound that the protocol gives.
const SLACK: Duration = Duration::from_millis(100);

/// How the two speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Version2,
    Version2Password,
    Version3,
    Version3Ipv6,
    Version3Unicast,
    /// `state BACKUP` and priority 255 on both, as one of the published guides has it.
    Owners,
}

impl Dialect {
    const ALL: [Self; 6] = [
        Self::Version2,
        Self::Version2Password,
        Self::Version3,
        Self::Version3Ipv6,
        Self::Version3Unicast,
        Self::Owners,
    ];

    fn apply(self, pair: &mut FrontPair) {
        for (which, plan) in pair.plans.iter_mut().enumerate() {
            let router = &mut plan.routers[0];
            match self {
                Self::Version2 => {
                    router.version = 2;
                    router.interval = Duration::from_secs(1);
                }
                Self::Version2Password => {
                    router.version = 2;
                    router.interval = Duration::from_secs(1);
                    router.password = Some("12345".to_owned());
                }
                Self::Version3 => {}
                Self::Version3Ipv6 => {
                    router.addresses = ["fe80::100/64", "fd00:56::100/64"].map(vip6).into();
                    plan.services[0].address = VIP6.to_string();
                }
                Self::Version3Unicast => {
                    router.source = Some(front_address(which));
                    router.peers = vec![front_address(1 - which)];
                }
                Self::Owners => router.priority = 255,
            }
        }
    }

    fn address(self) -> IpAddr {
        if self == Self::Version3Ipv6 { VIP6 } else { VIP }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Version2 => "v2, 1 s",
            Self::Version2Password => "v2 PASS, 1 s",
            Self::Version3 => "v3, 100 ms",
            Self::Version3Ipv6 => "v3 IPv6, 100 ms",
            Self::Version3Unicast => "v3 unicast, 100 ms",
            Self::Owners => "v3, 255 on both, 100 ms",
        })
    }
}

fn vip6(address: &str) -> Vip {
    Vip { address: address.to_owned(), interface: "eth1".to_owned(), label: None }
}

fn front_address(which: usize) -> IpAddr {
    if which == 0 { [192, 168, 56, 101].into() } else { [192, 168, 56, 102].into() }
}

#[test]
fn keepalived_is_master_and_vipgate_its_backup() {
    all_dialects("keepalived master, vipgate backup", [None, Some(Subject::Toml)]);
}

#[test]
fn vipgate_is_master_and_keepalived_its_backup() {
    all_dialects("vipgate master, keepalived backup", [Some(Subject::Toml), None]);
}

/// What the partner does with itself: the baseline, and the proof of the instruments.
#[test]
fn keepalived_with_itself() {
    all_dialects("keepalived on both", [None, None]);
}

/// `who`: what stands on each node; none is keepalived.
fn all_dialects(title: &str, who: [Option<Subject>; 2]) {
    let mut table = Table::new(
        &format!("{title}: the address is elsewhere after"),
        &["dialect", "stop", "bound", "back", "link cut", "bound", "two owners after repair"],
    );
    for dialect in Dialect::ALL {
        let Some(lab) = Lab::for_test(&format!("{title}: {dialect}")) else { return };
        let mut pair = FrontPair::build_in(lab, Subject::Toml);
        dialect.apply(&mut pair);
        row(&mut table, &mut pair, dialect, who);
    }
    table.print();
}

fn row(table: &mut Table, pair: &mut FrontPair, dialect: Dialect, who: [Option<Subject>; 2]) {
    let vip = dialect.address();
    let equal = dialect == Dialect::Owners;
    let start = |pair: &mut FrontPair, which: usize| {
        pair.gates[which] = Some(start_one(pair, which, who[which]));
    };
    start(pair, 0);
    owned_by(pair, 0, vip);
    start(pair, 1);
    pair.wait_standby();
    owned_by(pair, 0, vip);
    let quiet = pair.adverts.since(VRID, Instant::now() - 3 * pair.interval());
    assert_eq!(by_source(&quiet).len(), 1, "{dialect}: two masters: {quiet:?}");

    // A stop: priority 0 is heard, the backup waits its skew.
    let begun = Instant::now();
    pair.gate(0).terminate();
    let stopped = taken_over(pair, 1, vip, begun);
    let stop_bound = pair.skew(1) + SLACK;
    pair.gate(0).wait_end();
    owned_by(pair, 1, vip);

    // Back: a higher priority takes over, an equal one stays behind.
    let begun = Instant::now();
    start(pair, 0);
    let back = if equal {
        pass(6 * pair.interval());
        "stays".to_owned()
    } else {
        ms(taken_over(pair, 0, vip, begun))
    };
    let owner = usize::from(equal);
    owned_by(pair, owner, vip);
    pair.wait_standby();

    // The link fails silently: the backup waits the master-down interval.
    let successor = 1 - owner;
    let begun = Instant::now();
    pair.front[owner].cut(Cut::Silent);
    let cut = taken_over(pair, successor, vip, begun);
    let cut_bound = pair.master_down(successor) + SLACK;
    let mended = Instant::now();
    pair.front[owner].restore();
    let both = until_one_owner(pair, vip, mended);

    table.row(&[&dialect.to_string(), &ms(stopped), &ms(stop_bound), &back, &ms(cut), &ms(cut_bound), &ms(both)]);
    assert!(stopped <= stop_bound, "{dialect}: stop: {stopped:?} > {stop_bound:?}");
    assert!(cut <= cut_bound, "{dialect}: cut: {cut:?} > {cut_bound:?}");
    assert!(both <= pair.interval() + SLACK, "{dialect}: two owners for {both:?} after the repair");
}

fn start_one(pair: &FrontPair, which: usize, who: Option<Subject>) -> Gate {
    let (node, plan): (_, &Plan) = (&pair.nodes[which], &pair.plans[which]);
    match who {
        Some(subject) => Gate::start(node, subject, plan),
        None => Gate::keepalived_alone(node, plan),
    }
}

#[track_caller]
fn owned_by(pair: &FrontPair, which: usize, vip: IpAddr) {
    until_true(format_args!("{} alone to own {vip}", pair.nodes[which].name()), PATIENCE, || {
        pair.nodes[which].address(vip).is_some() && pair.nodes[1 - which].address(vip).is_none()
    });
}

/// How long after `begun` the node got the address.
#[track_caller]
fn taken_over(pair: &FrontPair, which: usize, vip: IpAddr, begun: Instant) -> Duration {
    let mut at = None;
    until_true(format_args!("{} to take {vip} over", pair.nodes[which].name()), PATIENCE, || {
        at = pair.ownership.gained(&pair.nodes[which], vip, begun);
        at.is_some()
    });
    at.map_or(Duration::ZERO, |at| at - begun)
}

#[track_caller]
fn until_one_owner(pair: &FrontPair, vip: IpAddr, since: Instant) -> Duration {
    until_true(format_args!("one owner of {vip}"), PATIENCE, || pair.ownership.owners(vip).len() == 1);
    pair.ownership.spread(vip, since, Instant::now()).several
}
