//! The guardian, and what it is told.

use super::node::Node;
use crate::guardian::{Guardian, GuardianError};

impl Node {
    /// Starts a guardian and tells it what there is to undo.
    pub(super) fn start_guardian(&mut self) {
        match Guardian::spawn() {
            Ok(guardian) => {
                self.guardian = Some(guardian);
                self.tell_guardian();
            }
            Err(error) => {
                tracing::warn!(target: "vipgate", %error, "no guardian: a killed daemon would leave its addresses")
            }
        }
    }

    pub(super) fn tell_guardian(&mut self) {
        let Some(guardian) = &mut self.guardian else { return };
        match guardian.publish(&self.estate) {
            Ok(()) => {}
            Err(error @ GuardianError::TooLarge) => tracing::error!(target: "vipgate", "{error}"),
            Err(error @ GuardianError::Pipe(_)) => {
                tracing::warn!(target: "vipgate", "{error}: it is replaced");
                if let Some(deaf) = self.guardian.take() {
                    deaf.discard();
                }
            }
        }
    }
}
