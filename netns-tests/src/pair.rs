//! The usual topology: two gates between a client network and a server network, three servers, one client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::adverts::Adverts;
use crate::echo::{Echo, Mode};
use crate::gate::{Gate, Subject};
use crate::lab::Lab;
use crate::lan::{Cut, Lan, Link};
use crate::node::Node;
use crate::ownership::Ownership;
use crate::plan::{Check, Plan, Router, Server, Service, Sticky, Vip};
use crate::process::Frozen;
use crate::wait::{pass, until};

/// The virtual address of the client network.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 56, 100));
/// Its sibling of IPv6.
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x56, 0, 0, 0, 0, 0, 0x100));
/// The virtual router's id.
pub const VRID: u8 = 51;
/// Ports of the service.
pub const PORTS: RangeInclusive<u16> = 3000..=3010;
/// Addresses of the client: 192.168.56.10 and following.
pub const CLIENTS: u8 = 60;
/// How long anything may take that is not itself measured.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Two gates, three servers, one client.
///
/// Fields are dropped in this order: what runs, then the laboratory.
#[derive(Debug)]
pub struct FrontPair {
    frozen: Option<Frozen>,
    /// The gates, where started.
    pub gates: [Option<Gate>; 2],
    /// The servers' programs, where running.
    pub echoes: Vec<Option<Echo>>,
    /// Who has the virtual addresses.
    pub ownership: Ownership,
    /// Who announces itself.
    pub adverts: Adverts,
    /// What the gates are told.
    pub plans: [Plan; 2],
    /// How the gates do it.
    pub subject: Subject,
    /// The gates' nodes.
    pub nodes: [Node; 2],
    /// Their links to the client network.
    pub front: [Link; 2],
    /// Their links to the server network.
    pub back: [Link; 2],
    /// The servers' nodes.
    pub servers: Vec<Node>,
    /// The servers' links.
    pub server_links: Vec<Link>,
    /// The client's node.
    pub client: Node,
    /// The client network.
    pub front_lan: Lan,
    /// The server network.
    pub back_lan: Lan,
    /// The laboratory itself.
    pub lab: Lab,
}

/// What may happen to a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM to its daemons.
    Terminate,
    /// `vipgate handover`.
    HandOver,
    /// SIGKILL to its daemons.
    Kill,
    /// SIGKILL to every process on it at once, guardians included; the machine lives on.
    KillAll,
    /// Everything on it dies at once and its links are dead: power lost.
    Crash,
    /// The client network's cable is pulled.
    CutCarrier,
    /// The client network swallows everything, the carrier stays.
    CutSilent,
    /// `ip link set eth1 down`.
    AdminDown,
    /// One thread of the data plane never returns.
    StuckWorker,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::Terminate,
        Self::HandOver,
        Self::Kill,
        Self::KillAll,
        Self::Crash,
        Self::CutCarrier,
        Self::CutSilent,
        Self::AdminDown,
        Self::StuckWorker,
    ];

    /// Its name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::HandOver => "hand-over",
            Self::Kill => "SIGKILL",
            Self::KillAll => "SIGKILL of everything",
            Self::Crash => "crash",
            Self::CutCarrier => "link cut (carrier lost)",
            Self::CutSilent => "link cut (silently)",
            Self::AdminDown => "ip link set down",
            Self::StuckWorker => "stuck worker",
        }
    }

    /// Whether the node leaves in order, so that nobody has to find out.
    #[must_use]
    pub fn planned(self) -> bool {
        matches!(self, Self::Terminate | Self::HandOver)
    }

    /// Whether the node lives on behind a broken link, believing itself alone: it keeps its addresses, unheard.
    #[must_use]
    pub fn isolates(self) -> bool {
        matches!(self, Self::Crash | Self::CutCarrier | Self::CutSilent | Self::AdminDown)
    }
}

impl FrontPair {
    /// Builds the networks and starts the servers; the gates are not started. None (said loudly) without privileges.
    #[must_use]
    pub fn build(test: &str, subject: Subject) -> Option<Self> {
        let lab = Lab::for_test(&format!("{test} [{subject}]"))?;
        Some(Self::build_in(lab, subject))
    }

    /// Builds it in a laboratory that is there already.
    #[must_use]
    pub fn build_in(lab: Lab, subject: Subject) -> Self {
        let (front_lan, back_lan) = (lab.lan("front"), lab.lan("back"));
        let names = ["gate-a", "gate-b"];
        let nodes = names.map(|name| lab.node(name));
        let front = [0, 1].map(|i: usize| {
            front_lan.attach(
                &nodes[i],
                "eth1",
                &[&format!("192.168.56.10{}/24", i + 1), &format!("fd00:56::10{}/64", i + 1)],
            )
        });
        let back = [0, 1].map(|i: usize| {
            back_lan.attach(&nodes[i], "eth2", &[&format!("10.0.0.{}/24", i + 1), &format!("fd00:10::{}/64", i + 1)])
        });
        let servers: Vec<Node> = ["files-1", "files-2", "files-3"].map(|name| lab.node(name)).into();
        let server_links = servers
            .iter()
            .enumerate()
            .map(|(i, node)| {
                back_lan.attach(node, "eth0", &[&format!("10.0.0.1{}/24", i + 1), &format!("fd00:10::1{}/64", i + 1)])
            })
            .collect();
        let client = lab.node("client");
        let addresses: Vec<String> = (0..CLIENTS).map(|i| format!("192.168.56.{}/24", 10 + i)).collect();
        let mut addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        addresses.push("fd00:56::10/64");
        front_lan.attach(&client, "eth0", &addresses);
        let echoes = servers.iter().map(|node| Some(Echo::start(node, PORTS, Mode::Echo))).collect();
        let plans = [0, 1].map(|i| plan(names[i], if i == 0 { 150 } else { 100 }));
        Self {
            frozen: None,
            gates: [None, None],
            echoes,
            ownership: Ownership::watch(&[&nodes[0], &nodes[1]], &[VIP, VIP6]),
            adverts: Adverts::listen(&front_lan),
            plans,
            subject,
            nodes,
            front,
            back,
            servers,
            server_links,
            client,
            front_lan,
            back_lan,
            lab,
        }
    }

    /// Changes both plans alike.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Plan)) -> Self {
        self.plans.iter_mut().for_each(change);
        self
    }

    /// Sets the advertisement interval of every router.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        self.with(|plan| plan.routers.iter_mut().for_each(|router| router.interval = interval))
    }

    /// Starts one gate.
    #[track_caller]
    pub fn start_gate(&mut self, which: usize) {
        self.gates[which] = Some(Gate::start(&self.nodes[which], self.subject, &self.plans[which]));
    }

    /// Starts both gates and waits until the first has the address alone and serves.
    #[track_caller]
    pub fn start(&mut self) {
        self.start_gate(0);
        self.start_gate(1);
        self.wait_owner(0);
        self.wait_serving();
    }

    /// The gate, which must have been started.
    #[must_use]
    #[track_caller]
    pub fn gate(&self, which: usize) -> &Gate {
        self.gates[which].as_ref().unwrap_or_else(|| panic!("gate {which} is not started"))
    }

    /// Waits until `which` has the address alone, and says since when.
    #[track_caller]
    pub fn wait_owner(&self, which: usize) -> Instant {
        self.ownership.wait_for(&self.nodes[which], VIP, PATIENCE)
    }

    /// Waits until the service answers.
    #[track_caller]
    pub fn wait_serving(&self) {
        until("an echo through the virtual address", PATIENCE, || {
            self.client.ask(None, self.target(), Duration::from_millis(500)).ok()
        });
    }

    /// Gives a node that was just started the time to hear its master and to check its servers: before that it is no
    /// standby.
    pub fn wait_standby(&self) {
        pass(4 * self.interval() + Duration::from_millis(500));
    }

    /// The first port of the service.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        SocketAddr::new(VIP, *PORTS.start())
    }

    /// Every port of the service.
    #[must_use]
    pub fn targets(&self) -> Vec<SocketAddr> {
        PORTS.map(|port| SocketAddr::new(VIP, port)).collect()
    }

    /// The client's addresses.
    #[must_use]
    pub fn sources(&self) -> Vec<IpAddr> {
        (0..CLIENTS).map(|i| Ipv4Addr::new(192, 168, 56, 10 + i).into()).collect()
    }

    /// The advertisement interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.plans[0].routers[0].interval
    }

    /// The skew of the gate `which` (RFC 9568 6.1; RFC 3768 6.1 for version 2).
    #[must_use]
    pub fn skew(&self, which: usize) -> Duration {
        let router = &self.plans[which].routers[0];
        let base = if router.version == 2 { Duration::from_secs(1) } else { router.interval };
        base * (256 - u32::from(router.priority)) / 256
    }

    /// How long the gate `which`, as backup, believes in a silent master.
    #[must_use]
    pub fn master_down(&self, which: usize) -> Duration {
        3 * self.interval() + self.skew(which)
    }

    /// Lets `event` happen to the gate `which`; says when it began.
    #[track_caller]
    pub fn strike(&mut self, which: usize, event: Event) -> Instant {
        let begun = Instant::now();
        match event {
            Event::Terminate => self.gate(which).terminate(),
            Event::HandOver => self.gate(which).hand_over(),
            Event::Kill => self.gate(which).kill(),
            Event::KillAll => self.nodes[which].kill_everything(),
            Event::Crash => {
                self.front[which].cut(Cut::Silent);
                self.back[which].cut(Cut::Silent);
                self.nodes[which].kill_everything();
            }
            Event::CutCarrier => self.front[which].cut(Cut::Carrier),
            Event::CutSilent => self.front[which].cut(Cut::Silent),
            Event::AdminDown => self.front[which].admin_down(),
            Event::StuckWorker => {
                let proxy = self.gate(which).proxy();
                match self.subject {
                    Subject::Toml | Subject::Foreign => self.frozen = Some(proxy.freeze_thread("worker-0")),
                    // Its workers are threads of one child process; all of them stand still.
                    Subject::Daemons => proxy.descendants().into_iter().for_each(|pid| {
                        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP);
                    }),
                }
            }
        }
        begun
    }

    /// Undoes `event`, as an operator would: repairs, boots, starts again.
    #[track_caller]
    pub fn heal(&mut self, which: usize, event: Event) {
        match event {
            Event::Terminate => {
                // As a service manager does: what is open has its grace first.
                self.gate(which).wait_end();
                self.start_gate(which);
            }
            Event::Kill => self.start_gate(which),
            Event::HandOver => {
                if self.subject == Subject::Daemons {
                    self.gates[which] = None;
                    self.start_gate(which);
                }
            }
            // Whoever starts it again finds the addresses of its former life, and removes them.
            Event::KillAll => self.start_gate(which),
            Event::Crash => {
                // A booted machine has none of the addresses its daemons had set.
                let vip = self.plans[which].routers[0].addresses[0].address.clone();
                let _ = self.nodes[which].try_run(&format!("ip addr del {vip} dev eth1"));
                self.front[which].restore();
                self.back[which].restore();
                self.start_gate(which);
            }
            Event::CutCarrier | Event::CutSilent => self.front[which].restore(),
            Event::AdminDown => self.front[which].admin_up(),
            Event::StuckWorker => {
                self.frozen = None;
                if self.subject == Subject::Daemons {
                    self.gates[which] = None;
                    self.start_gate(which);
                }
            }
        }
    }

    /// Stops a server's program, so that connections to it are refused.
    pub fn stop_server(&mut self, which: usize) {
        self.echoes[which] = None;
        // Connections that were open die with their process.
        pass(Duration::from_millis(1));
    }

    /// Starts a server's program again.
    #[track_caller]
    pub fn start_server(&mut self, which: usize) {
        self.echoes[which] = Some(Echo::start(&self.servers[which], PORTS, Mode::Echo));
    }
}

/// The usual plan of a gate.
#[must_use]
pub fn plan(node: &str, priority: u8) -> Plan {
    let server =
        |i: u8| Server { name: format!("files-{i}"), address: Ipv4Addr::new(10, 0, 0, 10 + i).into(), port: None };
    Plan {
        node: node.to_owned(),
        routers: vec![Router {
            name: "front".to_owned(),
            interface: "eth1".to_owned(),
            vrid: VRID,
            addresses: vec![Vip {
                address: format!("{VIP}/24"),
                interface: "eth1".to_owned(),
                label: Some("eth1:1".to_owned()),
            }],
            priority,
            interval: Duration::from_millis(100),
            version: 3,
            start_master: false,
            preempt: true,
            password: None,
            message_only: false,
            vmac: false,
            peers: Vec::new(),
            source: None,
            track: Vec::new(),
        }],
        synchronised: false,
        services: vec![Service {
            name: "files".to_owned(),
            address: VIP.to_string(),
            ports: PORTS,
            servers: (1..=3).map(server).collect(),
            sticky: Sticky::No,
            check: Some(Check { port: *PORTS.start(), interval: Duration::from_millis(200), rise: 2, fall: 3 }),
        }],
        workers: 2,
        stats: Some("127.0.0.1:8404".to_owned()),
        sharing: Vec::new(),
    }
}
