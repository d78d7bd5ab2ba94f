//! What an operator sets up around virtual routers and does to them, through the whole daemon.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

mod dying;
mod following;
mod hooks;
mod pains;
mod reloading;
mod steering;
mod support;
mod telling;
