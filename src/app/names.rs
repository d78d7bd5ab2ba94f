//! What the names of servers say now: the data plane goes there, and checks do.

use std::collections::HashMap;

use super::node::Node;
use crate::balance::WeightChange;
use crate::control::Reply;
use crate::control::operate::{NameServerView, ResolverView};
use crate::control::server::Answer;
use crate::model::{Config, Pool, Server, ServerPort, ServerRef};
use crate::names::{Counts, Place, Resolved, Section};

/// Where servers are that are known by their names, or why that is not known.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<ServerRef, Result<Place, String>>);

impl Places {
    /// Tells the servers that have no address why, so that they count as down.
    pub(super) fn mark_unresolved(&self, pools: &mut [Pool]) {
        for Pool { name: pool, servers, .. } in pools {
            for Server { name: server, name_of, .. } in servers {
                let Some(name) = name_of else { continue };
                let at = ServerRef { pool: pool.clone(), server: server.clone() };
                name.unresolved = match self.0.get(&at) {
                    Some(Ok(_)) => None,
                    Some(Err(reason)) => Some(reason.clone()),
                    None => Some(format!("{}: not answered yet", name.name)),
                };
            }
        }
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, config: &Config) {
        let named = |at: &ServerRef| config.server(&at.pool, &at.server).is_some_and(|server| server.name_of.is_some());
        self.0.retain(|at, _| named(at));
    }
}

impl Node {
    /// Who is asked for names. Reads what the system is set up with, so not on the control thread.
    pub(super) fn list_resolvers(&self, answer: Answer) {
        let (tally, config) = (self.names.tally(), self.shared.config());
        tokio::task::spawn_blocking(move || {
            let resolvers = tally.sections(&config.resolvers).into_iter().map(resolver).collect();
            // Nobody waits any more: nothing is lost.
            let _ = answer.finish(Reply::Resolvers { resolvers });
        });
    }

    /// Takes what was resolved, all of it at a time: checks compare every server.
    pub(super) fn resolved(&mut self, news: Vec<Resolved>) {
        let config = self.shared.config();
        let mut servers = Vec::new();
        for Resolved { pool, server, place } in news {
            let known = config.server(&pool, &server).filter(|known| known.name_of.is_some());
            let Some(known) = known else { continue };
            let at = ServerRef { pool, server };
            let before = self.places.0.insert(at.clone(), place.clone()).and_then(Result::ok);
            if let Ok(Place { address, port, weight }) = place {
                let port = port.map_or(known.port, ServerPort::Fixed);
                // Both are known: the configuration in force has them.
                let _ = self.proxy.set_server_address(&at.pool, &at.server, Some(address), Some(port));
                // What an operator set meanwhile stands until the record changes.
                if let Some(weight) = weight.filter(|_| before.is_none_or(|before| before.weight != weight)) {
                    let _ = self.proxy.set_server_weight(&at.pool, &at.server, WeightChange::Absolute(weight));
                }
                if before.is_none_or(|before| before.address != address) {
                    tracing::info!(target: "vipgate", "{}/{} is at {address}", at.pool, at.server);
                }
            }
            servers.push(at);
        }
        if servers.is_empty() {
            return;
        }
        self.refresh_checks();
        for ServerRef { pool, server } in servers {
            self.proxy.set_server_up(&pool, &server, self.prober.is_up(&pool, &server));
        }
        self.refresh_serving();
    }
}

fn resolver(section: Section) -> ResolverView {
    let server = |(name, counts): (String, Counts)| NameServerView {
        name,
        sent: counts.sent,
        send_errors: counts.send_errors,
        valid: counts.valid,
        updates: counts.updates,
        empty: counts.empty,
        no_such_name: counts.no_such_name,
        timeouts: counts.timeouts,
        refused: counts.refused,
        other: counts.other,
        invalid: counts.invalid,
        truncated: counts.truncated,
        outdated: counts.outdated,
    };
    ResolverView { name: section.name, servers: section.servers.into_iter().map(server).collect() }
}
