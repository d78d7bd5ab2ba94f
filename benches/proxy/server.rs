//! The server behind every subject: one port, a listener to each of its threads, no more system calls than needed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use netns_tests::node::Node;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Socket, Type};

use crate::load::THREADS;
use crate::tls;

/// Bytes of a request. Its first byte says what the client wants of this connection.
pub(crate) const REQUEST: usize = 64;
/// Bytes of a reply.
pub(crate) const REPLY: usize = 256;
/// One reply, then the end.
pub(crate) const SHORT: u8 = b's';
/// A reply to each request.
pub(crate) const KEEP_ALIVE: u8 = b'k';
/// Bytes without end.
pub(crate) const BULK: u8 = b'b';

/// One flight of a TLS server, then the end.
const HELLO: u8 = 22;

const CHUNK: usize = 256 * 1024;
const LISTENER: u64 = u64::MAX;
/// Events of others are due after so many accepted connections, or chunks sent.
const FAIR: usize = 32;

/// A running server, until dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(node: &Node, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let serve = |index: usize| {
            let (stop, listener) = (Arc::clone(&stop), node.exec_in(|| listen(port)));
            node.thread(&format!("server{index}"), move || Worker::new(listener).run(&stop))
        };
        Self { threads: (0..THREADS).map(serve).collect(), stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    // Inherited by what it accepts.
    socket.set_tcp_nodelay(true).expect("an option");
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).expect("the server's port");
    socket.listen(4096).expect("listening");
    socket.into()
}

struct Worker {
    listener: TcpListener,
    epoll: Epoll,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    scratch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What the first byte asked for.
    wanted: Option<u8>,
    /// Bytes of an incomplete request.
    pending: usize,
}

impl Worker {
    fn new(listener: TcpListener) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).expect("epoll");
        Self { listener, epoll, connections: Vec::new(), scratch: vec![b'.'; CHUNK] }
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut events = [EpollEvent::empty(); 256];
        while !stop.load(Ordering::Relaxed) {
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(100u8)).unwrap_or(0);
            for event in &events[..ready] {
                if event.data() == LISTENER {
                    self.accept();
                } else {
                    self.serve(event.data());
                }
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..FAIR {
            let Ok((stream, _)) = self.listener.accept() else { return };
            let index = usize::try_from(stream.as_raw_fd()).expect("a descriptor is not negative");
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            if self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).is_ok() {
                self.connections[index] = Some(Connection { stream, wanted: None, pending: 0 });
            }
        }
    }

    fn serve(&mut self, key: u64) {
        let Some(place) = usize::try_from(key).ok().and_then(|index| self.connections.get_mut(index)) else { return };
        let Some(connection) = place else { return };
        let ended = match connection.wanted {
            Some(BULK) => connection.stream_on(&self.scratch),
            _ => connection.answer(&mut self.scratch),
        };
        if ended {
            *place = None;
        } else if connection.wanted == Some(BULK) {
            let _ = self.epoll.modify(&connection.stream, &mut EpollEvent::new(EpollFlags::EPOLLOUT, key));
        }
    }
}

impl Connection {
    /// Answers the requests that have come. True at the end.
    fn answer(&mut self, scratch: &mut [u8]) -> bool {
        let descriptor = self.stream.as_raw_fd();
        // The stream itself blocks: that saves a system call on each of them.
        let count = match recv(descriptor, &mut scratch[..4096], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(count) => count,
            Err(Errno::EAGAIN) => return false,
            Err(_) => return true,
        };
        let wanted = *self.wanted.get_or_insert(scratch[0]);
        self.pending += count;
        let requests = self.pending / REQUEST;
        self.pending %= REQUEST;
        match wanted {
            BULK => false,
            HELLO if self.pending + requests * REQUEST < tls::HELLO_LENGTH => {
                self.pending += requests * REQUEST;
                false
            }
            HELLO => {
                let _gone = send(descriptor, &tls::server_flight(), quiet());
                true
            }
            SHORT | KEEP_ALIVE => {
                let reply = &scratch[..REPLY * requests];
                let sent = requests == 0 || send(descriptor, reply, quiet()) == Ok(reply.len());
                !sent || (wanted == SHORT && requests > 0)
            }
            // A health check that says something, or a stray: nothing to be had here.
            _ => true,
        }
    }

    /// Sends what fits. True at the end.
    fn stream_on(&self, chunk: &[u8]) -> bool {
        for _ in 0..FAIR {
            match send(self.stream.as_raw_fd(), chunk, quiet()) {
                Ok(sent) if sent == chunk.len() => {}
                Ok(_) | Err(Errno::EAGAIN) => return false,
                Err(_) => return true,
            }
        }
        false
    }
}

fn quiet() -> MsgFlags {
    MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL
}
