//! Every key of the schema, table by table: what the decoder accepts and what the documentation must name.

/// One kind of table and its keys.
#[derive(Debug)]
pub struct Keys {
    /// How the table is named in messages.
    pub table: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
}

/// All kinds of tables.
pub const ALL: &[&Keys] =
    &[&TOP, &GLOBAL, &LOG, &STATS, &ROUTER, &ADDRESS, &ANNOUNCE, &SERVICE, &LISTEN, &POOL, &TABLE, &CHECK, &SERVER];

pub(super) const TOP: Keys =
    Keys { table: "the file", keys: &["global", "log", "stats", "virtual-router", "service", "pool"] };
pub(super) const GLOBAL: Keys = Keys {
    table: "[global]",
    keys: &["node", "workers", "max-connections", "stop-grace", "drain-timeout", "spread-checks"],
};
pub(super) const LOG: Keys = Keys { table: "[log]", keys: &["level", "connections", "checks"] };
pub(super) const STATS: Keys = Keys {
    table: "[stats]",
    keys: &["listen", "path", "users", "refresh", "hide-version", "show-node", "max-connections"],
};
pub(super) const ROUTER: Keys = Keys {
    table: "[[virtual-router]]",
    keys: &[
        "name",
        "interface",
        "vrid",
        "addresses",
        "excluded-addresses",
        "priority",
        "version",
        "interval",
        "start",
        "preempt",
        "preempt-delay",
        "password",
        "peers",
        "source",
        "checksum",
        "track-interfaces",
        "fronts",
        "announce",
    ],
};
pub(super) const ADDRESS: Keys =
    Keys { table: "a virtual address", keys: &["address", "interface", "label", "scope", "broadcast"] };
pub(super) const ANNOUNCE: Keys = Keys {
    table: "announce",
    keys: &["count", "repeat-after", "repeat-count", "refresh", "refresh-count", "lower-priority-count"],
};
pub(super) const SERVICE: Keys = Keys {
    table: "[[service]]",
    keys: &[
        "name",
        "listen",
        "pool",
        "max-connections",
        "client-timeout",
        "client-fin-timeout",
        "client-keepalive",
        "backlog",
        "log",
    ],
};
pub(super) const LISTEN: Keys =
    Keys { table: "a listen address", keys: &["address", "interface", "nonlocal", "dual-stack"] };
pub(super) const POOL: Keys = Keys {
    table: "[[pool]]",
    keys: &[
        "name",
        "balance",
        "affinity",
        "retries",
        "redispatch",
        "connect-timeout",
        "server-timeout",
        "server-fin-timeout",
        "tunnel-timeout",
        "server-keepalive",
        "all-backups",
        "check",
        "on-marked-down",
        "servers",
    ],
};
pub(super) const TABLE: Keys = Keys { table: "affinity", keys: &["table", "size", "expire", "nopurge", "ipv6"] };
pub(super) const CHECK: Keys = Keys {
    table: "check",
    keys: &["port", "address", "interval", "fast-interval", "down-interval", "timeout", "rise", "fall"],
};
pub(super) const SERVER: Keys = Keys {
    table: "a server",
    keys: &["name", "address", "port", "weight", "backup", "disabled", "max-connections", "check", "on-marked-down"],
};
