//! The fence between two nodes, `a` with the addresses and `b` that asks for them.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netns_tests::lab::Lab;
use netns_tests::node::Node;
use socket2::{Domain, Protocol, Socket, Type};
use vipgate::fence::{self, Fence, FenceError, FenceName};

use crate::{Victim, done, outlive};

const VIPS: [&str; 2] = ["192.0.2.100", "2001:db8::100"];

/// Holds a fence for a run directory; each line of standard input is a new list of addresses.
pub(crate) fn hold(arguments: &[String]) -> ExitCode {
    let mut fence = Fence::open(FenceName::new(Path::new(&arguments[0]))).expect("a fence");
    outlive();
    done();
    for line in io::stdin().lines() {
        let addresses: BTreeSet<IpAddr> = line.unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
        fence.set(&addresses).expect("addresses are fenced");
        done();
    }
    ExitCode::SUCCESS
}

struct Pair {
    lab: Lab,
    a: Node,
    b: Node,
}

impl Pair {
    fn new() -> Self {
        let lab = Lab::new();
        let (a, b) = (lab.node("a"), lab.node("b"));
        let lan = lab.lan("lan");
        lan.attach(&a, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]);
        lan.attach(&b, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]);
        a.ip("addr add 192.0.2.100/32 dev eth0\naddr add 2001:db8::100/128 dev eth0 nodad");
        // Every question is answered by `port unreachable`, however many there are.
        a.sysctl("net/ipv4/icmp_ratelimit", "0");
        a.sysctl("net/ipv4/icmp_msgs_per_sec", "100000");
        a.sysctl("net/ipv4/icmp_msgs_burst", "100000");
        a.sysctl("net/ipv6/icmp/ratelimit", "0");
        Self { lab, a, b }
    }

    fn run_dir(&self) -> PathBuf {
        self.lab.dir().join("run")
    }

    fn name(&self) -> FenceName {
        FenceName::new(&self.run_dir())
    }

    fn holder(&self, run_dir: &Path) -> Victim {
        let mut command = self.a.command(std::env::current_exe().unwrap());
        command.arg("hold-fence").arg(run_dir);
        Victim::start(command)
    }

    /// Whether `a` answers `b` for the address within 50 ms: with its port closed, the kernel itself says so.
    fn answers(&self, address: &str) -> bool {
        self.b.exec_in(|| question(address, Duration::from_millis(50)))
    }

    /// The same, but `b` has to find the address on the segment first.
    fn is_found(&self, address: &str) -> bool {
        self.b.run("ip neigh flush dev eth0");
        self.b.exec_in(|| question(address, Duration::from_millis(200)))
    }

    /// Whether `b` knows where the address is.
    fn is_resolved(&self, address: &str) -> bool {
        self.b.run(&format!("ip neigh show {address} dev eth0")).contains("lladdr")
    }

    fn cleanup(&self) {
        let name = self.name();
        self.a.exec_in(|| fence::cleanup(&name)).expect("the tables are removed");
    }
}

fn question(address: &str, patience: Duration) -> bool {
    let address: IpAddr = address.parse().unwrap();
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect((address, 9)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    if let Err(error) = socket.send(b"?") {
        return error.kind() == io::ErrorKind::ConnectionRefused;
    }
    socket.recv(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn connect(node: &Node, address: SocketAddr) -> io::Result<TcpStream> {
    node.exec_in(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)))
}

pub(crate) fn killed_node_is_silent_for_its_addresses() {
    let pair = Pair::new();
    let listeners: Vec<TcpListener> =
        VIPS.iter().map(|vip| pair.a.exec_in(|| TcpListener::bind((*vip, 0)).unwrap())).collect();
    let targets: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    for vip in VIPS {
        let mut holder = pair.holder(&pair.run_dir());
        holder.tell(&VIPS.join(" "));
        assert!(pair.is_found(vip), "{vip} is found while the fence is held");
        for target in &targets {
            connect(&pair.b, *target).expect("connections are made while the fence is held");
            connect(&pair.a, *target).expect("the node reaches itself");
        }

        let begun = Instant::now();
        holder.kill();
        // The neighbour is known: what falls silent here is traffic.
        let mut last = Duration::ZERO;
        pair.b.exec_in(|| {
            while begun.elapsed() < Duration::from_millis(300) {
                if question(vip, Duration::from_millis(2)) {
                    last = begun.elapsed();
                }
            }
        });
        println!("    {vip}: last answer {:.2} ms after SIGKILL", last.as_secs_f64() * 1e3);
        assert!(last < Duration::from_millis(100), "{vip} answered {last:?} after the death");
        assert!(pair.a.address(vip.parse().unwrap()).is_some(), "the address is still set");

        for vip in VIPS {
            assert!(!pair.is_found(vip), "nobody answers for {vip}");
            assert!(!pair.is_resolved(vip), "nor says where it is");
        }
        for target in &targets {
            assert_eq!(connect(&pair.b, *target).unwrap_err().kind(), io::ErrorKind::TimedOut);
            connect(&pair.a, *target).expect("the node still reaches itself");
        }
        assert!(pair.is_found("192.0.2.1") && pair.is_found("2001:db8::1"), "the node's own addresses answer");

        drop(holder);
        pair.cleanup();
        for vip in VIPS {
            assert!(pair.is_found(vip) && pair.is_resolved(vip), "{vip} answers again after the cleanup");
        }
        assert_eq!(pair.a.run("nft list ruleset"), "");
    }
}

pub(crate) fn adverts_from_a_silent_address_leave() {
    let pair = Pair::new();
    let mut holder = pair.holder(&pair.run_dir());
    holder.tell(&VIPS.join(" "));
    holder.kill();
    drop(holder);
    // As of the guardian of an address owner: what it says last comes from the virtual address.
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let vrrp = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    let mut hears = pair.b.exec_in(vrrp);
    hears.join_multicast_v4(&group, &Ipv4Addr::new(192, 0, 2, 2)).unwrap();
    hears.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let says = pair.a.exec_in(vrrp);
    let vip: Ipv4Addr = VIPS[0].parse().unwrap();
    says.bind(&SocketAddr::from((vip, 0)).into()).unwrap();
    says.set_multicast_if_v4(&vip).unwrap();
    says.send_to(b"last words", &SocketAddr::from((group, 0)).into()).unwrap();
    let mut packet = [0; 100];
    let length = hears.read(&mut packet).unwrap();
    assert!(packet[..length].ends_with(b"last words"));
}

pub(crate) fn what_is_released_is_not_fenced() {
    let pair = Pair::new();
    let mut holder = pair.holder(&pair.run_dir());
    holder.tell(&VIPS.join(" "));
    holder.tell(VIPS[1]);
    holder.kill();
    drop(holder);
    assert!(pair.is_found(VIPS[0]), "it was taken off the list");
    assert!(!pair.is_found(VIPS[1]));
    // A new life begins without a fence, and can end it.
    let name = pair.name();
    pair.a.exec_in(|| {
        let mut fence = Fence::open(name.clone()).expect("the dead one's tables are taken over");
        assert!(matches!(Fence::open(name), Err(FenceError::Taken(_))), "a living one's are not");
        fence.set(&BTreeSet::from([VIPS[0].parse().unwrap()])).unwrap();
        fence.lift().unwrap();
    });
    assert!(VIPS.iter().all(|vip| pair.is_found(vip)));
}

pub(crate) fn other_users_of_nftables_do_no_harm() {
    let pair = Pair::new();
    let mut holder = pair.holder(&pair.run_dir());
    holder.tell(&VIPS.join(" "));
    pair.a.try_run("nft flush ruleset");
    assert!(VIPS.iter().all(|vip| pair.is_found(vip)), "without the table that drops nothing is dropped");
    // It is missed, and the next change brings it back, for the whole list.
    holder.tell(&format!("{} 192.0.2.101", VIPS.join(" ")));
    assert!(VIPS.iter().all(|vip| pair.is_found(vip)));
    holder.kill();
    drop(holder);
    assert!(!VIPS.iter().any(|vip| pair.is_found(vip)));
}

pub(crate) fn a_fence_that_was_taken_down_is_put_up_again() {
    let pair = Pair::new();
    let name = pair.name();
    let list = VIPS.iter().map(|vip| vip.parse().unwrap()).collect();
    pair.a.exec_in(|| {
        let mut fence = Fence::open(name).unwrap();
        fence.set(&list).unwrap();
        assert!(!fence.repair().unwrap(), "nothing was missing");
        let held = rules();
        std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap();
        assert_ne!(rules(), held);
        assert!(fence.repair().unwrap(), "it was gone");
        assert_eq!(rules(), held);
    });
    assert!(!VIPS.iter().any(|vip| pair.is_found(vip)), "the fence was dropped");
}

/// The whole rule set, without what differs from one life to the next.
fn rules() -> BTreeSet<String> {
    let shown = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
    String::from_utf8(shown).unwrap().lines().map(|line| line.split(" #").next().unwrap().to_owned()).collect()
}

pub(crate) fn marks_of_the_user_are_kept() {
    let pair = Pair::new();
    let mut holder = pair.holder(&pair.run_dir());
    holder.tell(&VIPS.join(" "));
    // Before our tables somebody marks everything; after them he counts what has exactly his mark.
    pair.a.run(
        "nft -f - <<'END'\n\
         table inet user {\n\
           chain early { type filter hook input priority -600; meta mark set 0xca6c; }\n\
           chain late { type filter hook input priority -300; udp dport 9 meta mark 0xca6c counter; }\n\
         }\nEND",
    );
    assert!(VIPS.iter().all(|vip| pair.answers(vip)));
    let rules = pair.a.run("nft list chain inet user late");
    assert!(rules.contains("counter packets 2 "), "{rules}");
}

pub(crate) fn many_addresses_are_quick() {
    let pair = Pair::new();
    let name = pair.name();
    pair.a.exec_in(|| {
        let mut fence = Fence::open(name).unwrap();
        for count in [1_u32, 80, 16_000] {
            let list: BTreeSet<IpAddr> = (0..count).map(|number| IpAddr::V4((0x0a00_0000 + number).into())).collect();
            let begun = Instant::now();
            fence.set(&list).unwrap();
            let added = begun.elapsed();
            fence.set(&BTreeSet::new()).unwrap();
            let both = begun.elapsed();
            println!("    {count} addresses: added in {added:?}, removed in {:?}", both - added);
            // A takeover is not held up: a millisecond, and room for a busy machine.
            assert!(count > 80 || both < Duration::from_millis(50), "{both:?}");
        }
        fence.lift().unwrap();
    });
}

pub(crate) fn two_fences_do_not_meet() {
    let pair = Pair::new();
    let mut one = pair.holder(&pair.lab.dir().join("one"));
    let mut two = pair.holder(&pair.lab.dir().join("two"));
    one.tell(VIPS[0]);
    two.tell(VIPS[1]);
    assert!(VIPS.iter().all(|vip| pair.is_found(vip)));
    one.kill();
    drop(one);
    assert!(!pair.is_found(VIPS[0]));
    assert!(pair.is_found(VIPS[1]));
}
