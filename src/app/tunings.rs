//! Where an operator has servers checked and agents asked, while the process runs. A reload keeps it for as long as the server
//! is configured so.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::model::{Agent, Check, Config, Pool, Server, ServerRef};

/// What was set, by server.
#[derive(Debug, Default)]
pub(super) struct Tunings(BTreeMap<ServerRef, Tuning>);

#[derive(Debug)]
struct Tuning {
    check: Place,
    agent: Place,
    send: Option<Vec<u8>>,
    /// What the configuration said.
    configured: (Option<Check>, Option<Agent>),
}

/// What is absent is as configured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

/// What is tuned.
pub(super) enum Tune {
    Check(Place),
    Agent(Place),
    Send(Vec<u8>),
}

impl Tunings {
    /// False where there is nothing to be tuned: no such server, no check, no agent.
    pub(super) fn set(&mut self, config: &Config, pool: &str, name: &str, tune: Tune) -> bool {
        let Some(server) = config.server(pool, name) else { return false };
        let there = match tune {
            Tune::Check(_) => server.check.is_some(),
            Tune::Agent(_) | Tune::Send(_) => server.agent.is_some(),
        };
        if !there {
            return false;
        }
        let at = ServerRef { pool: pool.to_owned(), server: name.to_owned() };
        let configured = (server.check.clone(), server.agent.clone());
        let fresh = || Tuning { check: Place::default(), agent: Place::default(), send: None, configured };
        let tuning = self.0.entry(at).or_insert_with(fresh);
        match tune {
            Tune::Check(place) => tuning.check.merge(place),
            Tune::Agent(place) => tuning.agent.merge(place),
            Tune::Send(text) => tuning.send = Some(text),
        }
        true
    }

    /// As the checks are to be made.
    pub(super) fn tune(&self, pools: &mut [Pool]) {
        for (at, tuning) in &self.0 {
            let servers = pools.iter_mut().filter(|pool| pool.name == at.pool).flat_map(|pool| &mut pool.servers);
            for Server { check, agent, .. } in servers.filter(|server| server.name == at.server) {
                if let Some(check) = check {
                    tuning.check.apply(&mut check.target);
                }
                if let Some(agent) = agent {
                    tuning.agent.apply(&mut agent.target);
                    if let Some(send) = &tuning.send {
                        agent.send.clone_from(send);
                    }
                }
            }
        }
    }

    /// Forgets what was set of servers that are configured otherwise now, or gone.
    pub(super) fn retain(&mut self, config: &Config) {
        self.0.retain(|at, tuning| {
            config
                .server(&at.pool, &at.server)
                .is_some_and(|server| (&server.check, &server.agent) == (&tuning.configured.0, &tuning.configured.1))
        });
    }
}

impl Place {
    fn merge(&mut self, new: Self) {
        *self = Self { address: new.address.or(self.address), port: new.port.or(self.port) };
    }

    fn apply(self, target: &mut SocketAddr) {
        if let Some(address) = self.address {
            target.set_ip(address);
        }
        // 0: as configured.
        if let Some(port) = self.port.filter(|port| *port > 0) {
            target.set_port(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tuned_holds_while_the_server_is_configured_so() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let checked = Server {
            check: Some(Check::new(at("10.0.0.1:80"))),
            agent: Some(Agent::new(at("10.0.0.1:90"))),
            ..Server::new("s", [10, 0, 0, 1].into())
        };
        let bare = Server::new("t", [10, 0, 0, 2].into());
        let config = Config { pools: vec![Pool::new("p", vec![checked, bare])], ..Config::default() };
        let mut tunings = Tunings::default();
        let port = |port| Place { port: Some(port), address: None };
        assert!(tunings.set(&config, "p", "s", Tune::Check(port(81))));
        assert!(tunings.set(&config, "p", "s", Tune::Check(Place { address: Some([10, 0, 0, 9].into()), port: None })));
        assert!(tunings.set(&config, "p", "s", Tune::Send(b"hi".to_vec())));
        for (name, tune) in [("t", Tune::Check(port(1))), ("t", Tune::Send(Vec::new())), ("x", Tune::Agent(port(1)))] {
            assert!(!tunings.set(&config, "p", name, tune), "{name}");
        }
        let mut pools = config.pools.clone();
        tunings.tune(&mut pools);
        let tuned = &pools[0].servers[0];
        assert_eq!(tuned.check.as_ref().unwrap().target, at("10.0.0.9:81"));
        assert_eq!(tuned.agent, Some(Agent { send: b"hi".to_vec(), ..Agent::new(at("10.0.0.1:90")) }));
        assert_eq!(pools[0].servers[1], config.pools[0].servers[1]);
        tunings.retain(&config);
        assert_eq!(tunings.0.len(), 1);
        let mut other = config;
        other.pools[0].servers[0].agent = None;
        tunings.retain(&other);
        assert!(tunings.0.is_empty());
    }
}
