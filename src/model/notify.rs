//! Who is told about transitions, and what must be done before and after one.

use std::path::PathBuf;
use std::time::Duration;

use super::command::Command;

/// Whom a virtual router or a sync group tells about its transitions. keepalived's arguments and environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// On becoming master; no arguments added.
    pub master: Option<Command>,
    /// On becoming backup; no arguments added.
    pub backup: Option<Command>,
    /// On a fault; no arguments added.
    pub fault: Option<Command>,
    /// When the process ends; no arguments added.
    pub stop: Option<Command>,
    /// On every transition, with `INSTANCE|GROUP name STATE priority` added.
    pub any: Option<Command>,
    /// A master that hears a lower-priority advertisement (keepalived's `notify_master_rx_lower_pri`).
    pub lower_priority: Option<Command>,
    /// Mail too, if [`Mail`] is configured.
    pub mail: bool,
}

/// What must be done around a change of ownership. Each is bounded by its command's timeout, failure included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Must finish before the addresses are set.
    pub before_master: Option<Command>,
    /// Runs once the addresses are gone; the process does not end before it has finished.
    pub after_release: Option<Command>,
}

/// Where all transitions go, whatever router they are of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyTargets {
    /// Named pipes that get a line for every transition.
    pub fifos: Vec<Fifo>,
    /// Mail.
    pub mail: Option<Mail>,
}

/// A named pipe. It is made when it is not there, and removed at the end if it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fifo {
    /// The pipe.
    pub path: PathBuf,
    /// A reader to start, with the pipe's path added to its arguments; ended with TERM when the process ends.
    pub reader: Option<Command>,
}

/// Mail about transitions and servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// SMTP server: name or address, without port.
    pub server: String,
    /// 25.
    pub port: u16,
    /// The name said in HELO; the host's when absent.
    pub helo: Option<String>,
    /// Sender.
    pub from: String,
    /// Recipients; never empty.
    pub to: Vec<String>,
    /// How long a connection may take to be made, and each answer to arrive; 30 s.
    pub timeout: Duration,
    /// Mail on every router's transitions, whatever its own `mail` says.
    pub routers: bool,
    /// Mail when a server goes up or down.
    pub servers: bool,
    /// Mail about faults too.
    pub faults: bool,
    /// At most one message in this time; what happens meanwhile is gathered into the next. 10 s.
    pub gap: Duration,
}
