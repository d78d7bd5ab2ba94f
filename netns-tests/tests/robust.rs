//! Bad circumstances, bad files, many connections.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use netns_tests::burst::burst;
use netns_tests::echo::{Echo, Mode};
use netns_tests::flows::Flows;
use netns_tests::gate::{self, Gate, Subject, file_arguments, vipgate_binary, write_files};
use netns_tests::node::Node;
use netns_tests::pair::{FrontPair, PATIENCE, VIP, VRID};
use netns_tests::plan::Plan;
use netns_tests::process::Process;
use netns_tests::report::{Table, line, ms};
use netns_tests::wait::{pass, until_true};

/// How long a process may take to find out that it cannot run.
const REFUSAL: Duration = Duration::from_secs(3);

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
    for subject in [Subject::Toml, Subject::Daemons] {
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
