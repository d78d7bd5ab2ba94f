//! The pure choice of a server. No socket, no clock, no thread: `now` is a parameter, what is chosen is a value.

pub mod health;
