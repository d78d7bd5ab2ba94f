//! What validation finds, and the checks that every table needs.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Resolve;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{Host, Located, Maybe, Timeout};
use crate::config::source::Location;
use crate::config::syntax::{self, SUGGESTIONS};
use crate::model::Family;

/// Longer than any sensible timeout, short enough that adding it to a clock never overflows.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Collects findings and resolves names.
pub(super) struct Findings<'f> {
    diagnostics: &'f mut Vec<Diagnostic>,
    resolve: &'f dyn Resolve,
    resolved: HashMap<String, Result<Vec<IpAddr>, String>>,
    /// Everything that was written could be read. Otherwise what seems to be missing was perhaps there.
    pub(super) complete: bool,
    suggestions: usize,
}

impl<'f> Findings<'f> {
    pub(super) fn new(diagnostics: &'f mut Vec<Diagnostic>, resolve: &'f dyn Resolve, complete: bool) -> Self {
        Self { diagnostics, resolve, resolved: HashMap::new(), complete, suggestions: SUGGESTIONS }
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn error(&mut self, at: Location, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::error(at, message).help(help));
    }

    pub(super) fn warning(&mut self, at: Location, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::warning(at, message).help(help));
    }

    /// An error about something that is not there.
    pub(super) fn missing(&mut self, at: Location, message: impl Into<String>, help: impl Into<String>) {
        if self.complete {
            self.error(at, message, help);
        }
    }

    /// A value that must be there; nothing otherwise.
    pub(super) fn required<'v, T>(
        &mut self,
        value: &'v Maybe<T>,
        key: &str,
        table: Location,
    ) -> Option<&'v Located<T>> {
        if value.is_none() {
            self.missing(table, format!("`{key}` is missing here"), format!("add `{key}`"));
        }
        value.as_ref()
    }

    /// A number in `range`, or `default`.
    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        value: &Maybe<u64>,
        key: &str,
        range: RangeInclusive<u64>,
        default: T,
    ) -> T {
        self.optional_number(value, key, range).unwrap_or(default)
    }

    /// A number in `range`, if there is one.
    pub(super) fn optional_number<T: TryFrom<u64>>(
        &mut self,
        value: &Maybe<u64>,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let located = value.as_ref()?;
        let number =
            Some(located.value).filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let (first, last) = range.into_inner();
            self.push(
                Diagnostic::error(located.at, format!("`{key}` cannot be {}", located.value))
                    .help(format!("it is a number from {first} to {last}")),
            );
        }
        number
    }

    /// A duration that may be zero, or `default`.
    pub(super) fn duration(&mut self, value: &Maybe<Duration>, key: &str, default: Duration) -> Duration {
        value.as_ref().map_or(default, |located| self.bounded(located.value, located.at, key))
    }

    /// A duration that cannot be zero, if there is one.
    pub(super) fn positive(&mut self, value: &Maybe<Duration>, key: &str) -> Option<Duration> {
        let located = value.as_ref()?;
        if located.value.is_zero() {
            self.error(located.at, format!("`{key}` cannot be zero"), "leave it out for the default");
            return None;
        }
        Some(self.bounded(located.value, located.at, key))
    }

    /// A timeout; `default` when the key is absent.
    pub(super) fn timeout(&mut self, value: &Maybe<Timeout>, key: &str, default: Option<Duration>) -> Option<Duration> {
        let Some(located) = value else { return default };
        match located.value {
            Timeout::None => None,
            Timeout::After(duration) if duration.is_zero() => {
                self.error(located.at, format!("`{key}` cannot be zero"), "for no limit, write \"none\"");
                default
            }
            Timeout::After(duration) => Some(self.bounded(duration, located.at, key)),
        }
    }

    fn bounded(&mut self, duration: Duration, at: Location, key: &str) -> Duration {
        if duration > LONGEST {
            self.error(at, format!("`{key}` is longer than ten years"), "write a shorter time");
        }
        duration.min(LONGEST)
    }

    /// A name of one's own: not empty, no control characters (it is printed in logs and tables).
    pub(super) fn name(&mut self, name: &Located<String>, key: &str) {
        let cause = if name.value.is_empty() {
            "is empty"
        } else if name.value.len() > 255 {
            "is longer than 255 bytes"
        } else if name.value.contains(char::is_control) {
            "contains a control character"
        } else {
            return;
        };
        self.error(name.at, format!("this `{key}` {cause}"), "choose a short word");
    }

    /// The label "did you mean ..?" for an unknown `word`.
    pub(super) fn suggest<'a>(
        &mut self,
        error: Diagnostic,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Diagnostic {
        const CANDIDATES: usize = 2000;
        if self.suggestions == 0 {
            return error;
        }
        self.suggestions -= 1;
        match syntax::nearest(word, known.into_iter().take(CANDIDATES)) {
            Some(near) => error.label(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    /// The address of a host: the first of its family, where one is asked for.
    pub(super) fn address(&mut self, host: &Located<Host>) -> Option<IpAddr> {
        let (name, family) = match &host.value {
            Host::Address(address) => return Some(*address),
            Host::Destination => return Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Host::Name(name, family) => (name, *family),
        };
        let resolve = self.resolve;
        let answer = self
            .resolved
            .entry(name.clone())
            .or_insert_with(|| resolve.resolve(name).map_err(|error| error.to_string()));
        let (message, help) = match answer {
            Ok(addresses) => {
                let wanted = |address: &&IpAddr| family.is_none_or(|family| Family::of(**address) == family);
                if let Some(address) = addresses.iter().find(wanted) {
                    return Some(*address);
                }
                match family {
                    Some(family) => (format!("the host name `{name}` has no {family} address"), "write an address"),
                    None => (format!("the host name `{name}` has no address"), "write an address"),
                }
            }
            Err(cause) => (
                format!("the host name `{name}` cannot be resolved: {cause}"),
                "correct it, or write an address, which needs no name server",
            ),
        };
        self.error(host.at, message, help);
        None
    }
}

/// Names that must be unique, with the place of the first of each.
pub(super) struct Unique<K> {
    seen: HashMap<K, Location>,
}

impl<K: std::hash::Hash + Eq> Unique<K> {
    pub(super) fn new() -> Self {
        Self { seen: HashMap::new() }
    }

    /// The place of the first with this key, if this is not the first.
    pub(super) fn insert(&mut self, key: K, at: Location) -> Option<Location> {
        match self.seen.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(at);
                None
            }
        }
    }
}
