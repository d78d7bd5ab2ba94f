//! The whole process, from outside: command lines, signals, files, sockets. Without root on the loopback, each daemon
//! on an address of its own; what needs a network namespace says so when it is skipped.
#![expect(clippy::disallowed_methods, reason = "these tests are about processes, sockets and time")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod connection_log;
mod control;
mod imported;
mod learnt;
mod limits;
mod lists;
mod logging;
mod name_server;
mod names;
mod owning;
mod pages;
mod ranges;
mod reloading;
mod rising;
mod signals;
mod starting;
mod state_lines;
mod states;
mod stats_socket;
mod stick_keys;
mod support;
mod tools;
mod variables;
mod verbs;
