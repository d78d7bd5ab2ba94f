//! A netlink socket to netfilter: bytes to the kernel, and its answers.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

/// Bytes of one transaction: tens of thousands of addresses.
const LONGEST: usize = 8 << 20;

/// The socket. What nf_tables calls owned lives as long as it does.
#[derive(Debug)]
pub struct NetfilterSocket(Socket);

impl NetfilterSocket {
    /// Opens it. Fails where the kernel has no netfilter (EPROTONOSUPPORT).
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // An error comes without a copy of what it is about.
        socket.set_cap_ack(true)?;
        // More than the defaults, where permitted.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &LONGEST);
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &LONGEST);
        Ok(Self(socket))
    }

    /// Gives the kernel `messages` and returns all it answers. Does not wait: it does its work while it takes them.
    pub fn exchange(&self, messages: &[u8]) -> io::Result<Vec<u8>> {
        self.0.send_to(messages, &SocketAddr::new(0, 0), 0)?;
        let mut answers = Vec::new();
        loop {
            match self.0.recv_from_full() {
                Ok((datagram, _)) => answers.extend_from_slice(&datagram),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
                Err(error) => return Err(error),
            }
        }
    }
}
