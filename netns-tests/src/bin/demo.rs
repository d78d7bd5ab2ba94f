//! `make demo`: the main job in throw-away network namespaces, with a live timeline and a table of measured figures.
//!
//! `demo` runs it and removes everything; with `KEEP=1` in the environment the nodes and servers stay until
//! `demo remove`, the next demonstration or the next test run. `demo serve` and `demo janitor` are its own helpers.
#![expect(clippy::disallowed_methods, reason = "a demonstration runs in real time")]

use std::collections::BTreeMap;
use std::env;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netns_tests::echo::{self, Mode};
use netns_tests::flows::{Flows, HANGING};
use netns_tests::gate::{Subject, vipgate_binary};
use netns_tests::lab::{self, Lab};
use netns_tests::ownership::Event as Owned;
use netns_tests::pair::{Event, FrontPair, PATIENCE, PORTS, VIP};
use netns_tests::plan::Sticky;
use netns_tests::report::{Table, line, loud, ms};
use netns_tests::silence::{self, Attempt, Outcome, Silence};
use netns_tests::wait::{pass, try_until};

/// Clients whose server is followed through the events.
const FOLLOWED: usize = 12;
const LIMIT: Duration = Duration::from_secs(2);
/// After an event: long enough for what hangs to show.
const CALM: Duration = Duration::from_millis(1200);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => run(),
        ["serve", name] => serve(name),
        ["janitor", pid] => janitor(pid),
        ["remove"] => {
            lab::remove_dead();
            ExitCode::SUCCESS
        }
        other => {
            loud(&format!("demo: {other:?} is not understood; usage: demo [remove]"));
            ExitCode::from(2)
        }
    }
}

fn run() -> ExitCode {
    if let Some(missing) = lab::missing_privilege() {
        loud(&format!("demo: {missing}; run it as root on Linux: sudo make demo"));
        return ExitCode::from(4);
    }
    let binary = vipgate_binary();
    let keep = env::var_os("KEEP").is_some_and(|value| value == "1");
    let Ok(mut janitor) = start_janitor() else {
        loud("demo: it cannot start itself a second time, to clean up after an interruption");
        return ExitCode::FAILURE;
    };
    line(&format!("vipgate's main job, with {} and adverts every second\n", binary.display()));
    line("  client 192.168.56.10-69 ── 192.168.56.100 (VIP) ─┬─ gate-a ─┬── files-1  10.0.0.11");
    line("                             ports 3000-3010       └─ gate-b ─┼── files-2  10.0.0.12");
    line("                                                              └── files-3  10.0.0.13");
    let demo = Demo::start();
    let pair = demo.play();
    if keep {
        let _ = janitor.kill();
        let _ = janitor.wait();
        leave_running(pair);
    } else {
        drop(pair);
        line("everything is removed again (KEEP=1 leaves it running)");
    }
    ExitCode::SUCCESS
}

/// The running demonstration.
struct Demo {
    pair: FrontPair,
    silence: Arc<Silence>,
    clock: Clock,
    table: Table,
    monitor: Monitor,
    /// Where each followed client was served last.
    landed: BTreeMap<IpAddr, String>,
}

/// Seconds since the beginning.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn say(self, text: &str) {
        line(&format!("{:8.3} s  {text}", self.0.elapsed().as_secs_f64()));
    }

    fn say_at(self, at: Instant, text: &str) {
        line(&format!("{:8.3} s  {text}", (at - self.0).as_secs_f64()));
    }

    fn chapter(self, title: &str) {
        line(&format!("\n{:8.3} s  == {title}", self.0.elapsed().as_secs_f64()));
    }
}

impl Demo {
    fn start() -> Self {
        let clock = Clock(Instant::now());
        clock.chapter("start: two nodes, one configuration, priorities 150 and 100");
        let mut pair = FrontPair::build_in(Lab::new(), Subject::Toml).every(Duration::from_secs(1)).with(|plan| {
            plan.services[0].sticky = Sticky::Source;
        });
        pair.start_gate(0);
        pair.start_gate(1);
        clock.say("vipgate runs on gate-a and gate-b; both listen for a master");
        let since = pair.wait_owner(0);
        clock.say_at(since, &format!("gate-a heard none: it is master and has {VIP}"));
        pair.wait_serving();
        pair.wait_standby();
        let silence = Arc::new(Silence::start(&pair.client, &pair.targets(), &[]));
        clock.say("a client opens a new connection through the VIP every millisecond from now on");
        let monitor = Monitor::start(clock, &pair, Arc::clone(&silence));
        let table = Table::new(
            "measured",
            &["event", "new connections failed for", "failed", "20 open flows", "sticky clients moved", "master then"],
        );
        Self { pair, silence, clock, table, monitor, landed: BTreeMap::new() }
    }

    fn play(mut self) -> FrontPair {
        self.sticky_traffic();
        self.server_dies_and_returns();
        self.move_away("a hand-over: `vipgate handover` on", Event::HandOver);
        self.move_away("kill -9 of the process on", Event::Kill);
        let cut = self.move_away("the client network's cable is pulled from", Event::CutCarrier);
        self.cable_returns(cut);
        self.monitor.stop();
        self.table.print();
        line(
            "  (a client that is told by a reset connects again; adverts every second, so a dead node is missed after 3.6 s)\n",
        );
        self.pair
    }

    fn sticky_traffic(&mut self) {
        self.clock.chapter("sticky traffic: every client on every port of the range, by the hash of its address");
        let targets = self.pair.targets();
        for source in self.followed() {
            let mut servers: Vec<String> = targets
                .iter()
                .filter_map(|&target| self.pair.client.ask(Some(source), target, LIMIT).ok())
                .map(|answer| format!("{} (port {})", answer.server, answer.port))
                .collect();
            let answers = servers.len();
            servers.iter_mut().for_each(|server| server.truncate("files-1".len()));
            servers.dedup();
            self.clock.say(&format!(
                "client {source}: {answers} of {} ports answered, by {}",
                targets.len(),
                servers.join(", ")
            ));
        }
        self.landed = self.land();
    }

    fn server_dies_and_returns(&mut self) {
        const DEAD: usize = 0;
        let name = self.pair.servers[DEAD].name().to_owned();
        self.clock.chapter(&format!("a server dies: {name}"));
        let flows = self.open_flows();
        self.silence.wait_steady(200, PATIENCE);
        let begun = Instant::now();
        self.pair.stop_server(DEAD);
        pass(CALM);
        let report = self.silence.report_since(begun);
        let tally = flows.settle(HANGING);
        drop(flows);
        let moved = self.follow();
        let text = format!("{moved} of its clients moved");
        self.clock.say(&format!("{moved} of {FOLLOWED} clients are served elsewhere, flows: {tally}"));
        self.row("a server dies", &ms(report.silence), &report.failures_text(), &tally.to_string(), &text);

        self.clock.chapter(&format!("{name} returns"));
        self.pair.start_server(DEAD);
        pass(Duration::from_secs(2));
        let moved = self.follow();
        self.clock.say(&format!("{moved} of {FOLLOWED} clients are back where their hash has them"));
    }

    /// Lets `event` happen to the active node; says which that was.
    fn move_away(&mut self, what: &str, event: Event) -> usize {
        let active = self.active();
        let name = self.pair.nodes[active].name().to_owned();
        self.clock.chapter(&format!("{what} {name}"));
        let flows = self.open_flows();
        self.silence.wait_steady(200, PATIENCE);
        let begun = self.pair.strike(active, event);
        let successor = self.pair.nodes[1 - active].clone();
        let taken = try_until(PATIENCE, || self.pair.ownership.gained(&successor, VIP, begun));
        self.silence.wait_recovered(begun, CALM, PATIENCE);
        let report = self.silence.report_since(begun);
        let tally = flows.settle(2 * CALM);
        drop(flows);
        let moved = self.follow();
        if let Some(taken) = taken {
            let text = format!("{} took over {} after the event; flows: {tally}", successor.name(), ms(taken - begun));
            self.clock.say(&text);
        }
        self.row(event.label(), &ms(report.silence), &report.failures_text(), &tally.to_string(), &moved.to_string());
        if event == Event::Kill {
            self.pair.heal(active, event);
            self.pair.wait_standby();
            self.clock.say(&format!("vipgate runs on {name} again"));
        }
        active
    }

    fn cable_returns(&mut self, which: usize) {
        self.clock.chapter(&format!("the return: {} has its cable again", self.pair.nodes[which].name()));
        let begun = Instant::now();
        self.pair.heal(which, Event::CutCarrier);
        if which == 0 {
            let since = self.pair.wait_owner(0);
            self.clock.say(&format!("gate-a, of the higher priority, took over {} later", ms(since - begun)));
        }
        self.silence.wait_recovered(begun, CALM, PATIENCE);
        let report = self.silence.report_since(begun);
        let moved = self.follow();
        self.row("the return", &ms(report.silence), &report.failures_text(), "-", &moved.to_string());
    }

    fn row(&mut self, event: &str, silence: &str, failed: &str, flows: &str, moved: &str) {
        let master = self.pair.ownership.owners(VIP).join(" and ");
        self.table.row(&[event, silence, failed, flows, moved, &master]);
    }

    fn active(&self) -> usize {
        let owners = self.pair.ownership.owners(VIP);
        self.pair.nodes.iter().position(|node| owners.contains(&node.name())).unwrap_or(0)
    }

    fn open_flows(&self) -> Flows {
        Flows::open(&self.pair.client, &self.pair.targets(), &self.pair.sources(), 20, Duration::from_millis(50))
    }

    fn followed(&self) -> Vec<IpAddr> {
        self.pair.sources().into_iter().take(FOLLOWED).collect()
    }

    /// Asks for every followed client who serves it now.
    fn land(&self) -> BTreeMap<IpAddr, String> {
        let ask = |source| {
            let answer = self.pair.client.ask(Some(source), self.pair.target(), LIMIT);
            (source, answer.map_or_else(|error| error.to_string(), |answer| answer.server))
        };
        self.followed().into_iter().map(ask).collect()
    }

    /// How many followed clients have another server than before.
    fn follow(&mut self) -> usize {
        let now = self.land();
        let moved = now.iter().filter(|(client, server)| self.landed.get(*client) != Some(*server)).count();
        self.landed = now;
        moved
    }
}

/// Writes the live part of the timeline.
struct Monitor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    fn start(clock: Clock, pair: &FrontPair, silence: Arc<Silence>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let names = pair.nodes.clone().map(|node| node.name().to_owned());
        let events = pair.ownership.reader();
        let thread = std::thread::spawn(move || {
            let mut live =
                Live { clock, names, seen_events: events().len(), seen_attempts: 0, waiting: Vec::new(), run: None };
            while !stopped.load(Ordering::Relaxed) {
                // What began so long ago has ended: it can be told in the order in which it happened.
                let told = Instant::now() - silence::PATIENCE - LOOK;
                live.look(&events(), silence.attempts_from(live.seen_attempts));
                live.tell(told);
                pass(LOOK);
            }
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How often the monitor looks.
const LOOK: Duration = Duration::from_millis(20);

struct Live {
    clock: Clock,
    names: [String; 2],
    seen_events: usize,
    seen_attempts: usize,
    waiting: Vec<(Instant, News)>,
    run: Option<Failing>,
}

/// What is told in the order of time.
enum News {
    Owner(String),
    /// The server that answered an attempt; none if none did.
    Attempt(Option<String>),
}

/// A run of failed attempts.
struct Failing {
    began: Instant,
    failed: usize,
    /// Successes in a row since the last failure, and when the first of them began.
    good: usize,
    until: Instant,
}

impl Live {
    fn look(&mut self, events: &[Owned], (attempts, servers): (Vec<Attempt>, Vec<String>)) {
        for event in events.iter().skip(self.seen_events).filter(|event| event.address == VIP) {
            let what = if event.owned { "has" } else { "gave back" };
            self.waiting.push((event.at, News::Owner(format!("{} {what} {VIP}", self.names[event.node]))));
        }
        self.seen_events = events.len();
        self.seen_attempts += attempts.len();
        for attempt in attempts {
            let server = match attempt.outcome {
                Outcome::Echoed(server) => servers.get(server).cloned(),
                _ => None,
            };
            self.waiting.push((attempt.start, News::Attempt(server)));
        }
    }

    /// Tells what happened until `told`.
    fn tell(&mut self, told: Instant) {
        self.waiting.sort_by_key(|&(at, _)| at);
        let later = self.waiting.split_off(self.waiting.partition_point(|&(at, _)| at <= told));
        for (at, news) in std::mem::replace(&mut self.waiting, later) {
            match news {
                News::Owner(text) => self.clock.say_at(at, &text),
                News::Attempt(server) => self.attempt(at, server),
            }
        }
    }

    fn attempt(&mut self, at: Instant, server: Option<String>) {
        /// Successes in a row that end a run of failures.
        const OVER: usize = 30;
        match (server, &mut self.run) {
            (None, None) => {
                self.clock.say_at(at, "new connections fail");
                self.run = Some(Failing { began: at, failed: 1, good: 0, until: at });
            }
            (None, Some(run)) => (run.failed, run.good) = (run.failed + 1, 0),
            (Some(_), None) => {}
            (Some(server), Some(run)) => {
                if run.good == 0 {
                    run.until = at;
                }
                run.good += 1;
                if run.good == OVER {
                    let (failed, span) = (run.failed, ms(run.until - run.began));
                    let text = format!("new connections are served again, by {server} ({failed} failed within {span})");
                    self.clock.say_at(run.until, &text);
                    self.run = None;
                }
            }
        }
    }
}

/// Serves the service's ports in this network namespace, until it is killed.
fn serve(name: &str) -> ExitCode {
    echo::serve_here(name, PORTS, Mode::Echo);
    ExitCode::SUCCESS
}

/// Leaves the nodes and servers running: the servers' threads would end with this process, so processes replace them.
fn leave_running(mut pair: FrontPair) {
    let Ok(executable) = env::current_exe() else { return };
    for (index, node) in pair.servers.clone().iter().enumerate() {
        pair.stop_server(index);
        let server = node.spawn("serve", node.command(&executable).args(["serve", node.name()]).process_group(0));
        std::mem::forget(server);
    }
    line("It is left running (KEEP=1).\n");
    for node in &pair.nodes {
        let inside = format!("ip netns exec {}", node.namespace());
        line(&format!("  {}:", node.name()));
        line("    statistics  http://127.0.0.1:8404/ inside (also /stats.json, /metrics):");
        line(&format!("                {inside} curl -s http://127.0.0.1:8404/"));
        line(&format!(
            "    status      {inside} {} status --run-dir {}",
            vipgate_binary().display(),
            node.dir().join("run").display()
        ));
        line(&format!("    files       {}", node.dir().display()));
        line(&format!("    a shell     {inside} bash"));
    }
    let client = pair.client.namespace();
    let say = format!("exec 3<>/dev/tcp/{VIP}/{}; echo hello >&3; head -2 <&3", PORTS.start());
    line(&format!("  the client:\n    a new connection  ip netns exec {client} bash -c '{say}'"));
    line(&format!("\n  remove it:    {} remove", executable.display()));
    std::mem::forget(pair);
}

/// A second process that removes what an interrupted or killed demonstration leaves: it notices by the pipe between them.
fn start_janitor() -> std::io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(["janitor", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        // An interrupt at the keyboard goes to the whole process group: not to this one.
        .process_group(0)
        .spawn()
}

fn janitor(of: &str) -> ExitCode {
    let Ok(pid) = of.parse() else { return ExitCode::from(2) };
    // Nobody writes: this returns when the other end is gone.
    let _ = std::io::stdin().read(&mut [0]);
    lab::remove_all_of(pid);
    ExitCode::SUCCESS
}
