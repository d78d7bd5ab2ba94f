//! The segment, as the driver meets it: adverts out and in, and what others announce.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};

use super::RouterId;
use super::egress::Egress;
use super::ingress::{Channel, Ingress, Packet, Wanted};
use super::watch::Watch;
use crate::model::PreparedPacket;
use crate::wire::Mac;

/// What carries the driver's packets. Nothing here blocks.
pub(super) trait Wire {
    /// Sends a packet.
    fn send(&mut self, packet: &PreparedPacket) -> io::Result<()>;

    /// Receives on these channels from now on, and on no others. One may begin a little later; one that could not be
    /// opened is tried again with the next call that wants it.
    fn listen(&mut self, wanted: Vec<Wanted>);

    /// Listens on these interfaces for announcements by others, on behalf of a router; none: stops.
    fn watch(&mut self, router: RouterId, interfaces: &[Watched]);

    /// Ready when something waits to be read.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Reads packets that wait, at most a batch from each channel.
    fn read(&mut self, deliver: impl FnMut(&Channel, Packet));

    /// Reads the addresses that others announced where a router listens.
    fn read_announcements(&mut self, deliver: impl FnMut(RouterId, IpAddr));
}

/// Where a router listens for announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watched {
    /// The interface's index.
    pub(super) index: u32,
    /// Its own hardware address: what that one announces is not by others.
    pub(super) own: Option<Mac>,
}

/// The kernel's sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    egress: Egress,
    ingress: Ingress,
    watches: BTreeMap<RouterId, Vec<Watch>>,
}

impl Sockets {
    /// Opens what adverts leave by. `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { egress: Egress::open()?, ingress: Ingress::new(), watches: BTreeMap::new() })
    }
}

impl Wire for Sockets {
    fn send(&mut self, packet: &PreparedPacket) -> io::Result<()> {
        self.egress.send(packet)
    }

    fn listen(&mut self, wanted: Vec<Wanted>) {
        self.ingress.keep(wanted);
    }

    fn watch(&mut self, router: RouterId, interfaces: &[Watched]) {
        for watch in self.watches.remove(&router).into_iter().flatten() {
            watch.close();
        }
        let open = |watched: &Watched| {
            Watch::open(watched.index, watched.own)
                .inspect_err(|error| tracing::debug!(index = watched.index, %error, "successor cannot be listened for"))
        };
        let watches: Vec<Watch> = interfaces.iter().flat_map(open).collect();
        if !watches.is_empty() {
            self.watches.insert(router, watches);
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut ready = self.ingress.poll_ready(context);
        for watch in self.watches.values().flatten() {
            if watch.poll_ready(context).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    fn read(&mut self, deliver: impl FnMut(&Channel, Packet)) {
        self.ingress.read(deliver);
    }

    fn read_announcements(&mut self, mut deliver: impl FnMut(RouterId, IpAddr)) {
        for (router, watches) in &self.watches {
            for watch in watches {
                watch.read(|address| deliver(*router, address));
            }
        }
    }
}
