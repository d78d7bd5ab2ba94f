//! The thread `addresses`: sets, removes and announces what the routers decided, puts back what somebody else
//! removed, and tells the routers about links. Slow work is here so that none is on the thread that keeps time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use super::announce::{Announcement, BATCH};
use super::charge::Charge;
use super::driver::Input;
use super::fights::Fights;
use super::interfaces::{Interfaces, View};
use super::kernel::{Kernel, Notification, Notifications, Refused};
use super::links::Link;
use super::ownership::{self, Key, Ownership};
use super::queue::Queue;
use super::rivals::{Ears, Question};
use super::routing::{Routing, Routings};
use super::{Notice, RouterId, StartError};
use crate::model::{Prefix, VirtualAddress};
use crate::stats::RouterStats;

/// How long a release waits for the flows of its addresses to be reset.
const RESET_PATIENCE: Duration = Duration::from_millis(100);
/// A hook's command is ended at its timeout, and killed a second later; this is for that and the way there.
const HOOK_GRACE: Duration = Duration::from_millis(2500);

/// What the routers ask for.
#[derive(Debug)]
pub(super) enum Order {
    /// The addresses that are ours whoever set them: what is found of them on a backup is removed.
    Configure(BTreeSet<Key>),
    /// A router that may give orders.
    Register {
        /// Which.
        router: RouterId,
        /// Where its announcements are counted.
        stats: Arc<RouterStats>,
        /// The interface to make for it.
        link: Option<Link>,
        /// What else there is to know of it.
        charge: Charge,
    },
    /// What there is to know of a router changed.
    Amend(RouterId, Charge),
    /// Whether a router waits for its successor: it leaves the segment to others then.
    Yield(RouterId, bool),
    /// No address is left: take down the fence. Completed once it is so.
    LiftFence(oneshot::Sender<()>),
    /// Routes and rules wanted for the life of the process; completed once it is so.
    Static(Routing, oneshot::Sender<()>),
    /// Work for one router, done in the order given.
    Work(RouterId, Work),
    /// The router gives no more orders.
    Forget(RouterId),
}

/// Work for one router.
#[derive(Debug)]
pub(super) enum Work {
    /// Set these.
    Acquire(Vec<VirtualAddress>),
    /// Have their flows reset, then remove them; with the router's last address its routes and rules go before.
    Release(Vec<VirtualAddress>),
    /// From now on these routes and rules, and no others.
    Route(Routing),
    /// Announce these, `count` times each.
    Announce {
        /// The addresses.
        addresses: Vec<VirtualAddress>,
        /// How often.
        count: u32,
    },
}

/// What the thread is given.
pub(super) struct Setup<K> {
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) inputs: mpsc::WeakUnboundedSender<Input>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) kernel: K,
    pub(super) notifications: Notifications,
    pub(super) configured: BTreeSet<Key>,
}

/// The thread's whole life. `ready` is completed once every interface is known to the routers and what an earlier life
/// left behind is gone. Ends when no more orders can come.
pub(super) async fn run<K: Kernel>(setup: Setup<K>, ready: std::sync::mpsc::Sender<Result<(), StartError>>) {
    let Setup { mut orders, inputs, notices, kernel, mut notifications, configured } = setup;
    let keeper = Keeper(Rc::new(Shared {
        kernel,
        inputs,
        notices,
        state: RefCell::default(),
        published: RefCell::default(),
        routings: Mutex::default(),
        watches_routing: Cell::default(),
        surroundings_changed: Notify::new(),
        answered: Notify::new(),
        making_links: Mutex::default(),
    }));
    keeper.0.state.borrow_mut().ownership.configure(configured);
    if let Err(error) = keeper.0.kernel.remove_leftovers().await {
        return drop(ready.send(Err(StartError::Netlink(error))));
    }
    if let Err(error) = keeper.read_everything().await {
        return drop(ready.send(Err(StartError::Netlink(error))));
    }
    keeper.repair_now().await;
    // Only now: an address of an earlier life would answer again.
    keeper.lift_fence();
    spawn_local(keeper.clone().mend_fence());
    let _ = ready.send(Ok(()));
    keeper.serve(&mut orders, &mut notifications).await;
}

/// What every task of the thread shares.
pub(super) struct Shared<K> {
    pub(super) kernel: K,
    inputs: mpsc::WeakUnboundedSender<Input>,
    notices: mpsc::UnboundedSender<Notice>,
    pub(super) state: RefCell<State>,
    /// The views the routers were told last.
    pub(super) published: RefCell<BTreeMap<String, View>>,
    pub(super) routings: Mutex<Routings>,
    /// Whether a task puts back routes and rules.
    pub(super) watches_routing: Cell<bool>,
    /// Links or addresses changed, and with them perhaps routes.
    pub(super) surroundings_changed: Notify,
    /// Somebody who was asked has answered.
    pub(super) answered: Notify,
    /// Held by whoever makes or removes links.
    pub(super) making_links: Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) interfaces: Interfaces,
    pub(super) ownership: Ownership,
    pub(super) charges: BTreeMap<RouterId, Charge>,
    /// The routers that wait for their successor.
    pub(super) yielding: BTreeSet<RouterId>,
    /// The routers whose addresses are wanted, but not before something else is done.
    pub(super) delayed: BTreeSet<RouterId>,
    pub(super) fights: Fights,
    pub(super) ears: Ears,
    /// The questions that nobody has answered yet.
    pub(super) asked: BTreeSet<Question>,
    pub(super) links: BTreeMap<RouterId, Link>,
    workers: BTreeMap<RouterId, Worker>,
}

/// The task that does one router's work in order.
struct Worker {
    queue: mpsc::UnboundedSender<Work>,
    stats: Arc<RouterStats>,
}

impl State {
    /// Where a router's announcements are counted.
    pub(super) fn stats(&self, router: RouterId) -> Option<Arc<RouterStats>> {
        self.workers.get(&router).map(|worker| Arc::clone(&worker.stats))
    }
}

pub(super) struct Keeper<K>(pub(super) Rc<Shared<K>>);

impl<K> Clone for Keeper<K> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<K: Kernel> Keeper<K> {
    async fn serve(&self, orders: &mut mpsc::UnboundedReceiver<Order>, notifications: &mut Notifications) {
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.take_order(order),
                    None => break,
                },
                notification = notifications.next() => match notification {
                    Some(Notification::Changed(message)) => self.hear(&message),
                    Some(Notification::Lost) => self.recover().await,
                    None => {
                        tracing::error!("the kernel's link and address notifications ended: link loss goes unnoticed");
                        while let Some(order) = orders.recv().await {
                            self.take_order(order);
                        }
                        break;
                    }
                },
            }
        }
    }

    fn take_order(&self, order: Order) {
        let mut state = self.0.state.borrow_mut();
        match order {
            Order::Configure(configured) => {
                state.ownership.configure(configured);
                let repairs = state.ownership.repair_all(&state.interfaces);
                drop(state);
                self.start_repairs(repairs);
            }
            Order::Static(routing, done) => {
                let keeper = self.clone();
                spawn_local(async move {
                    keeper.route(None, routing).await;
                    let _ = done.send(());
                });
            }
            Order::Register { router, stats, link, charge } => {
                let (queue, work) = mpsc::unbounded_channel();
                state.charges.insert(router, charge);
                state.links.extend(link.map(|link| (router, link)));
                state.workers.insert(router, Worker { queue, stats: Arc::clone(&stats) });
                spawn_local(self.clone().work(router, work, stats));
                drop(state);
                self.fence();
            }
            Order::Amend(router, charge) => {
                state.charges.insert(router, charge);
                drop(state);
                self.fence();
            }
            Order::Yield(router, true) => drop(state.yielding.insert(router)),
            Order::Yield(router, false) => drop(state.yielding.remove(&router)),
            Order::LiftFence(done) => {
                drop(state);
                self.lift_fence();
                let _ = done.send(());
            }
            Order::Work(router, work) => {
                match &work {
                    Work::Acquire(addresses) => state.ownership.acquire(router, addresses),
                    Work::Release(addresses) => state.ownership.release(router, addresses),
                    Work::Route(_) | Work::Announce { .. } => {}
                }
                let acquires = matches!(work, Work::Acquire(_));
                if let Some(worker) = state.workers.get(&router) {
                    let _ = worker.queue.send(work);
                }
                drop(state);
                if acquires {
                    // Before they are set.
                    self.fence();
                    self.listen();
                }
            }
            // Its task ends once what is queued is done.
            Order::Forget(router) => drop(state.workers.remove(&router)),
        }
    }

    async fn work(self, router: RouterId, work: mpsc::UnboundedReceiver<Work>, stats: Arc<RouterStats>) {
        self.clone().make_links().await;
        let mut queue = Queue::new(work);
        let mut owns = false;
        while let Some(work) = queue.next().await {
            match work {
                Work::Acquire(addresses) => {
                    if !std::mem::replace(&mut owns, true) {
                        self.prepare(router, &mut queue).await;
                    }
                    if !self.0.state.borrow().ownership.wants_any(router) {
                        // Given up meanwhile.
                        continue;
                    }
                    self.switch_link(router, true).await;
                    self.acquire(router, &addresses).await;
                    spawn_local(self.clone().forget_unreached(addresses.clone()));
                    spawn_local(self.clone().ask_gateways(router, addresses, Arc::clone(&stats)));
                }
                Work::Release(addresses) => {
                    // A release that waits does not stand in the way of what was decided meanwhile.
                    tokio::select! {
                        biased;
                        () = self.reset_flows(&addresses) => {}
                        () = queue.wait() => {}
                    }
                    if !self.0.state.borrow().ownership.wants_any(router) {
                        self.route(Some(router), Routing::default()).await;
                        // Before the addresses go: leaving their groups is a report too.
                        self.switch_link(router, false).await;
                    }
                    self.release(router, addresses).await;
                    if owns && !self.0.state.borrow().ownership.wants_any(router) {
                        owns = false;
                        if let Some(router) = self.name(router) {
                            let _ = self.0.notices.send(Notice::Released { router });
                        }
                    }
                }
                Work::Route(routing) => self.route(Some(router), routing).await,
                Work::Announce { addresses, count } => self.announce(router, &addresses, count, &stats).await,
            }
        }
        {
            let mut state = self.0.state.borrow_mut();
            state.charges.remove(&router);
            state.yielding.remove(&router);
            state.fights.forget(router);
        }
        self.finish(router).await;
    }

    fn name(&self, router: RouterId) -> Option<String> {
        self.0.state.borrow().charges.get(&router).map(|charge| charge.name.clone())
    }

    /// What must be done before a router has addresses is done, within its time, or the addresses are given up already.
    async fn prepare(&self, router: RouterId, queue: &mut Queue) {
        let charge = self.0.state.borrow().charges.get(&router).cloned();
        let Some((Some(limit), name)) = charge.map(|charge| (charge.before_master, charge.name)) else { return };
        let (done, is_done) = oneshot::channel();
        if self.0.notices.send(Notice::BeforeMaster { router: name.clone(), done }).is_err() {
            return;
        }
        self.0.state.borrow_mut().delayed.insert(router);
        let mut is_done = std::pin::pin!(tokio::time::timeout(limit.saturating_add(HOOK_GRACE), is_done));
        loop {
            tokio::select! {
                biased;
                ended = &mut is_done => {
                    if ended.is_err() {
                        tracing::warn!(router = name, "its before-master command does not end: the addresses are set");
                    }
                    break;
                }
                () = queue.grow() => {
                    if !self.0.state.borrow().ownership.wants_any(router) {
                        break;
                    }
                }
            }
        }
        self.0.state.borrow_mut().delayed.remove(&router);
    }

    async fn acquire(&self, router: RouterId, addresses: &[VirtualAddress]) {
        let wanted: Vec<(u32, VirtualAddress)> = {
            let state = self.0.state.borrow();
            addresses
                .iter()
                .filter(|address| state.ownership.is_wanted(router, address))
                .filter_map(|address| {
                    let index = state.interfaces.by_name(address.interface.as_str()).map(|(index, _)| index);
                    if index.is_none() {
                        tracing::warn!(address = %address.prefix, interface = %address.interface,
                            "address not set: there is no such interface");
                    }
                    Some((index?, address.clone()))
                })
                .collect()
        };
        // One that is there without our mark was set by somebody else: it would keep their label and scope.
        let strange: Vec<(u32, Prefix)> = {
            let state = self.0.state.borrow();
            let is_strange = |index: u32, prefix: Prefix| {
                let link = state.interfaces.by_index(index);
                link.is_some_and(|link| link.addresses.iter().any(|known| known.prefix == prefix && !known.ours))
            };
            let wanted = wanted.iter().map(|(index, address)| (*index, address.prefix));
            wanted.filter(|(index, prefix)| is_strange(*index, *prefix)).collect()
        };
        self.0.kernel.remove(&strange).await;
        let results = self.0.kernel.set(&wanted).await;
        for ((_, address), result) in wanted.iter().zip(results) {
            if let Err(refused) = result
                && refused != Refused(libc::EEXIST)
            {
                let hint = if refused == Refused(libc::EINVAL) {
                    " (is there an address of the same subnet with another scope?)"
                } else {
                    ""
                };
                tracing::warn!(address = %address.prefix, interface = %address.interface,
                    error = %std::io::Error::from(refused), "address not set{hint}");
            }
        }
    }

    /// While this node was cut off it asked for neighbours in vain, and the kernel would repeat that only once a second:
    /// clients that are there again by now must not wait for it.
    async fn forget_unreached(self, addresses: Vec<VirtualAddress>) {
        let indexes: BTreeSet<u32> = {
            let state = self.0.state.borrow();
            let index = |address: &VirtualAddress| state.interfaces.by_name(address.interface.as_str());
            addresses.iter().filter_map(index).map(|(index, _)| index).collect()
        };
        if let Err(error) = self.0.kernel.forget_unreached(&indexes).await {
            tracing::debug!(%error, "unanswered neighbours are not forgotten");
        }
    }

    async fn release(&self, router: RouterId, addresses: Vec<VirtualAddress>) {
        let unwanted: Vec<(u32, VirtualAddress)> = {
            let state = self.0.state.borrow();
            // Last set, first removed: an IPv4 address takes those of its subnet with it that were set after it.
            addresses
                .iter()
                .rev()
                .filter(|address| state.ownership.is_unwanted(address))
                .filter_map(|address| {
                    let (index, _) = state.interfaces.by_name(address.interface.as_str())?;
                    Some((index, address.clone()))
                })
                .collect()
        };
        let removals: Vec<_> = unwanted.iter().map(|(index, address)| (*index, address.prefix)).collect();
        for ((_, address), result) in unwanted.iter().zip(self.0.kernel.remove(&removals).await) {
            if let Err(refused) = result {
                tracing::warn!(address = %address.prefix, interface = %address.interface,
                    error = %std::io::Error::from(refused), "address not removed");
            }
        }
        // Who came after the others were reset would hang, and be waited for at the end. (Nobody waits for this.)
        let _reset = self.ask_for_resets(unwanted.iter().map(|(_, address)| address));
        self.0.state.borrow_mut().ownership.released(&addresses);
        self.fence();
        self.forget_rivals(addresses.iter().map(ownership::key));
        self.listen();
        // Those another router wants by now stay, but are no more this one's.
        self.tell(Input::Released { router, addresses });
    }

    /// Afterwards neither data nor a reset could leave: flows end before their address does.
    async fn reset_flows(&self, addresses: &[VirtualAddress]) {
        let _ = tokio::time::timeout(RESET_PATIENCE, self.ask_for_resets(addresses.iter())).await;
    }

    /// The answer comes when it is done, or when nobody does it.
    fn ask_for_resets<'a>(&self, addresses: impl Iterator<Item = &'a VirtualAddress>) -> oneshot::Receiver<()> {
        let (done, reset) = oneshot::channel();
        let addresses = addresses.map(|address| address.prefix.address).collect();
        // Without a receiver the process is ending.
        let _ = self.0.notices.send(Notice::Releasing { addresses, done });
        reset
    }

    pub(super) async fn announce(
        &self,
        router: RouterId,
        addresses: &[VirtualAddress],
        count: u32,
        stats: &RouterStats,
    ) {
        let frames: Vec<(&VirtualAddress, Announcement)> = {
            let state = self.0.state.borrow();
            addresses
                .iter()
                .filter_map(|address| {
                    let name = address.interface.as_str();
                    let (index, link) = state.interfaces.by_name(name)?;
                    let forwards = address.prefix.address.is_ipv6() && self.0.kernel.forwards(name);
                    Some((address, Announcement::new(address.prefix.address, link.mac?, index, forwards)))
                })
                .collect()
        };
        // Every address once, then every address again: the last of many is not late.
        for _ in 0..count {
            for batch in frames.chunks(BATCH) {
                for (address, frame) in batch {
                    // One that waits for its successor must not speak after it, however slow the kernel was.
                    let silent = {
                        let state = self.0.state.borrow();
                        state.yielding.contains(&router) || !state.ownership.is_wanted(router, address)
                    };
                    if silent {
                        continue;
                    }
                    match frame.send(&self.0.kernel).await {
                        Ok(()) => drop(stats.announcements.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => {
                            tracing::debug!(address = %address.prefix, %error, "announcement not sent");
                        }
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    }

    pub(super) fn tell(&self, input: Input) {
        if let Some(inputs) = self.0.inputs.upgrade() {
            let _ = inputs.send(input);
        }
    }
}
