//! Servers that name themselves. One thread and one epoll descriptor each, whatever the number of ports.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, SockRef, Socket, Type};

use crate::node::Node;

/// What a server does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// After the first bytes: its own name, a colon, the port and a line feed; then it echoes, those bytes first.
    Echo,
    /// The same line at once, as SSH or FTP do; then it echoes.
    Banner,
    /// Swallows everything; at the end of it says how many bytes came, and closes.
    Sink,
    /// Reads a line with a number and sends so many bytes, then closes.
    Source,
    /// Answers the first bytes with a reset.
    Abort,
}

/// A running server, until dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// Bytes read and sent at a time.
const BLOCK: u64 = 64 * 1024;
const PERIOD: u64 = 251;
/// Made once: a source is to be as fast as it can.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..BLOCK + PERIOD).map(pattern).collect());

/// The byte that [`Mode::Source`] sends at `offset`.
#[must_use]
pub fn pattern(offset: u64) -> u8 {
    // A prime period, so that a lost or repeated block of any usual size shows.
    (offset % PERIOD) as u8
}

impl Echo {
    /// Starts a server on every port of `ports` at every address of the node.
    #[track_caller]
    pub fn start(node: &Node, ports: RangeInclusive<u16>, mode: Mode) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU64::new(0));
        let listeners: Vec<TcpListener> = node.exec_in(|| ports.map(listen).collect());
        let server = Server {
            name: node.name().to_owned(),
            mode,
            listeners,
            stop: Arc::clone(&stop),
            accepted: Arc::clone(&accepted),
        };
        let thread = node.thread("echo", move || server.serve());
        Self { stop, accepted, thread: Some(thread) }
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves in this thread and namespace, without end.
pub fn serve_here(name: &str, ports: RangeInclusive<u16>, mode: Mode) {
    let listeners = ports.map(listen).collect();
    let (stop, accepted) = Default::default();
    Server { name: name.to_owned(), mode, listeners, stop, accepted }.serve();
}

fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
    socket.set_only_v6(false).expect("both families");
    socket.set_reuse_address(true).expect("an option");
    let address = SocketAddr::new(IpAddr::from([0u16; 8]), port);
    socket.bind(&address.into()).unwrap_or_else(|error| panic!("port {port}: {error}"));
    socket.listen(4096).expect("listening");
    socket.set_nonblocking(true).expect("an option");
    socket.into()
}

struct Server {
    name: String,
    mode: Mode,
    listeners: Vec<TcpListener>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
}

struct Connection {
    stream: TcpStream,
    port: u16,
    named: bool,
    /// Bytes to send.
    out: Vec<u8>,
    /// Of a source: bytes still to be produced, and how many there were before.
    left: u64,
    sent: u64,
    received: u64,
    ended: bool,
}

impl Server {
    fn serve(self) {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
        let mut ports: HashMap<u64, usize> = HashMap::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            let key = key_of(listener);
            ports.insert(key, index);
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, key)).expect("epoll");
        }
        let mut connections: HashMap<u64, Connection> = HashMap::new();
        let mut events = [EpollEvent::empty(); 256];
        let mut scratch = vec![0; BLOCK as usize];
        while !self.stop.load(Ordering::Relaxed) {
            let ready = epoll.wait(&mut events, EpollTimeout::from(50u8)).unwrap_or(0);
            for event in &events[..ready] {
                let key = event.data();
                if let Some(&index) = ports.get(&key) {
                    self.accept(&self.listeners[index], &epoll, &mut connections);
                    continue;
                }
                let Some(connection) = connections.get_mut(&key) else { continue };
                match connection.step(&self.name, self.mode, &mut scratch) {
                    Ok(false) => {
                        let mut flags = EpollFlags::EPOLLIN;
                        if connection.ended {
                            flags = EpollFlags::empty();
                        }
                        if connection.has_output() {
                            flags |= EpollFlags::EPOLLOUT;
                        }
                        let _ = epoll.modify(&connection.stream, &mut EpollEvent::new(flags, key));
                    }
                    // The descriptor leaves the epoll set as it closes.
                    Ok(true) | Err(_) => drop(connections.remove(&key)),
                }
            }
        }
    }

    fn accept(&self, listener: &TcpListener, epoll: &Epoll, connections: &mut HashMap<u64, Connection>) {
        while let Ok((stream, _)) = listener.accept() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
            let port = stream.local_addr().map_or(0, |address| address.port());
            let key = key_of(&stream);
            let _ = stream.set_nodelay(true);
            let mut flags = EpollFlags::EPOLLIN;
            let mut connection =
                Connection { stream, port, named: false, out: Vec::new(), left: 0, sent: 0, received: 0, ended: false };
            if self.mode == Mode::Banner {
                connection.name(&self.name);
                flags |= EpollFlags::EPOLLOUT;
            }
            if connection.stream.set_nonblocking(true).is_ok()
                && epoll.add(&connection.stream, EpollEvent::new(flags, key)).is_ok()
            {
                connections.insert(key, connection);
            }
        }
    }
}

impl Connection {
    fn name(&mut self, name: &str) {
        self.named = true;
        self.out.extend_from_slice(format!("{name}:{}\n", self.port).as_bytes());
    }

    fn has_output(&self) -> bool {
        !self.out.is_empty() || self.left > 0
    }

    /// Reads and writes what can be; true when the connection is over.
    fn step(&mut self, name: &str, mode: Mode, scratch: &mut [u8]) -> io::Result<bool> {
        if !self.ended && self.out.len() < scratch.len() {
            match self.stream.read(scratch) {
                Ok(0) => {
                    self.ended = true;
                    if mode == Mode::Sink {
                        self.out.extend_from_slice(format!("{}\n", self.received).as_bytes());
                    }
                }
                Ok(count) => self.take(&scratch[..count], name, mode),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            if self.out.is_empty() && self.left > 0 {
                let count = self.left.min(scratch.len() as u64);
                let begin = (self.sent % PERIOD) as usize;
                self.out.extend_from_slice(&PATTERN[begin..begin + count as usize]);
                self.sent += count;
                self.left -= count;
            }
            if self.out.is_empty() {
                return Ok(self.ended || (mode == Mode::Source && self.sent > 0));
            }
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], name: &str, mode: Mode) {
        self.received += bytes.len() as u64;
        match mode {
            Mode::Echo | Mode::Banner => {
                if !self.named {
                    self.name(name);
                }
                self.out.extend_from_slice(bytes);
            }
            Mode::Sink => {}
            Mode::Abort => {
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                self.ended = true;
            }
            Mode::Source => {
                self.left = String::from_utf8_lossy(bytes).trim().parse().unwrap_or(0);
            }
        }
    }
}

fn key_of(descriptor: &(impl AsFd + AsRawFd)) -> u64 {
    u64::try_from(descriptor.as_raw_fd()).expect("descriptors are not negative")
}
