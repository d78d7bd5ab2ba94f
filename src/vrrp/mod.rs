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
//! - **A failed check always yields.** A backup that hears its master fall from its own priority, or above it, to below
//!   waits for the skew time and takes over, with `preempt` off too; only `preempt_delay` and a hand-over hold it back.
//!   A master in which a tracker without weight fails says priority 0 before it goes.
//! - **Late is not dead.** A master that was stopped for longer than its down interval listens before it goes on.
//! - **Dead is not silent.** A backup that is told that its master's process died waits for the skew time only.
//! - **Several paths.** The same adverts go over several interfaces. See `paths.rs`.
//! - **Groups.** Routers that are master together or not at all. See `group.rs`.
//! - **Frozen**, a router neither takes over nor gives up of its own accord: a backup stays backup, a master disregards
//!   readiness, trackers and contests. It still gives way to a better master: there are never two for long. Links are
//!   no opinion: a fault is one, frozen or not.

mod action;
mod addresses;
mod admission;
mod condition;
mod election;
mod event;
mod group;
mod handle;
mod leaving;
mod paths;
mod roles;
mod router;
mod snapshot;
mod takeover;
mod timers;
pub mod tracking;

#[cfg(test)]
mod tests;

pub use action::{Action, Reason, Role};
pub use event::{Event, Heard};
pub use group::Group;
pub use router::{Router, Start};
pub use snapshot::Snapshot;
pub use takeover::TakeOverRefused;
