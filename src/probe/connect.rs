//! One TCP connect check.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::SockRef;
use tokio::net::TcpSocket;

use crate::stats::CheckResult;

/// A finished check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result: CheckResult,
    /// The system's words for a failure; empty otherwise.
    pub(super) detail: String,
    pub(super) duration: Duration,
}

/// Connects, and takes the connection back at once.
pub(super) async fn check(target: SocketAddr, timeout: Duration) -> Outcome {
    let started = Instant::now();
    let (result, detail) = match tokio::time::timeout(timeout, connect(target)).await {
        Ok(Ok(())) => (CheckResult::Passed, String::new()),
        Ok(Err(error)) => (classify(&error), words(&error)),
        Err(_) => (CheckResult::TimedOut, String::new()),
    };
    Outcome { result, detail, duration: started.elapsed() }
}

/// As HAProxy does it, SYN, SYN+ACK, RST: the delayed acknowledgement never leaves, so the server's accept() does not
/// see a client, and the reset leaves no TIME_WAIT here.
async fn connect(target: SocketAddr) -> io::Result<()> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_zero_linger()?;
    SockRef::from(&socket).set_tcp_quickack(false)?;
    socket.connect(target).await.map(drop)
}

/// What this node lacks is not the server's fault.
fn classify(error: &io::Error) -> CheckResult {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL | Errno::EAGAIN) => {
            CheckResult::SocketError
        }
        Some(Errno::ETIMEDOUT) => CheckResult::TimedOut,
        Some(_) | None => CheckResult::Failed,
    }
}

/// `Connection refused`, without the number Rust adds.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
