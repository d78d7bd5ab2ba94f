//! What expressions come to, while perhaps not all is known yet.

use super::condition::{self, Answer, Known, Matchers, World};
use super::{compute, lists};
use crate::model::Key;
use crate::model::expression::{
    Converter, Expression, Is, LONGEST_TEXT, Map, NamePiece, Naming, Operand, Origin, Part,
};
use crate::model::list::{How, Kind, Lookup};
use crate::model::rule::{Counter, Quantity};
use crate::model::value::Value;

/// It is not known yet.
#[derive(Debug)]
pub(super) struct Open;

/// Who is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'k> {
    pub(super) matchers: &'k Matchers,
    pub(super) world: &'k dyn World,
}

/// Whether it is what it has to be.
pub(super) fn holds(of: &Expression, is: &Is, known: Known<'_, '_>, asked: Asked<'_>) -> Answer {
    match value(of, known, asked) {
        Err(Open) => Answer::Unknown,
        Ok(value) => {
            let holds = value.is_some_and(|value| is_so(&value, is, asked));
            // With more bytes it may be something else.
            if !holds && grows(&of.of) { known.no_or_unknown() } else { Answer::of(holds) }
        }
    }
}

/// A pool's name; none when a part of it is not there.
pub(super) fn name(naming: &Naming, known: Known<'_, '_>, asked: Asked<'_>) -> Result<Option<String>, Open> {
    let pieces: Option<Vec<_>> = pieces(naming, known, asked).collect::<Result<_, Open>>()?;
    Ok(pieces.and_then(|pieces| String::from_utf8(pieces.concat()).ok()))
}

/// A text of texts and values, of which those that are not there are nothing; nor are those that are not known yet, unless it
/// `waits` for them.
pub(super) fn text(
    made_of: &Naming,
    waits: bool,
    known: Known<'_, '_>,
    asked: Asked<'_>,
) -> Result<Value<'static>, Open> {
    let pieces = pieces(made_of, known, asked).map(|piece| match piece {
        Err(Open) if waits => Err(Open),
        piece => Ok(piece.ok().flatten().unwrap_or_default()),
    });
    Ok(composed(pieces.collect::<Result<Vec<_>, Open>>()?.concat()))
}

/// The parts of a text; none: it is not there.
fn pieces(
    made_of: &Naming,
    known: Known<'_, '_>,
    asked: Asked<'_>,
) -> impl Iterator<Item = Result<Option<Vec<u8>>, Open>> {
    made_of.pieces.iter().map(move |piece| match piece {
        NamePiece::Text(text) => Ok(Some(text.as_bytes().to_vec())),
        NamePiece::Value(of) => Ok(value(of, known, asked)?.map(|value| value.as_text().into_owned())),
    })
}

/// A text that was put together.
fn composed(mut text: Vec<u8>) -> Value<'static> {
    text.truncate(LONGEST_TEXT);
    Value::Text(text.into())
}

/// What an expression comes to; none: there is no such thing.
pub(super) fn value<'a>(of: &Expression, known: Known<'a, '_>, asked: Asked<'_>) -> Result<Option<Value<'a>>, Open> {
    // What is not known yet will be, or counts as nothing.
    let mut value = match origin(&of.of, known, asked) {
        Ok(value) => value,
        Err(Open) if known.is_all() => None,
        Err(Open) => return Err(Open),
    };
    for converter in &of.then {
        let Some(before) = value else { return Ok(None) };
        value = convert(converter, before, asked);
    }
    Ok(value)
}

fn origin<'a>(of: &Origin, known: Known<'a, '_>, Asked { world, .. }: Asked<'_>) -> Result<Option<Value<'a>>, Open> {
    Ok(match of {
        Origin::Address(end) => Some(Value::Address(condition::address(*end, known).to_canonical())),
        Origin::Number(quantity) => condition::number(quantity, known, world)?.map(Value::Number),
        Origin::Text(of) if of.is_binary() => {
            condition::text(*of, known)?.filter(|bytes| !bytes.is_empty()).map(|bytes| Value::Bytes(bytes.into()))
        }
        Origin::Text(of) => condition::text(*of, known)?.map(|text| Value::Text(text.into())),
        Origin::Variable(variable, default) => {
            world.variable(variable).or_else(|| default.as_ref().map(|text| Value::text(text.as_bytes())))
        }
        Origin::Capture(slot) => world.capture(*slot),
        Origin::Constant(value) => Some(value.clone()),
    })
}

/// Whether it may become more as long as the client goes on.
fn grows(of: &Origin) -> bool {
    match of {
        Origin::Text(text) => text.grows(),
        _ => *of == Origin::Number(Quantity::HeardBytes),
    }
}

fn is_so(value: &Value<'_>, is: &Is, asked: Asked<'_>) -> bool {
    match is {
        Is::Found => true,
        Is::Listed(lookup) => place(value, lookup, Kind::Text, asked, |_| ()).is_some(),
        Is::In(networks) => value.address().is_some_and(|address| networks.contains(address)),
        Is::Within(ranges) => value.number().is_some_and(|number| ranges.iter().any(|range| range.contains(&number))),
        Is::Like { ignore_case, patterns } => {
            let fits = |text: &[u8]| condition::matches(text, *ignore_case, patterns, asked.matchers);
            matches!(value, Value::Bytes(bytes) if fits(bytes)) || fits(&value.as_text())
        }
    }
}

fn convert<'a>(converter: &Converter, value: Value<'a>, asked: Asked<'_>) -> Option<Value<'a>> {
    Some(match converter {
        Converter::Lower => Value::Text(value.as_text().to_ascii_lowercase().into()),
        Converter::Upper => Value::Text(value.as_text().to_ascii_uppercase().into()),
        Converter::Length => Value::Number(value.as_text().len() as i64),
        Converter::Mask(v4, v6) => Value::Address(Key::network(value.address()?, *v4, *v6)),
        Converter::Bytes { offset, length } => {
            let part = |all: &[u8]| {
                let rest = all.get(*offset..)?;
                Some(length.and_then(|length| rest.get(..length)).unwrap_or(rest).to_vec().into())
            };
            match &value {
                Value::Bytes(bytes) => Value::Bytes(part(bytes)?),
                value => Value::Text(part(&value.as_text())?),
            }
        }
        Converter::Part(part) => Value::text(part_of(&value.as_text(), part)?),
        Converter::Concat { before, variable, after } => {
            let between = variable.as_ref().and_then(|variable| asked.world.variable(variable));
            let between = between.as_ref().map(Value::as_text).unwrap_or_default();
            composed([&*value.as_text(), before.as_bytes(), &between, after.as_bytes()].concat())
        }
        Converter::Map(map) => mapped(&value, map, asked)?,
        Converter::Compute(operation, operand) => {
            let second = match operand {
                Operand::Number(number) => *number,
                Operand::Variable(variable) => asked.world.variable(variable)?.number()?,
            };
            Value::Number(compute::compute(*operation, value.number()?, second))
        }
        Converter::Alter(alteration) => Value::Number(compute::alter(*alteration, value.number()?)),
        Converter::Digest(digest) => Value::Number(compute::digest(*digest, &value.as_bytes()).into()),
        Converter::Encode(encoding) => composed(compute::encode(*encoding, &value.as_bytes()).into_bytes()),
        Converter::Counted { table, counter } => {
            // Who has a row has connections counted, be it none.
            let count = asked.world.counter_of(value.address()?, table, counter.unwrap_or(Counter::Connections));
            let number = if counter.is_none() { count.is_some().into() } else { count.unwrap_or(0) };
            Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
        }
    })
}

fn mapped(value: &Value<'_>, map: &Map, asked: Asked<'_>) -> Option<Value<'static>> {
    let found = place(value, &map.lookup, map.values, asked, Value::clone);
    found.or_else(|| lists::value(map.values, map.default.as_ref()?))
}

/// What a list has for a value, read while it is held.
fn place<T>(
    value: &Value<'_>,
    lookup: &Lookup,
    values: Kind,
    asked: Asked<'_>,
    read: impl FnOnce(&Value<'static>) -> T,
) -> Option<T> {
    let index = asked.matchers.list(lookup, values)?.load();
    let place = match lookup.how {
        How::Address => index.of_address(value.address()?),
        How::Number => index.of_number(value.number()?),
        _ => index.of_text(&value.as_text()),
    };
    index.value(place?).map(read)
}

/// A word that is not there is empty; a field that is not there is nothing.
fn part_of<'t>(text: &'t [u8], part: &Part) -> Option<&'t [u8]> {
    let separates = |byte: u8| part.separators.as_bytes().contains(&byte);
    // First and last byte of each.
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    for end in 0..=text.len() {
        if text.get(end).is_none_or(|byte| separates(*byte)) {
            if !part.words || end > start {
                spans.push((start, end));
            }
            start = end + 1;
        }
    }
    let nothing = part.words.then_some(&text[..0]);
    let place = usize::try_from(part.index.unsigned_abs()).ok()?.checked_sub(1)?;
    if place >= spans.len() {
        return nothing;
    }
    let (from, to) = if part.index > 0 {
        let end = spans.get(place + part.count.max(1) - 1).filter(|_| part.count > 0);
        (spans.get(place)?.0, end.map_or(text.len(), |span| span.1))
    } else {
        let place = spans.len() - 1 - place;
        let start = (place + 1).checked_sub(part.count).filter(|_| part.count > 0).and_then(|at| spans.get(at));
        (start.map_or(0, |span| span.0), spans.get(place)?.1)
    };
    text.get(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(words: bool, index: i32, count: usize, text: &str) -> Option<&str> {
        let part = Part { words, index, separators: ".".to_owned(), count };
        part_of(text.as_bytes(), &part).map(|part| std::str::from_utf8(part).unwrap())
    }

    /// As HAProxy 2.6 answers.
    #[test]
    fn fields_and_words_are_cut_as_in_haproxy() {
        let fields = [
            (1, 1, Some("a")),
            (3, 1, Some("")),
            (9, 1, None),
            (-1, 1, Some("c")),
            (-2, 1, Some("")),
            (2, 2, Some("b.")),
            (2, 0, Some("b..c")),
        ];
        for (index, count, expected) in fields {
            assert_eq!(part(false, index, count, "a.b..c"), expected, "field {index} {count}");
        }
        assert_eq!(part(false, -2, 2, "a.b..c.d"), Some(".c"));
        assert_eq!(part(false, 2, 9, "a.b"), Some("b"));
        assert_eq!(part(true, 3, 1, "a.b..c"), Some("c"));
        assert_eq!(part(true, 9, 1, "a.b..c"), Some(""));
        assert_eq!(part(true, -1, 1, ".a.b..c."), Some("c"));
        assert_eq!(part(true, -2, 1, ".a.b..c."), Some("b"));
        assert_eq!(part(true, 2, 2, "a.b..c.d"), Some("b..c"));
        assert_eq!(part(true, 2, 0, "a.b..c.."), Some("b..c.."));
        assert_eq!(part(true, -2, 2, "a.b..c.d"), Some("b..c"));
        assert_eq!(part(true, -2, 0, "a.b..c.d"), Some("a.b..c"));
        assert_eq!(part(true, 2, 9, "a.b."), Some("b."));
        assert_eq!(part(true, 1, 1, ".a.b"), Some("a"));
    }
}
