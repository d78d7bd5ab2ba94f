//! Health checks against small servers, each made after its protocol's public documents.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests with real sockets"
)]

mod agents;
mod commands;
mod conversations;
mod databases;
mod http;
mod support;
mod tls;
