//! Large tables, keys, and names that do not fit, with replication in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netns_tests::wait::{pass, until_true};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use vipgate::model::PeerKeys;
use vipgate::peers::{Replication, Shared};

use super::support::{HAPROXY, Memory, PATIENCE, Process, entry, group, haproxy_is_here, own_ip, table};

const LARGE: u32 = 100_000;
/// What the project promises for a table of this size.
const PROMISED: Duration = Duration::from_secs(2);
/// A debug build on a busy machine.
const BUSY: u32 = if cfg!(debug_assertions) { 4 } else { 1 };

fn node(local: &str, members: &[(&str, SocketAddr)], keys: Option<PeerKeys>, memory: &Arc<Memory>) -> Replication {
    let replication = Replication::start().unwrap();
    replication.apply(vec![Shared { group: group(local, members, keys), tables: vec![table(memory)] }]);
    replication
}

fn is_connected(replication: &Replication) -> bool {
    replication.views().iter().any(|view| view.since.is_some())
}

#[test]
fn a_hundred_thousand_entries_are_taught_in_two_seconds() {
    let members: [(&str, SocketAddr); 2] = [("a", (own_ip(), 10000).into()), ("b", (own_ip(), 10000).into())];
    let teacher = Memory::of((0..LARGE).map(|n| entry(n, n % 3 + 1)).collect());
    let pupil = Memory::of(Vec::new());
    let _a = node("a", &members, None, &teacher);
    let b = node("b", &members, None, &pupil);
    until_true("a session", PATIENCE, || is_connected(&b));
    let since = Instant::now();
    until_true("the table", PATIENCE, || pupil.learnt_count() >= LARGE as usize);
    let took = since.elapsed();
    println!("100,000 entries, vipgate to vipgate: {took:?}");
    assert!(took < PROMISED * BUSY, "{took:?}");
    let learnt = pupil.learnt();
    assert!((0..LARGE).all(|n| learnt[n as usize] == entry(n, n % 3 + 1)));
    teacher.change(entry(7, 2));
    until_true("a change", PATIENCE, || pupil.learnt().last() == Some(&entry(7, 2)));
}

#[test]
fn haproxy_learns_a_large_table_and_teaches_it() {
    if !haproxy_is_here() {
        return;
    }
    assert!(HAPROXY.starts_with('/'));
    let members: [(&str, SocketAddr); 3] =
        [("a", (own_ip(), 10000).into()), ("b", (own_ip(), 10000).into()), ("c", (own_ip(), 10000).into())];
    let peers: String = members.iter().map(|(name, address)| format!(" peer {name} {address}\n")).collect();
    let theirs = Process::haproxy(
        "b",
        &format!(
            "global\n stats socket DIR/sock level admin\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n\
             peers nodes\n{peers}backend be\n stick-table type ip size 200k expire 1h peers nodes\n stick on src\n\
             \x20server s1 127.0.0.1:1\n server s2 127.0.0.1:2\n server s3 127.0.0.1:3\n"
        ),
    );
    let teacher = Memory::of((0..LARGE).map(|n| entry(n, n % 3 + 1)).collect());
    let first = node("a", &members[..2], None, &teacher);
    until_true("a session", PATIENCE, || is_connected(&first));
    let since = Instant::now();
    until_true("the table", PATIENCE, || theirs.used() == LARGE as usize);
    println!("100,000 entries, vipgate to HAProxy: {:?}", since.elapsed());
    assert!(since.elapsed() < PROMISED * BUSY);
    assert_eq!((theirs.server_of("10.0.0.4"), theirs.server_of("10.0.0.5")), (Some(2), Some(3)));
    drop(first);

    let pupil = Memory::of(Vec::new());
    let second = node("c", &[members[1], members[2]], None, &pupil);
    until_true("a session", PATIENCE, || is_connected(&second));
    let since = Instant::now();
    until_true("the table", PATIENCE, || pupil.learnt_count() >= LARGE as usize);
    println!("100,000 entries, HAProxy to vipgate: {:?}", since.elapsed());
    assert!(since.elapsed() < PROMISED * BUSY);
    let learnt = pupil.learnt();
    let known = learnt.iter().find(|known| known.key == entry(4, 1).key).unwrap();
    assert_eq!((known.place, known.server.as_deref()), (2, Some("s2")));
    assert!(known.left.is_some_and(|left| left <= Duration::from_secs(1800)));
}

/// An authority, and the keys of nodes that it vouches for.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn keys(&self, name: &str) -> PeerKeys {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        PeerKeys {
            certificates: Arc::new(vec![certificate.der().to_vec()]),
            key: Arc::new(key.serialize_der()),
            authorities: Arc::new(vec![self.der.clone()]),
        }
    }
}

#[test]
fn with_keys_both_sides_prove_who_they_are() {
    let members: [(&str, SocketAddr); 2] = [("node-a", (own_ip(), 10000).into()), ("node-b", (own_ip(), 10000).into())];
    let (ours, other) = (Authority::new(), Authority::new());
    let teacher = Memory::of(vec![entry(1, 1)]);
    let _a = node("node-a", &members, Some(ours.keys("node-a")), &teacher);
    // In the open; vouched for by somebody else; by the right authority, but for another name.
    for keys in [None, Some(other.keys("node-b")), Some(ours.keys("node-x"))] {
        let nobody = Memory::of(vec![entry(66, 3)]);
        let liar = node("node-b", &members, keys, &nobody);
        pass(Duration::from_secs(3));
        assert!(!is_connected(&liar), "{:?}", liar.views());
        assert_eq!((nobody.learnt_count(), teacher.learnt_count()), (0, 0));
        drop(liar);
    }
    let pupil = Memory::of(vec![entry(2, 2)]);
    let b = node("node-b", &members, Some(ours.keys("node-b")), &pupil);
    until_true("both know", PATIENCE, || {
        pupil.learnt().contains(&entry(1, 1)) && teacher.learnt().contains(&entry(2, 2))
    });
    assert!(is_connected(&b));
}

#[test]
fn a_stranger_is_told_and_a_wrong_name_is_said() {
    let address = |n| -> SocketAddr { (n, 10000).into() };
    let (at_a, at_b) = (address(own_ip()), address(own_ip()));
    let memory = Memory::of(Vec::new());
    let _a = node("a", &[("a", at_a)], None, &memory);
    let b = node("b", &[("a", at_a), ("b", at_b)], None, &memory);
    let trouble =
        |text: &str| b.views().iter().any(|view| view.trouble.as_deref().is_some_and(|said| said.contains(text)));
    until_true("a stranger", PATIENCE, || trouble("does not know this node"));
    let c = node("c", &[("x", at_a), ("c", at_b)], None, &memory);
    until_true("a wrong name", PATIENCE, || {
        c.views().iter().any(|view| view.trouble.as_deref().is_some_and(|said| said.contains("another name")))
    });
}
