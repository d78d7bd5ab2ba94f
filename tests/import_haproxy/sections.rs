//! What sections hand down, and where their words may stand.

use std::net::IpAddr;
use std::time::Duration;

use crate::import_support::{World, haproxy_in, haproxy_text, load, model};
use vipgate::model::page::PageListen;
use vipgate::model::{Affinity, Algorithm};

#[test]
fn defaults_are_haproxys_own() {
    let config = model(None, Some("listen l\n bind *:7000\n server s 10.0.0.1 check port 22\n"));
    let (service, pool) = (&config.services[0], &config.pools[0]);
    assert_eq!((service.client_timeout, service.client_fin_timeout, service.client_keepalive), (None, None, None));
    assert_eq!(
        (pool.connect_timeout, pool.server_timeout, pool.server_fin_timeout, pool.tunnel_timeout),
        (None, None, None, None)
    );
    assert_eq!((pool.retries, pool.redispatch, pool.server_keepalive, pool.all_backups), (3, false, None, false));
    assert_eq!((pool.algorithm, &pool.affinity), (Algorithm::RoundRobin, &Affinity::None));
    let server = &pool.servers[0];
    assert_eq!((server.weight, server.backup, server.disabled, server.max_connections), (1, false, false, None));
    let check = server.check.as_ref().unwrap();
    let two = Duration::from_secs(2);
    assert_eq!((check.interval, check.fast_interval, check.down_interval, check.timeout), (two, two, two, two));
    assert_eq!((check.rise, check.fall), (2, 3));
    let address = &service.listen[0];
    assert_eq!((address.address, address.nonlocal, address.dual_stack), (IpAddr::from([0, 0, 0, 0]), false, false));
}

#[test]
fn defaults_sections_hand_down_and_can_be_named() {
    let config = model(
        None,
        Some(
            "defaults a\n timeout connect 1s\n option redispatch\n option tcpka\n retries 1\n\
             defaults b from a\n timeout server 2s\n no option tcpka\n\
             listen one\n bind :1001\n server s 10.0.0.1:1\n\
             listen two from a\n bind :1002\n server s 10.0.0.1:1\n no option redispatch\n\
             defaults\n\
             listen three\n bind :1003\n server s 10.0.0.1:1\n\
             listen four from b\n bind :1004\n server s 10.0.0.1:1\n default option redispatch\n",
        ),
    );
    let facts = config.pools.iter().map(|pool| {
        (
            pool.connect_timeout.is_some(),
            pool.server_timeout.is_some(),
            pool.redispatch,
            pool.server_keepalive.is_some(),
            pool.retries,
        )
    });
    assert_eq!(
        facts.collect::<Vec<_>>(),
        [
            (true, true, true, false, 1),
            (true, false, false, true, 1),
            (false, false, false, false, 3),
            (true, true, false, false, 1),
        ]
    );
    assert_eq!(
        haproxy_text("listen a from nope\n bind :1\n server s 1.1.1.1:1\n").errors(),
        ["error 1: there is no `defaults nope` above"]
    );
}

#[test]
fn variables_and_conditions_reach_the_translation() {
    let world = World::default().variable("PORTS", "80-90").variable("SERVERS", "10.0.0.1:1 check");
    let text = "listen l\n.if defined(PORTS)\n bind \"127.0.0.1:${PORTS}\"\n.else\n bind zork\n.endif\n server s \"${SERVERS[*]}\"\n \"${KEYWORD-balance}\" source\n";
    let raw = haproxy_in(&world, text).clean().raw;
    assert_eq!(raw.services[0].listen[0].ports.value.to_string(), "80-90");
    assert!(raw.pools[0].servers[0].check.is_some());
    assert_eq!(raw.pools[0].balance.unwrap().value, Algorithm::Source);
}

#[test]
fn what_is_in_the_wrong_section_is_told() {
    let imported = haproxy_text(
        "defaults\n bind :1\nfrontend f\n bind :2\n default_backend b\n server s 1.1.1.1\n balance leastconn\nbackend b\n bind :3\n timeout client 3s\n server s 1.1.1.1\n",
    );
    assert_eq!(
        imported.findings(),
        [
            "error 2: `bind` has no place in a `defaults` section",
            "error 6: `server` has no place in a `frontend` section",
            "warning 7: `balance` has no place in a `frontend` section: ignored",
            "warning 9: `bind` has no place in a `backend` section: ignored",
            "warning 10: `timeout client` has no place in a `backend` section: ignored",
        ]
    );
}

#[test]
fn frontends_need_a_way_out() {
    assert_eq!(
        haproxy_text("frontend f\n bind :1\n").findings(),
        ["warning 1: `f` has no backend, so that its connections would go nowhere: left out"]
    );
    assert_eq!(
        haproxy_text("frontend f\n default_backend b\nbackend b\n server s 1.1.1.1\n").findings(),
        ["warning 1: `f` has no `bind` line: nobody can connect to it"]
    );
    haproxy_text("frontend f\n bind :1\n disabled\n").clean();
    let missing = load(None, Some("frontend f\n bind :1\n default_backend nope\n")).unwrap_err();
    assert!(missing.to_string().contains("haproxy.cfg:3:18"), "{missing}");
}

#[test]
fn header_lines_are_checked() {
    for (line, fine) in [
        ("listen", false),
        ("listen a b", false),
        ("listen a :80", false),
        ("listen a from", false),
        ("listen \"a b\"", false),
        ("backend a-b_c.d:e", true),
        ("defaults from", true),
        ("defaults a b", true),
        ("backend a b", true),
        ("defaults x from y", false),
    ] {
        let text = format!("{line}\n");
        let errors = haproxy_text(&text).errors();
        assert_eq!(errors.is_empty(), fine, "{line}: {errors:?}");
    }
}

#[test]
fn http_mode_is_refused_where_it_is_bound_or_wanted() {
    assert_eq!(
        haproxy_text("defaults\n mode http\nfrontend f\n bind :1\n default_backend b\nbackend b\n server s 1.1.1.1\n")
            .errors(),
        ["error 2: HTTP mode is not there yet: `f` cannot be served"]
    );
    assert_eq!(
        haproxy_text("frontend f\n bind :1\n default_backend b\nbackend b\n mode http\n server s 1.1.1.1\n").errors(),
        ["error 5: HTTP mode is not there yet: `b` cannot be served"]
    );
    assert_eq!(
        haproxy_text("backend b\n mode http\n server s 1.1.1.1\n").findings(),
        ["warning 1: backend `b` is in HTTP mode, which is not there yet: left out"]
    );
}

#[test]
fn the_statistics_page() {
    let page = |lines: &str| {
        let mut config = model(None, Some(&format!("listen s\n bind 127.0.0.1:8404-8405\n mode http\n{lines}")));
        config.pages.pop().unwrap()
    };
    let ports = page(" stats enable\n").listen;
    assert_eq!(ports, ["127.0.0.1:8404", "127.0.0.1:8405"].map(|address| PageListen::new(address.parse().unwrap())));
    let stats = |lines: &str| page(lines).statistics.unwrap();
    let said = stats(" stats enable\n");
    assert_eq!((said.path.as_str(), said.users.len(), said.refresh, said.alone), ("/haproxy?stats", 0, None, false));
    let said = stats(" stats uri /s\n stats auth a:b:c\n stats auth d:e\n stats refresh 5\n");
    assert_eq!((said.path.as_str(), said.refresh), ("/s", Some(Duration::from_secs(5))));
    assert_eq!(said.users, [("a".into(), "b:c".into()), ("d".into(), "e".into())]);
    let guarded = haproxy_text("listen s\n bind :8404\n mode http\n stats enable\n stats http-request deny\n");
    assert_eq!(
        guarded.errors(),
        ["error 5: `stats http-request` is not there yet: the statistics would be open to more clients"]
    );
    let tcp = haproxy_text("listen a\n bind :1\n stats enable\n server s 1.1.1.1\n");
    assert_eq!(tcp.warnings(), ["warning 3: `stats` needs `mode http`: ignored in a TCP proxy"]);
}

#[test]
fn a_backend_that_is_only_a_table_is_no_pool() {
    let text = "backend st\n stick-table type ip size 100 expire 30s store conn_cur\n\
                frontend f\n bind :1001\n tcp-request connection track-sc0 src table st\n\
                tcp-request connection reject if { src_conn_cur(st) ge 10 }\n default_backend b\n\
                backend b\n server s 10.0.0.1:1\n";
    let loaded = load(None, Some(text)).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert!(warnings.iter().all(|warning| !warning.contains("pool")), "{warnings:?}");
    let pools: Vec<_> = loaded.config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(pools, ["b"]);
    // Who leads to it means it as a backend.
    let named =
        load(None, Some("backend st\n stick-table type ip size 100\nlisten l\n bind :1\n default_backend st\n"));
    assert_eq!(named.unwrap().config.pools.iter().filter(|pool| pool.name == "st").count(), 1);
}
