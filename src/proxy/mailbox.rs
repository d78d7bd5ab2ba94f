//! How the control thread speaks to a worker.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::connection::Binding;
use super::shared::ServiceShared;
use crate::os::eventfd::Waker;
use crate::os::tcp::Listener;
use crate::stats::ServerStats;

/// What the control thread asks of a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept from a listener.
    Listen { id: u64, listener: Arc<Listener>, binding: Binding },
    /// A listener's connections belong to this service from now on.
    Serve { id: u64, service: Arc<ServiceShared> },
    /// Accept what waits at a listener, then close it.
    Unlisten { id: u64 },
    /// Reset the connections of a service that is gone.
    ResetService { name: Arc<str> },
    /// Reset the connections to a server that is down.
    ResetServer { stats: Arc<ServerStats> },
    /// Reset the connections whose client reached one of these addresses.
    ResetLocal { addresses: Arc<[IpAddr]>, report: Arc<Report> },
    /// Close the listeners, and end when the last connection has, or at the deadline, when those that are left are reset.
    Stop { deadline: Instant },
}

/// Commands under way to a worker, and the counter that wakes it.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) waker: Waker,
    /// Turns of the worker's loop.
    pub(super) heartbeat: Arc<AtomicU64>,
    commands: Mutex<Vec<Command>>,
    resume: AtomicBool,
}

/// Counts what all workers did, and reports it when the last of them has let go of it.
pub(super) struct Report {
    count: AtomicU64,
    done: Mutex<Option<Done>>,
}

type Done = Box<dyn FnOnce(u64) + Send>;

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new()?,
            heartbeat: Arc::default(),
            commands: Mutex::default(),
            resume: AtomicBool::new(false),
        })
    }

    pub(super) fn send(&self, commands: Vec<Command>) {
        if !commands.is_empty() {
            self.commands.lock().unwrap_or_else(PoisonError::into_inner).extend(commands);
            self.waker.wake();
        }
    }

    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listeners that wait for room may try again.
    pub(super) fn resume(&self) {
        if !self.resume.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    pub(super) fn take_resume(&self) -> bool {
        self.resume.load(Ordering::Relaxed) && self.resume.swap(false, Ordering::SeqCst)
    }
}

impl Report {
    pub(super) fn new(done: Done) -> Self {
        Self { count: AtomicU64::new(0), done: Mutex::new(Some(done)) }
    }

    pub(super) fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            done(self.count.load(Ordering::Relaxed));
        }
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").field("count", &self.count).finish_non_exhaustive()
    }
}
