//! One virtual router: what it knows, how it starts, and what can be read off it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::condition::Condition;
use super::leaving::Leaving;
use super::paths::{Master, Tie};
use super::timers::Timers;
use super::tracking::Effect;
use super::{Action, Reason, Role};
use crate::model::{Interval, Priority, Version, VirtualAddress, VirtualRouter};
use crate::wire::vrrp::{Advertisement, Authentication, Stamp};

/// One virtual router: a state machine without I/O.
#[derive(Debug, Clone)]
pub struct Router {
    pub(super) config: VirtualRouter,
    pub(super) local: Option<IpAddr>,
    pub(super) path_addresses: Vec<Option<IpAddr>>,
    pub(super) link_up: bool,
    /// What it was told about its fitness.
    pub(super) told: Condition,
    /// What of it counts: all of it, unless it is frozen.
    pub(super) condition: Condition,
    pub(super) frozen: bool,
    /// The operator's priority.
    pub(super) priority_override: Option<Priority>,
    /// It becomes master and stays it only with its [`Group`](super::Group).
    pub(super) grouped: bool,
    /// Another member of its group is in fault.
    pub(super) group_fault: Option<Reason>,
    /// It would be master now if its group agreed; why.
    pub(super) candidate: Option<Reason>,
    pub(super) role: Role,
    pub(super) reason: Reason,
    pub(super) timers: Timers,
    /// Addresses acquired and not released again.
    pub(super) held: Vec<VirtualAddress>,
    pub(super) master: Option<Master>,
    /// The last seal accepted from each source.
    pub(super) stamps: Vec<(IpAddr, Stamp)>,
    pub(super) heard: Option<Instant>,
    /// When the master followed was last heard.
    pub(super) followed: Option<Instant>,
    /// Interval of the master followed; its own while master (RFC 9568: Active_Adver_Interval).
    pub(super) master_interval: Interval,
    /// Why it will be master when `MasterDown` fires.
    pub(super) cause: Reason,
    /// Before this it asserts nothing.
    pub(super) quiet_until: Option<Instant>,
    /// Not before this does it preempt a master of lower priority.
    pub(super) preempt_at: Option<Instant>,
    /// The master followed fell below its own priority and is relieved.
    pub(super) relieving: bool,
    /// It handed over: whoever took the addresses is not preempted. Until it is master again, or one with its own
    /// priority or a higher one is.
    pub(super) yielded: bool,
    /// It ceased to be master and had no way to say so.
    pub(super) owes_word: bool,
    /// It was late, and listens before it takes over; not again until somebody was heard.
    pub(super) listens: bool,
    /// While leaving: how.
    pub(super) leaving: Option<Leaving>,
    /// When another master was last answered, and on which path that one had been heard.
    pub(super) answered: Option<(Instant, usize)>,
    /// The answer held back announces the addresses too.
    pub(super) answer_announces: bool,
    /// Another master of the same priority, heard on each path.
    pub(super) ties: Vec<Tie>,
    /// Announcements of each address in the burst `Repeat` waits for.
    pub(super) repeat_count: u32,
    pub(super) actions: VecDeque<Action>,
}

/// What a router finds when it starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// The address it sends from on its own interface.
    pub local: Option<IpAddr>,
    /// Those on its further paths ([`Event::PathAddresses`](super::Event::PathAddresses)).
    pub path_addresses: Vec<Option<IpAddr>>,
    /// One of its paths is up.
    pub link_up: bool,
    /// The services it fronts can be served here.
    pub ready: bool,
    /// What the trackers it follows amount to.
    pub tracked: Effect,
    /// It is a member of a sync group: [`Group::settle`](super::Group::settle) has to be called after each of its events.
    pub grouped: bool,
    /// Nothing is asserted before this: the start of the process and the configured `start_delay`.
    pub quiet_until: Option<Instant>,
}

impl Start {
    /// All is well, and it stands alone.
    #[must_use]
    pub fn new(local: Option<IpAddr>, link_up: bool) -> Self {
        Self {
            local,
            path_addresses: Vec::new(),
            link_up,
            ready: true,
            tracked: Effect::default(),
            grouped: false,
            quiet_until: None,
        }
    }
}

impl Router {
    /// A router that starts now with its process. `local` is the address it sends from; `link_up`: one of its paths is
    /// up. It counts as ready until told otherwise. Drain [`next_action`](Self::next_action) at once.
    #[must_use]
    pub fn new(config: &VirtualRouter, local: Option<IpAddr>, link_up: bool, now: Instant) -> Self {
        let quiet_until = Some(now + config.start_delay);
        Self::start_with(config, Start { quiet_until, ..Start::new(local, link_up) }, now)
    }

    /// A router that starts now and finds `start`. Drain [`next_action`](Self::next_action) at once.
    #[must_use]
    pub fn start_with(config: &VirtualRouter, start: Start, now: Instant) -> Self {
        let condition = Condition { ready: start.ready, group_ready: true, tracked: start.tracked };
        let mut router = Self {
            config: config.clone(),
            local: start.local,
            path_addresses: start.path_addresses,
            link_up: start.link_up,
            told: condition.clone(),
            condition,
            frozen: false,
            priority_override: None,
            grouped: start.grouped,
            group_fault: None,
            candidate: None,
            role: Role::Initialize,
            reason: Reason::Started,
            timers: Timers::default(),
            held: Vec::new(),
            master: None,
            stamps: Vec::new(),
            heard: None,
            followed: None,
            master_interval: config.interval,
            cause: Reason::MasterSilent,
            quiet_until: start.quiet_until,
            preempt_at: None,
            relieving: false,
            yielded: false,
            owes_word: false,
            listens: false,
            leaving: None,
            answered: None,
            answer_announces: false,
            ties: Vec::new(),
            repeat_count: 0,
            actions: VecDeque::new(),
        };
        match router.obstacle() {
            Some(reason) => router.fault(reason),
            None => router.enter_election(Reason::Started, now),
        }
        router
    }

    /// When it wants to be called next; none: only an event can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Its shell has to wake at the latest when nothing has happened for so long: only who looks at the clock that often
    /// can tell a master that is silent from adverts that were missed.
    #[must_use]
    pub fn pulse(&self) -> Option<Duration> {
        matches!(self.role, Role::Backup | Role::Leaving).then(|| self.master_interval.as_duration() * 5 / 4)
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
        self.reason.clone()
    }

    /// The priority it advertises, or would: the operator's or the configured one, changed by trackers within 1 to 254
    /// (255 is never changed); 1 while not ready, the owner's 255 included.
    #[must_use]
    pub fn priority(&self) -> u8 {
        if self.condition.is_ready() { self.weighed(self.base_priority()) } else { Priority::LOWEST.get() }
    }

    /// Whether the services it fronts can be served here.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.told.ready
    }

    /// What the trackers it follows amount to.
    #[must_use]
    pub fn tracked(&self) -> &Effect {
        &self.told.tracked
    }

    /// Whether it neither takes over nor gives up of its own accord.
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.frozen
    }

    /// The operator's priority, instead of the configured one.
    #[must_use]
    pub fn priority_override(&self) -> Option<Priority> {
        self.priority_override
    }

    /// The other master heard last, with its priority. Heard on several paths, it is known by its address on the first.
    #[must_use]
    pub fn master(&self) -> Option<(IpAddr, u8)> {
        self.master.as_ref().and_then(|master| Some((master.address()?, master.priority)))
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
        self.master_interval.as_duration() * u32::from(self.config.missed_adverts) + self.skew()
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

    pub(super) fn authentication(&self) -> Authentication {
        match (self.config.version, self.config.password) {
            (Version::V2, Some(password)) => Authentication::Password(password.bytes()),
            (Version::V2, None) | (Version::V3, _) => Authentication::None,
        }
    }
}
