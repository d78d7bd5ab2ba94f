//! What the driver hears: advertisements, and announcements of addresses by others.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::clock::Clock;
use super::driver::Driver;
use super::ingress::{self, BATCH, Packet};
use super::sight::Sight;
use super::slot::Slot;
use super::wire::Wire;
use crate::model::{Family, InterfaceName};
use crate::vrrp::{Event, Role};

static NONE: BTreeSet<u8> = BTreeSet::new();

impl<W: Wire, C: Clock> Driver<W, C> {
    pub(super) fn receive(&mut self, now: Instant) {
        let mut packets = Vec::new();
        self.setup.wire.read(|channel, packet| packets.push((channel.clone(), packet)));
        let drained = packets.len() < BATCH;
        let mut junk = false;
        for ((interface, family), packet) in packets {
            junk |= !self.deliver(&interface, family, &packet, now);
        }
        self.heard_junk = junk && drained;
    }

    /// A packet concerns the routers of its VRID on the interface it arrived on. A bad one is a counter and a TRACE line.
    /// Whether it was accepted by any.
    fn deliver(&mut self, interface: &InterfaceName, family: Family, packet: &Packet, now: Instant) -> bool {
        let mut accepted = false;
        let concerned: Vec<(usize, usize)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| {
                let config = slot.config();
                let own_hardware_address = config.vmac.as_ref().filter(|vmac| vmac.name == *interface);
                let path = match own_hardware_address {
                    Some(_) => 0,
                    None => config.channels().position(|channel| channel == interface)?,
                };
                (config.family == family && packet.vrid == Some(config.vrid.get())).then_some((index, path))
            })
            .collect();
        if let Some(vrid) = packet.vrid {
            match self.heard_vrids.get_mut(interface) {
                Some(heard) => drop(heard.insert(vrid)),
                None => drop(self.heard_vrids.insert(interface.clone(), BTreeSet::from([vrid]))),
            }
        }
        if concerned.is_empty() {
            self.setup.registry.stray_adverts.fetch_add(1, Ordering::Relaxed);
            tracing::trace!(%interface, vrid = packet.vrid, "packet of no router of this node");
        }
        for (index, path) in concerned {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let admitted = packet
                .advert
                .as_ref()
                .map_err(|rejected| *rejected)
                .and_then(|(envelope, received)| slot.router.admit(received, envelope, path));
            match admitted {
                Ok(heard) => {
                    accepted = true;
                    slot.stats.received.fetch_add(1, Ordering::Relaxed);
                    if heard.priority() == 0 {
                        slot.stats.zero_received.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Ok((_, received)) = &packet.advert {
                        let listed = (heard.source(), &received.advertisement.addresses[..], heard.same_addresses());
                        let taken = self.heard_vrids.get(interface).unwrap_or(&NONE);
                        slot.sight.compare(slot.router.config(), &slot.stats, listed, taken, now);
                    }
                    let was_master = slot.router.role() == Role::Master && heard.priority() != 0;
                    self.feed(index, Event::Advert(heard), now);
                    // To give way to a better one is no contest.
                    if let Some(slot) = self.slots.get_mut(index).filter(|slot| was_master && slot.is_master()) {
                        let since = slot.stats.status().since.unwrap_or(now);
                        let lasted = now.saturating_duration_since(since);
                        slot.sight.second_master(slot.router.config(), &slot.stats, heard.source(), lasted, now);
                    }
                }
                Err(rejected) => {
                    tracing::trace!(router = slot.name(), %interface, reason = %rejected, "packet not accepted");
                    if let Some(reason) = ingress::counter(rejected) {
                        Sight::rejected(&slot.stats, reason, packet.source, now);
                    }
                }
            }
        }
        accepted
    }

    /// Announcements by others, for routers that leave.
    pub(super) fn observe(&mut self, now: Instant) {
        let mut announced = Vec::new();
        self.setup.wire.read_announcements(|router, address| announced.push((router, address)));
        for (router, address) in announced {
            let Some(index) = self.slots.iter().position(|slot| slot.id == router) else { continue };
            let is_own = |slot: &Slot| slot.on_node().any(|own| own.prefix.address == address);
            if self.slots.get(index).is_some_and(is_own) {
                self.feed(index, Event::SuccessorAnnounced(address), now);
            }
        }
    }
}
