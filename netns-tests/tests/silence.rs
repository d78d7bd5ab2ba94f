//! Silence as a client sees it, side by side with the daemons that vipgate replaces.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::time::{Duration, Instant};

use netns_tests::flows::{Flows, HANGING, Tally};
use netns_tests::gate::Subject;
use netns_tests::pair::{Event, FrontPair, PATIENCE, VIP, VRID};
use netns_tests::report::{Table, line, ms};
use netns_tests::silence::{Report, Silence};
use netns_tests::wait::{pass, try_until, until};

const EVENTS: [Event; 5] = [Event::Terminate, Event::HandOver, Event::Kill, Event::CutCarrier, Event::CutSilent];
/// What is short is done in several rounds, to tell it from the noise of a busy machine.
const ROUNDS: u32 = 3;
/// What a planned move may cost, whatever the interval.
const PLANNED: Duration = Duration::from_millis(5);
/// What the guardian may need beyond the successor's skew.
const GUARDIAN: Duration = Duration::from_millis(20);
/// How much two measurements of the same thing differ on two cores.
const NOISE: Duration = Duration::from_millis(20);

#[test]
fn at_one_second() {
    // What a file is written in makes no difference to what took a second: that one is left to the shorter interval.
    side_by_side(Duration::from_secs(1), &[Subject::Toml, Subject::Daemons]);
}

#[test]
fn at_a_tenth_of_a_second() {
    side_by_side(Duration::from_millis(100), &[Subject::Toml, Subject::Foreign, Subject::Daemons]);
}

/// One event on one subject.
struct Measured {
    subject: Subject,
    event: Event,
    rounds: Vec<Report>,
    /// From the last advertisement of the old master to the address's arrival at the successor: free of the chance
    /// of when in the interval the event came.
    after_advert: Duration,
    /// What the protocol allows.
    bound: Duration,
    flows: Tally,
    owners: usize,
}

impl Measured {
    /// The median round.
    fn silence(&self) -> Duration {
        median(self.rounds.iter().map(|report| report.silence).collect())
    }
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

fn side_by_side(interval: Duration, subjects: &[Subject]) {
    let mut all = Vec::new();
    for &subject in subjects {
        let Some(pair) = FrontPair::build("silence", subject) else { return };
        let mut pair = pair.every(interval);
        pair.start();
        let silence = Silence::start(&pair.client, &pair.targets(), &[]);
        // At short intervals the down interval is hardly longer than what is promised.
        let everything = (interval >= Duration::from_secs(1)).then_some(Event::KillAll);
        for event in EVENTS.into_iter().chain(everything) {
            all.push(measure(&mut pair, &silence, event));
        }
    }
    print(interval, &all);
    let broken: Vec<String> =
        all.iter().filter(|one| one.subject != Subject::Daemons).flat_map(|one| verdicts(one, &all)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn measure(pair: &mut FrontPair, silence: &Silence, event: Event) -> Measured {
    let mut rounds = Vec::new();
    let mut after_advert = Vec::new();
    let (mut flows_lost, mut owners) = (Tally::default(), 0);
    // Beside what two daemons do in a planned move, nothing is judged.
    let judged = pair.subject != Subject::Daemons || !event.planned();
    let short = event.planned() || pair.interval() < Duration::from_secs(1);
    let count = if short && judged { ROUNDS } else { 1 };
    for round in 1..=count {
        silence.wait_steady(500, PATIENCE);
        let flows = Flows::open(&pair.client, &pair.targets(), &[], 20, Duration::from_millis(20));
        wait_for_phase(pair, pair.interval() * round / (count + 1));
        let begun = pair.strike(0, event);
        // Where the address was left behind on a dead node there is nothing to gain at first.
        let gained = try_until(PATIENCE, || pair.ownership.gained(&pair.nodes[1], VIP, begun));
        silence.wait_recovered(begun, HANGING, PATIENCE);
        rounds.push(silence.report_since(begun));
        flows_lost = flows.settle(Duration::from_secs(10));
        owners = pair.ownership.owners(VIP).len();
        let last = pair.adverts.between(VRID, begun - PATIENCE, begun).pop();
        after_advert.push(match (gained, last) {
            (Some(gained), Some(last)) => gained - last.at,
            (None, _) | (_, None) => Duration::MAX,
        });
        drop(flows);
        back(pair, silence, event);
    }
    Measured {
        subject: pair.subject,
        event,
        rounds,
        after_advert: median(after_advert),
        bound: bound(pair, event),
        flows: flows_lost,
        owners,
    }
}

/// Waits until `phase` after an advertisement: every subject is struck at the same moments of its interval, and none
/// so near to an advertisement that it may or may not get through.
fn wait_for_phase(pair: &FrontPair, phase: Duration) {
    let now = Instant::now();
    let last = until("an advertisement", PATIENCE, || pair.adverts.since(VRID, now).pop());
    pass((last.at + phase).saturating_duration_since(Instant::now()));
}

fn back(pair: &mut FrontPair, silence: &Silence, event: Event) {
    pair.heal(0, event);
    let vipgate = pair.subject != Subject::Daemons;
    if vipgate && event == Event::HandOver && pair.ownership.owners(VIP) == [pair.nodes[1].name()] {
        pair.strike(1, Event::HandOver);
    }
    pair.wait_owner(0);
    silence.wait_steady(500, PATIENCE);
}

fn bound(pair: &FrontPair, event: Event) -> Duration {
    match event {
        Event::Terminate | Event::HandOver => PLANNED,
        Event::Kill => pair.skew(1) + GUARDIAN,
        Event::KillAll => pair.skew(1) + Duration::from_millis(300),
        Event::Crash | Event::CutCarrier | Event::CutSilent | Event::AdminDown | Event::StuckWorker => {
            pair.master_down(1) + NOISE
        }
    }
}

fn print(interval: Duration, all: &[Measured]) {
    let mut table = Table::new(
        &format!("silence of new connections, one a millisecond; adverts every {}", ms(interval)),
        &[
            "event",
            "subject",
            "silence",
            "of keepalived's",
            "bound",
            "failed attempts",
            "slowest",
            "20 flows",
            "owners",
        ],
    );
    for event in Event::ALL {
        for one in all.iter().filter(|one| one.event == event) {
            let worst = one.rounds.iter().max_by_key(|report| report.silence);
            let peer = peer_of(one, all).map(|peer| one.silence().as_secs_f64() / peer.silence().as_secs_f64());
            table.row(&[
                event.label(),
                &one.subject.to_string(),
                &rounds_text(one),
                &peer.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
                &ms(one.bound),
                &worst.map(Report::failures_text).unwrap_or_default(),
                &worst.map(|report| ms(report.slowest)).unwrap_or_default(),
                &one.flows.to_string(),
                &one.owners.to_string(),
            ]);
        }
    }
    table.print();
}

fn rounds_text(one: &Measured) -> String {
    let rounds: Vec<String> = one.rounds.iter().map(|report| ms(report.silence)).collect();
    rounds.join(" / ")
}

fn peer_of<'a>(one: &Measured, all: &'a [Measured]) -> Option<&'a Measured> {
    all.iter().find(|other| other.subject == Subject::Daemons && other.event == one.event)
}

/// What is broken, in words.
fn verdicts(one: &Measured, all: &[Measured]) -> Vec<String> {
    let name = format!("{} of {}", one.event.label(), one.subject);
    let mut broken = Vec::new();
    if one.silence() > one.bound {
        broken.push(format!("{name}: silence {} over {}", rounds_text(one), ms(one.bound)));
    }
    if one.flows.hanging > 0 {
        broken.push(format!("{name}: flows left hanging: {}", one.flows));
    }
    if one.event.isolates()
        && let Some(peer) = peer_of(one, all)
        && one.after_advert > peer.after_advert + NOISE
    {
        let (ours, theirs) = (one.after_advert, peer.after_advert);
        broken.push(format!("{name}: {ours:?} after the last advert, keepalived {theirs:?}"));
    }
    broken
}

/// The traffic's process dies, the address's lives: two daemons do not know of each other.
#[test]
fn the_proxy_alone_is_killed() {
    const WATCHED: Duration = Duration::from_secs(5);
    let Some(pair) = FrontPair::build("HAProxy alone is killed", Subject::Daemons) else { return };
    let mut pair = pair.every(Duration::from_millis(100));
    pair.start();
    let silence = Silence::start(&pair.client, &pair.targets(), &[]);
    silence.wait_steady(300, PATIENCE);
    let begun = Instant::now();
    pair.gate(0).proxy().kill_tree();
    pass(WATCHED);
    let report = silence.report_since(begun);
    line(&format!("keepalived + HAProxy, HAProxy alone killed, watched for {}: {}", ms(WATCHED), report.summary()));
    assert_eq!(pair.ownership.owners(VIP), ["gate-a"], "the peer is better than believed");
}
