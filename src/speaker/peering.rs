//! Which sessions with other nodes are wanted: every router can be followed where it advertises from, and a backup
//! follows its master.

use super::Notice;
use super::clock::Clock;
use super::driver::Driver;
use super::slot::Slot;
use super::wire::Wire;
use crate::model::{PeerLink, PeerPlace, Peering};
use crate::vrrp::Role;

impl<W: Wire, C: Clock> Driver<W, C> {
    /// Tells which sessions are wanted, if that changed.
    pub(super) fn publish_peering(&mut self) {
        let mut peering = Peering::default();
        for slot in self.slots.iter().filter(|slot| !slot.ending) {
            let Some((place, link)) = self.sessions_of(slot) else { continue };
            peering.listen.insert(place);
            peering.follow.extend(link);
        }
        if peering != self.peering {
            self.peering = peering.clone();
            let _ = self.setup.notices.send(Notice::Peering(peering));
        }
    }

    fn sessions_of(&self, slot: &Slot) -> Option<(PeerPlace, Option<PeerLink>)> {
        let config = slot.config();
        let (local, index) = (slot.router.local()?, self.views.get(&config.interface)?.index);
        let interface = config.interface.clone();
        let peers = config.peers.iter().map(|peer| peer.address).collect();
        let link = slot.followed().map(|peer| PeerLink { peer, local, interface: interface.clone(), index });
        Some((PeerPlace { local, interface, index, peers }, link))
    }
}

impl Slot {
    /// The master it follows.
    pub(super) fn followed(&self) -> Option<std::net::IpAddr> {
        let backup = self.router.role() == Role::Backup;
        self.router.master().filter(|_| backup).map(|(address, _)| address)
    }
}
