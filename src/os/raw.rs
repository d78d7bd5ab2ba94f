//! Raw IP sockets: one that only sends packets whose IP header is ours, and one that receives a protocol on one
//! interface, with what the IP header said.

#![expect(unsafe_code, reason = "registering a descriptor with the runtime")]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::filter;
use crate::model::Family;

/// IPPROTO_RAW: a socket that sends and never receives, so nothing ever queues up in it.
const SEND_ONLY: i32 = libc::IPPROTO_RAW;
/// Two groups of adverts, not a flood's worth: what is not read in time is dropped by the kernel.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// Sends IP packets, header included, of one family.
#[derive(Debug)]
pub struct Sender {
    family: Family,
    socket: Socket,
}

impl Sender {
    /// Opens it. Needs CAP_NET_RAW: without it the error is `PermissionDenied`.
    pub fn open(family: Family) -> io::Result<Self> {
        let socket = Socket::new(domain(family), Type::RAW.nonblocking(), Some(Protocol::from(SEND_ONLY)))?;
        match family {
            Family::V4 => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
            }
            Family::V6 => {
                socket.set_header_included_v6(true)?;
                socket.set_multicast_loop_v6(false)?;
            }
        }
        Ok(Self { family, socket })
    }

    /// The family of its packets.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Sends `packet`, which begins with its IP header, to `destination` (the same as in the header). `interface`: the
    /// index of the interface it must leave by; 0: as routed. Never blocks.
    pub fn send(&self, packet: &[u8], destination: IpAddr, interface: u32) -> io::Result<()> {
        let bytes = [IoSlice::new(packet)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let socket = self.socket.as_raw_fd();
        match destination {
            IpAddr::V4(address) => {
                let to = SockaddrIn::from(SocketAddrV4::new(address, 0));
                let from = libc::in_pktinfo {
                    ipi_ifindex: interface.cast_signed(),
                    ipi_spec_dst: libc::in_addr { s_addr: 0 },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                sendmsg(socket, &bytes, &[ControlMessage::Ipv4PacketInfo(&from)], flags, Some(&to))?;
            }
            IpAddr::V6(address) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(address, 0, 0, interface));
                let from =
                    libc::in6_pktinfo { ipi6_ifindex: interface, ipi6_addr: libc::in6_addr { s6_addr: [0; 16] } };
                sendmsg(socket, &bytes, &[ControlMessage::Ipv6PacketInfo(&from)], flags, Some(&to))?;
            }
        }
        Ok(())
    }
}

/// Receives the packets of one IP protocol that arrive on one interface.
#[derive(Debug)]
pub struct Receiver {
    family: Family,
    socket: Socket,
}

/// Where and for what a [`Receiver`] listens.
#[derive(Debug, Clone)]
pub struct ReceiveOptions {
    /// IP version.
    pub family: Family,
    /// IP protocol number.
    pub protocol: u8,
    /// The interface's name.
    pub interface: String,
    /// The interface's index.
    pub index: u32,
    /// Receive only what comes from this Ethernet address.
    pub from: Option<[u8; 6]>,
    /// Multicast groups to join there.
    pub groups: Vec<IpAddr>,
}

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram {
    /// A whole IPv4 packet of this many bytes, header included.
    V4(usize),
    /// An IPv6 payload, with what its header said.
    V6 {
        /// Bytes of the payload.
        length: usize,
        /// Source address.
        source: Ipv6Addr,
        /// Destination address.
        destination: Ipv6Addr,
        /// Hop limit.
        hop_limit: u8,
    },
}

impl Receiver {
    /// Opens it. Needs CAP_NET_RAW: without it the error is `PermissionDenied`.
    pub fn open(options: &ReceiveOptions) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(options.protocol));
        let socket = Socket::new(domain(options.family), Type::RAW.nonblocking(), Some(protocol))?;
        socket.bind_device(Some(options.interface.as_bytes()))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        if let Some(from) = options.from {
            filter::attach(&socket, &filter::from(from))?;
        }
        match options.family {
            Family::V4 => {
                // Only groups this very socket joined, not what another process did.
                socket.set_multicast_all_v4(false)?;
            }
            Family::V6 => {
                socket.set_recv_hoplimit_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        for group in &options.groups {
            match group {
                IpAddr::V4(group) => {
                    socket.join_multicast_v4_n(group, &socket2::InterfaceIndexOrAddress::Index(options.index))?;
                }
                IpAddr::V6(group) => socket.join_multicast_v6(group, options.index)?,
            }
        }
        Ok(Self { family: options.family, socket })
    }

    /// Registers it with the calling thread's runtime.
    pub fn register(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the socket is private to this type, which owns it and never closes or replaces it before it is dropped.
        Ok(unsafe { AsyncFd::register(self) }?)
    }

    /// The next packet, into `buffer`; what does not fit is cut off. Never blocks: `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        match self.family {
            Family::V4 => {
                let mut bytes = [IoSliceMut::new(buffer)];
                let message = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut bytes, None, MsgFlags::MSG_DONTWAIT)?;
                Ok(Datagram::V4(message.bytes))
            }
            Family::V6 => self.receive_v6(buffer),
        }
    }

    fn receive_v6(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, i32);
        let mut bytes = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut bytes, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
        let (mut destination, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
        for item in message.cmsgs()? {
            if let ControlMessageOwned::Ipv6PacketInfo(info) = item {
                destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            } else if let ControlMessageOwned::Ipv6HopLimit(limit) = item {
                hop_limit = u8::try_from(limit).unwrap_or(0);
            }
        }
        Ok(Datagram::V6 { length: message.bytes, source, destination, hop_limit })
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn domain(family: Family) -> Domain {
    match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    }
}
