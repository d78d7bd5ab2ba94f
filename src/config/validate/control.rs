//! Control sockets that speak HAProxy's language.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::findings::{Findings, Unique};
use super::overlap::Overlaps;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located};
use crate::config::syntax;
use crate::model::{SocketPlace, StatsSocket};

/// The longest path of a UNIX socket, as unix(7) has it, with room for the name it is made under.
const LONGEST_PATH: usize = 103;

/// Every socket; no place twice.
pub(super) fn stats_sockets(
    raw: &[raw::StatsSocket],
    overlaps: &mut Overlaps,
    findings: &mut Findings<'_>,
) -> Vec<StatsSocket> {
    let mut unique = Unique::new();
    let mut sockets = Vec::new();
    for raw in raw {
        let Some(address) = findings.required(&raw.address, "address", raw.at).cloned() else { continue };
        let Some(place) = place(&address, findings) else { continue };
        if let SocketPlace::Tcp(tcp) = &place {
            overlaps.add_port(tcp.ip(), tcp.port(), address.at, findings);
        }
        if let Some(first) = unique.insert(place.clone(), address.at) {
            findings.push(
                Diagnostic::error(address.at, format!("there are two sockets at `{place}`"))
                    .related(first, "the first is here")
                    .help("remove one of the two"),
            );
        }
        let default = StatsSocket::new(place);
        sockets.push(StatsSocket {
            mode: raw.mode.as_ref().and_then(|mode| file_mode(mode, findings)),
            user: raw.user.as_ref().map(|user| user.value.clone()),
            group: raw.group.as_ref().map(|group| group.value.clone()),
            level: raw.level.map_or(default.level, |level| level.value),
            timeout: findings.positive(&raw.timeout, "timeout").unwrap_or(default.timeout),
            max_connections: findings.number(
                &raw.max_connections,
                "max-connections",
                1..=10_000,
                default.max_connections,
            ),
            ..default
        });
    }
    sockets
}

fn place(address: &Located<String>, findings: &mut Findings<'_>) -> Option<SocketPlace> {
    let text = address.value.as_str();
    let path = text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text));
    if let Some(path) = path {
        if !path.starts_with('/') || path.len() > LONGEST_PATH || path.contains('\0') {
            let remedy = format!("it begins with `/` and has at most {LONGEST_PATH} bytes");
            findings.error(address.at, format!("`{path}` cannot be the path of a socket"), &remedy);
            return None;
        }
        return Some(SocketPlace::Path(PathBuf::from(path)));
    }
    if let Some(descriptor) = text.strip_prefix("fd@") {
        return match descriptor.parse() {
            Ok(descriptor) => Some(SocketPlace::Inherited(descriptor)),
            Err(invalid) => {
                findings.push(Diagnostic::error(address.at, invalid.to_string()));
                None
            }
        };
    }
    match syntax::host_port(text) {
        Ok(parsed) => {
            let ip = findings.address(&Located::new(parsed.host, address.at))?;
            Some(SocketPlace::Tcp(SocketAddr::new(ip, parsed.port)))
        }
        Err(invalid) => {
            let remedy = "it is a path, an address with a port, or `fd@3`";
            findings.error(address.at, invalid.to_string(), remedy);
            None
        }
    }
}

fn file_mode(mode: &Located<String>, findings: &mut Findings<'_>) -> Option<u32> {
    let parsed = u32::from_str_radix(&mode.value, 8).ok().filter(|mode| *mode <= 0o777);
    if parsed.is_none() {
        findings.error(mode.at, format!("`{}` is not a file mode", mode.value), "three octal digits, as in \"660\"");
    }
    parsed
}
