//! Whether a condition holds, while perhaps not all is known yet.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::SocketAddr;

use regex::bytes::{Regex, RegexBuilder};

use super::value;
use crate::model::Policy;
use crate::model::figure::Figure;
use crate::model::rule::{Condition, Counted, Counter, End, Pattern, Quantity, Rule, Term, Test, Text};
use crate::model::value::{Comparison, Expression, Value, Variable};
use crate::wire::http_request;
use crate::wire::rdp;
use crate::wire::tls::client_hello::{self, ClientHello, Heard};

/// An answer that may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is so, and stays so.
    Yes,
    /// It is not so, and stays so.
    No,
    /// More bytes, or their end, will tell.
    Unknown,
}

/// What is known of a connection.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The client's address and port.
    pub client: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    heard: &'a [u8],
    ended: bool,
    hello: OnceCell<Heard>,
}

/// Facts, and whether they have to do: nothing more will come, or is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'f, 'a> {
    pub(super) facts: &'f Facts<'a>,
    pub(super) is_all: bool,
}

/// What rules ask about the rest of the process.
pub trait World {
    /// A number about services, pools and servers.
    fn figure(&self, figure: &Figure) -> i64;
    /// Whether a server is up.
    fn is_up(&self, pool: &str, server: &str) -> bool;
    /// A counter of a source; none: it is not counted.
    fn counter(&self, of: Counted, table: Option<&str>, counter: Counter) -> Option<u64>;
    /// What a variable holds. Whoever keeps none has none.
    fn variable(&self, _: &Variable) -> Option<Value> {
        None
    }
    /// What was captured.
    fn capture(&self, _: u16) -> Option<Value> {
        None
    }
}

/// The regular expressions of a policy, compiled.
#[derive(Debug, Default)]
pub struct Expressions {
    /// Those for which upper and lower case differ.
    exact: HashMap<String, Regex>,
    /// Those for which they are the same.
    folded: HashMap<String, Regex>,
}

/// A larger program than this is no pattern of a person's.
const LARGEST_EXPRESSION: usize = 1 << 20;

impl Expressions {
    /// Those of a policy. What cannot be compiled never matches; [`Expressions::check`] tells beforehand.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let mut compiled = Self::default();
        policy.rules.iter().for_each(|rule| compiled.add_rule(rule));
        compiled
    }

    /// Those of a further rule.
    pub fn add_rule(&mut self, rule: &Rule) {
        self.add(rule.when.iter());
        self.add_maps(rule.action.value());
    }

    /// Those of further conditions.
    pub fn add<'c>(&mut self, conditions: impl Iterator<Item = &'c Condition>) {
        for test in conditions.flat_map(Condition::tests) {
            match test {
                Test::Text { ignore_case, patterns, .. } => self.add_patterns(*ignore_case, patterns),
                Test::Value { of, is } => {
                    self.add_comparison(is);
                    self.add_maps(Some(of));
                }
                _ => {}
            }
        }
    }

    fn add_maps(&mut self, value: Option<&Expression>) {
        value.into_iter().flat_map(Expression::comparisons).for_each(|comparison| self.add_comparison(comparison));
    }

    fn add_comparison(&mut self, comparison: &Comparison) {
        if let Comparison::Texts { ignore_case, patterns } = comparison {
            self.add_patterns(*ignore_case, patterns);
        }
    }

    fn add_patterns(&mut self, ignore_case: bool, patterns: &[Pattern]) {
        for pattern in patterns {
            if let Pattern::Regex(text) = pattern
                && let Ok(regex) = compile(text, ignore_case)
            {
                let expressions = if ignore_case { &mut self.folded } else { &mut self.exact };
                expressions.insert(text.clone(), regex);
            }
        }
    }

    /// Why an expression cannot be compiled.
    pub fn check(text: &str) -> Result<(), String> {
        compile(text, false).map(drop).map_err(|error| error.to_string())
    }

    fn matches(&self, text: &str, ignore_case: bool, bytes: &[u8]) -> bool {
        let expressions = if ignore_case { &self.folded } else { &self.exact };
        expressions.get(text).is_some_and(|regex| regex.is_match(bytes))
    }
}

fn compile(text: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).case_insensitive(ignore_case).unicode(false).size_limit(LARGEST_EXPRESSION).build()
}

impl<'a> Facts<'a> {
    /// Before the client was listened to: what it says counts as nothing.
    #[must_use]
    pub fn unheard(client: SocketAddr, local: SocketAddr) -> Self {
        Self::new(client, local, &[], true)
    }

    /// With what the client has said so far; `ended`: it will not say more, or not be listened to any longer.
    #[must_use]
    pub fn new(client: SocketAddr, local: SocketAddr, heard: &'a [u8], ended: bool) -> Self {
        Self { client, local, heard, ended, hello: OnceCell::new() }
    }

    /// Of a client that sent a TLS hello with this name, or says nothing at all.
    #[must_use]
    pub fn told(client: SocketAddr, local: SocketAddr, server_name: Option<&str>) -> Self {
        let hello = server_name.map_or(Heard::Other, |name| {
            Heard::Hello(ClientHello {
                version: 0x0303,
                newest_offered: Some(0x0304),
                offers_tls13: true,
                server_name: Some(name.to_owned()),
                ..ClientHello::default()
            })
        });
        Self { hello: OnceCell::from(hello), ..Self::unheard(client, local) }
    }

    /// What the bytes are; none while that is open.
    fn hello(&self) -> Option<Option<&ClientHello>> {
        match self.hello.get_or_init(|| client_hello::hear(self.heard)) {
            Heard::Hello(hello) => Some(Some(hello)),
            Heard::Other => Some(None),
            Heard::Part => None,
        }
    }

    /// What the client has said so far.
    pub(super) fn heard(&self) -> &[u8] {
        self.heard
    }

    /// What follows its own length, which has so many bytes.
    pub(super) fn counted(&self, offset: usize, size: usize) -> Option<&'a [u8]> {
        let digits = self.heard.get(offset..offset.saturating_add(size))?;
        let length = digits.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let start = offset.saturating_add(size);
        self.heard.get(start..start.saturating_add(length))
    }

    /// Whether it will say no more.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// The name in its hello.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.hello().flatten()?.server_name.as_deref()
    }

    /// What the bytes are to an RDP server.
    #[must_use]
    pub fn rdp_request(&self) -> rdp::Heard<'a> {
        rdp::hear(self.heard)
    }

    /// Whether it is not yet known if the client sends a hello.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.hello().is_none()
    }

    /// The client's hello, if it sent one.
    #[must_use]
    pub fn into_hello(self) -> Option<ClientHello> {
        let _heard = self.hello();
        match self.hello.into_inner() {
            Some(Heard::Hello(hello)) => Some(hello),
            _ => None,
        }
    }

    pub(super) fn address(&self, end: End) -> SocketAddr {
        match end {
            End::Source => self.client,
            End::Destination => self.local,
        }
    }

    /// What is known so far, of which more may come; with `has_to_do`, none is waited for.
    pub(super) fn known(&self, has_to_do: bool) -> Known<'_, 'a> {
        Known { facts: self, is_all: self.ended || has_to_do }
    }
}

impl Known<'_, '_> {
    /// No, once nothing can change it any more.
    fn no_or_unknown(self) -> Answer {
        if self.is_all { Answer::No } else { Answer::Unknown }
    }

    /// There is none, once nothing can change it any more.
    pub(super) fn none_or_open<T>(self) -> Result<Option<T>, value::Open> {
        if self.is_all { Ok(None) } else { Err(value::Open) }
    }
}

impl Answer {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn negated(self, negated: bool) -> Self {
        match (self, negated) {
            (Self::Yes, true) => Self::No,
            (Self::No, true) => Self::Yes,
            (answer, _) => answer,
        }
    }
}

/// Whether a condition holds. As in HAProxy, parts that cannot change the answer are not asked.
pub(super) fn holds(
    condition: &Condition,
    known: Known<'_, '_>,
    expressions: &Expressions,
    world: &dyn World,
) -> Answer {
    let line = |terms: &Vec<Term>| all(terms.iter().map(|term| term_holds(term, known, expressions, world)));
    any(condition.any.iter().map(line)).negated(condition.negated)
}

fn term_holds(term: &Term, known: Known<'_, '_>, expressions: &Expressions, world: &dyn World) -> Answer {
    any(term.any.iter().map(|test| test_holds(test, known, expressions, world))).negated(term.negated)
}

fn any(answers: impl Iterator<Item = Answer>) -> Answer {
    let mut result = Answer::No;
    for answer in answers {
        match answer {
            Answer::Yes => return Answer::Yes,
            Answer::Unknown => result = Answer::Unknown,
            Answer::No => {}
        }
    }
    result
}

fn all(answers: impl Iterator<Item = Answer>) -> Answer {
    any(answers.map(|answer| answer.negated(true))).negated(true)
}

fn test_holds(test: &Test, known: Known<'_, '_>, expressions: &Expressions, world: &dyn World) -> Answer {
    match test {
        Test::Always(holds) => Answer::of(*holds),
        Test::Ended if known.is_all => Answer::Yes,
        Test::Ended => Answer::Unknown,
        Test::Http => http_request::is_whole(known.facts.heard).map_or_else(|| known.no_or_unknown(), Answer::of),
        Test::Address(end, networks) => Answer::of(networks.contains(known.facts.address(*end).ip())),
        Test::Number(quantity, ranges) => number_holds(quantity, ranges, known, world),
        Test::Text { of, ignore_case, patterns } => text_holds(*of, *ignore_case, patterns, known, expressions),
        Test::Value { of, is } => match value::evaluate(of, known, expressions, world) {
            Ok(value) => Answer::of(value.is_some_and(|value| value::compare(&value, is, expressions))),
            Err(value::Open) => known.no_or_unknown(),
        },
        Test::ServerUp { pool, server } => Answer::of(world.is_up(pool, server)),
    }
}

fn number_holds(
    quantity: &Quantity,
    ranges: &[std::ops::RangeInclusive<i64>],
    known: Known<'_, '_>,
    world: &dyn World,
) -> Answer {
    let inside = |number: i64| ranges.iter().any(|range| range.contains(&number));
    // More bytes may bring it into a range. That it is in one decides, though more may take it out again.
    if *quantity == Quantity::HeardBytes && !inside(known.facts.heard.len() as i64) {
        return known.no_or_unknown();
    }
    number(quantity, known, world).map_or_else(|_| known.no_or_unknown(), |value| Answer::of(value.is_some_and(inside)))
}

/// What a number is now.
pub(super) fn number(quantity: &Quantity, known: Known<'_, '_>, world: &dyn World) -> Result<Option<i64>, value::Open> {
    Ok(match quantity {
        Quantity::Port(end) => Some(i64::from(known.facts.address(*end).port())),
        Quantity::HeardBytes => Some(known.facts.heard.len() as i64),
        Quantity::HelloType | Quantity::HelloVersion => match known.facts.hello() {
            None => return known.none_or_open(),
            Some(hello) => hello.map(|hello| match quantity {
                Quantity::HelloVersion => i64::from(hello.version >> 8) << 16 | i64::from(hello.version & 0xff),
                _ => 1,
            }),
        },
        Quantity::RdpCookies => match known.facts.rdp_request() {
            rdp::Heard::Part => return known.none_or_open(),
            said => Some(i64::from(said != rdp::Heard::Other)),
        },
        Quantity::Figure(figure) => Some(world.figure(figure)),
        Quantity::Counter { of, table, counter } => {
            let counted = world.counter(*of, table.as_deref(), *counter);
            counted.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
        }
    })
}

fn text_holds(
    of: Text,
    ignore_case: bool,
    patterns: &[Pattern],
    known: Known<'_, '_>,
    expressions: &Expressions,
) -> Answer {
    let fits = |text: &[u8]| matches(text, ignore_case, patterns, expressions);
    // Of protocols, which are several, one does.
    if of == Text::Protocol
        && let Some(hello) = known.facts.hello()
    {
        return Answer::of(hello.is_some_and(|hello| hello.protocols.iter().any(|name| fits(name))));
    }
    match text(of, known) {
        // All that comes: what does not match yet may do so with more.
        Ok(Some(text)) if matches!(of, Text::Heard { length: None, .. }) && !fits(text) => known.no_or_unknown(),
        Ok(text) => Answer::of(text.is_some_and(fits)),
        Err(value::Open) => known.no_or_unknown(),
    }
}

/// What a text is now.
pub(super) fn text<'f>(of: Text, known: Known<'f, '_>) -> Result<Option<&'f [u8]>, value::Open> {
    let facts = known.facts;
    let found = match of {
        Text::Method => http_request::line(facts.heard).map(|line| line.method.as_bytes()),
        Text::Path => http_request::line(facts.heard).map(|line| line.path().as_bytes()),
        Text::ServerName | Text::Protocol => {
            let Some(hello) = facts.hello() else { return known.none_or_open() };
            return Ok(hello.and_then(|hello| match of {
                Text::Protocol => hello.protocols.first().map(Vec::as_slice),
                _ => hello.server_name.as_deref().map(str::as_bytes),
            }));
        }
        Text::Heard { offset, length: Some(length) } => facts.heard.get(offset..offset.saturating_add(length)),
        Text::Heard { offset, length: None } => facts.heard.get(offset..).filter(|bytes| !bytes.is_empty()),
        Text::Counted { offset, size } => facts.counted(offset, size),
        Text::RdpUser => match facts.rdp_request() {
            rdp::Heard::Part => None,
            said => return Ok(said.user()),
        },
    };
    if found.is_some() { Ok(found) } else { known.none_or_open() }
}

pub(super) fn matches(text: &[u8], ignore_case: bool, patterns: &[Pattern], expressions: &Expressions) -> bool {
    let folded = fold(text, ignore_case);
    patterns.iter().any(|pattern| match pattern {
        Pattern::Found => true,
        // Of maps there may be thousands.
        Pattern::Exact(wanted) if ignore_case => text.eq_ignore_ascii_case(wanted),
        Pattern::Exact(wanted) => text == wanted,
        Pattern::Begin(wanted) => folded.starts_with(&fold(wanted, ignore_case)),
        Pattern::End(wanted) => folded.ends_with(&fold(wanted, ignore_case)),
        Pattern::Contains(wanted) => places(&folded, &fold(wanted, ignore_case)).next().is_some(),
        Pattern::Domain(wanted) => is_part(&folded, &fold(wanted, ignore_case)),
        Pattern::Regex(wanted) => expressions.matches(wanted, ignore_case, text),
        Pattern::Length(range) => range.contains(&(text.len() as i64)),
    })
}

/// Whether a text is as one of the patterns wants it; for texts that are known when a file is read. No regular expressions.
#[must_use]
pub fn text_is(text: &[u8], ignore_case: bool, patterns: &[Pattern]) -> bool {
    matches(text, ignore_case, patterns, &Expressions::default())
}

fn fold(text: &[u8], ignore_case: bool) -> Cow<'_, [u8]> {
    if ignore_case { text.to_ascii_lowercase().into() } else { text.into() }
}

/// Where `wanted` stands in `text`.
fn places<'t>(text: &'t [u8], wanted: &'t [u8]) -> impl Iterator<Item = usize> + 't {
    (0..=text.len().saturating_sub(wanted.len())).filter(move |at| text[*at..].starts_with(wanted))
}

/// Whether `wanted` stands in `text` with a separator or an end on both sides. Separators around it do not count.
fn is_part(text: &[u8], wanted: &[u8]) -> bool {
    let separates = |byte: &u8| b"/?.:".contains(byte);
    let first = wanted.iter().position(|byte| !separates(byte)).unwrap_or(wanted.len());
    let last = wanted.iter().rposition(|byte| !separates(byte)).map_or(first, |last| last + 1);
    let wanted = &wanted[first..last];
    !wanted.is_empty()
        && places(text, wanted).any(|at| {
            at.checked_sub(1).and_then(|before| text.get(before)).is_none_or(separates)
                && text.get(at + wanted.len()).is_none_or(separates)
        })
}
