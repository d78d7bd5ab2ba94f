//! Accepting, and the one rule against pile-ups: beyond the limit the oldest connection makes room. A client that
//! means it is answered within milliseconds, so the oldest is one that dawdles.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::{ACCEPT_PAUSE, CONNECTION_TIMEOUT, HEAD_LIMIT, HEAD_TIMEOUT, Shared, lock, respond};

/// The connections that are open, oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
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

    pub(super) fn close_all(&self) {
        for task in std::mem::take(&mut lock(&self.0).tasks).into_values() {
            task.abort();
        }
    }
}

/// Accepts for as long as the task lives.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => start(stream, &shared),
            Err(error) => {
                tracing::debug!(%error, "the statistics endpoint could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start(stream: TcpStream, shared: &Arc<Shared>) {
    let limit = usize::try_from(shared.config().max_connections).unwrap_or(usize::MAX);
    let number = shared.connections.admit(limit);
    // The task cannot end and leave before it is entered: it needs this lock to leave.
    let mut open = lock(&shared.connections.0);
    let task = tokio::spawn(serve(stream, Leave { number, shared: Arc::clone(shared) }));
    open.tasks.insert(number, task.abort_handle());
}

/// Takes a connection off the list, however it ends.
struct Leave {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        lock(&self.shared.connections.0).tasks.remove(&self.number);
    }
}

async fn serve(stream: TcpStream, connection: Leave) {
    let shared = &connection.shared;
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond::answer(request, shared).await) });
    let exchange = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        // One request a connection: an idle one would hold a place that others need.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a statistics request failed"),
        Err(_) => tracing::debug!("a statistics client was too slow to take its answer"),
    }
}
