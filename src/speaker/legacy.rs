//! What a killed daemon would leave: told to the guardian at each change.

use super::clock::Clock;
use super::driver::{Driver, ESTATE_ID};
use super::wire::Wire;
use super::{Notice, egress};
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
            if slot.router.role() == Role::Master
                && let Some(view) = self.views.get(&config.interface)
                && let Some(source) = slot.router.local()
            {
                let advert = slot.router.advertisement(0);
                adverts.extend(egress::prepare(config, &advert, source, view.index, ESTATE_ID));
            }
            addresses.extend(slot.on_node().filter_map(|address| {
                let ifindex = self.views.get(&address.interface)?.index;
                Some(OwnedAddress { ifindex, prefix: address.prefix })
            }));
        }
        Estate { adverts, addresses }
    }
}
