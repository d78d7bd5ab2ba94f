//! Whether a condition holds, while perhaps not all is known yet.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use regex::bytes::{Regex, RegexBuilder};

use super::expression::{self, Asked, Open};
use super::lists::{Index, Lists};
use crate::model::Policy;
use crate::model::expression::Is;
use crate::model::figure::Figure;
use crate::model::list::{Kind, Lookup};
use crate::model::rule::{Condition, Counted, Counter, End, Party, Pattern, Quantity, Term, Test, Text};
use crate::model::value::{Value, Variable};
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
    /// What the server has said, where that is what counts.
    answer: Option<&'a [u8]>,
    hello: OnceCell<Heard>,
}

/// Facts, and whether they have to do: nothing more will come, or is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'f, 'a> {
    facts: &'f Facts<'a>,
    is_all: bool,
}

/// What rules ask about the rest of the process. Who does not say what he knows of something knows nothing of it.
pub trait World {
    /// A number about services, pools and servers.
    fn figure(&self, _: &Figure) -> i64 {
        0
    }
    /// Whether a server of a pool is up.
    fn is_up(&self, _pool: &str, _server: &str) -> bool {
        false
    }
    /// A counter of a source; none: it is not counted.
    fn counter(&self, _: Counted, _table: Option<&str>, _: Counter) -> Option<u64> {
        None
    }
    /// A counter of any source in a table; none: it is not counted.
    fn counter_of(&self, _: IpAddr, _table: &str, _: Counter) -> Option<u64> {
        None
    }
    /// A number of 32 bits that nobody knows beforehand.
    fn random(&self) -> u32 {
        0
    }
    /// What a variable holds.
    fn variable(&self, _: &Variable) -> Option<Value<'static>> {
        None
    }
    /// What was captured.
    fn capture(&self, _: u16) -> Option<Value<'static>> {
        None
    }
}

/// There is nobody to ask.
pub(super) struct Nobody;

impl World for Nobody {}

/// What a policy compares with: its regular expressions, compiled, and the lists that it asks.
#[derive(Debug, Default)]
pub struct Matchers {
    /// Those for which upper and lower case differ.
    exact: HashMap<String, Regex>,
    /// Those for which they are the same.
    folded: HashMap<String, Regex>,
    /// The lists that are asked, and where they are published.
    lists: Vec<(Lookup, Kind, Arc<ArcSwap<Index>>)>,
}

/// A larger program than this is no pattern of a person's.
const LARGEST_EXPRESSION: usize = 1 << 20;

impl Matchers {
    /// Those of a policy, with lists as they were read. What cannot be compiled never matches; [`Matchers::check`] tells
    /// beforehand.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let mut compiled = Self::default();
        compiled.add(policy.conditions());
        compiled.ask(policy.lookups(), &Lists::default());
        compiled
    }

    /// Lists that are asked, too.
    pub fn ask<'l>(&mut self, lookups: impl Iterator<Item = (&'l Lookup, Kind)>, lists: &Lists) {
        for (lookup, values) in lookups {
            if self.list(lookup, values).is_none() {
                self.lists.push((lookup.clone(), values, lists.index(lookup, values)));
            }
        }
    }

    /// Where a list is published.
    pub(super) fn list(&self, wanted: &Lookup, values: Kind) -> Option<&ArcSwap<Index>> {
        let is_it = |(lookup, kind, _): &&(Lookup, Kind, _)| {
            Arc::ptr_eq(&lookup.list, &wanted.list)
                && (lookup.how, lookup.ignore_case, *kind) == (wanted.how, wanted.ignore_case, values)
        };
        self.lists.iter().find(is_it).map(|(_, _, index)| index.as_ref())
    }

    /// Those of further conditions.
    pub fn add<'c>(&mut self, conditions: impl Iterator<Item = &'c Condition>) {
        for test in conditions.flat_map(Condition::tests) {
            let (Test::Text { ignore_case, patterns, .. } | Test::Value { is: Is::Like { ignore_case, patterns }, .. }) =
                test
            else {
                continue;
            };
            for pattern in patterns {
                if let Pattern::Regex(text) = pattern
                    && let Ok(regex) = compile(text, *ignore_case)
                {
                    let regexes = if *ignore_case { &mut self.folded } else { &mut self.exact };
                    regexes.insert(text.clone(), regex);
                }
            }
        }
    }

    /// Why an expression cannot be compiled.
    pub fn check(text: &str) -> Result<(), String> {
        compile(text, false).map(drop).map_err(|error| error.to_string())
    }

    fn matches(&self, text: &str, ignore_case: bool, bytes: &[u8]) -> bool {
        let regexes = if ignore_case { &self.folded } else { &self.exact };
        regexes.get(text).is_some_and(|regex| regex.is_match(bytes))
    }
}

pub(super) fn compile(text: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
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
        Self { client, local, heard, ended, answer: None, hello: OnceCell::new() }
    }

    /// Once the server answers, with what it has said so far.
    #[must_use]
    pub fn answered(client: SocketAddr, local: SocketAddr, answer: &'a [u8]) -> Self {
        Self { answer: Some(answer), ..Self::new(client, local, &[], false) }
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

    /// What somebody has said so far; none: that does not count here.
    fn said(&self, by: Party) -> Option<&'a [u8]> {
        match by {
            Party::Client => Some(self.heard),
            Party::Server => self.answer,
        }
    }

    /// What the bytes are; none while that is open.
    fn hello(&self) -> Option<Option<&ClientHello>> {
        match self.hello.get_or_init(|| client_hello::hear(self.heard)) {
            Heard::Hello(hello) => Some(Some(hello)),
            Heard::Other => Some(None),
            Heard::Part => None,
        }
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

    fn address(&self, end: End) -> SocketAddr {
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
    /// Nothing more will come, or is waited for.
    pub(super) fn is_all(self) -> bool {
        self.is_all
    }

    /// No, once nothing can change it any more.
    pub(super) fn no_or_unknown(self) -> Answer {
        if self.is_all { Answer::No } else { Answer::Unknown }
    }
}

impl Answer {
    pub(super) fn of(holds: bool) -> Self {
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
pub(super) fn holds(condition: &Condition, known: Known<'_, '_>, matchers: &Matchers, world: &dyn World) -> Answer {
    let line = |terms: &Vec<Term>| all(terms.iter().map(|term| term_holds(term, known, matchers, world)));
    any(condition.any.iter().map(line)).negated(condition.negated)
}

fn term_holds(term: &Term, known: Known<'_, '_>, matchers: &Matchers, world: &dyn World) -> Answer {
    any(term.any.iter().map(|test| test_holds(test, known, matchers, world))).negated(term.negated)
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

fn test_holds(test: &Test, known: Known<'_, '_>, matchers: &Matchers, world: &dyn World) -> Answer {
    match test {
        Test::Always(holds) => Answer::of(*holds),
        Test::Ended if known.is_all => Answer::Yes,
        Test::Ended => Answer::Unknown,
        Test::Http => http_request::is_whole(known.facts.heard).map_or_else(|| known.no_or_unknown(), Answer::of),
        Test::Address(end, networks) => Answer::of(networks.contains(known.facts.address(*end).ip())),
        Test::Number(quantity, ranges) => number_holds(quantity, ranges, known, world),
        Test::Text { of, ignore_case, patterns } => text_holds(*of, *ignore_case, patterns, known, matchers),
        Test::Value { of, is } => expression::holds(of, is, known, Asked { matchers, world }),
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
    match number(quantity, known, world) {
        // More bytes may bring it into a range. That it is in one decides, though more may take it out again.
        Ok(value) if *quantity == Quantity::HeardBytes && !value.is_some_and(inside) => known.no_or_unknown(),
        Ok(value) => Answer::of(value.is_some_and(inside)),
        Err(Open) => known.no_or_unknown(),
    }
}

/// An address of a connection.
pub(super) fn address(end: End, known: Known<'_, '_>) -> IpAddr {
    known.facts.address(end).ip()
}

/// A number, as it is so far; none: there is nothing that it could be of.
pub(super) fn number(quantity: &Quantity, known: Known<'_, '_>, world: &dyn World) -> Result<Option<i64>, Open> {
    Ok(match quantity {
        Quantity::Port(end) => Some(i64::from(known.facts.address(*end).port())),
        Quantity::HeardBytes => Some(known.facts.heard.len() as i64),
        Quantity::HelloType | Quantity::HelloVersion => known.facts.hello().ok_or(Open)?.map(|hello| match quantity {
            Quantity::HelloVersion => i64::from(hello.version >> 8) << 16 | i64::from(hello.version & 0xff),
            _ => 1,
        }),
        Quantity::RdpCookies => match known.facts.rdp_request() {
            rdp::Heard::Part => return Err(Open),
            said => Some(i64::from(said != rdp::Heard::Other)),
        },
        Quantity::Random(None) => Some(world.random().into()),
        // Each as likely as any other.
        Quantity::Random(Some(below)) => Some((i64::from(world.random()) * i64::from(*below)) >> 32),
        Quantity::Figure(figure) => Some(world.figure(figure)),
        Quantity::Counter { of, table, counter } => {
            let counted = world.counter(*of, table.as_deref(), *counter);
            counted.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
        }
    })
}

fn text_holds(of: Text, ignore_case: bool, patterns: &[Pattern], known: Known<'_, '_>, matchers: &Matchers) -> Answer {
    // Of protocols, which are several, one does.
    if of == Text::Protocol
        && let Some(hello) = known.facts.hello().flatten()
    {
        return Answer::of(hello.protocols.iter().any(|name| matches(name, ignore_case, patterns, matchers)));
    }
    let holds = match text(of, known) {
        Ok(text) => text.is_some_and(|text| matches(text, ignore_case, patterns, matchers)),
        Err(Open) => return known.no_or_unknown(),
    };
    // Of all that comes: what does not match yet may do so with more.
    if of.grows() && !holds { known.no_or_unknown() } else { Answer::of(holds) }
}

/// A text; none: there is nothing that it could be of. Of several protocols, the first.
pub(super) fn text<'f>(of: Text, known: Known<'f, '_>) -> Result<Option<&'f [u8]>, Open> {
    let facts = known.facts;
    Ok(match of {
        Text::Method | Text::Path => {
            let line = http_request::line(facts.heard).ok_or(Open)?;
            Some(if of == Text::Method { line.method.as_bytes() } else { line.path().as_bytes() })
        }
        Text::ServerName => {
            facts.hello().ok_or(Open)?.and_then(|hello| hello.server_name.as_deref()).map(str::as_bytes)
        }
        Text::Protocol => {
            facts.hello().ok_or(Open)?.and_then(|hello| hello.protocols.first()).map(|name| name.as_ref())
        }
        Text::Heard { by, offset, length } => {
            facts.said(by).map(|said| part(said, offset, length).ok_or(Open)).transpose()?
        }
        Text::Counted { by, offset, size } => {
            facts.said(by).map(|said| counted(said, offset, size).ok_or(Open)).transpose()?
        }
        Text::RdpUser => match facts.rdp_request() {
            rdp::Heard::Part => return Err(Open),
            said => said.user(),
        },
    })
}

/// Bytes from a place on; no length: all, if there are any.
fn part(said: &[u8], offset: usize, length: Option<usize>) -> Option<&[u8]> {
    match length {
        Some(length) => said.get(offset..offset.saturating_add(length)),
        None => said.get(offset..).filter(|bytes| !bytes.is_empty()),
    }
}

/// What follows its own length, which has so many bytes.
fn counted(said: &[u8], offset: usize, size: usize) -> Option<&[u8]> {
    let digits = said.get(offset..offset.saturating_add(size))?;
    let length = digits.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    let start = offset.saturating_add(size);
    said.get(start..start.saturating_add(length))
}

pub(super) fn matches(text: &[u8], ignore_case: bool, patterns: &[Pattern], matchers: &Matchers) -> bool {
    let folded = fold(text, ignore_case);
    patterns.iter().any(|pattern| match pattern {
        // Whether case counts in it was said when it was compiled.
        Pattern::Regex(wanted) => matchers.matches(wanted, ignore_case, text),
        _ => fits(pattern, ignore_case, &folded),
    })
}

/// Whether a text, in small letters if case does not count, fits a pattern that is no regular expression.
pub(super) fn fits(pattern: &Pattern, ignore_case: bool, text: &[u8]) -> bool {
    match pattern {
        Pattern::Found => true,
        Pattern::Exact(wanted) if ignore_case => text.eq_ignore_ascii_case(wanted),
        Pattern::Exact(wanted) => text == wanted,
        Pattern::Begin(wanted) => text.starts_with(&fold(wanted, ignore_case)),
        Pattern::End(wanted) => text.ends_with(&fold(wanted, ignore_case)),
        Pattern::Contains(wanted) => places(text, &fold(wanted, ignore_case)).next().is_some(),
        Pattern::Domain(wanted) => is_part(text, &fold(wanted, ignore_case)),
        Pattern::Regex(_) => false,
        Pattern::Length(range) => range.contains(&(text.len() as i64)),
    }
}

/// Whether a text is as one of the patterns wants it; for texts that are known when a file is read. No regular expressions.
#[must_use]
pub fn text_is(text: &[u8], ignore_case: bool, patterns: &[Pattern]) -> bool {
    matches(text, ignore_case, patterns, &Matchers::default())
}

pub(super) fn fold(text: &[u8], ignore_case: bool) -> Cow<'_, [u8]> {
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
