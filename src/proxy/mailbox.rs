//! How the control thread speaks to a worker.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Binding;
use super::listeners::Farewell;
use super::queue::Grant;
use super::session::Session;
use super::shared::ServiceShared;
use super::slab::Key;
use crate::model::Prefix;
use crate::os::eventfd::Waker;
use crate::os::tcp::Listener;
use crate::stats::{EndReason, ServerStats};

/// What the control thread asks of a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept from a listener.
    Listen { id: u64, listener: Arc<Listener>, binding: Binding },
    /// A listener's connections belong to this service from now on.
    Serve { id: u64, service: Arc<ServiceShared>, proxy_from: Arc<[Prefix]> },
    /// Accept what waits at a listener, then close it; after a while, unless it is called back, where another takes its place.
    Unlisten { id: u64, after: Option<(Duration, Arc<Farewell>)> },
    /// A connection that waited gets a place at a server.
    Granted { key: Key, grant: Grant },
    /// Reset the connections of a service that is gone.
    ResetService { name: Arc<str> },
    /// Reset the connections to a server.
    ResetServer { stats: Arc<ServerStats>, reason: EndReason, report: Arc<Report<u64>> },
    /// Reset a connection.
    ResetSession { key: Key, report: Arc<Report<u64>> },
    /// Reset the connections whose client reached one of these addresses.
    ResetLocal { addresses: Arc<[IpAddr]>, report: Arc<Report<u64>> },
    /// List the connections of this worker, which has this number.
    List { worker: u16, report: Arc<Report<Vec<Session>>> },
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

/// Gathers what all workers did or found, and reports it when the last of them has let go of it.
pub(super) struct Report<T: Default> {
    gathered: Mutex<T>,
    done: Mutex<Option<Done<T>>>,
}

type Done<T> = Box<dyn FnOnce(T) + Send>;

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

impl<T: Default> Report<T> {
    pub(super) fn new(done: Done<T>) -> Self {
        Self { gathered: Mutex::default(), done: Mutex::new(Some(done)) }
    }

    pub(super) fn add(&self, add: impl FnOnce(&mut T)) {
        add(&mut self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<T: Default> Drop for Report<T> {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            done(std::mem::take(self.gathered.get_mut().unwrap_or_else(PoisonError::into_inner)));
        }
    }
}

impl<T: Default> std::fmt::Debug for Report<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}
