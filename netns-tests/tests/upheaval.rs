//! What happens to a gate while it carries traffic: reloads, the deaths of its helpers, its own leave.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netns_tests::flows::Flows;
use netns_tests::gate::Subject;
use netns_tests::node::Node;
use netns_tests::pair::{FrontPair, PATIENCE, PORTS, VIP};
use netns_tests::plan::Plan;
use netns_tests::report::{Table, ms};
use netns_tests::siege::round_trips;
use netns_tests::wait::{pass, try_until, until_true};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Clients that connect without a pause, each from a thread of its own.
const CLIENTS: usize = 3;
const RELOADS: usize = 50;
/// From one reload to the next; HAProxy's is over by then, which it does not say.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients that connect, echo a line and close, again and again: what became of it.
struct Customers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Served>>,
}

#[derive(Debug, Default)]
struct Served {
    good: usize,
    slowest: Duration,
    /// Failures in words, and how many of each.
    failed: BTreeMap<String, usize>,
}

impl Customers {
    fn start(node: &Node, targets: &[SocketAddr]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let customer = |first: usize| {
            let (stop, inside, targets) = (Arc::clone(&stop), node.clone(), targets.to_vec());
            std::thread::spawn(move || {
                let mut served = Served::default();
                for turn in first.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match round_trips(&inside, targets[turn % targets.len()], 20) {
                        Ok(times) => {
                            served.good += times.len();
                            served.slowest = served.slowest.max(times.into_iter().max().unwrap_or_default());
                        }
                        Err(error) => *served.failed.entry(error.kind().to_string()).or_default() += 1,
                    }
                }
                served
            })
        };
        let threads = (0..CLIENTS).map(customer).collect();
        Self { stop, threads }
    }

    fn end(self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Served::default();
        for thread in self.threads {
            let served = thread.join().unwrap_or_default();
            all.good += served.good;
            all.slowest = all.slowest.max(served.slowest);
            for (failure, count) in served.failed {
                *all.failed.entry(failure).or_default() += count;
            }
        }
        all
    }
}

/// The file of the `turn`th reload: a server goes and returns; its weight changes; a timeout does; the range is too short
/// for the kernel to lead it, longer, and longer at its lower end too.
fn file(plan: &Plan, subject: Subject, turn: usize) -> String {
    let mut plan = plan.clone();
    let service = &mut plan.services[0];
    if turn % 2 == 1 {
        service.servers.pop();
    }
    service.ports = match turn % 3 {
        0 => PORTS,
        1 => *PORTS.start()..=PORTS.end() + 20,
        _ => PORTS.start() - 20..=PORTS.end() + 20,
    };
    let (weight, timeout) = (1 + turn % 4, 30 + turn % 5);
    match subject {
        Subject::Toml => plan
            .toml()
            .replace("address = \"10.0.0.11\"", &format!("address = \"10.0.0.11\", weight = {weight}"))
            .replace("servers = [", &format!("client-timeout = \"{timeout}m\"\nservers = [")),
        Subject::Foreign | Subject::Daemons => plan
            .haproxy()
            .replace("10.0.0.11 ", &format!("10.0.0.11 weight {weight} "))
            .replace("timeout client 1h", &format!("timeout client {timeout}m")),
    }
}

#[test]
fn fifty_reloads_lose_no_connection() {
    let mut table = Table::new(
        "50 reloads under load: servers, weights, timeouts, ranges of ports",
        &["subject", "reloads", "took", "connections", "slowest", "failed", "30 long flows"],
    );
    let mut broken = Vec::new();
    for subject in [Subject::Toml, Subject::Daemons] {
        let Some(mut pair) = FrontPair::build("50 reloads", subject) else { return };
        pair.start_gate(0);
        pair.wait_owner(0);
        pair.wait_serving();
        let gate = pair.gate(0);
        let applied = || gate.log().matches("reloaded: ").count();
        let flows = Flows::open(&pair.client, &pair.targets(), &[], 30, Duration::from_millis(20));
        let before = flows.by_server();
        let customers = Customers::start(&pair.client, &pair.targets());
        let begun = Instant::now();
        for turn in 1..=RELOADS {
            let [services, _] = gate.files();
            fs::write(services, file(&pair.plans[0], subject, turn)).expect("the file");
            match subject {
                Subject::Daemons => gate.proxy().signal(Signal::SIGUSR2),
                Subject::Toml | Subject::Foreign => {
                    gate.reread();
                    until_true(format_args!("reload {turn}: {}", gate.log()), PATIENCE, || applied() == turn);
                }
            }
            pass(PAUSE);
        }
        let took = begun.elapsed();
        let served = customers.end();
        pass(Duration::from_millis(100));
        let after = flows.by_server();
        table.row(&[
            &subject.to_string(),
            &RELOADS.to_string(),
            &ms(took),
            &served.good.to_string(),
            &ms(served.slowest),
            &format!("{:?}", served.failed),
            &flows.tally().to_string(),
        ]);
        if subject != Subject::Daemons {
            if !served.failed.is_empty() {
                broken.push(format!("{subject}: failed: {:?}", served.failed));
            }
            if before != after || flows.tally().lost() > 0 {
                broken.push(format!("{subject}: long flows were {before:?} and are {after:?}: {}", flows.tally()));
            }
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_deaths_of_its_helpers_are_no_clients_business() {
    let Some(mut pair) = FrontPair::build("dead helpers", Subject::Toml) else { return };
    pair.start_gate(0);
    pair.wait_owner(0);
    pair.wait_serving();
    let gate = pair.gate(0);
    let flows = Flows::open(&pair.client, &pair.targets(), &[], 30, Duration::from_millis(20));
    let customers = Customers::start(&pair.client, &pair.targets());
    let find = |name: &str| gate.main().descendants().into_iter().find(|pid| says(*pid, name));
    let mut table = Table::new("kill -9 of each helper under load", &["helper", "back, or said, after"]);
    for name in ["guardian", "guardian", "guardian", "spawner"] {
        let victim = find(name).expect(name);
        let begun = Instant::now();
        kill(victim, Signal::SIGKILL).expect(name);
        // Where root was given up, nobody can take the place of the process that kept it.
        let said = || name == "spawner" && gate.log().contains("commands cannot be run any more");
        until_true(format_args!("another {name}"), PATIENCE, || said() || find(name).is_some_and(|pid| pid != victim));
        table.row(&[name, &ms(begun.elapsed())]);
    }
    pass(Duration::from_millis(500));
    let served = customers.end();
    table.print();
    assert!(served.failed.is_empty() && served.good > 0, "{served:?}");
    assert_eq!(flows.tally().lost(), 0, "{}", flows.tally());
    assert_eq!(pair.ownership.owners(VIP), [pair.nodes[0].name()], "the address was given up");
}

fn says(pid: Pid, word: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(word))
}

/// Clients come until the address is gone. None of them may be kept by a node that they cannot reach any more.
#[test]
fn a_gate_that_leaves_under_load_waits_for_nobody() {
    const ROUNDS: usize = 3;
    /// `stop-grace`, of which the guardian's patience leaves 400 ms here, is for flows that can still go on.
    const END: Duration = Duration::from_millis(300);
    let Some(mut pair) = FrontPair::build("leave under load", Subject::Toml) else { return };
    let mut table = Table::new("TERM under load", &["round", "ended after the address was gone", "flows"]);
    let mut broken = Vec::new();
    for round in 1..=ROUNDS {
        pair.start_gate(0);
        pair.wait_owner(0);
        pair.wait_serving();
        let flows = Flows::open(&pair.client, &pair.targets(), &[], 30, Duration::from_millis(20));
        let customers = Customers::start(&pair.client, &pair.targets());
        pass(Duration::from_millis(200));
        pair.gate(0).terminate();
        until_true("the address to go", PATIENCE, || pair.ownership.owners(VIP).is_empty());
        let gone = Instant::now();
        pair.gate(0).wait_end();
        let took = gone.elapsed();
        // Their thread may see it later than the node ends.
        let _ = try_until(PATIENCE, || (flows.tally().alive == 0).then_some(()));
        let tally = flows.settle(PATIENCE);
        table.row(&[&round.to_string(), &ms(took), &tally.to_string()]);
        if took >= END {
            broken.push(format!("round {round}: ended {took:?} after its address was gone"));
        }
        if tally.reset != 30 {
            broken.push(format!("round {round}: {tally}"));
        }
        drop(customers.end());
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
