//! What the routers depend on beside adverts: links, addresses, trackers.

use std::collections::BTreeSet;
use std::time::Instant;

use super::clock::Clock;
use super::driver::Driver;
use super::egress;
use super::ingress::Wanted;
use super::links;
use super::slot::Views;
use super::wire::Wire;
use crate::model::{SyncGroup, TrackState, Tracked, VirtualRouter};
use crate::vrrp::Event;
use crate::vrrp::tracking::{Effect, effect, effect_in_group};

impl<W: Wire, C: Clock> Driver<W, C> {
    /// Links and addresses may have changed, or the routers that need them.
    pub(super) fn look_around(&mut self, now: Instant) {
        self.estate_is_stale = true;
        self.peering_is_stale = true;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            for event in slot.look(&self.views, &self.virtual_addresses) {
                self.feed(index, event, now);
            }
        }
        self.weigh(now);
        self.listen();
    }

    /// What is followed may have changed, or who follows it.
    pub(super) fn weigh(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { continue };
            let effect = self.effect_on(slot.config());
            let words = self.tracks_of(slot.config());
            slot.show_tracks(words);
            if *slot.router.tracked() != effect {
                self.feed(index, Event::Tracked(effect), now);
            }
        }
    }

    /// What everything that a router follows amounts to.
    pub(super) fn effect_on(&self, config: &VirtualRouter) -> Effect {
        let state = |tracked: &Tracked| self.state_of(tracked);
        match self.group_of(&config.name) {
            Some(group) => effect_in_group(&config.track, group, state),
            None => effect(&config.track, state),
        }
    }

    fn tracks_of(&self, config: &VirtualRouter) -> Vec<String> {
        let of_group = self.group_of(&config.name).map_or(&[][..], |group| &group.track);
        config
            .track
            .iter()
            .chain(of_group)
            .map(|track| {
                let state = match self.state_of(&track.what) {
                    TrackState::Unknown => "not known yet".to_owned(),
                    TrackState::Up => "up".to_owned(),
                    TrackState::Down => "down".to_owned(),
                    TrackState::Number(number) => format!("is {number}"),
                };
                let weight = if track.weight == 0 { String::new() } else { format!(" (weight {})", track.weight) };
                match &track.what {
                    Tracked::Interface(name) => format!("{name} {state}{weight}"),
                    Tracked::Tracker(name) => format!("{name} {state}{weight}"),
                }
            })
            .collect()
    }

    fn group_of(&self, router: &str) -> Option<&SyncGroup> {
        let is_in = |group: &&SyncGroup| group.routers.iter().any(|member| member == router);
        self.teams.iter().map(|team| &team.config).find(is_in)
    }

    fn state_of(&self, tracked: &Tracked) -> TrackState {
        match tracked {
            Tracked::Interface(name) if is_up(&self.views, name) => TrackState::Up,
            Tracked::Interface(_) => TrackState::Down,
            Tracked::Tracker(name) => self.trackers.get(name).copied().unwrap_or(TrackState::Unknown),
        }
    }

    fn listen(&mut self) {
        let mut wanted: Vec<Wanted> = Vec::new();
        for config in self.slots.iter().map(|slot| slot.config()) {
            wanted.extend(links::channel(config, &self.views));
            for interface in config.channels() {
                let Some(view) = self.views.get(interface) else { continue };
                let channel = (interface.clone(), config.family);
                let group = config.peers.is_empty().then(|| egress::group(config));
                match wanted.iter_mut().find(|want| want.channel == channel) {
                    Some(want) => want.groups.extend(group),
                    None => {
                        let groups = BTreeSet::from_iter(group);
                        wanted.push(Wanted { channel, index: view.index, from: None, groups });
                    }
                }
            }
        }
        self.setup.wire.listen(wanted);
    }
}

pub(super) fn is_up(views: &Views, name: &crate::model::InterfaceName) -> bool {
    views.get(name).is_some_and(|view| view.up)
}
