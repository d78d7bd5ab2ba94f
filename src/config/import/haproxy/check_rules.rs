//! The rules of `tcp-check` and `http-check`, word by word.

use super::grammar::Statement;
use super::{Translator, endpoint, value};
use crate::config::check_syntax::{self, Comparison, ERRORS, SUCCESSES, TIMEOUTS};
use crate::config::import::Word;
use crate::config::raw::{ConnectOptions, Located, ProxyHeader, Step, StepAction, TlsChoice, TlsOptions};
use crate::config::source::Location;
use crate::config::words::Words;
use crate::model::{CheckResult, Expect, HeaderPattern, HttpExpect, HttpPattern, HttpRequest, Pattern, ProxyVersion};

impl Translator<'_> {
    pub(super) fn tcp_step(&mut self, action: &str, statement: &Statement, arguments: &[Word]) -> Option<Step> {
        let at = statement.at();
        let mut words = Rest::new(arguments);
        let action = match action {
            "comment" => return self.comment(statement, arguments),
            "connect" => StepAction::Connect(Box::new(self.check_connect(&mut words, at)?)),
            "send" => StepAction::Send(self.needed(&mut words, at, "a text")?.text.clone().into_bytes()),
            "send-binary" => {
                let word = self.needed(&mut words, at, "hexadecimal digits")?;
                StepAction::Send(self.hexadecimal(word)?)
            }
            "expect" => {
                let mut step = Step::new(at, StepAction::Comment);
                let head = self.expect_head(&mut words, at, &mut step)?;
                let pattern = self.needed(&mut words, at, "a pattern")?;
                let text = pattern.text.clone();
                let pattern = match head.kind.as_str() {
                    "string" => Pattern::Text(text.into_bytes()),
                    "rstring" => Pattern::Regex(text),
                    "binary" => Pattern::Binary(self.hexadecimal(pattern)?),
                    "rbinary" => Pattern::HexRegex(text),
                    _ => return self.not_a_match(&head.kind),
                };
                step.action = StepAction::Expect(Expect {
                    pattern,
                    negated: head.negated,
                    min_received: head.min_received,
                    on_success: head.success.unwrap_or(CheckResult::L7Ok),
                    on_error: head.error.unwrap_or(CheckResult::L7Response),
                    on_timeout: head.timeout.unwrap_or(CheckResult::L7Timeout),
                });
                self.trailing_comment(&mut words, &mut step);
                return Some(step);
            }
            _ => return None,
        };
        let mut step = Step::new(at, action);
        if let StepAction::Connect(_) = step.action {
            step.comment = words.comment.take();
        }
        self.trailing_comment(&mut words, &mut step);
        Some(step)
    }

    pub(super) fn http_step(&mut self, action: &str, statement: &Statement, arguments: &[Word]) -> Option<Step> {
        let at = statement.at();
        let mut words = Rest::new(arguments);
        match action {
            "comment" => self.comment(statement, arguments),
            "connect" => {
                let connect = self.check_connect(&mut words, at)?;
                let comment = words.comment.take();
                Some(Step { at, action: StepAction::Connect(Box::new(connect)), comment })
            }
            "send" => self.http_send(&mut words, at),
            "expect" => {
                let mut step = Step::new(at, StepAction::Comment);
                let head = self.expect_head(&mut words, at, &mut step)?;
                let pattern = match head.kind.as_str() {
                    "hdr" | "fhdr" => self.header_pattern(&mut words, at, head.kind.text == "fhdr")?,
                    kind => {
                        let word = self.needed(&mut words, at, "a pattern")?;
                        let text = word.text.clone();
                        match kind {
                            "status" => {
                                let ranges = check_syntax::statuses(&text).map_err(|invalid| invalid.0);
                                HttpPattern::Status(self.checked(word, ranges)?.value)
                            }
                            "rstatus" => HttpPattern::StatusRegex(text),
                            "string" => HttpPattern::Text(text.into_bytes()),
                            "rstring" => HttpPattern::Regex(text),
                            _ => return self.not_a_match(&head.kind),
                        }
                    }
                };
                step.action = StepAction::Response(HttpExpect {
                    pattern,
                    negated: head.negated,
                    on_success: head.success.unwrap_or(CheckResult::L7Ok),
                    on_error: head.error,
                    on_timeout: head.timeout.unwrap_or(CheckResult::L7Timeout),
                });
                self.trailing_comment(&mut words, &mut step);
                Some(step)
            }
            _ => None,
        }
    }

    /// `meth GET uri /x ver HTTP/1.1 hdr Host www body text`. What it does not say it has from `option httpchk`.
    fn http_send(&mut self, words: &mut Rest<'_>, at: Location) -> Option<Step> {
        let mut request = HttpRequest { method: String::new(), target: String::new(), ..HttpRequest::options() };
        let mut step = Step::new(at, StepAction::Comment);
        while let Some(word) = words.next() {
            match word.as_str() {
                "meth" => request.method.clone_from(&self.needed(words, at, "a method")?.text),
                "uri" => request.target.clone_from(&self.needed(words, at, "a path")?.text),
                "ver" => request.http11 = is_http11(&self.needed(words, at, "a version")?.text),
                "hdr" => {
                    let name = self.needed(words, at, "a header's name")?;
                    let value = self.needed(words, at, "a header's value")?;
                    if value.text.contains("%[") || value.text.contains("%{") {
                        self.findings.error(value.at, "expressions in headers are not there: write a plain text");
                    }
                    request.headers.push((name.text.clone(), value.text.replace("%%", "%")));
                }
                "body" => request.body = self.needed(words, at, "a body")?.text.clone().into_bytes(),
                "comment" => step.comment = Some(self.needed(words, at, "a comment")?.text.clone()),
                "uri-lf" | "body-lf" => {
                    self.findings
                        .error(word.at, format!("`{}`: expressions are not there: write a plain text", word.text));
                    return None;
                }
                other => {
                    self.findings.error(word.at, format!("`{other}` cannot stand after `http-check send`"));
                    return None;
                }
            }
        }
        step.action = StepAction::Request(Box::new(request));
        Some(step)
    }

    fn check_connect(&mut self, words: &mut Rest<'_>, line: Location) -> Option<ConnectOptions> {
        let mut connect = ConnectOptions::default();
        let mut tls = TlsOptions::default();
        // Unless `default` says so, nothing of the server line holds but its address and port.
        let (mut inherits, mut ssl, mut header) = (false, None, None);
        while let Some(word) = words.next() {
            let at = word.at;
            match word.as_str() {
                "default" => inherits = true,
                "port" => {
                    let word = self.needed(words, at, "a port")?;
                    connect.port = self.checked(word, value::number(word.as_str(), 1..=65_535));
                }
                "addr" => {
                    let word = self.needed(words, at, "an address")?;
                    let host = endpoint::family(word.as_str()).and_then(|(family, host)| endpoint::host(host, family));
                    connect.address = self.checked(word, host);
                }
                "send-proxy" => header = Some(Located::new(ProxyHeader::On(ProxyVersion::V1), at)),
                "ssl" => ssl = Some(at),
                "sni" => {
                    let word = self.needed(words, at, "a name")?;
                    tls.name = Some(Located::new(word.text.clone(), word.at));
                }
                "alpn" => tls.alpn = protocols(self.needed(words, at, "protocols")?),
                "linger" => connect.linger = Some(Located::new(true, at)),
                "comment" => words.comment = Some(self.needed(words, at, "a comment")?.text.clone()),
                "proto" => {
                    self.needed(words, at, "a protocol")?;
                    self.findings
                        .warning(at, "`proto` has no effect here: checks speak HTTP/1 or what they are told to");
                }
                "via-socks4" => {
                    self.findings.error(at, "`via-socks4` is not there: the check would not go the way it has to");
                    return None;
                }
                other => {
                    self.findings.error(at, format!("`{other}` cannot stand after `connect`"));
                    return None;
                }
            }
        }
        connect.proxy_header = header.or((!inherits).then_some(Located::new(ProxyHeader::Off, line)));
        connect.tls = match ssl {
            Some(at) => Some(Located::new(TlsChoice::On(Box::new(tls)), at)),
            None if inherits => None,
            None => Some(Located::new(TlsChoice::Off, line)),
        };
        Some(connect)
    }

    /// What comes before the pattern of an expectation: `min-recv 5 comment x ! rstring`.
    fn expect_head(&mut self, words: &mut Rest<'_>, at: Location, step: &mut Step) -> Option<Head> {
        let mut head = Head {
            kind: Word { text: String::new(), at },
            negated: false,
            min_received: None,
            success: None,
            error: None,
            timeout: None,
        };
        loop {
            let word = self.needed(words, at, "`string`, `rstring` or another kind of pattern")?;
            match word.as_str() {
                "min-recv" => {
                    let word = self.needed(words, at, "a number")?;
                    if word.text != "-1" {
                        let least = self.checked(word, value::number(word.as_str(), 0..=16_384))?;
                        head.min_received = usize::try_from(least.value).ok();
                    }
                }
                "comment" => step.comment = Some(self.needed(words, at, "a comment")?.text.clone()),
                "ok-status" => head.success = self.status(words, at, SUCCESSES),
                "error-status" => head.error = self.status(words, at, ERRORS),
                "tout-status" => head.timeout = self.status(words, at, TIMEOUTS),
                "on-success" | "on-error" | "status-code" => {
                    self.needed(words, at, "an expression")?;
                    self.findings
                        .warning(word.at, format!("`{}` has no effect: messages are not rewritten", word.text));
                }
                "!" => head.negated = !head.negated,
                other => {
                    let kind = other.trim_start_matches('!');
                    head.negated ^= kind.len() < other.len();
                    head.kind = Word { text: kind.to_owned(), at: word.at };
                    return Some(head);
                }
            }
        }
    }

    fn status(&mut self, words: &mut Rest<'_>, at: Location, known: &Words<CheckResult>) -> Option<CheckResult> {
        let word = self.needed(words, at, "a status")?;
        let found = known.iter().find(|(name, _)| *name == word.text).map(|(_, result)| *result);
        if found.is_none() {
            let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            self.findings.error(word.at, format!("`{}` cannot stand here: {names}", word.text));
        }
        found
    }

    /// `name -m beg x-app value -m sub text`
    fn header_pattern(&mut self, words: &mut Rest<'_>, at: Location, whole: bool) -> Option<HttpPattern> {
        let mut name = None;
        let mut value = None;
        while let Some(word) =
            words.peek().filter(|word| matches!(word.as_str(), "name" | "value" | "name-lf" | "value-lf"))
        {
            words.next();
            if word.text.ends_with("-lf") {
                self.findings.error(word.at, format!("`{}`: expressions are not there: write a plain text", word.text));
                return None;
            }
            let mut how = Comparison::Exact;
            if words.peek().is_some_and(|word| word.text == "-m") {
                words.next();
                let method = self.needed(words, at, "a method")?;
                how = match method.as_str() {
                    "str" => Comparison::Exact,
                    "beg" => Comparison::Begins,
                    "end" => Comparison::Ends,
                    "sub" => Comparison::Contains,
                    "reg" => Comparison::Regex,
                    other => {
                        self.findings
                            .error(method.at, format!("`{other}` is not a method: str, beg, end, sub and reg are"));
                        return None;
                    }
                };
            }
            let text = self.needed(words, at, "a text")?.text.clone();
            let pattern = if word.text == "name" { &mut name } else { &mut value };
            *pattern = Some(how.with(text));
        }
        if name.is_none() {
            self.findings.error(at, "the header has no name: write `hdr name content-type`");
        }
        Some(HttpPattern::Header(HeaderPattern { name: name?, value, whole }))
    }

    fn not_a_match<T>(&mut self, word: &Word) -> Option<T> {
        let message = match word.text.ends_with("-lf") {
            true => format!("`{}`: expressions are not there: write a plain text", word.text),
            false => format!("`{}` is not a kind of pattern", word.text),
        };
        self.findings.error(word.at, message);
        None
    }

    fn comment(&mut self, statement: &Statement, arguments: &[Word]) -> Option<Step> {
        let comment = Some(self.one(statement, arguments)?.text.clone());
        Some(Step { at: statement.at(), action: StepAction::Comment, comment })
    }

    fn trailing_comment(&mut self, words: &mut Rest<'_>, step: &mut Step) {
        while let Some(word) = words.next() {
            match (word.as_str(), words.next()) {
                ("comment", Some(comment)) => step.comment = Some(comment.text.clone()),
                _ => return self.findings.error(word.at, format!("`{}` cannot stand here", word.text)),
            }
        }
    }

    fn hexadecimal(&mut self, word: &Word) -> Option<Vec<u8>> {
        let bytes = check_syntax::hexadecimal(word.as_str()).map_err(|invalid| invalid.0);
        self.checked(word, bytes).map(|bytes| bytes.value)
    }

    fn needed<'w>(&mut self, words: &mut Rest<'w>, at: Location, what: &str) -> Option<&'w Word> {
        let word = words.next();
        if word.is_none() {
            self.findings.error(at, format!("{what} is missing at the end of this line"));
        }
        word
    }
}

/// The kind of an expectation, and what stands before it.
struct Head {
    kind: Word,
    negated: bool,
    min_received: Option<usize>,
    success: Option<CheckResult>,
    error: Option<CheckResult>,
    timeout: Option<CheckResult>,
}

/// The words of a rule, one after the other.
struct Rest<'w> {
    rest: &'w [Word],
    /// A comment that stood among them.
    comment: Option<String>,
}

impl<'w> Rest<'w> {
    fn new(rest: &'w [Word]) -> Self {
        Self { rest, comment: None }
    }

    fn peek(&self) -> Option<&'w Word> {
        self.rest.first()
    }

    fn next(&mut self) -> Option<&'w Word> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }
}

/// Whether a request of this version is sent as HTTP/1.1: as in HAProxy, what is above it, too.
pub(super) fn is_http11(version: &str) -> bool {
    version.strip_prefix("HTTP/").is_some_and(|number| number > "1.0")
}

/// `http/1.1,h2`
pub(super) fn protocols(word: &Word) -> Vec<String> {
    word.text.split(',').map(|protocol| protocol.trim().to_owned()).filter(|protocol| !protocol.is_empty()).collect()
}
