//! One virtual router.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use super::{Action, Event, Heard, Reason, Role};
use crate::model::VirtualRouter;
use crate::wire::vrrp::{Advertisement, Authentication, Rejected};

/// One virtual router: a state machine without I/O.
#[derive(Debug)]
pub struct Router {
    config: VirtualRouter,
    local: Option<IpAddr>,
    role: Role,
    reason: Reason,
    ready: bool,
    master: Option<(IpAddr, u8)>,
    actions: VecDeque<Action>,
}

impl Router {
    /// A router that starts now. `local` is the address it sends from; `link_up`: its own interface and every tracked
    /// one are up. It counts as ready until told otherwise. Drain [`next_action`](Self::next_action) at once.
    #[must_use]
    pub fn new(config: &VirtualRouter, local: Option<IpAddr>, link_up: bool, now: Instant) -> Self {
        let _ = (link_up, now);
        Self {
            config: config.clone(),
            local,
            role: Role::Initialize,
            reason: Reason::Started,
            ready: true,
            master: None,
            actions: VecDeque::new(),
        }
    }

    /// Whether a parsed advertisement concerns this router, as it arrived from `source`, by multicast or not.
    pub fn admit(&self, advert: &Advertisement, source: IpAddr, destination: IpAddr) -> Result<Heard, Rejected> {
        let _ = (advert, source, destination);
        Err(Rejected::Destination)
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event, now: Instant) {
        let _ = (event, now);
    }

    /// Takes the passing of time: call it at [`next_deadline`](Self::next_deadline) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When it wants to be called next; none: only an event can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
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

    /// The priority it advertises, or would: 1 while not ready.
    #[must_use]
    pub fn priority(&self) -> u8 {
        if self.ready { self.config.priority.get() } else { 1 }
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

    /// When an advertisement of another router was last admitted.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        None
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

    /// The advertisement it would send with this priority; 0 for what the guardian sends after a crash.
    #[must_use]
    pub fn advertisement(&self, priority: u8) -> Advertisement {
        let auth =
            self.config.password.map_or(Authentication::None, |password| Authentication::Password(password.bytes()));
        Advertisement {
            version: self.config.version,
            vrid: self.config.vrid,
            priority,
            interval: self.config.interval,
            auth,
            addresses: self.config.addresses.iter().map(|address| address.prefix.address).collect(),
        }
    }
}
