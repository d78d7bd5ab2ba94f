//! Clients that wait for a server with room.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vipgate::model::{Pool, RefuseWith};
use vipgate::stats::EndReason;

use crate::support::*;

fn one_at_a_time(servers: &[SocketAddr]) -> Pool {
    let mut pool = pool(servers);
    for server in &mut pool.servers {
        server.max_connections = Some(1);
    }
    pool
}

/// The greeting, if it comes so soon.
fn greeted(stream: &mut TcpStream, within: Duration) -> Option<String> {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut name = [0; 2];
    stream.read_exact(&mut name).ok().map(|()| String::from_utf8(name.to_vec()).unwrap())
}

const SOON: Duration = Duration::from_secs(2);
const NOT_YET: Duration = Duration::from_millis(60);

fn queued(running: &Running) -> u64 {
    running.registry.pool("pool").queued.load(Ordering::Relaxed)
}

#[test]
fn places_go_to_who_waited_longest() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let running = Running::start(service(net.at(1, 8000)), one_at_a_time(&[net.at(2, 9000), net.at(3, 9000)]));
    let (mut served, names) = connect_each(2, net.at(1, 8000));
    assert_eq!(names, ["s1", "s2"]);
    let mut waiting: Vec<_> = (1..=6)
        .map(|count| {
            let client = connect(net.at(1, 8000));
            eventually("queued", || queued(&running) == count);
            client
        })
        .collect();
    assert_eq!(greeted(&mut waiting[0], NOT_YET), None);
    // Whoever goes makes room for the next in line, and for nobody else.
    for left in (0..6).rev() {
        let gone = served.remove(0);
        drop(gone);
        let mut next = waiting.remove(0);
        assert!(greeted(&mut next, SOON).is_some(), "{left} left");
        served.push(next);
        eventually("one less", || queued(&running) == left);
    }
    let stats = running.registry.pool("pool");
    assert_eq!(stats.queued_max.load(Ordering::Relaxed), 6);
    let most = |server: &str| running.registry.server("pool", server).open_max.load(Ordering::Relaxed);
    assert_eq!((most("s1"), most("s2")), (1, 1));
}

#[test]
fn who_waits_too_long_or_gives_up_leaves_the_queue() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let mut pool = one_at_a_time(&[net.at(2, 9000)]);
    pool.queue_timeout = Some(Duration::from_millis(300));
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (first, _) = connect_each(1, net.at(1, 8000));
    let start = Instant::now();
    assert!(is_reset(&mut connect(net.at(1, 8000))));
    assert!((Duration::from_millis(300)..Duration::from_millis(900)).contains(&start.elapsed()));
    running.wait_ended(EndReason::QueueTimeout, 1);
    let impatient = connect(net.at(1, 8000));
    eventually("queued", || queued(&running) == 1);
    reset(impatient);
    eventually("gone", || queued(&running) == 0);
    drop(first);
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s1");
}

#[test]
fn a_sticky_client_waits_for_its_server_as_long_as_not_too_many_do() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = one_at_a_time(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.affinity = stick();
    pool.servers[0].max_queue = Some(1);
    let running = Running::start(service(net.at(1, 8000)), pool);
    let from = |host: u8| connect_from(net.ip(host), net.at(1, 8000));
    let mut first = from(100);
    assert_eq!(greeting(&mut first), "s1");
    let mut waits = from(100);
    let own = running.registry.server("pool", "s1");
    eventually("queued for s1", || own.queued.load(Ordering::Relaxed) == 1);
    // The queue for its server is full: elsewhere for this once.
    let mut elsewhere = from(100);
    assert_eq!(greeting(&mut elsewhere), "s2");
    assert_eq!(greeted(&mut waits, NOT_YET), None);
    drop(first);
    assert_eq!(greeted(&mut waits, SOON).as_deref(), Some("s1"));
    drop(elsewhere);
    drop(waits);
    running.wait_idle();
    assert_eq!(greeting(&mut from(100)), "s1");
    let entries = running.proxy.table_entries("pool").unwrap();
    assert_eq!(entries.len(), 1);
    running.wait_idle();
    eventually("no flow holds it", || running.proxy.table_entries("pool").unwrap()[0].flows == 0);
}

#[test]
fn a_full_queue_turns_clients_away_as_configured() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let mut pool = one_at_a_time(&[net.at(2, 9000)]);
    (pool.max_queue, pool.refusal) = (Some(1), RefuseWith::Close);
    let running = Running::start(service(net.at(1, 8000)), pool);
    let (_first, _) = connect_each(1, net.at(1, 8000));
    let _waits = connect(net.at(1, 8000));
    eventually("queued", || queued(&running) == 1);
    let end = connect(net.at(1, 8000)).read(&mut [0; 1]);
    assert_eq!(end.unwrap(), 0, "an end of stream, no reset");
    running.wait_ended(EndReason::QueueFull, 1);
}

#[test]
fn room_made_by_hand_serves_who_waits() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = one_at_a_time(&[net.at(2, 9000), net.at(3, 9000)]);
    let mut running = Running::start(service(net.at(1, 8000)), pool.clone());
    running.proxy.set_server_up("pool", "s2", false);
    let (_first, _) = connect_each(1, net.at(1, 8000));
    let mut waiting: Vec<_> = (0..2).map(|_| connect(net.at(1, 8000))).collect();
    eventually("queued", || queued(&running) == 2);
    running.proxy.set_server_up("pool", "s2", true);
    eventually("one less", || queued(&running) == 1);
    pool.servers[0].max_connections = Some(2);
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    let mut names: Vec<_> = waiting.iter_mut().map(|client| greeted(client, SOON).unwrap()).collect();
    names.sort();
    assert_eq!(names, ["s1", "s2"]);
}

#[test]
fn a_crowd_at_a_narrow_door_is_served_to_the_last() {
    let net = Net::new();
    serve(net.at(2, 9000), |mut stream| {
        let _gone = std::io::Write::write_all(&mut stream, b"s1");
    });
    let mut pool = pool(&[net.at(2, 9000)]);
    pool.servers[0].max_connections = Some(3);
    pool.affinity = stick();
    let running = Running::start(service(net.at(1, 8000)), pool);
    let address = net.at(1, 8000);
    let clients: Vec<_> = (0..10)
        .map(|host| {
            let from = net.ip(100 + host);
            std::thread::spawn(move || {
                (0..60).filter(|_| greeted(&mut connect_from(from, address), 10 * SOON).is_some()).count()
            })
        })
        .collect();
    let served: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(served, 600);
    running.wait_idle();
    let server = running.registry.server("pool", "s1");
    eventually("no place is lost", || server.open.load(Ordering::Relaxed) == 0);
    assert_eq!((server.open_max.load(Ordering::Relaxed), queued(&running)), (3, 0));
    eventually("no entry is held", || running.proxy.table_entries("pool").unwrap().iter().all(|e| e.flows == 0));
}

#[test]
fn clients_that_give_up_at_any_moment_lose_no_place() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let mut pool = one_at_a_time(&[net.at(2, 9000), net.at(3, 9000)]);
    pool.affinity = stick();
    let running = Running::start(service(net.at(1, 8000)), pool);
    let address = net.at(1, 8000);
    let clients: Vec<_> = (0..8)
        .map(|host| {
            let from = net.ip(100 + host);
            std::thread::spawn(move || {
                for round in 0..100_u64 {
                    let client = connect_from(from, address);
                    std::thread::sleep(Duration::from_micros((round * 7 + u64::from(host) * 31) % 2000));
                    reset(client);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    running.wait_idle();
    for server in ["s1", "s2"] {
        let stats = running.registry.server("pool", server);
        eventually("no place is lost", || stats.open.load(Ordering::Relaxed) == 0);
        assert_eq!((stats.open_max.load(Ordering::Relaxed), stats.queued.load(Ordering::Relaxed)), (1, 0));
    }
    assert_eq!(queued(&running), 0);
    eventually("no entry is held", || running.proxy.table_entries("pool").unwrap().iter().all(|e| e.flows == 0));
    assert!(["s1", "s2"].contains(&greeting(&mut connect(address)).as_str()));
}
