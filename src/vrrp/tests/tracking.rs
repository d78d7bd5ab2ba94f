//! What trackers do to a priority, and to a router.

use super::*;
use crate::model::{SyncGroup, Track, TrackState, Tracked};
use crate::vrrp::tracking::{Effect, effect, effect_in_group};

fn track(name: &str, weight: i16) -> Track {
    Track { what: Tracked::Tracker(name.into()), weight, reverse: false }
}

fn fault(what: &str) -> Effect {
    Effect { delta: 0, fault: Some(what.into()) }
}

fn delta(delta: i32) -> Effect {
    Effect { delta, fault: None }
}

#[test]
fn weights_as_keepalived_has_them() {
    use TrackState::{Down, Number, Unknown, Up};
    let failed = fault("tracker t");
    let rows: &[(i16, bool, TrackState, &Effect)] = &[
        (0, false, Up, &delta(0)),
        (0, false, Down, &failed),
        (0, false, Unknown, &delta(0)),
        (0, true, Up, &failed),
        (0, true, Down, &delta(0)),
        (20, false, Up, &delta(20)),
        (20, false, Down, &delta(0)),
        (20, false, Unknown, &delta(0)),
        (20, true, Up, &delta(0)),
        (20, true, Down, &delta(20)),
        (-20, false, Up, &delta(0)),
        (-20, false, Down, &delta(-20)),
        (-20, true, Up, &delta(-20)),
        (-20, true, Down, &delta(0)),
        (0, false, Number(0), &delta(0)),
        (0, false, Number(-1), &failed),
        (0, true, Number(0), &failed),
        (0, true, Number(7), &delta(0)),
        (1, false, Number(-253), &delta(-253)),
        (1, false, Number(-254), &failed),
        (2, false, Number(-127), &failed),
        (-2, false, Number(30), &delta(-60)),
        (2, true, Number(30), &delta(-60)),
        (2, false, Number(254), &delta(508)),
    ];
    for (weight, reverse, state, expected) in rows {
        let track = Track { reverse: *reverse, ..track("t", *weight) };
        assert_eq!(effect(&[track], |_| *state), **expected, "weight {weight}, reverse {reverse}, {state:?}");
    }
}

#[test]
fn several_add_up_and_the_first_fault_is_named() {
    let tracks = [
        track("a", 10),
        track("b", -30),
        Track { what: Tracked::Interface("eth1".parse().unwrap()), weight: 0, reverse: false },
        track("c", 0),
    ];
    let only = |up: &'static [&str]| {
        move |what: &Tracked| {
            let name = match what {
                Tracked::Interface(name) => name.as_str(),
                Tracked::Tracker(name) => name,
            };
            if up.contains(&name) { TrackState::Up } else { TrackState::Down }
        }
    };
    assert_eq!(effect(&tracks, only(&["a", "b", "c", "eth1"])), delta(10));
    assert_eq!(effect(&tracks, only(&["a", "c", "eth1"])), delta(-20));
    assert_eq!(effect(&tracks, only(&["a", "b"])), Effect { delta: 10, ..fault("interface eth1") });
}

#[test]
fn in_a_group_the_groups_weights_count() {
    let mut group = SyncGroup {
        name: "g".into(),
        routers: Vec::new(),
        track: vec![track("shared", -40)],
        member_weights: false,
        notify: crate::model::Notify::default(),
    };
    let down = |_: &Tracked| TrackState::Down;
    assert_eq!(effect_in_group(&[track("own", -7)], &group, down), delta(-40));
    group.member_weights = true;
    assert_eq!(effect_in_group(&[track("own", -7)], &group, down), delta(-47));
    let broken = Effect { delta: -40, ..fault("tracker own") };
    assert_eq!(effect_in_group(&[track("own", 0)], &group, down), broken, "a fault is one in any case");
}

#[test]
fn the_sum_stays_within_1_and_254_and_an_owner_is_immune() {
    let mut bench = Bench::in_role(Role::Backup);
    for (change, expected) in [(-20, 108), (-128, 1), (-1000, 1), (126, 254), (1000, 254), (i32::MAX, 254), (0, 128)] {
        bench.on(Event::Tracked(delta(change)));
        assert_eq!(bench.router.priority(), expected);
    }
    let mut owner = Bench::new(&priority(255));
    owner.said();
    assert_eq!(owner.on(Event::Tracked(delta(-100))), "");
    assert_eq!(owner.router.priority(), 255);
    assert_eq!(
        owner.on(Event::Tracked(fault("tracker t"))),
        "send 0, release 2, Master>Fault (tracker t failed)",
        "but not to a fault"
    );
}

#[test]
fn a_master_tells_its_new_priority_at_once() {
    let mut bench = Bench::in_role(Role::Master);
    assert_eq!(bench.on(Event::Tracked(delta(-28))), "send 100");
    assert_eq!(bench.on(Event::Tracked(delta(-28))), "", "once");
    assert_eq!(bench.on(Event::Tracked(delta(0))), "send 128");
}

#[test]
fn a_fault_says_that_it_leaves_and_recovery_elects_again() {
    let mut bench = Bench::in_role(Role::Master);
    let failed = "send 0, release 2, Master>Fault (tracker t failed)";
    assert_eq!(bench.on(Event::Tracked(fault("tracker t"))), failed);
    assert_eq!(bench.on(Event::LinkDown), "");
    assert_eq!(bench.on(Event::Tracked(delta(0))), "", "the link is down still");
    assert_eq!(bench.router.reason().to_string(), "link down");
    assert_eq!(bench.on(Event::Tracked(fault("tracker u"))), "");
    assert_eq!(bench.on(Event::LinkUp), "");
    assert_eq!(bench.router.reason().to_string(), "tracker u failed");
    assert_eq!(bench.on(Event::Tracked(delta(-28))), "Fault>Backup (what it follows is well again)");
    assert_eq!(bench.router.priority(), 100);

    let mut bench = Bench::in_role(Role::Leaving);
    bench.on(Event::Stop);
    assert_eq!(
        bench.on(Event::Tracked(fault("tracker t"))),
        "",
        "one that ends serves on until its successor is there"
    );
    assert!(bench.pass(ms(1500)).ends_with("left"));

    let start = Start { tracked: fault("tracker t"), ..Start::new(Some(ip(LOCAL)), true) };
    let mut bench = Bench::starting(&priority(255), start);
    assert_eq!(bench.said(), "Initialize>Fault (tracker t failed)", "nothing is asserted before");
}

#[test]
fn a_backup_relieves_a_master_that_falls_below_it() {
    let stubborn = VirtualRouter { preempt: false, ..config() };
    let taken = "@200 send 128, own 2, announce 2x5, Backup>Master (master 192.0.2.9 dropped to priority 90)";
    assert_eq!(Bench::master_falls(&stubborn, 150, 90), taken, "after the skew time of the first such advert");

    let mut bench = Bench::new(&stubborn);
    bench.said();
    bench.hears("192.0.2.9", 150);
    bench.hears("192.0.2.9", 90);
    bench.hears("192.0.2.9", 128);
    assert_eq!(bench.pass(ms(3400)), "", "it has recovered");
    bench.hears("192.0.2.9", 90);
    bench.hears("192.0.2.7", 100);
    bench.hears("192.0.2.7", 100);
    assert_eq!(bench.pass(ms(3400)), "", "another one never was above");

    let mut bench = Bench::new(&stubborn);
    bench.said();
    bench.on(Event::SetPriority(Some(Priority::new(90).unwrap())));
    bench.hears("192.0.2.9", 100);
    bench.on(Event::SetPriority(None));
    bench.hears("192.0.2.9", 100);
    assert_eq!(bench.pass(ms(3400)), "", "its own rise is no reason: that is preemption");

    let mut eager = Bench::in_role(Role::Backup);
    eager.hears("192.0.2.9", 150);
    eager.hears("192.0.2.9", 90);
    assert!(eager.pass(ms(500)).ends_with("preempted 192.0.2.9 (priority 90))"), "with preemption no later");
}
