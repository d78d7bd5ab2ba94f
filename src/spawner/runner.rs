//! The daemon's side of the socket: jobs go out, and their ends find whoever waits for them.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};
use tokio::sync::oneshot;

use super::protocol::{self, Answer, Ask, Order, Outcome, Reply, Report, Request};
use crate::model::Command;
use crate::os::port_owner::PortOwner;
use crate::os::socket_owner::SocketOwner;

/// A command to be run, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The command.
    pub command: Command,
    /// Arguments after the command's own.
    pub arguments: Vec<String>,
    /// Its environment, beside PATH.
    pub environment: Vec<(String, String)>,
    /// Do not run it as root if somebody else could change it (`security` of `[scripts]`).
    pub secure: bool,
}

/// Asks the spawner. Clones ask the same one.
#[derive(Debug, Clone)]
pub struct Runner {
    link: Arc<Mutex<Link>>,
}

type Waiter = Box<dyn FnOnce(Answer) + Send>;

struct Link {
    next: u64,
    /// None: the spawner is gone.
    socket: Option<Arc<UnixStream>>,
    /// Whoever is dropped unanswered learns that the spawner is gone.
    waiting: HashMap<u64, Waiter>,
}

/// A command that runs. Dropped before its end it is ended, with its process group.
#[derive(Debug)]
pub struct Running {
    runner: Runner,
    id: Option<u64>,
    report: oneshot::Receiver<Answer>,
}

impl Runner {
    pub(super) fn new(socket: Arc<UnixStream>) -> Self {
        Self { link: Arc::new(Mutex::new(Link { next: 0, socket: Some(socket), waiting: HashMap::new() })) }
    }

    /// Runs the job to its end, or to its timeout. Jobs never wait for each other. A future that is dropped ends its job.
    pub async fn run(&self, job: Job) -> Report {
        let timeout = Some(job.command.timeout);
        self.begin(job, timeout).ended().await
    }

    /// Starts a job that may run for as long as it likes, such as the reader of a FIFO: its timeout is not applied.
    #[must_use]
    pub fn start(&self, job: Job) -> Running {
        self.begin(job, None)
    }

    /// The processes of the daemon's network namespace, other than this one, that have a raw socket of this IP protocol.
    /// None: the spawner is gone.
    pub async fn raw_socket_owners(&self, protocol: u8) -> Option<Vec<SocketOwner>> {
        let (tell, told) = oneshot::channel();
        self.ask(Ask::RawSockets(protocol), Box::new(|answer| drop(tell.send(answer))));
        match told.await {
            Ok(Answer::RawSockets(mut owners)) => {
                owners.retain(|owner| owner.pid != std::process::id());
                Some(owners)
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// The processes whose listeners stand in the way of `address`, this one among them. None: the spawner is gone, or did
    /// not answer within `limit`. Blocks for that long at most.
    #[must_use]
    pub fn listeners_on(&self, address: SocketAddr, limit: Duration) -> Option<Vec<PortOwner>> {
        let (tell, told) = std::sync::mpsc::channel();
        self.ask(Ask::Listeners(address), Box::new(move |answer| drop(tell.send(answer))));
        match told.recv_timeout(limit) {
            Ok(Answer::Listeners(owners)) => Some(owners),
            Ok(_) | Err(_) => None,
        }
    }

    fn begin(&self, job: Job, timeout: Option<Duration>) -> Running {
        let Job { command, arguments, environment, secure } = job;
        let (user, group) = command.user.map_or((None, None), |user| (Some(user.name), user.group));
        let arguments = command.arguments.into_iter().chain(arguments).collect();
        let order = Order { program: command.program, arguments, environment, user, group, timeout, secure };
        let (tell, report) = oneshot::channel();
        let id = self.ask(Ask::Run(order), Box::new(|answer| drop(tell.send(answer))));
        Running { runner: self.clone(), id, report }
    }

    /// Sends a request. None, and nobody is told: it cannot be sent.
    fn ask(&self, ask: Ask, waiter: Waiter) -> Option<u64> {
        let mut link = self.lock();
        let id = link.next;
        link.next += 1;
        link.send(&Request { id, ask }).then(|| {
            link.waiting.insert(id, waiter);
            id
        })
    }

    fn stop(&self, id: u64) {
        self.lock().send(&Request { id, ask: Ask::Stop });
    }

    /// Hears the spawner out. Returns when it is gone.
    pub(super) fn hear(&self, replies: &UnixStream) {
        for line in BufReader::new(replies).lines().map_while(Result::ok) {
            let Ok(Reply { id, answer }) = serde_json::from_str(&line) else { break };
            let waiter = self.lock().waiting.remove(&id);
            if let Some(waiter) = waiter {
                waiter(answer);
            }
        }
        self.hang_up();
    }

    pub(super) fn reconnect(&self, socket: Arc<UnixStream>) {
        self.lock().socket = Some(socket);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.lock().socket.is_none()
    }

    /// Tells the spawner that nobody asks any more, and those who wait that nobody answers.
    pub(super) fn hang_up(&self) {
        let waiting = {
            let mut link = self.lock();
            if let Some(socket) = link.socket.take() {
                let _ = socket.shutdown(Shutdown::Write);
            }
            std::mem::take(&mut link.waiting)
        };
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Whether it was sent. Never blocks: the spawner reads at once whatever comes, so one whose socket is full is stuck,
    /// and one that got half a line is out of step.
    fn send(&mut self, request: &Request) -> bool {
        let (Some(socket), Some(line)) = (&self.socket, protocol::line(request)) else { return false };
        match send(socket.as_raw_fd(), &line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) if sent == line.len() => true,
            Ok(_) | Err(_) => {
                let _ = socket.shutdown(Shutdown::Both);
                false
            }
        }
    }
}

impl Running {
    /// Waits for its end. Can be called again when its future was dropped before; after the end it says `SpawnerGone`.
    pub async fn ended(&mut self) -> Report {
        let answer = match self.id {
            Some(_) => (&mut self.report).await.ok(),
            None => None,
        };
        self.id = None;
        match answer {
            Some(Answer::Ended(report)) => report,
            Some(_) | None => Report { outcome: Outcome::SpawnerGone, took: Duration::ZERO, last_line: None },
        }
    }

    /// Ends it: TERM to its process group, KILL a second later. [`ended`](Self::ended) tells when that is done.
    pub fn stop(&self) {
        if let Some(id) = self.id {
            self.runner.stop(id);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("socket", &self.socket)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
