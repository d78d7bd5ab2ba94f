//! One of the two sockets: what is known to be ready, and what came of writing.

use std::io;

use super::{Flow, Stage, Transport};

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// Something to read, an end or an error included.
    pub readable: bool,
    /// Room to write, or an error.
    pub writable: bool,
    /// The peer ended its stream: a short read takes all there will ever be.
    pub read_end: bool,
    /// Urgent data: a read stops at its mark, so a short read proves nothing.
    pub urgent: bool,
    /// The connection was reset or has failed.
    pub error: bool,
}

/// A socket of a relay.
#[derive(Debug)]
pub(super) struct Endpoint<S> {
    pub(super) socket: S,
    pub(super) ready: Ready,
    /// A write failed: only what it sent before is still of interest.
    pub(super) failed: bool,
    /// Bytes moved here since [`Relay::take_activity`].
    pub(super) active: bool,
}

impl Ready {
    /// After a read of so many bytes where there was room for more the queue was empty, unless urgent data cut it short:
    /// whether it was. Its end, if it has come, is still to be read.
    pub fn took(&mut self, count: usize, room: usize) -> bool {
        let drained = count < room && !self.urgent;
        self.readable &= !drained || self.read_end;
        drained
    }

    /// Adds what became ready since.
    pub fn add(&mut self, other: Self) {
        self.readable |= other.readable;
        self.writable |= other.writable;
        self.read_end |= other.read_end;
        self.urgent |= other.urgent;
        self.error |= other.error;
    }
}

impl<S: Transport> Endpoint<S> {
    pub(super) fn new(socket: S, ready: Ready) -> Self {
        Self { socket, ready, failed: false, active: false }
    }

    /// Writes until all is taken or nothing more is, and returns how much was.
    pub(super) fn send(&mut self, bytes: &[u8], flow: &mut Flow<S::Pipe>) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            let result = self.socket.send(&bytes[sent..], flow.stage == Stage::Ended);
            let interrupted = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted);
            sent += self.note_sent(bytes.len() - sent, result, flow);
            if !interrupted {
                break;
            }
        }
        sent
    }

    /// Notes what came of writing `offered` bytes, and returns how many were taken.
    pub(super) fn note_sent(&mut self, offered: usize, result: io::Result<usize>, flow: &mut Flow<S::Pipe>) -> usize {
        match result {
            Ok(count) => {
                self.active |= count > 0;
                flow.bytes += count as u64;
                // The kernel reports room again, having taken less than it was offered.
                self.ready.writable &= count == offered;
                return count;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.fail(flow),
        }
        0
    }

    /// A write failed: the peer is gone. What it sent before may still be read.
    pub(super) fn fail(&mut self, flow: &mut Flow<S::Pipe>) {
        self.failed = true;
        self.ready.readable = true;
        flow.stage = Stage::Broken;
    }

    /// Whether this side failed, and all that it had sent was written to the other. While its stream is still open, a
    /// read will tell.
    pub(super) fn is_lost(&self, sent: &Flow<S::Pipe>) -> bool {
        let over = sent.stage != Stage::Open;
        !sent.waits() && (self.failed && (over || !self.ready.readable) || self.ready.error && over)
    }
}
