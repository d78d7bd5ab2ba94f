//! Which name belongs to which servers, when it is asked for, and what an answer means. No socket, and no clock: `now` is a
//! parameter.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::tally::IMPLICIT;
use super::{Place, Resolved};
use crate::model::{NameKind, Pool, Resolver, ServerName, Wanted};

/// What is asked, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) kind: NameKind,
    pub(super) wanted: Wanted,
    pub(super) resolver: Resolver,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Where the name is, the best first, and for how long this holds.
    Places(Vec<Place>, Duration),
    /// Why it is not known.
    Failed(Failure, String),
}

/// How a question can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The name does not exist.
    NoSuchName,
    /// Nobody answered.
    Timeout,
    /// The name server does not answer us.
    Refused,
    /// Anything else.
    Other,
}

/// Every name of a server.
#[derive(Debug, Default)]
pub(super) struct Book {
    groups: Vec<Group>,
    last_id: u64,
    /// Servers that go by another name than the configured one.
    renamed: Vec<Renamed>,
    /// Where servers were that are still to come.
    remembered: HashMap<(String, String), IpAddr>,
}

/// Another name that a server was given, as long as it is configured as it was then.
#[derive(Debug)]
struct Renamed {
    pool: String,
    server: String,
    configured: String,
    name: String,
}

/// The servers of one pool that share a question: each gets another of its addresses.
#[derive(Debug)]
struct Group {
    id: u64,
    pool: String,
    question: Question,
    slots: Vec<Slot>,
    /// None while it is asked.
    due: Option<Instant>,
    /// When a good answer came last.
    answered: Option<Instant>,
    /// It failed since, which has been logged.
    failing: bool,
}

#[derive(Debug, Clone)]
struct Slot {
    server: String,
    name: ServerName,
    place: Option<Place>,
    /// When its place was last among those of an answer.
    seen: Option<Instant>,
    /// Why it has none.
    reason: String,
}

impl Book {
    /// Replaces the servers. What is known of one that stays under its name stays, and is said again: the others may have
    /// forgotten it.
    pub(super) fn apply(&mut self, pools: &[Pool], resolvers: &[Resolver], now: Instant) -> Vec<Resolved> {
        let before = std::mem::take(&mut self.groups);
        let mut remembered = std::mem::take(&mut self.remembered);
        self.renamed.retain(|renamed| renamed.stands(pools));
        for pool in pools {
            for server in &pool.servers {
                let Some(name) = &server.name_of else { continue };
                let name = &self.in_force(&pool.name, &server.name, name);
                let question = Question::of(name, resolvers);
                let old = before.iter().find(|group| group.pool == pool.name && group.question == question);
                let slot = old
                    .and_then(|group| group.slots.iter().find(|slot| slot.server == server.name && slot.name == *name))
                    .cloned()
                    .unwrap_or_else(|| {
                        let last = remembered.remove(&(pool.name.clone(), server.name.clone()));
                        Slot::new(&server.name, name, last)
                    });
                let known = |group: &&mut Group| group.pool == pool.name && group.question == question;
                if let Some(group) = self.groups.iter_mut().find(known) {
                    group.slots.push(slot);
                    continue;
                }
                self.last_id += 1;
                let slots = vec![slot];
                self.groups.push(Group {
                    id: self.last_id,
                    pool: pool.name.clone(),
                    question,
                    slots,
                    // Asked at once: a reload is a wish to know what is.
                    due: Some(now),
                    answered: old.and_then(|group| group.answered),
                    failing: old.is_some_and(|group| group.failing),
                });
            }
        }
        self.groups.iter().flat_map(|group| group.slots.iter().map(|slot| slot.resolved(&group.pool))).collect()
    }

    /// Where a server was in an earlier life of the process: it holds until there is an answer.
    pub(super) fn remember(&mut self, pool: &str, server: &str, address: IpAddr) {
        self.remembered.insert((pool.to_owned(), server.to_owned()), address);
    }

    fn in_force(&self, pool: &str, server: &str, name: &ServerName) -> ServerName {
        let renamed = self.renamed.iter().find(|renamed| renamed.is_of(pool, server));
        let name_now = renamed.map_or(&name.name, |renamed| &renamed.name);
        ServerName { name: name_now.clone(), ..name.clone() }
    }

    /// Resolves a server by another name from now on, also over reloads that do not change the configured one. Returns the
    /// former name; none: it has no host's name. Where it is now, it stays until the answer.
    pub(super) fn rename(&mut self, pool: &str, server: &str, name: &str, now: Instant) -> Option<String> {
        let holds = |group: &Group| group.pool == pool && group.slots.iter().any(|slot| slot.server == server);
        let group = self.groups.iter_mut().find(|group| holds(group) && group.question.kind == NameKind::Host)?;
        let former = group.question.name.clone();
        if former == name {
            return Some(former);
        }
        let question = Question { name: name.to_owned(), ..group.question.clone() };
        let place = group.slots.iter().position(|slot| slot.server == server)?;
        let slot = group.slots.remove(place);
        let slot = Slot { name: ServerName { name: name.to_owned(), ..slot.name }, seen: None, ..slot };
        self.groups.retain(|group| !group.slots.is_empty());
        match self.groups.iter_mut().find(|group| group.pool == pool && group.question == question) {
            Some(group) => {
                group.slots.push(slot);
                group.due = group.due.map(|_| now);
            }
            None => {
                self.last_id += 1;
                let (id, pool, slots) = (self.last_id, pool.to_owned(), vec![slot]);
                self.groups.push(Group { id, pool, question, slots, due: Some(now), answered: None, failing: false });
            }
        }
        let before = self.renamed.iter().position(|renamed| renamed.is_of(pool, server));
        let configured = match before.map(|place| self.renamed.remove(place)) {
            Some(renamed) => renamed.configured,
            None => former.clone(),
        };
        let (pool, server, name) = (pool.to_owned(), server.to_owned(), name.to_owned());
        self.renamed.push(Renamed { pool, server, configured, name });
        Some(former)
    }

    /// A question that is due, with its number: it is under way until [`Book::settle`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(u64, Question)> {
        let group = self.groups.iter_mut().find(|group| group.due.is_some_and(|due| due <= now))?;
        group.due = None;
        Some((group.id, group.question.clone()))
    }

    /// When [`Book::take_due`] may have something next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.groups.iter().filter_map(|group| group.due).min()
    }

    /// What an answer changes for servers, and what there is to log. The question may be forgotten meanwhile.
    pub(super) fn settle(&mut self, id: u64, answer: Answer, now: Instant) -> (Vec<Resolved>, Option<String>) {
        let Some(group) = self.groups.iter_mut().find(|group| group.id == id) else { return (Vec::new(), None) };
        match answer {
            Answer::Places(places, life) => group.answered(&places, life, now),
            Answer::Failed(failure, text) => group.failed(failure, &text, now),
        }
    }
}

impl Renamed {
    fn is_of(&self, pool: &str, server: &str) -> bool {
        self.pool == pool && self.server == server
    }

    /// Whether its server is still configured as it was.
    fn stands(&self, pools: &[Pool]) -> bool {
        let servers = pools.iter().filter(|pool| pool.name == self.pool).flat_map(|pool| &pool.servers);
        let mut names =
            servers.filter(|server| server.name == self.server).filter_map(|server| server.name_of.as_ref());
        names.any(|name| name.name == self.configured)
    }
}

impl Question {
    fn of(name: &ServerName, resolvers: &[Resolver]) -> Self {
        let named = name.resolver.as_ref().and_then(|wanted| resolvers.iter().find(|known| known.name == *wanted));
        Self {
            name: name.name.clone(),
            kind: name.kind,
            wanted: name.family,
            resolver: named.cloned().unwrap_or_else(|| Resolver::new(IMPLICIT)),
        }
    }
}

impl Group {
    fn answered(&mut self, places: &[Place], life: Duration, now: Instant) -> (Vec<Resolved>, Option<String>) {
        let Resolver { least_refresh, most_refresh, hold, .. } = &self.question.resolver;
        self.due = Some(now + life.min(*most_refresh).max(*least_refresh));
        self.answered = Some(now);
        let recovered = std::mem::take(&mut self.failing).then(|| format!("{} is resolved again", self.question.name));
        let before: Vec<Option<Place>> = self.slots.iter().map(|slot| slot.place).collect();
        for slot in &mut self.slots {
            let still = slot.place.and_then(|place| places.iter().find(|other| other.is(place)));
            if let Some(still) = still {
                slot.place = Some(slot.weighed(*still));
                slot.seen = Some(now);
            } else if slot.seen.is_none_or(|seen| now >= seen + hold.obsolete) {
                slot.place = None;
            }
        }
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index).filter(|slot| slot.place.is_none()) else { continue };
            let taken =
                |place: &Place| self.slots.iter().any(|other| other.place.is_some_and(|other| other.is(*place)));
            let free = |place: &&Place| slot.name.share_address || !taken(place);
            let near = |place: &&Place| slot.name.networks.iter().any(|network| network.contains(place.address));
            let mut candidates = places.iter().filter(free);
            let chosen = candidates.clone().find(near).or_else(|| candidates.next());
            let chosen = chosen.map(|place| slot.weighed(*place));
            if let Some(slot) = self.slots.get_mut(index) {
                slot.place = chosen;
                slot.seen = chosen.map(|_| now);
                if chosen.is_none() {
                    slot.reason =
                        format!("{} has {} addresses, all taken by other servers", slot.name.name, places.len());
                }
            }
        }
        (self.changes(&before), recovered)
    }

    fn failed(&mut self, failure: Failure, text: &str, now: Instant) -> (Vec<Resolved>, Option<String>) {
        let Resolver { least_refresh, hold, .. } = &self.question.resolver;
        self.due = Some(now + *least_refresh);
        let limit = match failure {
            Failure::NoSuchName => hold.nx,
            Failure::Timeout => hold.timeout,
            Failure::Refused => hold.refused,
            Failure::Other => hold.other,
        };
        // An initial address holds until there is an answer.
        let expired = |since: Instant| limit.is_some_and(|limit| now >= since + limit);
        let gone = self.answered.is_some_and(expired);
        let before: Vec<Option<Place>> = self.slots.iter().map(|slot| slot.place).collect();
        let mut told = Vec::new();
        for slot in &mut self.slots {
            slot.place = slot.place.filter(|_| !gone);
            let reason = format!("{}: {text}", slot.name.name);
            if slot.place.is_none() && slot.reason != reason {
                slot.reason = reason;
                told.push(slot.resolved(&self.pool));
            }
        }
        let kept = before.iter().flatten().next().is_some() && !gone;
        let first = !std::mem::replace(&mut self.failing, true);
        let then = if kept { "the last answer stays in force" } else { "its servers are down until it is" };
        let line = (first || (gone && before.iter().any(Option::is_some)))
            .then(|| format!("{} cannot be resolved: {text}; {then}", self.question.name));
        (told, line)
    }

    fn changes(&self, before: &[Option<Place>]) -> Vec<Resolved> {
        let changed = self.slots.iter().zip(before).filter(|(slot, before)| slot.place != **before);
        let unplaced = self.slots.iter().zip(before).filter(|(slot, before)| slot.place.is_none() && before.is_none());
        changed.chain(unplaced).map(|(slot, _)| slot.resolved(&self.pool)).collect()
    }
}

impl Slot {
    /// `last`: where it was in an earlier life of the process.
    fn new(server: &str, name: &ServerName, last: Option<IpAddr>) -> Self {
        Self {
            server: server.to_owned(),
            name: name.clone(),
            place: last.or(name.initial).map(|address| Place { address, port: None, weight: None }),
            seen: None,
            reason: format!("{}: not answered yet", name.name),
        }
    }

    /// The place, with its weight only where that counts.
    fn weighed(&self, place: Place) -> Place {
        Place { weight: place.weight.filter(|_| !self.name.ignore_weight), ..place }
    }

    fn resolved(&self, pool: &str) -> Resolved {
        Resolved {
            pool: pool.to_owned(),
            server: self.server.clone(),
            place: self.place.ok_or_else(|| self.reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
