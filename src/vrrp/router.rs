//! One virtual router: what it knows, and what it does with each event in each role.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::leaving::{Cause, Leaving};
use super::timers::{Timer, Timers};
use super::{Action, Event, Heard, Reason, Role};
use crate::model::{Family, InitialState, Interval, Priority, Version, VirtualAddress, VirtualRouter};
use crate::wire::vrrp::{Advertisement, Authentication, GROUP_V4, GROUP_V6, Rejected};

/// One virtual router: a state machine without I/O.
#[derive(Debug)]
pub struct Router {
    pub(super) config: VirtualRouter,
    pub(super) local: Option<IpAddr>,
    link_up: bool,
    ready: bool,
    pub(super) role: Role,
    reason: Reason,
    pub(super) timers: Timers,
    /// Addresses acquired and not released again.
    pub(super) held: Vec<VirtualAddress>,
    pub(super) master: Option<(IpAddr, u8)>,
    heard: Option<Instant>,
    /// Interval of the master followed; its own while master (RFC 9568: Active_Adver_Interval).
    pub(super) master_interval: Interval,
    /// Why it will be master when `MasterDown` fires.
    pub(super) cause: Reason,
    /// Not before this does it preempt a master of lower priority.
    pub(super) preempt_at: Option<Instant>,
    /// It handed over: whoever took the addresses is not preempted. Until it is master again, or one with its own
    /// priority or a higher one is.
    pub(super) yielded: bool,
    /// While leaving: how.
    pub(super) leaving: Option<Leaving>,
    /// When another master was last answered.
    pub(super) answered: Option<Instant>,
    /// The answer held back announces the addresses too.
    pub(super) answer_announces: bool,
    /// Announcements of each address in the burst `Repeat` waits for.
    pub(super) repeat_count: u32,
    pub(super) actions: VecDeque<Action>,
}

impl Router {
    /// A router that starts now. `local` is the address it sends from; `link_up`: its own interface and every tracked
    /// one are up. It counts as ready until told otherwise. Drain [`next_action`](Self::next_action) at once.
    #[must_use]
    pub fn new(config: &VirtualRouter, local: Option<IpAddr>, link_up: bool, now: Instant) -> Self {
        let mut router = Self {
            config: config.clone(),
            local,
            link_up,
            ready: true,
            role: Role::Initialize,
            reason: Reason::Started,
            timers: Timers::default(),
            held: Vec::new(),
            master: None,
            heard: None,
            master_interval: config.interval,
            cause: Reason::MasterSilent,
            preempt_at: None,
            yielded: false,
            leaving: None,
            answered: None,
            answer_announces: false,
            repeat_count: 0,
            actions: VecDeque::new(),
        };
        match (link_up, local) {
            (false, _) => router.fault(Reason::LinkDown),
            (true, None) => router.fault(Reason::NoLocalAddress),
            (true, Some(_)) => router.start(Reason::Started, now),
        }
        router
    }

    /// Whether a parsed advertisement that came from `source` to `destination` concerns this router. What is not
    /// admitted changes nothing: not even the time of the next own advertisement.
    pub fn admit(&self, advert: &Advertisement, source: IpAddr, destination: IpAddr) -> Result<Heard, Rejected> {
        let config = &self.config;
        if advert.vrid != config.vrid {
            return Err(Rejected::UnknownVrid);
        }
        let multicast = config.peers.is_empty();
        let group = destination == IpAddr::V4(GROUP_V4) || destination == IpAddr::V6(GROUP_V6);
        let addressed = if multicast { group } else { !destination.is_multicast() };
        if Family::of(source) != config.family || Family::of(destination) != config.family || !addressed {
            return Err(Rejected::Destination);
        }
        if self.local == Some(source) {
            return Err(Rejected::OwnSource);
        }
        if advert.version != config.version {
            return Err(Rejected::Version);
        }
        if config.version == Version::V2 {
            if advert.auth != self.authentication() {
                return Err(Rejected::Authentication);
            }
            // On the wire it is whole seconds.
            if advert.interval.centiseconds() != config.interval.centiseconds().div_ceil(100).saturating_mul(100) {
                return Err(Rejected::Interval);
            }
        }
        Ok(Heard {
            source,
            priority: advert.priority,
            interval: advert.interval,
            same_addresses: self.lists(&advert.addresses),
        })
    }

    /// Takes an event. Every role meets every event here, written out.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match (self.role, event) {
            (Role::Backup, Event::Advert(heard)) => {
                self.heard = Some(now);
                self.hear_as_backup(heard, now);
            }
            (Role::Master, Event::Advert(heard)) => {
                self.heard = Some(now);
                self.hear_as_master(heard, now);
            }
            (Role::Leaving, Event::Advert(heard)) => {
                self.heard = Some(now);
                self.hear_while_leaving(heard, now);
            }
            // Stopped, or deaf: what still waits in the socket's queue is from before.
            (Role::Initialize | Role::Fault, Event::Advert(_)) => {}

            (Role::Fault, Event::LinkUp) => {
                self.link_up = true;
                match self.local {
                    Some(_) => self.start(Reason::LinkUp, now),
                    None => self.reason = Reason::NoLocalAddress,
                }
            }
            (Role::Initialize | Role::Backup | Role::Master | Role::Leaving, Event::LinkUp) => self.link_up = true,

            (Role::Backup | Role::Master, Event::LinkDown) => {
                self.link_up = false;
                self.fault(Reason::LinkDown);
            }
            (Role::Leaving, Event::LinkDown) => {
                self.link_up = false;
                self.break_off(Reason::LinkDown);
            }
            (Role::Fault, Event::LinkDown) => {
                self.link_up = false;
                self.reason = Reason::LinkDown;
            }
            (Role::Initialize, Event::LinkDown) => self.link_up = false,

            (Role::Master, Event::LocalAddress(Some(address))) => {
                // Others compare and show the source: the new one is told at once.
                if self.local.replace(address) != Some(address) {
                    self.advertise(now);
                }
            }
            (Role::Fault, Event::LocalAddress(Some(address))) => {
                self.local = Some(address);
                if self.link_up {
                    self.start(Reason::LocalAddress, now);
                }
            }
            (Role::Initialize | Role::Backup | Role::Leaving, Event::LocalAddress(Some(address))) => {
                self.local = Some(address);
            }
            (Role::Backup | Role::Master, Event::LocalAddress(None)) => {
                self.local = None;
                self.fault(Reason::NoLocalAddress);
            }
            (Role::Leaving, Event::LocalAddress(None)) => {
                self.local = None;
                self.break_off(Reason::NoLocalAddress);
            }
            (Role::Initialize | Role::Fault, Event::LocalAddress(None)) => self.local = None,

            (Role::Master, Event::Ready(ready)) => {
                if std::mem::replace(&mut self.ready, ready) != ready {
                    if ready { self.advertise(now) } else { self.leave(Cause::NotReady, now) }
                }
            }
            (Role::Backup, Event::Ready(ready)) => {
                let skew = self.skew();
                self.ready = ready;
                self.shift_master_down(skew, self.skew(), now);
                self.reconsider_master(now);
            }
            // While leaving, the priority 0 is out: what it is worth is seen once it is backup or master again.
            (Role::Initialize | Role::Leaving | Role::Fault, Event::Ready(ready)) => self.ready = ready,

            (Role::Master, Event::Handover) => self.leave(Cause::Handover, now),
            (Role::Initialize | Role::Backup | Role::Leaving | Role::Fault, Event::Handover) => {}

            (Role::Master, Event::Stop) => self.leave(Cause::Stop, now),
            (Role::Leaving, Event::Stop) => self.stop_leaving(now),
            (Role::Backup | Role::Fault, Event::Stop) => self.end(Reason::Stopped),
            (Role::Initialize, Event::Stop) => {}

            (Role::Leaving, Event::SuccessorAnnounced(address)) => self.successor_announced(address, now),
            (Role::Initialize | Role::Backup | Role::Master | Role::Fault, Event::SuccessorAnnounced(_)) => {}

            (Role::Master, Event::Reconfigure(config)) => self.reconfigure_master(*config, now),
            (Role::Backup, Event::Reconfigure(config)) => self.reconfigure_backup(*config, now),
            (Role::Leaving, Event::Reconfigure(config)) => {
                self.config = *config;
                self.release(|address, config| !config.owned().any(|owned| owned == address));
            }
            (Role::Initialize | Role::Fault, Event::Reconfigure(config)) => self.config = *config,

            (Role::Master, Event::Woke { late_by }) => {
                if late_by > self.down_interval() {
                    self.leave(Cause::Overslept, now);
                }
            }
            (Role::Backup | Role::Leaving, Event::Woke { late_by }) => {
                if late_by > self.down_interval() {
                    self.listen_first(now);
                }
            }
            (Role::Initialize | Role::Fault, Event::Woke { .. }) => {}
        }
    }

    /// Takes the passing of time: call it at [`next_deadline`](Self::next_deadline) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((timer, deadline)) = self.timers.expire(now) {
            match (timer, self.role) {
                (Timer::MasterDown, Role::Backup) => self.promote(self.cause, now),
                (Timer::MasterDown, Role::Leaving) => self.promote(Reason::NoSuccessor, now),
                (Timer::Advert, Role::Master) => {
                    self.advertise(now);
                    // Counted from the deadline, not from the waking: lateness does not add up.
                    let next = deadline + self.config.interval.as_duration();
                    if next > now {
                        self.timers.set(Timer::Advert, next);
                    }
                }
                (Timer::Answer, Role::Master) => self.answer_now(now),
                (Timer::Repeat, Role::Master) => self.announce(self.repeat_count),
                (Timer::Refresh, Role::Master) => {
                    self.announce(self.config.announce.refresh_count);
                    self.start_refresh(now);
                }
                (Timer::Release, Role::Leaving) => self.release_time_is_up(now),
                // Every change of role stops the timers of the old one.
                (Timer::MasterDown, Role::Initialize | Role::Master | Role::Fault)
                | (
                    Timer::Advert | Timer::Answer | Timer::Repeat | Timer::Refresh,
                    Role::Initialize | Role::Backup | Role::Leaving | Role::Fault,
                )
                | (Timer::Release, Role::Initialize | Role::Backup | Role::Master | Role::Fault) => {}
            }
        }
    }

    /// When it wants to be called next; none: only an event can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next thing to do. Drain it to the end after every call of `new`, `handle` and `handle_timeout`.
    #[must_use]
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Why it is in its role.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The priority it advertises, or would: 1 while not ready, the owner's 255 included.
    #[must_use]
    pub fn priority(&self) -> u8 {
        if self.ready { self.config.priority.get() } else { Priority::LOWEST.get() }
    }

    /// Whether the services it fronts can be served here.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// The other master heard last, with its priority.
    #[must_use]
    pub fn master(&self) -> Option<(IpAddr, u8)> {
        self.master
    }

    /// When an advertisement of another router was last taken into account.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// The address it sends from.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &VirtualRouter {
        &self.config
    }

    /// The addresses it holds now, in every role.
    #[must_use]
    pub fn held(&self) -> &[VirtualAddress] {
        &self.held
    }

    /// How long the present master may be silent before this router takes over (RFC 9568: Active_Down_Interval).
    #[must_use]
    pub fn down_interval(&self) -> Duration {
        self.master_interval.as_duration() * 3 + self.skew()
    }

    /// The advertisement it would send with this priority; 0 for what the guardian sends after a crash.
    #[must_use]
    pub fn advertisement(&self, priority: u8) -> Advertisement {
        Advertisement {
            version: self.config.version,
            vrid: self.config.vrid,
            priority,
            interval: self.config.interval,
            auth: self.authentication(),
            addresses: self.config.addresses.iter().map(|address| address.prefix.address).collect(),
        }
    }

    /// (Re)enters the election: at start, and after a fault.
    fn start(&mut self, reason: Reason, now: Instant) {
        self.master = None;
        self.master_interval = self.config.interval;
        if self.priority() == Priority::OWNER.get() && self.config.initial == InitialState::Master {
            return self.promote(Reason::AddressOwner, now);
        }
        self.become_backup(reason, now);
        self.preempt_at = Some(now + self.config.preempt_delay);
    }

    /// Listens. Whatever it held is released; the master it follows from now on is in `master` and
    /// `master_interval`.
    pub(super) fn become_backup(&mut self, reason: Reason, now: Instant) {
        self.rest();
        self.timers.set(Timer::MasterDown, now + self.down_interval());
        self.change(Role::Backup, reason);
    }

    /// Asserts itself: the advertisement first, so that others fall silent, then the addresses, then everybody is
    /// told.
    fn promote(&mut self, reason: Reason, now: Instant) {
        let watching = self.leaving.take().is_some();
        self.timers.clear_all();
        self.master = None;
        self.master_interval = self.config.interval;
        self.cause = Reason::MasterSilent;
        self.preempt_at = None;
        self.yielded = false;
        self.answered = None;
        self.answer_announces = false;
        self.advertise(now);
        self.acquire_missing();
        self.announce(self.config.announce.count);
        self.start_repeat(self.config.announce.repeat_count, now);
        self.start_refresh(now);
        if watching {
            self.actions.push_back(Action::Watch(false));
        }
        self.change(Role::Master, reason);
    }

    /// Cannot take part. The addresses go at once: what cannot be reached must not be owned twice.
    pub(super) fn fault(&mut self, reason: Reason) {
        self.rest();
        self.master = None;
        self.change(Role::Fault, reason);
    }

    /// Stopped for good.
    pub(super) fn end(&mut self, reason: Reason) {
        self.rest();
        self.change(Role::Initialize, reason);
        self.actions.push_back(Action::Left);
    }

    /// Lets go of everything a role held: addresses, timers, plans.
    fn rest(&mut self) {
        self.timers.clear_all();
        if self.leaving.take().is_some() {
            self.actions.push_back(Action::Watch(false));
        }
        self.release(|_, _| true);
        self.cause = Reason::MasterSilent;
        self.preempt_at = None;
        self.yielded = false;
    }

    pub(super) fn change(&mut self, to: Role, reason: Reason) {
        let from = std::mem::replace(&mut self.role, to);
        self.reason = reason;
        self.actions.push_back(Action::Changed { from, to, reason });
    }

    /// Sends an advertisement and counts the interval from now.
    pub(super) fn advertise(&mut self, now: Instant) {
        self.actions.push_back(Action::Send(self.advertisement(self.priority())));
        self.timers.set(Timer::Advert, now + self.config.interval.as_duration());
    }

    fn authentication(&self) -> Authentication {
        match (self.config.version, self.config.password) {
            (Version::V2, Some(password)) => Authentication::Password(password.bytes()),
            (Version::V2, None) | (Version::V3, _) => Authentication::None,
        }
    }

    /// Whether these are the addresses advertised here, in any order.
    fn lists(&self, addresses: &[IpAddr]) -> bool {
        let own = || self.config.addresses.iter().map(|address| address.prefix.address);
        if own().eq(addresses.iter().copied()) {
            return true;
        }
        let (mut own, mut heard): (Vec<_>, Vec<_>) = (own().collect(), addresses.to_vec());
        own.sort_unstable();
        heard.sort_unstable();
        own == heard
    }
}
