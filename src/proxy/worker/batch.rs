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
        self.batch.open = events >= FEWEST && self.batch.ring.is_some();
        self.workspace.set_defers(self.batch.open);
    }

    /// Writes what there is once there is enough for one call.
    pub(super) fn write_when_full(&mut self) {
        if self.batch.writers.len() >= Ring::ROOM {
            self.write_all();
        }
    }

    /// They have been.
    pub(super) fn end_batch(&mut self) {
        self.workspace.set_defers(false);
        self.write_all();
        self.batch.open = false;
        if let Some(ring) = &mut self.batch.ring
            && self.batch.closing.len() >= FEWEST
            && let Err(error) = ring.close(&mut self.batch.closing)
        {
            self.batch.give_up(&error);
        }
        self.batch.closing.clear();
    }

    fn write_all(&mut self) {
        let mut writes = std::mem::take(&mut self.batch.writes);
        for key in self.batch.writers.drain(..) {
            // Some have ended since.
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.batched = false;
            let sides = [Side::Client, Side::Server].into_iter().filter(|side| connection.deferred(*side).is_some());
            writes.extend(sides.map(|side| (key, side)));
        }
        for some in writes.chunks(Ring::ROOM) {
            self.write(some);
        }
        writes.clear();
        self.batch.writes = writes;
        self.workspace.forget_deferred();
    }

    fn write(&mut self, writes: &[(Key, Side)]) {
        let Some(mut ring) = self.batch.ring.take() else { return };
        let sent = ring.send(writes.iter().filter_map(|(key, side)| self.deferred(*key, *side)));
        for (index, (key, side)) in writes.iter().enumerate() {
            let result = ring.result(index);
            self.with_connection(*key, |connection, context| connection.on_sent(*side, result, context));
        }
        self.batch.ring = Some(ring);
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
