//! What keepalived.conf's directives become, and how mistakes are told.

#![expect(clippy::unwrap_used, reason = "helpers of tests: they fail them")]

mod import_support;

use std::time::Duration;

use import_support::{World, keepalived_in, keepalived_text, load, loading, model, resolve};
use vipgate::config::Loading;
use vipgate::config::diagnostic::{Style, render};
use vipgate::config::import::{keepalived, load_haproxy, load_keepalived};
use vipgate::model::{
    ArgumentsMatch, Family, InitialState, Peer, RouteKind, Scope, Track, Tracked, Version, VirtualRouter, Vmac, Watched,
};

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n  192.0.2.1/24\n }}\n{lines}\n}}\n"
    )
}

fn router(lines: &str) -> VirtualRouter {
    model(Some(&instance(lines)), None).routers.remove(0)
}

/// Findings about the lines from the seventh on, where `lines` stand.
fn findings(lines: &str) -> Vec<String> {
    keepalived_text(&instance(lines)).findings()
}

#[test]
fn defaults_are_keepaliveds_own() {
    let router = router("");
    assert_eq!((router.version, router.family, router.priority.get()), (Version::V2, Family::V4, 100));
    assert_eq!((router.interval.centiseconds(), router.preempt, router.preempt_delay), (100, true, Duration::ZERO));
    assert_eq!((router.initial, router.password, router.source), (InitialState::Master, None, None));
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
    assert_eq!(facts(" priority 0x20"), (InitialState::Master, 32));
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
    assert_eq!(mixed.errors(), ["error 6: the instance is IPv6: put this address under `virtual_ipaddress_excluded`"]);
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
        instance(" virtual_routes {\n 10.0.0.0/8 nexthop via 192.0.2.1\n }"),
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

fn tracker(name: &str, weight: i16, reverse: bool) -> Track {
    Track { what: Tracked::Tracker(name.into()), weight, reverse }
}

fn interface(name: &str, weight: i16, reverse: bool) -> Track {
    Track { what: Tracked::Interface(name.parse().unwrap()), weight, reverse }
}

const TRACKERS: &str = "vrrp_script web {\n script \"/bin/check 'a b' c\"\n interval 2.5\n weight -30\n rise 2\n fall 3\n\
    user nobody nogroup\n init_fail\n}\ntrack_file web {\n file /run/weight\n weight 2 reverse\n init_file 4\n}\n\
    vrrp_track_process sshd {\n process \"/usr/sbin/ss hd\" -D \"x y\"\n quorum 2\n quorum_max 9\n delay 0.5\n fork_delay 2\n}\n\
    vrrp_track_process plain {\n process sshd\n}\n";

#[test]
fn trackers_and_who_follows_them() {
    let text = instance(
        " track_interface {\n eth1\n eth2 weight 20 reverse\n eth0\n }\n track_script {\n web\n }\n\
         track_file {\n web weight 1 noreverse\n }\n track_process {\n sshd weight 5\n plain\n }",
    );
    let config = model(Some(&format!("{text}{TRACKERS}")), None);
    assert_eq!(
        config.routers[0].track,
        [
            interface("eth1", 0, false),
            interface("eth2", 20, true),
            tracker("web", -30, false),
            tracker("web-file", 1, false),
            tracker("sshd", 5, false),
            // keepalived 2.2.7 was seen to make it a fault, whatever its manual says of a default of 1.
            tracker("plain", 0, false),
        ]
    );
    let Watched::Script(script) = &config.trackers[0].watched else { panic!("{:?}", config.trackers[0]) };
    assert_eq!((script.interval, script.command.timeout), (Duration::from_millis(2500), Duration::from_millis(2500)));
    assert_eq!(script.command.arguments, ["a b", "c"]);
    assert_eq!(
        script.command.user.as_ref().map(|user| (user.name.as_str(), user.group.as_deref())),
        Some(("nobody", Some("nogroup")))
    );
    assert!(script.starts_down);
    assert_eq!((config.trackers[0].rise, config.trackers[0].fall), (2, 3));
    let Watched::File(file) = &config.trackers[1].watched else { panic!("{:?}", config.trackers[1]) };
    assert_eq!((file.path.to_str(), file.initial), (Some("/run/weight"), 4));
    let Watched::Process(process) = &config.trackers[2].watched else { panic!("{:?}", config.trackers[2]) };
    assert_eq!(
        (process.command.as_str(), process.arguments.as_slice()),
        ("/usr/sbin/ss hd", &["-D".to_owned(), "x y".into()][..])
    );
    assert_eq!((process.arguments_match, process.whole_command), (ArgumentsMatch::Exact, true));
    assert_eq!((process.at_least, process.at_most), (2, Some(9)));
    assert_eq!(
        (config.trackers[2].up_delay, config.trackers[2].down_delay),
        (Duration::from_secs(2), Duration::from_millis(500))
    );
    let Watched::Process(plain) = &config.trackers[3].watched else { panic!("{:?}", config.trackers[3]) };
    assert_eq!((plain.arguments_match, plain.whole_command), (ArgumentsMatch::Any, false));
    assert!(!config.global.script_security, "keepalived is careful when it is told to be");
}

#[test]
fn what_is_followed_but_not_defined_is_left_out() {
    let text = instance(" track_script {\n nowhere\n chk weight 300\n chk zork\n }")
        + "vrrp_script chk {\n script /bin/x one\n}\nvrrp_script chk {\n script /bin/y\n}\nvrrp_script none {\n}\n";
    let imported = keepalived_text(&text);
    assert_eq!(
        imported.findings(),
        [
            "warning 8: there is no script called `nowhere`: ignored, as in keepalived",
            "warning 9: `300` is not a weight from -253 to 253: ignored",
            "warning 10: `zork` was expected to be `weight`: ignored",
            "warning 14: only the first word is run, as in keepalived: put command and arguments in quotes",
            "warning 16: there are two called `chk`: the first is used",
            "error 19: `none` has no `script` line: there is nothing to watch",
        ]
    );
}

fn two(lines: &str) -> String {
    let instance = |name: &str, interface: &str| {
        format!("vrrp_instance {name} {{\n interface {interface}\n virtual_router_id 9\n version 3\n{lines}\n}}\n")
    };
    format!("{}{}", instance("A", "eth1"), instance("B", "eth2"))
}

#[test]
fn sync_groups() {
    let members = two(" track_script {\n web\n }\n track_interface {\n eth5 weight 5\n }");
    let group = |lines: &str| {
        format!("vrrp_sync_group G {{\n group {{\n A\n B\n NOBODY\n }}\n{lines}\n}}\n{members}{TRACKERS}")
    };
    let lines = " track_script {\n web weight 7\n }\n track_interface {\n eth7\n }\n notify_fault \"/bin/f x\"\n notify /bin/any nobody";
    let text = group(lines);
    let imported = keepalived_text(&text).without_errors();
    let told = imported.warnings();
    assert!(
        told.contains(&"warning 5: there is no instance called `NOBODY`: ignored, as in keepalived".to_owned()),
        "{told:?}"
    );
    let left_out = told.iter().filter(|told| told.contains("a script with a weight does not count")).count();
    assert_eq!(left_out, 2, "{told:?}");
    let config = model(Some(&text), None);
    let group_of = &config.groups[0];
    assert_eq!((group_of.name.as_str(), group_of.routers.as_slice()), ("G", &["A".to_owned(), "B".into()][..]));
    assert_eq!(group_of.track, [tracker("web", 7, false), interface("eth7", 0, false)]);
    assert!(!group_of.member_weights);
    assert_eq!(group_of.notify.fault.as_ref().map(|fault| fault.arguments.clone()), Some(vec!["x".into()]));
    assert_eq!(
        group_of.notify.any.as_ref().and_then(|any| any.user.clone()).map(|user| user.name),
        Some("nobody".into())
    );
    // Seen there: interfaces become a fault, scripts are left out.
    assert_eq!(config.routers[0].track, [interface("eth5", 0, false)]);
    for word in ["sync_group_tracking_weight", "global_tracking"] {
        let config = model(Some(&group(word)), None);
        assert!(config.groups[0].member_weights);
        assert_eq!(config.routers[0].track, [tracker("web", -30, false), interface("eth5", 5, false)]);
    }
    let empty = keepalived_text("vrrp_sync_group G {\n group {\n }\n}\n").without_errors();
    assert_eq!((empty.raw.groups.len(), empty.warnings().len()), (0, 1));
}

#[test]
fn notifications_and_their_users() {
    let text = format!(
        "global_defs {{\n script_user daemon\n enable_script_security\n notify_fifo /run/a\n notify_fifo_script \"/bin/r -v\" nobody\n\
         vrrp_notify_fifo /run/b\n}}\n{}",
        instance(
            " notify_master \"/bin/up 'a b'\" nobody nogroup\n notify_backup /bin/down\n notify_stop /bin/stop\n notify_fault /bin/fault\n\
             notify /bin/any\n notify_master_rx_lower_pri /bin/low"
        )
    );
    let config = model(Some(&text), None);
    let notify = &config.routers[0].notify;
    let master = notify.master.as_ref().unwrap();
    assert_eq!(master.arguments, ["a b"]);
    assert_eq!(master.user.as_ref().and_then(|user| user.group.as_deref()), Some("nogroup"));
    let names = [&notify.backup, &notify.stop, &notify.fault, &notify.any, &notify.lower_priority];
    let names = names.map(|command| command.as_ref().unwrap());
    assert!(names.iter().all(|command| command.user.as_ref().is_some_and(|user| user.name == "daemon")));
    assert_eq!(
        names.map(|command| command.program.to_str().unwrap()),
        ["/bin/down", "/bin/stop", "/bin/fault", "/bin/any", "/bin/low"]
    );
    assert!(config.global.script_security);
    let fifos = &config.notify.fifos;
    assert_eq!(fifos.iter().map(|fifo| fifo.path.to_str().unwrap()).collect::<Vec<_>>(), ["/run/a", "/run/b"]);
    assert_eq!(fifos[0].reader.as_ref().unwrap().arguments, ["-v"]);
    assert!(fifos[1].reader.is_none());
    let lone = keepalived_text("global_defs {\n notify_fifo_script /bin/x\n}\n").without_errors();
    assert_eq!(lone.warnings(), ["warning 2: a script for a FIFO that is not named: ignored"]);
    // Scripts run as this user where there is one, as there.
    let world = World::default().user("keepalived_script");
    let usual = keepalived_in(&world, &instance(" notify /bin/any")).raw.scripts.unwrap();
    assert_eq!(usual.user.unwrap().value.name, "keepalived_script");
    assert!(keepalived_in(&world, &instance("")).raw.scripts.is_none(), "nothing is run");
}

#[test]
fn mail_goes_out_for_whom_it_was_asked() {
    let mail = |global: &str, lines: &str| {
        let text = format!(
            "global_defs {{\n notification_email {{\n a@b\n c@d\n }}\n smtp_server mail.example 587\n{global}\n}}\n"
        );
        let config = model(Some(&(text + &instance(lines))), None);
        let mail = config.notify.mail.clone().unwrap();
        (config.routers[0].notify.mail, mail)
    };
    let (router, quiet) = mail("", "");
    assert_eq!((quiet.server.as_str(), quiet.port, quiet.to.len()), ("mail.example", 587, 2));
    assert_eq!(quiet.from, "keepalived@gate-a.example.org");
    assert!(!router && !quiet.routers && !quiet.servers && quiet.faults);
    let (router, loud) = mail(" smtp_alert on\n no_email_faults\n smtp_connect_timeout 5", "");
    assert!(router && loud.servers && !loud.faults);
    assert_eq!(loud.timeout, Duration::from_secs(5));
    let (router, mixed) = mail(" smtp_alert on\n smtp_alert_checker off", " smtp_alert off");
    assert!(!router && !mixed.servers && !mixed.routers);
    assert!(mail("", " smtp_alert").0);
    let none = keepalived_text("global_defs {\n smtp_server 127.0.0.1\n}\n").without_errors();
    assert_eq!(none.warnings(), ["warning 2: no mail is sent without both `smtp_server` and `notification_email`"]);
}

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
