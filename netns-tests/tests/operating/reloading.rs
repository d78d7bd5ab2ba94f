//! What a reload brings is known to what it brings: readiness, priority; and what it refuses has no effect.

use std::time::{Duration, Instant};

use netns_tests::adverts::spacing;
use netns_tests::echo::{Echo, Mode};
use netns_tests::gate::{Subject, said};
use netns_tests::node::Node;
use netns_tests::pair::{FrontPair, PATIENCE, VRID};
use netns_tests::plan::{Plan, Vip};
use netns_tests::report::line;
use netns_tests::wait::{pass, until_true};

use crate::support::side_by_side;

/// Of the service that is dead.
const MORE: u16 = 7000;
const ITS_ADDRESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 56, 110));
const ITS_VRID: u8 = VRID + 1;

#[test]
fn a_router_that_a_reload_adds_in_front_of_a_dead_service_is_not_ready() {
    let build = |&subject: &Subject| Some(FrontPair::build("a router added", subject)?.with(add_service));
    let Some(pairs) = Subject::VIPGATE.iter().map(build).collect::<Option<Vec<_>>>() else { return };
    side_by_side(pairs, |mut pair| {
        // The other node would be worse, but serves.
        add_router(&mut pair.plans[1], 50);
        pair.plans[1].services.retain(|service| service.name != "more");
        pair.start();
        until_true("gate-b to have the address", PATIENCE, || has_it(&pair.nodes[1]));
        until_true("the servers to be found dead", PATIENCE, || {
            let status = pair.gate(0).status().unwrap_or_default();
            status["pools"].to_string().contains("DOWN") || pair.gate(0).log().contains("more")
        });
        pass(Duration::from_secs(1));

        add_router(&mut pair.plans[0], 150);
        let begun = Instant::now();
        pair.gate(0).reload(&pair.plans[0]);
        until_true("the reload", PATIENCE, || pair.gate(0).log().contains("virtual router second added"));
        pass(12 * pair.interval());
        let ours = || -> Vec<u8> {
            let adverts = pair.adverts.since(ITS_VRID, begun).into_iter();
            adverts.filter(|advert| advert.source == a()).map(|advert| advert.priority).collect()
        };
        assert!(ours().is_empty(), "{}: it became master in front of a dead service", pair.subject);
        assert!(has_it(&pair.nodes[1]) && !has_it(&pair.nodes[0]), "{}", pair.subject);

        // Alone, it is better than nobody, and says what it is worth.
        pair.gate(1).terminate();
        until_true("gate-a to have the address", PATIENCE, || has_it(&pair.nodes[0]));
        pass(3 * pair.interval());
        let said = ours();
        assert!(said.iter().all(|&priority| priority <= 1), "{}: it says it can serve: {said:?}", pair.subject);

        let _servers: Vec<Echo> = pair.servers.iter().map(|node| Echo::start(node, MORE..=MORE, Mode::Echo)).collect();
        until_true("its priority", PATIENCE, || ours().last() == Some(&150));
        line(&format!("{}: ready once its servers are up", pair.subject));
    });
}

#[test]
fn a_priority_changes_with_the_next_advertisement_and_a_broken_file_changes_nothing() {
    let build = |&subject: &Subject| FrontPair::build("a priority", subject);
    let Some(pairs) = Subject::VIPGATE.iter().map(build).collect::<Option<Vec<_>>>() else { return };
    side_by_side(pairs, |mut pair| {
        pair.start();
        pair.plans[0].routers[0].priority = 160;
        let begun = Instant::now();
        netns_tests::gate::write_files(&pair.nodes[0], pair.subject, &pair.plans[0]);
        let reply = pair.gate(0).vipgate("reload");
        assert!(reply.status.success(), "{}", said(&reply));
        assert!(said(&reply).contains("virtual router front changed"), "{}", said(&reply));
        let replied = Instant::now();
        pass(5 * pair.interval());
        let adverts = pair.adverts.since(VRID, begun);
        let late = adverts.iter().filter(|advert| advert.at > replied + pair.interval() / 2);
        let late: Vec<u8> = late.map(|advert| advert.priority).collect();
        assert!(late.len() >= 3 && late.iter().all(|&priority| priority == 160), "{}: {late:?}", pair.subject);

        let [_, file] = pair.gate(0).files();
        let text = std::fs::read_to_string(&file).expect("its file");
        std::fs::write(&file, text.replace(&format!(" {VRID}\n"), " 999\n")).expect("its file");
        let refused = pair.gate(0).vipgate("reload");
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("nothing has changed") && said(&refused).contains("999"), "{}", said(&refused));
        pass(5 * pair.interval());
        let adverts = pair.adverts.since(VRID, begun);
        let (_, longest) = spacing(&adverts, a()).unwrap_or_default();
        let limit = pair.interval() * 6 / 5 + Duration::from_millis(50);
        assert!(longest <= limit, "{}: advertisements {longest:?} apart", pair.subject);
        assert_eq!(adverts.last().map(|advert| advert.priority), Some(160));
        let moved = pair.ownership.events().into_iter().filter(|event| event.at > begun).count();
        assert_eq!(moved, 0, "{}: an address was touched", pair.subject);
    });
}

fn a() -> std::net::IpAddr {
    [192, 168, 56, 101].into()
}

fn has_it(node: &Node) -> bool {
    node.owned().contains(&ITS_ADDRESS)
}

/// A service behind which nobody answers.
fn add_service(plan: &mut Plan) {
    let mut service = plan.services[0].clone();
    (service.name, service.ports, service.address) = ("more".to_owned(), MORE..=MORE, ITS_ADDRESS.to_string());
    if let Some(check) = &mut service.check {
        check.port = MORE;
    }
    plan.services.push(service);
}

fn add_router(plan: &mut Plan, priority: u8) {
    let mut router = plan.routers[0].clone();
    (router.name, router.vrid, router.priority) = ("second".to_owned(), ITS_VRID, priority);
    router.addresses = vec![Vip { address: format!("{ITS_ADDRESS}/24"), interface: "eth1".to_owned(), label: None }];
    plan.routers.push(router);
}
