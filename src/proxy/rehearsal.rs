//! What the rules of a service would make of a client, told by the code that decides and without any effect.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Proxy;
use super::ruling::{Around, Ruling};
use crate::model::figure::Figure;
use crate::model::rule::{Counted, Counter, Directions, Persistence, Purpose, Slot, Stage};
use crate::model::value::{Scope, Value, Variable};
use crate::model::{Key, Policy, StickKeys};
use crate::rules::{self, Effects, Facts, Notes, Outcome, World, stick};

/// What rules would make of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// One line a stage that was asked.
    pub steps: Vec<String>,
    /// The pool it would go to; none: it would be turned away, or there is no pool for it.
    pub pool: Option<String>,
    /// What the rules of that pool say about its server.
    pub directions: Option<Directions>,
    /// What that pool would know it by.
    pub keys: Option<StickKeys>,
}

impl Proxy {
    /// What the rules of a service would make of a client now that connected to `destination` and, if `server_name` is
    /// given, sent a TLS hello with that name; otherwise it says nothing. None when the service is not known.
    #[must_use]
    pub fn rehearse(
        &self,
        service: &str,
        client: SocketAddr,
        destination: SocketAddr,
        server_name: Option<&str>,
    ) -> Option<Rehearsal> {
        let service = self.services.get(service)?;
        let pool = Some(service.spec.pool.clone());
        let mut rehearsal = Rehearsal { steps: Vec::new(), pool, directions: None, keys: None };
        let Some(ruling) = &service.ruling else { return Some(rehearsal) };
        let mut nothing = None;
        let around = Around { service, ruling, source: client.ip(), ruled: &mut nothing, now: Instant::now() };
        let mut world = Onlooker { around, tracked: [None; Slot::COUNT], notes: Notes::default() };
        for stage in [Stage::Connection, Stage::Session, Stage::Content, Stage::Route] {
            let facts = if stage < Stage::Content {
                Facts::unheard(client, destination)
            } else {
                Facts::told(client, destination, server_name)
            };
            if !rehearsal.play((ruling.policy(), ""), stage, (&facts, ruling), &mut world) {
                return Some(rehearsal);
            }
        }
        let facts = Facts::told(client, destination, server_name);
        let pool = rehearsal.pool.as_ref().and_then(|name| self.pools.get(name));
        let Some((shared, spec)) = pool.map(|shared| (shared, shared.spec())) else { return Some(rehearsal) };
        if let Some(policy) = &spec.policy {
            if !rehearsal.play((policy, " of the pool"), Stage::Content, (&facts, ruling), &mut world) {
                return Some(rehearsal);
            }
            let serves = |server: &str| spec.persist || shared.is_up(server);
            rehearsal.directions = rules::direct(policy, &facts, ruling.matchers(), &world, serves);
            rehearsal.tell_directions();
        }
        rehearsal.tell_notes(&world.notes);
        if let Some(rules) = spec.stick_rules() {
            rehearsal.keys = Some(stick::keys(rules, &facts, ruling.matchers(), &world).unwrap_or_default());
        }
        Some(rehearsal)
    }
}

impl Rehearsal {
    /// Whether the connection goes on after this stage.
    fn play(
        &mut self,
        (policy, whose): (&Policy, &str),
        stage: Stage,
        (facts, ruling): (&Facts<'_>, &Ruling),
        world: &mut dyn Effects,
    ) -> bool {
        if policy.of(stage).next().is_none() {
            return true;
        }
        let name = match stage {
            Stage::Connection => "connection",
            Stage::Session => "session",
            Stage::Content => "content",
            Stage::Route => "pool",
            Stage::Server => "server",
        };
        let (step, goes_on) = match rules::decide(policy, stage, 0, facts, ruling.matchers(), world) {
            Outcome::Pass if stage == Stage::Route => {
                (format!("{name} rules: none holds, so it is the service's own"), true)
            }
            Outcome::Pass | Outcome::Wait { .. } => (format!("{name} rules{whose}: let in"), true),
            Outcome::Reject(_) => (format!("{name} rules{whose}: turned away"), false),
            Outcome::Nowhere => (format!("{name} rules: there is no pool for it"), false),
            Outcome::Pool(pool) => {
                let step = format!("{name} rules: {pool}");
                self.pool = Some(pool.into_owned());
                (step, true)
            }
        };
        self.steps.push(step);
        if !goes_on {
            self.pool = None;
        }
        goes_on
    }

    /// What rules would keep about it.
    fn tell_notes(&mut self, notes: &Notes) {
        let text = |value: &Value<'_>| String::from_utf8_lossy(&value.as_text()).escape_debug().to_string();
        let variables = notes.variables().map(|(variable, value)| format!("{variable} is {}", text(value)));
        let captures = notes.captures().map(|(slot, value)| format!("capture {slot} is {}", text(value)));
        let kept: Vec<String> = variables.chain(captures).collect();
        if !kept.is_empty() {
            self.steps.push(format!("kept: {}", kept.join(", ")));
        }
    }

    fn tell_directions(&mut self) {
        let Some(Directions { server, persistence }) = &self.directions else { return };
        if let Some(persistence) = persistence {
            let what = match persistence {
                Persistence::Forced => "its server is tried although it is down (force-persist)",
                Persistence::Usual => "a server that is down is not tried (ignore-persist)",
            };
            self.steps.push(format!("server rules: {what}"));
        }
        if let Some(server) = server {
            self.steps.push(format!("server rules: {server} (use-server)"));
        }
    }
}

/// Sees the process as a connection does, and changes nothing.
struct Onlooker<'a> {
    around: Around<'a>,
    /// The tables in which the source would be tracked.
    tracked: [Option<(&'a str, IpAddr)>; Slot::COUNT],
    /// What would be noted about it.
    notes: Notes,
}

impl World for Onlooker<'_> {
    fn figure(&self, figure: &Figure) -> i64 {
        self.around.figure(figure)
    }

    fn is_up(&self, pool: &str, server: &str) -> bool {
        self.around.is_up(pool, server)
    }

    fn counter(&self, of: Counted, table: Option<&str>, counter: Counter) -> Option<u64> {
        let (counter, more) = match counter {
            Counter::Increment(purpose) => (Counter::Purpose(purpose), 1),
            Counter::Clear(purpose) => (Counter::Purpose(purpose), 0),
            // It would be one connection more itself.
            Counter::CountConnection => (Counter::ConnectionCount, 1),
            Counter::ConnectionCount | Counter::Connections | Counter::ConnectionRate => {
                (counter, u64::from(matches!(of, Counted::Tracked(_))))
            }
            other => (other, 0),
        };
        let (table, source) = match of {
            Counted::Tracked(slot) => {
                let (tracked, source) = (*self.tracked.get(slot.index())?)?;
                (table.unwrap_or(tracked), source)
            }
            Counted::Source => (table?, self.around.source),
        };
        Some(self.around.counter_of(source, table, counter).unwrap_or(0) + more)
    }

    fn counter_of(&self, source: IpAddr, table: &str, counter: Counter) -> Option<u64> {
        self.around.counter_of(source, table, counter)
    }

    fn random(&self) -> u32 {
        self.around.random()
    }

    fn variable(&self, variable: &Variable) -> Option<Value<'static>> {
        let process = || self.around.variable(variable).filter(|_| variable.scope == Scope::Process);
        self.notes.variable(variable).cloned().or_else(process)
    }

    fn capture(&self, slot: u16) -> Option<Value<'static>> {
        self.notes.capture(slot).cloned()
    }
}

impl Effects for Onlooker<'_> {
    fn is_pool(&self, name: &str) -> bool {
        self.around.is_pool(name)
    }

    fn track(&mut self, slot: Slot, table: &str, mask: Option<(u8, u8)>) {
        let source = self.around.source;
        let source = mask.map_or(source, |(v4, v6)| Key::network(source, v4, v6));
        let table = self.around.ruling.policy().tables.iter().find(|known| known.name == table);
        if let (Some(table), Some(place)) = (table, self.tracked.get_mut(slot.index())) {
            place.get_or_insert((&table.name, source));
        }
    }

    fn increment(&mut self, _: Slot, _: Purpose) {}

    fn set(&mut self, variable: &Variable, value: Option<Value<'static>>) {
        self.notes.set(variable, value);
    }

    fn put(&mut self, slot: u16, value: Value<'static>) {
        self.notes.put(slot, value);
    }
}
