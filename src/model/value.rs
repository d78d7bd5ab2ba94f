//! What rules work out about a connection, and the variables in which they keep it. The terms are HAProxy's samples,
//! converters and variables.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::networks::Networks;
use super::rule::{End, Pattern, Quantity, Text};

/// Something that a variable can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An address.
    Address(IpAddr),
    /// A number; what is true or false is 1 or 0.
    Number(i64),
    /// A text, which need not be UTF-8.
    Text(Arc<[u8]>),
    /// What a client sent, which need not be a text: as one, it ends before its first zero.
    Bytes(Arc<[u8]>),
}

/// For how long, and for whom, a variable has its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// For the life of the process, whatever connection set it (`proc`).
    Process,
    /// For the connection (`sess`).
    Session,
    /// For the connection, once its client is listened to (`txn`).
    Transaction,
    /// Until its server is chosen (`req`).
    Request,
}

/// The name of a variable, such as `txn.sni`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Variable {
    /// How long it lives.
    pub scope: Scope,
    /// Its name there.
    pub name: Arc<str>,
}

/// How a value comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// Where it begins.
    pub of: Origin,
    /// What is made of it, one after the other.
    pub then: Vec<Converter>,
}

/// Where a value begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The address of an end of the client's connection (`src`, `dst`).
    Address(End),
    /// A number.
    Number(Quantity),
    /// A text that the client says.
    Text(Text),
    /// A variable, and what counts where it holds nothing (`var`).
    Variable(Variable, Option<Arc<str>>),
    /// A capture (`capture.req.hdr`).
    Capture(u16),
    /// What stands there (`str`, `int`).
    Constant(Value),
}

/// What makes a value of another one. Where a text is wanted, addresses and numbers are written; where it cannot be done there
/// is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Converter {
    /// Letters of ASCII become small ones.
    Lower,
    /// They become capital ones.
    Upper,
    /// The length of the text.
    Length,
    /// The first bits of an address: of IPv4, of IPv6 (`ipmask`).
    Mask(u8, u8),
    /// A part of the text; no length: all from there on.
    Bytes {
        /// Bytes before it.
        offset: usize,
        /// Its length.
        length: Option<usize>,
    },
    /// A part between delimiters (`field`, `word`).
    Part {
        /// Which, from 1; below zero from the end.
        index: i64,
        /// Each of these bytes is one.
        delimiters: Arc<str>,
        /// Parts that are empty do not count (`word`).
        words: bool,
    },
    /// With texts around it, and a variable before the second one (`concat`).
    Concat {
        /// Before the variable.
        before: Arc<str>,
        /// What stands between.
        variable: Option<Variable>,
        /// After it.
        after: Arc<str>,
    },
    /// What a file says about it.
    Map(Map),
}

/// A file of keys and texts, and how they are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The converter's name, which says how (`map_dom`).
    pub name: &'static str,
    /// Where it was read.
    pub file: Arc<str>,
    /// What it comes to where the file says nothing.
    pub default: Option<Arc<str>>,
    /// Of its entries the first that fits counts.
    pub entries: Arc<[(Comparison, Arc<str>)]>,
}

/// How a value may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// An address in one of the networks.
    Networks(Networks),
    /// A number in one of the ranges.
    Ranges(Vec<RangeInclusive<i64>>),
    /// A text as one of the patterns wants it. Case counts unless `ignore_case` is set.
    Texts {
        /// Upper and lower case are the same.
        ignore_case: bool,
        /// How it may be.
        patterns: Vec<Pattern>,
    },
}

/// Places for captures, of which not every one needs to be filled by a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureSlots {
    /// For what clients say.
    pub request: u16,
    /// For what servers say, which nothing fills here.
    pub response: u16,
}

/// The line of a connection in HAProxy's `log-format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// As it was written.
    pub format: String,
    /// The expressions in it that only rules or the connection can tell, by their text.
    pub samples: Arc<[(String, Expression)]>,
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(bytes: &[u8]) -> Self {
        Self::Text(bytes.into())
    }

    /// As text.
    #[must_use]
    pub fn into_text(self) -> Arc<[u8]> {
        match self {
            Self::Text(text) => text,
            Self::Bytes(bytes) => bytes.split(|byte| *byte == 0).next().unwrap_or_default().into(),
            Self::Address(address) => address.to_string().into_bytes().into(),
            Self::Number(number) => number.to_string().into_bytes().into(),
        }
    }

    /// As a number, if it is one, or an address of IPv4.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Address(IpAddr::V4(address)) => Some(u32::from(*address).into()),
            Self::Address(IpAddr::V6(_)) => None,
            Self::Text(text) | Self::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        }
    }

    /// As an address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Number(number) => Some(IpAddr::from(u32::try_from(*number).ok()?.to_be_bytes())),
            Self::Text(text) | Self::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        }
    }
}

impl Scope {
    /// All, by their names.
    pub const ALL: [(&'static str, Self); 4] =
        [("proc", Self::Process), ("sess", Self::Session), ("txn", Self::Transaction), ("req", Self::Request)];
}

impl Variable {
    /// `txn.sni`; none: it is not a variable's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scope, name) = text.split_once('.')?;
        let (_, scope) = Scope::ALL.iter().find(|(known, _)| *known == scope)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        (!name.is_empty() && name.chars().all(allowed)).then(|| Self { scope: *scope, name: name.into() })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = Scope::ALL.iter().find(|(_, scope)| *scope == self.scope).map_or("", |(name, _)| name);
        write!(f, "{scope}.{}", self.name)
    }
}

impl Expression {
    /// Whether what the client says may change it.
    #[must_use]
    pub fn listens(&self) -> bool {
        match &self.of {
            Origin::Number(quantity) => quantity.listens(),
            Origin::Text(_) => true,
            Origin::Address(_) | Origin::Variable(..) | Origin::Capture(_) | Origin::Constant(_) => false,
        }
    }

    /// The number that it begins with.
    #[must_use]
    pub fn quantity(&self) -> Option<&Quantity> {
        if let Origin::Number(quantity) = &self.of { Some(quantity) } else { None }
    }

    /// The variables it reads.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let first = if let Origin::Variable(variable, _) = &self.of { Some(variable) } else { None };
        let further = self.then.iter().filter_map(|converter| match converter {
            Converter::Concat { variable, .. } => variable.as_ref(),
            _ => None,
        });
        first.into_iter().chain(further)
    }

    /// What it compares with, in maps.
    pub fn comparisons(&self) -> impl Iterator<Item = &Comparison> {
        let maps = self.then.iter().filter_map(|converter| match converter {
            Converter::Map(map) => Some(map),
            _ => None,
        });
        maps.flat_map(|map| map.entries.iter().map(|(key, _)| key))
    }
}
