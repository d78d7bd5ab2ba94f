//! Pure codecs: bytes to values and back. No clock, no socket; every parser takes what the network gave it, indexes
//! nothing unchecked and never panics.

pub mod vrrp;
