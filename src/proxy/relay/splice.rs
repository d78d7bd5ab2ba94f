//! Bulk: bytes that go through a pipe in the kernel instead of the scratch buffer, at about half the cost.
//!
//! A direction splices after two big reads in a row. It gives the pipe back as soon as the source is dry or comes in small
//! pieces, so that an idle connection has none and a keystroke is copied.

use std::io;
use std::rc::Rc;

use super::workspace::Workspace;
use super::{Endpoint, Flow, Stage, Transport};

/// As many in a row, and the direction splices.
const STREAK: u8 = 2;
/// Pipes of one thread.
pub const MOST_PIPES: usize = 32;

/// The pipes of a thread.
#[derive(Debug)]
pub(super) struct Pipes<P> {
    free: Vec<P>,
    /// Counted once more for each pipe that is in use.
    in_use: Rc<()>,
}

/// A pipe in use.
#[derive(Debug)]
pub(super) struct Held<P> {
    pipe: P,
    /// Bytes in it.
    pub(super) bytes: usize,
    _counted: Rc<()>,
}

/// When a direction splices.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    big_reads: u8,
}

impl<P> Default for Pipes<P> {
    fn default() -> Self {
        Self { free: Vec::new(), in_use: Rc::new(()) }
    }
}

impl<P> Pipes<P> {
    pub(super) fn take(&mut self, make: impl FnOnce() -> io::Result<P>) -> Option<Held<P>> {
        if Rc::strong_count(&self.in_use) > MOST_PIPES {
            return None;
        }
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None => make().ok()?,
        };
        Some(Held { pipe, bytes: 0, _counted: Rc::clone(&self.in_use) })
    }
}

impl<P> Held<P> {
    /// What is in it.
    pub(super) fn unsent<S: Transport<Pipe = P>>(&self) -> Vec<u8> {
        S::take(&self.pipe, self.bytes)
    }
}

impl Pace {
    /// A read brought so many bytes.
    pub(super) fn note<P>(&mut self, count: usize, workspace: &Workspace<P>) {
        self.big_reads = if count >= workspace.big() { self.big_reads.saturating_add(1) } else { 0 };
    }
}

/// Reads by splicing, where the direction is to; false: it is to be copied.
pub(super) fn read<S: Transport>(
    from: &mut Endpoint<S>,
    flow: &mut Flow<S::Pipe>,
    workspace: &mut Workspace<S::Pipe>,
) -> bool {
    if flow.pace.big_reads < STREAK || from.ready.urgent || flow.listener.is_some() {
        return false;
    }
    if flow.piped.is_none() {
        flow.piped = workspace.pipes.take(S::pipe).map(Box::new);
    }
    let Some(held) = &mut flow.piped else {
        flow.pace = Pace::default();
        return false;
    };
    match from.socket.fill(&held.pipe) {
        // The end, or a mark of urgent data behind which the peer has ended its stream: a read tells which.
        Ok(0) => {
            flow.pace = Pace::default();
            return false;
        }
        Ok(count) => {
            from.active = true;
            held.bytes = count;
            if count < workspace.big() / 4 {
                flow.pace = Pace::default();
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => from.ready.readable = false,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        // A kernel or a socket that cannot: copied from now on.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => flow.pace = Pace::default(),
        Err(_) => flow.stage = Stage::Aborted,
    }
    true
}

/// Writes what is in the pipe; true when nothing is left in it.
pub(super) fn flush<S: Transport>(to: &mut Endpoint<S>, flow: &mut Flow<S::Pipe>) -> bool {
    let Some(mut held) = flow.piped.take() else { return true };
    while held.bytes > 0 && to.ready.writable && flow.stage != Stage::Broken {
        match to.socket.empty(&held.pipe, held.bytes, flow.stage == Stage::Ended) {
            Ok(0) => break,
            Ok(count) => {
                held.bytes -= count;
                to.active = true;
                flow.bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.ready.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => to.fail(flow),
        }
    }
    let done = held.bytes == 0 || flow.stage == Stage::Broken;
    // A pipe with bytes that nobody wants is closed.
    if flow.stage != Stage::Broken {
        flow.piped = Some(held);
    }
    done
}

/// Gives the pipe back once it is empty and not about to be used again.
pub(super) fn put_back<S: Transport>(from: &Endpoint<S>, flow: &mut Flow<S::Pipe>, workspace: &mut Workspace<S::Pipe>) {
    let splices = flow.stage == Stage::Open && from.ready.readable && flow.pace.big_reads >= STREAK;
    if !splices && let Some(held) = flow.piped.take_if(|held| held.bytes == 0) {
        workspace.pipes.free.push(held.pipe);
    }
}
