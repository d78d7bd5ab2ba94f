//! Trackers against real commands, processes, files, neighbours and routes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking, and say why they do not run"
)]

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};
use vipgate::model::{
    ArgumentsMatch, Command, FileCheck, GatewayCheck, ProbeMethod, ProcessCheck, RouteCheck, ScriptCheck, TrackState,
    Tracker, Watched,
};
use vipgate::spawner::{Job, Runner, Spawner};
use vipgate::track::{Changed, RunCommand, Trackers};

const TICK: Duration = Duration::from_millis(100);
/// What a loaded machine may add to anything.
const SLACK: Duration = Duration::from_secs(5);

/// As the daemon has commands run.
fn run_with(runner: &Runner) -> RunCommand {
    let runner = runner.clone();
    Arc::new(move |command| {
        let runner = runner.clone();
        Box::pin(async move {
            let job = Job { command, arguments: Vec::new(), environment: Vec::new(), secure: false };
            let report = runner.run(job).await;
            (report.outcome.is_success(), report.to_string())
        })
    })
}

fn run_nothing() -> RunCommand {
    Arc::new(|command| panic!("{command:?} is not for this test"))
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn tracker(name: &str, watched: Watched) -> Tracker {
    let zero = Duration::ZERO;
    Tracker { name: name.into(), watched, rise: 1, fall: 1, up_delay: zero, down_delay: zero }
}

fn script(line: &str, starts_down: bool) -> Watched {
    let arguments = vec!["-c".to_owned(), line.to_owned()];
    let command = Command { program: "/bin/sh".into(), arguments, user: None, timeout: Duration::from_secs(10) };
    Watched::Script(ScriptCheck { command, interval: TICK, starts_down })
}

struct Events(UnboundedReceiver<Changed>);

impl Events {
    /// The next change, which has to be this one.
    async fn expect(&mut self, name: &str, state: TrackState) -> String {
        let next = timeout(SLACK, self.0.recv()).await;
        let next = next.unwrap_or_else(|_| panic!("{name} does not become {state:?}")).unwrap();
        assert_eq!((next.name.as_str(), next.state), (name, state), "{next:?}");
        next.reason
    }

    async fn nothing_within(&mut self, limit: Duration) {
        if let Ok(event) = timeout(limit, self.0.recv()).await {
            panic!("{event:?}");
        }
    }
}

fn start(run: RunCommand) -> (Trackers, Events) {
    let (sender, receiver) = unbounded_channel();
    (Trackers::start(run, sender), Events(receiver))
}

/// A directory of this test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipgate-trackers-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn spawner() -> Spawner {
    let mut spawner = Spawner::start_as(Path::new(env!("CARGO_BIN_EXE_vipgate"))).unwrap();
    spawner.listen().unwrap();
    spawner
}

#[test]
fn scripts_rise_and_fall() {
    let spawner = spawner();
    let folder = Folder::new("scripts");
    let (good, runs) = (folder.at("good"), folder.at("runs"));
    let mut watched = tracker("web", script(&format!("echo >> {runs}; test -e {good} || exit 3"), true));
    (watched.rise, watched.fall) = (3, 2);
    let count = || fs::read_to_string(&runs).map_or(0, |runs| runs.lines().count());
    block_on(async {
        let (mut trackers, mut events) = start(run_with(&spawner.runner()));
        trackers.apply(std::slice::from_ref(&watched));
        events.expect("web", TrackState::Down).await;
        assert_eq!(count(), 0, "down before the first run");
        fs::write(&good, "").unwrap();
        events.expect("web", TrackState::Up).await;
        assert!(count() >= 3, "{}", count());
        let before = count();
        fs::remove_file(&good).unwrap();
        let reason = events.expect("web", TrackState::Down).await;
        assert!(reason.starts_with("exit status 3 after"), "{reason}");
        assert!(count() >= before + 2);

        // Gone, it does not run any more and says nothing.
        trackers.apply(&[]);
        let before = count();
        fs::write(&good, "").unwrap();
        events.nothing_within(4 * TICK).await;
        assert!(count() <= before + 1, "the one that ran may have ended");
    });
    spawner.stop();
}

#[test]
fn a_script_never_runs_twice_at_once_and_its_timeout_is_a_failure() {
    let spawner = spawner();
    let folder = Folder::new("twice");
    let (lock, twice) = (folder.at("lock"), folder.at("twice"));
    // Three intervals long.
    let line = format!("mkdir {lock} || touch {twice}; sleep 0.3; rmdir {lock}");
    let mut hung = tracker("hung", script("sleep 1000", false));
    let Watched::Script(check) = &mut hung.watched else { unreachable!() };
    check.command.timeout = 2 * TICK;
    block_on(async {
        let (mut trackers, mut events) = start(run_with(&spawner.runner()));
        trackers.apply(&[tracker("slow", script(&line, false)), hung]);
        let reason = events.expect("hung", TrackState::Down).await;
        assert!(reason.starts_with("took too long"), "{reason}");
        events.expect("slow", TrackState::Up).await;
        sleep(10 * TICK).await;
        assert!(!Path::new(&twice).exists());
    });
    spawner.stop();
}

#[test]
fn a_change_touches_only_what_changed() {
    let spawner = spawner();
    let folder = Folder::new("difference");
    let runs = folder.at("runs");
    let mut stays = tracker("stays", script(&format!("echo >> {runs}"), false));
    // Once: begun anew it would run again.
    let Watched::Script(check) = &mut stays.watched else { unreachable!() };
    check.interval = Duration::from_secs(3600);
    let changes = tracker("changes", script("exit 0", false));
    block_on(async {
        let (mut trackers, mut events) = start(run_with(&spawner.runner()));
        trackers.apply(std::slice::from_ref(&stays));
        events.expect("stays", TrackState::Up).await;
        trackers.apply(&[stays.clone(), changes.clone()]);
        events.expect("changes", TrackState::Up).await;
        let changed = Tracker { fall: 2, watched: script("exit 1", false), ..changes };
        trackers.apply(&[stays, changed]);
        // The old state holds until it is known better.
        events.expect("changes", TrackState::Down).await;
        events.nothing_within(3 * TICK).await;
        assert_eq!(fs::read_to_string(&runs).unwrap(), "\n");
    });
    spawner.stop();
}

/// A process with a name of its own, ended with the test.
struct Sleeper(Child);

impl Sleeper {
    /// Dead, but not waited for: a zombie.
    fn kill(&mut self) {
        self.0.kill().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_are_counted() {
    let folder = Folder::new("processes");
    let name = format!("vg{}", std::process::id());
    let program = folder.at(&name);
    fs::write(&program, "#!/bin/sh\nread forever\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let start_one = || {
        let mut sleeper = Process::new(&program);
        Sleeper(sleeper.args(["-x", "1"]).stdin(std::process::Stdio::piped()).spawn().unwrap())
    };
    let check = |at_least, at_most| ProcessCheck {
        command: name.clone(),
        arguments: Vec::new(),
        arguments_match: ArgumentsMatch::Any,
        whole_command: false,
        at_least,
        at_most,
    };
    let shell = ProcessCheck {
        command: "/bin/sh".into(),
        arguments: vec![program.clone(), "-".into()],
        arguments_match: ArgumentsMatch::Initial,
        whole_command: true,
        ..check(1, None)
    };
    block_on(async {
        let (mut trackers, mut events) = start(run_nothing());
        let (one, few) =
            (tracker("one", Watched::Process(check(1, None))), tracker("few", Watched::Process(check(0, Some(1)))));
        trackers.apply(std::slice::from_ref(&one));
        events.expect("one", TrackState::Down).await;
        let mut first = start_one();
        let reason = events.expect("one", TrackState::Up).await;
        assert!(reason.starts_with("1 of"), "{reason}");
        trackers.apply(&[one.clone(), few.clone()]);
        events.expect("few", TrackState::Up).await;
        // One that needs the words too: whoever was there before does not notice.
        trackers.apply(&[one.clone(), few.clone(), tracker("shell", Watched::Process(shell))]);
        events.expect("shell", TrackState::Up).await;
        trackers.apply(&[one, few]);
        let second = start_one();
        events.expect("few", TrackState::Down).await;
        drop(second);
        events.expect("few", TrackState::Up).await;
        first.kill();
        events.expect("one", TrackState::Down).await;
    });
}

#[test]
fn files_say_numbers() {
    let folder = Folder::new("files");
    let path = folder.at("number");
    block_on(async {
        let (mut trackers, mut events) = start(run_nothing());
        let check = FileCheck { path: path.clone().into(), initial: 5 };
        trackers.apply(&[tracker("file", Watched::File(check))]);
        events.expect("file", TrackState::Number(5)).await;
        for (content, number) in [("-20 and a half", -20), ("1000", 254), ("nothing", 5), ("0\n", 0)] {
            fs::write(folder.at("new"), content).unwrap();
            fs::rename(folder.at("new"), &path).unwrap();
            events.expect("file", TrackState::Number(number)).await;
        }
        fs::remove_file(&path).unwrap();
        let reason = events.expect("file", TrackState::Number(5)).await;
        assert!(reason.contains("cannot be read"), "{reason}");
        // Nobody writes to it: reading it must not wait.
        nix::unistd::mkfifo(path.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        events.nothing_within(Duration::from_millis(600)).await;
        fs::remove_file(&path).unwrap();
        fs::write(&path, "7").unwrap();
        events.expect("file", TrackState::Number(7)).await;
    });
}

#[test]
fn services_are_told_by_the_node_and_debounced() {
    block_on(async {
        let (mut trackers, mut events) = start(run_nothing());
        let delay = Duration::from_millis(400);
        let watched = Tracker { down_delay: delay, ..tracker("web", Watched::Service("www".into())) };
        trackers.apply(&[watched]);
        trackers.set_service("other", false);
        events.nothing_within(TICK).await;
        trackers.set_service("www", true);
        events.expect("web", TrackState::Up).await;
        trackers.set_service("www", false);
        events.nothing_within(delay / 2).await;
        trackers.set_service("www", true);
        events.nothing_within(delay).await;
        trackers.set_service("www", false);
        events.expect("web", TrackState::Down).await;
    });
}

/// A network namespace, and the thread that lives in it.
struct Node {
    jobs: Sender<Box<dyn FnOnce() + Send>>,
    path: String,
}

impl Node {
    fn new() -> Self {
        let (jobs, queue) = channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid())).unwrap();
            while let Ok(job) = queue.recv() {
                job();
            }
        });
        Self { jobs, path: told.recv().unwrap() }
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (tell, told) = channel();
        self.jobs.send(Box::new(move || drop(tell.send(job())))).unwrap();
        told.recv().unwrap()
    }

    fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments));
    }
}

fn ip(arguments: &str) {
    assert!(Process::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

/// Two nodes with a cable between them; the second is the gateway.
fn lab() -> Option<(Node, Node)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("*** SKIPPED: needs root ***");
        return None;
    }
    let (node, gateway) = (Node::new(), Node::new());
    node.ip(&format!("link add eth0 index 11 type veth peer name eth0 index 12 netns {}", gateway.path));
    for (node, host) in [(&node, 1), (&gateway, 254)] {
        // No duplicate address detection: link-local addresses are there at once.
        node.run(|| fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0").unwrap());
        node.ip("link set lo up");
        node.ip("link set eth0 up");
        node.ip(&format!("addr add 192.0.2.{host}/24 dev eth0"));
        node.ip(&format!("addr add 2001:db8::{host}/64 dev eth0 nodad"));
    }
    Some((node, gateway))
}

fn gateway(name: &str, address: &str, method: ProbeMethod) -> Tracker {
    let watched =
        GatewayCheck { address: address.parse().unwrap(), interface: None, method, interval: TICK, timeout: TICK };
    // A busy machine loses an answer now and then.
    Tracker { fall: 3, ..tracker(name, Watched::Gateway(watched)) }
}

#[test]
fn gateways_are_asked() {
    let Some((node, peer)) = lab() else { return };
    node.run(move || {
        block_on(async {
            for (method, address, prefix) in [
                (ProbeMethod::Neighbour, "192.0.2.254", "192.0.2.254/24"),
                (ProbeMethod::Neighbour, "2001:db8::254", "2001:db8::254/64"),
                (ProbeMethod::Echo, "192.0.2.254", "192.0.2.254/24"),
                (ProbeMethod::Echo, "2001:db8::254", "2001:db8::254/64"),
            ] {
                let (mut trackers, mut events) = start(run_nothing());
                trackers.apply(&[gateway("gw", address, method)]);
                let reason = events.expect("gw", TrackState::Up).await;
                assert!(reason.contains("answered after"), "{reason}");
                peer.ip(&format!("addr del {prefix} dev eth0"));
                let reason = events.expect("gw", TrackState::Down).await;
                assert!(reason.contains(address), "{reason}");
                peer.ip(&format!("addr add {prefix} dev eth0{}", if address.contains(':') { " nodad" } else { "" }));
                events.expect("gw", TrackState::Up).await;
            }
        });
    });
}

#[test]
fn a_gateway_that_cannot_be_asked_is_down_with_a_reason() {
    let Some((node, _peer)) = lab() else { return };
    node.run(|| {
        block_on(async {
            let (mut trackers, mut events) = start(run_nothing());
            trackers.apply(&[gateway("far", "203.0.113.1", ProbeMethod::Neighbour)]);
            assert!(events.expect("far", TrackState::Down).await.contains("name an interface"));
            trackers.apply(&[gateway("further", "203.0.113.1", ProbeMethod::Echo)]);
            let reason = events.expect("further", TrackState::Down).await;
            assert!(reason.contains("unreachable"), "{reason}");
        });
    });
}

fn route(name: &str, destination: &str, gateway: Option<&str>) -> Tracker {
    let watched = RouteCheck {
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|address| address.parse().unwrap()),
        interface: Some("eth0".parse().unwrap()),
    };
    tracker(name, Watched::Route(watched))
}

#[test]
fn routes_come_and_go() {
    let Some((node, _peer)) = lab() else { return };
    node.run(|| {
        block_on(async {
            let (mut trackers, mut events) = start(run_nothing());
            trackers.apply(&[route("default", "0.0.0.0/0", None)]);
            events.expect("default", TrackState::Down).await;
            ip("route add default via 192.0.2.254");
            events.expect("default", TrackState::Up).await;
            ip("route del default");
            events.expect("default", TrackState::Down).await;
            ip("route add default via 192.0.2.254");
            events.expect("default", TrackState::Up).await;
            // The kernel tells of the link only, not of the routes that go with it.
            ip("link set eth0 down");
            timeout(Duration::from_secs(1), events.expect("default", TrackState::Down)).await.unwrap();
            ip("link set eth0 up");
            ip("route add default via 192.0.2.254");
            events.expect("default", TrackState::Up).await;

            let inner = route("inner", "2001:db8:1::/48", Some("2001:db8::254"));
            trackers.apply(&[inner]);
            events.expect("inner", TrackState::Down).await;
            ip("-6 addr add 2001:db8::1/64 dev eth0 nodad");
            ip("-6 route add 2001:db8:1::/48 via 2001:db8::253");
            events.nothing_within(3 * TICK).await;
            ip("-6 route replace 2001:db8:1::/48 via 2001:db8::254");
            events.expect("inner", TrackState::Up).await;
        });
    });
}
