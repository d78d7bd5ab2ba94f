//! The patterns of a list as they are compared, and which of them something finds.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::condition;
use super::pattern::Compiled;
use super::pieces::{ByKey, ByNumber};
use crate::model::Prefix;
use crate::model::list::How;
use crate::model::rule::Pattern;
use crate::model::value::Value;

/// The patterns of a list in one way of comparing them, by the numbers of their entries. A copy shares what is not changed.
#[derive(Debug, Clone, Default)]
pub(in crate::rules) struct Index {
    places: Places,
    values: ByNumber<Value<'static>>,
}

#[derive(Debug, Clone)]
enum Places {
    /// By the whole text.
    Exact { folded: bool, by_text: ByKey<Box<[u8]>> },
    /// The longest beginning counts.
    Begin { lengths: Lengths, by_text: ByKey<Box<[u8]>> },
    /// The longest network counts.
    Networks { lengths: Lengths, by_network: ByKey<Prefix> },
    /// The first that fits counts.
    Ordered { folded: bool, patterns: ByNumber<Compiled> },
}

/// How many patterns have a length, the longest first.
type Lengths = BTreeMap<Reverse<usize>, usize>;

impl Default for Places {
    fn default() -> Self {
        Self::Ordered { folded: false, patterns: ByNumber::default() }
    }
}

impl Index {
    /// An empty one.
    pub(super) fn new(how: How, folded: bool) -> Self {
        let places = match how {
            How::Exact | How::Binary => Places::Exact { folded, by_text: ByKey::default() },
            How::Begin if !folded => Places::Begin { lengths: Lengths::new(), by_text: ByKey::default() },
            How::Address => Places::Networks { lengths: Lengths::new(), by_network: ByKey::default() },
            How::Begin | How::End | How::Contains | How::Domain | How::Regex | How::Length | How::Number => {
                Places::Ordered { folded, patterns: ByNumber::default() }
            }
        };
        Self { places, values: ByNumber::default() }
    }

    /// Adds an entry, whose number is higher than those before: of equal ones the first counts.
    pub(super) fn push(&mut self, number: u64, pattern: Compiled, value: Value<'static>) {
        match (&mut self.places, pattern) {
            (Places::Exact { by_text, .. }, Compiled::Text(Pattern::Exact(text))) => by_text.push(text.into(), number),
            (Places::Begin { lengths, by_text }, Compiled::Text(Pattern::Begin(text))) => {
                *lengths.entry(Reverse(text.len())).or_default() += 1;
                by_text.push(text.into(), number);
            }
            (Places::Networks { lengths, by_network }, Compiled::Network(network)) => {
                *lengths.entry(Reverse(network.length.into())).or_default() += 1;
                by_network.push(network.network(), number);
            }
            (Places::Ordered { patterns, .. }, pattern) => patterns.insert(number, pattern),
            // Patterns are of the kind that they are compared as.
            (Places::Exact { .. } | Places::Begin { .. } | Places::Networks { .. }, _) => return,
        }
        self.values.insert(number, value);
    }

    /// Takes an entry away, which has this pattern.
    pub(super) fn remove(&mut self, number: u64, pattern: &Compiled) {
        if self.values.get(number).is_none() {
            return;
        }
        match (&mut self.places, pattern) {
            (Places::Exact { by_text, .. }, Compiled::Text(Pattern::Exact(text))) => {
                by_text.remove(text.as_slice(), number);
            }
            (Places::Begin { lengths, by_text }, Compiled::Text(Pattern::Begin(text))) => {
                forget(lengths, text.len());
                by_text.remove(text.as_slice(), number);
            }
            (Places::Networks { lengths, by_network }, Compiled::Network(network)) => {
                forget(lengths, network.length.into());
                by_network.remove(&network.network(), number);
            }
            (Places::Ordered { patterns, .. }, _) => patterns.remove(number),
            (Places::Exact { .. } | Places::Begin { .. } | Places::Networks { .. }, _) => {}
        }
        self.values.remove(number);
    }

    /// Gives an entry another value.
    pub(super) fn set(&mut self, number: u64, value: Value<'static>) {
        if self.values.get(number).is_some() {
            self.values.insert(number, value);
        }
    }

    /// The entry that a text finds.
    pub(in crate::rules) fn of_text(&self, text: &[u8]) -> Option<u64> {
        match &self.places {
            Places::Exact { folded: false, by_text } => by_text.first(text),
            Places::Exact { folded: true, by_text } => by_text.first(text.to_ascii_lowercase().as_slice()),
            Places::Begin { lengths, by_text } => {
                lengths.keys().find_map(|length| by_text.first(text.get(..length.0)?))
            }
            Places::Ordered { folded, patterns } => {
                let text = condition::fold(text, *folded);
                let fits = |pattern: &Compiled| match pattern {
                    Compiled::Text(pattern) => condition::fits(pattern, false, &text),
                    Compiled::Regex(regex) => regex.is_match(&text),
                    Compiled::Network(_) | Compiled::Range(_) => false,
                };
                patterns.iter().find(|(_, pattern)| fits(pattern)).map(|(number, _)| number)
            }
            Places::Networks { .. } => None,
        }
    }

    /// The entry that a number finds.
    pub(in crate::rules) fn of_number(&self, number: i64) -> Option<u64> {
        let Places::Ordered { patterns, .. } = &self.places else { return None };
        let fits = |pattern: &Compiled| matches!(pattern, Compiled::Range(range) if range.contains(&number));
        patterns.iter().find(|(_, pattern)| fits(pattern)).map(|(number, _)| number)
    }

    /// The entry that an address finds: that of an IPv4 one among IPv4 networks, and if there is none, as in HAProxy, among
    /// IPv6 ones (`::ffff:192.0.2.0/120`, `::/0`).
    pub(in crate::rules) fn of_address(&self, address: IpAddr) -> Option<u64> {
        let Places::Networks { lengths, by_network } = &self.places else { return None };
        let find = |address: IpAddr| {
            let network = |length: usize| Some(Prefix { address, length: u8::try_from(length).ok()? }.network());
            lengths.keys().find_map(|length| by_network.first(&network(length.0)?))
        };
        match address.to_canonical() {
            IpAddr::V4(address) => find(address.into()).or_else(|| find(address.to_ipv6_mapped().into())),
            address => find(address),
        }
    }

    /// The value of an entry.
    pub(in crate::rules) fn value(&self, number: u64) -> Option<&Value<'static>> {
        self.values.get(number)
    }
}

fn forget(lengths: &mut Lengths, length: usize) {
    if let Some(count) = lengths.get_mut(&Reverse(length)) {
        *count -= 1;
        if *count == 0 {
            lengths.remove(&Reverse(length));
        }
    }
}
