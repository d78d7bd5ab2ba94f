//! Trackers, and who follows them, as written.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Located, Maybe};
use crate::config::source::Location;
use crate::model::{ArgumentsMatch, InterfaceName, Prefix, ProbeMethod, User};

/// `[[tracker]]`: see [`model::Tracker`](crate::model::Tracker). Which of the keys have a meaning depends on what is
/// watched.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Tracker {
    /// The table's header.
    pub at: Location,
    pub name: Maybe<String>,
    /// What is watched. Empty or several: a mistake.
    pub watched: Vec<Located<Watched>>,
    /// Of scripts and gateways; natively 1 second when absent.
    pub interval: Maybe<Duration>,
    /// Of scripts and gateways; `interval` when absent.
    pub timeout: Maybe<Duration>,
    pub rise: Maybe<u64>,
    pub fall: Maybe<u64>,
    pub up_delay: Maybe<Duration>,
    pub down_delay: Maybe<Duration>,
    /// Of scripts.
    pub starts_down: Maybe<bool>,
    /// Of scripts; that of `[scripts]` when absent.
    pub user: Maybe<User>,
    /// Of files.
    pub initial: Maybe<i64>,
    /// For those that follow it without a weight of their own.
    pub weight: Maybe<i64>,
    /// For those that follow it without saying.
    pub reverse: Maybe<bool>,
}

/// What a tracker watches: see [`model::Watched`](crate::model::Watched).
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// A command, in words.
    Script(Vec<String>),
    /// Processes.
    Process(ProcessCheck),
    /// A number in a file.
    File(PathBuf),
    /// A service of this node.
    Service(String),
    /// An address that answers.
    Gateway(GatewayCheck),
    /// A route that is there.
    Route(RouteCheck),
}

/// Processes that have to run: see [`model::ProcessCheck`](crate::model::ProcessCheck).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct ProcessCheck {
    pub command: Located<String>,
    pub arguments: Vec<String>,
    /// `Exact` when absent and there are arguments.
    pub arguments_match: Maybe<ArgumentsMatch>,
    pub whole_command: Maybe<bool>,
    pub at_least: Maybe<u64>,
    pub at_most: Maybe<u64>,
}

/// An address that has to answer: see [`model::GatewayCheck`](crate::model::GatewayCheck).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct GatewayCheck {
    pub address: Located<IpAddr>,
    pub interface: Maybe<InterfaceName>,
    pub method: Maybe<ProbeMethod>,
}

/// A route that has to be there: see [`model::RouteCheck`](crate::model::RouteCheck).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct RouteCheck {
    pub destination: Located<Prefix>,
    pub gateway: Maybe<IpAddr>,
    pub interface: Maybe<InterfaceName>,
}

/// Something that a router or a group follows: see [`model::Track`](crate::model::Track).
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// What it follows.
    pub what: Located<Tracked>,
    /// The tracker's own when absent; 0 for an interface.
    pub weight: Maybe<i64>,
    /// The tracker's own when absent.
    pub reverse: Maybe<bool>,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// An interface.
    Interface(InterfaceName),
    /// A tracker's name.
    Tracker(String),
    /// A tracker's name if there is such a tracker, otherwise an interface.
    Either(String),
}
