//! Ranges of ports that the kernel leads to one listener a worker.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use vipgate::model::{Pool, ServerPort, Service};
use vipgate::os::port_owner;
use vipgate::proxy::BindReason;

use crate::support::*;

const LAST: u16 = 9999;

/// A pool whose server is 10,000 ports further up, so that it can listen on loopback too.
fn shifted(server: SocketAddr) -> Pool {
    let mut pool = pool(&[server]);
    pool.servers[0].port = ServerPort::Offset(10_000);
    pool
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn a_whole_range_comes_to_one_socket_a_worker() {
    let net = Net::new();
    for port in [5000, 7777, LAST] {
        serve_named(net.at(2, 10_000 + port), "s1");
    }
    let service = service_on(net.ip(1), 5000, LAST);
    let Some(running) = Running::steered(&[service], &[shifted(net.at(2, 1))]) else { return };
    assert_eq!(running.proxy.listeners(), 2);
    for port in [5000, 7777, LAST] {
        let mut client = connect(net.at(1, port));
        assert_eq!(greeting(&mut client), "s1");
        client.write_all(b"port by port").unwrap();
        assert_eq!(read(&mut client), *b"port by port");
        assert_eq!(client.peer_addr().unwrap(), net.at(1, port));
    }
    for outside in [net.at(1, 4999), net.at(1, LAST + 1), net.at(3, 7777)] {
        assert!(is_refused(outside), "{outside}");
    }
    running.proxy.stop(Duration::ZERO);
    assert!(is_refused(net.at(1, 7777)));
}

#[test]
fn connections_are_spread_over_the_workers_and_none_waits() {
    let net = Net::new();
    serve_named(net.at(2, 15_001), "s1");
    let Some(running) = Running::steered(&[service_on(net.ip(1), 5000, LAST)], &[shifted(net.at(2, 1))]) else {
        return;
    };
    let (clients, servers) = connect_each(50, net.at(1, 5001));
    assert_eq!(servers.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["s1".to_owned()]));
    drop(clients);
    running.wait_idle();
}

#[test]
fn a_reload_moves_the_ends_of_a_range_and_touches_no_flow() {
    let net = Net::new();
    for port in [5000, 5999, 6500] {
        serve_named(net.at(2, 10_000 + port), "s1");
    }
    let pools = [shifted(net.at(2, 1))];
    let Some(mut running) = Running::steered(&[service_on(net.ip(1), 5000, 5999)], &pools) else { return };
    let mut flow = connect(net.at(1, 5999));
    assert_eq!(greeting(&mut flow), "s1");
    assert!(is_refused(net.at(1, 6500)));

    running.reload(&[service_on(net.ip(1), 5000, 6999)], &pools);
    assert_eq!(greeting(&mut connect(net.at(1, 6500))), "s1");
    running.reload(&[service_on(net.ip(1), 5000, 5099)], &pools);
    assert!(is_refused(net.at(1, 5999)), "it is not in the range any more");
    assert_eq!(greeting(&mut connect(net.at(1, 5000))), "s1");
    flow.write_all(b"still here").unwrap();
    assert_eq!(read(&mut flow), *b"still here");

    // Another first port, so other sockets; then so few ports that they would not have been led from the start.
    running.reload(&[service_on(net.ip(1), 4900, 6999)], &pools);
    assert_eq!((running.proxy.listeners(), greeting(&mut connect(net.at(1, 6500)))), (2, "s1".into()));
    running.reload(&[service_on(net.ip(1), 5995, 5999)], &pools);
    assert_eq!((running.proxy.listeners(), greeting(&mut connect(net.at(1, 5999)))), (2, "s1".into()));
    assert!(is_refused(net.at(1, 6500)));
    assert!(flow.write_all(b"!").is_ok() && read(&mut flow) == *b"!");
}

/// With deferred accept a handshake lasts until the client speaks: as long as one over a long way.
fn deferred(address: IpAddr, first: u16, last: u16) -> Service {
    let mut service = service_on(address, first, last);
    service.listen[0].tuning.defer_accept = Some(Duration::from_secs(5));
    service
}

#[test]
fn a_handshake_under_way_outlives_the_listener_that_began_it() {
    let net = Net::new();
    serve_named(net.at(2, 15_000), "s1");
    serve_named(net.at(2, 15_009), "s1");
    let pools = [shifted(net.at(2, 1))];
    // Too short to be led; led; led from another first port on.
    let Some(mut running) = Running::steered(&[deferred(net.ip(1), 5000, 5009)], &pools) else { return };
    for (first, port) in [(5000, 5000), (4990, 5009)] {
        let mut client = connect(net.at(1, port));
        std::thread::sleep(Duration::from_millis(20));
        running.reload(&[deferred(net.ip(1), first, 5999)], &pools);
        client.write_all(b"x").unwrap();
        assert_eq!(greeting(&mut client), "s1");
    }
    let left = || port_owner::listening_among(net.ip(1), 5000..=5999);
    assert!(!left().is_empty());
    eventually("the old listeners to go", || left().is_empty());
}

/// Handshakes that are under way at each of many reloads, which change the ends of a range back and forth: none may end with
/// a listener, be it one that leaves, one that is called back, or one beside another that leaves from the same port.
#[test]
fn no_handshake_is_lost_however_often_a_range_changes() {
    let net = Net::new();
    serve_named(net.at(2, 15_000), "s1");
    serve_named(net.at(2, 15_009), "s1");
    let pools = [shifted(net.at(2, 1))];
    let Some(mut running) = Running::steered(&[deferred(net.ip(1), 5000, 5009)], &pools) else { return };
    let mut under_way: VecDeque<(usize, TcpStream)> = VecDeque::new();
    for (turn, (first, last)) in [(5000, 5030), (4980, 5030), (5000, 5009)].into_iter().cycle().take(24).enumerate() {
        under_way.extend([5000, 5009, 5000, 5009].map(|port| (turn, connect(net.at(1, port)))));
        std::thread::sleep(Duration::from_millis(150));
        running.reload(&[deferred(net.ip(1), first, last)], &pools);
        // A handshake takes this reload and the next.
        while let Some((begun, mut client)) = under_way.pop_front_if(|(begun, _)| *begun < turn) {
            client.write_all(b"x").unwrap();
            assert_eq!(greeting(&mut client), "s1", "begun at reload {begun}, spoke after {turn}");
        }
    }
}

#[test]
fn two_addresses_share_ports_and_each_has_its_service() {
    let net = Net::new();
    for (host, name) in [(2, "s1"), (3, "s2")] {
        serve_named(net.at(host, 15_500), name);
    }
    let mut other = service_on(net.ip(9), 5400, 5600);
    (other.name, other.pool) = ("other".into(), "other".into());
    let mut other_pool = shifted(net.at(3, 1));
    other_pool.name = "other".into();
    let services = [service_on(net.ip(1), 5000, 5999), other];
    let Some(running) = Running::steered(&services, &[shifted(net.at(2, 1)), other_pool]) else { return };
    assert_eq!(greeting(&mut connect(net.at(1, 5500))), "s1");
    assert_eq!(greeting(&mut connect(net.at(9, 5500))), "s2");
    assert!(is_refused(net.at(9, 5300)));
    drop(running);
}

#[test]
fn a_port_of_the_range_that_somebody_has_is_named_and_stays_theirs() {
    let net = Net::new();
    serve_named(net.at(2, 15_000), "s1");
    let Some(mut running) = Running::steered(&[], &[]) else { return };
    let at = net.at(1, 5050);
    let listen = format!("TCP-LISTEN:{},bind={},fork,reuseaddr", at.port(), at.ip());
    let mut socat =
        Command::new("socat").args([&listen, "SYSTEM:printf theirs"]).stdout(Stdio::null()).spawn().unwrap();
    eventually("socat to listen", || TcpStream::connect(at).is_ok());
    let errors = running.proxy.prepare(&[service_on(net.ip(1), 5000, 5999)], &[shifted(net.at(2, 1))]).unwrap_err();
    let mut text = String::new();
    let read = connect(at).read_to_string(&mut text);
    socat.kill().unwrap();
    socat.wait().unwrap();
    assert_eq!((errors.len(), errors[0].address), (1, at));
    assert!(matches!(&errors[0].reason, BindReason::InUse(owners) if owners.iter().any(|owner| owner.name == "socat")));
    assert!(read.is_ok() && text == "theirs", "{text}");
}
