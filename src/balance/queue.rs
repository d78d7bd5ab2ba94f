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
    /// Every ticket, and which server is wanted; none: any.
    wanted: BTreeMap<Ticket, Option<ServerId>>,
    any: BTreeSet<Ticket>,
    one: HashMap<ServerId, BTreeSet<Ticket>>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
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
        self.wanted.insert(ticket, server);
    }

    /// Which server is waited for; none: any. False when nobody has this ticket.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        match self.wanted.remove(&ticket) {
            None => return false,
            Some(None) => _ = self.any.remove(&ticket),
            Some(Some(server)) => {
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
