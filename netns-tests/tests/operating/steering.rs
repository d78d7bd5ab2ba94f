//! `vipgate vrrp` and `vipgate events`: each says what happened, and it did.

use std::process::Output;
use std::time::{Duration, Instant};

use netns_tests::gate::said;
use netns_tests::lan::Cut;
use netns_tests::report::line;
use netns_tests::wait::{pass, until_true};
use serde_json::Value;

use crate::support::{DOWN, INTERVAL, PATIENCE, SLACK, Scene, VIP, in_both_words};

#[test]
fn routers_are_steered_and_every_command_says_what_happened() {
    in_both_words("steered", |mut scene| {
        scene.start(0, 150, "", "");
        scene.wait_owner(0);
        scene.start(1, 100, "", "");
        scene.wait_standby();
        let events = [0, 1].map(|which| scene.gate(which).follow("events"));
        // A subscription says nothing before the first event.
        pass(Duration::from_millis(300));

        let shown = done(&scene, 0, "vrrp show front");
        for part in ["front: MASTER", "VRID 51, version 3, every 100 ms", "150", "192.0.2.100/24"] {
            assert!(shown.contains(part), "{part:?} is missing: {shown}");
        }
        assert!(done(&scene, 1, "vrrp show").contains("192.0.2.1 at priority 150"));
        assert_eq!(scene.router(1)["role"], "backup");

        let begun = Instant::now();
        assert!(done(&scene, 0, "vrrp handover front").contains("front: 192.0.2.2 took over after"));
        scene.moved_to(1, begun);
        // It sticks, although node `a` is the better one.
        pass(DOWN + 2 * INTERVAL);
        assert_eq!(scene.ownership.owners(VIP), ["b"]);
        assert!(done(&scene, 0, "vrrp handover").contains("nothing to hand over, its role here is backup"));

        let begun = Instant::now();
        assert!(done(&scene, 0, "vrrp takeover front").contains("front: master now"));
        assert!(scene.moved_to(0, begun) <= SLACK, "a take-over waits for nobody");
        assert!(done(&scene, 0, "vrrp takeover front").contains("is master already"));

        let begun = Instant::now();
        assert!(done(&scene, 0, "vrrp priority front 50").contains("front: priority 50 from now on"));
        assert!(scene.moved_to(1, begun) <= DOWN + SLACK);
        assert_eq!(scene.priorities(0, begun).last(), Some(&50));
        assert!(done(&scene, 0, "vrrp show").contains("50 (configured 150, set to 50 at run time)"));
        let begun = Instant::now();
        assert!(done(&scene, 0, "vrrp priority front --reset").contains("front: priority 150 from now on"));
        assert!(scene.moved_to(0, begun) <= DOWN + SLACK);
        scene.wait_owner(0);

        freeze(&scene);
        wrong_names(&scene);

        let told = events.each_ref().map(|process| router_events(&process.log()));
        line(&format!("{:?}: {told:?}", scene.words));
        // Handed over and taken back, worse and better again; while it was unheard it knew of nothing.
        assert_eq!(told[0], ["master>backup", "backup>master"].repeat(2), "{}", events[0].log());
        assert_eq!(told[1], ["backup>master", "master>backup"].repeat(4), "{}", events[1].log());
        let _ended = scene.stop(1);
        until_true("the stream to end with the daemon", PATIENCE, || !events[1].alive());
    });
}

/// A frozen backup does not take over from a master that is gone, until it is thawed or its time is over.
fn freeze(scene: &Scene) {
    assert!(done(scene, 1, "vrrp freeze front").contains("front: frozen as backup until thawed"));
    assert!(done(scene, 1, "vrrp show").contains("100 (frozen)"));
    let begun = Instant::now();
    scene.links[0].cut(Cut::Silent);
    pass(3 * DOWN);
    assert!(scene.ownership.gained(&scene.nodes[1], VIP, begun).is_none(), "a frozen backup took over");
    let thawed = Instant::now();
    assert!(done(scene, 1, "vrrp thaw front").contains("front: not frozen"));
    assert!(scene.moved_to(1, thawed) <= DOWN + SLACK);
    scene.links[0].restore();
    scene.wait_owner(0);

    let frozen = Instant::now();
    assert!(done(scene, 1, "vrrp freeze front --for 1s").contains("front: frozen as backup for 1 s"));
    // Back among them for a few intervals, it hears its master again.
    scene.links[0].cut(Cut::Silent);
    let moved = scene.moved_to(1, frozen);
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(1) + DOWN + SLACK);
    assert!((least..=most).contains(&moved), "it took over {moved:?} after it was frozen for 1 s");
    scene.links[0].restore();
    scene.wait_owner(0);
}

/// Every command names what there is instead.
fn wrong_names(scene: &Scene) {
    for command in ["show", "show --json", "handover", "takeover", "priority --reset", "freeze", "thaw"] {
        let output = scene.gate(0).vipgate(&format!("vrrp {command} frnt"));
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("there is no virtual router `frnt`; the routers are: front"), "{command}: {said}");
        assert!(output.stdout.is_empty(), "{command}: {said}");
    }
    for priority in ["0", "255", "256"] {
        let output = scene.gate(0).vipgate(&format!("vrrp priority front {priority}"));
        assert_eq!(output.status.code(), Some(2), "{priority}: {}", said(&output));
        assert!(said(&output).contains("1..=254"), "{}", said(&output));
    }
}

/// Runs a command that succeeds; what it said.
#[track_caller]
fn done(scene: &Scene, which: usize, command: &str) -> String {
    let output: Output = scene.gate(which).vipgate(command);
    assert!(output.status.success(), "{command}: {}; {}", said(&output), scene.gate(which).log());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every line is one event in JSON, numbered, of this router; what they say.
#[track_caller]
fn router_events(log: &str) -> Vec<String> {
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    for event in &events {
        assert_eq!(event["name"], "front", "{event}");
        assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
        assert!(event["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{event}");
    }
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let of_routers = events.iter().filter(|event| event["kind"] == "router");
    of_routers.map(|event| format!("{}>{}", word(event, "from"), word(event, "to"))).collect()
}
