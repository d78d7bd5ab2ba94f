//! Virtual routers on a simulated segment and a virtual clock: seeded storms of loss, duplication, reordering,
//! pauses, partitions, crashes, reloads, hand-overs and readiness flips, then quiet; and single faults in a calm
//! segment, with bounds for how long nobody, or two, own the address.
//!
//! `VIPGATE_SIM=100000 cargo test --release --test simulation` runs more seeds; a failing one is printed, and
//! `VIPGATE_SEED=n` runs that one alone, `VIPGATE_TRACE=1` prints what every router does.

#[cfg(test)]
#[path = "simulation/seeds.rs"]
mod seeds;
#[cfg(test)]
#[path = "simulation/segment.rs"]
mod segment;

use std::time::Duration;

use seeds::{Random, with_seeds};
use segment::{Fault, Segment};
use vipgate::vrrp::{Event, Role};

/// Seeds of a usual run.
#[cfg(test)]
const USUAL_SEEDS: u64 = 400;

#[test]
fn after_a_storm_exactly_one_is_master() {
    with_seeds(1, |seed| {
        let mut random = Random::new(seed);
        let mut segment = Segment::new(&mut random);
        for _ in 0..3 {
            let storm = segment.longest_interval() * (5 + random.below(30));
            segment.storm(storm, &mut random);
            segment.calm();
            segment.run(segment.settling_time());
            segment.check_one_master();
            let master = segment.masters();
            segment.run(segment.longest_interval() * 5);
            segment.check_one_master();
            if segment.preemption_is_settled() {
                assert_eq!(segment.masters(), master, "it stays the same one");
            }
        }
    });
}

#[test]
fn single_faults_are_bounded() {
    with_seeds(1, |seed| {
        let mut random = Random::new(seed);
        let mut segment = Segment::new(&mut random);
        segment.calm();
        for _ in 0..8 {
            // A preemption that is still to come is not the fault's.
            segment.run(segment.settling_time() + Duration::from_secs(4));
            segment.check_one_master();
            let fault = Fault::any(&mut random);
            let (bare, shared) = segment.bounds(fault);
            segment.forget_ownership();
            segment.inflict(fault);
            segment.run(segment.settling_time());
            let (without, twice) = segment.ownership();
            assert!(without <= bare, "{fault:?}: nobody owned the address for {without:?}, allowed {bare:?}");
            assert!(twice <= shared, "{fault:?}: two owned the address for {twice:?}, allowed {shared:?}");
            segment.check_one_master();
            segment.repair();
        }
    });
}

#[test]
fn a_handover_moves_the_address_and_stays() {
    with_seeds(4, |seed| {
        let mut random = Random::new(seed);
        let mut segment = Segment::new(&mut random);
        segment.calm();
        if segment.lowest_is_configured() {
            return;
        }
        segment.run(segment.settling_time() + Duration::from_secs(4));
        let before = segment.masters();
        segment.event(before[0], Event::Handover);
        segment.run(segment.settling_time());
        let after = segment.masters();
        assert_ne!(before, after, "somebody else took it");
        segment.run(segment.settling_time() * 2);
        assert_eq!(segment.role(before[0]), Role::Backup, "and it is not preempted back");
    });
}
