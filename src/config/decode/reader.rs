//! Reading tables and scalars. A value that cannot be read is one diagnostic and `None`; the reader goes on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Keys};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{Located, Maybe, Secret, Timeout};
use crate::config::source::{Location, SourceId};
use crate::config::syntax;
use crate::model::{Invalid, Prefix};

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What all decoding shares: which text it is, and what was found.
pub(super) struct Decoder<'d> {
    pub(super) source: SourceId,
    pub(super) diagnostics: &'d mut Vec<Diagnostic>,
    /// The text had faults that may have swallowed keys: then a missing key says nothing.
    pub(super) gaps: bool,
    /// How often more a slip is compared with all that it may have been.
    pub(super) suggestions: usize,
}

/// A value and its place.
#[derive(Clone, Copy)]
pub(super) struct Value<'v> {
    pub(super) value: &'v DeValue<'v>,
    pub(super) at: Location,
}

/// A table whose keys are all known ones.
#[derive(Clone, Copy)]
pub(super) struct Fields<'v> {
    pub(super) table: &'v DeTable<'v>,
    pub(super) at: Location,
}

impl Decoder<'_> {
    pub(super) fn error(&mut self, at: Location, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(at, message));
    }

    pub(super) fn at(&self, span: std::ops::Range<usize>) -> Location {
        Location::new(self.source, span)
    }

    pub(super) fn value<'v>(&self, value: &'v Spanned<DeValue<'v>>) -> Value<'v> {
        Value { value: value.get_ref(), at: self.at(value.span()) }
    }

    /// A table of the keys in `known`; each other key is an error.
    pub(super) fn table<'v>(&mut self, value: Value<'v>, what: &str, known: &[&Keys]) -> Option<Fields<'v>> {
        let DeValue::Table(table) = value.value else {
            self.wrong_type(value, what, "a table");
            return None;
        };
        let fields = Fields { table, at: value.at };
        self.known_keys(fields, known);
        Some(fields)
    }

    pub(super) fn known_keys(&mut self, fields: Fields<'_>, known: &[&Keys]) {
        for key in fields.table.keys() {
            let name: &str = key.get_ref();
            if known.iter().any(|keys| keys.keys.contains(&name)) {
                continue;
            }
            let here = known.first().map_or("", |keys| keys.table);
            let error = Diagnostic::error(self.at(key.span()), format!("`{name}` is not a key of {here}"));
            if self.suggestions == 0 {
                self.diagnostics.push(error);
                continue;
            }
            self.suggestions -= 1;
            let near = syntax::nearest(name, known.iter().flat_map(|keys| keys.keys.iter().copied()));
            let elsewhere = keys::ALL.iter().find(|keys| keys.keys.contains(&name));
            self.diagnostics.push(match (near, elsewhere) {
                (Some(near), _) => error.label(format!("did you mean `{near}`?")),
                (None, Some(keys)) => error.help(format!("`{name}` is a key of {}", keys.table)),
                (None, None) => error.help(format!(
                    "the keys are {}",
                    known.iter().flat_map(|keys| keys.keys.iter().copied()).collect::<Vec<_>>().join(", ")
                )),
            });
        }
    }

    /// The table's `key`, if it is there and can be read.
    pub(super) fn field<'v, T>(
        &mut self,
        fields: Fields<'v>,
        key: &str,
        read: impl FnOnce(&mut Self, Value<'v>, &str) -> Option<T>,
    ) -> Maybe<T> {
        debug_assert!(keys::ALL.iter().any(|keys| keys.keys.contains(&key)), "`{key}` is not in the key tables");
        let value = self.value(fields.table.get(key)?);
        read(self, value, key).map(|read| Located::new(read, value.at))
    }

    /// The table's `key` as a list; a single value is a list of one. What cannot be read is left out.
    pub(super) fn list<'v, T>(
        &mut self,
        fields: Fields<'v>,
        key: &str,
        mut read: impl FnMut(&mut Self, Value<'v>, &str) -> Option<T>,
    ) -> Vec<T> {
        debug_assert!(keys::ALL.iter().any(|keys| keys.keys.contains(&key)), "`{key}` is not in the key tables");
        let Some(value) = fields.table.get(key).map(|value| self.value(value)) else { return Vec::new() };
        match value.value {
            DeValue::Array(items) => items.iter().filter_map(|item| read(self, self.value(item), key)).collect(),
            _ => read(self, value, key).into_iter().collect(),
        }
    }

    /// An error unless one of `keys` is there.
    pub(super) fn require(&mut self, fields: Fields<'_>, table: &Keys, keys: &[&str], remedy: &str) {
        if !self.gaps && !keys.iter().any(|key| fields.table.contains_key(*key)) {
            let missing = keys.first().copied().unwrap_or_default();
            let error = Diagnostic::error(fields.at, format!("`{missing}` is missing in {}", table.table));
            self.diagnostics.push(error.help(remedy));
        }
    }

    pub(super) fn wrong_type(&mut self, value: Value<'_>, key: &str, expected: &str) {
        let found = match value.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let error = Diagnostic::error(value.at, format!("`{key}` must be {expected}"));
        self.diagnostics.push(error.label(format!("this is {found}")));
    }

    pub(super) fn text<'v>(&mut self, value: Value<'v>, key: &str) -> Option<&'v str> {
        match value.value.as_str() {
            Some(text) => Some(text),
            None => {
                self.wrong_type(value, key, "a string");
                None
            }
        }
    }

    pub(super) fn string(&mut self, value: Value<'_>, key: &str) -> Option<String> {
        self.text(value, key).map(str::to_owned)
    }

    pub(super) fn secret(&mut self, value: Value<'_>, key: &str) -> Option<Secret> {
        self.string(value, key).map(Secret)
    }

    pub(super) fn boolean(&mut self, value: Value<'_>, key: &str) -> Option<bool> {
        match value.value {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.wrong_type(value, key, "true or false");
                None
            }
        }
    }

    pub(super) fn number(&mut self, value: Value<'_>, key: &str) -> Option<u64> {
        let DeValue::Integer(integer) = value.value else {
            self.wrong_type(value, key, "a whole number");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            let problem = if integer.as_str().starts_with('-') { "negative" } else { "that large" };
            self.error(value.at, format!("`{key}` cannot be {problem}"));
        }
        number
    }

    /// A number that may be negative.
    pub(super) fn signed(&mut self, value: Value<'_>, key: &str) -> Option<i64> {
        let DeValue::Integer(integer) = value.value else {
            self.wrong_type(value, key, "a whole number");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            self.error(value.at, format!("`{key}` cannot be that large"));
        }
        number
    }

    pub(super) fn path(&mut self, value: Value<'_>, key: &str) -> Option<PathBuf> {
        match self.text(value, key)? {
            "" => {
                self.error(value.at, format!("`{key}` is empty: the path of a file was expected"));
                None
            }
            text if text.contains('\0') => {
                self.error(value.at, "a path cannot contain the character NUL");
                None
            }
            text => Some(PathBuf::from(text)),
        }
    }

    pub(super) fn located(&mut self, value: Value<'_>, key: &str) -> Option<Located<String>> {
        Some(Located::new(self.string(value, key)?, value.at))
    }

    pub(super) fn ip_address(&mut self, value: Value<'_>, key: &str) -> Option<IpAddr> {
        self.address(value, key, "an IP address")
    }

    pub(super) fn prefix(&mut self, value: Value<'_>, key: &str) -> Option<Prefix> {
        self.parsed(value, key, str::parse)
    }

    pub(super) fn duration(&mut self, value: Value<'_>, key: &str) -> Option<Duration> {
        match value.value {
            DeValue::String(text) => match syntax::duration(text) {
                Ok(duration) => Some(duration),
                Err(invalid) => {
                    let error = Diagnostic::error(value.at, format!("{invalid}, as `{key}` must be"));
                    self.diagnostics.push(error.help("durations are written \"300ms\", \"5s\" or \"1h 30m\""));
                    None
                }
            },
            DeValue::Integer(number) => {
                let error = Diagnostic::error(value.at, format!("`{key}` needs a unit"));
                self.diagnostics
                    .push(error.help(format!("write \"{number}s\" for seconds, \"{number}ms\" for milliseconds")));
                None
            }
            DeValue::Float(number) => {
                let error = Diagnostic::error(value.at, format!("`{key}` needs a unit"));
                self.diagnostics.push(error.help(format!("write \"{}s\" for seconds", number.as_str())));
                None
            }
            _ => {
                self.wrong_type(value, key, "a duration such as \"5s\"");
                None
            }
        }
    }

    pub(super) fn timeout(&mut self, value: Value<'_>, key: &str) -> Option<Timeout> {
        match value.value.as_str() {
            Some("none") => Some(Timeout::None),
            _ => self.duration(value, key).map(Timeout::After),
        }
    }

    /// A string that `read` takes apart.
    pub(super) fn parsed<T>(
        &mut self,
        value: Value<'_>,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        match read(self.text(value, key)?) {
            Ok(parsed) => Some(parsed),
            Err(Invalid(cause)) => {
                self.error(value.at, cause);
                None
            }
        }
    }

    /// A string that is read by the standard library, which does not say what it saw.
    pub(super) fn address<T: FromStr>(&mut self, value: Value<'_>, key: &str, what: &str) -> Option<T> {
        self.parsed(value, key, |text| text.parse().map_err(|_| Invalid(format!("`{text}` is not {what}"))))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, value: Value<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(value, key)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let error =
            Diagnostic::error(value.at, format!("`{key}` cannot be `{text}`")).help(format!("it is one of {all}"));
        let near = syntax::nearest(text, words.iter().map(|(word, _)| *word));
        self.diagnostics.push(match near {
            Some(near) => error.label(format!("did you mean `{near}`?")),
            None => error,
        });
        None
    }
}
