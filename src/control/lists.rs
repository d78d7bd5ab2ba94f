//! Lists that rules look something up in, as they are asked for and changed.

use serde::{Deserialize, Serialize};

/// What is done with a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ListAction {
    /// Show its entries.
    Show {
        /// Those of this version; when absent, those that are asked.
        #[serde(default)]
        version: Option<u32>,
    },
    /// Show what a key finds.
    Find {
        /// The key.
        key: String,
    },
    /// Add entries, all of them or none.
    Add {
        /// To this version; when absent, to what is asked.
        #[serde(default)]
        version: Option<u32>,
        /// Patterns and values, which are empty where a list has none.
        entries: Vec<(String, String)>,
    },
    /// Give entries another value.
    Set {
        /// Which.
        which: ListEntry,
        /// The value.
        value: String,
    },
    /// Take entries away.
    Remove {
        /// Which.
        which: ListEntry,
    },
    /// Take all entries away.
    Clear {
        /// Of this version; when absent, of what is asked.
        #[serde(default)]
        version: Option<u32>,
    },
    /// Begin a version.
    Prepare,
    /// Ask this version from now on.
    Commit {
        /// Its number.
        version: u32,
    },
}

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListEntry {
    /// Those of this pattern.
    Key(String),
    /// The one of this number.
    Number(u64),
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListView {
    /// Its number, by which it can be named as `#3`.
    pub number: u32,
    /// Its file; none: it stands in a rule.
    pub file: Option<String>,
    /// The version that is asked.
    pub version: u32,
    /// The newest version that was begun.
    pub newest: u32,
    /// Entries of all versions.
    pub entries: usize,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntryView {
    /// Its own in its list.
    pub number: u64,
    /// The pattern.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What a key finds, in one of the ways in which rules ask the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFound {
    /// How patterns are compared, in HAProxy's words: `str`, `beg`, `reg`, ..
    pub how: String,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// What the values are: `str`, `int`, `ip`.
    pub values: String,
    /// The entry; none: no pattern fits.
    pub entry: Option<ListEntryView>,
}
