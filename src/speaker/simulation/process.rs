//! A node's process: the real driver and the real keeper of addresses, and what `app` does for them.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::super::driver::{Driver, Input};
use super::super::{Notice, addresses, driver, ownership};
use super::gate::{Gate, Gated, NodeClock};
use super::host::{FakeKernel, Standing};
use super::lan::FakeWire;
use super::world::Shared;
use crate::model::VirtualRouter;
use crate::stats::Registry;

/// A thread's life.
pub(super) type Life = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct Process {
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) driver: Rc<Gate>,
    pub(super) keeper: Rc<Gate>,
    pub(super) clock: NodeClock,
    ends: Vec<AbortHandle>,
}

impl Process {
    /// Starts one as `Speaker::start` does.
    pub(super) fn start(world: &Shared, at: usize, router: &VirtualRouter, ready: bool) -> (Self, Vec<Life>) {
        let (inputs, told) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();
        let (notices, heard) = mpsc::unbounded_channel();
        let registry = Arc::new(Registry::default());
        let notifications = {
            let mut world = world.borrow_mut();
            world.trace(format_args!("node {at}: starts"));
            world.law.disturb(at);
            let host = &mut world.hosts[at];
            host.abandoned = false;
            host.standing = Standing { alive: true, ..Standing::default() };
            host.registry = Arc::clone(&registry);
            host.subscribe()
        };
        let keeper = addresses::Setup {
            orders: ordered,
            inputs: inputs.downgrade(),
            notices: notices.clone(),
            kernel: FakeKernel { world: Rc::clone(world), at },
            notifications,
            configured: ownership::reclaimable(std::slice::from_ref(router)),
        };
        let clock = NodeClock::default();
        let wire = FakeWire { world: Rc::clone(world), at };
        let driver = driver::Setup { orders, notices, registry, wire, clock: clock.clone() };
        let (looked_around, is_ready) = std::sync::mpsc::channel();
        let keeper_life = async move { LocalSet::new().run_until(addresses::run(keeper, looked_around)).await };
        let driver_life = {
            let (world, router, inputs) = (Rc::clone(world), router.clone(), inputs.clone());
            async move {
                while is_ready.try_recv().is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let name = router.name.clone();
                let _ = inputs.send(Input::Apply(Box::new(vec![router].into()), oneshot::channel().0));
                let _ = inputs.send(Input::Ready(name, ready));
                drop(inputs);
                Driver::new(driver).run(told).await;
                let mut world = world.borrow_mut();
                world.trace(format_args!("node {at}: ended"));
                world.change(|world| world.hosts[at].bury_process());
                world.be_missed(at);
            }
        };
        let mut process = Self { inputs, driver: Rc::default(), keeper: Rc::default(), clock, ends: Vec::new() };
        let lives: [Life; 3] = [
            Box::pin(Gated::new(Rc::clone(&process.keeper), keeper_life)),
            Box::pin(Gated::new(Rc::clone(&process.driver), driver_life)),
            Box::pin(serve(Rc::clone(world), at, heard)),
        ];
        let mortal = lives.map(|life| {
            let (end, registration) = AbortHandle::new_pair();
            process.ends.push(end);
            let life = Abortable::new(life, registration);
            Box::pin(async move {
                let _ = life.await;
            }) as Life
        });
        (process, mortal.into())
    }

    pub(super) fn kill(&self) {
        for end in &self.ends {
            end.abort();
        }
    }
}

/// What `app` does with notices: flows are reset after a while, the guardian is told.
async fn serve(world: Shared, at: usize, mut notices: mpsc::UnboundedReceiver<Notice>) {
    let mut resets = FuturesUnordered::new();
    loop {
        let notice = tokio::select! {
            biased;
            notice = notices.recv() => notice,
            Some(()) = resets.next() => continue,
        };
        match notice {
            Some(Notice::Releasing { done, .. }) => {
                let wait = {
                    let mut world = world.borrow_mut();
                    // In a storm the data plane is stuck at times.
                    let longest = if world.stormy && world.random.chance(5) { 1000 } else { 20 };
                    world.random.up_to(Duration::from_millis(longest))
                };
                resets.push(async move {
                    tokio::time::sleep(wait).await;
                    drop(done);
                });
            }
            Some(Notice::Estate(estate)) => world.borrow_mut().hosts[at].estate = estate,
            Some(Notice::Changed { role, reason, .. }) => {
                world.borrow().trace(format_args!("node {at}: {} ({reason})", role.label()));
            }
            Some(
                Notice::GroupChanged { .. }
                | Notice::Peering(_)
                | Notice::HeardLower { .. }
                | Notice::BeforeMaster { .. }
                | Notice::Released { .. },
            ) => {}
            None => break,
        }
    }
}
