//! What keepalived only warns about, or passes over: the file is read, and means the same.

use std::time::Duration;

use vipgate::model::InitialState;

use crate::import_support::{keepalived_text, load, model};
use crate::{findings, instance, router};

fn globally(global: &str, lines: &str) -> vipgate::model::Config {
    model(Some(&format!("global_defs {{\n{global}\n}}\n{}", instance(lines))), None)
}

#[test]
fn strict_instances_have_no_password() {
    let pass = " authentication {\n auth_type PASS\n auth_pass 1111\n }";
    assert!(router(pass).password.is_some());
    assert!(router(&format!(" strict_mode\n{pass}")).password.is_none());
    assert!(globally("vrrp_strict", pass).routers[0].password.is_none());
    assert!(globally("vrrp_strict", &format!(" strict_mode off\n{pass}")).routers[0].password.is_some());
    assert!(globally("vrrp_strict off", pass).routers[0].password.is_some());
    let told = findings(&format!(" accept\n strict_mode\n{pass}"));
    assert_eq!(told, ["warning 9: strict mode has no authentication: ignored, as in keepalived"]);
}

#[test]
fn strict_instances_start_as_master_when_they_own_the_addresses() {
    let start = |lines: &str| router(&format!(" strict_mode\n{lines}")).initial;
    assert_eq!(start(" state MASTER\n priority 100"), InitialState::Backup);
    assert_eq!(start(" state BACKUP\n priority 255"), InitialState::Master);
    assert_eq!(start(" state MASTER"), InitialState::Master);
    let strict = router(" strict_mode\n preempt_delay 5");
    assert_eq!((strict.preempt_delay, strict.announce.lower_priority_count), (Duration::ZERO, 0));
    assert_eq!(
        findings(" strict_mode"),
        ["warning 1: strict mode drops what is sent to the addresses of `V`; here it is accepted"]
    );
}

#[test]
fn mail_to_local_names_goes_to_this_host() {
    let lines =
        "notification_email {\n acassen\n a@b\n <no>\n }\n notification_email_from root\n smtp_server 127.0.0.1\n";
    let mail = globally(lines, "").notify.mail.unwrap();
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("root@gate-a.example.org", &["acassen@gate-a.example.org".to_owned(), "a@b".into()][..])
    );
    let told = keepalived_text(&format!("global_defs {{\n{lines}\n}}\n")).without_errors().warnings();
    assert_eq!(
        told,
        [
            "warning 3: `acassen` has no domain: `acassen@gate-a.example.org` is used",
            "warning 5: `<no>` is not a mail address: ignored",
            "warning 7: `root` has no domain: `root@gate-a.example.org` is used",
        ]
    );
}

#[test]
fn addresses_of_hosts_may_have_a_prefix_length() {
    let unicast = router(" unicast_src_ip 10.0.0.1/24\n unicast_peer {\n 10.0.0.2/24\n 10.0.0.1\n }");
    assert_eq!(unicast.source.unwrap().to_string(), "10.0.0.1");
    // The node itself is none of its peers.
    assert_eq!(unicast.peers.iter().map(|peer| peer.address.to_string()).collect::<Vec<_>>(), ["10.0.0.2"]);
    let told = findings(" unicast_src_ip 10.0.0.1/24\n unicast_peer {\n 10.0.0.2/24\n 10.0.0.1\n }");
    assert_eq!(
        told,
        [
            "warning 7: this is one address: `10.0.0.1` is used",
            "warning 9: this is one address: `10.0.0.2` is used",
            "warning 10: this is the node itself: no peer, left out",
        ]
    );
    assert_eq!(router(" mcast_src_ip 10.0.0.9/8").source.unwrap().to_string(), "10.0.0.9");
}

#[test]
fn addresses_given_twice_are_advertised_twice_and_set_once() {
    let text = "vrrp_instance A {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 10.0.0.1/24\n\
        10.0.0.1/24 label eth0:1\n 10.0.0.1/24 dev eth1\n }\n virtual_ipaddress_excluded {\n 10.0.0.1/24\n }\n}\n\
        vrrp_instance B {\n interface eth0\n virtual_router_id 8\n virtual_ipaddress {\n 10.0.0.1/24\n }\n}\n";
    let config = model(Some(text), None);
    let first = &config.routers[0];
    // keepalived drops adverts whose number of addresses is not its own.
    assert_eq!((first.addresses.len(), first.excluded.len()), (3, 0));
    assert_eq!((&first.addresses[0], first.addresses[0].label.as_ref()), (&first.addresses[1], None));
    assert_eq!(first.addresses[2].interface.as_str(), "eth1");
    assert_eq!(config.routers[1].addresses.len(), 1);
}

#[test]
fn labels_are_free() {
    let labelled = router(
        " virtual_ipaddress_excluded {\n 10.0.0.1 label web\n 10.0.0.2 label longer-than-labels\n fe80::1 label x\n }",
    );
    let shown = labelled.excluded.iter().map(|address| (address.prefix.to_string(), address.label.clone()));
    assert_eq!(shown.collect::<Vec<_>>(), [("10.0.0.1/32".into(), Some("web".into())), ("fe80::1/128".into(), None)]);
}

#[test]
fn announcements_are_few_where_nothing_else_is_said() {
    for global in ["vrrp_min_garp\n vrrp_garp_master_repeat 4", "vrrp_garp_master_repeat 4\n vrrp_min_garp"] {
        let announce = globally(global, " garp_master_delay 9").routers.remove(0).announce;
        assert_eq!((announce.count, announce.repeat_after, announce.refresh), (4, Duration::from_secs(9), None));
    }
    let once = router(" garp_master_repeat 0\n garp_master_refresh_repeat 0").announce;
    assert_eq!((once.count, once.refresh_count), (1, 1));
    assert_eq!(router(" priority +77").priority.get(), 77);
}

#[test]
fn what_stands_outside_of_braces_is_told() {
    assert_eq!(findings(" track_interface eth1"), ["warning 7: `track_interface` wants its lines in braces: ignored"]);
    assert_eq!(
        findings(" authentication auth_type PASS"),
        ["warning 7: `authentication` wants its lines in braces: ignored"]
    );
    let surplus = findings(" track_interface eth1 {\n eth2 weight\n }");
    assert_eq!(
        surplus,
        [
            "warning 7: `eth1` stands before the brace: ignored, as in keepalived",
            "warning 8: `weight` wants a number after it: ignored, as in keepalived",
        ]
    );
    assert_eq!(router(" use_vmac averyverylongname").vmac.unwrap().name.as_str(), "vrrp.7");
}

#[test]
fn an_instance_is_in_one_group() {
    let group = |name: &str| format!("vrrp_sync_group {name} {{\n group {{\n V\n }}\n}}\n");
    let text = format!("{}{}{}", group("A"), group("B"), instance(""));
    let imported = keepalived_text(&text).without_errors();
    assert_eq!(imported.raw.groups.len(), 1);
    assert_eq!(
        imported.warnings(),
        [
            "warning 6: a group without instances: ignored, as in keepalived",
            "warning 8: `V` is in a group already: ignored, as in keepalived",
        ]
    );
}

#[test]
fn marks_have_masks() {
    let rule = router(" virtual_rules {\n fwmark 0x10/0xff table 5 preference 7\n }").rules.remove(0);
    assert_eq!((rule.mark, rule.mark_mask), (Some(0x10), Some(0xff)));
    assert!(findings(" virtual_rules {\n fwmark 1/x table 5 preference 7\n }")[0].starts_with("error 8: `x`"));
}

#[test]
fn routes_with_one_next_hop() {
    let routes =
        router(" virtual_routes {\n default6 via fe80::1 dev eth0\n 10.1.0.0/16 nexthop via 192.0.2.9 dev eth0\n }")
            .routes;
    assert_eq!(
        (routes[0].destination.to_string(), routes[1].gateway.unwrap().to_string()),
        ("::/0".into(), "192.0.2.9".into())
    );
    let several = findings(" virtual_routes {\n 10.1.0.0/16 nexthop via 192.0.2.9 nexthop via 192.0.2.8\n }");
    assert!(several.iter().all(|told| told.starts_with("error 8: ")) && !several.is_empty(), "{several:?}");
}

#[test]
fn one_number_for_different_peers() {
    let one = |name: &str, peer: &str| {
        let head = format!("vrrp_instance {name} {{\n interface eth0\n virtual_router_id 7\n");
        format!("{head} unicast_peer {{\n {peer}\n }}\n}}\n")
    };
    let text = |second: &str| format!("{}{}", one("A", "10.0.0.2"), one("B", second));
    let config = model(Some(&text("10.0.0.3")), None);
    assert!(config.routers.iter().all(|router| router.only_peers), "each hears its own peers");
    let failed = load(Some(&text("10.0.0.2")), None).unwrap_err().to_string();
    assert!(failed.contains("VRID 7 is taken on eth0"), "{failed}");
    let multicast = text("10.0.0.3").replace("unicast_peer {\n 10.0.0.3\n }", "");
    assert!(load(Some(&multicast), None).is_err());
}
