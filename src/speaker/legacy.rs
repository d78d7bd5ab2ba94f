//! What a killed daemon would leave: told to the guardian at each change.

use super::Notice;
use super::clock::Clock;
use super::driver::{Driver, ESTATE_ID};
use super::egress::{self, Origin};
use super::wire::Wire;
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
                for (source, index) in slot.ways_out(&self.views) {
                    let origin = Origin { source, index, id: ESTATE_ID, stamp: None };
                    adverts.extend(egress::prepare(config, &advert, origin));
                }
            }
            addresses.extend(slot.on_node().filter_map(|address| {
                let ifindex = self.views.get(&address.interface)?.index;
                Some(OwnedAddress { ifindex, prefix: address.prefix })
            }));
        }
        Estate { adverts, addresses }
    }
}
