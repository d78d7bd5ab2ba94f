//! The pair: it fails over and back whatever happens to a node, and ends with one owner.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use netns_tests::flows::{Flows, HANGING};
use netns_tests::gate::{Gate, Subject};
use netns_tests::pair::{Event, FrontPair, PATIENCE, PORTS, VIP, VIP6, VRID};
use netns_tests::plan::{Plan, Vip};
use netns_tests::report::{Table, line, ms};
use netns_tests::silence::Silence;
use netns_tests::wait::{pass, until, until_true};

const INTERVAL: Duration = Duration::from_millis(100);
/// What two busy cores may add to a bound that the protocol gives.
const SLACK: Duration = Duration::from_millis(50);
/// A worker that beats no more is found out after a second, looked at every now and then.
const STUCK: Duration = Duration::from_millis(1500);
/// A client behind a cut link learns of it when its next retransmission reaches the successor.
const TOLD: Duration = Duration::from_secs(10);

#[test]
fn the_pair_from_toml_fails_over_and_back() {
    fails_over_and_back(Subject::Toml);
}

#[test]
fn the_pair_from_foreign_files_fails_over_and_back() {
    fails_over_and_back(Subject::Foreign);
}

fn fails_over_and_back(subject: Subject) {
    let Some(pair) = FrontPair::build("the pair fails over and back", subject) else { return };
    let mut pair = pair.every(INTERVAL);
    pair.start();
    let silence = Silence::start(&pair.client, &pair.targets(), &[]);
    let title = format!("{subject}, adverts every {}: a client's silence", ms(INTERVAL));
    let mut table = Table::new(&title, &["event", "over", "bound", "flows", "back", "two owners after repair"]);
    let mut broken = Vec::new();
    for event in Event::ALL {
        silence.wait_steady(300, PATIENCE);
        let flows = Flows::open(&pair.client, &pair.targets(), &[], 20, Duration::from_millis(20));
        let bound = bound(&pair, event);

        let begun = pair.strike(0, event);
        until_true(format_args!("gate-b to own {VIP} after {}", event.label()), PATIENCE, || {
            pair.ownership.gained(&pair.nodes[1], VIP, begun).is_some()
        });
        silence.wait_recovered(begun, HANGING, PATIENCE);
        let over = silence.report_since(begun);
        let tally = flows.settle(TOLD);
        drop(flows);

        let healed = Instant::now();
        pair.heal(0, event);
        if event == Event::HandOver && pair.ownership.owners(VIP) == [pair.nodes[1].name()] {
            // A node that handed over does not contest: have it given back.
            pair.strike(1, Event::HandOver);
        }
        pair.wait_owner(0);
        silence.wait_recovered(healed, HANGING, PATIENCE);
        let back = silence.report_since(healed);
        let several = pair.ownership.spread(VIP, healed, Instant::now()).several;

        let failures = over.failures_text();
        table.row(&[
            event.label(),
            &format!("{} ({failures})", ms(over.silence)),
            &ms(bound),
            &tally.to_string(),
            &ms(back.silence),
            &ms(several),
        ]);
        check(&mut broken, over.silence <= bound, format!("{}: {}", event.label(), over.summary()));
        check(&mut broken, back.silence <= SLACK, format!("back after {}: {}", event.label(), back.summary()));
        check(&mut broken, several <= INTERVAL + SLACK, format!("{}: two owners for {several:?}", event.label()));
        check(&mut broken, tally.hanging == 0, format!("{}: flows left hanging: {tally}", event.label()));
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// How long new connections may fail (RFC 9568 6.1, 6.4.2; the figures the project promises).
fn bound(pair: &FrontPair, event: Event) -> Duration {
    match event {
        Event::Terminate | Event::HandOver => Duration::from_millis(5) + SLACK,
        Event::Kill => pair.skew(1) + Duration::from_millis(20) + SLACK,
        // The sessions between the nodes end; within 300 ms whatever the interval.
        Event::KillAll => pair.skew(1) + Duration::from_millis(300) + SLACK,
        Event::Crash | Event::CutCarrier | Event::CutSilent | Event::AdminDown => pair.master_down(1) + SLACK,
        Event::StuckWorker => STUCK + pair.master_down(1) + SLACK,
    }
}

fn check(broken: &mut Vec<String>, holds: bool, otherwise: String) {
    if !holds {
        broken.push(otherwise);
    }
}

#[test]
fn the_address_carries_prefix_and_label() {
    for subject in [Subject::Toml, Subject::Foreign, Subject::Daemons] {
        let Some(mut pair) = FrontPair::build("the address carries prefix and label", subject) else { return };
        pair.start();
        let found = pair.nodes[0].address(VIP).expect("the owner has it");
        line(&format!("{subject}: {found}"));
        assert_eq!(found["prefixlen"], 24);
        assert_eq!(found["label"], "eth1:1");
        assert_eq!(found["dev"], "eth1");
        assert_eq!(found["scope"], "global");
        assert!(pair.nodes[1].address(VIP).is_none(), "the backup has it too");
    }
}

#[test]
fn an_ipv6_pair_fails_over() {
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("an IPv6 pair fails over", subject) else { return };
        let mut pair = pair.every(INTERVAL).with(ipv6);
        let vip = VIP6;
        let owner = |pair: &FrontPair, which: usize| pair.nodes[which].address(vip).is_some();
        pair.start_gate(0);
        pair.start_gate(1);
        until_true("gate-a to own the IPv6 address", PATIENCE, || owner(&pair, 0) && !owner(&pair, 1));
        let address = pair.nodes[0].address(vip).expect("just seen");
        assert_eq!(address["prefixlen"], 64, "{address}");
        assert!(address.get("tentative").is_none(), "duplicate address detection delays a takeover: {address}");

        let target = SocketAddr::new(vip, *PORTS.start());
        let silence = Silence::start(&pair.client, &[target], &[]);
        silence.wait_steady(300, PATIENCE);
        let begun = pair.strike(0, Event::Crash);
        until_true("gate-b to own the IPv6 address", PATIENCE, || owner(&pair, 1));
        silence.wait_recovered(begun, HANGING, PATIENCE);
        let report = silence.report_since(begun);
        line(&format!("{subject}: crash: {}", report.summary()));
        assert!(report.silence <= pair.master_down(1) + SLACK, "{}", report.summary());
    }
}

/// The first address of an IPv6 virtual router is link-local (RFC 9568 5.2.9).
fn ipv6(plan: &mut Plan) {
    let vip = |address: &str| Vip { address: address.to_owned(), interface: "eth1".to_owned(), label: None };
    plan.routers[0].addresses = vec![vip("fe80::100/64"), vip("fd00:56::100/64")];
    plan.services[0].address = VIP6.to_string();
}

#[test]
fn two_nodes_that_boot_together_end_with_one_master() {
    const ORDERS: [(usize, [u8; 2]); 4] = [(0, [150, 100]), (1, [150, 100]), (0, [255, 255]), (1, [255, 255])];
    for subject in Subject::VIPGATE {
        let mut table = Table::new(
            &format!("{subject}: two nodes boot together"),
            &["order", "priorities", "first owner after", "final owner after", "two owners"],
        );
        let build = |_| FrontPair::build("two nodes boot together", subject).map(|pair| pair.every(INTERVAL));
        let Some(pairs) = ORDERS.iter().map(build).collect::<Option<Vec<FrontPair>>>() else { return };
        // Side by side: they wait.
        let boots = std::thread::scope(|scope| {
            let boot = |(pair, (first, priorities))| scope.spawn(move || boot_together(pair, first, priorities));
            let runs: Vec<_> = pairs.into_iter().zip(ORDERS).map(boot).collect();
            runs.into_iter().map(|run| run.join().expect("it ends well")).collect::<Vec<_>>()
        });
        for cells in boots {
            table.row(&cells.each_ref().map(String::as_str));
        }
        table.print();
    }
}

/// The row of a table.
fn boot_together(mut pair: FrontPair, first: usize, priorities: [u8; 2]) -> [String; 5] {
    for (plan, priority) in pair.plans.iter_mut().zip(priorities) {
        plan.routers[0].priority = priority;
    }
    let begun = Instant::now();
    pair.start_gate(first);
    pair.start_gate(1 - first);
    pair.ownership.wait_for_one(VIP, PATIENCE);
    let owned = begun.elapsed();
    // Equal priorities: whoever came first, or the greater address among two masters; unequal: the higher.
    if priorities[0] != priorities[1] {
        pair.wait_owner(0);
    }
    let settled = begun.elapsed();
    pass(10 * INTERVAL);
    let owner = pair.ownership.owners(VIP).join(" and ");
    let spread = pair.ownership.spread(VIP, begun, Instant::now());
    let order = format!("{} first", pair.nodes[first].name());
    assert_eq!(pair.ownership.owners(VIP).len(), 1, "{order}: {owner}");
    assert!(spread.several <= INTERVAL + SLACK, "{order}: two owners for {:?}", spread.several);
    let quiet = pair.adverts.since(VRID, Instant::now() - 5 * INTERVAL);
    assert_eq!(netns_tests::adverts::by_source(&quiet).len(), 1, "{order}: two masters: {quiet:?}");
    [order, format!("{priorities:?}"), ms(owned), format!("{} ({owner})", ms(settled)), ms(spread.several)]
}

#[test]
fn two_virtual_routers_back_each_other_up() {
    let second: IpAddr = [192, 168, 56, 200].into();
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("two virtual routers back each other up", subject) else { return };
        let mut pair = pair.every(INTERVAL).with(|plan| add_router(plan, second));
        // Each node is the first choice for one of them.
        pair.plans[0].routers[1].priority = 100;
        pair.plans[1].routers[1].priority = 150;
        pair.start_gate(0);
        pair.start_gate(1);
        let owners = |pair: &FrontPair| {
            let owner = |address| pair.nodes.iter().position(|node| node.address(address).is_some());
            (owner(VIP), owner(second))
        };
        until_true("each node to own one address", PATIENCE, || owners(&pair) == (Some(0), Some(1)));
        let targets = [VIP, second].map(|vip| SocketAddr::new(vip, *PORTS.start()));
        let silence = Silence::start(&pair.client, &targets, &[]);
        silence.wait_steady(300, PATIENCE);
        for which in [0, 1] {
            let begun = pair.strike(which, Event::Terminate);
            pair.gate(which).wait_end();
            let other = Some(1 - which);
            until_true("one node to own both", PATIENCE, || owners(&pair) == (other, other));
            silence.wait_recovered(begun, HANGING, PATIENCE);
            let report = silence.report_since(begun);
            line(&format!("{subject}: {} stopped: {}", pair.nodes[which].name(), report.summary()));
            assert!(report.silence <= Duration::from_millis(5) + SLACK, "{}", report.summary());
            pair.heal(which, Event::Terminate);
            until_true("each node to own its own again", PATIENCE, || owners(&pair) == (Some(0), Some(1)));
            pair.wait_standby();
            silence.wait_steady(300, PATIENCE);
        }
    }
}

fn add_router(plan: &mut Plan, address: IpAddr) {
    let mut router = plan.routers[0].clone();
    router.name = "second".to_owned();
    router.vrid = VRID + 1;
    router.addresses = vec![Vip { address: format!("{address}/24"), interface: "eth1".to_owned(), label: None }];
    plan.routers.push(router);
    let mut service = plan.services[0].clone();
    service.name = "more-files".to_owned();
    service.address = address.to_string();
    plan.services.push(service);
}

/// The published UDMG pair: priority 255 on both, started as master and as backup.
#[test]
fn equal_owners_fail_over_in_either_direction() {
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("priority 255 on both", subject) else { return };
        let mut pair = pair.every(INTERVAL).with(|plan| plan.routers[0].priority = 255);
        pair.plans[0].routers[0].start_master = true;
        pair.start_gate(0);
        pair.wait_owner(0);
        pair.start_gate(1);
        pair.wait_serving();
        pair.wait_standby();
        let silence = Silence::start(&pair.client, &pair.targets(), &[]);
        silence.wait_steady(300, PATIENCE);
        let mut owner = 0;
        for event in
            [Event::Terminate, Event::Terminate, Event::Kill, Event::Kill, Event::CutCarrier, Event::CutCarrier]
        {
            let begun = pair.strike(owner, event);
            let successor = 1 - owner;
            until_true("the other to take over", PATIENCE, || {
                pair.ownership.gained(&pair.nodes[successor], VIP, begun).is_some()
            });
            silence.wait_recovered(begun, HANGING, PATIENCE);
            let report = silence.report_since(begun);
            line(&format!("{subject}: {} on {}: {}", event.label(), pair.nodes[owner].name(), report.summary()));
            assert!(report.silence <= bound(&pair, event), "{}: {}", event.label(), report.summary());
            // The one that comes back starts as backup here: two that start as master would have to fight it out.
            pair.plans[owner].routers[0].start_master = false;
            pair.heal(owner, event);
            owner = until("one owner", PATIENCE, || match pair.ownership.owners(VIP).as_slice() {
                [one] => pair.nodes.iter().position(|node| node.name() == *one),
                _ => None,
            });
            pair.wait_standby();
            silence.wait_steady(300, PATIENCE);
        }
    }
}

#[test]
fn a_backup_removes_an_address_that_somebody_left() {
    for subject in Subject::VIPGATE {
        let Some(pair) = FrontPair::build("a stale address on the backup", subject) else { return };
        let mut pair = pair.every(INTERVAL);
        pair.start_gate(0);
        pair.wait_owner(0);
        pair.nodes[1].ip(&format!("addr add {VIP}/24 dev eth1"));
        let begun = Instant::now();
        pair.gates[1] = Some(Gate::start(&pair.nodes[1], subject, &pair.plans[1]));
        let since = pair.wait_owner(0);
        line(&format!("{subject}: removed {} after the start", ms(since.saturating_duration_since(begun))));
    }
}
