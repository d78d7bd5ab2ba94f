//! Which process listens on a TCP port of this thread's network namespace, from sock_diag and /proc.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sock_diag::{self, Listening};

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortOwner {
    /// Its id, in this PID namespace.
    pub pid: u32,
    /// Its name, as in `ps -o comm`.
    pub name: String,
    /// The address it listens on.
    pub address: SocketAddr,
}

/// The processes whose listeners stand in the way of `address`: of the same port, and of the same address or of all.
/// A listener of another PID namespace, or of another user when this process is not root, is not found.
#[must_use]
pub fn listeners_on(address: SocketAddr) -> Vec<PortOwner> {
    let mut in_the_way = listening();
    in_the_way.retain(|listening| conflicts(listening.address, address));
    if in_the_way.is_empty() { Vec::new() } else { owners(&in_the_way) }
}

/// The sockets that listen on one of these ports, at this address or at all.
#[must_use]
pub fn listening_among(address: IpAddr, ports: RangeInclusive<u16>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = listening()
        .into_iter()
        .map(|listening| listening.address)
        .filter(|theirs| ports.contains(&theirs.port()) && conflicts(*theirs, SocketAddr::new(address, theirs.port())))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Every socket that listens.
fn listening() -> Vec<Listening> {
    sock_diag::listening().unwrap_or_else(|_| {
        let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
        tables.iter().filter_map(|path| fs::read_to_string(path).ok()).flat_map(|table| parse(&table)).collect()
    })
}

/// Whether a listener on `theirs` stands in the way of one on `ours`.
#[must_use]
pub fn conflicts(theirs: SocketAddr, ours: SocketAddr) -> bool {
    theirs.port() == ours.port()
        && (theirs.ip().is_unspecified()
            || ours.ip().is_unspecified()
            || theirs.ip().to_canonical() == ours.ip().to_canonical())
}

fn owners(sockets: &[Listening]) -> Vec<PortOwner> {
    let mut owners = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Some(inode) = socket_inode(&descriptor.path()) else { continue };
            let Some(socket) = sockets.iter().find(|socket| socket.inode == inode) else { continue };
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
            owners.push(PortOwner { pid, name, address: socket.address });
            break;
        }
    }
    owners.sort_by_key(|owner| owner.pid);
    owners
}

fn socket_inode(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The listening sockets of a table in the format of proc(5): `sl local_address rem_address st ... inode`.
fn parse(table: &str) -> Vec<Listening> {
    table.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Listening> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let address = SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?);
    Some(Listening { address, inode: inode.parse().ok()? })
}

/// Addresses are printed as words of the machine's own byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| u32::from_str_radix(hex.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 424242 1 0 100 0 0 10 0\n   \
        1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 424243 1 0 20 4 30 10 -1\n";
    const V6: &str = "  sl  local_address                         remote_address\n   \
        0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
        00000000     0        0 7 1 0 100 0 0 10 0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listeners_are_taken_from_the_tables() {
        let expected = Listening { address: "127.0.0.1:8080".parse().unwrap(), inode: 424_242 };
        assert_eq!(parse(V4), [expected]);
        assert_eq!(parse(V6), [Listening { address: "[::1]:22".parse().unwrap(), inode: 7 }]);
        assert_eq!(parse("rubbish\n 1: zz:zz x 0A\n"), []);
    }

    #[test]
    fn a_wildcard_stands_in_the_way_of_every_address() {
        let conflicts = |theirs: &str, ours: &str| conflicts(theirs.parse().unwrap(), ours.parse().unwrap());
        assert!(conflicts("0.0.0.0:80", "192.0.2.1:80"));
        assert!(conflicts("192.0.2.1:80", "0.0.0.0:80"));
        assert!(conflicts("[::]:80", "192.0.2.1:80"));
        assert!(!conflicts("192.0.2.2:80", "192.0.2.1:80"));
        assert!(!conflicts("192.0.2.1:81", "192.0.2.1:80"));
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = super::super::tcp::Listener::open(super::super::tcp::ListenOptions {
            address: "127.0.0.1:0".parse().unwrap(),
            interface: None,
            nonlocal: false,
            dual_stack: false,
            shared: false,
            backlog: 1,
        })
        .unwrap();
        let address = listener.local_addr().unwrap();
        let owners = listeners_on(address);
        assert_eq!(owners.len(), 1);
        assert_eq!((owners[0].pid, owners[0].address), (std::process::id(), address));
    }
}
