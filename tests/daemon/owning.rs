//! Addresses and processes that die, in a network namespace: as root only.

use std::net::{IpAddr, SocketAddr};
use std::process::Output;
use std::time::{Duration, Instant};

use netns_tests::echo::{Echo, Mode};
use netns_tests::lab::Lab;
use netns_tests::node::Node;
use netns_tests::process::Process;
use netns_tests::wait::{pass, until, until_true};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{BINARY, PATIENCE, Said};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 56, 100));
const SERVICE: SocketAddr = SocketAddr::new(VIP, 8000);

/// A node with a router and a service, alone on its network.
struct Single {
    node: Node,
    process: Process,
    _server: Echo,
    _lab: Lab,
}

impl Single {
    fn start(test: &str) -> Option<Self> {
        let lab = Lab::for_test(test)?;
        let node = lab.node("n");
        lab.lan("front").attach(&node, "eth1", &["192.168.56.101/24"]);
        let server = Echo::start(&node, 9000..=9000, Mode::Echo);
        node.write("vipgate.toml", &config("interval = \"100ms\""));
        let process = spawn(&node);
        let single = Self { node, process, _server: server, _lab: lab };
        single.wait_master();
        Some(single)
    }

    fn has_vip(&self) -> bool {
        self.node.address(VIP).is_some()
    }

    #[track_caller]
    fn wait_master(&self) {
        until_true("the address", PATIENCE, || self.has_vip());
        until_true("the service", PATIENCE, || self.vipgate("status").code == Some(0));
    }

    fn vipgate(&self, arguments: &str) -> Said {
        let dir = self.node.dir().display();
        Said::of(&self.node.try_run(&format!("{BINARY} {arguments} --run-dir {dir}")))
    }

    fn role(&self) -> String {
        let status: serde_json::Value = serde_json::from_str(&self.vipgate("status --json").out).unwrap_or_default();
        status["routers"][0]["role"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn guardian(&self) -> Pid {
        self.guardian_but(None)
    }

    /// A guardian that is not `old`; there is a spawner beside it.
    #[track_caller]
    fn guardian_but(&self, old: Option<Pid>) -> Pid {
        let guards = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("guardian"))
        };
        until("a guardian", PATIENCE, || {
            self.process.descendants().into_iter().filter(|pid| Some(*pid) != old).find(guards)
        })
    }

    /// How long after `event` the address was seen last.
    #[track_caller]
    fn vip_stays_after(&self, event: impl FnOnce() + Send) -> Duration {
        self.node.exec_in(|| {
            let begun = Instant::now();
            event();
            let bindable = || std::net::TcpListener::bind((VIP, 0)).is_ok();
            while bindable() {
                assert!(begun.elapsed() < PATIENCE, "the address stays");
                std::thread::yield_now();
            }
            begun.elapsed()
        })
    }
}

fn config(more: &str) -> String {
    format!(
        "[global]\ndrain-timeout = \"20s\"\n[[virtual-router]]\nname = \"front\"\ninterface = \"eth1\"\nvrid = 51\n\
         addresses = [\"{VIP}/24\"]\n{more}\n[[service]]\nname = \"web\"\nlisten = \"{SERVICE}\"\n\
         servers = [\"127.0.0.1:9000\"]\n"
    )
}

fn spawn(node: &Node) -> Process {
    let dir = node.dir();
    node.spawn("vipgate", node.command(BINARY).args(super::support::run_arguments(dir)))
}

#[test]
fn a_dead_guardian_is_replaced_and_nothing_moves() {
    let Some(single) = Single::start("a dead guardian is replaced") else { return };
    let old = single.guardian();
    kill(old, Signal::SIGKILL).unwrap();
    let begun = Instant::now();
    let new = single.guardian_but(Some(old));
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_ne!(old, new);
    assert!(single.has_vip());
    assert_eq!(single.role(), "master");
    let log = single.process.log();
    assert!(log.contains("the guardian died: it is replaced, nothing moves"), "{log}");
    assert_eq!(log.matches("to=\"master\"").count(), 1, "{log}");
    // A guardian that stands still is none either, and the new one knows what there is to undo.
    let stays = single.vip_stays_after(|| single.process.signal(Signal::SIGKILL));
    assert!(stays < Duration::from_millis(100), "{stays:?}");
}

#[test]
fn a_killed_daemon_leaves_no_address_behind() {
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGABRT] {
        let Some(single) = Single::start(&format!("{signal} of the daemon")) else { return };
        let stays = single.vip_stays_after(|| single.process.signal(signal));
        netns_tests::report::line(&format!("{signal}: the address was there for {stays:?}"));
        assert!(stays < Duration::from_millis(100), "{signal}: {stays:?}");
        assert!(single.process.wait(PATIENCE).is_some());
    }
}

#[test]
fn cleanup_removes_what_is_left_when_everything_is_killed() {
    let Some(single) = Single::start("cleanup") else { return };
    single.node.ip("addr add 192.168.56.77/24 dev eth1");
    let file = single.node.dir().join("missing.toml");
    let refused = single.vipgate(&format!("cleanup --config {}", file.display()));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("stop it first") && single.has_vip(), "{refused:?}");
    single.process.kill_tree();
    pass(Duration::from_millis(50));
    assert!(single.has_vip(), "somebody was not killed");
    let cleanup = || single.vipgate(&format!("cleanup --config {}", file.display()));
    let removed = cleanup();
    assert_eq!((removed.code, removed.out.trim()), (Some(0), "removed 192.168.56.100/24 from eth1"), "{removed:?}");
    assert!(!single.has_vip());
    assert!(single.node.address("192.168.56.77".parse().unwrap()).is_some(), "a stranger's address was removed");
    assert!(single.node.address("192.168.56.101".parse().unwrap()).is_some());
    assert_eq!(cleanup().out.trim(), "nothing of ours was left");
}

#[test]
fn another_vrrp_daemon_is_named() {
    let Some(single) = Single::start("a keepalived beside it") else { return };
    let file = single.node.write(
        "keepalived.conf",
        "vrrp_instance other {\n state BACKUP\n interface eth1\n virtual_router_id 77\n priority 10\n \
         virtual_ipaddress {\n 192.168.56.177/24\n }\n}\n",
    );
    let mut command = single.node.command("keepalived");
    command.args(["-n", "-l", "-P", "-f"]).arg(file);
    for kind in ["-p", "-r"] {
        command.arg(kind).arg(single.node.dir().join(format!("keepalived{kind}.pid")));
    }
    let keepalived = single.node.spawn("keepalived", &mut command);
    let status = until("its name in the status", Duration::from_secs(13), || {
        let status = single.vipgate("status");
        status.out.contains("also speaks VRRP").then_some(status)
    });
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.out.contains("keepalived (pid "), "{status:?}\n{}", keepalived.log());
    assert!(single.process.log().contains("also speaks VRRP in this network namespace"));
    assert!(!status.out.contains(&format!("(pid {})", single.guardian())), "the guardian is no stranger: {status:?}");
}

#[test]
fn a_hand_over_that_nobody_takes_says_so() {
    let Some(single) = Single::start("hand-over without a partner") else { return };
    let said = single.vipgate("handover");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.contains("front: nobody took over within") && said.err.contains("does the other node run"),
        "{said:?}"
    );
    assert!(single.has_vip());
    assert_eq!(single.role(), "master");
    // More at once than the control socket has places: each gets its answer.
    let dir = single.node.dir().display();
    let many = format!("for i in $(seq 50); do {BINARY} handover --run-dir {dir} & done; wait");
    let said = Said::of(&single.node.try_run(&many));
    let (nobody, busy) =
        (said.err.matches("front: nobody took over").count(), said.err.matches("under way already").count());
    assert!(nobody >= 1 && nobody + busy == 50, "{nobody} and {busy}: {said:?}");
    assert_eq!(single.role(), "master");
    let unknown = single.vipgate("handover back");
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("there is no virtual router `back`; the routers are: front"), "{unknown:?}");
}

#[test]
fn a_drain_waits_for_the_last_flow_and_can_be_cancelled() {
    let Some(single) = Single::start("drain") else { return };
    let flow = single.node.connect_from(None, SERVICE, PATIENCE).unwrap();
    until_true("the flow", PATIENCE, || single.vipgate("status").out.contains("front") && open(&single) == 1);
    let drain = || {
        let dir = single.node.dir().display();
        single
            .node
            .spawn("drain", single.node.command("sh").args(["-c", &format!("exec {BINARY} drain --run-dir {dir}")]))
    };
    let cancelled = drain();
    until_true("progress", PATIENCE, || cancelled.log().contains("1 connection(s) open"));
    let second = single.vipgate("drain");
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("a drain is under way"), "{second:?}");
    assert!(single.vipgate("status").out.contains("draining"));
    let cancel = single.vipgate("drain --cancel");
    assert_eq!(cancel.code, Some(0), "{cancel:?}");
    let ended = cancelled.wait(PATIENCE).expect("the cancelled drain ends");
    assert_eq!(ended.code(), Some(1));
    assert!(cancelled.log().contains("the drain was cancelled"), "{}", cancelled.log());
    assert!(!single.vipgate("status").out.contains("draining"));

    let drained = drain();
    until_true("progress", PATIENCE, || drained.log().contains("1 connection(s) open"));
    pass(Duration::from_millis(300));
    assert!(drained.alive(), "it did not wait for the flow: {}", drained.log());
    drop(flow);
    let ended = drained.wait(PATIENCE).expect("the drain ends with the flow");
    assert_eq!(ended.code(), Some(1), "{}", drained.log());
    assert!(drained.log().contains("nobody took over"), "{}", drained.log());
    assert!(single.has_vip());
}

fn open(single: &Single) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&single.vipgate("status --json").out).unwrap_or_default();
    status["services"][0]["open"].as_u64().unwrap_or_default()
}

#[test]
fn an_interface_that_is_not_there_yet_is_waited_for_at_the_start_and_refused_on_reload() {
    let Some(lab) = Lab::for_test("a missing interface") else { return };
    let node = lab.node("n");
    node.write("vipgate.toml", &config("").replace("eth1", "eth7"));
    let process = spawn(&node);
    until_true("a word about eth7", PATIENCE, || process.log().contains("eth7"));
    let run =
        |command: &str| -> Output { node.try_run(&format!("{BINARY} {command} --run-dir {}", node.dir().display())) };
    until_true("a node that is down", PATIENCE, || run("status").status.code() == Some(2));
    assert!(process.alive());
    lab.lan("front").attach(&node, "eth7", &["192.168.56.101/24"]);
    until_true("the address", PATIENCE, || node.address(VIP).is_some());
    node.write("vipgate.toml", &config("").replace("eth1", "eth8"));
    let said = Said::of(&run("reload"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("eth8"), "{said:?}");
    assert!(node.address(VIP).is_some() && process.alive());
}

#[test]
fn an_address_outside_every_prefix_of_its_interface_is_named_at_start_check_and_reload() {
    let Some(lab) = Lab::for_test("an address outside every prefix") else { return };
    let node = lab.node("n");
    lab.lan("front").attach(&node, "eth1", &["192.168.57.101/24"]);
    let misfit = format!("virtual router front: {VIP} is in no prefix of eth1");
    let file = node.write("vipgate.toml", &config(""));
    let check = Said::of(&node.try_run(&format!("{BINARY} check --config {}", file.display())));
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.err.contains(&misfit) && check.out.contains("1 warning(s)"), "{check:?}");
    let process = spawn(&node);
    until_true("the address", PATIENCE, || node.address(VIP).is_some());
    assert!(process.log().contains(&misfit), "{}", process.log());
    let vipgate =
        |command: &str| Said::of(&node.try_run(&format!("{BINARY} {command} --run-dir {}", node.dir().display())));
    until_true("it in the status", PATIENCE, || vipgate("status").out.contains(&misfit));
    // With a fitting address the warning is gone; what the master has set itself is no excuse.
    node.ip("addr add 192.168.56.101/24 dev eth1 label eth1:own");
    assert_eq!(vipgate("reload").code, Some(0));
    assert!(!vipgate("status").out.contains(&misfit), "{:?}", vipgate("status"));
    node.ip("addr del 192.168.56.101/24 dev eth1");
    assert_eq!(vipgate("reload").code, Some(0));
    assert!(node.address(VIP).is_some() && vipgate("status").out.contains(&misfit), "{:?}", vipgate("status"));
}

#[test]
fn who_gives_up_before_its_hook_has_ended_sets_no_address_and_releases_after_it() {
    let Some(lab) = Lab::for_test("giving up while a hook runs") else { return };
    let node = lab.node("n");
    lab.lan("front").attach(&node, "eth1", &["192.168.56.101/24"]);
    let said = node.dir().join("hooks");
    let hook = |text: &str| format!("[\"/bin/sh\", \"-c\", \"{}\"]", text.replace("FILE", &said.display().to_string()));
    let hooks = format!(
        "before-master = {}\nafter-release = {}",
        hook("echo begin >> FILE; sleep 1; echo begun >> FILE"),
        hook("echo end >> FILE")
    );
    node.write("vipgate.toml", &config(&hooks));
    let addresses = node.spawn("monitor", node.command("ip").args(["-o", "monitor", "address"]));
    let process = spawn(&node);
    let lines = || std::fs::read_to_string(&said).unwrap_or_default();
    until_true("the hook", PATIENCE, || lines() == "begin\n");
    node.ip("link set eth1 down");
    until_true("the fault", PATIENCE, || process.log().contains("to=\"fault\""));
    assert_eq!(lines(), "begin\n", "the hook still runs");
    until_true("the hook after it", PATIENCE, || lines().contains("end"));
    assert_eq!(lines(), "begin\nbegun\nend\n");
    assert!(!addresses.log().contains(&VIP.to_string()), "{}", addresses.log());
    // It comes back: once more, and then for good.
    node.ip("link set eth1 up");
    until_true("the address", PATIENCE, || node.address(VIP).is_some());
    assert_eq!(lines(), "begin\nbegun\nend\nbegin\nbegun\n");
    until_true("it is told", PATIENCE, || addresses.log().contains(&VIP.to_string()));
}
