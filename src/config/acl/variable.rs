//! Variables and captures: the actions that keep values in them, and what reads them.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::expression::{expression, naming, show_expression, show_naming};
use super::show::quoted;
use super::{Fault, Scope};
use crate::config::import::Word;
use crate::model::expression::{Expression, NamePiece, Origin};
use crate::model::rule::{Action, Stage};
use crate::model::value::{MOST_CAPTURES, Value, Variable};
use crate::rules::lists;

/// HAProxy's `set-var`: it takes what is there when the rule is reached, and waits for nothing.
const SET_NOW: &str = "set-var-now";
/// Native, and waits for what the client has to say for it.
const SET: &str = "set-var";
/// The same of a text with values in it.
const COMPOSE_NOW: &str = "set-var-fmt-now";
const COMPOSE: &str = "set-var-fmt";
const UNSET: &str = "unset-var";
const CAPTURE: &str = "capture";

/// `set-var(NAME) EXPRESSION`, `set-var-fmt(NAME) TEXT`, `unset-var(NAME)`, `capture EXPRESSION len N [id SLOT]`; none: it is another action.
pub(super) fn action(first: &Word, rest: &[Word], stage: Stage, scope: &Scope<'_>) -> Result<Option<Action>, Fault> {
    let name = first.text.split('(').next().unwrap_or_default();
    let of_variables = [SET, SET_NOW, COMPOSE, COMPOSE_NOW, UNSET];
    let variable = if of_variables.contains(&name) { Some(variable(first, name)?) } else { None };
    let action = match (name, rest, variable) {
        (SET | SET_NOW, [value], Some(variable)) => {
            let value = expression(value, scope)?;
            Action::Set { variable, waits: name == SET && value.listens(), value }
        }
        (COMPOSE | COMPOSE_NOW, [text], Some(variable)) => {
            let at = text.at;
            let text = naming(text, scope)?;
            if text.pieces.iter().any(|piece| matches!(piece, NamePiece::Text(text) if text.contains('%'))) {
                return Err(Fault::new(at, "a `%` can only begin a value here, such as `%[src]`"));
            }
            Action::Compose { variable, waits: name == COMPOSE && text.values().any(Expression::listens), text }
        }
        (SET | SET_NOW | COMPOSE | COMPOSE_NOW, [], _) => {
            return Err(Fault::new(first.at, format!("`{}` wants a value after it, such as `src`", first.text)));
        }
        (UNSET, [], Some(variable)) => Action::Unset(variable),
        (CAPTURE, [value, len, length, id @ ..], _) if len.text == "len" => {
            if stage != Stage::Content {
                return Err(Fault::new(first.at, "`capture` is for `content` rules"));
            }
            let number = |word: &Word, known: RangeInclusive<u16>| {
                let parsed = word.text.parse().ok().filter(|number| known.contains(number));
                let wrong = || format!("`{}` is not a number from {} to {}", word.text, known.start(), known.end());
                parsed.ok_or_else(|| Fault::new(word.at, wrong()))
            };
            let slot = match id {
                [] => None,
                [id, slot] if id.text == "id" => Some(number(slot, 0..=MOST_CAPTURES - 1)?),
                [more, ..] => return Err(misplaced(more)),
            };
            Action::Capture { slot, length: number(length, 1..=u16::MAX)?, value: expression(value, scope)? }
        }
        (CAPTURE, ..) => {
            return Err(Fault::new(
                first.at,
                "`capture` wants what to keep and how much: `capture req.ssl_sni len 50`",
            ));
        }
        (SET | SET_NOW | COMPOSE | COMPOSE_NOW, [_, more, ..], _) | (UNSET, [more, ..], _) => {
            return Err(misplaced(more));
        }
        _ => return Ok(None),
    };
    if stage < Stage::Content && action.values().any(Expression::listens) {
        let message = "a rule of this stage cannot know what the client says: make it a `content` rule";
        return Err(Fault::new(rest.first().unwrap_or(first).at, message));
    }
    Ok(Some(action))
}

fn misplaced(word: &Word) -> Fault {
    Fault::new(word.at, format!("`{}` cannot stand here: `if` or `unless` can", word.text))
}

fn variable(word: &Word, keyword: &str) -> Result<Variable, Fault> {
    let inside = |text: &str| Some(text.strip_prefix(keyword)?.strip_prefix('(')?.strip_suffix(')')?.to_owned());
    let Some(name) = inside(&word.text) else {
        return Err(Fault::new(word.at, format!("`{keyword}` wants a variable: `{keyword}(sess.name)`")));
    };
    named(&name).map_err(|message| Fault::new(word.at, message))
}

/// The variable of this name.
pub(in crate::config) fn named(name: &str) -> Result<Variable, String> {
    Variable::parse(name).ok_or_else(|| {
        format!(
            "`{name}` is not a variable's name: those are proc., sess., txn. or req. and letters, digits, `_` and `.`"
        )
    })
}

/// `var(txn.name)`, `capture.req.hdr(0)`, `str(text)` and their like; none: it is something else.
pub(super) fn origin(name: &str, inside: &str, scope: &Scope<'_>) -> Result<Option<Origin>, String> {
    let number = |number: i64| Origin::Constant(Value::Number(number));
    if matches!(name, "var" | "capture.req.hdr") && scope.of_requests {
        return Err(format!("`{name}` cannot be asked of a page: variables and captures are of services"));
    }
    Ok(Some(match name {
        "var" => {
            let (name, default) = inside.split_once(',').map_or((inside, None), |(name, value)| (name, Some(value)));
            let variable = named(name)?;
            let default = default.map(Arc::from).or_else(|| (scope.initially)(&variable));
            Origin::Variable(variable, default)
        }
        "capture.req.hdr" => {
            let slot = inside.parse();
            Origin::Capture(slot.map_err(|_| format!("`{name}` wants the number of a capture, such as `{name}(0)`"))?)
        }
        "str" if inside.contains(['(', ')', ',']) => {
            return Err(format!("`{name}({inside})` cannot be kept here: it has a parenthesis or a comma"));
        }
        "str" => Origin::Constant(Value::text(inside.as_bytes())),
        "int" => number(lists::number(inside)?),
        "bool" => match inside {
            "true" | "1" => number(1),
            "false" | "0" => number(0),
            _ => return Err(format!("`{inside}` is neither true nor false")),
        },
        "ipv4" | "ipv6" => {
            let address = inside.parse::<IpAddr>().ok().filter(|address| address.is_ipv4() == (name == "ipv4"));
            let address = address.ok_or_else(|| format!("`{inside}` is no address of {name}"))?;
            Origin::Constant(Value::Address(address))
        }
        _ => return Ok(None),
    }))
}

/// An action that keeps a value, as it is read; none: it is another one.
pub(super) fn show_action(action: &Action) -> Option<String> {
    let listens = action.values().any(Expression::listens);
    Some(match action {
        Action::Set { variable, value, waits } => {
            let name = if *waits || !listens { SET } else { SET_NOW };
            format!("{name}({variable}) {}", quoted(&show_expression(value)))
        }
        Action::Compose { variable, text, waits } => {
            let name = if *waits || !listens { COMPOSE } else { COMPOSE_NOW };
            format!("{name}({variable}) {}", quoted(&show_naming(text)))
        }
        Action::Unset(variable) => format!("{UNSET}({variable})"),
        Action::Capture { slot, length, value } => {
            let slot = slot.map_or_else(String::new, |slot| format!(" id {slot}"));
            format!("{CAPTURE} {} len {length}{slot}", quoted(&show_expression(value)))
        }
        _ => return None,
    })
}
