//! What servers ask for beside their health: agents' orders, and no new clients by an answer 404.

use super::node::Node;
use crate::probe::Wish;

impl Node {
    /// Passes it on to the data plane.
    pub(super) fn grant(&self, wish: &Wish) {
        let Wish { pool, server, wants } = wish;
        tracing::info!(target: "vipgate", pool, server, ?wants, "a server asks for a change");
    }
}
