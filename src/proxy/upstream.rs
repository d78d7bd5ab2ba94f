//! From a client to an established server: choice, attempts, retries, redispatch. Rules as HAProxy's, see
//! [`Connection::on_failure`].

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::connection::{Connection, Reset, State, Verdict};
use super::relay::{Ready, Relay, Side};
use super::shared::{Place, ServerShared};
use super::worker::{Context, token};
use crate::balance::{Refusal, ServerId};
use crate::os::tcp::{Connecting, Stream};
use crate::stats::EndReason;

/// Attempts at one server are this far apart, or the connect timeout if that is shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often a client that waits for a server with room looks for one.
const QUEUE_POLL: Duration = Duration::from_millis(10);

/// A client that waits for a server.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) client: Stream,
    pub(super) client_ready: Ready,
    phase: Phase,
    /// When this attempt, or the wait for a server with room, began.
    since: Instant,
    failures: u32,
    /// Servers that failed this connection and are not to be tried next.
    tried: Vec<ServerId>,
}

#[derive(Debug)]
enum Phase {
    /// Every server is full, or none was asked yet.
    Queued {
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
        let phase = Phase::Queued { next_look: now };
        Self { client, client_ready, phase, since: now, failures: 0, tried: Vec::new() }
    }

    /// The server's socket, if there is one.
    pub(super) fn server(&self) -> Option<&Stream> {
        match &self.phase {
            Phase::Connecting(server) => Some(server),
            Phase::Queued { .. } | Phase::Pausing { .. } => None,
        }
    }

    /// Whether it waits for a server with room.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. })
    }

    pub(super) fn deadline(&self, connect_timeout: Option<Duration>) -> Option<Instant> {
        match &self.phase {
            Phase::Queued { next_look } => Some(*next_look),
            Phase::Connecting(_) => connect_timeout.map(|timeout| self.since + timeout),
            Phase::Pausing { until, .. } => Some(*until),
        }
    }
}

impl Connection {
    /// Chooses a server and connects to it.
    pub(super) fn dispatch(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        match self.binding.service.pool.select(self.client, &upstream.tried, &mut self.pin, context.now) {
            Ok(assigned) => {
                if let Some(before) = self.assigned.replace(assigned) {
                    self.redispatched = true;
                    before.server.stats.redispatches.fetch_add(1, Ordering::Relaxed);
                }
                self.connect(context)
            }
            Err(Refusal::NoneUp) => Verdict::End(EndReason::NoServer, Reset::Client),
            Err(Refusal::Full) => self.queue(context.now),
            Err(Refusal::Excluded) => self.start_over(context.now),
        }
    }

    /// Every server is full: the client waits for one with room, as long as it would for a connection.
    fn queue(&mut self, now: Instant) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        if self.spec.connect_timeout.is_some_and(|timeout| now >= upstream.since + timeout) {
            return Verdict::End(EndReason::NoServer, Reset::Client);
        }
        upstream.phase = Phase::Queued { next_look: now + QUEUE_POLL };
        Verdict::Keep
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
        let Place { address, port } = server.place;
        port.resolve(self.destination.port()).map(|port| SocketAddr::new(address, port))
    }

    fn connect(&mut self, context: &mut Context<'_>) -> Verdict {
        let Some(address) = self.assigned.as_ref().and_then(|assigned| self.server_address(&assigned.server)) else {
            return Verdict::End(EndReason::ConnectFailed, Reset::Client);
        };
        self.dispatched.get_or_insert(context.now);
        self.attempts = self.attempts.saturating_add(1);
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        upstream.since = context.now;
        match Stream::connect(address, self.spec.server_keepalive) {
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
            // Every source port towards this server is taken.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
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
        let Upstream { client, client_ready, phase: Phase::Connecting(server), .. } = *upstream else {
            return Verdict::Keep;
        };
        self.establish(Relay::new(client, client_ready, server, ready), client_ready.readable, context)
    }

    /// The deadline of an attempt, a pause or a look for room has come.
    pub(super) fn on_upstream_timer(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        match upstream.phase {
            Phase::Queued { .. } | Phase::Pausing { then: Next::AnyServer, .. } => self.dispatch(context),
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
    /// allowed and there is another. (After a connection was established nothing is ever repeated.)
    fn on_failure(&mut self, reason: EndReason, context: &mut Context<'_>) -> Verdict {
        let State::Upstream(upstream) = &mut self.state else { return Verdict::Keep };
        let Some(assigned) = &self.assigned else { return Verdict::End(reason, Reset::Client) };
        assigned.server.stats.connect_errors.fetch_add(1, Ordering::Relaxed);
        upstream.phase = Phase::Queued { next_look: context.now };
        upstream.failures += 1;
        if upstream.failures > self.spec.retries {
            return Verdict::End(reason, Reset::Client);
        }
        let last = upstream.failures == self.spec.retries;
        if self.spec.redispatch && (!assigned.sticky || last) {
            upstream.tried.push(assigned.id);
            self.dispatch(context)
        } else {
            self.pause(Next::SameServer, context.now)
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

/// Nothing the server has to do with: no descriptor, no memory.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
