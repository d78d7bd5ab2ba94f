//! `log` and what belongs to it: where lines go and what they look like.

use std::rc::Rc;

use super::proxy::Proxy;
use super::{Translator, value};
use crate::config::acl;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::{Prefix, Statement};
use crate::config::raw::{Located, Log, LogTarget, Maybe};
use crate::config::source::Location;
use crate::config::words;
use crate::model::ConnectionLine;

/// What a proxy says of its log, or inherits.
#[derive(Debug, Clone, Default)]
pub(super) struct LogSaid {
    /// `log global`.
    global: bool,
    targets: Rc<Vec<LogTarget>>,
    pub(super) line: Maybe<ConnectionLine>,
    pub(super) empty: Maybe<bool>,
    pub(super) normal: Maybe<bool>,
    /// Errors are logged as such.
    pub(super) errors_apart: Maybe<bool>,
    pub(super) early: Maybe<bool>,
    pub(super) tag: Maybe<String>,
}

impl Translator<'_> {
    /// `log <target> [len <length>] [format <format>] <facility> [<level> [<most severe>]]` of `global`.
    pub(super) fn global_log(&mut self, statement: &Statement, arguments: &[Word], at: Location) {
        let target = self.log_target(statement, arguments);
        self.log_table(at).targets.extend(target);
    }

    pub(super) fn log_table(&mut self, at: Location) -> &mut Log {
        self.config.log.get_or_insert(Log::empty(at))
    }

    /// `log` of a proxy: `global`, a target of its own, or, with `no` before it, none.
    pub(super) fn proxy_log(&mut self, statement: &Statement, arguments: &[Word], said: &mut LogSaid) {
        if statement.prefix != Prefix::None {
            (said.global, said.targets) = (false, Rc::default());
            return;
        }
        if let [word] = arguments
            && word.text == "global"
        {
            said.global = true;
            return;
        }
        if let Some(target) = self.log_target(statement, arguments) {
            Rc::make_mut(&mut said.targets).push(target);
        }
    }

    fn log_target(&mut self, statement: &Statement, arguments: &[Word]) -> Option<LogTarget> {
        let Some((place, mut rest)) = arguments.split_first() else {
            self.findings.error(statement.at(), "`log` wants a target and a facility, as in `log /dev/log local0`");
            return None;
        };
        let mut target = LogTarget::empty(statement.at());
        target.to = Some(Located::new(self.log_place(place)?, place.at));
        while let [option, value, more @ ..] = rest
            && matches!(option.as_str(), "len" | "format" | "sample")
        {
            match option.as_str() {
                "len" => target.length = self.checked(value, value::number(value.as_str(), 80..=65_535)),
                "format" => {
                    // What lies between needs no date of its own there: the nearest that is done.
                    let name = match value.as_str() {
                        "local" | "iso" => "rfc3164",
                        "timed" | "priority" => "short",
                        name => name,
                    };
                    target.dress = self.log_word(value, name, words::LOG_DRESSES, "a format of log lines");
                }
                _ => self.findings.push(
                    Diagnostic::warning(option.at, "`sample` has no effect: every line is sent")
                        .help("the target gets more"),
                ),
            }
            rest = more;
        }
        let Some((facility, levels)) = rest.split_first() else {
            self.findings.error(statement.at(), "`log` wants a facility after its target, such as `local0`");
            return None;
        };
        target.facility = self.log_word(facility, facility.as_str(), words::FACILITIES, "a facility");
        let mut levels = levels.iter();
        let mut level = || levels.next().map(|word| self.log_word(word, word.as_str(), words::SEVERITIES, "a level"));
        target.level = level().flatten();
        target.most_severe = level().flatten();
        if let Some(more) = levels.next() {
            self.findings.error(more.at, format!("`{}` cannot stand here: two levels are the most", more.text));
        }
        Some(target)
    }

    fn log_place(&mut self, place: &Word) -> Option<String> {
        let text = place.as_str();
        let bare = ["udp@", "udp4@", "udp6@", "dgram+ipv4@", "dgram+ipv6@", "dgram+unix@", "unix@", "ipv4@", "ipv6@"];
        match text {
            "fd@1" => return Some("stdout".to_owned()),
            "fd@2" => return Some("stderr".to_owned()),
            _ if text.starts_with("ring@") || text.starts_with("tcp") || text.starts_with("fd@") => {
                let warning =
                    Diagnostic::warning(place.at, format!("`{text}` is no target that is there: nothing goes to it"));
                self.findings.push(warning.help("UDP, a datagram socket such as /dev/log, stdout and stderr are"));
                return None;
            }
            _ => {}
        }
        let text = bare.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        Some(text.to_owned())
    }

    pub(super) fn log_word<T: Copy>(&mut self, at: &Word, name: &str, words: &words::Words<T>, what: &str) -> Maybe<T> {
        let found = words.iter().find(|(word, _)| *word == name);
        if found.is_none() {
            let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.findings.push(
                Diagnostic::error(at.at, format!("`{}` is not {what}", at.text)).help(format!("these are: {known}")),
            );
        }
        found.map(|(_, meaning)| Located::new(*meaning, at.at))
    }

    /// `log-format <text>`
    pub(super) fn log_format(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        if let Some(word) = self.one(statement, arguments) {
            let (line, faults) = self.in_scope(proxy, |scope| acl::log_line(&word.text, word.at, scope));
            for fault in faults {
                let warning = Diagnostic::warning(fault.at, format!("{}: lines have `-` in its place", fault.message));
                self.findings.push(warning.help("variables such as `%ci`, `%b` and `%ts` have their values"));
            }
            proxy.log.line = Some(Located::new(ConnectionLine::Custom(line), word.at));
        }
    }

    /// Whether and how the connections of `proxy` are logged, once it is known whether anything is. Absent: as natively.
    pub(super) fn logs(&self, proxy: &Proxy) -> Maybe<bool> {
        let said = &proxy.log;
        let anywhere = self.config.log.as_ref().is_some_and(|log| !log.targets.is_empty());
        anywhere.then(|| Located::new(said.global || !said.targets.is_empty(), proxy.at))
    }

    /// Where lines about the connections of `proxy` go, where it names targets of its own.
    pub(super) fn own_targets(&self, proxy: &Proxy) -> Vec<LogTarget> {
        let said = &proxy.log;
        if said.targets.is_empty() {
            return Vec::new();
        }
        let of_process = self.config.log.iter().flat_map(|log| &log.targets);
        let global = of_process.filter(|target| said.global && target.connections.is_none());
        global.chain(said.targets.iter()).cloned().collect()
    }

    /// The targets that proxies name themselves get what is said about servers, too, and connections only of those proxies.
    pub(super) fn gather_log_targets(&mut self, proxies: &[Proxy]) {
        let own: Vec<LogTarget> = proxies.iter().flat_map(|proxy| proxy.log.targets.iter().cloned()).collect();
        for target in own {
            let at = target.at;
            let targets = &mut self.log_table(at).targets;
            if !targets
                .iter()
                .any(|known| known.to.as_ref().map(|to| &to.value) == target.to.as_ref().map(|to| &to.value))
            {
                targets.push(LogTarget { connections: Some(Located::new(false, at)), ..target });
            }
        }
        // HAProxy's name in syslog, unless `log-tag` says another: filters on the other side know it.
        if let Some(log) = self.config.log.as_mut().filter(|log| !log.targets.is_empty()) {
            let at = log.at;
            log.tag.get_or_insert_with(|| Located::new("haproxy".to_owned(), at));
        }
    }
}
