//! Copies bytes between two connected sockets, both directions in one value. Synchronous, and without any socket of its
//! own: the shell says what is ready and calls [`Relay::step`]; between two steps it may stop and take both sockets back.
//!
//! Readiness is remembered here: it was reported once (edge-triggered) and holds until a call would block. No buffer
//! belongs to a connection: a step reads into the thread's scratch buffer and writes at once; only what the other side does
//! not take is kept, on the heap. Bulk goes through a pipe instead, see [`splice`]. Where the shell writes for many
//! connections at once, few bytes stay in the scratch buffer until it has, see [`Relay::deferred`].

mod endpoint;
mod listener;
mod splice;
mod workspace;

use std::io;
use std::ops::Range;

pub use endpoint::Ready;
pub use listener::{Answer, Listener};
pub use splice::MOST_PIPES;
pub use workspace::Workspace;

use endpoint::Endpoint;
use splice::{Held, Pace};

/// Reads of one direction in a step before others get their turn: many bulk transfers must not delay a keystroke.
const READS: usize = 2;
/// More bytes than this are worth a system call of their own.
const FEW: usize = 4096;

/// What the relay needs of a socket; none of it blocks.
pub trait Transport {
    /// What bulk goes through.
    type Pipe;
    /// A new pipe.
    fn pipe() -> io::Result<Self::Pipe>;
    /// Reads what is there into an empty pipe.
    fn fill(&self, pipe: &Self::Pipe) -> io::Result<usize>;
    /// Writes up to `most` bytes of a pipe, as far as there is room; `more` as in [`Transport::send`].
    fn empty(&self, pipe: &Self::Pipe, most: usize, more: bool) -> io::Result<usize>;
    /// Takes `count` bytes out of a pipe.
    fn take(pipe: &Self::Pipe, count: usize) -> Vec<u8>;
    /// Reads what is there.
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes what there is room for; with `more`, the end of the stream follows at once and may ride along.
    fn send(&self, bytes: &[u8], more: bool) -> io::Result<usize>;
    /// The shell is about to do what [`Transport::send`] would.
    fn about_to_send(&self, more: bool);
    /// Ends the stream to the peer.
    fn shutdown_write(&self) -> io::Result<()>;
}

/// One of the two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Towards the client.
    Client,
    /// Towards the server.
    Server,
}

/// What to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing until the next readiness.
    Wait,
    /// More can be done now, and no readiness will say so: step again after the others had their turn.
    Again,
    /// It is over: close both sockets. The last end of stream is left to the close, which saves a segment.
    Done(End),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides ended their streams.
    Complete,
    /// This side was reset or failed: the other one must be reset.
    Aborted(Side),
}

/// A client's and a server's socket, and what is under way between them.
pub struct Relay<S: Transport> {
    client: Endpoint<S>,
    server: Endpoint<S>,
    to_server: Flow<S::Pipe>,
    to_client: Flow<S::Pipe>,
}

impl<S: Transport> std::fmt::Debug for Relay<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("to_server", &(self.to_server.stage, self.to_server.bytes))
            .field("to_client", &(self.to_client.stage, self.to_client.bytes))
            .finish_non_exhaustive()
    }
}

/// Bytes that the shell is to write.
#[derive(Debug)]
pub struct Deferred<'a, S> {
    /// To this socket.
    pub socket: &'a S,
    /// Where they are in the scratch buffer.
    pub range: Range<usize>,
    /// The end of the stream follows at once and may ride along.
    pub more: bool,
}

/// A relay taken apart.
#[derive(Debug)]
pub struct Parts<S> {
    /// The client's socket.
    pub client: S,
    /// The server's socket.
    pub server: S,
    /// Bytes read from the server that the client has not taken.
    pub unsent_to_client: Vec<u8>,
    /// Bytes read from the client that the server has not taken.
    pub unsent_to_server: Vec<u8>,
}

/// One direction.
#[derive(Debug)]
struct Flow<P> {
    pending: Option<Pending>,
    /// Where in the scratch buffer it is what the shell is to write.
    deferred: Option<Range<usize>>,
    piped: Option<Box<Held<P>>>,
    pace: Pace,
    stage: Stage,
    bytes: u64,
    /// Who listens to what is read, as long as it wants to.
    listener: Option<Box<Listener>>,
}

/// What was read and not yet taken by the other side.
#[derive(Debug)]
struct Pending {
    bytes: Box<[u8]>,
    sent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The source has ended, pending bytes are to be written.
    Ended,
    /// The source was reset, pending bytes are to be written.
    Aborted,
    /// The destination has been told of the end.
    Shut,
    /// The destination failed: nothing more is read for it.
    Broken,
}

/// What came of pumping one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    Idle,
    More,
    /// The source was reset, and all it had sent was written.
    Aborted,
}

impl<S: Transport> Relay<S> {
    /// A relay between two connected sockets, with the readiness already reported.
    pub fn new(client: S, client_ready: Ready, server: S, server_ready: Ready) -> Self {
        Self {
            client: Endpoint::new(client, client_ready),
            server: Endpoint::new(server, server_ready),
            to_server: Flow::default(),
            to_client: Flow::default(),
        }
    }

    /// With what was read from the client already.
    #[must_use]
    pub fn beginning_with(mut self, from_client: Vec<u8>) -> Self {
        let bytes = from_client.into_boxed_slice();
        self.to_server.pending = Some(Pending { bytes, sent: 0 }).filter(|pending| !pending.bytes.is_empty());
        self
    }

    /// With a listener to what the server says first. Nothing is spliced before that has heard enough.
    #[must_use]
    pub fn following(mut self, listener: Option<Box<Listener>>) -> Self {
        self.to_client.listener = listener;
        self
    }

    /// The listener, once it has heard something worth looking at.
    pub fn take_heard(&mut self) -> Option<Box<Listener>> {
        self.to_client.listener.take_if(|listener| listener.has_heard())
    }

    /// Gives the listener back: it wants to hear more.
    pub fn listen_on(&mut self, listener: Box<Listener>) {
        self.to_client.listener = Some(listener);
    }

    /// Takes both sockets back, with what was read from them and not written yet.
    pub fn into_parts(self) -> Parts<S> {
        Parts {
            client: self.client.socket,
            server: self.server.socket,
            unsent_to_client: self.to_client.unsent::<S>(),
            unsent_to_server: self.to_server.unsent::<S>(),
        }
    }

    /// What the shell is to write to a side: it says afterwards what came of it, by [`Relay::sent`], before the scratch
    /// buffer is used for anything else. Until then that direction does not go on.
    pub fn deferred(&self, side: Side) -> Option<Deferred<'_, S>> {
        let (to, flow) = match side {
            Side::Client => (&self.client, &self.to_client),
            Side::Server => (&self.server, &self.to_server),
        };
        let range = flow.deferred.clone()?;
        Some(Deferred { socket: &to.socket, range, more: flow.stage == Stage::Ended })
    }

    /// What came of writing what was deferred.
    pub fn sent(&mut self, side: Side, result: io::Result<usize>, workspace: &Workspace<S::Pipe>) {
        let (to, flow) = match side {
            Side::Client => (&mut self.client, &mut self.to_client),
            Side::Server => (&mut self.server, &mut self.to_server),
        };
        if let Some(range) = flow.deferred.take() {
            let sent = to.note_sent(range.len(), result, flow);
            flow.keep(&workspace.deferred(range)[sent..]);
        }
    }

    /// Whether bytes for a side wait for room there.
    pub fn is_blocked(&self, side: Side) -> bool {
        match side {
            Side::Client => self.to_client.is_blocked(),
            Side::Server => self.to_server.is_blocked(),
        }
    }

    /// Remembers a reported readiness.
    pub fn set_ready(&mut self, side: Side, ready: Ready) {
        let endpoint = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        endpoint.ready.add(ready);
    }

    /// Moves what can be moved without blocking, a bounded amount of it.
    pub fn step(&mut self, workspace: &mut Workspace<S::Pipe>) -> Step {
        let Self { client, server, to_server, to_client } = self;
        let up = pump(client, server, to_server, to_client.stage, workspace);
        let down = pump(server, client, to_client, to_server.stage, workspace);
        if up == Pumped::Aborted || client.is_lost(to_server) {
            Step::Done(End::Aborted(Side::Client))
        } else if down == Pumped::Aborted || server.is_lost(to_client) {
            Step::Done(End::Aborted(Side::Server))
        } else if to_server.stage == Stage::Shut && to_client.stage == Stage::Shut {
            Step::Done(End::Complete)
        } else if up == Pumped::More || down == Pumped::More {
            Step::Again
        } else {
            Step::Wait
        }
    }

    /// Bytes from the client, as written to the server.
    pub fn bytes_to_server(&self) -> u64 {
        self.to_server.bytes
    }

    /// Bytes from the server, as written to the client.
    pub fn bytes_to_client(&self) -> u64 {
        self.to_client.bytes
    }

    /// Whether one of the two streams has ended and the other goes on.
    pub fn is_half_closed(&self) -> bool {
        self.to_server.stage != Stage::Open || self.to_client.stage != Stage::Open
    }

    /// Whether the server has all of a client that has ended, and the client all there is of the server.
    pub fn has_told_server(&self) -> bool {
        self.to_server.stage == Stage::Shut && !self.to_client.waits()
    }

    /// Whether bytes moved at the client's and at the server's socket since this was last asked.
    pub fn take_activity(&mut self) -> (bool, bool) {
        (std::mem::take(&mut self.client.active), std::mem::take(&mut self.server.active))
    }

    /// The socket of a side.
    pub fn socket(&self, side: Side) -> &S {
        match side {
            Side::Client => &self.client.socket,
            Side::Server => &self.server.socket,
        }
    }
}

/// Moves one direction on. `opposite` is the stage of the other one.
fn pump<S: Transport>(
    from: &mut Endpoint<S>,
    to: &mut Endpoint<S>,
    flow: &mut Flow<S::Pipe>,
    opposite: Stage,
    workspace: &mut Workspace<S::Pipe>,
) -> Pumped {
    let pumped = pump_rounds(from, to, flow, opposite, workspace);
    splice::put_back(from, flow, workspace);
    pumped
}

fn pump_rounds<S: Transport>(
    from: &mut Endpoint<S>,
    to: &mut Endpoint<S>,
    flow: &mut Flow<S::Pipe>,
    opposite: Stage,
    workspace: &mut Workspace<S::Pipe>,
) -> Pumped {
    for _ in 0..READS {
        if flow.waits() && !flush(to, flow, workspace) {
            return Pumped::Idle;
        }
        match flow.stage {
            Stage::Open => {}
            Stage::Ended => {
                finish(to, flow, opposite);
                return Pumped::Idle;
            }
            Stage::Aborted => return Pumped::Aborted,
            Stage::Shut | Stage::Broken => return Pumped::Idle,
        }
        if !from.ready.readable {
            return Pumped::Idle;
        }
        if splice::read(from, flow, workspace) {
            splice::flush(to, flow);
        } else {
            read(from, to, flow, workspace);
        }
    }
    if from.ready.readable || flow.stage != Stage::Open { Pumped::More } else { Pumped::Idle }
}

fn read<S: Transport>(
    from: &mut Endpoint<S>,
    to: &mut Endpoint<S>,
    flow: &mut Flow<S::Pipe>,
    workspace: &mut Workspace<S::Pipe>,
) {
    let room = workspace.scratch();
    let most = room.len();
    match from.socket.recv(room) {
        Ok(0) if from.failed => flow.stage = Stage::Aborted,
        Ok(0) => flow.stage = Stage::Ended,
        Ok(count) => {
            from.active = true;
            let drained = from.ready.took(count, most);
            if let Some(listener) = &mut flow.listener {
                listener.hear(&workspace.scratch()[..count]);
            }
            flow.pace.note(count, workspace);
            // If the peer had ended by then, this was all of it.
            if drained && from.ready.read_end && !from.failed {
                flow.stage = Stage::Ended;
            }
            if count > FEW {
                write(to, flow, &workspace.scratch()[..count]);
            } else if let Some(range) = workspace.defer(count) {
                to.socket.about_to_send(flow.stage == Stage::Ended);
                flow.deferred = Some(range);
            } else {
                write(to, flow, &workspace.scratch()[..count]);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => from.ready.readable = false,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(_) => flow.stage = Stage::Aborted,
    }
}

/// Writes fresh bytes and keeps what does not fit.
fn write<S: Transport>(to: &mut Endpoint<S>, flow: &mut Flow<S::Pipe>, bytes: &[u8]) {
    let sent = to.send(bytes, flow);
    flow.keep(&bytes[sent..]);
}

/// Writes kept bytes; true when none are left.
fn flush<S: Transport>(to: &mut Endpoint<S>, flow: &mut Flow<S::Pipe>, workspace: &mut Workspace<S::Pipe>) -> bool {
    if flow.deferred.is_some() {
        return false;
    }
    let Some(mut pending) = flow.pending.take() else { return splice::flush(to, flow) };
    if to.ready.writable {
        // Such as what a client said while it was listened to: it goes with that of others.
        if pending.sent == 0
            && pending.bytes.len() <= FEW
            && let Some(range) = workspace.leave(&pending.bytes)
        {
            to.socket.about_to_send(flow.stage == Stage::Ended);
            flow.deferred = Some(range);
            return false;
        }
        pending.sent += to.send(&pending.bytes[pending.sent..], flow);
    }
    if pending.sent < pending.bytes.len() && flow.stage != Stage::Broken {
        flow.pending = Some(pending);
        return false;
    }
    true
}

/// Tells the destination that the stream has ended; where the other stream has ended too, the close will.
fn finish<S: Transport>(to: &mut Endpoint<S>, flow: &mut Flow<S::Pipe>, opposite: Stage) {
    flow.stage = Stage::Shut;
    if opposite != Stage::Shut && to.socket.shutdown_write().is_err() {
        to.fail(flow);
    }
}

impl<P> Default for Flow<P> {
    fn default() -> Self {
        Self {
            pending: None,
            deferred: None,
            piped: None,
            pace: Pace::default(),
            stage: Stage::Open,
            bytes: 0,
            listener: None,
        }
    }
}

impl<P> Flow<P> {
    /// Keeps bytes that the destination did not take.
    fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && self.stage != Stage::Broken {
            self.pending = Some(Pending { bytes: bytes.into(), sent: 0 });
        }
    }

    /// Whether bytes wait to be written.
    fn waits(&self) -> bool {
        self.deferred.is_some() || self.is_blocked()
    }

    /// Whether bytes wait for room at the destination.
    fn is_blocked(&self) -> bool {
        self.pending.is_some() || self.piped.as_ref().is_some_and(|held| held.bytes > 0)
    }

    /// Bytes are in one of the two places, never in both.
    fn unsent<S: Transport<Pipe = P>>(self) -> Vec<u8> {
        let pending = self.pending.map(|pending| pending.bytes[pending.sent..].to_vec());
        pending.or_else(|| self.piped.map(|held| held.unsent::<S>())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
