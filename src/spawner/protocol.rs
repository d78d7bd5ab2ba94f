//! What daemon and spawner say to each other: one JSON value a line. Both are the same executable, so there is no version.
//! Replies carry the id of their request and come in any order.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::os::port_owner::PortOwner;
use crate::os::socket_owner::SocketOwner;

/// A request. An id is used once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Run a command; answered when it has ended.
    Run(Order),
    /// End the command of this id before its time. Has no answer of its own.
    Stop,
    /// Who has a raw socket of this IP protocol?
    RawSockets(u8),
    /// Who listens where we would?
    Listeners(SocketAddr),
}

/// A command, with everything that decides how it is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    /// None: as long as it likes.
    pub(super) timeout: Option<Duration>,
    pub(super) secure: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) answer: Answer,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ended(Report),
    RawSockets(Vec<SocketOwner>),
    Listeners(Vec<PortOwner>),
}

/// How a command ended, with what an operator wants to know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran.
    pub took: Duration,
    /// The last line it wrote, to its output or its errors, cut at 200 bytes.
    pub last_line: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this status; 0 is success.
    Exited(i32),
    /// By this signal, which was not ours: or the command was ended because nobody wants its result any more.
    Signalled(i32),
    /// It took longer than it may, and was ended with its process group.
    TimedOut,
    /// It was not run: somebody else than root could change what runs as root.
    Unsafe {
        /// The file or directory that can be changed.
        path: PathBuf,
        /// By whom.
        why: String,
    },
    /// It could not be run; cause and remedy.
    Failed(String),
    /// The process that runs commands has died.
    SpawnerGone,
}

impl Outcome {
    /// Whether it ran and exited with status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("took too long and was ended"),
            Self::Unsafe { path, why } => {
                write!(
                    f,
                    "not run as root: {} {why}; change that, name another user, or allow it with `security = false` in [scripts]",
                    path.display()
                )
            }
            Self::Failed(cause) => f.write_str(cause),
            Self::SpawnerGone => {
                f.write_str("not run: the process that runs commands has died; restart vipgate if it is not replaced")
            }
        }
    }
}

impl fmt::Display for Report {
    /// `exit status 3 after 12 ms: connection refused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        match self.outcome {
            Outcome::Exited(_) | Outcome::Signalled(_) | Outcome::TimedOut => {
                write!(f, " after {} ms", self.took.as_millis())?;
            }
            Outcome::Unsafe { .. } | Outcome::Failed(_) | Outcome::SpawnerGone => {}
        }
        self.last_line.as_ref().map_or(Ok(()), |line| write!(f, ": {line}"))
    }
}

/// One line, its end included; none: it holds a path that is not text.
pub(super) fn line(message: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message).ok()?;
    bytes.push(b'\n');
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let order = Order {
            program: "/bin/a b".into(),
            arguments: vec!["one\ntwo".into(), "\u{1}\"".into()],
            environment: vec![("A".into(), "=\n".into())],
            user: Some("nobody".into()),
            group: None,
            timeout: Some(Duration::from_millis(1500)),
            secure: true,
        };
        let bytes = line(&Request { id: 7, ask: Ask::Run(order.clone()) }).unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        let heard: Request = serde_json::from_slice(&bytes).unwrap();
        assert!(matches!(heard, Request { id: 7, ask: Ask::Run(heard) } if heard == order));
    }

    #[test]
    fn reports_read_well() {
        let took = Duration::from_millis(12);
        let report = |outcome, last_line: Option<&str>| {
            Report { outcome, took, last_line: last_line.map(str::to_owned) }.to_string()
        };
        assert_eq!(report(Outcome::Exited(3), None), "exit status 3 after 12 ms");
        assert_eq!(report(Outcome::Signalled(11), Some("oops")), "ended by signal 11 after 12 ms: oops");
        assert!(report(Outcome::SpawnerGone, None).contains("restart"));
    }
}
