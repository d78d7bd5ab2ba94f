//! The machine's own pauses: what a real-time thread that only sleeps was late with, everybody was late with.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::adverts::Advert;
use crate::silence::prefer_this_thread;

/// How often a watcher wakes.
const TICK: Duration = Duration::from_millis(2);
/// A core that paused for so long stood still: what is measured in real time then says nothing about who is measured.
pub const STOOD_STILL: Duration = Duration::from_millis(100);
/// What is no pause but the ordinary delay of a wake-up.
const ORDINARY: Duration = Duration::from_micros(500);

/// One watcher a core, until dropped: pinned to it, in the same scheduling class as the thread that sends adverts.
#[derive(Debug)]
pub struct Pauses {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// By core: when its watcher should have woken, and when it did.
    late: Vec<Mutex<Vec<(Instant, Instant)>>>,
}

/// The longest time between two advertisements of a sender, the ends of the span counted as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spacing {
    /// As seen on the wire.
    pub seen: Duration,
    /// Without what the machine paused in it.
    pub own: Duration,
}

impl Pauses {
    /// Starts to watch.
    #[must_use]
    #[track_caller]
    pub fn watch() -> Self {
        let allowed = sched_getaffinity(Pid::from_raw(0)).expect("this thread's cores");
        let cores: Vec<usize> = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect();
        let late = cores.iter().map(|_| Mutex::default()).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), late });
        let watch = |(index, core)| {
            let inside = Arc::clone(&shared);
            std::thread::spawn(move || inside.run(index, core))
        };
        let threads = cores.into_iter().enumerate().map(watch).collect();
        Self { shared, threads }
    }

    /// How long some core or other paused between `from` and `to`. What one core handed to the other may have waited for
    /// each in turn.
    #[must_use]
    pub fn within(&self, from: Instant, to: Instant) -> Duration {
        let mut pauses: Vec<(Instant, Instant)> = Vec::new();
        for late in &self.shared.late {
            let late = lock(late);
            let first = late.partition_point(|&(_, woke)| woke <= from);
            pauses.extend(late.iter().skip(first).take_while(|&&(due, _)| due < to));
        }
        pauses.sort_unstable();
        let mut counted = from;
        let mut paused = Duration::ZERO;
        for (begun, ended) in pauses {
            paused += ended.min(to).saturating_duration_since(begun.max(counted));
            counted = counted.max(ended);
        }
        paused
    }

    /// The longest single pause of any core that overlaps the time between `from` and `to`.
    #[must_use]
    pub fn longest(&self, from: Instant, to: Instant) -> Duration {
        let overlap = |&(due, woke): &(Instant, Instant)| woke.min(to).saturating_duration_since(due.max(from));
        let longest = self.shared.late.iter().filter_map(|late| lock(late).iter().map(overlap).max());
        longest.max().unwrap_or_default()
    }

    /// The longest spacing of the advertisements of `source` from `from` to `to`, as seen, and the longest without the
    /// machine's pauses.
    #[must_use]
    pub fn spacing(&self, adverts: &[Advert], source: IpAddr, from: Instant, to: Instant) -> Spacing {
        let sent = adverts.iter().filter(|advert| advert.source == source).map(|advert| advert.at);
        let times: Vec<Instant> = [from].into_iter().chain(sent).chain([to]).collect();
        let mut worst = Spacing::default();
        for pair in times.windows(2) {
            let seen = pair[1].saturating_duration_since(pair[0]);
            worst.seen = worst.seen.max(seen);
            worst.own = worst.own.max(seen.saturating_sub(self.within(pair[0], pair[1])));
        }
        worst
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, index: usize, core: usize) {
        let mut only = CpuSet::new();
        let _ = only.set(core);
        let _ = sched_setaffinity(Pid::from_raw(0), &only);
        prefer_this_thread();
        while !self.stop.load(Ordering::Relaxed) {
            let due = Instant::now() + TICK;
            std::thread::sleep(TICK);
            let woke = Instant::now();
            if woke > due + ORDINARY {
                lock(&self.late[index]).push((due, woke));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
