//! `balance`, `hash-type` and what else a backend says about the choice of a server.

use std::time::Duration;

use super::grammar::{Prefix, Statement};
use super::proxy::Proxy;
use super::state::StateSaid;
use super::{Translator, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::keywords;
use crate::config::raw::{Located, Maybe, PoolChoice, Timeout};
use crate::config::source::Location;
use crate::model::{Algorithm, HashType, RefuseWith};

/// The retry that goes to another server when nothing is said: the last.
const LAST_RETRY: &str = "-1";

/// The cookie by which a session broker of RDP sends a client to a server.
const ROUTING_TOKEN: &str = "msts";

/// What a backend says about the choice of a server, beside `balance` itself.
#[derive(Debug, Clone, Default)]
pub(super) struct ChoiceSaid {
    hash_type: Maybe<HashType>,
    hash_balance_factor: Maybe<u64>,
    pub(super) persist: Maybe<bool>,
    rdp_cookie: Maybe<String>,
    pub(super) abort_on_close: Maybe<bool>,
    redispatch_every: Maybe<u64>,
    pub(super) queue_timeout: Maybe<Duration>,
    pub(super) full_load: Maybe<u64>,
    pub(super) state: StateSaid,
}

impl ChoiceSaid {
    /// As the raw keys; where HAProxy's default differs from the native one, it is set.
    pub(super) fn raw(&self, balance: Maybe<Algorithm>, at: Location) -> PoolChoice {
        let hashes = balance.is_some_and(|balance| balance.value.hashes());
        let hash_type = self.hash_type.unwrap_or(Located::new(HashType::MapBased, at));
        PoolChoice {
            hash_type: hashes.then_some(hash_type),
            hash_balance_factor: self.hash_balance_factor,
            redispatch_every: self.redispatch_every,
            queue_timeout: self.queue_timeout.map(|time| time.map(Timeout::After)),
            full_load: self.full_load.filter(|full| full.value > 0),
            persist: self.persist,
            rdp_cookie: self.rdp_cookie.clone(),
            abort_on_close: self.abort_on_close,
            refuse_with: Some(Located::new(RefuseWith::Close, at)),
            ..PoolChoice::default()
        }
    }
}

impl Translator<'_> {
    /// `balance <algorithm> [<arguments>]`
    pub(super) fn balance(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some((word, rest)) = arguments.split_first() else {
            self.findings.error(statement.at(), "`balance` wants an algorithm: roundrobin, leastconn or source");
            return;
        };
        let name = word.text.split('(').next().unwrap_or_default();
        let Some(keyword) = keywords::haproxy().get("balance", name) else {
            self.unknown("balance", &[name], word.at);
            return;
        };
        self.tell(keyword, word.at);
        let (algorithm, rest) = match keyword.name {
            "roundrobin" | "sticky" => (Some(Algorithm::RoundRobin), rest),
            // What they hash is HTTP's; they have arguments of their own.
            "uri" | "url_param" | "hdr" => (Some(Algorithm::RoundRobin), [].as_slice()),
            "static-rr" => (Some(Algorithm::StaticRoundRobin), rest),
            "leastconn" => (Some(Algorithm::LeastConnections), rest),
            "first" => (Some(Algorithm::First), rest),
            "source" => (Some(Algorithm::Source), rest),
            "random" => (self.random(word), rest),
            "rdp-cookie" => (self.rdp_cookie(word), rest),
            "hash" => match rest.split_first() {
                Some((expression, rest)) => (self.hash(expression), rest),
                None => {
                    self.findings.error(word.at, "`balance hash` wants what is hashed: `req.ssl_sni` or `src`");
                    (None, rest)
                }
            },
            // Refused, which has been told.
            _ => return,
        };
        self.without_effect(rest.first(), &format!("balance {}", keyword.name));
        proxy.balance = algorithm.map(|algorithm| Located::new(algorithm, word.at)).or(proxy.balance);
    }

    /// A word after a statement that HAProxy passes over in silence.
    fn without_effect(&mut self, word: Option<&Word>, after: &str) {
        if let Some(word) = word {
            let message = format!("`{}` has no effect after `{after}`", word.text);
            self.findings.push(Diagnostic::warning(word.at, message).help("leave it out"));
        }
    }

    /// `random` draws two servers, `random(n)` so many.
    fn random(&mut self, word: &Word) -> Option<Algorithm> {
        let Some((_, argument)) = word.text.split_once('(') else { return Some(Algorithm::Random(2)) };
        let draws = argument.strip_suffix(')').ok_or_else(|| format!("`{}` lacks its `)`", word.text));
        let draws = draws.and_then(|draws| match draws {
            "" => Ok(2),
            draws => value::number(draws, 1..=u64::from(u32::MAX)),
        });
        self.checked(word, draws).and_then(|draws| u32::try_from(draws.value).ok()).map(Algorithm::Random)
    }

    /// `rdp-cookie` and `rdp-cookie(mstshash)`: the user.
    fn rdp_cookie(&mut self, word: &Word) -> Option<Algorithm> {
        match word.as_str() {
            "rdp-cookie" | "rdp-cookie()" | "rdp-cookie(mstshash)" => Some(Algorithm::RdpUser),
            other => {
                let message = format!("`{other}` is not there: of the cookies of RDP, `mstshash` is read");
                self.findings.error(word.at, message);
                None
            }
        }
    }

    /// `persist rdp-cookie` and `persist rdp-cookie(msts)`: the routing token.
    pub(super) fn persist_rdp_cookie(&mut self, statement: &Statement, proxy: &mut Proxy) {
        let Some(word) = statement.words.get(1) else { return };
        let name = match word.text.split_once('(').map(|(_, name)| name.strip_suffix(')')) {
            None => ROUTING_TOKEN,
            Some(Some("")) => {
                let message = "the name of the cookie is missing: `persist rdp-cookie`, or `persist rdp-cookie(msts)`";
                self.findings.error(word.at, message);
                return;
            }
            Some(Some(name)) => name,
            Some(None) => {
                self.findings.error(word.at, format!("`{}` lacks its `)`", word.text));
                return;
            }
        };
        self.without_effect(statement.words.get(2), "persist rdp-cookie");
        proxy.choice.rdp_cookie = Some(Located::new(name.to_owned(), word.at));
    }

    fn hash(&mut self, expression: &Word) -> Option<Algorithm> {
        match expression.text.as_str() {
            "req.ssl_sni" | "req_ssl_sni" | "ssl_fc_sni" => Some(Algorithm::Sni),
            "src" => Some(Algorithm::Source),
            other => {
                let message = format!("`balance hash {other}` is not there: `req.ssl_sni` and `src` are");
                self.findings.error(expression.at, message);
                None
            }
        }
    }

    /// `hash-type <method> <function> <modifier>`: shares are as even by any function, so theirs are not needed.
    pub(super) fn hash_type(&mut self, statement: &Statement, arguments: &[Word], choice: &mut ChoiceSaid) {
        let known: [&[&str]; 3] =
            [&["map-based", "consistent"], &["sdbm", "djb2", "wt6", "crc32", "none"], &["avalanche"]];
        if arguments.is_empty() {
            self.findings.error(statement.at(), "`hash-type` wants `consistent` or `map-based`");
        }
        for (word, known) in arguments.iter().zip(known.iter().chain(std::iter::repeat(&known[2]))) {
            if !known.contains(&word.as_str()) {
                self.findings.error(word.at, format!("`{}` cannot stand here: {}", word.text, known.join(", ")));
            }
        }
        let kind = match arguments.first().map(Word::as_str) {
            Some("consistent") => HashType::Consistent,
            Some(_) | None => HashType::MapBased,
        };
        choice.hash_type = Some(Located::new(kind, statement.at()));
    }

    /// `hash-balance-factor <factor>`: 0 is no bound, and up to 100 makes no sense.
    pub(super) fn hash_balance_factor(&mut self, statement: &Statement, arguments: &[Word], choice: &mut ChoiceSaid) {
        let factor = self.number(statement, arguments, 0..=65_535);
        if let Some(factor) = factor.filter(|factor| (1..=100).contains(&factor.value)) {
            self.findings.error(factor.at, "`hash-balance-factor` is 0 or above 100: percent of the average");
        }
        choice.hash_balance_factor = factor.filter(|factor| factor.value > 100);
    }

    /// `option redispatch [<interval>]`
    pub(super) fn redispatch(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let at = statement.at();
        proxy.redispatch = match statement.prefix {
            Prefix::None => Some(Located::new(true, at)),
            Prefix::No => Some(Located::new(false, at)),
            Prefix::Default => None,
        };
        proxy.choice.redispatch_every = None;
        match arguments {
            [] => {}
            [word] if word.text == LAST_RETRY => {}
            [word] if word.text == "0" => proxy.redispatch = Some(Located::new(false, at)),
            [word] if word.text.starts_with('-') => {
                self.findings.error(
                    word.at,
                    format!("`{}` retries before the last is not there: -1 is, and every so many retries", word.text),
                );
            }
            [word] if word.text.starts_with(|c: char| !c.is_ascii_digit()) => {
                let message = format!("`{}` has no effect after `option redispatch`: a number has", word.text);
                self.findings.push(Diagnostic::warning(word.at, message).help("leave it out"));
            }
            [word] => proxy.choice.redispatch_every = self.checked(word, value::number(word.as_str(), 1..=1000)),
            [_, more, ..] => self.findings.error(more.at, format!("`{}` cannot stand here", more.text)),
        }
    }
}
