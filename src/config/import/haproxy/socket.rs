//! `stats socket` of `global`, and what holds for all of them.

use std::time::Duration;

use super::Translator;
use super::value;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::raw::{Located, Maybe, StatsSocket};
use crate::config::words;

/// What `stats timeout` and `stats maxconn` say.
#[derive(Debug, Default)]
pub(super) struct SocketsSaid {
    pub(super) timeout: Maybe<Duration>,
    pub(super) max_connections: Maybe<u64>,
}

impl Translator<'_> {
    /// `stats socket [<address:port>|<path>|fd@<n>] [param*]`
    pub(super) fn stats_socket(&mut self, statement: &Statement, arguments: &[Word]) {
        let Some((address, options)) = arguments.split_first() else {
            self.findings.error(statement.at(), "`stats socket` wants a path, or an address and a port");
            return;
        };
        let mut socket = StatsSocket::empty(statement.at());
        let text = address.text.strip_prefix("ipv4@").or_else(|| address.text.strip_prefix("ipv6@"));
        socket.address = Some(Located::new(text.unwrap_or(&address.text).to_owned(), address.at));
        let mut words = options.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "accept-proxy" | "v4v6" | "v6only" | "defer-accept" | "tfo" => {
                    self.findings.push(
                        Diagnostic::warning(word.at, format!("`{}` has no effect on a control socket", word.text))
                            .help("leave it out"),
                    );
                    continue;
                }
                "mode" | "user" | "group" | "uid" | "gid" | "level" | "maxconn" | "backlog" | "name" | "id"
                | "process" | "thread" | "severity-output" | "expose-fd" | "interface" | "namespace" | "nice" => {}
                _ => {
                    self.unknown("bind", &[word.as_str()], word.at);
                    return;
                }
            }
            let Some(value) = words.next() else {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                return;
            };
            let text = || Some(Located::new(value.text.clone(), value.at));
            match word.as_str() {
                "mode" => socket.mode = text(),
                "user" | "uid" => socket.user = text(),
                "group" | "gid" => socket.group = text(),
                "level" => {
                    let level = words::ACCESS.iter().find(|(name, _)| *name == value.as_str());
                    let wrong = format!("`{}` is not a level: `user`, `operator` and `admin` are", value.text);
                    socket.level = self.checked(value, level.map(|(_, level)| *level).ok_or(wrong));
                }
                "maxconn" => {
                    socket.max_connections = self.checked(value, value::number(value.as_str(), 1..=10_000));
                }
                // `expose-fd`: a reload keeps them in the process. The others: of no consequence.
                _ => {}
            }
        }
        self.config.stats_sockets.push(socket);
    }

    /// What is said once for all of them, wherever it stands.
    pub(super) fn finish_stats_sockets(&mut self) {
        for socket in &mut self.config.stats_sockets {
            socket.timeout = socket.timeout.or(self.sockets.timeout);
            socket.max_connections = socket.max_connections.or(self.sockets.max_connections);
        }
    }
}
