//! Non-blocking TCP sockets: listeners, connections, and the options that save segments.
#![expect(unsafe_code, reason = "ioctl(SIOCOUTQ) and some socket options have no safe wrapper")]

use std::cell::Cell;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::model::{KeepAlive, ListenTuning, Source, Transparent};

/// How a listener is opened.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions<'a> {
    /// Where.
    pub address: SocketAddr,
    /// Only connections that arrive on this interface (SO_BINDTODEVICE).
    pub interface: Option<&'a str>,
    /// Although the address may not be on this node (IP_FREEBIND, IPV6_FREEBIND).
    pub nonlocal: bool,
    /// For `::`: IPv4 connections too.
    pub dual_stack: bool,
    /// Several sockets of this user may share the port (SO_REUSEPORT).
    pub shared: bool,
    /// Longest queue of connections not accepted yet.
    pub backlog: u32,
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener(Socket);

/// A connection, established or being established.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Whether the next write is to switch Nagle's algorithm off first.
    delays: Cell<Delays>,
}

/// Nagle's algorithm holds a write back only while an earlier one is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delays {
    /// It is off.
    Never,
    /// It is on, and nothing was written: most short connections to a server write once, and are spared a system call.
    NotYet,
    /// It is on, and something was written.
    Next,
}

/// How a connection to a server is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectOptions<'a> {
    /// Where it comes from.
    pub source: Option<&'a Source>,
    /// For whom it is made: a transparent source may be the client's.
    pub client: Option<SocketAddr>,
    /// See [`model::Server`](crate::model::Server).
    pub user_timeout: Option<Duration>,
    /// See [`model::Server`](crate::model::Server).
    pub fast_open: bool,
}

/// Some listener has had keep-alive probes of its own.
static OWN_PROBES: AtomicBool = AtomicBool::new(false);
/// The next port of a source's, for all of them.
static NEXT_PORT: AtomicUsize = AtomicUsize::new(0);
/// More that are taken in a row, and there is none.
const MOST_PORTS_TRIED: usize = 256;

/// A connection attempt under way.
#[derive(Debug)]
pub enum Connecting {
    /// Established at once, as happens on the loopback.
    Done(Stream),
    /// Its end will be reported as writable.
    Started(Stream),
}

impl Listener {
    /// Opens one. Accepted connections inherit what is set here: TCP_NODELAY, and TCP_QUICKACK off, which makes the first
    /// acknowledgement ride on the answer (it has no effect when set before listen()).
    pub fn open(options: ListenOptions<'_>) -> io::Result<Self> {
        let socket = Self::bind(options)?;
        listen(&socket, options.backlog)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_quickack(false)?;
        // Urgent bytes (FTP's ABOR) stay in their place of the stream instead of vanishing from it.
        socket.set_out_of_band_inline(true)?;
        Ok(Self(socket))
    }

    /// Whether the address can be had by this process alone. With SO_REUSEPORT, a port that another daemon of the same
    /// user has would be shared with it in silence; without, the kernel says who is first.
    pub fn probe(options: ListenOptions<'_>) -> io::Result<()> {
        Self::bind(ListenOptions { shared: false, ..options }).map(drop)
    }

    fn bind(options: ListenOptions<'_>) -> io::Result<Socket> {
        let socket = open(options.address.ip())?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.shared)?;
        if let IpAddr::V6(address) = options.address.ip() {
            socket.set_only_v6(!(options.dual_stack && address == Ipv6Addr::UNSPECIFIED))?;
        }
        if options.nonlocal {
            match options.address.ip() {
                IpAddr::V4(_) => socket.set_freebind_v4(true)?,
                IpAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
        }
        if let Some(interface) = options.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        socket.bind(&options.address.into())?;
        Ok(socket)
    }

    /// Takes over one that the process was started with; it may be bound and not listen yet.
    pub fn adopt(socket: Socket, backlog: u32) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        listen(&socket, backlog)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_quickack(false)?;
        socket.set_out_of_band_inline(true)?;
        Ok(Self(socket))
    }

    /// Another length of the queue of connections not accepted yet.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        listen(&self.0, backlog)
    }

    /// The keep-alive probes of connections accepted from now on (inherited).
    pub fn set_keepalive(&self, keepalive: Option<KeepAlive>) -> io::Result<()> {
        let Some(KeepAlive { idle, interval, count }) = keepalive else { return self.0.set_keepalive(false) };
        if (idle, interval, count) != (None, None, None) {
            OWN_PROBES.store(true, Ordering::Relaxed);
        } else if !OWN_PROBES.load(Ordering::Relaxed) {
            return self.0.set_keepalive(true);
        }
        // What is not said is as in a socket to which nothing was said: before a reload it may have been.
        let fresh = open(self.local_addr()?.ip())?;
        let probes = TcpKeepalive::new()
            .with_time(idle.map_or_else(|| fresh.tcp_keepalive_time(), Ok)?)
            .with_interval(interval.map_or_else(|| fresh.tcp_keepalive_interval(), Ok)?)
            .with_retries(count.map_or_else(|| fresh.tcp_keepalive_retries(), Ok)?);
        self.0.set_tcp_keepalive(&probes)
    }

    /// Options for connections accepted from now on (inherited).
    pub fn tune(&self, tuning: &ListenTuning) -> io::Result<()> {
        let seconds = tuning.defer_accept.map_or(0, |time| time.as_millis().div_ceil(1000).min(3600) as libc::c_int);
        set_tcp(&self.0, libc::TCP_DEFER_ACCEPT, seconds)?;
        let queue = tuning.fast_open.map_or(0, |queue| libc::c_int::try_from(queue).unwrap_or(libc::c_int::MAX));
        set_tcp(&self.0, libc::TCP_FASTOPEN, queue)?;
        if let Some(bytes) = tuning.max_segment {
            set_tcp(&self.0, libc::TCP_MAXSEG, bytes.into())?;
        }
        self.0.set_tcp_user_timeout(tuning.user_timeout)
    }

    /// The next connection that waits and its client; none when the queue is empty.
    pub fn accept(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        loop {
            match self.0.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
                Ok((socket, address)) => {
                    let address =
                        address.as_socket().ok_or_else(|| io::Error::other("accepted a socket that is not IP"))?;
                    return Ok(Some((Stream { socket, delays: Cell::new(Delays::Never) }, address)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The client was gone before it was accepted: the next one may not be.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.0)
    }
}

/// accept(2) passes pending network errors of the new connection on; they say nothing about the listener.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

impl Stream {
    /// What waits to be read, and stays.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK)?)
    }

    /// Starts a connection to a server. TCP_QUICKACK off before connect() lets the handshake's last acknowledgement ride
    /// on the first request; a client that says nothing needs it on again, see [`Stream::acknowledge_now`].
    pub fn connect(address: SocketAddr, options: ConnectOptions<'_>) -> io::Result<Connecting> {
        let Some(source) = options.source else { return Self::connect_from(address, options, 0) };
        let Some(ports) = source.ports.filter(|_| source.transparent != Some(Transparent::Client)) else {
            return Self::connect_from(address, options, 0);
        };
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for _ in 0..ports.len().min(MOST_PORTS_TRIED) {
            let turn = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % ports.len();
            let port = ports.first() + u16::try_from(turn).unwrap_or(0);
            result = Self::connect_from(address, options, port);
            let taken =
                |error: &io::Error| matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable);
            if !result.as_ref().is_err_and(taken) {
                break;
            }
        }
        result
    }

    /// From `port` of the source, 0 for any.
    fn connect_from(address: SocketAddr, options: ConnectOptions<'_>, port: u16) -> io::Result<Connecting> {
        let socket = open(address.ip())?;
        socket.set_tcp_quickack(false)?;
        if let Some(timeout) = options.user_timeout {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        if options.fast_open {
            set_tcp(&socket, libc::TCP_FASTOPEN_CONNECT, 1)?;
        }
        if let Some(source) = options.source {
            if let Some(interface) = &source.interface {
                socket.bind_device(Some(interface.as_str().as_bytes()))?;
            }
            if source.transparent.is_some() {
                set_transparent(&socket, address.ip())?;
            }
            let local = local(source, options.client, port);
            if local.port() == 0 {
                // The port is chosen when the destination is known: the same one serves for several.
                set_option(&socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
            } else {
                socket.set_reuse_address(true)?;
            }
            if !(local.ip().is_unspecified() && local.port() == 0) {
                // Of another family than the server's, it is refused by the kernel.
                socket.bind(&local.into())?;
            }
        }
        match socket.connect(&SockAddr::from(address)) {
            Ok(()) => Ok(Connecting::Done(Self::connecting(socket))),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                Ok(Connecting::Started(Self::connecting(socket)))
            }
            Err(error) => Err(error),
        }
    }

    fn connecting(socket: Socket) -> Self {
        Self { socket, delays: Cell::new(Delays::NotYet) }
    }

    /// Has the kernel ask the peer from time to time whether it is still there.
    pub fn keep_alive(&self, keepalive: KeepAlive) -> io::Result<()> {
        self.socket.set_tcp_keepalive(&probes(keepalive))
    }

    /// Sends an acknowledgement that was held back for a request to carry. A server that speaks first would otherwise
    /// wait 200 ms for the end of the handshake.
    pub fn acknowledge_now(&self) -> io::Result<()> {
        self.socket.set_tcp_quickack(true)
    }

    /// Whether the peer has accepted.
    pub fn is_connected(&self) -> bool {
        self.socket.peer_addr().is_ok()
    }

    /// Why the connection failed, once.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Reads what is there.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }

    /// Writes what there is room for. With `more`, a segment that is not full waits for what follows: an end of stream.
    pub fn send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        self.about_to_write(more);
        self.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 })
    }

    /// Switches Nagle's algorithm off once it could hold back what is about to be written.
    pub fn about_to_write(&self, more: bool) {
        match self.delays.get() {
            Delays::Never => {}
            // What waits for more is not under way.
            Delays::NotYet if more => {}
            Delays::NotYet => self.delays.set(Delays::Next),
            Delays::Next => {
                // A connection that has failed meanwhile says so by itself.
                let _failed = self.socket.set_tcp_nodelay(true);
                self.delays.set(Delays::Never);
            }
        }
    }

    /// Ends the stream towards the peer.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Bytes written that the peer has not acknowledged: a reset would throw them away.
    pub fn unacknowledged(&self) -> io::Result<usize> {
        let mut count: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one c_int to the address it is given, which is that of a live c_int.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(count).unwrap_or(0)) }
    }

    /// Makes the close that follows a reset: the peer learns at once that nothing more is heard or said here.
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }

    /// Makes the close that follows one of which the peer learns nothing (TCP_REPAIR). Needs CAP_NET_ADMIN.
    pub fn close_silently(&self) -> io::Result<()> {
        // What it sent is acknowledged now: sent again to nobody, it would be answered with a reset.
        self.socket.set_tcp_quickack(true)?;
        set_tcp(&self.socket, libc::TCP_REPAIR, 1)
    }

    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.socket)
    }
}

fn probes(KeepAlive { idle, interval, count }: KeepAlive) -> TcpKeepalive {
    let probes = TcpKeepalive::new();
    let probes = idle.map_or(probes.clone(), |idle| probes.with_time(idle));
    let probes = interval.map_or(probes.clone(), |interval| probes.with_interval(interval));
    count.map_or(probes.clone(), |count| probes.with_retries(count))
}

/// The address that a connection comes from; unspecified: the kernel's choice.
fn local(source: &Source, client: Option<SocketAddr>, port: u16) -> SocketAddr {
    match (source.transparent, client) {
        (Some(Transparent::Client), Some(client)) => SocketAddr::new(client.ip().to_canonical(), client.port()),
        (Some(Transparent::ClientIp), Some(client)) => SocketAddr::new(client.ip().to_canonical(), port),
        (Some(Transparent::Address(address)), _) if address.port() != 0 => address,
        (Some(Transparent::Address(address)), _) => SocketAddr::new(address.ip(), port),
        (Some(Transparent::Client | Transparent::ClientIp), None) | (None, _) => SocketAddr::new(source.address, port),
    }
}

/// Lets it come from an address that this node does not have. Needs CAP_NET_ADMIN or CAP_NET_RAW.
fn set_transparent(socket: &Socket, family: IpAddr) -> io::Result<()> {
    match family {
        IpAddr::V4(_) => set_option(socket, libc::SOL_IP, libc::IP_TRANSPARENT, 1),
        IpAddr::V6(_) => set_option(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT, 1),
    }
}

fn set_tcp(socket: &Socket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, option, value)
}

fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one c_int at the address of a live one.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog.max(1)).unwrap_or(i32::MAX))
}

fn open(family: IpAddr) -> io::Result<Socket> {
    let domain = if family.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    // socket2 adds SOCK_CLOEXEC itself.
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a TCP socket without an IP address"))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.socket.into()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
