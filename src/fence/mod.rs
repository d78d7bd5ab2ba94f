//! What this program has nf_tables do: the dead-man's switch described here, and [`Divert`].
//!
//! A dead-man's switch in the kernel: the node goes silent for its virtual addresses in the instant in which its processes
//! are gone, although the addresses are still set.
//!
//! nf_tables removes a table with `flags owner` when the socket that made it is closed, whatever ended the process. Such
//! a table marks what is from or to the addresses, and one that stays drops what is not marked: see [`rules`].

mod divert;
mod rules;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use nix::errno::Errno;
use sha2::{Digest, Sha256};

use crate::os::nft::NetfilterSocket;
use crate::wire::nft::{Batch, answers};
pub use divert::Divert;

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The kernel has no nf_tables, or is older than 5.12.
    #[error("the kernel has no nf_tables with table owners (CONFIG_NF_TABLES_INET, CONFIG_NF_TABLES_ARP, Linux 5.12)")]
    Unsupported,
    /// The kernel cannot tell which packets are for a transparent socket.
    #[error("the kernel's nf_tables cannot match sockets (CONFIG_NFT_SOCKET)")]
    NoSocketMatch,
    /// Without CAP_NET_ADMIN.
    #[error("no permission to use nf_tables: CAP_NET_ADMIN is missing")]
    Denied,
    /// Another process holds the tables of this name.
    #[error("another process has the nf_tables tables `{0}`: does a vipgate with the same run directory run?")]
    Taken(String),
    /// Anything else.
    #[error("nf_tables: {0}")]
    Kernel(#[from] io::Error),
}

/// The names of the tables: unique for each run directory, so that two of us in one network namespace do not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceName {
    stays: String,
    alive: String,
    divert: String,
}

impl FenceName {
    /// The names for a run directory, however it is spelled.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        let digest = Sha256::digest(real(run_dir).as_os_str().as_encoded_bytes());
        let suffix = HEXLOWER.encode(&digest[..4]);
        let stays = format!("vipgate-{suffix}");
        Self { alive: format!("{stays}-alive"), divert: format!("{stays}-divert"), stays }
    }
}

/// The path without links and detours. Of one that is not there (any more), as far as it is there.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let from = |there: &Path| {
        let rest = absolute.strip_prefix(there).ok()?;
        // Joined with nothing it would end in a slash.
        Some(there.canonicalize().ok()?.join(rest).components().collect())
    };
    absolute.ancestors().find_map(from).unwrap_or_else(|| absolute.clone())
}

/// The fence. While this value lives, its addresses are reachable; dropping it, or dying, makes them silent.
/// [`Fence::lift`] ends it.
#[derive(Debug)]
pub struct Fence {
    socket: NetfilterSocket,
    name: FenceName,
    addresses: BTreeSet<IpAddr>,
}

impl Fence {
    /// Makes the tables anew, with no address. What a killed run left is no longer silent afterwards: its addresses are
    /// removed first.
    pub fn open(name: FenceName) -> Result<Self, FenceError> {
        let fence = Self { socket: open_socket()?, name, addresses: BTreeSet::new() };
        fence.build(&[])?;
        Ok(fence)
    }

    /// Replaces the list of addresses. Call it before addresses are set and after they were removed; it takes far less
    /// than a millisecond. On an error, what was before still holds.
    ///
    /// An address that peers or clients need when we are dead, as the one adverts are sent from, is none for the list.
    pub fn set(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), FenceError> {
        let added: Vec<IpAddr> = addresses.difference(&self.addresses).copied().collect();
        let removed: Vec<IpAddr> = self.addresses.difference(addresses).copied().collect();
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        // The tables that stay may be gone: see below.
        if transact(&self.socket, rules::change(&self.name, &added, &removed)).is_err() {
            self.build(&addresses.iter().copied().collect::<Vec<_>>())?;
        }
        self.addresses.clone_from(addresses);
        Ok(())
    }

    /// Makes the tables anew if somebody's `flush ruleset` (the restart of a firewall) took those that stay: without
    /// them nothing would be dropped. Whether they were gone. To be called now and then.
    pub fn repair(&self) -> Result<bool, FenceError> {
        let list: Vec<IpAddr> = self.addresses.iter().copied().collect();
        if transact(&self.socket, rules::presence(&self.name)).is_ok() {
            return Ok(false);
        }
        self.build(&list)?;
        Ok(true)
    }

    /// Ends it: no address is fenced any more.
    pub fn lift(self) -> Result<(), FenceError> {
        // The tables that drop go before those that mark.
        Ok(transact(&self.socket, rules::removal(&self.name))?)
    }

    fn build(&self, addresses: &[IpAddr]) -> Result<(), FenceError> {
        transact(&self.socket, rules::build(&self.name, addresses))
            .map_err(|error| explain(error, &self.socket, &self.name.stays))
    }
}

/// Why tables could not be made, of which `name` is one.
fn explain(error: io::Error, socket: &NetfilterSocket, name: &str) -> FenceError {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EINVAL | libc::ENOENT) => FenceError::Unsupported,
        // One without the capability is told so for the batch as a whole, and before it gets here.
        Some(libc::EPERM) if may_administer(socket) => FenceError::Taken(name.to_owned()),
        Some(libc::EPERM) => FenceError::Denied,
        _ => FenceError::Kernel(error),
    }
}

/// What to send through a [`NetfilterSocket`] to do what [`cleanup`] does: prepared for somebody else, its answers need
/// not be read.
#[must_use]
pub fn prepared_cleanup(name: &FenceName) -> Vec<u8> {
    rules::removal(name).finish().0
}

/// Removes what a killed run left of its fence; nothing is there: nothing happens. From now on addresses that are still
/// set answer again, so they are removed first.
pub fn cleanup(name: &FenceName) -> Result<(), FenceError> {
    transact(&open_socket()?, rules::removal(name)).map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => FenceError::Unsupported,
        Some(libc::EPERM) => FenceError::Denied,
        _ => FenceError::Kernel(error),
    })
}

fn open_socket() -> Result<NetfilterSocket, FenceError> {
    NetfilterSocket::open().map_err(|error| match error.raw_os_error() {
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => FenceError::Unsupported,
        _ => FenceError::Kernel(error),
    })
}

/// Whether a transaction of nothing is permitted.
fn may_administer(socket: &NetfilterSocket) -> bool {
    transact(socket, Batch::new()).is_ok()
}

/// All of `batch`, or nothing and the first error.
fn transact(socket: &NetfilterSocket, batch: Batch) -> io::Result<()> {
    let (messages, expected) = batch.finish();
    let datagrams = socket.exchange(&messages)?;
    let mut answered = 0;
    for (_, errno) in answers(&datagrams) {
        answered += 1;
        if errno != 0 {
            return Err(io::Error::from_raw_os_error(errno));
        }
    }
    // Answers that did not fit into the socket.
    if answered < expected { Err(Errno::ENOBUFS.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_has_one_name_however_it_is_spelled() {
        let place = std::env::temp_dir().join(format!("vipgate-fence-{}", std::process::id()));
        std::fs::create_dir_all(place.join("run")).unwrap();
        std::os::unix::fs::symlink("run", place.join("link")).unwrap();
        let name = |path: &str| FenceName::new(&place.join(path));
        assert_eq!([name("run/"), name("./run"), name("link"), name("run/../run")], [(); 4].map(|()| name("run")));
        assert_eq!(name("link/gone"), name("run/gone"), "one that is not there any more");
        assert_ne!(name("run"), name("run/gone"));
        std::fs::remove_dir_all(&place).unwrap();
    }
}
