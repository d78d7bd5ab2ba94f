//! The task that runs scripts: one after the other, in the order of [`Queue`].
//!
//! A script that takes long is overtaken after [`PATIENCE`], though never by one of its own subject: one that hangs
//! costs the others a second, not its timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::stats::Registry;

use super::news::Subject;
use super::queue::{Entry, Queue};
use super::run::{Ended, Runner, bounded};

/// How long the queue waits for a script before it starts one of another subject beside it.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Scripts {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when the queue or `closing` changed under the task.
    changed: Notify,
    closing: AtomicBool,
    registry: Arc<Registry>,
}

impl Scripts {
    pub(super) fn start(runner: Runner, registry: Arc<Registry>) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Notify::new(),
            closing: AtomicBool::new(false),
            registry,
        });
        let task = tokio::spawn(run(Arc::clone(&shared), runner));
        Self { shared, task }
    }

    pub(super) fn push(&self, entry: Entry) {
        let (seq, subject) = (entry.seq, entry.subject.clone());
        for old in self.shared.queue().push(entry) {
            self.shared.registry.notify.scripts_collapsed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("{subject}: notification {} had not run yet and gave way to {seq}, which is newer", old.seq);
        }
        self.shared.changed.notify_one();
    }

    /// Ends once everything that waits has run. What has not by `deadline` is ended, counted and logged.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.changed.notify_one();
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
            let dropped = self.shared.queue().unfinished();
            self.shared.registry.notify.scripts_dropped.fetch_add(dropped as u64, Ordering::Relaxed);
            tracing::error!("{dropped} notification(s) did not come to their end before the process did");
        }
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(shared: Arc<Shared>, runner: Runner) {
    let mut running = FuturesUnordered::new();
    // Who is waited for, and until when.
    let mut turn: Option<(u64, Instant)> = None;
    loop {
        if turn.is_none()
            && let Some(entry) = shared.queue().take()
        {
            turn = Some((entry.seq, Instant::now() + PATIENCE));
            running.push(tell(entry, Arc::clone(&runner), Arc::clone(&shared.registry)));
        }
        if shared.closing.load(Ordering::Acquire) && shared.queue().unfinished() == 0 {
            return;
        }
        tokio::select! {
            Some((seq, subject)) = running.next() => {
                shared.queue().finished(&subject);
                turn = turn.filter(|(waited, _)| *waited != seq);
            }
            () = overdue(turn) => turn = None,
            () = shared.changed.notified() => {}
        }
    }
}

async fn overdue(turn: Option<(u64, Instant)>) {
    match turn {
        Some((_, until)) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn tell(entry: Entry, runner: Runner, registry: Arc<Registry>) -> (u64, Subject) {
    for job in entry.jobs {
        let program = job.command.program.display().to_string();
        let ended = bounded(&runner, job).await;
        count(&ended, &registry);
        if !ended.is_success() {
            tracing::error!("{}: notification {} ({program}) {ended}", entry.subject, entry.seq);
        }
    }
    (entry.seq, entry.subject)
}

fn count(ended: &Ended, registry: &Registry) {
    let stats = &registry.notify;
    let counter = match ended {
        Ended::Exited(0) => &stats.scripts_done,
        Ended::Exited(_) | Ended::Signalled(_) | Ended::NotStarted(_) => &stats.scripts_failed,
        Ended::TimedOut => &stats.scripts_timed_out,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}
