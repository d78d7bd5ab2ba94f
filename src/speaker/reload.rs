//! Another set of routers: what did not change is not touched.

use std::sync::Arc;
use std::time::Instant;

use super::addresses::Order;
use super::charge::Charge;
use super::clock::Clock;
use super::driver::Driver;
use super::links::Link;
use super::ownership;
use super::plan::Plan;
use super::routing::Routing;
use super::slot::{Slot, link_up, local, path_addresses};
use super::wire::Wire;
use crate::model::VirtualRouter;
use crate::vrrp::{Event, Start};

impl<W: Wire, C: Clock> Driver<W, C> {
    /// Runs these routers and no others: only differences are touched.
    pub(super) fn apply(&mut self, plan: &Plan, now: Instant) {
        let routers = &plan.routers;
        self.virtual_addresses =
            routers.iter().flat_map(VirtualRouter::owned).map(|address| address.prefix.address).collect();
        self.order(Order::Configure(ownership::reclaimable(routers)));
        self.route_always(Routing { routes: plan.routes.clone(), rules: plan.rules.clone() });
        self.apply_groups(&plan.groups);
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index).filter(|slot| !slot.ending) else { continue };
            match routers.iter().find(|config| config.name == slot.name()) {
                Some(config) if config == slot.config() => {}
                Some(config) if is_same_router(config, slot.config()) => {
                    self.change(index, config, now);
                    self.route(index);
                }
                Some(_) | None => self.end(index, now),
            }
        }
        for config in routers {
            let grouped = plan.group_of(&config.name).is_some();
            match self.position(&config.name) {
                Some(index) => {
                    if self.slots.get(index).is_some_and(|slot| slot.grouped != grouped) {
                        if let Some(slot) = self.slots.get_mut(index) {
                            slot.grouped = grouped;
                        }
                        self.feed(index, Event::Grouped(grouped), now);
                    }
                }
                None => self.add(config, grouped, now),
            }
        }
        self.weigh(now);
        self.look_around(now);
    }

    /// Another interface, or other paths: the router goes there as what it is.
    fn change(&mut self, index: usize, config: &VirtualRouter, now: Instant) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let _ = self.setup.orders.send(Order::Amend(slot.id, Charge::of(config)));
        let config = Box::new(config.clone());
        if slot.config().channels().eq(config.channels()) {
            return self.feed(index, Event::Reconfigure(config), now);
        }
        let local = local(&config, &self.views, &self.virtual_addresses);
        let paths = path_addresses(&config, &self.views, &self.virtual_addresses);
        let link_up = link_up(&config, &self.views);
        slot.moved(local, paths.clone(), link_up);
        self.feed(index, Event::Move { config, local, link_up }, now);
        self.feed(index, Event::PathAddresses(paths), now);
    }

    fn add(&mut self, config: &VirtualRouter, grouped: bool, now: Instant) {
        if !self.views.contains_key(&config.interface) {
            tracing::warn!(router = config.name, interface = %config.interface,
                "there is no such interface yet, waiting for it");
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.name() == config.name) {
            slot.replaced = true;
        }
        self.next_id += 1;
        let stats = self.setup.registry.router(&config.name);
        let link = Link::of(config);
        self.order(Order::Register {
            router: self.next_id,
            stats: Arc::clone(&stats),
            link,
            charge: Charge::of(config),
        });
        let start = Start {
            path_addresses: path_addresses(config, &self.views, &self.virtual_addresses),
            tracked: self.effect_on(config),
            grouped,
            quiet_until: Some(self.started + config.start_delay),
            ..Start::new(local(config, &self.views, &self.virtual_addresses), link_up(config, &self.views))
        };
        let slot = Slot::new(self.next_id, config, start, stats, now);
        slot.show_role(slot.router.role(), &slot.router.reason().to_string(), now);
        self.slots.push(slot);
        self.settle_and_drain(self.slots.len() - 1, now);
    }

    pub(super) fn end(&mut self, index: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.ending) {
            slot.ending = true;
            self.feed(index, Event::Stop, now);
        }
    }
}

/// Whether a changed configuration is the same router: another family, VRID, VMAC or way of addressing is not.
fn is_same_router(one: &VirtualRouter, other: &VirtualRouter) -> bool {
    one.family == other.family
        && one.vrid == other.vrid
        && one.peers.is_empty() == other.peers.is_empty()
        && Link::of(one) == Link::of(other)
}
