//! A node of which everything is killed at once is silent, its virtual hardware address included.

use std::io;
use std::time::Duration;

use netns_tests::gate::Subject;
use netns_tests::lan::Cut;
use netns_tests::pair::{Event, FrontPair, PATIENCE, VIP};
use netns_tests::report::{line, ms};
use netns_tests::silence::Silence;
use netns_tests::wait::{until, until_true};

use crate::support::side_by_side;

/// A successor waits for its skew, and not so much more.
const NOTICED: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn a_dead_node_with_a_virtual_hardware_address_is_silent_and_the_other_takes_over() {
    let build = |&subject: &Subject| {
        let pair = FrontPair::build("everything is killed, with a virtual hardware address", subject)?;
        Some(pair.with(|plan| {
            plan.routers[0].vmac = true;
            plan.routers[0].addresses[0].label = None;
        }))
    };
    let Some(pairs) = Subject::VIPGATE.iter().map(build).collect::<Option<Vec<_>>>() else { return };
    side_by_side(pairs, |mut pair| {
        pair.start();
        pair.wait_standby();
        let learned = neighbour(&pair);
        let vmac = "00:00:5e:00:01:33";
        assert!(learned.contains(vmac), "the client knows another hardware address: {learned}");

        let silence = Silence::start(&pair.client, &[pair.target()], &[]);
        silence.wait_steady(300, PATIENCE);
        let begun = pair.strike(0, Event::KillAll);
        let gained = until("gate-b to take over", PATIENCE, || pair.ownership.gained(&pair.nodes[1], VIP, begun));
        silence.wait_recovered(begun, netns_tests::flows::HANGING, PATIENCE);
        let report = silence.report_since(begun);
        drop(silence);
        line(&format!("{}: taken over after {}; {}", pair.subject, ms(gained - begun), report.summary()));
        let bound = pair.skew(1) + NOTICED;
        assert!(gained - begun <= bound, "taken over after {:?}, not within {bound:?}", gained - begun);
        assert!(report.silence <= bound, "{}", report.summary());

        // The dead node has the address still. With the successor out of sight nobody answers.
        assert!(pair.nodes[0].owned().contains(&VIP), "nothing is left that could answer");
        pair.front[1].cut(Cut::Silent);
        pair.client.run("ip neigh flush dev eth0");
        let answer = pair.client.connect_from(None, pair.target(), LIMIT).map(drop);
        let kind = answer.as_ref().map_err(io::Error::kind);
        assert!(
            matches!(kind, Err(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable)),
            "{}: the dead node answers: {answer:?}",
            pair.subject
        );
        assert!(!neighbour(&pair).contains("lladdr"), "{}: it says where the address is", pair.subject);
        pair.front[1].restore();
        pair.wait_serving();

        // The next life finds what was left, and is the better master.
        pair.heal(0, Event::KillAll);
        pair.wait_owner(0);
        pair.wait_serving();
        until_true("the client to know the virtual hardware address", PATIENCE, || neighbour(&pair).contains(vmac));
        assert_eq!(pair.nodes[0].run("ip -o link show type macvlan").lines().count(), 1);
    });
}

/// What the client knows of the virtual address.
fn neighbour(pair: &FrontPair) -> String {
    let _asked = pair.client.connect_from(None, pair.target(), LIMIT);
    pair.client.run(&format!("ip neigh show {VIP} dev eth0"))
}
