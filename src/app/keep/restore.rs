//! How a file of states left the servers of a pool (HAProxy's `server-state-file`) is how they begin, as far as HAProxy does
//! so and it is newer than what the state directory has.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::recall::Known;
use super::states::{State, States};
use crate::app::checking::in_force;
use crate::app::node::Node;
use crate::app::operate::admin;
use crate::app::tunings::{Place, Tune};
use crate::control::operate::{PortChange, ServerChange};
use crate::model::{self, AdminState, CheckResult, ServerPort};
use crate::probe::{AgentWord, Overrule, Recalled};
use crate::stats::LastCheck;

/// A server that a file knows.
struct Left<'a> {
    pool: &'a str,
    server: &'a model::Server,
    state: State,
    written: SystemTime,
}

impl Node {
    /// `saved`: when the state directory was written.
    pub(super) fn take_up_states(&mut self, saved: Option<SystemTime>, known: &mut Known) {
        let config = self.shared.config();
        let mut files = BTreeMap::new();
        let mut left = Vec::new();
        for pool in &config.pools {
            let Some(path) = &pool.server_state else { continue };
            let file = files.entry(path.as_path()).or_insert_with(|| open(path, saved));
            let Some(states) = file else { continue };
            left.extend(pool.servers.iter().filter_map(|server| look_up(states, &pool.name, server)));
        }
        for left in &left {
            self.set_as_left(left);
        }
        // Where they are checked now, for all that was set.
        let mut reached = in_force(&config.pools, &self.proxy);
        self.tunings.tune(&mut reached);
        for left in &left {
            let pool = reached.iter().find(|pool| pool.name == left.pool);
            if let Some(server) = pool.and_then(|pool| pool.server(&left.server.name)) {
                known.replace(left, server);
            }
        }
        if !left.is_empty() {
            let servers = left.len();
            tracing::info!(target: "vipgate", servers, "servers begin as their files of states left them");
        }
    }

    /// What is the data plane's, and where checks go.
    fn set_as_left(&mut self, left: &Left<'_>) {
        let Left { pool, server, state, .. } = left;
        let status = self.shared.registry.server(pool, &server.name).status();
        let configured = if server.disabled { AdminState::Maintenance } else { AdminState::Ready };
        let wanted = state.wanted(server.disabled);
        let weight = state.weight;
        let changes = [
            (admin(wanted) != status.admin.unwrap_or(configured)).then_some(ServerChange::State { state: wanted }),
            // A weight that the configuration changed since is the configuration's.
            (state.configured_weight == server.weight && weight != status.weight.unwrap_or(server.weight))
                .then_some(ServerChange::Weight { value: weight, percent: false }),
            port(state.port, status.place.map_or(server.port, |(_, port)| port))
                .map(|port| ServerChange::Address { address: None, port: Some(port) }),
        ];
        for change in changes.into_iter().flatten() {
            // It is known: the configuration has it.
            let _ = self.set_in_proxy(pool, &server.name, change);
        }
        if let (Some(name), Some(address)) = (&server.name_of, state.address)
            && name.initial.is_none()
        {
            self.names.remember(pool, &server.name, address);
        }
        self.tune_as_left(left);
    }

    fn tune_as_left(&mut self, left: &Left<'_>) {
        let config = self.shared.config();
        let place = |(address, port)| Place { address, port };
        let check = left.server.check.as_ref().map(|check| check.target);
        let agent = left.server.agent.as_ref().map(|agent| agent.target);
        for (target, at, tune) in [
            (check, left.state.check, Tune::Check(place(left.state.check))),
            (agent, left.state.agent, Tune::Agent(place(left.state.agent))),
        ] {
            let elsewhere = |target: std::net::SocketAddr| {
                at.0.is_some_and(|address| address != target.ip()) || at.1.is_some_and(|port| port != target.port())
            };
            if target.is_some_and(elsewhere) {
                self.tunings.set(&config, left.pool, &left.server.name, tune);
            }
        }
    }
}

/// The file, unless it is of no use or older than what is known better. Either is said.
fn open(path: &Path, saved: Option<SystemTime>) -> Option<States> {
    match States::open(path) {
        Ok(states) if saved.is_some_and(|saved| saved > states.written) => {
            let file = path.display();
            tracing::info!(target: "vipgate", "{file} is passed over: what the state directory has is newer");
            None
        }
        Ok(states) => Some(states),
        Err(error) => {
            tracing::warn!(target: "vipgate", "{error}");
            None
        }
    }
}

fn look_up<'a>(states: &States, pool: &'a str, server: &'a model::Server) -> Option<Left<'a>> {
    match states.of(pool, &server.name)? {
        Ok(state) => Some(Left { pool, server, state, written: states.written }),
        Err(error) => {
            let name = &server.name;
            tracing::warn!(target: "vipgate", "server-state application failed for server '{pool}/{name}', {error}");
            None
        }
    }
}

/// The port that was in force, where that is another one. Of one that moves the client's it is how far.
fn port(left: i32, now: ServerPort) -> Option<PortChange> {
    let fixed = u16::try_from(left).ok().filter(|port| *port > 0).map(PortChange::Fixed);
    match now {
        ServerPort::Fixed(port) => fixed.filter(|fixed| *fixed != PortChange::Fixed(port)),
        ServerPort::Offset(offset) => (offset != left).then_some(PortChange::Offset(left)),
        ServerPort::Same => fixed,
    }
}

impl Known {
    /// What the file says of a server takes the place of what was known. One without checks is believed to be up: nobody
    /// would find out that it is.
    fn replace(&mut self, left: &Left<'_>, server: &model::Server) {
        let is_other = |pool: &str, name: &str| pool != left.pool || name != server.name;
        self.health.retain(|known| is_other(&known.pool, &known.server));
        self.words.retain(|known| is_other(&known.pool, &known.server));
        let state = &left.state;
        if state.checks_paused {
            self.pauses.push((left.pool.to_owned(), server.name.clone(), Overrule::Checks(false)));
        }
        if state.agent_paused {
            self.pauses.push((left.pool.to_owned(), server.name.clone(), Overrule::AgentChecks(false)));
        }
        if server.disabled {
            return;
        }
        let away = SystemTime::now().duration_since(left.written).unwrap_or(Duration::ZERO);
        let now = Instant::now();
        let Some(at) = now.checked_sub(away) else { return };
        let since = at.checked_sub(state.lasts).unwrap_or(at);
        let passed = state.result.is_none_or(CheckResult::passed);
        if let Some(check) = &server.check
            && (state.result.is_some() || !state.up)
        {
            self.health.push(health(left, check, passed, at, since));
        }
        if let Some(agent) = &server.agent
            && !state.up
            && (server.check.is_none() || passed)
        {
            self.words.push(word(left, agent, at, since));
        }
    }
}

fn health(left: &Left<'_>, check: &model::Check, passed: bool, at: Instant, since: Instant) -> Recalled {
    let state = &left.state;
    // Its agent took it down, not its checks.
    let up = state.up || (left.server.agent.is_some() && passed);
    Recalled {
        pool: left.pool.to_owned(),
        server: left.server.name.clone(),
        target: check.target,
        // HAProxy too begins with all or nothing.
        counter: if up && !state.stopping { u32::MAX } else { 0 },
        up,
        stopping: state.stopping,
        last: last(state.result.unwrap_or(CheckResult::Starved), at),
        reason: "so its file of states says".to_owned(),
        since,
    }
}

fn word(left: &Left<'_>, agent: &model::Agent, at: Instant, since: Instant) -> AgentWord {
    AgentWord {
        pool: left.pool.to_owned(),
        server: left.server.name.clone(),
        target: agent.target,
        down: true,
        last: last(CheckResult::L7Status, at),
        reason: "so its file of states says".to_owned(),
        since,
    }
}

fn last(result: CheckResult, at: Instant) -> LastCheck {
    LastCheck { result, code: None, detail: String::new(), duration: Duration::ZERO, at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_what_it_was_of() {
        use ServerPort::{Fixed, Offset, Same};
        for (left, now, expected) in [
            (80, Fixed(80), None),
            (81, Fixed(80), Some(PortChange::Fixed(81))),
            (0, Fixed(80), None),
            (-3, Fixed(80), None),
            (10, Offset(10), None),
            (-9, Offset(10), Some(PortChange::Offset(-9))),
            (0, Same, None),
            (88, Same, Some(PortChange::Fixed(88))),
        ] {
            assert_eq!(port(left, now), expected, "{left} {now:?}");
        }
    }
}
