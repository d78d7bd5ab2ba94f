//! A raw ICMP socket that hears only echo replies, and only from whom it is connected to.

#![expect(unsafe_code, reason = "ICMP filters have no safe interface")]

use std::io;
use std::mem::size_of_val;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

/// `ICMP_FILTER` of <linux/icmp.h>: a mask of the types that are kept away.
const ICMP_FILTER: libc::c_int = 1;
const ECHO_REPLY_V4: u32 = 0;
/// `ICMPV6_FILTER` of <linux/icmpv6.h>: 256 bits, those set are kept away.
const ICMPV6_FILTER: libc::c_int = 1;
const ECHO_REPLY_V6: u32 = 129;

/// Asks one address.
#[derive(Debug)]
pub struct EchoSocket {
    socket: Socket,
}

impl EchoSocket {
    /// Opens it, connected to `address`; only over that interface if one is given, as (name, index). Needs CAP_NET_RAW.
    /// Fails when there is no route.
    pub fn connect(address: IpAddr, interface: Option<(&str, u32)>) -> io::Result<Self> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
        match address {
            IpAddr::V4(_) => set(&socket, libc::SOL_RAW, ICMP_FILTER, &[!(1 << ECHO_REPLY_V4)])?,
            IpAddr::V6(_) => {
                let mut filter = [u32::MAX; 8];
                filter[(ECHO_REPLY_V6 / u32::BITS) as usize] = !(1 << (ECHO_REPLY_V6 % u32::BITS));
                set(&socket, libc::SOL_ICMPV6, ICMPV6_FILTER, &filter)?;
            }
        }
        let scope = interface.map_or(0, |(_, index)| index);
        if let Some((name, _)) = interface {
            socket.bind_device(Some(name.as_bytes()))?;
        }
        let to = match address {
            IpAddr::V4(address) => SocketAddr::new(address.into(), 0),
            IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, scope).into(),
        };
        socket.connect(&to.into())?;
        Ok(Self { socket })
    }

    /// Registers it with the calling thread's runtime.
    pub fn register(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the socket is private to this type, which owns it and never closes or replaces it before it is dropped.
        Ok(unsafe { AsyncFd::register(self) }?)
    }

    /// Sends a message. Never blocks.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        send(self.socket.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// The next message, IPv4 with its IP header. Never blocks: `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for EchoSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn set(socket: &Socket, level: libc::c_int, name: libc::c_int, filter: &[u32]) -> io::Result<()> {
    // SAFETY: the filter is valid for the length given, outlives the call and is only read.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(filter).cast(),
            size_of_val(filter) as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
