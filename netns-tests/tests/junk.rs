//! Junk on the wire: faulty advertisements of our own virtual router change a counter and nothing else.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use netns_tests::adverts::by_source;
use netns_tests::forge::{Fault, Forger, v4};
use netns_tests::gate::Subject;
use netns_tests::node::Node;
use netns_tests::pair::{FrontPair, PATIENCE, VIP, VRID};
use netns_tests::pauses::{Pauses, Spacing};
use netns_tests::report::{Table, ms};
use netns_tests::wait::{pass, until};

/// vipgate, and the daemon that any such packet silences.
const SUBJECTS: [Subject; 2] = [Subject::Toml, Subject::Daemons];
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 250);
const GATES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 56, 101), Ipv4Addr::new(192, 168, 56, 102)];
/// How late an advertisement may be, pauses of the machine aside.
const LATE: Duration = Duration::from_millis(10);

/// Each of them re-arms the advertisement timer of a keepalived master: one every 30 ms, and it never sends.
#[test]
fn one_faulty_advert_every_30_ms_does_not_silence_us() {
    const PACE: u32 = 33;
    const SPAN: Duration = Duration::from_millis(1500);
    const FAULTS: [Fault; 5] =
        [Fault::Checksum, Fault::TtlNot255, Fault::Version, Fault::Truncated, Fault::Authentication];
    let mut table = Table::new(
        "a faulty advert of our own virtual router every 30 ms",
        &["fault", "subject", "adverts every", "own adverts", "longest spacing", "without pauses", "address moved"],
    );
    let mut broken = Vec::new();
    for subject in SUBJECTS {
        for version in [3, 2] {
            let Some(pair) = FrontPair::build(&format!("junk every 30 ms, version {version}"), subject) else { return };
            let mut pair = pair.with(|plan| {
                let router = &mut plan.routers[0];
                router.version = version;
                if version == 2 {
                    router.interval = Duration::from_secs(1);
                    router.password = Some("12345".to_owned());
                }
            });
            let mut forger = forger(&pair, &stranger(&pair));
            if version == 2 {
                forger = forger.version2(1, *b"54321\0\0\0");
            }
            pair.start();
            for fault in FAULTS.into_iter().filter(|&fault| (fault == Fault::Authentication) == (version == 2)) {
                let noise =
                    Noise::make(&pair, || forger.flood(&[fault], &GATES[..1], PACE, SPAN.max(4 * pair.interval())));
                table.row(&[
                    fault.label(),
                    &subject.to_string(),
                    &ms(pair.interval()),
                    &format!("{} of {}", noise.own, noise.due),
                    &ms(noise.spacing.seen),
                    &ms(noise.spacing.own),
                    &format!("{} times", noise.moved),
                ]);
                if subject != Subject::Daemons {
                    broken.extend(noise.verdicts(&pair, &format!("{subject}, {}", fault.label())));
                }
                pair.wait_owner(0);
            }
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_flood_of_faulty_adverts_does_not_delay_our_own() {
    /// What is asked for, what has to be reached, and for how long. A pace that is aimed at is never quite reached.
    const RATES: [(u32, u32, Duration); 2] =
        [(10_000, 9_500, Duration::from_secs(4)), (110_000, 100_000, Duration::from_secs(10))];
    let mut table = Table::new(
        "a flood of junk adverts with every fault, adverts every 100 ms",
        &["aimed at", "reached", "subject", "own adverts", "longest spacing", "without pauses", "address moved"],
    );
    let mut broken = Vec::new();
    for subject in SUBJECTS {
        let Some(mut pair) = FrontPair::build("a flood of junk", subject) else { return };
        let node = stranger(&pair);
        let forger = forger(&pair, &node);
        pair.adverts.ignore(STRANGER);
        pair.start();
        for (rate, least, span) in RATES {
            // The peer shows the difference in less.
            let span = if subject == Subject::Daemons { span.min(Duration::from_secs(3)) } else { span };
            let noise = Noise::make(&pair, || flood(&forger, rate, span));
            let reached = noise.sent as f64 / noise.span.as_secs_f64();
            table.row(&[
                &format!("{rate}/s, {}", ms(span)),
                &format!("{reached:.0}/s"),
                &subject.to_string(),
                &format!("{} of {}", noise.own, noise.due),
                &ms(noise.spacing.seen),
                &ms(noise.spacing.own),
                &format!("{} times", noise.moved),
            ]);
            if subject != Subject::Daemons {
                broken.extend(noise.verdicts(&pair, &format!("{subject}, {rate}/s")));
                if reached < f64::from(least) {
                    broken.push(format!("{subject}: only {reached:.0} packets a second could be sent, not {least}"));
                }
            }
            pair.wait_owner(0);
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What a span of junk did to the master's advertisements.
struct Noise {
    sent: usize,
    span: Duration,
    own: usize,
    due: usize,
    spacing: Spacing,
    moved: usize,
}

impl Noise {
    fn make(pair: &FrontPair, junk: impl FnOnce() -> usize) -> Self {
        let pauses = Pauses::watch();
        let begun = Instant::now();
        let sent = junk();
        let ended = Instant::now();
        // What was seen just before the end is still on its way to the instruments.
        pass(Duration::from_millis(50));
        let adverts = pair.adverts.between(VRID, begun, ended);
        let span = ended - begun;
        Self {
            sent,
            span,
            own: by_source(&adverts).get(&GATES[0].into()).copied().unwrap_or_default(),
            due: usize::try_from(span.as_millis() / pair.interval().as_millis()).unwrap_or(0),
            spacing: pauses.spacing(&adverts, GATES[0].into(), begun, ended),
            moved: pair.ownership.events().into_iter().filter(|event| event.at > begun).count(),
        }
    }

    fn verdicts(&self, pair: &FrontPair, what: &str) -> Vec<String> {
        let mut broken = Vec::new();
        if self.spacing.own > pair.interval() + LATE {
            let Spacing { seen, own } = self.spacing;
            broken.push(format!("{what}: adverts {seen:?} apart, {own:?} without the machine's pauses"));
        }
        if self.moved > 0 {
            broken.push(format!("{what}: the address moved"));
        }
        broken
    }
}

#[test]
fn every_fault_is_counted_and_changes_nothing_else() {
    const EACH: u64 = 20;
    let subject = Subject::Toml;
    let Some(mut pair) = FrontPair::build("faulty adverts", subject) else { return };
    let forger = forger(&pair, &stranger(&pair));
    pair.start();
    let mut table = Table::new(
        &format!("{subject}: {EACH} adverts with one fault each"),
        &["fault", "counted by the master", "by the backup", "own adverts"],
    );
    for fault in Fault::ALL {
        let before = [0, 1].map(|which| router(&pair, which));
        let since = Instant::now();
        for _ in 0..EACH {
            for to in &GATES[..if fault == Fault::Destination { 2 } else { 1 }] {
                forger.send(fault, *to).expect("sent");
            }
        }
        pass(5 * pair.interval());
        let watched = since.elapsed();
        let adverts = pair.adverts.since(VRID, since);
        let own = adverts.iter().filter(|advert| advert.source == GATES[0]).count();
        let after = [0, 1].map(|which| router(&pair, which));
        let counted = [0, 1].map(|which: usize| rejected(&after[which], fault) - rejected(&before[which], fault));
        table.row(&[
            fault.label(),
            &counted[0].to_string(),
            &counted[1].to_string(),
            &format!("{own} in {}", ms(watched)),
        ]);
        assert_eq!(counted, [EACH, EACH], "{subject}: {} was not counted: {after:?}", fault.label());
        for key in ["role", "priority", "became_master", "master"] {
            for which in [0, 1] {
                assert_eq!(before[which][key], after[which][key], "{subject}: {} changed {key}", fault.label());
            }
        }
        // No answer of the master either: it sends neither more nor fewer than its interval says.
        let due = watched.as_secs_f64() / pair.interval().as_secs_f64();
        assert!((own as f64 - due).abs() <= 1.5, "{subject}: {}: {own} adverts in {watched:?}", fault.label());
    }
    table.print();
}

/// Two at once: one core alone does not reach the rate.
fn flood(forger: &Forger, rate: u32, span: Duration) -> usize {
    std::thread::scope(|scope| {
        let each = [(); 2].map(|()| scope.spawn(|| forger.flood(&Fault::ALL, &GATES, rate / 2, span)));
        each.map(|flood| flood.join().expect("a flood ends")).iter().sum()
    })
}

fn stranger(pair: &FrontPair) -> Node {
    let node = pair.lab.node("stranger");
    pair.front_lan.attach(&node, "eth1", &[&format!("{STRANGER}/24")]);
    node
}

fn forger(pair: &FrontPair, stranger: &Node) -> Forger {
    let centiseconds = u16::try_from(pair.interval().as_millis() / 10).expect("a small interval");
    Forger::new(stranger, STRANGER, VRID, v4(VIP), centiseconds)
}

/// The router's part of the status.
fn router(pair: &FrontPair, which: usize) -> serde_json::Value {
    let status = until("the status", PATIENCE, || pair.gate(which).status());
    let mut router = status["routers"][0].clone();
    // Another virtual router's advertisements are none of this one's: the process counts them.
    router["rejected"][Fault::UnknownVrid.label()] = status["process"]["stray_adverts"].clone();
    router
}

fn rejected(router: &serde_json::Value, fault: Fault) -> u64 {
    router["rejected"][fault.label()].as_u64().unwrap_or_default()
}
