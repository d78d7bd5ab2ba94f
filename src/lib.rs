//! vipgate: a front node in one process.
//!
//! The rooms, and which may import which (a test reads the `use` lines and holds them to this table):
//!
//! | room | what lives there | may import |
//! |---|---|---|
//! | [`model`] | validated configuration, shared vocabulary; no I/O | std |

pub mod guardian;
pub mod model;
pub mod os;
pub mod speaker;
pub mod stats;
pub mod vrrp;
pub mod wire;
