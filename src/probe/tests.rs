use crate::stats::server_line::Line;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use super::*;
use crate::model::{Agent, Check, CheckResult, Server};
use crate::stats::Health;
use outcome::Verdict;
use roster::{Change, Finding};

const POLICY: Policy = Policy { spread_percent: 0, log_checks: false };
const MS: Duration = Duration::from_millis(1);

fn check(target: SocketAddr) -> Check {
    Check { down_interval: 5000 * MS, timeout: 1000 * MS, ..Check::new(target) }
}

fn server(name: &str, check: Option<Check>) -> Server {
    Server { check, ..Server::new(name, IpAddr::V4(Ipv4Addr::LOCALHOST)) }
}

fn pool(servers: Vec<Server>) -> Pool {
    Pool::new("b", servers)
}

fn target(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn outcome(result: CheckResult) -> Outcome {
    let detail = match result {
        CheckResult::L4Connection => "Connection refused",
        CheckResult::Starved => "Too many open files",
        _ => "",
    };
    Verdict::saying(result, detail).after(Duration::from_micros(200))
}

fn no_commands() -> RunCommand {
    Arc::new(|_| Box::pin(async { (Ended::NotStarted("no commands here".to_owned()), String::new()) }))
}

fn target_of(due: &Due) -> SocketAddr {
    match &due.work {
        Work::Check { plan, .. } | Work::Keys(plan) => plan.check.target,
        Work::Agent(agent) => agent.target,
    }
}

/// A roster on a clock of its own.
struct Bench {
    roster: Roster,
    registry: Arc<Registry>,
    now: Instant,
}

impl Bench {
    fn new(servers: Vec<Server>) -> Self {
        let registry = Arc::new(Registry::default());
        let mut roster = Roster::new(Arc::clone(&registry));
        let now = Instant::now();
        assert_eq!(roster.apply(&[pool(servers)], POLICY, "n1", now), []);
        Self { roster, registry, now }
    }

    /// Advances to the next check and gives it this result; returns the time that passed, too.
    fn next(&mut self, result: CheckResult) -> (Duration, Finding) {
        let before = self.now;
        let due = loop {
            self.now = self.roster.next_due().unwrap().max(self.now);
            if let Some(due) = self.roster.take_due(self.now) {
                break due;
            }
        };
        let finding = self.roster.finish(due.id, outcome(result), self.now).unwrap();
        (self.now - before, finding)
    }

    fn apply(&mut self, servers: Vec<Server>) -> Vec<Transition> {
        self.roster.apply(&[pool(servers)], POLICY, "n1", self.now)
    }
}

#[test]
fn intervals_follow_the_counter() {
    use CheckResult::{L4Connection as Failed, L4Ok as Passed, L4Timeout as TimedOut};
    let mut bench = Bench::new(vec![server("s1", Some(check(target(1))))]);
    let mut told = Vec::new();
    for result in [Failed, Failed, Passed, Passed, Passed, Failed, TimedOut, Failed, Failed] {
        let (waited, finding) = bench.next(result);
        told.push((waited.as_millis(), finding.change, finding.counter.0));
    }
    use Change::{Down, Nothing, Up};
    let expected = [
        (0, Down, 0),
        (5000, Nothing, 0),
        (5000, Nothing, 1),
        (500, Up, 4),
        (2000, Nothing, 4),
        (2000, Nothing, 3),
        (500, Nothing, 2),
        (500, Down, 0),
        (5000, Nothing, 0),
    ];
    assert_eq!(told, expected);
    let stats = bench.registry.server("b", "s1");
    let status = stats.status();
    assert_eq!((status.health, status.counter), (Health::Down, Some((0, 4))));
    assert_eq!(status.reason, "Layer4 connection problem: connection refused in 0.2 ms");
    assert_eq!(stats.checks.load(std::sync::atomic::Ordering::Relaxed), 9);
    // Those that found it up.
    assert_eq!(stats.checks_failed.load(std::sync::atomic::Ordering::Relaxed), 4);
    assert_eq!(stats.downs.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn first_checks_are_spread_over_the_shortest_interval() {
    let mut long = check(target(9));
    long.interval = 60_000 * MS;
    let servers =
        (0..4).map(|port| server(&format!("s{port}"), Some(check(target(port))))).chain([server("slow", Some(long))]);
    let mut bench = Bench::new(servers.collect());
    let waits: Vec<u128> = (0..5).map(|_| bench.next(CheckResult::L4Ok).0.as_millis()).collect();
    assert_eq!(waits, [0, 400, 400, 400, 400]);
}

#[test]
fn later_checks_vary_by_the_spread() {
    let registry = Arc::new(Registry::default());
    let mut roster = Roster::new(registry);
    let now = Instant::now();
    let policy = Policy { spread_percent: 10, log_checks: false };
    let _ = roster.apply(
        &[pool((0..200).map(|i| server(&i.to_string(), Some(check(target(i))))).collect())],
        policy,
        "n1",
        now,
    );
    let mut seen = Vec::new();
    let late = now + 2000 * MS;
    let mut under_way = Vec::new();
    while let Some(due) = roster.take_due(late) {
        under_way.push(due.id);
    }
    for id in under_way {
        let _ = roster.finish(id, outcome(CheckResult::L4Ok), late);
    }
    while let Some(next) = roster.next_due() {
        let _ = roster.take_due(next);
        seen.push((next - late).as_millis());
    }
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|wait| (1800..=2200).contains(wait)), "{seen:?}");
    assert!(seen.iter().any(|wait| *wait < 1900) && seen.iter().any(|wait| *wait > 2100), "{seen:?}");
}

/// The first line that a finding is worth.
fn state_line(finding: &Finding) -> String {
    match report::state_lines(finding).swap_remove(0) {
        Line::Info(text) | Line::Warning(text) | Line::Error(text) => text,
    }
}

#[test]
fn log_lines_are_haproxys() {
    use CheckResult::{L4Connection as Failed, L4Ok as Passed, L4Timeout as TimedOut};
    let mut backup = server("s2", None);
    backup.backup = true;
    let mut bench = Bench::new(vec![server("s1", Some(check(target(1)))), backup]);
    bench.registry.server("b", "s1").open.store(3, std::sync::atomic::Ordering::Relaxed);
    let (_, finding) = bench.next(Failed);
    assert_eq!(
        state_line(&finding),
        "Server b/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: 0ms. \
         0 active and 1 backup servers left. Running on backup. 3 sessions active, 0 requeued, 0 remaining in queue."
    );
    let (_, finding) = bench.next(Passed);
    assert_eq!(
        report::counter_line(&finding),
        "Health check for server b/s1 succeeded, reason: Layer4 check passed, check duration: 0ms, status: 1/2 DOWN."
    );
    let (_, finding) = bench.next(Passed);
    assert_eq!(
        state_line(&finding),
        "Server b/s1 is UP, reason: Layer4 check passed, check duration: 0ms. 1 active and 1 backup servers online. \
         0 sessions requeued, 0 total in queue."
    );
    assert!(matches!(finding.clone().into_events(vec![]).as_slice(), [Event::Transition(Transition { up: true, .. })]));
    let (_, finding) = bench.next(TimedOut);
    assert_eq!(
        report::counter_line(&finding),
        "Health check for server b/s1 failed, reason: Layer4 timeout, check duration: 0ms, status: 2/3 UP."
    );

    let mut alone = server("s9", Some(check(target(1))));
    alone.backup = true;
    let mut bench = Bench::new(vec![alone]);
    let (_, finding) = bench.next(TimedOut);
    assert!(state_line(&finding).starts_with("Backup Server b/s9 is DOWN, reason: Layer4 timeout, check duration"));
    assert_eq!(finding.usable, (0, 0));
}

#[test]
fn what_an_earlier_life_knew_is_believed_for_a_while() {
    use CheckResult::L4Connection as Failed;
    let begun = Instant::now();
    let begin = |up: bool, counter: u32, place: u16, ago: Duration| {
        let now = begun + ago;
        let registry = Arc::new(Registry::default());
        let mut roster = Roster::new(Arc::clone(&registry));
        let last = crate::stats::LastCheck {
            result: if up { CheckResult::L4Ok } else { Failed },
            code: None,
            detail: "so it was".to_owned(),
            duration: MS,
            at: begun,
        };
        let (pool_name, server_name, reason) = ("b".to_owned(), "s1".to_owned(), "why".to_owned());
        let (target, stopping) = (target(place), false);
        roster.recall(
            vec![Recalled {
                pool: pool_name,
                server: server_name,
                target,
                counter,
                up,
                stopping,
                last,
                reason,
                since: begun,
            }],
            Vec::new(),
        );
        let servers = vec![server("s1", Some(check(super::tests::target(1))))];
        assert_eq!(roster.apply(&[pool(servers)], POLICY, "n1", now), []);
        assert!(roster.take_due(now).is_some(), "it is checked at once");
        let status = registry.server("b", "s1").status();
        assert_eq!(status.health, if roster.is_up("b", "s1") { Health::Up } else { Health::Down });
        (roster.is_up("b", "s1"), status.counter.unwrap().0, status.last_check.is_some())
    };
    // rise 2, fall 3, 2 s, 5 s when down.
    for (up, counter, place, ago, expected) in [
        (false, 0, 1, 1000, (false, 0, true)),
        (false, 1, 1, 60_000, (false, 1, true)),
        (false, 0, 1, 305_000, (false, 0, true)),
        (false, 0, 1, 305_001, (true, 2, false)),
        // Checked somewhere else.
        (false, 0, 2, 1000, (true, 2, false)),
        (true, 4, 1, 4000, (true, 4, true)),
        (true, 3, 1, 1000, (true, 3, true)),
        // More than one check was missed: the first failure counts.
        (true, 4, 1, 4001, (true, 2, true)),
    ] {
        assert_eq!(begin(up, counter, place, ago * MS), expected, "{up} {counter} {place} {ago}");
    }
}

#[test]
fn a_reload_keeps_what_stays() {
    let mut bench = Bench::new(vec![server("s1", Some(check(target(1)))), server("s2", Some(check(target(2))))]);
    let (_, finding) = bench.next(CheckResult::L4Connection);
    assert_eq!((finding.server.as_str(), finding.change), ("s1", Change::Down));
    let due = bench.roster.take_due(bench.now + 1000 * MS).unwrap();
    assert_eq!(target_of(&due), target(2));

    // The same again, and one more: s1 stays down and waits on, s2's check under way still counts.
    let more = vec![
        server("s1", Some(check(target(1)))),
        server("s2", Some(check(target(2)))),
        server("s3", Some(check(target(3)))),
    ];
    assert_eq!(bench.apply(more), []);
    assert!(!bench.roster.is_up("b", "s1"));
    assert_eq!(bench.roster.usable("b"), (2, 0));
    let finding = bench.roster.finish(due.id, outcome(CheckResult::L4Connection), bench.now).unwrap();
    assert_eq!((finding.server.as_str(), finding.change, finding.usable), ("s2", Change::Down, (1, 0)));

    // A shorter interval takes effect now, not after the long one; the state stays.
    let mut hasty = check(target(1));
    hasty.down_interval = 100 * MS;
    assert_eq!(bench.apply(vec![server("s1", Some(hasty))]), []);
    let (waited, finding) = bench.next(CheckResult::L4Ok);
    assert_eq!((waited, finding.server.as_str()), (100 * MS, "s1"));
    assert_eq!(bench.roster.finish(due.id, outcome(CheckResult::L4Connection), bench.now), None, "s2 is forgotten");
    assert!(!bench.roster.is_up("b", "s2"));

    // Another target is another server: up until checked.
    let moved = bench.apply(vec![server("s1", Some(check(target(7))))]);
    assert_eq!(moved.len(), 1);
    assert!(moved[0].up && moved[0].reason.contains("not checked yet"), "{moved:?}");
    let mut disabled = server("s1", Some(check(target(7))));
    disabled.disabled = true;
    let out = bench.apply(vec![disabled]);
    assert!(!out[0].up, "{out:?}");
    assert_eq!(bench.registry.server("b", "s1").status().health, Health::Disabled);
    assert_eq!(bench.roster.usable("b"), (0, 0));
    assert!(bench.apply(vec![server("s1", None)])[0].up);
    assert_eq!(bench.registry.server("b", "s1").status().health, Health::Unchecked);
}

#[test]
fn what_this_node_lacks_is_not_the_servers_fault() {
    let mut bench = Bench::new(vec![server("s1", Some(check(target(1))))]);
    assert_eq!(bench.next(CheckResult::Starved).1.change, Change::Starved);
    assert_eq!(bench.next(CheckResult::Starved).1.change, Change::Nothing, "said once");
    assert!(bench.roster.is_up("b", "s1"));
    assert_eq!(bench.next(CheckResult::L4Connection).1.change, Change::Down);
}

#[test]
fn weight_zero_is_up_but_not_usable() {
    let mut drained = server("s1", None);
    drained.weight = 0;
    let bench = Bench::new(vec![drained]);
    assert!(bench.roster.is_up("b", "s1"));
    assert_eq!(bench.roster.usable("b"), (0, 0));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn next_transition(told: &mut mpsc::UnboundedReceiver<Event>) -> Transition {
    match tokio::time::timeout(Duration::from_secs(5), told.recv()).await.unwrap().unwrap() {
        Event::Transition(transition) => transition,
        other => panic!("{other:?}"),
    }
}

fn quick(target: SocketAddr) -> Check {
    Check { interval: 50 * MS, fast_interval: 20 * MS, down_interval: 50 * MS, ..check(target) }
}

#[test]
fn a_server_that_dies_and_returns_is_reported() {
    runtime().block_on(async {
        let listener = TcpListener::bind(target(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Arc::new(Registry::default());
        let (transitions, mut told) = mpsc::unbounded_channel();
        let prober = Prober::start(Arc::clone(&registry), transitions, no_commands());
        prober.apply(&[pool(vec![server("s1", Some(quick(address)))])], POLICY, "n1");
        assert!(prober.is_up("b", "s1") && !prober.is_up("b", "other"));

        let silence = tokio::time::timeout(300 * MS, told.recv()).await;
        assert!(silence.is_err(), "{silence:?}");
        listener.set_nonblocking(true).unwrap();
        let mut seen = 0;
        while listener.accept().is_ok() {
            seen += 1;
        }
        let made = registry.server("b", "s1").checks.load(std::sync::atomic::Ordering::Relaxed);
        assert!(made >= 3 && seen < made / 2, "of {made} checks the server's accept() saw {seen}");
        drop(listener);
        let down = next_transition(&mut told).await;
        assert_eq!((down.up, down.server.as_str()), (false, "s1"));
        assert!(down.reason.starts_with("Layer4 connection problem: connection refused in "), "{down:?}");
        assert_eq!(prober.usable("b"), (0, 0));

        let _listener = TcpListener::bind(address).unwrap();
        let up = next_transition(&mut told).await;
        assert!(up.up && prober.is_up("b", "s1"), "{up:?}");
    });
}

#[test]
fn a_silent_target_times_out() {
    runtime().block_on(async {
        // A listen queue that is full answers nothing.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&target(0).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        for _ in 0..4 {
            fillers.push(tokio::time::timeout(100 * MS, tokio::net::TcpStream::connect(address)).await);
        }
        let check = Check { timeout: 200 * MS, ..check(address) };
        let plan = plan::Plan::new(&check, &mut plan::TlsClients::default());
        let plan::Work::Conversation(steps) = &plan.work else { unreachable!() };
        let outcome = conversation::hold(&plan, steps, None).await;
        assert_eq!(outcome.result, CheckResult::L4Timeout, "{outcome:?}");
        assert!(outcome.duration >= 200 * MS && outcome.duration < 2000 * MS, "{outcome:?}");
        assert!(report::reason(&outcome).starts_with("Layer4 timeout after 2"), "{}", report::reason(&outcome));
    });
}

/// CPU time of this thread so far.
fn thread_cpu() -> Duration {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(figures.split(' ').next().and_then(|run| run.parse().ok()).unwrap_or(0))
}

#[test]
fn thousands_of_servers_are_checked_in_time_by_one_task() {
    const SERVERS: usize = 5000;
    runtime().block_on(async {
        let listener = TcpListener::bind(target(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Arc::new(Registry::default());
        let (transitions, mut told) = mpsc::unbounded_channel();
        let prober = Prober::start(Arc::clone(&registry), transitions, no_commands());
        let check = Check { interval: 2000 * MS, fast_interval: 2000 * MS, ..check(address) };
        let servers = (0..SERVERS).map(|index| server(&index.to_string(), Some(check.clone()))).collect();
        let before = thread_cpu();
        prober.apply(&[pool(servers)], Policy { spread_percent: 5, log_checks: false }, "n1");
        tokio::time::sleep(4500 * MS).await;
        let used = thread_cpu() - before;
        let counts: Vec<u64> = (0..SERVERS)
            .map(|index| registry.server("b", &index.to_string()).checks.load(std::sync::atomic::Ordering::Relaxed))
            .collect();
        let total: u64 = counts.iter().sum();
        println!(
            "{SERVERS} servers, {total} checks in 4.5 s: {used:?} of CPU, {:?} a check",
            used / u32::try_from(total).unwrap()
        );
        // A listen queue that overflows on a busy machine may cost one a timeout, never its turn.
        assert!(counts.iter().all(|count| *count >= 1), "everybody had a turn");
        assert!(total >= 2 * SERVERS as u64 - 100, "{total} checks");
        let mut downs = 0;
        while let Ok(event) = told.try_recv() {
            downs += usize::from(matches!(event, Event::Transition(Transition { up: false, .. })));
        }
        assert!(downs < SERVERS / 100, "{downs} servers went down");
    });
}

#[test]
fn connections_that_failed_count_as_configured() {
    use crate::model::OnError;
    let limits = (2, 3);
    for (on_error, counter, change) in [
        (OnError::FastCheck, 4, Change::Nothing),
        (OnError::FailCheck, 3, Change::Nothing),
        (OnError::SuddenDeath, 2, Change::Nothing),
        (OnError::MarkDown, 0, Change::Down),
    ] {
        let mut check = check(target(7));
        (check.rise, check.fall) = limits;
        (check.interval, check.fast_interval) = (Duration::from_secs(10), Duration::from_millis(100));
        let mut bench = Bench::new(vec![server("s1", Some(check))]);
        bench.next(CheckResult::L4Ok);
        let observed = Observation { pool: "b".into(), server: "s1".into(), errors: 5, on_error };
        let finding = bench.roster.observe(&observed, bench.now).unwrap();
        assert_eq!((finding.counter.0, finding.change), (counter, change), "{on_error:?}");
        let unknown = Observation { server: "s9".into(), ..observed.clone() };
        assert_eq!(bench.roster.observe(&unknown, bench.now), None);
        // The next check comes soon, whatever it means.
        let (after, _) = bench.next(CheckResult::L4Ok);
        assert_eq!(after, Duration::from_millis(100), "{on_error:?}");
        if change == Change::Down {
            assert_eq!(bench.roster.usable("b"), (0, 0));
            assert_eq!(bench.roster.observe(&observed, bench.now), None, "it is down already");
        }
    }
}

#[test]
fn observed_errors_are_told_in_haproxys_words() {
    use crate::model::OnError;
    let mut bench = Bench::new(vec![server("s1", Some(check(target(7))))]);
    let on_error = OnError::MarkDown;
    let observed = Observation { pool: "b".into(), server: "s1".into(), errors: 2, on_error };
    let finding = bench.roster.observe(&observed, bench.now).unwrap();
    let line = state_line(&finding);
    let expected = "Server b/s1 is DOWN, reason: Health analyze, \
                    info: \"Detected 2 consecutive errors, last one was: L4 unsuccessful connection\"";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn what_an_agent_said_in_an_earlier_life_is_believed_for_a_while() {
    let begun = Instant::now();
    let begin = |place: u16, ago: Duration| {
        let now = begun + ago;
        let registry = Arc::new(Registry::default());
        let mut roster = Roster::new(Arc::clone(&registry));
        let last = crate::stats::LastCheck {
            result: CheckResult::L7Status,
            code: None,
            detail: "down".to_owned(),
            duration: MS,
            at: begun,
        };
        let (pool_name, server_name, reason) = ("b".to_owned(), "s1".to_owned(), "why".to_owned());
        let target = target(place);
        let word = AgentWord { pool: pool_name, server: server_name, target, down: true, last, reason, since: begun };
        roster.recall(Vec::new(), vec![word]);
        let agent = Agent { interval: Duration::from_secs(2), ..Agent::new(super::tests::target(1)) };
        let servers = vec![Server { agent: Some(agent), ..server("s1", None) }];
        assert_eq!(roster.apply(&[pool(servers)], POLICY, "n1", now), []);
        assert!(roster.take_due(now).is_some(), "it is asked at once");
        let status = registry.server("b", "s1").status();
        assert_eq!(status.agent_down, !roster.is_up("b", "s1"));
        (roster.is_up("b", "s1"), status.reason == "why")
    };
    for (place, ago, expected) in [
        (1, 1000, (false, true)),
        (1, 302_000, (false, true)),
        (1, 302_001, (true, false)),
        // Asked somewhere else.
        (2, 1000, (true, false)),
    ] {
        assert_eq!(begin(place, Duration::from_millis(ago)), expected, "{place} {ago}");
    }
}
