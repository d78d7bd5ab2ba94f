//! The rules of a service, and the counters of its sources. Pure: what the client has said, what is open and what time it
//! is are told by the caller.

mod compute;
mod condition;
mod counters;
mod expression;
pub mod lists;
mod notes;
pub mod stick;

use condition::Known;
pub use condition::{Answer, Facts, Matchers, World, text_is};
pub use counters::{Counters, Held, Passed, Rate, Source};
use expression::{Asked, Open};
pub use lists::Lists;
pub use notes::Notes;

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::model::Policy;
use crate::model::expression::{Expression, Origin};
use crate::model::rule::{Action, Condition, Denial, Directions, Purpose, Rule, Slot, Stage, Test};
use crate::model::value::{Scope, Value, Variable};

/// What one stage of a policy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The connection goes on.
    Pass,
    /// The connection ends.
    Reject(Denial),
    /// It goes to this pool.
    Pool(Cow<'a, str>),
    /// No pool is meant for it.
    Nowhere,
    /// What the client has said does not suffice: ask again from this rule of the stage on, with more.
    Wait {
        /// Place of the rule among those of the stage.
        from: usize,
    },
}

/// What rules do beside deciding.
pub trait Effects: World {
    /// Whether there is a pool of this name.
    fn is_pool(&self, name: &str) -> bool;
    /// Counts the connection as its source's, or its source's network's, unless the slot is taken.
    fn track(&mut self, slot: Slot, table: &str, mask: Option<(u8, u8)>);
    /// Adds one to a tracked source's counter.
    fn increment(&mut self, slot: Slot, counter: Purpose);
    /// Sets a variable; none: it holds nothing any more.
    fn set(&mut self, variable: &Variable, value: Option<Value<'static>>);
    /// Keeps what was captured.
    fn put(&mut self, slot: u16, value: Value<'static>);
}

/// Asks the rules of one stage, beginning at its rule number `from`.
pub fn decide<'a>(
    policy: &'a Policy,
    stage: Stage,
    from: usize,
    facts: &Facts<'_>,
    matchers: &Matchers,
    world: &mut dyn Effects,
) -> Outcome<'a> {
    let known = facts.known(stage == Stage::Route && !policy.routes_wait);
    if from > 0 && policy.of(stage).nth(from).is_some_and(is_asked_anew) {
        // As in HAProxy, which begins anew: rules that did not wait see what has come meanwhile. Nothing is counted twice.
        for rule in policy.of(stage).take(from).filter(|rule| keeps(rule)) {
            let holds = |condition| condition::holds(condition, known, matchers, world) == Answer::Yes;
            if rule.when.as_ref().is_none_or(holds) {
                let _known = note(rule, known, matchers, world);
            }
        }
    }
    for (place, rule) in policy.of(stage).enumerate().skip(from) {
        let answer = match &rule.when {
            Some(condition) => condition::holds(condition, known, matchers, world),
            None => Answer::Yes,
        };
        match (answer, &rule.action) {
            (Answer::No, _) => {}
            // Nothing that comes later could turn it away: there is nothing to wait for.
            (Answer::Unknown, Action::Accept) if !is_delay(rule) && is_harmless(policy, stage, place + 1) => {
                return Outcome::Pass;
            }
            (Answer::Unknown, _) => return Outcome::Wait { from: place },
            (Answer::Yes, Action::Accept) => return Outcome::Pass,
            (Answer::Yes, Action::Reject(denial)) => return Outcome::Reject(*denial),
            (Answer::Yes, Action::Pool(pool)) => return Outcome::Pool(pool.into()),
            (Answer::Yes, Action::Named(naming)) => {
                let Ok(name) = expression::name(naming, known, Asked { matchers, world }) else {
                    return Outcome::Wait { from: place };
                };
                // As in HAProxy, who is led to no pool goes to the service's own.
                return match name.filter(|name| world.is_pool(name)) {
                    Some(name) => Outcome::Pool(name.into()),
                    None if policy.leads_nowhere() => Outcome::Nowhere,
                    None => Outcome::Pass,
                };
            }
            (Answer::Yes, Action::Nowhere) => return Outcome::Nowhere,
            (Answer::Yes, Action::Track { slot, table, mask }) => world.track(*slot, table, *mask),
            (Answer::Yes, Action::Increment { slot, counter }) => world.increment(*slot, *counter),
            (Answer::Yes, Action::Set { .. } | Action::Compose { .. } | Action::Unset(_) | Action::Capture { .. }) => {
                if note(rule, known, matchers, world).is_err() {
                    return Outcome::Wait { from: place };
                }
            }
            // Of another stage, see `direct`.
            (Answer::Yes, Action::Server(_) | Action::Persistence(_)) => {}
        }
    }
    Outcome::Pass
}

/// Keeps what a rule wants kept. An error: it waits for more.
fn note(rule: &Rule, known: Known<'_, '_>, matchers: &Matchers, world: &mut dyn Effects) -> Result<(), Open> {
    let asked = |value, world: &dyn World| {
        let value = expression::value(value, known, Asked { matchers, world })?;
        Ok(value.map(Value::into_owned))
    };
    match &rule.action {
        Action::Set { variable, value, waits } => match asked(value, world) {
            Err(Open) if *waits => return Err(Open),
            Ok(Some(value)) if lives(variable, rule.stage) => world.set(variable, Some(value)),
            // Where there is none, the variable stays as it is.
            Ok(_) | Err(_) => {}
        },
        Action::Compose { variable, text, waits } => {
            let text = expression::text(text, *waits, known, Asked { matchers, world })?;
            if lives(variable, rule.stage) {
                world.set(variable, Some(text));
            }
        }
        Action::Unset(variable) => world.set(variable, None),
        Action::Capture { slot, length, value } => {
            if let Some(value) = asked(value, world)? {
                let text = value.as_text();
                let kept = text.get(..usize::from(*length)).unwrap_or(&text);
                world.put(slot.unwrap_or_default(), Value::text(kept));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether a variable that is set in a stage outlives it.
fn lives(variable: &Variable, stage: Stage) -> bool {
    stage >= Stage::Content || matches!(variable.scope, Scope::Process | Scope::Session)
}

/// What an expression comes to that asks nobody; none: it asks the connection, or the process.
#[must_use]
pub fn constant(expression: &Expression) -> Option<Value<'static>> {
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    let alone = matches!(expression.of, Origin::Constant(_) | Origin::Variable(..));
    let mut matchers = Matchers::default();
    matchers.ask(expression.lookups(), &Lists::default());
    alone.then(|| value(expression, &Facts::unheard(nobody, nobody), &matchers, &condition::Nobody)).flatten()
}

/// What an expression comes to, by what is known, of which no more will come.
#[must_use]
pub fn value(
    expression: &Expression,
    facts: &Facts<'_>,
    matchers: &Matchers,
    world: &dyn World,
) -> Option<Value<'static>> {
    let value = expression::value(expression, facts.known(true), Asked { matchers, world }).ok().flatten();
    value.map(Value::into_owned)
}

/// Whether a condition holds, by what is known, of which no more will come.
#[must_use]
pub fn holds(condition: &Condition, facts: &Facts<'_>, matchers: &Matchers, world: &dyn World) -> bool {
    condition::holds(condition, facts.known(true), matchers, world) == Answer::Yes
}

/// What the rules of a pool say about a connection's server. `serves`: whether the pool's server of a name does; one that
/// does not is passed over. None: what the client has said does not suffice.
pub fn direct(
    policy: &Policy,
    facts: &Facts<'_>,
    matchers: &Matchers,
    world: &dyn World,
    serves: impl Fn(&str) -> bool,
) -> Option<Directions> {
    let asked = |rule: &Rule| {
        let holds = |when| condition::holds(when, facts.known(false), matchers, world);
        match rule.when.as_ref().map_or(Answer::Yes, holds) {
            Answer::Yes => Some(true),
            Answer::No => Some(false),
            Answer::Unknown => None,
        }
    };
    let mut directions = Directions::default();
    for rule in policy.of(Stage::Server) {
        if let Action::Persistence(persistence) = rule.action
            && asked(rule)?
        {
            directions.persistence = Some(persistence);
            break;
        }
    }
    for rule in policy.of(Stage::Server) {
        if let Action::Server(server) = &rule.action
            && asked(rule)?
            && (directions.is_forced() || serves(server))
        {
            directions.server = Some(server.clone());
            break;
        }
    }
    Some(directions)
}

/// Whether a rule is there to let the client wait (`accept if WAIT_END`).
fn is_delay(rule: &Rule) -> bool {
    rule.when.iter().flat_map(|condition| condition.tests()).any(|test| matches!(test, Test::Ended))
}

/// Whether it keeps something, or forgets it.
fn keeps(rule: &Rule) -> bool {
    matches!(rule.action, Action::Set { .. } | Action::Compose { .. } | Action::Unset(_) | Action::Capture { .. })
}

/// Whether it waited for what its condition asks, rather than for what it captures.
fn is_asked_anew(rule: &Rule) -> bool {
    rule.when.is_some() || !matches!(rule.action, Action::Set { .. } | Action::Compose { .. } | Action::Capture { .. })
}

/// Whether all rules from this one on accept, and none that waits no more goes by what the client says.
fn is_harmless(policy: &Policy, stage: Stage, from: usize) -> bool {
    let routes_need_it = !policy.routes_wait && policy.of(Stage::Route).any(Rule::listens);
    let sets = |rule: &Rule| {
        let waits_not = matches!(rule.action, Action::Set { waits: false, .. } | Action::Compose { waits: false, .. });
        waits_not && rule.action.values().any(Expression::listens)
    };
    let needed = routes_need_it || policy.of(stage).take(from).any(sets);
    !needed && policy.of(stage).skip(from).all(|rule| rule.action == Action::Accept && !is_delay(rule))
}

#[cfg(test)]
mod tests;
