//! What changes under a running speaker: its configuration, its interface, its link.

use std::fs;
use std::time::{Duration, Instant};

use vipgate::model::Vrid;
use vipgate::stats::Role;

use crate::support::{Lab, router, virtual_address, wait_until};

pub(crate) fn reload_touches_only_the_difference() {
    let lab = Lab::new();
    let mut second = router("r2", "192.0.2.200/24", 150);
    second.vrid = Vrid::new(52).unwrap();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150), second.clone()]);
    running.wait_for("r1", Role::Master);
    running.wait_for("r2", Role::Master);
    wait_until("addresses set", || lab.a.address("192.0.2.200").is_some() && lab.a.address("192.0.2.100").is_some());
    let since = running.registry.router("r1").status().since;

    // Another address for r2, in place; r1 untouched.
    second.addresses = vec![virtual_address("192.0.2.201/24")];
    running.wait(running.speaker.apply(vec![router("r1", "192.0.2.100/24", 150), second.clone()])).unwrap();
    wait_until("address replaced", || lab.a.address("192.0.2.201").is_some() && lab.a.address("192.0.2.200").is_none());
    assert_eq!(running.role("r2"), Role::Master);
    assert_eq!(running.registry.router("r1").status().since, since);

    // Another label for the same address.
    second.addresses[0].label = Some("eth0:two".into());
    running.wait(running.speaker.apply(vec![router("r1", "192.0.2.100/24", 150), second.clone()])).unwrap();
    wait_until("label changed", || lab.a.address("192.0.2.201").is_some_and(|address| address["label"] == "eth0:two"));

    // An interface that is not there: refused, nothing changes.
    let mut wrong = router("r1", "192.0.2.100/24", 150);
    wrong.interface = "eth9".parse().unwrap();
    let error = running.wait(running.speaker.apply(vec![wrong])).unwrap_err();
    println!("    {error}");
    assert_eq!((running.role("r1"), running.role("r2")), (Role::Master, Role::Master));

    // Gone, and its address with it; another VRID is another router.
    let mut first = router("r1", "192.0.2.100/24", 150);
    first.vrid = Vrid::new(99).unwrap();
    running.wait(running.speaker.apply(vec![first])).unwrap();
    wait_until("r2 is gone", || lab.a.address("192.0.2.201").is_none());
    wait_until("r1 is master with its new VRID", || {
        running.role("r1") == Role::Master && lab.a.address("192.0.2.100").is_some()
    });
    running.stop();
    assert!(lab.a.address("192.0.2.100").is_none());
}

pub(crate) fn the_first_router_wakes_what_slept() {
    let lab = Lab::new();
    lab.a.set_marked("192.0.2.101", b'v');
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() == "vrrp").count()
    };
    let (before, running) = (threads(), lab.a.start(Vec::new()));
    assert!(lab.a.address("192.0.2.101").is_none(), "what an earlier life left goes all the same");
    running.wait(running.speaker.apply(Vec::new())).unwrap();
    assert_eq!(threads(), before);
    running.wait(running.speaker.apply(vec![router("r1", "192.0.2.100/24", 150)])).unwrap();
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    assert_eq!(threads(), before + 1);
    running.stop();
    assert!(lab.a.address("192.0.2.100").is_none());
}

pub(crate) fn interface_that_comes_later_is_waited_for() {
    let lab = Lab::new();
    let mut config = router("r1", "198.51.100.100/24", 150);
    config.interface = "late0".parse().unwrap();
    config.addresses[0].interface = config.interface.clone();
    let running = lab.a.start(vec![config]);
    running.wait_for("r1", Role::Fault);
    for round in 0..2 {
        lab.a.plug_in("late0");
        lab.a.ip("addr add 198.51.100.1/24 dev late0");
        running.wait_for("r1", Role::Master);
        wait_until("address set", || lab.a.address("198.51.100.100").is_some());
        lab.a.ip("link del late0");
        running.wait_for("r1", Role::Fault);
        println!("    round {round}: {}", running.registry.router("r1").status().reason);
    }
    running.stop();
}

pub(crate) fn lost_link_yields_at_once() {
    let lab = Lab::new();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    for (cut, heal, node) in
        [("link set eth0 down", "link set eth0 up", &lab.b), ("link set eth0 down", "link set eth0 up", &lab.a)]
    {
        let begun = Instant::now();
        node.ip(cut);
        running.wait_for("r1", Role::Fault);
        println!("    fault after {} ms, `ip` included", begun.elapsed().as_millis());
        wait_until("address gone", || lab.a.address("192.0.2.100").is_none());
        assert!(begun.elapsed() < Duration::from_millis(300));
        node.ip(heal);
        running.wait_for("r1", Role::Master);
        wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    }
    // The primary address replaced: adverts come from the new one.
    let two = lab.b.start(vec![router("r1", "192.0.2.100/24", 100)]);
    wait_until("first address seen", || {
        two.registry.router("r1").status().master.is_some_and(|(address, _)| address.to_string() == "192.0.2.1")
    });
    lab.a.run(|| fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1")).unwrap();
    lab.a.ip("addr add 192.0.2.11/24 dev eth0");
    lab.a.ip("addr del 192.0.2.1/24 dev eth0");
    wait_until("second address seen", || {
        two.registry.router("r1").status().master.is_some_and(|(address, _)| address.to_string() == "192.0.2.11")
    });
    wait_until("one master", || running.role("r1") == Role::Master && two.role("r1") == Role::Backup);
    wait_until("address is back", || lab.a.address("192.0.2.100").is_some());
    running.stop();
    two.stop();
}
