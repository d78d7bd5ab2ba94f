//! What goes wrong on the segment: storms, single faults of the master with their bounds, and the calm afterwards.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipgate::model::{Priority, Version};
use vipgate::vrrp::Event;
use vipgate::vrrp::tracking::Effect;

use super::{LATENCY, Segment, config};
use crate::seeds::Random;

/// What happens to the master in a calm segment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It dies, and a guardian says priority 0 for it.
    Killed,
    /// It dies without a word.
    Crash,
    /// Its link goes down; it notices.
    LinkDown,
    /// It is told to stop.
    Stop,
    /// It is told to hand over.
    Handover,
    /// What it fronts cannot be served any more.
    NotReady,
    /// Its primary address is replaced.
    Renumbered,
    /// It sleeps for long.
    Frozen,
    /// The configuration's priority and interval change.
    Reload,
}

impl Fault {
    pub(crate) fn any(random: &mut Random) -> Self {
        random.pick(&[
            Self::Killed,
            Self::Crash,
            Self::LinkDown,
            Self::Stop,
            Self::Handover,
            Self::NotReady,
            Self::Renumbered,
            Self::Frozen,
            Self::Reload,
        ])
    }
}

impl Segment {
    /// Everything goes wrong for this long.
    pub(crate) fn storm(&mut self, length: Duration, random: &mut Random) {
        self.stormy = true;
        self.loss = random.pick(&[0, 5, 20, 50]);
        self.jitter = random.pick(&[LATENCY, self.longest_interval() / 4, self.longest_interval() * 2]);
        let end = self.now + length;
        while self.now < end {
            let pause = random.up_to(self.longest_interval() * 2);
            self.run(pause);
            self.strike(random);
        }
    }

    /// Everything works again: links, connectivity, processes.
    pub(crate) fn calm(&mut self) {
        self.stormy = false;
        self.loss = 0;
        self.jitter = LATENCY;
        // What is still under way from the storm arrives now, not in the middle of the calm.
        for (key, packet) in std::mem::take(&mut self.wire) {
            self.wire.insert((key.0.min(self.now + LATENCY), key.1), packet);
        }
        for at in 0..self.nodes.len() {
            self.nodes[at].partition = 0;
            self.resume(at);
            if self.nodes[at].local.is_none() {
                self.renumber(at);
            }
            if !self.nodes[at].link {
                self.nodes[at].link = true;
                self.event(at, Event::LinkUp);
            }
            if self.nodes[at].router.is_none() {
                self.boot(at);
            }
            self.event(at, Event::Tracked(Effect::default()));
            self.event(at, Event::SetPriority(None));
            if self.nodes[at].stopping {
                // A stop that was under way ends, and is not a fault of the calm.
                self.kill(at);
                self.boot(at);
            }
        }
    }

    /// Puts everybody back in order after a single fault.
    pub(crate) fn repair(&mut self) {
        self.calm();
        for at in 0..self.nodes.len() {
            self.set_ready(at, true);
        }
    }

    /// How long nobody, and how long two, may own the address because of a fault of the master.
    pub(crate) fn bounds(&self, fault: Fault) -> (Duration, Duration) {
        let down = self.longest_down() + LATENCY * 4;
        let skew = self.longest_skew() + LATENCY * 4;
        // One announcement time, or the grace of 50 ms when the announcements get lost.
        let handing = LATENCY * 4;
        match fault {
            Fault::Killed => (skew, handing),
            Fault::Crash | Fault::LinkDown => (down, handing),
            // A stop waits 1.5 s for the successor, which waits for its skew time.
            Fault::Stop => (skew.saturating_sub(Duration::from_millis(1500)).max(LATENCY * 4), handing),
            Fault::Handover | Fault::NotReady => (LATENCY * 4, handing),
            Fault::Renumbered | Fault::Reload => (LATENCY * 4, handing),
            // It does not know until it wakes: the other one owns the address beside it.
            Fault::Frozen => (Duration::ZERO, Duration::MAX),
        }
    }

    pub(crate) fn inflict(&mut self, fault: Fault) {
        let at = self.masters()[0];
        match fault {
            Fault::Killed => {
                let parting = self.nodes[at].router.as_ref().map(|router| router.advertisement(0));
                self.kill(at);
                if let Some(advertisement) = parting {
                    self.send(at, &advertisement);
                }
            }
            Fault::Crash => self.kill(at),
            Fault::LinkDown => {
                self.nodes[at].link = false;
                self.event(at, Event::LinkDown);
            }
            Fault::Stop => self.event(at, Event::Stop),
            Fault::Handover => self.event(at, Event::Handover),
            Fault::NotReady => self.set_ready(at, false),
            Fault::Renumbered => self.renumber(at),
            Fault::Frozen => {
                let long = self.longest_down() * 3;
                self.nodes[at].paused_until = Some(self.now + long);
                self.run(long);
            }
            Fault::Reload => self.reload(at),
        }
    }

    fn strike(&mut self, random: &mut Random) {
        let at = random.below(self.nodes.len() as u32) as usize;
        match random.below(18) {
            0 => self.event(at, Event::Handover),
            1 => self.event(at, Event::Stop),
            2 => self.kill(at),
            3 | 4 => {
                if self.nodes[at].router.is_none() && self.nodes[at].paused_until.is_none() {
                    self.boot(at);
                }
            }
            5 => {
                if self.nodes[at].paused_until.is_none() {
                    self.nodes[at].link = !self.nodes[at].link;
                    let link = self.nodes[at].link;
                    self.event(at, if link { Event::LinkUp } else { Event::LinkDown });
                }
            }
            6 | 7 => {
                let ready = random.chance(60);
                self.set_ready(at, ready);
            }
            8 => self.reload(at),
            9 => {
                let parts = 1 + random.below(3);
                for node in &mut self.nodes {
                    node.partition = random.below(parts);
                }
            }
            10 | 11 => {
                let length = random.up_to(self.longest_interval() * 8);
                self.nodes[at].paused_until.get_or_insert(self.now + length);
            }
            12 => self.renumber(at),
            13 => {
                let fault = random.chance(30).then(|| "tracker t".into());
                let delta = random.below(200) as i32 - 100;
                self.event(at, Event::Tracked(Effect { delta, fault }));
            }
            14 => {
                let priority = Priority::new(1 + random.below(255) as u8).ok();
                self.event(at, Event::SetPriority(priority));
            }
            15 => self.event(at, Event::Contested),
            16 => {
                let dead = random.below(self.nodes.len() as u32) as usize;
                if let Some(address) = self.nodes[dead].local {
                    self.event(at, Event::PeerDied(address));
                }
            }
            _ => {
                if self.nodes[at].paused_until.is_none() {
                    self.nodes[at].local = None;
                    self.event(at, Event::LocalAddress(None));
                }
            }
        }
    }

    fn set_ready(&mut self, at: usize, ready: bool) {
        if self.nodes[at].paused_until.is_none() {
            self.nodes[at].ready = ready;
            self.event(at, Event::Ready(ready));
        }
    }

    fn renumber(&mut self, at: usize) {
        if self.nodes[at].paused_until.is_some() {
            return;
        }
        let fresh = IpAddr::V4(Ipv4Addr::new(10, 0, 1 + self.random.below(200) as u8, 1 + at as u8));
        self.nodes[at].local = Some(fresh);
        self.event(at, Event::LocalAddress(Some(fresh)));
    }

    fn reload(&mut self, at: usize) {
        if self.nodes[at].paused_until.is_some() {
            return;
        }
        let (version, interval) = (self.nodes[at].config.version, self.nodes[at].config.interval.centiseconds());
        let interval = match version {
            Version::V2 => interval,
            Version::V3 => self.random.pick(&[interval, interval, interval.div_ceil(2), interval * 2]).min(200),
        };
        let mut fresh = config(version, interval, &mut self.random);
        fresh.addresses.rotate_left(1);
        self.nodes[at].config = fresh.clone();
        self.event(at, Event::Reconfigure(Box::new(fresh)));
    }
}
