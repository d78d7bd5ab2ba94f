//! Files of keys and values, and how HAProxy compares keys (`map`, `map_dom`, ..).

use std::path::Path;
use std::sync::Arc;

use super::{Fault, Scope, value};
use crate::config::import::Word;
use crate::model::value::{Comparison, Map};

/// The converters, and how they compare.
pub(in crate::config) const METHODS: [(&str, &str); 11] = [
    ("map", "str"),
    ("map_str", "str"),
    ("map_str_str", "str"),
    ("map_beg", "beg"),
    ("map_end", "end"),
    ("map_sub", "sub"),
    ("map_dom", "dom"),
    ("map_reg", "reg"),
    ("map_ip", ADDRESS),
    ("map_ip_str", ADDRESS),
    ("map_int", NUMBER),
];
const ADDRESS: &str = "ip";
/// How numbers are compared.
pub(in crate::config) const NUMBER: &str = "int";

/// The converter `name(file[,default])`; none: it is another one.
pub(super) fn read(name: &str, arguments: &[&str], word: &Word, scope: &Scope<'_>) -> Result<Option<Map>, Fault> {
    let Some((name, method)) = METHODS.iter().find(|(known, _)| *known == name) else { return Ok(None) };
    let fault = |message: String| Fault::new(word.at, message);
    let (file, default) = match arguments {
        [file] if !file.is_empty() => (*file, None),
        [file, default] if !file.is_empty() => (*file, Some((*default).into())),
        _ => return Err(fault(format!("`{name}` wants a file, and perhaps what counts where it says nothing"))),
    };
    let text =
        (scope.read)(Path::new(file)).map_err(|error| fault(format!("the map {file} cannot be read: {error}")))?;
    let entries = groups(method, entries(&text)).into_iter().map(|(text, keys)| {
        let words: Vec<Word> = keys.into_iter().map(|key| Word { text: key.to_owned(), at: word.at }).collect();
        Ok((value::comparison(method, words, word)?, text.into()))
    });
    let entries = entries.collect::<Result<Vec<(Comparison, Arc<str>)>, Fault>>()?.into();
    Ok(Some(Map { name, file: file.into(), default, entries }))
}

/// Keys and values: a line each, `#` before those that do not count.
pub(in crate::config) fn entries(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once([' ', '\t']).map_or((line, ""), |(key, value)| (key, value.trim()))).collect()
}

/// Keys that have the same value, in an order in which the first group that fits is the one that HAProxy finds.
pub(in crate::config) fn groups<'m>(
    method: &str,
    mut entries: Vec<(&'m str, &'m str)>,
) -> Vec<(&'m str, Vec<&'m str>)> {
    if method == ADDRESS {
        // The longest prefix first.
        let length = |key: &str| match key.split_once('/') {
            Some((_, length)) => length.parse().unwrap_or(0_u8),
            None => u8::MAX,
        };
        entries.sort_by_key(|(key, _)| std::cmp::Reverse(length(key)));
    }
    // Of equal keys the first counts, whatever stands between.
    let mut seen = std::collections::HashSet::new();
    entries.retain(|(key, _)| seen.insert(*key));
    let exact = method == "str";
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (key, value) in entries {
        let near = if exact { groups.iter_mut().find(|group| group.0 == value) } else { groups.last_mut() };
        match near.filter(|group| group.0 == value) {
            Some(group) => group.1.push(key),
            None => groups.push((value, vec![key])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_grouped_as_they_are_found() {
        let text = "# names\n a.example  one\nb.example\ttwo\n\nc.example one \na.example three\nd\n";
        let names = entries(text);
        assert_eq!(names.last(), Some(&("d", "")));
        let exact = groups("str", names.clone());
        assert_eq!(exact, [("one", vec!["a.example", "c.example"]), ("two", vec!["b.example"]), ("", vec!["d"])]);
        let ordered = groups("end", names);
        assert_eq!(ordered.iter().map(|group| group.0).collect::<Vec<_>>(), ["one", "two", "one", ""]);
        let networks = groups(ADDRESS, entries("0.0.0.0/0 all\n10.0.0.0/8 ten\n10.1.1.1 one\n10.1.0.0/16 ten\n"));
        let expected =
            [("one", vec!["10.1.1.1"]), ("ten", vec!["10.1.0.0/16", "10.0.0.0/8"]), ("all", vec!["0.0.0.0/0"])];
        assert_eq!(networks, expected);
    }
}
