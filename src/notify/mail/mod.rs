//! Mail about transitions and servers: gathered, sent by a task of its own, tried again; nothing ever waits for it.

mod gather;
mod smtp;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::model::Mail;
use crate::stats::Registry;

use self::gather::{Fate, Gather, Letter, Report, Step};

pub(super) use self::gather::Item;
pub(super) use self::text::{change, transition};

#[derive(Debug)]
pub(super) struct Mailer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<Post>,
    /// Told when the state or `closing` changed under the task.
    changed: Notify,
    closing: AtomicBool,
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct Post {
    gather: Gather,
    settings: Mail,
    node: String,
}

impl Mailer {
    /// Sends nothing until something happens. To be called within a tokio runtime.
    pub(super) fn start(settings: Mail, node: &str, registry: Arc<Registry>) -> Self {
        let state = Mutex::new(Post { gather: Gather::default(), settings, node: node.to_owned() });
        let shared = Arc::new(Shared { state, changed: Notify::new(), closing: AtomicBool::new(false), registry });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// From the next mail on; what is gathered stays.
    pub(super) fn set(&self, settings: Mail, node: &str) {
        let mut state = self.shared.state();
        state.settings = settings;
        node.clone_into(&mut state.node);
    }

    pub(super) fn push(&self, item: Item) {
        if self.shared.state().gather.push(item) {
            self.shared.registry.notify.mail_items_lost.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.changed.notify_one();
    }

    /// Tries once more to send what is left, until `deadline`.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.changed.notify_one();
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_ok() {
            return;
        }
        self.task.abort();
        // The one under way is not among them.
        let (items, letters) = self.shared.state().gather.unfinished();
        self.shared.registry.notify.mails_failed.fetch_add(letters as u64 + 1, Ordering::Relaxed);
        self.shared.registry.notify.mail_items_lost.fetch_add(items as u64, Ordering::Relaxed);
        tracing::error!(
            "the mail server did not answer before the end: {} mail(s) and {items} event(s) for the next one are lost",
            letters + 1
        );
    }
}

impl Drop for Mailer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Post> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn next(&self) -> Step {
        let Post { gather, settings, .. } = &mut *self.state();
        gather.next(Instant::now().into_std(), settings.gap, &settings.to, self.is_closing())
    }
}

async fn run(shared: Arc<Shared>) {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    loop {
        match shared.next() {
            Step::Send(letter) => send(&shared, &host, letter).await,
            Step::Wait(_) if shared.is_closing() => return,
            Step::Wait(until) => tokio::select! {
                () = shared.changed.notified() => {}
                () = sleep_until(until) => {}
            },
        }
    }
}

async fn send(shared: &Shared, host: &str, letter: Letter) {
    let (settings, node) = {
        let state = shared.state();
        (state.settings.clone(), state.node.clone())
    };
    let number = letter.number;
    let report = smtp::deliver(&settings, &node, host, &letter).await;
    let now = Instant::now().into_std();
    let fate = shared.state().gather.settle(letter, &report, now, settings.gap, shared.is_closing());
    account(&shared.registry, &settings.server, number, &report, &fate);
}

/// Counts what an attempt came to, and logs what went wrong.
fn account(registry: &Registry, server: &str, number: u64, report: &Report, fate: &Fate) {
    let stats = &registry.notify;
    if !report.accepted.is_empty() {
        stats.mails_sent.fetch_add(1, Ordering::Relaxed);
    }
    for (recipient, why) in &report.refused {
        tracing::error!("mail {number} to {recipient} was refused by {server}: {why}");
    }
    let why = report.deferred.first().map_or("", |(_, why)| why);
    match fate {
        Fate::Done => {}
        Fate::Again(pause) => {
            stats.mail_retries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("mail {number} could not be given to {server}: {why}; again in {pause:?}");
        }
        Fate::GivenUp(missing) => {
            tracing::error!("mail {number} is given up, {} did not get it: {why}", missing.join(", "));
        }
    }
    if !report.refused.is_empty() || matches!(fate, Fate::GivenUp(_)) {
        stats.mails_failed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn sleep_until(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
