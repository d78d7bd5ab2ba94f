//! The rules of a service, and the counters of its sources. Pure: what the client has said, what is open and what time it
//! is are told by the caller.

mod condition;
mod converted;
mod counters;
pub mod lists;
pub mod stick;

pub use condition::{Answer, Expressions, Facts, World, text_is};
use converted::Asked;
pub use counters::{Counters, Held, Passed, Rate, Source};
pub use lists::Lists;

use std::borrow::Cow;

use crate::model::Policy;
use crate::model::rule::{Action, Condition, Denial, Directions, Purpose, Rule, Slot, Stage, Test};

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
}

/// Asks the rules of one stage, beginning at its rule number `from`.
pub fn decide<'a>(
    policy: &'a Policy,
    stage: Stage,
    from: usize,
    facts: &Facts<'_>,
    expressions: &Expressions,
    world: &mut dyn Effects,
) -> Outcome<'a> {
    let known = facts.known(stage == Stage::Route && !policy.routes_wait);
    for (place, rule) in policy.of(stage).enumerate().skip(from) {
        let answer = match &rule.when {
            Some(condition) => condition::holds(condition, known, expressions, world),
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
                let Ok(name) = converted::name(naming, known, Asked { expressions, world }) else {
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
            // Of another stage, see `direct`.
            (Answer::Yes, Action::Server(_) | Action::Persistence(_)) => {}
        }
    }
    Outcome::Pass
}

/// Whether a condition holds, by what is known, of which no more will come.
#[must_use]
pub fn holds(condition: &Condition, facts: &Facts<'_>, expressions: &Expressions, world: &dyn World) -> bool {
    condition::holds(condition, facts.known(true), expressions, world) == Answer::Yes
}

/// What the rules of a pool say about a connection's server. `serves`: whether the pool's server of a name does; one that
/// does not is passed over. None: what the client has said does not suffice.
pub fn direct(
    policy: &Policy,
    facts: &Facts<'_>,
    expressions: &Expressions,
    world: &dyn World,
    serves: impl Fn(&str) -> bool,
) -> Option<Directions> {
    let asked = |rule: &Rule| {
        let holds = |when| condition::holds(when, facts.known(false), expressions, world);
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

/// Whether all rules from this one on accept, and none that waits no more goes by what the client says.
fn is_harmless(policy: &Policy, stage: Stage, from: usize) -> bool {
    let routes_need_it = !policy.routes_wait && policy.of(Stage::Route).any(Rule::listens);
    !routes_need_it && policy.of(stage).skip(from).all(|rule| rule.action == Action::Accept && !is_delay(rule))
}

#[cfg(test)]
mod tests;
