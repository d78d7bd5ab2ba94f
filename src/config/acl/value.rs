//! Expressions: `req.ssl_sni,lower,map(/etc/names.map)`, `var(txn.sni)`; what keeps their values, and the lines that tell them.

use super::test::{Fetch, fetch};
use super::{Fault, Scope, map, pattern};
use crate::config::import::Word;
use crate::config::source::Location;
use crate::model::LogSample;
use crate::model::rule::{Action, Quantity, Stage, Test};
use crate::model::value::{Comparison, Converter, Expression, LogLine, Origin, Value, Variable};

/// What an expression comes to, as far as that is known when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Number,
    Text,
    /// Whatever a variable holds.
    Any,
}

/// HAProxy's `set-var`: it takes what is there when the rule is reached, and waits for nothing.
const SET_NOW: &str = "set-var-now";
/// Native, and waits for what the client has to say for it.
const SET: &str = "set-var";
const UNSET: &str = "unset-var";
const CAPTURE: &str = "capture";

/// The part of a text in parentheses that `name` stands before.
fn argument<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// Whether a test is about something that only expressions know.
pub(super) fn is_one(name: &str) -> bool {
    name.starts_with("var(") || name.starts_with("capture.req.hdr(")
}

/// `set-var(NAME) EXPRESSION`, `unset-var(NAME)`, `capture EXPRESSION len N [id SLOT]`; none: it is another action.
pub(super) fn action(first: &Word, rest: &[Word], stage: Stage, scope: &Scope<'_>) -> Result<Option<Action>, Fault> {
    let name = first.text.split('(').next().unwrap_or_default();
    let variable = if [SET, SET_NOW, UNSET].contains(&name) { Some(variable(first, name)?) } else { None };
    let action = match (name, rest, variable) {
        (SET | SET_NOW, [value], Some(variable)) => {
            let value = expression(value, scope)?;
            Action::Set { variable, waits: name == SET && value.listens(), value }
        }
        (SET | SET_NOW, [], _) => {
            return Err(Fault::new(first.at, format!("`{}` wants a value after it, such as `src`", first.text)));
        }
        (UNSET, [], Some(variable)) => Action::Unset(variable),
        (CAPTURE, [value, len, length, id @ ..], _) if len.text == "len" => {
            if stage != Stage::Content {
                return Err(Fault::new(first.at, "`capture` is for `content` rules"));
            }
            let number = |word: &Word, least: u16| {
                let parsed = word.text.parse().ok().filter(|number| *number >= least);
                parsed.ok_or_else(|| Fault::new(word.at, format!("`{}` is not a number from {least} on", word.text)))
            };
            let slot = match id {
                [] => None,
                [id, slot] if id.text == "id" => Some(number(slot, 0)?),
                [more, ..] => return Err(misplaced(more)),
            };
            Action::Capture { slot, length: number(length, 1)?, value: expression(value, scope)? }
        }
        (CAPTURE, ..) => {
            return Err(Fault::new(
                first.at,
                "`capture` wants what to keep and how much: `capture req.ssl_sni len 50`",
            ));
        }
        (SET | SET_NOW, [_, more, ..], _) | (UNSET, [more, ..], _) => return Err(misplaced(more)),
        _ => return Ok(None),
    };
    if stage < Stage::Content && action.value().is_some_and(Expression::listens) {
        let message = "a rule of this stage cannot know what the client says: make it a `content` rule";
        return Err(Fault::new(rest.first().unwrap_or(first).at, message));
    }
    Ok(Some(action))
}

fn misplaced(word: &Word) -> Fault {
    Fault::new(word.at, format!("`{}` cannot stand here: `if` or `unless` can", word.text))
}

fn variable(word: &Word, keyword: &str) -> Result<Variable, Fault> {
    let Some(name) = argument(&word.text, keyword) else {
        return Err(Fault::new(word.at, format!("`{keyword}` wants a variable: `{keyword}(sess.name)`")));
    };
    named(name).map_err(|message| Fault::new(word.at, message))
}

/// The variable of this name.
pub(in crate::config) fn named(name: &str) -> Result<Variable, String> {
    Variable::parse(name).ok_or_else(|| {
        format!(
            "`{name}` is not a variable's name: those are proc., sess., txn. or req. and letters, digits, `_` and `.`"
        )
    })
}

/// An expression, and what it comes to.
pub(in crate::config) fn expression(word: &Word, scope: &Scope<'_>) -> Result<Expression, Fault> {
    typed(word, scope).map(|(expression, _)| expression)
}

fn typed(word: &Word, scope: &Scope<'_>) -> Result<(Expression, Kind), Fault> {
    let mut parts = super::stick::parts(&word.text);
    let (of, mut kind) = origin(parts.next().unwrap_or_default(), word, scope)?;
    let mut then = Vec::new();
    for part in parts {
        let Some(converter) = converter(part, word, scope)? else {
            let message = format!("the converter `{part}` of `{}` is not there yet", word.text);
            return Err(Fault::new(word.at, message));
        };
        kind = match converter {
            Converter::Length => Kind::Number,
            Converter::Mask(..) if matches!(kind, Kind::Address | Kind::Any) => Kind::Address,
            Converter::Mask(..) => {
                return Err(Fault::new(word.at, format!("`{part}` of `{}` goes with addresses only", word.text)));
            }
            _ => Kind::Text,
        };
        then.push(converter);
    }
    Ok((Expression { of, then }, kind))
}

fn origin(text: &str, word: &Word, scope: &Scope<'_>) -> Result<(Origin, Kind), Fault> {
    let fault = |message: String| Fault::new(word.at, message);
    let constant = |text: &str| {
        if text.contains(['(', ')', ',']) {
            return Err(fault(format!("`{text}` cannot be kept here: it has a parenthesis or a comma")));
        }
        Ok((Origin::Constant(Value::text(text.as_bytes())), Kind::Text))
    };
    let number = |number: i64| (Origin::Constant(Value::Number(number)), Kind::Number);
    if is_one(text) && scope.of_requests {
        return Err(fault(format!("`{text}` cannot be asked of a page: variables and captures are of services")));
    }
    if let Some(name) = argument(text, "var") {
        let (name, default) = name.split_once(',').map_or((name, None), |(name, default)| (name, Some(default.into())));
        let variable = named(name).map_err(fault)?;
        let default = default.or_else(|| (scope.initially)(&variable));
        return Ok((Origin::Variable(variable, default), Kind::Any));
    }
    if let Some(slot) = argument(text, "capture.req.hdr") {
        let slot = slot.parse().map_err(|_| fault(format!("`{text}` wants the number of a capture, from 0 on")))?;
        return Ok((Origin::Capture(slot), Kind::Text));
    }
    if let Some(text) = argument(text, "str") {
        return constant(text);
    }
    if let Some(text) = argument(text, "int") {
        return pattern::number(text).map(number).map_err(fault);
    }
    if let Some(text) = argument(text, "bool") {
        let known = [("true", 1), ("false", 0), ("1", 1), ("0", 0)];
        let found = known.iter().find(|(name, _)| *name == text);
        return found
            .map(|(_, value)| number(*value))
            .ok_or_else(|| fault(format!("`{text}` is neither true nor false")));
    }
    if let Some(text) = argument(text, "ipv4").or_else(|| argument(text, "ipv6")) {
        let address = text.parse().map_err(|_| fault(format!("`{text}` is not an address")))?;
        return Ok((Origin::Constant(Value::Address(address)), Kind::Address));
    }
    let rdp = ["req.rdp_cookie(mstshash)", "rdp_cookie(mstshash)", "req_rdp_cookie(mstshash)"];
    if rdp.contains(&text) {
        return Ok((Origin::Text(crate::model::rule::Text::RdpUser), Kind::Text));
    }
    match fetch(text, scope).map_err(fault)? {
        Fetch::Address(end) => Ok((Origin::Address(end), Kind::Address)),
        Fetch::Number(quantity) => Ok((Origin::Number(quantity), Kind::Number)),
        Fetch::Version => Ok((Origin::Number(Quantity::HelloVersion), Kind::Number)),
        Fetch::Text(of, _) | Fetch::Bytes(of) => Ok((Origin::Text(of), Kind::Text)),
        Fetch::Constant(value) => constant(&value.unwrap_or_default()),
        Fetch::Truth(Test::Always(holds)) => Ok(number(holds.into())),
        Fetch::Truth(_) => Err(fault(format!("`{text}` cannot be kept as a value yet: it can be asked in conditions"))),
    }
}

/// The converter as it stands in an expression; none: there is no such thing.
fn converter(text: &str, word: &Word, scope: &Scope<'_>) -> Result<Option<Converter>, Fault> {
    let fault =
        || Fault::new(word.at, format!("`{text}` of `{}` does not have the arguments that it needs", word.text));
    let (name, inside) = match text.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or_else(fault)?)),
        None => (text, None),
    };
    let arguments: Vec<&str> = inside.map(|inside| inside.split(',').collect()).unwrap_or_default();
    let bits = |text: &str, most: u8| text.parse().ok().filter(|bits| *bits <= most).ok_or_else(fault);
    let size = |text: &str| text.parse::<usize>().map_err(|_| fault());
    Ok(Some(match (name, arguments.as_slice()) {
        ("lower", []) => Converter::Lower,
        ("upper", []) => Converter::Upper,
        ("length", []) => Converter::Length,
        ("ipmask", [v4]) => Converter::Mask(bits(v4, 32)?, 128),
        ("ipmask", [v4, v6]) => Converter::Mask(bits(v4, 32)?, bits(v6, 128)?),
        ("bytes", [offset]) => Converter::Bytes { offset: size(offset)?, length: None },
        ("bytes", [offset, length]) => Converter::Bytes { offset: size(offset)?, length: Some(size(length)?) },
        ("field" | "word", [index, delimiters]) if !delimiters.is_empty() => {
            let index = index.parse().ok().filter(|index| *index != 0).ok_or_else(fault)?;
            Converter::Part { index, delimiters: (*delimiters).into(), words: name == "word" }
        }
        ("concat", [] | [_] | [_, _] | [_, _, _]) => {
            let at = |index: usize| arguments.get(index).copied().unwrap_or_default();
            let variable = Some(at(1)).filter(|name| !name.is_empty()).map(named).transpose();
            let variable = variable.map_err(|message| Fault::new(word.at, message))?;
            Converter::Concat { before: at(0).into(), variable, after: at(2).into() }
        }
        ("lower" | "upper" | "length" | "ipmask" | "bytes" | "field" | "word" | "concat", _) => return Err(fault()),
        (name, arguments) => return Ok(map::read(name, arguments, word, scope)?.map(Converter::Map)),
    }))
}

/// A test of an expression.
pub(super) fn tests(first: &Word, rest: &[Word], scope: &Scope<'_>) -> Result<Vec<Test>, Fault> {
    let (of, kind) = typed(first, scope)?;
    let patterns = pattern::read(first, rest, scope)?;
    let method = match (patterns.method(), kind) {
        (Some(method), _) => method,
        (None, Kind::Address) => "ip",
        (None, Kind::Number) => "int",
        (None, Kind::Text) => "str",
        (None, Kind::Any) => {
            let message = format!("say how `{}` is compared: `-m str`, `-m ip`, `-m int`, `-m found`, ..", first.text);
            return Err(Fault::new(first.at, message));
        }
    };
    let lower = of.then.last() == Some(&Converter::Lower);
    let is = compared(method, &patterns, lower, first)?;
    let nothing = match &is {
        Comparison::Networks(networks) => networks.listed().is_empty(),
        Comparison::Ranges(ranges) => ranges.is_empty(),
        Comparison::Texts { patterns, .. } => patterns.is_empty(),
    };
    if nothing {
        let message = format!("`{}` is compared with nothing: write what after it, or `-m found`", first.text);
        return Err(Fault::new(first.at, message));
    }
    Ok(vec![Test::Value { of, is }])
}

fn compared(method: &str, patterns: &pattern::Patterns<'_>, lower: bool, word: &Word) -> Result<Comparison, Fault> {
    Ok(match method {
        "ip" => Comparison::Networks(patterns.networks()?),
        map::NUMBER | "bool" => Comparison::Ranges(patterns.numbers(i64::MIN, pattern::number)?),
        method => {
            let (patterns, ignore_case) = patterns.texts(Some(method), lower, word)?;
            Comparison::Texts { ignore_case, patterns }
        }
    })
}

/// With these words, as a method compares.
pub(super) fn comparison(method: &str, words: Vec<Word>, at: &Word) -> Result<Comparison, Fault> {
    compared(method, &pattern::Patterns::of(words), false, at)
}

/// A `log-format`. Said too: the samples in it that have no value here.
pub(in crate::config) fn log_line(text: &str, at: Location, scope: &Scope<'_>) -> (LogLine, Vec<Fault>) {
    let (mut samples, mut faults) = (Vec::new(), Vec::new());
    let mut format = text.to_owned();
    for sample in samples_of(text).filter(|sample| LogSample::named(sample).is_none()) {
        let word = Word { text: sample.to_owned(), at };
        match expression(&word, scope) {
            // As it is written out, which says what it refers to.
            Ok(expression) if is_told(&expression) => {
                let shown = show(&expression);
                format = format.replace(&format!("[{sample}]"), &format!("[{shown}]"));
                samples.push((shown, expression));
            }
            Ok(_) => faults.push(Fault::new(at, format!("`%[{sample}]` is not known any more when a line is written"))),
            Err(fault) => faults.push(fault),
        }
    }
    (LogLine { format, samples: samples.into() }, faults)
}

/// Whether an expression can be told when the connection has ended.
fn is_told(expression: &Expression) -> bool {
    let known = match &expression.of {
        Origin::Number(quantity) => matches!(quantity, Quantity::Port(_)),
        Origin::Text(_) => false,
        Origin::Address(_) | Origin::Variable(..) | Origin::Capture(_) | Origin::Constant(_) => true,
    };
    known
        && expression
            .comparisons()
            .all(|is| !matches!(is, Comparison::Texts { patterns, .. } if patterns.iter().any(is_regex)))
}

fn is_regex(pattern: &crate::model::rule::Pattern) -> bool {
    matches!(pattern, crate::model::rule::Pattern::Regex(_))
}

/// What stands in `%[..]`, `%{+Q}[..]`.
fn samples_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('%')?;
            let name = after.strip_prefix('{').and_then(|flags| flags.split_once('}')).map_or(after, |(_, name)| name);
            rest = after.strip_prefix('%').unwrap_or(name);
            if let Some((sample, after)) = name.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
                rest = after;
                return Some(sample);
            }
        }
    })
}

/// An action that keeps a value, as it is read; none: it is another one.
pub(super) fn show_action(action: &Action) -> Option<String> {
    Some(match action {
        Action::Set { variable, value, waits } => {
            let name = if *waits || !value.listens() { SET } else { SET_NOW };
            format!("{name}({variable}) {}", super::show::quoted(&show(value)))
        }
        Action::Unset(variable) => format!("{UNSET}({variable})"),
        Action::Capture { slot, length, value } => {
            let slot = slot.map_or_else(String::new, |slot| format!(" id {slot}"));
            format!("{CAPTURE} {} len {length}{slot}", super::show::quoted(&show(value)))
        }
        _ => return None,
    })
}

/// As it is read.
pub(in crate::config) fn show(expression: &Expression) -> String {
    let origin = match &expression.of {
        Origin::Address(end) => super::show::end(*end).to_owned(),
        Origin::Number(quantity) => super::show::quantity(quantity),
        Origin::Text(of) => super::show::text(*of),
        Origin::Variable(variable, None) => format!("var({variable})"),
        Origin::Variable(variable, Some(default)) => format!("var({variable},{default})"),
        Origin::Capture(slot) => format!("capture.req.hdr({slot})"),
        Origin::Constant(Value::Text(text) | Value::Bytes(text)) => format!("str({})", String::from_utf8_lossy(text)),
        Origin::Constant(Value::Number(number)) => format!("int({number})"),
        Origin::Constant(Value::Address(address)) if address.is_ipv4() => format!("ipv4({address})"),
        Origin::Constant(Value::Address(address)) => format!("ipv6({address})"),
    };
    expression.then.iter().fold(origin, |shown, converter| shown + "," + &show_converter(converter))
}

fn show_converter(converter: &Converter) -> String {
    match converter {
        Converter::Lower => "lower".to_owned(),
        Converter::Upper => "upper".to_owned(),
        Converter::Length => "length".to_owned(),
        Converter::Mask(v4, v6) => format!("ipmask({v4},{v6})"),
        Converter::Bytes { offset, length: None } => format!("bytes({offset})"),
        Converter::Bytes { offset, length: Some(length) } => format!("bytes({offset},{length})"),
        Converter::Part { index, delimiters, words } => {
            format!("{}({index},{delimiters})", if *words { "word" } else { "field" })
        }
        Converter::Concat { before, variable, after } => {
            let variable = variable.as_ref().map_or_else(String::new, ToString::to_string);
            format!("concat({before},{variable},{after})")
        }
        Converter::Map(map) => match &map.default {
            Some(default) => format!("{}({},{default})", map.name, map.file),
            None => format!("{}({})", map.name, map.file),
        },
    }
}
