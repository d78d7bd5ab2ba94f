//! Who announces itself: every advertisement that enters the switch, with the kernel's time stamp.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{SockFilter, SockRef, Socket};

use crate::lan::Lan;
use crate::node::Node;

/// IP protocol number of VRRP.
pub const VRRP: u8 = 112;
/// `PACKET_OUTGOING`: what the switch itself sends on; seen on its way in already.
const OUTGOING: u8 = 4;

/// Listens in the switch, until dropped.
#[derive(Debug)]
pub struct Adverts {
    shared: Arc<Shared>,
    sniffer: Arc<Sniffer>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    adverts: Mutex<Vec<Advert>>,
}

/// One advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// When the kernel saw it.
    pub at: Instant,
    /// Its sender.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// Protocol version.
    pub version: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Adverts {
    /// Listens to what the nodes of a network (and the others on the same switch) send.
    #[track_caller]
    pub fn listen(lan: &Lan) -> Self {
        let shared = Arc::<Shared>::default();
        let sniffer = Arc::new(Sniffer { socket: lan.switch().exec_in(open), bridges: bridges(lan.switch()) });
        let (inside, ears) = (Arc::clone(&shared), Arc::clone(&sniffer));
        let thread = std::thread::spawn(move || inside.run(&ears));
        Self { shared, sniffer, thread: Some(thread) }
    }

    /// Hears nothing of `source` from now on: a flood is not written down.
    #[track_caller]
    pub fn ignore(&self, source: Ipv4Addr) {
        attach_filter(&self.sniffer.socket, Some(source));
    }

    /// The advertisements of `vrid` from `from` to `to`.
    #[must_use]
    pub fn between(&self, vrid: u8, from: Instant, to: Instant) -> Vec<Advert> {
        let adverts = self.shared.adverts();
        adverts.iter().filter(|advert| advert.vrid == vrid && (from..=to).contains(&advert.at)).cloned().collect()
    }

    /// The advertisements of `vrid` since `from`.
    #[must_use]
    pub fn since(&self, vrid: u8, from: Instant) -> Vec<Advert> {
        self.between(vrid, from, Instant::now())
    }

    /// The last advertisement of `vrid`.
    #[must_use]
    pub fn last(&self, vrid: u8) -> Option<Advert> {
        self.shared.adverts().iter().rev().find(|advert| advert.vrid == vrid).cloned()
    }
}

impl Drop for Adverts {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Longest and shortest spacing of the advertisements of one sender.
#[must_use]
pub fn spacing(adverts: &[Advert], source: IpAddr) -> Option<(Duration, Duration)> {
    let times: Vec<Instant> = adverts.iter().filter(|advert| advert.source == source).map(|advert| advert.at).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    Some((gaps.clone().min()?, gaps.max()?))
}

/// Advertisements by sender.
#[must_use]
pub fn by_source(adverts: &[Advert]) -> BTreeMap<IpAddr, usize> {
    let mut counts = BTreeMap::new();
    for advert in adverts {
        *counts.entry(advert.source).or_default() += 1;
    }
    counts
}

/// Sees every packet at every interface of the switch: at the port it enters by, at the bridge, at the ports it leaves by.
#[derive(Debug)]
struct Sniffer {
    socket: OwnedFd,
    bridges: Vec<usize>,
}

#[track_caller]
fn bridges(switch: &Node) -> Vec<usize> {
    let links: serde_json::Value = serde_json::from_str(&switch.run("ip -j link show type bridge")).expect("ip's JSON");
    let indexes = links.as_array().into_iter().flatten().filter_map(|link| link["ifindex"].as_u64());
    indexes.filter_map(|index| usize::try_from(index).ok()).collect()
}

fn open() -> OwnedFd {
    let sniffer = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .expect("a packet socket");
    let sniffer = Socket::from(sniffer);
    attach_filter(&sniffer, None);
    sniffer.set_recv_buffer_size(4 << 20).expect("a receive buffer");
    setsockopt(&sniffer, sockopt::ReceiveTimestampns, &true).expect("time stamps");
    sniffer.into()
}

/// Thousands of other packets pass here: the kernel drops them, and those of `ignored`. The filter sees the network
/// header on.
fn attach_filter(sniffer: &impl AsFd, ignored: Option<Ipv4Addr>) {
    let (load_byte, load_word, shift, equal, give) = (0x30, 0x20, 0x74, 0x15, 0x06);
    let filter = [
        SockFilter::new(load_byte, 0, 0, 0),
        SockFilter::new(shift, 0, 0, 4),
        SockFilter::new(equal, 0, 4, 4),
        SockFilter::new(load_byte, 0, 0, 9),
        SockFilter::new(equal, 0, 6, u32::from(VRRP)),
        SockFilter::new(load_word, 0, 0, 12),
        SockFilter::new(equal, 4, 3, ignored.map_or(u32::MAX, u32::from)),
        SockFilter::new(equal, 0, 3, 6),
        SockFilter::new(load_byte, 0, 0, 6),
        SockFilter::new(equal, 0, 1, u32::from(VRRP)),
        SockFilter::new(give, 0, 0, 0xffff),
        SockFilter::new(give, 0, 0, 0),
    ];
    SockRef::from(sniffer).attach_filter(&filter).expect("a socket filter");
}

impl Shared {
    fn adverts(&self) -> MutexGuard<'_, Vec<Advert>> {
        self.adverts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, sniffer: &Sniffer) {
        while !self.stop.load(Ordering::Relaxed) {
            let _ = poll(&mut [PollFd::new(sniffer.socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50u8));
            while let Some(received) = receive(sniffer) {
                if let Some(advert) = received {
                    self.adverts().push(advert);
                }
            }
        }
    }
}

/// None when nothing waits; `Some(None)` for a packet that is no advertisement on its way in.
fn receive(sniffer: &Sniffer) -> Option<Option<Advert>> {
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let descriptor = sniffer.socket.as_raw_fd();
    let message = recvmsg::<LinkAddr>(descriptor, &mut slices, Some(&mut control), MsgFlags::empty()).ok()?;
    let count = message.bytes;
    let enters = |seen: LinkAddr| seen.pkttype() != OUTGOING && !sniffer.bridges.contains(&seen.ifindex());
    let entering = message.address.is_some_and(enters);
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
            _ => None,
        })
    });
    if !entering {
        return Some(None);
    }
    Some(parse(&buffer[..count], stamp.map_or_else(Instant::now, monotonic)))
}

/// The kernel stamps packets with the wall clock.
fn monotonic(stamp: TimeSpec) -> Instant {
    let (wall, now) = (SystemTime::now(), Instant::now());
    let stamp = SystemTime::UNIX_EPOCH + Duration::from(stamp);
    wall.duration_since(stamp).map_or(now, |age| now.checked_sub(age).unwrap_or(now))
}

fn parse(packet: &[u8], at: Instant) -> Option<Advert> {
    let (ttl, source, destination, body): (u8, IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0x0f) * 4;
            (
                *packet.get(8)?,
                Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?).into(),
                Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?).into(),
                packet.get(header..)?,
            )
        }
        6 => (
            *packet.get(7)?,
            Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?).into(),
            Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?).into(),
            packet.get(40..)?,
        ),
        _ => return None,
    };
    let &[first, vrid, priority, ..] = body else { return None };
    Some(Advert { at, source, destination, version: first >> 4, vrid, priority, ttl })
}
