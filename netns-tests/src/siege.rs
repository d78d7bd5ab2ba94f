//! Clients that mean no good, and the client beside them that must not notice.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::node::Node;

const LIMIT: Duration = Duration::from_secs(5);
/// Hostile clients pause for so long between two deeds: they are to be many, not to have every core.
const PACE: Duration = Duration::from_millis(4);
/// From one byte of a connection to the next.
const TRICKLE: Duration = Duration::from_millis(20);
/// Half-open handshakes begun at a time.
const VOLLEY: u16 = 20;

/// The protocol number of sockets whose packets bring their own IP header (IPPROTO_RAW).
const RAW: i32 = 255;

/// A siege: what its clients hold open, and the threads that go on. Dropped, half of what is held is reset and half is
/// closed in order.
#[derive(Debug)]
pub struct Siege {
    held: Vec<TcpStream>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

/// A point in the life of a connection at which its client resets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the handshake is over.
    Handshake,
    /// As soon as it is.
    Established,
    /// With bytes sent and no answer read.
    Asked,
    /// With an answer that is too long half read.
    Answered,
    /// After it ended its own half.
    HalfClosed,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] = [Self::Handshake, Self::Established, Self::Asked, Self::Answered, Self::HalfClosed];
}

impl Siege {
    /// Holds `count` connections to `targets` in turn, on each of which `words` were said and nothing is ever read. Fails
    /// when one cannot be had.
    pub fn hold(node: &Node, targets: &[SocketAddr], count: usize, words: &[u8]) -> io::Result<Self> {
        let one = |turn: usize| say(targets[turn % targets.len()], words);
        let held = node.exec_in(|| (0..count).map(one).collect::<io::Result<_>>());
        Ok(Self { held: held?, stop: Arc::default(), threads: Vec::new() })
    }

    /// Begins handshakes that are never finished, from addresses of `network` that nobody has, without end.
    #[must_use]
    pub fn half_open(node: &Node, target: SocketAddrV4, network: [u8; 3]) -> Self {
        Self::go_on(node, move |stop| {
            let Ok(socket) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))) else { return 0 };
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..VOLLEY {
                    let source = Ipv4Addr::new(network[0], network[1], network[2], 240 + (sent % 10) as u8);
                    let port = 1024 + (sent % 60_000) as u16;
                    let syn = syn(SocketAddrV4::new(source, port), target);
                    sent += u64::from(socket.send_to(&syn, &target.into()).is_ok());
                }
                std::thread::sleep(PACE);
            }
            sent
        })
    }

    /// Opens `count` connections and says `words` on each of them byte by byte, again and again.
    pub fn trickle(node: &Node, target: SocketAddr, count: usize, words: &'static [u8]) -> io::Result<Self> {
        let mut streams: Vec<TcpStream> =
            node.exec_in(|| (0..count).map(|_| say(target, &[])).collect::<io::Result<_>>())?;
        Ok(Self::go_on(node, move |stop| {
            let mut said = 0;
            for byte in words.iter().cycle() {
                for stream in &mut streams {
                    if stop.load(Ordering::Relaxed) {
                        return said;
                    }
                    if stream.write(&[*byte]).is_err() {
                        // Turned away: it comes again.
                        let Ok(again) = say(target, &[]) else { continue };
                        *stream = again;
                    }
                    said += 1;
                }
                std::thread::sleep(TRICKLE);
            }
            said
        }))
    }

    /// Connects to `targets` in turn, says `words` and resets the connection, at each stage in turn, without end.
    #[must_use]
    pub fn resets(node: &Node, targets: &[SocketAddr], words: &'static [u8]) -> Self {
        let targets = targets.to_vec();
        Self::go_on(node, move |stop| {
            let mut done = 0;
            for (turn, stage) in Stage::ALL.iter().cycle().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                done += u64::from(reset_at(*stage, targets[turn / Stage::ALL.len() % targets.len()], words).is_ok());
                std::thread::sleep(PACE);
            }
            done
        })
    }

    /// Ends it and says how much its threads did.
    pub fn end(mut self) -> u64 {
        self.finish()
    }

    fn go_on(node: &Node, work: impl FnOnce(&AtomicBool) -> u64 + Send + 'static) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let inside = Arc::clone(&stop);
        let thread = node.thread("siege", move || work(&inside));
        Self { held: Vec::new(), stop, threads: vec![thread] }
    }

    fn finish(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.threads.drain(..).map(|thread| thread.join().unwrap_or(0)).sum();
        for (turn, stream) in self.held.drain(..).enumerate() {
            if turn % 2 == 0 {
                reset(stream);
            }
        }
        done
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Connects and echoes a line, `count` times one after the other: how long each took. Fails when one failed.
pub fn round_trips(node: &Node, target: SocketAddr, count: usize) -> io::Result<Vec<Duration>> {
    node.exec_in(|| {
        let once = |_| {
            let begun = Instant::now();
            let mut stream = say(target, b"x\n")?;
            let mut buffer = [0; 64];
            let mut lines = 0;
            // The server's name, then the echo.
            while lines < 2 {
                let count = stream.read(&mut buffer)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                lines += buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
            }
            Ok(begun.elapsed())
        };
        (0..count).map(once).collect()
    })
}

/// Resets a connection.
pub fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// In this namespace: a new connection on which `words` were said.
pub fn say(target: SocketAddr, words: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(words)?;
    Ok(stream)
}

fn reset_at(stage: Stage, target: SocketAddr, words: &[u8]) -> io::Result<()> {
    if stage == Stage::Handshake {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
        // It is under way, and nobody waits for it.
        let _ = socket.connect(&target.into());
        return Ok(());
    }
    let mut stream = say(target, if stage == Stage::Established { b"" } else { words })?;
    match stage {
        Stage::Answered => _ = stream.read(&mut [0; 4096])?,
        Stage::HalfClosed => stream.shutdown(Shutdown::Write)?,
        Stage::Handshake | Stage::Established | Stage::Asked => {}
    }
    reset(stream);
    Ok(())
}

/// A first segment, with its IP header.
fn syn(from: SocketAddrV4, to: SocketAddrV4) -> [u8; 40] {
    let mut packet = [0; 40];
    let (ip, tcp) = packet.split_at_mut(20);
    // Version 4 with 5 words of header; 40 bytes; don't fragment; TTL 64; TCP. The kernel fills the checksum in.
    ip[..10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
    ip[12..16].copy_from_slice(&from.ip().octets());
    ip[16..20].copy_from_slice(&to.ip().octets());
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    // 5 words of header; SYN; a window.
    tcp[12..16].copy_from_slice(&[0x50, 0x02, 0x20, 0]);
    // The pseudo-header: both addresses, the protocol, the length.
    let words = ip[12..20].chunks(2).chain(tcp.chunks(2));
    let mut sum: u32 = 6 + 20 + words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    tcp[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet
}
