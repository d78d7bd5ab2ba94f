//! Single faults of the owner in a calm segment, each with its bound.

use std::time::Duration;

use super::seeds::Random;
use super::story::{SleepKind, Story};

/// What happens to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its process is killed, the guardian undoes what it leaves.
    Killed,
    /// Its process and its guardian are killed.
    Abandoned,
    /// Its machine loses power.
    Crash,
    /// Its cable is pulled.
    LinkDown,
    /// Its cable is pulled and put in again at once.
    LinkFlap,
    /// Its own address is gone.
    NoSource,
    /// It is told to stop.
    Stop,
    /// It is told to hand over.
    Handover,
    /// What it fronts cannot be served any more.
    NotReady,
    /// Its process does not run for three down intervals.
    Frozen,
    /// Its hypervisor does not run it as long.
    Stalled,
    /// Its machine sleeps as long.
    Suspended,
    /// Somebody else removes the address.
    TakenAway,
    /// Every node gets other priorities and addresses.
    Reload,
}

/// Bounds of a fault: how long nobody, and how long two nodes that run, may own the address.
struct Bounds {
    without: Duration,
    shared: Duration,
}

impl Fault {
    fn any(random: &mut Random) -> Self {
        random.pick(&[
            Self::Killed,
            Self::Abandoned,
            Self::Crash,
            Self::LinkDown,
            Self::LinkFlap,
            Self::NoSource,
            Self::Stop,
            Self::Handover,
            Self::NotReady,
            Self::Frozen,
            Self::Stalled,
            Self::Suspended,
            Self::TakenAway,
            Self::Reload,
        ])
    }

    fn bounds(self, story: &Story) -> Bounds {
        let law = &story.world.borrow().law;
        let without = match self {
            Self::Killed => law.skew() + law.slack(),
            // Back within the down interval, it says that it left.
            Self::LinkFlap => law.interval() + law.skew() + law.slack(),
            Self::Crash | Self::LinkDown | Self::NoSource | Self::Stalled | Self::Suspended => law.down() + law.slack(),
            // Make before break; a process that is killed or stands still leaves a kernel that answers. What remains is one
            // that preempts while its kernel is slow.
            Self::Handover
            | Self::NotReady
            | Self::Stop
            | Self::Frozen
            | Self::Abandoned
            | Self::TakenAway
            | Self::Reload => law.slack(),
        };
        let shared = match self {
            Self::Frozen | Self::Stalled | Self::Suspended => law.interval() + law.parting(),
            Self::Stop | Self::Handover | Self::NotReady => law.quick_parting(),
            _ => law.parting(),
        };
        Bounds { without, shared }
    }
}

impl Story {
    /// A fault befalls the owner, and everything is put in order again.
    pub(super) async fn suffer(&mut self) {
        self.pass(self.settling_time()).await;
        let at = self.check_one_owner();
        let fault = Fault::any(&mut self.random);
        self.world.borrow().trace(format_args!("node {at}: {fault:?}"));
        self.world.borrow_mut().judge();
        self.world.borrow_mut().law.take_counts();
        self.inflict(fault, at);
        if fault == Fault::LinkFlap {
            self.pass(self.network.interval.as_duration()).await;
            self.set_carrier(at, true);
        }
        self.pass(self.settling_time() + self.asleep(fault)).await;
        // A reload may have made the interval longer.
        let bounds = fault.bounds(self);
        let (without, shared) = self.world.borrow_mut().law.take_counts();
        assert!(
            without <= bounds.without,
            "{fault:?}: no owner for {without:?}, allowed {:?}{}",
            bounds.without,
            self.describe()
        );
        assert!(
            shared <= bounds.shared,
            "{fault:?}: two owners for {shared:?}, allowed {:?}{}",
            bounds.shared,
            self.describe()
        );
        match fault {
            Fault::Abandoned => {}
            _ => drop(self.check_one_owner()),
        }
        self.repair(at);
    }

    /// A backup that does not run for a while takes nothing when it does again: late is not dead.
    pub(super) async fn oversleep(&mut self) {
        self.pass(self.settling_time()).await;
        let owner = self.check_one_owner();
        let at = (owner + 1) % self.nodes.len();
        let kind = self.random.pick(&[
            SleepKind::Frozen,
            SleepKind::Starved,
            SleepKind::Blocked,
            SleepKind::Stalled,
            SleepKind::Suspended,
        ]);
        let down = self.world.borrow().law.down();
        let length = self.random.up_to(down * 6);
        let before = self.times_master(at);
        self.put_to_sleep(at, kind, length);
        self.pass(length + self.settling_time()).await;
        assert_eq!(
            self.times_master(at),
            before,
            "{kind:?} for {length:?}, and node {at} took over{}",
            self.describe()
        );
        assert_eq!(self.check_one_owner(), owner, "{}", self.describe());
    }

    fn inflict(&mut self, fault: Fault, at: usize) {
        match fault {
            Fault::Killed => self.kill(at, true),
            Fault::Abandoned => self.kill(at, false),
            Fault::Crash => self.crash(at),
            Fault::LinkDown | Fault::LinkFlap => self.set_carrier(at, false),
            Fault::NoSource => self.set_own(at, None),
            Fault::Stop => self.stop(at),
            Fault::Handover => self.hand_over(at),
            Fault::NotReady => self.set_ready(at, false),
            Fault::Frozen => self.put_to_sleep(at, SleepKind::Frozen, self.asleep(fault)),
            Fault::Stalled => self.put_to_sleep(at, SleepKind::Stalled, self.asleep(fault)),
            Fault::Suspended => self.put_to_sleep(at, SleepKind::Suspended, self.asleep(fault)),
            Fault::TakenAway => self.take_away(at),
            Fault::Reload => self.reload_all(),
        }
    }

    fn asleep(&self, fault: Fault) -> Duration {
        match fault {
            Fault::Frozen | Fault::Stalled | Fault::Suspended => self.world.borrow().law.down() * 3,
            _ => Duration::ZERO,
        }
    }

    fn repair(&mut self, at: usize) {
        self.calm();
        self.set_ready(at, true);
    }
}
