//! TLS sessions on their way through: what a client offers of one, and what its server makes of that.

use std::time::Instant;

use data_encoding::HEXLOWER;

use super::connection::Connection;
use super::ruling::Ruled;
use super::shared::{PoolShared, PoolState};
use crate::balance::{Learned, Lesson, Offer, ServerId};
use crate::wire::tls::client_hello::ClientHello;
use crate::wire::tls::server_flight::{Flight, Said};

/// What a hello offers.
pub(super) fn offer(hello: ClientHello) -> Offer {
    Offer {
        session: hello.session_id,
        session_is_certain: !hello.offers_tls13,
        ticket: hello.ticket,
        identities: hello.identities,
    }
}

/// What a connection's client offered, where that was listened for.
pub(super) fn offer_of(ruled: Option<&Ruled>) -> Option<&Offer> {
    ruled.and_then(|ruled| ruled.offer.as_ref())
}

/// What can be learnt of a server's answer to an offer.
fn lesson(offer: &Offer, said: &Said) -> Lesson {
    let mut lesson = Lesson::default();
    if said.tls13 {
        match said.selected {
            // Asked for another hello, the client may have left some out.
            Some(_) if said.retried && offer.identities.len() > 1 => {}
            Some(place) => lesson.accepted = offer.identities.get(usize::from(place)).copied(),
            None => lesson.refused.clone_from(&offer.identities),
        }
        return lesson;
    }
    match (said.resumed, offer.ticket) {
        // The session id is only how the client learns of it.
        (true, Some(ticket)) => lesson.accepted = Some(ticket),
        (true, None) => lesson.session = said.session_id,
        (false, ticket) => {
            lesson.refused.extend(ticket);
            (lesson.session, lesson.forgotten) = (said.session_id, offer.session);
        }
    }
    lesson.issued = said.ticket;
    lesson
}

impl Connection {
    /// The server has said all that can be known.
    pub(super) fn learn(&self, flight: Flight, now: Instant) {
        if let (Some(offer), Some(assigned), Some(said)) =
            (offer_of(self.ruled.as_deref()), &self.assigned, flight.into_said())
        {
            self.pool().learn(&lesson(offer, &said), assigned.id, now);
        }
    }
}

impl PoolShared {
    fn learn(&self, lesson: &Lesson, server: ServerId, now: Instant) {
        if *lesson != Lesson::default() {
            let mut state = self.lock();
            let learned = state.balance.learn(lesson, server, now);
            state.show_learned(learned);
        }
    }

    /// A check found the name of a server's ticket key.
    pub(super) fn set_key_name(&self, server: &str, name: &[u8]) {
        let mut state = self.lock();
        let learned = state.balance.set_key_name(server, name);
        state.show_learned(learned);
    }
}

impl PoolState {
    fn show_learned(&self, learned: Learned) {
        if learned.names {
            for (server, state) in self.servers.iter().zip(self.balance.servers(Instant::now())) {
                let names = self.balance.key_names(state.id).iter().map(|name| HEXLOWER.encode(name)).collect();
                server.stats.update_status(|status| status.key_names = names);
            }
        }
        if learned.shared {
            tracing::info!(
                pool = self.spec.name,
                "all servers share a TLS ticket key: each of them can resume any session"
            );
        }
    }
}

#[cfg(test)]
#[path = "tls_session_tests.rs"]
mod tests;
