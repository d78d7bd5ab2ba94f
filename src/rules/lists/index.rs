//! The patterns of a list as they are compared, and which of them something finds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::super::condition;
use super::pattern::Compiled;
use crate::model::Prefix;
use crate::model::list::How;
use crate::model::rule::Pattern;
use crate::model::value::Value;

/// The patterns of a list in one way of comparing them: one value for its whole life, which another one takes the place of.
#[derive(Debug, Default)]
pub(in crate::rules) struct Index {
    places: Places,
    /// Of each entry.
    values: Vec<Value<'static>>,
}

#[derive(Debug)]
enum Places {
    /// By the whole text.
    Exact { folded: bool, by_text: HashMap<Box<[u8]>, usize> },
    /// The longest beginning counts.
    Begin(BTreeMap<Reverse<usize>, HashMap<Box<[u8]>, usize>>),
    /// By length, the longest first.
    Networks(BTreeMap<Reverse<u8>, HashMap<Prefix, usize>>),
    /// The first that fits counts.
    Ordered { folded: bool, patterns: Vec<Compiled> },
}

impl Default for Places {
    fn default() -> Self {
        Self::Ordered { folded: false, patterns: Vec::new() }
    }
}

impl Index {
    /// Of these, in their order: of equal ones the first counts.
    pub(super) fn new(how: How, folded: bool, entries: impl Iterator<Item = (Compiled, Value<'static>)>) -> Self {
        let (patterns, values): (Vec<_>, Vec<_>) = entries.unzip();
        let numbered = || patterns.iter().enumerate();
        let places = match how {
            How::Exact | How::Binary => {
                let mut by_text = HashMap::with_capacity(patterns.len());
                for (place, pattern) in numbered() {
                    if let Compiled::Text(Pattern::Exact(text)) = pattern {
                        by_text.entry(text.as_slice().into()).or_insert(place);
                    }
                }
                Places::Exact { folded, by_text }
            }
            How::Begin if !folded => {
                let mut by_length: BTreeMap<_, HashMap<_, _>> = BTreeMap::new();
                for (place, pattern) in numbered() {
                    if let Compiled::Text(Pattern::Begin(text)) = pattern {
                        let texts = by_length.entry(Reverse(text.len())).or_default();
                        texts.entry(text.as_slice().into()).or_insert(place);
                    }
                }
                Places::Begin(by_length)
            }
            How::Address => {
                let mut by_length: BTreeMap<_, HashMap<_, _>> = BTreeMap::new();
                for (place, pattern) in numbered() {
                    if let Compiled::Network(network) = pattern {
                        let networks = by_length.entry(Reverse(network.length)).or_default();
                        networks.entry(network.network()).or_insert(place);
                    }
                }
                Places::Networks(by_length)
            }
            How::Begin | How::End | How::Contains | How::Domain | How::Regex | How::Length | How::Number => {
                Places::Ordered { folded, patterns }
            }
        };
        Self { places, values }
    }

    /// The entry that a text finds.
    pub(in crate::rules) fn of_text(&self, text: &[u8]) -> Option<usize> {
        match &self.places {
            Places::Exact { folded: false, by_text } => by_text.get(text).copied(),
            Places::Exact { folded: true, by_text } => by_text.get(text.to_ascii_lowercase().as_slice()).copied(),
            Places::Begin(by_length) => {
                by_length.iter().find_map(|(length, texts)| texts.get(text.get(..length.0)?).copied())
            }
            Places::Ordered { folded, patterns } => {
                let text = condition::fold(text, *folded);
                patterns.iter().position(|pattern| match pattern {
                    Compiled::Text(pattern) => condition::fits(pattern, false, &text),
                    Compiled::Regex(regex) => regex.is_match(&text),
                    Compiled::Network(_) | Compiled::Range(_) => false,
                })
            }
            Places::Networks(_) => None,
        }
    }

    /// The entry that a number finds.
    pub(in crate::rules) fn of_number(&self, number: i64) -> Option<usize> {
        let Places::Ordered { patterns, .. } = &self.places else { return None };
        patterns.iter().position(|pattern| matches!(pattern, Compiled::Range(range) if range.contains(&number)))
    }

    /// The entry that an address finds.
    pub(in crate::rules) fn of_address(&self, address: IpAddr) -> Option<usize> {
        let Places::Networks(by_length) = &self.places else { return None };
        let address = address.to_canonical();
        by_length
            .iter()
            .find_map(|(length, networks)| networks.get(&Prefix { address, length: length.0 }.network()).copied())
    }

    /// The value of an entry.
    pub(in crate::rules) fn value(&self, place: usize) -> Option<&Value<'static>> {
        self.values.get(place)
    }
}
