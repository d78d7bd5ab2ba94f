//! Tables of (role, event) and stories on a virtual clock.

mod group;
mod operation;
mod paths;
mod stories;
mod table;
mod tracking;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Action, Event, Role, Router, Start};
use crate::model::{
    ChecksumMode, Family, InitialState, Interval, Priority, Version, VirtualAddress, VirtualRouter, Vrid,
};
use crate::wire::vrrp::{Advertisement, Envelope, GROUP_V4, Received};

/// A router, its clock, and what it asked for in short words.
struct Bench {
    router: Router,
    now: Instant,
}

const LOCAL: &str = "192.0.2.5";
const GROUP: IpAddr = IpAddr::V4(GROUP_V4);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Microseconds: the skew times are not whole milliseconds.
fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// A parsed message.
fn received(advertisement: Advertisement) -> Received {
    Received { advertisement, checksum: ChecksumMode::PseudoHeader, seal: None }
}

fn multicast(source: &str) -> Envelope {
    Envelope { source: ip(source), destination: GROUP, ttl: 255 }
}

fn virtual_address(text: &str) -> VirtualAddress {
    VirtualAddress::new(text.parse().unwrap(), "eth0".parse().unwrap())
}

/// Version 3, priority 128 (a skew of half an interval), one second, one address advertised and one not.
fn config() -> VirtualRouter {
    VirtualRouter {
        priority: Priority::new(128).unwrap(),
        initial: InitialState::Master,
        addresses: vec![virtual_address("192.0.2.100/24")],
        excluded: vec![virtual_address("192.0.2.101/24")],
        ..VirtualRouter::new("lan", "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4)
    }
}

fn priority(value: u8) -> VirtualRouter {
    VirtualRouter { priority: Priority::new(value).unwrap(), ..config() }
}

impl Bench {
    fn new(config: &VirtualRouter) -> Self {
        Self::with(config, Some(ip(LOCAL)), true)
    }

    #[expect(clippy::disallowed_methods, reason = "the virtual clock may begin anywhere")]
    fn with(config: &VirtualRouter, local: Option<IpAddr>, link_up: bool) -> Self {
        let now = Instant::now();
        Self { router: Router::new(config, local, link_up, now), now }
    }

    #[expect(clippy::disallowed_methods, reason = "the virtual clock may begin anywhere")]
    fn starting(config: &VirtualRouter, start: Start) -> Self {
        let now = Instant::now();
        Self { router: Router::start_with(config, start, now), now }
    }

    /// A router in this role, with nothing left to say.
    fn in_role(role: Role) -> Self {
        let mut bench = Self::new(&config());
        match role {
            Role::Initialize => bench.router.handle(Event::Stop, bench.now),
            Role::Backup => {}
            Role::Master => bench.promote(),
            Role::Leaving => {
                bench.promote();
                bench.router.handle(Event::Handover, bench.now);
            }
            Role::Fault => bench.router.handle(Event::LinkDown, bench.now),
        }
        assert_eq!(bench.router.role(), role);
        bench.said();
        bench
    }

    fn promote(&mut self) {
        self.now += self.router.down_interval();
        self.router.handle_timeout(self.now);
        self.said();
        assert_eq!(self.router.role(), Role::Master);
    }

    /// What a backup says in the half second after its master, heard at one priority, is heard at a lower one: 300 ms and
    /// 200 ms, with another advertisement between.
    fn master_falls(config: &VirtualRouter, from: u8, to: u8) -> String {
        let mut bench = Self::new(config);
        bench.said();
        bench.hears("192.0.2.9", from);
        bench.hears("192.0.2.9", to);
        bench.pass(ms(300));
        bench.hears("192.0.2.9", to);
        bench.pass(ms(200))
    }

    /// Handles an event; what was asked for.
    fn on(&mut self, event: Event) -> String {
        self.router.handle(event, self.now);
        self.said()
    }

    /// Hears an advertisement of a router with this address and priority.
    fn hears(&mut self, source: &str, priority: u8) -> String {
        let event = self.advert(source, priority, self.router.config().interval);
        self.on(event)
    }

    fn advert(&self, source: &str, priority: u8, interval: Interval) -> Event {
        let advertisement = Advertisement { interval, ..self.router.advertisement(priority) };
        Event::Advert(self.router.admit(&received(advertisement), &multicast(source), 0).unwrap())
    }

    /// Lets time pass, firing timers when they are due; what was asked for, with the milliseconds since now.
    fn pass(&mut self, length: Duration) -> String {
        let (start, end) = (self.now, self.now + length);
        let mut said = Vec::new();
        while let Some(deadline) = self.router.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            self.router.handle_timeout(self.now);
            said.push(format!("@{} {}", (self.now - start).as_millis(), self.said()));
        }
        self.now = end;
        said.join("; ")
    }

    /// What it asked for: `send 128`, `own 2`, `announce 2x5`, `release 2`, `watch`, `unwatch`, `Backup>Master (why)`.
    fn said(&mut self) -> String {
        let mut words = Vec::new();
        while let Some(action) = self.router.next_action() {
            words.push(match action {
                Action::Send(advertisement) => format!("send {}", advertisement.priority),
                Action::Acquire(addresses) => format!("own {}", addresses.len()),
                Action::Release(addresses) => format!("release {}", addresses.len()),
                Action::Announce { addresses, count } => format!("announce {}x{count}", addresses.len()),
                Action::Watch(true) => "watch".into(),
                Action::Watch(false) => "unwatch".into(),
                Action::HeardLower { .. } => continue,
                Action::Changed { from, to, reason, priority } => {
                    assert_eq!(priority, self.router.priority());
                    format!("{from:?}>{to:?} ({reason})")
                }
                Action::Left => "left".into(),
            });
        }
        words.join(", ")
    }
}
