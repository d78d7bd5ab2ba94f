//! The thread `vrrp` and its own time.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::driver::{Driver, Input, REST, Setup};
use super::ingress::{Channel, Packet, Wanted};
use super::interfaces::View;
use super::wire::{Watched, Wire};
use super::{Notice, RouterId};
use crate::model::{Family, Interval, PreparedPacket, VirtualAddress, VirtualRouter, Vrid};
use crate::stats::Registry;
use crate::wire::vrrp::Rejected;

const INTERVAL: Duration = Duration::from_millis(100);
/// More than a down interval.
const STALL: Duration = Duration::from_millis(500);

/// The runtime's clock, and how long the thread did not run beside.
#[derive(Debug, Clone, Default)]
struct StalledClock(Rc<Cell<Duration>>);

impl StalledClock {
    fn pass(&self, span: Duration) {
        self.0.set(self.0.get() + span);
    }
}

impl Clock for StalledClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std() + self.0.get()
    }

    fn suspended(&self) -> Duration {
        Duration::ZERO
    }

    fn rest(&self, until: Instant) {
        self.pass(until.saturating_duration_since(self.now()));
    }

    async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep(deadline.saturating_duration_since(self.now())).await;
    }
}

/// Nobody else is there but somebody who sends junk; the thread is stopped while it sends one of its packets.
#[derive(Debug)]
struct StrangeWire {
    clock: StalledClock,
    sent: Rc<RefCell<Vec<Instant>>>,
    stalls_at: Option<usize>,
    junk: Cell<u32>,
}

impl Wire for StrangeWire {
    fn send(&mut self, _packet: &PreparedPacket) -> io::Result<()> {
        self.sent.borrow_mut().push(self.clock.now());
        if Some(self.sent.borrow().len()) == self.stalls_at {
            self.clock.pass(STALL);
        }
        Ok(())
    }

    fn listen(&mut self, _wanted: Vec<Wanted>) {}

    fn watch(&mut self, _router: RouterId, _interfaces: &[Watched]) {}

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        if self.junk.get() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn read(&mut self, mut deliver: impl FnMut(&Channel, Packet)) {
        if let Some(left) = self.junk.get().checked_sub(1) {
            self.junk.set(left);
            let packet = Packet { vrid: Some(51), source: None, advert: Err(Rejected::Checksum) };
            deliver(&("eth0".parse().unwrap(), Family::V4), packet);
        }
    }

    fn read_announcements(&mut self, _deliver: impl FnMut(RouterId, IpAddr)) {}
}

/// What a router did.
struct Done {
    /// The reasons of its changes of role.
    reasons: Vec<String>,
    begun: Instant,
    /// When it sent its packets.
    sent: Vec<Instant>,
}

async fn run(stalls_at: Option<usize>, junk: u32) -> Done {
    let (clock, sent) = (StalledClock::default(), Rc::<RefCell<Vec<Instant>>>::default());
    let begun = clock.now();
    let wire = StrangeWire { clock: clock.clone(), sent: Rc::clone(&sent), stalls_at, junk: Cell::new(junk) };
    let (inputs, told) = mpsc::unbounded_channel();
    let (notices, mut heard) = mpsc::unbounded_channel();
    let (orders, _ordered) = mpsc::unbounded_channel();
    let setup = Setup { orders, notices, registry: Arc::<Registry>::default(), wire, clock };
    let view = View { index: 2, up: true, mac: None, made: None, sources: vec!["192.0.2.1".parse().unwrap()] };
    inputs.send(Input::Interface { name: "eth0".parse().unwrap(), view: Some(view) }).unwrap();
    let router = VirtualRouter {
        interval: Interval::from_centiseconds(10).unwrap(),
        addresses: vec![VirtualAddress::new("192.0.2.100/24".parse().unwrap(), "eth0".parse().unwrap())],
        ..VirtualRouter::new("r1", "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4)
    };
    inputs.send(Input::Apply(Box::new(vec![router].into()), oneshot::channel().0)).unwrap();
    let _ = tokio::time::timeout(20 * INTERVAL, Driver::new(setup).run(told)).await;
    let mut reasons = Vec::new();
    while let Ok(notice) = heard.try_recv() {
        if let Notice::Changed { reason, .. } = notice {
            reasons.push(reason);
        }
    }
    Done { reasons, begun, sent: sent.take() }
}

/// Late is not dead, wherever the thread was when it was stopped.
#[tokio::test(start_paused = true)]
async fn a_master_that_is_stopped_in_the_middle_of_a_turn_listens_first() {
    let slept = "slept through the master-down interval, listening first";
    let times = |done: &Done| done.reasons.iter().filter(|reason| *reason == slept).count();
    assert_eq!(times(&run(None, 0).await), 0);
    let stopped = run(Some(5), 0).await;
    assert_eq!(times(&stopped), 1, "{:?}", stopped.reasons);
}

/// Each packet alone would wake it; it rests after each, and no advertisement is later for that.
#[tokio::test(start_paused = true)]
async fn rests_after_junk_delay_no_advertisement() {
    let done = run(None, 2500).await;
    // Three intervals and the skew of priority 100, after the first rest: it is told who it is in its second turn.
    let down = 3 * INTERVAL + INTERVAL * 156 / 256;
    assert_eq!(done.sent[0] - done.begun, REST + down, "no whole number of rests");
    let gaps: Vec<Duration> = done.sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() > 20 && gaps.iter().all(|gap| *gap == INTERVAL), "{gaps:?}");
}
