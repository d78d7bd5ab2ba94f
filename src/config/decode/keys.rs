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
#[rustfmt::skip]
pub const ALL: &[&Keys] = &[
    &TOP, &GLOBAL, &LOG, &LOG_TARGET, &STATS, &STATISTICS, &PAGE, &MONITOR, &STATS_SOCKET, &SCRIPTS, &NOTIFY_TARGETS, &FIFO, &MAIL, &ROUTER, &ADDRESS, &ANNOUNCE, &PEER, &HMAC, &VMAC,
    &NOTIFY, &COMMAND, &GROUP, &TRACK, &TRACKER, &PROCESS, &GATEWAY, &ROUTE_CHECK, &ROUTE, &RULE, &SERVICE, &LISTEN, &POOL,
    &TABLE, &CHECK, &CHECK_TLS, &CHECK_HTTP, &CHECK_REDIS, &CHECK_POSTGRES, &CHECK_MYSQL, &CHECK_SMTP, &CHECK_COMMAND, &CHECK_STEP,
    &CHECK_CONNECT, &CHECK_REQUEST, &CHECK_HEADER, &AGENT, &SERVER, &KEEPALIVE, &SOURCE, &LIMITS, &CAPTURES, &POOL_ROUTE, &SOURCE_TABLE, &RESOLVER, &NAME_SERVER, &HOLD,
    &PEER_GROUP, &MEMBER,
];

#[rustfmt::skip]
pub(super) const TOP: Keys = Keys {
    table: "the file",
    keys: &[
        "global", "log", "stats", "page", "stats-socket", "scripts", "notify", "mail", "virtual-router", "sync-group", "tracker", "route",
        "rule", "service", "pool", "source-table", "resolver", "peer-group",
    ],
};
pub(super) const GLOBAL: Keys = Keys {
    table: "[global]",
    keys: &[
        "node",
        "workers",
        "max-connections",
        "io-uring",
        "stop-grace",
        "drain-timeout",
        "spread-checks",
        "peer-port",
    ],
};
pub(super) const SCRIPTS: Keys = Keys { table: "[scripts]", keys: &["user", "security"] };
pub(super) const NOTIFY_TARGETS: Keys = Keys { table: "[notify]", keys: &["fifo"] };
pub(super) const FIFO: Keys = Keys { table: "a fifo", keys: &["path", "reader"] };
pub(super) const MAIL: Keys =
    Keys { table: "[mail]", keys: &["server", "helo", "from", "to", "timeout", "routers", "servers", "faults", "gap"] };
pub(super) const LOG: Keys =
    Keys { table: "[log]", keys: &["level", "connections", "checks", "format", "targets", "tag", "host-name"] };
pub(super) const LOG_TARGET: Keys = Keys {
    table: "a log target",
    keys: &["to", "format", "facility", "level", "most-severe", "length", "connections"],
};
pub(super) const STATS_SOCKET: Keys = Keys {
    table: "[[stats-socket]]",
    keys: &["address", "mode", "user", "group", "level", "timeout", "max-connections"],
};
pub(super) const STATS: Keys = Keys { table: "[stats]", keys: &["listen", "max-connections"] };
pub(super) const STATISTICS: Keys =
    Keys { table: "a page's stats", keys: &["path", "users", "refresh", "hide-version", "show-node"] };
pub(super) const PAGE: Keys = Keys {
    table: "[[page]]",
    keys: &["name", "listen", "max-connections", "admission", "monitor", "rules", "stats", "otherwise"],
};
pub(super) const MONITOR: Keys = Keys { table: "a page's monitor", keys: &["path", "fail"] };
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
        "hmac",
        "peers",
        "only-peers",
        "unicast-ttl",
        "group",
        "source",
        "paths",
        "vmac",
        "missed-adverts",
        "start-delay",
        "checksum",
        "routes",
        "rules",
        "track",
        "fronts",
        "announce",
        "fight-limit",
        "notify",
        "before-master",
        "after-release",
    ],
};
pub(super) const ADDRESS: Keys =
    Keys { table: "a virtual address", keys: &["address", "interface", "label", "scope", "broadcast"] };
pub(super) const ANNOUNCE: Keys = Keys {
    table: "announce",
    keys: &["count", "repeat-after", "repeat-count", "refresh", "refresh-count", "lower-priority-count", "ask"],
};
pub(super) const PEER: Keys = Keys { table: "a peer", keys: &["address", "min-ttl", "max-ttl"] };
pub(super) const HMAC: Keys = Keys { table: "hmac", keys: &["key-id", "secret", "secret-file"] };
pub(super) const VMAC: Keys = Keys { table: "vmac", keys: &["name", "from-base"] };
pub(super) const NOTIFY: Keys =
    Keys { table: "notify", keys: &["master", "backup", "fault", "stop", "any", "lower-priority", "mail"] };
pub(super) const COMMAND: Keys = Keys { table: "a command", keys: &["command", "timeout", "user"] };
pub(super) const GROUP: Keys =
    Keys { table: "[[sync-group]]", keys: &["name", "routers", "track", "member-weights", "notify"] };
pub(super) const TRACK: Keys = Keys { table: "track", keys: &["interface", "tracker", "weight", "reverse"] };
#[rustfmt::skip]
pub(super) const TRACKER: Keys = Keys {
    table: "[[tracker]]",
    keys: &[
        "name", "script", "process", "file", "service", "gateway", "route", "interval", "timeout", "rise", "fall",
        "up-delay", "down-delay", "starts-down", "user", "initial", "weight", "reverse",
    ],
};
pub(super) const PROCESS: Keys =
    Keys { table: "process", keys: &["command", "arguments", "match", "whole-command", "at-least", "at-most"] };
pub(super) const GATEWAY: Keys = Keys { table: "gateway", keys: &["address", "interface", "method"] };
pub(super) const ROUTE_CHECK: Keys =
    Keys { table: "a tracker's route", keys: &["destination", "gateway", "interface"] };
#[rustfmt::skip]
pub(super) const ROUTE: Keys = Keys {
    table: "a route",
    keys: &[
        "destination", "kind", "gateway", "interface", "source", "metric", "table", "scope", "on-link", "mtu",
    ],
};
pub(super) const RULE: Keys =
    Keys { table: "a rule", keys: &["from", "to", "table", "priority", "incoming", "outgoing", "mark", "mark-mask"] };
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
        "client-linger",
        "backlog",
        "log",
        "log-line",
        "log-targets",
        "log-empty",
        "log-normal",
        "log-errors-as",
        "log-early",
        "log-tag",
        "allow",
        "deny",
        "limits",
        "rules",
        "route",
        "inspect-delay",
        "routes-wait",
        "connections-per-second",
        "captures",
    ],
};
pub(super) const LIMITS: Keys = Keys { table: "limits", keys: &["concurrent", "connections-per-second", "sources"] };
pub(super) const CAPTURES: Keys = Keys { table: "captures", keys: &["request", "response"] };
pub(super) const POOL_ROUTE: Keys = Keys { table: "a service's route", keys: &["sni", "ports", "from", "pool"] };
pub(super) const SOURCE_TABLE: Keys = Keys {
    table: "[[source-table]]",
    keys: &[
        "name",
        "size",
        "expire",
        "nopurge",
        "ipv6-bits",
        "connection-period",
        "gpc0-period",
        "gpc1-period",
        "session-period",
        "bytes-in-period",
        "bytes-out-period",
    ],
};
#[rustfmt::skip]
pub(super) const LISTEN: Keys = Keys {
    table: "a listen address",
    keys: &[
        "address", "interface", "nonlocal", "dual-stack", "proxy-from", "defer-accept", "fast-open", "max-segment",
        "user-timeout", "inherited",
    ],
};
pub(super) const KEEPALIVE: Keys = Keys { table: "keep-alive probes", keys: &["idle", "interval", "count"] };
pub(super) const SOURCE: Keys = Keys { table: "a source", keys: &["address", "ports", "interface", "transparent"] };
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
        "server-linger",
        "all-backups",
        "check",
        "agent",
        "on-marked-down",
        "hash-type",
        "hash-balance-factor",
        "redispatch-every",
        "queue-timeout",
        "max-queue",
        "full-load",
        "persist",
        "rdp-cookie",
        "abort-on-close",
        "failback",
        "refuse-with",
        "slow-start",
        "server-rules",
        "server-inspect-delay",
        "server-state",
        "servers",
    ],
};
pub(super) const TABLE: Keys = Keys {
    table: "affinity",
    keys: &["table", "size", "expire", "nopurge", "ipv6", "type", "name", "peers", "stick", "wait", "fallback"],
};
#[rustfmt::skip]
pub(super) const CHECK: Keys = Keys {
    table: "check",
    keys: &[
        "port", "address", "interval", "fast-interval", "down-interval", "timeout", "response-timeout", "rise", "fall",
        "proxy-header", "tls", "disable-on-404", "steps", "http", "redis", "postgres", "mysql", "smtp", "ldap", "ssh", "ftp",
        "tls-hello", "command",
    ],
};
pub(super) const CHECK_TLS: Keys =
    Keys { table: "a check's tls", keys: &["name", "verify", "verify-name", "ca-file", "alpn"] };
pub(super) const CHECK_HTTP: Keys =
    Keys { table: "a check's http", keys: &["method", "path", "host", "headers", "status", "body", "body-regex"] };
pub(super) const CHECK_REDIS: Keys = Keys { table: "a check's redis", keys: &["user", "password", "role"] };
pub(super) const CHECK_POSTGRES: Keys =
    Keys { table: "a check's postgres", keys: &["user", "password", "database", "role", "startup-only"] };
pub(super) const CHECK_MYSQL: Keys = Keys { table: "a check's mysql", keys: &["user", "before-4-1"] };
pub(super) const CHECK_SMTP: Keys = Keys { table: "a check's smtp", keys: &["hello", "domain"] };
pub(super) const CHECK_COMMAND: Keys = Keys { table: "a check's command", keys: &["command", "user", "path"] };
#[rustfmt::skip]
pub(super) const CHECK_STEP: Keys = Keys {
    table: "a check's step",
    keys: &[
        "connect", "send", "send-hex", "expect", "expect-regex", "expect-hex", "expect-hex-regex", "request", "expect-status",
        "expect-status-regex", "expect-header", "expect-body", "expect-body-regex", "not", "min-received", "on-success",
        "on-error", "on-timeout", "comment",
    ],
};
pub(super) const CHECK_CONNECT: Keys =
    Keys { table: "a step's connect", keys: &["port", "address", "tls", "proxy-header", "linger"] };
pub(super) const CHECK_REQUEST: Keys =
    Keys { table: "a step's request", keys: &["method", "path", "version", "headers", "body", "send-state"] };
pub(super) const CHECK_HEADER: Keys =
    Keys { table: "a step's header", keys: &["name", "name-match", "value", "value-match", "whole"] };
pub(super) const AGENT: Keys = Keys { table: "agent", keys: &["port", "address", "interval", "timeout", "send"] };
#[rustfmt::skip]
pub(super) const SERVER: Keys = Keys {
    table: "a server",
    keys: &[
        "name", "address", "port", "weight", "backup", "disabled", "max-connections", "check", "agent", "on-marked-down",
        "send-proxy", "source", "user-timeout", "fast-open",
        "min-connections", "max-queue", "slow-start", "non-stick", "track", "error-limit", "on-error", "on-marked-up",
        "srv", "most", "resolve", "resolver", "family", "networks", "share-address", "ignore-weight", "initial-address",
    ],
};
#[rustfmt::skip]
pub(super) const RESOLVER: Keys = Keys {
    table: "[[resolver]]",
    keys: &[
        "name", "servers", "system", "retries", "timeout", "least-refresh", "most-refresh", "payload-size", "hold",
    ],
};
pub(super) const NAME_SERVER: Keys = Keys { table: "a name server", keys: &["name", "address"] };
pub(super) const HOLD: Keys = Keys { table: "hold", keys: &["nx", "timeout", "refused", "other", "obsolete"] };
pub(super) const PEER_GROUP: Keys =
    Keys { table: "[[peer-group]]", keys: &["name", "node", "listen", "members", "certificate", "key", "authority"] };
pub(super) const MEMBER: Keys = Keys { table: "a member", keys: &["name", "address"] };
