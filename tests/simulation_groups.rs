//! Sync groups on simulated segments and a virtual clock: two or three nodes, each with a group of two or three routers,
//! one a segment. Seeded storms of loss, partitions of single segments, link faults, crashes, hand-overs and readiness
//! flips, then quiet.
//!
//! `VIPGATE_SIM=10000 cargo test --release --test simulation_groups` runs more seeds; `VIPGATE_SEED=n` one alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[cfg(test)]
#[path = "simulation/seeds.rs"]
mod seeds;

/// Seeds without `VIPGATE_SIM`.
const USUAL_SEEDS: u64 = 400;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use seeds::{Random, with_seeds};
use vipgate::model::{ChecksumMode, Family, Interval, Priority, VirtualRouter, Vrid};
use vipgate::vrrp::{Action, Event, Group, Role, Router, Start};
use vipgate::wire::vrrp::{Advertisement, Envelope, GROUP_V4, Received};

const LATENCY: Duration = Duration::from_micros(300);
const INTERVAL: Duration = Duration::from_millis(100);
/// Longest master-down interval.
const DOWN: Duration = Duration::from_millis(400);

struct Node {
    group: Group,
    routers: Vec<Router>,
    /// Whether the link to each segment is up.
    links: Vec<bool>,
    running: bool,
}

struct Network {
    now: Instant,
    nodes: Vec<Node>,
    segments: usize,
    /// (arrival, number) -> (node, segment, sender, advertisement)
    wire: BTreeMap<(Instant, u64), (usize, usize, usize, Advertisement)>,
    sequence: u64,
    random: Random,
    loss: u32,
    /// A segment on which no two nodes reach each other.
    cut: Option<usize>,
}

impl Network {
    fn new(random: &mut Random) -> Self {
        let segments = 2 + random.below(2) as usize;
        let mut network = Self {
            now: origin(),
            nodes: Vec::new(),
            segments,
            wire: BTreeMap::new(),
            sequence: 0,
            random: Random::new(random.next()),
            loss: 0,
            cut: None,
        };
        for node in 0..2 + random.below(2) as usize {
            let priority = random.pick(&[50, 100, 150, 200]) + node as u8;
            let preempt = random.chance(70);
            let preempt_delay = Duration::from_millis(random.pick(&[0, 0, 500]));
            let configs = (0..segments).map(|segment| VirtualRouter {
                priority: Priority::new(priority).unwrap(),
                interval: Interval::from_centiseconds(10).unwrap(),
                preempt,
                preempt_delay,
                ..VirtualRouter::new(
                    format!("r{segment}"),
                    format!("eth{segment}").parse().unwrap(),
                    Vrid::new(1 + segment as u8).unwrap(),
                    Family::V4,
                )
            });
            let now = network.now;
            let start = |segment| Start { grouped: true, ..Start::new(Some(address(node, segment)), true) };
            let routers = configs.enumerate().map(|(at, config)| Router::start_with(&config, start(at), now)).collect();
            let links = vec![true; segments];
            network.nodes.push(Node { group: Group::new("g"), routers, links, running: true });
            network.settle(node);
        }
        network
    }

    fn event(&mut self, node: usize, segment: usize, event: Event) {
        if self.nodes[node].running {
            let now = self.now;
            self.nodes[node].routers[segment].handle(event, now);
            self.settle(node);
        }
    }

    /// The group agrees, and what was asked for is done. What holds at every moment is checked.
    fn settle(&mut self, at: usize) {
        let Node { group, routers, .. } = &mut self.nodes[at];
        group.settle(&mut routers.iter_mut().collect::<Vec<_>>(), self.now);
        let masters = routers.iter().filter(|router| router.role() == Role::Master).count();
        assert!(masters == 0 || masters == routers.len(), "all or nothing: {}", self.describe());
        for segment in 0..self.segments {
            while let Some(action) = self.nodes[at].routers[segment].next_action() {
                if let Action::Send(advertisement) = action {
                    self.transmit(at, segment, &advertisement);
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, segment: usize, advertisement: &Advertisement) {
        for to in 0..self.nodes.len() {
            let reaches = self.nodes[from].links[segment] && self.nodes[to].links[segment] && self.cut != Some(segment);
            if to != from && reaches && !self.random.chance(self.loss) {
                self.sequence += 1;
                let key = (self.now + LATENCY, self.sequence);
                self.wire.insert(key, (to, segment, from, advertisement.clone()));
            }
        }
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let timers = (0..self.nodes.len()).filter(|at| self.nodes[*at].running).flat_map(|at| {
                let routers = self.nodes[at].routers.iter().enumerate();
                routers.filter_map(move |(segment, router)| Some((router.next_deadline()?, at, segment)))
            });
            let timer = timers.min().filter(|timer| timer.0 <= end);
            let arrival = self.wire.keys().next().map(|key| key.0).filter(|at| *at <= end);
            match (timer, arrival) {
                (None, None) => break,
                (Some((deadline, node, segment)), arrival) if arrival.is_none_or(|arrival| deadline < arrival) => {
                    self.now = self.now.max(deadline);
                    let now = self.now;
                    self.nodes[node].routers[segment].handle_timeout(now);
                    self.settle(node);
                }
                (_, Some(arrival)) => {
                    self.now = arrival;
                    if let Some((_, (to, segment, from, advertisement))) = self.wire.pop_first() {
                        self.deliver(to, segment, from, advertisement);
                    }
                }
                (Some(_), None) => {}
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, to: usize, segment: usize, from: usize, advertisement: Advertisement) {
        let received = Received { advertisement, checksum: ChecksumMode::PseudoHeader, seal: None };
        let envelope = Envelope { source: address(from, segment), destination: GROUP_V4.into(), ttl: 255 };
        if let Ok(heard) = self.nodes[to].routers[segment].admit(&received, &envelope, 0) {
            self.event(to, segment, Event::Advert(heard));
        }
    }

    fn boot(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        node.group = Group::new("g");
        for (segment, router) in node.routers.iter_mut().enumerate() {
            let start = Start { grouped: true, ..Start::new(Some(address(at, segment)), node.links[segment]) };
            *router = Router::start_with(&router.config().clone(), start, now);
        }
        node.running = true;
        self.settle(at);
    }

    fn strike(&mut self, random: &mut Random) {
        let at = random.below(self.nodes.len() as u32) as usize;
        let segment = random.below(self.segments as u32) as usize;
        match random.below(8) {
            0 => self.event(at, segment, Event::Handover),
            1 => self.event(at, segment, Event::Ready(random.chance(60))),
            2 | 3 => self.set_link(at, segment, random.chance(50)),
            4 => self.cut = random.chance(50).then_some(segment),
            5 => self.nodes[at].running = false,
            6 => self.event(at, segment, Event::Woke { late_by: DOWN * 2 }),
            _ => self.boot(at),
        }
    }

    fn set_link(&mut self, at: usize, segment: usize, up: bool) {
        self.nodes[at].links[segment] = up;
        self.event(at, segment, if up { Event::LinkUp } else { Event::LinkDown });
    }

    fn calm(&mut self) {
        (self.loss, self.cut) = (0, None);
        for at in 0..self.nodes.len() {
            for segment in 0..self.segments {
                if !self.nodes[at].links[segment] {
                    self.set_link(at, segment, true);
                }
                self.event(at, segment, Event::Ready(true));
            }
            if !self.nodes[at].running {
                self.boot(at);
            }
        }
    }

    /// The nodes whose groups are master.
    fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].running && self.nodes[*at].group.is_master()).collect()
    }

    fn describe(&self) -> String {
        let of_node = |node: &Node| {
            let routers = node.routers.iter();
            let members =
                routers.map(|router| format!("{:?} {} ({})", router.role(), router.priority(), router.reason()));
            members.collect::<Vec<_>>().join(", ")
        };
        self.nodes.iter().map(of_node).collect::<Vec<_>>().join("\n")
    }
}

/// What a hand-over, a preemption after its delay and the election after it take.
const SETTLING: Duration = Duration::from_millis(500 + 3 * 400 + 2 * 100);

#[test]
fn after_a_storm_one_node_has_everything() {
    with_seeds(2, |seed| {
        let mut random = Random::new(seed);
        let mut network = Network::new(&mut random);
        for _ in 0..3 {
            network.loss = random.pick(&[0, 5, 20, 50]);
            for _ in 0..5 + random.below(20) {
                network.run(random.up_to(INTERVAL * 3));
                network.strike(&mut random);
            }
            network.calm();
            network.run(SETTLING);
            assert_eq!(network.masters().len(), 1, "{}", network.describe());
            let masters = network.masters();
            network.run(SETTLING);
            assert_eq!(network.masters(), masters, "it stays the same one: {}", network.describe());
        }
    });
}

#[test]
fn a_segment_that_is_cut_moves_nothing() {
    with_seeds(2, |seed| {
        let mut random = Random::new(seed);
        let mut network = Network::new(&mut random);
        network.run(SETTLING);
        let masters = network.masters();
        network.cut = Some(random.below(network.segments as u32) as usize);
        for _ in 0..100 {
            network.run(INTERVAL / 2);
            assert_eq!(network.masters(), masters, "{}", network.describe());
        }
    });
}

#[test]
fn a_link_that_fails_moves_the_whole_group_in_the_skew_time() {
    with_seeds(2, |seed| {
        let mut random = Random::new(seed);
        let mut network = Network::new(&mut random);
        network.run(SETTLING);
        let master = network.masters()[0];
        network.set_link(master, random.below(network.segments as u32) as usize, false);
        network.run(INTERVAL + LATENCY * 4);
        let masters = network.masters();
        assert!(masters.len() == 1 && masters[0] != master, "{}", network.describe());
    });
}

#[test]
fn a_crash_moves_it_within_the_down_interval() {
    with_seeds(2, |seed| {
        let mut random = Random::new(seed);
        let mut network = Network::new(&mut random);
        network.run(SETTLING + random.up_to(INTERVAL));
        let master = network.masters()[0];
        network.nodes[master].running = false;
        network.run(DOWN + LATENCY * 4);
        let masters = network.masters();
        assert!(masters.len() == 1 && masters[0] != master, "{}", network.describe());
    });
}

fn address(node: usize, segment: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, segment as u8, 1 + node as u8))
}

#[expect(clippy::disallowed_methods, reason = "the virtual clock may begin anywhere")]
fn origin() -> Instant {
    Instant::now()
}
