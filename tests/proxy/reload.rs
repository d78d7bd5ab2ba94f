//! What a reload touches, and what it must not; what cannot be bound.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use vipgate::proxy::BindReason;
use vipgate::stats::EndReason;

use crate::support::*;

/// The inodes of the sockets that listen on an IPv4 address.
fn inodes(address: SocketAddr) -> BTreeSet<String> {
    let octets = match address {
        SocketAddr::V4(v4) => v4.ip().octets(),
        SocketAddr::V6(_) => return BTreeSet::new(),
    };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(octets), address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1] == local && row[3] == "0A").map(|row| row[9].to_owned()).collect()
}

#[test]
fn what_stays_keeps_its_sockets_flows_clients_health_and_turn() {
    let net = Net::new();
    for (host, name) in [(2, "s1"), (3, "s2"), (4, "s3")] {
        serve_named(net.at(host, 9000), name);
    }
    let mut pool = pool(&[net.at(2, 9000), net.at(3, 9000), net.at(4, 9000)]);
    pool.affinity = stick();
    pool.servers[2].check = Some(check(net.at(4, 9000)));
    let mut running = Running::start(service(net.at(1, 8000)), pool.clone());
    let before = inodes(net.at(1, 8000));
    assert_eq!(before.len(), 2, "one socket a worker");
    let mut flow = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut flow), "s1");
    assert_eq!(greeting(&mut connect_from(net.ip(100), net.at(1, 8000))), "s2");
    running.proxy.set_server_up("pool", "s3", false);

    let mut changed = service(net.at(1, 8000));
    changed.max_connections = Some(100);
    changed.client_timeout = Some(Duration::from_secs(60));
    pool.servers.remove(0);
    running.reload(&[changed.clone()], &[pool.clone()]);
    assert_eq!(inodes(net.at(1, 8000)), before);
    flow.write_all(b"still here").unwrap();
    assert_eq!(read(&mut flow), *b"still here", "although its server was removed");
    assert_eq!(greeting(&mut connect_from(net.ip(100), net.at(1, 8000))), "s2");
    assert_eq!(greeting(&mut connect_from(net.ip(101), net.at(1, 8000))), "s2", "s3 is still down");
    assert_eq!(greeting(&mut connect(net.at(1, 8000))), "s2", "s1 is gone");

    // A port more and a service more: the first listener does not notice.
    let mut other = service(net.at(9, 8000));
    other.name = "other".into();
    changed.listen.push(service(net.at(1, 8001)).listen.remove(0));
    running.reload(&[changed, other], &[pool]);
    assert_eq!(inodes(net.at(1, 8000)), before);
    for address in [net.at(1, 8001), net.at(9, 8000)] {
        assert_eq!(greeting(&mut connect(address)), "s2");
    }
}

#[test]
fn a_service_that_is_gone_resets_its_flows_and_closes_its_listeners() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let pool = pool(&[net.at(2, 9000)]);
    let mut other = service(net.at(9, 8000));
    other.name = "other".into();
    let mut running = Running::start_all(&[service(net.at(1, 8000)), other.clone()], std::slice::from_ref(&pool));
    let (mut gone, mut stays) = (connect(net.at(1, 8000)), connect(net.at(9, 8000)));
    assert_eq!((greeting(&mut gone), greeting(&mut stays)), ("s1".into(), "s1".into()));
    running.reload(&[other], &[pool]);
    assert!(is_reset(&mut gone));
    running.wait_ended(EndReason::Removed, 1);
    eventually("the port is closed", || TcpStream::connect(net.at(1, 8000)).is_err());
    stays.write_all(b"still here").unwrap();
    assert_eq!(read(&mut stays), *b"still here");
    assert_eq!(running.proxy.listeners(), 2);
}

#[test]
fn a_listener_that_is_removed_is_accepted_dry() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let pool = pool(&[net.at(2, 9000)]);
    let mut limited = service(net.at(1, 8000));
    limited.max_connections = Some(1);
    let mut running = Running::start(limited.clone(), pool.clone());
    let mut first = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut first), "s1");
    let mut queued: Vec<_> = (0..5).map(|_| connect(net.at(1, 8000))).collect();
    limited.listen = service(net.at(1, 8001)).listen;
    running.reload(&[limited], &[pool]);
    assert!(queued.iter_mut().all(|client| greeting(client) == "s1"));
}

#[test]
fn a_port_that_another_process_has_is_refused_by_name_and_nothing_is_bound() {
    let net = Net::new();
    let taken = net.at(1, 8001);
    // Another process of the same user that would share the port.
    let mut other = std::process::Command::new("socat")
        .arg(format!("TCP-LISTEN:8001,bind={},so-reuseport=1,fork", taken.ip()))
        .arg("EXEC:cat")
        .spawn()
        .unwrap();
    eventually("socat listens", || inodes(taken).len() == 1);
    let mut running = Running::start(service(net.at(1, 7000)), pool(&[net.at(2, 9000)]));
    let errors = running.proxy.prepare(&[service_on(net.ip(1), 8000, 8002)], &[pool(&[net.at(2, 9000)])]).unwrap_err();
    assert_eq!(errors.len(), 1);
    let text = errors[0].to_string();
    assert!(text.contains(&format!("service web cannot listen on {taken}")), "{text}");
    assert!(text.contains(&format!("socat (pid {}", other.id())), "{text}");
    assert!(inodes(net.at(1, 8000)).is_empty() && inodes(net.at(1, 8002)).is_empty());
    assert_eq!(inodes(net.at(1, 7000)).len(), 2);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn what_cannot_be_bound_says_why() {
    let net = Net::new();
    let mut running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let pools = [pool(&[net.at(2, 9000)])];
    let mut refuse = |service| running.proxy.prepare(&[service], &pools).unwrap_err().remove(0);

    let mut not_here = service("192.0.2.77:8000".parse().unwrap());
    not_here.listen[0].nonlocal = false;
    let error = refuse(not_here);
    assert_eq!((error.reason.clone(), error.address), (BindReason::NotLocal, "192.0.2.77:8000".parse().unwrap()));
    assert!(error.to_string().contains("on no interface of this node"), "{error}");

    let mut no_interface = service(net.at(1, 8002));
    no_interface.listen[0].interface = Some("nosuch0".parse().unwrap());
    assert_eq!(refuse(no_interface).reason, BindReason::NoInterface("nosuch0".into()));

    let mut no_pool = service(net.at(1, 8003));
    no_pool.pool = "nosuch".into();
    assert_eq!(refuse(no_pool).reason, BindReason::NoPool("nosuch".into()));

    let mut twice = service(net.at(1, 8004));
    twice.listen.push(twice.listen[0].clone());
    assert_eq!(refuse(twice).reason, BindReason::Twice("web".into()));

    let own = TcpListener::bind(net.at(1, 8005)).unwrap();
    assert!(matches!(refuse(service(net.at(1, 8005))).reason, BindReason::InUse(_)));
    drop(own);
}

#[test]
fn an_address_that_is_not_here_yet_can_be_listened_on() {
    let running = Running::start(service("192.0.2.78:8000".parse().unwrap()), pool(&["127.0.0.1:1".parse().unwrap()]));
    assert_eq!(running.proxy.listeners(), 2);
    let mut v6 = service("[2001:db8::78]:8000".parse().unwrap());
    v6.name = "v6".into();
    let v6 = Running::start(v6, pool(&["127.0.0.1:1".parse().unwrap()]));
    assert_eq!(v6.proxy.listeners(), 2);
}

#[test]
fn flows_of_an_address_that_moves_are_reset() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let mut specific = service(net.at(1, 8000));
    specific.listen.push(service(net.at(3, 8000)).listen.remove(0));
    let mut any = service("0.0.0.0:8178".parse().unwrap());
    any.name = "any".into();
    let running = Running::start_all(&[specific, any], &[pool(&[net.at(2, 9000)])]);
    let addresses = [net.at(1, 8000), net.at(1, 8178), net.at(3, 8000), net.at(3, 8178)];
    let mut clients = addresses.map(connect);
    assert!(clients.iter_mut().all(|client| greeting(client) == "s1"));
    let (sender, receiver) = std::sync::mpsc::channel();
    running.proxy.reset_local(&[net.ip(1)], move |count| sender.send(count).unwrap());
    assert_eq!(receiver.recv_timeout(Duration::from_secs(1)).unwrap(), 2);
    let [first, second, third, fourth] = &mut clients;
    assert!(is_reset(first) && is_reset(second));
    for client in [third, fourth] {
        client.write_all(b"still here").unwrap();
        assert_eq!(read(client), *b"still here");
    }
    assert_eq!(running.ended(EndReason::Moved), 1);
    assert_eq!(running.registry.service("any").open.load(Ordering::Relaxed), 1);
}
