//! What trackers do to a router: a change of its priority, or a fault (keepalived's rules).

use std::sync::Arc;

use crate::model::{SyncGroup, Track, TrackState, Tracked};

/// What everything a router follows amounts to. The default: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Effect {
    /// Added to the priority; the sum is kept within 1 to 254, and 255 is never changed.
    pub delta: i32,
    /// What keeps the router from taking part: the first that failed, as its operator knows it.
    pub fault: Option<Arc<str>>,
}

/// A product of number and weight this low is a fault: no priority could express it.
const FAULT: i32 = -254;

/// What `tracks` do, given the state of each thing followed.
///
/// Weight 0: down is a fault, and so is a file's number other than 0. A weight above 0 is added while up, one below 0
/// while down; a file's number is multiplied by it, and a product below -253 is a fault. `reverse` swaps up and down,
/// 0 and not 0, and the sign of a product.
pub fn effect(tracks: &[Track], state: impl Fn(&Tracked) -> TrackState) -> Effect {
    let mut sum = Effect::default();
    for track in tracks {
        match weigh(track, state(&track.what)) {
            Weighed::Fault => drop(sum.fault.get_or_insert_with(|| name(&track.what))),
            Weighed::Delta(delta) => sum.delta = sum.delta.saturating_add(delta),
        }
    }
    sum
}

/// The same for a member of a sync group. Members with different weights would tear the group apart: their own count
/// only where it says so (`member_weights`). Faults count in any case.
pub fn effect_in_group(own: &[Track], group: &SyncGroup, state: impl Fn(&Tracked) -> TrackState) -> Effect {
    let of_group = effect(&group.track, &state);
    let own = effect(own, state);
    let own_delta = if group.member_weights { own.delta } else { 0 };
    Effect { delta: of_group.delta.saturating_add(own_delta), fault: own.fault.or(of_group.fault) }
}

enum Weighed {
    Fault,
    Delta(i32),
}

fn weigh(track: &Track, state: TrackState) -> Weighed {
    let weight = i32::from(track.weight);
    let up = match state {
        TrackState::Unknown => return Weighed::Delta(0),
        TrackState::Number(number) if weight == 0 => (number == 0) != track.reverse,
        TrackState::Number(number) => {
            let product = i32::from(number) * if track.reverse { -weight } else { weight };
            return if product <= FAULT { Weighed::Fault } else { Weighed::Delta(product) };
        }
        TrackState::Up => !track.reverse,
        TrackState::Down => track.reverse,
    };
    match (weight, up) {
        (0, false) => Weighed::Fault,
        (1.., true) | (..0, false) => Weighed::Delta(weight),
        (0.., _) | (..0, true) => Weighed::Delta(0),
    }
}

fn name(tracked: &Tracked) -> Arc<str> {
    match tracked {
        Tracked::Interface(interface) => format!("interface {interface}").into(),
        Tracked::Tracker(name) => format!("tracker {name}").into(),
    }
}
