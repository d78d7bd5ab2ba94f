//! Virtual routers: what their keys mean, and what is said about them.

use std::net::IpAddr;
use std::time::Duration;

use super::tests::{config, router, with_router};
use crate::model::{Command, HmacKey, InterfaceName, Peer, RouteKind, Scope, Track, Tracked, Vmac, Watched};

#[test]
fn the_intervals_of_both_versions() {
    let interval = |keys: &str| router(&format!("addresses = [\"192.0.2.1/24\"]\n{keys}")).interval.centiseconds();
    assert_eq!(interval("interval = \"10ms\""), 1);
    assert_eq!(interval("interval = \"40s 950ms\""), 4095);
    assert_eq!(interval("version = 2\ninterval = \"255s\""), 25500);
}

#[test]
fn a_weight_of_a_member_is_a_fault_unless_the_group_says_otherwise() {
    let weight = |group: &str| {
        let router = with_router("addresses = [\"192.0.2.1/24\"]\ntrack = [{ interface = \"eth1\", weight = -20 }]");
        config(&format!("{router}[[sync-group]]\nname = \"g\"\nrouters = \"r\"\n{group}")).routers[0].track[0].weight
    };
    assert_eq!(weight(""), 0);
    assert_eq!(weight("member-weights = true"), -20);
}

#[test]
fn addresses_outside_of_every_prefix_of_their_interface_are_named() {
    let config = config(&with_router(
        "addresses = [\"192.0.2.1/32\", \"198.51.100.1/24\"]\nexcluded-addresses = [\"2001:db8::1/64\"]",
    ));
    let there = |all: &[(&str, &str)]| {
        let all: Vec<_> = all.iter().map(|(name, prefix)| (interface(name), prefix.parse().unwrap())).collect();
        super::outside_prefixes(&config, &all).into_iter().map(|misfit| misfit.message).collect::<Vec<_>>()
    };
    assert!(there(&[]).is_empty(), "nothing is known of an interface that is not there");
    assert!(there(&[("eth0", "192.0.2.1/32")]).is_empty(), "nor of one that has only what a master set");
    assert!(there(&[("eth0", "192.0.2.9/24"), ("eth0", "198.51.100.200/25"), ("eth0", "2001:db8::9/64")]).len() == 1);
    assert!(there(&[("eth0", "192.0.2.9/24"), ("eth0", "198.51.100.2/25"), ("eth0", "2001:db8::9/64")]).is_empty());
    let found = there(&[("eth0", "192.0.2.9/24"), ("eth0", "198.51.100.1/24"), ("eth1", "2001:db8::9/64")]);
    assert_eq!(found.len(), 2, "what is left of a former run is no prefix of the link: {found:?}");
    assert_eq!(
        found[0],
        "virtual router r: 198.51.100.1 is in no prefix of eth0: its neighbours there will not ask for it"
    );
}

#[test]
fn the_address_of_its_owner_is_a_prefix_of_the_interface() {
    let owner = config(&with_router("priority = 255\naddresses = [\"192.0.2.1/24\"]"));
    let there = ["192.0.2.1/24", "fe80::1/64"].map(|prefix| (interface("eth0"), prefix.parse().unwrap()));
    assert!(super::outside_prefixes(&owner, &there).is_empty());
}

#[test]
fn every_new_key_reaches_the_model() {
    let config = config(include_str!("../../config/all-options.toml"));
    let router = &config.routers[0];
    assert_eq!(router.peers, [Peer { address: "192.0.2.2".parse().unwrap(), min_ttl: 254, max_ttl: 255 }]);
    assert!(router.only_peers, "limits on the TTL say who a peer is");
    assert_eq!(router.unicast_ttl, 255);
    assert_eq!(router.hmac, Some(HmacKey { id: 1, secret: b"sixteen bytes or more".to_vec() }));
    assert_eq!(router.vmac, Some(Vmac { name: interface("vrrp-front"), from_base: true }));
    assert_eq!(router.paths, [interface("eth2")]);
    assert_eq!((router.missed_adverts, router.start_delay, router.fight_limit), (3, Duration::from_secs(2), 5));
    assert_eq!(router.announce.ask, ["192.0.2.254".parse::<IpAddr>().unwrap()]);
    let track = |what: Tracked, weight, reverse| Track { what, weight, reverse };
    let tracker = |name: &str| Tracked::Tracker(name.into());
    assert_eq!(
        router.track,
        [
            track(Tracked::Interface(interface("eth1")), 0, false),
            track(tracker("web-answers"), -20, false),
            track(tracker("uplink"), -30, false),
            track(tracker("load"), -1, true),
            track(Tracked::Interface(interface("eth3")), 10, true),
        ]
    );
    let route = &router.routes[0];
    assert_eq!((route.metric, route.table, route.mtu, route.on_link), (Some(50), Some(100), Some(1400), true));
    assert_eq!((route.kind, route.scope), (RouteKind::Unicast, Some(Scope::Global)));
    assert_eq!(router.routes[1].kind, RouteKind::Blackhole);
    let rule = &router.rules[0];
    assert_eq!((rule.table, rule.priority, rule.mark), (100, Some(1000), Some(7)));
    let command = |command: &Option<Command>| command.clone().unwrap();
    let notify = &router.notify;
    assert_eq!(command(&notify.master).arguments, ["two words"]);
    assert_eq!(command(&notify.master).timeout, Duration::from_secs(60));
    assert_eq!(command(&notify.any).timeout, Duration::from_secs(20));
    assert_eq!(command(&notify.any).user.unwrap().group.as_deref(), Some("nogroup"));
    assert_eq!(command(&notify.backup).user.unwrap().name, "vipgate-scripts", "[scripts] says who");
    assert!(notify.fault.is_some() && notify.stop.is_some() && notify.lower_priority.is_some() && notify.mail);
    assert_eq!(command(&router.hooks.before_master).timeout, Duration::from_secs(5));
    assert_eq!(command(&router.hooks.after_release).timeout, Duration::from_secs(3));
    let group = &config.groups[0];
    assert_eq!(group.routers, ["inside", "outside"]);
    assert_eq!((group.track.len(), group.member_weights, group.notify.any.is_some()), (1, false, true));
    assert_eq!(config.trackers.len(), 6);
    let Watched::Script(script) = &config.trackers[0].watched else { panic!("{:?}", config.trackers[0]) };
    assert_eq!((script.interval, script.command.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    assert!(script.starts_down);
    assert_eq!((config.routes.len(), config.rules.len()), (1, 1));
    assert_eq!(config.notify.fifos.len(), 2);
    let mail = config.notify.mail.unwrap();
    assert_eq!((mail.server.as_str(), mail.port, mail.gap), ("mail.example.org", 587, Duration::from_secs(10)));
    assert_eq!((config.global.script_security, config.global.peer_port), (true, Some(11_200)));
}

fn interface(name: &str) -> InterfaceName {
    name.parse().unwrap()
}
