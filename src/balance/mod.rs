//! The pure choice of a server. No socket, no clock, no thread: `now` is a parameter, what is chosen is a value.

pub mod algorithm;
mod candidate;
mod choice;
mod explain;
pub mod hash;
pub mod health;
mod home;
pub mod maglev;
pub mod names;
pub mod pool;
pub mod queue;
mod room;
pub mod state;
pub mod sticky;
mod tls;

pub use candidate::ServerId;
pub use choice::{Standing, Why};
pub use explain::Explanation;
pub use hash::{Hash, HashPlan};
pub use maglev::KeyHash;
pub use pool::{Choice, Pool, Refusal, Request};
pub use queue::{Ahead, Ticket};
pub use state::{Followed, ServerState, TableEntry, WeightChange};
pub use sticky::{Pin, SharedTable};
pub use tls::{Learned, Lesson, Offer};
