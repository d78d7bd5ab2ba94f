//! Stick tables shared with other nodes: with the real HAProxy, with vipgate, with keys and without.

#![expect(clippy::disallowed_methods, reason = "tests wait for other processes")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::print_stdout, reason = "a test says what it could not compare with, and figures")]

mod beside;
mod support;
mod teaching;
