//! Text to model, once: whoever reads a configuration reads it here, and gets every fault at once.
//!
//! A native file is decoded ([`decode`]), a foreign one imported; both give the same [`raw`] mirror of the schema, which
//! [`validate`] turns into the model. [`Loading`] puts the files of one run together.

mod acl;
mod check_syntax;
pub mod decode;
pub mod diagnostic;
pub mod emit;
mod files;
pub mod import;
mod load;
mod merge;
mod prefixes;
pub mod raw;
pub mod source;
pub mod syntax;
pub mod validate;
mod words;

pub use files::resolve;
pub use load::{Failed, Failure, Loaded, Loading, load};
pub use prefixes::{Misfit, outside_prefixes};

#[cfg(test)]
mod choice_tests;
#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod tests;
