//! The keywords of both manuals, and what becomes of each. The importers look every word up here, so the tables say
//! what really happens; `tests/keywords.rs` walks them.
//!
//! A line of a table is `context`, `keyword`, `status`, `reason`, an optional `example` (its arguments, for the walk) and
//! for haproxy.cfg `places`, separated by tabs. A context is the section or block the keyword stands in.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What the importer does with a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Translated, or of no consequence for what vipgate does.
    Implemented,
    /// Accepted, has no effect yet, and a warning says so.
    Warned,
    /// An error: ignoring it would be unsafe.
    Refused,
}

/// One line of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyword {
    /// The section or block it stands in.
    pub context: &'static str,
    /// The keyword; several words with one space between two.
    pub name: &'static str,
    /// What becomes of it.
    pub status: Status,
    /// Why, or what it becomes.
    pub reason: &'static str,
    /// Arguments it may have.
    pub example: &'static str,
    /// haproxy.cfg: for a proxy keyword, in which of Defaults, Frontend, Listen and Backend it may stand; for an option
    /// of a bind or server line, `+` when a value follows.
    pub places: &'static str,
}

/// The keywords of one format.
#[derive(Debug)]
pub struct Table {
    keywords: Vec<Keyword>,
    /// Context to name to place in `keywords`.
    index: HashMap<&'static str, HashMap<&'static str, usize>>,
}

static HAPROXY: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("haproxy.tsv")));
static KEEPALIVED: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("keepalived.tsv")));

/// The keywords of haproxy.cfg: HAProxy 2.6 to 3.3.
#[must_use]
pub fn haproxy() -> &'static Table {
    &HAPROXY
}

/// The keywords of keepalived.conf: keepalived 2.2.7 to 2.4.
#[must_use]
pub fn keepalived() -> &'static Table {
    &KEEPALIVED
}

/// No keyword has more words (`capture request header`, `stats socket`, ...).
const MOST_WORDS: usize = 3;

impl Table {
    fn parse(text: &'static str) -> Self {
        let mut table = Self { keywords: Vec::new(), index: HashMap::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let mut field = || fields.next().unwrap_or_default();
            let (context, name, status, reason, example, places) =
                (field(), field(), field(), field(), field(), field());
            let status = match status {
                "implemented" => Status::Implemented,
                "warned" => Status::Warned,
                _ => Status::Refused,
            };
            table.index.entry(context).or_default().insert(name, table.keywords.len());
            table.keywords.push(Keyword { context, name, status, reason, example, places });
        }
        table
    }

    /// Every keyword, in the order of the table.
    #[must_use]
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// The keyword that `words` begin with in `context`, the longest first, and how many words it takes.
    #[must_use]
    pub fn find(&self, context: &str, words: &[&str]) -> Option<(Keyword, usize)> {
        (1..=words.len().min(MOST_WORDS)).rev().find_map(|count| {
            let name = words[..count].join(" ");
            Some((self.get(context, &name)?, count))
        })
    }

    /// The keyword `name` of `context`.
    #[must_use]
    pub fn get(&self, context: &str, name: &str) -> Option<Keyword> {
        let at = self.index.get(context)?.get(name)?;
        Some(self.keywords[*at])
    }

    /// The name in `context` that `word` was probably meant to be.
    #[must_use]
    pub fn suggest(&self, context: &str, word: &str) -> Option<&'static str> {
        // Longer words are no misspellings, and comparing costs their length.
        let word = Some(word).filter(|word| word.len() <= 64)?;
        let names = self.index.get(context)?;
        names
            .keys()
            .map(|name| (strsim::damerau_levenshtein(word, name), *name))
            .filter(|(distance, name)| *distance <= 2.max(name.len() / 4))
            .min()
            .map(|(_, name)| name)
    }
}
