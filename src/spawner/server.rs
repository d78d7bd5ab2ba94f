//! The spawner's own side: one thread reads requests and never waits for anything else; each command has a thread of its
//! own for as long as it runs.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::job;
use super::protocol::{self, Answer, Ask, Outcome, Reply, Report, Request};
use crate::os::{port_owner, process, socket_owner};

/// The commands that run, each with the pipe whose closing ends it.
type Jobs = Arc<Mutex<HashMap<u64, PipeWriter>>>;

/// The spawner's whole life, with `socket` (standard input) the daemon's. Returns when the daemon is gone and every
/// command it asked for has ended.
pub fn run(socket: OwnedFd) -> io::Result<()> {
    process::detach();
    let socket = Arc::new(UnixStream::from(socket));
    let server = Server { replies: Arc::new(Mutex::new(Arc::clone(&socket))), jobs: Jobs::default() };
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for line in BufReader::new(&*socket).lines().map_while(Result::ok) {
        let Ok(request) = serde_json::from_str(&line) else { break };
        threads.retain(|thread| !thread.is_finished());
        threads.extend(server.take(request));
    }
    lock(&server.jobs).clear();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

#[derive(Clone)]
struct Server {
    replies: Arc<Mutex<Arc<UnixStream>>>,
    jobs: Jobs,
}

impl Server {
    /// Starts what is asked for.
    fn take(&self, request: Request) -> Option<JoinHandle<()>> {
        let Request { id, ask } = request;
        let server = self.clone();
        let started = match ask {
            Ask::Stop => {
                lock(&self.jobs).remove(&id);
                return None;
            }
            Ask::Run(order) => io::pipe().and_then(|(stop, stopper)| {
                lock(&self.jobs).insert(id, stopper);
                let work = move || {
                    job::run(&order, &stop, |report| server.reply(id, Answer::Ended(report)));
                    lock(&server.jobs).remove(&id);
                };
                thread::Builder::new().name("job".into()).spawn(work)
            }),
            Ask::RawSockets(protocol) => {
                let work = move || server.reply(id, Answer::RawSockets(socket_owner::raw_socket_owners(protocol)));
                thread::Builder::new().name("look".into()).spawn(work)
            }
            Ask::Listeners(address) => {
                let work = move || server.reply(id, Answer::Listeners(port_owner::listeners_on(address)));
                thread::Builder::new().name("look".into()).spawn(work)
            }
        };
        match started {
            Ok(thread) => Some(thread),
            Err(error) => {
                lock(&self.jobs).remove(&id);
                let cause =
                    format!("cannot be run: {error}; this machine is short of processes, memory or descriptors");
                let report = Report { outcome: Outcome::Failed(cause), took: Duration::ZERO, last_line: None };
                self.reply(id, Answer::Ended(report));
                None
            }
        }
    }

    /// A daemon that is gone wants no replies.
    fn reply(&self, id: u64, answer: Answer) {
        if let Some(line) = protocol::line(&Reply { id, answer }) {
            let _ = lock(&self.replies).as_ref().write_all(&line);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
