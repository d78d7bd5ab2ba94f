//! What people get wrong about HAProxy's words, with HAProxy as the measure.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use crate::oracle::{Front, Servers, compare};
use crate::support::*;

const MS: Duration = Duration::from_millis(1);

/// Who serves a client that says nothing, and after how long, in steps of 500 ms.
fn silent_visit(front: &Front, servers: &Servers) -> (String, u128) {
    let start = Instant::now();
    let name = front.visit(servers.client(100));
    (name, start.elapsed().as_millis() / 500)
}

#[test]
fn a_silent_client_waits_the_whole_delay_and_garbage_passes_at_once() {
    let lines =
        " tcp-request inspect-delay 600ms\n tcp-request content reject if { req_ssl_hello_type 1 }\n server s1 {1}";
    let seen = compare(lines, |front, servers| {
        let silent = silent_visit(front, servers);
        let mut client = connect_from(servers.client(101), front.address);
        let start = Instant::now();
        client.write_all(b"no hello\r\n").unwrap();
        let garbage = greeting(&mut client);
        (silent, garbage, start.elapsed() < 500 * MS)
    });
    assert!(seen.is_none_or(|seen| seen == (("s1".into(), 1), "s1".into(), true)));
}

/// For how long an idle connection lives, in steps of 400 ms.
fn life(front: &Front, servers: &Servers) -> u128 {
    let mut client = connect_from(servers.client(100), front.address);
    assert_eq!(greeting(&mut client), "s1");
    let start = Instant::now();
    let end = client.read(&mut [0; 1]);
    assert!(matches!(&end, Ok(0)), "{}: {end:?}", front.address);
    start.elapsed().as_millis() / 400
}

#[test]
fn a_tunnel_timeout_takes_the_place_of_the_two_others() {
    for (timeouts, steps) in [
        (" timeout client 500ms\n timeout tunnel 1s\n", 2),
        (" timeout server 500ms\n timeout tunnel 1s\n", 2),
        (" timeout tunnel 500ms\n", 1),
        (" timeout client 500ms\n", 1),
    ] {
        let seen = compare(&format!("{timeouts} server s1 {{1}}"), life);
        assert!(seen.is_none_or(|seen| seen == steps), "{timeouts}: {seen:?}");
    }
}

#[test]
fn half_closed_connections_have_timeouts_of_their_own() {
    let seen = compare(" timeout client-fin 500ms\n timeout server-fin 500ms\n server s1 {1}", |front, servers| {
        let mut client = connect_from(servers.client(100), front.address);
        assert_eq!(greeting(&mut client), "s1");
        let start = Instant::now();
        // The server echoes what it hears and then ends too: it hears nothing more and ends at once.
        client.shutdown(Shutdown::Write).unwrap();
        let end = client.read(&mut [0; 1]).map_err(|error| error.kind());
        (end, start.elapsed() < 1000 * MS)
    });
    assert!(seen.is_none_or(|seen| seen == (Ok::<usize, ErrorKind>(0), true)));
}

#[test]
fn ports_of_servers_are_the_client_s_moved_or_their_own() {
    // The client's port is 8000, and the servers are at 9000.
    for (port, served) in [(":9000", "s1"), (":+1000", "s1"), (":-1000", ""), ("", "")] {
        let visit = |front: &Front, servers: &Servers| front.visit(servers.client(100));
        let seen = compare(&format!(" retries 0\n server s1 {{host1}}{port}"), visit);
        assert!(seen.as_deref().is_none_or(|seen| seen == served), "{port}: {seen:?}");
    }
}

#[test]
fn a_server_without_an_address_is_where_the_client_connected_to() {
    // Whatever family is written: the client's counts.
    for address in ["0.0.0.0:9000", "[::]:9000", "*:+1000"] {
        let seen = compare(&format!(" retries 0\n server s {address}"), |front, servers| {
            serve_named(SocketAddr::new(front.address.ip(), 9000), "it");
            front.visit(servers.client(100))
        });
        assert!(seen.as_deref().is_none_or(|seen| seen == "it"), "{address}: {seen:?}");
    }
}

#[test]
fn a_server_without_an_address_is_where_a_proxy_says_that_the_client_connected_to() {
    let seen = compare(" bind {net}.1:8001 accept-proxy\n retries 0\n server s 0.0.0.0:9000", |front, servers| {
        let behind = SocketAddr::new(front.address.ip(), 8001);
        let mut client = connect_from(servers.client(100), behind);
        // The second of the servers, on a port of its own.
        let there = servers.client(3);
        // In one piece: HAProxy wants that.
        client.write_all(format!("PROXY TCP4 192.0.2.7 {there} 5000 4444\r\n").as_bytes()).unwrap();
        greeting(&mut client)
    });
    assert!(seen.as_deref().is_none_or(|seen| seen == "s2"), "{seen:?}");
}

#[test]
fn some_clients_have_to_say_for_whom_they_speak() {
    let lines = " tcp-request connection reject if { src {net}.103 }\n tcp-request connection expect-proxy layer4 if { src {net}.100 \
                 {net}.103 }\n tcp-request session reject if { src 192.0.2.9 }\n server s1 {1}";
    let seen = compare(lines, |front, servers| {
        [(100, "192.0.2.7"), (100, "192.0.2.9"), (101, ""), (103, "192.0.2.7"), (100, "")].map(|(host, source)| {
            let mut client = connect_from(servers.client(host), front.address);
            client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let header = format!("PROXY TCP4 {source} 192.0.2.1 5000 80\r\n");
            // Who is turned away may be reset by now.
            let _sent = client.write_all(if source.is_empty() { b"" } else { header.as_bytes() });
            let mut name = [0; 2];
            client.read_exact(&mut name).map(|()| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default()
        })
    });
    assert!(seen.is_none_or(|seen| seen == ["s1", "", "s1", "", ""]));
}
