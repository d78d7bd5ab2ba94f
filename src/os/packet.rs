//! AF_PACKET sockets: whole Ethernet frames out of any interface, and the announcements (ARP, neighbour
//! advertisements) that arrive on one.

#![expect(unsafe_code, reason = "sockaddr_ll and classic BPF have no safe interface")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use tokio::io::unix::AsyncFd;

use super::filter::{self, accept, jump_if, load_byte, load_half};

/// Of linux/if_packet.h.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Sends Ethernet frames; receives nothing.
#[derive(Debug)]
pub struct FrameSender {
    socket: OwnedFd,
}

impl FrameSender {
    /// Opens it. Needs CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        // Protocol 0: it is never hooked into the receive path.
        Ok(Self { socket: packet_socket()? })
    }

    /// Sends `frame`, which begins with its Ethernet header, out of the interface. Never blocks.
    pub fn send(&self, frame: &[u8], interface: u32) -> io::Result<()> {
        let to = link_address(interface, 0);
        // SAFETY: the frame and the address are valid for the lengths given, and outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                ptr::from_ref(&to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Receives the ARP frames and ICMPv6 neighbour advertisements of one interface; a filter in the kernel keeps all
/// others away. To close it waits for the kernel's readers (milliseconds): not on a thread that keeps time.
#[derive(Debug)]
pub struct AnnouncementReceiver {
    socket: OwnedFd,
}

impl AnnouncementReceiver {
    /// Opens it. Needs CAP_NET_RAW.
    pub fn open(interface: u32) -> io::Result<Self> {
        let socket = packet_socket()?;
        filter::attach(&socket, &ANNOUNCEMENTS)?;
        ignore_outgoing(&socket)?;
        let all = (libc::ETH_P_ALL as u16).to_be();
        let address = link_address(interface, all);
        // SAFETY: the address is valid for the length given and outlives the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { socket }) }
    }

    /// Registers it with the calling thread's runtime.
    pub fn register(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the socket is private to this type, which owns it and never closes or replaces it before it is dropped.
        Ok(unsafe { AsyncFd::register(self) }?)
    }

    /// The next frame, into `buffer`. Never blocks: `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer is valid for its length and outlives the call.
        let read = unsafe {
            libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for AnnouncementReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for AnnouncementReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// ARP, or ICMPv6 (no extension header before it) of type 136. Offsets are those of an untagged Ethernet frame: the
/// kernel has taken the VLAN tag off before.
const ANNOUNCEMENTS: [libc::sock_filter; 9] = [
    load_half(12),
    jump_if(0x0806, 5, 0),
    jump_if(0x86dd, 0, 5),
    load_byte(20),
    jump_if(58, 0, 3),
    load_byte(54),
    jump_if(136, 0, 1),
    accept(u32::MAX),
    accept(0),
];

fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointer is passed.
    let socket = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// What this node sends is not received: two nodes may send from the same hardware address.
fn ignore_outgoing(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is valid for the length given and outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn link_address(interface: u32, protocol: u16) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain integers; all zeros is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = interface.cast_signed();
    address
}
