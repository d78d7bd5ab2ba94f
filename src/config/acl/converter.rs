//! Converters after a fetch, and the lists that they and tests look something up in.

use std::path::Path;
use std::sync::Arc;

use super::figure::{find, name_of};
use super::stick::parts;
use super::variable::named;
use super::{Fault, Scope, numeric, show};
use crate::config::import::Word;
use crate::model::expression::{Converter, Map, Part};
use crate::model::list::{How, Kind, List, ListName, Lookup};
use crate::rules::lists;

/// The ways of comparing, as maps and `-m` call them.
pub(super) const HOW: [(&str, How); 10] = [
    ("str", How::Exact),
    ("bin", How::Binary),
    ("beg", How::Begin),
    ("end", How::End),
    ("sub", How::Contains),
    ("dom", How::Domain),
    ("reg", How::Regex),
    ("len", How::Length),
    ("int", How::Number),
    ("ip", How::Address),
];
/// What maps have, as their names end.
pub(super) const VALUES: [(&str, Kind); 3] = [("str", Kind::Text), ("int", Kind::Number), ("ip", Kind::Address)];

/// `lower,field(1,.),map(/etc/haproxy/names.map,other)`
pub(super) fn converters(text: &str, word: &Word, scope: &Scope<'_>) -> Result<Vec<Converter>, Fault> {
    parts(text).map(|text| converter(text, word, scope)).collect()
}

fn converter(text: &str, word: &Word, scope: &Scope<'_>) -> Result<Converter, Fault> {
    let fault = |message: String| Fault::new(word.at, message);
    let (name, inside) = match text.split_once('(') {
        Some((name, inside)) => {
            let inside = inside.strip_suffix(')').ok_or_else(|| fault(format!("`{text}` is not closed with `)`")))?;
            (name, Some(inside))
        }
        None => (text, None),
    };
    match (name, inside) {
        ("lower", None) => Ok(Converter::Lower),
        ("upper", None) => Ok(Converter::Upper),
        ("ipmask", Some(bits)) => {
            let (v4, v6) =
                mask(bits).ok_or_else(|| fault(format!("`{text}` wants bits: ipmask(24) or ipmask(24,64)")))?;
            Ok(Converter::Mask(v4, v6))
        }
        ("length", None) => Ok(Converter::Length),
        ("bytes", Some(inside)) => {
            let numbers: Option<Vec<usize>> = inside.split(',').map(|number| number.trim().parse().ok()).collect();
            match numbers.as_deref() {
                Some([offset]) => Ok(Converter::Bytes { offset: *offset, length: None }),
                Some([offset, length]) => Ok(Converter::Bytes { offset: *offset, length: Some(*length) }),
                _ => Err(fault(format!("`{text}` wants a place and perhaps a length: bytes(4) or bytes(4,2)"))),
            }
        }
        ("concat", Some(inside)) => {
            let mut texts = inside.splitn(3, ',');
            let mut next = || texts.next().unwrap_or_default();
            let (before, variable, after) = (next(), next(), next());
            let variable = Some(variable.trim()).filter(|name| !name.is_empty()).map(named);
            let variable = variable.transpose().map_err(fault)?;
            Ok(Converter::Concat { before: before.into(), variable, after: after.into() })
        }
        ("field" | "word", Some(inside)) => part(name == "word", inside)
            .map(Converter::Part)
            .ok_or_else(|| fault(format!("`{text}` wants a place and separators, as in `{name}(1,.)`"))),
        (_, Some(inside)) if let Some((how, values)) = map_of(name) => {
            let (file, default) = match inside.split_once(',') {
                Some((file, default)) => (file, Some(default.to_owned())),
                None => (inside, None),
            };
            if let Some(default) = &default {
                lists::check(How::Exact, Some(values), ("the default", default)).map_err(fault)?;
            }
            let list = list(&Word { text: file.trim().to_owned(), at: word.at }, (true, how, values), scope)?;
            Ok(Converter::Map(Map { lookup: Lookup { list, how, ignore_case: false }, values, default }))
        }
        _ => numeric::read(name, inside, scope).map_err(fault)?.ok_or_else(|| {
            fault(format!(
                "the converter `{text}` is not there: lower, upper, length, bytes(0,4), ipmask(24), field(1,.), word(1,.), concat(<,txn.name,>), hex, base64, crc32, djb2, sdbm, add(1), mod(10) and their like, in_table(clients), table_conn_rate(clients) and maps such as map_reg(/etc/haproxy/names.map) are"
            ))
        }),
    }
}

/// `24` or `24,64`
pub(super) fn mask(text: &str) -> Option<(u8, u8)> {
    let (v4, v6) = text.split_once(',').unwrap_or((text, "128"));
    let bits = |text: &str, most: u8| text.trim().parse().ok().filter(|bits| *bits <= most);
    Some((bits(v4, 32)?, bits(v6, 128)?))
}

/// `1,.` or `1,.-,2`
fn part(words: bool, text: &str) -> Option<Part> {
    let (index, rest) = text.split_once(',')?;
    let index = index.trim().parse().ok().filter(|index| *index != 0)?;
    let counted = rest.rsplit_once(',').and_then(|(separators, count)| Some((separators, count.trim().parse().ok()?)));
    let (separators, count) = counted.unwrap_or((rest, 1));
    let plain = separators.trim_matches(['\'', '"']);
    let separators = if plain.is_empty() { separators } else { plain };
    (!separators.is_empty()).then(|| Part { words, index, separators: separators.to_owned(), count })
}

/// `map`, `map_reg`, `map_ip_int`
fn map_of(name: &str) -> Option<(How, Kind)> {
    let rest = name.strip_prefix("map")?;
    if rest.is_empty() {
        return Some((How::Exact, Kind::Text));
    }
    let rest = rest.strip_prefix('_')?;
    let (how, values) = rest.split_once('_').unwrap_or((rest, "str"));
    let (how, values) = (find(&HOW, how)?, find(&VALUES, values)?);
    (!matches!(how, How::Binary | How::Length)).then_some((how, values))
}

/// The list of a file: one entry a line; empty lines and those that begin with `#` do not count.
pub(super) fn list(
    path: &Word,
    (is_map, how, values): (bool, How, Kind),
    scope: &Scope<'_>,
) -> Result<Arc<List>, Fault> {
    let text = (scope.read)(Path::new(&path.text))
        .map_err(|error| Fault::new(path.at, format!("`{}` cannot be read: {error}", path.text)))?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once([' ', '\t']).filter(|_| is_map).unwrap_or((line, ""));
        let entry = (key, value.trim());
        lists::check(how, is_map.then_some(values), entry)
            .map_err(|message| Fault::new(path.at, format!("line {} of `{}`: {message}", number + 1, path.text)))?;
        entries.push((entry.0.to_owned(), entry.1.to_owned()));
    }
    Ok(Arc::new(List { name: ListName::File(path.text.clone()), is_map, entries }))
}

/// As it is read.
pub(super) fn show_converter(converter: &Converter) -> String {
    match converter {
        Converter::Lower => "lower".to_owned(),
        Converter::Upper => "upper".to_owned(),
        Converter::Mask(v4, v6) => format!("ipmask({v4},{v6})"),
        Converter::Length => "length".to_owned(),
        Converter::Bytes { offset, length: None } => format!("bytes({offset})"),
        Converter::Bytes { offset, length: Some(length) } => format!("bytes({offset},{length})"),
        Converter::Concat { before, variable, after } => {
            let variable = variable.as_ref().map_or_else(String::new, ToString::to_string);
            format!("concat({before},{variable},{after})")
        }
        Converter::Part(Part { words, index, separators, count }) => {
            let name = if *words { "word" } else { "field" };
            let is_plain = *count == 1 && !separators.contains(',');
            let count = if is_plain { String::new() } else { format!(",{count}") };
            format!("{name}({index},{separators}{count})")
        }
        Converter::Map(Map { lookup, values, default }) => {
            let default = default.as_ref().map(|default| format!(",{default}")).unwrap_or_default();
            let how = name_of(&HOW, &lookup.how);
            let values = if *values == Kind::Text { "" } else { &format!("_{}", name_of(&VALUES, values)) };
            format!("map_{how}{values}({}{default})", lookup.list.name)
        }
        Converter::Compute(..) | Converter::Alter(_) | Converter::Digest(_) | Converter::Encode(_) => {
            numeric::show(converter)
        }
        Converter::Counted { .. } => numeric::show(converter),
    }
}

/// What stands behind what is looked at.
pub(super) fn show_lookup(lookup: &Lookup) -> String {
    let case = if lookup.ignore_case { " -i" } else { "" };
    let patterns = match &lookup.list.name {
        ListName::File(path) => {
            let map = if lookup.list.is_map { " -M" } else { "" };
            format!("{map} -f {}", show::quoted(path))
        }
        ListName::Number(number) => {
            let words: Vec<String> = lookup.list.entries.iter().map(|(key, _)| show::quoted(key)).collect();
            format!(" -u {number} -- {}", words.join(" "))
        }
    };
    format!("{case} -m {}{patterns}", name_of(&HOW, &lookup.how))
}
