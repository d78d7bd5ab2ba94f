//! Which advertisements concern a router. What is not admitted changes nothing: not even the time of the next own one.

use std::net::IpAddr;

use super::{Heard, Router};
use crate::model::{Family, Version};
use crate::wire::vrrp::{Advertisement, Envelope, GROUP_V4, GROUP_V6, Received, Rejected, Stamp};

impl Router {
    /// Whether a message that came in `envelope` on the path number `path` (0: the router's own interface, then
    /// [`paths`](crate::model::VirtualRouter::paths)) concerns this router.
    pub fn admit(&self, received: &Received, envelope: &Envelope, path: usize) -> Result<Heard, Rejected> {
        let Received { advertisement, seal, .. } = received;
        let Envelope { source, destination, .. } = *envelope;
        if advertisement.vrid != self.config.vrid {
            return Err(Rejected::UnknownVrid);
        }
        if path > self.config.paths.len() || !self.is_addressed(source, destination) {
            return Err(Rejected::Destination);
        }
        if self.local == Some(source) || self.path_addresses.contains(&Some(source)) {
            return Err(Rejected::OwnSource);
        }
        self.check_peer(envelope)?;
        if advertisement.version != self.config.version {
            return Err(Rejected::Version);
        }
        let stamp = match (&self.config.hmac, seal, self.config.version) {
            (None, None, _) | (_, _, Version::V2) => None,
            (None, Some(_), Version::V3) => return Err(Rejected::Length),
            (Some(_), None, Version::V3) => return Err(Rejected::Unsealed),
            (Some(key), Some(seal), Version::V3) => Some(seal.verify(key)?),
        };
        if stamp.is_some_and(|stamp| self.stamp_of(source).is_some_and(|last| stamp <= last)) {
            return Err(Rejected::Replayed);
        }
        if self.config.version == Version::V2 {
            self.check_version_2(advertisement)?;
        }
        Ok(Heard {
            source,
            path,
            priority: advertisement.priority,
            interval: advertisement.interval,
            same_addresses: self.lists(&advertisement.addresses),
            stamp,
        })
    }

    /// Remembers what must not be accepted again.
    pub(super) fn remember_stamp(&mut self, heard: Heard) {
        let Some(stamp) = heard.stamp else { return };
        match self.stamps.iter_mut().find(|(source, _)| *source == heard.source) {
            Some((_, last)) => *last = stamp.max(*last),
            None => self.stamps.push((heard.source, stamp)),
        }
    }

    fn stamp_of(&self, source: IpAddr) -> Option<Stamp> {
        self.stamps.iter().find(|(known, _)| *known == source).map(|(_, stamp)| *stamp)
    }

    /// A multicast router listens to its group, a unicast one to what is sent to it alone.
    fn is_addressed(&self, source: IpAddr, destination: IpAddr) -> bool {
        let config = &self.config;
        let addressed = if !config.peers.is_empty() {
            !destination.is_multicast()
        } else if let Some(group) = config.group {
            destination == group
        } else {
            destination == IpAddr::V4(GROUP_V4) || destination == IpAddr::V6(GROUP_V6)
        };
        Family::of(source) == config.family && Family::of(destination) == config.family && addressed
    }

    /// Unicast adverts may be held to the configured peers and their distance.
    fn check_peer(&self, envelope: &Envelope) -> Result<(), Rejected> {
        match self.config.peers.iter().find(|peer| peer.address == envelope.source) {
            Some(peer) if (peer.min_ttl..=peer.max_ttl).contains(&envelope.ttl) => Ok(()),
            Some(_) => Err(Rejected::PeerTtl),
            None if self.config.only_peers && !self.config.peers.is_empty() => Err(Rejected::UnknownPeer),
            None => Ok(()),
        }
    }

    fn check_version_2(&self, advertisement: &Advertisement) -> Result<(), Rejected> {
        if advertisement.auth != self.authentication() {
            return Err(Rejected::Authentication);
        }
        // On the wire it is whole seconds.
        let own = self.config.interval.centiseconds().div_ceil(100).saturating_mul(100);
        if advertisement.interval.centiseconds() == own { Ok(()) } else { Err(Rejected::Interval) }
    }

    /// Whether these are the addresses advertised here, in any order.
    fn lists(&self, addresses: &[IpAddr]) -> bool {
        let own = || self.config.addresses.iter().map(|address| address.prefix.address);
        if own().eq(addresses.iter().copied()) {
            return true;
        }
        let (mut own, mut heard): (Vec<_>, Vec<_>) = (own().collect(), addresses.to_vec());
        own.sort_unstable();
        heard.sort_unstable();
        own == heard
    }
}
