//! The thread `vrrp`: adverts and timers, nothing slow, ever. Each turn: the clock, a bounded batch of packets,
//! timers, what was told, and what the cores asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::addresses::{Order, Work};
use super::clock::Clock;
use super::egress::{self, Origin};
use super::interfaces::View;
use super::plan::Plan;
use super::routing::Routing;
use super::slot::{PendingHandover, Slot, Views, stats_role};
use super::steering::{SteerReport, Steering};
use super::team::Team;
use super::wire::{Watched, Wire};
use super::{HandoverOutcome, HandoverReport, Notice, RouterId};
use crate::model::{Estate, InterfaceName, Peering, TrackState, VirtualAddress};
use crate::stats::Registry;
use crate::vrrp::{Action, Event, Reason, Role};
use crate::wire::vrrp::Advertisement;

/// A wake this much too late is told to the cores: above what a scheduler does to a thread that runs, below half the
/// shortest interval.
const LATE: Duration = Duration::from_millis(4);

/// After junk the thread is deaf for so long, though never beyond a deadline, and then reads all that came: a flood costs
/// a wake-up a millisecond, not one a packet, and leaves the rest of the node its cores.
pub(super) const REST: Duration = Duration::from_millis(1);

/// Identification of a prepared advert: it is sent once, by another process.
pub(super) const ESTATE_ID: u16 = u16::MAX;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Run these routers, and no others. Completed once it is so; addresses follow.
    Apply(Box<Plan>, oneshot::Sender<()>),
    /// How a tracker is now.
    Tracked(String, TrackState),
    /// An operator's wish. Answered with none if there is no such router.
    Steer(String, Steering, oneshot::Sender<Option<SteerReport>>),
    /// The process that advertised from this address is dead.
    PeerDied(IpAddr),
    /// How the session with this address is, in words; none: there is none.
    Session(IpAddr, Option<String>),
    /// Somebody takes a router's addresses away again and again.
    Contested(RouterId),
    /// Whether what a router fronts can be served here.
    Ready(String, bool),
    /// Give a router's addresses to whoever takes them.
    Handover(String, oneshot::Sender<HandoverReport>),
    /// Every router leaves; completed when all their addresses are gone.
    Stop(oneshot::Sender<()>),
    /// An interface changed; none: it is gone.
    Interface {
        /// Its name.
        name: InterfaceName,
        /// What it is now.
        view: Option<View>,
    },
    /// A router's work is done, after its last order: nothing of it is left on the node.
    Finished(RouterId),
    /// Addresses are gone from the node.
    Released {
        /// Whose they were.
        router: RouterId,
        /// Which.
        addresses: Vec<VirtualAddress>,
    },
}

/// What the thread is given.
pub(super) struct Setup<W, C> {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) registry: Arc<Registry>,
    pub(super) wire: W,
    pub(super) clock: C,
}

/// The routers and all they share.
pub(super) struct Driver<W, C> {
    pub(super) setup: Setup<W, C>,
    pub(super) views: Views,
    pub(super) slots: Vec<Slot>,
    /// Virtual addresses of every router: none of them is a node's own.
    pub(super) virtual_addresses: Vec<IpAddr>,
    pub(super) teams: Vec<Team>,
    /// How everything that is followed is, as far as it was told.
    pub(super) trackers: BTreeMap<String, TrackState>,
    pub(super) started: Instant,
    /// The numbers in use on each interface, as far as heard.
    pub(super) heard_vrids: BTreeMap<InterfaceName, BTreeSet<u8>>,
    pub(super) next_id: RouterId,
    /// Identification of the last IPv4 header.
    packet_id: u16,
    /// When the last turn began.
    turned: Instant,
    /// The deadline it sleeps for.
    deadline: Option<Instant>,
    /// What was read last was junk, and nothing more waited.
    pub(super) heard_junk: bool,
    suspended: Duration,
    /// Routes and rules that are there as long as the process runs.
    pub(super) routing: Routing,
    pub(super) peering: Peering,
    /// Something changed that may change the sessions wanted.
    pub(super) peering_is_stale: bool,
    pub(super) estate: Estate,
    /// What ends the fence around the addresses, for the estate.
    pub(super) unfence: Vec<u8>,
    /// Something changed that may change the estate.
    pub(super) estate_is_stale: bool,
    stopping: Option<Vec<oneshot::Sender<()>>>,
}

impl<W: Wire, C: Clock> Driver<W, C> {
    pub(super) fn new(setup: Setup<W, C>) -> Self {
        Self {
            suspended: setup.clock.suspended(),
            started: setup.clock.now(),
            turned: setup.clock.now(),
            setup,
            views: Views::new(),
            slots: Vec::new(),
            virtual_addresses: Vec::new(),
            teams: Vec::new(),
            trackers: BTreeMap::new(),
            heard_vrids: BTreeMap::new(),
            next_id: 0,
            packet_id: 0,
            deadline: None,
            heard_junk: false,
            routing: Routing::default(),
            peering: Peering::default(),
            peering_is_stale: false,
            estate: Estate::default(),
            unfence: Vec::new(),
            estate_is_stale: false,
            stopping: None,
        }
    }

    /// The same, on a node whose addresses are fenced.
    pub(super) fn with_unfence(self, unfence: Vec<u8>) -> Self {
        Self { unfence, ..self }
    }

    /// Runs until stopped, or until nobody can tell it anything any more.
    pub(super) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        loop {
            self.deadline = self.slots.iter().filter_map(|slot| slot.wakes_at(self.turned)).min();
            if self.heard_junk {
                let rested = self.turned + REST;
                self.setup.clock.rest(self.deadline.map_or(rested, |deadline| deadline.min(rested)));
            }
            let input = tokio::select! {
                biased;
                () = sleep_until(&self.setup.clock, self.deadline) => None,
                input = inputs.recv() => match input {
                    Some(input) => Some(input),
                    None => break,
                },
                () = std::future::poll_fn(|context| self.setup.wire.poll_ready(context)) => None,
            };
            self.turn(input);
            if self.is_over() {
                break;
            }
        }
        self.clear_routing().await;
        self.lift_fence().await;
        for done in self.stopping.take().into_iter().flatten() {
            let _ = done.send(());
        }
    }

    fn turn(&mut self, input: Option<Input>) {
        let now = self.setup.clock.now();
        let slept = self.measure(now);
        let late_by = |slot: &Slot| {
            let overdue = slot.wakes_at(self.turned).map(|due| now.saturating_duration_since(due));
            overdue.unwrap_or_default().max(slept)
        };
        let lateness: Vec<Duration> = self.slots.iter().map(late_by).collect();
        // Not when it ends: a thread may be stopped in the middle of a turn as well.
        self.turned = now;
        for (index, late_by) in lateness.into_iter().enumerate().filter(|(_, late_by)| *late_by >= LATE) {
            self.feed(index, Event::Woke { late_by }, now);
        }
        // What was said meanwhile counts before any timer: late, however little, is not dead.
        self.receive(now);
        for index in 0..self.slots.len() {
            self.expire(index, now);
        }
        self.thaw(now);
        if let Some(input) = input {
            self.take(input, now);
        }
        self.observe(now);
        self.tell_groups();
        self.slots.retain(|slot| !slot.is_over());
        self.publish_estate();
        if std::mem::take(&mut self.peering_is_stale) {
            self.publish_peering();
        }
    }

    fn is_over(&self) -> bool {
        self.stopping.is_some() && self.slots.is_empty()
    }

    /// How long the machine was suspended: its clock stood still. That counts as late, like a turn after its deadline.
    fn measure(&mut self, now: Instant) -> Duration {
        let suspended = self.setup.clock.suspended();
        let slept = suspended.saturating_sub(std::mem::replace(&mut self.suspended, suspended));
        let overdue = self.deadline.map_or(Duration::ZERO, |deadline| now.saturating_duration_since(deadline));
        let slept = if slept >= LATE { slept } else { Duration::ZERO };
        let late = overdue.max(slept);
        // A turn before the deadline was woken by something else: it says nothing.
        if self.deadline.is_some_and(|deadline| deadline <= now) || late > Duration::ZERO {
            self.setup.registry.late_wakes.record(late);
        }
        slept
    }

    fn take(&mut self, input: Input, now: Instant) {
        match input {
            // One that ends begins nothing any more: who asked learns it from the dropped sender.
            Input::Apply(..) if self.stopping.is_some() => {}
            Input::Apply(plan, done) => {
                self.apply(&plan, now);
                let _ = done.send(());
            }
            Input::Tracked(name, state) => {
                self.trackers.insert(name, state);
                self.weigh(now);
            }
            Input::Steer(name, steering, reply) => self.steer(&name, steering, reply, now),
            Input::PeerDied(address) => {
                for index in 0..self.slots.len() {
                    self.feed(index, Event::PeerDied(address), now);
                }
            }
            Input::Session(address, text) => {
                for slot in &mut self.slots {
                    slot.show_session(address, text.as_deref());
                }
            }
            Input::Contested(router) => {
                if let Some(index) = self.slots.iter().position(|slot| slot.id == router) {
                    self.feed(index, Event::Contested, now);
                }
            }
            Input::Ready(name, ready) => {
                if let Some(index) = self.position(&name)
                    && self.slots.get(index).is_some_and(|slot| slot.router.ready() != ready)
                {
                    self.feed(index, Event::Ready(ready), now);
                }
            }
            Input::Handover(name, reply) => self.hand_over(name, reply, now),
            Input::Stop(done) => {
                self.stopping.get_or_insert_default().push(done);
                for index in 0..self.slots.len() {
                    self.end(index, now);
                }
            }
            Input::Interface { name, view } => {
                match view {
                    Some(view) => drop(self.views.insert(name, view)),
                    None => drop(self.views.remove(&name)),
                }
                self.look_around(now);
            }
            Input::Finished(router) => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == router) {
                    slot.finished = true;
                    self.estate_is_stale = true;
                }
            }
            Input::Released { router, addresses } => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == router) {
                    slot.released(&addresses);
                    self.estate_is_stale = true;
                }
            }
        }
    }

    /// The running router of that name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| !slot.ending && slot.name() == name)
    }

    fn hand_over(&mut self, name: String, reply: oneshot::Sender<HandoverReport>, now: Instant) {
        let Some(index) = self.position(&name) else {
            let outcome = HandoverOutcome::UnknownRouter;
            let _ = reply.send(HandoverReport { router: name, outcome, took: Duration::ZERO });
            return;
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let role = slot.router.role();
        slot.handover = Some(PendingHandover { since: now, reply });
        if role != Role::Master {
            slot.reply_handover(HandoverOutcome::NotMaster(stats_role(role)), now);
            return;
        }
        self.feed(index, Event::Handover, now);
        // One that has nobody to hand over to may not even try.
        if let Some(slot) = self.slots.get_mut(index) {
            slot.finish_handover(slot.router.role(), now);
        }
    }

    pub(super) fn feed(&mut self, index: usize, event: Event, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.router.handle(event, now);
            self.settle_and_drain(index, now);
        }
    }

    fn expire(&mut self, index: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index)
            && slot.router.next_deadline().is_some_and(|deadline| deadline <= now)
        {
            slot.router.handle_timeout(now);
            self.settle_and_drain(index, now);
        }
    }

    /// What one router does may make others of its group do something.
    pub(super) fn settle_and_drain(&mut self, index: usize, now: Instant) {
        for index in self.settle(index, now) {
            self.drain(index, now);
        }
    }

    pub(super) fn drain(&mut self, index: usize, now: Instant) {
        while let Some(action) = self.slots.get_mut(index).and_then(|slot| slot.router.next_action()) {
            self.act(index, action, now);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            self.peering_is_stale |= slot.show(now);
        }
    }

    fn act(&mut self, index: usize, action: Action, now: Instant) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let id = slot.id;
        match action {
            Action::Send(advert) => self.send(index, &advert),
            Action::Acquire(addresses) => {
                slot.acquired(&addresses);
                // Before they are set: no moment in which nobody would remove them.
                self.estate_is_stale = true;
                self.publish_estate();
                self.order(Order::Work(id, Work::Acquire(addresses)));
                self.route(index);
            }
            Action::Release(addresses) => {
                slot.releasing(&addresses);
                self.order(Order::Work(id, Work::Release(addresses)));
            }
            Action::Announce { addresses, count } => {
                self.order(Order::Yield(id, false));
                self.order(Order::Work(id, Work::Announce { addresses, count }));
            }
            Action::Watch(on) => {
                self.order(Order::Yield(id, on));
                self.watch(index, on);
            }
            Action::HeardLower { .. } => {
                let router = slot.name().to_owned();
                let _ = self.setup.notices.send(Notice::HeardLower { router });
            }
            Action::Changed { from, to, reason, priority } => self.changed(index, (from, to), reason, priority, now),
            Action::Left => {
                slot.left = true;
                slot.reply_handover(HandoverOutcome::Interrupted(stats_role(Role::Initialize)), now);
                self.order(Order::Forget(id));
            }
        }
    }

    /// Sends it on every path that can carry it.
    fn send(&mut self, index: usize, advert: &Advertisement) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let stamp = slot.stamp(self.setup.clock.since_epoch());
        let mut outcomes = Vec::new();
        for (source, index) in slot.ways_out(&self.views) {
            // It counts up and is never 0.
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            let origin = Origin { source, index, id: self.packet_id, stamp };
            for packet in egress::prepare(slot.config(), advert, origin) {
                outcomes.push(self.setup.wire.send(&packet));
            }
        }
        slot.sight.sent(slot.router.config(), &slot.stats, &outcomes, advert.priority);
    }

    /// Listens where the router's addresses are, before it says that it leaves: the successor may be quick.
    fn watch(&mut self, index: usize, on: bool) {
        let Some(slot) = self.slots.get(index) else { return };
        let owned = slot.config().owned().filter(|_| on);
        let interfaces: BTreeSet<&InterfaceName> = owned.map(|address| &address.interface).collect();
        let views = interfaces.into_iter().filter_map(|name| self.views.get(name));
        // The successor has the very same virtual hardware address.
        let own = |view: &View| view.mac.filter(|_| view.made.is_none());
        let watched: Vec<Watched> = views.map(|view| Watched { index: view.index, own: own(view) }).collect();
        self.setup.wire.watch(slot.id, &watched);
    }

    fn changed(&mut self, index: usize, (from, to): (Role, Role), reason: Reason, priority: u8, now: Instant) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        self.estate_is_stale = true;
        let (why, reason) = (reason.clone(), reason.to_string());
        slot.show_role(to, &reason, now);
        if to == Role::Master && why == Reason::MasterSilent {
            slot.stats.none_heard.fetch_add(1, Ordering::Relaxed);
        }
        let master = slot.router.master().map(|(address, priority)| format!("{address} (priority {priority})"));
        tracing::info!(
            router = slot.name(),
            from = stats_role(from).label(),
            to = stats_role(to).label(),
            reason,
            priority,
            master,
            "role changed"
        );
        slot.finish_handover(to, now);
        let router = slot.name().to_owned();
        let (from, role) = (stats_role(from), stats_role(to));
        let _ = self.setup.notices.send(Notice::Changed { router, from, role, reason, priority });
    }

    pub(super) fn order(&self, order: Order) {
        let _ = self.setup.orders.send(order);
    }
}

async fn sleep_until(clock: &impl Clock, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
