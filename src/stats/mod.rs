//! What the process counts and knows about itself: a registry of atomics the shells write, a snapshot the
//! pages, the metrics and `vipgate status` are made from.

mod csv;
mod html;
pub mod human;
mod notify;
mod process;
mod prometheus;
mod registry;
mod server;
mod snapshot;
mod verdict;

pub use notify::{NotifySnapshot, NotifyStats};
pub use process::ProcessSnapshot;
pub use registry::{
    CheckResult, EndReason, Health, LastCheck, Registry, RejectReason, Role, RouterStats, RouterStatus, ServerStats,
    ServerStatus, ServiceStats,
};
pub use server::{BindError, Endpoint, Prepared, Source};
pub use snapshot::{
    Counter, LastCheckSnapshot, MasterSnapshot, PoolSnapshot, RouterSnapshot, ServerSnapshot, ServiceSnapshot,
    Snapshot, Surroundings,
};
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
