//! Which processes hold raw sockets of an IP protocol in this thread's network namespace, from /proc.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOwner {
    /// Its id.
    pub pid: u32,
    /// Its name, as in `ps -o comm`.
    pub name: String,
}

/// The processes that hold a raw socket of an IP protocol, by id. Root with CAP_SYS_PTRACE sees all, others only their
/// own user's.
#[must_use]
pub fn raw_socket_owners(protocol: u8) -> Vec<SocketOwner> {
    // Per thread: a process may have threads in several network namespaces.
    let sockets: BTreeSet<u64> = ["/proc/thread-self/net/raw", "/proc/thread-self/net/raw6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, protocol))
        .collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let mut owners: Vec<SocketOwner> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| holds_one_of(*pid, &sockets))
        .map(|pid| SocketOwner { pid, name: name(pid) })
        .collect();
    owners.sort_by_key(|owner| owner.pid);
    owners
}

/// The inodes of the sockets of a protocol in a table in the format of /proc/net/raw: the "port" of a raw socket is its
/// protocol. Inodes are unique in the machine, so whoever holds one holds it in this namespace.
fn inodes(table: &str, protocol: u8) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (_, port) = fields.nth(1)?.rsplit_once(':')?;
            let inode = fields.nth(7)?.parse().ok()?;
            (u16::from_str_radix(port, 16).ok()? == u16::from(protocol)).then_some(inode)
        })
        .collect()
}

fn holds_one_of(pid: u32, sockets: &BTreeSet<u64>) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| socket_inode(&descriptor.path())).any(|inode| sockets.contains(&inode))
}

fn socket_inode(descriptor: &Path) -> Option<u64> {
    fs::read_link(descriptor).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_protocol_112_are_told_from_others() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             \x20 1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11 2 0000000000000000 0\n\
             112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n\
             255: 00000000:00FF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 0\n";
        assert_eq!(inodes(table, 112), [4711]);
    }

    #[test]
    fn a_socket_table_of_rubbish_is_no_socket() {
        assert!(inodes("header\n1: 0070\n:::\n", 112).is_empty());
    }
}
