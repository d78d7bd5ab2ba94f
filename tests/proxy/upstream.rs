//! Which server, how often, and what when there is none.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vipgate::model::{Affinity, Algorithm, OnMarkedDown, ServerPort};
use vipgate::stats::EndReason;

use crate::support::*;

#[test]
fn connections_go_round_and_sticky_clients_stay() {
    let net = Net::new();
    for (host, name) in [(2, "s1"), (3, "s2"), (4, "s3")] {
        serve_named(net.at(host, 9000), name);
    }
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000), net.at(4, 9000)]);
    let mut running = Running::start(service(net.at(1, 8000)), pool.clone());
    let round: Vec<_> = (0..6).map(|_| greeting(&mut connect(net.at(1, 8000)))).collect();
    assert_eq!(round, ["s1", "s2", "s3", "s1", "s2", "s3"]);

    pool.affinity = stick();
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    let visit = |client: u8| greeting(&mut connect_from(net.ip(100 + client), net.at(1, 8000)));
    let first: Vec<_> = (0..6).map(visit).collect();
    assert_eq!(first, ["s1", "s2", "s3", "s1", "s2", "s3"]);
    assert_eq!((0..6).rev().map(visit).collect::<Vec<_>>(), ["s3", "s2", "s1", "s3", "s2", "s1"]);
    assert_eq!(running.proxy.table_len("pool"), 6);
}

#[test]
fn the_clients_of_a_dead_server_move_and_nobody_elses() {
    for (affinity, returns) in [(stick(), false), (Affinity::Source, true)] {
        let net = Net::new();
        let servers = [net.at(2, 9000), net.at(3, 9000), net.at(4, 9000)];
        for (address, name) in servers.into_iter().zip(["s1", "s2", "s3"]) {
            serve_named(address, name);
        }
        let mut pool = pool(&servers);
        pool.affinity = affinity;
        let running = Running::start(service(net.at(1, 8000)), pool);
        let round = || -> Vec<String> {
            (0..40).map(|client| greeting(&mut connect_from(net.ip(100 + client), net.at(1, 8000)))).collect()
        };
        let before = round();
        running.wait_idle();
        running.proxy.set_server_up("pool", "s2", false);
        let during = round();
        running.wait_idle();
        running.proxy.set_server_up("pool", "s2", true);
        let after = round();
        assert!(before.iter().any(|server| server == "s2"));
        for (before, during) in before.iter().zip(&during) {
            assert!(during != "s2" && (before == "s2" || before == during));
        }
        assert_eq!(after, if returns { before } else { during });
    }
}

#[test]
fn a_refused_connection_goes_to_another_server_at_once() {
    let net = Net::new();
    serve_named(net.at(3, 9000), "s2");
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000), net.at(3, 9000)]));
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s2");
    }
    assert!(start.elapsed() < Duration::from_millis(900));
    let dead = running.registry.server("pool", "s1");
    assert_eq!(dead.connect_errors.load(Ordering::Relaxed), 2);
    assert_eq!(dead.redispatches.load(Ordering::Relaxed), 2);
    running.wait_idle();
    assert_eq!(dead.open.load(Ordering::Relaxed), 0);
}

#[test]
fn a_dead_sticky_server_gets_its_retries_and_then_the_client_moves() {
    let net = Net::new();
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.affinity = stick();
    // Attempts are min(1 s, connect timeout) apart.
    pool.connect_timeout = Some(Duration::from_millis(100));
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (sender, served_once) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind(net.at(2, 9000)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"s1").unwrap();
        sender.send(()).unwrap();
    });
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s1");
    served_once.recv().unwrap();
    running.wait_idle();

    let start = Instant::now();
    let mut client = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut client), "s2");
    let took = start.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_millis(900)).contains(&took), "{took:?}");
    let dead = running.registry.server("pool", "s1");
    assert_eq!(dead.connect_errors.load(Ordering::Relaxed), 3);
    assert_eq!(dead.retries.load(Ordering::Relaxed), 2);
    assert_eq!(dead.redispatches.load(Ordering::Relaxed), 1);
    // It belongs to the other server from now on.
    let start = Instant::now();
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s2");
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[test]
fn without_redispatch_the_same_server_is_tried_until_the_retries_are_used_up() {
    let net = Net::new();
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.redispatch = false;
    pool.retries = 2;
    pool.connect_timeout = Some(Duration::from_millis(100));
    let running = Running::start(service(net.at(1, 8000)), pool);
    let start = Instant::now();
    assert!(is_reset(&mut connect(net.at(1, 8000))));
    assert!((Duration::from_millis(200)..Duration::from_millis(900)).contains(&start.elapsed()));
    running.wait_ended(EndReason::ConnectRefused, 1);
    assert_eq!(running.registry.server("pool", "s1").connect_errors.load(Ordering::Relaxed), 3);
    assert_eq!(running.registry.server("pool", "s2").connect_errors.load(Ordering::Relaxed), 0);
}

#[test]
fn a_retried_server_that_came_back_serves() {
    let net = Net::new();
    let mut pool = pool(&[net.at(2, 9000)]);
    pool.connect_timeout = Some(Duration::from_millis(150));
    let _running = Running::start(service(net.at(1, 8000)), pool);
    let mut client = connect(net.at(1, 8000));
    std::thread::sleep(Duration::from_millis(50));
    serve_named(net.at(2, 9000), "s1");
    assert_eq!(greeting(&mut client), "s1");
}

#[test]
fn a_server_that_does_not_answer_runs_into_the_connect_timeout() {
    let net = Net::new();
    // A listener whose queue is full drops what knocks.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&net.at(2, 9000).into()).unwrap();
    full.listen(0).unwrap();
    let _queued = connect(net.at(2, 9000));
    let mut pool = pool(&[net.at(2, 9000)]);
    pool.retries = 0;
    pool.connect_timeout = Some(Duration::from_millis(200));
    let running = Running::start(service(net.at(1, 8000)), pool);
    let start = Instant::now();
    assert!(is_reset(&mut connect(net.at(1, 8000))));
    assert!((Duration::from_millis(200)..Duration::from_millis(900)).contains(&start.elapsed()));
    running.wait_ended(EndReason::ConnectTimeout, 1);
}

#[test]
fn without_a_server_clients_are_reset() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    assert!(running.proxy.ready("web") && !running.proxy.ready("unknown"));
    running.proxy.set_server_up("pool", "s1", false);
    assert!(!running.proxy.ready("web"));
    assert!(is_reset(&mut connect(net.at(1, 8000))));
    running.wait_ended(EndReason::NoServer, 1);
    running.proxy.set_server_up("pool", "s1", true);
    assert!(running.proxy.ready("web"));
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s1");
}

#[test]
fn a_server_that_goes_down_takes_its_connections_along_if_it_says_so() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.servers[1].on_marked_down = OnMarkedDown::ShutdownSessions;
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (mut clients, served) = connect_each(2, net.at(1, 8000));
    assert_eq!(served, ["s1", "s2"]);
    running.proxy.set_server_up("pool", "s1", false);
    running.proxy.set_server_up("pool", "s2", false);
    assert!(is_reset(&mut clients[1]));
    clients[0].write_all(b"still here").unwrap();
    assert_eq!(read(&mut clients[0]), *b"still here");
    running.wait_ended(EndReason::ServerDown, 1);
}

#[test]
fn every_port_of_a_range_reaches_its_own_server_port() {
    let net = Net::new();
    for port in 9000..9020 {
        serve(net.at(2, port), move |mut stream| {
            let _gone = stream.write_all(&port.to_be_bytes());
        });
    }
    let mut pool = pool(&[net.at(2, 0)]);
    pool.servers[0].port = ServerPort::Same;
    let mut running = Running::start(service_on(net.ip(1), 9000, 9019), pool.clone());
    assert_eq!(running.proxy.listeners(), 20);
    for port in 9000..9020 {
        assert_eq!(u16::from_be_bytes(read(&mut connect(net.at(1, port)))), port);
    }
    pool.servers[0].port = ServerPort::Offset(5);
    running.reload(&[service_on(net.ip(1), 9000, 9019)], &[pool]);
    assert_eq!(u16::from_be_bytes(read(&mut connect(net.at(1, 9003)))), 9008);
}

#[test]
fn least_connections_counts_open_ones() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.algorithm = Algorithm::LeastConnections;
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (mut open, served) = connect_each(4, net.at(1, 8000));
    assert_eq!(served, ["s1", "s2", "s1", "s2"]);
    open.remove(2);
    open.remove(0);
    let s1 = running.registry.server("pool", "s1");
    eventually("s1 empty", || s1.open.load(Ordering::Relaxed) == 0);
    let (_more, served) = connect_each(2, net.at(1, 8000));
    assert_eq!(served, ["s1", "s1"]);
}
