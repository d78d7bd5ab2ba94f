//! HTTP pages that the node answers itself, by hyper on the caller's runtime. Everything a client can make it hold is
//! bounded: connections, the size of a request's head, the time to send it, the time to take the answer.
//!
//! [`Pages`] is the control thread's handle. A reload is [`Pages::prepare`], which binds what is new and changes nothing else,
//! then [`Pages::commit`], which cannot fail: what stays keeps its sockets, requests under way are finished.

mod answer;
mod connections;
mod listener;
mod reply;
mod statistics;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::connections::Connections;
use crate::model::Page;
use crate::model::page::PageListen;
use crate::model::rule::Condition;
use crate::rules::{Lists, Matchers, World};
use crate::stats::Snapshot;

pub use self::listener::BindError;

/// Where statistics come from, at each request. It is called on a thread of its own, one call at a time.
pub type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// The pages that are served. Dropped, they are no longer.
#[derive(Debug)]
pub struct Pages {
    house: Arc<House>,
    served: Vec<Arc<Served>>,
    listeners: Vec<Listening>,
}

/// Pages whose new addresses are bound already: to commit them cannot fail.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    pages: Vec<Page>,
    fresh: Vec<(PageListen, TcpListener)>,
}

/// What all pages have in common.
struct House {
    source: Source,
    /// What conditions ask.
    world: Arc<dyn World + Send + Sync>,
    /// What they look things up in.
    lists: Arc<Lists>,
    /// Statistics are made one at a time, so that nobody can fill the process with renderers.
    rendering: Arc<Semaphore>,
}

/// A page; one value for its whole life, over reloads.
#[derive(Debug)]
struct Served {
    house: Arc<House>,
    now: Mutex<Arc<Version>>,
    connections: Connections,
}

/// A page as it is configured.
#[derive(Debug)]
struct Version {
    page: Page,
    matchers: Matchers,
}

#[derive(Debug)]
struct Listening {
    /// As configured.
    listen: PageListen,
    /// As bound: differs where port 0 was asked for.
    local: SocketAddr,
    /// Whose clients come here.
    page: Arc<Mutex<Arc<Served>>>,
    task: JoinHandle<()>,
}

impl Pages {
    /// None yet.
    #[must_use]
    pub fn new(source: Source, world: Arc<dyn World + Send + Sync>, lists: Arc<Lists>) -> Self {
        let house = Arc::new(House { source, world, lists, rendering: Arc::new(Semaphore::new(1)) });
        Self { house, served: Vec::new(), listeners: Vec::new() }
    }

    /// Binds what `pages` add and changes nothing else. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The first address that cannot be bound; then none of the new ones is.
    pub fn prepare(&self, pages: &[Page]) -> Result<Prepared, BindError> {
        let mut fresh: Vec<(PageListen, TcpListener)> = Vec::new();
        for (page, listen) in pages.iter().flat_map(|page| page.listen.iter().map(move |listen| (page, listen))) {
            let here = self.listeners.iter().any(|listener| listener.listen == *listen);
            if here || fresh.iter().any(|(other, _)| other == listen) {
                continue;
            }
            fresh.push((listen.clone(), listener::bind(&page.name, listen)?));
        }
        Ok(Prepared { pages: pages.to_vec(), fresh })
    }

    /// Serves what was prepared.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { pages, mut fresh } = prepared;
        let served: Vec<Arc<Served>> = pages.into_iter().map(|page| self.serve(page)).collect();
        let mut listeners = Vec::new();
        for page in &served {
            for listen in &page.version().page.listen {
                let running = self.listeners.iter().position(|listener| listener.listen == *listen);
                if let Some(running) = running {
                    let listener = self.listeners.swap_remove(running);
                    *lock(&listener.page) = Arc::clone(page);
                    listeners.push(listener);
                } else if let Some(new) = fresh.iter().position(|(bound, _)| bound == listen) {
                    let (listen, listener) = fresh.swap_remove(new);
                    listeners.push(Listening::start(listen, listener, page));
                }
            }
        }
        for gone in std::mem::replace(&mut self.listeners, listeners) {
            tracing::info!("page {} is no longer served on {}", lock(&gone.page).version().page.name, gone.local);
            gone.task.abort();
        }
        for gone in std::mem::replace(&mut self.served, served) {
            if !self.served.iter().any(|stays| Arc::ptr_eq(stays, &gone)) {
                gone.connections.close_all();
            }
        }
    }

    /// The page of this name, as it is configured now.
    fn serve(&self, page: Page) -> Arc<Served> {
        match self.served.iter().find(|served| served.version().page.name == page.name) {
            Some(served) => {
                if served.version().page != page {
                    *lock(&served.now) = Arc::new(Version::of(page, &self.house.lists));
                }
                Arc::clone(served)
            }
            None => Arc::new(Served {
                house: Arc::clone(&self.house),
                now: Mutex::new(Arc::new(Version::of(page, &self.house.lists))),
                connections: Connections::default(),
            }),
        }
    }

    /// The addresses they are bound to, with the pages that are there.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, Page)> {
        self.listeners.iter().map(|listener| (listener.local, lock(&listener.page).version().page.clone()))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.task.abort();
        }
        for page in &self.served {
            page.connections.close_all();
        }
    }
}

impl Listening {
    fn start(listen: PageListen, listener: TcpListener, page: &Arc<Served>) -> Self {
        let local = listener.local_addr().unwrap_or(listen.address);
        let page = Arc::new(Mutex::new(Arc::clone(page)));
        let task = tokio::spawn(connections::accept(listener, Arc::clone(&page)));
        Self { listen, local, page, task }
    }
}

impl Version {
    fn of(page: Page, lists: &Lists) -> Self {
        let mut matchers = Matchers::default();
        matchers.add(page.conditions());
        matchers.ask(page.conditions().flat_map(Condition::lookups), lists);
        Self { page, matchers }
    }
}

impl Served {
    fn version(&self) -> Arc<Version> {
        Arc::clone(&lock(&self.now))
    }
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
