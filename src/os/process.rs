//! A helper process of our own: this executable again, told what to do through a pipe.

#![expect(unsafe_code, reason = "prctl and signal dispositions are libc calls")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Bytes a pipe is asked to hold, so that a large message never makes the writer wait.
const PIPE_SIZE: libc::c_int = 1 << 20;

/// A helper that runs, and the only write end of its pipe (closed on exec: no other child holds it).
#[derive(Debug)]
pub struct Helper {
    child: Child,
    pipe: File,
}

impl Helper {
    /// Starts this executable, even if its file was replaced meanwhile, with one argument and its standard input a pipe
    /// of ours.
    pub fn spawn(argument: &str) -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        enlarge(&write);
        nonblocking(&write)?;
        let child = Command::new("/proc/self/exe")
            .arg0("vipgate")
            .arg(argument)
            .stdin(Stdio::from(read))
            .stdout(Stdio::null())
            .current_dir("/")
            .spawn()?;
        Ok(Self { child, pipe: File::from(write) })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes all of `bytes`. Never blocks: a helper that does not read is an error (`WouldBlock`).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pipe.write_all(bytes)
    }

    /// Whether it has ended. Collects it if so.
    pub fn has_died(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes the pipe and waits for its end. Only after having told it to end.
    pub fn finish(self) -> io::Result<()> {
        let Self { mut child, pipe } = self;
        drop(pipe);
        child.wait().map(drop)
    }

    /// Kills it at once and collects it.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the calling process one that a terminal, a service manager's first signal or a memory shortage does not
/// end: a session of its own, deaf to TERM, INT and HUP, last on the list of the out-of-memory killer where permitted.
pub fn detach() {
    // It may lead its group already (started from a shell): then it stays in its session, deaf all the same.
    let _ = nix::unistd::setsid();
    for deaf in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal runs no code of ours.
        let _ = unsafe { signal(deaf, SigHandler::SigIgn) };
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
}

fn enlarge(pipe: &OwnedFd) {
    let _ = nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
}

fn nonblocking(pipe: &OwnedFd) -> io::Result<()> {
    nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}
