//! What a scheduler and a lid do to a node: threads that do not run for a while, and a clock that stands still.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::super::clock::Clock;
use super::world::now;

/// Whether a thread gets any processor.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Gate {
    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    pub(super) fn open(&self) {
        self.closed.set(false);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// A thread's life behind its gate.
pub(super) struct Gated<F> {
    gate: Rc<Gate>,
    life: Pin<Box<F>>,
}

impl<F> Gated<F> {
    pub(super) fn new(gate: Rc<Gate>, life: F) -> Self {
        Self { gate, life: Box::pin(life) }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.closed.get() {
            self.gate.waiting.replace(Some(context.waker().clone()));
            return Poll::Pending;
        }
        self.life.as_mut().poll(context)
    }
}

/// A node's clock: the simulation's, less the time the node was suspended.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeClock(Rc<Cell<Duration>>);

impl NodeClock {
    /// The node was suspended for this long, until now.
    pub(super) fn resume_after(&self, length: Duration) {
        self.0.set(self.0.get() + length);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Instant {
        now() - self.0.get()
    }

    fn suspended(&self) -> Duration {
        self.0.get()
    }

    /// Packets take longer than any rest.
    fn rest(&self, _until: Instant) {}

    async fn sleep_until(&self, deadline: Instant) {
        while self.now() < deadline {
            tokio::time::sleep_until((deadline + self.0.get()).into()).await;
        }
    }
}
