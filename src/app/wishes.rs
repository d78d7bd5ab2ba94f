//! What servers ask for beside their health: agents' orders, and no new clients by an answer 404.

use std::collections::HashMap;

use super::node::Node;
use crate::balance::WeightChange;
use crate::model::{AdminState, Config, ServerRef};
use crate::probe::{Order, Wants, Wish};
use crate::proxy::OperateError;

/// What agents set of what an operator can set too, by server: it is theirs as long as nobody else changes it.
#[derive(Debug, Default)]
pub(super) struct Orders(HashMap<ServerRef, Given>);

/// One agent's.
#[derive(Debug, Clone, Copy, Default)]
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

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, config: &Config) {
        let known = |at: &ServerRef| {
            config.pool(&at.pool).is_some_and(|pool| pool.servers.iter().any(|server| server.name == at.server))
        };
        self.0.retain(|at, _| known(at));
    }
}

impl Node {
    /// Passes it on to the data plane. An agent repeats itself: only what changes something is logged.
    pub(super) fn grant(&mut self, wish: &Wish) {
        let Wish { pool, server, wants } = wish;
        let now = self.shared.registry.server(pool, server).status().admin.unwrap_or_default();
        let wanted = match (*wants, now) {
            (Wants::Order(Order::Ready), _) => AdminState::Ready,
            (Wants::Order(Order::Drain), _) => AdminState::Drain,
            (Wants::Order(Order::Maintenance), _) => AdminState::Maintenance,
            // What an administrator set stands over what an answer 404 asks for.
            (Wants::NoNewClients(true), AdminState::Ready) => AdminState::Drain,
            (Wants::NoNewClients(false), AdminState::Drain) => AdminState::Ready,
            (Wants::NoNewClients(_), state) => state,
            (Wants::Order(Order::Percent(percent)), _) => {
                self.log_refusal(self.proxy.set_server_weight(pool, server, WeightChange::Percent(percent)));
                let weight = self.shared.registry.server(pool, server).status().weight;
                return self.orders.note(pool, server, |order| order.weight = weight);
            }
            (Wants::Order(Order::MaxConnections(limit)), _) => {
                let limit = Some(limit).filter(|limit| *limit > 0);
                self.log_refusal(self.proxy.set_server_limit(pool, server, limit));
                let limit = self.shared.registry.server(pool, server).status().limit;
                return self.orders.note(pool, server, |order| order.limit = limit);
            }
        };
        if matches!(wants, Wants::Order(_)) {
            self.orders.note(pool, server, |order| order.state = Some(wanted));
        }
        if wanted == now {
            return;
        }
        self.log_refusal(self.proxy.set_server_admin(pool, server, wanted));
        // In maintenance it is not checked.
        self.refresh_checks();
        match wanted {
            AdminState::Ready => tracing::info!("Server {pool}/{server} is UP/READY (leaving forced {})", now.label()),
            AdminState::Drain => tracing::info!("Server {pool}/{server} enters drain state"),
            AdminState::Maintenance => tracing::warn!("Server {pool}/{server} is going DOWN for maintenance"),
        }
    }

    /// A reload may have taken the server away meanwhile.
    fn log_refusal(&self, result: Result<(), OperateError>) {
        if let Err(error) = result {
            tracing::debug!(target: "vipgate", %error, "a server's wish comes too late");
        }
    }
}
