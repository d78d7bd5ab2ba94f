//! The sockets of pages.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::model::page::PageListen;

/// Clients that wait to be accepted.
const BACKLOG: i32 = 128;

/// An address that a page cannot listen on.
#[derive(Debug, thiserror::Error)]
#[error("page {page} cannot listen on {address}: {source}; {}", remedy(source, *address))]
pub struct BindError {
    /// The page.
    pub page: String,
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

/// With IP_FREEBIND: a page may stand on a virtual address, on the standby too.
pub(super) fn bind(page: &str, listen: &PageListen) -> Result<TcpListener, BindError> {
    open(listen).map_err(|source| BindError { page: page.to_owned(), address: listen.address, source })
}

fn open(listen: &PageListen) -> io::Result<TcpListener> {
    let address = listen.address;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(!listen.dual_stack)?;
            socket.set_freebind_v6(true)?;
        }
    }
    if let Some(interface) = &listen.interface {
        socket.bind_device(Some(interface.as_str().as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn remedy(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another process has the port, or a service of this one (`ss -ltnp sport = :{port}` names it): stop it, remove it with a reload first, or choose another port"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} needs CAP_NET_BIND_SERVICE: run as root or choose a port from 1024 on")
        }
        _ => "check where it listens".to_owned(),
    }
}
