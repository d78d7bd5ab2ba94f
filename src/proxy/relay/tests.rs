use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A socket whose peer is the test.
#[derive(Debug)]
struct Fake {
    arrived: RefCell<VecDeque<u8>>,
    /// What comes after the bytes that have arrived.
    then: Cell<Then>,
    /// Bytes it takes before it would block.
    room: Cell<usize>,
    /// Most bytes it hands out or takes at once.
    chunk: usize,
    sent: RefCell<Vec<u8>>,
    broken: Cell<bool>,
    /// Urgent data is next, which a pipe is not filled beyond; the peer has ended its stream behind it.
    mark: Cell<bool>,
    calls: RefCell<Vec<Call>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Silence,
    End,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Splice,
    Recv,
    Send,
    SendMore,
    AboutToSend,
    AboutToSendMore,
    Shutdown,
}

impl Fake {
    fn new() -> Self {
        Self {
            arrived: RefCell::default(),
            then: Cell::new(Then::Silence),
            room: Cell::new(usize::MAX),
            chunk: usize::MAX,
            sent: RefCell::default(),
            broken: Cell::new(false),
            mark: Cell::new(false),
            calls: RefCell::default(),
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.take()
    }

    fn has_shut(&self) -> bool {
        self.calls.borrow().contains(&Call::Shutdown)
    }
}

impl Transport for &Fake {
    type Pipe = RefCell<Vec<u8>>;

    fn pipe() -> io::Result<Self::Pipe> {
        Ok(RefCell::default())
    }

    fn fill(&self, pipe: &Self::Pipe) -> io::Result<usize> {
        assert!(pipe.borrow().is_empty());
        if self.mark.get() {
            return Ok(0);
        }
        let mut bytes = [0; 100];
        let count = self.recv(&mut bytes)?;
        pipe.borrow_mut().extend(&bytes[..count]);
        self.calls.borrow_mut().push(Call::Splice);
        Ok(count)
    }

    fn empty(&self, pipe: &Self::Pipe, most: usize, more: bool) -> io::Result<usize> {
        let mut bytes = pipe.borrow_mut();
        assert_eq!(bytes.len(), most);
        let count = self.send(&bytes, more)?;
        bytes.drain(..count);
        Ok(count)
    }

    fn take(pipe: &Self::Pipe, count: usize) -> Vec<u8> {
        let bytes = pipe.take();
        assert_eq!(bytes.len(), count);
        bytes
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls.borrow_mut().push(Call::Recv);
        let mut arrived = self.arrived.borrow_mut();
        let count = arrived.len().min(buffer.len()).min(self.chunk);
        if count == 0 {
            return match self.then.get() {
                Then::Silence => Err(io::ErrorKind::WouldBlock.into()),
                Then::End => Ok(0),
                Then::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            };
        }
        for (slot, byte) in buffer.iter_mut().zip(arrived.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    fn send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        self.calls.borrow_mut().push(if more { Call::SendMore } else { Call::Send });
        if self.broken.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.room.get()).min(self.chunk);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.set(self.room.get() - count);
        self.sent.borrow_mut().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn about_to_send(&self, more: bool) {
        self.calls.borrow_mut().push(if more { Call::AboutToSendMore } else { Call::AboutToSend });
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.calls.borrow_mut().push(Call::Shutdown);
        if self.broken.get() { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

const OPEN: Ready = Ready { readable: false, writable: true, read_end: false, urgent: false, error: false };
const READABLE: Ready = Ready { readable: true, ..OPEN };
const ENDED: Ready = Ready { read_end: true, ..READABLE };
const FAILED: Ready = Ready { error: true, ..ENDED };

fn relay<'a>(client: &'a Fake, server: &'a Fake) -> Relay<&'a Fake> {
    Relay::new(client, OPEN, server, OPEN)
}

fn arrive(fake: &Fake, bytes: &[u8], then: Then) {
    fake.arrived.borrow_mut().extend(bytes);
    fake.then.set(then);
}

type Desk = Workspace<RefCell<Vec<u8>>>;

fn step(relay: &mut Relay<&Fake>) -> Step {
    relay.step(&mut Desk::new(64))
}

/// Like a shell that writes for many at once: steps, writes what was left to it, and steps again.
fn step_and_write(relay: &mut Relay<&Fake>, desk: &mut Desk) -> Step {
    desk.set_defers(true);
    let step = relay.step(desk);
    desk.set_defers(false);
    let sides = [Side::Client, Side::Server].map(|side| (side, write_deferred(relay, side, desk)));
    desk.forget_deferred();
    if sides.iter().any(|(_, written)| *written) { relay.step(desk) } else { step }
}

fn write_deferred(relay: &mut Relay<&Fake>, side: Side, desk: &Desk) -> bool {
    let Some(Deferred { socket, range, more }) = relay.deferred(side) else { return false };
    let result = socket.send(desk.deferred(range), more);
    relay.sent(side, result, desk);
    true
}

#[test]
fn bulk_is_spliced_after_two_big_reads_until_the_source_is_dry() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    let mut desk = Desk::new(64);
    let bytes: Vec<u8> = (0..2 * 64 + 250).map(|n| (n % 251) as u8).collect();
    arrive(&server, &bytes, Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Again);
    assert_eq!(server.calls(), [Call::Recv; READS]);
    while relay.step(&mut desk) == Step::Again {}
    assert_eq!(
        server.calls(),
        [Call::Recv, Call::Splice, Call::Recv, Call::Splice, Call::Recv, Call::Splice, Call::Recv]
    );
    assert_eq!(*client.sent.borrow(), bytes);
    assert!(relay.to_client.piped.is_none() && relay.to_server.piped.is_none(), "the pipe is back");
    // A keystroke is copied.
    arrive(&server, b"x", Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    while relay.step(&mut desk) == Step::Again {}
    assert!(!relay.to_client.waits());
}

#[test]
fn what_is_behind_urgent_data_is_not_taken_for_the_end() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    let mut desk = Desk::new(64);
    arrive(&server, &[1; 2 * 64], Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Again);
    arrive(&server, &[2; 10], Then::End);
    server.mark.set(true);
    relay.set_ready(Side::Server, ENDED);
    while relay.step(&mut desk) == Step::Again {}
    assert_eq!((client.sent.borrow().len(), client.has_shut()), (2 * 64 + 10, true));
    assert!(relay.to_client.piped.is_none(), "the pipe is back");
}

#[test]
fn small_pieces_are_copied_again() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    let mut desk = Desk::new(64);
    arrive(&server, &[1; 2 * 64 + 10], Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    while relay.step(&mut desk) == Step::Again {}
    server.calls();
    arrive(&server, &[2; 10], Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert_eq!(server.calls(), [Call::Recv]);
}

#[test]
fn what_is_in_a_pipe_for_a_full_side_waits_and_comes_back_with_the_parts() {
    let (client, server) = (Fake::new(), Fake::new());
    client.room.set(2 * 64 + 30);
    let mut relay = relay(&client, &server);
    let mut desk = Desk::new(64);
    arrive(&server, &[9; 1000], Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    while relay.step(&mut desk) == Step::Again {}
    assert!(relay.is_blocked(Side::Client));
    assert_eq!(server.arrived.borrow().len(), 1000 - 2 * 64 - 100, "nothing more is read");
    let parts = relay.into_parts();
    assert_eq!(parts.unsent_to_client, [9; 70]);
}

#[test]
fn a_thread_has_so_many_pipes_and_copies_beyond() {
    let mut desk = Desk::new(64);
    let held: Vec<_> = (0..MOST_PIPES).map(|_| desk.pipes.take(|| Ok(RefCell::default()))).collect();
    assert!(held.iter().all(Option::is_some) && desk.pipes.take(|| Ok(RefCell::default())).is_none());
    drop(held);
    assert!(desk.pipes.take(|| Ok(RefCell::default())).is_some());
}

#[test]
fn a_request_costs_one_read_and_one_write_each_way() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    arrive(&client, b"ping", Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!((client.calls(), server.calls()), (vec![Call::Recv], vec![Call::Send]));
    arrive(&server, b"pong", Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!((client.calls(), server.calls()), (vec![Call::Send], vec![Call::Recv]));
    assert_eq!((relay.bytes_to_server(), relay.bytes_to_client()), (4, 4));
}

#[test]
fn few_bytes_are_left_to_a_shell_that_writes_for_many() {
    let (client, server) = (Fake::new(), Fake::new());
    let (mut relay, mut desk) = (relay(&client, &server), Desk::new(64));
    desk.set_defers(true);
    arrive(&client, b"ping", Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert_eq!((client.calls(), server.calls()), (vec![Call::Recv], vec![Call::AboutToSend]));
    // Nothing else comes between, and nobody is said to be full.
    arrive(&client, b"more", Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert!(client.calls().is_empty() && !relay.is_blocked(Side::Server));
    let Deferred { range, more, .. } = relay.deferred(Side::Server).unwrap();
    assert_eq!((desk.deferred(range), more), (&b"ping"[..], false));
    assert!(relay.deferred(Side::Client).is_none());
    assert!(write_deferred(&mut relay, Side::Server, &desk));
    assert_eq!((relay.bytes_to_server(), &server.sent.borrow()[..]), (4, &b"ping"[..]));
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert!(write_deferred(&mut relay, Side::Server, &desk));
    assert_eq!(*server.sent.borrow(), b"pingmore");
}

#[test]
fn what_a_client_said_to_the_listener_is_left_to_the_shell_too() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server).beginning_with(b"hello".into());
    let mut desk = Desk::new(64);
    desk.set_defers(true);
    arrive(&client, b"more", Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert_eq!((client.calls(), server.calls()), (vec![], vec![Call::AboutToSend]));
    // What finds no room is kept, and goes first.
    server.room.set(2);
    assert!(write_deferred(&mut relay, Side::Server, &desk) && relay.is_blocked(Side::Server));
    server.room.set(9);
    relay.set_ready(Side::Server, OPEN);
    desk.forget_deferred();
    assert_eq!((step_and_write(&mut relay, &mut desk), relay.deferred(Side::Server).is_some()), (Step::Wait, false));
    assert_eq!(step_and_write(&mut relay, &mut desk), Step::Wait);
    assert_eq!((relay.bytes_to_server(), &server.sent.borrow()[..]), (9, &b"hellomore"[..]));
}

#[test]
fn where_half_the_room_is_taken_bytes_are_written_at_once() {
    let (client, server) = (Fake::new(), Fake::new());
    let (mut relay, mut desk) = (relay(&client, &server), Desk::new(64));
    desk.set_defers(true);
    arrive(&client, &[1; 30], Then::Silence);
    arrive(&server, &[2; 3], Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    relay.set_ready(Side::Server, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert!(relay.deferred(Side::Server).is_some() && relay.deferred(Side::Client).is_none());
    assert_eq!((*client.sent.borrow()).len(), 3);
    assert_eq!(desk.scratch().len(), 34);
}

#[test]
fn what_the_shell_could_not_write_waits_for_room() {
    let (client, server) = (Fake::new(), Fake::new());
    let (mut relay, mut desk) = (relay(&client, &server), Desk::new(64));
    server.room.set(2);
    arrive(&client, b"ping", Then::End);
    relay.set_ready(Side::Client, ENDED);
    assert_eq!(step_and_write(&mut relay, &mut desk), Step::Wait);
    assert!(relay.is_blocked(Side::Server) && !server.has_shut());
    server.room.set(9);
    relay.set_ready(Side::Server, OPEN);
    assert_eq!(step_and_write(&mut relay, &mut desk), Step::Wait);
    assert_eq!((&server.sent.borrow()[..], server.has_shut()), (&b"ping"[..], true));
}

#[test]
fn what_was_never_tried_is_written_as_ever() {
    let (client, server) = (Fake::new(), Fake::new());
    let (mut relay, mut desk) = (relay(&client, &server), Desk::new(64));
    desk.set_defers(true);
    arrive(&client, b"ping", Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    relay.sent(Side::Server, Err(io::ErrorKind::Interrupted.into()), &desk);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!(*server.sent.borrow(), b"ping");
}

#[test]
fn an_answer_and_its_end_share_a_segment_and_the_last_end_is_left_to_the_close() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    arrive(&server, b"answer", Then::End);
    relay.set_ready(Side::Server, ENDED);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!((server.calls(), client.calls()), (vec![Call::Recv], vec![Call::SendMore, Call::Shutdown]));
    assert!(relay.is_half_closed());
    arrive(&client, b"", Then::End);
    relay.set_ready(Side::Client, ENDED);
    assert_eq!(step(&mut relay), Step::Done(End::Complete));
    assert_eq!((client.calls(), server.calls()), (vec![Call::Recv], vec![]));
}

#[test]
fn a_half_closed_client_gets_its_whole_answer() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    arrive(&client, b"question", Then::End);
    relay.set_ready(Side::Client, ENDED);
    assert_eq!(step(&mut relay), Step::Wait);
    assert!(server.has_shut());
    arrive(&server, &[7; 1000], Then::Silence);
    relay.set_ready(Side::Server, READABLE);
    while step(&mut relay) == Step::Again {}
    arrive(&server, &[8; 1000], Then::End);
    relay.set_ready(Side::Server, ENDED);
    while step(&mut relay) == Step::Again {}
    assert_eq!(step(&mut relay), Step::Done(End::Complete));
    assert_eq!(*client.sent.borrow(), [[7; 1000], [8; 1000]].concat());
}

#[test]
fn the_end_waits_for_bytes_that_the_other_side_did_not_take() {
    let (client, server) = (Fake::new(), Fake::new());
    client.room.set(3);
    let mut relay = relay(&client, &server);
    arrive(&server, b"answer", Then::End);
    relay.set_ready(Side::Server, ENDED);
    assert_eq!(step(&mut relay), Step::Wait);
    assert!(relay.is_blocked(Side::Client) && !client.has_shut());
    client.room.set(100);
    relay.set_ready(Side::Client, OPEN);
    assert_eq!(step(&mut relay), Step::Wait);
    assert!(client.has_shut());
    assert_eq!(*client.sent.borrow(), b"answer");
}

#[test]
fn nothing_is_read_for_a_side_that_is_full() {
    let (client, server) = (Fake::new(), Fake::new());
    server.room.set(10);
    let mut relay = relay(&client, &server);
    arrive(&client, &[1; 1000], Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!(client.arrived.borrow().len(), 1000 - 64);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!(client.arrived.borrow().len(), 1000 - 64);
    let parts = relay.into_parts();
    assert_eq!((parts.unsent_to_server.len(), parts.unsent_to_client.len()), (54, 0));
}

#[test]
fn a_long_stream_yields_and_goes_on_without_a_new_event() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    arrive(&client, &[1; 64 * READS * 2 + 5], Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(step(&mut relay), Step::Again);
    assert_eq!(server.sent.borrow().len(), 64 * READS);
    assert_eq!(step(&mut relay), Step::Again);
    assert_eq!(step(&mut relay), Step::Wait);
    assert_eq!(server.sent.borrow().len(), 64 * READS * 2 + 5);
}

#[test]
fn a_reset_is_passed_on_after_what_the_shell_has_written() {
    let (client, server) = (Fake::new(), Fake::new());
    let (mut relay, mut desk) = (relay(&client, &server), Desk::new(64));
    desk.set_defers(true);
    arrive(&server, b"last words", Then::Reset);
    relay.set_ready(Side::Server, FAILED);
    assert_eq!(relay.step(&mut desk), Step::Wait);
    assert!(write_deferred(&mut relay, Side::Client, &desk));
    assert_eq!(relay.step(&mut desk), Step::Done(End::Aborted(Side::Server)));
    assert_eq!(*client.sent.borrow(), b"last words");
}

#[test]
fn a_reset_is_passed_on_after_what_came_before_it() {
    for (aborting, side) in [(Side::Client, Side::Server), (Side::Server, Side::Client)] {
        let (client, server) = (Fake::new(), Fake::new());
        let (from, to) = if aborting == Side::Client { (&client, &server) } else { (&server, &client) };
        to.room.set(2);
        let mut relay = relay(&client, &server);
        arrive(from, b"last words", Then::Reset);
        relay.set_ready(aborting, FAILED);
        assert_eq!(step(&mut relay), Step::Wait);
        to.room.set(100);
        relay.set_ready(side, OPEN);
        assert_eq!(step(&mut relay), Step::Done(End::Aborted(aborting)));
        assert_eq!(*to.sent.borrow(), b"last words");
    }
}

#[test]
fn a_side_that_fails_while_written_to_may_still_be_read() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    server.broken.set(true);
    arrive(&server, b"error: too long", Then::Reset);
    arrive(&client, b"long request", Then::Silence);
    relay.set_ready(Side::Client, READABLE);
    assert_eq!(step(&mut relay), Step::Done(End::Aborted(Side::Server)));
    assert_eq!(*client.sent.borrow(), b"error: too long");
}

#[test]
fn a_reset_after_the_end_is_noticed() {
    let (client, server) = (Fake::new(), Fake::new());
    let mut relay = relay(&client, &server);
    arrive(&server, b"bye", Then::End);
    relay.set_ready(Side::Server, ENDED);
    assert_eq!(step(&mut relay), Step::Wait);
    server.broken.set(true);
    relay.set_ready(Side::Server, FAILED);
    assert_eq!(step(&mut relay), Step::Done(End::Aborted(Side::Server)));
}

#[test]
fn urgent_data_disproves_a_short_read() {
    let (mut client, server) = (Fake::new(), Fake::new());
    client.chunk = 4;
    let mut relay = relay(&client, &server);
    arrive(&client, b"ABOR\r\n and the rest", Then::End);
    relay.set_ready(Side::Client, Ready { urgent: true, ..ENDED });
    while step(&mut relay) == Step::Again {}
    assert_eq!(*server.sent.borrow(), b"ABOR\r\n and the rest");
    assert!(server.has_shut());
}

/// What the outside world does next in the property below.
#[derive(Debug, Clone, Copy)]
enum Act {
    ClientSends(usize),
    ServerSends(usize),
    ClientReads(usize),
    ServerReads(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1..300_usize).prop_map(Act::ClientSends),
        (1..300_usize).prop_map(Act::ServerSends),
        (1..300_usize).prop_map(Act::ClientReads),
        (1..300_usize).prop_map(Act::ServerReads),
    ]
}

proptest! {
    /// Any order of arrivals, any room to write, whoever ends first: all bytes come through in order, then the ends.
    #[test]
    fn bytes_are_neither_lost_nor_reordered(
        acts in prop::collection::vec(act(), 0..60),
        rooms in (0..100_usize, 0..100_usize),
        client_ends_first in any::<bool>(),
        batches in any::<bool>(),
    ) {
        let (client, server) = (Fake::new(), Fake::new());
        client.room.set(rooms.0);
        server.room.set(rooms.1);
        let mut relay = relay(&client, &server);
        let (mut up, mut down) = (Vec::<u8>::new(), Vec::<u8>::new());
        let mut desk = Desk::new(64);
        let mut run = |relay: &mut Relay<&Fake>| loop {
            match if batches { step_and_write(relay, &mut desk) } else { step(relay) } {
                Step::Again => {}
                other => return other,
            }
        };
        for act in acts {
            match act {
                Act::ClientSends(count) | Act::ServerSends(count) => {
                    let client_sends = matches!(act, Act::ClientSends(_));
                    let (all, fake, side) = if client_sends {
                        (&mut up, &client, Side::Client)
                    } else {
                        (&mut down, &server, Side::Server)
                    };
                    let bytes: Vec<u8> = (all.len()..all.len() + count).map(|n| (n % 251) as u8).collect();
                    all.extend(&bytes);
                    arrive(fake, &bytes, Then::Silence);
                    relay.set_ready(side, Ready { writable: false, ..READABLE });
                }
                Act::ClientReads(count) => {
                    client.room.set(client.room.get() + count);
                    relay.set_ready(Side::Client, OPEN);
                }
                Act::ServerReads(count) => {
                    server.room.set(server.room.get() + count);
                    relay.set_ready(Side::Server, OPEN);
                }
            }
            prop_assert_eq!(run(&mut relay), Step::Wait);
        }
        let ends = [(&client, Side::Client), (&server, Side::Server)];
        let mut last = Step::Wait;
        for index in if client_ends_first { [0, 1] } else { [1, 0] } {
            arrive(ends[index].0, b"", Then::End);
            relay.set_ready(ends[index].1, Ready { writable: false, ..ENDED });
            last = run(&mut relay);
        }
        if last == Step::Wait {
            for (fake, side) in ends {
                fake.room.set(usize::MAX);
                relay.set_ready(side, OPEN);
                last = run(&mut relay);
            }
        }
        prop_assert_eq!(last, Step::Done(End::Complete));
        prop_assert_eq!(&*server.sent.borrow(), &up);
        prop_assert_eq!(&*client.sent.borrow(), &down);
        prop_assert_eq!((relay.bytes_to_server(), relay.bytes_to_client()), (up.len() as u64, down.len() as u64));
    }
}
