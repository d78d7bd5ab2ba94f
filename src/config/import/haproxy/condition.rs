//! The conditions of `.if` and `.elif` (manual, section 2.4).

use super::super::Surroundings;

/// The HAProxy release whose behaviour an imported file gets, for `version_atleast` and `version_before`.
const EMULATED_VERSION: &str = "2.6.12";

/// What `feature(...)` answers yes to: what this process does as a HAProxy built with it would.
const FEATURES: &[&str] = &["ACCEPT4", "EPOLL", "GETADDRINFO", "LINUX_TPROXY", "SYSTEMD", "THREAD", "TPROXY"];

/// Deeper nesting than this is refused: no file written by a person has it.
const MOST_NESTING: usize = 64;

/// Whether the condition holds. An empty one does not. The error names the cause.
pub(crate) fn holds(expression: &str, around: &dyn Surroundings) -> Result<bool, String> {
    let mut parser = Parser { rest: expression.trim(), around };
    if parser.rest.is_empty() {
        return Ok(false);
    }
    let value = parser.any_of(0)?;
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("`{}` cannot stand here", parser.rest)) }
}

struct Parser<'a> {
    rest: &'a str,
    around: &'a dyn Surroundings,
}

impl<'a> Parser<'a> {
    fn any_of(&mut self, depth: usize) -> Result<bool, String> {
        let mut value = self.all_of(depth)?;
        while self.skip("||") {
            value |= self.all_of(depth)?;
        }
        Ok(value)
    }

    fn all_of(&mut self, depth: usize) -> Result<bool, String> {
        let mut value = self.term(depth)?;
        while self.skip("&&") {
            value &= self.term(depth)?;
        }
        Ok(value)
    }

    fn term(&mut self, depth: usize) -> Result<bool, String> {
        if depth > MOST_NESTING {
            return Err("the condition is nested too deeply".into());
        }
        if self.skip("!") {
            return Ok(!self.term(depth + 1)?);
        }
        if self.skip("(") {
            let value = self.any_of(depth + 1)?;
            return if self.skip(")") { Ok(value) } else { Err("a `(` is not closed".into()) };
        }
        let word = self.word();
        if word.is_empty() {
            return Err("a condition was expected: a number, `defined(NAME)`, `streq(A,B)`, ...".into());
        }
        if let Ok(number) = word.parse::<i64>() {
            return Ok(number != 0);
        }
        let arguments = self.arguments(word)?;
        self.predicate(word, &arguments)
    }

    fn skip(&mut self, token: &str) -> bool {
        let trimmed = self.rest.trim_start();
        match trimmed.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => {
                self.rest = trimmed;
                false
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// `(a,b)`, with quotes and escapes of its own (manual, section 2.2, "second level").
    fn arguments(&mut self, predicate: &str) -> Result<Vec<String>, String> {
        if !self.skip("(") {
            return Ok(Vec::new());
        }
        let mut arguments = vec![String::new()];
        let mut quote = None;
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            let last = arguments.len() - 1;
            match (quote, c) {
                (None, ')') => {
                    self.rest = self.rest[at + 1..].trim_start();
                    return Ok(arguments);
                }
                (None, ',') => arguments.push(String::new()),
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                (None | Some('"'), '\\') => {
                    if let Some((_, escaped)) = characters.next() {
                        arguments[last].push(escaped);
                    }
                }
                (_, c) => arguments[last].push(c),
            }
        }
        Err(format!("the arguments of `{predicate}` are not closed with `)`"))
    }

    fn predicate(&self, name: &str, arguments: &[String]) -> Result<bool, String> {
        match (name, arguments) {
            ("defined", [name]) => Ok(self.around.variable(name).is_some()),
            ("feature", [name]) => Ok(FEATURES.contains(&name.as_str())),
            ("streq", [left, right]) => Ok(left == right),
            ("strneq", [left, right]) => Ok(left != right),
            ("strstr", [text, part]) => Ok(text.contains(part.as_str())),
            ("version_atleast", [version]) => Ok(release(EMULATED_VERSION) >= release(version)),
            ("version_before", [version]) => Ok(release(EMULATED_VERSION) < release(version)),
            // Compared with OpenSSL's and AWS-LC's, neither of which is linked in.
            ("enabled" | "openssl_version_atleast" | "awslc_api_atleast", [_]) => Ok(false),
            ("openssl_version_before" | "awslc_api_before", [_]) => Ok(true),
            ("defined" | "feature" | "streq" | "strneq" | "strstr" | "version_atleast" | "version_before", _) => {
                Err(format!("`{name}` was given {} arguments", arguments.len()))
            }
            _ => Err(format!("`{name}` is not a predicate")),
        }
    }
}

/// The order of releases: major, minor, then development before release, then the patch level.
fn release(version: &str) -> (u32, u32, bool, u32) {
    let (numbers, development) = match version.split_once("-dev") {
        Some((numbers, level)) => (numbers, Some(level)),
        None => (version, None),
    };
    let mut parts = numbers.split('.').map(leading_number);
    let major = parts.next().unwrap_or(0);
    let minor = parts.next().unwrap_or(0);
    match development {
        Some(level) => (major, minor, false, leading_number(level)),
        None => (major, minor, true, parts.next().unwrap_or(0)),
    }
}

fn leading_number(text: &str) -> u32 {
    let digits = &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())];
    digits.parse().unwrap_or(0)
}
