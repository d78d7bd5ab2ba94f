//! A helper process of our own: this executable again, told what to do through a pipe.

#![expect(unsafe_code, reason = "prctl and signal dispositions are libc calls")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::sched;

/// Bytes a pipe is asked to hold, so that a large message never makes the writer wait.
const PIPE_SIZE: libc::c_int = 1 << 20;

/// A helper that runs, and the only write end of its pipe (closed on exec: no other child holds it).
#[derive(Debug)]
pub struct Helper {
    pid: u32,
    pipe: File,
    has_died: Arc<AtomicBool>,
    parent: JoinHandle<()>,
}

impl Helper {
    /// Starts this executable, even if its file was replaced meanwhile, with one argument and its standard input a pipe
    /// of ours.
    ///
    /// Its parent is a thread of its own, real-time where permitted: [`tell_parents_death`] goes by the thread that
    /// started a process, and on a busy machine that thread is killed long before the last of a killed process's threads
    /// has come to its end and the pipe closes.
    pub fn spawn(argument: &'static str) -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        enlarge(&write);
        nonblocking(&write)?;
        let has_died = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_died);
        let (tell, told) = mpsc::channel();
        let parent = thread::Builder::new().name(argument.to_owned()).spawn(move || {
            let _ = sched::round_robin();
            match start(argument, read) {
                Ok(mut child) => {
                    let _ = tell.send(Ok(child.id()));
                    let _ = child.wait();
                }
                Err(error) => drop(tell.send(Err(error))),
            }
            ended.store(true, Ordering::Release);
        })?;
        let pid = told.recv().map_err(io::Error::other)??;
        Ok(Self { pid, pipe: File::from(write), has_died, parent })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Writes all of `bytes`. Never blocks: a helper that does not read is an error (`WouldBlock`).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pipe.write_all(bytes)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.has_died.load(Ordering::Acquire)
    }

    /// Closes the pipe and waits for its end. Only after having told it to end.
    pub fn finish(self) {
        let Self { pipe, parent, .. } = self;
        drop(pipe);
        let _ = parent.join();
    }

    /// Kills it at once.
    pub fn kill(self) {
        if !self.has_died() {
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        }
        self.finish();
    }
}

fn start(argument: &str, input: OwnedFd) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("vipgate")
        .arg(argument)
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .current_dir("/")
        .spawn()
}

/// A descriptor that becomes readable when the thread that started this process has died. Call it once, before other
/// threads: the signal behind it is blocked in the calling thread.
pub fn tell_parents_death() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGUSR1);
    signals.thread_block()?;
    let told = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGUSR1)?;
    Ok(told)
}

/// Waits until `first` or `second` is readable or closed. Whether it is `first`, which goes before.
pub fn wait_for_either(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> io::Result<bool> {
    let mut both = [PollFd::new(first, PollFlags::POLLIN), PollFd::new(second, PollFlags::POLLIN)];
    loop {
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) => return Ok(both[0].any().unwrap_or(true)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
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
