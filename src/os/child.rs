//! A command of the operator as a child: a session of its own, nothing inherited, an end that can be waited for.

#![expect(unsafe_code, reason = "what a child does between fork and exec, and pidfd_open, are libc calls")]

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid};

/// The first descriptor after the standard ones.
const FIRST_OTHER: libc::c_uint = 3;
/// The kernel's signals, real-time ones included.
const SIGNALS: libc::c_int = 64;
/// Bytes of the kernel's signal set.
const SIGNAL_SET: usize = 8;
/// SIG_DFL, no flags, an empty mask.
const DEFAULT_ACTION: [u64; 4] = [0; 4];

/// What is run, and as whom.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The program's absolute path.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its whole environment.
    pub environment: &'a [(String, String)],
    /// Whom it runs as; whoever runs this process when absent.
    pub identity: Option<Identity>,
}

/// A user with all of its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub user: Uid,
    /// Group id.
    pub group: Gid,
    /// Supplementary groups.
    pub groups: Vec<Gid>,
}

/// A child that leads a session and a process group of its own.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    group: Pid,
    end: OwnedFd,
    output: PipeReader,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Child {
    /// Starts it in `/`, its input empty, its output and errors in one pipe of ours. `PermissionDenied` with EPERM: it may
    /// not become the identity; with EACCES: that one may not run the program.
    pub fn launch(launch: &Launch<'_>) -> io::Result<Self> {
        let (output, writer) = io::pipe()?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(launch.program);
        command
            .args(launch.arguments)
            .env_clear()
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let identity = launch.identity.clone();
        // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock is taken.
        unsafe { command.pre_exec(move || become_ordinary(identity.as_ref())) };
        let mut inner = command.spawn()?;
        let group = Pid::from_raw(inner.id().cast_signed());
        match open_pidfd(group) {
            Ok(end) => Ok(Self { inner, group, end, output }),
            Err(error) => {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = inner.wait();
                Err(error)
            }
        }
    }

    /// Becomes readable when the child has ended.
    #[must_use]
    pub fn end(&self) -> impl AsFd + '_ {
        self.end.as_fd()
    }

    /// What the child writes. Never blocks.
    #[must_use]
    pub fn output(&self) -> &PipeReader {
        &self.output
    }

    /// Sends a signal to the whole group. The child is not yet waited for, so the group's number is still its own.
    pub fn signal(&self, signal: Signal) {
        let _ = killpg(self.group, signal);
    }

    /// Waits for its end. What it wrote can still be read from the pipe it leaves.
    pub fn wait(mut self) -> io::Result<(End, PipeReader)> {
        let status = self.inner.wait()?;
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, signal) => End::Signalled(signal.unwrap_or(libc::SIGKILL)),
        };
        Ok((end, self.output))
    }
}

/// Undoes what this process is and a command must not be. The standard library has emptied the signal mask already.
fn become_ordinary(identity: Option<&Identity>) -> io::Result<()> {
    nix::unistd::setsid()?;
    for number in 1..=SIGNALS {
        // The kernel is asked itself: the C library hides those it uses, and whoever started us may have them ignored.
        // SAFETY: an action of zeros, in the kernel's layout or longer, is the default one and runs no code of ours; KILL
        // and STOP are refused.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, DEFAULT_ACTION.as_ptr(), ptr::null::<u8>(), SIGNAL_SET)
        };
    }
    be_killable();
    // SAFETY: no pointer is passed; the descriptors are closed by the exec that follows.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    if let Some(identity) = identity {
        nix::unistd::setgroups(&identity.groups)?;
        nix::unistd::setgid(identity.group)?;
        nix::unistd::setuid(identity.user)?;
    }
    Ok(())
}

/// The out-of-memory killer spares this process; a command is nothing special. What fails changes little.
fn be_killable() {
    // SAFETY: the path is a terminated string.
    let file = unsafe { libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if file >= 0 {
        // SAFETY: one byte of a static string is read; the descriptor was just opened here.
        unsafe {
            libc::write(file, c"0".as_ptr().cast(), 1);
            libc::close(file);
        }
    }
}

fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let descriptor = i32::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
