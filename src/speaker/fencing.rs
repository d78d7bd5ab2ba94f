//! The fence around the addresses of the routers: a node whose processes are gone answers for none of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::addresses::{Keeper, Order};
use super::clock::Clock;
use super::driver::Driver;
use super::kernel::Kernel;
use super::wire::Wire;
use crate::fence::{self, Fence, FenceError, FenceName};

/// How often somebody's `flush ruleset` is made good.
const MENDED_EVERY: Duration = Duration::from_secs(5);

/// The fence of this process, where the kernel can have one.
#[derive(Debug)]
pub(super) struct Fencing {
    name: FenceName,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No address was there to be fenced.
    Down,
    Up(Fence),
    /// It was tried, and cannot be.
    Impossible,
}

impl Fencing {
    pub(super) fn new(name: FenceName) -> Self {
        Self { name, state: State::Down }
    }

    /// Fences these addresses and no others. The first call puts the fence up.
    pub(super) fn set(&mut self, addresses: &BTreeSet<IpAddr>) {
        if let State::Down = self.state {
            self.state = Fence::open(self.name.clone()).map_or_else(
                |error| {
                    tracing::warn!(%error, "no fence: a daemon killed together with its guardian would go on answering for its addresses");
                    State::Impossible
                },
                State::Up,
            );
        }
        if let State::Up(fence) = &mut self.state
            && let Err(error) = fence.set(addresses)
        {
            tracing::warn!(%error, "the fence around the addresses is not what it should be, trying again");
        }
    }

    /// Makes good what somebody else did to it.
    pub(super) fn mend(&mut self) {
        if let State::Up(fence) = &mut self.state {
            match fence.repair() {
                Ok(false) => {}
                Ok(true) => tracing::warn!(
                    "nf_tables were flushed by somebody else: the fence around the addresses is up again"
                ),
                Err(error) => tracing::warn!(%error, "the fence around the addresses cannot be mended, trying again"),
            }
        }
    }

    /// Takes it down, or what a killed run left of it.
    pub(super) fn lift(&mut self) {
        let lifted = match std::mem::replace(&mut self.state, State::Down) {
            State::Up(fence) => fence.lift(),
            State::Down => fence::cleanup(&self.name),
            State::Impossible => {
                self.state = State::Impossible;
                Ok(())
            }
        };
        match lifted {
            // Said when it is put up.
            Ok(()) | Err(FenceError::Unsupported | FenceError::Denied) => {}
            Err(error) => tracing::warn!(%error, "a fence around addresses was not removed; try `vipgate cleanup`"),
        }
    }
}

impl<K: Kernel> Keeper<K> {
    /// Fences what is, or is about to be, on this node.
    pub(super) fn fence(&self) {
        let addresses = {
            let state = self.0.state.borrow();
            // A process without routers needs no fence.
            if state.charges.is_empty() {
                return;
            }
            let mut addresses: BTreeSet<IpAddr> = state.ownership.present().collect();
            let unfenced = state.charges.values().flat_map(|charge| &charge.unfenced);
            for address in unfenced {
                addresses.remove(address);
            }
            addresses
        };
        self.0.kernel.fence(&addresses);
    }

    /// Keeps the fence up, for ever.
    pub(super) async fn mend_fence(self) {
        let mut ticks = interval(MENDED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.fence();
            self.0.kernel.mend_fence();
        }
    }

    /// Takes the fence down, unless there is an address that needs it.
    pub(super) fn lift_fence(&self) {
        let needed = self.0.state.borrow().ownership.present().next().is_some();
        if !needed {
            self.0.kernel.lift_fence();
        }
    }
}

impl<W: Wire, C: Clock> Driver<W, C> {
    /// The end: no address is left.
    pub(super) async fn lift_fence(&mut self) {
        let (done, is_done) = oneshot::channel();
        self.order(Order::LiftFence(done));
        // Closed without an answer: there is nobody left to do it.
        let _ = is_done.await;
    }
}
