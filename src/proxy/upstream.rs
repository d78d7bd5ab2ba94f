//! From a client to an established server: choice, attempts, retries, redispatch. Rules as HAProxy's, see
//! [`Connection::on_failure`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::connection::{Connection, Reset, State, Verdict, pool_of};
use super::operate::Observed;
use super::queue::{Grant, Waiter, Waiting};
use super::relay::{Ready, Relay, Side};
use super::ruling::{directions_of, name_of};
use super::shared::{Assigned, Place, PoolShared, ServerShared, Wanted};
use super::tls_session::offer_of;
use super::worker::{Context, token};
use crate::balance::{Ahead, Refusal, ServerId};
use crate::model::{ProxyVersion, RefuseWith};
use crate::os::tcp::{Connecting, Stream};
use crate::stats::EndReason;
use crate::wire::proxy_header::{self, Header};

/// Attempts at one server are this far apart, or the connect timeout if that is shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A client that waits for a server with room is told when there is one. A server in its slow start gets more room without
/// any event: it is looked for this often.
const QUEUE_LOOK: Duration = Duration::from_secs(1);

/// Want of source ports is told again after this long without it.
const QUIET: Duration = Duration::from_secs(10);

/// More than this of what a client says first is not looked at.
const MOST_HEARD: usize = 16 * 1024;

/// A client that waits for a server.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) client: Stream,
    pub(super) client_ready: Ready,
    /// What it has said to rules that listen: the first that its server gets.
    pub(super) heard: Vec<u8>,
    phase: Phase,
    /// When this attempt, or the wait for a server with room, began.
    since: Instant,
    failures: u32,
    /// Servers that failed this connection and are not to be tried next.
    tried: Vec<ServerId>,
}

#[derive(Debug)]
enum Phase {
    /// No server was asked yet, or the last one failed.
    Unassigned,
    /// Every server that may be asked is full.
    Queued {
        waiting: Waiting,
        until: Option<Instant>,
        next_look: Instant,
    },
    Connecting(Stream),
    /// Between two attempts.
    Pausing {
        until: Instant,
        then: Next,
    },
}

#[derive(Debug, Clone, Copy)]
enum Next {
    SameServer,
    AnyServer,
}

impl Upstream {
    pub(super) fn new(client: Stream, now: Instant) -> Self {
        let client_ready = Ready { writable: true, ..Ready::default() };
        let (phase, heard, tried) = (Phase::Unassigned, Vec::new(), Vec::new());
        Self { client, client_ready, heard, phase, since: now, failures: 0, tried }
    }

    /// Listens to the client. True: more will not come, or would not be looked at.
    pub(super) fn hear(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        while self.client_ready.readable && self.heard.len() < MOST_HEARD {
            let room = scratch.len().min(MOST_HEARD - self.heard.len());
            let Some(scratch) = scratch.get_mut(..room) else { break };
            match self.client.recv(scratch) {
                // A read will say so again.
                Ok(0) => return Ok(true),
                Ok(count) => {
                    self.heard.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    self.client_ready.took(count, room);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.client_ready.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.heard.len() >= MOST_HEARD)
    }

    /// It begins only now.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
    }

    /// The client's socket, and the server's if there is one.
    pub(super) fn into_sockets(self) -> (Option<Stream>, Option<Stream>) {
        let server = match self.phase {
            Phase::Connecting(server) => Some(server),
            Phase::Unassigned | Phase::Queued { .. } | Phase::Pausing { .. } => None,
        };
        (Some(self.client), server)
    }

    /// Whether the client ended its stream without a word, or after one where that counts: nobody waits for a server any more.
    pub(super) fn is_abandoned(&self, abort_on_close: bool) -> bool {
        // A server that has accepted meanwhile may speak first.
        let accepted = || matches!(&self.phase, Phase::Connecting(server) if server.is_connected());
        let silent = || self.heard.is_empty() && matches!(self.client.peek(&mut [0]), Ok(0));
        self.client_ready.read_end && (abort_on_close || silent()) && !accepted()
    }

    /// Whether it waits for a server with room.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. })
    }

    /// How many were served before it, while it waits.
    pub(super) fn ahead(&self) -> Option<Ahead> {
        match &self.phase {
            Phase::Queued { waiting, .. } => Some(waiting.ahead()),
            Phase::Unassigned | Phase::Connecting(_) | Phase::Pausing { .. } => None,
        }
    }

    pub(super) fn deadline(&self, connect_timeout: Option<Duration>) -> Option<Instant> {
        match &self.phase {
            Phase::Unassigned => None,
            Phase::Queued { until, next_look, .. } => Some(until.map_or(*next_look, |until| until.min(*next_look))),
            Phase::Connecting(_) => connect_timeout.map(|timeout| self.since + timeout),
            Phase::Pausing { until, .. } => Some(*until),
        }
    }
}

impl ServerShared {
    /// Whether its name is not resolved yet: to connect to no address would reach this node.
    pub(super) fn is_nameless(&self) -> bool {
        self.place.address.is_unspecified() && !self.follows_clients
    }

    /// Its address for a client that connected to `destination`.
    fn reached_from(&self, destination: SocketAddr) -> Option<SocketAddr> {
        let Place { address, port } = self.place;
        let port = port.resolve(destination.port()).filter(|_| !self.is_nameless())?;
        let address = if self.follows_clients { destination.ip() } else { address };
        Some(SocketAddr::new(address, port))
    }
}

impl PoolShared {
    /// The server at an address, for clients that connected to `destination`.
    pub(super) fn server_at(&self, address: SocketAddr, destination: SocketAddr) -> Option<String> {
        let state = self.lock();
        let found = state.servers.iter().find(|server| server.reached_from(destination) == Some(address));
        found.map(|server| server.name.clone())
    }
}

impl Connection {
    /// Chooses a server and connects to it.
    pub(super) fn dispatch(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let ruled = self.ruled.as_deref();
        let wanted = Wanted {
            client: self.client.ip(),
            name: name_of(&self.spec, ruled),
            offer: offer_of(ruled),
            keys: self.stick_keys.as_deref(),
            directions: directions_of(ruled).map(Arc::as_ref),
            exclude: &upstream.tried,
        };
        match pool_of(&self.binding, self.ruled.as_deref()).select(&wanted, &mut self.pin, context.now) {
            Ok(assigned) => self.connect_to(assigned, context),
            Err(Refusal::NoneUp) => self.refuse(EndReason::NoServer),
            Err(Refusal::Full { server }) => self.queue(server, context),
            Err(Refusal::Excluded) => self.start_over(context.now),
        }
    }

    fn connect_to(&mut self, assigned: Assigned, context: &mut Context<'_>) -> Verdict {
        self.leave_server();
        self.assigned = Some(assigned);
        self.connect(context)
    }

    /// Gives up its place at the server that failed it.
    fn leave_server(&mut self) {
        if let Some(before) = self.assigned.take() {
            self.redispatched = true;
            before.server.stats.redispatches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The client is turned away as its pool says.
    fn refuse(&self, reason: EndReason) -> Verdict {
        if self.assigned.is_none() {
            self.pool().lock().stats.unserved.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::End(
            reason,
            match self.spec.refusal {
                RefuseWith::Reset => Reset::Client,
                RefuseWith::Close => Reset::None,
            },
        )
    }

    /// Waits for room at this server, or at any.
    fn queue(&mut self, server: Option<ServerId>, context: &mut Context<'_>) -> Verdict {
        self.leave_server();
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let waiter = Waiter {
            client: self.client.ip(),
            name: name_of(&self.spec, self.ruled.as_deref()),
            offer: offer_of(self.ruled.as_deref()).cloned(),
            keys: self.stick_keys.clone(),
            directions: directions_of(self.ruled.as_deref()).cloned(),
            exclude: upstream.tried.clone(),
            held: self.pin,
            mailbox: Arc::clone(context.mailbox),
            key: context.key,
            wanted: None,
        };
        let Some(waiting) = pool_of(&self.binding, self.ruled.as_deref()).wait(waiter, server, context.now) else {
            return self.refuse(EndReason::QueueFull);
        };
        let patience = self.spec.queue_timeout.or(self.spec.connect_timeout);
        let until = patience.map(|patience| context.now + patience);
        upstream.phase = Phase::Queued { waiting, until, next_look: context.now + QUEUE_LOOK };
        Verdict::Keep
    }

    /// There is room for it. What it no longer waits for goes to the next.
    pub(super) fn on_grant(&mut self, grant: Grant, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let waits = matches!(&upstream.phase, Phase::Queued { waiting, .. } if waiting.is_for(&grant));
        if !waits {
            return Verdict::Keep;
        }
        self.ahead = grant.ahead();
        let Some((assigned, pin)) = grant.take() else { return Verdict::Keep };
        upstream.phase = Phase::Unassigned;
        self.pin = pin;
        self.connect_to(assigned, context)
    }

    /// Every server has failed once: again, but not at once.
    fn start_over(&mut self, now: Instant) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let alone = upstream.tried.len() < 2;
        let last = upstream.tried.pop();
        upstream.tried.clear();
        if !alone {
            upstream.tried.extend(last);
        }
        self.pause(if alone { Next::SameServer } else { Next::AnyServer }, now)
    }

    fn pause(&mut self, then: Next, now: Instant) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let pause = self.spec.connect_timeout.map_or(RETRY_PAUSE, |timeout| timeout.min(RETRY_PAUSE));
        upstream.phase = Phase::Pausing { until: (upstream.since + pause).max(now), then };
        Verdict::Keep
    }

    /// The server's address for this client.
    pub(super) fn server_address(&self, server: &ServerShared) -> Option<SocketAddr> {
        server.reached_from(self.destination)
    }

    fn connect(&mut self, context: &mut Context<'_>) -> Verdict {
        let Some(assigned) = &self.assigned else { return self.refuse(EndReason::ConnectFailed) };
        let Some(address) = self.server_address(&assigned.server) else {
            return self.refuse(EndReason::ConnectFailed);
        };
        self.dispatched.get_or_insert(context.now);
        self.attempts = self.attempts.saturating_add(1);
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        upstream.since = context.now;
        let options = assigned.server.link.options(self.client);
        match Stream::connect(address, options) {
            Ok(Connecting::Done(server) | Connecting::Started(server)) => {
                if context.poller.add_stream(&server, token(context.key, Side::Server), true).is_err() {
                    return Verdict::End(EndReason::Resources, Reset::Client);
                }
                upstream.phase = Phase::Connecting(server);
                Verdict::Keep
            }
            Err(error) if is_shortage(&error) => {
                context.meet_shortage(error);
                Verdict::End(EndReason::Resources, Reset::Client)
            }
            Err(error) if is_portless(&error) => {
                meet_want_of_ports(&assigned.server, &self.spec.name, address, context.now);
                Verdict::End(EndReason::Resources, Reset::Client)
            }
            Err(error) => self.on_failure(reason_of(&error), context),
        }
    }

    /// The attempt was answered.
    pub(super) fn on_server_event(&mut self, ready: Ready, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let Phase::Connecting(server) = &upstream.phase else { return Verdict::Keep };
        if ready.error {
            let reason = match server.take_error() {
                Ok(Some(error)) | Err(error) => reason_of(&error),
                Ok(None) => EndReason::ConnectFailed,
            };
            return self.on_failure(reason, context);
        }
        if !ready.writable {
            return Verdict::Keep;
        }
        let State::Upstream(upstream) = std::mem::replace(&mut self.state, State::Over) else { return Verdict::Keep };
        let Upstream { client, client_ready, heard, phase: Phase::Connecting(server), .. } = *upstream else {
            return Verdict::Keep;
        };
        let client_spoke = client_ready.readable || !heard.is_empty();
        if !self.introduce(&server, client_spoke) {
            self.state = State::Upstream(Box::new(Upstream::new(client, context.now)));
            return Verdict::End(EndReason::ConnectFailed, Reset::Client);
        }
        let relay = Relay::new(client, client_ready, server, ready).beginning_with(heard);
        self.establish(relay, client_spoke, context)
    }

    /// Tells a server that wants to know whom it speaks with; false when that failed. A socket just connected has room for it.
    fn introduce(&self, server: &Stream, client_spoke: bool) -> bool {
        let Some(version) = self.assigned.as_ref().and_then(|assigned| assigned.server.link.send_proxy) else {
            return true;
        };
        let header = Header::Proxied { source: self.client, destination: self.destination };
        let bytes = match version {
            ProxyVersion::V1 => proxy_header::encode_v1(header),
            ProxyVersion::V2 => proxy_header::encode_v2(header),
        };
        // The client's first bytes follow at once and ride along.
        server.send(&bytes, client_spoke).is_ok_and(|sent| sent == bytes.len())
    }

    /// The deadline of an attempt, a pause or a look for room has come.
    pub(super) fn on_upstream_timer(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        if upstream.is_abandoned(self.spec.abort_on_close) {
            return Verdict::End(EndReason::ClientAborted, Reset::Server);
        }
        match &mut upstream.phase {
            Phase::Queued { until: Some(until), .. } if *until <= context.now => self.refuse(EndReason::QueueTimeout),
            Phase::Queued { next_look, .. } => {
                *next_look = context.now + QUEUE_LOOK;
                pool_of(&self.binding, self.ruled.as_deref()).serve_queue(context.now);
                Verdict::Keep
            }
            Phase::Unassigned | Phase::Pausing { then: Next::AnyServer, .. } => self.dispatch(context),
            Phase::Connecting(_) => self.on_failure(EndReason::ConnectTimeout, context),
            Phase::Pausing { then: Next::SameServer, .. } => {
                if let Some(assigned) = &self.assigned {
                    assigned.server.stats.retries.fetch_add(1, Ordering::Relaxed);
                }
                self.connect(context)
            }
        }
    }

    /// An attempt failed. A server that stickiness named gets `retries` attempts one second apart; then, where redispatch is
    /// allowed, another one gets the last. A server that was merely chosen is left at once for another, where redispatch is
    /// allowed and there is another. Where every so many retries may redispatch, each of those does. (After a connection was established nothing is ever repeated.)
    fn on_failure(&mut self, reason: EndReason, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let Some(assigned) = &self.assigned else { return self.refuse(reason) };
        assigned.server.stats.connect_errors.fetch_add(1, Ordering::Relaxed);
        upstream.phase = Phase::Unassigned;
        upstream.failures += 1;
        let failures = upstream.failures;
        self.observe_failure(&assigned.server);
        self.doubt_return_path(reason, &assigned.server);
        if failures > self.spec.retries {
            return self.refuse(reason);
        }
        let moves = match self.spec.redispatch_every {
            Some(every) => failures.is_multiple_of(every.max(1)),
            None => failures == self.spec.retries,
        };
        let forced = directions_of(self.ruled.as_deref()).is_some_and(|directions| directions.is_forced());
        if self.spec.redispatch && (!assigned.sticky || moves) && !forced {
            let failed = assigned.id;
            if let State::Upstream(upstream) = &mut self.state {
                upstream.tried.push(failed);
            }
            self.dispatch(context)
        } else {
            self.pause(Next::SameServer, context.now)
        }
    }

    /// A connection failed: so many in a row say something about the server's health.
    fn observe_failure(&self, server: &ServerShared) {
        let Some(observe) = server.observe else { return };
        let errors = server.stats.errors_in_row.fetch_add(1, Ordering::Relaxed) + 1;
        if errors < u64::from(observe.error_limit) {
            return;
        }
        server.stats.errors_in_row.store(0, Ordering::Relaxed);
        if let Some(tell) = self.binding.service.global.observer.get() {
            let (pool, server) = (self.spec.name.clone(), server.name.clone());
            tell(Observed { pool, server, errors, on_error: observe.on_error });
        }
    }

    /// One that was established ends the row of those that failed.
    pub(super) fn observe_success(&self) {
        let server = self.assigned.as_ref().map(|assigned| &assigned.server);
        if let Some(server) = server.filter(|server| server.observe.is_some()) {
            server.stats.errors_in_row.store(0, Ordering::Relaxed);
        }
    }
}

fn reason_of(error: &io::Error) -> EndReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => EndReason::ConnectRefused,
        io::ErrorKind::TimedOut => EndReason::ConnectTimeout,
        _ => EndReason::ConnectFailed,
    }
}

/// Every source port towards the server is taken, or its `source` is not an address of this node.
fn is_portless(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

fn meet_want_of_ports(server: &ServerShared, pool: &str, address: SocketAddr, now: Instant) {
    server.stats.portless.fetch_add(1, Ordering::Relaxed);
    let mut told = None;
    server.stats.update_status(|status| told = status.portless_at.replace(now));
    if told.is_none_or(|told| now.saturating_duration_since(told) >= QUIET) {
        tracing::warn!(
            pool,
            server = server.name,
            "every source port towards {address} is taken, or its `source` is no address of this node: widen \
             net.ipv4.ip_local_port_range, or add servers or sources"
        );
    }
}

/// Nothing the server has to do with: no descriptor, no memory.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
