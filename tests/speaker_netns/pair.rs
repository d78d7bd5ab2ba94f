//! Two speakers: one is master, and hands over.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vipgate::model::{Family, PeerLink, Peering, VirtualRouter};
use vipgate::speaker::{HandoverOutcome, Notice};
use vipgate::stats::{RejectReason, Role};

use crate::support::{Lab, router, virtual_address, wait_until};

pub(crate) fn pair_has_one_master_and_hands_over() {
    let lab = Lab::new();
    let one = lab.a.start(vec![router("r1", "192.0.2.100/24", 150)]);
    one.wait_for("r1", Role::Master);
    let two = lab.b.start(vec![router("r1", "192.0.2.100/24", 100)]);
    two.wait_for("r1", Role::Backup);
    thread::sleep(Duration::from_millis(600));
    assert_eq!((one.role("r1"), two.role("r1")), (Role::Master, Role::Backup));
    assert!(lab.a.address("192.0.2.100").is_some() && lab.b.address("192.0.2.100").is_none());

    let reports = one.wait(one.speaker.handover(None));
    println!("    hand-over: {:?}", reports[0]);
    assert_eq!(reports[0].outcome, HandoverOutcome::Moved { to: Some("192.0.2.2".parse().unwrap()) });
    // The hand-over ends with the successor's first advert, which leaves before its role is shown.
    two.wait_for("r1", Role::Master);
    assert_eq!(one.role("r1"), Role::Backup);
    wait_until("address moved", || lab.a.address("192.0.2.100").is_none() && lab.b.address("192.0.2.100").is_some());
    assert!(one.releases() >= 1, "flows are reset before the address goes");

    // A stop hands over too.
    let begun = Instant::now();
    two.stop();
    println!("    stop with a successor: {} ms", begun.elapsed().as_millis());
    one.wait_for("r1", Role::Master);
    wait_until("address back", || lab.a.address("192.0.2.100").is_some());
    assert!(lab.b.address("192.0.2.100").is_none());
    assert_eq!(one.registry.router("r1").rejected(RejectReason::Checksum), 0);
    one.stop();
}

pub(crate) fn pair_over_ipv6() {
    let lab = Lab::new();
    let config = |priority| {
        let mut config = router("r6", "2001:db8::100/64", priority);
        config.family = Family::V6;
        config.addresses.insert(0, virtual_address("fe80::100/64"));
        config
    };
    let one = lab.a.start(vec![config(150)]);
    // Until duplicate detection of the link-local address has ended there is nothing to send from.
    one.wait_for("r6", Role::Master);
    let two = lab.b.start(vec![config(100)]);
    two.wait_for("r6", Role::Backup);
    thread::sleep(Duration::from_millis(600));
    assert_eq!((one.role("r6"), two.role("r6")), (Role::Master, Role::Backup));
    let address = lab.a.address("2001:db8::100").unwrap();
    assert!(address.get("tentative").is_none(), "{address}");
    assert_eq!(address["nodad"], true);
    let reports = one.wait(one.speaker.handover(Some("r6")));
    println!("    hand-over: {:?}", reports[0]);
    assert!(matches!(reports[0].outcome, HandoverOutcome::Moved { to: Some(_) }));
    wait_until("address moved", || {
        lab.b.address("2001:db8::100").is_some() && lab.a.address("2001:db8::100").is_none()
    });
    one.stop();
    two.stop();
}

pub(crate) fn master_heard_on_a_further_path_only_is_followed_there() {
    let lab = Lab::new();
    // The routers' own interfaces lead nowhere.
    let config = |priority| {
        let mut config = router("r1", "192.0.2.100/24", priority);
        config.interface = "own0".parse().unwrap();
        VirtualRouter { paths: vec!["eth0".parse().unwrap()], ..config }
    };
    for (node, address) in [(&lab.a, "198.51.100.1/24"), (&lab.b, "198.51.100.2/24")] {
        node.plug_in("own0");
        node.ip(&format!("addr add {address} dev own0"));
    }
    let one = lab.a.start(vec![config(150)]);
    one.wait_for("r1", Role::Master);
    let wanted = Arc::<Mutex<Peering>>::default();
    let told = Arc::clone(&wanted);
    let two = lab.b.start_telling(vec![config(100)], move |notice| {
        if let Notice::Peering(peering) = notice {
            *told.lock().unwrap() = peering;
        }
    });
    let link = |peer: &str, interface: &str, local: &str| {
        let (interface, peer, local) = (interface.parse().unwrap(), peer.parse().unwrap(), local.parse().unwrap());
        PeerLink { peer, local, interface, index: 12 }
    };
    wait_until("followed", || wanted.lock().unwrap().follow.iter().eq([&link("192.0.2.1", "eth0", "192.0.2.2")]));
    let places: Vec<_> = wanted.lock().unwrap().listen.iter().map(|place| place.local.to_string()).collect();
    assert_eq!(places, ["192.0.2.2", "198.51.100.2"], "it can be followed on both");
    two.speaker.show_session("192.0.2.1".parse().unwrap(), Some("up".into()));
    two.speaker.show_session("198.51.100.1".parse().unwrap(), Some("none".into()));
    wait_until("shown", || two.registry.router("r1").status().session.as_deref() == Some("192.0.2.1: up"));
    two.stop();
}
