//! A speaker in a process of its own: killed under the eyes of its guardian, and named to others.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc::unbounded_channel;
use vipgate::fence::FenceName;
use vipgate::guardian::Guardian;
use vipgate::model::{HmacKey, InitialState, Interval, Priority, Vmac};
use vipgate::speaker::{Notice, Plan, Speaker, foreign};
use vipgate::stats::Role;

use crate::routing::{routing, rule, via};
use crate::support::{Lab, router, wait_until};

pub(crate) fn guardian_undoes_what_a_killed_daemon_left() {
    undone(Kind::Plain);
    // What it prepared is sealed by the guardian, who sends it much later.
    undone(Kind::Sealed);
}

fn undone(kind: Kind) {
    let lab = Lab::new();
    let mut daemon = Daemon::start(&lab, kind);
    wait_until("daemon is master", || lab.a.address("192.0.2.100").is_some());
    let mut config = router("r1", "192.0.2.100/24", 254);
    config.interval = Interval::from_centiseconds(300).unwrap();
    config.preempt = false;
    config.hmac = key(kind);
    let two = lab.b.start(vec![config]);
    two.wait_for("r1", Role::Backup);
    wait_until("master heard", || two.registry.router("r1").status().master.is_some());

    let begun = Instant::now();
    daemon.0.kill().unwrap();
    let stats = two.registry.router("r1");
    while stats.zero_received.load(Ordering::Relaxed) == 0 && begun.elapsed() < Duration::from_secs(1) {
        thread::sleep(Duration::from_micros(100));
    }
    println!("    priority 0 heard {:.1} ms after SIGKILL", begun.elapsed().as_secs_f64() * 1e3);
    while two.role("r1") != Role::Master && begun.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_micros(200));
    }
    let took = begun.elapsed();
    println!(
        "    successor is master {:.1} ms after SIGKILL (skew {:.1} ms): {}",
        took.as_secs_f64() * 1e3,
        3000.0 * 2.0 / 256.0,
        two.registry.router("r1").status().reason
    );
    // 9 s without the guardian. The bound leaves room for a machine busy with other tests.
    assert!(took < Duration::from_millis(150), "{took:?}");
    assert!(lab.a.address("192.0.2.100").is_none(), "the guardian removed the address");
    two.stop();
}

pub(crate) fn guardian_undoes_routes_rules_and_vmac() {
    let lab = Lab::new();
    let mut daemon = Daemon::start(&lab, Kind::WithEverything);
    let links = || lab.a.lines("-br link").len();
    wait_until("all is there", || {
        routing(&lab.a) == [2, 1] && links() == 3 && lab.a.setting("eth0", "arp_ignore") == "1"
    });
    wait_until("address", || lab.a.address("192.0.2.100").is_some());
    // What it told its guardian last is about the VMAC's index: told before the address is set.
    let begun = Instant::now();
    daemon.0.kill().unwrap();
    wait_until("all is gone", || routing(&lab.a) == [0, 0] && links() == 2);
    println!("    all gone {:.1} ms after SIGKILL", begun.elapsed().as_secs_f64() * 1e3);
    assert!(lab.a.address("192.0.2.100").is_none());
    wait_until("the base is restored", || lab.a.setting("eth0", "arp_ignore") == "0");
    assert_eq!(lab.a.setting("eth0", "arp_announce"), "0");
}

pub(crate) fn all_of_us_killed_at_once_are_silent() {
    let lab = Lab::new();
    let vip = "192.0.2.100";
    for life in ["first", "second"] {
        let mut daemon = Daemon::start(&lab, Kind::Fenced);
        wait_until("the address answers", || lab.a.address(vip).is_some() && lab.b.run(move || answers(vip)));
        let guardian = daemon.children();
        assert_eq!(guardian.len(), 1, "the guardian");
        let begun = Instant::now();
        kill(guardian[0], Signal::SIGKILL).unwrap();
        daemon.0.kill().unwrap();
        let last = lab.b.run(move || {
            let mut last = Duration::ZERO;
            while begun.elapsed() < Duration::from_millis(500) {
                if answers(vip) {
                    last = begun.elapsed();
                }
            }
            last
        });
        println!("    {life} life: last answer {:.1} ms after SIGKILL", last.as_secs_f64() * 1e3);
        assert!(last < Duration::from_millis(200), "{last:?}");
        assert!(lab.a.address(vip).is_some(), "nobody was there to remove it");
        lab.b.ip("neigh flush dev eth0");
        assert!(!lab.b.run(move || answers(vip)));
        let neighbours = lab.b.lines("neigh show 192.0.2.100");
        assert!(neighbours.iter().all(|line| !line.contains("lladdr")), "nobody says where it is: {neighbours:?}");
        assert!(lab.b.run(|| answers("192.0.2.1")), "the node's own address answers");
    }
}

/// Whether the address answers within 50 ms: that its port is closed.
fn answers(address: &str) -> bool {
    let address = SocketAddr::new(address.parse().unwrap(), 9);
    TcpStream::connect_timeout(&address, Duration::from_millis(50))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// What a daemon has to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An address.
    Plain,
    /// An address on a VMAC, routes and rules of the router's and of the process's.
    WithEverything,
    /// An address with a fence.
    Fenced,
    /// An address, and a key that adverts are sealed with.
    Sealed,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Plain, Self::WithEverything, Self::Fenced, Self::Sealed];

    /// The argument that makes this executable such a daemon.
    fn argument(self) -> &'static str {
        match self {
            Self::Plain => "daemon",
            Self::WithEverything => "daemon-with-everything",
            Self::Fenced => "daemon-with-fence",
            Self::Sealed => "daemon-with-seal",
        }
    }

    /// The daemon that an argument asks for.
    pub(crate) fn named(argument: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.argument() == argument)
    }
}

fn key(kind: Kind) -> Option<HmacKey> {
    (kind == Kind::Sealed).then(|| HmacKey { id: 1, secret: b"0123456789abcdef".to_vec() })
}

/// The daemon of the tests above: a speaker and its guardian, until killed.
pub(crate) fn daemon(kind: Kind) -> ExitCode {
    let guardian = Mutex::new(Guardian::spawn().expect("guardian"));
    let (notices, mut told) = unbounded_channel();
    let mut config = router("r1", "192.0.2.100/24", 100);
    config.interval = Interval::from_centiseconds(300).unwrap();
    // The owner: at once.
    config.priority = Priority::OWNER;
    config.initial = InitialState::Master;
    if kind == Kind::WithEverything {
        config.vmac = Some(Vmac { name: "vrrp.51".parse().expect("a name"), from_base: false });
        config.routes = vec![via("10.1.0.0/16", "192.0.2.2")];
        config.rules = vec![rule(100)];
    }
    config.hmac = key(kind);
    let mut fence = None;
    if kind == Kind::Fenced {
        config.priority = Priority::new(254).expect("a priority");
        config.interval = Interval::from_centiseconds(10).expect("an interval");
        fence = Some(FenceName::new(Path::new("/run/vipgate-speaker-netns")));
    }
    let mut plan = Plan::from(vec![config]);
    if kind == Kind::WithEverything {
        plan.routes = vec![via("10.2.0.0/16", "192.0.2.2")];
    }
    let _speaker = Speaker::start(plan, Arc::default(), notices, fence).expect("speaker");
    print!("!");
    std::io::Write::flush(&mut std::io::stdout()).expect("stdout");
    while let Some(notice) = told.blocking_recv() {
        if let Notice::Estate(estate) = notice {
            guardian.lock().expect("lock").publish(&estate).expect("publish");
        }
    }
    ExitCode::FAILURE
}

pub(crate) fn other_speakers_are_named() {
    let lab = Lab::new();
    assert!(lab.a.run(foreign::protocol_112_users).is_empty());
    let daemon = Daemon::start(&lab, Kind::Plain);
    let pid = daemon.0.id();
    wait_until("daemon is seen", || {
        lab.a.run(move || foreign::protocol_112_users().iter().any(|user| user.pid == pid))
    });
    assert!(lab.b.run(foreign::protocol_112_users).is_empty(), "another namespace is another matter");
}

struct Daemon(Child);

impl Daemon {
    /// Starts this program again on the laboratory's first node.
    fn start(lab: &Lab, kind: Kind) -> Self {
        let start = move || {
            let mut command = Command::new("/proc/self/exe");
            command.arg(kind.argument()).stdin(Stdio::piped()).stdout(Stdio::piped());
            Self(command.spawn().expect("starts itself"))
        };
        let mut daemon = lab.a.run(start);
        let mut line = [0; 1];
        daemon.0.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("it starts");
        daemon
    }
}

impl Daemon {
    fn children(&self) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
        let words: Vec<String> =
            children.flat_map(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        words.iter().filter_map(|word| word.trim().parse().ok()).map(Pid::from_raw).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
