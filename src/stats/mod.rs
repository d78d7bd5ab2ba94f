//! What the process counts and knows about itself: a registry of atomics the shells write, a snapshot the
//! pages, the metrics and `vipgate status` are made from.

mod registry;

pub use registry::{
    EndReason, Health, Registry, RejectReason, Role, RouterStats, RouterStatus, ServerStats, ServerStatus, ServiceStats,
};
