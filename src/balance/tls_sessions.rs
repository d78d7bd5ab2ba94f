//! TLS sessions and the servers that made them: bounded, the one that was not used for longest goes first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::candidate::ServerId;
use super::tls::Opening;

/// Sessions by id, or by whole ticket.
#[derive(Debug)]
pub(super) struct Sessions {
    size: usize,
    life: Option<Duration>,
    by_key: HashMap<Opening, Session>,
    /// Uses in their order. One that is not the last of its session is passed over.
    uses: VecDeque<(u64, Opening)>,
    next: u64,
}

#[derive(Debug)]
struct Session {
    server: ServerId,
    last_use: u64,
    at: Instant,
}

impl Sessions {
    pub(super) fn new(size: usize, life: Option<Duration>) -> Self {
        Self { size, life, by_key: HashMap::new(), uses: VecDeque::new(), next: 0 }
    }

    pub(super) fn set_bounds(&mut self, size: usize, life: Option<Duration>) {
        (self.size, self.life) = (size, life);
        self.make_room();
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(ServerId) -> bool) {
        self.by_key.retain(|_, session| is_there(session.server));
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The server of a session whose life is not over.
    pub(super) fn get(&self, key: &Opening, now: Instant) -> Option<ServerId> {
        let session = self.by_key.get(key)?;
        let age = now.saturating_duration_since(session.at);
        self.life.is_none_or(|life| age < life).then_some(session.server)
    }

    /// A session was made, or used.
    pub(super) fn insert(&mut self, key: Opening, server: ServerId, now: Instant) {
        self.next += 1;
        self.by_key.insert(key, Session { server, last_use: self.next, at: now });
        self.uses.push_back((self.next, key));
        self.expire(now);
        self.make_room();
    }

    pub(super) fn remove(&mut self, key: &Opening) {
        self.by_key.remove(key);
    }

    fn expire(&mut self, now: Instant) {
        let Some(life) = self.life else { return };
        while let Some(&(use_, key)) = self.uses.front() {
            match self.by_key.get(&key).filter(|session| session.last_use == use_) {
                Some(session) if now.saturating_duration_since(session.at) < life => return,
                Some(_) => _ = self.by_key.remove(&key),
                None => {}
            }
            self.uses.pop_front();
        }
    }

    fn make_room(&mut self) {
        while self.by_key.len() > self.size {
            let Some((use_, key)) = self.uses.pop_front() else { return };
            if self.by_key.get(&key).is_some_and(|session| session.last_use == use_) {
                self.by_key.remove(&key);
            }
        }
        // Sessions that are used again and again leave their former uses behind.
        if self.uses.len() > 2 * self.by_key.len() + 64 {
            let by_key = &self.by_key;
            self.uses.retain(|(use_, key)| by_key.get(key).is_some_and(|session| session.last_use == *use_));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        Instant::now()
    }

    fn key(number: u32) -> Opening {
        Opening::of(&number.to_be_bytes()).unwrap()
    }

    #[test]
    fn the_one_not_used_for_longest_goes_first() {
        let now = now();
        let mut sessions = Sessions::new(3, None);
        (0..3).for_each(|number| sessions.insert(key(number), number, now));
        sessions.insert(key(0), 0, now);
        sessions.insert(key(7), 7, now);
        let held: Vec<_> = [0, 1, 2, 7].map(|number| sessions.get(&key(number), now)).to_vec();
        assert_eq!(held, [Some(0), None, Some(2), Some(7)]);
    }

    #[test]
    fn a_session_ends() {
        let now = now();
        let mut sessions = Sessions::new(10, Some(Duration::from_secs(60)));
        sessions.insert(key(1), 1, now);
        sessions.insert(key(2), 2, now + Duration::from_secs(50));
        let later = now + Duration::from_secs(60);
        assert_eq!((sessions.get(&key(1), later), sessions.get(&key(2), later)), (None, Some(2)));
        sessions.insert(key(3), 3, later);
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn uses_do_not_grow_without_bound() {
        let now = now();
        let mut sessions = Sessions::new(10, None);
        for number in 0..100_000 {
            sessions.insert(key(number % 5), 1, now);
            assert!(sessions.uses.len() <= 100);
        }
        assert_eq!(sessions.len(), 5);
    }
}
