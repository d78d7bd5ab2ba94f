//! `[log]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::findings::Findings;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Host, Located};
use crate::config::syntax;
use crate::model::{Log, LogDress, LogPlace, LogTarget};

/// syslog's port.
const SYSLOG: u16 = 514;

pub(super) fn log(raw: &raw::Log, findings: &mut Findings<'_>) -> Log {
    let default = Log::default();
    for (name, key) in [(&raw.tag, "tag"), (&raw.host_name, "host-name")] {
        if let Some(name) = name {
            one_word(name, key, findings);
        }
    }
    Log {
        level: raw.level.map_or(default.level, |level| level.value),
        connections: raw.connections.map_or(default.connections, |connections| connections.value),
        checks: raw.checks.map_or(default.checks, |checks| checks.value),
        format: raw.format.map_or(default.format, |format| format.value),
        targets: raw.targets.iter().filter_map(|target| log_target(target, findings)).collect(),
        tag: raw.tag.as_ref().map_or(default.tag, |tag| tag.value.clone()),
        host_name: raw.host_name.as_ref().map(|name| name.value.clone()),
    }
}

/// A name in syslog messages.
pub(super) fn one_word<'n>(name: &'n Located<String>, key: &str, findings: &mut Findings<'_>) -> &'n Located<String> {
    if name.value.len() > 255 || name.value.contains(|c: char| c.is_whitespace() || c.is_control()) {
        findings.error(name.at, format!("this `{key}` is not one word"), "syslog knows no spaces there");
    }
    name
}

/// The targets of a service; none: those of the process.
pub(super) fn own_targets(raw: &[raw::LogTarget], findings: &mut Findings<'_>) -> Option<Arc<[LogTarget]>> {
    if raw.is_empty() {
        return None;
    }
    Some(raw.iter().filter_map(|target| log_target(target, findings)).collect())
}

fn log_target(raw: &raw::LogTarget, findings: &mut Findings<'_>) -> Option<LogTarget> {
    let to = place(findings.required(&raw.to, "to", raw.at)?, findings)?;
    let default = LogTarget::new(to);
    // Nothing between a standard stream and its reader needs syslog's dress.
    let dress = match &default.to {
        LogPlace::Stdout | LogPlace::Stderr => LogDress::Raw,
        LogPlace::Udp(_) | LogPlace::Unix(_) => default.dress,
    };
    Some(LogTarget {
        dress: raw.dress.map_or(dress, |dress| dress.value),
        facility: raw.facility.map_or(default.facility, |facility| facility.value),
        level: raw.level.map_or(default.level, |level| level.value),
        most_severe: raw.most_severe.map_or(default.most_severe, |severity| severity.value),
        length: findings.number(&raw.length, "length", 80..=65_535, default.length),
        connections: raw.connections.is_none_or(|connections| connections.value),
        ..default
    })
}

fn place(to: &Located<String>, findings: &mut Findings<'_>) -> Option<LogPlace> {
    match to.value.as_str() {
        "stdout" => return Some(LogPlace::Stdout),
        "stderr" => return Some(LogPlace::Stderr),
        path if path.starts_with('/') && path.len() < 108 => return Some(LogPlace::Unix(PathBuf::from(path))),
        _ => {}
    }
    let parsed = syntax::host_port(&to.value).map(|parsed| (parsed.host, parsed.port));
    let parsed = parsed.or_else(|error| syntax::host(&to.value).map(|host: Host| (host, SYSLOG)).map_err(|_| error));
    match parsed {
        Ok((host, port)) => {
            let ip = findings.address(&Located::new(host, to.at))?;
            Some(LogPlace::Udp(SocketAddr::new(ip, port)))
        }
        Err(invalid) => {
            let error = Diagnostic::error(to.at, invalid.to_string());
            findings
                .push(error.help("it is `stdout`, `stderr`, a path such as /dev/log, or a syslog server's address"));
            None
        }
    }
}
