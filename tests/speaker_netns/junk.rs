//! Junk on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vipgate::model::{Family, Interval};
use vipgate::os::raw::{ReceiveOptions, Receiver, Sender};
use vipgate::os::sched;
use vipgate::stats::{RejectReason, Role};
use vipgate::wire::ip;

use crate::support::{Lab, router};

pub(crate) fn junk_changes_nothing_but_a_counter() {
    let lab = Lab::new();
    let mut config = router("r1", "192.0.2.100/24", 150);
    config.interval = Interval::from_centiseconds(5).unwrap();
    let running = lab.a.start(vec![config.clone()]);
    running.wait_for("r1", Role::Master);
    // A pause of the whole machine hits one round; what junk does, it does in each.
    let mut rounds = Vec::new();
    while rounds.len() < 3 && !rounds.iter().any(|worst| *worst < BOUND) {
        rounds.push(lab.b.run(advert_gaps_under_junk).into_iter().max().expect("adverts"));
    }
    let best = rounds.iter().min().copied().expect("a round");
    let stats = running.registry.router("r1");
    println!(
        "    {} junk packets a round: longest gap at 50 ms {:.1?}; rejected: checksum {}, truncated {}; latest wake {:.6} s",
        JUNK,
        rounds,
        stats.rejected(RejectReason::Checksum),
        stats.rejected(RejectReason::Truncated),
        running.registry.late_wakes.snapshot().max_seconds,
    );
    assert!(best < BOUND, "own adverts are late: {rounds:?}");
    assert!(stats.rejected(RejectReason::Checksum) > 1000);
    assert_eq!(running.role("r1"), Role::Master);
    assert_eq!(stats.received.load(Ordering::Relaxed), 0);
    running.stop();
}

const JUNK: u32 = 30_000;
/// Adverts every 50 ms, and 10 ms of delay.
const BOUND: Duration = Duration::from_millis(60);

/// Sends junk adverts to the group, 10,000 a second, while another thread listens to the master's own.
fn advert_gaps_under_junk() -> Vec<Duration> {
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let listener = thread::spawn({
        let over = Arc::clone(&over);
        move || advert_gaps(index, &over)
    });
    let sender = Sender::open(Family::V4).unwrap();
    let mut junk = Vec::new();
    ip::emit_v4(&mut junk, "192.0.2.2".parse().unwrap(), "224.0.0.18".parse().unwrap(), (1, 255), 12);
    // Version 3, our VRID, a wrong checksum.
    junk.extend_from_slice(&[0x31, 51, 200, 1, 0, 5, 0xde, 0xad, 192, 0, 2, 100]);
    let begun = Instant::now();
    for number in 0..JUNK {
        let _ = sender.send(&junk, "224.0.0.18".parse().unwrap(), index);
        let due = begun + Duration::from_micros(100) * (number + 1);
        let ahead = due.saturating_duration_since(Instant::now());
        if ahead > Duration::from_micros(200) {
            thread::sleep(ahead);
        }
    }
    over.store(true, Ordering::Relaxed);
    listener.join().unwrap()
}

fn advert_gaps(index: u32, over: &AtomicBool) -> Vec<Duration> {
    // On time itself, so that it is the speaker's time that is measured.
    let _ = sched::round_robin();
    let groups = vec!["224.0.0.18".parse().unwrap()];
    let options =
        ReceiveOptions { family: Family::V4, protocol: 112, interface: "eth0".into(), index, from: None, groups };
    let receiver = Receiver::open(&options).unwrap();
    let (mut gaps, mut last) = (Vec::new(), None);
    while !over.load(Ordering::Relaxed) {
        let mut buffer = [0; 2048];
        while receiver.receive(&mut buffer).is_ok() {
            let now = Instant::now();
            gaps.extend(last.map(|last| now - last));
            last = Some(now);
        }
        thread::sleep(Duration::from_micros(200));
    }
    gaps
}
