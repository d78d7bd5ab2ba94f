//! vipgate: a front node in one process.
//!
//! Each module is a room; ARCHITECTURE.md has the map and the table of which room may import which, and
//! `tests/rooms.rs` holds the `use` lines to it.

pub mod app;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod fence;
pub mod guardian;
pub mod model;
pub mod names;
pub mod notify;
pub mod os;
pub mod pages;
pub mod peer;
pub mod peers;
pub mod probe;
pub mod proxy;
pub mod rules;
pub mod spawner;
pub mod speaker;
pub mod stats;
pub mod track;
pub mod vrrp;
pub mod wire;
