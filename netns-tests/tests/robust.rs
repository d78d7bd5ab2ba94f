//! Bad input, bad circumstances, many connections.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use netns_tests::adverts::spacing;
use netns_tests::burst::burst;
use netns_tests::echo::{Echo, Mode};
use netns_tests::flows::Flows;
use netns_tests::forge::{Fault, Forger, v4};
use netns_tests::gate::{self, Gate, Subject, file_arguments, vipgate_binary, write_files};
use netns_tests::node::Node;
use netns_tests::pair::{FrontPair, PATIENCE, VIP, VRID};
use netns_tests::plan::Plan;
use netns_tests::process::Process;
use netns_tests::report::{Table, line, ms};
use netns_tests::wait::{pass, until, until_true};

const SUBJECTS: [Subject; 3] = [Subject::Toml, Subject::Foreign, Subject::Daemons];
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 250);
const GATES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 56, 101), Ipv4Addr::new(192, 168, 56, 102)];
/// How long a process may take to find out that it cannot run.
const REFUSAL: Duration = Duration::from_secs(3);

#[test]
fn junk_does_not_delay_our_own_adverts() {
    const ROUNDS: usize = 3;
    const LATE: Duration = Duration::from_millis(10);
    let mut table = Table::new(
        "10,000 junk adverts a second, adverts every 100 ms",
        &["subject", "junk sent", "longest spacing before", "under junk, three rounds", "the address moved"],
    );
    let mut broken = Vec::new();
    for subject in SUBJECTS {
        let Some(mut pair) = FrontPair::build("junk adverts", subject) else { return };
        let forger = stranger(&pair);
        pair.start();
        let quiet = Instant::now();
        pass(Duration::from_secs(2));
        let noisy = Instant::now();
        let before = longest_spacing(&pair, quiet, noisy);
        let mut sent = 0;
        let mut under: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                sent += send_junk(&forger);
                longest_spacing(&pair, begun, Instant::now())
            })
            .collect();
        let moved = pair.ownership.events().into_iter().filter(|event| event.at > noisy).count();
        let rounds: Vec<String> = under.iter().map(|&spacing| ms(spacing)).collect();
        let moved_text = format!("{moved} times");
        table.row(&[&subject.to_string(), &sent.to_string(), &ms(before), &rounds.join(" / "), &moved_text]);
        if subject != Subject::Daemons {
            under.sort_unstable();
            let median = under[ROUNDS / 2];
            // A machine that is late without junk is not late because of it.
            let bound = before.max(pair.interval()) + LATE;
            check(&mut broken, median <= bound, format!("{subject}: adverts {} apart", rounds.join(" / ")));
            check(&mut broken, moved == 0, format!("{subject}: junk moved the address"));
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Two seconds of junk at 10 a millisecond; says how much.
fn send_junk(forger: &Forger) -> usize {
    const SPAN: Duration = Duration::from_secs(2);
    const PER_MILLISECOND: usize = 10;
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < SPAN {
        // Absolute pace: a late round is followed by a longer one.
        let due = usize::try_from(begun.elapsed().as_millis()).unwrap_or(0) * PER_MILLISECOND;
        while sent < due {
            let fault = Fault::ALL[sent % Fault::ALL.len()];
            if forger.send(fault, GATES[sent % 2]).is_ok() {
                sent += 1;
            }
        }
        pass(Duration::from_millis(1));
    }
    sent
}

/// The longest spacing of the master's advertisements; an age if there were none.
fn longest_spacing(pair: &FrontPair, from: Instant, to: Instant) -> Duration {
    spacing(&pair.adverts.between(VRID, from, to), GATES[0].into()).map_or(to - from, |(_, longest)| longest)
}

#[test]
fn every_fault_is_counted_and_changes_nothing_else() {
    const EACH: u64 = 20;
    for subject in Subject::VIPGATE {
        let Some(mut pair) = FrontPair::build("faulty adverts", subject) else { return };
        let forger = stranger(&pair);
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
}

fn check(broken: &mut Vec<String>, holds: bool, otherwise: String) {
    if !holds {
        broken.push(otherwise);
    }
}

fn stranger(pair: &FrontPair) -> Forger {
    let node = pair.lab.node("stranger");
    pair.front_lan.attach(&node, "eth1", &[&format!("{STRANGER}/24")]);
    let centiseconds = u16::try_from(pair.interval().as_millis() / 10).expect("a small interval");
    Forger::new(&node, STRANGER, VRID, v4(VIP), centiseconds)
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

#[test]
fn an_address_already_in_use_is_named_with_its_owner() {
    for subject in Subject::VIPGATE {
        let Some(mut pair) = FrontPair::build("address in use", subject) else { return };
        let _other = Echo::start(&pair.nodes[0], 3005..=3005, Mode::Echo);
        pair.start_gate(0);
        let (code, said) = refusal(pair.gate(0).main());
        line(&format!("{subject}, exit code {code:?}: {}", said.trim()));
        let owner = std::process::id().to_string();
        assert_eq!(code, Some(1), "{subject}: {said}");
        assert!(said.contains("3005"), "{subject}: the port is not named: {said}");
        assert!(said.contains(&owner), "{subject}: the other process ({owner}) is not named: {said}");
        nothing_was_applied(&pair);
    }
}

#[test]
fn without_permission_it_says_what_is_missing() {
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("no permission", subject) else { return };
        let node = &pair.nodes[0];
        write_files(node, subject, &pair.plans[0]);
        let binary = for_everybody(node);
        let mut command = node.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
        let process = node.spawn("vipgate", command.arg(binary).arg("run").args(file_arguments(node, subject)));
        let (code, said) = refusal(&process);
        line(&format!("{subject}, exit code {code:?}: {}", said.trim()));
        assert_eq!(code, Some(4), "{subject}: {said}");
        assert!(said.to_uppercase().contains("CAP_NET"), "{subject}: the capability is not named: {said}");
        nothing_was_applied(&pair);
    }
}

/// A copy of the binary that another user may read, in a directory that he may write to.
fn for_everybody(node: &Node) -> std::path::PathBuf {
    let copy = node.dir().join("vipgate");
    fs::copy(vipgate_binary(), &copy).expect("a copy");
    for (path, mode) in [(copy.as_path(), 0o755), (node.dir(), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    }
    copy
}

#[test]
fn a_missing_interface_is_waited_for() {
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("missing interface", subject) else { return };
        let mut pair = pair.with(|plan| {
            plan.routers[0].interface = "eth9".to_owned();
            plan.routers[0].addresses[0].interface = "eth9".to_owned();
            plan.routers[0].addresses[0].label = None;
        });
        pair.start_gate(0);
        until_true("the log to name eth9", REFUSAL, || pair.gate(0).log().contains("eth9"));
        assert!(pair.gate(0).alive(), "{subject}: it gave up: {}", pair.gate(0).log());
        line(&format!(
            "{subject}: {}",
            pair.gate(0).log().lines().find(|line| line.contains("eth9")).unwrap_or_default()
        ));
        pair.nodes[0].ip("link set eth1 down");
        pair.front_lan.attach(&pair.nodes[0], "eth9", &["192.168.56.109/24"]);
        let begun = Instant::now();
        pair.wait_owner(0);
        line(&format!("{subject}: master {} after the interface appeared", ms(begun.elapsed())));
    }
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_the_right_code() {
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("bad files at the start", subject) else { return };
        let node = &pair.nodes[0];
        let start = || {
            let process =
                node.spawn("vipgate", node.command(vipgate_binary()).arg("run").args(file_arguments(node, subject)));
            refusal(&process)
        };
        let (code, said) = start();
        line(&format!("{subject}, no file, exit code {code:?}: {}", said.trim()));
        assert_eq!(code, Some(6), "{subject}: {said}");

        write_files(node, subject, &Plan { services: Vec::new(), ..pair.plans[0].clone() });
        let broken = if subject == Subject::Toml { "vipgate.toml" } else { "haproxy.cfg" };
        node.write(broken, "[[servise]]\nfrontend x\n    bynd :80\n");
        let (code, said) = start();
        line(&format!("{subject}, broken, exit code {code:?}: {}", said.trim()));
        assert_eq!(code, Some(2), "{subject}: {said}");
        assert!(said.contains(&format!("{broken}:")), "{subject}: file and line are not named: {said}");
        nothing_was_applied(&pair);
    }
}

/// How a process that cannot run ended, and what it said.
#[track_caller]
fn refusal(process: &Process) -> (Option<i32>, String) {
    let ended = process.wait(REFUSAL);
    let said = process.log();
    assert!(ended.is_some(), "it runs on instead of refusing: {said}");
    (ended.and_then(|status| status.code()), said)
}

#[track_caller]
fn nothing_was_applied(pair: &FrontPair) {
    assert!(pair.nodes[0].address(VIP).is_none(), "the address was set");
    assert!(pair.adverts.last(VRID).is_none(), "an advertisement was sent");
}

#[test]
fn idle_connections_are_small_and_closed_ones_leave_nothing() {
    const IDLE: usize = 4000;
    const SHORT: usize = 100_000;
    const EACH: u64 = 3 * 1024;
    /// What allocator and tables may still gather after the first 20,000.
    const GROWTH: u64 = 1 << 20;
    let mut table = Table::new(
        "memory",
        &[
            "subject",
            "at start",
            "bytes an idle connection (4,000)",
            "after 20,000 short",
            "after 100,000 more",
            "failed",
        ],
    );
    for subject in SUBJECTS {
        let Some(mut pair) = FrontPair::build("memory", subject) else { return };
        pair.start_gate(0);
        pair.wait_owner(0);
        pair.wait_serving();
        let (targets, sources) = (pair.targets(), pair.sources());
        let resident = || pair.gate(0).proxy().resident();
        let at_start = resident();
        // Each has carried a few bytes each way, as real ones have.
        let idle = Flows::open(&pair.client, &targets, &sources, IDLE, Duration::from_secs(3600));
        let with_idle = resident();
        let alive = idle.tally().alive;
        drop(idle);
        let each = with_idle.saturating_sub(at_start) / IDLE as u64;
        assert_eq!(alive, IDLE, "{subject}: idle connections were lost");

        let mut failed = burst(&pair.client, &targets, &sources, SHORT / 5);
        let warm = resident();
        failed += burst(&pair.client, &targets, &sources, SHORT);
        let end = resident();
        table.row(&[
            &subject.to_string(),
            &kib(at_start),
            &each.to_string(),
            &kib(warm),
            &kib(end),
            &failed.to_string(),
        ]);
        if subject != Subject::Daemons {
            assert!(each <= EACH, "{subject}: {each} bytes an idle connection");
            assert!(end <= warm + GROWTH, "{subject}: grew from {} to {}", kib(warm), kib(end));
            assert_eq!(failed, 0, "{subject}: short connections failed");
        }
    }
    table.print();
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}

/// What monitoring reads.
#[test]
fn status_tells_a_degraded_node_from_a_well_one() {
    for subject in Subject::VIPGATE {
        let Some(mut pair) = FrontPair::build("status", subject) else { return };
        pair.start();
        pass(Duration::from_secs(1));
        let well = pair.gate(0).vipgate("status");
        line(&format!("{subject}:\n{}", String::from_utf8_lossy(&well.stdout).trim_end()));
        assert_eq!(well.status.code(), Some(0), "{subject}: {}", gate::said(&well));
        pair.stop_server(0);
        until_true("a degraded node", PATIENCE, || pair.gate(0).vipgate("status").status.code() == Some(1));
        let stopped: &Gate = pair.gate(0);
        stopped.terminate();
        stopped.wait_end();
        assert_eq!(stopped.vipgate("status").status.code(), Some(2), "{subject}: it does not run");
    }
}
