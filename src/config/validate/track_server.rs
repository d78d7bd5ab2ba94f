//! Servers whose health is another server's.

use std::collections::{BTreeMap, HashSet};

use super::findings::Findings;
use crate::config::raw::{self, Located};
use crate::model::{Pool, ServerRef};

/// The server that `track` names: `pool/server`, or a server of the same pool.
pub(super) fn reference(track: &Located<String>, pool: &str) -> ServerRef {
    match track.value.split_once('/') {
        Some((pool, server)) => ServerRef { pool: pool.to_owned(), server: server.to_owned() },
        None => ServerRef { pool: pool.to_owned(), server: track.value.clone() },
    }
}

/// Every one that is named is there, and in the end one that is checked.
pub(super) fn validate(raw: &raw::Config, pools: &[Pool], findings: &mut Findings<'_>) {
    let mut servers = BTreeMap::new();
    for pool in pools {
        for server in &pool.servers {
            servers.insert(ServerRef { pool: pool.name.clone(), server: server.name.clone() }, server);
        }
    }
    for pool in &raw.pools {
        let Some(name) = pool.name.as_ref().map(|name| name.value.as_str()) else { continue };
        for track in pool.servers.iter().filter_map(|server| server.choice.track.as_ref()) {
            let mut seen = HashSet::new();
            let mut at = reference(track, name);
            let problem = loop {
                let Some(server) = servers.get(&at) else {
                    break Some(format!("there is no server `{}` in a pool `{}`", at.server, at.pool));
                };
                match &server.track {
                    _ if server.check.is_some() => break None,
                    Some(next) if seen.insert(at.clone()) => at = next.clone(),
                    Some(_) => break Some(format!("`{}/{}` tracks itself in the end", at.pool, at.server)),
                    None => break Some(format!("`{}/{}` has no check: it is never down", at.pool, at.server)),
                }
            };
            // What could not be read may be what is missing.
            if let Some(problem) = problem.filter(|_| findings.complete) {
                findings.error(track.at, problem, "name a server with a check, as track = \"pool/server\"");
            }
        }
    }
}
