//! A group at work: its tables, its peers, and whose turn it is to connect.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::task::{AbortHandle, JoinSet};

use super::tls::Tls;
use super::{Entry, PeerView, Shared, Table, dial, listen};
use crate::model::Member;

/// How often tables are asked what has changed: an entry is on its way after this time at most.
const LOOK: Duration = Duration::from_millis(10);
/// Rounds of changes that may wait for a slow session. One that is further behind begins anew.
const WAITING: usize = 1024;

/// A group at work. Dropped, it ends its sessions.
#[derive(Debug)]
pub(super) struct Running {
    peers: Vec<Arc<Peer>>,
    _tasks: JoinSet<()>,
}

/// What changed, by the numbers of the tables.
pub(super) type Changes = Vec<(usize, Vec<Entry>)>;

/// What the tasks of a group share.
pub(super) struct Group {
    pub(super) name: String,
    /// This node's name.
    pub(super) local: String,
    pub(super) tables: Vec<Table>,
    pub(super) tls: Option<Tls>,
    /// What changes, with the number of its table.
    pub(super) changes: broadcast::Sender<Arc<Changes>>,
}

/// Another node, or this one.
#[derive(Debug)]
pub(super) struct Peer {
    group: String,
    pub(super) member: Member,
    local: bool,
    pub(super) taught: AtomicU64,
    pub(super) learnt: AtomicU64,
    state: Mutex<State>,
    /// The session has ended.
    pub(super) ended: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    sessions: u64,
    trouble: Option<String>,
    /// Ends the session.
    running: Option<AbortHandle>,
}

/// A session in its peer's books, until it is dropped.
pub(super) struct Entered {
    peer: Arc<Peer>,
    number: u64,
}

impl Running {
    /// Connects, listens and looks for changes from now on.
    pub(super) fn start(shared: Shared) -> Self {
        let Shared { group: spec, tables } = shared;
        let host =
            nix::unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned());
        let local = spec.local.clone().unwrap_or(host);
        let mut tasks = JoinSet::new();
        let peer = |member: &Member| Arc::new(Peer::new(&spec.name, member, member.name == local));
        let peers: Vec<_> = spec.members.iter().map(peer).collect();
        let tls = match spec.keys.as_ref().map(Tls::new).transpose() {
            Ok(tls) => tls,
            Err(error) => {
                tracing::error!("peers {}: the keys cannot be used, nothing is shared: {error}", spec.name);
                return Self { peers, _tasks: tasks };
            }
        };
        let (changes, _) = broadcast::channel(WAITING);
        let group = Arc::new(Group { name: spec.name.clone(), local, tables, tls, changes });
        let own = spec.members.iter().find(|member| member.name == group.local).map(|member| member.address);
        match spec.listen.or(own) {
            Some(address) => _ = tasks.spawn(listen::listen(address, Arc::clone(&group), peers.clone())),
            None => tracing::warn!(
                "peers {}: none of them is called {}, as this node is: it connects, and nobody can connect to it",
                group.name,
                group.local
            ),
        }
        for peer in peers.iter().filter(|peer| !peer.local) {
            tasks.spawn(dial::keep_connected(Arc::clone(&group), Arc::clone(peer)));
        }
        tasks.spawn(look(group));
        Self { peers, _tasks: tasks }
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter()
    }
}

/// Sends what changes in the tables to all sessions.
async fn look(group: Arc<Group>) {
    let mut turns = tokio::time::interval(LOOK);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let changes = group.tables.iter().map(|table| table.replica.changes()).enumerate();
        let changes: Vec<_> = changes.filter(|(_, entries)| !entries.is_empty()).collect();
        if !changes.is_empty() {
            // Without a session nobody listens: the next one begins with everything.
            let _nobody = group.changes.send(Arc::new(changes));
        }
    }
}

impl Peer {
    fn new(group: &str, member: &Member, local: bool) -> Self {
        Self {
            group: group.to_owned(),
            member: member.clone(),
            local,
            taught: AtomicU64::new(0),
            learnt: AtomicU64::new(0),
            state: Mutex::default(),
            ended: tokio::sync::Notify::new(),
        }
    }

    pub(super) fn view(&self) -> PeerView {
        let state = self.lock();
        PeerView {
            group: self.group.clone(),
            name: self.member.name.clone(),
            address: self.member.address,
            local: self.local,
            since: state.since,
            sessions: state.sessions,
            taught: self.taught.load(Ordering::Relaxed),
            learnt: self.learnt.load(Ordering::Relaxed),
            trouble: state.trouble.clone(),
        }
    }

    pub(super) fn is_local(&self) -> bool {
        self.local
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lock().since.is_some()
    }

    /// A session begins; one that runs already ends, since whoever connected last knows better.
    pub(super) fn enter(self: &Arc<Self>, session: AbortHandle, from: SocketAddr) -> Entered {
        let mut state = self.lock();
        if let Some(before) = state.running.replace(session) {
            before.abort();
        }
        state.sessions += 1;
        state.since = Some(now());
        if state.trouble.take().is_some() || state.sessions == 1 {
            tracing::info!("peers {}: a session with {} at {from}", self.group, self.member.name);
        }
        Entered { peer: Arc::clone(self), number: state.sessions }
    }

    /// Why there is no session; said once for as long as it is the same.
    pub(super) fn note(&self, trouble: &str) {
        let mut state = self.lock();
        if state.since.is_none() && state.trouble.as_deref() != Some(trouble) {
            tracing::warn!("peers {}: no session with {}: {trouble}", self.group, self.member.name);
            state.trouble = Some(trouble.to_owned());
        }
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.peer.lock();
        if state.sessions == self.number {
            (state.since, state.running) = (None, None);
            drop(state);
            self.peer.ended.notify_one();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]
fn now() -> Instant {
    Instant::now()
}
