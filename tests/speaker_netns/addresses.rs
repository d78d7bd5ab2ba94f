//! Virtual addresses: set as configured, put back, removed, and many of them.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use vipgate::model::{Interval, Scope};
use vipgate::speaker::cleanup;
use vipgate::stats::Role;

use crate::support::{Lab, router, virtual_address, wait_until};

pub(crate) fn address_is_set_as_configured() {
    let lab = Lab::new();
    let mut config = router("r1", "198.51.100.100/24", 150);
    config.addresses[0].label = Some("eth0:vip".into());
    config.addresses[0].scope = Scope::Link;
    config.addresses[0].broadcast = Some("198.51.100.255".parse().unwrap());
    let running = lab.a.start(vec![config]);
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("198.51.100.100").is_some());
    let address = lab.a.address("198.51.100.100").unwrap();
    assert_eq!(address["prefixlen"], 24);
    assert_eq!(address["label"], "eth0:vip");
    assert_eq!(address["scope"], "link");
    assert_eq!(address["broadcast"], "198.51.100.255");
    assert_eq!(lab.a.mark("198.51.100.100"), Some(b'v'));
    // On the wire: priority 0 at the end, and the address goes.
    let stats = running.registry.router("r1");
    let begun = Instant::now();
    running.stop();
    println!("    stop without a successor: {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(stats.zero_sent.load(Ordering::Relaxed), 1);
    assert!(lab.a.address("198.51.100.100").is_none());
    running.stop();
}

pub(crate) fn address_removed_by_hand_is_back_at_once() {
    let lab = Lab::new();
    let running = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    running.wait_for("r1", Role::Master);
    wait_until("address set", || lab.a.address("192.0.2.100").is_some());
    let announced = || running.registry.router("r1").announcements.load(Ordering::Relaxed);
    wait_until("announced", || announced() >= 5);
    let before = announced();
    let begun = Instant::now();
    lab.a.ip("addr del 192.0.2.100/24 dev eth0");
    wait_until("put back", || lab.a.address("192.0.2.100").is_some());
    wait_until("announced again", || announced() > before);
    println!("    back and announced after {} ms, `ip` included", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_millis(100));
    assert_eq!(running.role("r1"), Role::Master);
    assert_eq!(running.registry.router("r1").addresses_taken.load(Ordering::Relaxed), 1);
    running.stop();
    thread::sleep(Duration::from_millis(100));
    assert!(lab.a.address("192.0.2.100").is_none(), "a released address stays away");
}

pub(crate) fn addresses_of_an_earlier_life_are_removed() {
    let lab = Lab::new();
    // One that is configured, whoever set it; one with our mark that no file names any more; one of somebody else.
    lab.a.ip("addr add 192.0.2.100/24 dev eth0");
    lab.a.set_marked("192.0.2.101", b'v');
    lab.a.set_marked("192.0.2.102", 18);
    let mut config = router("r1", "192.0.2.100/24", 100);
    config.interval = Interval::from_centiseconds(100).unwrap();
    let running = lab.a.start(vec![config.clone()]);
    assert!(lab.a.address("192.0.2.100").is_none());
    assert!(lab.a.address("192.0.2.101").is_none());
    assert!(lab.a.address("192.0.2.102").is_some());
    // Set again under a backup's feet.
    lab.a.ip("addr add 192.0.2.100/32 dev eth0");
    wait_until("removed from a backup", || lab.a.address("192.0.2.100").is_none());
    running.stop();
    lab.a.ip("addr add 192.0.2.100/24 dev eth0");
    lab.a.set_marked("192.0.2.101", b'v');
    let removed = lab.a.run(move || cleanup(&config.addresses)).unwrap();
    assert_eq!(removed.addresses.len(), 2);
    assert!(lab.a.address("192.0.2.100").is_none() && lab.a.address("192.0.2.101").is_none());
}

pub(crate) fn eighty_addresses_are_quick() {
    let lab = Lab::new();
    let mut config = router("r1", "192.0.2.100/24", 150);
    config.excluded = (1..=80).map(|host| virtual_address(&format!("198.51.100.{host}/32"))).collect();
    let running = lab.a.start(vec![config]);
    running.wait_for("r1", Role::Master);
    let begun = Instant::now();
    let announced = || running.registry.router("r1").announcements.load(Ordering::Relaxed);
    wait_until("all announced", || announced() >= 81 * 5);
    println!("    81 addresses set and announced 5 times within {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!((1..=80).all(|host| lab.a.address(&format!("198.51.100.{host}")).is_some()));
    let begun = Instant::now();
    running.stop();
    println!("    stop with 81 addresses: {} ms", begun.elapsed().as_millis());
    assert!(lab.a.address("198.51.100.80").is_none());
}
