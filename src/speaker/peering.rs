//! Which sessions with other nodes are wanted: every router can be followed where it advertises from, and a backup
//! follows its master, on every path on which it hears it.

use std::collections::BTreeSet;
use std::net::IpAddr;

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
            peering.listen.extend(self.places_of(slot).map(|(_, place)| place));
            for (path, peer) in slot.followed() {
                let place = self.places_of(slot).find(|(number, _)| *number == path);
                peering.follow.extend(place.map(|(_, place)| PeerLink {
                    peer,
                    local: place.local,
                    interface: place.interface,
                    index: place.index,
                }));
            }
        }
        if peering != self.peering {
            self.peering = peering.clone();
            let _ = self.setup.notices.send(Notice::Peering(peering));
        }
    }

    /// Where it can be followed, with the numbers of its paths.
    fn places_of(&self, slot: &Slot) -> impl Iterator<Item = (usize, PeerPlace)> {
        let config = slot.config();
        let peers: BTreeSet<IpAddr> = config.peers.iter().map(|peer| peer.address).collect();
        let paths = config.channels().zip(slot.sources()).enumerate();
        paths.filter_map(move |(path, (interface, local))| {
            let (local, index) = (local?, self.views.get(interface)?.index);
            Some((path, PeerPlace { local, interface: interface.clone(), index, peers: peers.clone() }))
        })
    }
}

impl Slot {
    /// The addresses of the master it follows, with the numbers of the paths on which it hears it.
    pub(super) fn followed(&self) -> impl Iterator<Item = (usize, IpAddr)> {
        let backup = self.router.role() == Role::Backup;
        self.router.master_on_paths().filter(move |_| backup)
    }
}
