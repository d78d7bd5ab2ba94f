//! One line of a haproxy.cfg cut into words: quotes, escapes, variables, comments (manual, sections 2.2 and 2.3).

use super::super::Surroundings;

/// A word and where it stands in its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawWord {
    /// The text after quotes, escapes and variables are resolved.
    pub(crate) text: String,
    /// Byte offset of its first character in the line.
    pub(crate) start: usize,
    /// Byte length as written.
    pub(crate) length: usize,
}

/// What is wrong with a line, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The cause and the remedy.
    pub(crate) message: String,
    /// Byte offset in the line.
    pub(crate) start: usize,
    /// Bytes concerned.
    pub(crate) length: usize,
}

/// What the pseudo-variables `.FILE`, `.LINE` and `.SECTION` stand for.
pub(crate) struct Place<'a> {
    /// Name of the file.
    pub(crate) file: &'a str,
    /// Line number, from 1.
    pub(crate) line: usize,
    /// The section's name, or its type when it has none.
    pub(crate) section: &'a str,
}

/// Cuts `line` into words. Spaces and tabs separate; an unprotected `#` ends the line; so do no-break spaces, which
/// files pasted from documents contain (the caller warns about those).
pub(crate) fn split(line: &str, place: &Place<'_>, around: &dyn Surroundings) -> Result<Vec<RawWord>, BadLine> {
    let mut cutter = Cutter { line, at: 0, place, around, words: Vec::new(), word: None };
    cutter.run()?;
    Ok(cutter.words)
}

/// Whether `c` separates words outside quotes.
pub(crate) fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{a0}' | '\r')
}

struct Cutter<'a> {
    line: &'a str,
    at: usize,
    place: &'a Place<'a>,
    around: &'a dyn Surroundings,
    words: Vec<RawWord>,
    word: Option<(usize, String)>,
}

impl Cutter<'_> {
    fn run(&mut self) -> Result<(), BadLine> {
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '#' => break,
                '"' => self.weak_quote(start)?,
                '\'' => self.strong_quote(start)?,
                '\\' => self.escape(false)?,
                c if is_separator(c) => {
                    self.end_word();
                    self.at += c.len_utf8();
                }
                c => self.take(c),
            }
        }
        self.end_word();
        Ok(())
    }

    fn peek(&self) -> Option<char> {
        self.line[self.at..].chars().next()
    }

    fn take(&mut self, c: char) {
        self.push(c);
        self.at += c.len_utf8();
    }

    fn push(&mut self, c: char) {
        self.text().push(c);
    }

    fn text(&mut self) -> &mut String {
        let at = self.at;
        &mut self.word.get_or_insert_with(|| (at, String::new())).1
    }

    fn end_word(&mut self) {
        if let Some((start, text)) = self.word.take() {
            self.words.push(RawWord { text, start, length: self.at - start });
        }
    }

    fn strong_quote(&mut self, start: usize) -> Result<(), BadLine> {
        self.text();
        let Some(length) = self.line[start + 1..].find('\'') else {
            return Err(unmatched_quote('\'', start));
        };
        let inner = &self.line[start + 1..start + 1 + length];
        self.text().push_str(inner);
        self.at = start + length + 2;
        Ok(())
    }

    fn weak_quote(&mut self, start: usize) -> Result<(), BadLine> {
        self.text();
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(unmatched_quote('"', start)),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => self.escape(true)?,
                Some('$') => self.variable()?,
                Some(c) => self.take(c),
            }
        }
    }

    /// A backslash; before any other character than those of the manual's table it stands for itself.
    fn escape(&mut self, quoted: bool) -> Result<(), BadLine> {
        let start = self.at;
        self.text();
        let Some(c) = self.line[start + 1..].chars().next() else {
            self.take('\\');
            return Ok(());
        };
        let replacement = match c {
            ' ' | '\t' | '\\' | '"' | '\'' | '#' | '\u{a0}' => c,
            '$' if quoted => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'x' => return self.hexadecimal(start),
            _ => {
                self.take('\\');
                return Ok(());
            }
        };
        self.push(replacement);
        self.at = start + 1 + c.len_utf8();
        Ok(())
    }

    fn hexadecimal(&mut self, start: usize) -> Result<(), BadLine> {
        let digits = self.line.get(start + 2..start + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Err(BadLine {
                message: "`\\x` wants two hexadecimal digits, as in `\\x20`".into(),
                start,
                length: 2,
            });
        };
        self.push(char::from(code));
        self.at = start + 4;
        Ok(())
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`: inside double quotes only.
    fn variable(&mut self) -> Result<(), BadLine> {
        let start = self.at;
        let mut rest = &self.line[start + 1..];
        let braces = rest.starts_with('{');
        if braces {
            rest = &rest[1..];
        }
        let name = &rest[..rest.find(|c: char| !is_name_character(c)).unwrap_or(rest.len())];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(BadLine {
                message:
                    "a variable's name begins with a letter or `_`; a plain dollar in double quotes is written `\\$`"
                        .into(),
                start,
                length: 1,
            });
        }
        let mut after = &rest[name.len()..];
        let mut list = false;
        let mut default = None;
        if braces {
            if let Some(stripped) = after.strip_prefix("[*]") {
                list = true;
                after = stripped;
            }
            if let Some(stripped) = after.strip_prefix('-') {
                let end = stripped.find(['}', '"']).unwrap_or(stripped.len());
                default = Some(&stripped[..end]);
                after = &stripped[end..];
            }
            after = after.strip_prefix('}').ok_or_else(|| BadLine {
                message: format!("`${{{name}` is not closed: write `${{{name}}}` or `${{{name}-default}}`"),
                start,
                length: 2 + name.len(),
            })?;
        }
        let value = self.value_of(name).or_else(|| default.map(str::to_owned)).unwrap_or_default();
        if list {
            let mut values = value.split([' ', '\t']).filter(|value| !value.is_empty());
            if let Some(first) = values.next() {
                self.text().push_str(first);
            }
            for value in values {
                self.end_word();
                self.text().push_str(value);
            }
        } else {
            self.text().push_str(&value);
        }
        self.at = self.line.len() - after.len();
        Ok(())
    }

    fn value_of(&self, name: &str) -> Option<String> {
        match name {
            ".FILE" => Some(self.place.file.to_owned()),
            ".LINE" => Some(self.place.line.to_string()),
            ".SECTION" => Some(self.place.section.to_owned()),
            name => self.around.variable(name),
        }
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

fn unmatched_quote(quote: char, start: usize) -> BadLine {
    BadLine { message: format!("this {quote} has no partner on the line"), start, length: 1 }
}
