//! Who waits for a server with room: one queue a pool for those whom any server may serve, and one for each server that
//! somebody wants in particular. Places go to who has waited longest.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::candidate::ServerId;

/// A place in the queues: the lower, the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The queues of one pool.
#[derive(Debug, Default)]
pub(super) struct Queue {
    last: u64,
    /// Every ticket.
    wanted: BTreeMap<Ticket, Want>,
    any: BTreeSet<Ticket>,
    one: HashMap<ServerId, BTreeSet<Ticket>>,
    /// Who was served out of the queue for any server, and out of each server's.
    served_any: u64,
    served: HashMap<ServerId, u64>,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy)]
struct Want {
    /// None: any.
    server: Option<ServerId>,
    /// Who was served out of that queue before.
    served: u64,
}

/// How many were served before one who waits, since it came: those who waited for the same server, or for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead {
    /// In a server's queue.
    pub server: u64,
    /// In the queue for any.
    pub any: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Those who wait.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Those who wait for any server.
    pub(super) fn waiting_for_any(&self) -> usize {
        self.any.len()
    }

    /// Those who wait for this server in particular.
    pub(super) fn waiting_for(&self, server: ServerId) -> usize {
        self.one.get(&server).map_or(0, BTreeSet::len)
    }

    pub(super) fn enter(&mut self, server: Option<ServerId>) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.place(ticket, server);
        ticket
    }

    fn place(&mut self, ticket: Ticket, server: Option<ServerId>) {
        match server {
            Some(server) => self.one.entry(server).or_default().insert(ticket),
            None => self.any.insert(ticket),
        };
        self.wanted.insert(ticket, Want { server, served: self.served(server) });
    }

    fn served(&self, server: Option<ServerId>) -> u64 {
        match server {
            Some(server) => self.served.get(&server).copied().unwrap_or(0),
            None => self.served_any,
        }
    }

    /// How many were served before this one.
    pub(super) fn ahead(&self, ticket: Ticket) -> Ahead {
        let Some(Want { server, served }) = self.wanted.get(&ticket) else { return Ahead::default() };
        let before = self.served(*server) - served;
        if server.is_some() { Ahead { server: before, any: 0 } } else { Ahead { server: 0, any: before } }
    }

    /// It is its turn: it leaves, and counts for those behind it.
    pub(super) fn serve(&mut self, ticket: Ticket) -> bool {
        match self.wanted.get(&ticket) {
            Some(Want { server: Some(server), .. }) => *self.served.entry(*server).or_default() += 1,
            Some(Want { server: None, .. }) => self.served_any += 1,
            None => {}
        }
        self.leave(ticket)
    }

    /// Which server is waited for; none: any. False when nobody has this ticket.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        match self.wanted.remove(&ticket) {
            None => return false,
            Some(Want { server: None, .. }) => _ = self.any.remove(&ticket),
            Some(Want { server: Some(server), .. }) => {
                if let Some(queue) = self.one.get_mut(&server) {
                    queue.remove(&ticket);
                    if queue.is_empty() {
                        self.one.remove(&server);
                    }
                }
            }
        }
        true
    }

    /// Who wanted a server that is gone takes any other, at the place that its ticket gives it.
    pub(super) fn give_up_on(&mut self, gone: impl Fn(ServerId) -> bool) {
        let servers: Vec<ServerId> = self.one.keys().copied().filter(|server| gone(*server)).collect();
        for server in servers {
            for ticket in self.one.remove(&server).into_iter().flatten() {
                self.place(ticket, None);
            }
        }
    }

    /// Those at the head: the first of each server's queue and the first few who take any, the longest waiting first.
    pub(super) fn heads(&self) -> Vec<Ticket> {
        /// One who cannot be served, since the free server failed it, does not keep those behind it.
        const FEW: usize = 16;
        let one = self.one.values().filter_map(|queue| queue.first());
        let mut heads: Vec<Ticket> = one.chain(self.any.iter().take(FEW)).copied().collect();
        heads.sort_unstable();
        heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_waiting_are_at_the_head() {
        let mut queue = Queue::default();
        let [first, second, third] = [Some(1), None, Some(2)].map(|server| queue.enter(server));
        let behind = queue.enter(Some(1));
        assert_eq!(queue.heads(), [first, second, third]);
        assert_eq!((queue.waiting_for(1), queue.waiting_for(2), queue.waiting_for_any()), (2, 1, 1));
        assert!(queue.leave(first) && !queue.leave(first));
        assert_eq!(queue.heads(), [second, third, behind]);
        assert!(queue.leave(second) && queue.leave(third) && queue.leave(behind));
        assert!(queue.is_empty() && queue.heads().is_empty());
    }

    #[test]
    fn it_is_known_how_many_were_served_before() {
        let mut queue = Queue::default();
        let [first, second, third] = [None, None, Some(1)].map(|server| queue.enter(server));
        assert_eq!(queue.ahead(first), Ahead::default());
        assert!(queue.serve(first) && !queue.serve(first));
        let late = queue.enter(None);
        assert_eq!((queue.ahead(second), queue.ahead(third)), (Ahead { server: 0, any: 1 }, Ahead::default()));
        // Who gives up was not served.
        assert!(queue.leave(second));
        assert_eq!(queue.ahead(late), Ahead::default());
        let behind = queue.enter(Some(1));
        assert!(queue.serve(third));
        assert_eq!((queue.ahead(behind), queue.ahead(late)), (Ahead { server: 1, any: 0 }, Ahead::default()));
    }

    #[test]
    fn who_wanted_a_server_that_is_gone_keeps_its_place() {
        let mut queue = Queue::default();
        let wanted = queue.enter(Some(1));
        let any = queue.enter(None);
        let other = queue.enter(Some(2));
        queue.give_up_on(|server| server == 1);
        assert_eq!((queue.waiting_for(1), queue.waiting_for_any(), queue.waiting_for(2)), (0, 2, 1));
        assert_eq!(queue.heads(), [wanted, any, other]);
        assert!(queue.leave(wanted));
        assert_eq!(queue.waiting_for_any(), 1);
    }
}
