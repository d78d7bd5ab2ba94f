//! The guardian: a second, tiny process that undoes what a killed daemon left. The daemon tells it through a pipe, at
//! each change, which priority-0 adverts to send and which addresses to remove; a pipe that closes without a goodbye
//! means that the daemon is dead.
#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here, for seals")]

mod keeper;
mod protocol;

use std::io;

use crate::model::Estate;
use crate::os::process::Helper;
pub use keeper::run;
use protocol::Message;

/// The hidden argument that makes this executable a guardian.
pub const ARGUMENT: &str = "guardian";

/// The daemon's side: a guardian that runs.
#[derive(Debug)]
pub struct Guardian {
    helper: Helper,
}

/// Why the guardian could not be told.
#[derive(Debug, thiserror::Error)]
pub enum GuardianError {
    /// There are more adverts or addresses than one message may have.
    #[error("there is more to undo than the guardian takes ({} bytes)", protocol::LIMIT)]
    TooLarge,
    /// The pipe is closed or full: the guardian is dead or stuck, start another.
    #[error("the guardian does not listen: {0}")]
    Pipe(#[from] io::Error),
}

impl Guardian {
    /// Starts one: this executable again, with [`ARGUMENT`]. Publish at once what it is to undo.
    pub fn spawn() -> io::Result<Self> {
        Ok(Self { helper: Helper::spawn(ARGUMENT)? })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.helper.pid()
    }

    /// Tells it what to undo from now on. Never blocks. After an error start another one: this one may be out of step.
    pub fn publish(&mut self, estate: &Estate) -> Result<(), GuardianError> {
        let message = protocol::encode(&Message::Estate(estate.clone())).ok_or(GuardianError::TooLarge)?;
        Ok(self.helper.write(&message)?)
    }

    /// Tells it that there is nothing to undo, and waits for its end.
    pub fn goodbye(mut self) -> Result<(), GuardianError> {
        let message = protocol::encode(&Message::Goodbye).ok_or(GuardianError::TooLarge)?;
        self.helper.write(&message)?;
        self.helper.finish();
        Ok(())
    }

    /// Whether it has ended by itself. Then start another and publish to it: nothing has moved.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.helper.has_died()
    }

    /// Ends one that is stuck, without letting it undo anything.
    pub fn discard(self) {
        self.helper.kill();
    }
}
