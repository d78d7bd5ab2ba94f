//! Between accept and the choice of a server, for services that have rules: who is turned away, what the client says first,
//! and which pool it goes to. What it says is looked at and stays where it is, for the relay to read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Binding, Connection, Reset, State, Verdict};
use super::relay::Ready;
use super::shared::{PoolShared, ServiceShared};
use super::upstream::Upstream;
use super::worker::Context;
use crate::model::Policy;
use crate::model::rule::{Counted, Counter, Denial, Purpose, Slot, SourceTable, Stage};
use crate::os::tcp::Stream;
use crate::rules::{self, Counters, Effects, Expressions, Facts, Held, Outcome, Rate, World};
use crate::stats::EndReason;

/// More than this of what a client says first is not looked at.
const MOST_HEARD: usize = 16 * 1024;

/// The rules of a service, ready to be asked.
#[derive(Debug)]
pub(super) struct Ruling {
    policy: Arc<Policy>,
    expressions: Expressions,
    /// The pools its rules name.
    pools: Vec<(String, Arc<PoolShared>)>,
    tables: Vec<Arc<TableShared>>,
    /// New connections, where they are limited.
    sessions: Option<Mutex<Rate>>,
    /// Some rule asks for what the client says.
    listens: bool,
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
    pool: Option<usize>,
    /// The name in its TLS hello, where that was listened for.
    pub(super) server_name: Option<Box<str>>,
    /// The sources that it counts for, until it is dropped.
    tracked: [Option<(Arc<TableShared>, Held)>; Slot::COUNT],
}

/// A client that is listened to.
#[derive(Debug)]
pub(super) struct Inspecting {
    /// How it will go on.
    pub(super) upstream: Box<Upstream>,
    stage: Stage,
    from: usize,
    until: Instant,
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

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ruling {
    /// `pool` and `table` find what the rules name; what is not found answers as if it were empty.
    pub(super) fn new(
        policy: &Arc<Policy>,
        pool: impl Fn(&str) -> Option<Arc<PoolShared>>,
        table: impl Fn(&str) -> Option<Arc<TableShared>>,
        now: Instant,
    ) -> Self {
        let mut pools: Vec<(String, Arc<PoolShared>)> = Vec::new();
        for name in policy.pools() {
            if !pools.iter().any(|(known, _)| known == name) {
                pools.extend(pool(name).map(|pool| (name.to_owned(), pool)));
            }
        }
        let mut conditions = [Stage::Content, Stage::Route]
            .into_iter()
            .flat_map(|stage| policy.of(stage))
            .filter_map(|rule| rule.when.as_ref());
        Self {
            expressions: Expressions::of(policy),
            pools,
            tables: policy.tables.iter().filter_map(|spec| table(&spec.name)).collect(),
            sessions: policy.sessions_per_second.map(|_| Mutex::new(Rate::new(now))),
            listens: conditions.any(|condition| condition.tests().any(crate::model::rule::Test::listens)),
            policy: Arc::clone(policy),
        }
    }

    /// Whether it leads to the same pools and tables as another one of the same policy.
    pub(super) fn is_wired_as(&self, other: &Self) -> bool {
        self.pools.len() == other.pools.len()
            && self.pools.iter().zip(&other.pools).all(|(one, other)| Arc::ptr_eq(&one.1, &other.1))
            && self.tables.len() == other.tables.len()
            && self.tables.iter().zip(&other.tables).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn expressions(&self) -> &Expressions {
        &self.expressions
    }

    /// The pools that it sends connections to or looks at.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Arc<PoolShared>> {
        self.pools.iter().map(|(_, pool)| pool)
    }

    /// The pool that a connection was sent to.
    pub(super) fn pool(&self, ruled: &Ruled) -> Option<&Arc<PoolShared>> {
        self.pools.get(ruled.pool?).map(|(_, pool)| pool)
    }

    fn named(&self, name: &str) -> Option<&PoolShared> {
        self.pools.iter().find(|(known, _)| known == name).map(|(_, pool)| pool.as_ref())
    }

    /// Whether one more connection may be accepted now.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let limit = self.policy.sessions_per_second.map_or(u64::MAX, u64::from);
        self.sessions.as_ref().is_none_or(|rate| lock(rate).value(SECOND, now) < limit)
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn lock(rate: &Mutex<Rate>) -> MutexGuard<'_, Rate> {
    rate.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn held(&self, slot: Slot) -> Option<&(Arc<TableShared>, Held)> {
        self.ruled.as_ref()?.tracked.get(slot.index())?.as_ref()
    }
}

impl World for Around<'_> {
    fn service_connections(&self) -> u64 {
        self.service.stats.open.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn pool_connections(&self, pool: &str) -> u64 {
        self.ruling.named(pool).map_or(0, PoolShared::open)
    }

    fn usable_servers(&self, pool: &str) -> u64 {
        self.ruling.named(pool).map_or(0, PoolShared::usable_servers)
    }

    fn is_up(&self, pool: &str, server: &str) -> bool {
        self.ruling.named(pool).is_some_and(|pool| pool.is_up(server))
    }

    fn counter(&self, of: Counted, table: Option<&str>, counter: Counter) -> Option<u64> {
        match (of, table) {
            (Counted::Tracked(slot), None) => {
                let (table, held) = self.held(slot)?;
                table.lock().of_held(*held, counter, self.now)
            }
            // The same source in another table.
            (Counted::Tracked(slot), Some(table)) => {
                self.held(slot)?;
                self.table(table)?.lock().of_source(self.source, counter, self.now)
            }
            (Counted::Source, table) => self.table(table?)?.lock().of_source(self.source, counter, self.now),
        }
    }
}

impl Effects for Around<'_> {
    fn track(&mut self, slot: Slot, table: &str) {
        if self.held(slot).is_some() {
            return;
        }
        let Some(table) = self.table(table).map(Arc::clone) else { return };
        let held = table.lock().hold(self.source, self.now);
        if let Some(held) = held
            && let Some(place) = self.ruled.get_or_insert_default().tracked.get_mut(slot.index())
        {
            *place = Some((table, held));
        }
    }

    fn increment(&mut self, slot: Slot, counter: Purpose) {
        let _new = self.counter(Counted::Tracked(slot), None, Counter::Increment(counter));
    }
}

/// The rules that are asked on accept. An error says why the client is turned away.
pub(super) fn admit(
    stream: &Stream,
    client: SocketAddr,
    binding: &Binding,
    now: Instant,
) -> Result<Option<Box<Ruled>>, EndReason> {
    let service = &binding.service;
    let Some(ruling) = &service.ruling else { return Ok(None) };
    if let Some(rate) = &ruling.sessions {
        lock(rate).add(SECOND, now);
    }
    let mut ruled = None;
    let facts = Facts::unheard(client, binding.destination(stream));
    let mut around = Around { service, ruling, source: client.ip(), ruled: &mut ruled, now };
    match rules::decide(&ruling.policy, Stage::Connection, 0, &facts, &ruling.expressions, &mut around) {
        Outcome::Reject(denial) => Err(reason(Stage::Connection, denial)),
        Outcome::Pass | Outcome::Pool(_) | Outcome::Nowhere | Outcome::Wait { .. } => Ok(ruled),
    }
}

fn reason(stage: Stage, denial: Denial) -> EndReason {
    match (denial, stage) {
        (Denial::Limit, _) => EndReason::SourceLimit,
        (Denial::Rule, Stage::Connection) => EndReason::DeniedConnection,
        (Denial::Rule, Stage::Session) => EndReason::DeniedSession,
        (Denial::Rule, Stage::Content | Stage::Route) => EndReason::DeniedContent,
    }
}

impl Connection {
    /// The client's address is certain: asks the rules from there on, then chooses a server.
    pub(super) fn inspect(&mut self, context: &mut Context<'_>) -> Verdict {
        if self.binding.service.ruling.is_none() {
            return self.dispatch(context);
        }
        let binding = Rc::clone(&self.binding);
        let (service, Some(ruling)) = (&binding.service, &binding.service.ruling) else { return Verdict::Keep };
        let facts = Facts::unheard(self.client, self.destination);
        let mut around = Around { service, ruling, source: self.client.ip(), ruled: &mut self.ruled, now: context.now };
        if let Outcome::Reject(denial) =
            rules::decide(&ruling.policy, Stage::Session, 0, &facts, &ruling.expressions, &mut around)
        {
            return Verdict::End(reason(Stage::Session, denial), Reset::Client);
        }
        let State::Upstream(upstream) = std::mem::replace(&mut self.state, State::Over) else { return Verdict::Keep };
        let until = context.now + ruling.policy.inspect_delay;
        self.state = State::Inspecting(Box::new(Inspecting { upstream, stage: Stage::Content, from: 0, until }));
        self.listen(context)
    }

    /// Something was reported about a client that is listened to.
    pub(super) fn on_heard(&mut self, ready: Ready, context: &mut Context<'_>) -> Verdict {
        let State::Inspecting(inspecting) = &mut self.state else { return Verdict::Keep };
        inspecting.upstream.client_ready.add(ready);
        self.listen(context)
    }

    /// Its time is over, or the client's.
    pub(super) fn on_inspection_timer(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Inspecting(inspecting) = &self.state else { return Verdict::Keep };
        if context.now < inspecting.until {
            return Verdict::End(EndReason::ClientTimeout, Reset::None);
        }
        self.listen(context)
    }

    pub(super) fn inspection_deadline(&self, inspecting: &Inspecting) -> Instant {
        let silence = self.binding.service.spec.client_timeout.map(|silence| self.started + silence);
        silence.map_or(inspecting.until, |at| at.min(inspecting.until))
    }

    /// Looks at what the client has said, and asks the rules that wait for it.
    fn listen(&mut self, context: &mut Context<'_>) -> Verdict {
        let binding = Rc::clone(&self.binding);
        let service = &binding.service;
        let (Some(ruling), State::Inspecting(inspecting)) = (&service.ruling, &mut self.state) else {
            return Verdict::Keep;
        };
        let Inspecting { upstream, stage, from, until } = inspecting.as_mut();
        let scratch = context.workspace.scratch();
        let heard = if ruling.listens { peek(&upstream.client, scratch) } else { Ok((0, false)) };
        let Ok((count, over)) = heard else { return Verdict::End(EndReason::ClientAborted, Reset::None) };
        let ended = over || upstream.client_ready.read_end || context.now >= *until;
        let heard = scratch.get(..count).unwrap_or_default();
        let facts = Facts::new(self.client, self.destination, heard, ended);
        let mut around = Around { service, ruling, source: self.client.ip(), ruled: &mut self.ruled, now: context.now };
        loop {
            match rules::decide(&ruling.policy, *stage, *from, &facts, &ruling.expressions, &mut around) {
                Outcome::Pass if *stage == Stage::Content => (*stage, *from) = (Stage::Route, 0),
                Outcome::Pass => break,
                Outcome::Pool(name) => {
                    let place = ruling.pools.iter().position(|(known, _)| known == name);
                    self.ruled.get_or_insert_default().pool = place;
                    break;
                }
                Outcome::Wait { from: rule } => {
                    *from = rule;
                    return Verdict::Keep;
                }
                Outcome::Reject(denial) => {
                    // Bytes that nobody read would turn the end of the stream into a reset.
                    let _read = context.workspace.scratch().get_mut(..count).map(|heard| upstream.client.recv(heard));
                    return Verdict::End(reason(*stage, denial), Reset::None);
                }
                Outcome::Nowhere => return Verdict::End(EndReason::NoServer, Reset::Client),
            }
        }
        let State::Inspecting(inspecting) = std::mem::replace(&mut self.state, State::Over) else {
            return Verdict::Keep;
        };
        if let Some(name) = facts.into_hello().and_then(|hello| hello.server_name) {
            self.ruled.get_or_insert_default().server_name = Some(name.into());
        }
        self.spec = self.pool().spec();
        let Inspecting { mut upstream, .. } = *inspecting;
        upstream.restart(context.now);
        self.state = State::Upstream(upstream);
        self.dispatch(context)
    }
}

/// Bytes that wait to be read, and whether more would not be looked at or will not come.
fn peek(client: &Stream, scratch: &mut [u8]) -> io::Result<(usize, bool)> {
    let room = scratch.len().min(MOST_HEARD);
    let Some(scratch) = scratch.get_mut(..room) else { return Ok((0, true)) };
    match client.peek(scratch) {
        Ok(count) => Ok((count, count == 0 || count == room)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok((0, false)),
        Err(error) => Err(error),
    }
}

impl Drop for Ruled {
    fn drop(&mut self) {
        if self.tracked.iter().all(Option::is_none) {
            return;
        }
        let now = Instant::now();
        for (table, held) in self.tracked.iter().flatten() {
            table.lock().release(*held, now);
        }
    }
}
