//! Converters after a fetch, the lists that they and tests look something up in, and names of pools made by them.

use std::path::Path;
use std::sync::Arc;

use super::pattern::Patterns;
use super::stick::parts;
use super::test::Fetch;
use super::{Fault, Scope, show, test};
use crate::config::import::Word;
use crate::model::converted::{
    Converted, How, Is, Kind, List, ListName, Lookup, Map, NamePiece, Naming, Part, Step, Subject,
};
use crate::model::rule::{Quantity, Test};
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
pub(super) fn steps(text: &str, word: &Word, scope: &Scope<'_>) -> Result<Vec<Step>, Fault> {
    parts(text).map(|text| step(text, word, scope)).collect()
}

fn step(text: &str, word: &Word, scope: &Scope<'_>) -> Result<Step, Fault> {
    let fault = |message: String| Fault::new(word.at, message);
    let (name, inside) = match text.split_once('(') {
        Some((name, inside)) => {
            let inside = inside.strip_suffix(')').ok_or_else(|| fault(format!("`{text}` is not closed with `)`")))?;
            (name, Some(inside))
        }
        None => (text, None),
    };
    match (name, inside) {
        ("lower", None) => Ok(Step::Lower),
        ("upper", None) => Ok(Step::Upper),
        ("ipmask", Some(bits)) => {
            let (v4, v6) =
                mask(bits).ok_or_else(|| fault(format!("`{text}` wants bits: ipmask(24) or ipmask(24,64)")))?;
            Ok(Step::Mask(v4, v6))
        }
        ("field" | "word", Some(inside)) => part(name == "word", inside)
            .map(Step::Part)
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
            Ok(Step::Map(Map { lookup: Lookup { list, how, ignore_case: false }, values, default }))
        }
        _ => Err(fault(format!(
            "the converter `{text}` is not there: lower, upper, ipmask(24), field(1,.), word(1,.) and maps such as map_reg(/etc/haproxy/names.map) are"
        ))),
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
    let how = HOW.iter().find(|(name, _)| *name == how).map(|(_, how)| *how)?;
    let values = VALUES.iter().find(|(name, _)| *name == values).map(|(_, kind)| *kind)?;
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

/// What is looked at, as something to convert or to look up.
fn subject(fetch: &Fetch) -> Option<Subject> {
    Some(match fetch {
        Fetch::Address(end) => Subject::Address(*end),
        Fetch::Number(quantity) => Subject::Number(quantity.clone()),
        Fetch::Version => Subject::Number(Quantity::HelloVersion),
        Fetch::Text(of, _) | Fetch::Bytes(of) => Subject::Text(*of),
        Fetch::Constant(_) | Fetch::Truth(_) => return None,
    })
}

/// Tests of something that is converted, or looked up in lists.
pub(super) fn tests(
    (fetch, steps): (Fetch, Vec<Step>),
    mut patterns: Patterns<'_>,
    lower: bool,
    word: &Word,
    scope: &Scope<'_>,
) -> Result<Vec<Test>, Fault> {
    let Some(of) = subject(&fetch) else {
        return Err(Fault::new(word.at, format!("`{}` goes with no converters and no lists", word.text)));
    };
    let what = Converted { of, steps };
    let usual = match (what.kind(), &fetch) {
        (Kind::Address, _) => Some("ip"),
        (Kind::Number, _) => Some("int"),
        // Bytes have to be told how they are compared.
        (Kind::Text, Fetch::Bytes(_)) if what.steps.is_empty() => None,
        (Kind::Text, Fetch::Text(_, usual)) if what.steps.is_empty() => Some(*usual),
        (Kind::Text, _) => Some("str"),
    };
    let method = patterns.method_or(usual, word)?;
    let mut all = Vec::new();
    let files = std::mem::take(&mut patterns.files);
    let number = patterns.number.take();
    if !files.is_empty() || number.is_some() {
        let how = HOW.iter().find(|(name, _)| *name == method).map(|(_, how)| *how);
        let how = how.filter(|_| !matches!(fetch, Fetch::Version) || !what.steps.is_empty()).ok_or_else(|| {
            Fault::new(word.at, format!("patterns of a list cannot be compared so with `{}`", word.text))
        })?;
        let ignore_case = patterns.ignore_case || lower;
        let listed = |list| Test::Converted { what: what.clone(), is: Is::Listed(Lookup { list, how, ignore_case }) };
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
    if what.steps.is_empty() {
        all.extend(test::test(fetch, patterns, lower, word)?);
        return Ok(all);
    }
    let is = match method {
        "found" => Is::Found,
        _ if patterns.words.is_empty() && method != "bool" => {
            return Err(test::none_given("patterns, or `-m found`,", word));
        }
        "ip" => Is::In(patterns.networks()?),
        "int" | "bool" => Is::Within(patterns.numbers(i64::MIN, lists::number)?),
        _ => {
            let (list, ignore_case) = patterns.texts(Some(method), false, word)?;
            Is::Like { ignore_case, patterns: list }
        }
    };
    all.push(Test::Converted { what, is });
    Ok(all)
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
        let (name, chain) = test::converters(inside);
        let fetch = test::fetch(name, scope).map_err(|message| Fault::new(word.at, message))?;
        let Some(of) = subject(&fetch) else {
            return Err(Fault::new(word.at, format!("`%[{inside}]` cannot be part of a name")));
        };
        let steps = chain.map_or_else(|| Ok(Vec::new()), |chain| steps(chain, word, scope))?;
        pieces.push(NamePiece::Value(Converted { of, steps }));
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
        NamePiece::Value(value) => format!("%[{}]", show_converted(value)),
    };
    naming.pieces.iter().map(piece).collect()
}

/// As it is read.
pub(super) fn show_converted(what: &Converted) -> String {
    let subject = match &what.of {
        Subject::Address(end) => show::end(*end).to_owned(),
        Subject::Number(quantity) => show::quantity(quantity),
        Subject::Text(text) => show::text(*text),
    };
    let steps = what.steps.iter().map(|step| format!(",{}", show_step(step)));
    std::iter::once(subject).chain(steps).collect()
}

fn show_step(step: &Step) -> String {
    match step {
        Step::Lower => "lower".to_owned(),
        Step::Upper => "upper".to_owned(),
        Step::Mask(v4, v6) => format!("ipmask({v4},{v6})"),
        Step::Part(Part { words, index, separators, count }) => {
            format!("{}({index},{separators},{count})", if *words { "word" } else { "field" })
        }
        Step::Map(Map { lookup, values, default }) => {
            let default = default.as_ref().map(|default| format!(",{default}")).unwrap_or_default();
            format!("map_{}_{}({}{default})", name_of(&HOW, &lookup.how), name_of(&VALUES, values), lookup.list.name)
        }
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

fn name_of<T: PartialEq>(names: &[(&'static str, T)], wanted: &T) -> &'static str {
    names.iter().find(|(_, known)| known == wanted).map_or("", |(name, _)| name)
}
