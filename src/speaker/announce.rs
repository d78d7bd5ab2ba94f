//! Telling the segment where an address is now: gratuitous ARP and unsolicited neighbour advertisements.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::kernel::Kernel;
use crate::wire::{Mac, arp, ndp};

/// Frames sent before others on the thread get their turn.
pub(super) const BATCH: usize = 32;
/// How often a full transmit queue is given a millisecond to drain before the frame is given up.
const PATIENCE: u32 = 10;

/// An announcement, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    frame: Vec<u8>,
    index: u32,
}

impl Announcement {
    /// That `address` is at `mac`, out of the interface. `forwards`: this node is a router there, and neighbour
    /// advertisements say so (RFC 4861 section 4.4).
    pub(super) fn new(address: IpAddr, mac: Mac, index: u32, forwards: bool) -> Self {
        let frame = match address {
            IpAddr::V4(address) => arp::announcement(address, mac).to_vec(),
            IpAddr::V6(address) => ndp::announcement(address, mac, forwards).to_vec(),
        };
        Self { frame, index }
    }

    /// The question, asked from `address` at `mac`, where `target` is: whoever answers has learned where `address` is.
    /// None: they are of two families.
    pub(super) fn question(target: IpAddr, address: IpAddr, mac: Mac, index: u32) -> Option<Self> {
        let frame = match (target, address) {
            (IpAddr::V4(target), IpAddr::V4(address)) => arp::request(target, address, mac).to_vec(),
            (IpAddr::V6(target), IpAddr::V6(address)) => ndp::solicitation(target, address, mac).to_vec(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        Some(Self { frame, index })
    }

    /// Sends it. Waits for a full transmit queue, but not for long.
    pub(super) async fn send(&self, kernel: &impl Kernel) -> io::Result<()> {
        for _ in 0..PATIENCE {
            match kernel.transmit(&self.frame, self.index) {
                Err(error) if queue_is_full(&error) => tokio::time::sleep(Duration::from_millis(1)).await,
                result => return result,
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOBUFS))
    }
}

fn queue_is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN))
}
