//! What is written of something: a line before it is dressed for its targets.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{LogTarget, Severity};

/// A line on its way to the targets.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) about: About,
    pub(super) severity: Severity,
    pub(super) at: SystemTime,
    /// The program's name; none: that of the process.
    pub(super) tag: Option<Arc<str>>,
    pub(super) text: String,
}

/// What a line is about: who gets it.
#[derive(Debug)]
pub(super) enum About {
    /// The process and its servers: every target of the process.
    Process,
    /// A connection: the targets of the process that want those.
    Connection,
    /// A connection of a service that has targets of its own.
    ConnectionOf(Arc<[LogTarget]>),
}
