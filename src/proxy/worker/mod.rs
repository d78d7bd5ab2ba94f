//! One thread of the data plane: one epoll descriptor, its listeners, its connections, its timers.

mod accepting;
mod batch;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::accepting::Accepting;
use self::batch::Batch;
use super::connection::{Binding, Connection, Reset, Verdict};
use super::listeners::Farewell;
use super::mailbox::{Command, Mailbox};
use super::relay::{Side, Workspace};
use super::session::SessionId;
use super::slab::{Key, Slab};
use super::timer::Timers;
use crate::os::epoll::{Event, Poller};
use crate::os::pipe::Pipe;
use crate::os::uring::Ring;
use crate::stats::{EndReason, Registry};

/// Read into, written from, shared by all connections of the thread.
const SCRATCH: usize = 128 * 1024;
/// The loop turns at least this often, and so does the heartbeat.
const TURN: Duration = Duration::from_millis(50);
/// How long a client may be silent before its server is told that the handshake is over.
const SILENCE: Duration = Duration::from_millis(3);
/// A shortage that lasts is logged this often.
const SHORTAGE_LOG: Duration = Duration::from_secs(10);

/// What a connection may use of its thread.
pub(super) struct Context<'a> {
    pub(super) poller: &'a Poller,
    pub(super) workspace: &'a mut Workspace<Pipe>,
    pub(super) key: Key,
    pub(super) now: Instant,
    pub(super) mailbox: &'a Arc<Mailbox>,
    silent: &'a mut VecDeque<(Instant, Key)>,
    shortage: Option<io::Error>,
}

/// The state of one thread.
pub(super) struct Worker {
    mailbox: Arc<Mailbox>,
    poller: Poller,
    workspace: Workspace<Pipe>,
    batch: Batch,
    now: Instant,
    connections: Slab<Connection>,
    listeners: Slab<Accepting>,
    listeners_by_id: HashMap<u64, Key>,
    timers: Timers,
    /// Connections that can go on without a new event.
    again: VecDeque<Key>,
    /// Connections established before their client spoke, in order of time.
    silent: VecDeque<(Instant, Key)>,
    /// Listeners that wait for room under a limit, or for descriptors.
    paused: Vec<Key>,
    /// When they try again although nobody said that there is room.
    retry_at: Option<Instant>,
    /// Listeners that are to be closed unless they are called back, in order of time.
    leaving: VecDeque<(Instant, u64, Arc<Farewell>)>,
    shortages: Shortages,
    /// Set once it is to end.
    stop_at: Option<Instant>,
}

/// Want of descriptors or memory.
struct Shortages {
    registry: Arc<Registry>,
    /// There is one, which room under a limit does not end.
    now: bool,
    logged: Option<Instant>,
}

impl Shortages {
    fn meet(&mut self, error: &io::Error, now: Instant) {
        self.now = true;
        self.registry.descriptor_shortages.fetch_add(1, Ordering::Relaxed);
        if self.logged.is_none_or(|at| now >= at + SHORTAGE_LOG) {
            self.logged = Some(now);
            tracing::warn!(%error, "no socket can be had: clients wait until there are descriptors and memory again");
        }
    }
}

impl Context<'_> {
    /// The client of a connection just established has not spoken yet.
    pub(super) fn watch_silence(&mut self) {
        self.silent.push_back((self.now + SILENCE, self.key));
    }

    /// A socket could not be made for want of descriptors or memory: nobody else is to be accepted for a while.
    pub(super) fn meet_shortage(&mut self, error: io::Error) {
        self.shortage = Some(error);
    }
}

/// Kinds of tokens: the low two bits.
const CLIENT: u64 = 0;
const SERVER: u64 = 1;
const LISTENER: u64 = 2;
const MAILBOX: u64 = 3;

/// The token of a connection's socket.
pub(super) fn token(key: Key, side: Side) -> u64 {
    match side {
        Side::Client => encode(key, CLIENT),
        Side::Server => encode(key, SERVER),
    }
}

fn encode(key: Key, kind: u64) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index) << 2 | kind
}

fn decode(token: u64) -> Key {
    Key { index: (token as u32) >> 2, generation: (token >> 32) as u32 }
}

impl Worker {
    /// Fails when a descriptor cannot be had. With `ring`, it writes for many connections at once.
    pub(super) fn new(mailbox: Arc<Mailbox>, registry: Arc<Registry>, ring: Option<Ring>) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add_input(&mailbox.waker, MAILBOX)?;
        let shortages = Shortages { registry, now: false, logged: None };
        Ok(Self {
            mailbox,
            poller,
            workspace: Workspace::new(SCRATCH),
            batch: Batch::new(ring),
            now: Instant::now(),
            connections: Slab::new(),
            listeners: Slab::new(),
            listeners_by_id: HashMap::new(),
            timers: Timers::default(),
            again: VecDeque::new(),
            silent: VecDeque::new(),
            paused: Vec::new(),
            retry_at: None,
            leaving: VecDeque::new(),
            shortages,
            stop_at: None,
        })
    }

    /// Runs until it is told to stop and has nothing left.
    pub(super) fn run(mut self) {
        while !self.is_over() {
            let events = match self.poller.wait(self.patience()) {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "epoll_wait failed: this worker cannot go on");
                    return;
                }
            };
            self.now = Instant::now();
            self.mailbox.heartbeat.fetch_add(1, Ordering::Relaxed);
            // Commands first: what was committed before a client came holds for it.
            self.on_commands();
            self.begin_batch(events);
            for index in 0..events {
                let event = self.poller.event(index);
                self.on_event(event);
                self.write_when_full();
            }
            self.end_batch();
            self.on_again();
            self.on_timers();
            self.on_silence();
            self.accept_more();
            self.close_listeners();
        }
    }

    fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|at| self.connections.is_empty() || at <= self.now)
    }

    /// How long there is nothing to do unless something is reported.
    fn patience(&self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let timer = self.timers.next();
        let silence = self.silent.front().map(|(at, _)| *at);
        let next = [timer, silence, self.stop_at].into_iter().flatten().min();
        next.map_or(TURN, |at| at.saturating_duration_since(self.now).min(TURN))
    }

    fn on_event(&mut self, event: Event) {
        let key = decode(event.token);
        match event.token & 3 {
            CLIENT => {
                self.with_connection(key, |connection, context| connection.on_event(Side::Client, event, context))
            }
            SERVER => {
                self.with_connection(key, |connection, context| connection.on_event(Side::Server, event, context))
            }
            LISTENER => self.accept(key),
            _ => self.mailbox.waker.clear(),
        }
    }

    /// Lets a connection act, and does what it decides.
    fn with_connection(&mut self, key: Key, act: impl FnOnce(&mut Connection, &mut Context<'_>) -> Verdict) {
        let Self { mailbox, connections, poller, workspace, batch, silent, now, timers, again, shortages, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        let mut context = Context { poller, workspace, key, now: *now, mailbox, silent, shortage: None };
        let verdict = act(connection, &mut context);
        if let Some(error) = context.shortage {
            shortages.meet(&error, *now);
        }
        let defers = [Side::Client, Side::Server].into_iter().any(|side| connection.deferred(side).is_some());
        if defers && !std::mem::replace(&mut connection.batched, true) {
            batch.writers.push(key);
        }
        match verdict {
            Verdict::Keep => {}
            Verdict::Again => {
                if !std::mem::replace(&mut connection.queued, true) {
                    again.push_back(key);
                }
            }
            Verdict::End(reason, reset) => return self.end(key, reason, reset),
        }
        // Later deadlines are seen when the earlier one comes.
        let deadline = connection.deadline(*now);
        if connection.timer.is_none() || deadline.is_some_and(|at| connection.timer.is_some_and(|timer| at < timer)) {
            timers.set(key, &mut connection.timer, deadline);
        }
    }

    fn end(&mut self, key: Key, reason: EndReason, reset: Reset) {
        if let Some(mut connection) = self.connections.remove(key) {
            self.timers.set(key, &mut connection.timer, None);
            self.batch.close(connection.end(key, reason, reset, self.now));
        }
    }

    fn on_again(&mut self) {
        // One turn each: those that still are not done queue behind the events of the next turn.
        for _ in 0..self.again.len() {
            let Some(key) = self.again.pop_front() else { break };
            self.with_connection(key, |connection, context| {
                connection.queued = false;
                connection.step(context)
            });
        }
    }

    fn on_timers(&mut self) {
        while let Some(key) = self.timers.pop_due(self.now) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.timer = None;
            }
            self.with_connection(key, |connection, context| connection.on_timer(context));
        }
    }

    fn on_silence(&mut self) {
        while let Some(&(at, key)) = self.silent.front() {
            if at > self.now {
                break;
            }
            self.silent.pop_front();
            if let Some(connection) = self.connections.get_mut(key) {
                connection.on_silence();
            }
        }
    }

    fn on_commands(&mut self) {
        for command in self.mailbox.take() {
            match command {
                Command::Listen { id, listener, binding } => self.listen(id, listener, binding),
                Command::Serve { id, service, proxy_from } => {
                    let key = self.listeners_by_id.get(&id).copied();
                    if let Some(accepting) = key.and_then(|key| self.listeners.get_mut(key)) {
                        let address = accepting.binding.address;
                        accepting.binding = Rc::new(Binding { service, address, proxy_from });
                    }
                }
                Command::Unlisten { id, after: None } => self.unlisten(id),
                Command::Unlisten { id, after: Some((after, farewell)) } => {
                    self.leaving.push_back((self.now + after, id, farewell));
                }
                Command::Granted { key, grant } => {
                    self.with_connection(key, |connection, context| connection.on_grant(grant, context));
                }
                Command::ResetService { name } => {
                    self.reset(EndReason::Removed, |connection| *connection.binding.service.spec.name == *name);
                }
                Command::ResetServer { stats, reason, report } => {
                    let count = self.reset(reason, |connection| {
                        connection.assigned.as_ref().is_some_and(|assigned| Arc::ptr_eq(&assigned.server.stats, &stats))
                    });
                    report.add(|total| *total += count);
                }
                Command::ResetSession { key, report } => {
                    if self.connections.get_mut(key).is_some() {
                        self.end(key, EndReason::Killed, Reset::Both);
                        report.add(|total| *total += 1);
                    }
                }
                Command::ResetLocal { addresses, report } => {
                    self.accept_waiting();
                    let count = self.reset_local(&addresses);
                    report.add(|total| *total += count);
                }
                Command::List { worker, report } => {
                    let now = self.now;
                    let list = self.connections.iter().map(|(key, open)| open.session(SessionId { worker, key }, now));
                    report.add(|sessions| sessions.extend(list));
                }
                Command::Stop { deadline } => self.stop(deadline),
            }
        }
    }

    fn reset_local(&mut self, addresses: &[IpAddr]) -> u64 {
        self.reset(EndReason::Moved, |connection| addresses.contains(&connection.destination.ip()))
    }

    fn reset(&mut self, reason: EndReason, matches: impl Fn(&Connection) -> bool) -> u64 {
        let keys = self.connections.keys(matches);
        for key in &keys {
            self.end(*key, reason, Reset::Both);
        }
        keys.len() as u64
    }

    fn stop(&mut self, deadline: Instant) {
        for id in self.listeners_by_id.keys().copied().collect::<Vec<_>>() {
            self.unlisten(id);
        }
        self.stop_at = Some(deadline);
    }
}

impl Drop for Worker {
    /// What is left is reset rather than left hanging.
    fn drop(&mut self) {
        self.reset(EndReason::Stopped, |_| true);
    }
}
