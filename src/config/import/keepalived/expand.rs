//! From the files of a keepalived.conf to plain lines: `include`, comments, `@id` conditions, `$NAME=value`
//! definitions, `~SEQ` and `~LST` (keepalived.conf(5), "ADVANCED CONFIGURATION").
//!
//! What a few lines can expand to is bounded (`MOST_EXPANDED`): a sequence of a sequence would otherwise fill the memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::glob;
use super::line::{definition_of, include_of, integer, is_name, items_of, parameter_at, without_comment};
use crate::config::import::{Findings, Surroundings};
use crate::config::source::{Location, SourceId, Sources};

/// A line after expansion, and the stretch of a file it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlainLine {
    /// Without comment.
    pub(crate) text: String,
    /// Where it begins in the file; words of a line that was not rewritten have exact places.
    pub(crate) at: Location,
    /// Whether `text` stands in the file as it is, from `at.start` on.
    pub(crate) verbatim: bool,
}

/// Included files nest no deeper.
const DEEPEST_INCLUDE: usize = 32;
/// Files that one configuration may include.
const MOST_FILES: usize = 1000;
/// A substitution in a substitution, or a sequence in a sequence, nests no deeper.
const DEEPEST_NESTING: usize = 64;
/// Bytes that definitions and sequences may expand to, all together.
const MOST_EXPANDED: usize = 1 << 20;

/// The kernel's longest path.
const LONGEST_PATTERN: usize = 4096;
/// What one turn of a sequence counts at least.
const LEAST_PER_TURN: usize = 32;

/// Which missing files `include` complains about (`include_check`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct IncludeCheck {
    readable: bool,
    matching: bool,
    wildcard: bool,
    brace: bool,
}

impl IncludeCheck {
    const ALL: Self = Self { readable: true, matching: true, wildcard: true, brace: true };

    fn with(self, other: Self) -> Self {
        Self {
            readable: self.readable || other.readable,
            matching: self.matching || other.matching,
            wildcard: self.wildcard || other.wildcard,
            brace: self.brace || other.brace,
        }
    }
}

/// Expands source `id` and all it includes.
pub(crate) fn expand(
    sources: &mut Sources,
    id: SourceId,
    config_id: &str,
    around: &dyn Surroundings,
    findings: &mut Findings,
) -> Vec<PlainLine> {
    let mut expander = Expander {
        sources,
        config_id,
        around,
        findings,
        lines: Vec::new(),
        definitions: HashMap::new(),
        left: MOST_EXPANDED,
        exhausted: false,
        open: Vec::new(),
        files: 0,
        check: IncludeCheck::default(),
        pending: None,
        random: 0x9e37_79b9_7f4a_7c15,
        told_random: false,
    };
    expander.file(id);
    expander.finish_definition();
    expander.lines
}

struct Expander<'a> {
    sources: &'a mut Sources,
    config_id: &'a str,
    around: &'a dyn Surroundings,
    findings: &'a mut Findings,
    lines: Vec<PlainLine>,
    definitions: HashMap<String, String>,
    left: usize,
    exhausted: bool,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    files: usize,
    check: IncludeCheck,
    /// A definition that goes on on the next line: its name and lines so far.
    pending: Option<(String, String, Location)>,
    random: u64,
    told_random: bool,
}

impl Expander<'_> {
    fn file(&mut self, id: SourceId) {
        let path = self.sources.get(id).path().to_path_buf();
        let text = self.sources.get(id).text().to_owned();
        self.open.push(path);
        let check = self.check;
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let content = without_comment(line.trim_end_matches(['\n', '\r']));
            let trimmed = content.trim_start();
            let begin = start + content.len() - trimmed.len();
            let at = Location::new(id, begin..begin + trimmed.trim_end().len());
            start += line.len();
            self.file_line(trimmed.trim_end(), at);
            if self.exhausted {
                break;
            }
        }
        self.check = check;
        self.open.pop();
    }

    fn file_line(&mut self, text: &str, at: Location) {
        if self.pending.is_some() {
            self.continue_definition(text, at);
        } else if let Some((keyword, argument)) = include_of(text) {
            self.include(keyword, argument, at);
        } else if let Some(options) =
            text.strip_prefix("include_check").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        {
            self.include_check(options, at);
        } else if !text.is_empty() {
            self.line(text, at, true, 0);
        }
    }

    /// One line, from a file (`verbatim`) or from an expansion.
    fn line(&mut self, text: &str, at: Location, verbatim: bool, depth: usize) {
        if !self.afford(if verbatim { 0 } else { text.len() + 1 }, depth, at) {
            return;
        }
        if let Some(rest) = text.strip_prefix('@') {
            if let Some((skipped, line)) = self.condition(rest) {
                self.line(
                    line,
                    Location { start: at.start + skipped.min(at.end - at.start), ..at },
                    verbatim,
                    depth + 1,
                );
            }
        } else if let Some((name, value)) = definition_of(text) {
            self.define(name, value, at);
        } else if let Some(sequence) = text.strip_prefix('~') {
            self.sequence(sequence, at, depth);
        } else {
            match self.substitute(text, at, depth) {
                None => self.lines.push(PlainLine { text: text.to_owned(), at, verbatim }),
                Some(replaced) => {
                    for line in replaced.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
                        self.line(line, at, false, depth + 1);
                    }
                }
            }
        }
    }

    /// `id rest` or `^id rest`: the rest when the condition holds, and how many bytes stand before it.
    fn condition<'t>(&self, text: &'t str) -> Option<(usize, &'t str)> {
        let (negated, text) = match text.strip_prefix('^') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (id, rest) = text.split_at(end);
        let line = rest.trim_start();
        let skipped = 1 + usize::from(negated) + text.len() - line.len();
        ((id == self.config_id) != negated && !line.is_empty()).then_some((skipped, line))
    }

    fn define(&mut self, name: &str, value: &str, at: Location) {
        match value.trim_end().strip_suffix('\\') {
            Some(first) => self.pending = Some((name.to_owned(), format!("{}\n", first.trim()), at)),
            None => {
                self.definitions.insert(name.to_owned(), value.trim().to_owned());
            }
        }
    }

    fn continue_definition(&mut self, text: &str, at: Location) {
        if !self.afford(text.len() + 1, 0, at) {
            return;
        }
        let Some((_, value, _)) = &mut self.pending else { return };
        match text.strip_suffix('\\') {
            Some(line) => {
                value.push_str(line.trim_end());
                value.push('\n');
            }
            None => {
                value.push_str(text);
                self.finish_definition();
            }
        }
    }

    fn finish_definition(&mut self) {
        if let Some((name, value, _)) = self.pending.take() {
            self.definitions.insert(name, value.trim_matches('\n').to_owned());
        }
    }

    /// `text` with the definitions it names put in, once; none when there is nothing to replace.
    fn substitute(&mut self, text: &str, at: Location, depth: usize) -> Option<String> {
        if !text.contains('$') {
            return None;
        }
        let mut result = String::new();
        let mut copied = 0;
        let mut from = 0;
        while let Some(found) = text[from..].find('$') {
            let dollar = from + found;
            from = dollar + 1;
            let Some((name, length)) = parameter_at(&text[dollar..]) else { continue };
            let Some(value) = self.value_of(name, at) else { continue };
            result.push_str(&text[copied..dollar]);
            result.push_str(&value);
            copied = dollar + length;
            from = copied;
            if !self.afford(value.len(), depth, at) {
                return Some(String::new());
            }
        }
        if copied == 0 {
            return None;
        }
        result.push_str(&text[copied..]);
        Some(result)
    }

    fn value_of(&mut self, name: &str, at: Location) -> Option<String> {
        if let Some(value) = self.definitions.get(name) {
            return Some(value.clone());
        }
        let mut words = name.split_ascii_whitespace();
        match words.next()? {
            "_PWD" => {
                let directory = self.open.last().and_then(|path| path.parent());
                Some(directory.map_or_else(String::new, |directory| directory.display().to_string()))
            }
            "_INSTANCE" => Some(self.config_id.to_owned()),
            "_RANDOM" => {
                let least = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                let most = words.next().and_then(|word| word.parse().ok()).unwrap_or(32_767);
                Some(self.random_between(least, most, at).to_string())
            }
            _ => None,
        }
    }

    /// Not random between two loads: a reload that changes nothing must be the same configuration.
    fn random_between(&mut self, least: u32, most: u32, at: Location) -> u64 {
        if !std::mem::replace(&mut self.told_random, true) {
            self.findings
                .warning(at, "`${_RANDOM}` gives the same numbers at every load, so that a reload compares equal");
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let (least, most) = (u64::from(least), u64::from(most));
        least + self.random % (most.saturating_sub(least) + 1)
    }

    /// After the `~`: `SEQ(var, start, step, end) rest`, `SEQx(..)`, `LST(var, a, b) rest`, `LST({v, w}, {1, 2}) rest`.
    fn sequence(&mut self, text: &str, at: Location, depth: usize) {
        let (kind, open) = match text.find('(') {
            Some(open) => (text[..open].trim(), open),
            None => ("", 0),
        };
        let close = text.find(')');
        let (Some(close), "SEQ" | "SEQx" | "LST") = (close, kind) else {
            self.findings.error(at, "`~` begins `~SEQ(var, start, step, end)`, `~SEQx(..)` or `~LST(var, value, ..)`");
            return;
        };
        let mut header = text.get(open + 1..close).unwrap_or_default().to_owned();
        for _ in 0..DEEPEST_NESTING {
            match self.substitute(&header, at, depth) {
                Some(replaced) => header = replaced,
                None => break,
            }
        }
        let rest = text[close + 1..].trim();
        let done = if kind == "LST" {
            self.list(&header, rest, at, depth)
        } else {
            self.count(&header, kind == "SEQx", rest, at, depth)
        };
        if let Err(reason) = done {
            self.findings.error(at, format!("`~{kind}({header})`: {reason}"));
        }
    }

    fn count(&mut self, header: &str, hex: bool, rest: &str, at: Location, depth: usize) -> Result<(), String> {
        let mut fields = header.split(',').map(str::trim);
        let variable = fields.next().filter(|name| is_name(name)).ok_or("a variable's name was expected")?.to_owned();
        let numbers = fields.map(integer).collect::<Result<Vec<i64>, String>>()?;
        let (start, step, end) = match numbers[..] {
            [end] => (if end > 0 { 1 } else { -1 }, None, end),
            [start, end] => (start, None, end),
            [start, step, end] => (start, Some(step), end),
            _ => return Err("one to three numbers were expected after the variable".into()),
        };
        let step = step.unwrap_or(if end >= start { 1 } else { -1 });
        if step == 0 {
            return Err("a step of 0 never ends".into());
        }
        let mut value = start;
        while if step > 0 { value <= end } else { value >= end } {
            let text = if hex { format!("{value:x}") } else { value.to_string() };
            self.definitions.insert(variable.clone(), text);
            if !self.afford(rest.len() + LEAST_PER_TURN, depth, at) {
                break;
            }
            self.line(rest, at, false, depth + 1);
            let Some(next) = value.checked_add(step) else { break };
            value = next;
        }
        Ok(())
    }

    fn list(&mut self, header: &str, rest: &str, at: Location, depth: usize) -> Result<(), String> {
        let items = items_of(header)?;
        let (names, values) = items.split_first().ok_or("a variable's name was expected")?;
        if !names.iter().all(|name| is_name(name)) {
            return Err("variables' names were expected first".into());
        }
        for value in values {
            if value.len() != names.len() {
                return Err(format!("{} values were given for {} variables", value.len(), names.len()));
            }
            for (name, value) in names.iter().zip(value) {
                self.definitions.insert(name.clone(), value.clone());
            }
            if !self.afford(rest.len() + LEAST_PER_TURN, depth, at) {
                break;
            }
            self.line(rest, at, false, depth + 1);
        }
        Ok(())
    }

    /// Takes `bytes` from what expansions may still produce; false, and an error once, when it is too much.
    fn afford(&mut self, bytes: usize, depth: usize, at: Location) -> bool {
        if self.exhausted {
            return false;
        }
        if depth <= DEEPEST_NESTING && bytes <= self.left {
            self.left -= bytes;
            return true;
        }
        self.exhausted = true;
        let message = if depth > DEEPEST_NESTING {
            "the definitions used here name each other without end".to_owned()
        } else {
            format!("definitions and sequences expand to more than {} MiB: is one running away?", MOST_EXPANDED >> 20)
        };
        self.findings.error(at, message);
        false
    }

    fn include_check(&mut self, options: &str, at: Location) {
        let options = options.split_ascii_whitespace().collect::<Vec<_>>();
        if options.is_empty() {
            self.check = IncludeCheck::ALL;
            return;
        }
        if !options[0].starts_with(['+', '-']) {
            self.check = IncludeCheck::default();
        }
        for option in options {
            let on = !option.starts_with('-');
            let field = match option.trim_start_matches(['+', '-']) {
                "readable" => &mut self.check.readable,
                "match" => &mut self.check.matching,
                "wildcard_match" => &mut self.check.wildcard,
                "brace_match" => &mut self.check.brace,
                other => {
                    self.findings.warning(at, format!("`{other}` is not an option of `include_check`: ignored"));
                    continue;
                }
            };
            *field = on;
            self.check.readable |= on;
        }
    }

    fn include(&mut self, keyword: &str, argument: &str, at: Location) {
        let extra = match keyword {
            "includer" => IncludeCheck { readable: true, ..IncludeCheck::default() },
            "includem" => IncludeCheck { readable: true, matching: true, ..IncludeCheck::default() },
            "includew" => IncludeCheck { readable: true, wildcard: true, ..IncludeCheck::default() },
            "includeb" => IncludeCheck { readable: true, brace: true, ..IncludeCheck::default() },
            "includea" => IncludeCheck::ALL,
            _ => IncludeCheck::default(),
        };
        let check = self.check.with(extra);
        let name = argument.trim().trim_matches('"');
        if name.is_empty() {
            self.findings.error(at, format!("`{keyword}` wants the name of a file"));
            return;
        }
        if name.len() > LONGEST_PATTERN {
            self.findings.error(at, format!("a file name longer than {LONGEST_PATTERN} bytes"));
            return;
        }
        let directory = self.open.last().and_then(|path| path.parent()).unwrap_or(Path::new("")).to_path_buf();
        for found in glob::expand(&directory, name, self.around) {
            let required =
                check.matching && !found.wildcard || check.wildcard && found.wildcard || check.brace && found.brace;
            if found.paths.is_empty() {
                let message = format!("nothing matches `{}`", found.pattern);
                if required {
                    self.findings.error(at, message);
                } else if !found.wildcard {
                    self.findings.warning(at, message);
                }
            }
            for path in found.paths {
                self.include_file(&path, check.readable, at);
            }
        }
    }

    fn include_file(&mut self, path: &Path, required: bool, at: Location) {
        self.files += 1;
        if self.open.len() > DEEPEST_INCLUDE || self.files > MOST_FILES {
            if !self.exhausted {
                self.findings.error(at, "files include each other without end");
            }
            self.exhausted = true;
            return;
        }
        match self.around.read(path) {
            Ok(text) => {
                if text.contains('\u{fffd}') {
                    let message = format!("`{}` is not UTF-8: it is read with a mark for each byte", path.display());
                    self.findings.warning(at, message);
                }
                let id = self.sources.add(path, text);
                self.file(id);
            }
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", path.display());
                if required {
                    self.findings.error(at, message);
                } else {
                    self.findings.warning(at, message);
                }
            }
        }
    }
}
