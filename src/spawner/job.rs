//! One command, from the check of its path to its end.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::identity;
use super::path_safety;
use super::protocol::{Order, Outcome, Report};
use crate::model::COMMAND_PATH;
use crate::os::child::{Child, End, Launch};

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes of a last line that are kept.
const LAST_LINE: usize = 200;

/// Runs it. `stop`: once its other end is closed, the command is ended. `tell` is called once, when the command has
/// ended; what it left running may write on without harm until this returns.
pub(super) fn run(order: &Order, stop: &PipeReader, tell: impl FnOnce(Report)) {
    let begun = Instant::now();
    let mut output = LastLine::default();
    let ended = start(order).and_then(|child| finish(child, order.timeout, stop, &mut output));
    let (outcome, rest) = match ended {
        Ok((outcome, rest)) => (outcome, Some(rest)),
        Err(outcome) => (outcome, None),
    };
    tell(Report { outcome, took: begun.elapsed(), last_line: output.text() });
    if let Some(rest) = rest {
        swallow(rest, stop);
    }
}

fn start(order: &Order) -> Result<Child, Outcome> {
    let program = find(&order.program).map_err(Outcome::Failed)?;
    let identity = identity::resolve(order.user.as_deref(), order.group.as_deref()).map_err(Outcome::Failed)?;
    let as_root = identity.as_ref().map_or(nix::unistd::geteuid(), |identity| identity.user).is_root();
    if order.secure && as_root {
        path_safety::check(&program).map_err(|found| Outcome::Unsafe { path: found.path, why: found.why })?;
    }
    let mut environment = order.environment.clone();
    if !environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(("PATH".to_owned(), COMMAND_PATH.to_owned()));
    }
    let launch = Launch { program: &program, arguments: &order.arguments, environment: &environment, identity };
    Child::launch(&launch).map_err(|error| Outcome::Failed(explain(&program, order.user.as_deref(), &error)))
}

/// The program's absolute path.
fn find(program: &Path) -> Result<PathBuf, String> {
    if program.is_absolute() {
        return match program.metadata() {
            Ok(metadata) if metadata.is_dir() => Err(format!("{} is a directory; name a program", program.display())),
            Ok(_) => Ok(program.to_owned()),
            Err(error) => Err(format!("{} cannot be run: {error}; create it, or name another", program.display())),
        };
    }
    if program.components().count() != 1 {
        return Err(format!("{} is a relative path; name the program with its whole path", program.display()));
    }
    COMMAND_PATH
        .split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            format!("{} is not in {COMMAND_PATH}; install it, or name it with its whole path", program.display())
        })
}

fn explain(program: &Path, user: Option<&str>, error: &io::Error) -> String {
    let program = program.display();
    let whom = user.map_or(String::new(), |user| format!(" as {user}"));
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            format!("{program} cannot be run{whom}: this process may not become another user; start vipgate as root")
        }
        Some(libc::EACCES) => format!(
            "{program} cannot be run{whom}: permission denied; the file must be executable for that user, and every directory above it"
        ),
        Some(libc::ENOENT) => {
            format!("{program} cannot be run: the interpreter that its first line names is not there")
        }
        _ => format!("{program} cannot be run{whom}: {error}"),
    }
}

/// Waits for its end, or ends it.
fn finish(
    child: Child,
    timeout: Option<Duration>,
    stop: &PipeReader,
    output: &mut LastLine,
) -> Result<(Outcome, PipeReader), Outcome> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let waited = wait(&child, Some(stop.as_fd()), deadline, output);
    if waited != Waited::Ended {
        child.signal(Signal::SIGTERM);
        wait(&child, None, Some(Instant::now() + GRACE), output);
        // Whoever of its group is left: a child of a shell outlives it easily.
        child.signal(Signal::SIGKILL);
    }
    let (end, rest) = child.wait().map_err(|error| Outcome::Failed(format!("its end was missed: {error}")))?;
    let outcome = match (waited, end) {
        (Waited::Deadline, _) => Outcome::TimedOut,
        (_, End::Exited(status)) => Outcome::Exited(status),
        (_, End::Signalled(signal)) => Outcome::Signalled(signal),
    };
    Ok((outcome, rest))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Ended,
    Deadline,
    Stopped,
}

/// Waits for its end, the deadline or the wish to stop, and takes what it writes meanwhile.
fn wait(child: &Child, stop: Option<BorrowedFd<'_>>, deadline: Option<Instant>, output: &mut LastLine) -> Waited {
    let end = child.end();
    let mut open = true;
    loop {
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(Duration::ZERO) => return Waited::Deadline,
            // Rounded up: never early.
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        let mut watched = vec![PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        watched.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
        if open {
            watched.push(PollFd::new(child.output().as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // As good as a stop: nothing could end it later.
            Err(_) => return Waited::Stopped,
        }
        let happened = |index: usize| watched.get(index).and_then(PollFd::any).unwrap_or(false);
        let (ended, stopped) = (happened(0), stop.is_some() && happened(1));
        let written = open && happened(1 + usize::from(stop.is_some()));
        if written || ended {
            open = output.take(child);
        }
        if ended {
            return Waited::Ended;
        }
        if stopped {
            return Waited::Stopped;
        }
    }
}

/// Reads and forgets what processes that a command left running write to its output: a closed pipe would kill them.
fn swallow(mut rest: PipeReader, stop: &PipeReader) {
    let mut buffer = [0; 512];
    loop {
        let mut watched = [PollFd::new(rest.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) if watched[1].any().unwrap_or(true) => return,
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        }
        match rest.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The last line of an output of any length.
#[derive(Debug, Default)]
struct LastLine {
    line: Vec<u8>,
    /// The line is whole: the next byte begins another.
    whole: bool,
}

impl LastLine {
    /// Takes what the child has written. False: nobody can write any more.
    fn take(&mut self, child: &Child) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match child.output().read(&mut buffer) {
                Ok(0) => return false,
                Ok(read) => self.add(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.whole = true;
                continue;
            }
            if std::mem::take(&mut self.whole) {
                self.line.clear();
            }
            if self.line.len() < LAST_LINE {
                self.line.push(*byte);
            }
        }
    }

    fn text(&self) -> Option<String> {
        let text: String =
            String::from_utf8_lossy(&self.line).chars().filter(|character| !character.is_control()).collect();
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_line(output: &[&[u8]]) -> Option<String> {
        let mut last = LastLine::default();
        output.iter().for_each(|bytes| last.add(bytes));
        last.text()
    }

    #[test]
    fn the_last_line_is_kept_however_it_arrives() {
        assert_eq!(last_line(&[]), None);
        assert_eq!(last_line(&[b"one\ntwo\n"]).as_deref(), Some("two"));
        assert_eq!(last_line(&[b"one\ntw", b"o"]).as_deref(), Some("two"));
        assert_eq!(last_line(&[b"one", b"\n"]).as_deref(), Some("one"));
        assert_eq!(last_line(&[b"one\n", b"\x1b[31mred\xff"]).as_deref(), Some("[31mred\u{fffd}"));
        assert_eq!(last_line(&[&[b'x'; 5000]]).map(|line| line.len()), Some(LAST_LINE));
    }

    #[test]
    fn programs_are_found_along_the_path_and_refused_with_a_remedy() {
        assert!(find(Path::new("sh")).unwrap().is_absolute());
        for (program, remedy) in [
            ("no-such-program", "install it"),
            ("bin/sh", "whole path"),
            ("/no/such", "create it"),
            ("/etc", "name a program"),
        ] {
            assert!(find(Path::new(program)).unwrap_err().contains(remedy), "{program}");
        }
    }
}
