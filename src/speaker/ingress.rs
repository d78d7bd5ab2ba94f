//! Adverts on their way in: one socket an interface and family, read a bounded number of packets at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::model::{Family, InterfaceName};
use crate::os::raw::{Datagram, ReceiveOptions, Receiver};
use crate::stats::RejectReason;
use crate::wire::vrrp::{Advertisement, Envelope, PROTOCOL, Received, Rejected};
use crate::wire::{Mac, ip};

/// Packets read from one socket before the timers are looked at again.
pub(super) const BATCH: usize = 32;
/// The longest advert: 255 IPv6 addresses behind 40 bytes of header. What is longer is cut off, and fails its checksum.
const BUFFER: usize = 8192;

/// An interface and a family: routers of both share a socket.
pub(super) type Channel = (InterfaceName, Family);

/// The sockets adverts arrive on.
#[derive(Debug)]
pub(super) struct Ingress {
    sockets: BTreeMap<Channel, Socket>,
    /// Sockets are opened elsewhere, for joining a group may wait for the kernel's configuration lock; they come back
    /// here.
    opening: mpsc::UnboundedSender<Opened>,
    opened: mpsc::UnboundedReceiver<Opened>,
}

/// What became of a socket.
type Opened = (Wanted, io::Result<Receiver>);

/// A socket that is open, or being opened.
#[derive(Debug)]
struct Socket {
    /// The interface's index when it was opened: another interface of that name needs another socket.
    index: u32,
    /// The groups it is in.
    groups: BTreeSet<IpAddr>,
    receiver: Option<AsyncFd<Receiver>>,
}

/// A packet of protocol 112.
#[derive(Debug)]
pub(super) struct Packet {
    /// The VRID it names, whether or not the rest is valid.
    pub(super) vrid: Option<u8>,
    /// Who sent it, as far as its header can be read.
    pub(super) source: Option<IpAddr>,
    /// What it says, with its envelope.
    pub(super) advert: Result<(Envelope, Received), Rejected>,
}

/// A socket that has to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) channel: Channel,
    pub(super) index: u32,
    /// Only what comes from this hardware address.
    pub(super) from: Option<Mac>,
    /// The groups to be in.
    pub(super) groups: BTreeSet<IpAddr>,
}

impl Ingress {
    pub(super) fn new() -> Self {
        let (opening, opened) = mpsc::unbounded_channel();
        Self { sockets: BTreeMap::new(), opening, opened }
    }

    /// Closes what is not wanted any more, and opens what is. Within a runtime.
    pub(super) fn keep(&mut self, wanted: Vec<Wanted>) {
        self.sockets.retain(|channel, socket| wanted.iter().any(|want| want.is_met_by(channel, socket)));
        let missing: Vec<Wanted> =
            wanted.into_iter().filter(|want| !self.sockets.contains_key(&want.channel)).collect();
        for want in missing {
            let socket = Socket { index: want.index, groups: want.groups.clone(), receiver: None };
            self.sockets.insert(want.channel.clone(), socket);
            let opening = self.opening.clone();
            tokio::task::spawn_blocking(move || {
                let result = Receiver::open(&want.options());
                let _ = opening.send((want, result));
            });
        }
    }

    /// A socket was opened, or not; nobody may want it any more.
    fn take(&mut self, (want, result): Opened) {
        let Some(socket) = self.sockets.get_mut(&want.channel).filter(|socket| want.is_met_by(&want.channel, socket))
        else {
            return;
        };
        match result.and_then(Receiver::register) {
            Ok(receiver) => socket.receiver = Some(receiver),
            Err(error) => {
                tracing::warn!(interface = %want.channel.0, family = %want.channel.1, %error,
                    "adverts cannot be received, trying again when the interface changes");
                // The next `keep` opens it again.
                self.sockets.remove(&want.channel);
            }
        }
    }

    /// Ready when a packet waits on any socket.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some(opened)) = self.opened.poll_recv(context) {
            self.take(opened);
        }
        let receivers = self.sockets.values().filter_map(|socket| socket.receiver.as_ref());
        let mut ready = Poll::Pending;
        for receiver in receivers {
            // An error is for the read that follows.
            if receiver.poll_read_ready(context).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// Reads what waits, at most a batch from each socket.
    pub(super) fn read(&self, mut deliver: impl FnMut(&Channel, Packet)) {
        let mut buffer = [0; BUFFER];
        for (channel, socket) in &self.sockets {
            let Some(receiver) = &socket.receiver else { continue };
            for _ in 0..BATCH {
                match receive(receiver, &mut buffer) {
                    Some(Ok(datagram)) => deliver(channel, parse(datagram, &buffer)),
                    // A pending error of the interface (ENETDOWN) is read once and gone; links are told elsewhere.
                    Some(Err(error)) => tracing::trace!(interface = %channel.0, %error, "receive"),
                    None => break,
                }
            }
        }
    }
}

impl Wanted {
    fn options(&self) -> ReceiveOptions {
        let (interface, family) = &self.channel;
        ReceiveOptions {
            family: *family,
            protocol: PROTOCOL,
            interface: interface.as_str().to_owned(),
            index: self.index,
            from: self.from,
            groups: self.groups.iter().copied().collect(),
        }
    }

    fn is_met_by(&self, channel: &Channel, socket: &Socket) -> bool {
        self.channel == *channel && self.index == socket.index && self.groups == socket.groups
    }
}

/// The next packet; none when there is none.
fn receive(receiver: &AsyncFd<Receiver>, buffer: &mut [u8]) -> Option<io::Result<Datagram>> {
    match receiver.try_io(tokio::io::Interest::READABLE, |receiver| receiver.receive(buffer)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

/// What a socket yielded, as a packet.
pub(super) fn parse(datagram: Datagram, buffer: &[u8]) -> Packet {
    let split = match datagram {
        Datagram::V4(length) => ip::parse_v4(buffer.get(..length).unwrap_or_default()),
        Datagram::V6 { length, source, destination, hop_limit } => {
            let envelope =
                Envelope { source: IpAddr::V6(source), destination: IpAddr::V6(destination), ttl: hop_limit };
            Ok((envelope, buffer.get(..length).unwrap_or_default()))
        }
    };
    match split {
        Ok((envelope, message)) => Packet {
            vrid: message.get(1).copied(),
            source: Some(envelope.source),
            advert: Advertisement::parse(message, &envelope).map(|received| (envelope, received)),
        },
        Err(rejected) => Packet { vrid: None, source: None, advert: Err(rejected) },
    }
}

/// The counter of a rejection; none: our own packet says nothing about anybody.
pub(super) fn counter(rejected: Rejected) -> Option<RejectReason> {
    match rejected {
        Rejected::Truncated => Some(RejectReason::Truncated),
        Rejected::Version => Some(RejectReason::Version),
        Rejected::Type => Some(RejectReason::Type),
        Rejected::Checksum => Some(RejectReason::Checksum),
        Rejected::TtlNot255 => Some(RejectReason::TtlNot255),
        Rejected::Authentication => Some(RejectReason::Authentication),
        Rejected::Interval => Some(RejectReason::Interval),
        Rejected::AddressCount => Some(RejectReason::AddressCount),
        Rejected::Destination => Some(RejectReason::Destination),
        Rejected::Length => Some(RejectReason::Length),
        Rejected::Unsealed => Some(RejectReason::Unsealed),
        Rejected::Replayed => Some(RejectReason::Replayed),
        Rejected::UnknownPeer => Some(RejectReason::UnknownPeer),
        Rejected::PeerTtl => Some(RejectReason::PeerTtl),
        // No router's: the driver counts it as a stray.
        Rejected::UnknownVrid | Rejected::OwnSource => None,
    }
}
