//! What is told of each connection: to whoever keeps the log, or as an event of the process.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ruling::random;
use super::shared::Global;
use crate::balance::Ahead;
use crate::model;
use crate::model::expression::Expression;
use crate::model::value::{Scope, Value, Variable};
use crate::rules::{self, Facts, Matchers, Notes, World};
use crate::stats::EndReason;

/// Keeps the log of connections. Called on the workers' threads: it must not block.
pub trait Journal: Send + Sync {
    /// A client was accepted by a service whose line is [`model::ConnectionLine::Connect`].
    fn accepted(&self, service: &model::Service, client: SocketAddr, destination: SocketAddr);

    /// A connection has ended.
    fn ended(&self, ended: &Ended<'_>);
}

/// Where the journal is put once it is there.
#[derive(Default)]
pub(super) struct Slot(pub(super) OnceLock<Arc<dyn Journal>>);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot(..)")
    }
}

/// A connection that has ended.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ended<'a> {
    pub service: &'a model::Service,
    /// None: it had not been chosen yet.
    pub pool: Option<&'a str>,
    pub server: Option<&'a str>,
    pub client: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// The name in the client's TLS hello, where rules asked for it.
    pub sni: Option<&'a str>,
    /// What rules have noted.
    pub noted: Noted<'a>,
    pub server_address: Option<SocketAddr>,
    pub reason: EndReason,
    /// How far it came.
    pub phase: Phase,
    /// From the client.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
    /// From accept to the first attempt to connect to a server; none: it came to none.
    pub waited: Option<Duration>,
    /// From there to the established connection; none: there was none.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
    /// It has only begun: bytes and duration are those so far.
    pub goes_on: bool,
    /// Further attempts after the first.
    pub retries: u32,
    /// It ended up at another server than the one it began with.
    pub redispatched: bool,
    /// How many were served before it while it waited for a server with room.
    pub ahead: Ahead,
    pub open: OpenCounts,
}

/// What rules have noted about a connection: its captures, and the variables that its line tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noted<'a> {
    pub(super) own: Option<&'a Notes>,
    /// What its line asks.
    pub(super) told: Option<&'a Matchers>,
    /// For the variables of the process.
    pub(super) global: Option<&'a Global>,
}

/// How far a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waited for a server with room.
    Queue,
    /// It was being connected to a server.
    Connect,
    /// Bytes flowed.
    Data,
}

/// Connections that were open when one ended, itself included, as far as the process and the service are concerned.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OpenCounts {
    pub process: u64,
    pub service: u64,
    pub pool: u64,
    pub server: u64,
}

impl Noted<'_> {
    /// What an expression comes to now.
    #[must_use]
    pub fn value(&self, of: &Expression, facts: &Facts<'_>) -> Option<Value<'static>> {
        match self.told {
            Some(told) => rules::value(of, facts, told, self),
            None => rules::value(of, facts, &Matchers::default(), self),
        }
    }
}

/// Beside what is noted there is nobody to be asked.
impl World for Noted<'_> {
    fn random(&self) -> u32 {
        random()
    }

    fn variable(&self, variable: &Variable) -> Option<Value<'static>> {
        match variable.scope {
            Scope::Process => self.global?.variables().variable(variable).cloned(),
            Scope::Session | Scope::Transaction => self.own?.variable(variable).cloned(),
            Scope::Request => None,
        }
    }

    fn capture(&self, slot: u16) -> Option<Value<'static>> {
        self.own?.capture(slot).cloned()
    }
}

impl Ended<'_> {
    /// Tells it as an event of the process.
    pub fn trace(&self) {
        tracing::info!(
            target: "vipgate::connection",
            service = self.service.name,
            client = %self.client,
            destination = %self.destination,
            sni = self.sni,
            pool = self.pool,
            server = self.server,
            server_address = self.server_address.map(tracing::field::display),
            reason = self.reason.label(),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            connect_ms = self.connect_ms(),
            duration_ms = self.duration_ms(),
            "connection {}",
            if self.goes_on { "established" } else { "ended" }
        );
    }

    /// What HAProxy calls its backend: its frontend as long as no other is chosen.
    #[must_use]
    pub fn proxy(&self) -> &str {
        self.pool.unwrap_or(&self.service.name)
    }

    /// From accept to the established connection; none: there was none.
    #[must_use]
    pub fn connected(&self) -> Option<Duration> {
        self.waited.zip(self.connect).map(|(waited, connect)| waited + connect)
    }

    /// [`Self::connected`] in milliseconds, to the microsecond.
    #[must_use]
    pub fn connect_ms(&self) -> Option<f64> {
        self.connected().map(millis)
    }

    /// Milliseconds from accept to the end, to the microsecond.
    #[must_use]
    pub fn duration_ms(&self) -> f64 {
        millis(self.duration)
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.reason == EndReason::Complete && self.retries == 0 && !self.redispatched
    }

    /// HAProxy's termination code: who ended it, and what it was doing (configuration manual, section 8.5).
    #[must_use]
    pub fn termination(&self) -> String {
        let by = self.reason.letter();
        let doing = match self.phase {
            _ if matches!(by, '-' | 'D' | 'K' | 'U') => '-',
            // Rules turned it away.
            Phase::Queue if by == 'P' => 'R',
            // Nobody was there to wait for.
            Phase::Queue if by == 'S' => 'C',
            Phase::Queue => 'Q',
            Phase::Connect => 'C',
            Phase::Data => 'D',
        };
        format!("{by}{doing}")
    }
}

/// More digits say nothing.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
