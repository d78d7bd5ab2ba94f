//! The commands around a change of ownership: what must be done before, and what after.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use netns_tests::report::{line, ms};
use netns_tests::wait::{pass, until, until_true};

use crate::support::{DOWN, INTERVAL, PATIENCE, SECOND, SLACK, Scene, VIP, VRID, Words, side_by_side};

/// What the hook takes before the address may come.
const WORK: Duration = Duration::from_millis(400);
/// What a hook that hangs is given.
const TIMEOUT: Duration = Duration::from_millis(300);
/// TERM is followed by KILL so much later.
const KILLED: Duration = Duration::from_secs(1);
/// A master that ends waits so long for a successor.
const STOP_WAIT: Duration = Duration::from_millis(1500);

/// When the first one since `begun` was sent. Who hears it may be later than who sees the address.
fn first_advertisement(scene: &Scene, begun: Instant) -> Instant {
    until("an advertisement", PATIENCE, || scene.adverts.since(VRID, begun).first().map(|advert| advert.at))
}

#[test]
fn the_address_waits_for_the_hook_before_it_and_the_one_after_it_for_the_last_address() {
    let Some(mut scene) = Scene::build("hooks", Words::Toml) else { return };
    let seen = scene.nodes[0].dir().join("seen");
    let count = format!("ip -4 addr show dev eth0 | grep -c -e '{VIP}/' -e '{SECOND}/' >> {} || true", seen.display());
    let told = format!("echo $VIPGATE_HOOK $VIPGATE_NAME >> {}", seen.display());
    let before = scene.script(0, "before", &format!("{told}\n{count}\nsleep {}\n{count}", WORK.as_secs_f64()));
    let after = scene.script(0, "after", &format!("{told}\n{count}"));
    let inside = format!(
        "excluded-addresses = [\"{SECOND}/24\"]\nbefore-master = \"{}\"\nafter-release = \"{}\"",
        before.display(),
        after.display()
    );
    let begun = Instant::now();
    scene.start(0, 150, &inside, "");
    let owned = scene.wait_owner(0);
    let finished = fs::metadata(&seen).and_then(|file| file.modified()).expect("the hook has run");
    // File times are as coarse as the kernel's tick.
    let owned_at = SystemTime::now() - owned.elapsed() + Duration::from_millis(10);
    assert!(finished <= owned_at, "the address came {:?} before the hook was done", finished.duration_since(owned_at));
    let first = first_advertisement(&scene, begun);
    let waited = owned.saturating_duration_since(first);
    let meanwhile = scene.adverts.between(VRID, first, owned).len();
    line(&format!("the address came {} after the first advertisement, {meanwhile} of them before it", ms(waited)));
    assert!(waited >= WORK, "{waited:?}");
    assert!(meanwhile >= 3, "the router speaks while the hook works: {meanwhile}");
    until_true("both addresses", PATIENCE, || scene.nodes[0].address(SECOND).is_some());

    scene.start(1, 100, "", "");
    scene.wait_standby();
    scene.gate(0).hand_over();
    scene.wait_owner(1);
    let expected = "before-master front\n0\n0\nafter-release front\n0\n";
    let read = || fs::read_to_string(&seen).unwrap_or_default();
    until_true(format_args!("{expected:?} instead of {:?}", read()), PATIENCE, || read() == expected);
}

#[test]
fn a_hook_that_hangs_is_bounded() {
    let built: Option<Vec<Scene>> = (0..2).map(|_| Scene::build("hooks that hang", Words::Toml)).collect();
    let Some(scenes) = built else { return };
    side_by_side(scenes.into_iter().zip(["before-master", "after-release"]).collect(), |(mut scene, hook)| {
        let hang = scene.script(0, "hang", "trap '' TERM\nsleep 600");
        let words = format!("{hook} = {{ command = \"{}\", timeout = \"300ms\" }}", hang.display());
        let begun = Instant::now();
        scene.start(0, 150, &words, "");
        let owned = scene.wait_owner(0);
        let first = first_advertisement(&scene, begun);
        let waited = owned.saturating_duration_since(first);
        let ended = scene.stop(0);
        line(&format!("{hook} hangs: the address came after {}, the end took {}", ms(waited), ms(ended.took)));
        let (before, after) =
            if hook == "before-master" { (TIMEOUT, Duration::ZERO) } else { (Duration::ZERO, TIMEOUT) };
        assert!(waited >= before && waited <= before + KILLED + SLACK, "{hook}: the address came after {waited:?}");
        assert!(ended.took <= STOP_WAIT + after + KILLED + SLACK, "{hook}: the end took {:?}", ended.took);
        assert!(!ended.log.contains("stuck"), "{hook}: to wait for a hook is no failure: {}", ended.log);
        assert!(ended.log.contains(&format!("hook {hook}")), "{hook}: {}", ended.log);
        assert!(ended.log.contains("took longer than its timeout"), "{hook}: {}", ended.log);
        assert!(scene.nodes[0].address(VIP).is_none());
    });
}

/// A standby whose hook is at work takes nothing, and a master that is back meanwhile keeps everything.
#[test]
fn a_hook_whose_router_is_backup_again_brings_no_address() {
    let Some(mut scene) = Scene::build("a hook overtaken", Words::Toml) else { return };
    let slow = scene.script(1, "slow", "sleep 1");
    scene.start(0, 150, "", "");
    scene.wait_owner(0);
    scene.start(1, 100, &format!("before-master = \"{}\"", slow.display()), "");
    scene.wait_standby();
    let begun = Instant::now();
    scene.links[0].cut(netns_tests::lan::Cut::Silent);
    until_true("the standby to speak", PATIENCE, || !scene.priorities(1, begun).is_empty());
    scene.links[0].restore();
    pass(Duration::from_secs(1) + DOWN + 2 * INTERVAL);
    let gained = scene.ownership.gained(&scene.nodes[1], VIP, begun);
    assert!(gained.is_none(), "it took the address of a master that was back");
    assert_eq!(scene.ownership.owners(VIP), ["a"]);
}
