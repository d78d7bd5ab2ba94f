//! The node that can no longer serve: its address moves to the one that can, and stays where it is when neither can.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::fmt;
use std::time::{Duration, Instant};

use netns_tests::gate::Subject;
use netns_tests::lan::Cut;
use netns_tests::pair::{Event, FrontPair, PATIENCE, VIP};
use netns_tests::report::{Table, ms};
use netns_tests::wait::{pass, try_until, until_true};

const SUBJECTS: [Subject; 3] = [Subject::Toml, Subject::Foreign, Subject::Daemons];
/// Checks every 500 ms that fail three times, and the hand-over: what the project promises.
const BOUND: Duration = Duration::from_millis(3500);
const CHECKED_EVERY: Duration = Duration::from_millis(500);
/// For how long an address that stays is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// Why a node cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ailment {
    /// The link to the servers swallows everything.
    BackLinkSilent,
    /// The link to the servers has no carrier.
    BackLinkCarrier,
    /// The node's routes to the servers are gone; the link is well.
    ServersUnreachable,
    /// A thread of the data plane never returns.
    ProxyStuck,
}

impl Ailment {
    const ALL: [Self; 4] = [Self::BackLinkSilent, Self::BackLinkCarrier, Self::ServersUnreachable, Self::ProxyStuck];

    #[track_caller]
    fn befall(self, pair: &mut FrontPair, which: usize) {
        match self {
            Self::BackLinkSilent => pair.back[which].cut(Cut::Silent),
            Self::BackLinkCarrier => pair.back[which].cut(Cut::Carrier),
            Self::ServersUnreachable => routes(pair, which, "add"),
            Self::ProxyStuck => drop(pair.strike(which, Event::StuckWorker)),
        }
    }

    #[track_caller]
    fn heal(self, pair: &mut FrontPair, which: usize) {
        match self {
            Self::BackLinkSilent | Self::BackLinkCarrier => pair.back[which].restore(),
            Self::ServersUnreachable => routes(pair, which, "del"),
            Self::ProxyStuck => pair.heal(which, Event::StuckWorker),
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BackLinkSilent => "back link cut (silently)",
            Self::BackLinkCarrier => "back link cut (carrier lost)",
            Self::ServersUnreachable => "all servers unreachable",
            Self::ProxyStuck => "proxy stuck",
        })
    }
}

fn routes(pair: &FrontPair, which: usize, what: &str) {
    let lines: Vec<String> = (1..=3).map(|i| format!("route {what} unreachable 10.0.0.1{i}/32")).collect();
    pair.nodes[which].ip(&lines.join("\n"));
}

fn build(test: &str, subject: Subject) -> Option<FrontPair> {
    Some(FrontPair::build(test, subject)?.with(|plan| {
        for check in plan.services.iter_mut().filter_map(|service| service.check.as_mut()) {
            check.interval = CHECKED_EVERY;
        }
    }))
}

#[test]
fn the_address_leaves_a_node_that_cannot_serve() {
    let title = format!("one node cannot serve; checks every {}: the address is at the other after", ms(CHECKED_EVERY));
    let mut table = Table::new(&title, &["ailment", "subject", "moved after", "bound", "back after it is healed"]);
    let mut broken = Vec::new();
    for subject in SUBJECTS {
        let Some(mut pair) = build("one node cannot serve", subject) else { return };
        pair.start();
        for ailment in Ailment::ALL {
            ready(&pair);
            let begun = Instant::now();
            ailment.befall(&mut pair, 0);
            let moved = try_until(WATCHED, || pair.ownership.gained(&pair.nodes[1], VIP, begun)).map(|at| at - begun);
            let healed = Instant::now();
            ailment.heal(&mut pair, 0);
            let back = pair.wait_owner(0).saturating_duration_since(healed);
            table.row(&[
                &ailment.to_string(),
                &subject.to_string(),
                &moved.map_or_else(|| format!("never (watched for {})", ms(WATCHED)), ms),
                &ms(BOUND),
                &if moved.is_some() { ms(back) } else { "-".to_owned() },
            ]);
            if subject != Subject::Daemons && moved.is_none_or(|moved| moved > BOUND) {
                broken.push(format!("{subject}: {ailment}: moved after {moved:?}"));
            }
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_address_stays_where_it_is_when_neither_can_serve() {
    const AILMENTS: [Ailment; 2] = [Ailment::BackLinkSilent, Ailment::ServersUnreachable];
    let mut table = Table::new(
        "neither node can serve: owners of the address",
        &["ailment", "subject", "watched for", "moves", "longest without owner", "with two"],
    );
    let mut broken = Vec::new();
    for subject in Subject::VIPGATE {
        let Some(mut pair) = build("neither node can serve", subject) else { return };
        pair.start();
        for ailment in AILMENTS {
            ready(&pair);
            let begun = Instant::now();
            // The standby first: no moment at which it alone could serve.
            ailment.befall(&mut pair, 1);
            until_true("the standby to know that it cannot serve", PATIENCE, || !can_serve(&pair, 1));
            ailment.befall(&mut pair, 0);
            until_true("the master to know that it cannot serve", PATIENCE, || !can_serve(&pair, 0));
            pass(WATCHED);
            let ended = Instant::now();
            let spread = pair.ownership.spread(VIP, begun, ended);
            let moves = pair.ownership.events().iter().filter(|event| event.at > begun && event.owned).count();
            table.row(&[
                &ailment.to_string(),
                &subject.to_string(),
                &ms(ended - begun),
                &moves.to_string(),
                &ms(spread.nobody),
                &ms(spread.several),
            ]);
            if moves > 0 || pair.ownership.owners(VIP) != [pair.nodes[0].name()] {
                broken.push(format!("{subject}: {ailment}: {moves} moves, {:?}", pair.ownership.owners(VIP)));
            }
            ailment.heal(&mut pair, 0);
            ailment.heal(&mut pair, 1);
            pair.wait_owner(0);
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Waits until the first node has the address and either could serve.
#[track_caller]
fn ready(pair: &FrontPair) {
    pair.wait_owner(0);
    pair.wait_serving();
    pair.wait_standby();
    if pair.subject != Subject::Daemons {
        until_true("both nodes to be able to serve", PATIENCE, || [0, 1].iter().all(|&which| can_serve(pair, which)));
    }
}

/// Whether the router finds that what it fronts can be served.
fn can_serve(pair: &FrontPair, which: usize) -> bool {
    pair.gate(which).status().is_some_and(|status| status["routers"][0]["ready"] == true)
}
