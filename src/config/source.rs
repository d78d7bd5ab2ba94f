//! The texts a configuration was read from, and places in them.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// One of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u32);

/// A stretch of one source, in bytes. Small and `Copy`: every value of a configuration carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Which text.
    pub source: SourceId,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Location {
    /// The bytes `span` of `source`.
    #[must_use]
    pub fn new(source: SourceId, span: Range<usize>) -> Self {
        Self { source, start: span.start, end: span.end }
    }

    /// The bytes.
    #[must_use]
    pub fn span(self) -> Range<usize> {
        self.start..self.end
    }
}

/// One text and the path it was read from.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Where each line begins, so that a lookup is a binary search.
    lines: Vec<usize>,
}

impl Source {
    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A place as people count it: from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Every text one configuration was read from.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
}

impl Sources {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text and says how to refer to it. `path` is only shown, never opened here.
    pub fn add(&mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> SourceId {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let id = SourceId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(Source { path: path.into(), text, lines });
        id
    }

    /// The first that was added.
    #[must_use]
    pub fn first(&self) -> Option<SourceId> {
        (!self.all.is_empty()).then_some(SourceId(0))
    }

    /// The source with this id.
    ///
    /// # Panics
    ///
    /// When `id` comes from other `Sources`.
    #[must_use]
    pub fn get(&self, id: SourceId) -> &Source {
        &self.all[id.0 as usize]
    }

    /// The line where `at` begins, from 1.
    #[must_use]
    pub fn line(&self, at: Location) -> usize {
        let source = self.get(at.source);
        source.lines.partition_point(|begin| *begin <= at.start.min(source.text.len()))
    }

    /// Line and column where `at` begins.
    #[must_use]
    pub fn line_column(&self, at: Location) -> LineColumn {
        let source = self.get(at.source);
        let start = at.start.min(source.text.len());
        let line = self.line(at);
        let begin = source.lines[line - 1];
        let column = source.text.get(begin..start).map_or(1, |text| text.chars().count() + 1);
        LineColumn { line, column }
    }

    /// The bytes of the line (1 is the first) without its line end; empty past the last.
    #[must_use]
    pub fn line_span(&self, id: SourceId, line: usize) -> Range<usize> {
        let source = self.get(id);
        let begin = line.checked_sub(1).and_then(|index| source.lines.get(index)).copied().unwrap_or(source.text.len());
        let end = source.lines.get(line).copied().unwrap_or(source.text.len()).max(begin);
        begin..begin + source.text[begin..end].trim_end_matches(['\n', '\r']).len()
    }

    /// `file:line:column` where `at` begins.
    #[must_use]
    pub fn describe(&self, at: Location) -> String {
        let LineColumn { line, column } = self.line_column(at);
        format!("{}:{line}:{column}", self.get(at.source).path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let mut sources = Sources::new();
        let id = sources.add("a.toml", "one\r\nzwölf = 1\n\nend");
        let at = |start| sources.line_column(Location::new(id, start..start));
        assert_eq!(at(0), LineColumn { line: 1, column: 1 });
        assert_eq!(at(5), LineColumn { line: 2, column: 1 });
        assert_eq!(at(14), LineColumn { line: 2, column: 9 });
        assert_eq!(at(16), LineColumn { line: 3, column: 1 });
        assert_eq!(at(20), LineColumn { line: 4, column: 4 });
        assert_eq!(at(900), LineColumn { line: 4, column: 4 });
        assert_eq!(sources.line_span(id, 1), 0..3);
        assert_eq!(sources.line_span(id, 4), 17..20);
        assert_eq!(sources.line_span(id, 9), 20..20);
        assert_eq!(sources.describe(Location::new(id, 5..6)), "a.toml:2:1");
    }
}
