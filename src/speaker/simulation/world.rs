//! Everything that is not under test: the segment, the nodes' kernels, chance, and who watches over it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use super::host::Host;
use super::lan::Lan;
use super::law::Law;
use super::seeds::Random;

/// The world, as its parts share it.
pub(super) type Shared = Rc<RefCell<World>>;

pub(super) struct World {
    pub(super) random: Random,
    pub(super) lan: Lan,
    pub(super) hosts: Vec<Host>,
    pub(super) law: Law,
    /// Kernels are slow and forget to tell.
    pub(super) stormy: bool,
    origin: Instant,
    trace: bool,
}

impl World {
    pub(super) fn new(random: Random, hosts: Vec<Host>, law: Law) -> Self {
        let lan = Lan::new(hosts.len());
        let trace = std::env::var_os("VIPGATE_TRACE").is_some();
        Self { random, lan, hosts, law, stormy: false, origin: now(), trace }
    }

    /// Changes something that the law looks at: what was until now is judged first.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        self.judge();
        let changed = change(self);
        self.note();
        changed
    }

    pub(super) fn trace(&self, what: fmt::Arguments<'_>) {
        if self.trace {
            println!("{:>10.3} {what}", (now() - self.origin).as_secs_f64());
        }
    }
}

/// The simulation's time.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
