//! Where a client belongs: the server that it had, or that can resume its TLS session.

use std::time::Instant;

use super::candidate::ServerId;
use super::choice::Why;
use super::pool::{Pool, Request};
use super::tls::{Learned, Learnt, Lesson, Offer, Owners};
use crate::model::{Affinity, Failback};

impl Pool {
    /// The server that a rule names, if it can serve.
    pub(super) fn directed(&self, request: &Request<'_>) -> Option<(usize, Why)> {
        let server = request.directions?.server.as_ref()?;
        let named = self.candidates.iter().find(|candidate| candidate.name == *server)?;
        self.serving(named.id, request).map(|position| (position, Why::Rule))
    }

    /// The server that the client belongs to, if it can serve, and why.
    pub(super) fn home(
        &mut self,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Option<(usize, Why)> {
        match self.affinity {
            Affinity::None => None,
            Affinity::Source | Affinity::Table(_) => self.remembered(request, now),
            Affinity::Tls(_) => self.session_home(request, loads, now),
        }
    }

    /// As the stick table has it.
    fn remembered(&self, request: &Request<'_>, now: Instant) -> Option<(usize, Why)> {
        let remembered = self.known(request, now)?;
        let returns = self.failback == Failback::Drain && !remembered.live;
        let home = returns.then_some(remembered.home);
        let position =
            home.and_then(|id| self.serving(id, request)).or_else(|| self.serving(remembered.server, request))?;
        Some((position, Why::Remembered { proven: remembered.proven }))
    }

    /// A server that serves the clients it has.
    fn serving(&self, id: ServerId, request: &Request<'_>) -> Option<usize> {
        let position = *self.positions.get(&id)?;
        let candidate = &self.candidates[position];
        let forced = self.persist || request.is_forced();
        (candidate.in_service() || forced).then_some(position)
    }

    /// By its TLS session. A new client belongs nowhere.
    fn session_home(
        &mut self,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Option<(usize, Why)> {
        let (Some(offer), Some(learnt)) = (request.offer, &mut self.learnt) else {
            return self.remembered(request, now);
        };
        let known = match learnt.owners(offer, now) {
            Owners::New => return None,
            Owners::OfSession(id) => self.serving(id, request).map(|position| (position, Why::Session)),
            Owners::OfTicket(owners) => match self.trial(offer, &owners) {
                Some(position) => Some((position, Why::Trial)),
                None => self.among(&owners, request, loads, now).map(|position| (position, Why::Ticket)),
            },
            Owners::Unknown => None,
        };
        known.or_else(|| self.unknown_home(request, loads, now))
    }

    /// Nobody is known to know its session: so it may be one of a server whose key is not known.
    fn unknown_home(
        &mut self,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Option<(usize, Why)> {
        let last = self.remembered(request, now);
        let learnt = self.learnt.as_ref()?;
        let unnamed: Vec<ServerId> =
            self.candidates.iter().filter(|c| c.in_service() && learnt.is_nameless(c.id)).map(|c| c.id).collect();
        let is_unnamed = |position: usize| unnamed.contains(&self.candidates[position].id);
        let says_nothing = unnamed.is_empty() || unnamed.len() == self.candidates.len();
        if says_nothing || last.is_some_and(|(position, _)| is_unnamed(position)) {
            return last;
        }
        self.among(&unnamed, request, loads, now).map(|position| (position, Why::Unnamed)).or(last)
    }

    /// One of these servers, by the algorithm where that has a choice.
    fn among(
        &mut self,
        servers: &[ServerId],
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Option<usize> {
        if let [only] = servers {
            return self.serving(*only, request);
        }
        let serving: Vec<usize> = servers.iter().filter_map(|id| self.serving(*id, request)).collect();
        if serving.len() < 2 {
            return serving.first().copied();
        }
        let others: Vec<ServerId> =
            self.candidates.iter().map(|candidate| candidate.id).filter(|id| !servers.contains(id)).collect();
        let chosen = self.balance(&Request { exclude: &others, ..*request }, loads, now).ok();
        chosen.map(|decision| decision.position).or_else(|| serving.first().copied())
    }

    /// A server that is to show whether it knows the key of a ticket that others know.
    fn trial(&self, offer: &Offer, owners: &[ServerId]) -> Option<usize> {
        let learnt = self.learnt.as_ref()?;
        let usable = |candidate: &super::candidate::Candidate| {
            candidate.is_eligible() && !candidate.backup && !owners.contains(&candidate.id)
        };
        self.candidates.iter().position(|c| usable(c) && learnt.wants_trial(offer, c.id))
    }

    /// Learns what a server has made of what a client offered.
    pub fn learn(&mut self, lesson: &Lesson, server: ServerId, now: Instant) -> Learned {
        self.learn_by(|learnt| learnt.learn(lesson, server, now), server)
    }

    /// A check found the name of a server's ticket key.
    pub fn set_key_name(&mut self, server: &str, name: &[u8]) -> Learned {
        let id = self.candidates.iter().find(|candidate| candidate.name == server).map(|candidate| candidate.id);
        id.map_or_else(Learned::default, |id| self.learn_by(|learnt| learnt.set_name(id, name), id))
    }

    fn learn_by(&mut self, learn: impl FnOnce(&mut Learnt), server: ServerId) -> Learned {
        let Some(learnt) = self.learnt.as_mut().filter(|_| self.positions.contains_key(&server)) else {
            return Learned::default();
        };
        let before = learnt.changes();
        learn(learnt);
        if learnt.changes() == before {
            return Learned::default();
        }
        let servers: Vec<ServerId> = self.candidates.iter().map(|candidate| candidate.id).collect();
        Learned { names: true, shared: learnt.newly_shared(&servers) }
    }

    /// The names of a server's ticket keys, the newest first.
    #[must_use]
    pub fn key_names(&self, server: ServerId) -> Vec<Vec<u8>> {
        self.learnt.as_ref().map_or_else(Vec::new, |learnt| learnt.names(server))
    }

    #[cfg(test)]
    pub(super) fn learnt_mut(&mut self) -> &mut Learnt {
        self.learnt.get_or_insert_with(|| Learnt::new(0, None))
    }
}
