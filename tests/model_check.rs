//! The real router, checked exhaustively in a small world (stateright): two and three routers on one segment, whatever
//! order messages arrive in, whichever is lost, and whatever happens to the routers, within small bounds.
//!
//! **Time** is virtual and advances in quarters of the advertisement interval; with the priorities used here every
//! protocol timer is a whole number of them, and the two shorter ones (the grace of 50 ms, a tenth of an interval between
//! answers) fire at the next. Time stands still while a timer is due or a message is as old as messages may become, so
//! that every state has a future. States are compared by their offsets from now ([`Router::snapshot`]), which makes
//! their number finite.
//!
//! **Properties** are invariants with a bound instead of "eventually", which would be blind to cycles: once nothing was
//! lost and nothing happened for the longest master-down interval and two intervals, exactly one running router is
//! master (beside one that is just being preempted, whom the better one's advert has not reached yet), nobody else
//! holds the address, and it is one that can serve if there is any.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::{Checker, Model, Property};
use vipgate::model::{Announce, ChecksumMode, Family, Priority, VirtualAddress, VirtualRouter, Vrid};
use vipgate::vrrp::{Action, Event, Role, Router, Snapshot};
use vipgate::wire::vrrp::{Advertisement, Envelope, GROUP_V4, Received};

/// A quarter of the interval of 1 s.
const TICK: Duration = Duration::from_millis(250);
/// The longest master-down interval (4 s, with priority 1), two intervals and the ages of four messages, in ticks. A
/// router that cannot serve may be the first to take over: it has to be heard, twice, before it is relieved.
const SETTLED: u8 = 16 + 8 + 4;

/// What is checked.
#[derive(Clone)]
struct Segment {
    configs: Vec<VirtualRouter>,
    origin: Instant,
    /// A message is delivered or lost at the latest when it is this many ticks old.
    oldest: u8,
    losses: u8,
    events: u8,
}

#[derive(Clone, Debug)]
struct State {
    now: Instant,
    /// Shared with the states before: a step changes one of them, most of the time.
    routers: Vec<Option<Arc<Router>>>,
    ready: Vec<bool>,
    wire: Vec<Message>,
    losses: u8,
    events: u8,
    /// Ticks since something was lost or happened.
    calm: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Message {
    from: usize,
    to: usize,
    age: u8,
    says: Says,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Says {
    Advert(u8),
    Announcement,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// A quarter of an interval passes.
    Tick,
    /// The timers of a router that are due fire.
    Fire(usize),
    Deliver(usize),
    Lose(usize),
    Crash(usize),
    Boot(usize),
    Handover(usize),
    Ready(usize, bool),
    Stop(usize),
}

/// What makes two states the same.
type Key<'a> = (Vec<Option<Snapshot<'a>>>, &'a [bool], &'a [Message], [u8; 3]);

impl State {
    fn key(&self) -> Key<'_> {
        let routers = self.routers.iter().map(|router| router.as_ref().map(|router| router.snapshot(self.now)));
        (routers.collect(), &self.ready, &self.wire, [self.losses, self.events, self.calm])
    }

    /// A router that is about to change.
    fn router(&mut self, at: usize) -> Option<&mut Router> {
        self.routers[at].as_mut().map(Arc::make_mut)
    }

    fn masters(&self) -> usize {
        self.routers.iter().flatten().filter(|router| router.role() == Role::Master).count()
    }

    /// Masters to which no better one's advert is on its way: who is just being preempted counts no more.
    fn lasting_masters(&self) -> usize {
        let told = |at: usize, own: u8| {
            let better =
                |message: &Message| message.to == at && matches!(message.says, Says::Advert(other) if other > own);
            self.wire.iter().any(better)
        };
        let routers = self.routers.iter().enumerate().filter_map(|(at, router)| Some((at, router.as_ref()?)));
        routers.filter(|(at, router)| router.role() == Role::Master && !told(*at, router.priority())).count()
    }

    fn is_due(&self, router: &Router) -> bool {
        router.next_deadline().is_some_and(|deadline| deadline <= self.now)
    }

    /// Does what a router asks for.
    fn drain(&mut self, at: usize) {
        let mut ended = false;
        while let Some(action) = self.router(at).and_then(Router::next_action) {
            match action {
                Action::Send(advertisement) => self.transmit(at, &Says::Advert(advertisement.priority)),
                Action::Announce { .. } => self.transmit(at, &Says::Announcement),
                Action::Left => ended = true,
                Action::Acquire(_)
                | Action::Release(_)
                | Action::Watch(_)
                | Action::Changed { .. }
                | Action::HeardLower { .. } => {}
            }
        }
        if ended {
            self.routers[at] = None;
        }
    }

    fn transmit(&mut self, from: usize, says: &Says) {
        for to in (0..self.routers.len()).filter(|to| *to != from) {
            let message = Message { from, to, age: 0, says: says.clone() };
            // A copy of what is on its way already tells nothing more.
            if self.routers[to].is_some() && !self.wire.contains(&message) {
                self.wire.push(message);
            }
        }
        self.wire.sort_by_key(|message| (message.to, message.from, message.age));
    }

    fn deliver(&mut self, message: &Message) {
        let now = self.now;
        let Some(router) = self.router(message.to) else { return };
        match message.says {
            Says::Advert(priority) => {
                let advertisement = Advertisement { priority, ..router.advertisement(priority) };
                let received = Received { advertisement, checksum: ChecksumMode::PseudoHeader, seal: None };
                let envelope = Envelope { source: address(message.from), destination: GROUP_V4.into(), ttl: 255 };
                let heard = router.admit(&received, &envelope, 0).unwrap();
                router.handle(Event::Advert(heard), now);
            }
            Says::Announcement if router.role() == Role::Leaving => {
                router.handle(Event::SuccessorAnnounced(virtual_address().prefix.address), now);
            }
            Says::Announcement => {}
        }
        self.drain(message.to);
    }

    fn tell(&mut self, at: usize, event: Event) {
        let now = self.now;
        if let Some(router) = self.router(at) {
            router.handle(event, now);
            self.drain(at);
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Segment {
    fn boot(&self, state: &mut State, at: usize) {
        let mut router = Router::new(&self.configs[at], Some(address(at)), true, state.now);
        if !state.ready[at] {
            router.handle(Event::Ready(false), state.now);
        }
        state.routers[at] = Some(Arc::new(router));
        state.drain(at);
    }
}

impl Model for Segment {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let count = self.configs.len();
        let mut state = State {
            now: self.origin,
            routers: vec![None; count],
            ready: vec![true; count],
            wire: Vec::new(),
            losses: self.losses,
            events: self.events,
            calm: 0,
        };
        for at in 0..count {
            self.boot(&mut state, at);
        }
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend((0..state.wire.len()).map(Step::Deliver));
        if state.losses > 0 {
            steps.extend((0..state.wire.len()).map(Step::Lose));
        }
        let due = |at: &usize| state.routers[*at].as_ref().is_some_and(|router| state.is_due(router));
        let firing: Vec<usize> = (0..state.routers.len()).filter(due).collect();
        if firing.is_empty() && state.wire.iter().all(|message| message.age < self.oldest) {
            steps.push(Step::Tick);
        }
        steps.extend(firing.into_iter().map(Step::Fire));
        if state.events == 0 {
            return;
        }
        for at in 0..state.routers.len() {
            match &state.routers[at] {
                None => steps.push(Step::Boot(at)),
                Some(router) => {
                    steps.push(Step::Crash(at));
                    steps.push(Step::Ready(at, !state.ready[at]));
                    if router.role() == Role::Master {
                        steps.push(Step::Handover(at));
                    }
                    steps.push(Step::Stop(at));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        let harmless = matches!(step, Step::Tick | Step::Fire(_) | Step::Deliver(_));
        match step {
            Step::Tick => {
                state.now += TICK;
                state.calm = (state.calm + 1).min(SETTLED);
                for message in &mut state.wire {
                    message.age += 1;
                }
            }
            Step::Fire(at) => {
                let now = state.now;
                state.router(at)?.handle_timeout(now);
                state.drain(at);
            }
            Step::Deliver(index) => {
                let message = state.wire.remove(index);
                state.deliver(&message);
            }
            Step::Lose(index) => {
                state.wire.remove(index);
                state.losses -= 1;
            }
            Step::Crash(at) => state.routers[at] = None,
            Step::Boot(at) => self.boot(&mut state, at),
            Step::Handover(at) => state.tell(at, Event::Handover),
            Step::Stop(at) => state.tell(at, Event::Stop),
            Step::Ready(at, ready) => {
                state.ready[at] = ready;
                state.tell(at, Event::Ready(ready));
            }
        }
        if !harmless {
            state.calm = 0;
            if !matches!(step, Step::Lose(_)) {
                state.events -= 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one master once messages flowed", |_, state: &State| {
                let running = usize::from(state.routers.iter().any(Option::is_some));
                state.calm < SETTLED || state.lasting_masters() == running
            }),
            Property::always("the address is held by the master alone", |_, state: &State| {
                let alone = |router: &Router| router.held().is_empty() == (router.role() != Role::Master);
                state.calm < SETTLED || state.routers.iter().flatten().all(|router| alone(router))
            }),
            Property::always("the master can serve if anybody can", |_, state: &State| {
                let running = || state.routers.iter().flatten().map(Arc::as_ref);
                let serves = |router: &Router| router.role() == Role::Master && router.ready();
                state.calm < SETTLED || running().any(serves) || !running().any(Router::ready)
            }),
            // What shows that the bounds leave room for trouble.
            Property::sometimes("two masters meet", |_, state: &State| state.masters() > 1),
            Property::sometimes("nobody is master", |_, state: &State| {
                state.masters() == 0 && state.calm < SETTLED && state.routers.iter().flatten().count() > 1
            }),
        ]
    }
}

fn address(at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1 + at as u8))
}

fn virtual_address() -> VirtualAddress {
    VirtualAddress::new("192.0.2.100/24".parse().unwrap(), "eth0".parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "how much was looked at is the result")]
fn check(name: &str, routers: &[(u8, bool)], (oldest, losses, events): (u8, u8, u8)) {
    let config = |&(priority, preempt): &(u8, bool)| VirtualRouter {
        priority: Priority::new(priority).unwrap(),
        preempt,
        addresses: vec![virtual_address()],
        // Bursts are the segment's business, not the election's.
        announce: Announce { repeat_after: Duration::ZERO, lower_priority_count: 0, ..Announce::default() },
        ..VirtualRouter::new("lan", "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4)
    };
    let configs = routers.iter().map(config).collect();
    let segment = Segment { configs, origin: origin(), oldest, losses, events };
    let checker = segment.checker().spawn_dfs().join();
    println!("{name}: {} states, {} of them different", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}

/// The oldest message, losses and events for two routers. A debug build is some twenty times slower and looks at smaller
/// worlds; the largest ones for every kind of pair are `make sim`'s.
fn two(usually: (u8, u8, u8)) -> (u8, u8, u8) {
    match std::env::var_os("VIPGATE_SIM") {
        Some(_) => LARGE,
        None if SMALL => (1, 1, 1),
        None => usually,
    }
}

const LARGE: (u8, u8, u8) = (1, 2, 2);
const SMALL: bool = cfg!(debug_assertions);

#[test]
fn two_routers() {
    check("priorities 128 and 64", &[(128, true), (64, true)], two(LARGE));
}

#[test]
fn two_routers_of_one_priority() {
    check("a tie", &[(128, true), (128, true)], two((1, 1, 2)));
}

#[test]
fn two_routers_that_do_not_preempt() {
    check("nopreempt", &[(128, false), (64, false)], two((1, 1, 2)));
}

#[test]
fn three_routers() {
    let bounds = if SMALL { (0, 0, 1) } else { (0, 1, 1) };
    check("three routers", &[(192, true), (128, true), (64, true)], bounds);
}

#[expect(clippy::disallowed_methods, reason = "the virtual clock may begin anywhere")]
fn origin() -> Instant {
    Instant::now()
}
