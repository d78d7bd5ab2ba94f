//! Foreign formats to [`raw::Config`](super::raw::Config): keepalived.conf and haproxy.cfg.
//!
//! Each has its grammar (text to statements, every word with its place) and its translation (statements to raw
//! values), and both are driven by one table of keywords: a word that is not in it is unknown.

pub mod haproxy;
pub mod keepalived;
pub mod keywords;
mod surroundings;

use std::path::Path;

use super::diagnostic::Diagnostic;
use super::load::Loading;
use super::source::Location;

pub use surroundings::{Surroundings, System};

/// Adds a keepalived.conf to what is being loaded.
pub fn load_keepalived(loading: &mut Loading, path: &Path, options: &keepalived::Options, around: &dyn Surroundings) {
    if let Some(source) = loading.read(path) {
        let (config, diagnostics) = keepalived::import(loading.sources(), source, options, around);
        loading.imported(config, diagnostics);
    }
}

/// Adds a haproxy.cfg to what is being loaded.
pub fn load_haproxy(loading: &mut Loading, path: &Path, around: &dyn Surroundings) {
    if let Some(source) = loading.read(path) {
        let (config, diagnostics) = haproxy::import(loading.sources(), source, around);
        loading.imported(config, diagnostics);
    }
}

/// A word of a foreign file: quotes, escapes and variables resolved, with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where the words it came from stand.
    pub at: Location,
}

impl Word {
    /// As a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The findings of one import, bounded: a file of a million mistakes is told about the first ones.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Diagnostic>,
    suggested: usize,
}

/// More findings than this help nobody and cost memory.
const MOST_FINDINGS: usize = 1000;

/// Searching the table for what was meant costs more than reading a line.
const MOST_SUGGESTIONS: usize = 50;

impl Findings {
    /// The keyword of `context` that `word` was probably meant to be, while there have not been too many to look up.
    pub(crate) fn suggest(&mut self, table: &keywords::Table, context: &str, word: &str) -> Option<&'static str> {
        self.suggested += 1;
        if self.suggested > MOST_SUGGESTIONS { None } else { table.suggest(context, word) }
    }

    pub(crate) fn error(&mut self, at: Location, message: impl Into<String>) {
        self.push(Diagnostic::error(at, message));
    }

    pub(crate) fn warning(&mut self, at: Location, message: impl Into<String>) {
        self.push(Diagnostic::warning(at, message));
    }

    /// Errors are kept whatever came before: a file must not become acceptable by its number of warnings.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < MOST_FINDINGS || (diagnostic.is_error() && self.list.len() < 2 * MOST_FINDINGS) {
            self.list.push(diagnostic);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }
}
