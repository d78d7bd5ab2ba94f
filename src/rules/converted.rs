//! What converters make of something that is looked at, while perhaps not all is known yet.

use std::borrow::Cow;
use std::net::IpAddr;

use super::condition::{self, Answer, Expressions, Known, World};
use super::lists::Constant;
use crate::model::Key;
use crate::model::converted::{Converted, Is, Kind, Lookup, Map, NamePiece, Naming, Part, Step, Subject};

/// It is not known yet.
pub(super) struct Open;

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value<'a> {
    Text(Cow<'a, [u8]>),
    Number(i64),
    Address(IpAddr),
}

/// Who is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'k> {
    pub(super) expressions: &'k Expressions,
    pub(super) world: &'k dyn World,
}

/// Whether it is what it has to be.
pub(super) fn holds(what: &Converted, is: &Is, known: Known<'_, '_>, asked: Asked<'_>) -> Answer {
    match value(what, known, asked) {
        Err(Open) => Answer::Unknown,
        Ok(None) => Answer::No,
        Ok(Some(value)) => Answer::of(is_so(&value, is, asked)),
    }
}

/// A pool's name; none when a part of it is not there.
pub(super) fn name(naming: &Naming, known: Known<'_, '_>, asked: Asked<'_>) -> Result<Option<String>, Open> {
    let mut name = Vec::new();
    for piece in &naming.pieces {
        match piece {
            NamePiece::Text(text) => name.extend_from_slice(text.as_bytes()),
            NamePiece::Value(what) => match value(what, known, asked)? {
                Some(value) => name.extend_from_slice(&value.text()),
                None => return Ok(None),
            },
        }
    }
    Ok(String::from_utf8(name).ok())
}

fn is_so(value: &Value<'_>, is: &Is, asked: Asked<'_>) -> bool {
    match is {
        Is::Found => true,
        Is::Listed(lookup) => place(value, lookup, Kind::Text, asked, |_| ()).is_some(),
        Is::In(networks) => value.address().is_some_and(|address| networks.contains(address)),
        Is::Within(ranges) => value.number().is_some_and(|number| ranges.iter().any(|range| range.contains(&number))),
        Is::Like { ignore_case, patterns } => {
            condition::matches(&value.text(), *ignore_case, patterns, asked.expressions)
        }
    }
}

fn value<'a>(what: &Converted, known: Known<'a, '_>, asked: Asked<'_>) -> Result<Option<Value<'a>>, Open> {
    let first = match &what.of {
        Subject::Address(end) => Ok(Some(Value::Address(condition::address(*end, known)))),
        Subject::Number(quantity) => {
            condition::number(quantity, known, asked.world).map(|number| number.map(Value::Number))
        }
        Subject::Text(text) => condition::text(*text, known).map(|text| text.map(|text| Value::Text(text.into()))),
    };
    // What is not known yet will be, or counts as nothing.
    let mut value = match first {
        Ok(value) => value,
        Err(Open) if known.is_all() => None,
        Err(Open) => return Err(Open),
    };
    for step in &what.steps {
        let Some(before) = value else { return Ok(None) };
        value = match step {
            Step::Lower => Some(Value::Text(before.text().to_ascii_lowercase().into())),
            Step::Upper => Some(Value::Text(before.text().to_ascii_uppercase().into())),
            Step::Mask(v4, v6) => before.address().map(|address| Value::Address(Key::network(address, *v4, *v6))),
            Step::Part(part) => part_of(&before.text(), part).map(|part| Value::Text(part.to_vec().into())),
            Step::Map(map) => mapped(&before, map, asked),
        };
    }
    Ok(value)
}

fn mapped<'a>(value: &Value<'_>, map: &Map, asked: Asked<'_>) -> Option<Value<'a>> {
    let found = place(value, &map.lookup, map.values, asked, |constant| Value::of(constant.clone()));
    found.or_else(|| Constant::of(map.values, map.default.as_ref()?).map(Value::of))
}

/// What a list has for a value, read while it is held.
fn place<T>(
    value: &Value<'_>,
    lookup: &Lookup,
    values: Kind,
    asked: Asked<'_>,
    read: impl FnOnce(&Constant) -> T,
) -> Option<T> {
    use crate::model::converted::How;
    let index = asked.expressions.list(lookup, values)?.load();
    let place = match lookup.how {
        How::Address => index.of_address(value.address()?),
        How::Number => index.of_number(value.number()?),
        _ => index.of_text(&value.text()),
    };
    index.value(place?).map(read)
}

impl Value<'_> {
    fn of(constant: Constant) -> Self {
        match constant {
            Constant::Text(text) => Self::Text(Cow::Owned(text.into_vec())),
            Constant::Number(number) => Self::Number(number),
            Constant::Address(address) => Self::Address(address),
        }
    }

    fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => number.to_string().into_bytes().into(),
            Self::Address(address) => address.to_canonical().to_string().into_bytes().into(),
        }
    }

    fn number(&self) -> Option<i64> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Address(IpAddr::V4(address)) => Some(u32::from(*address).into()),
            Self::Address(IpAddr::V6(_)) => None,
        }
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Number(number) => Some(IpAddr::V4(u32::try_from(*number).ok()?.into())),
            Self::Address(address) => Some(address.to_canonical()),
        }
    }
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
