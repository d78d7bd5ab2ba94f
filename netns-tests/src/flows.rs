//! Long-lived connections: which of them an event ended, when, and whether their owner was told.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::wait::try_until;

/// A flow whose echo has not come for so long hangs.
pub const HANGING: Duration = Duration::from_millis(800);

/// A set of flows, each sending a byte now and then.
#[derive(Debug)]
pub struct Flows {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    flows: Mutex<Vec<Flow>>,
}

/// One flow.
#[derive(Debug, Clone)]
pub struct Flow {
    /// The client's address.
    pub source: Option<IpAddr>,
    /// The server that answered.
    pub server: String,
    /// When a byte came back last.
    pub answered: Instant,
    /// The longest wait for a byte's echo.
    pub longest_wait: Duration,
    /// How it ended, and when; none if it has not.
    pub end: Option<(End, Instant)>,
    sent: u64,
    received: u64,
    /// When the oldest byte not yet echoed was sent.
    waiting_since: Option<Instant>,
}

/// How a flow ended, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Reset.
    Reset,
    /// Closed in order.
    Closed,
    /// Another error.
    Failed,
}

/// The state of all flows at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Alive and answering.
    pub alive: usize,
    /// Ended by a reset: their owners know.
    pub reset: usize,
    /// Ended by an orderly close: their owners know.
    pub closed: usize,
    /// Ended by another error.
    pub failed: usize,
    /// Neither ended nor answering: their owners wait.
    pub hanging: usize,
}

impl Flows {
    /// Opens `count` flows from `node` through `targets` and `sources` in turn; each sends a byte every `pace`.
    #[track_caller]
    pub fn open(node: &Node, targets: &[SocketAddr], sources: &[IpAddr], count: usize, pace: Duration) -> Self {
        let mut flows = Vec::new();
        let mut streams = Vec::new();
        for index in 0..count {
            let source = sources.get(index % sources.len().max(1)).copied();
            let target = targets[index % targets.len()];
            let opened = open_one(node, source, target);
            let (stream, server) = opened.unwrap_or_else(|error| panic!("flow {index} to {target}: {error}"));
            streams.push(stream);
            flows.push(Flow {
                source,
                server,
                answered: Instant::now(),
                longest_wait: Duration::ZERO,
                end: None,
                sent: 0,
                received: 0,
                waiting_since: None,
            });
        }
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), flows: Mutex::new(flows) });
        let inside = Arc::clone(&shared);
        let thread = node.thread("flows", move || inside.run(streams.into_iter().map(Some).collect(), pace));
        Self { shared, thread: Some(thread) }
    }

    /// Every flow as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Flow> {
        self.shared.flows().clone()
    }

    /// How many flows are in which state now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let now = Instant::now();
        let mut tally = Tally::default();
        for flow in self.shared.flows().iter() {
            match flow.end {
                Some((End::Reset, _)) => tally.reset += 1,
                Some((End::Closed, _)) => tally.closed += 1,
                Some((End::Failed, _)) => tally.failed += 1,
                None if flow.waiting_since.is_some_and(|since| now - since > HANGING) => tally.hanging += 1,
                None => tally.alive += 1,
            }
        }
        tally
    }

    /// Waits until no flow hangs, or `limit`: a client that sends into an address that moved learns it by a reset.
    pub fn settle(&self, limit: Duration) -> Tally {
        let _ = try_until(limit, || (self.tally().hanging == 0).then_some(()));
        self.tally()
    }

    /// Alive flows by server.
    #[must_use]
    pub fn by_server(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for flow in self.shared.flows().iter().filter(|flow| flow.end.is_none()) {
            *counts.entry(flow.server.clone()).or_default() += 1;
        }
        counts
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Tally {
    /// Flows that did not survive.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.reset + self.closed + self.failed + self.hanging
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} alive", self.alive)?;
        let others =
            [(self.reset, "reset"), (self.closed, "closed"), (self.failed, "failed"), (self.hanging, "hanging")];
        for (count, what) in others.into_iter().filter(|&(count, _)| count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

/// Opens one and learns its server's name.
fn open_one(node: &Node, source: Option<IpAddr>, target: SocketAddr) -> io::Result<(TcpStream, String)> {
    let mut stream = node.connect_from(source, target, Duration::from_secs(5))?;
    stream.write_all(b"\n")?;
    let mut text = Vec::new();
    let mut byte = [0];
    // The name's line, then the echoed line feed.
    while text.iter().filter(|&&byte| byte == b'\n').count() < 2 {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.push(byte[0]);
    }
    stream.set_nonblocking(true)?;
    let name = String::from_utf8_lossy(&text).split(':').next().unwrap_or_default().to_owned();
    Ok((stream, name))
}

impl Shared {
    fn flows(&self) -> MutexGuard<'_, Vec<Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut streams: Vec<Option<TcpStream>>, pace: Duration) {
        const LOOK: Duration = Duration::from_millis(2);
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let send = now >= next;
            if send {
                next = now + pace;
            }
            for (flow, place) in self.flows().iter_mut().zip(&mut streams) {
                if let Some(stream) = place
                    && let Err(end) = flow.step(stream, send, now)
                {
                    flow.end = Some((end, now));
                    // As its owner would: a half-closed flow is not left lying about.
                    *place = None;
                }
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Flow {
    fn step(&mut self, stream: &mut TcpStream, send: bool, now: Instant) -> Result<(), End> {
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(End::Closed),
                Ok(count) => {
                    self.received += count as u64;
                    self.answered = now;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return Err(End::Reset),
                    _ => return Err(End::Failed),
                },
            }
        }
        if let Some(since) = self.waiting_since {
            self.longest_wait = self.longest_wait.max(now - since);
        }
        if self.received == self.sent {
            self.waiting_since = None;
        }
        if send {
            match stream.write(b".") {
                Ok(count) => {
                    self.sent += count as u64;
                    self.waiting_since.get_or_insert(now);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return Err(End::Reset),
                    _ => return Err(End::Failed),
                },
            }
        }
        Ok(())
    }
}
