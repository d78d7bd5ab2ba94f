//! The thread `vrrp`: adverts and timers, nothing slow, ever. Each turn: the clock, what was told, a bounded batch of
//! packets, and what the cores asked for.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::addresses::{Order, Work};
use super::egress::{self, Egress};
use super::ingress::{Ingress, Wanted};
use super::interfaces::View;
use super::ownership;
use super::slot::{PendingHandover, Slot, Views, stats_role};
use super::watch::Watch;
use super::{HandoverOutcome, HandoverReport, Notice, RouterId};
use crate::model::{Estate, InterfaceName, VirtualAddress, VirtualRouter};
use crate::os::raw::{ReceiveOptions, Receiver};
use crate::os::sched;
use crate::stats::Registry;
use crate::vrrp::{Action, Event, Reason, Role};
use crate::wire::vrrp::{Advertisement, PROTOCOL};

/// A wake this much after the deadline is told to the cores: well above what a scheduler does to a thread that runs,
/// below the shortest master-down interval (30 ms and skew).
const LATE: Duration = Duration::from_millis(20);

/// Identification of a prepared advert: it is sent once, by another process.
pub(super) const ESTATE_ID: u16 = u16::MAX;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Run these routers, and no others. Completed once it is so; addresses follow.
    Apply(Vec<VirtualRouter>, oneshot::Sender<()>),
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
    /// A socket was opened elsewhere: joining a group may wait for the kernel's configuration lock.
    Opened(Wanted, io::Result<Receiver>),
    /// Addresses are gone from the node.
    Released {
        /// Whose they were.
        router: RouterId,
        /// Which.
        addresses: Vec<VirtualAddress>,
    },
}

/// What the thread is given.
pub(super) struct Setup {
    /// Where what is done elsewhere reports back.
    pub(super) reports: mpsc::WeakUnboundedSender<Input>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) registry: Arc<Registry>,
    pub(super) egress: Egress,
}

/// The routers and all they share.
pub(super) struct Driver {
    pub(super) setup: Setup,
    pub(super) views: Views,
    pub(super) slots: Vec<Slot>,
    pub(super) ingress: Ingress,
    /// Virtual addresses of every router: none of them is a node's own.
    virtual_addresses: Vec<IpAddr>,
    next_id: RouterId,
    /// The deadline the thread sleeps for.
    deadline: Option<Instant>,
    suspended: Duration,
    pub(super) estate: Estate,
    /// Something changed that may change the estate.
    pub(super) estate_is_stale: bool,
    stopping: Option<Vec<oneshot::Sender<()>>>,
}

impl Driver {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            views: Views::new(),
            slots: Vec::new(),
            ingress: Ingress::default(),
            virtual_addresses: Vec::new(),
            next_id: 0,
            deadline: None,
            suspended: sched::suspended(),
            estate: Estate::default(),
            estate_is_stale: false,
            stopping: None,
        }
    }

    /// Runs until stopped, or until nobody can tell it anything any more.
    pub(super) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        loop {
            self.deadline = self.slots.iter().filter_map(|slot| slot.router.next_deadline()).min();
            let input = tokio::select! {
                biased;
                () = sleep_until(self.deadline) => None,
                input = inputs.recv() => match input {
                    Some(input) => Some(input),
                    None => break,
                },
                () = std::future::poll_fn(|context| self.poll_sockets(context)) => None,
            };
            self.turn(input);
            if self.is_over() {
                break;
            }
        }
        for done in self.stopping.take().into_iter().flatten() {
            let _ = done.send(());
        }
    }

    fn poll_sockets(&self, context: &mut std::task::Context<'_>) -> Poll<()> {
        let mut ready = self.ingress.poll_ready(context);
        for watch in self.slots.iter().flat_map(|slot| &slot.watches) {
            if watch.poll_ready(context).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    fn turn(&mut self, input: Option<Input>) {
        let now = Instant::now();
        let late = self.measure(now);
        if late >= LATE {
            // Who overslept listens first to what was said meanwhile.
            for index in 0..self.slots.len() {
                self.feed(index, Event::Woke { late_by: late }, now);
            }
            self.receive(now);
        }
        for index in 0..self.slots.len() {
            self.expire(index, now);
        }
        if let Some(input) = input {
            self.take(input, now);
        }
        self.receive(now);
        self.observe(now);
        self.slots.retain(|slot| !slot.is_over());
        self.publish_estate();
    }

    fn is_over(&self) -> bool {
        self.stopping.is_some() && self.slots.is_empty()
    }

    /// How much too late this turn begins. A suspended machine's clock stood still: that counts too.
    fn measure(&mut self, now: Instant) -> Duration {
        let suspended = sched::suspended();
        let slept = suspended.saturating_sub(std::mem::replace(&mut self.suspended, suspended));
        let overdue = self.deadline.map_or(Duration::ZERO, |deadline| now.saturating_duration_since(deadline));
        let late = overdue.max(if slept >= LATE { slept } else { Duration::ZERO });
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.setup.registry.late_wake_max_micros.fetch_max(micros, Ordering::Relaxed);
        late
    }

    fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Apply(routers, done) => {
                self.apply(&routers, now);
                let _ = done.send(());
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
            Input::Opened(wanted, result) => match result.and_then(|receiver| self.ingress.opened(&wanted, receiver)) {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(interface = %wanted.channel.0, family = %wanted.channel.1, %error,
                        "adverts cannot be received, trying again when the interface changes");
                    self.ingress.failed(&wanted.channel);
                }
            },
            Input::Released { router, addresses } => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == router) {
                    slot.released(&addresses);
                    self.estate_is_stale = true;
                }
            }
        }
    }

    /// The running router of that name.
    fn position(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| !slot.ending && slot.name() == name)
    }

    /// Runs these routers and no others: only differences are touched.
    fn apply(&mut self, routers: &[VirtualRouter], now: Instant) {
        self.virtual_addresses =
            routers.iter().flat_map(VirtualRouter::owned).map(|address| address.prefix.address).collect();
        self.order(Order::Configure(ownership::reclaimable(routers)));
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index).filter(|slot| !slot.ending) else { continue };
            match routers.iter().find(|config| config.name == slot.name()) {
                Some(config) if config == slot.config() => {}
                Some(config) if is_same_router(config, slot.config()) => {
                    self.feed(index, Event::Reconfigure(Box::new(config.clone())), now);
                }
                Some(_) | None => self.end(index, now),
            }
        }
        for config in routers {
            if self.position(&config.name).is_none() {
                self.add(config, now);
            }
        }
        self.look_around(now);
    }

    fn add(&mut self, config: &VirtualRouter, now: Instant) {
        if !self.views.contains_key(&config.interface) {
            tracing::warn!(router = config.name, interface = %config.interface,
                "there is no such interface yet, waiting for it");
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.name() == config.name) {
            slot.replaced = true;
        }
        self.next_id += 1;
        let stats = self.setup.registry.router(&config.name);
        self.order(Order::Register(self.next_id, Arc::clone(&stats)));
        let slot = Slot::new(self.next_id, config, &self.views, stats, &self.virtual_addresses, now);
        slot.show_role(slot.router.role(), &slot.router.reason().to_string(), now);
        self.slots.push(slot);
        self.drain(self.slots.len() - 1, now);
    }

    fn end(&mut self, index: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.ending) {
            slot.ending = true;
            self.feed(index, Event::Stop, now);
        }
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

    /// Links and addresses may have changed, or the routers that need them.
    fn look_around(&mut self, now: Instant) {
        self.estate_is_stale = true;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            for event in slot.look(&self.views, &self.virtual_addresses) {
                self.feed(index, event, now);
            }
        }
        self.open_sockets();
    }

    fn open_sockets(&mut self) {
        let mut wanted: Vec<Wanted> = Vec::new();
        for slot in &self.slots {
            let config = slot.config();
            let Some(view) = self.views.get(&config.interface) else { continue };
            let channel = (config.interface.clone(), config.family);
            let multicast = config.peers.is_empty();
            match wanted.iter_mut().find(|want| want.channel == channel) {
                Some(want) => want.multicast |= multicast,
                None => wanted.push(Wanted { channel, index: view.index, multicast }),
            }
        }
        for want in self.ingress.keep(wanted) {
            let Some(reports) = self.setup.reports.upgrade() else { return };
            tokio::task::spawn_blocking(move || {
                let (interface, family) = &want.channel;
                let options = ReceiveOptions {
                    family: *family,
                    protocol: PROTOCOL,
                    interface: interface.as_str().to_owned(),
                    index: want.index,
                    group: want.multicast.then(|| egress::group(*family)),
                };
                let result = Receiver::open(&options);
                let _ = reports.send(Input::Opened(want, result));
            });
        }
    }

    pub(super) fn feed(&mut self, index: usize, event: Event, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.router.handle(event, now);
            self.drain(index, now);
        }
    }

    fn expire(&mut self, index: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index)
            && slot.router.next_deadline().is_some_and(|deadline| deadline <= now)
        {
            slot.router.handle_timeout(now);
            self.drain(index, now);
        }
    }

    fn drain(&mut self, index: usize, now: Instant) {
        while let Some(action) = self.slots.get_mut(index).and_then(|slot| slot.router.next_action()) {
            self.act(index, action, now);
        }
        if let Some(slot) = self.slots.get(index) {
            slot.show();
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
            }
            Action::Release(addresses) => {
                slot.releasing(&addresses);
                self.order(Order::Work(id, Work::Release(addresses)));
            }
            Action::Announce { addresses, count } => {
                self.order(Order::Work(id, Work::Announce { addresses, count }));
            }
            Action::Watch(on) => self.watch(index, on),
            Action::HeardLower { .. } => {}
            Action::Changed { from, to, reason, .. } => self.changed(index, from, to, reason, now),
            Action::Left => {
                slot.left = true;
                slot.reply_handover(HandoverOutcome::Interrupted(stats_role(Role::Initialize)), now);
                self.order(Order::Forget(id));
            }
        }
    }

    fn send(&mut self, index: usize, advert: &Advertisement) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(source) = slot.router.local() else { return };
        let Some(view) = self.views.get(&slot.config().interface) else { return };
        let id = self.setup.egress.next_id();
        for packet in egress::prepare(slot.config(), advert, source, view.index, id) {
            let result = self.setup.egress.send(&packet);
            slot.count_send(&result, advert.priority);
        }
    }

    /// Listens where the router's addresses are, before it says that it leaves: the successor may be quick.
    fn watch(&mut self, index: usize, on: bool) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        for watch in slot.watches.drain(..) {
            watch.close();
        }
        if !on {
            return;
        }
        let interfaces: BTreeSet<&InterfaceName> =
            slot.router.config().owned().map(|address| &address.interface).collect();
        for view in interfaces.into_iter().filter_map(|name| self.views.get(name)) {
            match Watch::open(view.index, view.mac) {
                Ok(watch) => slot.watches.push(watch),
                Err(error) => tracing::debug!(router = slot.name(), %error, "successor cannot be listened for"),
            }
        }
    }

    fn changed(&mut self, index: usize, from: Role, to: Role, reason: Reason, now: Instant) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        self.estate_is_stale = true;
        let reason = reason.to_string();
        slot.show_role(to, &reason, now);
        let master = slot.router.master().map(|(address, priority)| format!("{address} (priority {priority})"));
        tracing::info!(
            router = slot.name(),
            from = stats_role(from).label(),
            to = stats_role(to).label(),
            reason,
            priority = slot.router.priority(),
            master,
            "role changed"
        );
        slot.finish_handover(to, now);
        let router = slot.name().to_owned();
        let _ = self.setup.notices.send(Notice::Changed { router, role: stats_role(to), reason });
    }

    fn order(&self, order: Order) {
        let _ = self.setup.orders.send(order);
    }
}

/// Whether a changed configuration is the same router: another interface, family, VRID or way of addressing is not.
fn is_same_router(one: &VirtualRouter, other: &VirtualRouter) -> bool {
    one.interface == other.interface
        && one.family == other.family
        && one.vrid == other.vrid
        && one.peers.is_empty() == other.peers.is_empty()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
