//! What servers ask for beside their health: agents' orders, and no new clients by an answer 404.

use std::collections::HashMap;

use super::node::Node;
use crate::balance::WeightChange;
use crate::control::operate::ServerChange;
use crate::model::{AdminState, Config, ServerRef};
use crate::probe::{Order, Wants, Wish};

/// What agents set of what an operator can set too, by server: it is theirs as long as nobody else changes it.
#[derive(Debug, Default)]
pub(super) struct Orders(HashMap<ServerRef, Given>);

/// One agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Given {
    pub(super) state: Option<AdminState>,
    pub(super) weight: Option<u16>,
    /// Most connections, 0 for any number.
    pub(super) limit: Option<u32>,
}

impl Orders {
    pub(super) fn of(&self, pool: &str, server: &str) -> Given {
        let at = ServerRef { pool: pool.to_owned(), server: server.to_owned() };
        self.0.get(&at).copied().unwrap_or_default()
    }

    /// Notes what is in force of what its agent ordered.
    pub(super) fn note(&mut self, pool: &str, server: &str, note: impl FnOnce(&mut Given)) {
        let at = ServerRef { pool: pool.to_owned(), server: server.to_owned() };
        note(self.0.entry(at).or_default());
    }

    /// What an operator says is the agent's no longer.
    pub(super) fn withdraw(&mut self, pool: &str, server: &str, change: &ServerChange) {
        let at = ServerRef { pool: pool.to_owned(), server: server.to_owned() };
        let Some(given) = self.0.get_mut(&at) else { return };
        match change {
            ServerChange::State { .. } => given.state = None,
            ServerChange::Weight { .. } => given.weight = None,
            ServerChange::MaxConnections { .. } => given.limit = None,
            _ => {}
        }
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, config: &Config) {
        self.0.retain(|at, _| config.server(&at.pool, &at.server).is_some());
    }
}

impl Node {
    /// Passes it on to the data plane. An agent repeats itself: only what changes something is logged.
    pub(super) fn grant(&mut self, wish: &Wish) {
        let Wish { pool, server, wants } = wish;
        if self.shared.config().server(pool, server).is_none() {
            // A reload took it away meanwhile.
            return;
        }
        let status = || self.shared.registry.server(pool, server).status();
        let now = status().admin.unwrap_or_default();
        let wanted = match *wants {
            Wants::NoNewClients(stopping) => return self.proxy.set_server_stopping(pool, server, stopping),
            Wants::Order(Order::Ready) => AdminState::Ready,
            Wants::Order(Order::Drain) => AdminState::Drain,
            Wants::Order(Order::Maintenance) => AdminState::Maintenance,
            Wants::Order(Order::Percent(percent)) => {
                let _known = self.proxy.set_server_weight(pool, server, WeightChange::Percent(percent));
                let weight = status().weight;
                return self.orders.note(pool, server, |order| order.weight = weight);
            }
            Wants::Order(Order::MaxConnections(limit)) => {
                let limit = Some(limit).filter(|limit| *limit > 0);
                let _known = self.proxy.set_server_limit(pool, server, limit);
                let limit = status().limit;
                return self.orders.note(pool, server, |order| order.limit = limit);
            }
        };
        self.orders.note(pool, server, |order| order.state = Some(wanted));
        if wanted == now {
            return;
        }
        let _known = self.proxy.set_server_admin(pool, server, wanted);
        // In maintenance it is not checked.
        self.refresh_checks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::operate::ServerState;

    #[test]
    fn what_an_operator_sets_is_the_agent_s_no_longer() {
        let mut orders = Orders::default();
        let given = Given { state: Some(AdminState::Drain), weight: Some(5), limit: Some(9) };
        orders.note("p", "s", |order| *order = given);
        let weight = ServerChange::Weight { value: 7, percent: false };
        // Nor is somebody noted of whom no agent said anything.
        orders.withdraw("p", "other", &weight);
        assert_eq!((orders.0.len(), orders.of("p", "s")), (1, given));
        for (change, expected) in [
            (weight, Given { weight: None, ..given }),
            (ServerChange::Checks { on: false }, Given { weight: None, ..given }),
            (ServerChange::State { state: ServerState::Ready }, Given { limit: Some(9), ..Given::default() }),
            (ServerChange::MaxConnections { value: None }, Given::default()),
        ] {
            orders.withdraw("p", "s", &change);
            assert_eq!(orders.of("p", "s"), expected, "{change:?}");
        }
    }
}
