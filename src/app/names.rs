//! What the names of servers say now: the data plane goes there, and checks do.

use std::collections::HashMap;

use super::node::Node;
use crate::model::{Config, Pool, Server, ServerPort, ServerRef};
use crate::names::{Place, Resolved};

/// Where servers are that are known by their names, or why that is not known.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<ServerRef, Result<Place, String>>);

impl Places {
    /// The pools as they are reached now.
    pub(super) fn placed(&self, pools: &[Pool]) -> Vec<Pool> {
        let mut pools = pools.to_vec();
        for Pool { name, servers, .. } in &mut pools {
            for server in servers.iter_mut().filter(|server| server.name_of.is_some()) {
                let at = ServerRef { pool: name.clone(), server: server.name.clone() };
                place(server, self.0.get(&at));
            }
        }
        pools
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, config: &Config) {
        self.0.retain(|at, _| {
            let server =
                config.pool(&at.pool).and_then(|pool| pool.servers.iter().find(|server| server.name == at.server));
            server.is_some_and(|server| server.name_of.is_some())
        });
    }
}

/// Puts a server where its name is. What its check does not say itself is the server's.
fn place(server: &mut Server, place: Option<&Result<Place, String>>) {
    match place {
        Some(Ok(Place { address, port })) => {
            server.address = *address;
            server.port = port.map_or(server.port, ServerPort::Fixed);
            if let Some(check) = &mut server.check {
                if check.target.ip().is_unspecified() {
                    check.target.set_ip(*address);
                }
                if let (0, Some(port)) = (check.target.port(), port) {
                    check.target.set_port(*port);
                }
            }
        }
        unknown => {
            if let Some(name) = &mut server.name_of {
                let reason = unknown.and_then(|known| known.as_ref().err()).cloned();
                name.unresolved = Some(reason.unwrap_or_else(|| format!("{}: not answered yet", name.name)));
            }
        }
    }
}

impl Node {
    /// Takes what was resolved, all of it at a time: checks compare every server.
    pub(super) fn resolved(&mut self, news: Vec<Resolved>) {
        let config = self.shared.config();
        let mut servers = Vec::new();
        for Resolved { pool, server, place } in news {
            let known = config.pool(&pool).and_then(|pool| pool.servers.iter().find(|known| known.name == server));
            let Some(known) = known.filter(|server| server.name_of.is_some()) else { continue };
            if let Ok(Place { address, port }) = place {
                let port = port.map_or(known.port, ServerPort::Fixed);
                // Both are known: the configuration in force has them.
                let _ = self.proxy.set_server_address(&pool, &server, Some(address), Some(port));
            }
            let at = ServerRef { pool, server };
            let before = self.places.0.insert(at.clone(), place.clone());
            if let Ok(Place { address, .. }) = place
                && before != Some(place)
            {
                tracing::info!(target: "vipgate", "{}/{} is at {address}", at.pool, at.server);
            }
            servers.push(at);
        }
        if servers.is_empty() {
            return;
        }
        self.check_placed(&config);
        for ServerRef { pool, server } in servers {
            self.proxy.set_server_up(&pool, &server, self.prober.is_up(&pool, &server));
        }
        self.refresh_serving();
    }

    /// Checks the servers where they are.
    pub(super) fn check_placed(&self, config: &Config) {
        self.prober.apply(&self.places.placed(&config.pools), super::reload::policy(config));
    }
}
