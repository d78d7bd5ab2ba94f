//! What a client may do, and may no longer.

use crate::model::AccessLevel;

/// The level of one conversation: it can be given up, never gained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(AccessLevel);

impl Access {
    pub(super) fn new(level: AccessLevel) -> Self {
        Self(level)
    }

    pub(super) fn level(self) -> AccessLevel {
        self.0
    }

    /// Whether what wants this level may be done.
    pub(super) fn allows(self, level: AccessLevel) -> bool {
        self.0 >= level
    }

    pub(super) fn lower(&mut self, level: AccessLevel) {
        self.0 = self.0.min(level);
    }
}
