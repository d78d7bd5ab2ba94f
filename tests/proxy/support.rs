//! Servers that echo, clients with addresses of their own, and configurations to start from.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use vipgate::model::{
    Affinity, Check, KeyType, ListenAddress, Pool, PortRange, Server, ServerPort, Service, TableSpec,
};
use vipgate::proxy::{Proxy, Steering};
use vipgate::stats::{EndReason, Registry};

/// An address block of the loopback for one test, so that tests do not meet.
pub(crate) struct Net(u16);

impl Net {
    pub(crate) fn new() -> Self {
        // More than 256 in a run: two that shared one would share their listeners, too.
        static NEXT: AtomicU16 = AtomicU16::new(10);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// One that no other process of this test program has.
    pub(crate) fn of_child() -> Self {
        Self(100 << 8)
    }

    pub(crate) fn ip(&self, host: u8) -> IpAddr {
        let [above, number] = self.0.to_be_bytes();
        Ipv4Addr::new(127, 77 + above, number, host).into()
    }

    pub(crate) fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(host), port)
    }
}

/// A proxy with its counters.
pub(crate) struct Running {
    pub(crate) proxy: Proxy,
    pub(crate) registry: Arc<Registry>,
}

impl Running {
    pub(crate) fn start(service: Service, pool: Pool) -> Self {
        Self::start_all(&[service], &[pool])
    }

    pub(crate) fn start_all(services: &[Service], pools: &[Pool]) -> Self {
        Self::new(services, pools, true)
    }

    /// One whose workers write to one connection after the other.
    pub(crate) fn start_without_ring(service: Service, pool: Pool) -> Self {
        Self::new(&[service], &[pool], false)
    }

    fn new(services: &[Service], pools: &[Pool], io_uring: bool) -> Self {
        let registry = Arc::new(Registry::default());
        let proxy = Proxy::start(2, Arc::clone(&registry), None, io_uring).unwrap();
        let mut running = Self { proxy, registry };
        running.reload(services, pools);
        running
    }

    /// One whose ranges of ports are steered by the kernel; none where that is not permitted.
    pub(crate) fn steered(services: &[Service], pools: &[Pool]) -> Option<Self> {
        let steering = match Steering::open() {
            Ok(steering) => steering,
            Err(error) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "nothing may be skipped here: {error}");
                netns_tests::report::loud(&format!("SKIPPED: needs root and sk_lookup: {error}"));
                return None;
            }
        };
        let registry = Arc::new(Registry::default());
        let mut proxy = Proxy::start(2, Arc::clone(&registry), None, true).unwrap();
        proxy.steer_by(steering);
        let mut running = Self { proxy, registry };
        running.reload(services, pools);
        Some(running)
    }

    pub(crate) fn reload(&mut self, services: &[Service], pools: &[Pool]) {
        let prepared = self.proxy.prepare(services, pools).unwrap();
        self.proxy.commit(prepared);
    }

    pub(crate) fn ended(&self, reason: EndReason) -> u64 {
        self.registry.service("web").ended(reason)
    }

    /// Waits until `count` connections have ended for `reason`.
    pub(crate) fn wait_ended(&self, reason: EndReason, count: u64) {
        eventually(reason.label(), || self.ended(reason) == count);
    }

    pub(crate) fn wait_idle(&self) {
        eventually("no open flow", || self.proxy.open_flows() == 0);
    }
}

pub(crate) fn service(address: SocketAddr) -> Service {
    service_on(address.ip(), address.port(), address.port())
}

pub(crate) fn service_on(address: IpAddr, first: u16, last: u16) -> Service {
    let listen = vec![ListenAddress::new(address, PortRange::new(first, last).unwrap())];
    Service { listen, ..Service::new("web", "pool") }
}

pub(crate) fn pool(servers: &[SocketAddr]) -> Pool {
    let server = |(index, address): (usize, &SocketAddr)| Server {
        port: ServerPort::Fixed(address.port()),
        ..Server::new(format!("s{}", index + 1), address.ip())
    };
    let servers = servers.iter().enumerate().map(server).collect();
    Pool { connect_timeout: Some(Duration::from_secs(3)), ..Pool::new("pool", servers) }
}

/// A check, which nobody makes: the test says what it found.
pub(crate) fn check(target: SocketAddr) -> Check {
    Check::new(target)
}

pub(crate) fn stick() -> Affinity {
    Affinity::Table(TableSpec::new(KeyType::Ipv4, 1000))
}

/// A server that answers each connection with `answer` on a thread of its own.
pub(crate) fn serve(address: SocketAddr, answer: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A test may take every descriptor for a while.
            let Ok(stream) = stream else { continue };
            let answer = answer.clone();
            std::thread::spawn(move || answer(stream));
        }
    });
}

/// A server that says its name first, and then what it hears.
pub(crate) fn serve_named(address: SocketAddr, name: &'static str) {
    serve(address, move |mut stream| {
        let _gone = stream.write_all(name.as_bytes());
        echo(stream);
    });
}

pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _gone = stream.shutdown(Shutdown::Write);
}

/// A connected client that does not wait for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

/// A client with an address of its own.
pub(crate) fn connect_from(from: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    patient(socket.into())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads `N` bytes.
pub(crate) fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// The two letters with which a named server greets.
pub(crate) fn greeting(stream: &mut TcpStream) -> String {
    String::from_utf8(read::<2>(stream).to_vec()).unwrap()
}

/// Clients one after the other, each served before the next one comes, and who served them.
pub(crate) fn connect_each(count: usize, address: SocketAddr) -> (Vec<TcpStream>, Vec<String>) {
    (0..count)
        .map(|_| {
            let mut client = connect(address);
            let server = greeting(&mut client);
            (client, server)
        })
        .unzip()
}

/// Whether the next thing to be read is a reset.
pub(crate) fn is_reset(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 16]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(5), "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes the close of a stream a reset.
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
