//! The virtual router of RFC 9568 as a value: events and a time go in, actions and a deadline come out. It knows no
//! clock, no socket and no runtime.
//!
//! ```text
//! shell: handle(event, now) or handle_timeout(now)  ->  drain next_action()  ->  sleep until next_deadline()
//! ```
//!
//! Beyond the RFC, because one process knows both the addresses and what is served behind them:
//!
//! - **Leaving.** A master that gives up says so once (priority 0) and keeps its addresses until the successor has
//!   announced them: make before break. See `leaving.rs`.
//! - **Readiness.** A router whose services cannot be served here has priority 1, whatever is configured. Others
//!   take that for yielding, with `preempt` off too, and wait for the skew time only.
//! - **Late is not dead.** A master that was stopped for longer than its down interval listens before it goes on.

mod action;
mod addresses;
mod election;
mod event;
mod leaving;
mod router;
mod timers;

#[cfg(test)]
mod tests;

pub use action::{Action, Reason, Role};
pub use event::{Event, Heard};
pub use router::Router;
