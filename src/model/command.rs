//! Commands that the process runs for its operator: checks, notifications, hooks.

use std::path::PathBuf;
use std::time::Duration;

/// Where programs without a path are looked for, and the PATH of every command.
pub const COMMAND_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command, never a shell's line: what a file writes in one string was split into words when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// The program; absolute, or found along [`COMMAND_PATH`].
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whom it runs as; root when absent.
    pub user: Option<User>,
    /// A run that takes longer is ended: TERM to its process group, KILL a second later.
    pub timeout: Duration,
}

/// A user, by name, as the operator wrote it; a number is an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// Its name.
    pub name: String,
    /// The group; the user's own when absent.
    pub group: Option<String>,
}
