//! The simulated segment: routers, what is on the wire between them, and the virtual clock.

mod faults;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use vipgate::model::{
    Announce, ChecksumMode, Family, InitialState, Interval, Priority, Version, VirtualAddress, VirtualRouter, Vrid,
};
use vipgate::vrrp::{Action, Event, Role, Router};
use vipgate::wire::vrrp::{Advertisement, Envelope, GROUP_V4};

pub(crate) use faults::Fault;

use crate::seeds::Random;

const US: Duration = Duration::from_micros(1);
/// Packets take at most this long in a calm segment.
const LATENCY: Duration = Duration::from_micros(300);

#[derive(Clone)]
enum Packet {
    Advert { source: IpAddr, bytes: Vec<u8> },
    Announcement(IpAddr),
}

struct Node {
    config: VirtualRouter,
    local: Option<IpAddr>,
    router: Option<Router>,
    link: bool,
    ready: bool,
    /// It was told to stop.
    stopping: bool,
    partition: u32,
    paused_until: Option<Instant>,
    inbox: Vec<Packet>,
    watching: bool,
    held: Vec<VirtualAddress>,
    /// When it last advertised in its present mastership.
    advertised: Option<Instant>,
    interval_then: Duration,
    last_arrival: Instant,
}

pub(crate) struct Segment {
    origin: Instant,
    trace: bool,
    now: Instant,
    nodes: Vec<Node>,
    wire: BTreeMap<(Instant, u64), (usize, Packet)>,
    sequence: u64,
    random: Random,
    stormy: bool,
    loss: u32,
    jitter: Duration,
    without: Duration,
    twice: Duration,
}

impl Segment {
    pub(crate) fn new(random: &mut Random) -> Self {
        let count = 2 + random.below(4) as usize;
        let version = random.pick(&[Version::V2, Version::V3, Version::V3]);
        let interval = match version {
            Version::V2 => random.pick(&[100, 200]),
            Version::V3 => random.pick(&[1, 5, 20, 100]),
        };
        let origin = origin();
        let mut segment = Self {
            origin,
            trace: std::env::var_os("VIPGATE_TRACE").is_some(),
            now: origin,
            nodes: Vec::new(),
            wire: BTreeMap::new(),
            sequence: 0,
            random: Random::new(random.next()),
            stormy: false,
            loss: 0,
            jitter: LATENCY,
            without: Duration::ZERO,
            twice: Duration::ZERO,
        };
        for number in 0..count {
            let config = config(version, interval, random);
            let local = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + number as u8)));
            segment.nodes.push(Node {
                config,
                local,
                router: None,
                link: true,
                ready: true,
                stopping: false,
                partition: 0,
                paused_until: None,
                inbox: Vec::new(),
                watching: false,
                held: Vec::new(),
                advertised: None,
                interval_then: Duration::ZERO,
                last_arrival: segment.now,
            });
            segment.boot(number);
        }
        segment
    }

    pub(crate) fn longest_interval(&self) -> Duration {
        self.nodes.iter().map(|node| node.config.interval.as_duration()).max().unwrap_or_default()
    }

    /// The longest master-down interval, two intervals, and what a hand-over in progress may still take.
    pub(crate) fn settling_time(&self) -> Duration {
        let interval = self.longest_interval();
        self.longest_down() + interval * 2 + Duration::from_millis(60)
    }

    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.role(*at) == Role::Master).collect()
    }

    pub(crate) fn role(&self, at: usize) -> Role {
        self.nodes[at].router.as_ref().map_or(Role::Initialize, Router::role)
    }

    pub(crate) fn check_one_master(&mut self) {
        if self.masters().len() != 1 && !self.preemption_is_settled() {
            // A delayed preemption may be on its way at any moment.
            self.run(LATENCY * 2);
        }
        let masters = self.masters();
        assert_eq!(masters.len(), 1, "one master: {}", self.describe());
        for (at, node) in self.nodes.iter().enumerate() {
            let role = self.role(at);
            assert!(role != Role::Leaving, "nobody is still leaving: {}", self.describe());
            assert_eq!(!node.held.is_empty(), role == Role::Master, "owned by the master alone: {}", self.describe());
        }
        let ready = |node: &Node| node.ready && node.config.priority.get() > 1;
        if self.nodes.iter().any(|node| node.router.is_some() && node.link && ready(node)) {
            let master = &self.nodes[masters[0]];
            assert!(master.ready, "a router that can serve is master: {}", self.describe());
        }
    }

    /// Whether nothing but the passing of a preemption delay could still change the master.
    pub(crate) fn preemption_is_settled(&self) -> bool {
        self.nodes.iter().all(|node| node.config.preempt_delay.is_zero())
    }

    /// Whether somebody is configured with the priority that means "not ready": whatever is handed to it comes back.
    pub(crate) fn lowest_is_configured(&self) -> bool {
        self.nodes.iter().any(|node| node.config.priority == Priority::LOWEST)
    }

    pub(crate) fn forget_ownership(&mut self) {
        (self.without, self.twice) = (Duration::ZERO, Duration::ZERO);
    }

    /// How long nobody owned the address since, and how long two or more did.
    pub(crate) fn ownership(&self) -> (Duration, Duration) {
        (self.without, self.twice)
    }

    pub(crate) fn event(&mut self, at: usize, event: Event) {
        if self.nodes[at].paused_until.is_some() {
            return;
        }
        let node = &mut self.nodes[at];
        if let Some(router) = &mut node.router {
            node.stopping |= event == Event::Stop;
            router.handle(event, self.now);
            self.drain(at);
        }
    }

    /// Lets virtual time pass.
    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let wire = self.wire.keys().next().map(|key| key.0);
            let timers = (0..self.nodes.len()).filter_map(|at| self.wakes_at(at));
            let Some(next) = wire.into_iter().chain(timers).min().filter(|next| *next <= end) else {
                self.pass(end);
                return;
            };
            self.pass(next.max(self.now));
            if wire == Some(next) {
                if let Some((_, (to, packet))) = self.wire.pop_first() {
                    self.deliver(to, packet);
                }
                continue;
            }
            for at in 0..self.nodes.len() {
                if self.wakes_at(at).is_some_and(|when| when <= self.now) {
                    if self.nodes[at].paused_until.is_some() {
                        self.resume(at);
                    } else if let Some(router) = &mut self.nodes[at].router {
                        router.handle_timeout(self.now);
                        self.drain(at);
                    }
                }
            }
        }
    }

    fn wakes_at(&self, at: usize) -> Option<Instant> {
        let node = &self.nodes[at];
        node.paused_until.or_else(|| node.router.as_ref().and_then(Router::next_deadline))
    }

    /// Time passes; what is owned meanwhile is counted.
    fn pass(&mut self, to: Instant) {
        let passed = to - self.now;
        match self.nodes.iter().filter(|node| node.link && !node.held.is_empty()).count() {
            0 => self.without += passed,
            1 => {}
            _ => self.twice += passed,
        }
        self.now = to;
    }

    fn boot(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let mut router = Router::new(&node.config, node.local, node.link, self.now);
        if !node.ready {
            router.handle(Event::Ready(false), self.now);
        }
        node.router = Some(router);
        self.drain(at);
    }

    /// The process is gone; a guardian removes its addresses.
    fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.router = None;
        node.stopping = false;
        node.held.clear();
        node.watching = false;
        node.paused_until = None;
        node.inbox.clear();
        node.advertised = None;
    }

    /// A paused process wakes: it learns how late it is, and finds what waited in its socket.
    fn resume(&mut self, at: usize) {
        if self.nodes[at].paused_until.take().is_none() {
            return;
        }
        let inbox = std::mem::take(&mut self.nodes[at].inbox);
        let now = self.now;
        let Some(router) = &mut self.nodes[at].router else { return };
        let late_by = router.next_deadline().map_or(Duration::ZERO, |deadline| now.saturating_duration_since(deadline));
        if !late_by.is_zero() {
            router.handle(Event::Woke { late_by }, now);
            self.nodes[at].advertised = self.nodes[at].advertised.map(|_| now);
            self.drain(at);
        }
        for packet in inbox {
            self.deliver(at, packet);
        }
        if let Some(router) = &mut self.nodes[at].router {
            router.handle_timeout(now);
            self.drain(at);
        }
    }

    fn deliver(&mut self, at: usize, packet: Packet) {
        let node = &mut self.nodes[at];
        if !node.link {
            return;
        }
        if node.paused_until.is_some() {
            node.inbox.push(packet);
            return;
        }
        let Some(router) = &mut node.router else { return };
        match packet {
            Packet::Advert { source, bytes } => {
                let destination = IpAddr::V4(GROUP_V4);
                let envelope = Envelope { source, destination, ttl: 255 };
                let received = Advertisement::parse(&bytes, &envelope).unwrap();
                if let Ok(heard) = router.admit(&received, &envelope, 0) {
                    router.handle(Event::Advert(heard), self.now);
                }
            }
            Packet::Announcement(address) if node.watching => {
                router.handle(Event::SuccessorAnnounced(address), self.now);
            }
            Packet::Announcement(_) => {}
        }
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        let mut actions = Vec::new();
        while let Some(action) = self.nodes[at].router.as_mut().and_then(Router::next_action) {
            actions.push(action);
        }
        for action in actions {
            if self.trace {
                println!("{:?} node {at}: {action:?}", self.now - self.origin);
            }
            let node = &mut self.nodes[at];
            match action {
                Action::Send(advertisement) => {
                    if advertisement.priority > 0 {
                        node.advertised = Some(self.now);
                        node.interval_then = node.config.interval.as_duration();
                    }
                    self.send(at, &advertisement);
                }
                Action::Acquire(addresses) => {
                    assert!(addresses.iter().all(|address| !node.held.contains(address)), "acquired twice");
                    node.held.extend(addresses);
                }
                Action::Release(addresses) => {
                    assert!(addresses.iter().all(|address| node.held.contains(address)), "released, but not held");
                    node.held.retain(|address| !addresses.contains(address));
                }
                Action::Announce { addresses, count } => {
                    assert!(count > 0 && !addresses.is_empty());
                    assert!(addresses.iter().all(|address| node.held.contains(address)), "announced, but not held");
                    for address in addresses {
                        self.transmit(at, &Packet::Announcement(address.prefix.address));
                    }
                }
                Action::Watch(watch) => {
                    assert_ne!(node.watching, watch);
                    node.watching = watch;
                }
                Action::Changed { from, to, .. } => {
                    assert_ne!(from, to);
                    if to != Role::Master {
                        node.advertised = None;
                    }
                }
                Action::HeardLower { .. } => {}
                Action::Left => {
                    self.kill(at);
                    return;
                }
            }
        }
        self.check_node(at);
    }

    /// What holds at every moment.
    fn check_node(&self, at: usize) {
        let node = &self.nodes[at];
        let Some(router) = &node.router else { return };
        assert_eq!(router.held(), node.held);
        assert_eq!(node.watching, router.role() == Role::Leaving);
        match router.role() {
            Role::Master => {
                assert!(router.config().owned().all(|owned| node.held.contains(owned)));
                assert_eq!(router.config().owned().count(), node.held.len());
                let interval = node.interval_then.max(node.config.interval.as_duration());
                let since = self.now - node.advertised.expect("a master has advertised");
                assert!(since * 10 <= interval * 12, "{since:?} between adverts");
            }
            Role::Leaving => {}
            Role::Initialize | Role::Backup | Role::Fault => assert!(node.held.is_empty()),
        }
        if !matches!(router.role(), Role::Fault | Role::Initialize) {
            assert!(router.next_deadline().is_some(), "{:?} waits for nothing", router.role());
        }
    }

    fn send(&mut self, at: usize, advertisement: &Advertisement) {
        let Some(source) = self.nodes[at].local else { return };
        let mut bytes = Vec::new();
        advertisement.emit(&mut bytes, source, IpAddr::V4(GROUP_V4), ChecksumMode::PseudoHeader);
        self.transmit(at, &Packet::Advert { source, bytes });
    }

    fn transmit(&mut self, from: usize, packet: &Packet) {
        if !self.nodes[from].link {
            return;
        }
        for to in 0..self.nodes.len() {
            let reachable = to != from && self.nodes[to].partition == self.nodes[from].partition;
            let copies = if self.stormy && self.random.chance(5) { 2 } else { 1 };
            for _ in 0..copies {
                if reachable && !self.random.chance(self.loss) {
                    let mut arrival = self.now + US * 20 + self.random.up_to(self.jitter - US * 20);
                    if !self.stormy {
                        // A calm segment keeps the order.
                        arrival = arrival.max(self.nodes[from].last_arrival);
                        self.nodes[from].last_arrival = arrival;
                    }
                    self.sequence += 1;
                    self.wire.insert((arrival, self.sequence), (to, packet.clone()));
                }
            }
        }
    }

    fn longest_down(&self) -> Duration {
        self.longest_interval() * 3 + self.longest_skew()
    }

    fn longest_skew(&self) -> Duration {
        match self.nodes[0].config.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.longest_interval(),
        }
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            text += &match &node.router {
                Some(router) => format!(
                    "\n{:?} {:?} ({}) priority {} of {}, ready {}, preempt {} after {:?}, interval {:?}, master {:?}",
                    router.local(),
                    router.role(),
                    router.reason(),
                    router.priority(),
                    node.config.priority,
                    router.ready(),
                    node.config.preempt,
                    node.config.preempt_delay,
                    node.config.interval.as_duration(),
                    router.master(),
                ),
                None => "\nstopped".to_owned(),
            };
        }
        text
    }
}

fn config(version: Version, interval: u16, random: &mut Random) -> VirtualRouter {
    let address = |last: u8| VirtualAddress::new(format!("10.0.0.{last}/24").parse().unwrap(), "eth0".parse().unwrap());
    VirtualRouter {
        version,
        priority: Priority::new(random.pick(&[1, 2, 50, 99, 100, 100, 101, 150, 200, 254, 255])).unwrap(),
        interval: Interval::from_centiseconds(interval).unwrap(),
        initial: random.pick(&[InitialState::Master, InitialState::Backup]),
        preempt: random.chance(70),
        preempt_delay: Duration::from_millis(random.pick(&[0, 0, 0, 500, 3000])),
        addresses: vec![address(101), address(102)],
        excluded: vec![address(103)],
        announce: Announce { refresh: random.pick(&[None, Some(Duration::from_secs(1))]), ..Announce::default() },
        ..VirtualRouter::new("lan", "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4)
    }
}

#[expect(clippy::disallowed_methods, reason = "the virtual clock may begin anywhere")]
fn origin() -> Instant {
    Instant::now()
}
