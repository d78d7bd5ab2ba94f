//! Storms, and the calm after them.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::driver::Input;
use super::law::PARTS;
use super::story::{SleepKind, Story};
use super::world::now;

impl Story {
    /// Everything goes wrong for this many intervals.
    pub(super) async fn storm(&mut self, intervals: u32) {
        let interval = self.network.interval.as_duration();
        {
            let mut world = self.world.borrow_mut();
            world.stormy = true;
            world.lan.loss = self.random.pick(&[0, 0, 5, 20, 50]);
            world.lan.duplicates = self.random.pick(&[0, 5, 20]);
            world.lan.jitter = self.random.pick(&[Duration::ZERO, interval / 10, interval * 2]);
            world.trace(format_args!("storm: loss {} %, jitter {:?}", world.lan.loss, world.lan.jitter));
        }
        let end = now() + interval * intervals;
        while now() < end {
            let pause = self.random.up_to(interval * 3);
            self.pass(pause).await;
            self.strike();
        }
    }

    fn strike(&mut self) {
        let at = self.random.below(self.nodes.len() as u32) as usize;
        match self.random.below(25) {
            0 => self.hand_over(at),
            1 => self.stop(at),
            2 => self.kill(at, true),
            3 => self.kill(at, false),
            4 => self.crash(at),
            5..=8 => self.boot(at),
            9 => {
                let carrier = self.world.borrow().hosts[at].carrier;
                self.set_carrier(at, !carrier);
            }
            10 | 11 => {
                let ready = self.random.chance(60);
                self.set_ready(at, ready);
            }
            12 => {
                let addresses = self.nodes[at].router.addresses.clone();
                self.reload(at, &addresses);
            }
            13 => self.reload_all(),
            14 | 15 => self.divide(),
            16 => self.cut(),
            17..=20 => {
                let kind = self.random.pick(&[
                    SleepKind::Frozen,
                    SleepKind::Starved,
                    SleepKind::Blocked,
                    SleepKind::Suspended,
                ]);
                let longest = self.network.interval.as_duration() * self.random.pick(&[1, 8]);
                let length = self.random.up_to(longest);
                self.put_to_sleep(at, kind, length);
            }
            21 => {
                if let Some(own) = self.network.renumbered(at, &mut self.random) {
                    self.set_own(at, Some(own));
                }
            }
            22 => self.set_own(at, None),
            23 => self.take_away(at),
            _ => self.add_foreign(at),
        }
    }

    pub(super) fn hand_over(&mut self, at: usize) {
        self.world.borrow().trace(format_args!("node {at}: asked to hand over"));
        let name = self.nodes[at].router.name.clone();
        self.tell(at, Input::Handover(name, oneshot::channel().0));
    }

    pub(super) fn stop(&mut self, at: usize) {
        if self.is_alive(at) {
            let mut world = self.world.borrow_mut();
            world.trace(format_args!("node {at}: asked to stop"));
            world.change(|world| world.hosts[at].standing.stopping = true);
        }
        self.tell(at, Input::Stop(oneshot::channel().0));
    }

    /// Every node that can be told gets new addresses, and perhaps another interval.
    pub(super) fn reload_all(&mut self) {
        if self.random.chance(50) {
            self.network.another_interval(&mut self.random);
        }
        let addresses = self.network.any_addresses(&mut self.random);
        for at in 0..self.nodes.len() {
            self.reload(at, &addresses);
        }
    }

    fn divide(&mut self) {
        let parts = 1 + self.random.below(PARTS as u32);
        let mut world = self.world.borrow_mut();
        world.judge();
        for at in 0..self.nodes.len() {
            world.lan.parts[at] = self.random.below(parts) as usize;
        }
        world.move_client(self.random.below(parts) as usize);
        world.law.disturb_all();
        world.trace(format_args!("parts {:?}, client in {}", world.lan.parts, world.lan.client_part));
    }

    fn cut(&mut self) {
        let nodes = self.nodes.len() as u32;
        let (from, to) = (self.random.below(nodes) as usize, self.random.below(nodes) as usize);
        let mut world = self.world.borrow_mut();
        if self.random.chance(50) {
            world.lan.cuts.clear();
        } else {
            world.lan.cuts.push((from, to));
        }
        world.trace(format_args!("cuts {:?}", world.lan.cuts));
    }

    /// Somebody else removes the address.
    pub(super) fn take_away(&self, at: usize) {
        let mut world = self.world.borrow_mut();
        world.trace(format_args!("node {at}: {} is taken away", self.network.constant));
        world.change(|world| world.hosts[at].remove(self.network.constant));
    }

    /// Somebody else sets it.
    fn add_foreign(&self, at: usize) {
        if !self.network.owners {
            let mut world = self.world.borrow_mut();
            world.trace(format_args!("node {at}: {} is set by hand", self.network.constant));
            world.change(|world| world.hosts[at].set_plain(self.network.constant));
        }
    }

    /// Everything works again.
    pub(super) fn calm(&mut self) {
        {
            let mut world = self.world.borrow_mut();
            world.trace(format_args!("calm"));
            world.judge();
            world.stormy = false;
            world.lan.loss = 0;
            world.lan.duplicates = 0;
            world.lan.jitter = Duration::ZERO;
            world.lan.cuts.clear();
            world.lan.parts.fill(0);
            world.lan.client_part = 0;
            world.lan.hurry();
            world.law.disturb_all();
        }
        for at in 0..self.nodes.len() {
            self.wake(at);
            let (carrier, source, stopping, own) = {
                let host = &self.world.borrow().hosts[at];
                (host.carrier, host.has_source(), host.standing.stopping, host.own)
            };
            if stopping {
                // It would end some time in the calm.
                self.kill(at, true);
            }
            if !carrier {
                self.set_carrier(at, true);
            }
            if !source {
                self.set_own(at, Some(own));
            }
            self.boot(at);
        }
    }
}
