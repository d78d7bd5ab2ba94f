//! How a server is chosen, and who stays with it.

use std::time::Duration;

use crate::import_support::{haproxy_text, load, model};
use crate::{pool, validated};
use vipgate::model::{
    Affinity, Algorithm, Failback, HashType, KeyType, Observe, OnError, OnMarkedDown, OnMarkedUp, RefuseWith, ServerRef,
};

#[test]
fn default_server_is_a_start_and_the_line_has_the_last_word() {
    let pool = pool(
        " default-server check inter 3s rise 5 weight 7 on-marked-down shutdown-sessions\n server a 10.0.0.1:1\n\
         \n default-server inter 4s no-check\n server b 10.0.0.1:2 check weight 9\n server c 10.0.0.1:3 no-backup",
    );
    let [a, b, c] = &pool.servers[..] else { panic!("three servers") };
    assert_eq!(
        (a.weight, a.check.as_ref().unwrap().interval, a.check.as_ref().unwrap().rise),
        (7, Duration::from_secs(3), 5)
    );
    assert_eq!(
        (b.weight, b.check.as_ref().unwrap().interval, b.check.as_ref().unwrap().rise),
        (9, Duration::from_secs(4), 5)
    );
    assert_eq!((c.check.is_none(), c.on_marked_down), (true, OnMarkedDown::ShutdownSessions));
}

#[test]
fn what_a_backend_says_about_the_choice_of_a_server_is_kept() {
    let chosen = |lines: &str| pool(&format!("{lines}\n server s 10.0.0.1")).algorithm;
    for (lines, algorithm) in [
        (" balance static-rr", Algorithm::StaticRoundRobin),
        (" balance first", Algorithm::First),
        (" balance random", Algorithm::Random(2)),
        (" balance random(5)", Algorithm::Random(5)),
        (" balance hash req.ssl_sni", Algorithm::Sni),
        (" balance hash src", Algorithm::Source),
    ] {
        assert_eq!(chosen(lines), algorithm, "{lines}");
    }
    let hashed = pool(" balance source\n server s 10.0.0.1");
    assert_eq!((hashed.hash_type, hashed.hash_balance_factor), (HashType::MapBased, None));
    let said = pool(
        " balance source\n hash-type consistent\n hash-balance-factor 150\n timeout queue 3s\n option persist\n\
         option redispatch 3\n server s 10.0.0.1",
    );
    assert_eq!((said.hash_type, said.hash_balance_factor), (HashType::Consistent, Some(150)));
    assert_eq!((said.queue_timeout, said.persist), (Some(Duration::from_secs(3)), true));
    assert_eq!((said.redispatch, said.redispatch_every), (true, Some(3)));
    assert_eq!((said.failback, said.refusal), (Failback::New, RefuseWith::Close));
    assert!(!pool(" option redispatch 0\n server s 10.0.0.1").redispatch);
    let last = pool(" option redispatch -1\n server s 10.0.0.1");
    assert_eq!((last.redispatch, last.redispatch_every), (true, None));
}

#[test]
fn what_a_server_says_about_its_health_and_its_share_is_kept() {
    let pool = pool(
        " server a 10.0.0.1:80 maxconn 5 maxqueue 7 slowstart 30s check observe layer4 on-error sudden-death\n\
         server b 10.0.0.2 track a non-stick on-marked-up shutdown-backup-sessions\n\
         server c 10.0.0.3:80 track l/b check observe layer4 error-limit 3 no-check",
    );
    let [a, b, c] = &pool.servers[..] else { panic!("three servers") };
    assert_eq!((a.max_connections, a.max_queue, a.slow_start), (Some(5), Some(7), Some(Duration::from_secs(30))));
    assert_eq!(a.observe, Some(Observe { error_limit: 10, on_error: OnError::SuddenDeath }));
    assert_eq!(b.track, Some(ServerRef { pool: "l".into(), server: "a".into() }));
    assert_eq!((b.non_stick, b.on_marked_up), (true, OnMarkedUp::ShutdownBackupSessions));
    assert_eq!(c.track, Some(ServerRef { pool: "l".into(), server: "b".into() }));
}

#[test]
fn first_goes_by_the_numbers_of_servers() {
    let pool = pool(" balance first\n server a 10.0.0.1 id 9\n server b 10.0.0.2\n server c 10.0.0.3 id 1");
    assert_eq!(pool.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
}

#[test]
fn mistakes_about_the_choice_are_told() {
    for (line, words) in [
        ("balance random(0)", "whole number"),
        ("balance random(2", "lacks its `)`"),
        ("balance hash hdr(host)", "is not there"),
        ("hash-balance-factor 100", "above 100"),
        ("option redispatch -2", "is not there"),
        ("server x 10.0.0.1 track nobody", "there is no server `nobody`"),
        ("server x 10.0.0.1 track x", "tracks itself"),
        ("server x 10.0.0.1 track s", "has no check"),
        ("server x 10.0.0.1:1 check track s", "not both"),
        ("server x 10.0.0.1 observe layer7", "wants HTTP mode"),
        ("server x 10.0.0.1 on-error panic", "is none of"),
    ] {
        let text = format!("listen l\n bind 127.0.0.1:7000\n server s 10.0.0.9\n {line}\n");
        let said = validated(&text);
        assert!(said.contains(words) && said.contains("haproxy.cfg:4"), "{line}: {said}");
    }
}

#[test]
fn stick_tables() {
    let affinity = |lines: &str| pool(&format!(" server s 10.0.0.1\n{lines}")).affinity;
    let Affinity::Table(table) = affinity(" stick-table type ip size 1k\n stick on src table l") else {
        panic!("a table")
    };
    assert_eq!((table.size, table.expire, table.nopurge, table.kind), (1024, None, false, KeyType::Ipv4));
    let Affinity::Table(table) = affinity(" stick on src\n stick-table type ipv6 size 5 expire 90 nopurge") else {
        panic!("a table")
    };
    assert_eq!((table.expire, table.nopurge, table.kind), (Some(Duration::from_millis(90)), true, KeyType::Ipv6));
    for (lines, errors) in [
        (" stick on src", 1),
        (" stick-table type string len 40 size 1k\n stick on src", 0),
        (" stick-table type string len 0 size 1k\n stick on src", 2),
        (" stick-table type ip size 1k\n stick on src if x", 1),
        (" stick-table type ip size 1k\n stick on src table other", 1),
        (" stick-table type ip size 1k\n stick match src\n stick store-request src,ipmask(24)", 0),
        (" stick-table type ip size 1k\n stick on hdr(x)", 1),
        (" stick-table type ip size 1k", 0),
    ] {
        let found = haproxy_text(&format!("listen l\n bind :1\n server s 1.1.1.1\n{lines}\n")).errors();
        assert_eq!(found.len(), errors, "{lines}: {found:?}");
    }
}

#[test]
fn peers_share_tables() {
    let text = "global\n localpeer b\npeers nodes\n peer a 192.0.2.1:10000\n peer b 192.0.2.2:10000\n\
        \x20table clients type ipv6 size 1k expire 5m\n\
        listen one\n bind :1\n server s 10.0.0.1\n stick-table type ip size 1k peers nodes\n stick on src\n\
        listen two\n bind :2\n server s 10.0.0.1\n stick on src table one\n\
        listen three\n bind :3\n server s 10.0.0.1\n stick on src table nodes/clients\n";
    let config = model(None, Some(text));
    let group = &config.peer_groups[0];
    assert_eq!((group.name.as_str(), group.local.as_deref(), group.members.len()), ("nodes", Some("b"), 2));
    let table = |pool: &str| match &config.pool(pool).unwrap().affinity {
        Affinity::Table(table) => (table.name.clone(), table.kind, table.peers.clone()),
        other => panic!("{other:?}"),
    };
    let nodes = || Some("nodes".to_owned());
    assert_eq!(table("one"), (None, KeyType::Ipv4, nodes()));
    assert_eq!(table("two"), (Some("one".to_owned()), KeyType::Ipv4, nodes()));
    assert_eq!(table("three"), (Some("nodes/clients".to_owned()), KeyType::Ipv6, nodes()));
    let other = "listen l\n bind :1\n server s 1.1.1.1\n stick-table type ip size 1k peers none\n stick on src\n";
    assert!(haproxy_text("peers x\n peer a 192.0.2.1\n").errors()[0].contains("no port"));
    assert!(load(None, Some(other)).is_err(), "there is no such section");
}
