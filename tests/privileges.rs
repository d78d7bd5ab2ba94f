//! What is left after `caps::confine`, and that it is enough. Each test starts this executable again, for capabilities
//! and limits are a process's own: the ignored tests are what runs there.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: they open sockets, fail by panicking, and say why they do not run"
)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::model::{self, Family};
use vipgate::os::{caps, packet, process, raw, sched};
use vipgate::spawner::{Job, Outcome, RestartError, Spawner};

/// CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW.
const KEPT: u64 = 0x3400;
/// CAP_IPC_LOCK and CAP_SYS_NICE: kept where the limits that replace them cannot be raised.
const INSTEAD_OF_LIMITS: u64 = 1 << 14 | 1 << 23;
const SYS_RESOURCE: u64 = 1 << 24;

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("*** SKIPPED: needs root ***");
    }
    root
}

/// Runs one of the ignored tests in a process of its own, in a network namespace, through `wrapper`.
fn run_alone(test: &str, wrapper: &[&str]) {
    let executable = std::env::current_exe().unwrap();
    let mut words = vec!["unshare", "--net", "--"];
    words.extend(wrapper);
    let status = Command::new(words[0])
        .args(&words[1..])
        .arg(executable)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .status()
        .unwrap();
    assert!(status.success(), "{test}");
}

fn masks(status: &str) -> Vec<(String, u64)> {
    let lines = status.lines().filter(|line| line.starts_with("Cap"));
    let fields = lines.map(|line| line.split_once(":\t").unwrap());
    fields.map(|(name, mask)| (name.to_owned(), u64::from_str_radix(mask, 16).unwrap())).collect()
}

fn of_this_thread() -> Vec<(String, u64)> {
    masks(&fs::read_to_string("/proc/thread-self/status").unwrap())
}

fn of_child() -> Vec<(String, u64)> {
    let output = Command::new("cat").arg("/proc/self/status").output().unwrap();
    masks(&String::from_utf8(output.stdout).unwrap())
}

/// What a running daemon does, on a reload too.
fn work() {
    let loopback = Command::new("ip").args("link set lo up".split(' ')).status().unwrap();
    assert!(loopback.success(), "NET_ADMIN is passed on");
    TcpListener::bind("127.0.0.1:80").unwrap();
    raw::Sender::open(Family::V4).unwrap();
    packet::AnnouncementReceiver::open(1).unwrap();
    fs::write("/proc/sys/net/ipv4/conf/lo/arp_ignore", "1").unwrap();
    sched::round_robin().unwrap();
    sched::lock_text_and_stack().unwrap();
}

/// Commands have what the daemon gave up, and once the spawner is dead nobody has it any more.
fn keeps_root(spawner: &mut Spawner, bounding: u64) {
    spawner.listen().unwrap();
    let arguments = vec!["-q".into(), format!("^CapEff:\t{bounding:016x}"), "/proc/self/status".into()];
    let command = model::Command { program: "grep".into(), arguments, user: None, timeout: Duration::from_secs(10) };
    let job = Job { command, arguments: Vec::new(), environment: Vec::new(), secure: true };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(spawner.runner().run(job.clone())).outcome, Outcome::Exited(0));
    kill(Pid::from_raw(spawner.pid().cast_signed()), Signal::SIGKILL).unwrap();
    while !spawner.has_died() {
        std::thread::yield_now();
    }
    assert!(matches!(spawner.restart(), Err(RestartError::Confined)));
    assert_eq!(runtime.block_on(spawner.runner().run(job)).outcome, Outcome::SpawnerGone);
}

#[test]
fn root_keeps_three_capabilities_and_its_work_goes_on() {
    if is_root() {
        run_alone("confined_root", &[]);
    }
}

#[test]
#[ignore = "run by another"]
fn confined_root() {
    setrlimit(Resource::RLIMIT_RTPRIO, 0, 0).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, 4096, 4096).unwrap();
    // A container may have taken it from root; then the limits stay, and what replaces them.
    let resources = of_this_thread().iter().any(|(name, mask)| name == "CapEff" && mask & SYS_RESOURCE != 0);
    let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let bounding = caps::bounding();
    let mut spawner = Spawner::start_as(Path::new(env!("CARGO_BIN_EXE_vipgate"))).unwrap();
    let denied = caps::confine();
    assert_eq!(denied.is_empty(), resources, "{denied:?}");
    keeps_root(&mut spawner, bounding.unwrap());

    let kept = if resources { KEPT } else { KEPT | INSTEAD_OF_LIMITS };
    for (name, mask) in of_this_thread().iter().chain(&of_child()) {
        assert_eq!(*mask, kept, "{name}");
    }
    assert_eq!(caps::bounding(), Some(kept));
    work();

    assert_eq!(fs::read_to_string("/proc/self/oom_score_adj").unwrap(), score);
    if resources {
        // As a guardian does that is started later.
        process::detach();
        assert_eq!(fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim(), "-1000");
    }

    // Given up for good.
    let chown = Command::new("chown").arg("nobody").arg(std::env::current_exe().unwrap()).output().unwrap();
    assert!(!chown.status.success(), "CAP_CHOWN is gone");
    let denied = caps::confine();
    assert!(denied.iter().any(|denied| denied.to_string().contains("bounding set")), "{denied:?}");
}

#[test]
fn another_user_passes_its_capabilities_on() {
    if is_root() {
        // As from systemd's AmbientCapabilities=, with one that is none of ours.
        let set = "-all,+net_raw,+net_admin,+net_bind_service,+sys_nice,+ipc_lock,+sys_time";
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        run_alone("confined_user", &[&user[..], &["--inh-caps", set, "--ambient-caps", set, "--"]].concat());
    }
}

#[test]
#[ignore = "run by another"]
fn confined_user() {
    // It may raise no limit and not narrow the bounding set; all else works.
    let denied = caps::confine();
    assert!(!denied.iter().any(|denied| denied.to_string().contains("capabilities")), "{denied:?}");
    for (name, mask) in of_this_thread().iter().chain(&of_child()) {
        assert!(mask & !INSTEAD_OF_LIMITS == KEPT || name == "CapBnd", "{name} {mask:x}");
    }
    work();
}
