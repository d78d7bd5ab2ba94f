//! Routes and rules: with a router's addresses, for the life of the process, and after somebody's interference.

use std::time::Instant;

use vipgate::model::{Route, Rule, VirtualRouter};
use vipgate::speaker::{Plan, cleanup};
use vipgate::stats::Role;

use crate::support::{Lab, Node, router, wait_until};

pub(crate) fn routes_and_rules_come_and_go_with_the_master() {
    let lab = Lab::new();
    let mut config = router("r1", "192.0.2.100/24", 150);
    // The source address is the virtual one: refused before it is set.
    config.routes = vec![
        Route { source: Some("192.0.2.100".parse().unwrap()), ..via("10.1.0.0/16", "192.0.2.2") },
        Route { table: Some(100), ..via("0.0.0.0/0", "192.0.2.2") },
    ];
    config.rules = vec![Rule { from: Some("192.0.2.100/32".parse().unwrap()), ..rule(100) }];
    let backup = VirtualRouter { priority: vipgate::model::Priority::new(100).unwrap(), ..config.clone() };
    let one = lab.a.start(vec![config.clone()]);
    one.wait_for("r1", Role::Master);
    wait_until("routes and rules", || routing(&lab.a) == [2, 1]);
    let two = lab.b.start(vec![backup]);
    two.wait_for("r1", Role::Backup);
    assert_eq!(routing(&lab.b), [0, 0], "a backup has none");

    // Somebody removes them.
    for removal in ["route del 10.1.0.0/16", "rule del from 192.0.2.100 table 100", "route flush table 100"] {
        lab.a.ip(removal);
        let begun = Instant::now();
        wait_until("put back", || routing(&lab.a) == [2, 1]);
        println!("    `ip {removal}`: put back after {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    }
    // Somebody puts another in front.
    lab.a.ip("route replace 10.1.0.0/16 dev lo");
    wait_until("in front again", || lab.a.lines("route get 10.1.0.1")[0].contains("via 192.0.2.2"));
    lab.a.ip("route del 10.1.0.0/16 dev lo");

    // A reload: the difference.
    config.routes = vec![config.routes[1].clone(), via("10.2.0.0/16", "192.0.2.2")];
    config.rules.clear();
    one.wait(one.speaker.apply(vec![config.clone()])).unwrap();
    wait_until("changed", || routing(&lab.a) == [2, 0] && lab.a.lines("route show 10.2.0.0/16").len() == 1);
    assert_eq!(one.role("r1"), Role::Master);

    one.stop();
    assert_eq!(routing(&lab.a), [0, 0]);
    two.wait_for("r1", Role::Master);
    wait_until("the successor's", || routing(&lab.b) == [2, 1]);
    two.stop();
    assert_eq!(routing(&lab.b), [0, 0]);
}

pub(crate) fn static_routes_live_as_long_as_the_process() {
    let lab = Lab::new();
    let plan =
        |routes, rules| Plan { routers: vec![router("r1", "192.0.2.100/24", 150)], routes, rules, ..Plan::default() };
    let late = Route { interface: Some("late0".parse().unwrap()), ..route("10.2.0.0/16") };
    let running = lab.a.start(plan(vec![via("10.1.0.0/16", "192.0.2.2"), late.clone()], vec![rule(100)]));
    wait_until("set", || routing(&lab.a) == [1, 1]);
    // As soon as its interface is there, and when its link was down for a while.
    lab.a.plug_in("late0");
    wait_until("set when its interface came", || routing(&lab.a) == [2, 1]);
    lab.a.ip("link set late0 down");
    wait_until("gone with its link", || routing(&lab.a) == [1, 1]);
    lab.a.ip("link set late0 up");
    wait_until("back with its link", || routing(&lab.a) == [2, 1]);
    running.wait(running.speaker.apply(plan(vec![late], Vec::new()))).unwrap();
    wait_until("changed", || routing(&lab.a) == [1, 0]);
    running.stop();
    assert_eq!(routing(&lab.a), [0, 0]);
}

pub(crate) fn routing_of_an_earlier_life_is_removed() {
    let lab = Lab::new();
    let leave = || {
        lab.a.ip("route add 10.1.0.0/16 via 192.0.2.2 proto 118");
        lab.a.ip("rule add from 10.0.0.0/8 table 100 protocol 118");
        assert_eq!(routing(&lab.a), [1, 1]);
    };
    leave();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    assert_eq!(routing(&lab.a), [0, 0]);
    running.stop();
    leave();
    let removed = lab.a.run(|| cleanup(&[])).unwrap();
    assert_eq!((removed.routes, removed.rules), (1, 1));
    assert_eq!(removed.to_string(), "1 route, 1 rule");
    assert_eq!(routing(&lab.a), [0, 0]);
}

/// How many routes and rules of ours there are.
pub(crate) fn routing(node: &Node) -> [usize; 2] {
    let count = |lines: Vec<String>| lines.iter().filter(|line| line.contains("proto 118")).count();
    [count(node.lines("route show table all")), count(node.lines("rule"))]
}

pub(crate) fn route(destination: &str) -> Route {
    Route::new(destination.parse().unwrap())
}

pub(crate) fn via(destination: &str, gateway: &str) -> Route {
    Route { gateway: Some(gateway.parse().unwrap()), ..route(destination) }
}

pub(crate) fn rule(table: u32) -> Rule {
    Rule::new(table)
}
