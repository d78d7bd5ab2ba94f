//! The daemon's end of the control socket.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Reply, Request};

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The run directory belongs to a live process.
    #[error("another vipgate runs (pid {pid}, {}): stop it, or give this one another --run-dir", path.display())]
    Running {
        /// Its process id, as it wrote it.
        pid: String,
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}; is the run directory there and writable?", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The bound socket, not served yet. It also is the claim on the run directory: a second process is refused for as
/// long as this value, or the task that serves it, lives.
#[derive(Debug)]
pub struct Server {
    listener: StdListener,
    claim: Claim,
}

/// One request and the way to answer it.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The way to answer.
    pub answer: Answer,
}

/// Answers one request. Dropped without [`Answer::finish`], the client is told that it was not done.
#[derive(Debug)]
pub struct Answer {
    progress: mpsc::Sender<Reply>,
    last: oneshot::Sender<Reply>,
}

impl Answer {
    /// Tells the client how far it is. A client that does not read misses some; nobody waits for it.
    pub fn progress(&self, text: impl Into<String>) {
        // Full or gone: the work goes on either way.
        let _ = self.progress.try_send(Reply::Progress { text: text.into() });
    }

    /// Tells the client that something happened, and waits until there is room for it. False when the client is gone.
    pub async fn event(&self, event: serde_json::Value) -> bool {
        self.progress.send(Reply::Event { event }).await.is_ok()
    }

    /// Completes when the client is gone.
    pub async fn abandoned(&self) {
        self.progress.closed().await;
    }

    /// The last word. False when the client is gone.
    pub fn finish(self, reply: Reply) -> bool {
        self.last.send(reply).is_ok()
    }

    /// Whether the client still waits.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.last.is_closed()
    }
}

/// Asks the application from within the process.
pub(super) async fn call(calls: &mpsc::Sender<Call>, request: Request) -> Reply {
    // Nobody wants to hear how far it is.
    let (progress, _) = mpsc::channel(1);
    let (last, finished) = oneshot::channel();
    if calls.send(Call { request, answer: Answer { progress, last } }).await.is_err() {
        return stopping();
    }
    finished.await.unwrap_or_else(|_| stopping())
}

/// Clients at a time. For one more the oldest that asks nothing has to go; when all of them wait for an answer, the new
/// one waits in the listen queue.
const CLIENTS: usize = 32;
/// A client that has just come is given this long to say what it wants before it may be sent away.
const SETTLING: Duration = Duration::from_millis(100);
/// Longest request line, in bytes.
const LINE_LIMIT: u64 = 4096;
/// Longest wait for a client's next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a client to take a line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Progress lines kept for a client that is slow to read.
const PROGRESS_QUEUE: usize = 64;
/// Pause after an accept error: without a free descriptor it would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Server {
    /// Binds `path` for the own user only (mode 0600), replacing what a dead process left.
    ///
    /// # Errors
    /// A live vipgate has it, or the directory is missing or not writable.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let claim = Claim::take(path)?;
        let listener = bind_private(path)?;
        Ok(Self { listener, claim })
    }

    /// Serves until the task is aborted or nobody takes calls any more. The socket is removed then. Within a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be registered with the runtime.
    pub async fn serve(self, calls: mpsc::Sender<Call>) -> io::Result<()> {
        let Self { listener, claim: _claim } = self;
        let listener = UnixListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CLIENTS));
        let mut clients = tokio::task::JoinSet::new();
        let mut present: VecDeque<Client> = VecDeque::new();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = calls.closed() => break,
            };
            match stream {
                Ok((stream, _)) => {
                    present.retain(|client| !client.task.is_finished());
                    let place = match Arc::clone(&places).try_acquire_owned() {
                        Ok(place) => place,
                        Err(_) => make_room(&mut present, &places).await?,
                    };
                    let (calls, busy, socket) = (calls.clone(), Arc::new(AtomicBool::new(false)), stream.as_raw_fd());
                    let asks = Arc::clone(&busy);
                    let task = clients.spawn(async move {
                        let _place = place;
                        let (reader, writer) = stream.into_split();
                        if let Err(error) = converse(BufReader::new(reader), writer, calls, &asks).await {
                            tracing::debug!(%error, "a control client went away");
                        }
                    });
                    present.push_back(Client { task, busy, socket, since: Instant::now() });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while clients.try_join_next().is_some() {}
        }
        Ok(())
    }
}

/// A client that is connected.
struct Client {
    task: AbortHandle,
    /// It waits for an answer.
    busy: Arc<AtomicBool>,
    /// Open for as long as its task has not finished.
    socket: RawFd,
    since: Instant,
}

impl Client {
    /// It asks nothing: neither does it wait for an answer, nor has it said something that nobody had time to read yet.
    fn is_idle(&self) -> bool {
        let said = || {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            !self.task.is_finished() && recv(self.socket, &mut [0], flags).is_ok_and(|count| count > 0)
        };
        !self.busy.load(Ordering::Relaxed) && !said()
    }
}

/// Waits until a place is free. One that asks nothing does not keep it for long.
async fn make_room(present: &mut VecDeque<Client>, places: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    let wanted = Arc::clone(places).acquire_owned();
    tokio::pin!(wanted);
    loop {
        let idle = present.iter().find(|client| client.is_idle());
        // All of them may wait for an answer: one of them, or another, will be done with it.
        let settled = idle.map_or_else(Instant::now, |client| client.since) + SETTLING;
        tokio::select! {
            biased;
            place = &mut wanted => return place.map_err(io::Error::other),
            () = tokio::time::sleep_until(settled) => dismiss_oldest_idle(present),
        }
    }
}

fn dismiss_oldest_idle(present: &mut VecDeque<Client>) {
    let idle = |client: &Client| client.is_idle() && client.since.elapsed() >= SETTLING;
    let idle = present.iter().position(idle);
    if let Some(client) = idle.and_then(|idle| present.remove(idle)) {
        client.task.abort();
    }
}

async fn converse(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    calls: mpsc::Sender<Call>,
    busy: &AtomicBool,
) -> io::Result<()> {
    loop {
        let line = match tokio::time::timeout(IDLE_TIMEOUT, read_line(&mut reader)).await {
            Err(_) | Ok(Ok(Line::End)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Line::TooLong)) => {
                let text = format!("a request is one line of at most {LINE_LIMIT} bytes");
                return write(&mut writer, &Reply::failed(text, EXAMPLE)).await;
            }
            Ok(Ok(Line::Read(line))) => line,
        };
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                busy.store(true, Ordering::Relaxed);
                if !carry_out(request, &mut reader, &mut writer, &calls).await? {
                    return Ok(());
                }
                busy.store(false, Ordering::Relaxed);
            }
            Err(error) => write(&mut writer, &Reply::failed(format!("not a request: {error}"), EXAMPLE)).await?,
        }
    }
}

const EXAMPLE: &str = r#"a request looks like {"request":"status"}"#;

/// Passes a request to the application and its answers to the client. False: the client hung up, which ends the
/// conversation, never the work.
async fn carry_out(
    request: Request,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    calls: &mpsc::Sender<Call>,
) -> io::Result<bool> {
    let follows = request == Request::Events;
    let (progress, mut under_way) = mpsc::channel(PROGRESS_QUEUE);
    let (last, mut finished) = oneshot::channel();
    if calls.send(Call { request, answer: Answer { progress, last } }).await.is_err() {
        return write(writer, &stopping()).await.map(|()| true);
    }
    // One that follows events says nothing more: that it went away shows only here. Others may have shut down their
    // side and wait for the answer.
    let gone = hung_up(reader, follows);
    tokio::pin!(gone);
    loop {
        tokio::select! {
            // What was said before the last word comes before it.
            biased;
            Some(reply) = under_way.recv() => write(writer, &reply).await?,
            reply = &mut finished => {
                return write(writer, &reply.unwrap_or_else(|_| stopping())).await.map(|()| true);
            }
            () = &mut gone => return Ok(false),
        }
    }
}

/// Completes when a client that `follows` is gone; never for others.
async fn hung_up(reader: &mut BufReader<OwnedReadHalf>, follows: bool) {
    if follows && !matches!(reader.fill_buf().await, Ok(line) if !line.is_empty()) {
        return;
    }
    std::future::pending().await
}

fn stopping() -> Reply {
    Reply::failed("vipgate stopped before this was done", "look at its log, and ask again once it runs")
}

enum Line {
    Read(Vec<u8>),
    TooLong,
    End,
}

async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Line> {
    let mut line = Vec::new();
    let count = reader.take(LINE_LIMIT).read_until(b'\n', &mut line).await?;
    Ok(match line.last() {
        None => Line::End,
        Some(b'\n') => Line::Read(line),
        Some(_) if u64::try_from(count).unwrap_or(u64::MAX) >= LINE_LIMIT => Line::TooLong,
        // The last line needs no end.
        Some(_) => Line::Read(line),
    })
}

async fn write(writer: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(&line)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// The exclusive lock on a run directory: the kernel gives it back however its holder ends, so a socket that is found
/// under it is a dead one's.
#[derive(Debug)]
struct Claim {
    socket: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Claim {
    fn take(socket: &Path) -> Result<Self, BindError> {
        let path = socket.with_extension("lock");
        if let Some(directory) = socket.parent() {
            fs::create_dir_all(directory).map_err(system("create", directory))?;
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // Whoever may open the file may lock it, and keep us from starting; and it is no way to somebody's file.
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .map_err(system("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message.
                let _ = lock.read_to_string(&mut pid);
                return Err(BindError::Running { pid: pid.trim().to_owned(), path: socket.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(system("lock", &path)(source)),
        }
        lock.set_permissions(Permissions::from_mode(0o600)).map_err(system("protect", &path))?;
        lock.set_len(0).map_err(system("write", &path))?;
        writeln!(lock, "{}", std::process::id()).map_err(system("write", &path))?;
        Ok(Self { socket: socket.to_owned(), _lock: lock })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While we hold the lock the socket is ours. The lock's file stays: to remove it would let two processes lock
        // two files of one name.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Nobody can connect before the mode is set: the socket listens only then, and appears under its name after that.
fn bind_private(path: &Path) -> Result<StdListener, BindError> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system("replace", &fresh)(error)),
        Ok(()) | Err(_) => {}
    }
    let make = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
        socket.bind(&SockAddr::unix(&fresh)?)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        socket.listen(128)?;
        fs::rename(&fresh, path)?;
        Ok(socket)
    };
    make().map(StdListener::from).map_err(system("listen on", path))
}

fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::System { action, path: path.to_owned(), source }
}
