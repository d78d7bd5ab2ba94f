//! The speaker and its guardian against the kernel, each test in fresh network namespaces. Has its own `main`: it starts
//! itself again as a daemon that is to be killed, and as that daemon's guardian.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test with a main of its own: it reads the clock, waits, prints figures, and fails by panicking"
)]

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressProtocol};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::mpsc::unbounded_channel;
use vipgate::guardian::{self, Guardian};
use vipgate::model::{
    Announce, ChecksumMode, Family, InitialState, Interval, Priority, Scope, Version, VirtualAddress, VirtualRouter,
    Vrid,
};
use vipgate::speaker::{HandoverOutcome, Notice, Speaker, cleanup, foreign};
use vipgate::stats::{Registry, RejectReason, Role};

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("address_is_set_as_configured", address_is_set_as_configured),
    ("pair_has_one_master_and_hands_over", pair_has_one_master_and_hands_over),
    ("pair_over_ipv6", pair_over_ipv6),
    ("address_removed_by_hand_is_back_at_once", address_removed_by_hand_is_back_at_once),
    ("addresses_of_an_earlier_life_are_removed", addresses_of_an_earlier_life_are_removed),
    ("reload_touches_only_the_difference", reload_touches_only_the_difference),
    ("interface_that_comes_later_is_waited_for", interface_that_comes_later_is_waited_for),
    ("lost_link_yields_at_once", lost_link_yields_at_once),
    ("eighty_addresses_are_quick", eighty_addresses_are_quick),
    ("junk_changes_nothing_but_a_counter", junk_changes_nothing_but_a_counter),
    ("guardian_undoes_what_a_killed_daemon_left", guardian_undoes_what_a_killed_daemon_left),
    ("other_speakers_are_named", other_speakers_are_named),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(guardian::ARGUMENT) => {
            return guardian::run(std::io::stdin()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        Some("daemon") => return daemon(),
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** speaker_netns: SKIPPED: needs root (network namespaces, raw sockets) ***\n");
        return ExitCode::SUCCESS;
    }
    if std::env::var_os("SPEAKER_LOG").is_some() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen =
        TESTS.iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)));
    let mut failed = 0;
    for (name, test) in chosen {
        let begun = Instant::now();
        let result = thread::spawn(move || catch_unwind(AssertUnwindSafe(test)).is_ok()).join();
        let good = matches!(result, Ok(true));
        failed += u32::from(!good);
        println!("test {name} ... {} ({:.1} s)", if good { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

// ---------------------------------------------------------------- the tests

fn address_is_set_as_configured() {
    let lab = Lab::new();
    let mut config = router("r1", "198.51.100.100/24", 150);
    config.addresses[0].label = Some("eth0:vip".into());
    config.addresses[0].scope = Scope::Link;
    config.addresses[0].broadcast = Some("198.51.100.255".parse().unwrap());
    let running = lab.a.start(vec![config]);
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("198.51.100.100").is_some());
    let address = lab.a.address("198.51.100.100").unwrap();
    assert_eq!(address["prefixlen"], 24);
    assert_eq!(address["label"], "eth0:vip");
    assert_eq!(address["scope"], "link");
    assert_eq!(address["broadcast"], "198.51.100.255");
    assert_eq!(lab.a.mark("198.51.100.100"), Some(b'v'));
    // On the wire: priority 0 at the end, and the address goes.
    let stats = running.registry.router("r1");
    let begun = Instant::now();
    running.stop();
    println!("    stop without a successor: {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(stats.zero_sent.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert!(lab.a.address("198.51.100.100").is_none());
    running.stop();
}

fn pair_has_one_master_and_hands_over() {
    let lab = Lab::new();
    let one = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    one.wait_for("r1", Role::Master);
    let two = lab.b.start(vec![router("r1", "192.0.2.100/24", 100)]);
    two.wait_for("r1", Role::Backup);
    thread::sleep(Duration::from_millis(600));
    assert_eq!((one.role("r1"), two.role("r1")), (Role::Master, Role::Backup));
    assert!(lab.a.address("192.0.2.100").is_some() && lab.b.address("192.0.2.100").is_none());

    let reports = one.wait(one.speaker.handover(None));
    println!("    hand-over: {:?}", reports[0]);
    assert_eq!(reports[0].outcome, HandoverOutcome::Moved { to: Some("192.0.2.2".parse().unwrap()) });
    assert_eq!((one.role("r1"), two.role("r1")), (Role::Backup, Role::Master));
    wait_until("address moved", || lab.a.address("192.0.2.100").is_none() && lab.b.address("192.0.2.100").is_some());
    assert!(one.releases() >= 1, "flows are reset before the address goes");

    // A stop hands over too.
    let begun = Instant::now();
    two.stop();
    println!("    stop with a successor: {} ms", begun.elapsed().as_millis());
    one.wait_for("r1", Role::Master);
    wait_until("address back", || lab.a.address("192.0.2.100").is_some());
    assert!(lab.b.address("192.0.2.100").is_none());
    assert_eq!(one.registry.router("r1").rejected(RejectReason::Checksum), 0);
    one.stop();
}

fn pair_over_ipv6() {
    let lab = Lab::new();
    let config = |priority| {
        let mut config = router("r6", "2001:db8::100/64", priority);
        config.family = Family::V6;
        config.addresses.insert(0, virtual_address("fe80::100/64"));
        config
    };
    let one = lab.a.start(vec![config(150)]);
    // Until duplicate detection of the link-local address has ended there is nothing to send from.
    one.wait_for("r6", Role::Master);
    let two = lab.b.start(vec![config(100)]);
    two.wait_for("r6", Role::Backup);
    thread::sleep(Duration::from_millis(600));
    assert_eq!((one.role("r6"), two.role("r6")), (Role::Master, Role::Backup));
    let address = lab.a.address("2001:db8::100").unwrap();
    assert!(address.get("tentative").is_none(), "{address}");
    assert_eq!(address["nodad"], true);
    let reports = one.wait(one.speaker.handover(Some("r6")));
    println!("    hand-over: {:?}", reports[0]);
    assert!(matches!(reports[0].outcome, HandoverOutcome::Moved { to: Some(_) }));
    wait_until("address moved", || {
        lab.b.address("2001:db8::100").is_some() && lab.a.address("2001:db8::100").is_none()
    });
    one.stop();
    two.stop();
}

fn address_removed_by_hand_is_back_at_once() {
    let lab = Lab::new();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    let announced = || running.registry.router("r1").announcements.load(std::sync::atomic::Ordering::Relaxed);
    wait_until("announced", || announced() >= 5);
    let before = announced();
    let begun = Instant::now();
    lab.a.ip("addr del 192.0.2.100/24 dev eth0");
    wait_until("put back", || lab.a.address("192.0.2.100").is_some());
    wait_until("announced again", || announced() > before);
    println!("    back and announced after {} ms, `ip` included", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_millis(100));
    assert_eq!(running.role("r1"), Role::Master);
    running.stop();
    thread::sleep(Duration::from_millis(100));
    assert!(lab.a.address("192.0.2.100").is_none(), "a released address stays away");
}

fn addresses_of_an_earlier_life_are_removed() {
    let lab = Lab::new();
    // One that is configured, whoever set it; one with our mark that no file names any more; one of somebody else.
    lab.a.ip("addr add 192.0.2.100/24 dev eth0");
    lab.a.set_marked("192.0.2.101", b'v');
    lab.a.set_marked("192.0.2.102", 18);
    let mut config = router("r1", "192.0.2.100/24", 100);
    config.interval = Interval::from_centiseconds(100).unwrap();
    let running = lab.a.start(vec![config.clone()]);
    assert!(lab.a.address("192.0.2.100").is_none());
    assert!(lab.a.address("192.0.2.101").is_none());
    assert!(lab.a.address("192.0.2.102").is_some());
    // Set again under a backup's feet.
    lab.a.ip("addr add 192.0.2.100/32 dev eth0");
    wait_until("removed from a backup", || lab.a.address("192.0.2.100").is_none());
    running.stop();
    lab.a.ip("addr add 192.0.2.100/24 dev eth0");
    lab.a.set_marked("192.0.2.101", b'v');
    let removed = lab.a.run(move || cleanup(&config.addresses)).unwrap();
    assert_eq!(removed.len(), 2);
    assert!(lab.a.address("192.0.2.100").is_none() && lab.a.address("192.0.2.101").is_none());
}

fn reload_touches_only_the_difference() {
    let lab = Lab::new();
    let mut second = router("r2", "192.0.2.200/24", 150);
    second.vrid = Vrid::new(52).unwrap();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150), second.clone()]);
    running.wait_for("r1", Role::Master);
    running.wait_for("r2", Role::Master);
    wait_until("addresses set", || lab.a.address("192.0.2.200").is_some() && lab.a.address("192.0.2.100").is_some());
    let since = running.registry.router("r1").status().since;

    // Another address for r2, in place; r1 untouched.
    second.addresses = vec![virtual_address("192.0.2.201/24")];
    running.wait(running.speaker.apply(vec![router("r1", "192.0.2.100/24", 150), second.clone()])).unwrap();
    wait_until("address replaced", || lab.a.address("192.0.2.201").is_some() && lab.a.address("192.0.2.200").is_none());
    assert_eq!(running.role("r2"), Role::Master);
    assert_eq!(running.registry.router("r1").status().since, since);

    // Another label for the same address.
    second.addresses[0].label = Some("eth0:two".into());
    running.wait(running.speaker.apply(vec![router("r1", "192.0.2.100/24", 150), second.clone()])).unwrap();
    wait_until("label changed", || lab.a.address("192.0.2.201").is_some_and(|address| address["label"] == "eth0:two"));

    // An interface that is not there: refused, nothing changes.
    let mut wrong = router("r1", "192.0.2.100/24", 150);
    wrong.interface = "eth9".parse().unwrap();
    let error = running.wait(running.speaker.apply(vec![wrong])).unwrap_err();
    println!("    {error}");
    assert_eq!((running.role("r1"), running.role("r2")), (Role::Master, Role::Master));

    // Gone, and its address with it; another VRID is another router.
    let mut first = router("r1", "192.0.2.100/24", 150);
    first.vrid = Vrid::new(99).unwrap();
    running.wait(running.speaker.apply(vec![first])).unwrap();
    wait_until("r2 is gone", || lab.a.address("192.0.2.201").is_none());
    wait_until("r1 is master with its new VRID", || {
        running.role("r1") == Role::Master && lab.a.address("192.0.2.100").is_some()
    });
    running.stop();
    assert!(lab.a.address("192.0.2.100").is_none());
}

fn interface_that_comes_later_is_waited_for() {
    let lab = Lab::new();
    let mut config = router("r1", "198.51.100.100/24", 150);
    config.interface = "late0".parse().unwrap();
    config.addresses[0].interface = config.interface.clone();
    let running = lab.a.start(vec![config]);
    running.wait_for("r1", Role::Fault);
    for round in 0..2 {
        lab.a.ip("link add late0 type veth peer name late1");
        lab.a.ip("link set late1 up");
        lab.a.ip("link set late0 up");
        lab.a.ip("addr add 198.51.100.1/24 dev late0");
        running.wait_for("r1", Role::Master);
        wait_until("address set", || lab.a.address("198.51.100.100").is_some());
        lab.a.ip("link del late0");
        running.wait_for("r1", Role::Fault);
        println!("    round {round}: {}", running.registry.router("r1").status().reason);
    }
    running.stop();
}

fn lost_link_yields_at_once() {
    let lab = Lab::new();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    for (cut, heal, node) in
        [("link set eth0 down", "link set eth0 up", &lab.b), ("link set eth0 down", "link set eth0 up", &lab.a)]
    {
        // The kernel tells of a lost carrier at once, but not twice within a second.
        thread::sleep(Duration::from_millis(1100));
        let begun = Instant::now();
        node.ip(cut);
        running.wait_for("r1", Role::Fault);
        println!("    fault after {} ms, `ip` included", begun.elapsed().as_millis());
        wait_until("address gone", || lab.a.address("192.0.2.100").is_none());
        assert!(begun.elapsed() < Duration::from_millis(300));
        node.ip(heal);
        running.wait_for("r1", Role::Master);
        wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    }
    // The primary address replaced: adverts come from the new one.
    let two = lab.b.start(vec![router("r1", "192.0.2.100/24", 100)]);
    wait_until("first address seen", || {
        two.registry.router("r1").status().master.is_some_and(|(address, _)| address.to_string() == "192.0.2.1")
    });
    lab.a.run(|| fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1")).unwrap();
    lab.a.ip("addr add 192.0.2.11/24 dev eth0");
    lab.a.ip("addr del 192.0.2.1/24 dev eth0");
    wait_until("second address seen", || {
        two.registry.router("r1").status().master.is_some_and(|(address, _)| address.to_string() == "192.0.2.11")
    });
    wait_until("one master", || running.role("r1") == Role::Master && two.role("r1") == Role::Backup);
    wait_until("address is back", || lab.a.address("192.0.2.100").is_some());
    running.stop();
    two.stop();
}

fn eighty_addresses_are_quick() {
    let lab = Lab::new();
    let mut config = router("r1", "192.0.2.100/24", 150);
    config.excluded = (1..=80).map(|host| virtual_address(&format!("198.51.100.{host}/32"))).collect();
    let running = lab.a.start(vec![config]);
    running.wait_for("r1", Role::Master);
    let begun = Instant::now();
    let announced = || running.registry.router("r1").announcements.load(std::sync::atomic::Ordering::Relaxed);
    wait_until("all announced", || announced() >= 81 * 5);
    println!("    81 addresses set and announced 5 times within {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!((1..=80).all(|host| lab.a.address(&format!("198.51.100.{host}")).is_some()));
    let begun = Instant::now();
    running.stop();
    println!("    stop with 81 addresses: {} ms", begun.elapsed().as_millis());
    assert!(lab.a.address("198.51.100.80").is_none());
}

fn junk_changes_nothing_but_a_counter() {
    let lab = Lab::new();
    let mut config = router("r1", "192.0.2.100/24", 150);
    config.interval = Interval::from_centiseconds(5).unwrap();
    let running = lab.a.start(vec![config.clone()]);
    running.wait_for("r1", Role::Master);
    let gaps = lab.b.run(advert_gaps_under_junk);
    let worst = gaps.iter().max().copied().unwrap_or_default();
    let stats = running.registry.router("r1");
    println!(
        "    {} junk packets: {} adverts heard, longest gap {:.1} ms at 50 ms; rejected: checksum {}, truncated {}; latest wake {} us",
        JUNK,
        gaps.len(),
        worst.as_secs_f64() * 1e3,
        stats.rejected(RejectReason::Checksum),
        stats.rejected(RejectReason::Truncated),
        running.registry.late_wake_max_micros.load(std::sync::atomic::Ordering::Relaxed),
    );
    assert!(worst < Duration::from_millis(60), "own adverts are late: {worst:?}");
    assert!(stats.rejected(RejectReason::Checksum) > 1000);
    assert_eq!(running.role("r1"), Role::Master);
    assert_eq!(stats.received.load(std::sync::atomic::Ordering::Relaxed), 0);
    running.stop();
}

const JUNK: u32 = 30_000;

/// Sends junk adverts to the group, 10,000 a second, and listens to the master's own.
fn advert_gaps_under_junk() -> Vec<Duration> {
    use vipgate::os::raw::{Datagram, ReceiveOptions, Receiver, Sender};
    use vipgate::wire::ip;
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    let group = "224.0.0.18".parse().unwrap();
    let receiver = Receiver::open(&ReceiveOptions {
        family: Family::V4,
        protocol: 112,
        interface: "eth0".into(),
        index,
        group: Some(group),
    })
    .unwrap();
    let sender = Sender::open(Family::V4).unwrap();
    let mut junk = Vec::new();
    ip::emit_v4(&mut junk, "192.0.2.2".parse().unwrap(), "224.0.0.18".parse().unwrap(), 1, 12);
    // Version 3, our VRID, a wrong checksum.
    junk.extend_from_slice(&[0x31, 51, 200, 1, 0, 5, 0xde, 0xad, 192, 0, 2, 100]);
    let (mut gaps, mut last, begun) = (Vec::new(), None, Instant::now());
    for number in 0..JUNK {
        let _ = sender.send(&junk, group, index);
        let mut buffer = [0; 2048];
        while let Ok(Datagram::V4(_)) = receiver.receive(&mut buffer) {
            let now = Instant::now();
            gaps.extend(last.map(|last| now - last));
            last = Some(now);
        }
        let due = begun + Duration::from_micros(100) * (number + 1);
        let ahead = due.saturating_duration_since(Instant::now());
        if ahead > Duration::from_micros(200) {
            thread::sleep(ahead);
        }
    }
    gaps
}

fn guardian_undoes_what_a_killed_daemon_left() {
    let lab = Lab::new();
    let mut daemon = lab.a.run(|| {
        Daemon(
            Command::new("/proc/self/exe")
                .arg("daemon")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts itself"),
        )
    });
    let mut line = [0; 1];
    daemon.0.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    wait_until("daemon is master", || lab.a.address("192.0.2.100").is_some());
    let mut config = router("r1", "192.0.2.100/24", 254);
    config.interval = Interval::from_centiseconds(300).unwrap();
    config.preempt = false;
    let two = lab.b.start(vec![config]);
    two.wait_for("r1", Role::Backup);
    wait_until("master heard", || two.registry.router("r1").status().master.is_some());

    let begun = Instant::now();
    daemon.0.kill().unwrap();
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
    assert!(took < Duration::from_millis(24 + 20), "{took:?}");
    assert!(lab.a.address("192.0.2.100").is_none(), "the guardian removed the address");
    two.stop();
}

/// The daemon of the test above: a speaker and its guardian, until killed.
fn daemon() -> ExitCode {
    let guardian = Mutex::new(Guardian::spawn().expect("guardian"));
    let (notices, mut told) = unbounded_channel();
    let mut config = router("r1", "192.0.2.100/24", 100);
    config.interval = Interval::from_centiseconds(300).unwrap();
    // The owner: at once.
    config.priority = Priority::OWNER;
    config.initial = InitialState::Master;
    let _speaker = Speaker::start(vec![config], Arc::default(), notices).expect("speaker");
    print!("!");
    std::io::Write::flush(&mut std::io::stdout()).expect("stdout");
    while let Some(notice) = told.blocking_recv() {
        if let Notice::Estate(estate) = notice {
            guardian.lock().expect("lock").publish(&estate).expect("publish");
        }
    }
    ExitCode::FAILURE
}

fn other_speakers_are_named() {
    let lab = Lab::new();
    assert!(lab.a.run(foreign::protocol_112_users).is_empty());
    let mut daemon = lab.a.run(|| {
        Daemon(
            Command::new("/proc/self/exe")
                .arg("daemon")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts itself"),
        )
    });
    let mut line = [0; 1];
    daemon.0.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    let pid = daemon.0.id();
    wait_until("daemon is seen", || {
        lab.a.run(move || foreign::protocol_112_users().iter().any(|user| user.pid == pid))
    });
    assert!(lab.b.run(foreign::protocol_112_users).is_empty(), "another namespace is another matter");
}

// ---------------------------------------------------------------- the laboratory

/// Two nodes with a cable between them, `eth0` on both: 192.0.2.1 and 192.0.2.2.
struct Lab {
    a: Node,
    b: Node,
}

/// A network namespace, and the thread that lives in it.
struct Node {
    jobs: Sender<Box<dyn FnOnce() + Send>>,
    path: String,
}

struct Running {
    speaker: Speaker,
    registry: Arc<Registry>,
    releases: Arc<Mutex<usize>>,
    path: String,
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lab {
    fn new() -> Self {
        let (a, b) = (Node::new(), Node::new());
        a.ip(&format!("link add eth0 type veth peer name eth0 netns {}", b.path));
        for (node, address) in [(&a, "192.0.2.1/24"), (&b, "192.0.2.2/24")] {
            node.ip("link set lo up");
            node.ip("link set eth0 up");
            node.ip(&format!("addr add {address} dev eth0"));
        }
        Self { a, b }
    }
}

impl Node {
    fn new() -> Self {
        let (jobs, queue) = channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespace");
            let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
            tell.send(path).expect("somebody waits");
            while let Ok(job) = queue.recv() {
                job();
            }
        });
        Self { jobs, path: told.recv().expect("network namespace") }
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (tell, told) = channel();
        self.jobs.send(Box::new(move || drop(tell.send(job())))).expect("node lives");
        told.recv().expect("job ends well")
    }

    fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        let status = self.run(move || Command::new("ip").args(arguments.split(' ')).status().expect("ip"));
        assert!(status.success());
    }

    /// The address as `ip -j addr` shows it.
    fn address(&self, address: &str) -> Option<serde_json::Value> {
        let output = self.run(|| Command::new("ip").args(["-d", "-j", "addr"]).output().expect("ip"));
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let addresses = links.as_array()?.iter().filter_map(|link| link["addr_info"].as_array()).flatten();
        addresses.clone().find(|known| known["local"] == address).cloned()
    }

    /// Sets a /24 address on eth0 with this IFA_PROTO: what iproute2 of Debian 12 cannot.
    fn set_marked(&self, address: &str, mark: u8) {
        let address = address.parse().unwrap();
        self.run(move || {
            block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                let index = nix::net::if_::if_nametoindex("eth0").unwrap();
                let mut request = handle.address().add(index, address, 24);
                let protocol = AddressProtocol::Other(mark);
                request.message_mut().attributes.push(AddressAttribute::Protocol(protocol));
                request.execute().await.unwrap();
            });
        });
    }

    /// The IFA_PROTO of an address.
    fn mark(&self, address: &str) -> Option<u8> {
        let address: IpAddr = address.parse().unwrap();
        self.run(move || {
            block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                let messages: Vec<_> = handle.address().get().execute().collect().await;
                let mut messages = messages.into_iter().flatten();
                let found = messages.find(|message| message.attributes.contains(&AddressAttribute::Local(address)))?;
                found.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Protocol(mark) => Some(u8::from(*mark)),
                    _ => None,
                })
            })
        })
    }

    fn start(&self, routers: Vec<VirtualRouter>) -> Running {
        let registry = Arc::<Registry>::default();
        let (notices, mut told) = unbounded_channel();
        let releases = Arc::<Mutex<usize>>::default();
        let count = Arc::clone(&releases);
        thread::spawn(move || {
            while let Some(notice) = told.blocking_recv() {
                if let Notice::Releasing { done, .. } = notice {
                    *count.lock().unwrap() += 1;
                    let _ = done.send(());
                }
            }
        });
        let shared = Arc::clone(&registry);
        let speaker = self.run(move || Speaker::start(routers, shared, notices)).expect("speaker starts");
        Running { speaker, registry, releases, path: self.path.clone() }
    }
}

impl Running {
    /// On a thread of the node's namespace.
    fn wait<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let namespace = fs::File::open(&self.path).expect("namespace");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
                block_on(future)
            });
            waiter.join().expect("future ends well")
        })
    }

    fn stop(&self) {
        self.wait(self.speaker.stop());
    }

    fn role(&self, router: &str) -> Role {
        self.registry.router(router).status().role
    }

    fn releases(&self) -> usize {
        *self.releases.lock().unwrap()
    }

    fn wait_for(&self, router: &str, role: Role) {
        let begun = Instant::now();
        while self.role(router) != role {
            let status = self.registry.router(router).status();
            assert!(begun.elapsed() < Duration::from_secs(6), "{router} is not {role:?}: {status:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within 5 s: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn virtual_address(prefix: &str) -> VirtualAddress {
    VirtualAddress {
        prefix: prefix.parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        label: None,
        scope: Scope::Global,
        broadcast: None,
    }
}

fn router(name: &str, address: &str, priority: u8) -> VirtualRouter {
    VirtualRouter {
        name: name.into(),
        interface: "eth0".parse().unwrap(),
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        family: Family::V4,
        priority: Priority::new(priority).unwrap(),
        interval: Interval::from_centiseconds(10).unwrap(),
        initial: InitialState::Backup,
        preempt: true,
        preempt_delay: Duration::ZERO,
        password: None,
        peers: Vec::new(),
        source: None,
        checksum: ChecksumMode::PseudoHeader,
        addresses: vec![virtual_address(address)],
        excluded: Vec::new(),
        track: Vec::new(),
        announce: Announce::default(),
        fronts: Vec::new(),
    }
}
