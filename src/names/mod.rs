//! Names of servers, resolved while the process runs: one task asks for each name when its last answer has lived, and reports
//! what changed. [`book`] decides what is due and what an answer means; here the clock is, in [`ask`] the sockets.

#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod ask;
mod book;
mod counting;
mod tally;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use self::book::{Answer, Book, Question};
pub use self::tally::{Counts, Section, Tally};
use crate::model::{Pool, Resolver};

/// Where a server that is known by its name is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its pool.
    pub pool: String,
    /// Its name there.
    pub server: String,
    /// Where it is, or why that is not known.
    pub place: Result<Place, String>,
}

/// Where a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The port, where an SRV record says it.
    pub port: Option<u16>,
    /// The weight, 0 to 256, where an SRV record says it and it counts.
    pub weight: Option<u16>,
}

impl Place {
    /// Whether they are the same place, whatever their weights are.
    fn is(self, other: Self) -> bool {
        (self.address, self.port) == (other.address, other.port)
    }
}

/// Questions under way at a time; more wait.
const UNDER_WAY: usize = 64;

/// The running resolution. Dropped, it stops.
#[derive(Debug)]
pub struct Names {
    shared: Arc<Shared>,
    resolved: mpsc::UnboundedSender<Resolved>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book>,
    tally: Tally,
    /// Told when the book changed under the task.
    changed: Notify,
}

impl Names {
    /// Starts without names; [`Names::apply`] brings them. To be called within a tokio runtime.
    #[must_use]
    pub fn start(resolved: mpsc::UnboundedSender<Resolved>) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(run(Arc::clone(&shared), resolved.clone()));
        Self { shared, resolved, task }
    }

    /// Resolves the names of these servers from now on. What is known of one that stays is reported again.
    pub fn apply(&self, pools: &[Pool], resolvers: &[Resolver]) {
        self.shared.tally.retain(resolvers);
        for resolved in lock(&self.shared.book).apply(pools, resolvers, Instant::now()) {
            // Without a receiver the process is ending.
            let _ = self.resolved.send(resolved);
        }
        self.shared.changed.notify_one();
    }

    /// What is counted of name servers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.tally.clone()
    }

    /// Where a server was in an earlier life of the process: there it begins, if [`Names::apply`] brings it next.
    pub fn remember(&self, pool: &str, server: &str, address: IpAddr) {
        lock(&self.shared.book).remember(pool, server, address);
    }

    /// Resolves a server by another name from now on, until the configured one changes. Returns the former name; none: the
    /// server has no host's name.
    #[must_use]
    pub fn rename(&self, pool: &str, server: &str, name: &str) -> Option<String> {
        let former = lock(&self.shared.book).rename(pool, server, name, Instant::now());
        self.shared.changed.notify_one();
        former
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Arc<Shared>, resolved: mpsc::UnboundedSender<Resolved>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let next = {
            let mut book = lock(&shared.book);
            let now = Instant::now();
            while under_way.len() < UNDER_WAY
                && let Some((id, question)) = book.take_due(now)
            {
                under_way.push(ask(id, question, &shared.tally));
            }
            if under_way.len() < UNDER_WAY { book.next_due() } else { None }
        };
        tokio::select! {
            Some(Asked { id, section, answer, by }) = under_way.next() => {
                let (changes, line) = lock(&shared.book).settle(id, answer, Instant::now());
                if let Some(by) = by.filter(|_| changes.iter().any(|change| change.place.is_ok())) {
                    shared.tally.count(&section, by, |counts| counts.updates += 1);
                }
                if let Some(line) = line {
                    tracing::warn!(target: "vipgate", "{line}");
                }
                for change in changes {
                    let _ = resolved.send(change);
                }
            }
            () = sleep_until(next) => {}
            () = shared.changed.notified() => {}
        }
    }
}

/// A question that is answered, one way or the other.
struct Asked {
    id: u64,
    section: String,
    answer: Answer,
    by: Option<SocketAddr>,
}

async fn ask(id: u64, question: Question, tally: &Tally) -> Asked {
    let (answer, by) = ask::ask(&question, tally).await;
    Asked { id, section: question.resolver.name, answer, by }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
