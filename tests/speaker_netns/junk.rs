//! Junk on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netns_tests::pauses::Pauses;
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
    let stats = running.registry.router("r1");
    let pauses = Pauses::watch();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let gaps = lab.b.run(advert_gaps_under_junk);
        assert!(!gaps.is_empty(), "no adverts");
        // What a real-time thread that only sleeps was late with is not junk's doing.
        let own = |&(from, to): &(Instant, Instant)| (to - from).saturating_sub(pauses.within(from, to));
        let seen = gaps.iter().map(|(from, to)| *to - *from).max().unwrap();
        rounds.push((seen, gaps.iter().map(own).max().unwrap()));
    }
    println!(
        "    {JUNK} junk packets a round: longest gap at 50 ms, and without the machine's pauses: {rounds:.1?}; \
         rejected: checksum {}, truncated {}; latest wake {:.6} s",
        stats.rejected(RejectReason::Checksum),
        stats.rejected(RejectReason::Truncated),
        running.registry.late_wakes.snapshot().max_seconds,
    );
    assert!(rounds.iter().all(|(_, own)| *own < BOUND), "own adverts are late: {rounds:?}");
    assert!(stats.rejected(RejectReason::Checksum) > 1000);
    assert_eq!(running.role("r1"), Role::Master);
    assert_eq!(stats.received.load(Ordering::Relaxed), 0);
    running.stop();
}

const ROUNDS: usize = 3;
const JUNK: u32 = 20_000;
/// Adverts every 50 ms, and 10 ms of delay.
const BOUND: Duration = Duration::from_millis(60);

/// Sends junk adverts to the group, 10,000 a second, while another thread listens to the master's own.
fn advert_gaps_under_junk() -> Vec<(Instant, Instant)> {
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

/// From one advert to the next.
fn advert_gaps(index: u32, over: &AtomicBool) -> Vec<(Instant, Instant)> {
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
            gaps.extend(last.map(|last| (last, now)));
            last = Some(now);
        }
        thread::sleep(Duration::from_micros(200));
    }
    gaps
}
