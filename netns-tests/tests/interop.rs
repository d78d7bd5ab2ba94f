//! Beside Debian's keepalived: as its master and as its backup, in every dialect, with the time each takeover takes.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use netns_tests::adverts::by_source;
use netns_tests::gate::{Gate, Subject};
use netns_tests::lab::Lab;
use netns_tests::lan::Cut;
use netns_tests::ownership::Ownership;
use netns_tests::pair::{FrontPair, PATIENCE, VIP, VIP6, VRID};
use netns_tests::pauses::{Pauses, STOOD_STILL};
use netns_tests::plan::{Plan, Vip};
use netns_tests::report::{Table, line, ms};
use netns_tests::wait::{pass, try_until};

/// What two busy cores may add to a bound that the protocol gives.
const SLACK: Duration = Duration::from_millis(100);

/// The address of the second router of a sync group.
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 56, 200));

/// How the two speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Version2,
    Version2Password,
    Version3,
    /// vipgate leaves the pseudo-header out of its checksum, and accepts both.
    Version3MessageOnly,
    Version3Ipv6,
    Version3Unicast,
    Version3UnicastIpv6,
    /// The addresses have the hardware address of the virtual router.
    Vmac,
    /// Two routers that are master together.
    SyncGroup,
    /// `state BACKUP` and priority 255 on both, as one of the published guides has it.
    Owners,
}

/// What stands on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Keepalived,
    Vipgate,
}

/// One dialect between two nodes, the first of them the master.
#[derive(Debug, Clone, Copy)]
struct Cell {
    dialect: Dialect,
    who: [Who; 2],
}

/// What was measured; the bounds are the protocol's, and what the machine paused meanwhile.
#[derive(Debug, Clone, Copy)]
struct Times {
    stop: Duration,
    stop_bound: Duration,
    /// When the one that stops said so.
    said: Option<Duration>,
    /// None where an equal priority stays behind.
    back: Option<Duration>,
    cut: Duration,
    cut_bound: Duration,
    /// How long both had the address after the repair.
    both: Duration,
    both_bound: Duration,
}

/// How a cell ended.
enum Outcome {
    Measured(Times),
    /// The backup does not accept what the master says, and becomes master beside it.
    Refused,
}

impl Dialect {
    /// In groups that run side by side: mostly they wait.
    const GROUPS: [&'static [Self]; 9] = [
        &[Self::Version2, Self::Version2Password],
        &[Self::Version3],
        &[Self::Version3MessageOnly],
        &[Self::Version3Ipv6],
        &[Self::Version3Unicast],
        &[Self::Version3UnicastIpv6],
        &[Self::Vmac],
        &[Self::SyncGroup],
        &[Self::Owners],
    ];

    /// The cells of this dialect: each side master, and the partner with itself as the baseline and the proof of the
    /// instruments.
    fn cells(self) -> Vec<Cell> {
        use Who::{Keepalived, Vipgate};
        // keepalived sends no other checksum than its own.
        let alone = if self == Self::Version3MessageOnly { Vipgate } else { Keepalived };
        [[Keepalived, Vipgate], [Vipgate, Keepalived], [alone, alone]].map(|who| Cell { dialect: self, who }).into()
    }

    fn apply(self, which: usize, plan: &mut Plan) {
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
            Self::Version3MessageOnly => router.message_only = true,
            Self::Version3Ipv6 => {
                router.addresses = ["fe80::100/64", "fd00:56::100/64"].map(vip).into();
                plan.services[0].address = VIP6.to_string();
            }
            Self::Version3Unicast => {
                router.source = Some(front_address(which));
                router.peers = vec![front_address(1 - which)];
            }
            Self::Version3UnicastIpv6 => {
                Self::Version3Ipv6.apply(which, plan);
                let router = &mut plan.routers[0];
                router.source = Some(front_address6(which));
                router.peers = vec![front_address6(1 - which)];
            }
            Self::Vmac => router.vmac = true,
            Self::SyncGroup => {
                let mut second = router.clone();
                second.name = "second".to_owned();
                second.vrid = VRID + 1;
                second.addresses = vec![vip(&format!("{SECOND}/24"))];
                plan.routers.push(second);
                plan.synchronised = true;
            }
            Self::Owners => router.priority = 255,
        }
    }

    fn addresses(self) -> &'static [IpAddr] {
        match self {
            Self::Version3Ipv6 | Self::Version3UnicastIpv6 => &[VIP6],
            Self::SyncGroup => &[VIP, SECOND],
            Self::Version2
            | Self::Version2Password
            | Self::Version3
            | Self::Version3MessageOnly
            | Self::Version3Unicast
            | Self::Vmac
            | Self::Owners => &[VIP],
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Version2 => "v2, 1 s",
            Self::Version2Password => "v2 PASS, 1 s",
            Self::Version3 => "v3, pseudo-header sum",
            Self::Version3MessageOnly => "v3, message-only sum",
            Self::Version3Ipv6 => "v3 IPv6",
            Self::Version3Unicast => "v3 unicast",
            Self::Version3UnicastIpv6 => "v3 IPv6 unicast",
            Self::Vmac => "v3 VMAC",
            Self::SyncGroup => "v3, two in a sync group",
            Self::Owners => "v3, 255 on both",
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Keepalived => "keepalived",
            Self::Vipgate => "vipgate",
        })
    }
}

fn vip(address: &str) -> Vip {
    Vip { address: address.to_owned(), interface: "eth1".to_owned(), label: None }
}

fn front_address(which: usize) -> IpAddr {
    if which == 0 { [192, 168, 56, 101].into() } else { [192, 168, 56, 102].into() }
}

fn front_address6(which: usize) -> IpAddr {
    if which == 0 { [0xfd00, 0x56, 0, 0, 0, 0, 0, 0x101].into() } else { [0xfd00, 0x56, 0, 0, 0, 0, 0, 0x102].into() }
}

#[test]
fn every_dialect_with_either_side_as_master() {
    let mut table = Table::new(
        "interoperation with keepalived, adverts every 100 ms unless said: the address is elsewhere after",
        &["dialect", "master", "backup", "stop", "bound", "back", "link cut", "bound", "two owners after repair"],
    );
    let mut broken = Vec::new();
    let pauses = Pauses::watch();
    for group in Dialect::GROUPS {
        let cells: Vec<Cell> = group.iter().flat_map(|dialect| dialect.cells()).collect();
        let labs: Option<Vec<Lab>> = cells.iter().map(|cell| Lab::for_test(&cell.to_string())).collect();
        let Some(labs) = labs else { return };
        let outcomes: Vec<Result<Outcome, String>> = std::thread::scope(|scope| {
            let runs: Vec<_> =
                cells.iter().zip(labs).map(|(cell, lab)| scope.spawn(|| cell.run_awake(lab, &pauses))).collect();
            runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err("the scenario broke".to_owned()))).collect()
        });
        for (cell, outcome) in cells.iter().zip(&outcomes) {
            cell.row(&mut table, outcome);
            broken.extend(cell.verdicts(outcome).into_iter().map(|verdict| format!("{cell}: {verdict}")));
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} master, {} backup", self.dialect, self.who[0], self.who[1])
    }
}

impl Cell {
    /// A node that says that it was not let run for a whole down interval says nothing about the dialect where the machine
    /// as a whole stood still: once more. Where it did not, that is the node's fault.
    fn run_awake(self, lab: Lab, pauses: &Pauses) -> Result<Outcome, String> {
        let begun = Instant::now();
        match self.run(lab, pauses) {
            Err(cause) if cause.contains("slept through the master-down interval") => {
                let paused = pauses.longest(begun, Instant::now());
                line(&format!("{self}: a node slept; the machine paused for {} at most", ms(paused)));
                match Lab::for_test(&format!("{self}, again")).filter(|_| paused >= STOOD_STILL) {
                    Some(lab) => self.run(lab, pauses),
                    None => Err(cause),
                }
            }
            outcome => outcome,
        }
    }

    fn run(self, lab: Lab, pauses: &Pauses) -> Result<Outcome, String> {
        let mut pair = FrontPair::build_in(lab, Subject::Toml);
        for (which, plan) in pair.plans.iter_mut().enumerate() {
            self.dialect.apply(which, plan);
        }
        if self.who == [Who::Vipgate; 2] {
            // One of each kind: either understands the other.
            pair.plans[1].routers[0].message_only = false;
        }
        pair.ownership = Ownership::watch(&[&pair.nodes[0], &pair.nodes[1]], self.dialect.addresses());
        self.start(&mut pair, 0);
        self.owned_by(&pair, 0)?;
        self.start(&mut pair, 1);
        if self.is_refused() {
            let both = || (pair.ownership.owners(VIP).len() == 2).then_some(());
            return try_until(PATIENCE, both).map(|()| Outcome::Refused).ok_or("it was not refused".to_owned());
        }
        pair.wait_standby();
        self.owned_by(&pair, 0)?;
        let quiet = pair.adverts.since(VRID, Instant::now() - 3 * pair.interval());
        if by_source(&quiet).len() != 1 {
            return Err(format!("not one master: {quiet:?}"));
        }
        self.measure(&mut pair, pauses).map(Outcome::Measured)
    }

    /// keepalived 2.2.7 has no switch for it.
    fn is_refused(self) -> bool {
        self.dialect == Dialect::Version3MessageOnly && self.who == [Who::Vipgate, Who::Keepalived]
    }

    fn measure(self, pair: &mut FrontPair, pauses: &Pauses) -> Result<Times, String> {
        let equal = self.dialect == Dialect::Owners;
        // A stop: priority 0 is heard, the backup waits its skew.
        let begun = Instant::now();
        pair.gate(0).terminate();
        let stop = self.taken_over(pair, 1, begun)?;
        let stop_bound = pair.skew(1) + SLACK + pauses.within(begun, begun + stop);
        let leaving = pair.adverts.since(VRID, begun).into_iter().find(|advert| advert.priority == 0);
        let said = leaving.map(|advert| advert.at.saturating_duration_since(begun));
        pair.gate(0).wait_end();
        self.owned_by(pair, 1)?;

        // Back: a higher priority takes over, an equal one stays behind.
        let begun = Instant::now();
        self.start(pair, 0);
        let back = if equal {
            pass(6 * pair.interval());
            None
        } else {
            Some(self.taken_over(pair, 0, begun)?)
        };
        let owner = usize::from(equal);
        self.owned_by(pair, owner)?;
        pair.wait_standby();

        // The link fails silently: the backup waits the master-down interval.
        let successor = 1 - owner;
        pair.front[owner].cut(Cut::Silent);
        let begun = Instant::now();
        let cut = self.taken_over(pair, successor, begun)?;
        let cut_bound = pair.master_down(successor) + SLACK + pauses.within(begun, begun + cut);
        let mended = Instant::now();
        pair.front[owner].restore();
        let both = self.until_one_owner(pair, mended)?;
        let both_bound = pair.interval() + SLACK + pauses.within(mended, mended + both);
        Ok(Times { stop, stop_bound, said, back, cut, cut_bound, both, both_bound })
    }

    fn start(self, pair: &mut FrontPair, which: usize) {
        let (node, plan) = (&pair.nodes[which], &pair.plans[which]);
        pair.gates[which] = Some(match self.who[which] {
            Who::Vipgate => Gate::start(node, Subject::Toml, plan),
            Who::Keepalived => Gate::keepalived_alone(node, plan),
        });
    }

    fn owned_by(self, pair: &FrontPair, which: usize) -> Result<(), String> {
        let name = pair.nodes[which].name();
        for &vip in self.dialect.addresses() {
            try_until(PATIENCE, || (pair.ownership.owners(vip) == [name]).then_some(()))
                .ok_or_else(|| format!("{name} never owned {vip} alone: {}", pair.gate(which).log()))?;
            if self.dialect == Dialect::Vmac {
                let mac = pair.nodes[which].address(vip).map(|address| address["mac"].clone());
                let right = format!("00:00:5e:00:01:{VRID:02x}");
                if mac.as_ref().and_then(|mac| mac.as_str()) != Some(&right) {
                    return Err(format!("{vip} at {name} has the hardware address {mac:?}"));
                }
            }
        }
        Ok(())
    }

    /// How long after `begun` the node got the last of the addresses.
    fn taken_over(self, pair: &FrontPair, which: usize, begun: Instant) -> Result<Duration, String> {
        let mut last = begun;
        for &vip in self.dialect.addresses() {
            let gained = try_until(PATIENCE, || pair.ownership.gained(&pair.nodes[which], vip, begun));
            last = last.max(gained.ok_or_else(|| format!("{} never took {vip} over", pair.nodes[which].name()))?);
        }
        Ok(last - begun)
    }

    fn until_one_owner(self, pair: &FrontPair, since: Instant) -> Result<Duration, String> {
        let mut several = Duration::ZERO;
        for &vip in self.dialect.addresses() {
            try_until(PATIENCE, || (pair.ownership.owners(vip).len() == 1).then_some(()))
                .ok_or_else(|| format!("{vip} keeps two owners"))?;
            several = several.max(pair.ownership.spread(vip, since, Instant::now()).several);
        }
        Ok(several)
    }

    fn row(self, table: &mut Table, outcome: &Result<Outcome, String>) {
        let [master, backup] = self.who.map(|who| who.to_string());
        let head = [self.dialect.to_string(), master, backup];
        let figures: Vec<String> = match outcome {
            Ok(Outcome::Measured(times)) => vec![
                ms(times.stop),
                ms(times.stop_bound),
                times.back.map_or_else(|| "stays".to_owned(), ms),
                ms(times.cut),
                ms(times.cut_bound),
                ms(times.both),
            ],
            Ok(Outcome::Refused) => vec!["refused".to_owned()],
            Err(_) => vec!["BROKEN".to_owned()],
        };
        let cells: Vec<&str> = head.iter().chain(&figures).map(String::as_str).collect();
        table.row(&cells);
    }

    fn verdicts(self, outcome: &Result<Outcome, String>) -> Vec<String> {
        let times = match outcome {
            Ok(Outcome::Measured(times)) => times,
            Ok(Outcome::Refused) => return Vec::new(),
            Err(why) => return vec![why.clone()],
        };
        let bounded = [
            (format!("stop (said after {:?})", times.said), times.stop, times.stop_bound),
            ("cut".to_owned(), times.cut, times.cut_bound),
            ("two owners after the repair".to_owned(), times.both, times.both_bound),
        ];
        let over = bounded.into_iter().filter(|(_, measured, bound)| measured > bound);
        over.map(|(what, measured, bound)| format!("{what}: {measured:?} > {bound:?}")).collect()
    }
}
