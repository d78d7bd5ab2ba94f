//! Lists of patterns, and of keys with values, that rules ask and that can be changed while the process runs.

use std::fmt;
use std::sync::Arc;

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

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Number(number) => write!(f, "#{number}"),
        }
    }
}
