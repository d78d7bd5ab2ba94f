//! What is made of something that is looked at (HAProxy's converters), and the lists in which that is looked up.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::networks::Networks;
use super::rule::{End, Pattern, Quantity, Text};

/// Something that is looked at, and what is made of it, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// What is looked at.
    pub of: Subject,
    /// What is made of it.
    pub steps: Vec<Step>,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An address.
    Address(End),
    /// A number.
    Number(Quantity),
    /// A text.
    Text(Text),
}

/// One converter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// In small letters (`lower`).
    Lower,
    /// In capital letters (`upper`).
    Upper,
    /// The network of an address: so many bits of an IPv4 one, so many of an IPv6 one (`ipmask`).
    Mask(u8, u8),
    /// A part of a text.
    Part(Part),
    /// What a list has for it.
    Map(Map),
}

/// A part of a text (`field`, `word`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Separators side by side count as one, and none counts at the beginning (`word`).
    pub words: bool,
    /// Counted from 1, or from -1 at the end.
    pub index: i32,
    /// Each of these ends a part.
    pub separators: String,
    /// So many parts, with what stands between them; 0: all that are left.
    pub count: usize,
}

/// What a list of keys has for something (`map_reg(/etc/haproxy/names.map,other)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Where it is looked up.
    pub lookup: Lookup,
    /// What the values are.
    pub values: Kind,
    /// What there is for everything that the list does not have.
    pub default: Option<String>,
}

/// A list, and how something is looked up in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The list. Shared: it may be long.
    pub list: Arc<List>,
    /// How its patterns are compared.
    pub how: How,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
}

/// Patterns, or keys and values, that can be changed while the process runs, as they are when it reads its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What it is called.
    pub name: ListName,
    /// Each pattern has a value.
    pub is_map: bool,
    /// Patterns and their values, which are empty where there are none.
    pub entries: Vec<(String, String)>,
}

/// What a list is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListName {
    /// A list that is read from this file.
    File(String),
    /// One that stands in a rule and has been given this number (`-u`).
    Number(u32),
}

/// How patterns are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// The whole text.
    Exact,
    /// The whole text, written in hexadecimal digits.
    Binary,
    /// How it begins; the longest pattern counts.
    Begin,
    /// How it ends.
    End,
    /// What it contains.
    Contains,
    /// What it contains between dots, colons, slashes or its ends.
    Domain,
    /// A regular expression.
    Regex,
    /// How many bytes it has.
    Length,
    /// A number, or a range of numbers.
    Number,
    /// A network; the longest counts.
    Address,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// An address.
    Address,
}

/// What something has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Is {
    /// It is there at all (`-m found`).
    Found,
    /// A list has it.
    Listed(Lookup),
    /// It is in one of these networks.
    In(Networks),
    /// It is in one of these ranges.
    Within(Vec<RangeInclusive<i64>>),
    /// It is as one of the patterns wants it.
    Like {
        /// Upper and lower case are the same.
        ignore_case: bool,
        /// How it may be.
        patterns: Vec<Pattern>,
    },
}

/// The name of a pool that is made from the connection (`use-pool %[req.ssl_sni,lower,map(/etc/haproxy/names.map)]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Its pieces.
    pub pieces: Vec<NamePiece>,
    /// The pools that its lists name, as they were read. Others can be named once the process runs.
    pub known: Vec<String>,
}

/// A piece of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePiece {
    /// As it stands.
    Text(String),
    /// What comes of this.
    Value(Converted),
}

impl Converted {
    /// Whether what the client says may change it.
    #[must_use]
    pub fn listens(&self) -> bool {
        match &self.of {
            Subject::Address(_) => false,
            Subject::Number(quantity) => quantity.listens(),
            Subject::Text(_) => true,
        }
    }

    /// The lists that it asks.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        self.maps().map(|map| (&map.lookup, map.values))
    }

    /// The maps among its steps.
    pub fn maps(&self) -> impl Iterator<Item = &Map> {
        self.steps.iter().filter_map(|step| match step {
            Step::Map(map) => Some(map),
            Step::Lower | Step::Upper | Step::Mask(..) | Step::Part(_) => None,
        })
    }

    /// What comes of it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.steps.last(), &self.of) {
            (Some(Step::Lower | Step::Upper | Step::Part(_)), _) | (None, Subject::Text(_)) => Kind::Text,
            (Some(Step::Mask(..)), _) | (None, Subject::Address(_)) => Kind::Address,
            (Some(Step::Map(map)), _) => map.values,
            (None, Subject::Number(_)) => Kind::Number,
        }
    }
}

impl Is {
    /// The list that it asks.
    #[must_use]
    pub fn lookup(&self) -> Option<&Lookup> {
        match self {
            Self::Listed(lookup) => Some(lookup),
            Self::Found | Self::In(_) | Self::Within(_) | Self::Like { .. } => None,
        }
    }
}

impl Naming {
    /// The values in it.
    pub fn values(&self) -> impl Iterator<Item = &Converted> {
        self.pieces.iter().filter_map(|piece| match piece {
            NamePiece::Text(_) => None,
            NamePiece::Value(value) => Some(value),
        })
    }

    /// Whether it can be this name.
    #[must_use]
    pub fn can_be(&self, name: &str) -> bool {
        let text = |piece: Option<&NamePiece>| match piece {
            Some(NamePiece::Text(text)) => text.clone(),
            Some(NamePiece::Value(_)) | None => String::new(),
        };
        let (before, after) = (text(self.pieces.first()), text(self.pieces.get(1..).and_then(<[_]>::last)));
        name.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after)).is_some_and(|middle| !middle.is_empty())
    }

    /// The names that its list, as it was read, makes of it.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let Some(map) = self.map() else { return Vec::new() };
        let listed = map.lookup.list.entries.iter().map(|(_, value)| value).chain(&map.default);
        let name = |said: &String| {
            let piece = |piece: &NamePiece| match piece {
                NamePiece::Text(text) => text.clone(),
                NamePiece::Value(_) => said.clone(),
            };
            self.pieces.iter().map(piece).collect()
        };
        listed.map(name).collect()
    }

    /// Whether a list says it.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.map().is_some()
    }

    /// The list that says the one value in it.
    fn map(&self) -> Option<&Map> {
        let mut values = self.values();
        match (values.next()?.steps.last(), values.next()) {
            (Some(Step::Map(map)), None) => Some(map),
            _ => None,
        }
    }
}

impl std::fmt::Display for ListName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Number(number) => write!(f, "#{number}"),
        }
    }
}
