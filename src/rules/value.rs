//! What an expression comes to, while perhaps not all is known yet.

use std::ops::Range;
use std::sync::Arc;

use super::condition::{Expressions, Known, World, matches, number, text};
use crate::model::Key;
use crate::model::rule::Text;
use crate::model::value::{Comparison, Converter, Expression, Map, Origin, Value};

/// It is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open;

/// What an expression is now; none: there is no such thing.
pub(super) fn evaluate(
    expression: &Expression,
    known: Known<'_, '_>,
    expressions: &Expressions,
    world: &dyn World,
) -> Result<Option<Value>, Open> {
    let mut value = match &expression.of {
        Origin::Address(end) => Some(Value::Address(known.facts.address(*end).ip())),
        Origin::Number(quantity) => number(quantity, known, world)?.map(Value::Number),
        Origin::Text(of @ (Text::Heard { .. } | Text::Counted { .. })) => {
            text(*of, known)?.filter(|bytes| !bytes.is_empty()).map(|bytes| Value::Bytes(bytes.into()))
        }
        Origin::Text(of) => text(*of, known)?.map(Value::text),
        Origin::Variable(variable, default) => {
            world.variable(variable).or_else(|| default.as_ref().map(|text| Value::text(text.as_bytes())))
        }
        Origin::Capture(slot) => world.capture(*slot),
        Origin::Constant(value) => Some(value.clone()),
    };
    for converter in &expression.then {
        let Some(before) = value else { break };
        value = convert(converter, before, expressions, world);
    }
    Ok(value)
}

/// Whether a value is as it has to be.
pub(super) fn compare(value: &Value, is: &Comparison, expressions: &Expressions) -> bool {
    match is {
        Comparison::Networks(networks) => value.address().is_some_and(|address| networks.contains(address)),
        Comparison::Ranges(ranges) => {
            value.number().is_some_and(|number| ranges.iter().any(|range| range.contains(&number)))
        }
        Comparison::Texts { ignore_case, patterns } => {
            let fits = |text: &[u8]| matches(text, *ignore_case, patterns, expressions);
            matches!(value, Value::Bytes(bytes) if fits(bytes)) || fits(&value.clone().into_text())
        }
    }
}

fn convert(converter: &Converter, value: Value, expressions: &Expressions, world: &dyn World) -> Option<Value> {
    let changed = |value: Value, change: fn(&u8) -> u8| Value::Text(value.into_text().iter().map(change).collect());
    Some(match converter {
        Converter::Lower => changed(value, u8::to_ascii_lowercase),
        Converter::Upper => changed(value, u8::to_ascii_uppercase),
        Converter::Length => Value::Number(value.into_text().len() as i64),
        Converter::Mask(v4, v6) => Value::Address(Key::network(value.address()?, *v4, *v6)),
        Converter::Bytes { offset, length } => {
            let is_text = !matches!(value, Value::Bytes(_));
            let all = if let Value::Bytes(bytes) = value { bytes } else { value.into_text() };
            let rest = all.get(*offset..)?;
            let part = length.and_then(|length| rest.get(..length)).unwrap_or(rest).into();
            if is_text { Value::Text(part) } else { Value::Bytes(part) }
        }
        Converter::Part { index, delimiters, words } => {
            let text = value.into_text();
            Value::text(text.get(part(&text, delimiters.as_bytes(), *index, *words)?)?)
        }
        Converter::Concat { before, variable, after } => {
            let between = variable.as_ref().and_then(|variable| world.variable(variable)).map(Value::into_text);
            let all = [&*value.into_text(), before.as_bytes(), between.as_deref().unwrap_or(&[]), after.as_bytes()];
            Value::Text(all.concat().into())
        }
        Converter::Map(map) => Value::text(look_up(map, &value, expressions)?.as_bytes()),
    })
}

fn look_up<'m>(map: &'m Map, value: &Value, expressions: &Expressions) -> Option<&'m Arc<str>> {
    let found = map.entries.iter().find(|(key, _)| compare(value, key, expressions));
    found.map(|(_, value)| value).or(map.default.as_ref())
}

/// Where the part of this number is; none: there are not so many.
fn part(text: &[u8], delimiters: &[u8], index: i64, words: bool) -> Option<Range<usize>> {
    let mut start = 0;
    let mut parts = text.split(|byte| delimiters.contains(byte)).map(|part| {
        let place = start..start + part.len();
        start = place.end + 1;
        place
    });
    let counts = |place: &Range<usize>| !words || !place.is_empty();
    let number = usize::try_from(index.unsigned_abs()).ok()?.checked_sub(1)?;
    if index > 0 {
        parts.by_ref().filter(counts).nth(number)
    } else {
        parts.filter(counts).collect::<Vec<_>>().into_iter().nth_back(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_both_ends() {
        let said = |text: &str, index, words| {
            part(text.as_bytes(), b".-", index, words).map(|place| text[place].to_owned()).unwrap_or_default()
        };
        assert_eq!(said("www.example-one.org", 2, false), "example");
        assert_eq!(said("www.example-one.org", -1, false), "org");
        assert_eq!(said("www.example-one.org", 5, false), "");
        assert_eq!(said("..www.org", 1, false), "");
        assert_eq!(said("..www.org", 1, true), "www");
        assert_eq!(said("..www.org", -2, true), "www");
    }
}
