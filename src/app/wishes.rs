//! What servers ask for beside their health: agents' orders, and no new clients by an answer 404.

use super::node::Node;
use crate::balance::WeightChange;
use crate::model::AdminState;
use crate::probe::{Order, Wants, Wish};
use crate::proxy::OperateError;

impl Node {
    /// Passes it on to the data plane. An agent repeats itself: only what changes something is logged.
    pub(super) fn grant(&self, wish: &Wish) {
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
                return self.log_refusal(self.proxy.set_server_weight(pool, server, WeightChange::Percent(percent)));
            }
            (Wants::Order(Order::MaxConnections(limit)), _) => {
                let limit = Some(limit).filter(|limit| *limit > 0);
                return self.log_refusal(self.proxy.set_server_limit(pool, server, limit));
            }
        };
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
