//! The segment: what is under way, what gets lost, who can reach whom, and the sockets at its ends.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::super::RouterId;
use super::super::ingress::{self, Channel, Packet, Wanted};
use super::super::wire::{Watched, Wire};
use super::host::INDEX;
use super::world::{Shared, World, now};
use crate::model::{Family, PreparedPacket};
use crate::os::raw::Datagram;
use crate::stats::Role;
use crate::wire::{Announcement, Mac};

/// How long packets take in a calm segment: what the runtime's timers can tell apart.
pub(super) const LATENCY: Duration = Duration::from_millis(1);
/// Packets a socket's buffer holds.
const BUFFER: usize = 200;
/// Packets read at once.
const BATCH: usize = 32;

pub(super) struct Lan {
    /// Percent.
    pub(super) loss: u32,
    /// Percent.
    pub(super) duplicates: u32,
    /// Beside the latency; packets overtake each other.
    pub(super) jitter: Duration,
    /// The part of the segment a node is in.
    pub(super) parts: Vec<usize>,
    /// Who does not hear whom: (from, to).
    pub(super) cuts: Vec<(usize, usize)>,
    /// The part the client is in.
    pub(super) client_part: usize,
    /// Where the client sends to: it hears every announcement of its part, and asks when it comes to another part.
    pub(super) client: BTreeMap<IpAddr, Mac>,
    /// (from, to): the last advert did not arrive. If it was a last word, clients may be where its sender was, and no
    /// protocol can help before the receiver announces the address again.
    unheard: BTreeMap<(usize, usize), Instant>,
    /// When a node last announced an address where the client is.
    announced: BTreeMap<(usize, IpAddr), Instant>,
    under_way: BTreeMap<(Instant, u64), Transit>,
    sequence: u64,
    changed: Rc<Notify>,
}

/// A parcel on its way.
struct Transit {
    from: usize,
    to: usize,
    parcel: Parcel,
}

#[derive(Clone)]
enum Parcel {
    Packet(Family, Rc<[u8]>),
    Announcement(Announcement),
}

/// A node's end of the segment.
#[derive(Default)]
pub(super) struct Socket {
    channels: Vec<(Wanted, Instant)>,
    inbox: VecDeque<(Family, Rc<[u8]>)>,
    watches: BTreeMap<RouterId, Vec<Watched>>,
    announced: VecDeque<(RouterId, IpAddr)>,
    waker: Option<Waker>,
    /// When it last advertised.
    advertised: Option<Instant>,
}

impl Lan {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            loss: 0,
            duplicates: 0,
            jitter: Duration::ZERO,
            parts: vec![0; nodes],
            cuts: Vec::new(),
            client_part: 0,
            client: BTreeMap::new(),
            unheard: BTreeMap::new(),
            announced: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sequence: 0,
            changed: Rc::default(),
        }
    }

    /// What is still under way from a storm arrives now, not in the middle of the calm.
    pub(super) fn hurry(&mut self) {
        let soon = now() + LATENCY;
        self.under_way = std::mem::take(&mut self.under_way)
            .into_iter()
            .map(|((at, number), it)| ((at.min(soon), number), it))
            .collect();
        self.changed.notify_one();
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    fn post(&mut self, at: Instant, transit: Transit) {
        if self.next_arrival().is_none_or(|next| at < next) {
            self.changed.notify_one();
        }
        self.sequence += 1;
        self.under_way.insert((at, self.sequence), transit);
    }

    /// Whether an advert that did not arrive may have been the last word of one that gave up the address beside this node.
    pub(super) fn is_uninformed(&self, at: usize, address: IpAddr) -> bool {
        let announced = self.announced.get(&(at, address));
        self.unheard.iter().any(|((_, to), when)| *to == at && announced.is_none_or(|announced| when >= announced))
    }

    /// An advert arrived, or did not.
    fn note_advert(&mut self, from: usize, to: usize, heard: bool) {
        if heard {
            self.unheard.remove(&(from, to));
        } else {
            self.unheard.insert((from, to), now());
        }
    }
}

impl World {
    /// The client is in this part from now on: who owns what answers, a master last: one that leaves is gone before the
    /// second burst of its successor's announcements, which is too late to be seen here. What nobody undid, or somebody
    /// set by hand, is left out: no protocol can help there.
    pub(super) fn move_client(&mut self, part: usize) {
        self.lan.client_part = part;
        self.lan.client.clear();
        let mut order: Vec<usize> = (0..self.hosts.len()).filter(|at| self.lan.parts[*at] == part).collect();
        if !order.is_empty() {
            let turn = self.random.below(order.len() as u32) as usize;
            order.rotate_left(turn);
            order.sort_by_key(|at| self.hosts[*at].is_master());
        }
        for host in
            order.into_iter().map(|at| &self.hosts[at]).filter(|host| host.is_on_segment() && host.is_owner_by_role())
        {
            self.lan.client.extend(host.prefixes().map(|prefix| (prefix.address, host.mac)));
        }
    }

    /// A node is gone, and where it was perhaps nobody took over: the client finds out by asking.
    pub(super) fn be_missed(&mut self, at: usize) {
        self.fall_silent(at);
        let mac = self.hosts[at].mac;
        self.lan.client.retain(|_, known| *known != mac);
    }

    /// A packet leaves a node.
    pub(super) fn send_packet(&mut self, from: usize, packet: &PreparedPacket) -> io::Result<()> {
        if !self.hosts[from].is_on_segment() {
            (0..self.hosts.len()).filter(|to| *to != from).for_each(|to| self.lan.note_advert(from, to, false));
            return Err(io::Error::from_raw_os_error(libc::ENETDOWN));
        }
        let unicast = Some(packet.destination).filter(|destination| !destination.is_multicast());
        assert!(packet.ifindex == INDEX || (packet.ifindex == 0 && unicast.is_some()));
        let parcel = Parcel::Packet(packet.family, Rc::from(packet.bytes.as_slice()));
        self.send(from, unicast, &parcel);
        Ok(())
    }

    /// A frame leaves a node: an announcement, for the client too.
    pub(super) fn send_frame(&mut self, from: usize, frame: &[u8]) {
        let announcement = Announcement::parse(frame).unwrap();
        assert_eq!(announcement.mac, self.hosts[from].mac);
        if !self.hosts[from].is_on_segment() {
            return;
        }
        self.trace(format_args!("node {from}: announces {}", announcement.address));
        if self.lan.parts[from] == self.lan.client_part {
            self.lan.client.insert(announcement.address, announcement.mac);
            self.lan.announced.insert((from, announcement.address), now());
        }
        self.send(from, None, &Parcel::Announcement(announcement));
    }

    fn send(&mut self, from: usize, unicast: Option<IpAddr>, parcel: &Parcel) {
        for to in 0..self.hosts.len() {
            let host = &self.hosts[to];
            let meant = unicast.is_none_or(|address| host.prefixes().any(|prefix| prefix.address == address));
            let unheard = matches!(parcel, Parcel::Announcement(_)) && host.socket.watches.is_empty();
            let near = self.lan.parts[from] == self.lan.parts[to];
            let is_advert = matches!(parcel, Parcel::Packet(..));
            if to == from || !meant || unheard {
                continue;
            }
            if !near || !host.is_on_segment() {
                // Nor does one that sleeps hear a last word.
                if is_advert {
                    self.lan.note_advert(from, to, false);
                }
                continue;
            }
            if self.lan.cuts.contains(&(from, to)) || (self.lan.loss > 0 && self.random.chance(self.lan.loss)) {
                self.judge();
                self.law.disturb_way(from, to, now());
                if is_advert {
                    self.lan.note_advert(from, to, false);
                }
                continue;
            }
            let copies = if self.lan.duplicates > 0 && self.random.chance(self.lan.duplicates) { 2 } else { 1 };
            for _ in 0..copies {
                let late = if self.lan.jitter.is_zero() { Duration::ZERO } else { self.random.up_to(self.lan.jitter) };
                let arrival = now() + LATENCY + late;
                if late > LATENCY {
                    self.judge();
                    self.law.disturb_way(from, to, arrival);
                }
                self.lan.post(arrival, Transit { from, to, parcel: parcel.clone() });
            }
        }
    }

    fn arrive(&mut self) {
        let now = now();
        while let Some((key, transit)) = self.lan.under_way.pop_first() {
            if key.0 > now {
                self.lan.under_way.insert(key, transit);
                return;
            }
            let Transit { from, to, parcel } = transit;
            let is_advert = matches!(parcel, Parcel::Packet(..));
            // What is late does not cross to another part.
            let near = self.lan.parts[from] == self.lan.parts[to];
            if !near {
                self.judge();
                self.law.disturb_way(from, to, now);
            }
            let host = &mut self.hosts[to];
            let reached = near && host.is_on_segment();
            let awaited = reached && host.socket.take(parcel, host.mac, now);
            if awaited && let Some(waker) = host.socket.waker.take() {
                waker.wake();
            }
            if is_advert {
                self.lan.note_advert(from, to, awaited);
            }
        }
    }
}

impl Socket {
    /// Whether somebody waits for it.
    fn take(&mut self, parcel: Parcel, own: Mac, now: Instant) -> bool {
        match parcel {
            Parcel::Packet(family, bytes) => {
                let open = self.channels.iter().any(|(want, opened)| want.channel.1 == family && *opened <= now);
                if open && self.inbox.len() < BUFFER {
                    self.inbox.push_back((family, bytes));
                }
                open
            }
            Parcel::Announcement(announcement) => {
                let heard = |watched: &Watched| watched.own != Some(announcement.mac) && announcement.mac != own;
                let routers: Vec<RouterId> = self
                    .watches
                    .iter()
                    .filter(|(_, watched)| watched.iter().any(heard))
                    .map(|(router, _)| *router)
                    .collect();
                self.announced.extend(routers.iter().map(|router| (*router, announcement.address)));
                !routers.is_empty()
            }
        }
    }
}

/// Carries what is under way, as long as the world stands.
pub(super) async fn carry(world: Shared) {
    let changed = Rc::clone(&world.borrow().lan.changed);
    loop {
        let next = world.borrow().lan.next_arrival();
        match next {
            Some(at) if at <= now() => world.borrow_mut().arrive(),
            Some(at) => tokio::select! {
                biased;
                () = tokio::time::sleep_until(at.into()) => {}
                () = changed.notified() => {}
            },
            None => changed.notified().await,
        }
    }
}

/// The segment as a node's process sees it.
pub(super) struct FakeWire {
    pub(super) world: Shared,
    pub(super) at: usize,
}

impl Wire for FakeWire {
    fn send(&mut self, packet: &PreparedPacket) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let priority = priority(packet);
        world.trace(format_args!("node {}: sends priority {priority}", self.at));
        let result = world.send_packet(self.at, packet);
        if priority > 0 && result.is_ok() {
            world.check_pace(self.at);
        }
        result
    }

    fn listen(&mut self, wanted: Vec<Wanted>) {
        let mut world = self.world.borrow_mut();
        let opens = now() + if world.random.chance(20) { Duration::from_millis(2) } else { Duration::ZERO };
        let channels = &mut world.hosts[self.at].socket.channels;
        channels.retain(|(open, _)| wanted.contains(open));
        for want in wanted {
            assert_eq!(want.index, INDEX);
            if !channels.iter().any(|(open, _)| *open == want) {
                channels.push((want, opens));
            }
        }
    }

    fn watch(&mut self, router: RouterId, interfaces: &[Watched]) {
        let socket = &mut self.world.borrow_mut().hosts[self.at].socket;
        socket.announced.retain(|(heard, _)| *heard != router);
        match interfaces {
            [] => drop(socket.watches.remove(&router)),
            _ => drop(socket.watches.insert(router, interfaces.to_vec())),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let socket = &mut self.world.borrow_mut().hosts[self.at].socket;
        if socket.inbox.is_empty() && socket.announced.is_empty() {
            match &mut socket.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn read(&mut self, mut deliver: impl FnMut(&Channel, Packet)) {
        let socket = &mut self.world.borrow_mut().hosts[self.at].socket;
        let batch = socket.inbox.len().min(BATCH);
        for (family, bytes) in socket.inbox.drain(..batch) {
            if let Some((want, _)) = socket.channels.iter().find(|(want, _)| want.channel.1 == family) {
                let (datagram, payload) = datagram(family, &bytes);
                deliver(&want.channel, ingress::parse(datagram, payload));
            }
        }
    }

    fn read_announcements(&mut self, mut deliver: impl FnMut(RouterId, IpAddr)) {
        let socket = &mut self.world.borrow_mut().hosts[self.at].socket;
        for (router, address) in socket.announced.drain(..) {
            deliver(router, address);
        }
    }
}

/// A packet as a raw socket yields it: IPv4 whole, IPv6 without its header.
fn datagram(family: Family, packet: &[u8]) -> (Datagram, &[u8]) {
    match family {
        Family::V4 => (Datagram::V4(packet.len()), packet),
        Family::V6 => {
            let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
            let (source, destination, hop_limit) = (address(8), address(24), packet[7]);
            let payload = &packet[40..];
            (Datagram::V6 { length: payload.len(), source, destination, hop_limit }, payload)
        }
    }
}

fn priority(packet: &PreparedPacket) -> u8 {
    let header = match packet.family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    packet.bytes[header + 2]
}

impl World {
    /// A master that runs is never silent for more than 1.2 intervals, whatever is reloaded.
    fn check_pace(&mut self, at: usize) {
        let now = now();
        let before = self.hosts[at].socket.advertised.replace(now);
        let status = self.hosts[at].registry.router(super::ROUTER).status();
        let Some(before) = before.filter(|before| *before >= self.law.disturbed(at)) else { return };
        let allowed = self.law.interval() * 12 / 10 + LATENCY;
        if status.role == Role::Master && now - before > allowed {
            self.law.break_with(format!("node {at}: {:?} between adverts, allowed {allowed:?}", now - before));
        }
    }
}
