//! `[log]` and `[[stats-socket]]`.

use super::{Keys, duration, quoted, word};
use crate::config::raw::{Log, LogTarget, StatsSocket};
use crate::config::words;
use crate::model::ConnectionLine;

pub(super) fn log(raw: &Log) -> String {
    let mut lines = Keys::new("[log]");
    lines.maybe("level", &raw.level, |level| word(words::LEVELS, level));
    lines.maybe("connections", &raw.connections, bool::to_string);
    lines.maybe("checks", &raw.checks, bool::to_string);
    lines.maybe("format", &raw.format, |format| word(words::LOG_FORMATS, format));
    lines.list("targets", raw.targets.iter().map(log_target));
    lines.maybe("tag", &raw.tag, |tag| quoted(tag));
    lines.maybe("host-name", &raw.host_name, |name| quoted(name));
    lines.lines()
}

pub(super) fn log_target(raw: &LogTarget) -> String {
    let mut keys = Keys::new("");
    keys.maybe("to", &raw.to, |to| quoted(to));
    keys.maybe("format", &raw.dress, |dress| word(words::LOG_DRESSES, dress));
    keys.maybe("facility", &raw.facility, |facility| word(words::FACILITIES, facility));
    keys.maybe("level", &raw.level, |level| word(words::SEVERITIES, level));
    keys.maybe("most-severe", &raw.most_severe, |severity| word(words::SEVERITIES, severity));
    keys.maybe("length", &raw.length, u64::to_string);
    keys.maybe("connections", &raw.connections, bool::to_string);
    keys.inline()
}

pub(super) fn connection_line(line: &ConnectionLine) -> String {
    match line {
        ConnectionLine::AsLog => quoted(""),
        ConnectionLine::Connect => quoted("connect"),
        ConnectionLine::Tcp => quoted("tcplog"),
        ConnectionLine::Custom(line) => quoted(&line.format),
    }
}

pub(super) fn stats_socket(raw: &StatsSocket) -> String {
    let mut lines = Keys::new("[[stats-socket]]");
    lines.maybe("address", &raw.address, |address| quoted(address));
    lines.maybe("mode", &raw.mode, |mode| quoted(mode));
    lines.maybe("user", &raw.user, |user| quoted(user));
    lines.maybe("group", &raw.group, |group| quoted(group));
    lines.maybe("level", &raw.level, |level| word(words::ACCESS, level));
    lines.maybe("timeout", &raw.timeout, duration);
    lines.maybe("max-connections", &raw.max_connections, u64::to_string);
    lines.lines()
}
