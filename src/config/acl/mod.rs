//! Rules and conditions as text: HAProxy's ACL language, which haproxy.cfg and native files share.
//!
//! What a condition names (`acl NAME ...`) is put in its place, so that a rule stands alone. Natively an ACL in braces can
//! have several tests with `||` between two, which HAProxy does not have: that is how an ACL of several lines is written.

mod converter;
mod expression;
mod figure;
mod numeric;
mod page;
mod pattern;
mod predefined;
mod show;
mod stick;
mod template;
mod test;
mod variable;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::import::Word;
use super::source::Location;
use crate::model::rule::{Action, Condition, Denial, Persistence, Purpose, Rule, Slot, Stage, Term, Test};
use crate::model::value::Variable;

pub(super) use expression::{expression, log_line, naming};
pub(super) use page::{page_rule, show_page_rule};
use predefined::predefined;
pub(super) use show::{condition as show_condition, show};
pub(super) use stick::{show_stick, stick, stick_rule};
pub(super) use test::tests;
pub(super) use variable::named;

/// What is wrong with a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Location,
    pub(super) message: String,
}

impl Fault {
    fn new(at: Location, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl From<Fault> for Diagnostic {
    fn from(fault: Fault) -> Self {
        Self::error(fault.at, fault.message)
    }
}

/// An ACL's tests, or what is wrong with it, which matters where it is used.
pub(super) type Acl = Result<Arc<[Test]>, Fault>;

/// What rules refer to without saying it.
pub(super) struct Scope<'a> {
    /// The named ACLs.
    pub(super) acls: &'a HashMap<String, Acl>,
    /// The pool or table that is meant where none is named: that of the same section.
    pub(super) own: Option<&'a str>,
    /// They are about HTTP requests, which have been read, rather than about connections.
    pub(super) of_requests: bool,
    /// Reads the file of `-f`.
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The value of an environment variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// What a variable of the process holds from the beginning on.
    pub(super) initially: &'a dyn Fn(&Variable) -> Option<Arc<str>>,
}

/// Names of the stages in native rules.
const STAGES: [(&str, Stage); 3] =
    [("connection", Stage::Connection), ("session", Stage::Session), ("content", Stage::Content)];
/// Native for HAProxy's `use_backend`.
const USE_POOL: &str = "use-pool";
/// Native for what HAProxy does without a `default_backend`.
const USE_NO_POOL: &str = "use-no-pool";

/// Native and HAProxy's, for a pool: a server, and what stickiness means.
pub(super) const USE_SERVER: &str = "use-server";
const PERSISTENCE: [(&str, Persistence); 2] =
    [("force-persist", Persistence::Forced), ("ignore-persist", Persistence::Usual)];

/// A native rule, such as `connection reject if { src 10.0.0.0/8 }`.
pub(super) fn rule(words: &[Word], at: Location, scope: &Scope<'_>) -> Result<Rule, Fault> {
    let Some((first, rest)) = words.split_first() else { return Err(Fault::new(at, "an empty rule")) };
    if let Some((_, stage)) = STAGES.iter().find(|(name, _)| *name == first.text) {
        return staged(*stage, first.at, rest, scope);
    }
    let (before, when) = split(rest, scope)?;
    let action = match (first.as_str(), before) {
        (USE_POOL, [name]) if name.text.contains("%[") => Action::Named(naming(name, scope)?),
        (USE_POOL, [pool]) => Action::Pool(pool.text.clone()),
        (USE_POOL, _) => return Err(Fault::new(first.at, "`use-pool` wants the name of one pool after it")),
        (USE_NO_POOL, []) => Action::Nowhere,
        (other, _) => match server_action(first, before)? {
            Some(action) => return Ok(Rule { stage: Stage::Server, action, when }),
            None => {
                let message = format!(
                    "a rule cannot begin with `{other}`: connection, session, content, use-pool and use-no-pool can, for a pool use-server, force-persist and ignore-persist"
                );
                return Err(Fault::new(first.at, message));
            }
        },
    };
    Ok(Rule { stage: Stage::Route, action, when })
}

/// `use-server NAME`, `force-persist`, `ignore-persist`; none: it is something else.
pub(super) fn server_action(first: &Word, rest: &[Word]) -> Result<Option<Action>, Fault> {
    let persistence = PERSISTENCE.iter().find(|(name, _)| *name == first.text);
    Ok(match (first.as_str(), rest, persistence) {
        (_, [], Some((_, persistence))) => Some(Action::Persistence(*persistence)),
        (name, [more, ..], Some(_)) => {
            let message = format!("`{}` cannot stand after `{name}`: `if` or `unless` can", more.text);
            return Err(Fault::new(more.at, message));
        }
        (USE_SERVER, [server], None) => Some(Action::Server(server.text.clone())),
        (USE_SERVER, _, None) => {
            return Err(Fault::new(first.at, "`use-server` wants the name of one server after it"));
        }
        (_, _, None) => None,
    })
}

/// A rule of a stage: `reject if { src 10.0.0.0/8 }`. `at` is where it would begin.
pub(super) fn staged(stage: Stage, at: Location, words: &[Word], scope: &Scope<'_>) -> Result<Rule, Fault> {
    let (before, when) = split(words, scope)?;
    let Some((first, rest)) = before.split_first() else {
        return Err(Fault::new(at, "an action is missing here, such as `reject`"));
    };
    let action = match (first.as_str(), rest) {
        ("accept", []) => Action::Accept,
        ("reject", []) => Action::Reject(Denial::Rule),
        ("silent-drop", []) => Action::Reject(Denial::Silent),
        ("accept" | "reject" | "silent-drop", [more, ..]) => {
            return Err(Fault::new(more.at, format!("`{}` cannot stand here: `if` or `unless` can", more.text)));
        }
        (name, rest) if name.starts_with("track-sc") => track(first, rest, scope)?,
        (name, []) if name.starts_with("sc-inc-gpc") => increment(first)?,
        (other, rest) => match variable::action(first, rest, stage, scope)? {
            Some(action) => action,
            None => {
                let message = format!(
                    "`{other}` is not an action: accept, reject, silent-drop, track-sc0, sc-inc-gpc0(0), set-var(NAME), unset-var(NAME) and capture are"
                );
                return Err(Fault::new(first.at, message));
            }
        },
    };
    Ok(Rule { stage, action, when })
}

/// `track-sc0 src[,ipmask(24)] [table NAME]`
fn track(word: &Word, rest: &[Word], scope: &Scope<'_>) -> Result<Action, Fault> {
    let slot = word.text.strip_prefix("track-sc").and_then(slot);
    let slot =
        slot.ok_or_else(|| Fault::new(word.at, format!("`{}` is not there: track-sc0 to track-sc2 are", word.text)))?;
    let (key, table) = match rest {
        [] => return Err(Fault::new(word.at, format!("`{}` wants `src` after it", word.text))),
        [key] => (key, scope.own.map(str::to_owned)),
        [key, table, name] if table.text == "table" => (key, Some(name.text.clone())),
        [_, more, ..] => {
            return Err(Fault::new(more.at, format!("`{}` cannot stand here: `table NAME` can", more.text)));
        }
    };
    let mask = match key.text.strip_prefix("src") {
        Some("") => None,
        rest => {
            let bits = rest.and_then(|rest| rest.strip_prefix(",ipmask(")?.strip_suffix(')')).and_then(converter::mask);
            let message = || format!("`{}` cannot be tracked: `src` and `src,ipmask(24,64)` can", key.text);
            Some(bits.ok_or_else(|| Fault::new(key.at, message()))?)
        }
    };
    let table = table.ok_or_else(|| Fault::new(key.at, "say in which table: `track-sc0 src table NAME`"))?;
    Ok(Action::Track { slot, table, mask })
}

/// `sc-inc-gpc0(0)`
fn increment(word: &Word) -> Result<Action, Fault> {
    let parsed = word.text.strip_prefix("sc-inc-gpc").and_then(|rest| {
        let (counter, slot_text) = rest.strip_suffix(')')?.split_once('(')?;
        Some(Action::Increment { slot: slot(slot_text)?, counter: purpose(counter)? })
    });
    parsed.ok_or_else(|| {
        let message = format!("`{}` is not there: sc-inc-gpc0(0) to sc-inc-gpc1(2) are", word.text);
        Fault::new(word.at, message)
    })
}

fn slot(text: &str) -> Option<Slot> {
    Slot::new(text.parse().ok()?)
}

fn purpose(text: &str) -> Option<Purpose> {
    match text {
        "0" => Some(Purpose::Gpc0),
        "1" => Some(Purpose::Gpc1),
        _ => None,
    }
}

/// What stands before `if` or `unless`, and the condition after it.
pub(super) fn split<'w>(words: &'w [Word], scope: &Scope<'_>) -> Result<(&'w [Word], Option<Condition>), Fault> {
    let Some(at) = words.iter().position(|word| matches!(word.as_str(), "if" | "unless")) else {
        return Ok((words, None));
    };
    let (before, rest) = words.split_at(at);
    match rest.split_first() {
        Some((keyword, terms)) => Ok((before, Some(condition(keyword, terms, scope)?))),
        None => Ok((before, None)),
    }
}

/// `if ...` or `unless ...` alone.
pub(super) fn only_condition(words: &[Word], at: Location, scope: &Scope<'_>) -> Result<Condition, Fault> {
    match split(words, scope)? {
        ([], Some(condition)) => Ok(condition),
        _ => Err(Fault::new(at, "a condition is wanted here: `if` or `unless`, and what is asked")),
    }
}

/// `[!]NAME`, `[!]{ TEST }`, side by side: all of them; with `||` or `or` between: any.
fn condition(keyword: &Word, words: &[Word], scope: &Scope<'_>) -> Result<Condition, Fault> {
    let negated = keyword.text == "unless";
    let mut any = vec![Vec::new()];
    let mut words = words.iter();
    let mut not = false;
    let mut end = keyword.at;
    while let Some(word) = words.next() {
        end = word.at;
        let name = word.text.trim_start_matches('!');
        not ^= (word.text.len() - name.len()) % 2 == 1;
        let tests = match name {
            "" => continue,
            "||" | "or" => {
                if any.last().is_none_or(Vec::is_empty) || not {
                    return Err(Fault::new(word.at, format!("`{name}` wants a condition before it")));
                }
                any.push(Vec::new());
                continue;
            }
            "{" => {
                let mut closed = false;
                let inside = words.by_ref().take_while(|word| {
                    closed = word.text == "}";
                    !closed
                });
                let inside: Vec<Word> = inside.cloned().collect();
                if !closed {
                    return Err(Fault::new(word.at, "a `{` is not closed"));
                }
                alternatives(word, &inside, scope)?
            }
            name => match scope.acls.get(name) {
                Some(acl) => acl.clone()?,
                None => predefined(name, scope.of_requests).map_err(|message| Fault::new(word.at, message))?,
            },
        };
        let term = Term { negated: std::mem::take(&mut not), any: tests };
        match any.last_mut() {
            Some(line) => line.push(term),
            None => any.push(vec![term]),
        }
    }
    if any.last().is_none_or(Vec::is_empty) || not {
        return Err(Fault::new(end, format!("a condition is missing after `{}`", keyword.text)));
    }
    Ok(Condition { negated, any })
}

/// The tests between `{` and `}`.
fn alternatives(brace: &Word, words: &[Word], scope: &Scope<'_>) -> Result<Arc<[Test]>, Fault> {
    let mut all = Vec::new();
    for words in words.split(|word| word.text == "||") {
        all.extend(tests(brace.at, words, scope)?);
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests;
