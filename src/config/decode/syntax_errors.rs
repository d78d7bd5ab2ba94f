//! What the TOML parser refuses, all of it.

use std::borrow::Cow;

use toml::de::{DeTable, Error};

use crate::config::diagnostic::Diagnostic;
use crate::config::source::{Location, SourceId, Sources};

/// The syntax errors of one text.
pub(super) struct SyntaxErrors {
    /// In the order of the text, one a line.
    pub(super) errors: Vec<Diagnostic>,
    /// Their lines, ascending.
    pub(super) lines: Vec<usize>,
    /// Whether keys may have been lost.
    pub(super) gaps: bool,
}

/// Collects them, and gives the text that is left to decode.
///
/// The parser recovers from all faults but one: at a line that is a key without a value it gives up on the rest. Such
/// lines are blanked, which moves nothing, and the text is parsed again. The parser reports all of them at once, so
/// that a few rounds suffice.
pub(super) fn collect(sources: &Sources, source: SourceId) -> (Cow<'_, str>, SyntaxErrors) {
    const ROUNDS: usize = 4;
    let mut text = Cow::Borrowed(sources.get(source).text());
    let mut errors = Vec::new();
    for _ in 0..ROUNDS {
        let (_, found) = DeTable::parse_recoverable(&text);
        let located = |error: &Error| Location::new(source, error.span().unwrap_or_default());
        let fatal: Vec<usize> = found
            .iter()
            .filter(|error| error.message().starts_with(KEY_WITHOUT_VALUE))
            .map(|error| sources.line(located(error)))
            .collect();
        errors.extend(found.iter().map(|error| (located(error), error.message().to_owned())));
        if fatal.is_empty() {
            break;
        }
        for line in fatal {
            let span = sources.line_span(source, line);
            text.to_mut().replace_range(span.clone(), &" ".repeat(span.len()));
        }
    }
    (text, summarize(sources, errors))
}

const KEY_WITHOUT_VALUE: &str = "key with no value";

fn summarize(sources: &Sources, mut errors: Vec<(Location, String)>) -> SyntaxErrors {
    errors.sort();
    let mut all = SyntaxErrors { errors: Vec::new(), lines: Vec::new(), gaps: false };
    for (at, message) in errors {
        let line = sources.line(at);
        // One slip of the pen can be several errors to a parser.
        if all.lines.last() == Some(&line) {
            continue;
        }
        let error = Diagnostic::error(at, message.clone());
        all.lines.push(line);
        all.errors.push(if message.starts_with("string values must be quoted") {
            Diagnostic::error(at, "a text must be in quotes").help("write \"...\" around it")
        } else if message == "duplicate key" {
            Diagnostic::error(at, "this key is given twice").help("keep one of the two")
        } else {
            all.gaps = true;
            error
        });
    }
    all
}
