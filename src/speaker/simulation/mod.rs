//! Whole nodes on a fake clock, segment and kernel: the real driver and the real keeper of addresses, two to five of
//! them, in seeded storms of loss, duplication, reordering, pauses, starvation, suspends, partitions, reloads,
//! hand-overs, crashes and foreign hands; then calm. What the kernels have is judged all the time (`law`).
//!
//! `make sim` runs more seeds; a failing one is printed, `VIPGATE_SEED=n` runs that one alone, `VIPGATE_TRACE=1` prints
//! what every node does.

mod fault;
mod gate;
mod host;
mod lan;
mod law;
mod network;
mod process;
#[path = "../../../tests/simulation/seeds.rs"]
mod seeds;
mod story;
mod weather;
mod world;

use std::future::Future;

use crate::model::Priority;
use seeds::with_seeds;
use story::Story;

/// The router's name on every node.
const ROUTER: &str = "lan";

/// Seeds of a usual run.
const USUAL_SEEDS: u64 = 2000;

/// Runs a course of events on a clock that jumps to the next one.
fn simulate(life: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(tokio::task::unconstrained(life));
}

#[test]
fn after_a_storm_one_node_owns_the_addresses() {
    with_seeds(1, |seed| {
        simulate(async {
            let mut story = Story::begin(seed);
            if story.random.chance(50) {
                story.pass(story.settling_time()).await;
            }
            let length = 5 + story.random.below(25);
            story.storm(length).await;
            story.calm();
            story.pass(story.settling_time()).await;
            let owner = story.check_one_owner();
            story.pass(story.network.interval.as_duration() * 4).await;
            assert_eq!(story.check_one_owner(), owner, "it stays the same one{}", story.describe());
        });
    });
}

/// The deadline of a takeover that a reload moves into the past is not one that was slept through.
#[test]
fn a_reload_that_brings_the_takeover_forward_is_not_late() {
    for seed in 1..200 {
        simulate(async {
            let mut story = Story::begin(seed);
            for at in 0..story.nodes.len() {
                story.nodes[at].router.priority = Priority::LOWEST;
                story.apply(at);
            }
            story.pass(story.settling_time()).await;
            let owner = story.check_one_owner();
            story.crash(owner);
            story.pass(story.network.interval.as_duration() * 7 / 2).await;
            for at in (0..story.nodes.len()).filter(|at| *at != owner) {
                story.nodes[at].router.priority = Priority::new(254).unwrap();
                story.apply(at);
            }
            let slack = story.world.borrow().law.slack();
            story.pass(slack).await;
            assert!(!story.owners().is_empty(), "seed {seed}{}", story.describe());
        });
    }
}

#[test]
fn single_faults_are_bounded() {
    with_seeds(4, |seed| {
        simulate(async {
            let mut story = Story::begin(seed);
            for _ in 0..4 {
                story.suffer().await;
            }
            story.oversleep().await;
        });
    });
}
