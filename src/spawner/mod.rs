//! The spawner: a process that keeps root for what the daemon gives it up for: to run the operator's commands, and to look
//! into other processes' descriptors. It is started before any thread and before capabilities are dropped; the two
//! talk through a socket. When the daemon is gone, however it went, every command that runs is ended and so is the spawner.
#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod identity;
mod job;
mod path_safety;
mod protocol;
mod runner;
mod server;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

pub use protocol::{Outcome, Report};
pub use runner::{Job, Runner, Running};
pub use server::run;

use crate::os::caps;

/// The hidden argument that makes this executable a spawner.
pub const ARGUMENT: &str = "spawner";

/// This executable, even if its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";
/// What the spawner may take for ending every command, TERM, a second and KILL, before it is killed itself.
const STOP_LIMIT: Duration = Duration::from_millis(1500);

/// The daemon's side: a spawner that runs.
#[derive(Debug)]
pub struct Spawner {
    executable: PathBuf,
    /// What the process could give its children when the first spawner was started.
    bounding: Option<u64>,
    process: Child,
    runner: Runner,
    /// Not yet listened to.
    replies: Option<Arc<UnixStream>>,
    /// Closed when the spawner's end of the socket is.
    gone: Option<Receiver<()>>,
}

/// Why a spawner could not be replaced.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The new one would not have the rights that the old one had.
    #[error(
        "commands cannot be run any more: the process that kept root for them has died, and this one has given it up; restart vipgate"
    )]
    Confined,
    /// It could not be started.
    #[error("cannot start the process that runs commands: {0}")]
    System(#[from] io::Error),
}

impl Spawner {
    /// Starts one: this executable again, with [`ARGUMENT`]. Starts no thread: call it first, then give up root, then
    /// [`listen`](Self::listen).
    pub fn start() -> io::Result<Self> {
        Self::start_as(Path::new(SELF))
    }

    /// Starts one from this file, which is a vipgate.
    pub fn start_as(executable: &Path) -> io::Result<Self> {
        let (process, socket) = launch(executable)?;
        let socket = Arc::new(socket);
        let runner = Runner::new(Arc::clone(&socket));
        Ok(Self {
            executable: executable.to_owned(),
            bounding: caps::bounding(),
            process,
            runner,
            replies: Some(socket),
            gone: None,
        })
    }

    /// Starts the thread that hears its replies. What was asked before waits for it.
    pub fn listen(&mut self) -> io::Result<()> {
        let Some(replies) = self.replies.take() else { return Ok(()) };
        let (tell, gone) = mpsc::channel();
        let runner = self.runner.clone();
        thread::Builder::new().name(ARGUMENT.into()).spawn(move || {
            runner.hear(&replies);
            drop(tell);
        })?;
        self.gone = Some(gone);
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What asks it to run commands; it stays good when the spawner is replaced.
    #[must_use]
    pub fn runner(&self) -> Runner {
        self.runner.clone()
    }

    /// Whether it has ended by itself. Then every job fails with [`Outcome::SpawnerGone`] until [`restart`](Self::restart).
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.runner.is_cut()
    }

    /// Starts another one in place of one that died: possible as long as nothing was given up since the first.
    pub fn restart(&mut self) -> Result<(), RestartError> {
        if !self.has_died() {
            return Ok(());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if caps::bounding() != self.bounding {
            return Err(RestartError::Confined);
        }
        let (process, socket) = launch(&self.executable)?;
        self.process = process;
        let socket = Arc::new(socket);
        self.runner.reconnect(Arc::clone(&socket));
        self.replies = Some(socket);
        Ok(self.listen()?)
    }

    /// Ends every command that runs (TERM, KILL after a second) and the spawner itself. Blocks for 1.5 s at most.
    pub fn stop(mut self) {
        self.runner.hang_up();
        if let Some(gone) = &self.gone {
            // Nothing is ever sent: it waits for the other side to close.
            let _ = gone.recv_timeout(STOP_LIMIT);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(executable: &Path) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let process = Command::new(executable)
        .arg0("vipgate")
        .arg(ARGUMENT)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .current_dir("/")
        .spawn()?;
    Ok((process, ours))
}
