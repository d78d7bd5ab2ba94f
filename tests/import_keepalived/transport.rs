//! How advertisements travel, routes and rules; and a file as a whole.

use std::time::Duration;

use vipgate::config::Loading;
use vipgate::config::diagnostic::{Style, render};
use vipgate::config::import::{keepalived, load_haproxy, load_keepalived};
use vipgate::model::{Peer, RouteKind, Scope, Vmac};

use crate::import_support::{World, keepalived_in, keepalived_text, loading, model, resolve};
use crate::{TRACKERS, findings, instance, router, two};

#[test]
fn how_adverts_travel() {
    let of = |lines: &str| router(&format!(" version 3\n{lines}"));
    let strict = of(" unicast_peer {\n 10.0.0.2 min_ttl 64 max_ttl 255\n 10.0.0.3\n }\n unicast_ttl 64");
    let peer = |address: &str, min_ttl| Peer { address: address.parse().unwrap(), min_ttl, max_ttl: 255 };
    assert_eq!(strict.peers, [peer("10.0.0.2", 64), peer("10.0.0.3", 0)]);
    assert!(strict.only_peers, "a limit of the TTL says who a peer is");
    assert_eq!(strict.unicast_ttl, 64);
    assert!(of(" unicast_peer {\n 10.0.0.2\n }\n check_unicast_src").only_peers);
    assert!(!of(" unicast_peer {\n 10.0.0.2\n }").only_peers);
    assert_eq!(of(" mcast_dst_ip 224.0.0.99").group, Some("224.0.0.99".parse().unwrap()));
    let key = of(" auth_hmac {\n key 7 hex:000102030405060708090a0b0c0d0e0f\n active_key 7\n mode enforce\n anti_replay time\n }").hmac.unwrap();
    assert_eq!((key.id, key.secret), (7, (0..16).collect::<Vec<u8>>()));
    let global = "global_defs {\n vrrp_mcast_group4 224.0.0.50\n vrrp_check_unicast_src\n vrrp_down_timer_adverts 4\n vrrp_startup_delay 1.5\n}\n";
    let loaded = model(Some(&(global.to_owned() + &instance(""))), None).routers.remove(0);
    assert_eq!(loaded.group, Some("224.0.0.50".parse().unwrap()));
    assert_eq!((loaded.missed_adverts, loaded.start_delay, loaded.only_peers), (4, Duration::from_millis(1500), false));
    assert_eq!(of(" down_timer_adverts 9").missed_adverts, 9);
}

#[test]
fn virtual_hardware_addresses_are_named_as_there() {
    let six = "vrrp_instance C {\n interface eth1\n virtual_router_id 9\n use_vmac\n virtual_ipaddress {\n fe80::1/64\n }\n}\n";
    let names = |global: &str, text: &str| {
        let config = model(Some(&format!("{global}{text}{six}")), None);
        config
            .routers
            .into_iter()
            .filter_map(|router| router.vmac)
            .map(|vmac| vmac.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("", &two(" use_vmac")), ["vrrp.9", "vrrp1.9", "vrrp6.9"]);
    assert_eq!(names("global_defs {\n vmac_prefix zz\n}\n", &two(" use_vmac")), ["zz.9", "zz1.9", "zz6.9"]);
    let named = Vmac { name: "mine".parse().unwrap(), from_base: true };
    assert_eq!(router(" use_vmac mine\n vmac_xmit_base").vmac, Some(named));
    // Unicast leaves from the interface itself, as there.
    let unicast = instance(" use_vmac mine\n unicast_peer {\n 10.0.0.2\n }");
    assert!(model(Some(&unicast), None).routers[0].vmac.as_ref().unwrap().from_base);
    assert_eq!(keepalived_text(&unicast).warnings().len(), 1);
    assert_eq!(findings(" use_vmac mine 00:00:5e:00:01:09").len(), 1);
}

#[test]
fn routes_and_rules() {
    let router = router(
        " virtual_routes {\n src 10.0.0.1 to 10.8.0.0/16 via 10.0.0.254 dev eth1 scope link table 100 metric 5 mtu lock 1400 onlink\n\
         default via fe80::1 dev eth1\n 0.0.0.0/0 gw 10.0.0.254 table main\n blackhole 10.9.0.0/16\n 10.7.0.0/16 dev eth1 no_track\n }\n\
         virtual_rules {\n from 10.0.0.0/8 to 10.8.0.0/16 table 100 iif eth1 oif eth2 fwmark 0x10 preference 5\n\
         inet6 iif eth1 lookup local\n from all to 10.1.0.0/16 table 7\n }",
    );
    let first = &router.routes[0];
    assert_eq!(
        (first.destination.to_string(), first.gateway.unwrap().to_string()),
        ("10.8.0.0/16".into(), "10.0.0.254".into())
    );
    assert_eq!((first.metric, first.table, first.mtu, first.on_link), (Some(5), Some(100), Some(1400), true));
    assert_eq!((first.scope, first.source.unwrap().to_string()), (Some(Scope::Link), "10.0.0.1".into()));
    assert_eq!(router.routes[1].destination.to_string(), "::/0");
    assert_eq!((router.routes[2].destination.to_string(), router.routes[2].table), ("0.0.0.0/0".into(), Some(254)));
    assert_eq!((router.routes[3].kind, router.routes[4].kind), (RouteKind::Blackhole, RouteKind::Unicast));
    let rule = &router.rules[0];
    assert_eq!((rule.table, rule.priority, rule.mark), (100, Some(5), Some(16)));
    assert_eq!((rule.incoming.as_ref().unwrap().as_str(), rule.outgoing.as_ref().unwrap().as_str()), ("eth1", "eth2"));
    assert_eq!(router.rules[1].from.unwrap().to_string(), "::/0");
    // Counted down, as there.
    assert_eq!((router.rules[1].priority, router.rules[2].priority), (Some(16_384), Some(16_383)));
    assert_eq!((router.rules[2].from, router.rules[2].to.unwrap().to_string()), (None, "10.1.0.0/16".into()));

    let world = World::default().file("/etc/iproute2/rt_tables", "255\tlocal\n# 1 not\n77 uplink # mine\n");
    let named = keepalived_in(&world, "static_routes {\n 10.1.0.0/16 dev eth0 table uplink\n}\n").clean();
    assert_eq!(named.raw.routes[0].table.unwrap().value, 77);
    let unknown = keepalived_in(&world, "static_rules {\n from 10.1.0.0/16 table not preference 1\n}\n");
    assert_eq!(unknown.errors(), ["error 2: there is no table called `not`"]);
    for broken in ["via 10.0.0.1", "10.0.0.0/8 via", "10.0.0.0/8 zork", "10.0.0.0/8 via zork", "10.0.0.0/8 dev a/b"] {
        let found = findings(&format!(" virtual_routes {{\n {broken}\n }}"));
        assert!(found.len() == 1 && found[0].starts_with("error 8: "), "{broken}: {found:?}");
    }
}

/// What `vipgate import` prints of each example in this file that is more than a word is read in as the same model.
#[test]
fn what_is_imported_is_written_out_and_read_in_again() {
    let text = format!(
        "{}vrrp_sync_group G {{\n group {{\n A\n B\n }}\n track_script {{\n web\n }}\n}}\n{TRACKERS}",
        two(
            " use_vmac\n notify_master \"/bin/x '' 'a b' \\\\\" nobody\n virtual_rules {\n from 10.0.0.0/8 table 9\n }"
        )
    );
    let toml = vipgate::config::emit::emit(loading(Some(&text), None).raw());
    let mut again = Loading::new();
    again.text("imported.toml", &toml);
    let again = again.finish(&resolve).unwrap_or_else(|failed| panic!("{failed}\n{toml}"));
    assert_eq!(model(Some(&text), None), again.config, "{toml}");
}

#[test]
fn comments_in_another_encoding_are_told_and_read() {
    let directory = std::env::temp_dir().join(format!("vipgate-latin1-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (keepalived_conf, haproxy_cfg) = (directory.join("keepalived.conf"), directory.join("haproxy.cfg"));
    let comment = b"# b\xfcro\n";
    std::fs::write(&keepalived_conf, [&comment[..], instance("").as_bytes()].concat()).unwrap();
    std::fs::write(
        &haproxy_cfg,
        [
            b"listen l\n bind :80\n",
            &comment[..],
            b" server s 10.0.0.1:80\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n",
        ]
        .concat(),
    )
    .unwrap();
    let mut loading = Loading::new();
    load_keepalived(&mut loading, &keepalived_conf, &keepalived::Options::default(), &World::default());
    load_haproxy(&mut loading, &haproxy_cfg, &World::default());
    let loaded = loading.finish(&resolve).unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!((loaded.config.routers.len(), loaded.config.services.len()), (1, 1));
    let told = render(&loaded.warnings, &loaded.sources, Style::Plain);
    assert!(told.contains("keepalived.conf:1:") && told.contains("haproxy.cfg:3:"), "{told}");
    assert_eq!(told.matches("this is not UTF-8").count(), 2, "{told}");
    std::fs::remove_dir_all(&directory).unwrap();
}
