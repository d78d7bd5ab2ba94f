//! Which server can resume a client's TLS session, learnt from what clients offer and servers answer in the clear.
//!
//! A ticket begins with the name of the key that sealed it, and a server has few keys: so the beginnings of some tickets
//! that a server issued or accepted say whose all the others are. How long a name is differs between kinds of servers and is
//! not known; the longest common beginning wins. Sessions that have no name in the clear (ids, and tickets of TLS 1.2
//! without one) are remembered one by one, as many as configured. Single-use tickets never are.

use std::time::{Duration, Instant};

use super::candidate::ServerId;
use super::sticky::{Bounds, Table};
use crate::model::{Key, KeyType, Opening, TableSpec};

/// Names of a server that two tickets have borne out; keys rotate, and old tickets are still accepted.
const MOST_CERTAIN: usize = 8;
/// Names of a server that one ticket speaks for.
const MOST_TENTATIVE: usize = 4;
/// A server that refuses so many tickets of a name in a row does not know it any more.
const MOST_REFUSALS: u8 = 8;
/// After so many tickets of a name one is tried at a server that is not known to accept it, once each: where servers share
/// a key, all of them are to get their part.
const TRIAL_AFTER: u32 = 256;

/// What a client that speaks TLS brings along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// A session id that may be one: of TLS 1.3, it is a random number.
    pub session: Option<Opening>,
    /// That id says that the client resumes a session: it does not offer TLS 1.3.
    pub session_is_certain: bool,
    /// Its ticket of TLS 1.2.
    pub ticket: Option<Opening>,
    /// Its tickets of TLS 1.3, in its order.
    pub identities: Vec<Opening>,
}

/// What a server has made of an offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lesson {
    /// The ticket that it accepted.
    pub accepted: Option<Opening>,
    /// Those that it did not.
    pub refused: Vec<Opening>,
    /// The session that it made or resumed by id.
    pub session: Option<Opening>,
    /// The id that it did not resume.
    pub forgotten: Option<Opening>,
    /// The ticket that it issued.
    pub issued: Option<Opening>,
}

/// What has changed by that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learned {
    /// The names of keys that are known.
    pub names: bool,
    /// All servers turn out to share a key, which was not known.
    pub shared: bool,
}

/// Who can resume a client's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owners {
    /// These servers know the key of its ticket.
    OfTicket(Vec<ServerId>),
    /// This one made its session.
    OfSession(ServerId),
    /// Nobody knows: it brings something that has not been seen.
    Unknown,
    /// It has no session.
    New,
}

/// What has been learnt of the servers of a pool.
#[derive(Debug)]
pub(super) struct Learnt {
    names: Vec<Name>,
    /// Servers by the openings of sessions.
    sessions: Table,
    /// Counts what is learnt: the order of last uses.
    tick: u64,
    /// All servers share a key, and that was said.
    said_shared: bool,
    /// Counts changes of the names that are certain.
    changes: u64,
}

/// The name of a server's key.
#[derive(Debug)]
struct Name {
    server: ServerId,
    /// The ticket that it was found in, or the name itself.
    sample: Opening,
    /// So many bytes its tickets have in common, as far as seen.
    length: usize,
    /// Two tickets have it, or a check found it.
    certain: bool,
    refusals: u8,
    /// Tickets accepted since the last trial elsewhere.
    uses: u32,
    /// Where it was tried.
    tried: Vec<ServerId>,
    last_use: u64,
}

fn key(opening: &Opening) -> Key {
    Key::Bytes(opening.padded().as_slice().into())
}

impl Offer {
    fn tickets(&self) -> impl Iterator<Item = &Opening> {
        self.identities.iter().chain(&self.ticket)
    }

    /// Whether the client wants to go on with a session.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.tickets().next().is_some() || self.session.is_some() && self.session_is_certain
    }
}

impl Learnt {
    pub(super) fn new(size: usize, life: Option<Duration>) -> Self {
        let sessions = Table::new(bounds(size, life));
        Self { names: Vec::new(), sessions, tick: 0, said_shared: false, changes: 0 }
    }

    pub(super) fn set_bounds(&mut self, size: usize, life: Option<Duration>, now: Instant) {
        self.sessions.set_bounds(bounds(size, life), now);
    }

    /// How often the names that are certain have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(ServerId) -> bool) {
        self.names.retain(|name| is_there(name.server));
        self.sessions.retain(is_there);
    }

    fn maker(&mut self, session: &Opening, now: Instant) -> Option<ServerId> {
        self.sessions.get(&key(session), now).map(|remembered| remembered.server)
    }

    pub(super) fn owners(&mut self, offer: &Offer, now: Instant) -> Owners {
        for ticket in offer.tickets() {
            let (_, servers) = self.find(ticket);
            if !servers.is_empty() {
                return Owners::OfTicket(servers);
            }
        }
        let whole = offer.tickets().chain(&offer.session).find_map(|session| self.maker(session, now));
        match whole {
            Some(server) => Owners::OfSession(server),
            None if offer.resumes() => Owners::Unknown,
            None => Owners::New,
        }
    }

    /// The servers whose names share the longest beginning with a ticket.
    fn find(&self, ticket: &Opening) -> (usize, Vec<ServerId>) {
        let longest = self.names.iter().map(|name| name.sample.common(ticket)).max().unwrap_or(0);
        let mut servers = Vec::new();
        if longest > 0 {
            for name in self.names.iter().filter(|name| name.sample.common(ticket) == longest) {
                if !servers.contains(&name.server) {
                    servers.push(name.server);
                }
            }
        }
        (longest, servers)
    }

    fn name_at(&mut self, ticket: &Opening, server: ServerId) -> Option<&mut Name> {
        let of_server = self.names.iter_mut().filter(|name| name.server == server);
        of_server.max_by_key(|name| name.sample.common(ticket)).filter(|name| name.sample.common(ticket) > 0)
    }

    /// Whether no key of this server is known for certain: what nobody knows may be its.
    pub(super) fn is_nameless(&self, server: ServerId) -> bool {
        !self.names.iter().any(|name| name.server == server && name.certain)
    }

    /// Whether it is time to see if another server knows the key of this offer's ticket. Not one that has its own, unless
    /// they shared one before: a client that is tried loses its session if not.
    pub(super) fn wants_trial(&self, offer: &Offer, at: ServerId) -> bool {
        if !self.is_nameless(at) && !self.said_shared {
            return false;
        }
        let best = offer.tickets().find_map(|ticket| self.best(ticket));
        best.is_some_and(|name| name.certain && name.uses >= TRIAL_AFTER && !name.tried.contains(&at))
    }

    fn best(&self, ticket: &Opening) -> Option<&Name> {
        self.names.iter().max_by_key(|name| name.sample.common(ticket)).filter(|name| name.sample.common(ticket) > 0)
    }

    /// A client with this offer goes to `at`, to see whether that knows its key.
    pub(super) fn try_at(&mut self, offer: &Offer, at: ServerId) {
        for ticket in offer.tickets() {
            let (longest, servers) = self.find(ticket);
            for name in self.names.iter_mut().filter(|name| name.sample.common(ticket) == longest && longest > 0) {
                name.uses = 0;
                name.tried.push(at);
            }
            if !servers.is_empty() {
                return;
            }
        }
    }

    /// Learns what a server has made of an offer.
    pub(super) fn learn(&mut self, lesson: &Lesson, server: ServerId, now: Instant) {
        self.tick += 1;
        for ticket in &lesson.refused {
            self.refuse(ticket, server);
        }
        for ticket in lesson.accepted.iter().chain(&lesson.issued) {
            self.accept(ticket, server);
        }
        // Only one that no name speaks for, in case there never is one.
        if let Some(ticket) = lesson.issued.filter(|_| self.is_nameless(server)) {
            self.sessions.set(key(&ticket), server, None, now);
        }
        if let Some(session) = lesson.session {
            self.sessions.set(key(&session), server, None, now);
        }
        if let Some(session) = lesson.forgotten {
            self.sessions.clear(Some(&key(&session)), Some(server), now);
        }
    }

    fn accept(&mut self, ticket: &Opening, server: ServerId) {
        let tick = self.tick;
        let (longest, servers) = self.find(ticket);
        let known = servers.contains(&server) && (servers.len() == 1 || longest == Opening::LONGEST_NAME);
        let Some(name) = self.name_at(ticket, server).filter(|_| known) else {
            return self.insert(*ticket, server, false);
        };
        (name.refusals, name.last_use) = (0, tick);
        name.uses = name.uses.saturating_add(1);
        // The same ticket again bears out nothing.
        if name.sample != *ticket && (!name.certain || longest < name.length) {
            name.length = name.length.min(longest);
            name.certain = true;
            self.changes += 1;
            self.drop_oldest(server, true, MOST_CERTAIN);
        }
    }

    /// A weak sign: the ticket may be too old, or of another name in the certificate.
    fn refuse(&mut self, ticket: &Opening, server: ServerId) {
        let (_, servers) = self.find(ticket);
        if !servers.contains(&server) {
            return;
        }
        let Some(name) = self.name_at(ticket, server) else { return };
        name.refusals += 1;
        if name.refusals >= MOST_REFUSALS {
            let gone = name.sample;
            self.changes += 1;
            self.names.retain(|name| name.server != server || name.sample != gone);
        }
    }

    /// A check found the name of a server's key.
    pub(super) fn set_name(&mut self, server: ServerId, name: &[u8]) {
        let name = name.get(..Opening::LONGEST_NAME).unwrap_or(name);
        let Some(name) = Opening::of(name).filter(|_| name.len() >= Opening::SHORTEST_NAME) else { return };
        self.tick += 1;
        self.changes += 1;
        let tick = self.tick;
        let longest = name.common(&name);
        match self.name_at(&name, server).filter(|known| known.sample.common(&name) == longest) {
            Some(known) => {
                (known.sample, known.length, known.certain, known.last_use) = (name, longest, true, tick);
                known.refusals = 0;
            }
            None => self.insert(name, server, true),
        }
    }

    fn insert(&mut self, sample: Opening, server: ServerId, certain: bool) {
        let (last_use, length) = (self.tick, sample.common(&sample));
        if length == 0 {
            return;
        }
        let (refusals, uses, tried) = (0, 0, Vec::new());
        self.names.push(Name { server, sample, length, certain, refusals, uses, tried, last_use });
        self.drop_oldest(server, certain, if certain { MOST_CERTAIN } else { MOST_TENTATIVE });
    }

    fn drop_oldest(&mut self, server: ServerId, certain: bool, most: usize) {
        let of_kind = |name: &Name| name.server == server && name.certain == certain;
        if self.names.iter().filter(|name| of_kind(name)).count() <= most {
            return;
        }
        let oldest = self.names.iter().enumerate().filter(|(_, name)| of_kind(name)).min_by_key(|(_, n)| n.last_use);
        if let Some((at, _)) = oldest {
            self.names.remove(at);
        }
    }

    /// The names of a server's keys that are certain, the newest first.
    pub(super) fn names(&self, server: ServerId) -> Vec<Vec<u8>> {
        let mut names: Vec<&Name> = self.names.iter().filter(|name| name.server == server && name.certain).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.last_use));
        names.iter().map(|name| name.sample.iter().take(name.length).copied().collect()).collect()
    }

    /// Whether all of `servers`, which are several, turn out to share a key; true once, until that has changed.
    pub(super) fn newly_shared(&mut self, servers: &[ServerId]) -> bool {
        let shared = servers.len() > 1
            && self.names.iter().any(|name| {
                let (longest, owners) = self.find(&name.sample);
                longest >= name.length && name.certain && servers.iter().all(|server| owners.contains(server))
            });
        !std::mem::replace(&mut self.said_shared, shared) && shared
    }
}

fn bounds(size: usize, life: Option<Duration>) -> Bounds {
    Bounds::Stick(TableSpec { expire: life, ..TableSpec::new(KeyType::Binary(Opening::LONGEST as u16), size) })
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
