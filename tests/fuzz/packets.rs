//! Packets, alterations, repairs, and the routers that hear the result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use vipgate::model::{
    ChecksumMode, Family, InitialState, Interval, Password, Priority, Version, VirtualAddress, VirtualRouter, Vrid,
};
use vipgate::vrrp::{Event, Role, Router};
use vipgate::wire::vrrp::{Advertisement, Envelope, GROUP_V4, GROUP_V6};
use vipgate::wire::{Announcement, arp, checksum, ip, ndp};

use super::draws::Draws;

/// How much got how far.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) adverts: u64,
    pub(crate) parsed: u64,
    pub(crate) admitted: u64,
    pub(crate) announcements: u64,
    pub(crate) recognised: u64,
}

pub(crate) struct Fuzzer {
    draws: Draws,
    now: Instant,
    routers: Vec<Router>,
    packet: Vec<u8>,
    again: Vec<u8>,
    pub(crate) shares: Shares,
}

impl Fuzzer {
    pub(crate) fn new(seed: u64) -> Self {
        let now = origin();
        let routers = kinds().map(|(version, family, priority)| router(version, family, priority, now)).collect();
        Self {
            draws: Draws::seeded(seed),
            now,
            routers,
            packet: Vec::new(),
            again: Vec::new(),
            shares: Shares::default(),
        }
    }

    /// One packet.
    pub(crate) fn execute(&mut self) {
        if self.draws.below(8) == 0 {
            self.announcement();
        } else {
            self.advert();
        }
    }

    fn advert(&mut self) {
        self.shares.adverts += 1;
        let at = self.draws.below(self.routers.len());
        let family = self.routers[at].config().family;
        let source = self.source(family);
        let destination = match family {
            Family::V4 => IpAddr::V4(GROUP_V4),
            Family::V6 => IpAddr::V6(GROUP_V6),
        };
        let mut advertisement = self.routers[at].advertisement(0);
        advertisement.priority = self.draws.pick(&[0, 1, 2, 99, 100, 101, 150, 254, 255]);
        if advertisement.version == Version::V3 {
            advertisement.interval = Interval::from_centiseconds(self.draws.pick(&[1, 2, 10, 100, 4095])).unwrap();
        }
        let mode = if self.draws.below(2) == 0 { ChecksumMode::PseudoHeader } else { ChecksumMode::MessageOnly };
        self.packet.clear();
        advertisement.emit_packet(&mut self.packet, source, destination, 1, mode);
        let header = if family == Family::V4 { ip::IPV4_LEN } else { ip::IPV6_LEN };
        self.alter(header);
        if self.draws.below(10) > 0 {
            self.repair(family, source, destination, mode);
        }

        let packet = std::mem::take(&mut self.packet);
        let opened = match family {
            Family::V4 => ip::parse_v4(&packet).ok(),
            Family::V6 => {
                packet.get(ip::IPV6_LEN..).map(|message| (Envelope { source, destination, ttl: 255 }, message))
            }
        };
        if let Some((envelope, message)) = opened {
            self.hear(at, &envelope, message);
        }
        self.packet = packet;
    }

    fn hear(&mut self, at: usize, envelope: &Envelope, message: &[u8]) {
        let Ok(received) = Advertisement::parse(message, envelope) else { return };
        self.shares.parsed += 1;
        self.again.clear();
        received.advertisement.emit(&mut self.again, envelope.source, envelope.destination, received.checksum);
        // A trailer is no part of the advertisement.
        let again = Advertisement::parse(&self.again, envelope).map(|again| again.advertisement);
        assert_eq!(again.as_ref(), Ok(&received.advertisement), "what is read is written again");

        let passed = Duration::from_micros(self.draws.next() % 50_000);
        self.now += passed;
        let (now, disturbance) = (self.now, self.draws.below(64));
        let router = &mut self.routers[at];
        if let Ok(heard) = router.admit(&received, envelope, 0) {
            self.shares.admitted += 1;
            router.handle(Event::Advert(heard), now);
            drain(router);
        }
        disturb(router, disturbance, now);
        if router.next_deadline().is_some_and(|deadline| deadline <= now) {
            router.handle_timeout(now);
            drain(router);
            assert!(router.next_deadline().is_none_or(|deadline| deadline > now), "time goes on");
        }
        if router.role() == Role::Initialize {
            let config = router.config().clone();
            *router = Router::new(&config, Some(local(config.family)), true, now);
            drain(router);
        }
    }

    fn announcement(&mut self) {
        self.shares.announcements += 1;
        let mac = self.draws.next().to_be_bytes();
        let mac = [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]];
        self.packet.clear();
        let over_v6 = self.draws.below(2) == 0;
        if over_v6 {
            let address = Ipv6Addr::from((u128::from(self.draws.next()) << 64) | u128::from(self.draws.next()));
            let frame = ndp::announcement(address, mac, self.draws.below(2) == 0);
            self.packet.extend_from_slice(&frame);
        } else {
            let frame = arp::announcement(Ipv4Addr::from_bits(self.draws.next() as u32 | 1), mac);
            self.packet.extend_from_slice(&frame);
        }
        self.alter(14);
        if over_v6 && self.draws.below(10) > 0 && self.packet.len() >= 58 {
            let addresses = |at: usize| <[u8; 16]>::try_from(&self.packet[at..at + 16]).map(IpAddr::from);
            let (source, destination) = (addresses(22).unwrap(), addresses(38).unwrap());
            let length = (self.packet.len() - 54) as u16;
            self.packet[18..20].copy_from_slice(&length.to_be_bytes());
            let sum = checksum::with_pseudo_header(&self.packet[54..], 1, source, destination, 58);
            self.packet[56..58].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(found) = Announcement::parse(&self.packet) {
            self.shares.recognised += 1;
            for router in &mut self.routers {
                router.handle(Event::SuccessorAnnounced(found.address), self.now);
                drain(router);
            }
        }
    }

    /// Up to four alterations, most of them behind `header`.
    fn alter(&mut self, header: usize) {
        for _ in 0..self.draws.below(5) {
            let end = self.packet.len();
            if end <= header {
                return;
            }
            let at =
                if self.draws.below(6) == 0 { self.draws.below(end) } else { header + self.draws.below(end - header) };
            match self.draws.below(9) {
                0 => self.packet[at] ^= 1 << self.draws.below(8),
                1 => self.packet[at] = self.draws.pick(&[0, 1, 2, 0x7f, 0x80, 0xfe, 0xff]),
                2 => self.packet[at] = self.draws.next() as u8,
                3 if self.draws.below(4) == 0 => self.packet.truncate(at),
                4 => self.packet.extend_from_within(at..),
                5 => self.packet.extend_from_slice(&[0; 6]),
                // The address count, with and without the addresses.
                6 if end > header + 3 && self.draws.below(3) == 0 => self.packet[header + 3] = self.draws.next() as u8,
                // VRID, priority, interval.
                7 if end > header + 8 => self.packet[header + 2] = self.draws.next() as u8,
                _ => self.packet.swap(at, end - 1),
            }
            self.packet.truncate(1400);
        }
    }

    /// Makes lengths and checksums right again.
    fn repair(&mut self, family: Family, source: IpAddr, destination: IpAddr, mode: ChecksumMode) {
        let end = self.packet.len();
        let header = match family {
            Family::V4 if end >= ip::IPV4_LEN => ip::IPV4_LEN,
            Family::V6 if end >= ip::IPV6_LEN => ip::IPV6_LEN,
            Family::V4 | Family::V6 => return,
        };
        if family == Family::V4 {
            self.packet[0] = 0x45;
            self.packet[2..4].copy_from_slice(&(end as u16).to_be_bytes());
            (self.packet[6], self.packet[7], self.packet[9]) = (0, 0, 112);
            if self.draws.below(20) > 0 {
                self.packet[8] = 255;
            }
            if let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) {
                self.packet[12..16].copy_from_slice(&source.octets());
                self.packet[16..20].copy_from_slice(&destination.octets());
            }
            let sum = checksum::plain(&self.packet[..20], 5);
            self.packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        let message = &mut self.packet[header..];
        if message.len() < 8 {
            return;
        }
        // The message ends where its count says: the rest is padding.
        let version = message[0] >> 4;
        let trailer = if version == 2 { 8 } else { 0 };
        let address = if family == Family::V4 { 4 } else { 16 };
        let room = (message.len() - 8).saturating_sub(trailer) / address;
        if usize::from(message[3]) > room {
            message[3] = room as u8;
        }
        let length = (8 + usize::from(message[3]) * address + trailer).min(message.len());
        let message = &mut message[..length];
        let sum = if version == 3 && (mode == ChecksumMode::PseudoHeader || family == Family::V6) {
            checksum::with_pseudo_header(message, 3, source, destination, 112)
        } else {
            checksum::plain(message, 3)
        };
        message[6..8].copy_from_slice(&sum.to_be_bytes());
    }

    fn source(&mut self, family: Family) -> IpAddr {
        let last = 1 + self.draws.below(5) as u8;
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last))),
        }
    }
}

/// Every action can be done: nothing is endless.
fn drain(router: &mut Router) {
    let mut actions = 0;
    while router.next_action().is_some() {
        actions += 1;
        assert!(actions < 64, "a router that never stops asking");
    }
}

/// Now and then something else happens too.
fn disturb(router: &mut Router, which: usize, now: Instant) {
    let event = match which {
        0 => Event::Handover,
        1 => Event::Stop,
        2 => Event::LinkDown,
        3 => Event::LinkUp,
        4 => Event::Ready(false),
        5 => Event::Ready(true),
        6 => Event::Woke { late_by: Duration::from_secs(200) },
        7 => Event::LocalAddress(Some(local(router.config().family))),
        _ => return,
    };
    router.handle(event, now);
    drain(router);
}

fn kinds() -> impl Iterator<Item = (Version, Family, u8)> {
    let versions = [(Version::V2, Family::V4), (Version::V3, Family::V4), (Version::V3, Family::V6)];
    versions.into_iter().flat_map(|(version, family)| [(version, family, 100), (version, family, 255)])
}

fn local(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3)),
    }
}

fn router(version: Version, family: Family, priority: u8, now: Instant) -> Router {
    let prefixes = match family {
        Family::V4 => ["192.0.2.100/24", "192.0.2.101/24"],
        Family::V6 => ["fe80::100/64", "2001:db8::100/64"],
    };
    let interface: vipgate::model::InterfaceName = "eth0".parse().unwrap();
    let address = |prefix: &str| VirtualAddress::new(prefix.parse().unwrap(), interface.clone());
    let config = VirtualRouter {
        version,
        priority: Priority::new(priority).unwrap(),
        initial: InitialState::Master,
        preempt: priority == 255,
        password: (version == Version::V2 && priority == 255).then(|| Password::new("secret").unwrap()),
        addresses: prefixes.map(address).to_vec(),
        ..VirtualRouter::new("fuzzed", interface.clone(), Vrid::new(51).unwrap(), family)
    };
    let mut router = Router::new(&config, Some(local(family)), true, now);
    drain(&mut router);
    router
}

#[expect(clippy::disallowed_methods, reason = "the virtual clock may begin anywhere")]
fn origin() -> Instant {
    Instant::now()
}
