//! A haproxy.cfg as sections and statements (manual, sections 2.1 and 2.4).

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use super::addresses;
use super::condition;
use super::words::{self, BadLine, Place};
use crate::config::import::{Findings, Surroundings, Word};
use crate::config::source::{Location, SourceId, Sources};

/// A section: its header and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// `frontend`, `defaults`, ...
    pub kind: Word,
    /// The words after it: the name, `from`, ...
    pub arguments: Vec<Word>,
    /// Its statements, in order.
    pub statements: Vec<Statement>,
}

/// One line of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `no` or `default` in front of it.
    pub prefix: Prefix,
    /// Its words, never empty.
    pub words: Vec<Word>,
}

/// What stands in front of a keyword (manual, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing.
    None,
    /// `no`: the opposite.
    No,
    /// `default`: back to the default.
    Default,
}

impl Statement {
    /// Its keyword.
    #[must_use]
    pub fn keyword(&self) -> &Word {
        &self.words[0]
    }

    /// The words after the keyword.
    #[must_use]
    pub fn arguments(&self) -> &[Word] {
        &self.words[1..]
    }

    /// All of it.
    #[must_use]
    pub fn at(&self) -> Location {
        let (first, last) = (self.words[0].at, self.words[self.words.len() - 1].at);
        Location { end: last.end.max(first.end), ..first }
    }
}

/// The sections of source `id`. What is wrong with it is in `findings`; the rest is still read.
pub(crate) fn parse(
    sources: &Sources,
    id: SourceId,
    is_section: &dyn Fn(&str) -> bool,
    around: &dyn Surroundings,
    findings: &mut Findings,
) -> Vec<Section> {
    let source = sources.get(id);
    let file = source.path().display().to_string();
    let mut reader = Reader {
        id,
        file,
        is_section,
        environment: Environment { around, set: HashMap::new() },
        findings,
        sections: Vec::new(),
        conditions: Vec::new(),
        told_nbsp: false,
    };
    let text = source.text();
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        reader.line(line.trim_end_matches(['\n', '\r']), start, number + 1);
        start += line.len();
    }
    if !text.is_empty() && !text.ends_with('\n') {
        let last = text.rfind('\n').map_or(0, |at| at + 1);
        let at = Location::new(id, last..text.len());
        reader.findings.warning(at, "the last line has no line end: was the file cut off? (HAProxy refuses it)");
    }
    for condition in std::mem::take(&mut reader.conditions) {
        reader.findings.error(condition.at, "this `.if` has no `.endif`");
    }
    reader.sections
}

struct Reader<'a> {
    id: SourceId,
    file: String,
    is_section: &'a dyn Fn(&str) -> bool,
    environment: Environment<'a>,
    findings: &'a mut Findings,
    sections: Vec<Section>,
    conditions: Vec<Condition>,
    told_nbsp: bool,
}

/// The variables of the process, and those that `setenv` and its like set further up in the file.
struct Environment<'a> {
    around: &'a dyn Surroundings,
    /// None: taken away.
    set: HashMap<String, Option<String>>,
}

impl Environment<'_> {
    fn apply(&mut self, statement: &Statement) {
        let text = |word: &Word| word.text.clone();
        match (statement.keyword().as_str(), statement.arguments()) {
            ("setenv", [name, value]) => {
                self.set.insert(text(name), Some(text(value)));
            }
            ("presetenv", [name, value]) if self.variable(name.as_str()).is_none() => {
                self.set.insert(text(name), Some(text(value)));
            }
            ("unsetenv", names) => self.set.extend(names.iter().map(|name| (text(name), None))),
            // All but the named ones; the process's others are unknown here and stay.
            ("resetenv", names) => {
                let kept = names.iter().map(Word::as_str).collect::<HashSet<_>>();
                self.set.retain(|name, _| kept.contains(name.as_str()));
            }
            _ => {}
        }
    }
}

impl Surroundings for Environment<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        match self.set.get(name) {
            Some(value) => value.clone(),
            None => self.around.variable(name),
        }
    }

    fn node_name(&self) -> String {
        self.around.node_name()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.around.read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.around.list(directory)
    }
}

/// An open `.if`.
struct Condition {
    at: Location,
    branch: Branch,
    else_seen: bool,
    /// It stands in lines that do not count.
    inside_skipped: bool,
}

impl Condition {
    fn skips(&self) -> bool {
        self.inside_skipped || self.branch != Branch::Taken
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// Its lines count.
    Taken,
    /// Its lines do not count; a later `.elif` or `.else` may.
    Waiting,
    /// Nothing up to `.endif` counts any more.
    Done,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, start: usize, number: usize) {
        self.tell_about_no_break_spaces(line, start);
        let section =
            self.sections.last().map_or("", |section| section.arguments.first().unwrap_or(&section.kind).as_str());
        let place = Place { file: &self.file, line: number, section };
        let words = match words::split(line, &place, &self.environment) {
            Ok(words) => words,
            Err(BadLine { message, start: at, length }) => {
                self.findings.error(Location::new(self.id, start + at..start + at + length), message);
                return;
            }
        };
        let id = self.id;
        let words: Vec<Word> = words
            .into_iter()
            .map(|word| {
                let begin = start + word.start;
                Word { text: word.text, at: Location::new(id, begin..begin + word.length) }
            })
            .collect();
        let Some(first) = words.first() else { return };
        if first.text.starts_with('.') {
            self.directive(&words);
        } else if self.skipping() {
        } else if first.text.is_empty() {
            self.findings.warning(first.at, "the line has no effect: its first word is empty");
        } else {
            self.statement(words);
        }
    }

    fn tell_about_no_break_spaces(&mut self, line: &str, start: usize) {
        if self.told_nbsp {
            return;
        }
        if let Some(at) = line.find('\u{a0}') {
            self.told_nbsp = true;
            self.findings.warning(
                Location::new(self.id, start + at..start + at + 2),
                "no-break space (U+00A0): taken as a space, here and in the rest of the file",
            );
        }
    }

    fn skipping(&self) -> bool {
        self.conditions.last().is_some_and(Condition::skips)
    }

    fn directive(&mut self, words: &[Word]) {
        let name = &words[0];
        match name.as_str() {
            ".if" => {
                let inside_skipped = self.skipping();
                let branch = if inside_skipped { Branch::Done } else { self.evaluate(words) };
                self.conditions.push(Condition { at: name.at, branch, else_seen: false, inside_skipped });
            }
            ".elif" => self.alternative(words, false),
            ".else" => self.alternative(words, true),
            ".endif" => {
                if self.conditions.pop().is_none() {
                    self.findings.error(name.at, "`.endif` without an `.if`");
                }
            }
            _ if self.skipping() => {}
            ".notice" | ".warning" => self.findings.warning(name.at, message_of(words)),
            ".alert" => self.findings.error(name.at, message_of(words)),
            ".diag" => {}
            other => self.findings.error(
                name.at,
                format!(
                    "`{other}` is none of `.if`, `.elif`, `.else`, `.endif`, `.diag`, `.notice`, `.warning`, `.alert`"
                ),
            ),
        }
    }

    fn alternative(&mut self, words: &[Word], is_else: bool) {
        let name = &words[0];
        let Some(current) = self.conditions.last() else {
            self.findings.error(name.at, format!("`{}` without an `.if`", name.text));
            return;
        };
        if current.else_seen {
            self.findings.error(name.at, format!("`{}` cannot follow `.else`", name.text));
            return;
        }
        let branch = match current.branch {
            Branch::Taken | Branch::Done => Branch::Done,
            Branch::Waiting if is_else => Branch::Taken,
            Branch::Waiting => self.evaluate(words),
        };
        if let Some(current) = self.conditions.last_mut() {
            current.branch = branch;
            current.else_seen = is_else;
        }
    }

    fn evaluate(&mut self, words: &[Word]) -> Branch {
        match condition::holds(&join(&words[1..]), &self.environment) {
            Ok(true) => Branch::Taken,
            Ok(false) => Branch::Waiting,
            Err(reason) => {
                let at = words.get(1).unwrap_or(&words[0]).at;
                let at = Location { end: words[words.len() - 1].at.end, ..at };
                self.findings.error(at, format!("cannot evaluate the condition: {reason}"));
                Branch::Done
            }
        }
    }

    fn statement(&mut self, mut words: Vec<Word>) {
        if (self.is_section)(words[0].as_str()) {
            let arguments = words.split_off(1);
            self.sections.extend(words.pop().map(|kind| Section { kind, arguments, statements: Vec::new() }));
            return;
        }
        let prefix = match words[0].as_str() {
            "no" => Prefix::No,
            "default" => Prefix::Default,
            _ => Prefix::None,
        };
        if prefix != Prefix::None {
            let first = words.remove(0);
            if words.is_empty() {
                self.findings.error(first.at, format!("`{}` wants a keyword after it", first.text));
                return;
            }
        }
        match self.sections.last_mut() {
            Some(section) => {
                if let Some((place, name)) = addresses::expand(section.kind.as_str(), &mut words, &self.environment) {
                    let message = format!("the variable `{name}` is not set: nothing is put in its place");
                    self.findings.warning(words[place].at, message);
                }
                let statement = Statement { prefix, words };
                if section.kind.text == "global" {
                    self.environment.apply(&statement);
                }
                section.statements.push(statement);
            }
            None => self.findings.error(
                words[0].at,
                format!(
                    "`{}` stands outside of any section: begin with `global`, `defaults`, `frontend`, ...",
                    words[0].text
                ),
            ),
        }
    }
}

fn message_of(words: &[Word]) -> String {
    let text = join(&words[1..]);
    if text.is_empty() { format!("`{}`", words[0].text) } else { text }
}

/// The words with one space between two.
pub(super) fn join(words: &[Word]) -> String {
    words.iter().map(Word::as_str).collect::<Vec<_>>().join(" ")
}
