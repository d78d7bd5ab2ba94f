//! Stick tables lent to the peers: what changes here goes out, what they teach comes in, servers by their names.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::node::Node;
use crate::balance::{SharedTable, names, sticky};
use crate::model::{Affinity, Config, PeerGroup};
use crate::peers::{Entry, PeerView, Replica, Replication, Shared, Table};

/// Replication, once a configuration wants it.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    running: Option<Replication>,
    groups: Vec<PeerGroup>,
    lent: Vec<Arc<Lent>>,
}

/// A table as it is lent.
#[derive(Debug)]
struct Lent {
    name: String,
    peers: String,
    table: SharedTable,
    spec: crate::model::TableSpec,
    /// The servers of the pools that use it; a place in the first one's list is a number in the protocol.
    servers: Mutex<Vec<String>>,
}

impl Replicas {
    /// Every group with its tables and peers, a line each, as HAProxy shows them where it shows the same.
    pub(super) fn show(&self) -> String {
        let views = self.running.as_ref().map(Replication::views).unwrap_or_default();
        let mut text = String::new();
        for group in &self.groups {
            let tables: Vec<_> =
                self.lent.iter().filter(|lent| lent.peers == group.name).map(|lent| &*lent.name).collect();
            let keys = if group.keys.is_some() { "yes" } else { "no" };
            _ = writeln!(text, "peers: id={} encrypted={keys} tables={}", group.name, tables.join(","));
            for view in views.iter().filter(|view| view.group == group.name) {
                _ = writeln!(text, "  {}", line(view));
            }
        }
        text
    }

    /// Entries go out and come in as the configuration has it. Sessions go on unless something about them has changed.
    fn apply(&mut self, config: &Config, table: impl Fn(&str) -> Option<SharedTable>) {
        let wanted = wanted(config, table);
        let same = self.groups == config.peer_groups
            && self.lent.len() == wanted.len()
            && self.lent.iter().zip(&wanted).all(|(old, new)| old.is_as(new));
        if same {
            for (old, new) in self.lent.iter().zip(wanted) {
                *old.servers() = std::mem::take(&mut *new.servers());
            }
            return;
        }
        self.groups.clone_from(&config.peer_groups);
        self.lent = wanted.into_iter().map(Arc::new).collect();
        if self.running.is_none() && !self.groups.is_empty() {
            match Replication::start() {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    tracing::error!(target: "vipgate", %error, "stick tables are not shared with peers: no thread for it");
                }
            }
        }
        let Some(running) = &self.running else { return };
        let tables =
            |group: &PeerGroup| self.lent.iter().filter(|lent| lent.peers == group.name).map(Lent::table).collect();
        running.apply(self.groups.iter().map(|group| Shared { group: group.clone(), tables: tables(group) }).collect());
    }
}

fn line(view: &PeerView) -> String {
    let PeerView { name, address, local, since, sessions, taught, learnt, trouble, .. } = view;
    if *local {
        return format!("id={name}(local) addr={address}");
    }
    let state = match since {
        Some(since) => format!("status=ESTA age={}s", since.elapsed().as_secs()),
        None => "status=CONN".to_owned(),
    };
    let trouble =
        trouble.as_ref().filter(|_| since.is_none()).map_or(String::new(), |trouble| format!(" why={trouble}"));
    format!("id={name}(remote) addr={address} {state} sessions={sessions} taught={taught} learnt={learnt}{trouble}")
}

/// The tables that a group shares.
fn wanted(config: &Config, table: impl Fn(&str) -> Option<SharedTable>) -> Vec<Lent> {
    let mut lent: Vec<Lent> = Vec::new();
    for pool in &config.pools {
        let Affinity::Table(spec) = &pool.affinity else { continue };
        let (Some(peers), name) = (&spec.peers, spec.table_name(&pool.name)) else { continue };
        let servers = pool.servers.iter().map(|server| server.name.clone());
        if let Some(known) = lent.iter().find(|known| known.name == name) {
            let mut known = known.servers();
            let new: Vec<_> = servers.filter(|server| !known.contains(server)).collect();
            known.extend(new);
        } else if let Some(table) = table(name) {
            let servers = Mutex::new(servers.collect());
            lent.push(Lent { name: name.to_owned(), peers: peers.clone(), table, spec: spec.clone(), servers });
        }
    }
    lent
}

impl Lent {
    fn is_as(&self, other: &Self) -> bool {
        self.name == other.name && self.spec == other.spec && self.table.is(&other.table)
    }

    fn table(self: &Arc<Self>) -> Table {
        // A table of a section `peers` is called by its own name there.
        let name = self.name.rsplit_once('/').map_or(self.name.as_str(), |(_, name)| name).to_owned();
        Table { name, kind: self.spec.kind, expire: self.spec.expire, replica: Arc::clone(self) as Arc<dyn Replica> }
    }

    /// Nothing panics while it holds the lock.
    fn servers(&self) -> MutexGuard<'_, Vec<String>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, entries: Vec<sticky::Entry>) -> Vec<Entry> {
        let servers = self.servers();
        // Few servers, many entries.
        let mut known: Vec<(u32, Arc<str>, u32)> = Vec::new();
        let mut told = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(id) = entry.server else { continue };
            let place = match known.iter().position(|(number, ..)| *number == id) {
                Some(place) => place,
                None => {
                    let Some(name) = names::name_of(id) else { continue };
                    let place = servers.iter().position(|server| **server == *name).map_or(0, |place| place as u32 + 1);
                    known.push((id, name, place));
                    known.len() - 1
                }
            };
            let Some((_, name, place)) = known.get(place) else { continue };
            told.push(Entry { key: entry.key, server: Some(Arc::clone(name)), place: *place, left: entry.expires_in });
        }
        told
    }
}

impl Replica for Lent {
    fn changes(&self) -> Vec<Entry> {
        let changes = self.table.lock().take_changes(Instant::now());
        if changes.is_empty() { Vec::new() } else { self.told(changes) }
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = self.table.lock().entries(Instant::now());
        entries.retain(|entry| entry.server.is_some());
        self.told(entries)
    }

    fn learn(&self, entries: Vec<Entry>) {
        let servers = self.servers().clone();
        let named = |entry: &Entry| match &entry.server {
            Some(name) => servers.iter().any(|server| **server == **name).then(|| names::find(name)).flatten(),
            None => servers.get(usize::try_from(entry.place).ok()?.checked_sub(1)?).and_then(|name| names::find(name)),
        };
        let now = Instant::now();
        for portion in entries.chunks(PORTION) {
            let mut table = self.table.lock();
            for entry in portion {
                if let Some(server) = named(entry) {
                    let _full = table.learn(entry.key.clone(), server, entry.left, now);
                }
            }
        }
    }
}

/// Entries that are learnt while the workers wait.
const PORTION: usize = 256;

impl Node {
    /// Shares stick tables as the configuration in force says.
    pub(super) fn refresh_replicas(&mut self) {
        let config = self.shared.config();
        let proxy = &self.proxy;
        self.replicas.apply(&config, |name| proxy.stick_table(name));
    }
}
