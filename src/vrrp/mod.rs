//! The virtual router of RFC 9568 as a value: events and a time go in, actions and a deadline come out. It knows no
//! clock, no socket and no runtime.
//!
//! ```text
//! shell: handle(event, now) or handle_timeout(now)  ->  drain next_action()  ->  sleep until next_deadline()
//! ```

mod action;
mod event;
mod router;

pub use action::{Action, Reason, Role};
pub use event::{Event, Heard};
pub use router::Router;
