//! vipgate with HAProxy as its peer, both from the same file.

use netns_tests::wait::until_true;

use super::support::{PATIENCE, Process, haproxy_is_here, own_ip};

fn config(nodes: &[(&str, String)], servers: &str) -> String {
    let peers: String = nodes.iter().map(|(name, address)| format!(" peer {name} {address}\n")).collect();
    format!(
        "global\n stats socket DIR/sock mode 600 level admin\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         peers nodes\n{peers}\
         listen be\n bind {servers}:0\n stick-table type ip size 200k expire 30m peers nodes\n stick on src\n\
         \x20server s1 {servers}:7001\n server s2 {servers}:7002\n server s3 {servers}:7003\n"
    )
    .replace(":0\n", ":7000\n")
}

#[test]
fn entries_go_both_ways_while_either_restarts() {
    if !haproxy_is_here() {
        return;
    }
    let (a, b) = (own_ip(), own_ip());
    let nodes = [("a", format!("{a}:10000")), ("b", format!("{b}:10000"))];
    let mut ours = Process::vipgate("a", &config(&nodes, &a.to_string()));
    let mut theirs = Process::haproxy("b", &config(&nodes, &b.to_string()));
    let set = |at: &Process, client: &str, server: u32| {
        let said = at.ask(&format!("set table be key {client} data.server_id {server}"));
        assert_eq!(said.trim(), "");
    };
    let known = |at: &Process, client: &str, server: u32| {
        until_true(format!("{client} belongs to server {server}"), PATIENCE, || at.server_of(client) == Some(server));
    };
    until_true("a session", PATIENCE, || ours.ask("show peers").contains("ESTA"));
    set(&ours, "192.0.2.1", 1);
    set(&theirs, "192.0.2.2", 2);
    known(&theirs, "192.0.2.1", 1);
    known(&ours, "192.0.2.2", 2);

    // HAProxy comes back empty and learns from vipgate, what it taught itself included.
    theirs.kill();
    set(&ours, "192.0.2.3", 3);
    theirs.start();
    for (client, server) in [("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3)] {
        known(&theirs, client, server);
    }
    set(&theirs, "192.0.2.4", 1);
    known(&ours, "192.0.2.4", 1);

    // And the other way round.
    ours.kill();
    set(&theirs, "192.0.2.5", 2);
    ours.start();
    for (client, server) in [("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3), ("192.0.2.4", 1), ("192.0.2.5", 2)] {
        known(&ours, client, server);
    }
    set(&ours, "192.0.2.1", 3);
    known(&theirs, "192.0.2.1", 3);
    assert_eq!((ours.used(), theirs.used()), (5, 5));
}

#[test]
fn a_session_outlives_silence() {
    if !haproxy_is_here() {
        return;
    }
    let (a, b) = (own_ip(), own_ip());
    let nodes = [("a", format!("{a}:10000")), ("b", format!("{b}:10000"))];
    let ours = Process::vipgate("a", &config(&nodes, &a.to_string()));
    let _theirs = Process::haproxy("b", &config(&nodes, &b.to_string()));
    let session = |text: &str| {
        let line = text.lines().find(|line| line.contains("ESTA")).map(str::to_owned);
        line.and_then(|line| line.split("sessions=").nth(1)?.split(' ').next()?.parse::<u32>().ok())
    };
    until_true("a session", PATIENCE, || session(&ours.ask("show peers")).is_some());
    // Both sides say every three seconds that they are there; five without a word end a session.
    netns_tests::wait::pass(std::time::Duration::from_secs(4));
    let settled = session(&ours.ask("show peers"));
    netns_tests::wait::pass(std::time::Duration::from_secs(7));
    assert!(settled.is_some());
    assert_eq!(session(&ours.ask("show peers")), settled, "the same session");
}
