//! Who has an address, from the kernel's own events: how long nobody had it, and how long two.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};

use crate::node::Node;
use crate::silence::prefer_this_thread;
use crate::wait::until;

const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Watches some addresses on some nodes, until dropped.
#[derive(Debug)]
pub struct Ownership {
    shared: Arc<Shared>,
    names: Vec<String>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    events: Mutex<Vec<Event>>,
}

/// An address appeared on a node or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// Index of the node.
    pub node: usize,
    /// Which address.
    pub address: IpAddr,
    /// Whether the node has it from now on.
    pub owned: bool,
}

/// How ownership was spread over a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// The longest time in one piece nobody had the address.
    pub nobody: Duration,
    /// The longest time in one piece more than one node had it.
    pub several: Duration,
}

impl Ownership {
    /// Watches `addresses` on `nodes`.
    #[track_caller]
    pub fn watch(nodes: &[&Node], addresses: &[IpAddr]) -> Self {
        let shared = Arc::<Shared>::default();
        let sockets: Vec<OwnedFd> = nodes.iter().map(|node| node.exec_in(subscribe)).collect();
        // Subscribed first, then looked: a change between the two is seen twice, never missed.
        for (index, node) in nodes.iter().enumerate() {
            let present = node.owned();
            for &address in addresses {
                let owned = present.contains(&address);
                shared.events().push(Event { at: Instant::now(), node: index, address, owned });
            }
        }
        let (inside, wanted) = (Arc::clone(&shared), addresses.to_vec());
        let thread = std::thread::spawn(move || inside.run(&sockets, &wanted));
        Self { shared, names: nodes.iter().map(|node| node.name().to_owned()).collect(), thread: Some(thread) }
    }

    /// Names of the nodes that have `address` now.
    #[must_use]
    pub fn owners(&self, address: IpAddr) -> Vec<&str> {
        let mut state = BTreeMap::new();
        for event in self.shared.events().iter().filter(|event| event.address == address) {
            state.insert(event.node, event.owned);
        }
        state.into_iter().filter(|&(_, owned)| owned).map(|(node, _)| self.names[node].as_str()).collect()
    }

    /// Waits until exactly `node` has `address`, and says since when.
    #[track_caller]
    pub fn wait_for(&self, node: &Node, address: IpAddr, limit: Duration) -> Instant {
        until(format_args!("{} to have {address} alone (now: {:?})", node.name(), self.owners(address)), limit, || {
            (self.owners(address) == [node.name()]).then(|| self.last_change(address))
        })
    }

    /// Waits until exactly one node has `address`, and says which.
    #[track_caller]
    pub fn wait_for_one(&self, address: IpAddr, limit: Duration) -> String {
        until(format_args!("one owner of {address}"), limit, || match self.owners(address).as_slice() {
            [one] => Some((*one).to_owned()),
            _ => None,
        })
    }

    /// Every event so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.shared.events().clone()
    }

    /// What reads every event so far, for another thread.
    pub fn reader(&self) -> impl Fn() -> Vec<Event> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.events().clone()
    }

    /// When a node got `address`, after `since`.
    #[must_use]
    pub fn gained(&self, node: &Node, address: IpAddr, since: Instant) -> Option<Instant> {
        let mut events = self.events().into_iter();
        let matches = |event: &Event| {
            event.at >= since && event.owned && event.address == address && self.names[event.node] == node.name()
        };
        events.find(matches).map(|event| event.at)
    }

    /// Every address that a node got after `since`, and when it did first.
    #[must_use]
    pub fn all_gained(&self, node: &Node, since: Instant) -> BTreeMap<IpAddr, Instant> {
        let mut gained = BTreeMap::new();
        for event in self.events().into_iter().filter(|event| event.at >= since && event.owned) {
            if self.names[event.node] == node.name() {
                gained.entry(event.address).or_insert(event.at);
            }
        }
        gained
    }

    /// The addresses that the node called `name` has alone.
    #[must_use]
    pub fn all_at(&self, name: &str) -> BTreeSet<IpAddr> {
        let mut owners: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
        for event in self.shared.events().iter() {
            let nodes = owners.entry(event.address).or_default();
            if event.owned {
                nodes.insert(event.node)
            } else {
                nodes.remove(&event.node)
            };
        }
        let alone = |nodes: &BTreeSet<usize>| nodes.len() == 1 && nodes.iter().all(|&node| self.names[node] == name);
        owners.into_iter().filter(|(_, nodes)| alone(nodes)).map(|(address, _)| address).collect()
    }

    /// The longest times nobody and several had `address` between `from` and `to`.
    #[must_use]
    pub fn spread(&self, address: IpAddr, from: Instant, to: Instant) -> Spread {
        let mut spread = Spread::default();
        let mut state: BTreeMap<usize, bool> = BTreeMap::new();
        let (mut owners, mut since) = (None, from);
        let mut close = |owners: Option<usize>, since: Instant, until: Instant| {
            let span = until.saturating_duration_since(since);
            match owners {
                Some(0) => spread.nobody = spread.nobody.max(span),
                Some(1) | None => {}
                Some(_) => spread.several = spread.several.max(span),
            }
        };
        for event in self.events().into_iter().filter(|event| event.address == address && event.at <= to) {
            state.insert(event.node, event.owned);
            let now_owners = state.values().filter(|&&owned| owned).count();
            if state.len() == self.names.len() && owners != Some(now_owners) {
                close(owners, since, event.at.max(from));
                (owners, since) = (Some(now_owners), event.at.max(from));
            }
        }
        close(owners, since, to);
        spread
    }

    fn last_change(&self, address: IpAddr) -> Instant {
        let events = self.shared.events();
        events.iter().rev().find(|event| event.address == address).map_or_else(Instant::now, |event| event.at)
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn subscribe() -> OwnedFd {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .expect("a netlink socket");
    setsockopt(&netlink, sockopt::RcvBuf, &(1 << 20)).expect("a receive buffer");
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)).expect("netlink groups");
    netlink
}

impl Shared {
    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, sockets: &[OwnedFd], wanted: &[IpAddr]) {
        prefer_this_thread();
        let mut buffer = vec![0; 64 * 1024];
        while !self.stop.load(Ordering::Relaxed) {
            let mut polled: Vec<PollFd<'_>> =
                sockets.iter().map(|netlink| PollFd::new(netlink.as_fd(), PollFlags::POLLIN)).collect();
            let _ = poll(&mut polled, PollTimeout::from(50u8));
            for (node, netlink) in sockets.iter().enumerate() {
                while let Ok(count) = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    let at = Instant::now();
                    for (address, owned) in address_changes(&buffer[..count]) {
                        if wanted.contains(&address) {
                            self.events().push(Event { at, node, address, owned });
                        }
                    }
                }
            }
        }
    }
}

/// The (address, present) pairs of a datagram of rtnetlink messages.
fn address_changes(mut datagram: &[u8]) -> Vec<(IpAddr, bool)> {
    const HEADER: usize = 16;
    const IFADDRMSG: usize = 8;
    let mut changes = Vec::new();
    while let Some((length, kind)) = header(datagram) {
        let Some(message) = datagram.get(..length).filter(|_| length >= HEADER + IFADDRMSG) else { break };
        if kind == RTM_NEWADDR || kind == RTM_DELADDR {
            changes.extend(address_of(&message[HEADER + IFADDRMSG..]).map(|address| (address, kind == RTM_NEWADDR)));
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    changes
}

fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((usize::try_from(length).ok()?, kind))
}

/// The local address among the attributes (IPv6 has only `IFA_ADDRESS`).
fn address_of(mut attributes: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    while let (Some(length), Some(kind)) = (attributes.get(..2), attributes.get(2..4)) {
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        let kind = u16::from_ne_bytes(kind.try_into().ok()?);
        let value = attributes.get(4..length)?;
        let address = <[u8; 4]>::try_from(value)
            .map(|v4| IpAddr::from(Ipv4Addr::from(v4)))
            .or_else(|_| <[u8; 16]>::try_from(value).map(|v6| IpAddr::from(Ipv6Addr::from(v6))));
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && found.is_none()) {
            found = address.ok().or(found);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}
