//! The command line's end of the control socket. Blocking: a command has nothing else to do.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};

/// Why the daemon could not be asked. Each says what was tried and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("vipgate does not run here: nobody answers at {}; start it (`systemctl start vipgate`), or name its run directory with --run-dir", path.display())]
    NotRunning {
        /// The socket that was tried.
        path: PathBuf,
    },
    /// The socket is somebody else's.
    #[error("no permission to ask vipgate at {}: run this as root, or as the user vipgate runs as", path.display())]
    Permission {
        /// The socket that was tried.
        path: PathBuf,
    },
    /// It listens but says nothing.
    #[error("vipgate at {} did not answer within {}; its log may say what keeps it", path.display(), humantime::format_duration(*patience))]
    Silent {
        /// The socket that was tried.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// It ended in the middle.
    #[error("vipgate at {} hung up before it answered; its log says why, and `vipgate status` whether it runs", path.display())]
    HungUp {
        /// The socket that was tried.
        path: PathBuf,
    },
    /// It speaks another language.
    #[error("the answer of {} was not understood ({source}): is the daemon of the same version? restart it after an upgrade", path.display())]
    Garbled {
        /// The socket that was tried.
        path: PathBuf,
        /// The first difference.
        #[source]
        source: serde_json::Error,
    },
    /// Something else.
    #[error("cannot talk to vipgate at {}: {source}", path.display())]
    System {
        /// The socket that was tried.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The longest reply, in bytes: the state of 100,000 servers fits.
const REPLY_LIMIT: u64 = 128 << 20;
/// Longest wait for the daemon to take the request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the daemon at `path` and returns its last word; `progress` gets what it says before that, an event as JSON. `patience` is the
/// longest silence borne, none: for ever.
///
/// # Errors
/// It cannot be asked, or does not answer. [`Reply::Failed`] is an answer.
pub fn ask(
    path: &Path,
    request: &Request,
    patience: Option<Duration>,
    mut progress: impl FnMut(&str),
) -> Result<Reply, ClientError> {
    let failed = |source: io::Error| explain(path, patience, source);
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(failed)?;
    stream.set_read_timeout(patience).map_err(failed)?;
    let mut line = serde_json::to_string(request).map_err(|source| garbled(path, source))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(REPLY_LIMIT).read_until(b'\n', &mut line).map_err(failed)?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::HungUp { path: path.to_owned() });
        }
        match serde_json::from_slice(&line).map_err(|source| garbled(path, source))? {
            Reply::Progress { text } => progress(&text),
            Reply::Event { event } => progress(&event.to_string()),
            last @ (Reply::Status { .. }
            | Reply::Explained { .. }
            | Reply::Sessions { .. }
            | Reply::Tables { .. }
            | Reply::Lists { .. }
            | Reply::ListEntries { .. }
            | Reply::ListFound { .. }
            | Reply::Sources { .. }
            | Reply::Resolvers { .. }
            | Reply::Done { .. }
            | Reply::Failed { .. }) => return Ok(last),
        }
    }
}

fn explain(path: &Path, patience: Option<Duration>, source: io::Error) -> ClientError {
    use io::ErrorKind;
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NotRunning { path },
        ErrorKind::PermissionDenied => ClientError::Permission { path },
        // A blocking socket's timeout is EAGAIN.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ClientError::Silent { path, patience: patience.unwrap_or(WRITE_TIMEOUT) }
        }
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => ClientError::HungUp { path },
        _ => ClientError::System { path, source },
    }
}

fn garbled(path: &Path, source: serde_json::Error) -> ClientError {
    ClientError::Garbled { path: path.to_owned(), source }
}
