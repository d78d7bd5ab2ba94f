//! Bytes, ends, resets, silences.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use vipgate::stats::EndReason;

use crate::support::*;

const PATTERN: usize = 1_000_003;

/// Endless bytes in which every shift shows: position 7 of a megabyte that is no multiple of any buffer.
fn pattern() -> Vec<u8> {
    (0..PATTERN + 256 * 1024).map(|n| (((n % PATTERN) * 31) >> 3) as u8).collect()
}

fn write_pattern(mut stream: TcpStream, total: usize) {
    let (pattern, mut at) = (pattern(), 0);
    while at < total {
        let count = (256 * 1024).min(total - at);
        stream.write_all(&pattern[at % PATTERN..][..count]).unwrap();
        at += count;
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

fn check_pattern(mut stream: TcpStream, total: usize) {
    let (pattern, mut at, mut buffer) = (pattern(), 0, vec![0; 200_000]);
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count] == pattern[at % PATTERN..][..count], "bytes differ after {at}");
        at += count;
    }
    assert_eq!(at, total);
}

#[test]
fn two_hundred_megabytes_both_ways_at_once() {
    const TOTAL: usize = 200_000_000;
    let net = Net::new();
    serve(net.at(2, 9000), |stream| {
        let reader = stream.try_clone().unwrap();
        let checker = std::thread::spawn(move || check_pattern(reader, TOTAL));
        write_pattern(stream, TOTAL);
        checker.join().unwrap();
    });
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let client = connect(net.at(1, 8000));
    let reader = client.try_clone().unwrap();
    let writer = std::thread::spawn(move || write_pattern(client, TOTAL));
    check_pattern(reader, TOTAL);
    writer.join().unwrap();
    running.wait_ended(EndReason::Complete, 1);
    let stats = running.registry.service("web");
    assert_eq!(stats.bytes_in.load(std::sync::atomic::Ordering::Relaxed), TOTAL as u64);
    assert_eq!(stats.bytes_out.load(std::sync::atomic::Ordering::Relaxed), TOTAL as u64);
}

#[test]
fn a_slow_reader_gets_everything() {
    const TOTAL: usize = 20_000_000;
    let net = Net::new();
    serve(net.at(2, 9000), |stream| write_pattern(stream, TOTAL));
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let client = connect(net.at(1, 8000));
    // By now the kernel's buffers are full, and so is the relay.
    std::thread::sleep(Duration::from_millis(300));
    check_pattern(client, TOTAL);
    running.wait_ended(EndReason::Complete, 1);
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let _running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let mut waits: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s1");
            start.elapsed()
        })
        .collect();
    waits.sort();
    println!("first byte of a server that speaks first: median {:?}, most {:?}", waits[4], waits[8]);
    assert!(waits[4] < Duration::from_millis(50), "{waits:?}");
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let net = Net::new();
    serve(net.at(2, 9000), |mut stream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(&question).unwrap();
    });
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let mut client = connect(net.at(1, 8000));
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"question");
    running.wait_ended(EndReason::Complete, 1);
}

#[test]
fn a_server_that_half_closes_still_hears_the_client() {
    let net = Net::new();
    serve(net.at(2, 9000), |mut stream| {
        stream.write_all(b"last words").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.len(), 3_000_000);
    });
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let mut client = connect(net.at(1, 8000));
    let mut words = Vec::new();
    client.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"last words");
    client.write_all(&vec![1; 3_000_000]).unwrap();
    drop(client);
    running.wait_ended(EndReason::Complete, 1);
    assert_eq!(running.registry.service("web").bytes_in.load(std::sync::atomic::Ordering::Relaxed), 3_000_000);
}

#[test]
fn a_reset_of_the_client_reaches_the_server() {
    let net = Net::new();
    let (sender, was_reset) = std::sync::mpsc::channel();
    serve(net.at(2, 9000), move |mut stream| {
        let _hello = read::<5>(&mut stream);
        sender.send(is_reset(&mut stream)).unwrap();
    });
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let mut client = connect(net.at(1, 8000));
    client.write_all(b"hello").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    reset(client);
    assert!(was_reset.recv_timeout(Duration::from_secs(2)).unwrap());
    running.wait_ended(EndReason::ClientAborted, 1);
}

#[test]
fn a_reset_of_the_server_reaches_the_client_after_its_last_bytes() {
    const TOTAL: usize = 3_000_000;
    let net = Net::new();
    serve(net.at(2, 9000), |mut stream| {
        stream.write_all(&vec![1; TOTAL]).unwrap();
        // Until the proxy has it all: what a reset finds here is lost, whoever relays.
        let socket = socket2::SockRef::from(&stream);
        std::thread::sleep(Duration::from_millis(300));
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let mut client = connect(net.at(1, 8000));
    std::thread::sleep(Duration::from_millis(600));
    let (mut heard, mut buffer) = (0, vec![0; 65536]);
    let end = loop {
        match client.read(&mut buffer) {
            Ok(0) => break None,
            Ok(count) => heard += count,
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!((heard, end), (TOTAL, Some(std::io::ErrorKind::ConnectionReset)));
    running.wait_ended(EndReason::ServerAborted, 1);
}

#[test]
fn silences_end_connections() {
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let short = Some(Duration::from_millis(150));
    let mut service = service(net.at(1, 8000));
    let mut pool = pool(&[net.at(2, 9000)]);
    service.client_timeout = short;
    let mut running = Running::start(service.clone(), pool.clone());
    let silent_for = |pause: Duration| {
        let mut client = connect(net.at(1, 8000));
        client.write_all(b"x").unwrap();
        assert_eq!(read(&mut client), *b"x");
        std::thread::sleep(pause);
        client.write_all(b"y").is_ok() && client.read(&mut [0]).is_ok_and(|count| count == 1)
    };
    assert!(silent_for(Duration::from_millis(50)));
    assert!(!silent_for(Duration::from_millis(250)));
    running.wait_ended(EndReason::ClientTimeout, 1);

    pool.tunnel_timeout = Some(Duration::from_secs(5));
    running.reload(&[service.clone()], &[pool.clone()]);
    assert!(silent_for(Duration::from_millis(250)), "the tunnel timeout replaces the client's");

    service.client_fin_timeout = short;
    running.reload(&[service.clone()], &[pool.clone()]);
    assert!(silent_for(Duration::from_millis(250)), "a fin timeout is for half-closed connections");

    (service.client_timeout, service.client_fin_timeout) = (None, None);
    (pool.tunnel_timeout, pool.server_timeout) = (None, short);
    running.reload(&[service], &[pool]);
    assert!(!silent_for(Duration::from_millis(250)));
    running.wait_ended(EndReason::ServerTimeout, 1);
}

#[test]
fn a_half_closed_connection_has_its_own_timeout() {
    let net = Net::new();
    serve(net.at(2, 9000), |mut stream| {
        // Never answers, never closes.
        let _end = stream.read_to_end(&mut Vec::new());
        std::thread::sleep(Duration::from_secs(8));
    });
    let mut service = service(net.at(1, 8000));
    service.client_timeout = Some(Duration::from_secs(60));
    let mut pool = pool(&[net.at(2, 9000)]);
    pool.tunnel_timeout = Some(Duration::from_secs(60));
    pool.server_fin_timeout = Some(Duration::from_millis(150));
    let running = Running::start(service, pool);
    let client = connect(net.at(1, 8000));
    client.shutdown(Shutdown::Write).unwrap();
    let start = Instant::now();
    running.wait_ended(EndReason::ServerTimeout, 1);
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[test]
fn ipv6_and_dual_stack() {
    serve("[::1]:9177".parse().unwrap(), echo);
    let mut service = service("[::]:8177".parse().unwrap());
    service.listen[0].dual_stack = true;
    let running = Running::start(service, pool(&["[::1]:9177".parse().unwrap()]));
    for address in ["[::1]:8177", "127.0.0.1:8177"] {
        let mut client = connect(address.parse().unwrap());
        client.write_all(b"hello").unwrap();
        assert_eq!(read(&mut client), *b"hello", "{address}");
    }
    running.wait_ended(EndReason::Complete, 2);
}

#[test]
fn urgent_bytes_keep_their_place() {
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let mut client = connect(net.at(1, 8000));
    client.write_all(b"before").unwrap();
    socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap();
    client.write_all(b"after").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"before!after");
    running.wait_ended(EndReason::Complete, 1);
}
