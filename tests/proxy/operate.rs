//! What an administrator changes while the proxy runs.

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use vipgate::balance::WeightChange;
use vipgate::model::{AdminState, Observe, OnError, OnMarkedDown, OnMarkedUp, ServerPort, ServerRef};
use vipgate::proxy::{OperateError, Session, SessionPhase};
use vipgate::stats::{EndReason, Health};

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
    running.proxy.table_set("pool", net.ip(100).into(), "s2", None).unwrap();
    let mut client = connect_from(net.ip(100), net.at(1, 8000));
    assert_eq!(greeting(&mut client), "s2");
    let entries = running.proxy.table_entries("pool").unwrap();
    assert_eq!((entries.len(), entries[0].key.clone(), entries[0].flows), (1, net.ip(100).into(), 1));
    assert_eq!(entries[0].server.as_deref(), Some("s2"));
    assert_eq!(running.proxy.table_clear("pool", Some(&net.ip(100).into()), None), Ok(1));
    assert_eq!(greeting(&mut connect_from(net.ip(100), net.at(1, 8000))), "s1");
    pool.affinity = vipgate::model::Affinity::None;
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    let refused = running.proxy.table_set("pool", net.ip(100).into(), "s2", None);
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

#[test]
fn a_server_follows_the_one_it_tracks() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let followed = pool(&[net.at(2, 9000)]);
    let mut follower = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    follower.name = "follower".into();
    follower.servers[0].track = Some(ServerRef { pool: "pool".into(), server: "s1".into() });
    let mut web = service(net.at(1, 8000));
    web.pool = "follower".into();
    let mut running = Running::start_all(&[web.clone()], &[follower.clone(), followed.clone()]);
    let two = |running: &Running| -> Vec<String> {
        let mut names: Vec<_> = (0..2).map(|_| greeting(&mut connect(net.at(1, 8000)))).collect();
        names.sort();
        running.wait_idle();
        names
    };
    assert_eq!(two(&running), ["s1", "s2"]);
    running.proxy.set_server_up("pool", "s1", false);
    assert_eq!(two(&running), ["s2", "s2"]);
    let status = running.registry.server("follower", "s1").status();
    assert_eq!((status.health, status.reason.as_str()), (Health::Down, "tracks pool/s1"));
    // A server that begins to track is as the other one is.
    follower.servers[1].track = follower.servers[0].track.clone();
    running.reload(&[web], &[follower, followed]);
    assert!(!running.proxy.ready("web"));
    running.proxy.set_server_up("pool", "s1", true);
    assert_eq!(two(&running), ["s1", "s2"]);
    running.proxy.set_server_admin("pool", "s1", AdminState::Maintenance).unwrap();
    assert!(!running.proxy.ready("web"));
    // Nor are new clients sent to a server whose example drains, or whose checks ask for none.
    running.proxy.set_server_admin("pool", "s1", AdminState::Drain).unwrap();
    assert!(!running.proxy.ready("web"));
    running.proxy.set_server_admin("pool", "s1", AdminState::Ready).unwrap();
    running.proxy.set_server_stopping("pool", "s1", true);
    assert!(!running.proxy.ready("web"));
    // What went down asks for nothing any more.
    running.proxy.set_server_up("pool", "s1", false);
    running.proxy.set_server_up("pool", "s1", true);
    assert_eq!(two(&running), ["s1", "s2"]);
}

#[test]
fn a_server_that_comes_up_takes_back_the_connections_of_backups_if_it_says_so() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.servers[0].on_marked_up = OnMarkedUp::ShutdownBackupSessions;
    pool.servers[1].backup = true;
    let running = Running::start(service(net.at(1, 8000)), pool);
    running.proxy.set_server_up("pool", "s1", false);
    let mut client = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut client), "s2");
    running.proxy.set_server_up("pool", "s1", true);
    assert!(is_reset(&mut client));
    running.wait_ended(EndReason::FailedBack, 1);
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s1");
}

#[test]
fn connections_that_fail_in_a_row_are_told() {
    let net = Net::new();
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.servers[0].observe = Some(Observe { error_limit: 3, on_error: OnError::MarkDown });
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (sender, receiver) = channel();
    running.proxy.observe_by(move |observed| sender.send(observed).unwrap());
    for _ in 0..4 {
        assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s2");
    }
    assert!(receiver.try_recv().is_err(), "two of the four were for s1");
    // One that works begins a new row.
    let listener = std::net::TcpListener::bind(net.at(2, 9000)).unwrap();
    let (_clients, _served) = {
        let mut server = connect(net.at(1, 8000));
        listener.accept().unwrap().0.write_all(b"s1").unwrap();
        let name = greeting(&mut server);
        (server, name)
    };
    drop(listener);
    for _ in 0..6 {
        assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s2");
    }
    let observed = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!((observed.server.as_str(), observed.errors, observed.on_error), ("s1", 3, OnError::MarkDown));
    assert!(receiver.try_recv().is_err());
}

#[test]
fn an_explanation_is_what_the_next_connection_gets() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.affinity = stick();
    let running = Running::start(service(net.at(1, 8000)), pool);
    let client = std::net::SocketAddr::new(net.ip(100), 0);
    let explain = || running.proxy.explain("web", client, None).unwrap();
    assert_eq!(explain().choice.unwrap().decision.unwrap().0, "s1");
    assert_eq!(explain(), explain());
    assert_eq!(greeting(&mut connect_from(net.ip(101), net.at(1, 8000))), "s1");
    assert_eq!(explain().choice.unwrap().decision.unwrap().0, "s2");
    assert_eq!(greeting(&mut connect_from(net.ip(100), net.at(1, 8000))), "s2");
    let (server, why) = explain().choice.unwrap().decision.unwrap();
    assert_eq!((server.as_str(), why), ("s2", vipgate::balance::Why::Remembered { proven: true }));
    assert_eq!(running.proxy.explain("nobody", client, None), None);
}
