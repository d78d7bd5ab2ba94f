//! Stick rules: `on src,ipmask(24)`, `match req.ssl_sni if { .. }`.

use super::expression::{expression, show_expression};
use super::show::quoted;
use super::{Fault, Scope, split};
use crate::config::import::Word;
use crate::config::source::Location;
use crate::model::expression::{Expression, Origin};
use crate::model::rule::{Condition, Quantity, Test};
use crate::model::{StickAction, StickRule};

/// The actions by their names.
const ACTIONS: [(&str, StickAction); 4] = [
    ("on", StickAction::On),
    ("match", StickAction::Match),
    ("store-request", StickAction::Store),
    ("store-response", StickAction::StoreAnswer),
];

/// A rule with its action. `at` is where it would begin.
pub(in crate::config) fn stick_rule(words: &[Word], at: Location, scope: &Scope<'_>) -> Result<StickRule, Fault> {
    let Some((first, rest)) = words.split_first() else { return Err(Fault::new(at, "an empty rule")) };
    let Some((_, action)) = ACTIONS.iter().find(|(name, _)| *name == first.text) else {
        let message =
            format!("a stick rule cannot begin with `{}`: on, match, store-request and store-response can", first.text);
        return Err(Fault::new(first.at, message));
    };
    stick(*action, rest, first.at, scope)
}

/// What follows an action: `src,ipmask(24) if { .. }`.
pub(in crate::config) fn stick(
    action: StickAction,
    words: &[Word],
    at: Location,
    scope: &Scope<'_>,
) -> Result<StickRule, Fault> {
    let (before, when) = split(words, scope)?;
    let key = match before {
        [word] => expression(word, scope).and_then(|key| {
            let shared = || format!("clients cannot be known by `{}`, which says nothing about them", word.text);
            if is_of_the_client(&key) { Ok(key) } else { Err(Fault::new(word.at, shared())) }
        })?,
        [] => return Err(Fault::new(at, "say what clients are known by, such as `src`")),
        [_, more, ..] => {
            return Err(Fault::new(more.at, format!("`{}` cannot stand here: `if` or `unless` can", more.text)));
        }
    };
    if let Some(asked) = when.iter().flat_map(Condition::tests).find(|test| !is_of_the_connection(test)) {
        let message = format!("a condition of a stick rule can ask for the connection only, not for {asked:?}");
        return Err(Fault::new(at, message));
    }
    let key = if action == StickAction::StoreAnswer { key.answered() } else { key };
    let is_of_the_answer = key.is_of_the_answer() || when.iter().flat_map(Condition::tests).any(Test::is_of_the_answer);
    let action = match action {
        // What does not depend on the answer is the same before.
        StickAction::StoreAnswer if !is_of_the_answer => StickAction::Store,
        action => action,
    };
    let rule = StickRule { action, key, when };
    let noted = rule.key.variables().next().is_some() || matches!(rule.key.of, Origin::Capture(_));
    if rule.is_of_the_answer() && (rule.listens() || noted) {
        let message = "what a client says, and what rules kept of that, is gone when its server answers: `store-request` stores it";
        return Err(Fault::new(at, message));
    }
    if is_of_the_answer && !rule.is_of_the_answer() {
        return Err(Fault::new(at, "a server has not said anything yet: `store-response` stores what it says"));
    }
    Ok(rule)
}

fn is_of_the_connection(test: &Test) -> bool {
    match test {
        Test::ServerUp { .. } => false,
        Test::Value { of, .. } => is_of_the_client(of),
        Test::Number(quantity, _) => is_of_a_client(quantity),
        Test::Always(_) | Test::Ended | Test::Http | Test::Address(..) | Test::Text { .. } => true,
    }
}

/// Whether it says something about the connection; tables and the process are not asked where clients are known again.
fn is_of_the_client(value: &Expression) -> bool {
    let asks_tables = value.counted().next().is_some();
    !asks_tables
        && match &value.of {
            Origin::Number(quantity) => is_of_a_client(quantity),
            Origin::Address(_) | Origin::Text(_) | Origin::Variable(..) | Origin::Capture(_) | Origin::Constant(_) => {
                true
            }
        }
}

fn is_of_a_client(quantity: &Quantity) -> bool {
    matches!(quantity, Quantity::Port(_)) || quantity.listens()
}

/// Parts between commas that are in no parentheses.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth <= 0
    })
}

/// A rule as text.
pub(in crate::config) fn show_stick(rule: &StickRule) -> String {
    let action = ACTIONS.iter().find(|(_, action)| *action == rule.action).map_or("", |(name, _)| name);
    let when = rule.when.as_ref().map_or(String::new(), |when| format!(" {}", super::show::condition(when)));
    format!("{action} {}{when}", quoted(&show_expression(&rule.key)))
}
