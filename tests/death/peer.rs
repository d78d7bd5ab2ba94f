//! Sessions: on the loopback, whose every address is a node, and between namespaces.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netns_tests::lab::Lab;
use netns_tests::lan::Cut;
use netns_tests::node::Node;
use netns_tests::wait;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vipgate::peer::{Link, Listening, News, PeerEvent, Peers};

use crate::{Victim, done, outlive};

/// On a quiet machine. The bound of the whole: the successor waits for its skew, and not 300 ms more.
const NOTICED: Duration = Duration::from_millis(100);
const NOTICED_WHEN_BUSY: Duration = Duration::from_millis(250);
const SOON: Duration = Duration::from_secs(5);

/// Listens for peers: PORT INTERFACE ADDRESS IDLE BUSY (threads) [PEER...]. A line of standard input ends it in order.
pub(crate) fn be(arguments: &[String]) -> ExitCode {
    for _ in 0..arguments[3].parse().unwrap() {
        thread::spawn(|| thread::sleep(Duration::from_secs(3600)));
    }
    for _ in 0..arguments[4].parse().unwrap() {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let (events, _told) = unbounded_channel();
    let peers = Peers::start(arguments[0].parse().unwrap(), events).expect("a thread");
    let expected = arguments[5..].iter().map(|word| word.parse().unwrap()).collect();
    peers.listen([listening(&arguments[1], &arguments[2], expected)]);
    outlive();
    done();
    io::stdin().read_line(&mut String::new()).unwrap();
    peers.stop();
    done();
    thread::sleep(Duration::from_secs(3600));
    ExitCode::SUCCESS
}

fn listening(interface: &str, local: &str, peers: BTreeSet<IpAddr>) -> Listening {
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    Listening { local: local.parse().unwrap(), interface: interface.parse().unwrap(), index, peers }
}

/// Threads of a process beside those of its sessions.
#[derive(Debug, Clone, Copy)]
struct Threads {
    idle: u32,
    busy: u32,
}

const NONE: Threads = Threads { idle: 0, busy: 0 };
const MANY: Threads = Threads { idle: 64, busy: 0 };
/// As of a daemon under load on a machine with two cores.
const WORKING: Threads = Threads { idle: 8, busy: 2 };

fn arguments(port: u16, interface: &str, local: &str, threads: Threads) -> Vec<String> {
    let Threads { idle, busy } = threads;
    let words: [&dyn ToString; 6] = [&"be-peer", &port, &interface, &local, &idle, &busy];
    words.iter().map(|word| word.to_string()).collect()
}

fn on_loopback(port: u16, local: &str, threads: Threads) -> Victim {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments(port, "lo", local, threads));
    Victim::start(command)
}

fn link(interface: &str, local: &str, peer: &str) -> Link {
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let interface = interface.parse().unwrap();
    Link { peer: peer.parse().unwrap(), local: local.parse().unwrap(), interface, index }
}

/// A port nobody has.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A follower and what it was told.
struct Follower {
    peers: Peers,
    told: UnboundedReceiver<PeerEvent>,
}

impl Follower {
    fn new(port: u16, link: Link) -> Self {
        let (events, told) = unbounded_channel();
        let peers = Peers::start(port, events).unwrap();
        peers.follow(BTreeSet::from([link]));
        Self { peers, told }
    }

    fn within(&mut self, limit: Duration) -> Option<News> {
        let begun = Instant::now();
        loop {
            match self.told.try_recv() {
                Ok(event) => return Some(event.news),
                Err(_) if begun.elapsed() > limit => return None,
                Err(_) => thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, news: News) {
        assert_eq!(self.within(SOON), Some(news));
    }

    #[track_caller]
    fn expect_silence(&mut self, limit: Duration) {
        assert_eq!(self.within(limit), None);
    }
}

/// Kills a peer again and again; how long it took to be noticed at the longest.
fn kill_often(threads: Threads) -> Duration {
    let port = free_port();
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let mut victim = on_loopback(port, "127.0.0.2", threads);
        let mut follower = Follower::new(port, link("lo", "127.0.0.1", "127.0.0.2"));
        follower.expect(News::Connected);
        let begun = Instant::now();
        victim.kill();
        follower.expect(News::Died);
        longest = longest.max(begun.elapsed());
        follower.expect_silence(Duration::from_millis(20));
        follower.peers.stop();
    }
    longest
}

pub(crate) fn death_is_noticed_at_once() {
    for threads in [NONE, MANY, WORKING] {
        let longest = kill_often(threads);
        println!("    {threads:?}: noticed after {:.1} ms at the longest", longest.as_secs_f64() * 1e3);
        assert!(longest < NOTICED, "{longest:?}");
    }
}

pub(crate) fn death_is_noticed_on_a_busy_machine() {
    let over = Arc::<AtomicBool>::default();
    let hogs: Vec<_> = (0..2 * thread::available_parallelism().unwrap().get())
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    let longest = [NONE, MANY, WORKING].map(kill_often);
    over.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    println!("    all cores busy twice over: noticed after {longest:.1?} at the longest (no threads, many, working)");
    assert!(longest.iter().all(|longest| *longest < NOTICED_WHEN_BUSY), "{longest:?}");
}

pub(crate) fn orderly_end_is_no_death() {
    let port = free_port();
    let mut victim = on_loopback(port, "127.0.0.2", NONE);
    let mut follower = Follower::new(port, link("lo", "127.0.0.1", "127.0.0.2"));
    follower.expect(News::Connected);
    victim.tell("stop");
    follower.expect(News::Gone);
    victim.kill();
    follower.expect_silence(Duration::from_millis(300));
}

pub(crate) fn who_refuses_from_the_beginning_is_not_dead() {
    let port = free_port();
    let mut follower = Follower::new(port, link("lo", "127.0.0.1", "127.0.0.2"));
    follower.expect_silence(Duration::from_millis(1500));
    // It is tried again: a peer that comes later is found.
    let _victim = on_loopback(port, "127.0.0.2", NONE);
    follower.expect(News::Connected);
}

/// A peer of whose every word the test decides.
struct Puppet(TcpListener);

impl Puppet {
    fn greet(&self, instance: u64) -> TcpStream {
        let (mut stream, _) = self.0.accept().unwrap();
        writeln!(stream, "vipgate-peer 1 {instance:016x} 0.0.0").unwrap();
        stream
    }
}

pub(crate) fn what_becomes_of_a_session_tells_death_from_less() {
    let puppet = Puppet(TcpListener::bind(("127.0.0.3", 0)).unwrap());
    let mut follower = Follower::new(puppet.0.local_addr().unwrap().port(), link("lo", "127.0.0.1", "127.0.0.3"));
    let first = puppet.greet(1);
    follower.expect(News::Connected);
    // The session was ended by somebody: the process is the same.
    drop(first);
    let mut again = puppet.greet(1);
    follower.expect_silence(Duration::from_millis(300));
    // Words of a later version.
    again.write_all(b"weather fair\n").unwrap();
    follower.expect_silence(Duration::from_millis(100));
    // The process was replaced within milliseconds.
    drop(again);
    let mut other = puppet.greet(2);
    follower.expect(News::Died);
    follower.expect(News::Connected);
    // Nonsense without end is cut off, and is no death.
    other.set_write_timeout(Some(SOON)).unwrap();
    while other.write_all(&[b'x'; 1024]).is_ok() {}
    let other = puppet.greet(2);
    follower.expect_silence(Duration::from_millis(300));
    // Nobody greets: the process may be stuck, but is not dead.
    other.shutdown(Shutdown::Both).unwrap();
    follower.expect(News::Gone);
}

pub(crate) fn strangers_are_bounded() {
    let port = free_port();
    let _victim = on_loopback(port, "127.0.0.2", NONE);
    // With the TTL of a neighbour.
    let open = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_ttl_v4(255).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 2], port)).into()).map(|()| TcpStream::from(socket))
    };
    wait::until_true("the peer listens", SOON, || open().is_ok());
    let first_word = |stream: &mut TcpStream| {
        let mut begin = [0; 5];
        stream.read_exact(&mut begin).unwrap();
        String::from_utf8_lossy(&begin).into_owned()
    };
    let mut streams: Vec<TcpStream> = (0..70).map(|_| open().unwrap()).collect();
    let words: Vec<String> = streams.iter_mut().map(first_word).collect();
    assert_eq!(words.iter().filter(|word| *word == "vipga").count(), 64);
    assert_eq!(words.iter().filter(|word| *word == "busy\n").count(), 6);
    // Who talks loses the place to others.
    streams.truncate(1);
    streams[0].write_all(&[b'x'; 1000]).unwrap();
    let mut rest = Vec::new();
    let _ = streams[0].read_to_end(&mut rest);
    let mut follower = Follower::new(port, link("lo", "127.0.0.1", "127.0.0.2"));
    follower.expect(News::Connected);
}

fn victim(node: &Node, interface: &str, local: &str, peers: &[&str]) -> Victim {
    let this: PathBuf = std::env::current_exe().unwrap();
    let mut command = node.command(this);
    command.args(arguments(11_200, interface, local, NONE)).args(peers);
    Victim::start(command)
}

fn follower(node: &Node, local: &str, peer: &str) -> Follower {
    node.exec_in(|| Follower::new(11_200, link("eth0", local, peer)))
}

fn link_local(node: &Node) -> String {
    let shown = node.run("ip -6 -br addr show dev eth0 scope link");
    shown.split_whitespace().find(|word| word.starts_with("fe80")).unwrap().trim_end_matches("/64").to_owned()
}

pub(crate) fn nodes_of_a_segment_notice_each_others_death() {
    let lab = Lab::new();
    let lan = lab.lan("lan");
    let (a, b) = (lab.node("a"), lab.node("b"));
    lan.attach(&a, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]);
    let cable = lan.attach(&b, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]);
    let (one, two) = (link_local(&a), link_local(&b));
    for (local, peer) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1"), (two.as_str(), one.as_str())] {
        let mut killed = victim(&a, "eth0", peer, &[]);
        let mut told = follower(&b, local, peer);
        told.expect(News::Connected);
        let begun = Instant::now();
        killed.kill();
        told.expect(News::Died);
        let took = begun.elapsed();
        println!("    {peer}: noticed after {:.1} ms", took.as_secs_f64() * 1e3);
        assert!(took < NOTICED, "{took:?}");
    }

    // A cut cable is no death; that the process died meanwhile is known once the cable is mended.
    let mut killed = victim(&a, "eth0", "192.0.2.1", &[]);
    let mut told = follower(&b, "192.0.2.2", "192.0.2.1");
    told.expect(News::Connected);
    cable.cut(Cut::Silent);
    killed.kill();
    told.expect_silence(Duration::from_millis(1500));
    cable.restore();
    assert_eq!(told.within(Duration::from_secs(10)), Some(News::Died));
}

pub(crate) fn only_neighbours_and_named_peers_have_sessions() {
    let lab = Lab::new();
    let (near, far) = (lab.lan("near"), lab.lan("far"));
    let (a, router, b) = (lab.node("a"), lab.node("router"), lab.node("b"));
    near.attach(&a, "eth0", &["192.0.2.1/24"]);
    near.attach(&router, "eth0", &["192.0.2.254/24"]);
    far.attach(&router, "eth1", &["198.51.100.254/24"]);
    far.attach(&b, "eth0", &["198.51.100.2/24"]);
    router.sysctl("net/ipv4/ip_forward", "1");
    a.ip("route add default via 192.0.2.254");
    b.ip("route add default via 198.51.100.254");
    let from_afar = || follower(&b, "198.51.100.2", "192.0.2.1");
    {
        let _for_neighbours = victim(&a, "eth0", "192.0.2.1", &[]);
        from_afar().expect_silence(Duration::from_millis(1500));
        follower(&router, "192.0.2.254", "192.0.2.1").expect(News::Connected);
    }
    {
        let _for_another = victim(&a, "eth0", "192.0.2.1", &["198.51.100.3"]);
        from_afar().expect_silence(Duration::from_millis(1500));
    }
    let mut for_this_one = victim(&a, "eth0", "192.0.2.1", &["198.51.100.2"]);
    let mut told = from_afar();
    told.expect(News::Connected);
    for_this_one.kill();
    told.expect(News::Died);
}
