//! `[stats]` and `[[page]]`.

use std::time::Duration;

use super::{HostPort, Listen, Located, Maybe, Secret};
use crate::config::source::Location;
use crate::model::page::PageRule;
use crate::model::rule::Condition;

/// `[stats]`: a page of statistics and nothing else.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Stats {
    pub at: Location,
    /// Empty: 127.0.0.1:8404.
    pub listen: Vec<Located<HostPort>>,
    pub max_connections: Maybe<u64>,
    pub statistics: Statistics,
}

/// `[[page]]`: see [`model::Page`](crate::model::Page).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Page {
    pub at: Location,
    pub name: Maybe<String>,
    pub listen: Vec<Listen>,
    pub max_connections: Maybe<u64>,
    pub admission: Vec<Located<PageRule>>,
    pub monitor: Option<Monitor>,
    pub rules: Vec<Located<PageRule>>,
    pub statistics: Option<Statistics>,
    pub otherwise: Vec<Located<PageRule>>,
}

/// `monitor` of a page: see [`model::page::Monitor`](crate::model::page::Monitor).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Monitor {
    pub at: Location,
    pub path: Maybe<String>,
    pub fail: Vec<Located<Condition>>,
}

/// What `[stats]` and `stats` of a page have in common: see [`model::Statistics`](crate::model::Statistics).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Statistics {
    pub at: Location,
    pub path: Maybe<String>,
    pub users: Vec<User>,
    pub refresh: Maybe<Duration>,
    pub hide_version: Maybe<bool>,
    pub show_node: Maybe<bool>,
}

/// One entry of `users`: `name = "password"`.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Who.
    pub name: Located<String>,
    /// In clear text.
    pub password: Located<Secret>,
}
