//! What the events of one turn leave for its end: few bytes for each of many connections, and sockets to be closed. All are
//! written in one system call, and closed in another, so that those they wake do not interrupt the worker for each of them.

use std::os::fd::{AsFd as _, OwnedFd};

use super::Worker;
use crate::os::tcp::Stream;
use crate::os::uring::{Ring, Write};
use crate::proxy::relay::Side;
use crate::proxy::slab::Key;

/// From so many events on a batch is worth while: whoever is alone would only wait for the end of the turn.
const FEWEST: usize = 3;

/// What is to be done at the end of a turn.
#[derive(Debug)]
pub(super) struct Batch {
    /// None: everything is done at once.
    ring: Option<Ring>,
    open: bool,
    /// Who has left something to be written.
    pub(super) writers: Vec<Key>,
    /// What of theirs is written together.
    writes: Vec<(Key, Side)>,
    closing: Vec<OwnedFd>,
}

impl Batch {
    pub(super) fn new(ring: Option<Ring>) -> Self {
        Self { ring, open: false, writers: Vec::new(), writes: Vec::new(), closing: Vec::new() }
    }

    /// Closes sockets now or at the end of the turn.
    pub(super) fn close(&mut self, sockets: impl Iterator<Item = Stream>) {
        if self.open {
            self.closing.extend(sockets.map(OwnedFd::from));
        } else {
            sockets.for_each(drop);
        }
    }

    /// The kernel refuses what it permitted before.
    fn give_up(&mut self, error: &std::io::Error) {
        tracing::warn!(%error, "io_uring fails: connections are written to one by one from now on");
        self.ring = None;
    }
}

impl Worker {
    /// So many events are about to be seen to.
    pub(super) fn begin_batch(&mut self, events: usize) {
        self.open_batch(events >= FEWEST && self.batch.ring.is_some());
    }

    /// Writes what there is once there is enough for one call.
    pub(super) fn write_when_full(&mut self) {
        if self.batch.writers.len() >= Ring::ROOM {
            self.open_batch(false);
            self.write_all();
            self.open_batch(self.batch.ring.is_some());
        }
    }

    /// They have been.
    pub(super) fn end_batch(&mut self) {
        // What more is to be said to those who are written to now is written at once.
        self.workspace.set_defers(false);
        self.write_all();
        self.open_batch(false);
        if let Some(ring) = &mut self.batch.ring
            && self.batch.closing.len() >= FEWEST
            && let Err(error) = ring.close(&mut self.batch.closing)
        {
            self.batch.give_up(&error);
        }
        self.batch.closing.clear();
    }

    fn open_batch(&mut self, open: bool) {
        self.batch.open = open;
        self.workspace.set_defers(open);
    }

    /// Writes all that was left; meanwhile nothing more is.
    fn write_all(&mut self) {
        let mut writes = std::mem::take(&mut self.batch.writes);
        for key in self.batch.writers.drain(..) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.batched = false;
                writes.extend([(key, Side::Client), (key, Side::Server)]);
            }
        }
        loop {
            // Not every writer writes to both sides, and some have ended since.
            writes.retain(|(key, side)| self.deferred(*key, *side).is_some());
            let count = writes.len().min(Ring::ROOM);
            if count == 0 {
                break;
            }
            self.write(&writes[..count]);
            writes.drain(..count);
        }
        self.batch.writes = writes;
        self.workspace.forget_deferred();
    }

    /// Writes so many at once. Without a ring, or where it fails, they are told that nothing was written, and do it themselves.
    fn write(&mut self, writes: &[(Key, Side)]) {
        let mut ring = self.batch.ring.take();
        let left = writes.iter().filter_map(|(key, side)| self.deferred(*key, *side));
        let sent = ring.as_mut().map_or(Ok(()), |ring| ring.send(left));
        for (index, (key, side)) in writes.iter().enumerate() {
            let untried = || Err(std::io::ErrorKind::Interrupted.into());
            let result = ring.as_ref().map_or_else(untried, |ring| ring.result(index));
            self.with_connection(*key, |connection, context| connection.on_sent(*side, result, context));
        }
        self.batch.ring = ring;
        if let Err(error) = sent {
            self.batch.give_up(&error);
        }
    }

    fn deferred(&self, key: Key, side: Side) -> Option<Write<'_>> {
        let deferred = self.connections.get(key)?.deferred(side)?;
        let bytes = self.workspace.deferred(deferred.range);
        Some(Write { socket: deferred.socket.as_fd(), bytes, more: deferred.more })
    }
}
