//! What the process counts and knows about itself: a registry of atomics the shells write, a snapshot the
//! pages, the metrics and `vipgate status` are made from.

mod check;
pub mod csv;
pub mod html;
pub mod human;
mod late;
mod notify;
mod process;
pub mod prometheus;
mod pulse;
mod registry;
mod router;
pub mod rows;
pub mod server_line;
mod sight;
mod snapshot;
mod times;
mod verdict;

pub use check::{LastCheck, LastCheckSnapshot};
pub use late::{LateWakes, LateWakesSnapshot};
pub use notify::{NotifySnapshot, NotifyStats};
pub use process::ProcessSnapshot;
pub use pulse::{PoolStatus, Pulse};
pub use registry::{
    EndReason, Health, PoolStats, Registry, ServerStats, ServerStatus, ServiceState, ServiceStats, ServiceStatus,
};
pub use router::{RejectReason, RejectedPacket, Role, RouterStats, RouterStatus, Stranger};
pub use snapshot::{
    Counter, MasterSnapshot, PoolSnapshot, RejectedSnapshot, RouterSnapshot, ServerSnapshot, ServiceSnapshot, Snapshot,
    StrangerSnapshot, Surroundings,
};
pub use times::{Times, TimesSnapshot};
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
