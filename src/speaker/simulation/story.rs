//! The course of a run: nodes that start, what befalls them, and what has to be true in the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use super::super::driver::Input;
use super::host::Host;
use super::lan::carry;
use super::law::Law;
use super::network::Network;
use super::process::{Life, Process};
use super::seeds::Random;
use super::world::{Shared, World, now};
use crate::model::{Prefix, VirtualAddress, VirtualRouter};
use crate::stats::Role;

pub(super) struct Story {
    pub(super) world: Shared,
    pub(super) network: Network,
    pub(super) nodes: Vec<Node>,
    pub(super) random: Random,
    lives: FuturesUnordered<Life>,
}

/// A node as its operator sees it.
pub(super) struct Node {
    pub(super) router: VirtualRouter,
    pub(super) ready: bool,
    pub(super) process: Option<Process>,
    pub(super) sleep: Option<Sleep>,
}

/// A node, or a thread of it, does not run for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sleep {
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) kind: SleepKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SleepKind {
    /// The process is stopped.
    Frozen,
    /// The thread `vrrp` gets no processor.
    Starved,
    /// The thread `addresses` gets none.
    Blocked,
    /// The hypervisor does not run the machine: nothing is kept for it, its clock goes on.
    Stalled,
    /// The machine is suspended: its clock stands still.
    Suspended,
}

impl Story {
    pub(super) fn begin(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let network = Network::any(&mut random);
        let promotes = random.chance(50);
        let hosts = (0..network.nodes).map(|at| Host::new(1 + at as u8, network.own(at), promotes)).collect();
        let law = Law::new(network.nodes, network.constant.address);
        let world = Rc::new(RefCell::new(World::new(Random::new(random.next()), hosts, law)));
        let addresses = network.any_addresses(&mut random);
        let nodes = (0..network.nodes)
            .map(|at| Node {
                router: network.router(at, &addresses, &mut random),
                ready: true,
                process: None,
                sleep: None,
            })
            .collect();
        let mut story = Self { world: Rc::clone(&world), network, nodes, random, lives: FuturesUnordered::new() };
        story.lives.push(Box::pin(carry(world)));
        story.allow();
        for at in 0..story.nodes.len() {
            story.boot(at);
        }
        story
    }

    /// Time passes.
    pub(super) async fn pass(&mut self, length: Duration) {
        let end = now() + length;
        while now() < end {
            let wake = self.nodes.iter().filter_map(|node| node.sleep.map(|sleep| sleep.until)).min();
            let next = wake.unwrap_or(end).min(end).min(now() + self.network.interval.as_duration());
            self.pass_until(next).await;
            for at in 0..self.nodes.len() {
                if self.nodes[at].sleep.is_some_and(|sleep| sleep.until <= now()) {
                    self.wake(at);
                }
            }
            self.world.borrow_mut().judge();
            let world = self.world.borrow();
            if let Some(broken) = world.law.broken() {
                drop(std::mem::take(&mut self.lives));
                panic!("{broken}{}", self.describe());
            }
        }
    }

    async fn pass_until(&mut self, end: Instant) {
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(end.into()));
        loop {
            tokio::select! {
                biased;
                () = &mut sleep => break,
                Some(()) = self.lives.next() => {}
            }
        }
    }

    pub(super) fn boot(&mut self, at: usize) {
        if self.is_alive(at) {
            return;
        }
        {
            let mut world = self.world.borrow_mut();
            if !world.hosts[at].powered {
                world.change(|world| world.hosts[at].restart());
            }
        }
        let node = &mut self.nodes[at];
        node.sleep = None;
        let (process, lives) = Process::start(&self.world, at, &node.router, node.ready);
        node.process = Some(process);
        self.lives.extend(lives);
    }

    pub(super) fn is_alive(&self, at: usize) -> bool {
        self.world.borrow().hosts[at].standing.alive
    }

    /// Whether it can be told something.
    pub(super) fn is_up(&self, at: usize) -> bool {
        self.is_alive(at) && self.nodes[at].sleep.is_none()
    }

    pub(super) fn tell(&self, at: usize, input: Input) {
        if let Some(process) = &self.nodes[at].process {
            let _ = process.inputs.send(input);
        }
    }

    /// The process dies; its guardian undoes what it leaves, or died with it.
    pub(super) fn kill(&mut self, at: usize, guardian: bool) {
        if !self.is_alive(at) {
            return;
        }
        self.wake(at);
        if let Some(process) = self.nodes[at].process.take() {
            process.kill();
        }
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: killed, guardian {guardian}"));
        world.be_missed(at);
        world.change(|world| {
            world.hosts[at].bury_process();
            world.hosts[at].abandoned = !guardian;
        });
        if guardian {
            world.execute_estate(at);
        }
    }

    /// The machine loses power.
    pub(super) fn crash(&mut self, at: usize) {
        self.wake(at);
        if let Some(process) = self.nodes[at].process.take() {
            process.kill();
        }
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: loses power"));
        world.be_missed(at);
        world.change(|world| {
            world.hosts[at].lose_power();
        });
    }

    pub(super) fn put_to_sleep(&mut self, at: usize, kind: SleepKind, length: Duration) {
        if !self.is_up(at) {
            return;
        }
        let Some(process) = &self.nodes[at].process else { return };
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: {kind:?} for {length:?}"));
        world.fall_silent(at);
        world.change(|world| {
            let host = &mut world.hosts[at];
            if kind != SleepKind::Blocked {
                process.driver.close();
                host.standing.starved = true;
            }
            if kind != SleepKind::Starved {
                process.keeper.close();
                host.standing.blocked = true;
            }
            host.suspended = matches!(kind, SleepKind::Stalled | SleepKind::Suspended);
        });
        self.nodes[at].sleep = Some(Sleep { since: now(), until: now() + length, kind });
    }

    pub(super) fn wake(&mut self, at: usize) {
        let Some(sleep) = self.nodes[at].sleep.take() else { return };
        let Some(process) = &self.nodes[at].process else { return };
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: runs again"));
        if sleep.kind == SleepKind::Suspended {
            process.clock.resume_after(now() - sleep.since);
        }
        world.change(|world| {
            let host = &mut world.hosts[at];
            host.suspended = false;
            host.standing.starved = false;
            host.standing.blocked = false;
            world.law.disturb(at);
        });
        process.driver.open();
        process.keeper.open();
    }

    pub(super) fn set_carrier(&self, at: usize, carrier: bool) {
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: carrier {carrier}"));
        world.be_missed(at);
        world.change(|world| {
            world.hosts[at].set_carrier(carrier);
            world.law.disturb(at);
        });
    }

    /// The distribution's own address goes, or comes.
    pub(super) fn set_own(&self, at: usize, own: Option<Prefix>) {
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: own address {own:?}"));
        world.change(|world| {
            let host = &mut world.hosts[at];
            if let Some(own) = own {
                let before = std::mem::replace(&mut host.own, own);
                host.set_plain(own);
                if before != own {
                    host.remove(before);
                }
            } else {
                host.remove(host.own);
            }
            world.law.disturb(at);
        });
    }

    pub(super) fn set_ready(&mut self, at: usize, ready: bool) {
        self.nodes[at].ready = ready;
        let name = self.nodes[at].router.name.clone();
        self.tell(at, Input::Ready(name, ready));
    }

    /// A reload of one node.
    pub(super) fn reload(&mut self, at: usize, addresses: &[VirtualAddress]) {
        let router = self.network.router(at, addresses, &mut self.random);
        self.allow();
        self.world.borrow().trace(format_args!(
            "node {at}: reload, priority {}, interval {:?}, {} addresses",
            router.priority,
            router.interval.as_duration(),
            addresses.len()
        ));
        self.nodes[at].router = router;
        self.apply(at);
    }

    /// A node runs with its configuration from now on.
    pub(super) fn apply(&self, at: usize) {
        let router = self.nodes[at].router.clone();
        self.tell(at, Input::Apply(Box::new(vec![router].into()), oneshot::channel().0));
    }

    fn allow(&self) {
        let interval = self.network.interval;
        self.world.borrow_mut().law.allow(interval.as_duration(), self.network.skew(interval));
    }

    /// Until everything that was disturbed has its owner again.
    pub(super) fn settling_time(&self) -> Duration {
        let world = self.world.borrow();
        let law = &world.law;
        let delay = self.network.preempt_delay;
        let late = if delay.is_zero() { delay } else { delay + law.down() };
        law.down() + law.interval() * 2 + law.parting() + late
    }

    /// The nodes that answer for the address.
    pub(super) fn owners(&self) -> Vec<usize> {
        let world = self.world.borrow();
        let address = world.law.address;
        (0..world.hosts.len()).filter(|at| world.hosts[*at].owns(address)).collect()
    }

    pub(super) fn role(&self, at: usize) -> Role {
        self.world.borrow().hosts[at].registry.router(super::ROUTER).status().role
    }

    /// One node has exactly what is configured on it, the others have nothing, and the client sends there.
    pub(super) fn check_one_owner(&self) -> usize {
        let owners = self.owners();
        assert_eq!(owners.len(), 1, "nodes {owners:?} own the address{}", self.describe());
        let owner = owners[0];
        assert_eq!(self.role(owner), Role::Master, "{}", self.describe());
        let world = self.world.borrow();
        for (at, host) in world.hosts.iter().enumerate() {
            for prefix in self.network.virtual_prefixes() {
                let wanted = at == owner && self.is_configured(at, prefix);
                let there = host.prefixes().any(|known| known == prefix);
                // What somebody set that no configuration names any more is not ours to remove.
                let foreign = there && !wanted && !host.is_marked(prefix) && !self.is_configured(at, prefix);
                assert!(there == wanted || foreign, "{prefix} on node {at}: {there}{}", self.describe());
                // A last word that got lost leaves the client to its own devices; one that knows nobody asks.
                let known = world.lan.client.get(&prefix.address).unwrap_or(&host.mac);
                if wanted && *known != host.mac {
                    world.trace(format_args!("the client knows {prefix} at {known:02x?}"));
                    assert!(world.lan.is_uninformed(at, prefix.address), "the client's {prefix}{}", self.describe());
                }
            }
        }
        owner
    }

    fn is_configured(&self, at: usize, prefix: Prefix) -> bool {
        self.nodes[at].router.owned().any(|address| address.prefix == prefix)
    }

    /// How often a node became master in its present life.
    pub(super) fn times_master(&self, at: usize) -> u64 {
        self.world.borrow().hosts[at].registry.router(super::ROUTER).became_master.load(Ordering::Relaxed)
    }

    pub(super) fn describe(&self) -> String {
        let world = self.world.borrow();
        let mut text = String::new();
        for (at, host) in world.hosts.iter().enumerate() {
            let status = host.registry.router(super::ROUTER).status();
            let prefixes: Vec<String> = host.prefixes().map(|prefix| prefix.to_string()).collect();
            let router = &self.nodes[at].router;
            text += &format!(
                "\nnode {at}: {} ({}), priority {}, preempt {}, interval {:?}, {:?}, part {}, carrier {}, {}",
                status.role.label(),
                status.reason,
                status.priority,
                router.preempt,
                router.interval.as_duration(),
                host.standing,
                world.lan.parts[at],
                host.carrier,
                prefixes.join(" ")
            );
        }
        text
    }
}
