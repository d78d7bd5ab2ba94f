//! Accepting, and the one rule against pile-ups: beyond the limit the oldest connection makes room. A client that
//! means it is answered within milliseconds, so the oldest is one that dawdles.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::{Served, answer, lock};

/// Longest wait for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection: one request, its answer taken.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head, in bytes (hyper's smallest buffer).
const HEAD_LIMIT: usize = 8192;
/// Pause after an accept error: without a free descriptor it would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of a page that are open, oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
}

impl Connections {
    /// A number for a new connection; closes the oldest ones beyond `limit`, the new one counted.
    fn admit(&self, limit: usize) -> u64 {
        let mut open = lock(&self.0);
        while open.tasks.len() >= limit.max(1) {
            if let Some((_, oldest)) = open.tasks.pop_first() {
                oldest.abort();
            }
        }
        open.next += 1;
        open.next
    }

    /// So many are open.
    pub(super) fn count(&self) -> usize {
        lock(&self.0).tasks.len()
    }

    pub(super) fn close_all(&self) {
        for task in std::mem::take(&mut lock(&self.0).tasks).into_values() {
            task.abort();
        }
    }
}

/// Accepts for as long as the task lives.
pub(super) async fn accept(listener: TcpListener, page: Arc<Mutex<Arc<Served>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let page = Arc::clone(&lock(&page));
                start(stream, client, &page);
            }
            Err(error) => {
                tracing::debug!(%error, "a page could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start(stream: TcpStream, client: SocketAddr, page: &Arc<Served>) {
    // Who is gone again wants no answer.
    let Ok(local) = stream.local_addr() else { return };
    let limit = usize::try_from(page.version().page.max_connections).unwrap_or(usize::MAX);
    let number = page.connections.admit(limit);
    // The task cannot end and leave before it is entered: it needs this lock to leave.
    let mut open = lock(&page.connections.0);
    let connection = Leave { number, page: Arc::clone(page) };
    let task = tokio::spawn(serve(stream, Ends { client: plain(client), local: plain(local) }, connection));
    open.tasks.insert(number, task.abort_handle());
}

/// A client of IPv4 that came to a socket for both families is one of IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Takes a connection off the list, however it ends.
struct Leave {
    number: u64,
    page: Arc<Served>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        lock(&self.page.connections.0).tasks.remove(&self.number);
    }
}

async fn serve(stream: TcpStream, ends: Ends, connection: Leave) {
    let page = &connection.page;
    let service = service_fn(|request| answer::answer(request, ends, page));
    let exchange = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        // One request a connection: an idle one would hold a place that others need.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to a page failed"),
        Err(_) => tracing::debug!("a page's client was too slow to take its answer"),
    }
}
