//! The HTTP endpoint: hyper on the caller's runtime. Everything a client can make it hold is bounded: connections,
//! the size of a request's head, the time to send it, the time to take the answer.

mod connections;
mod respond;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::model::Stats;

use self::connections::Connections;
use super::snapshot::Snapshot;

/// Where the endpoint gets a snapshot from, at each request. It is called on a thread of its own, one call at a time.
pub type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// An address the endpoint cannot listen on.
#[derive(Debug, thiserror::Error)]
#[error("the statistics endpoint cannot listen on {address}: {source}; {}", remedy(source, *address))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

/// The running endpoint. Dropped, it stops.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    listeners: Vec<Listening>,
}

/// A configuration whose new addresses are bound already: to commit it cannot fail.
#[derive(Debug)]
pub struct Prepared {
    config: Stats,
    fresh: Vec<(SocketAddr, TcpListener)>,
}

#[derive(Debug)]
struct Listening {
    /// As configured.
    address: SocketAddr,
    /// As bound: differs where port 0 was asked for.
    local: SocketAddr,
    task: JoinHandle<()>,
}

/// What the connections see of the endpoint.
struct Shared {
    config: Mutex<Arc<Stats>>,
    source: Source,
    connections: Connections,
    /// One page is made at a time, so that nobody can fill the process with renderers.
    rendering: Arc<Semaphore>,
}

impl Endpoint {
    /// Binds every address and serves from now on. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The first address that cannot be bound; then none is.
    pub fn start(config: Stats, source: Source) -> Result<Self, BindError> {
        let fresh = bind_all(&config, &[])?;
        let shared = Arc::new(Shared {
            config: Mutex::new(Arc::new(config.clone())),
            source,
            connections: Connections::default(),
            rendering: Arc::new(Semaphore::new(1)),
        });
        let mut endpoint = Self { shared, listeners: Vec::new() };
        endpoint.commit(Prepared { config, fresh });
        Ok(endpoint)
    }

    /// Binds what `config` adds and changes nothing else.
    ///
    /// # Errors
    /// The first address that cannot be bound; then none of the new ones is.
    pub fn prepare(&self, config: Stats) -> Result<Prepared, BindError> {
        let present: Vec<SocketAddr> = self.listeners.iter().map(|listener| listener.address).collect();
        let fresh = bind_all(&config, &present)?;
        Ok(Prepared { config, fresh })
    }

    /// Serves by the new configuration: listeners that stay keep their sockets, requests under way are finished.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { config, fresh } = prepared;
        self.listeners.retain(|listener| {
            let stays = config.listen.contains(&listener.address);
            if !stays {
                tracing::info!("statistics are no longer served on {}", listener.local);
                listener.task.abort();
            }
            stays
        });
        *lock(&self.shared.config) = Arc::new(config);
        for (address, listener) in fresh {
            let local = listener.local_addr().unwrap_or(address);
            let task = tokio::spawn(connections::accept(listener, Arc::clone(&self.shared)));
            self.listeners.push(Listening { address, local, task });
        }
    }

    /// The addresses it is bound to.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.local).collect()
    }

    /// Closes listeners and connections.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.task.abort();
        }
        self.shared.connections.close_all();
    }
}

impl Shared {
    fn config(&self) -> Arc<Stats> {
        Arc::clone(&lock(&self.config))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// Longest wait for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection: one request, its answer taken.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head, in bytes (hyper's smallest buffer).
const HEAD_LIMIT: usize = 8192;
/// Pause after an accept error: without a free descriptor it would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn bind_all(config: &Stats, present: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, BindError> {
    let mut bound: Vec<(SocketAddr, TcpListener)> = Vec::new();
    for address in config.listen.iter().copied() {
        if present.contains(&address) || bound.iter().any(|(other, _)| *other == address) {
            continue;
        }
        // `::` takes IPv4 too, unless the same port of `0.0.0.0` is listed beside it.
        let ipv4_twin = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        let only_v6 = config.listen.contains(&ipv4_twin);
        let listener = bind(address, only_v6).map_err(|source| BindError { address, source })?;
        bound.push((address, listener));
    }
    Ok(bound)
}

/// With IP_FREEBIND: the endpoint may stand on a virtual address, on the standby too.
fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(only_v6 || !address.ip().is_unspecified())?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

fn remedy(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another process has the port (`ss -ltnp sport = :{port}` names it): stop it or choose another port"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} needs CAP_NET_BIND_SERVICE: run as root or choose a port from 1024 on")
        }
        _ => "check `listen` in the statistics section".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
