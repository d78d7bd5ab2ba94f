//! Numbers about the process, rather than about a connection, that rules can ask for. The terms are HAProxy's. Of those that
//! say how much room there is, -1 means that there is no limit.

use super::server::ServerRef;

/// A number about the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// About the connection's service.
    Service(ServiceFigure),
    /// About the pool of this name.
    Pool(PoolFigure, String),
    /// About a server.
    Server(ServerFigure, ServerRef),
}

/// A number about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceFigure {
    /// Open connections (`fe_conn`).
    Connections,
    /// Connections within the last second that no rule of the first two stages turned away (`fe_sess_rate`).
    SessionRate,
}

/// A number about a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolFigure {
    /// Open connections, and those that wait for a server with room (`be_conn`).
    Connections,
    /// Servers that share new clients (`nbsrv`).
    UsableServers,
    /// Connections more that these take now (`be_conn_free`).
    FreePlaces,
    /// Connections more that all servers that are up take or have wait for them (`connslots`).
    FreeSlots,
    /// Connections that wait for a server with room (`queue`).
    Waiting,
    /// The same, in proportion to the servers that share new clients, rounded up; twice as many where none does (`avg_queue`).
    AverageWaiting,
    /// Connections within the last second for which the pool was chosen (`be_sess_rate`).
    SessionRate,
}

/// A number about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerFigure {
    /// Open connections (`srv_conn`).
    Connections,
    /// Connections more that it takes now (`srv_conn_free`).
    FreePlaces,
    /// Connections that wait for it in particular (`srv_queue`).
    Waiting,
}

impl Figure {
    /// The pool that it is about.
    #[must_use]
    pub fn pool(&self) -> Option<&str> {
        match self {
            Self::Service(_) => None,
            Self::Pool(_, pool) => Some(pool),
            Self::Server(_, server) => Some(&server.pool),
        }
    }

    /// Whether it can be -1.
    #[must_use]
    pub fn may_be_unlimited(&self) -> bool {
        matches!(
            self,
            Self::Pool(PoolFigure::FreePlaces | PoolFigure::FreeSlots, _) | Self::Server(ServerFigure::FreePlaces, _)
        )
    }
}
