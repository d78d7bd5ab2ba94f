//! Stick tables shared with other nodes: with the real HAProxy, with vipgate, with keys and without.

#![expect(clippy::disallowed_methods, reason = "tests wait for other processes")]

mod beside;
mod support;
mod teaching;
