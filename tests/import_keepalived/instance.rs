//! An instance: its state, its numbers, its addresses, and what it cannot do without.

use std::time::Duration;

use vipgate::model::{Family, InitialState, Version};

use crate::import_support::{keepalived_text, load, model};
use crate::{findings, instance, router};

#[test]
fn defaults_are_keepaliveds_own() {
    let router = router("");
    assert_eq!((router.version, router.family, router.priority.get()), (Version::V2, Family::V4, 100));
    assert_eq!((router.interval.centiseconds(), router.preempt, router.preempt_delay), (100, true, Duration::ZERO));
    assert_eq!((router.initial, router.password, router.source), (InitialState::Backup, None, None));
    assert!(router.peers.is_empty() && router.track.is_empty() && router.fronts.is_empty());
}

#[test]
fn state_and_priority() {
    let facts = |lines: &str| {
        let router = router(lines);
        (router.initial, router.priority.get())
    };
    assert_eq!(facts(" state MASTER"), (InitialState::Master, 255));
    assert_eq!(facts(" state MASTER\n priority 101"), (InitialState::Master, 101));
    assert_eq!(facts(" state BACKUP\n priority 255"), (InitialState::Backup, 255));
    assert_eq!(facts(" priority 0x20"), (InitialState::Backup, 32));
    assert_eq!(facts(" priority 255"), (InitialState::Master, 255));
    assert_eq!(facts(" state master"), (InitialState::Backup, 100));
    assert_eq!(
        findings(" state master"),
        ["warning 7: `master` is neither MASTER nor BACKUP: BACKUP is used, as in keepalived"]
    );
}

#[test]
fn values_out_of_range_are_told_and_the_default_is_used() {
    for (line, priority) in
        [(" priority abc", 100), (" priority 300", 100), (" priority 0", 100), (" priority 12x", 100)]
    {
        assert_eq!(router(line).priority.get(), priority);
        let found = findings(line);
        assert!(found.len() == 1 && found[0].starts_with("warning 7: "), "{line}: {found:?}");
    }
    for line in [
        " advert_int 0.001",
        " advert_int x",
        " advert_int 256",
        " preempt_delay 1001",
        " garp_master_delay 1.5",
        " version 4",
    ] {
        let found = findings(line);
        assert!(found.len() == 1 && found[0].starts_with("warning 7: "), "{line}: {found:?}");
    }
    for line in [" priority", " advert_int", " interface", " state", " interface a/b"] {
        let found = findings(line);
        assert!(found.len() == 1 && found[0].starts_with("error 7: "), "{line}: {found:?}");
    }
}

#[test]
fn intervals() {
    let centiseconds = |lines: &str| router(lines).interval.centiseconds();
    assert_eq!(centiseconds(" advert_int 5"), 500);
    assert_eq!(centiseconds(" version 3\n advert_int 0.01"), 1);
    assert_eq!(centiseconds(" version 3\n advert_int 0.25"), 25);
    assert_eq!(centiseconds(" version 3\n advert_int 41"), 4095);
    assert_eq!(centiseconds(" advert_int 1.5"), 200);
    assert_eq!(centiseconds(" advert_int 0.2"), 100);
}

#[test]
fn passwords() {
    let password =
        |lines: &str| router(&format!(" authentication {{\n{lines}\n }}")).password.map(|password| password.bytes());
    assert_eq!(password("auth_type PASS\n auth_pass 1234"), Some(*b"1234\0\0\0\0"));
    assert_eq!(password("auth_pass 123456789\n auth_type PASS"), Some(*b"12345678"));
    assert_eq!(password("auth_type PASS"), None);
    assert_eq!(password("auth_pass 1234"), None);
    assert_eq!(findings(" authentication {\n auth_type AH\n auth_pass x\n }").len(), 1);
    assert!(findings(" authentication {\n auth_type AH\n }")[0].starts_with("error 8: AH is not spoken"));
    let version_3 = findings(" version 3\n authentication {\n auth_type PASS\n auth_pass 1234\n }");
    assert_eq!(version_3, ["warning 10: version 3 has no authentication: ignored, as in keepalived"]);
}

#[test]
fn preemption() {
    let facts = |lines: &str| {
        let router = router(lines);
        (router.preempt, router.preempt_delay.as_millis())
    };
    assert_eq!(facts(" state BACKUP\n nopreempt"), (false, 0));
    assert_eq!(facts(" state BACKUP\n nopreempt\n preempt"), (true, 0));
    assert_eq!(facts(" state BACKUP\n preempt_delay 4.12"), (true, 4120));
    // What contradicts the start is cleared, as there.
    assert_eq!(facts(" state MASTER\n priority 90\n nopreempt\n preempt_delay 5"), (true, 0));
    assert_eq!(findings(" state BACKUP\n priority 255\n nopreempt").len(), 1);
}

#[test]
fn addresses() {
    let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n\
        10.0.0.1\n 10.0.0.2/24 brd 10.0.0.255 dev eth1 scope link label eth1:x\n 10.0.0.3/24 brd +\n 10.0.0.4/24 brd -\n 10.0.0.5/99\n\
        10.0.0.6 label eth0:1 home -nodad zork\n 10.0.0.7 peer 1.1.1.1 no_track\n }\n}\n";
    let loaded = load(Some(text), None).unwrap();
    let shown = loaded.config.routers[0].addresses.iter().map(|address| {
        (
            address.prefix.to_string(),
            address.interface.to_string(),
            address.label.clone(),
            address.broadcast.map(|b| b.to_string()),
        )
    });
    let expected = [
        ("10.0.0.1/32", "eth0", None, None),
        ("10.0.0.2/24", "eth1", Some("eth1:x"), Some("10.0.0.255")),
        ("10.0.0.3/24", "eth0", None, Some("10.0.0.255")),
        ("10.0.0.4/24", "eth0", None, Some("10.0.0.0")),
        ("10.0.0.5/32", "eth0", None, None),
        ("10.0.0.6/32", "eth0", Some("eth0:1"), None),
        ("10.0.0.7/32", "eth0", None, None),
    ];
    let expected =
        expected.map(|(p, i, l, b)| (p.to_owned(), i.to_owned(), l.map(str::to_owned), b.map(str::to_owned)));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!(loaded.warnings.len(), 4);
    for broken in ["foo", "10.0.0.256", "10.0.0.1 brd zork", "10.0.0.1 dev", "dev eth0", "10.0.0.1 dev a/b"] {
        let found = findings(&format!(" virtual_ipaddress_excluded {{\n {broken}\n }}"));
        assert!(found.len() == 1 && found[0].starts_with("error 8: "), "{broken}: {found:?}");
    }
}

#[test]
fn ipv6_instances_speak_version_3() {
    let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n version 2\n virtual_ipaddress {\n fe80::1/64\n 2001:db8::1/64\n }\n\
        virtual_ipaddress_excluded {\n 10.0.0.1/24\n }\n}\n";
    let router = model(Some(text), None).routers.remove(0);
    assert_eq!((router.family, router.version), (Family::V6, Version::V3));
    assert_eq!(router.excluded[0].prefix.to_string(), "10.0.0.1/24");
    let mixed = keepalived_text(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n fe80::1/64\n 10.0.0.1\n }\n}\n",
    );
    assert_eq!(mixed.findings(), ["warning 6: the instance is IPv6: this address is ignored, as in keepalived"]);
    assert_eq!(mixed.raw.routers[0].addresses.len(), 1);
}

#[test]
fn unicast() {
    let unicast = router(" unicast_src_ip 10.0.0.1\n unicast_peer {\n 10.0.0.2\n 10.0.0.3 min_ttl 255\n fe80::1\n }");
    assert_eq!(unicast.peers.iter().map(|peer| peer.address.to_string()).collect::<Vec<_>>(), ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(unicast.source.unwrap().to_string(), "10.0.0.1");
    let broken = keepalived_text(&instance(" unicast_peer {\n zork\n }"));
    assert_eq!(broken.errors(), ["error 8: `zork` is not an IP address"]);
    assert_eq!(router(" mcast_src_ip 10.0.0.9").source.unwrap().to_string(), "10.0.0.9");
}

#[test]
fn announcements_have_global_defaults() {
    let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n garp_master_delay 9\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n\
        global_defs {\n vrrp_garp_master_delay 3\n vrrp_garp_master_repeat 2\n vrrp_garp_master_refresh 60\n vrrp_version 3\n}\n";
    let router = model(Some(text), None).routers.remove(0);
    let announce = &router.announce;
    assert_eq!((announce.count, announce.repeat_count, announce.lower_priority_count), (2, 2, 2));
    assert_eq!((announce.repeat_after, announce.refresh), (Duration::from_secs(9), Some(Duration::from_secs(60))));
    assert_eq!(router.version, Version::V3);
    let least = model(Some(&format!("global_defs {{\n vrrp_min_garp\n}}\n{}", instance(""))), None).routers.remove(0);
    assert_eq!((least.announce.count, least.announce.repeat_after, least.announce.refresh), (1, Duration::ZERO, None));
}

/// keepalived refreshes only where told to; a client that was cut off for a while then never learns.
#[test]
fn announcements_are_refreshed_unless_told_not_to() {
    assert_eq!(router("").announce.refresh, Some(Duration::from_secs(60)));
    assert_eq!(router(" garp_master_refresh 0").announce.refresh, None);
}

#[test]
fn unknown_words_warn_and_their_blocks_are_skipped() {
    // keepalived takes an unknown block's lines for lines of the block around it.
    let text = instance(" zork {\n  priority 1\n  more {\n  }\n }\n priorty 50\n priority 60");
    let imported = keepalived_text(&text).without_errors();
    assert_eq!(
        imported.warnings(),
        ["warning 7: unknown word `zork`: ignored", "warning 12: unknown word `priorty`: ignored"]
    );
    assert_eq!(imported.diagnostics.last().unwrap().help.as_deref(), Some("did you mean `priority`?"));
    assert_eq!(imported.raw.routers[0].priority.unwrap().value, 60);
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() {
    for text in [
        "virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 {\n }\n}\n".to_owned(),
        "net_namespace x\n".to_owned(),
        instance(" vrf x"),
        instance(" virtual_routes {\n 10.0.0.0/8 nexthop via 192.0.2.1 nexthop via 192.0.2.3\n }"),
        instance(" virtual_rules {\n not from 10.0.0.0/8 table 5 preference 1\n }"),
        instance(" auth_hmac {\n key 1 0123456789abcdef\n key 2 0123456789abcdef\n active_key 1\n }"),
        instance(" auth_hmac {\n key 1 0123456789abcdef\n mode permissive\n }"),
    ] {
        assert_eq!(keepalived_text(&text).errors().len(), 1, "{text}");
    }
}

#[test]
fn what_an_instance_cannot_do_without() {
    for (text, line) in [
        ("vrrp_instance V {\n virtual_router_id 7\n}\n", "keepalived.conf:1"),
        ("vrrp_instance V {\n interface eth0\n}\n", "keepalived.conf:1"),
        ("vrrp_instance {\n interface eth0\n virtual_router_id 7\n}\n", "keepalived.conf:1"),
        ("vrrp_instance V {\n interface eth0\n virtual_router_id 256\n}\n", "keepalived.conf:3"),
        ("vrrp_instance V {\n interface eth0\n virtual_router_id x\n}\n", "keepalived.conf:3"),
        ("vrrp_instance V {\n interface eth0\n virtual_router_id 7\n", "keepalived.conf:1"),
    ] {
        let failed = load(Some(text), None).unwrap_err().to_string();
        assert!(failed.contains(line), "{text}{failed}");
    }
}

#[test]
fn an_instance_without_addresses_is_legal() {
    let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n}\n";
    assert!(model(Some(text), None).routers[0].addresses.is_empty());
    let warnings = |text: &str| load(Some(text), None).unwrap().warnings.len();
    assert_eq!(warnings(text), 1);
    // What is not advertised moves as well.
    let excluded = "virtual_ipaddress_excluded {\n 192.0.2.1/24\n }\n}\n";
    assert_eq!(warnings(&text.replace("}\n", excluded)), 0);
}

#[test]
fn the_family_of_an_instance_without_addresses() {
    let family = |line: &str| {
        model(Some(&format!("vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n {line}\n}}\n")), None).routers
            [0]
        .family
    };
    assert_eq!(family(""), Family::V4);
    assert_eq!(family("unicast_peer {\n fe80::1\n }"), Family::V6);
}
