//! The TCP sockets that listen in this thread's network namespace, from sock_diag(7): the kernel walks its listeners
//! alone, where /proc/net/tcp walks every connection of the machine, which takes long on a node that has many.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr as Kernel};

/// NETLINK_SOCK_DIAG of linux/netlink.h.
const PROTOCOL: isize = 4;
/// SOCK_DIAG_BY_FAMILY of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// TCP_LISTEN of netinet/tcp.h, as a set of states.
const LISTENING: u32 = 1 << 10;
/// struct nlmsghdr.
const HEADER: usize = 16;
/// struct nlmsghdr and struct inet_diag_req_v2.
const REQUEST: usize = HEADER + 56;

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Its address.
    pub address: SocketAddr,
    /// Its inode.
    pub inode: u64,
}

/// Every one of them. Needs no privilege. Fails where the kernel was built without inet_diag.
pub fn listening() -> io::Result<Vec<Listening>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        socket.connect(&Kernel::new(0, 0))?;
        // The kernel answers while it is asked; whatever it does not say then it never will.
        socket.set_non_blocking(true)?;
        socket.send(&request(family as u8), 0)?;
        while !take(&socket.recv_from_full()?.0, &mut found)? {}
    }
    Ok(found)
}

fn request(family: u8) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    bytes[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // struct inet_diag_req_v2: the family, the protocol, two bytes, the states, then whom: all.
    bytes[HEADER] = family;
    bytes[HEADER + 1] = libc::IPPROTO_TCP as u8;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&LISTENING.to_ne_bytes());
    bytes
}

/// Takes the sockets out of a part of the answer; true when it was the last one.
fn take(mut bytes: &[u8], found: &mut Vec<Listening>) -> io::Result<bool> {
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of listeners is cut off");
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(array(bytes, 0).ok_or_else(cut)?) as usize;
        let kind = u16::from_ne_bytes(array(bytes, 4).ok_or_else(cut)?);
        let message = bytes.get(HEADER..length).ok_or_else(cut)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = i32::from_ne_bytes(array(message, 0).ok_or_else(cut)?);
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => found.push(one(message).ok_or_else(cut)?),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// struct inet_diag_msg: family at 0, source port at 4, source address at 8, inode at 68.
fn one(message: &[u8]) -> Option<Listening> {
    let port = u16::from_be_bytes(array(message, 4)?);
    let ip: IpAddr = match i32::from(*message.first()?) {
        libc::AF_INET => Ipv4Addr::from(array::<4>(message, 8)?).into(),
        _ => Ipv6Addr::from(array::<16>(message, 8)?).into(),
    };
    let inode = u64::from(u32::from_ne_bytes(array(message, 68)?));
    Some(Listening { address: SocketAddr::new(ip, port), inode })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "real sockets to be found")]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_listed_and_connections_are_not() {
        let [v4, v6] = ["127.0.0.1:0", "[::1]:0"].map(|address| std::net::TcpListener::bind(address).unwrap());
        let client = std::net::TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let found = listening().unwrap();
        for listener in [v4, v6] {
            let address = listener.local_addr().unwrap();
            assert_eq!(found.iter().filter(|one| one.address == address && one.inode > 0).count(), 1, "{found:?}");
        }
        assert!(!found.iter().any(|one| one.address == client.local_addr().unwrap()));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let mut done = request(2);
        done[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        assert!(take(&done, &mut Vec::new()).unwrap());
        for length in 1..REQUEST {
            assert!(take(&done[..length], &mut Vec::new()).is_err(), "{length}");
        }
    }
}
