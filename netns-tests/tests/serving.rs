//! The node that can no longer serve: its address moves to the one that can, and stays where it is when neither can.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

use std::fmt;
use std::time::{Duration, Instant};

use netns_tests::gate::Subject;
use netns_tests::lan::Cut;
use netns_tests::ownership::Spread;
use netns_tests::pair::{Event, FrontPair, PATIENCE, VIP};
use netns_tests::report::{Table, ms};
use netns_tests::wait::{pass, try_until, until_true};

const SUBJECTS: [Subject; 3] = [Subject::Toml, Subject::Foreign, Subject::Daemons];
/// Checks every 500 ms that fail three times, and the hand-over: what the project promises.
const BOUND: Duration = Duration::from_millis(3500);
const CHECKED_EVERY: Duration = Duration::from_millis(500);
/// For how long an address that stays is watched.
const WATCHED: Duration = Duration::from_secs(4);

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

/// Runs `scenario` with each subject, all at once: mostly they wait for checks. None without privileges.
fn with_each<T: Send>(
    test: &str,
    subjects: &[Subject],
    scenario: impl Fn(FrontPair) -> T + Copy + Send,
) -> Option<Vec<(Subject, T)>> {
    let build = |&subject: &Subject| {
        Some(FrontPair::build(test, subject)?.with(|plan| {
            for check in plan.services.iter_mut().filter_map(|service| service.check.as_mut()) {
                check.interval = CHECKED_EVERY;
            }
        }))
    };
    let pairs: Vec<FrontPair> = subjects.iter().map(build).collect::<Option<_>>()?;
    Some(std::thread::scope(|scope| {
        let runs: Vec<_> = pairs
            .into_iter()
            .map(|mut pair| {
                scope.spawn(move || {
                    pair.start();
                    (pair.subject, scenario(pair))
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("the scenario ends well")).collect()
    }))
}

/// How long an ailment's address took to move, if it did, and to come back.
type Moved = (Ailment, Option<Duration>, Duration);

#[test]
fn the_address_leaves_a_node_that_cannot_serve() {
    let title = format!("one node cannot serve; checks every {}: the address is at the other after", ms(CHECKED_EVERY));
    let mut table = Table::new(&title, &["ailment", "subject", "moved after", "bound", "back after it is healed"]);
    let scenario = |mut pair: FrontPair| Ailment::ALL.map(|ailment| suffer(&mut pair, ailment));
    let Some(all) = with_each("one node cannot serve", &SUBJECTS, scenario) else { return };
    let mut broken = Vec::new();
    for (subject, moves) in all {
        for (ailment, moved, back) in moves {
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

fn suffer(pair: &mut FrontPair, ailment: Ailment) -> Moved {
    ready(pair);
    let begun = Instant::now();
    ailment.befall(pair, 0);
    let moved = try_until(WATCHED, || pair.ownership.gained(&pair.nodes[1], VIP, begun)).map(|at| at - begun);
    let healed = Instant::now();
    ailment.heal(pair, 0);
    (ailment, moved, pair.wait_owner(0).saturating_duration_since(healed))
}

/// What happened to the address while neither node could serve.
struct Stay {
    ailment: Ailment,
    watched: Duration,
    moves: usize,
    spread: Spread,
}

#[test]
fn the_address_stays_where_it_is_when_neither_can_serve() {
    const AILMENTS: [Ailment; 2] = [Ailment::BackLinkSilent, Ailment::ServersUnreachable];
    let mut table = Table::new(
        "neither node can serve: owners of the address",
        &["ailment", "subject", "watched for", "moves", "longest without owner", "with two"],
    );
    let scenario = |mut pair: FrontPair| AILMENTS.map(|ailment| suffer_both(&mut pair, ailment));
    let Some(all) = with_each("neither node can serve", &Subject::VIPGATE, scenario) else { return };
    let mut broken = Vec::new();
    for (subject, stays) in all {
        for Stay { ailment, watched, moves, spread } in stays {
            table.row(&[
                &ailment.to_string(),
                &subject.to_string(),
                &ms(watched),
                &moves.to_string(),
                &ms(spread.nobody),
                &ms(spread.several),
            ]);
            if moves > 0 {
                broken.push(format!("{subject}: {ailment}: the address moved {moves} times"));
            }
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn suffer_both(pair: &mut FrontPair, ailment: Ailment) -> Stay {
    ready(pair);
    let begun = Instant::now();
    // The standby first: at no moment is it the one that could serve.
    for which in [1, 0] {
        ailment.befall(pair, which);
        until_true(format_args!("{} to know that it cannot serve", pair.nodes[which].name()), PATIENCE, || {
            !can_serve(pair, which)
        });
    }
    pass(WATCHED);
    let ended = Instant::now();
    let spread = pair.ownership.spread(VIP, begun, ended);
    let moves = pair.ownership.events().iter().filter(|event| event.at > begun && event.owned).count();
    ailment.heal(pair, 0);
    ailment.heal(pair, 1);
    pair.wait_owner(0);
    Stay { ailment, watched: ended - begun, moves, spread }
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
