//! Stick tables shared with other nodes by HAProxy's peers protocol: what is learnt there is known here, and the other way
//! round, so that clients keep their servers wherever their address moves.
//!
//! Each side connects and is connected to; the last to connect wins, as in HAProxy. A session begins with all that is known,
//! both ways, and goes on with what changes: nothing depends on what was said in an earlier one. A session that cannot keep
//! up ends and begins anew, so that what waits for it is bounded.
//!
//! All of it lives on a thread of its own, with a runtime of its own: to teach a large table must delay nobody.

mod dial;
mod group;
mod listen;
mod session;
mod tls;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::model::{Key, KeyType, PeerGroup};
use group::Running;

/// An entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The client.
    pub key: Key,
    /// The server's name; none: the other side said only its place.
    pub server: Option<Arc<str>>,
    /// The server's place in its pool, from 1 on; 0: not known.
    pub place: u32,
    /// What is left of its life; none: all of it.
    pub left: Option<Duration>,
}

/// A table as its owner lends it. Called on the thread of this room; must not block for long.
pub trait Replica: Send + Sync {
    /// What changed here since this was asked last; what was learnt is no change.
    fn changes(&self) -> Vec<Entry>;
    /// All there is.
    fn entries(&self) -> Vec<Entry>;
    /// Takes what a peer says; what means nothing here is passed over.
    fn learn(&self, entries: Vec<Entry>);
}

/// A table that a group shares.
#[derive(Clone)]
pub struct Table {
    /// Its name, alike on every node.
    pub name: String,
    /// What its keys are.
    pub kind: KeyType,
    /// An entry's life; none: until it is purged.
    pub expire: Option<Duration>,
    /// The table.
    pub replica: Arc<dyn Replica>,
}

/// A group with its tables.
#[derive(Clone)]
pub struct Shared {
    /// The group.
    pub group: PeerGroup,
    /// Its tables.
    pub tables: Vec<Table>,
}

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Where it is, or listens.
    pub address: std::net::SocketAddr,
    /// This node itself.
    pub local: bool,
    /// Since when there is a session; none: there is none.
    pub since: Option<Instant>,
    /// Sessions so far.
    pub sessions: u64,
    /// Entries it was told.
    pub taught: u64,
    /// Entries it told.
    pub learnt: u64,
    /// Why there is no session, or why the last one ended.
    pub trouble: Option<String>,
}

/// Replication at work. Dropped, it ends all sessions.
#[derive(Debug)]
pub struct Replication {
    commands: mpsc::UnboundedSender<Vec<Shared>>,
    views: Arc<Mutex<Vec<Arc<group::Peer>>>>,
    _thread: JoinHandle<()>,
}

impl Replication {
    /// Starts the thread. Fails when a thread or descriptors cannot be had.
    pub fn start() -> io::Result<Self> {
        let (commands, mut orders) = mpsc::unbounded_channel::<Vec<Shared>>();
        let views = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&views);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("peers".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running: Vec<Running> = Vec::new();
                while let Some(groups) = orders.recv().await {
                    // What is no longer wanted ends first: it has the address.
                    running.clear();
                    tokio::task::yield_now().await;
                    running = groups.into_iter().map(Running::start).collect();
                    let peers = running.iter().flat_map(|running| running.peers().cloned()).collect();
                    *shown.lock().unwrap_or_else(PoisonError::into_inner) = peers;
                }
            });
        })?;
        Ok(Self { commands, views, _thread: thread })
    }

    /// Shares these from now on. All sessions begin anew: it is called when something has changed.
    pub fn apply(&self, groups: Vec<Shared>) {
        let _gone = self.commands.send(groups);
    }

    /// Every peer of every group.
    #[must_use]
    pub fn views(&self) -> Vec<PeerView> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|peer| peer.view()).collect()
    }
}
