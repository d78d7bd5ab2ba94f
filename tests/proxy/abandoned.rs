//! Clients that end their stream while no server has accepted yet, with HAProxy as the measure.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use vipgate::model::Pool;

use crate::oracle::{Front, Servers, compare};
use crate::support::*;

/// What becomes of a client that says this and ends its stream, looked at for a second.
fn fate(front: &Front, servers: &Servers, words: &[u8]) -> &'static str {
    let mut client = connect_from(servers.client(100), front.address);
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    client.write_all(words).unwrap();
    // Its connection is taken up before it ends.
    std::thread::sleep(Duration::from_millis(100));
    client.shutdown(Shutdown::Write).unwrap();
    let start = Instant::now();
    match client.read(&mut [0; 16]) {
        _ if start.elapsed() > Duration::from_millis(900) => "kept",
        Ok(0) => "let go at once",
        // What it said was read by nobody.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "let go at once",
        _ => "served",
    }
}

fn fates(front: &Front, servers: &Servers) -> [&'static str; 2] {
    [fate(front, servers, b""), fate(front, servers, b"x")]
}

#[test]
fn one_that_ends_without_a_word_is_not_connected_any_more() {
    let lines = " retries 50\n server s1 {1}";
    let between_attempts = |front: &Front, servers: &Servers| {
        servers.stop(1);
        fates(front, servers)
    };
    let seen = compare(lines, between_attempts);
    assert!(seen.is_none_or(|seen| seen == ["let go at once", "kept"]), "{seen:?}");
    let seen = compare(&format!(" option abortonclose\n{lines}"), between_attempts);
    assert!(seen.is_none_or(|seen| seen == ["let go at once"; 2]), "{seen:?}");
}

#[test]
fn nor_does_it_wait_in_the_queue() {
    let lines = " timeout queue 5s\n server s1 {1} maxconn 1";
    let queued = |front: &Front, servers: &Servers| {
        let mut holder: TcpStream = connect_from(servers.client(101), front.address);
        assert_eq!(greeting(&mut holder), "s1");
        fates(front, servers)
    };
    let seen = compare(lines, queued);
    assert!(seen.is_none_or(|seen| seen == ["let go at once", "kept"]), "{seen:?}");
    let seen = compare(&format!(" option abortonclose\n{lines}"), queued);
    assert!(seen.is_none_or(|seen| seen == ["let go at once"; 2]), "{seen:?}");
}

/// It may want to hear only. (HAProxy serves it or not, as it happens.)
#[test]
fn one_that_ends_at_once_hears_a_server_that_speaks_first() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let pool = Pool { abort_on_close: true, ..pool(&[net.at(2, 9000)]) };
    let running = Running::start(service(net.at(1, 8000)), pool);
    for _ in 0..50 {
        let mut client = connect(net.at(1, 8000));
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(greeting(&mut client), "s1");
    }
    drop(running);
}
