//! The rules of a service as its connections ask them: with the pools they lead to, and the tables they count in.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Proxy;
use super::figures::PerSecond;
use super::shared::{PoolShared, ServiceShared};
use crate::balance::{KeyHash, Offer};
use crate::model::figure::{Figure, PoolFigure, ServiceFigure};
use crate::model::rule::{Counted, Counter, Directions, Purpose, Rule, Slot, SourceTable, Stage};
use crate::model::value::{Scope, Value, Variable};
use crate::model::{self, Affinity, Algorithm, ConnectionLine, Key, Policy, Pool, Service, StickRule};
use crate::rules::{Counters, Effects, Held, Lists, Matchers, Notes, Source, World};

/// The rules of a service, ready to be asked.
#[derive(Debug)]
pub(super) struct Ruling {
    policy: Arc<Policy>,
    matchers: Matchers,
    /// The pools its rules name, or can name, in the order of their names.
    pools: Vec<(String, Arc<PoolShared>)>,
    tables: Vec<Arc<TableShared>>,
    /// New connections, where they are limited.
    sessions: PerSecond,
    /// Those that no rule of the first two stages turned away.
    admitted: PerSecond,
    /// Some rule asks for what the client says, or a pool hashes the name in its hello.
    pub(super) listens: bool,
    /// How long a client may take to say what is asked for.
    delay: Duration,
    /// What its pools want.
    wants: Wants,
}

/// What the pools of a service want of its connections.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wants {
    /// One wants to see the client's hello, and may wait so long for it.
    hello: Option<Duration>,
    /// What they know clients by, where that is more than their addresses.
    sticks: Vec<StickRule>,
    /// Rules of their own.
    policies: Vec<Arc<Policy>>,
}

/// A table of counters; one value for its whole life, over reloads.
#[derive(Debug)]
pub(super) struct TableShared {
    name: String,
    counters: Mutex<Counters>,
}

/// What rules have made of a connection.
#[derive(Debug, Default)]
pub(super) struct Ruled {
    /// The pool it goes to, by its place in the ruling; none: the service's own.
    pub(super) pool: Option<usize>,
    /// What it brings of a TLS session, where its pool keeps clients by those.
    pub(super) offer: Option<Offer>,
    /// The name in its TLS hello, where that was listened for.
    pub(super) server_name: Option<Box<str>>,
    /// The user whom its RDP cookie names, where its pool hashes that.
    pub(super) rdp_user: Option<KeyHash>,
    /// What the rules of its pool say about its server.
    pub(super) directions: Option<Arc<Directions>>,
    /// Its variables and captures, where rules keep any.
    pub(super) notes: Option<Box<Notes>>,
    /// The sources that it counts for, until it is dropped.
    tracked: [Option<Tracked>; Slot::COUNT],
}

/// A source that a connection counts for.
#[derive(Debug)]
struct Tracked {
    table: Arc<TableShared>,
    held: Held,
    /// What it is counted as.
    source: IpAddr,
}

impl TableShared {
    pub(super) fn new(spec: SourceTable) -> Self {
        Self { name: spec.name.clone(), counters: Mutex::new(Counters::new(spec)) }
    }

    pub(super) fn reconfigure(&self, spec: &SourceTable, now: Instant) {
        let mut counters = self.lock();
        if counters.spec() != spec {
            counters.reconfigure(spec.clone(), now);
        }
    }

    pub(super) fn len(&self, now: Instant) -> usize {
        self.lock().len(now)
    }

    pub(super) fn sources(&self, now: Instant) -> (SourceTable, Vec<Source>) {
        let mut counters = self.lock();
        (counters.spec().clone(), counters.sources(now))
    }

    pub(super) fn forget(&self, sources: &[IpAddr]) -> usize {
        self.lock().forget(sources)
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ruling {
    /// What of `pools` and `tables` the rules name; what is not there answers as if it were empty.
    pub(super) fn new(
        policy: &Arc<Policy>,
        wants: Wants,
        pools: &BTreeMap<String, Arc<PoolShared>>,
        tables: &BTreeMap<String, Arc<TableShared>>,
        lists: &Lists,
        now: Instant,
    ) -> Self {
        let policies = || std::iter::once(policy).chain(&wants.policies);
        let by_rules: BTreeSet<&str> = policies().flat_map(|policy| policy.pools()).collect();
        let can_be = |name: &str| by_rules.contains(name) || policy.namings().any(|naming| naming.can_be(name));
        let named: Vec<(String, Arc<PoolShared>)> = pools
            .iter()
            .filter(|(name, _)| can_be(name))
            .map(|(name, pool)| (name.clone(), Arc::clone(pool)))
            .collect();
        let admitted = PerSecond::default();
        for figure in policies().flat_map(|policy| &policy.rules).flat_map(Rule::figures) {
            let pool = |name: &str| named.iter().find(|(known, _)| known == name).map(|(_, pool)| pool);
            let rate = match figure {
                Figure::Service(ServiceFigure::SessionRate) => Some(&admitted),
                Figure::Pool(PoolFigure::SessionRate, name) => pool(name).map(|pool| &pool.sessions),
                _ => None,
            };
            // What a connection is asked about counts itself.
            let _kept = rate.map(|rate| rate.keep(now));
        }
        let mut late = policies().flat_map(|policy| &policy.rules).filter(|rule| rule.stage >= Stage::Content);
        let mut matchers = Matchers::default();
        matchers.add(policies().flat_map(|policy| policy.conditions()));
        matchers.add(wants.sticks.iter().filter_map(|rule| rule.when.as_ref()));
        let of_sticks = wants.sticks.iter().flat_map(StickRule::lookups);
        matchers.ask(policies().flat_map(|policy| policy.lookups()).chain(of_sticks), lists);
        let mut counted: Vec<Arc<TableShared>> = Vec::new();
        for spec in policies().flat_map(|policy| &policy.tables) {
            if !counted.iter().any(|table| table.name == spec.name) {
                counted.extend(tables.get(&spec.name).cloned());
            }
        }
        Self {
            matchers,
            pools: named,
            tables: counted,
            admitted,
            sessions: PerSecond::default(),
            listens: wants.hello.is_some() || late.any(Rule::listens),
            delay: if policy.inspect_delay.is_zero() { wants.hello.unwrap_or_default() } else { policy.inspect_delay },
            wants,
            policy: Arc::clone(policy),
        }
    }

    /// Whether it leads to the same pools and tables as another one of the same policy.
    pub(super) fn is_wired_as(&self, other: &Self) -> bool {
        self.listens == other.listens
            && self.delay == other.delay
            && self.wants == other.wants
            && self.pools.len() == other.pools.len()
            && self.pools.iter().zip(&other.pools).all(|(one, other)| Arc::ptr_eq(&one.1, &other.1))
            && self.tables.len() == other.tables.len()
            && self.tables.iter().zip(&other.tables).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// How long a client may take to say what is asked for.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn matchers(&self) -> &Matchers {
        &self.matchers
    }

    /// The pools that it sends connections to or looks at.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Arc<PoolShared>> {
        self.pools.iter().map(|(_, pool)| pool)
    }

    /// The pool that a connection was sent to.
    pub(super) fn pool(&self, ruled: &Ruled) -> Option<&Arc<PoolShared>> {
        self.pools.get(ruled.pool?).map(|(_, pool)| pool)
    }

    /// The place of a pool among those that rules name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.pools.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()
    }

    pub(super) fn named(&self, name: &str) -> Option<&PoolShared> {
        self.pools.get(self.place(name)?).map(|(_, pool)| pool.as_ref())
    }

    /// One more connection was accepted.
    pub(super) fn count(&self, now: Instant) {
        self.sessions.count(now);
    }

    /// One more was not turned away by rules that do not listen.
    pub(super) fn count_admitted(&self, now: Instant) {
        self.admitted.count(now);
    }

    /// How many of those there were within the last second.
    pub(super) fn session_rate(&self, now: Instant) -> u64 {
        self.admitted.value(now)
    }

    /// Whether one more connection may be accepted now.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.policy.sessions_per_second.is_none_or(|limit| self.sessions.value(now) < u64::from(limit))
    }
}

/// A number that nobody knows beforehand: every key makes another one of the same text.
pub(super) fn random() -> u32 {
    RandomState::new().hash_one(()) as u32
}

/// What rules see of the process, for one connection.
pub(super) struct Around<'a> {
    pub(super) service: &'a ServiceShared,
    pub(super) ruling: &'a Ruling,
    pub(super) source: IpAddr,
    pub(super) ruled: &'a mut Option<Box<Ruled>>,
    pub(super) now: Instant,
}

impl Around<'_> {
    fn table(&self, name: &str) -> Option<&Arc<TableShared>> {
        self.ruling.tables.iter().find(|table| table.name == name)
    }

    fn notes(&self) -> Option<&Notes> {
        self.ruled.as_ref()?.notes.as_deref()
    }

    fn held(&self, slot: Slot) -> Option<&Tracked> {
        self.ruled.as_ref()?.tracked.get(slot.index())?.as_ref()
    }
}

impl World for Around<'_> {
    fn figure(&self, figure: &Figure) -> i64 {
        self.figure_of(figure)
    }

    fn is_up(&self, pool: &str, server: &str) -> bool {
        self.ruling.named(pool).is_some_and(|pool| pool.is_up(server))
    }

    fn counter(&self, of: Counted, table: Option<&str>, counter: Counter) -> Option<u64> {
        match (of, table) {
            (Counted::Tracked(slot), None) => {
                let Tracked { table, held, .. } = self.held(slot)?;
                table.lock().of_held(*held, counter, self.now)
            }
            // The same source in another table.
            (Counted::Tracked(slot), Some(table)) => self.counter_of(self.held(slot)?.source, table, counter),
            (Counted::Source, table) => self.counter_of(self.source, table?, counter),
        }
    }

    fn counter_of(&self, source: IpAddr, table: &str, counter: Counter) -> Option<u64> {
        self.table(table)?.lock().of_source(source, counter, self.now)
    }

    fn random(&self) -> u32 {
        random()
    }

    fn variable(&self, variable: &Variable) -> Option<Value<'static>> {
        match variable.scope {
            Scope::Process => self.service.global.variables().variable(variable).cloned(),
            Scope::Session | Scope::Transaction | Scope::Request => self.notes()?.variable(variable).cloned(),
        }
    }

    fn capture(&self, slot: u16) -> Option<Value<'static>> {
        self.notes()?.capture(slot).cloned()
    }
}

impl Effects for Around<'_> {
    fn is_pool(&self, name: &str) -> bool {
        self.ruling.place(name).is_some()
    }

    fn track(&mut self, slot: Slot, table: &str, mask: Option<(u8, u8)>) {
        if self.held(slot).is_some() {
            return;
        }
        let Some(table) = self.table(table).map(Arc::clone) else { return };
        let source = mask.map_or(self.source, |(v4, v6)| Key::network(self.source, v4, v6));
        let held = table.lock().hold(source, self.now);
        if let Some(held) = held
            && let Some(place) = self.ruled.get_or_insert_default().tracked.get_mut(slot.index())
        {
            *place = Some(Tracked { table, held, source });
        }
    }

    fn increment(&mut self, slot: Slot, counter: Purpose) {
        let _new = self.counter(Counted::Tracked(slot), None, Counter::Increment(counter));
    }

    fn set(&mut self, variable: &Variable, value: Option<Value<'static>>) {
        match variable.scope {
            Scope::Process => self.service.global.variables().set(variable, value),
            Scope::Session | Scope::Transaction | Scope::Request => {
                self.ruled.get_or_insert_default().notes.get_or_insert_default().set(variable, value);
            }
        }
    }

    fn put(&mut self, slot: u16, value: Value<'static>) {
        self.ruled.get_or_insert_default().notes.get_or_insert_default().put(slot, value);
    }
}

impl Ruled {
    /// What no line of a connection tells is forgotten: its server is chosen.
    pub(super) fn settle_notes(&mut self, line: &ConnectionLine) {
        if let Some(notes) = &mut self.notes {
            notes.settle(|variable| line.reads(variable));
        }
        self.notes.take_if(|notes| notes.is_empty());
    }
}

/// How long a pool waits for a client's hello, or request; none: it does not want to see it.
pub(super) fn hello_wait(pool: &model::Pool) -> Option<Duration> {
    let looks = pool.algorithm == Algorithm::Sni || wants_rdp(pool);
    let hashed = looks.then(|| Policy::new().inspect_delay);
    let kept = if let Affinity::Tls(spec) = &pool.affinity { Some(spec.wait) } else { None };
    hashed.max(kept)
}

/// Whether a pool goes by the cookie in an RDP client's request.
pub(super) fn wants_rdp(pool: &model::Pool) -> bool {
    pool.algorithm == Algorithm::RdpUser || pool.rdp_cookie.is_some()
}

/// How long a pool may wait for what its stick rules are about, if that is something that the client says.
fn stick_wait(pool: &model::Pool) -> Option<Duration> {
    pool.stick.iter().any(StickRule::listens).then(|| Policy::new().inspect_delay)
}

/// What the rules of a connection's pool say about its server.
pub(super) fn directions_of(ruled: Option<&Ruled>) -> Option<&Arc<Directions>> {
    ruled.and_then(|ruled| ruled.directions.as_ref())
}

/// What a connection names, in its hello or its request, where its pool hashes that.
pub(super) fn name_of(pool: &Pool, ruled: Option<&Ruled>) -> Option<KeyHash> {
    match pool.algorithm {
        Algorithm::Sni => ruled?.server_name.as_deref().map(KeyHash::of_name),
        Algorithm::RdpUser => ruled?.rdp_user,
        _ => None,
    }
}

impl Ruled {
    /// Nobody turned it away: it counts as a session of its sources. As in HAProxy, not of those that are tracked later.
    pub(super) fn admit(&self, now: Instant) {
        for Tracked { table, held, .. } in self.tracked.iter().flatten() {
            table.lock().begin_session(*held, now);
        }
    }

    /// It has brought and got so many bytes.
    pub(super) fn pass(&self, bytes: [u64; 2], now: Instant) {
        for Tracked { table, held, .. } in self.tracked.iter().flatten() {
            table.lock().pass(*held, bytes, now);
        }
    }
}

impl Drop for Ruled {
    fn drop(&mut self) {
        if self.tracked.iter().all(Option::is_none) {
            return;
        }
        let now = Instant::now();
        for Tracked { table, held, .. } in self.tracked.iter().flatten() {
            table.lock().release(*held, now);
        }
    }
}

impl Proxy {
    /// The rules of a service. One without any has some all the same when a pool wants to see the client's hello, or has rules.
    pub(super) fn ruling_of(&self, service: &Service, now: Instant) -> Option<Ruling> {
        let by_name: BTreeSet<&str> = service.pools().collect();
        let namings = || service.policy.iter().flat_map(|policy| policy.namings());
        let reached = self
            .pools
            .iter()
            .filter(|(name, _)| by_name.contains(name.as_str()) || namings().any(|naming| naming.can_be(name)));
        let pools: Vec<_> = reached.map(|(_, pool)| pool.spec()).collect();
        let hello = pools.iter().filter_map(|pool| hello_wait(pool).max(stick_wait(pool))).max();
        let sticks: Vec<StickRule> = pools.iter().flat_map(|pool| &pool.stick).cloned().collect();
        let policies: Vec<Arc<Policy>> = pools.iter().filter_map(|pool| pool.policy.clone()).collect();
        let wanted = hello.is_some() || !sticks.is_empty() || !policies.is_empty();
        let none = || wanted.then(|| Arc::new(Policy { inspect_delay: Duration::ZERO, ..Policy::new() }));
        let policy = service.policy.clone().or_else(none)?;
        Some(Ruling::new(&policy, Wants { hello, sticks, policies }, &self.pools, &self.tables, &self.lists, now))
    }

    /// What a table has counted stays as long as a rule names it.
    pub(super) fn commit_tables(&mut self, services: &[Service], pools: &[Pool], now: Instant) {
        let of_services = services.iter().filter_map(|service| service.policy.as_ref());
        let of_pools = pools.iter().filter_map(|pool| pool.policy.as_ref());
        let specs: Vec<_> = of_services.chain(of_pools).flat_map(|policy| &policy.tables).collect();
        self.tables.retain(|name, _| specs.iter().any(|spec| spec.name == *name));
        for spec in specs {
            match self.tables.get(&spec.name) {
                Some(table) => table.reconfigure(spec, now),
                None => _ = self.tables.insert(spec.name.clone(), Arc::new(TableShared::new(spec.clone()))),
            }
        }
    }
}
