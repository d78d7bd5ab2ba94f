//! Variables in addresses: `bind *:$PORT`, `server s ${BACKEND}:80`. HAProxy puts their values in place wherever it reads
//! an address, whatever the quotes; elsewhere it does so between double quotes only (manual, section 2.3).

use crate::config::import::{Surroundings, Word};

/// Puts the values of variables into those of a line's words that are addresses. Variables that are not set are empty: the
/// first of them is returned, with its word's place.
pub(super) fn expand(section: &str, words: &mut [Word], around: &dyn Surroundings) -> Option<(usize, String)> {
    let mut missing = None;
    for place in places(section, words) {
        let Some(word) = words.get_mut(place).filter(|word| word.text.contains('$')) else { continue };
        let (text, unset) = expanded(&word.text, around);
        word.text = text;
        missing = missing.or(unset.map(|name| (place, name)));
    }
    missing
}

/// Which words of a line are addresses.
fn places(section: &str, words: &[Word]) -> Vec<usize> {
    let text = |place: usize| words.get(place).map_or("", Word::as_str);
    let after = |keywords: &[&str]| {
        let found = (1..words.len()).filter(|place| keywords.contains(&text(place - 1)));
        found.collect::<Vec<_>>()
    };
    match (section, text(0), text(1)) {
        ("global", "stats", "socket") => vec![2],
        ("global", "log", _) | ("peers", "bind", _) => vec![1],
        ("peers", "peer" | "server", _) | ("resolvers", "nameserver", _) | ("mailers", "mailer", _) => vec![2],
        ("defaults" | "frontend" | "listen" | "backend", first, second) => match (first, second) {
            ("bind" | "log", _) => vec![1],
            ("source", _) => after(&["source", "usesrc"]),
            ("tcp-check" | "http-check", "connect") => after(&["addr"]),
            ("server", _) => [vec![2], after(&["addr", "source", "usesrc"])].concat(),
            ("server-template", _) => [vec![3], after(&["addr", "source", "usesrc"])].concat(),
            ("default-server", _) => after(&["addr", "source", "usesrc"]),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// `$NAME` and `${NAME}` replaced, and the first name that is not set. Other forms of a variable are not known here.
fn expanded(text: &str, around: &dyn Surroundings) -> (String, Option<String>) {
    let (mut result, mut unset) = (String::new(), None);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let braced = after.strip_prefix('{');
        let after = braced.unwrap_or(after);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        rest = after.strip_prefix('}').filter(|_| braced.is_some()).unwrap_or(after);
        match around.variable(name).filter(|_| !name.is_empty()) {
            Some(value) => result.push_str(&value),
            None => unset = unset.or(Some(name.to_owned())),
        }
    }
    result.push_str(rest);
    (result, unset)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World;

    impl Surroundings for World {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "PORT").then(|| "8080".to_owned())
        }

        fn node_name(&self) -> String {
            String::new()
        }

        fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }

        fn list(&self, _: &std::path::Path) -> std::io::Result<Vec<String>> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    /// As HAProxy 2.6.12 was seen to read them.
    #[test]
    fn names_end_where_haproxy_ends_them() {
        let read = |text: &str| expanded(text, &World);
        let whole = |text: &str| (text.to_owned(), None);
        assert_eq!(read("*:$PORT"), whole("*:8080"));
        assert_eq!(read("$PORT.2-x${PORT}"), whole("8080.2-x8080"));
        assert_eq!(read("${PORT:80"), whole("8080:80"));
        assert_eq!(read("$NOPE:80"), (":80".to_owned(), Some("NOPE".to_owned())));
        assert_eq!(read("*:${NOPE-80}"), ("*:-80}".to_owned(), Some("NOPE".to_owned())));
        assert_eq!(read("$"), (String::new(), Some(String::new())));
    }
}
