//! A check's connection: TCP, perhaps a PROXY protocol header, perhaps TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nix::errno::Errno;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::outcome::Verdict;
use super::tls;
use crate::model::{CheckResult, Family, ProxyVersion, Source};
use crate::wire::proxy_header::{self, Header};

/// What is spoken over: TCP or TLS.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An open connection.
pub(super) type Stream = Box<dyn Duplex>;

/// How a connection begins and ends on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As HAProxy does it where nothing more is wanted, SYN, SYN+ACK, RST: the delayed acknowledgement never leaves, so the
    /// server's accept() does not see a client, and the reset leaves no TIME_WAIT here. It leaves with what is sent first.
    Brief,
    /// The server speaks first: a delayed acknowledgement would keep its greeting back for a fifth of a second.
    Greeted,
    /// It is closed cleanly: what was sent last would be lost by a reset.
    Clean,
}

/// A connection to `target`.
pub(super) async fn connect(target: SocketAddr, source: Option<&Source>, manner: Manner) -> Result<TcpStream, Verdict> {
    let opened = async {
        let socket = match target {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if manner != Manner::Clean {
            socket.set_zero_linger()?;
        }
        if manner == Manner::Brief {
            SockRef::from(&socket).set_tcp_quickack(false)?;
        }
        if let Some(interface) = source.and_then(|source| source.interface.as_ref()) {
            socket.bind_device(Some(interface.as_str().as_bytes()))?;
        }
        // A check of another address may be of another family.
        let own = source.map(|source| source.address).filter(|own| Family::of(*own) == Family::of(target.ip()));
        if let Some(own) = own.filter(|own| !own.is_unspecified()) {
            socket.bind(SocketAddr::new(own, 0))?;
        }
        let stream = socket.connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    opened.await.map_err(|error: io::Error| Verdict::saying(classify(&error), words(&error)))
}

/// Writes the header that tells the server whose connection this is: its own addresses, or with version 2 that it is the
/// proxy's own, as HAProxy does it.
pub(super) async fn write_header(stream: &mut TcpStream, version: ProxyVersion) -> io::Result<()> {
    let header = match version {
        ProxyVersion::V1 => {
            let (source, destination) = (stream.local_addr()?, stream.peer_addr()?);
            proxy_header::encode_v1(Header::Proxied { source, destination })
        }
        ProxyVersion::V2 => proxy_header::encode_v2(Header::Local),
    };
    stream.write_all(&header).await
}

/// Speaks TLS over it. Beside the stream, when the server's certificate expires.
pub(super) async fn secure(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<(Stream, Option<SystemTime>), Verdict> {
    match TlsConnector::from(Arc::clone(config)).connect(name, stream).await {
        Ok(stream) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let expires = certificate.and_then(tls::expiry);
            Ok((Box::new(stream), expires))
        }
        Err(error) => {
            let (info, cause) = tls::in_words(&error);
            Err(Verdict::saying(CheckResult::L6Response, info).because(cause))
        }
    }
}

/// A connection that broke in the middle.
pub(super) fn broken(error: &io::Error) -> Verdict {
    Verdict::saying(CheckResult::SocketError, words(error))
}

/// What this node lacks is not the server's fault.
fn classify(error: &io::Error) -> CheckResult {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL | Errno::EAGAIN) => {
            CheckResult::Starved
        }
        Some(Errno::ETIMEDOUT) => CheckResult::L4Timeout,
        Some(_) | None => CheckResult::L4Connection,
    }
}

/// `Connection refused`, without the number Rust adds.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
