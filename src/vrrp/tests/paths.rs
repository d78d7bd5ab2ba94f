//! Several paths, peers, and the trailer.

use super::*;
use crate::model::{HmacKey, Peer};
use crate::wire::vrrp::{Rejected, Stamp};

fn two_paths() -> VirtualRouter {
    VirtualRouter { paths: vec!["eth9".parse().unwrap()], ..config() }
}

fn on_two_paths(own: &str) -> Bench {
    let path_addresses = vec![Some(ip(own))];
    let mut bench = Bench::starting(&two_paths(), Start { path_addresses, ..Start::new(Some(ip(LOCAL)), true) });
    bench.said();
    bench
}

impl Bench {
    fn hears_on(&mut self, path: usize, source: &str, priority: u8) -> String {
        let advertisement = self.router.advertisement(priority);
        let heard = self.router.admit(&received(advertisement), &multicast(source), path).unwrap();
        self.on(Event::Advert(heard))
    }
}

#[test]
fn what_comes_twice_does_nothing_twice() {
    let mut bench = on_two_paths("10.9.0.5");
    for _ in 0..3 {
        bench.hears_on(1, "10.9.0.9", 200);
        bench.hears_on(0, "192.0.2.9", 200);
        bench.pass(ms(1000));
    }
    assert_eq!(bench.router.master(), Some((ip("192.0.2.9"), 200)), "known by its address on the first path");
    bench.hears_on(0, "192.0.2.9", 0);
    bench.pass(ms(100));
    bench.hears_on(1, "10.9.0.9", 0);
    assert!(bench.pass(ms(400)).contains("192.0.2.9 left"), "the second priority 0 prolongs nothing");

    assert_eq!(bench.hears_on(0, "192.0.2.9", 100), "send 128, announce 2x5");
    assert_eq!(bench.hears_on(1, "10.9.0.9", 100), "");
    assert_eq!(bench.pass(ms(999)), "", "one answer, which went out on both");

    let mut bench = on_two_paths("10.9.0.5");
    bench.hears_on(0, "192.0.2.9", 200);
    bench.hears_on(1, "10.9.0.9", 200);
    bench.pass(ms(3400));
    bench.hears_on(1, "10.9.0.9", 200);
    assert_eq!(bench.pass(ms(3499)), "", "silent on one path is not silent");
    assert!(bench.pass(ms(1)).contains("no master heard"));
}

#[test]
fn the_first_path_on_which_they_meet_decides_a_tie() {
    // Greater on the first path, smaller on the second.
    let mut bench = on_two_paths("10.9.0.5");
    bench.promote();
    for _ in 0..5 {
        assert!(!bench.hears_on(1, "10.9.0.9", 128).contains("Backup"));
        assert!(!bench.hears_on(0, "192.0.2.4", 128).contains("Backup"));
        bench.pass(ms(1000));
    }
    for second in 0..5 {
        let said = bench.hears_on(1, "10.9.0.9", 128);
        assert_eq!(
            said.contains("Master>Backup"),
            second == 2,
            "cut off on the first path, the second decides: {said}"
        );
        bench.pass(ms(1000));
    }

    // Smaller on the first path, greater on the second.
    let mut bench = on_two_paths("10.9.0.9");
    bench.promote();
    assert!(!bench.hears_on(1, "10.9.0.5", 128).contains("Backup"));
    assert!(bench.hears_on(0, "192.0.2.9", 128).contains("Master>Backup"), "at once");
    let mut bench = on_two_paths("10.9.0.9");
    bench.promote();
    for _ in 0..5 {
        assert!(!bench.hears_on(1, "10.9.0.5", 128).contains("Backup"), "on the second it wins");
        bench.pass(ms(1000));
    }
}

#[test]
fn an_address_on_any_path_will_do() {
    let mut bench = on_two_paths("10.9.0.5");
    assert_eq!(bench.on(Event::LocalAddress(None)), "");
    assert_eq!(bench.on(Event::PathAddresses(vec![None])), "Backup>Fault (no address to send from)");
    assert!(bench.on(Event::PathAddresses(vec![Some(ip("10.9.0.5"))])).contains("Fault>Backup"));
    let own = bench.router.admit(&received(bench.router.advertisement(9)), &multicast("10.9.0.5"), 0);
    assert_eq!(own, Err(Rejected::OwnSource), "its own advert from the other path");
    let nowhere = bench.router.admit(&received(bench.router.advertisement(9)), &multicast("10.9.0.9"), 2);
    assert_eq!(nowhere, Err(Rejected::Destination));
}

#[test]
fn peers_can_be_held_to_their_address_and_distance() {
    let peer = Peer { address: ip("192.0.2.9"), min_ttl: 250, max_ttl: 254 };
    let strict = VirtualRouter { peers: vec![peer], only_peers: true, ..config() };
    let lenient = VirtualRouter { only_peers: false, ..strict.clone() };
    let group = VirtualRouter { group: Some(ip("224.0.0.99")), ..config() };
    let admitted = |config: &VirtualRouter, source: &str, destination: &str, ttl| {
        let bench = Bench::new(config);
        let envelope = Envelope { source: ip(source), destination: ip(destination), ttl };
        bench.router.admit(&received(bench.router.advertisement(9)), &envelope, 0).map(|_| ())
    };
    assert_eq!(admitted(&strict, "192.0.2.9", LOCAL, 254), Ok(()));
    assert_eq!(admitted(&strict, "192.0.2.9", LOCAL, 255), Err(Rejected::PeerTtl));
    assert_eq!(admitted(&strict, "192.0.2.9", LOCAL, 249), Err(Rejected::PeerTtl));
    assert_eq!(admitted(&strict, "192.0.2.8", LOCAL, 254), Err(Rejected::UnknownPeer));
    assert_eq!(admitted(&lenient, "192.0.2.8", LOCAL, 1), Ok(()));
    assert_eq!(admitted(&lenient, "192.0.2.9", LOCAL, 1), Err(Rejected::PeerTtl));
    assert_eq!(admitted(&group, "192.0.2.9", "224.0.0.99", 255), Ok(()));
    assert_eq!(admitted(&group, "192.0.2.9", "224.0.0.18", 255), Err(Rejected::Destination));
}

#[test]
fn a_sealed_advert_is_accepted_once() {
    let key = HmacKey { id: 7, secret: b"secret".to_vec() };
    let keyed = VirtualRouter { hmac: Some(key.clone()), ..config() };
    let mut bench = Bench::new(&keyed);
    bench.said();
    let envelope = multicast("192.0.2.9");
    let sealed = |key: &HmacKey, stamp, source: &str| {
        let mut bytes = Vec::new();
        let advertisement = Bench::new(&keyed).router.advertisement(200);
        advertisement.emit_sealed(&mut bytes, ip(source), GROUP, ChecksumMode::PseudoHeader, (key, stamp));
        Advertisement::parse(&bytes, &multicast(source)).unwrap()
    };
    let old = Stamp::after(None, ms(1_000_000));
    let new = Stamp::after(Some(old), ms(1_000_000));
    let first = bench.router.admit(&sealed(&key, old, "192.0.2.9"), &envelope, 0).unwrap();
    bench.on(Event::Advert(first));
    let again = bench.router.admit(&sealed(&key, old, "192.0.2.9"), &envelope, 0);
    assert_eq!(again, Err(Rejected::Replayed));
    assert!(bench.router.admit(&sealed(&key, new, "192.0.2.9"), &envelope, 0).is_ok());
    assert!(bench.router.admit(&sealed(&key, old, "192.0.2.8"), &multicast("192.0.2.8"), 0).is_ok(), "of each source");

    let other = HmacKey { secret: b"other".to_vec(), ..key.clone() };
    let wrong = bench.router.admit(&sealed(&other, new, "192.0.2.9"), &envelope, 0);
    assert_eq!(wrong, Err(Rejected::Authentication));
    let other = HmacKey { id: 8, ..key.clone() };
    let wrong = bench.router.admit(&sealed(&other, new, "192.0.2.9"), &envelope, 0);
    assert_eq!(wrong, Err(Rejected::Authentication));
    let bare = received(bench.router.advertisement(200));
    assert_eq!(bench.router.admit(&bare, &envelope, 0), Err(Rejected::Unsealed));
    let keyless = Bench::new(&config());
    assert_eq!(keyless.router.admit(&sealed(&key, new, "192.0.2.9"), &envelope, 0), Err(Rejected::Length));
}
