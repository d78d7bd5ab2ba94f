//! Non-blocking TCP sockets: listeners, connections, and the options that save segments.
#![expect(unsafe_code, reason = "ioctl(SIOCOUTQ) has no safe wrapper")]

use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

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
pub struct Stream(Socket);

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

    /// Another length of the queue of connections not accepted yet.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        listen(&self.0, backlog)
    }

    /// Whether connections accepted from now on get keep-alive probes (inherited).
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.0.set_keepalive(keepalive)
    }

    /// The next connection that waits and its client; none when the queue is empty.
    pub fn accept(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        loop {
            match self.0.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
                Ok((socket, address)) => {
                    let address =
                        address.as_socket().ok_or_else(|| io::Error::other("accepted a socket that is not IP"))?;
                    return Ok(Some((Stream(socket), address)));
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
    /// Starts a connection to a server. TCP_QUICKACK off before connect() lets the handshake's last acknowledgement ride
    /// on the first request; a client that says nothing needs it on again, see [`Stream::acknowledge_now`].
    pub fn connect(address: SocketAddr, keepalive: bool) -> io::Result<Connecting> {
        let socket = open(address.ip())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_quickack(false)?;
        if keepalive {
            socket.set_keepalive(true)?;
        }
        match socket.connect(&SockAddr::from(address)) {
            Ok(()) => Ok(Connecting::Done(Self(socket))),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(Connecting::Started(Self(socket))),
            Err(error) => Err(error),
        }
    }

    /// Sends an acknowledgement that was held back for a request to carry. A server that speaks first would otherwise
    /// wait 200 ms for the end of the handshake.
    pub fn acknowledge_now(&self) -> io::Result<()> {
        self.0.set_tcp_quickack(true)
    }

    /// Why the connection failed, once.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    /// Reads what is there.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    /// Writes what there is room for. With `more`, a segment that is not full waits for what follows: an end of stream.
    pub fn send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        self.0.send_with_flags(bytes, libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 })
    }

    /// Ends the stream towards the peer.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Bytes written that the peer has not acknowledged: a reset would throw them away.
    pub fn unacknowledged(&self) -> io::Result<usize> {
        let mut count: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one c_int to the address it is given, which is that of a live c_int.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(count).unwrap_or(0)) }
    }

    /// Makes the close that follows a reset: the peer learns at once that nothing more is heard or said here.
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.0.set_linger(Some(Duration::ZERO))
    }

    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.0)
    }
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

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
