//! What hurts the users of other implementations, where no other scenario shows the answer: the map is in
//! ARCHITECTURE.md.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use netns_tests::gate::Gate;
use netns_tests::lan::Cut;
use netns_tests::node::Node;
use netns_tests::pauses::{Pauses, Spacing};
use netns_tests::report::{line, ms};
use netns_tests::wait::{pass, until_true};
use nix::sys::signal::Signal;

use crate::support::{DOWN, INTERVAL, PATIENCE, SLACK, Scene, VIP, VRID, Words, address};

/// The skew of a backup of priority 100 (RFC 9568 6.1).
const SKEW: Duration = Duration::from_millis(61);

/// A partition heals: the clients that learned the loser's hardware address learn the winner's at once, although nobody
/// asks.
#[test]
fn clients_learn_the_winner_when_a_partition_heals() {
    let Some(scene) = pair("a partition heals") else { return };
    let client = scene.lab.node("client");
    scene.lan.attach(&client, "eth0", &["192.0.2.10/24"]);
    let begun = Instant::now();
    scene.links[0].cut(Cut::Silent);
    scene.moved_to(1, begun);
    let _refused = client.connect_from(None, (VIP, 9).into(), PATIENCE);
    assert_eq!(learned(&client), hardware(&scene.nodes[1]));
    let healed = Instant::now();
    scene.links[0].restore();
    let wanted = hardware(&scene.nodes[0]);
    until_true("the client to know the winner", INTERVAL + SLACK, || learned(&client) == wanted);
    line(&format!("the client knows the winner after {}", ms(healed.elapsed())));
    scene.wait_owner(0);
    assert_eq!(learned(&client), wanted, "and not the loser again");
}

/// Two masters have few causes, and the nodes say which it is.
#[test]
fn a_split_brain_is_named_by_its_cause() {
    let Some(mut scene) = pair("a split brain is named") else { return };
    // The firewall lets nothing out: this node is told by the kernel, the other hears nobody.
    let a = scene.nodes[0].clone();
    a.run("nft 'add table ip t; add chain ip t out { type filter hook output priority 0; }; add rule ip t out ip protocol 112 drop'");
    until_true("the second node to be master", PATIENCE, || scene.router(1)["role"] == "master");
    scene.wait_cause(0, "this node's firewall refuses its advertisements");
    assert!(scene.router(0)["send_refused"].as_u64() > Some(0), "{}", scene.router(0));
    assert_eq!(scene.router(1)["none_heard"], 1, "{}", scene.router(1));
    assert_eq!(scene.router(1)["rejected"], scene.router(0)["rejected"], "nothing was rejected");
    a.run("nft delete table ip t");
    scene.wait_owner(0);
    until_true("the cause to be gone", PATIENCE, || !status(scene.gate(0)).contains("firewall"));

    // Heard, and rejected: the other is configured differently.
    let file = scene.write(1, 100, "version = 2\nstart = \"backup\"", "");
    let text = fs::read_to_string(&file).expect("its file").replace("\"100ms\"", "\"1s\"");
    scene.nodes[1].write("vipgate.toml", &text);
    scene.stop(1);
    scene.restart(1, file);
    until_true("the second node to be master too", PATIENCE, || scene.router(1)["role"] == "master");
    scene.wait_cause(0, "advertisements of 192.0.2.2 are rejected (version)");
    scene.wait_cause(1, "advertisements of 192.0.2.1 are rejected (version)");
    assert_eq!(scene.router(0)["send_refused"], scene.router(0)["send_errors"]);
}

/// Files, names, scripts, logs and addresses are the business of other threads. They may all stand still: none of them
/// delays an advertisement.
#[test]
fn advertisements_leave_on_time_while_every_other_thread_stands_still() {
    const STILL: Duration = Duration::from_secs(2);
    let Some(scene) = pair("threads that stand still") else { return };
    let process = scene.gate(0).main();
    let threads = process.threads();
    let control = threads.iter().find(|(id, _)| *id == process.pid()).map(|(_, name)| name.clone());
    let pauses = Pauses::watch();
    // The watchdog too: it would give up the addresses of a node that is in such a state.
    let others = ["watchdog", "worker-0", "peer", "addresses", "log", &control.expect("a first thread")];
    let frozen = others.map(|name| process.freeze_thread(name));
    let begun = Instant::now();
    pass(STILL);
    let ended = Instant::now();
    drop(frozen);
    let adverts = scene.adverts.between(VRID, begun, ended);
    let Spacing { seen, own } = pauses.spacing(&adverts, address(0), begun, ended);
    line(&format!("{} advertisements, at most {} apart", adverts.len(), ms(seen)));
    assert!(own <= INTERVAL * 3 / 2, "advertisements {seen:?} apart, {own:?} without the machine's pauses");
    assert_eq!(scene.priorities(0, begun), [150]);
    assert!(scene.ownership.gained(&scene.nodes[1], VIP, begun).is_none());
}

/// A node that was stopped for longer than the down interval (a frozen machine) asserts nothing: it listens first.
#[test]
fn a_master_that_overslept_listens_before_it_says_anything() {
    let Some(mut scene) = Scene::build("a frozen master", Words::Toml) else { return };
    scene.start(0, 100, "", "");
    scene.wait_owner(0);
    scene.start(1, 150, "preempt = false", "");
    scene.wait_standby();
    let frozen = Instant::now();
    scene.gate(0).main().signal(Signal::SIGSTOP);
    scene.moved_to(1, frozen);
    pass(2 * DOWN);
    let woken = Instant::now();
    scene.gate(0).main().signal(Signal::SIGCONT);
    scene.wait_owner(1);
    let released = woken.elapsed();
    pass(5 * INTERVAL);
    let said = scene.priorities(0, woken);
    assert!(said.iter().all(|&priority| priority == 0), "it asserted itself: {said:?}");
    let several = scene.ownership.spread(VIP, woken, Instant::now()).several;
    assert!(several <= INTERVAL + SLACK, "two owners for {several:?} after it woke");
    line(&format!("an overslept master let go after {} and said {said:?}", ms(released)));
}

/// A failed check moves the address to a backup that does not preempt; and it stays there.
#[test]
fn a_failed_check_yields_to_a_backup_that_does_not_preempt() {
    let Some(mut scene) = Scene::build("a failed check and nopreempt", Words::Toml) else { return };
    let number = scene.nodes[0].write("number", "0\n");
    let tracker = format!("[[tracker]]\nname = \"number\"\nfile = \"{}\"\nweight = 1\n", number.display());
    scene.start(0, 150, "track = [\"number\"]\npreempt = false", &tracker);
    scene.wait_owner(0);
    scene.start(1, 100, "preempt = false", "");
    scene.wait_standby();
    let begun = Instant::now();
    fs::write(&number, "-60\n").expect("a file");
    let moved = scene.moved_to(1, begun);
    assert!(moved <= Duration::from_millis(250) + SKEW + SLACK, "after {moved:?}");
    fs::write(&number, "0\n").expect("a file");
    pass(Duration::from_millis(250) + 2 * DOWN);
    assert_eq!(scene.ownership.owners(VIP), ["b"], "what nobody preempts stays");
}

/// A check that hangs is a check that fails, and so is one that somebody else could change: which path it is, is said.
/// Neither delays an advertisement.
#[test]
fn checks_that_hang_or_are_unsafe_fail_and_are_named() {
    let Some(mut scene) = Scene::build("bad checks", Words::Toml) else { return };
    let hang = scene.script(0, "hang", "trap '' TERM\nsleep 600");
    let open = scene.script(0, "open", "exit 0");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its mode");
    let tracker = |name: &str, path: &Path, weight: i32| {
        let script = path.display();
        format!(
            "[[tracker]]\nname = \"{name}\"\nscript = \"{script}\"\ninterval = \"200ms\"\nfall = 1\nweight = {weight}\n"
        )
    };
    let trackers = tracker("hang", &hang, -10) + &tracker("open", &open, -20);
    let pauses = Pauses::watch();
    scene.start(0, 150, "track = [\"hang\", \"open\"]", &trackers);
    scene.wait_owner(0);
    let begun = Instant::now();
    until_true("both to fail", PATIENCE, || scene.priorities(0, begun).last() == Some(&120));
    pass(Duration::from_secs(1));
    let ended = Instant::now();
    let Spacing { seen, own } = pauses.spacing(&scene.adverts.between(VRID, begun, ended), address(0), begun, ended);
    assert!(own <= INTERVAL * 3 / 2, "advertisements {seen:?} apart, {own:?} without the machine's pauses");
    let log = scene.gate(0).log();
    assert!(log.contains(&format!("{} can be written by everybody", open.display())), "{log}");
    assert!(log.contains("took too long and was ended"), "{log}");
}

/// A boot: the link is up long before the switch forwards. Nobody becomes master for want of hearing the one there is.
#[test]
fn a_node_that_boots_before_its_switch_forwards_waits() {
    const DELAY: Duration = Duration::from_millis(2000);
    let Some(mut scene) = Scene::build("a boot", Words::Toml) else { return };
    scene.start(0, 150, "", "");
    scene.wait_owner(0);
    scene.links[1].cut(Cut::Carrier);
    let begun = Instant::now();
    scene.start(1, 100, &format!("start-delay = \"{}ms\"", DELAY.as_millis()), "");
    pass(2 * DOWN);
    scene.links[1].restore();
    scene.links[1].cut(Cut::Silent);
    pass(2 * DOWN);
    assert!(begun.elapsed() < DELAY, "the machine is too slow for this scenario");
    scene.links[1].restore();
    scene.wait_standby();
    pass(DELAY.saturating_sub(begun.elapsed()) + 2 * DOWN);
    assert!(scene.ownership.gained(&scene.nodes[1], VIP, begun).is_none(), "it took the address of a living master");

    // And a cable that is plugged in again: it hears its master before it asserts anything.
    let begun = Instant::now();
    scene.links[1].cut(Cut::Carrier);
    until_true("the fault", PATIENCE, || scene.router(1)["role"] == "fault");
    scene.links[1].restore();
    until_true("a backup", PATIENCE, || scene.router(1)["role"] == "backup");
    pass(2 * DOWN);
    assert!(scene.ownership.gained(&scene.nodes[1], VIP, begun).is_none());
}

/// Somebody else uses the VRID for other addresses: he is named, and a free VRID.
#[test]
fn a_foreign_user_of_the_vrid_is_named_with_a_free_one() {
    let Some(mut scene) = Scene::build("a VRID used twice", Words::Toml) else { return };
    scene.start(0, 150, "", "");
    scene.wait_owner(0);
    let stranger = scene.lab.node("stranger");
    scene.lan.attach(&stranger, "eth0", &["192.0.2.3/24"]);
    let router = |name: &str, vrid: u8, host: u8| {
        format!(
            "[[virtual-router]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {vrid}\npriority = 200\n\
             interval = \"100ms\"\naddresses = [\"192.0.2.{host}/24\"]\n"
        )
    };
    let text = router("first", 1, 201) + &router("theirs", VRID, 200);
    let _theirs = Gate::from_file(&stranger, "--config", &stranger.write("vipgate.toml", &text));
    scene.wait_cause(0, &format!("VRID {VRID} on eth0 is also used by 192.0.2.3 for 192.0.2.200"));
    // 1 is taken as well.
    scene.wait_cause(0, "take VRID 2 here");
}

/// The standby listens on an address that it does not have, on a machine that nobody has prepared for it.
#[test]
fn the_standby_listens_on_the_virtual_address() {
    let Some(mut scene) = Scene::build("the standby listens", Words::Toml) else { return };
    let service = format!("[[service]]\nname = \"web\"\nlisten = \"{VIP}:8000\"\nservers = [\"127.0.0.1:9000\"]\n");
    for (which, priority) in [(0, 150), (1, 100)] {
        scene.nodes[which].sysctl("net/ipv4/ip_nonlocal_bind", "0");
        scene.start(which, priority, "", &service);
    }
    scene.wait_owner(0);
    let listens = || scene.nodes[1].listeners().iter().any(|&(port, _)| port == 8000);
    until_true(format_args!("a listener; {}", scene.gate(1).log()), PATIENCE, listens);
    assert!(scene.nodes[1].address(VIP).is_none());
}

/// An interface that is deleted and made again has another index; the router is bound to its name.
#[test]
fn an_interface_made_again_is_the_same_interface() {
    let Some(scene) = pair("an interface made again") else { return };
    let begun = Instant::now();
    scene.nodes[0].ip("link del eth0");
    scene.moved_to(1, begun);
    assert_eq!(scene.router(0)["role"], "fault");
    let made = Instant::now();
    scene.lan.attach(&scene.nodes[0], "eth0", &["192.0.2.1/24"]);
    let back = scene.moved_to(0, made);
    line(&format!("master again {} after the interface was made again", ms(back)));
    assert!(back <= DOWN + SLACK, "after {back:?}");
    // First it says that it left, which it could not then, if its link is up before its address is.
    until_true("its advertisements", PATIENCE, || matches!(scene.priorities(0, made)[..], [150] | [0, 150]));
    scene.wait_owner(0);
    assert_eq!(scene.nodes[0].address(VIP).map(|found| found["dev"].clone()), Some("eth0".into()));
}

impl Scene {
    #[track_caller]
    fn wait_cause(&self, which: usize, words: &str) {
        let said = || status(self.gate(which));
        let found = netns_tests::wait::try_until(PATIENCE, || said().contains(words).then_some(()));
        assert!(found.is_some(), "{} does not say {words:?}: {}", self.nodes[which].name(), said());
    }
}

/// The first node is master, the second its standby.
fn pair(test: &str) -> Option<Scene> {
    let mut scene = Scene::build(test, Words::Toml)?;
    scene.start(0, 150, "", "");
    scene.wait_owner(0);
    scene.start(1, 100, "", "");
    scene.wait_standby();
    Some(scene)
}

fn status(gate: &Gate) -> String {
    String::from_utf8_lossy(&gate.vipgate("status").stdout).into_owned()
}

/// What a client knows of the virtual address.
fn learned(client: &Node) -> String {
    let shown = client.run(&format!("ip neigh show {VIP} dev eth0"));
    let mut words = shown.split_whitespace().skip_while(|&word| word != "lladdr");
    words.nth(1).unwrap_or_default().to_owned()
}

/// The hardware address of a node's interface.
fn hardware(node: &Node) -> String {
    let own: IpAddr = address(usize::from(node.name() == "b"));
    let found = node.address(own).expect("its address");
    found["mac"].as_str().unwrap_or_default().to_owned()
}
