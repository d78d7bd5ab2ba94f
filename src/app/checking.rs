//! What the health checks are told: the servers of the configuration as an administrator left them.

use super::node::Node;
use super::reload::policy;
use crate::model::{AdminState, Pool, Server, ServerPort};
use crate::probe::Observation;
use crate::proxy::{Observed, Proxy, ServerView};

impl Node {
    /// Checks the servers where they are now, and none that is in maintenance. To be called after an administrator changed
    /// what a server may do or where it is.
    pub(super) fn refresh_checks(&self) {
        let config = self.shared.config();
        let node = config.global.node.as_deref().unwrap_or(self.shared.host_name());
        let mut pools = in_force(&config.pools, &self.proxy);
        self.places.mark_unresolved(&mut pools);
        self.tunings.tune(&mut pools);
        self.prober.apply(&pools, policy(&config), node);
    }
}

/// What connections found out, as the checks want it.
pub(super) fn observation(observed: Observed) -> Observation {
    let Observed { pool, server, errors, on_error } = observed;
    Observation { pool, server, errors, on_error }
}

/// The servers where they are now.
pub(super) fn in_force(pools: &[Pool], proxy: &Proxy) -> Vec<Pool> {
    let in_force = |pool: &Pool| {
        let mut pool = pool.clone();
        for (server, view) in pool.servers.iter_mut().zip(proxy.servers(&pool.name).unwrap_or_default()) {
            follow(server, &view);
        }
        pool
    };
    pools.iter().map(in_force).collect()
}

/// A check that goes to the server's own address and port goes with it.
fn follow(server: &mut Server, view: &ServerView) {
    server.disabled = view.state.admin == AdminState::Maintenance;
    server.weight = view.state.weight;
    if let Some(check) = &mut server.check {
        if check.target.ip() == server.address {
            check.target.set_ip(view.address);
        }
        if let (ServerPort::Fixed(configured), ServerPort::Fixed(now)) = (server.port, view.port)
            && check.target.port() == configured
        {
            check.target.set_port(now);
        }
    }
    if let Some(agent) = server.agent.as_mut().filter(|agent| agent.target.ip() == server.address) {
        agent.target.set_ip(view.address);
    }
    (server.address, server.port) = (view.address, view.port);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance;
    use crate::model::Check;

    fn view(spec: &Server, admin: AdminState, address: &str, port: u16) -> ServerView {
        let pool = Pool::new("p", vec![spec.clone()]);
        let now = std::time::Instant::now();
        let state = balance::ServerState { admin, ..balance::Pool::new(&pool, now).servers(now).remove(0) };
        ServerView { state, address: address.parse().unwrap(), port: ServerPort::Fixed(port) }
    }

    #[test]
    fn a_check_goes_where_its_server_went_unless_it_has_a_place_of_its_own() {
        let address = "10.0.0.1".parse().unwrap();
        for (target, expected) in [
            ("10.0.0.1:80", "10.0.0.9:81"),
            ("10.0.0.1:22", "10.0.0.9:22"),
            ("10.1.1.1:80", "10.1.1.1:81"),
            ("10.1.1.1:22", "10.1.1.1:22"),
        ] {
            let check = Some(Check::new(target.parse().unwrap()));
            let mut server = Server { port: ServerPort::Fixed(80), check, ..Server::new("s", address) };
            let moved = view(&server, AdminState::Maintenance, "10.0.0.9", 81);
            follow(&mut server, &moved);
            assert_eq!(server.check.unwrap().target, expected.parse().unwrap(), "{target}");
            assert!(server.disabled);
        }
    }
}
