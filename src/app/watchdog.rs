//! Heartbeats: advertisements must not outlive the data plane.
//!
//! Every worker and the control thread bump a counter at least each 100 ms. A thread that stands still for a second
//! makes the node unfit: the routers are told that nothing is ready here, and give their addresses up. This thread
//! only sleeps and compares, so it notices whatever else is stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the counters are read.
const PERIOD: Duration = Duration::from_millis(100);
/// A counter that stood still for this long belongs to a stuck thread.
const STUCK: Duration = Duration::from_secs(1);

/// A thread that is watched.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) beats: Arc<AtomicU64>,
}

struct Seen {
    watched: Watched,
    beats: u64,
    at: Instant,
    stuck: bool,
}

/// Starts the watching thread. `changed` gets the names of the stuck threads, whenever they change.
pub(super) fn start(watched: Vec<Watched>, mut changed: impl FnMut(&[String]) + Send + 'static) -> std::io::Result<()> {
    let mut seen: Vec<Seen> =
        watched.into_iter().map(|watched| Seen { watched, beats: 0, at: Instant::now(), stuck: false }).collect();
    thread::Builder::new().name("watchdog".into()).spawn(move || {
        let mut woke = Instant::now();
        loop {
            thread::sleep(PERIOD);
            let now = Instant::now();
            // When this thread itself was kept from running (suspend, both cores taken), nobody else is to blame.
            let starved = now.duration_since(woke) > 3 * PERIOD;
            woke = now;
            if look(&mut seen, now, starved) {
                let stuck: Vec<String> =
                    seen.iter().filter(|seen| seen.stuck).map(|seen| seen.watched.name.clone()).collect();
                changed(&stuck);
            }
        }
    })?;
    Ok(())
}

/// Compares, and says whether any thread got stuck or came back.
fn look(seen: &mut [Seen], now: Instant, starved: bool) -> bool {
    let mut any = false;
    for seen in seen {
        let beats = seen.watched.beats.load(Ordering::Relaxed);
        if beats != seen.beats || starved {
            seen.beats = beats;
            seen.at = now;
        }
        let stuck = now.duration_since(seen.at) >= STUCK;
        any |= stuck != seen.stuck;
        seen.stuck = stuck;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stands_still_for_a_second_is_stuck_until_it_moves() {
        let beats = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let watched = Watched { name: "worker-0".into(), beats: Arc::clone(&beats) };
        let mut seen = [Seen { watched, beats: 0, at: start, stuck: false }];
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!look(&mut seen, at(999), false));
        assert!(look(&mut seen, at(1000), false) && seen[0].stuck);
        assert!(!look(&mut seen, at(1100), false) && seen[0].stuck);
        beats.fetch_add(1, Ordering::Relaxed);
        assert!(look(&mut seen, at(1200), false) && !seen[0].stuck);
        assert!(!look(&mut seen, at(9000), true), "a starved watchdog blames nobody");
    }
}
