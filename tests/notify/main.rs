//! Notifications against real pipes, real processes and a mail server that speaks its protocol.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod daemon;
mod fifos;
mod mails;
mod scripts;
mod sink;
mod support;
