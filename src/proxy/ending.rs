//! The end of a connection: counters, its log line, and how its sockets are closed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::connection::{Connection, Reset, State};
use super::inspect::leave_silently;
use super::journal::{Ended, Noted, OpenCounts, Phase};
use super::relay::Side;
use super::slab::Key;
use crate::model;
use crate::os::tcp::Stream;
use crate::stats::EndReason;

impl Connection {
    /// Adds what flowed since the last time to the counters.
    pub(super) fn settle(&mut self, now: Instant) {
        let State::Relay(relay) = &self.state else { return };
        let total = [relay.bytes_to_server(), relay.bytes_to_client()];
        let fresh = [total[0] - self.settled[0], total[1] - self.settled[1]];
        self.settled = total;
        if let Some(ruled) = &self.ruled {
            ruled.pass(fresh, now);
        }
        let service = &self.binding.service.stats;
        service.bytes_in.fetch_add(fresh[0], Ordering::Relaxed);
        service.bytes_out.fetch_add(fresh[1], Ordering::Relaxed);
        if let Some(assigned) = &self.assigned {
            assigned.server.stats.bytes_in.fetch_add(fresh[0], Ordering::Relaxed);
            assigned.server.stats.bytes_out.fetch_add(fresh[1], Ordering::Relaxed);
        }
    }

    /// Ends it: counts, logs, and leaves what is still open to be closed, with a reset or an end of stream each.
    pub(super) fn end(
        mut self,
        key: Key,
        reason: EndReason,
        reset: Reset,
        now: Instant,
    ) -> impl Iterator<Item = Stream> + use<> {
        self.settle(now);
        self.binding.service.stats.count_end(reason);
        self.count_times(reason, now);
        if !self.is_logged() {
            self.log(reason, false, now);
        }
        tracing::trace!(index = key.index, reason = reason.label(), "connection ended");
        if let Some(pin) = self.pin {
            self.pool().release(pin, now);
        }
        let lingers = [Side::Client, Side::Server].map(|side| self.lingers(side));
        // For the survivor of an abort it does not matter which side it is.
        let survivor = matches!(self.state, State::Draining { .. });
        let (client, server) = match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting(greeting) => (Some(greeting.client), None),
            State::Inspecting(inspecting) => (Some(inspecting.upstream.client), None),
            State::Upstream(upstream) => upstream.into_sockets(),
            State::Relay(relay) => {
                let parts = relay.into_parts();
                (Some(parts.client), Some(parts.server))
            }
            State::Draining { survivor, .. } => (Some(survivor), None),
            State::Over => (None, None),
        };
        let resets = |side| reset == Reset::Both || reset == side;
        if resets(Reset::Client) || survivor && resets(Reset::Server) || !lingers[0] {
            let _closed = client.as_ref().map(Stream::reset_on_close);
        }
        if reset == Reset::Silent {
            client.iter().for_each(leave_silently);
        }
        if resets(Reset::Server) || !lingers[1] {
            let _closed = server.as_ref().map(Stream::reset_on_close);
        }
        server.into_iter().chain(client)
    }

    /// What its server is known by: how long things took, and who gave up.
    fn count_times(&self, reason: EndReason, now: Instant) {
        let (Some(assigned), Some(dispatched)) = (&self.assigned, self.dispatched) else { return };
        let stats = &assigned.server.stats;
        let since = |from: Instant, to: Instant| to.saturating_duration_since(from);
        let connect = self.connected.map_or(Duration::ZERO, |connected| since(dispatched, connected));
        stats.times.add(since(self.started, dispatched), connect, since(self.started, now));
        match reason {
            EndReason::ClientAborted => _ = stats.client_aborts.fetch_add(1, Ordering::Relaxed),
            EndReason::ServerAborted => _ = stats.server_aborts.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }

    /// HAProxy's line without a format says that a client came, not how it went.
    pub(super) fn announce(&self) {
        let service = &self.binding.service;
        if service.spec.log
            && service.spec.log_line == model::ConnectionLine::Connect
            && let Some(journal) = service.global.journal.0.get()
        {
            journal.accepted(&service.spec, self.client, self.destination);
        }
    }

    /// Its server has accepted.
    pub(super) fn log_early(&self, now: Instant) {
        self.log(EndReason::Complete, true, now);
    }

    /// Whether its line was written when it began.
    fn is_logged(&self) -> bool {
        let spec = &self.binding.service.spec;
        let normal = self.attempts <= 1 && !self.redispatched;
        spec.log_early && self.connected.is_some() && (spec.log_normal || !normal)
    }

    /// A check of a server that speaks first is answered and has still said nothing.
    fn client_spoke(&self) -> bool {
        let heard = match &self.state {
            State::Inspecting(inspecting) => &inspecting.upstream.heard,
            State::Upstream(upstream) => &upstream.heard,
            _ => return self.settled[0] > 0,
        };
        !heard.is_empty()
    }

    /// The name of its pool, once that is chosen.
    fn chosen_pool(&self) -> Option<&str> {
        match &self.state {
            State::Greeting(_) => None,
            State::Inspecting(inspecting) => inspecting.pool.as_ref().map(|pool| pool.name.as_str()),
            _ => Some(&self.spec.name),
        }
    }

    /// The line of one that has ended, or, where that is wanted, of one that begins.
    fn log(&self, reason: EndReason, goes_on: bool, now: Instant) {
        let service = &self.binding.service;
        if !service.spec.log || !service.spec.log_empty && !goes_on && !self.client_spoke() {
            return;
        }
        let journal = service.global.journal.0.get();
        let server = self.assigned.as_ref().map(|assigned| &*assigned.server);
        let since = |from: Instant, to: Instant| to.saturating_duration_since(from);
        let in_queue = matches!(&self.state, State::Upstream(upstream) if upstream.ahead().is_some());
        let others = |open: u64| open.saturating_sub(u64::from(server.is_some() && !goes_on));
        let ended = Ended {
            service: &service.spec,
            pool: self.chosen_pool(),
            server: server.map(|server| server.name.as_str()),
            client: self.client,
            destination: self.destination,
            sni: self.ruled.as_ref().and_then(|ruled| ruled.server_name.as_deref()),
            noted: Noted {
                own: self.ruled.as_ref().and_then(|ruled| ruled.notes.as_deref()),
                told: Some(&service.told),
                global: Some(&service.global),
            },
            server_address: server.and_then(|server| self.server_address(server)),
            reason,
            phase: match (self.connected, self.dispatched) {
                (Some(_), _) => Phase::Data,
                (None, Some(_)) => Phase::Connect,
                (None, None) => Phase::Queue,
            },
            bytes_in: self.settled[0],
            bytes_out: self.settled[1],
            waited: self.dispatched.or(in_queue.then_some(now)).map(|at| since(self.started, at)),
            connect: self.dispatched.zip(self.connected).map(|(from, to)| since(from, to)),
            duration: since(self.started, now),
            goes_on,
            retries: self.attempts.saturating_sub(1),
            redispatched: self.redispatched,
            ahead: match &self.state {
                State::Upstream(upstream) => upstream.ahead().unwrap_or(self.ahead),
                _ => self.ahead,
            },
            open: journal.map_or_else(OpenCounts::default, |_| OpenCounts {
                process: service.global.open.load(Ordering::Relaxed),
                service: service.stats.open.load(Ordering::Relaxed),
                // As HAProxy counts them: pool and server have let go of it.
                pool: others(self.pool().open()),
                server: others(server.map_or(0, |server| server.stats.open.load(Ordering::Relaxed))),
            }),
        };
        if !service.spec.log_normal && ended.is_normal() {
            return;
        }
        match journal {
            Some(journal) => journal.ended(&ended),
            None => ended.trace(),
        }
    }
}

impl Drop for Connection {
    /// Whoever sees that it is no longer open finds its server and its source without it, too.
    fn drop(&mut self) {
        (self.assigned, self.ruled) = (None, None);
        self.binding.service.leave();
    }
}
