//! Virtual hardware addresses: the interface for them, and takeovers beside keepalived that clients do not notice.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netns_tests::echo::{Echo, Mode};
use netns_tests::lab;
use netns_tests::node;
use netns_tests::process::Process;
use netns_tests::wait::{pass, until_true};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::unbounded_channel;
use vipgate::model::{Family, Interval, Priority, VirtualRouter, Vmac, Vrid};
use vipgate::speaker::{HandoverOutcome, Speaker, cleanup};
use vipgate::stats::{Registry, Role};

use crate::support::{Lab, Node, block_on, router, virtual_address, wait_until};

const PORT: u16 = 7000;
/// Longer than a master-down interval at 100 ms, by far.
const SETTLED: Duration = Duration::from_millis(800);
const PATIENCE: Duration = Duration::from_secs(6);

/// A way in which the two nodes use the virtual hardware address.
#[derive(Debug, Clone, Copy)]
struct Cell {
    family: Family,
    /// Our adverts leave with the interface's own hardware address.
    from_base: bool,
    /// keepalived's do.
    xmit_base: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |base| if base { "base" } else { "VMAC" };
        write!(
            f,
            "{}, vipgate's adverts from the {}, keepalived's from the {}",
            self.family,
            side(self.from_base),
            side(self.xmit_base)
        )
    }
}

/// A client, vipgate's node, keepalived's node, on one network.
struct Scene {
    cell: Cell,
    ours: node::Node,
    theirs: node::Node,
    client: node::Node,
    _servers: [Echo; 2],
    _lab: lab::Lab,
}

pub(crate) fn takeovers_beside_keepalived_with_vmac_keep_the_clients_neighbour() {
    for family in [Family::V4, Family::V6] {
        for (from_base, xmit_base) in [(false, false), (true, true), (false, true), (true, false)] {
            let cell = Cell { family, from_base, xmit_base };
            let Some(scene) = Scene::new(cell) else { return };
            println!("    {cell}");
            // keepalived hears on its base only then, and a macvlan takes away from its base what comes from the macvlan's own
            // hardware address.
            if cell.xmit_base && !cell.from_base {
                scene.we_hear_them();
                continue;
            }
            scene.we_are_better();
            scene.they_are_better();
        }
    }
}

impl Scene {
    fn new(cell: Cell) -> Option<Self> {
        let lab = lab::Lab::for_test(&format!("VMAC: {cell}"))?;
        let lan = lab.lan("front");
        let nodes = ["ours", "theirs", "client"].map(|name| lab.node(name));
        for (host, node) in (1..).zip(&nodes) {
            lan.attach(node, "eth0", &[&format!("192.0.2.{host}/24"), &format!("fd00:56::{host}/64")]);
        }
        let [ours, theirs, client] = nodes;
        // keepalived leaves this to its operator: without it the node asks for the client with the virtual address and its
        // own hardware address, and the client believes that.
        theirs.sysctl("net/ipv4/conf/eth0/arp_announce", "2");
        let servers = [&ours, &theirs].map(|node| Echo::start(node, PORT..=PORT, Mode::Echo));
        Some(Self { cell, ours, theirs, client, _servers: servers, _lab: lab })
    }

    /// We are master, end in good order, and come back.
    fn we_are_better(&self) {
        let speaker = self.start_ours(200);
        self.wait_served_by("ours");
        let keepalived = self.start_theirs(100);
        pass(SETTLED);
        assert!(self.has(&self.ours) && !self.has(&self.theirs), "keepalived hears us and stays backup");
        self.wait_served_by("ours");
        block_on(speaker.stop());
        assert!(!self.ours.run("ip link").contains("vrrp"), "nothing is left of the VMAC");
        self.wait_served_by("theirs");
        let speaker = self.start_ours(200);
        self.wait_served_by("ours");
        until_true("keepalived to yield", PATIENCE, || !self.has(&self.theirs));
        Self::end(&keepalived);
        pass(SETTLED);
        self.wait_served_by("ours");
        block_on(speaker.stop());
    }

    /// keepalived is master, and stays it.
    fn we_hear_them(&self) {
        let keepalived = self.start_theirs(250);
        self.wait_served_by("theirs");
        let speaker = self.start_ours(200);
        pass(SETTLED);
        assert!(self.has(&self.theirs) && !self.has(&self.ours), "we hear keepalived and stay backup");
        Self::end(&keepalived);
        self.wait_served_by("ours");
        block_on(speaker.stop());
    }

    /// keepalived is master, ends in good order, and comes back.
    fn they_are_better(&self) {
        let keepalived = self.start_theirs(250);
        self.wait_served_by("theirs");
        let speaker = self.start_ours(200);
        pass(SETTLED);
        assert!(self.has(&self.theirs) && !self.has(&self.ours), "we hear keepalived and stay backup");
        self.wait_served_by("theirs");
        Self::end(&keepalived);
        self.wait_served_by("ours");
        let keepalived = self.start_theirs(250);
        self.wait_served_by("theirs");
        until_true("us to yield", PATIENCE, || !self.has(&self.ours));
        Self::end(&keepalived);
        block_on(speaker.stop());
    }

    fn vip(&self) -> IpAddr {
        match self.cell.family {
            Family::V4 => [192, 0, 2, 100].into(),
            Family::V6 => "fd00:56::100".parse().unwrap(),
        }
    }

    fn has(&self, node: &node::Node) -> bool {
        node.address(self.vip()).is_some()
    }

    /// New connections are answered by this node, and the client knows the virtual hardware address and no other.
    #[track_caller]
    fn wait_served_by(&self, name: &str) {
        let target = SocketAddr::new(self.vip(), PORT);
        let ask = || self.client.ask(None, target, Duration::from_millis(300));
        until_true(format!("{name} to answer"), PATIENCE, || ask().is_ok_and(|answer| answer.server == name));
        // What the node asks of its own accord must not teach the client its own hardware address.
        let node = if name == "ours" { &self.ours } else { &self.theirs };
        node.run("ip neigh flush dev eth0");
        for _ in 0..5 {
            assert_eq!(ask().expect("an answer").server, name);
        }
        let neighbour = self.client.run(&format!("ip neigh show {}", self.vip()));
        let expected = match self.cell.family {
            Family::V4 => "00:00:5e:00:01:33",
            Family::V6 => "00:00:5e:00:02:33",
        };
        assert!(neighbour.contains(expected), "{}: served by {name}: {neighbour}", self.cell);
    }

    fn start_ours(&self, priority: u8) -> Speaker {
        let (notices, _) = unbounded_channel();
        let config = with_vmac(self.cell.family, self.cell.from_base, priority);
        let start = || Speaker::start(vec![config], Arc::<Registry>::default(), notices, None).expect("speaker starts");
        self.ours.exec_in(start)
    }

    fn start_theirs(&self, priority: u8) -> Process {
        let (name, addresses) = match self.cell.family {
            Family::V4 => ("vrrp.51", "192.0.2.100/24"),
            Family::V6 => ("vrrp6.51", "fe80::100/64\nfd00:56::100/64"),
        };
        let family = if self.cell.family == Family::V6 { "native_ipv6" } else { "" };
        let base = if self.cell.xmit_base { "vmac_xmit_base" } else { "" };
        let file = self.theirs.write(
            "keepalived.conf",
            &format!(
                "global_defs {{\n vrrp_version 3\n}}\nvrrp_instance r1 {{\n state BACKUP\n interface eth0\n \
                 virtual_router_id 51\n priority {priority}\n advert_int 0.1\n {family}\n use_vmac {name}\n {base}\n \
                 virtual_ipaddress {{\n{addresses}\n}}\n}}\n"
            ),
        );
        let mut command = self.theirs.command("keepalived");
        command.args(["-n", "-l", "-P", "-D", "-f"]).arg(file);
        let dir = self.theirs.dir();
        command.arg("-p").arg(dir.join("keepalived.pid")).arg("-r").arg(dir.join("vrrp.pid"));
        self.theirs.spawn("keepalived", &mut command)
    }

    fn end(keepalived: &Process) {
        keepalived.signal(Signal::SIGTERM);
        assert!(keepalived.wait(PATIENCE).is_some(), "keepalived ends");
    }
}

/// Two of us, in every mixture: they hear each other, and a hand-over ends when the successor's announcement is heard,
/// although it comes from the very same hardware address.
pub(crate) fn pair_with_vmac_hands_over() {
    for family in [Family::V4, Family::V6] {
        for (one_from_base, two_from_base) in [(false, false), (true, true), (false, true), (true, false)] {
            let lab = Lab::new();
            let one = lab.a.start(vec![with_vmac(family, one_from_base, 200)]);
            one.wait_for("r1", Role::Master);
            let two = lab.b.start(vec![with_vmac(family, two_from_base, 100)]);
            two.wait_for("r1", Role::Backup);
            pass(SETTLED);
            assert_eq!((one.role("r1"), two.role("r1")), (Role::Master, Role::Backup));
            assert!(lab.a.lines("-br link").iter().any(|line| line.starts_with("vrrp") && line.contains("LOWER_UP")));
            assert!(lab.b.lines("-br link").iter().any(|line| line.starts_with("vrrp") && !line.contains("LOWER_UP")));
            let received = two.registry.router("r1").received.load(Ordering::Relaxed);
            let sent = one.registry.router("r1").sent.load(Ordering::Relaxed);
            assert!(received > 0 && received <= sent, "each advert is heard once: {received} of {sent}");
            let reports = one.wait(one.speaker.handover(None));
            println!("    {family}: handed over in {} ms", reports[0].took.as_millis());
            assert!(matches!(reports[0].outcome, HandoverOutcome::Moved { .. }), "{reports:?}");
            assert!(reports[0].took < Duration::from_millis(500), "{reports:?}");
            // The hand-over ends with the successor's first advert, which leaves before its role is shown.
            two.wait_for("r1", Role::Master);
            assert_eq!(one.role("r1"), Role::Backup);
            two.stop();
            one.stop();
        }
    }
}

/// The interface of a VMAC comes with the router's own, and goes with the router.
pub(crate) fn vmac_follows_its_base() {
    let lab = Lab::new();
    let mut config = with_vmac(Family::V4, false, 150);
    config.interface = "late0".parse().unwrap();
    config.addresses[0].interface = config.interface.clone();
    config.addresses[0].prefix = "198.51.100.100/24".parse().unwrap();
    let running = lab.a.start(vec![config.clone()]);
    running.wait_for("r1", Role::Fault);
    for _ in 0..2 {
        lab.a.plug_in("late0");
        lab.a.ip("addr add 198.51.100.1/24 dev late0");
        running.wait_for("r1", Role::Master);
        wait_until("address on the VMAC", || address_is_on_vmac(&lab.a, "198.51.100.100"));
        lab.a.ip("link set far-late0 down");
        running.wait_for("r1", Role::Fault);
        lab.a.ip("link set far-late0 up");
        running.wait_for("r1", Role::Master);
        // Somebody removes it.
        lab.a.ip("link del vrrp.51");
        wait_until("made again, with its address", || address_is_on_vmac(&lab.a, "198.51.100.100"));
        running.wait_for("r1", Role::Master);
        lab.a.ip("link del late0");
        running.wait_for("r1", Role::Fault);
    }
    running.stop();
    assert!(lab.a.lines("-br link").iter().all(|line| !line.starts_with("vrrp")));
}

/// Reloads make and remove it; what was left by a killed run is found.
pub(crate) fn vmac_goes_with_its_router() {
    let lab = Lab::new();
    let vmac = with_vmac(Family::V4, false, 150);
    let plain = VirtualRouter { vmac: None, ..vmac.clone() };
    let running = lab.a.start(vec![plain.clone()]);
    running.wait_for("r1", Role::Master);
    running.wait(running.speaker.apply(vec![vmac.clone()])).unwrap();
    wait_until("address on the VMAC", || address_is_on_vmac(&lab.a, "192.0.2.100"));
    running.wait_for("r1", Role::Master);
    running.wait(running.speaker.apply(vec![plain])).unwrap();
    wait_until("address on eth0, no VMAC", || {
        lab.a.lines("addr show dev eth0").iter().any(|line| line.contains("192.0.2.100/24"))
            && lab.a.lines("-br link").iter().all(|line| !line.starts_with("vrrp"))
    });
    running.stop();
    // Left behind, as after a kill of everything.
    lab.a.ip("link add vrrp.51 link eth0 address 00:00:5e:00:01:33 type macvlan mode private");
    lab.a.ip("link set vrrp.51 alias vipgate:arp_ignore=0/arp_filter=0/arp_announce=0");
    let removed = lab.a.run(|| cleanup(&[])).unwrap();
    assert_eq!(removed.links, ["vrrp.51"]);
    assert_eq!(removed.to_string(), "interface vrrp.51");
    lab.a.ip("link add vrrp.51 link eth0 address 00:00:5e:00:01:33 type macvlan mode private");
    let running = lab.a.start(vec![vmac]);
    running.wait_for("r1", Role::Master);
    wait_until("address on the VMAC", || address_is_on_vmac(&lab.a, "192.0.2.100"));
    running.stop();
}

pub(crate) fn with_vmac(family: Family, from_base: bool, priority: u8) -> VirtualRouter {
    let (name, addresses): (&str, &[&str]) = match family {
        Family::V4 => ("vrrp.51", &["192.0.2.100/24"]),
        Family::V6 => ("vrrp6.51", &["fe80::100/64", "fd00:56::100/64"]),
    };
    VirtualRouter {
        family,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::new(priority).unwrap(),
        interval: Interval::from_centiseconds(10).unwrap(),
        addresses: addresses.iter().map(|address| virtual_address(address)).collect(),
        vmac: Some(Vmac { name: name.parse().unwrap(), from_base }),
        ..router("r1", "192.0.2.100/24", priority)
    }
}

fn address_is_on_vmac(node: &Node, address: &str) -> bool {
    node.lines("-br addr").iter().any(|line| line.starts_with("vrrp.51@") && line.contains(address))
}
