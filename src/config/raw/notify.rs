//! Commands, and who is told about transitions, as written.

use std::path::PathBuf;
use std::time::Duration;

use super::{Host, Located, Maybe};
use crate::config::source::Location;
use crate::model::User;

/// A command: see [`model::Command`](crate::model::Command).
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Program and arguments; one string is split into words when it is read.
    pub words: Located<Vec<String>>,
    /// That of `[scripts]` when absent.
    pub user: Maybe<User>,
    /// Depends on what it is for when absent.
    pub timeout: Maybe<Duration>,
}

/// `[scripts]`: what holds for every command.
#[derive(Debug, Clone, PartialEq)]
pub struct Scripts {
    /// The table.
    pub at: Location,
    /// Whom commands run as; root when absent.
    pub user: Maybe<User>,
    /// See [`model::Global::script_security`](crate::model::Global::script_security).
    pub security: Maybe<bool>,
}

/// `notify` of a router or group: see [`model::Notify`](crate::model::Notify).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Notify {
    pub at: Location,
    pub master: Option<Command>,
    pub backup: Option<Command>,
    pub fault: Option<Command>,
    pub stop: Option<Command>,
    pub any: Option<Command>,
    pub lower_priority: Option<Command>,
    pub mail: Maybe<bool>,
}

impl Notify {
    /// Nobody is told.
    #[must_use]
    pub fn silent(at: Location) -> Self {
        Self { at, master: None, backup: None, fault: None, stop: None, any: None, lower_priority: None, mail: None }
    }
}

/// `[notify]`: see [`model::NotifyTargets`](crate::model::NotifyTargets).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct NotifyTargets {
    /// The table.
    pub at: Location,
    pub fifos: Vec<Fifo>,
}

/// A named pipe: see [`model::Fifo`](crate::model::Fifo).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Fifo {
    pub path: Located<PathBuf>,
    pub reader: Option<Command>,
}

/// `[mail]`: see [`model::Mail`](crate::model::Mail).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Mail {
    /// The table.
    pub at: Location,
    pub server: Maybe<MailServer>,
    pub helo: Maybe<String>,
    pub from: Maybe<String>,
    pub to: Vec<Located<String>>,
    pub timeout: Maybe<Duration>,
    /// Natively true when absent.
    pub routers: Maybe<bool>,
    /// Natively true when absent.
    pub servers: Maybe<bool>,
    /// Natively true when absent.
    pub faults: Maybe<bool>,
    pub gap: Maybe<Duration>,
}

/// An SMTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Name or address.
    pub host: Host,
    /// 25 when absent.
    pub port: Option<u16>,
}
