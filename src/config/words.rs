//! The words of the schema and what they mean: one table for reading and writing.

use crate::model::{
    AccessLevel, Algorithm, ArgumentsMatch, ChecksumMode, DatabaseRole, Failback, Family, HashType, InitialState,
    LogDress, LogFormat, LogLevel, OnError, OnMarkedDown, OnMarkedUp, ProbeMethod, ProxyVersion, RefuseWith, RouteKind,
    Scope, Severity, TlsFallback, Wanted,
};

use super::raw::ResolveWhen;

/// A word and its meaning.
pub(super) type Words<T> = [(&'static str, T)];

pub(super) const LEVELS: &Words<LogLevel> = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
pub(super) const LOG_FORMATS: &Words<LogFormat> =
    &[("text", LogFormat::Text), ("json", LogFormat::Json), ("haproxy", LogFormat::Haproxy)];
pub(super) const LOG_DRESSES: &Words<LogDress> = &[
    ("rfc3164", LogDress::Rfc3164),
    ("rfc5424", LogDress::Rfc5424),
    ("short", LogDress::Short),
    ("raw", LogDress::Raw),
];
pub(super) const SEVERITIES: &Words<Severity> = &[
    ("emerg", Severity::Emergency),
    ("alert", Severity::Alert),
    ("crit", Severity::Critical),
    ("err", Severity::Error),
    ("warning", Severity::Warning),
    ("notice", Severity::Notice),
    ("info", Severity::Info),
    ("debug", Severity::Debug),
];
#[rustfmt::skip]
pub(super) const FACILITIES: &Words<u8> = &[
    ("kern", 0), ("user", 1), ("mail", 2), ("daemon", 3), ("auth", 4), ("syslog", 5), ("lpr", 6), ("news", 7), ("uucp", 8),
    ("cron", 9), ("auth2", 10), ("ftp", 11), ("ntp", 12), ("audit", 13), ("alert", 14), ("cron2", 15), ("local0", 16),
    ("local1", 17), ("local2", 18), ("local3", 19), ("local4", 20), ("local5", 21), ("local6", 22), ("local7", 23),
];
pub(super) const TLS_FALLBACK: &Words<TlsFallback> = &[("source", TlsFallback::Source), ("none", TlsFallback::None)];
pub(super) const ACCESS: &Words<AccessLevel> =
    &[("user", AccessLevel::User), ("operator", AccessLevel::Operator), ("admin", AccessLevel::Admin)];
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
    ("static-round-robin", Algorithm::StaticRoundRobin),
    ("least-connections", Algorithm::LeastConnections),
    ("first", Algorithm::First),
    ("random", Algorithm::Random(RANDOM_DRAWS)),
    ("source", Algorithm::Source),
    ("sni", Algorithm::Sni),
    ("rdp-user", Algorithm::RdpUser),
];
/// Servers that `random` draws when nothing is said.
pub(super) const RANDOM_DRAWS: u32 = 2;
pub(super) const HASH_TYPES: &Words<HashType> =
    &[("consistent", HashType::Consistent), ("map-based", HashType::MapBased)];
pub(super) const FAILBACK: &Words<Failback> =
    &[("never", Failback::Never), ("new", Failback::New), ("drain", Failback::Drain)];
pub(super) const REFUSAL: &Words<RefuseWith> = &[("reset", RefuseWith::Reset), ("close", RefuseWith::Close)];
pub(super) const ON_ERROR: &Words<OnError> = &[
    ("fast-check", OnError::FastCheck),
    ("fail-check", OnError::FailCheck),
    ("sudden-death", OnError::SuddenDeath),
    ("mark-down", OnError::MarkDown),
];
pub(super) const MARKED_UP: &Words<OnMarkedUp> =
    &[("keep", OnMarkedUp::Keep), ("reset-backups", OnMarkedUp::ShutdownBackupSessions)];
pub(super) const MARKED_DOWN: &Words<OnMarkedDown> =
    &[("keep", OnMarkedDown::Keep), ("reset", OnMarkedDown::ShutdownSessions)];

pub(super) const RESOLVE: &Words<ResolveWhen> =
    &[("at-start", ResolveWhen::AtStart), ("running", ResolveWhen::Running)];
pub(super) const FAMILIES: &Words<Wanted> = &[
    ("ipv4-first", Wanted::First(Family::V4)),
    ("ipv6-first", Wanted::First(Family::V6)),
    ("ipv4", Wanted::Only(Family::V4)),
    ("ipv6", Wanted::Only(Family::V6)),
];
pub(super) const PROXY_VERSIONS: &Words<ProxyVersion> = &[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
pub(super) const DATABASE_ROLES: &Words<DatabaseRole> =
    &[("primary", DatabaseRole::Primary), ("replica", DatabaseRole::Replica)];

/// `random(n)`: how many it draws, none when that is no number of at least 1. None when it is something else.
pub(super) fn random_draws(text: &str) -> Option<Option<u32>> {
    let draws = text.strip_prefix("random(")?.strip_suffix(')')?;
    Some(draws.trim().parse().ok().filter(|draws| *draws > 0))
}

/// The word for `meaning`.
pub(super) fn word_for<T: PartialEq>(words: &Words<T>, meaning: &T) -> &'static str {
    words.iter().find(|(_, candidate)| candidate == meaning).map_or("", |(word, _)| word)
}
