//! What an administrator changes while the proxy runs.

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use vipgate::balance::WeightChange;
use vipgate::model::{AdminState, OnMarkedDown, ServerPort};
use vipgate::proxy::{OperateError, Session, SessionPhase};
use vipgate::stats::EndReason;

use crate::support::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn sessions(running: &Running) -> Vec<Session> {
    let (sender, receiver) = channel();
    running.proxy.sessions(move |sessions| sender.send(sessions).unwrap());
    receiver.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_drained_server_keeps_its_clients_over_a_reload() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.affinity = stick();
    let mut running = Running::start(service(net.at(1, 8000)), pool.clone());
    let visit = |client: u8| greeting(&mut connect_from(net.ip(100 + client), net.at(1, 8000)));
    assert_eq!(visit(1), "s1");
    running.proxy.set_server_admin("pool", "s1", AdminState::Drain).unwrap();
    pool.retries = 7;
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    assert_eq!((2..8).map(visit).collect::<Vec<_>>(), ["s2"; 6]);
    assert_eq!(visit(1), "s1");
    let states = running.proxy.servers("pool").unwrap();
    assert_eq!((states[0].state.admin, states[0].state.eligible), (AdminState::Drain, false));
    assert_eq!(running.registry.server("pool", "s1").status().admin, Some(AdminState::Drain));
    let unknown = running.proxy.set_server_admin("pool", "s9", AdminState::Ready);
    assert_eq!(unknown, Err(OperateError::NoServer { pool: "pool".into(), server: "s9".into() }));
    let unknown = running.proxy.set_server_weight("none", "s1", WeightChange::Absolute(1));
    assert_eq!(unknown, Err(OperateError::NoPool("none".into())));
}

#[test]
fn maintenance_resets_connections_where_the_server_says_so() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.servers[1].on_marked_down = OnMarkedDown::ShutdownSessions;
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (mut clients, served) = connect_each(2, net.at(1, 8000));
    assert_eq!(served, ["s1", "s2"]);
    running.proxy.set_server_admin("pool", "s1", AdminState::Maintenance).unwrap();
    running.proxy.set_server_admin("pool", "s2", AdminState::Maintenance).unwrap();
    assert!(is_reset(&mut clients[1]));
    clients[0].write_all(b"still here").unwrap();
    assert_eq!(read(&mut clients[0]), *b"still here");
    assert!(!running.proxy.ready("web"));
    running.proxy.set_server_admin("pool", "s2", AdminState::Ready).unwrap();
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s2");
}

#[test]
fn another_address_serves_new_connections_until_the_configuration_changes() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9001), "x1");
    serve_named(net.at(4, 9000), "y1");
    let mut pool = pool(&[net.at(2, 9000)]);
    let mut running = Running::start(service(net.at(1, 8000)), pool.clone());
    let mut old = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut old), "s1");
    running.proxy.set_server_address("pool", "s1", Some(net.ip(3)), Some(ServerPort::Fixed(9001))).unwrap();
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "x1");
    old.write_all(b"still here").unwrap();
    assert_eq!(read(&mut old), *b"still here");
    pool.servers[0].weight = 7;
    running.reload(&[service(net.at(1, 8000))], &[pool.clone()]);
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "x1");
    let view = running.proxy.servers("pool").unwrap().remove(0);
    assert_eq!((view.address, view.port), (net.ip(3), ServerPort::Fixed(9001)));
    pool.servers[0].address = net.ip(4);
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "y1");
}

#[test]
fn entries_are_set_listed_and_cleared() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.affinity = stick();
    let mut running = Running::start(service(net.at(1, 8000)), pool.clone());
    running.proxy.table_set("pool", net.ip(100), "s2", None).unwrap();
    let mut client = connect_from(net.ip(100), net.at(1, 8000));
    assert_eq!(greeting(&mut client), "s2");
    let entries = running.proxy.table_entries("pool").unwrap();
    assert_eq!((entries.len(), entries[0].key, entries[0].flows), (1, net.ip(100), 1));
    assert_eq!(entries[0].server.as_deref(), Some("s2"));
    assert_eq!(running.proxy.table_clear("pool", Some(net.ip(100)), None), Ok(1));
    assert_eq!(greeting(&mut connect_from(net.ip(100), net.at(1, 8000))), "s1");
    pool.affinity = vipgate::model::Affinity::None;
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    let refused = running.proxy.table_set("pool", net.ip(100), "s2", None);
    assert_eq!(refused, Err(OperateError::NoTable("pool".into())));
}

#[test]
fn connections_are_listed_and_shut_down() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000), net.at(3, 9000)]));
    let (mut clients, served) = connect_each(4, net.at(1, 8000));
    assert_eq!(served, ["s1", "s2", "s1", "s2"]);
    let listed = sessions(&running);
    assert_eq!(listed.len(), 4);
    let first = listed.iter().find(|session| session.client == clients[0].local_addr().unwrap()).unwrap();
    assert_eq!((first.server.as_deref(), first.server_address), (Some("s1"), Some(net.at(2, 9000))));
    assert_eq!((first.destination, first.phase, first.bytes_out), (net.at(1, 8000), SessionPhase::Established, 2));

    let (sender, receiver) = channel();
    let again = sender.clone();
    running.proxy.shutdown_session(first.id, move |found| sender.send(found).unwrap());
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
    assert!(is_reset(&mut clients[0]));
    running.proxy.shutdown_session(first.id, move |found| again.send(found).unwrap());
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(false));

    let (sender, receiver) = channel();
    running.proxy.shutdown_sessions("pool", "s2", move |count| sender.send(count).unwrap()).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(2));
    assert!(is_reset(&mut clients[1]) && is_reset(&mut clients[3]));
    running.wait_ended(EndReason::Killed, 3);
    assert_eq!(sessions(&running).len(), 1);
}
