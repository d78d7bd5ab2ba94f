//! One client's connection, from accept to its log line.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::greeting::Greeting;
use super::inspect::Inspecting;
use super::relay::{Deferred, End, Listener, Ready, Relay, Side, Step, Transport};
use super::ruling::Ruled;
use super::session::{Session, SessionId, SessionPhase};
use super::shared::{Assigned, PoolShared, ServiceShared};
use super::upstream::Upstream;
use super::worker::{Context, token};
use crate::balance::{Ahead, Pin};
use crate::model::{self, Prefix, StickKeys};
use crate::os::epoll::Event;
use crate::os::pipe::Pipe;
use crate::os::tcp::Stream;
use crate::stats::EndReason;

/// A connection's counters are settled at least this often, so that a long transfer is seen while it runs.
const SETTLE: Duration = Duration::from_secs(10);
/// How often a reset that waits for the last bytes to be acknowledged looks whether they are.
const DRAIN_POLL: Duration = Duration::from_millis(10);
/// How long it waits where the service has no timeout.
const DRAIN: Duration = Duration::from_secs(30);

/// What the connections of one listener have in common.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) service: Arc<ServiceShared>,
    /// The listener's address.
    pub(super) address: SocketAddr,
    /// Who begins with a PROXY header.
    pub(super) proxy_from: Arc<[Prefix]>,
}

impl Binding {
    /// The address that a client connected to: not always the listener's, to which the kernel may lead a whole range of ports,
    /// from one connection to the next.
    pub(super) fn destination(&self, stream: &Stream) -> SocketAddr {
        let local = stream.local_addr().unwrap_or(self.address);
        SocketAddr::new(local.ip().to_canonical(), local.port())
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: SocketAddr,
    /// The address it connected to.
    pub(super) destination: SocketAddr,
    pub(super) binding: Rc<Binding>,
    /// The pool's settings when it began: a reload does not touch open connections.
    pub(super) spec: Arc<model::Pool>,
    pub(super) state: State,
    pub(super) assigned: Option<Assigned>,
    pub(super) pin: Option<Pin>,
    /// What the stick table knows it by, where that is not its address alone.
    pub(super) stick_keys: Option<Arc<StickKeys>>,
    /// What rules have made of it.
    pub(super) ruled: Option<Box<Ruled>>,
    /// The deadline it has in the thread's timers.
    pub(super) timer: Option<Instant>,
    /// It is in the worker's list of those that go on without a new event.
    pub(super) queued: bool,
    /// It is in the worker's list of those that have left something to be written.
    pub(super) batched: bool,
    pub(super) started: Instant,
    /// When the first attempt at a server began.
    pub(super) dispatched: Option<Instant>,
    /// Attempts to connect.
    pub(super) attempts: u32,
    /// How many were served before it while it waited for a server with room.
    pub(super) ahead: Ahead,
    /// It was moved to another server after a failed attempt.
    pub(super) redispatched: bool,
    pub(super) connected: Option<Instant>,
    last_client: Instant,
    last_server: Instant,
    pub(super) settled: [u64; 2],
    /// Whether the fin timeouts are in force.
    half_closed: bool,
    /// Whether room to write to the client is reported.
    watches_writes: bool,
    /// Whether its server's socket is kept alive.
    kept_alive: bool,
}

#[derive(Debug)]
pub(super) enum State {
    /// The client has to say first whom it speaks for.
    Greeting(Box<Greeting>),
    /// The client is listened to, for the rules.
    Inspecting(Box<Inspecting>),
    /// The client waits for a server.
    Upstream(Box<Upstream>),
    /// Bytes flow.
    Relay(Relay<Stream>),
    /// One side was reset; the other, this one, will be once it has what it was sent.
    Draining { survivor: Stream, reason: EndReason, until: Instant },
    /// Nothing is left of it.
    Over,
}

/// What the worker does with a connection after an event.
#[derive(Debug)]
#[must_use]
pub(super) enum Verdict {
    Keep,
    /// Come back without a new event.
    Again,
    End(EndReason, Reset),
}

/// Whose socket is closed with a reset rather than an end of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    None,
    Client,
    Server,
    Both,
    /// The client's, and not even with an end of stream: it is told nothing.
    Silent,
}

/// The pool of a connection of which rules have made this.
pub(super) fn pool_of<'b>(binding: &'b Binding, ruled: Option<&Ruled>) -> &'b Arc<PoolShared> {
    let service = &binding.service;
    let chosen = ruled.and_then(|ruled| service.ruling.as_ref()?.pool(ruled));
    chosen.unwrap_or(&service.pool)
}

impl Transport for Stream {
    type Pipe = Pipe;

    fn pipe() -> std::io::Result<Pipe> {
        Pipe::new()
    }

    fn fill(&self, pipe: &Pipe) -> std::io::Result<usize> {
        pipe.fill(self)
    }

    fn empty(&self, pipe: &Pipe, most: usize, more: bool) -> std::io::Result<usize> {
        self.about_to_write(more);
        pipe.empty(self, most, more)
    }

    fn take(pipe: &Pipe, count: usize) -> Vec<u8> {
        pipe.take(count)
    }

    fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.recv(buffer)
    }

    fn send(&self, bytes: &[u8], more: bool) -> std::io::Result<usize> {
        self.send(bytes, more)
    }

    fn about_to_send(&self, more: bool) {
        self.about_to_write(more);
    }

    fn shutdown_write(&self) -> std::io::Result<()> {
        self.shutdown_write()
    }
}

impl Connection {
    /// A client just accepted, and where it connected to; the service has counted it in.
    pub(super) fn new(
        stream: Stream,
        [client, destination]: [SocketAddr; 2],
        binding: Rc<Binding>,
        ruled: Option<Box<Ruled>>,
        now: Instant,
    ) -> Self {
        let spec = binding.service.pool.spec();
        let state = if binding.proxy_from.iter().any(|prefix| prefix.contains(client.ip())) {
            State::Greeting(Box::new(Greeting::new(stream, binding.service.spec.client_timeout, now)))
        } else {
            State::Upstream(Box::new(Upstream::new(stream, now)))
        };
        let connection = Self {
            client,
            destination,
            binding,
            spec,
            state,
            assigned: None,
            pin: None,
            stick_keys: None,
            ruled,
            timer: None,
            queued: false,
            batched: false,
            started: now,
            dispatched: None,
            attempts: 0,
            ahead: Ahead::default(),
            redispatched: false,
            connected: None,
            last_client: now,
            last_server: now,
            settled: [0; 2],
            half_closed: false,
            watches_writes: false,
            kept_alive: false,
        };
        // Whom a client that begins with a PROXY header speaks for is not known yet.
        if !matches!(connection.state, State::Greeting(_)) {
            connection.announce();
        }
        connection
    }

    /// Its pool.
    pub(super) fn pool(&self) -> &Arc<PoolShared> {
        pool_of(&self.binding, self.ruled.as_deref())
    }

    /// Something was reported about one of its sockets.
    pub(super) fn on_event(&mut self, side: Side, event: Event, context: &mut Context<'_>) -> Verdict {
        let ready = Ready {
            readable: event.readable(),
            writable: event.writable(),
            read_end: event.read_end(),
            urgent: event.urgent(),
            error: event.error(),
        };
        match &mut self.state {
            State::Relay(relay) => {
                relay.set_ready(side, ready);
                self.step(context)
            }
            State::Greeting(greeting) => {
                greeting.ready.add(ready);
                self.on_greeting(context)
            }
            State::Upstream(upstream) => match side {
                Side::Client if ready.error => Verdict::End(EndReason::ClientAborted, Reset::Server),
                Side::Client => {
                    upstream.client_ready.add(ready);
                    if upstream.is_abandoned(self.spec.abort_on_close) {
                        return Verdict::End(EndReason::ClientAborted, Reset::Server);
                    }
                    Verdict::Keep
                }
                Side::Server => self.on_server_event(ready, context),
            },
            State::Inspecting(_) if ready.error => Verdict::End(EndReason::ClientAborted, Reset::None),
            State::Inspecting(_) => self.on_heard(ready, context),
            State::Draining { reason, .. } if ready.error => Verdict::End(*reason, Reset::None),
            State::Draining { .. } | State::Over => Verdict::Keep,
        }
    }

    /// Begins with what comes first.
    pub(super) fn begin(&mut self, context: &mut Context<'_>) -> Verdict {
        match &self.state {
            State::Greeting(_) => self.on_greeting(context),
            _ => self.inspect(context),
        }
    }

    /// The server has accepted: bytes may flow.
    pub(super) fn establish(&mut self, relay: Relay<Stream>, client_spoke: bool, context: &mut Context<'_>) -> Verdict {
        if let (Some(pin), Some(assigned)) = (self.pin, &self.assigned) {
            self.pool().prove(pin, assigned.id);
        }
        if let (Some(keys), Some(assigned)) = (&self.stick_keys, &self.assigned)
            && let [_, further @ ..] = keys.stores.as_slice()
            && !further.is_empty()
        {
            self.pool().lock().balance.table_store(further, assigned.id, context.now);
        }
        self.observe_success();
        self.trust_return_path();
        self.connected = Some(context.now);
        (self.last_client, self.last_server) = (context.now, context.now);
        if !client_spoke {
            context.watch_silence();
        }
        let relay = relay.following(self.server_listener());
        self.state = State::Relay(relay);
        if self.binding.service.spec.log_early {
            self.log_early(context.now);
        }
        self.step(context)
    }

    /// Moves bytes.
    pub(super) fn step(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Relay(relay) = &mut self.state else { return Verdict::Keep };
        let step = relay.step(context.workspace);
        let (client, server) = relay.take_activity();
        if client {
            self.last_client = context.now;
        }
        if server {
            self.last_server = context.now;
        }
        self.half_closed = relay.is_half_closed();
        let heard = relay.take_heard();
        if relay.is_blocked(Side::Client) && !self.watches_writes {
            self.watches_writes = true;
            let watched = context.poller.watch_writes(relay.socket(Side::Client), token(context.key, Side::Client));
            if watched.is_err() {
                return Verdict::End(EndReason::Resources, Reset::Both);
            }
        }
        match heard.map(|listener| *listener) {
            Some(Listener::Session(flight)) => self.learn(flight, context.now),
            Some(Listener::Answer(answer)) => self.store_of(answer, context.now),
            None => {}
        }
        if self.half_closed && self.closes_at_once() {
            return Verdict::End(EndReason::Complete, Reset::None);
        }
        match step {
            Step::Wait => Verdict::Keep,
            Step::Again => Verdict::Again,
            Step::Done(End::Complete) => Verdict::End(EndReason::Complete, Reset::None),
            Step::Done(End::Aborted(side)) => self.abort(side, context.now),
        }
    }

    /// What it has left to the worker to write to a side.
    pub(super) fn deferred(&self, side: Side) -> Option<Deferred<'_, Stream>> {
        match &self.state {
            State::Relay(relay) => relay.deferred(side),
            _ => None,
        }
    }

    /// What was left to the worker to write was written, or not.
    pub(super) fn on_sent(&mut self, side: Side, result: std::io::Result<usize>, context: &mut Context<'_>) -> Verdict {
        if let State::Relay(relay) = &mut self.state {
            relay.sent(side, result, context.workspace);
        }
        self.step(context)
    }

    /// As in HAProxy, nobody waits for what a server says to a client that has ended, if the server does not linger.
    fn closes_at_once(&self) -> bool {
        let told = matches!(&self.state, State::Relay(relay) if relay.has_told_server());
        told && !self.lingers(Side::Server)
    }

    /// Whether a side's socket is closed in the ordinary way.
    pub(super) fn lingers(&self, side: Side) -> bool {
        match side {
            Side::Client => self.binding.service.spec.client_linger,
            Side::Server => self.spec.server_linger,
        }
    }

    /// One side was reset: so is the other, as soon as it has acknowledged what it was sent, which a reset would destroy.
    fn abort(&mut self, side: Side, now: Instant) -> Verdict {
        let (reason, reset) = match side {
            Side::Client => (EndReason::ClientAborted, Reset::Server),
            Side::Server => (EndReason::ServerAborted, Reset::Client),
        };
        self.settle(now);
        let State::Relay(relay) = std::mem::replace(&mut self.state, State::Over) else { return Verdict::Keep };
        let parts = relay.into_parts();
        let (survivor, patience) = match side {
            Side::Client => (parts.server, self.spec.server_timeout),
            Side::Server => (parts.client, self.binding.service.spec.client_timeout),
        };
        let in_flight = survivor.unacknowledged().unwrap_or(0) > 0;
        self.state = State::Draining { survivor, reason, until: now + patience.unwrap_or(DRAIN) };
        if in_flight { Verdict::Keep } else { Verdict::End(reason, reset) }
    }

    /// The time at which it wants to be looked at.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Greeting(greeting) => Some(greeting.until),
            State::Upstream(upstream) => upstream.deadline(self.spec.connect_timeout),
            State::Relay(_) => {
                let silence = [self.client_deadline(), self.server_deadline()].into_iter().flatten().min();
                Some(silence.map_or(now + SETTLE, |at| at.min(now + SETTLE)))
            }
            State::Inspecting(inspecting) => Some(self.inspection_deadline(inspecting)),
            State::Draining { until, .. } => Some((now + DRAIN_POLL).min(*until)),
            State::Over => None,
        }
    }

    fn client_deadline(&self) -> Option<Instant> {
        let service = &self.binding.service.spec;
        let fin = if self.half_closed { service.client_fin_timeout } else { None };
        fin.or(self.spec.tunnel_timeout).or(service.client_timeout).map(|silence| self.last_client + silence)
    }

    fn server_deadline(&self) -> Option<Instant> {
        let fin = if self.half_closed { self.spec.server_fin_timeout } else { None };
        fin.or(self.spec.tunnel_timeout).or(self.spec.server_timeout).map(|silence| self.last_server + silence)
    }

    /// Its deadline has come.
    pub(super) fn on_timer(&mut self, context: &mut Context<'_>) -> Verdict {
        let now = context.now;
        match &self.state {
            State::Greeting(_) => Verdict::End(EndReason::BadProxyHeader, Reset::Client),
            State::Inspecting(_) => self.on_inspection_timer(context),
            State::Upstream(_) => self.on_upstream_timer(context),
            State::Relay(_) => {
                self.settle(now);
                self.keep_alive();
                if self.client_deadline().is_some_and(|at| at <= now) {
                    Verdict::End(EndReason::ClientTimeout, Reset::None)
                } else if self.server_deadline().is_some_and(|at| at <= now) {
                    Verdict::End(EndReason::ServerTimeout, Reset::None)
                } else {
                    Verdict::Keep
                }
            }
            State::Draining { survivor, reason, until } => {
                if *until <= now || survivor.unacknowledged().unwrap_or(0) == 0 {
                    Verdict::End(*reason, Reset::Both)
                } else {
                    Verdict::Keep
                }
            }
            State::Over => Verdict::Keep,
        }
    }

    /// Its server is asked from time to time whether it is still there: a connection that is over by now is spared that.
    fn keep_alive(&mut self) {
        if let (Some(keepalive), State::Relay(relay), false) =
            (self.spec.server_keepalive, &self.state, self.kept_alive)
        {
            // A connection that has failed meanwhile says so by itself.
            let _failed = relay.socket(Side::Server).keep_alive(keepalive);
            self.kept_alive = true;
        }
    }

    /// The client had a few milliseconds to speak first. If it has not, the server may be the one to: it must not wait for
    /// the end of the handshake.
    pub(super) fn on_silence(&self) {
        if let State::Relay(relay) = &self.state
            && relay.bytes_to_server() == 0
        {
            // A connection that has failed meanwhile says so by itself.
            let _failed = relay.socket(Side::Server).acknowledge_now();
        }
    }

    /// What an administrator is shown of it.
    pub(super) fn session(&self, id: SessionId, now: Instant) -> Session {
        let server = self.assigned.as_ref().map(|assigned| &*assigned.server);
        let (phase, [bytes_in, bytes_out]) = match &self.state {
            State::Upstream(upstream) if upstream.is_queued() => (SessionPhase::Queued, self.settled),
            State::Upstream(_) => (SessionPhase::Connecting, self.settled),
            State::Relay(relay) => (SessionPhase::Established, [relay.bytes_to_server(), relay.bytes_to_client()]),
            State::Greeting(_) => (SessionPhase::Greeting, self.settled),
            State::Inspecting(_) => (SessionPhase::Inspecting, self.settled),
            State::Draining { .. } | State::Over => (SessionPhase::Closing, self.settled),
        };
        Session {
            id,
            service: self.binding.service.spec.name.clone(),
            pool: self.spec.name.clone(),
            server: server.map(|server| server.name.clone()),
            server_address: server.and_then(|server| self.server_address(server)),
            client: self.client,
            destination: self.destination,
            phase,
            age: now.saturating_duration_since(self.started),
            idle: (now.saturating_duration_since(self.last_client), now.saturating_duration_since(self.last_server)),
            bytes_in,
            bytes_out,
        }
    }
}
