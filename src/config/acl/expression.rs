//! What rules work out: `req.ssl_sni,lower,map(/etc/names.map)`, `var(txn.sni)`; tests of it, and names and log lines with it.

use std::sync::Arc;

use super::converter::{HOW, converters, list, show_converter};
use super::figure::find;
use super::pattern::Patterns;
use super::test::{self, Fetch, fetch};
use super::{Fault, Scope, show};
use crate::config::import::Word;
use crate::config::source::Location;
use crate::model::LogSample;
use crate::model::expression::{Converter, Expression, Is, LogLine, NamePiece, Naming, Origin};
use crate::model::list::{How, Kind, List, ListName, Lookup};
use crate::model::rule::{Quantity, Test};
use crate::model::value::Value;
use crate::rules::lists;

/// `req.ssl_sni,lower`
pub(in crate::config) fn expression(word: &Word, scope: &Scope<'_>) -> Result<Expression, Fault> {
    let (name, chain) = test::converters(&word.text);
    let of = fetch(name, scope).and_then(|fetch| origin(&fetch, name));
    let of = of.map_err(|message| Fault::new(word.at, message))?;
    let then = chain.map_or_else(|| Ok(Vec::new()), |chain| converters(chain, word, scope))?;
    Ok(Expression { of, then })
}

/// What is looked at, as something to work with.
fn origin(fetch: &Fetch, name: &str) -> Result<Origin, String> {
    Ok(match fetch {
        Fetch::Address(end) => Origin::Address(*end),
        Fetch::Number(quantity) => Origin::Number(quantity.clone()),
        Fetch::Version => Origin::Number(Quantity::HelloVersion),
        Fetch::Text(of, _) | Fetch::Bytes(of) => Origin::Text(*of),
        Fetch::Environment(value) => Origin::Constant(Value::text(value.as_deref().unwrap_or_default().as_bytes())),
        Fetch::Origin(origin) => origin.clone(),
        Fetch::Truth(Test::Always(holds)) => Origin::Constant(Value::Number((*holds).into())),
        Fetch::Truth(_) => {
            return Err(format!("`{name}` cannot be kept, converted or looked up yet: it can be asked in conditions"));
        }
    })
}

/// Tests of something that is converted, kept, or looked up in lists. `lower`: what is asked was turned into small letters.
pub(super) fn tests(
    (fetch, then): (Fetch, Vec<Converter>),
    mut patterns: Patterns<'_>,
    lower: bool,
    word: &Word,
    scope: &Scope<'_>,
) -> Result<Vec<Test>, Fault> {
    let is_plain = then.is_empty();
    let of = Expression { of: origin(&fetch, &word.text).map_err(|message| Fault::new(word.at, message))?, then };
    let usual = match &fetch {
        // Bytes have to be told how they are compared.
        Fetch::Bytes(_) if is_plain => None,
        Fetch::Text(_, usual) if is_plain => Some(*usual),
        _ => usual(&of),
    };
    let method = patterns.method_or(usual, word)?;
    let mut all = Vec::new();
    let files = std::mem::take(&mut patterns.files);
    let number = patterns.number.take();
    if !files.is_empty() || number.is_some() {
        let how = find(&HOW, method);
        let how = how.filter(|_| !matches!(fetch, Fetch::Version) || !is_plain).ok_or_else(|| {
            Fault::new(word.at, format!("patterns of a list cannot be compared so with `{}`", word.text))
        })?;
        let ignore_case = patterns.ignore_case || lower;
        let listed = |list| Test::Value { of: of.clone(), is: Is::Listed(Lookup { list, how, ignore_case }) };
        for file in &files {
            let list = list(file, (patterns.of_maps, how, Kind::Text), scope)?;
            let capital = |(key, _): &&(String, String)| key.contains(|c: char| c.is_ascii_uppercase());
            if let Some((key, _)) = list.entries.iter().find(capital).filter(|_| lower && how != How::Regex) {
                return Err(Fault::new(file.at, never_matches(key)));
            }
            all.push(listed(list));
        }
        if let Some(number) = number {
            for word in &patterns.words {
                lists::check(how, None, (&word.text, "")).map_err(|message| Fault::new(word.at, message))?;
            }
            let entries = patterns.words.drain(..).map(|word| (word.text, String::new())).collect();
            all.push(listed(Arc::new(List { name: ListName::Number(number), is_map: false, entries })));
        }
        if patterns.words.is_empty() {
            return Ok(all);
        }
    }
    if is_plain {
        all.extend(test::test(fetch, patterns, lower, word)?);
    } else {
        all.push(compared(of, &patterns, word)?);
    }
    Ok(all)
}

/// How something is compared where nothing is said; none: it has to be said, as of what rules have kept.
fn usual(of: &Expression) -> Option<&'static str> {
    Some(match of.kind()? {
        _ if of.is_truth() => "bool",
        Kind::Address => "ip",
        Kind::Number => "int",
        Kind::Text => "str",
    })
}

/// The test of an expression.
pub(super) fn compared(of: Expression, patterns: &Patterns<'_>, word: &Word) -> Result<Test, Fault> {
    let method = patterns.method_or(usual(&of), word)?;
    let is = match method {
        "found" => Is::Found,
        _ if patterns.words.is_empty() && method != "bool" => {
            return Err(test::none_given("patterns, or `-m found`,", word));
        }
        "ip" => Is::In(patterns.networks()?),
        "bool" if let Some(more) = patterns.words.first() => {
            return Err(Fault::new(more.at, format!("`{}` is true or false: nothing can follow", word.text)));
        }
        "bool" => Is::Within(vec![1..=i64::MAX, i64::MIN..=-1]),
        "int" => Is::Within(patterns.numbers(i64::MIN, lists::number)?),
        _ => {
            let small = of.then.last() == Some(&Converter::Lower);
            let (list, ignore_case) = patterns.texts(Some(method), small, word)?;
            Is::Like { ignore_case, patterns: list }
        }
    };
    Ok(Test::Value { of, is })
}

pub(super) fn never_matches(text: &str) -> String {
    format!("`{text}` never matches: it has a capital letter, and `lower` leaves none")
}

/// `web-%[req.ssl_sni,lower,map(/etc/haproxy/names.map,other)]`
pub(in crate::config) fn naming(word: &Word, scope: &Scope<'_>) -> Result<Naming, Fault> {
    let mut pieces = Vec::new();
    let mut rest = word.as_str();
    while let Some((before, after)) = rest.split_once("%[") {
        if !before.is_empty() {
            pieces.push(NamePiece::Text(before.to_owned()));
        }
        let Some((inside, after)) = after.split_once(']') else {
            return Err(Fault::new(word.at, format!("`%[{after}` is not closed with `]`")));
        };
        let inside = Word { text: inside.to_owned(), at: word.at };
        pieces.push(NamePiece::Value(expression(&inside, scope)?));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(NamePiece::Text(rest.to_owned()));
    }
    Ok(Naming { pieces, known: Vec::new() })
}

/// As it is read.
pub(super) fn show_naming(naming: &Naming) -> String {
    let piece = |piece: &NamePiece| match piece {
        NamePiece::Text(text) => text.clone(),
        NamePiece::Value(value) => format!("%[{}]", show_expression(value)),
    };
    naming.pieces.iter().map(piece).collect()
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
                let shown = show_expression(&expression);
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
    let asks_tables = expression.counted().next().is_some();
    !asks_tables
        && match &expression.of {
            Origin::Number(quantity) => matches!(quantity, Quantity::Port(_) | Quantity::Random(_)),
            Origin::Text(_) => false,
            Origin::Address(_) | Origin::Variable(..) | Origin::Capture(_) | Origin::Constant(_) => true,
        }
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

/// As it is read.
pub(super) fn show_expression(expression: &Expression) -> String {
    let origin = match &expression.of {
        Origin::Address(end) => show::end(*end).to_owned(),
        Origin::Number(quantity) => show::quantity(quantity),
        Origin::Text(of) => show::text(*of),
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
