//! One epoll descriptor: readiness of many descriptors for one thread.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Events taken from the kernel at once.
const BATCH: usize = 256;

/// An epoll descriptor with room for one batch of events.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

/// What happened to one descriptor since it was last reported.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The number it was added with.
    pub token: u64,
    flags: EpollFlags,
}

impl Event {
    /// There is something to read, an end or an error included.
    #[must_use]
    pub fn readable(self) -> bool {
        self.flags
            .intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
    }

    /// There is room to write, or an error to learn by writing.
    #[must_use]
    pub fn writable(self) -> bool {
        self.flags.intersects(EpollFlags::EPOLLOUT | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
    }

    /// The peer has ended its side: what can be read now is all there will be.
    #[must_use]
    pub fn read_end(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLRDHUP)
    }

    /// The connection was reset, or could not be made.
    #[must_use]
    pub fn error(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLERR)
    }

    /// The peer sent urgent data.
    #[must_use]
    pub fn urgent(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLPRI)
    }
}

impl Poller {
    /// An empty one. Fails when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); BATCH] })
    }

    /// Reports each change of a TCP connection's readiness once: there is nothing to re-arm, and what was reported stays
    /// true until a call says that it would block. Room to write is reported from the start or, to be spared the report
    /// that every new connection has room, only after [`Poller::watch_writes`].
    pub fn add_stream(&self, descriptor: impl AsFd, token: u64, writes: bool) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(stream_flags(writes), token))?)
    }

    /// Reports room to write too, at once if there is any.
    pub fn watch_writes(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.modify(descriptor, &mut EpollEvent::new(stream_flags(true), token))?)
    }

    /// Reports each signal of an event counter once.
    pub fn add_input(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token))?)
    }

    /// Reports a listener as long as somebody waits there: whoever takes one client need not ask for another, and accept(2)
    /// makes a whole socket before it finds that there is none.
    pub fn add_listener(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Whether a listener is reported, or left alone for a while.
    pub fn watch_listener(&self, descriptor: impl AsFd, token: u64, watched: bool) -> io::Result<()> {
        let flags = if watched { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        Ok(self.epoll.modify(descriptor, &mut EpollEvent::new(flags, token))?)
    }

    /// Stops reporting a descriptor. (Closing its last copy does the same.)
    pub fn remove(&self, descriptor: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(descriptor)?)
    }

    /// Waits for events, at most `timeout` rounded up to a millisecond, and returns how many there are.
    /// A signal ends the wait with none.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<usize> {
        let millis = u16::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        match self.epoll.wait(&mut self.events, EpollTimeout::from(millis)) {
            Ok(count) => Ok(count),
            Err(nix::Error::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// One of the events of the last wait.
    #[must_use]
    pub fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        Event { token: event.data(), flags: event.events() }
    }
}

fn stream_flags(writes: bool) -> EpollFlags {
    let reads = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLPRI | EpollFlags::EPOLLET;
    if writes { reads | EpollFlags::EPOLLOUT } else { reads }
}
