//! Text to model, once: whoever reads a configuration reads it here, and gets every fault at once.

pub mod diagnostic;
pub mod raw;
pub mod source;
