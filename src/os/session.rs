//! TCP sockets of the session between nodes: bound to an address and an interface, on the link or beyond it.

#![expect(unsafe_code, reason = "IP_MINTTL has no safe wrapper")]

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Whoever sends with it, and is heard with it, is on the link: no router was in between (RFC 5082).
const HIGHEST_TTL: u8 = 255;
/// A peer whose machine vanished is let go after 25 s.
const IDLE: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// A listener at `local`, whether this node has the address now or not, for what arrives on the interface (name and index). With
/// `on_link`, only neighbours reach it. Must be called in a runtime.
pub fn listen(local: IpAddr, port: u16, interface: &str, index: u32, on_link: bool) -> io::Result<TcpListener> {
    let socket = open(local, interface)?;
    socket.set_reuse_address(true)?;
    match local {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    if on_link {
        require_ttl(&socket, local, HIGHEST_TTL)?;
    }
    socket.bind(&scoped(local, port, index).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects from `local` over the interface.
pub async fn connect(local: IpAddr, peer: IpAddr, port: u16, interface: &str, index: u32) -> io::Result<TcpStream> {
    let socket = open(local, interface)?;
    keep_alive(&socket)?;
    socket.bind(&scoped(local, 0, index).into())?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(scoped(peer, port, index)).await
}

/// What a connection that was accepted needs: the requirement of the listener falls, since the reset of a killed peer
/// comes with an ordinary TTL.
pub fn accepted(stream: &TcpStream, local: IpAddr) -> io::Result<()> {
    require_ttl(stream, local, 0)?;
    keep_alive(stream)
}

fn open(local: IpAddr, interface: &str) -> io::Result<Socket> {
    let domain = if local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    match local {
        IpAddr::V4(_) => socket.set_ttl_v4(u32::from(HIGHEST_TTL))?,
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(u32::from(HIGHEST_TTL))?;
        }
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(IDLE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    socket2::SockRef::from(socket).set_tcp_keepalive(&probes)
}

/// A link-local address is one of an interface.
fn scoped(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => SocketAddrV6::new(address, port, 0, interface).into(),
        address => (address, port).into(),
    }
}

fn require_ttl(socket: &impl AsFd, local: IpAddr, least: u8) -> io::Result<()> {
    let (level, option) = match local {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MINTTL),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
    };
    let value = libc::c_int::from(least);
    // SAFETY: the kernel reads one c_int from the address it is given, which is that of a live c_int.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
