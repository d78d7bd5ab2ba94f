//! The clients: closed loops over epoll, with no more system calls than a client must make.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netns_tests::wait::try_until;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::histogram::Histogram;
use crate::server::{BULK, KEEP_ALIVE, REPLY, REQUEST, SHORT};
use crate::stand::{Stand, client_addresses};
use crate::tls;

/// Threads of the client, and of the server.
pub(crate) const THREADS: usize = 2;
/// Short connections under way at a time.
const SHORT_AT_ONCE: usize = 64;
/// Thrown away by the kernel, never copied.
const DISCARD: usize = 1 << 20;
/// A failed connection is tried again after this long.
const RETRY: Duration = Duration::from_millis(10);

/// What the clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Connect, ask, read the reply to its end, close, again.
    Short,
    /// The same, speaking TLS, as far as can be seen in the clear.
    Hello,
    /// Ask, read the reply, ask again on the same connection.
    KeepAlive { connections: usize },
    /// Read what the server streams.
    Bulk { streams: usize },
}

/// What has been done so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Connections, requests or bytes.
    pub(crate) units: u64,
    /// Connections that failed or ended too early.
    pub(crate) errors: u64,
}

/// Running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Histogram>>,
    wanted: usize,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    recording: AtomicBool,
    connected: AtomicUsize,
    units: AtomicU64,
    errors: AtomicU64,
}

impl Load {
    /// Connections go to `ports` ports in turn, from the target's on.
    pub(crate) fn start(stand: &Stand, kind: Kind, target: SocketAddr, ports: u16) -> Self {
        let shared = Arc::<Shared>::default();
        let wanted = kind.at_once();
        let threads = wanted.min(THREADS);
        let begin = |index: usize| {
            let shared = Arc::clone(&shared);
            let share = wanted / threads + usize::from(index < wanted % threads);
            stand.client.thread(&format!("client{index}"), move || {
                Client::new(&shared, kind, (target, ports), index).run(share)
            })
        };
        Self { threads: (0..threads).map(begin).collect(), shared, wanted }
    }

    /// Waits until all connections have been established once.
    pub(crate) fn wait_connected(&self, limit: Duration) -> Result<(), String> {
        let connected = || self.shared.connected.load(Ordering::Relaxed);
        try_until(limit, || (connected() >= self.wanted).then_some(())).ok_or_else(|| {
            let errors = self.counts().errors;
            format!("{} of {} connections after {limit:?}, {errors} failed", connected(), self.wanted)
        })
    }

    /// Whether latencies are recorded.
    pub(crate) fn record(&self, on: bool) {
        self.shared.recording.store(on, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { units: read(&self.shared.units), errors: read(&self.shared.errors) }
    }

    /// Ends the load; the latencies recorded.
    pub(crate) fn finish(mut self) -> Histogram {
        let mut all = Histogram::new();
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            all.merge(&thread.join().expect("a client thread does not panic"));
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Opens connections that have carried a request and its reply, and are silent since.
pub(crate) fn open_idle(stand: &Stand, target: SocketAddr, count: usize) -> Result<Vec<TcpStream>, String> {
    let sources = client_addresses().collect::<Vec<_>>();
    let open = |index: usize| -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bind(&socket, sources[index % sources.len()])?;
        socket.connect(&target.into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[KEEP_ALIVE; REQUEST])?;
        stream.read_exact(&mut [0; REPLY])?;
        Ok(stream)
    };
    stand.client.exec_in(|| {
        (0..count).map(|index| open(index).map_err(|error| format!("connection {}: {error}", index + 1))).collect()
    })
}

impl Kind {
    fn at_once(self) -> usize {
        match self {
            Self::Short | Self::Hello => SHORT_AT_ONCE,
            Self::KeepAlive { connections } => connections,
            Self::Bulk { streams } => streams,
        }
    }

    fn request(self) -> Vec<u8> {
        match self {
            Self::Short => vec![SHORT; REQUEST],
            Self::Hello => tls::client_hello(),
            Self::KeepAlive { .. } => vec![KEEP_ALIVE; REQUEST],
            Self::Bulk { .. } => vec![BULK; REQUEST],
        }
    }
}

/// One thread's connections.
struct Client<'a> {
    shared: &'a Shared,
    kind: Kind,
    request: Vec<u8>,
    target: SocketAddr,
    ports: u16,
    sources: Vec<IpAddr>,
    /// Counts the connections of this thread, to take the sources in turn.
    opened: usize,
    epoll: Epoll,
    slots: Vec<Option<Slot>>,
    /// Slots whose connection failed: not opened again at once, for a subject that refuses shall not be stormed.
    broken: Vec<usize>,
    retried: Instant,
    buffer: Vec<u8>,
    latencies: Histogram,
}

struct Slot {
    socket: Socket,
    /// When the connection, or the request on it, began.
    since: Instant,
    asked: bool,
    /// Bytes of the reply so far.
    got: usize,
}

/// What became of a connection that was ready.
enum Step {
    Wait,
    Done,
    Failed,
}

impl<'a> Client<'a> {
    fn new(shared: &'a Shared, kind: Kind, (target, ports): (SocketAddr, u16), thread: usize) -> Self {
        Self {
            shared,
            kind,
            request: kind.request(),
            target,
            ports,
            sources: client_addresses().collect(),
            opened: thread,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll"),
            slots: Vec::new(),
            broken: Vec::new(),
            retried: Instant::now(),
            buffer: vec![0; DISCARD],
            latencies: Histogram::new(),
        }
    }

    fn run(mut self, share: usize) -> Histogram {
        self.slots.resize_with(share, || None);
        (0..share).for_each(|index| self.open(index));
        let mut events = [EpollEvent::empty(); 256];
        let mut units = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(10u8)).unwrap_or(0);
            let recording = self.shared.recording.load(Ordering::Relaxed);
            for event in &events[..ready] {
                self.advance(event, recording, &mut units);
            }
            // Once a batch: the threads do not fight over the counter.
            self.shared.units.fetch_add(std::mem::take(&mut units), Ordering::Relaxed);
            if !self.broken.is_empty() && self.retried.elapsed() > RETRY {
                self.retried = Instant::now();
                std::mem::take(&mut self.broken).into_iter().for_each(|index| self.open(index));
            }
        }
        self.latencies
    }

    fn open(&mut self, index: usize) {
        let source = self.sources[self.opened % self.sources.len()];
        let target =
            SocketAddr::new(self.target.ip(), self.target.port() + (self.opened % usize::from(self.ports)) as u16);
        self.opened += 1;
        let since = Instant::now();
        let begun = begin(source, target).and_then(|socket| {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            self.epoll.add(&socket, EpollEvent::new(flags, index as u64))?;
            Ok(socket)
        });
        match begun {
            Ok(socket) => self.slots[index] = Some(Slot { socket, since, asked: false, got: 0 }),
            Err(_) => self.fail(index),
        }
    }

    fn advance(&mut self, event: &EpollEvent, recording: bool, units: &mut u64) {
        let Ok(index) = usize::try_from(event.data()) else { return };
        let Some(slot) = &mut self.slots[index] else { return };
        if !slot.asked {
            match send(slot.socket.as_raw_fd(), &self.request, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) if sent == self.request.len() => {
                    slot.asked = true;
                    self.shared.connected.fetch_add(1, Ordering::Relaxed);
                    match self.kind {
                        Kind::Short | Kind::Hello => {}
                        Kind::KeepAlive { .. } => slot.since = Instant::now(),
                        Kind::Bulk { .. } => {
                            let level = &mut EpollEvent::new(EpollFlags::EPOLLIN, event.data());
                            let _ = self.epoll.modify(&slot.socket, level);
                        }
                    }
                }
                Err(Errno::EAGAIN) => return,
                Ok(_) | Err(_) => return self.fail(index),
            }
        }
        let buffer = &mut self.buffer;
        let step = match self.kind {
            Kind::Short | Kind::Hello => slot.read_to_end(buffer, event.events()),
            Kind::KeepAlive { .. } => slot.read_reply(buffer),
            Kind::Bulk { .. } => slot.discard(buffer, units),
        };
        match step {
            Step::Wait => {}
            Step::Failed => self.fail(index),
            Step::Done => {
                *units += 1;
                let now = Instant::now();
                if recording {
                    self.latencies.add(now - slot.since);
                }
                if matches!(self.kind, Kind::Short | Kind::Hello) {
                    self.slots[index] = None;
                    return self.open(index);
                }
                (slot.since, slot.got) = (now, 0);
                if send(slot.socket.as_raw_fd(), &self.request, MsgFlags::MSG_NOSIGNAL) != Ok(self.request.len()) {
                    self.fail(index);
                }
            }
        }
    }

    fn fail(&mut self, index: usize) {
        self.shared.errors.fetch_add(1, Ordering::Relaxed);
        self.slots[index] = None;
        self.broken.push(index);
    }
}

impl Slot {
    fn read_to_end(&mut self, buffer: &mut [u8], flags: EpollFlags) -> Step {
        // All is here and the end was announced: reading that once more would tell nothing new.
        let ended = flags.contains(EpollFlags::EPOLLRDHUP);
        while !(ended && self.got == REPLY) {
            match self.read(&mut buffer[..4096]) {
                Ok(0) if self.got == REPLY => return Step::Done,
                Ok(0) => return Step::Failed,
                Ok(count) => self.got += count,
                Err(Errno::EAGAIN) => return Step::Wait,
                Err(_) => return Step::Failed,
            }
            if !ended {
                return Step::Wait;
            }
        }
        Step::Done
    }

    fn read_reply(&mut self, buffer: &mut [u8]) -> Step {
        match self.read(&mut buffer[..4096]) {
            Ok(0) => return Step::Failed,
            Ok(count) => self.got += count,
            Err(Errno::EAGAIN) => return Step::Wait,
            Err(_) => return Step::Failed,
        }
        match self.got {
            REPLY => Step::Done,
            0..REPLY => Step::Wait,
            _ => Step::Failed,
        }
    }

    fn discard(&mut self, buffer: &mut [u8], bytes: &mut u64) -> Step {
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Step::Failed,
            Ok(count) => {
                *bytes += count as u64;
                Step::Wait
            }
            Err(Errno::EAGAIN) => Step::Wait,
            Err(_) => Step::Failed,
        }
    }

    fn read(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
    }
}

fn begin(source: IpAddr, target: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    bind(&socket, source)?;
    match socket.connect(&target.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// The port is chosen at connect, where the whole four-tuple is known.
fn bind(socket: &Socket, source: IpAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}
