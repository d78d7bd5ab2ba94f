//! Load: connections that come, carry bytes both ways and go, and programs that do nothing but compute.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::process::Process;

const LIMIT: Duration = Duration::from_secs(5);
/// Bytes a connection has echoed at a time.
const BLOCK: usize = 64 * 1024;
/// Blocks a connection carries before the next one comes.
const BLOCKS: usize = 16;

/// Traffic and hogs, until dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    _hogs: Vec<Process>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicU64,
    bytes: AtomicU64,
}

/// What a load has carried so far.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// Connections that ended well.
    pub connections: u64,
    /// Bytes echoed.
    pub bytes: u64,
}

impl Load {
    /// So many `clients` on `node`, each with one connection after the other to `targets` in turn, and a program that
    /// only computes on each node of `hogs`.
    #[must_use]
    #[track_caller]
    pub fn start(node: &Node, targets: &[SocketAddr], clients: usize, hogs: &[Node]) -> Self {
        let shared = Arc::<Shared>::default();
        let hogs = hogs.iter().map(|node| node.spawn("hog", node.command("sh").args(["-c", "while :; do :; done"])));
        let hogs = hogs.collect();
        let client = |first: usize| {
            let (inside, node_too, targets) = (Arc::clone(&shared), node.clone(), targets.to_vec());
            node.thread("load", move || inside.run(&node_too, &targets, first))
        };
        let threads = (0..clients).map(client).collect();
        Self { shared, threads, _hogs: hogs }
    }

    /// What it has carried so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let [connections, bytes] = [&self.shared.connections, &self.shared.bytes].map(|n| n.load(Ordering::Relaxed));
        Carried { connections, bytes }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, node: &Node, targets: &[SocketAddr], first: usize) {
        let mut turn = first;
        while !self.stop.load(Ordering::Relaxed) {
            match self.one(node, targets[turn % targets.len()]) {
                Ok(()) => drop(self.connections.fetch_add(1, Ordering::Relaxed)),
                // Whoever cannot be reached is not hammered.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
            turn += 1;
        }
    }

    fn one(&self, node: &Node, target: SocketAddr) -> io::Result<()> {
        let mut stream = node.connect_from(None, target, LIMIT)?;
        stream.write_all(b"\n")?;
        let block = vec![b'x'; BLOCK];
        let mut buffer = vec![0; BLOCK];
        // The server's name, then the echoed line feed.
        let mut lines = 0;
        while lines < 2 {
            let count = read_some(&mut stream, &mut buffer)?;
            lines += buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
        }
        for _ in 0..BLOCKS {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            stream.write_all(&block)?;
            stream.read_exact(&mut buffer)?;
            self.bytes.fetch_add(BLOCK as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// How busy all cores together are, from its making on.
#[derive(Debug)]
pub struct Busy {
    idle: Duration,
    begun: Instant,
}

impl Busy {
    /// Starts to measure.
    #[must_use]
    pub fn watch() -> Self {
        Self { idle: idle_time(), begun: Instant::now() }
    }

    /// The share of the time that no core was idle in, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let idle = idle_time().saturating_sub(self.idle).as_secs_f64();
        1.0 - idle / (self.begun.elapsed().as_secs_f64() * cores)
    }
}

/// What all cores together idled since the machine's start (proc(5): `cpu`, fields 4 and 5, in hundredths of a second).
fn idle_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default().split_whitespace().skip(4).take(2);
    Duration::from_millis(all.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10)
}
