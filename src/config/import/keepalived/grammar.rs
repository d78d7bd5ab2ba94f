//! A keepalived.conf as a tree of statements and blocks.

use super::expand::{self, PlainLine};
use crate::config::import::{Findings, Surroundings, Word};
use crate::config::source::{Location, SourceId, Sources};

/// A statement, with its block if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its words, never empty.
    pub words: Vec<Word>,
    /// What stands in its braces.
    pub block: Option<Vec<Node>>,
}

impl Node {
    /// The keyword.
    #[must_use]
    pub fn keyword(&self) -> &Word {
        &self.words[0]
    }

    /// The words after the keyword.
    #[must_use]
    pub fn arguments(&self) -> &[Word] {
        &self.words[1..]
    }

    /// The statements in its block.
    #[must_use]
    pub fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// All of its own words.
    #[must_use]
    pub fn at(&self) -> Location {
        let (first, last) = (self.words[0].at, self.words[self.words.len() - 1].at);
        if first.source == last.source { Location { end: last.end.max(first.end), ..first } } else { first }
    }
}

/// Blocks nest no deeper; what is deeper is refused.
const DEEPEST_BLOCK: usize = 32;

/// The statements of source `id` and of all it includes.
pub(crate) fn parse(
    sources: &mut Sources,
    id: SourceId,
    config_id: &str,
    around: &dyn Surroundings,
    findings: &mut Findings,
) -> Vec<Node> {
    let lines = expand::expand(sources, id, config_id, around, findings);
    let mut builder = Builder { findings, roots: Vec::new(), open: Vec::new(), words: Vec::new(), too_deep: false };
    for line in &lines {
        builder.line(line);
    }
    builder.finish()
}

/// A token of a line.
enum Token {
    Word(Word),
    Open(Location),
    Close(Location),
    /// A backslash at the end: the statement goes on on the next line.
    Continue,
}

struct Builder<'a> {
    findings: &'a mut Findings,
    roots: Vec<Node>,
    /// The statements whose blocks are open, with the place of their brace.
    open: Vec<(Vec<Word>, Vec<Node>, Location)>,
    /// Words of the statement being read.
    words: Vec<Word>,
    too_deep: bool,
}

impl Builder<'_> {
    fn line(&mut self, line: &PlainLine) {
        let mut continued = false;
        for token in self.tokens(line) {
            match token {
                Token::Word(word) => self.words.push(word),
                Token::Open(at) => self.open(at),
                Token::Close(at) => self.close(at),
                Token::Continue => continued = true,
            }
        }
        if !continued {
            self.end_statement();
        }
    }

    fn tokens(&mut self, line: &PlainLine) -> Vec<Token> {
        let (tokens, unmatched) = tokens(line);
        if let Some(at) = unmatched {
            self.findings.warning(at, "this quote has no partner on the line: taken up to the line's end");
        }
        tokens
    }

    fn siblings(&mut self) -> &mut Vec<Node> {
        match self.open.last_mut() {
            Some((_, siblings, _)) => siblings,
            None => &mut self.roots,
        }
    }

    fn end_statement(&mut self) {
        if !self.words.is_empty() {
            let words = std::mem::take(&mut self.words);
            self.siblings().push(Node { words, block: None });
        }
    }

    fn open(&mut self, at: Location) {
        let mut words = std::mem::take(&mut self.words);
        if words.is_empty() {
            // On a line of its own it belongs to the statement before it.
            match self.siblings().pop_if(|node| node.block.is_none()) {
                Some(node) => words = node.words,
                None => {
                    self.findings.warning(at, "a block without a name: its content has no effect");
                    words = vec![Word { text: String::new(), at }];
                }
            }
        }
        if self.open.len() >= DEEPEST_BLOCK {
            if !std::mem::replace(&mut self.too_deep, true) {
                self.findings.error(at, "blocks are nested too deeply");
            }
            // Kept flat, so that the closing braces still pair up.
        }
        self.open.push((words, Vec::new(), at));
    }

    fn close(&mut self, at: Location) {
        self.end_statement();
        match self.open.pop() {
            Some((words, children, _)) => {
                let block = if self.open.len() >= DEEPEST_BLOCK { Vec::new() } else { children };
                self.siblings().push(Node { words, block: Some(block) });
            }
            None => self.findings.warning(at, "a `}` too many: ignored"),
        }
    }

    fn finish(mut self) -> Vec<Node> {
        self.end_statement();
        if let Some((words, _, at)) = self.open.first() {
            let name = words[0].text.clone();
            self.findings
                .error(*at, format!("the block of `{name}` is not closed: a `}}` is missing, or the file was cut off"));
        }
        while let Some((words, children, _)) = self.open.pop() {
            let block = if self.open.len() >= DEEPEST_BLOCK { Vec::new() } else { children };
            self.siblings().push(Node { words, block: Some(block) });
        }
        self.roots
    }
}

/// The tokens of a line, and the place of a quote that is not closed.
fn tokens(line: &PlainLine) -> (Vec<Token>, Option<Location>) {
    let text = line.text.as_str();
    let place = |start: usize, end: usize| {
        if line.verbatim {
            Location { start: line.at.start + start, end: line.at.start + end, ..line.at }
        } else {
            line.at
        }
    };
    let mut tokens = Vec::new();
    let last_close = text.rfind('}').unwrap_or(0);
    let mut word: Option<(usize, String)> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        let mut end = next;
        match (quote, c) {
            (Some((open, _)), c) if c == open => quote = None,
            (Some(_), '\\') => {
                let (escaped, length) = escape(&text[at..]);
                word.get_or_insert_with(|| (at, String::new())).1.push(escaped);
                end = at + length;
            }
            (None, '\\') if next == text.len() => {
                tokens.push(Token::Continue);
            }
            (None, '\\') if text[next..].starts_with(['"', '\'']) => {
                let quote = &text[next..=next];
                word.get_or_insert_with(|| (at, String::new())).1.push_str(quote);
                end = next + 1;
            }
            (None, '"' | '\'') => {
                word.get_or_insert_with(|| (at, String::new()));
                quote = Some((c, at));
            }
            // A parameter that is not defined stays as it is, its braces included.
            (None, '{') if word.as_ref().is_some_and(|(_, word)| word.ends_with('$')) && at < last_close => {
                end = at + text[at..].find('}').unwrap_or(0) + 1;
                word.get_or_insert_with(|| (at, String::new())).1.push_str(&text[at..end]);
            }
            (None, c) if c.is_whitespace() || c == '{' || c == '}' => {
                if let Some((start, text)) = word.take() {
                    tokens.push(Token::Word(Word { text, at: place(start, at) }));
                }
                match c {
                    '{' => tokens.push(Token::Open(place(at, next))),
                    '}' => tokens.push(Token::Close(place(at, next))),
                    _ => {}
                }
            }
            (_, c) => word.get_or_insert_with(|| (at, String::new())).1.push(c),
        }
        at = end;
    }
    let unmatched = quote.map(|(_, start)| place(start, text.len()));
    if let Some((start, word)) = word {
        tokens.push(Token::Word(Word { text: word, at: place(start, text.len()) }));
    }
    for token in &mut tokens {
        if let Token::Word(word) = token {
            word.text = substitute_late(std::mem::take(&mut word.text));
        }
    }
    (tokens, unmatched)
}

/// `${_HASH}` and `${_BANG}`: characters that would have begun a comment.
fn substitute_late(word: String) -> String {
    if word.contains("${_") { word.replace("${_HASH}", "#").replace("${_BANG}", "!") } else { word }
}

/// The character that the escape at the beginning of `text` stands for, and its length in bytes.
fn escape(text: &str) -> (char, usize) {
    let mut characters = text[1..].chars();
    let Some(c) = characters.next() else { return ('\\', 1) };
    let simple = match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'E' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'c' => {
            return match characters.next() {
                Some(control) if control.is_ascii() => (char::from(control.to_ascii_uppercase() as u8 & 0x1f), 3),
                Some(_) | None => ('c', 2),
            };
        }
        'x' => {
            let digits = text[2..].bytes().take_while(u8::is_ascii_hexdigit).take(2).count();
            return match u8::from_str_radix(&text[2..2 + digits], 16) {
                Ok(code) => (char::from(code), 2 + digits),
                Err(_) => ('x', 2),
            };
        }
        '0'..='7' => {
            let digits = text[1..].bytes().take_while(|b| (b'0'..=b'7').contains(b)).take(3).count();
            let code = u32::from_str_radix(&text[1..1 + digits], 8).unwrap_or(0);
            return (char::from(code as u8), 1 + digits);
        }
        other => other,
    };
    (simple, 1 + c.len_utf8())
}
