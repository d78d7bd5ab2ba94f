//! One named pipe: made when it is not there, written without ever waiting for its reader, and its reader's command.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Group, Uid};
use tokio::net::unix::pipe::Sender;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::model::{Command, Fifo, User};
use crate::stats::Registry;

use super::backlog::{Backlog, Key};
use super::run::{Job, Runner};

/// At the end the reader has so long to read what is in the pipe, and again as long to end.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Pauses before a reader that ended is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a named pipe is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FifoError {
    #[error("{0} is there and not a named pipe: remove it, or configure another path")]
    NotAPipe(PathBuf),
    #[error("the named pipe {0} cannot be made: {1}; its directory must be there and writable for this process")]
    Make(PathBuf, Errno),
    #[error("the named pipe {0} cannot be opened: {1}; this process must be permitted to read and write it")]
    Open(PathBuf, io::Error),
}

#[derive(Debug)]
pub(super) struct Pipe {
    fifo: Fifo,
    /// It was not there before: it is removed at the end.
    made: bool,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    lines: Mutex<Lines>,
    /// Told when the lines or `closing` changed under the task.
    changed: Notify,
    closing: AtomicBool,
    registry: Arc<Registry>,
}

#[derive(Debug, Default)]
struct Lines {
    backlog: Backlog,
    /// Lines given up since the backlog was last empty.
    lost: u64,
}

impl Pipe {
    /// Opens the pipe and starts its reader, after the one that had the same path, if any, has ended. To be called
    /// within a tokio runtime.
    pub(super) fn start(
        fifo: Fifo,
        predecessor: Option<Self>,
        runner: Runner,
        registry: Arc<Registry>,
    ) -> Result<Self, FifoError> {
        let (sender, new) = open(&fifo.path)?;
        let made = new || predecessor.as_ref().is_some_and(|pipe| pipe.made);
        let shared = Arc::new(Shared {
            path: fifo.path.clone(),
            lines: Mutex::default(),
            changed: Notify::new(),
            closing: AtomicBool::new(false),
            registry,
        });
        let reader = fifo.reader.clone();
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                if let Some(predecessor) = predecessor {
                    predecessor.hand_over(Instant::now() + 3 * LAST_LINES).await;
                }
                let owner = reader.as_ref().and_then(|command| command.user.clone()).filter(|_| new);
                if let Some(owner) = owner {
                    give(shared.path.clone(), owner).await;
                }
                let has_reader = reader.is_some();
                let writing = async {
                    write(&shared, &sender).await;
                    // The reader meets the pipe's end, and may do something with what it has read before it is ended.
                    drop(sender);
                    if has_reader {
                        tokio::time::sleep(LAST_LINES).await;
                    }
                };
                tokio::select! {
                    () = writing => {}
                    () = keep_reading(&shared, reader, &runner) => {}
                }
            }
        });
        Ok(Self { fifo, made, shared, task })
    }

    pub(super) fn fifo(&self) -> &Fifo {
        &self.fifo
    }

    pub(super) fn push(&self, key: Key, line: String) {
        let mut lines = self.shared.lines();
        if lines.backlog.push(key, line) {
            lines.lost += 1;
            self.shared.registry.notify.fifo_lines_lost.fetch_add(1, Ordering::Relaxed);
            if lines.lost == 1 {
                tracing::warn!(
                    "nobody reads the named pipe {}: it is full, and older lines are given up for newer ones",
                    self.shared.path.display()
                );
            }
        }
        self.shared.changed.notify_one();
    }

    /// Writes what there is room for, gives the reader a moment for it, ends the reader, and removes the pipe if it was
    /// made.
    pub(super) async fn stop(self, deadline: Instant) {
        let made = self.made.then(|| self.fifo.path.clone());
        self.hand_over(deadline).await;
        if let Some(path) = made
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!("the named pipe {} cannot be removed: {error}", path.display());
        }
    }

    /// [`Pipe::stop`], but the pipe stays.
    async fn hand_over(mut self, deadline: Instant) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.changed.notify_one();
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let left = self.shared.lines().backlog.len();
        if left > 0 {
            self.shared.registry.notify.fifo_lines_lost.fetch_add(left as u64, Ordering::Relaxed);
            tracing::warn!("{left} line(s) for the named pipe {} were never read", self.fifo.path.display());
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// Opens the pipe, makes it first if it is not there. Whether it was made. Only root and its owner may read it: names
/// and states of routers are nobody else's business.
fn open(path: &Path) -> Result<(Sender, bool), FifoError> {
    let made = match nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(error) => return Err(FifoError::Make(path.to_owned(), error)),
    };
    let cannot = |error| FifoError::Open(path.to_owned(), error);
    // Asked before it is opened: to open a device may do something.
    if !fs::metadata(path).map_err(cannot)?.file_type().is_fifo() {
        return Err(FifoError::NotAPipe(path.to_owned()));
    }
    // Open for reading too, it has always a reader: neither an error nor a signal when the real one is gone.
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(cannot)?;
    Ok((Sender::from_file(file).map_err(cannot)?, made))
}

/// Makes the reader's user the owner of a new pipe. Names are looked up where it may take long.
async fn give(path: PathBuf, user: User) {
    let shown = path.display().to_string();
    let given = tokio::task::spawn_blocking(move || chown(&path, &user)).await;
    if let Ok(Err((name, error))) = given {
        tracing::warn!(
            "the named pipe {shown} cannot be given to {name}: {error}; make it before the start, readable for {name}"
        );
    }
}

fn chown(path: &Path, user: &User) -> Result<(), (String, Errno)> {
    let failed = |error| (user.name.clone(), error);
    let (uid, own) = match user.name.parse() {
        Ok(id) => (Uid::from_raw(id), None),
        Err(_) => {
            let found = nix::unistd::User::from_name(&user.name).map_err(failed)?;
            let found = found.ok_or_else(|| failed(Errno::ENOENT))?;
            (found.uid, Some(found.gid))
        }
    };
    let gid = match &user.group {
        None => own,
        Some(name) => match name.parse() {
            Ok(id) => Some(Gid::from_raw(id)),
            Err(_) => Group::from_name(name).map_err(failed)?.map(|group| group.gid),
        },
    };
    nix::unistd::chown(path, Some(uid), gid).map_err(failed)
}

async fn write(shared: &Shared, sender: &Sender) {
    while !shared.is_closing() {
        if write_what_fits(shared, sender) {
            shared.changed.notified().await;
        } else {
            tokio::select! {
                _ = sender.writable() => {}
                () = shared.changed.notified() => {}
            }
        }
    }
    let last_lines = async {
        while !write_what_fits(shared, sender) || !is_read(sender.as_fd()) {
            tokio::time::sleep(LAST_LINES / 20).await;
        }
    };
    // Without a reader they stay where they are.
    let _ = tokio::time::timeout(LAST_LINES, last_lines).await;
}

/// Whether everything is written.
fn write_what_fits(shared: &Shared, sender: &Sender) -> bool {
    let mut lines = shared.lines();
    while let Some(line) = lines.backlog.front() {
        match sender.try_write(line) {
            Ok(count) => {
                if lines.backlog.written(count) {
                    shared.registry.notify.fifo_lines.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                // Not known to happen while this process itself reads it. The line is given up, not the pipe.
                tracing::error!("the named pipe {} cannot be written: {error}", shared.path.display());
                shared.registry.notify.fifo_lines_lost.fetch_add(1, Ordering::Relaxed);
                let whole = line.len();
                lines.backlog.written(whole);
            }
        }
    }
    if lines.lost > 0 {
        tracing::info!("the named pipe {} is read again; {} line(s) were lost", shared.path.display(), lines.lost);
        lines.lost = 0;
    }
    true
}

/// Whether nothing is left in the pipe: this process could read it, too.
fn is_read(pipe: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::POLLIN)];
    !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(1..))
}

/// Keeps the reader's command running, with the pipe's path as its last argument, until it ends while the pipe is closed.
/// Dropped, it ends it.
async fn keep_reading(shared: &Shared, reader: Option<Command>, runner: &Runner) {
    let path = &shared.path;
    let Some(mut command) = reader else { return std::future::pending().await };
    command.timeout = Duration::MAX;
    let mut pause = FIRST_PAUSE;
    loop {
        let arguments = vec![path.display().to_string()];
        let environment = vec![("VIPGATE_FIFO".to_owned(), path.display().to_string())];
        let started = Instant::now();
        let ended = runner.run(Job { command: command.clone(), arguments, environment }).await;
        if shared.is_closing() {
            return;
        }
        if started.elapsed() >= LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        let program = command.program.display();
        tracing::warn!("{program}, the reader of {}, {ended}; starts again in {pause:?}", path.display());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
