//! The PROXY protocol, from clients and to servers, and where connections to servers come from.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use vipgate::model::{ListenTuning, Pool, Prefix, ProxyVersion, Service, Source};
use vipgate::stats::EndReason;
use vipgate::wire::proxy_header::{Header, decode, encode_v1, encode_v2};

use crate::support::*;

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A server that hands out the peer and the header of each connection, then echoes.
fn serve_heard(address: SocketAddr) -> Receiver<(SocketAddr, Header)> {
    let (tell, heard) = channel();
    serve(address, move |mut stream| {
        let peer = stream.peer_addr().unwrap();
        let mut bytes = Vec::new();
        let header = loop {
            let mut one = [0];
            if stream.read_exact(&mut one).is_err() {
                return;
            }
            bytes.push(one[0]);
            if let Some((header, _)) = decode(&bytes).unwrap() {
                break header;
            }
        };
        let _gone = tell.send((peer, header));
        echo(stream);
    });
    heard
}

fn told(address: SocketAddr, version: ProxyVersion) -> Pool {
    let mut pool = pool(&[address]);
    pool.servers[0].send_proxy = Some(version);
    pool
}

/// A service that takes headers from this address.
fn trusting(at: SocketAddr, from: IpAddr) -> Service {
    let mut service = service(at);
    service.listen[0].proxy_from = vec![Prefix { address: from, length: 32 }];
    service
}

#[test]
fn a_header_of_a_listed_client_is_passed_on_however_it_is_cut() {
    for (version, source) in [(ProxyVersion::V1, "198.51.100.7:4000"), (ProxyVersion::V2, "[2001:db8::7]:4000")] {
        let net = Net::new();
        let heard = serve_heard(net.at(2, 9000));
        let running = Running::start(trusting(net.at(1, 8000), net.ip(50)), told(net.at(2, 9000), version));
        let destination = if source.starts_with('[') { "[2001:db8::1]:9000" } else { "203.0.113.1:9000" };
        let header = proxied(source, destination);
        for bytes in [encode_v1(header), encode_v2(header)] {
            let mut client = connect_from(net.ip(50), net.at(1, 8000));
            client.set_nodelay(true).unwrap();
            for byte in &bytes {
                client.write_all(&[*byte]).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
            client.write_all(b"hello").unwrap();
            assert_eq!(read(&mut client), *b"hello");
            assert_eq!(heard.recv().unwrap().1, header);

            let mut at_once = connect_from(net.ip(50), net.at(1, 8000));
            at_once.write_all(&[bytes.as_slice(), b"world"].concat()).unwrap();
            assert_eq!(read(&mut at_once), *b"world");
            assert_eq!(heard.recv().unwrap().1, header);
        }
        running.wait_idle();
    }
}

#[test]
fn a_client_that_is_not_listed_speaks_for_itself() {
    let net = Net::new();
    let heard = serve_heard(net.at(2, 9000));
    let _running = Running::start(trusting(net.at(1, 8000), net.ip(50)), told(net.at(2, 9000), ProxyVersion::V2));
    let mut client = connect_from(net.ip(51), net.at(1, 8000));
    let lie = encode_v1(proxied("198.51.100.7:1", "198.51.100.8:2"));
    client.write_all(&lie).unwrap();
    let mut echoed = vec![0; lie.len()];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, lie, "it is data");
    let own = Header::Proxied { source: client.local_addr().unwrap(), destination: net.at(1, 8000) };
    assert_eq!(heard.recv().unwrap().1, own);
}

#[test]
fn a_local_header_leaves_the_connection_its_own_addresses() {
    let net = Net::new();
    let heard = serve_heard(net.at(2, 9000));
    let _running = Running::start(trusting(net.at(1, 8000), net.ip(50)), told(net.at(2, 9000), ProxyVersion::V1));
    let mut client = connect_from(net.ip(50), net.at(1, 8000));
    client.write_all(&encode_v2(Header::Local)).unwrap();
    let own = Header::Proxied { source: client.local_addr().unwrap(), destination: net.at(1, 8000) };
    assert_eq!(heard.recv().unwrap().1, own);
}

#[test]
fn who_has_to_begin_with_a_header_and_does_not_is_reset() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let mut service = trusting(net.at(1, 8000), net.ip(50));
    service.client_timeout = Some(Duration::from_millis(300));
    let running = Running::start(service, pool(&[net.at(2, 9000)]));
    let mut wrong = connect_from(net.ip(50), net.at(1, 8000));
    wrong.write_all(b"PROXY TCP4 999.1.1.1 192.0.2.1 1 2\r\n").unwrap();
    assert!(is_reset(&mut wrong));
    let mut silent = connect_from(net.ip(50), net.at(1, 8000));
    let since = Instant::now();
    assert!(is_reset(&mut silent));
    assert!(since.elapsed() >= Duration::from_millis(200), "{:?}", since.elapsed());
    running.wait_ended(EndReason::BadProxyHeader, 2);
    let mut cut = connect_from(net.ip(50), net.at(1, 8000));
    cut.write_all(b"PROXY TCP4 ").unwrap();
    drop(cut);
    running.wait_ended(EndReason::ClientAborted, 1);
    assert_eq!(running.registry.server("pool", "s1").chosen.load(Ordering::Relaxed), 0);
    running.wait_idle();
}

#[test]
fn a_server_that_speaks_first_hears_the_header_at_once() {
    let net = Net::new();
    let heard = TcpListener::bind(net.at(2, 9000)).unwrap();
    let _running = Running::start(service(net.at(1, 8000)), told(net.at(2, 9000), ProxyVersion::V2));
    let since = Instant::now();
    let mut client = connect(net.at(1, 8000));
    let mut server = heard.accept().unwrap().0;
    let header = read::<28>(&mut server);
    assert!(decode(&header).unwrap().is_some());
    server.write_all(b"220").unwrap();
    assert_eq!(read(&mut client), *b"220");
    // The kernel would hold a segment that is said to be incomplete for 200 ms.
    assert!(since.elapsed() < Duration::from_millis(150), "{:?}", since.elapsed());
}

#[test]
fn connections_to_a_server_come_from_its_source() {
    let net = Net::new();
    let heard = serve_heard(net.at(2, 9000));
    let mut pool = told(net.at(2, 9000), ProxyVersion::V1);
    let ports = Some("15000-15002".parse().unwrap());
    pool.servers[0].source = Some(Source { address: net.ip(9), ports, interface: None, transparent: None });
    let running = Running::start(service(net.at(1, 8000)), pool.clone());
    let clients: Vec<TcpStream> = (0..3).map(|_| connect(net.at(1, 8000))).collect();
    let mut peers: Vec<SocketAddr> = clients.iter().map(|_| heard.recv().unwrap().0).collect();
    peers.sort_unstable();
    assert_eq!(peers, [net.at(9, 15_000), net.at(9, 15_001), net.at(9, 15_002)]);
    let mut more = connect(net.at(1, 8000));
    assert!(is_reset(&mut more), "every port of the source is in use");
    running.wait_ended(EndReason::Resources, 1);
    let server = running.registry.server("pool", "s1");
    assert_eq!(server.portless.load(Ordering::Relaxed), 1);
    assert!(server.status().portless_at.is_some());
    assert_eq!(server.connect_errors.load(Ordering::Relaxed), 0, "the server has nothing to do with it");
    drop(clients);

    let mut running = running;
    pool.servers[0].source = Some(Source { address: net.ip(10), ports: None, interface: None, transparent: None });
    running.reload(&[service(net.at(1, 8000))], &[pool]);
    let _client = connect(net.at(1, 8000));
    assert_eq!(heard.recv().unwrap().0.ip(), net.ip(10));
}

#[test]
fn a_deferred_client_is_accepted_when_it_has_spoken() {
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let mut service = service(net.at(1, 8000));
    let defer_accept = Some(Duration::from_secs(5));
    service.listen[0].tuning = ListenTuning { defer_accept, ..ListenTuning::default() };
    let running = Running::start(service, pool(&[net.at(2, 9000)]));
    let mut client = connect(net.at(1, 8000));
    std::thread::sleep(Duration::from_millis(100));
    let accepted = || running.registry.service("web").accepted.load(Ordering::Relaxed);
    assert_eq!(accepted(), 0);
    client.write_all(b"now").unwrap();
    assert_eq!(read(&mut client), *b"now");
    assert_eq!(accepted(), 1);
}
