//! The words of the schema and what they mean: one table for reading and writing.

use crate::model::{
    Algorithm, ArgumentsMatch, ChecksumMode, DatabaseRole, InitialState, LogLevel, OnMarkedDown, ProbeMethod,
    ProxyVersion, RouteKind, Scope,
};

/// A word and its meaning.
pub(super) type Words<T> = [(&'static str, T)];

pub(super) const LEVELS: &Words<LogLevel> = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
pub(super) const START: &Words<InitialState> = &[("backup", InitialState::Backup), ("master", InitialState::Master)];
pub(super) const CHECKSUM: &Words<ChecksumMode> =
    &[("pseudo-header", ChecksumMode::PseudoHeader), ("message-only", ChecksumMode::MessageOnly)];
pub(super) const SCOPES: &Words<Scope> =
    &[("global", Scope::Global), ("site", Scope::Site), ("link", Scope::Link), ("host", Scope::Host)];
pub(super) const ROUTE_KINDS: &Words<RouteKind> = &[
    ("unicast", RouteKind::Unicast),
    ("blackhole", RouteKind::Blackhole),
    ("unreachable", RouteKind::Unreachable),
    ("prohibit", RouteKind::Prohibit),
];
pub(super) const ARGUMENTS: &Words<ArgumentsMatch> =
    &[("any", ArgumentsMatch::Any), ("exact", ArgumentsMatch::Exact), ("initial", ArgumentsMatch::Initial)];
pub(super) const METHODS: &Words<ProbeMethod> = &[("neighbour", ProbeMethod::Neighbour), ("echo", ProbeMethod::Echo)];
pub(super) const BALANCE: &Words<Algorithm> = &[
    ("round-robin", Algorithm::RoundRobin),
    ("least-connections", Algorithm::LeastConnections),
    ("source", Algorithm::Source),
];
pub(super) const MARKED_DOWN: &Words<OnMarkedDown> =
    &[("keep", OnMarkedDown::Keep), ("reset", OnMarkedDown::ShutdownSessions)];
pub(super) const PROXY_VERSIONS: &Words<ProxyVersion> = &[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
pub(super) const DATABASE_ROLES: &Words<DatabaseRole> =
    &[("primary", DatabaseRole::Primary), ("replica", DatabaseRole::Replica)];

/// The word for `meaning`.
pub(super) fn word_for<T: PartialEq>(words: &Words<T>, meaning: &T) -> &'static str {
    words.iter().find(|(_, candidate)| candidate == meaning).map_or("", |(word, _)| word)
}
