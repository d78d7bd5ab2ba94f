//! Silence as a client sees it: a new TCP connection every millisecond, one line echoed through it, and when that failed.

mod report;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket2::{Domain, Socket, Type};

use crate::node::Node;
use crate::wait::until_true;

pub use report::{Attempt, Outcome, Report};

/// The client's pace.
pub const PERIOD: Duration = Duration::from_millis(1);
/// An echo later than this is a failure: shorter than TCP's first retransmission (1 s), so that a lost SYN counts.
pub const PATIENCE: Duration = Duration::from_millis(150);
/// Key of the pacing timer among the sockets.
const TICK: u64 = u64::MAX;
const LINE: &[u8] = b"x\n";

/// The client, until stopped or dropped.
#[derive(Debug)]
pub struct Silence {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    samples: Mutex<Samples>,
}

/// What the client saw so far. Ends are not in the order of starts.
#[derive(Debug)]
struct Samples {
    /// The client sends and never waits for a reader.
    news: Receiver<News>,
    attempts: Vec<Attempt>,
    servers: Vec<String>,
}

#[derive(Debug)]
enum News {
    Attempt(Attempt),
    Server(String),
}

impl Silence {
    /// Starts a client on `node` that goes through `targets` and `sources` (none: the node's own choice) in turn.
    #[track_caller]
    pub fn start(node: &Node, targets: &[SocketAddr], sources: &[IpAddr]) -> Self {
        let (sender, news) = mpsc::channel();
        let samples = Samples { news, attempts: Vec::new(), servers: Vec::new() };
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), samples: Mutex::new(samples) });
        node.sysctl("net/ipv4/ip_local_port_range", "1024 65535");
        let client = Client {
            shared: Arc::clone(&shared),
            news: sender,
            servers: Vec::new(),
            targets: with_address_index(targets),
            sources: sources.to_vec(),
            open: HashMap::new(),
            order: VecDeque::new(),
            launched: 0,
        };
        let thread = node.thread("silence", move || client.run());
        Self { shared, thread: Some(thread) }
    }

    /// Waits until the last `count` attempts all succeeded.
    #[track_caller]
    pub fn wait_steady(&self, count: usize, limit: Duration) {
        until_true(format_args!("{count} echoes in a row"), limit, || {
            let samples = self.shared.samples();
            let last = samples.attempts.iter().rev().take(count);
            last.clone().count() == count && last.into_iter().all(Attempt::succeeded)
        });
    }

    /// Waits until an attempt that began after `event` succeeded and `calm` passed since without a failure.
    #[track_caller]
    pub fn wait_recovered(&self, event: Instant, calm: Duration, limit: Duration) {
        until_true("new connections to succeed again", limit, || {
            let now = Instant::now();
            let samples = self.shared.samples();
            let recent = samples.attempts.iter().rev().take_while(|attempt| now - attempt.start < calm + PATIENCE);
            let recent: Vec<&Attempt> = recent.filter(|attempt| attempt.start > event).collect();
            now - event > calm + PATIENCE && !recent.is_empty() && recent.iter().all(|attempt| attempt.succeeded())
        });
    }

    /// What happened to the attempts begun from `from` to `to`.
    #[must_use]
    pub fn report(&self, from: Instant, to: Instant) -> Report {
        let samples = self.shared.samples();
        let attempts =
            samples.attempts.iter().copied().filter(|attempt| (from..=to).contains(&attempt.start)).collect();
        Report::new(attempts, samples.servers.clone())
    }

    /// What happened from `from` until the last attempt that must have ended by now.
    #[must_use]
    pub fn report_since(&self, from: Instant) -> Report {
        self.report(from, Instant::now() - PATIENCE)
    }

    /// Attempts that have ended so far, from the `from`th on: for a live view.
    #[must_use]
    pub fn attempts_from(&self, from: usize) -> (Vec<Attempt>, Vec<String>) {
        let samples = self.shared.samples();
        (samples.attempts.get(from..).unwrap_or_default().to_vec(), samples.servers.clone())
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn samples(&self) -> MutexGuard<'_, Samples> {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(news) = samples.news.try_recv() {
            match news {
                News::Attempt(attempt) => samples.attempts.push(attempt),
                News::Server(name) => samples.servers.push(name),
            }
        }
        samples
    }
}

struct Client {
    shared: Arc<Shared>,
    news: Sender<News>,
    servers: Vec<String>,
    targets: Vec<(SocketAddr, usize)>,
    sources: Vec<IpAddr>,
    open: HashMap<u64, Open>,
    order: VecDeque<u64>,
    launched: u64,
}

struct Open {
    stream: TcpStream,
    start: Instant,
    address: usize,
    asked: bool,
    answer: Vec<u8>,
}

impl Client {
    fn run(mut self) {
        prefer_this_thread();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK).expect("timerfd");
        // An interval timer keeps absolute deadlines: a late wake-up shifts nothing.
        timer.set(Expiration::Interval(TimeSpec::from_duration(PERIOD)), TimerSetTimeFlags::empty()).expect("timerfd");
        epoll.add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TICK)).expect("epoll");
        let mut events = [EpollEvent::empty(); 256];
        while !self.shared.stop.load(Ordering::Relaxed) {
            let ready = epoll.wait(&mut events, EpollTimeout::from(50u8)).unwrap_or(0);
            let mut tick = false;
            for event in &events[..ready] {
                if event.data() == TICK {
                    tick = timer.wait().is_ok();
                } else {
                    self.advance(event.data());
                }
            }
            if tick {
                // Slots missed while this thread did not run are not made up for: they would come as a burst.
                self.give_up_old();
                self.launch(&epoll);
            }
        }
    }

    fn launch(&mut self, epoll: &Epoll) {
        let id = self.launched;
        self.launched += 1;
        let start = Instant::now();
        let turn = usize::try_from(id).unwrap_or(0);
        let (target, address) = self.targets[turn % self.targets.len()];
        let source = self.sources.get(turn % self.sources.len().max(1)).copied();
        match begin(epoll, id, target, source) {
            Ok(stream) => {
                self.open.insert(id, Open { stream, start, address, asked: false, answer: Vec::new() });
                self.order.push_back(id);
            }
            Err(error) => self.record(start, address, classify(&error)),
        }
    }

    fn advance(&mut self, id: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let outcome = match open.step() {
            Ok(None) => return,
            Ok(Some(name)) => Outcome::Echoed(self.server_index(name)),
            Err(error) => classify(&error),
        };
        if let Some(open) = self.open.remove(&id) {
            self.record(open.start, open.address, outcome);
        }
    }

    fn server_index(&mut self, name: String) -> usize {
        match self.servers.iter().position(|known| *known == name) {
            Some(index) => index,
            None => {
                self.servers.push(name.clone());
                let _ = self.news.send(News::Server(name));
                self.servers.len() - 1
            }
        }
    }

    fn give_up_old(&mut self) {
        let now = Instant::now();
        while let Some(&id) = self.order.front() {
            match self.open.get(&id) {
                Some(open) if now - open.start <= PATIENCE => return,
                Some(open) => {
                    let (start, address) = (open.start, open.address);
                    self.open.remove(&id);
                    self.record(start, address, Outcome::Timeout);
                }
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn record(&self, start: Instant, address: usize, outcome: Outcome) {
        let took = start.elapsed();
        let outcome = if took > PATIENCE { Outcome::Timeout } else { outcome };
        let _ = self.news.send(News::Attempt(Attempt { start, took, address, outcome }));
    }
}

fn begin(epoll: &Epoll, id: u64, target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll.add(&socket, EpollEvent::new(flags, id))?;
    Ok(socket.into())
}

/// Each target with the number of its address among the different ones.
fn with_address_index(targets: &[SocketAddr]) -> Vec<(SocketAddr, usize)> {
    let mut known: Vec<IpAddr> = Vec::new();
    let mut index = |address: IpAddr| {
        known.iter().position(|&seen| seen == address).unwrap_or_else(|| {
            known.push(address);
            known.len() - 1
        })
    };
    targets.iter().map(|&target| (target, index(target.ip()))).collect()
}

impl Open {
    /// The server's name once the echo is complete.
    fn step(&mut self) -> io::Result<Option<String>> {
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.write(LINE) {
                Ok(count) if count == LINE.len() => self.asked = true,
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 256];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if let Some(first) = self.answer.iter().position(|&byte| byte == b'\n')
                && self.answer[first + 1..] == *LINE
            {
                let name = self.answer[..first].split(|&byte| byte == b':').next().unwrap_or_default();
                return Ok(Some(String::from_utf8_lossy(name).into_owned()));
            }
        }
        Ok(None)
    }
}

fn classify(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Outcome::Reset,
        io::ErrorKind::UnexpectedEof => Outcome::Closed,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outcome::Unreachable,
        io::ErrorKind::TimedOut => Outcome::Timeout,
        _ => Outcome::Other,
    }
}

/// The instrument must not wait behind what it measures. Without the privilege it measures a little worse, and says so
/// as its own pause.
pub(crate) fn prefer_this_thread() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("chrt").args(["--rr", "--pid", "2", &thread]).output();
}
