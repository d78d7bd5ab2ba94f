//! The guardian's own side. Everything it needs in the hour of need is open and written before: what remains is to send.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::protocol::{self, HEADER, Message};
use crate::model::{Estate, Family, PreparedPacket};
use crate::os::nft::NetfilterSocket;
use crate::os::{netlink, process, raw, sched};
use crate::wire::vrrp;

/// Requests sent before their answers are read: so many fit into the answers' socket buffer.
const PIPELINE: usize = 32;

/// What a dead daemon left, ready to be undone.
#[derive(Debug, Default)]
struct Legacy {
    /// When it was told.
    since: Option<Instant>,
    adverts: Vec<PreparedPacket>,
    removals: Vec<Vec<u8>>,
    netfilter: Vec<u8>,
}

/// The guardian's whole life, with `input` (standard input) the daemon's pipe. Returns when the daemon said goodbye, or
/// is dead and what it left is undone.
///
/// Fails only before it guards anything: without CAP_NET_RAW.
pub fn run(input: OwnedFd) -> io::Result<()> {
    process::detach();
    // It sleeps all its life; on a busy machine its one moment must not wait for others. Without permission it does.
    let _ = sched::round_robin();
    let death = process::tell_parents_death()?;
    let sockets = Sockets::open()?;
    let mut input = File::from(input);
    let mut legacy = Legacy::default();
    let mut buffer = Vec::with_capacity(64 * 1024);
    // What was said before goes before the news of a death.
    while process::wait_for_either(input.as_fd(), death.as_fd())? {
        match read_message(&mut input, &mut buffer) {
            Some(Message::Estate(estate)) => legacy = Legacy::prepare(estate),
            Some(Message::Goodbye) => return Ok(()),
            None => break,
        }
    }
    sockets.undo(&legacy);
    Ok(())
}

/// The next message; none: the pipe closed. Half a message, or nonsense, is a daemon that died while it wrote: what
/// it said before holds.
fn read_message(input: &mut impl Read, buffer: &mut Vec<u8>) -> Option<Message> {
    let mut header = [0; HEADER];
    input.read_exact(&mut header).ok()?;
    buffer.clear();
    buffer.resize(protocol::length(header)?, 0);
    input.read_exact(buffer).ok()?;
    protocol::decode(buffer)
}

impl Legacy {
    fn prepare(estate: Estate) -> Self {
        let removals = estate.addresses.iter().map(|address| netlink::removal(address.ifindex, address.prefix));
        Self {
            since: Some(Instant::now()),
            adverts: estate.adverts,
            removals: removals.chain(estate.removals).collect(),
            netfilter: estate.netfilter,
        }
    }

    /// The packet, with a seal that is valid now: the daemon has sealed others since it prepared this one.
    fn sealed_now(&self, advert: &PreparedPacket) -> Vec<u8> {
        let mut packet = advert.bytes.clone();
        if let Some(key) = &advert.seal {
            let elapsed = self.since.map_or(Duration::ZERO, |since| since.elapsed());
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            vrrp::renew_seal(&mut packet, key, elapsed, since_epoch);
        }
        packet
    }
}

struct Sockets {
    v4: raw::Sender,
    /// None where the kernel has no IPv6.
    v6: Option<raw::Sender>,
    netlink: Socket,
    /// None where the kernel has no netfilter.
    netfilter: Option<NetfilterSocket>,
}

impl Sockets {
    fn open() -> io::Result<Self> {
        let mut netlink = Socket::new(NETLINK_ROUTE)?;
        netlink.bind_auto()?;
        netlink.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            v4: raw::Sender::open(Family::V4)?,
            v6: raw::Sender::open(Family::V6).ok(),
            netlink,
            netfilter: NetfilterSocket::open().ok(),
        })
    }

    /// The successor is told first: it takes over while the addresses go. What fails cannot be helped.
    fn undo(&self, legacy: &Legacy) {
        for advert in &legacy.adverts {
            let sender = match advert.destination {
                IpAddr::V4(_) => Some(&self.v4),
                IpAddr::V6(_) => self.v6.as_ref(),
            };
            if let Some(sender) = sender {
                let _ = sender.send(&legacy.sealed_now(advert), advert.destination, advert.ifindex);
            }
        }
        let mut answer = Vec::with_capacity(4096);
        for batch in legacy.removals.chunks(PIPELINE) {
            let sent = batch.iter().filter(|removal| self.netlink.send(removal, 0).is_ok()).count();
            for _ in 0..sent {
                answer.clear();
                let _ = self.netlink.recv(&mut answer, 0);
            }
        }
        // Only now: an address that is still set would answer again.
        if let Some(netfilter) = self.netfilter.as_ref().filter(|_| !legacy.netfilter.is_empty()) {
            let _ = netfilter.exchange(&legacy.netfilter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OwnedAddress;

    #[test]
    fn half_a_message_is_the_end_and_the_one_before_holds() {
        let estate = Estate {
            adverts: Vec::new(),
            addresses: vec![OwnedAddress { ifindex: 1, prefix: "192.0.2.1/24".parse().unwrap() }],
            removals: Vec::new(),
            netfilter: vec![7; 100],
        };
        let whole = protocol::encode(&Message::Estate(estate.clone())).unwrap();
        let pipe = [&whole[..], &whole[..whole.len() / 2]].concat();
        let (mut pipe, mut buffer) = (pipe.as_slice(), Vec::new());
        assert_eq!(read_message(&mut pipe, &mut buffer), Some(Message::Estate(estate)));
        assert_eq!(read_message(&mut pipe, &mut buffer), None);
    }

    #[test]
    fn nonsense_is_the_end() {
        let mut pipe: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(read_message(&mut pipe, &mut Vec::new()), None);
    }
}
