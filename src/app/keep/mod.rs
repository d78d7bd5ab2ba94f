//! What was learnt is kept over a restart: entries of stick tables, and what an operator set. Written to the state directory
//! every half minute and at the end, read at the start; nothing depends on it.

mod format;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::node::Node;
use crate::control::operate::ServerState;
use crate::model::{AdminState, Affinity, Config, KeyType};
use crate::proxy::Proxy;
use crate::stats::Registry;
use format::{Damage, LONGEST, Learnt, Pool, Server};

/// The file's name in the state directory.
const NAME: &str = "learnt.state";
/// How often it is written.
const PERIOD: Duration = Duration::from_secs(30);
/// Entries kept of one table: the most recently used.
const MOST_ENTRIES: usize = 200_000;

/// Where what was learnt is kept.
#[derive(Debug)]
pub(super) struct Keeper {
    /// None: there is no state directory.
    file: Option<PathBuf>,
    written: Instant,
    /// A thread writes.
    busy: bool,
    /// That it cannot be written has been said.
    said: bool,
}

impl Keeper {
    /// In `directory`, if it is there; in systemd's where the default is not.
    pub(super) fn new(directory: &Path) -> Self {
        let given = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
        let directory = [Some(directory.to_owned()), given].into_iter().flatten().find(|directory| directory.is_dir());
        let file = directory.map(|directory| directory.join(NAME));
        Self { file, written: Instant::now(), busy: false, said: false }
    }

    /// What an earlier life of the process learnt. A file that is of no use is said and passed over.
    fn read(&self) -> Option<Learnt> {
        let file = self.file.as_ref()?;
        match load(file) {
            Ok(learnt) => Some(learnt),
            Err(ReadError::System(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(target: "vipgate", "{} is of no use, what was learnt is lost: {error}", file.display());
                None
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Damage(#[from] Damage),
}

fn load(path: &Path) -> Result<Learnt, ReadError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(format::read(&bytes)?)
}

/// Written beside it and moved over it: a reader finds the old or the new one, never half of it.
fn store(path: &Path, learnt: &Learnt) -> io::Result<()> {
    let bytes = format::write(learnt)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it would be too long"));
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    fs::rename(&fresh, path)
}

/// What a pool's stick table knows clients by; none: it has no table.
fn kind(pool: &crate::model::Pool) -> Option<KeyType> {
    match &pool.affinity {
        Affinity::Table(spec) => Some(spec.kind),
        Affinity::None | Affinity::Source => None,
    }
}

/// What is worth keeping now.
fn gather(proxy: &Proxy, registry: &Registry, config: &Config) -> Learnt {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let pools = config.pools.iter().map(|pool| {
        let mut entries = proxy.table_entries(&pool.name).unwrap_or_default();
        entries.drain(..entries.len().saturating_sub(MOST_ENTRIES));
        let entry = |entry: crate::balance::TableEntry| {
            let left = entry.expires_in.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            Some((kind(pool)?.show(&entry.key), entry.server?, left))
        };
        let server = |server: &crate::model::Server| {
            let status = registry.server(&pool.name, &server.name).status();
            let configured = if server.disabled { AdminState::Maintenance } else { AdminState::Ready };
            let state = status.admin.filter(|state| *state != configured).map(|state| match state {
                AdminState::Ready => ServerState::Ready,
                AdminState::Drain => ServerState::Drain,
                AdminState::Maintenance => ServerState::Maint,
            });
            let said = state.is_some() || status.weight.is_some();
            said.then(|| Server { name: server.name.clone(), state, weight: status.weight })
        };
        Pool {
            name: pool.name.clone(),
            servers: pool.servers.iter().filter_map(server).collect(),
            entries: entries.into_iter().filter_map(entry).collect(),
        }
    });
    let learnt = |pool: &Pool| !pool.servers.is_empty() || !pool.entries.is_empty();
    Learnt { saved: u64::try_from(since_epoch.as_millis()).unwrap_or(0), pools: pools.filter(learnt).collect() }
}

impl Node {
    /// Takes up what an earlier life of the process learnt, as far as the configuration still knows it.
    pub(super) fn take_up_learnt(&self) {
        let Some(learnt) = self.keeper.read() else { return };
        let saved = SystemTime::UNIX_EPOCH + Duration::from_millis(learnt.saved);
        // A clock that was set back has not moved.
        let away = SystemTime::now().duration_since(saved).unwrap_or(Duration::ZERO);
        let (mut entries, mut servers) = (0, 0);
        for pool in &learnt.pools {
            for server in &pool.servers {
                let (state, weight) = (server.state, server.weight);
                let mut set =
                    |change| servers += usize::from(self.set_server(&pool.name, &server.name, change).is_ok());
                if let Some(state) = state {
                    set(crate::control::operate::ServerChange::State { state });
                }
                if let Some(value) = weight {
                    set(crate::control::operate::ServerChange::Weight { value, percent: false });
                }
            }
            for (key, server, left) in &pool.entries {
                let left = match left.map(Duration::from_millis).map(|left| left.checked_sub(away)) {
                    // It has expired meanwhile.
                    Some(None) => continue,
                    Some(left) => left,
                    None => None,
                };
                // A server or a table that is no longer configured has no clients.
                let key = self.shared.config().pool(&pool.name).and_then(kind).and_then(|kind| kind.read(key));
                entries +=
                    usize::from(key.is_some_and(|key| self.proxy.table_set(&pool.name, key, server, left).is_ok()));
            }
        }
        if entries + servers > 0 {
            let away = humantime::format_duration(Duration::from_secs(away.as_secs()));
            tracing::info!(target: "vipgate", entries, settings = servers, "taken up what was learnt {away} ago");
        }
    }

    /// Writes what was learnt, now and then.
    pub(super) fn keep_learnt(&mut self, now: Instant) {
        let Some(file) = self.keeper.file.clone() else { return };
        if self.keeper.busy || now.saturating_duration_since(self.keeper.written) < PERIOD {
            return;
        }
        (self.keeper.busy, self.keeper.written) = (true, now);
        let learnt = gather(&self.proxy, &self.shared.registry, &self.shared.config());
        let done = self.done.clone();
        tokio::task::spawn_blocking(move || {
            let _ = done.send(super::node::Done::Kept(store(&file, &learnt)));
        });
    }

    /// It was written, or not.
    pub(super) fn learnt_is_kept(&mut self, kept: io::Result<()>) {
        self.keeper.busy = false;
        match kept {
            Ok(()) => self.keeper.said = false,
            Err(error) if !std::mem::replace(&mut self.keeper.said, true) => {
                let path = self.keeper.file.as_deref().unwrap_or(Path::new(NAME));
                tracing::warn!(target: "vipgate", %error, "cannot write {}: a restart forgets what was learnt", path.display());
            }
            Err(_) => {}
        }
    }
}

/// The last time: at the end of the process.
pub(super) fn keep_at_the_end(keeper: &Keeper, proxy: &Proxy, registry: &Registry, config: &Config) {
    let Some(file) = &keeper.file else { return };
    if let Err(error) = store(file, &gather(proxy, registry, config)) {
        tracing::warn!(target: "vipgate", %error, "cannot write {}: what was learnt is lost", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_a_damaged_one_is_refused() {
        let directory = std::env::temp_dir().join(format!("vipgate-keep-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(NAME);
        let learnt = Learnt { saved: 7, pools: Vec::new() };
        store(&path, &Learnt::default()).unwrap();
        store(&path, &learnt).unwrap();
        assert_eq!(load(&path).unwrap(), learnt);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        fs::write(&path, b"half of it").unwrap();
        assert!(matches!(load(&path), Err(ReadError::Damage(Damage::Foreign))));
        fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(load(&path), Err(ReadError::System(_))));
    }
}
