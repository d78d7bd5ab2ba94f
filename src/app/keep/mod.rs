//! What was learnt is kept over a restart: entries of stick tables, what an operator set, what checks found. Written to the
//! state directory every half minute, soon after a server's state changed, and at the end; read at the start. Nothing depends on
//! it.

mod format;
mod gather;
mod recall;
mod restore;
mod states;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::node::Node;
use format::{Damage, LONGEST, Learnt};
use gather::gather;

pub(super) use gather::Sources;

/// The file's name in the state directory.
const NAME: &str = "learnt.state";
/// How often it is written.
const PERIOD: Duration = Duration::from_secs(30);
/// How often at most, when states of servers change.
const SOON: Duration = Duration::from_secs(5);

/// Where what was learnt is kept.
#[derive(Debug)]
pub(super) struct Keeper {
    /// None: there is no state directory.
    file: Option<PathBuf>,
    written: Instant,
    /// A server's state has changed since.
    changed: bool,
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
        Self { file, written: Instant::now(), changed: false, busy: false, said: false }
    }

    /// A server's state has changed: that is worth writing soon.
    pub(super) fn hurry(&mut self) {
        self.changed = true;
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

impl Node {
    /// Writes what was learnt, now and then.
    pub(super) fn keep_learnt(&mut self, now: Instant) {
        let Some(file) = self.keeper.file.clone() else { return };
        let period = if self.keeper.changed { SOON } else { PERIOD };
        if self.keeper.busy || now.saturating_duration_since(self.keeper.written) < period {
            return;
        }
        (self.keeper.busy, self.keeper.changed, self.keeper.written) = (true, false, now);
        let config = self.shared.config();
        let (proxy, places, orders, registry) = (&self.proxy, &self.places, &self.orders, &*self.shared.registry);
        let learnt = gather(&Sources { proxy, places, orders, registry, config: &config });
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
pub(super) fn keep_at_the_end(keeper: &Keeper, sources: &Sources<'_>) {
    let Some(file) = &keeper.file else { return };
    if let Err(error) = store(file, &gather(sources)) {
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
