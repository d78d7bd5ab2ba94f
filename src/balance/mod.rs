//! The pure choice of a server. No socket, no clock, no thread: `now` is a parameter, what is chosen is a value.

pub mod algorithm;
pub mod health;
pub mod maglev;
pub mod pool;
pub mod sticky;

pub use pool::{Choice, Pool, Refusal, ServerId};
pub use sticky::Pin;
