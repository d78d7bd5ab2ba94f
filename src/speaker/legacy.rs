//! What a killed daemon would leave: told to the guardian at each change.

use super::Notice;
use super::clock::Clock;
use super::driver::{Driver, ESTATE_ID};
use super::egress::{self, Origin};
use super::slot::Slot;
use super::wire::Wire;
use super::{routes, rules, vmac};
use crate::model::{Estate, OwnedAddress, PreparedPacket};
use crate::vrrp::Role;

impl<W: Wire, C: Clock> Driver<W, C> {
    /// Tells what a killed daemon would leave, if that changed.
    pub(super) fn publish_estate(&mut self) {
        if !std::mem::take(&mut self.estate_is_stale) {
            return;
        }
        let estate = self.draw_up_estate();
        if estate != self.estate {
            self.estate = estate.clone();
            let _ = self.setup.notices.send(Notice::Estate(estate));
        }
    }

    fn draw_up_estate(&self) -> Estate {
        let mut adverts: Vec<PreparedPacket> = Vec::new();
        let mut addresses: Vec<OwnedAddress> = Vec::new();
        for slot in &self.slots {
            let config = slot.config();
            if slot.router.role() == Role::Master {
                let advert = slot.router.advertisement(0);
                let stamp = slot.next_stamp(self.setup.clock.since_epoch());
                for (source, index) in slot.ways_out(&self.views) {
                    let origin = Origin { source, index, id: ESTATE_ID, stamp };
                    let prepared = egress::prepare(config, &advert, origin).into_iter();
                    adverts.extend(prepared.map(|packet| PreparedPacket { seal: config.hmac.clone(), ..packet }));
                }
            }
            addresses.extend(slot.on_node().filter_map(|address| {
                let ifindex = self.views.get(&address.interface)?.index;
                Some(OwnedAddress { ifindex, prefix: address.prefix })
            }));
        }
        Estate { adverts, addresses, removals: self.removals(), netfilter: self.unfence.clone() }
    }

    /// Requests that remove rules, routes and links.
    fn removals(&self) -> Vec<Vec<u8>> {
        let owners = self.slots.iter().filter(|slot| slot.on_node().next().is_some());
        let routings = owners.map(Slot::configured_routing).chain(Some(self.routing.clone()));
        let (mut rules, mut routes): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
        for routing in routings {
            rules.extend(routing.rules.iter().map(rules::removal));
            routes.extend(routing.routes.iter().filter_map(|route| {
                let index = match &route.interface {
                    Some(name) => Some(self.views.get(name)?.index),
                    None => None,
                };
                Some(routes::removal(route, index))
            }));
        }
        let links = self.views.values().filter_map(|view| view.made.as_ref()).flat_map(vmac::removal);
        rules.into_iter().chain(routes).chain(links).collect()
    }
}
