//! haproxy.cfg. As with HAProxy itself, an unknown word is an error; a word that is known and not done is told, or
//! refused where going on without it would be unsafe.

mod addresses;
mod balance;
mod bind;
mod check;
mod check_rules;
mod condition;
mod endpoint;
pub mod grammar;
mod keepalive;
mod logging;
mod mail;
mod map;
mod page;
mod peers;
mod proxy;
mod resolvers;
mod rules;
mod server;
mod server_rules;
mod service;
mod socket;
mod source;
mod state;
mod stick;
mod value;
mod variable;
mod words;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::keywords::{self, Keyword, Status};
use super::{Findings, Surroundings, Word};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located};
use crate::config::source::{Location, SourceId, Sources};
use crate::model::value::Variable;
use grammar::{Prefix, Section, Statement};
use proxy::{Kind, Proxy};
use socket::SocketsSaid;
use words::Place;

/// Reads source `id`.
pub fn import(sources: &Sources, id: SourceId, around: &dyn Surroundings) -> (raw::Config, Vec<Diagnostic>) {
    let mut findings = Findings::default();
    let is_section = |word: &str| keywords::haproxy().get("section", word).is_some();
    let sections = grammar::parse(sources, id, &is_section, around, &mut findings);
    let mut translator = Translator::new(Location::new(id, 0..0), around, &mut findings);
    for section in &sections {
        translator.section(section);
    }
    let config = translator.finish();
    (config, findings.into_vec())
}

/// The words of a text that is written as a line of a haproxy.cfg is. All of them stand at `at`.
pub(in crate::config) fn cut(text: &str, at: Location) -> Result<Vec<Word>, String> {
    let place = Place { file: "", line: 0, section: "" };
    let words = words::split(text, &place, &super::System).map_err(|bad| bad.message)?;
    Ok(words.into_iter().map(|word| Word { text: word.text, at }).collect())
}

/// Everything one pass over the sections needs.
struct Translator<'a> {
    findings: &'a mut Findings,
    around: &'a dyn Surroundings,
    config: raw::Config,
    /// What proxies without `from` begin with.
    defaults: Proxy,
    /// Names that several `defaults` sections have, and where the first of them stands.
    ambiguous_defaults: HashMap<String, Location>,
    /// The named `defaults` sections.
    named_defaults: HashMap<String, Proxy>,
    proxies: Vec<Proxy>,
    /// This node's name among its peers, where the file says it.
    local_peer: Option<String>,
    /// Stick tables by name.
    tables: HashMap<String, stick::StickTable>,
    /// Sections `mailers` by name.
    mailers: HashMap<String, mail::Mailers>,
    /// Where states of servers are.
    states: state::StateFiles,
    /// What holds for all control sockets.
    sockets: SocketsSaid,
    /// Whether servers are verified where nothing is said (`ssl-server-verify`).
    verify_servers: bool,
    /// What variables of the process hold from the beginning on.
    constants: HashMap<Variable, Arc<str>>,
    /// Findings that inherited settings would repeat.
    told: HashSet<(Location, String)>,
}

impl<'a> Translator<'a> {
    fn new(start: Location, around: &'a dyn Surroundings, findings: &'a mut Findings) -> Self {
        Self {
            findings,
            around,
            config: raw::Config::default(),
            defaults: Proxy::new(start),
            ambiguous_defaults: HashMap::new(),
            named_defaults: HashMap::new(),
            proxies: Vec::new(),
            local_peer: None,
            tables: HashMap::new(),
            mailers: HashMap::new(),
            states: state::StateFiles::default(),
            sockets: SocketsSaid::default(),
            verify_servers: true,
            constants: HashMap::new(),
            told: HashSet::new(),
        }
    }

    fn section(&mut self, section: &Section) {
        let Some(keyword) = self.status_of("section", &section.kind) else { return };
        match keyword {
            "global" => self.global(section),
            "defaults" => self.defaults(section),
            "frontend" => self.proxy(section, Kind::Frontend),
            "backend" => self.proxy(section, Kind::Backend),
            "listen" => self.proxy(section, Kind::Listen),
            "resolvers" => self.resolvers(section),
            "peers" => self.peers(section),
            "mailers" => self.mailers(section),
            _ => {}
        }
    }

    /// A section word's keyword when it is translated. The words of a section that has no effect are checked too.
    fn status_of(&mut self, context: &str, word: &Word) -> Option<&'static str> {
        let keyword = keywords::haproxy().get(context, word.as_str())?;
        self.tell(keyword, word.at).then_some(keyword.name)
    }

    /// Whether `keyword` is to be translated; what there is to say otherwise is said.
    fn tell(&mut self, keyword: Keyword, at: Location) -> bool {
        match keyword.status {
            Status::Implemented => return true,
            Status::Warned => self
                .findings
                .push(Diagnostic::warning(at, format!("`{}` has no effect yet", keyword.name)).help(keyword.reason)),
            Status::Refused => self.findings.push(refusal(keyword, at)),
        }
        false
    }

    /// The keyword a statement begins with, and its arguments. An unknown one is an error.
    fn keyword<'s>(&mut self, context: &str, statement: &'s Statement) -> Option<(Keyword, &'s [Word])> {
        let words = statement.words.iter().take(4).map(Word::as_str).collect::<Vec<_>>();
        // `tcp-check set-var(check.x)`: the variable is no part of the keyword.
        let names = words.iter().map(|word| word.split('(').next().unwrap_or_default()).collect::<Vec<_>>();
        if let Some((keyword, count)) = keywords::haproxy().find(context, &names) {
            return Some((keyword, &statement.words[count..]));
        }
        self.unknown(context, &words, statement.keyword().at);
        None
    }

    fn unknown(&mut self, context: &str, words: &[&str], at: Location) {
        let word = words.first().copied().unwrap_or_default();
        let table = keywords::haproxy();
        let two = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let suggestion = match self.findings.suggest(table, context, word) {
            None if two != word => self.findings.suggest(table, context, &two),
            suggestion => suggestion,
        };
        let place = match context {
            "bind" => "of a bind line",
            "server" => "of a server line",
            "stick-table" => "of a stick table",
            "balance" => "of `balance`",
            _ => "here",
        };
        let shown = if words.len() > 1 && suggestion.is_some_and(|name| name.contains(' ')) { &two } else { word };
        let error = Diagnostic::error(at, format!("`{shown}` is not a keyword {place}"));
        self.findings.push(match suggestion {
            Some(name) => error.help(format!("did you mean `{name}`?")),
            None => error,
        });
    }

    /// Pushes a finding about inherited settings once.
    fn push_once(&mut self, diagnostic: Diagnostic) {
        if self.told.insert((diagnostic.at, diagnostic.message.clone())) {
            self.findings.push(diagnostic);
        }
    }

    fn global(&mut self, section: &Section) {
        for statement in &section.statements {
            let Some((keyword, arguments)) = self.keyword("global", statement) else { continue };
            if statement.prefix != Prefix::None || !self.tell(keyword, statement.at()) {
                continue;
            }
            let at = section.kind.at;
            match keyword.name {
                "maxconn" => {
                    // 0 is as many as there can be, as in HAProxy.
                    let value = self.number(statement, arguments, 0..=u64::from(u32::MAX));
                    self.global_table(at).max_connections = value.filter(|limit| limit.value > 0);
                }
                "nbthread" => {
                    let value = self.number(statement, arguments, 1..=1024);
                    self.global_table(at).workers = value;
                }
                "spread-checks" => {
                    let value = self.number(statement, arguments, 0..=50);
                    self.global_table(at).spread_checks = value;
                }
                "ssl-server-verify" => {
                    self.verify_servers = self.one(statement, arguments).is_none_or(|word| word.text != "none");
                }
                "node" => {
                    let value = self.one(statement, arguments).map(|word| Located::new(word.text.clone(), word.at));
                    self.global_table(at).node = value;
                }
                "localpeer" => {
                    self.local_peer = self.one(statement, arguments).map(|word| word.text.clone());
                }
                "log" => self.global_log(statement, arguments, at),
                "set-var" => self.constant(statement, arguments),
                "log-tag" => {
                    let value = self.one(statement, arguments).map(|word| Located::new(word.text.clone(), word.at));
                    self.log_table(at).tag = value;
                }
                "log-send-hostname" => {
                    let name = arguments.first().map_or(String::new(), |word| word.text.clone());
                    self.log_table(at).host_name = Some(Located::new(name, statement.at()));
                }
                name @ ("server-state-base" | "server-state-file") => self.state_files(name, statement, arguments),
                "stats socket" => self.stats_socket(statement, arguments),
                "stats timeout" => {
                    let word = self.one(statement, arguments);
                    self.sockets.timeout = word.and_then(|word| self.checked(word, value::time(word.as_str())));
                }
                "stats maxconn" => self.sockets.max_connections = self.number(statement, arguments, 1..=10_000),
                // The grammar has seen to them: they set variables.
                _ => {}
            }
        }
    }

    fn global_table(&mut self, at: Location) -> &mut raw::Global {
        self.config.global.get_or_insert(raw::Global::empty(at))
    }

    /// The only argument of a statement.
    fn one<'s>(&mut self, statement: &Statement, arguments: &'s [Word]) -> Option<&'s Word> {
        match arguments {
            [] => {
                self.findings.error(statement.at(), format!("`{}` wants a value after it", statement.keyword().text));
                None
            }
            [word] => Some(word),
            [word, more, ..] => {
                self.findings.error(more.at, format!("`{}` cannot stand here: one value is wanted", more.text));
                Some(word)
            }
        }
    }

    fn number(
        &mut self,
        statement: &Statement,
        arguments: &[Word],
        range: std::ops::RangeInclusive<u64>,
    ) -> raw::Maybe<u64> {
        let word = self.one(statement, arguments)?;
        self.checked(word, value::number(word.as_str(), range))
    }

    fn checked<T>(&mut self, word: &Word, value: Result<T, String>) -> raw::Maybe<T> {
        match value {
            Ok(value) => Some(Located::new(value, word.at)),
            Err(reason) => {
                self.findings.error(word.at, reason);
                None
            }
        }
    }

    fn finish(mut self) -> raw::Config {
        let mut proxies = std::mem::take(&mut self.proxies);
        Self::part_families(&mut proxies);
        self.finish_stats_sockets();
        self.gather_tables(&proxies);
        self.gather_log_targets(&proxies);
        self.assemble(&proxies);
        self.mail(&proxies);
        self.unknown_resolvers(&proxies);
        // HAProxy does not spread checks unless it is told to; natively they are, a little.
        if let Some(first) = proxies.first() {
            let at = first.at;
            let spread = &mut self.global_table(at).spread_checks;
            spread.get_or_insert(Located::new(0, at));
        }
        self.config
    }
}

/// The first character that no name of a section or a server has.
fn bad_character(name: &str) -> Option<char> {
    name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')))
}

fn refusal(keyword: Keyword, at: Location) -> Diagnostic {
    Diagnostic::error(at, format!("`{}` is not there yet and cannot be ignored safely", keyword.name))
        .help(keyword.reason)
}

#[cfg(test)]
mod tests;
