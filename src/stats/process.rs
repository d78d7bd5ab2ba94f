//! What the process uses: read from /proc when a snapshot is made.

use std::fs;

use serde::{Deserialize, Serialize};

use super::late::LateWakesSnapshot;

/// What the process uses and may use. A figure the system does not tell is zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessSnapshot {
    /// Process id.
    pub pid: u32,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Descriptors open.
    pub open_descriptors: u64,
    /// Descriptors the process may have open (soft RLIMIT_NOFILE).
    pub descriptor_limit: u64,
    /// Local ports of outgoing connections: so many to one destination may be open, or closed less than a minute ago.
    #[serde(default)]
    pub local_ports: u64,
    /// Data-plane threads.
    pub workers: usize,
    /// Proxied connections that may be open at a time.
    #[serde(default)]
    pub connection_limit: u64,
    /// Connections accepted in the last second.
    #[serde(default)]
    pub rate: u64,
    /// Connections accepted in the best second.
    #[serde(default)]
    pub rate_max: u64,
    /// Accept calls that failed for lack of a descriptor.
    pub descriptor_shortages: u64,
    /// Log lines dropped because nobody read them.
    pub log_lines_lost: u64,
    /// Packets of protocol 112 that belong to no virtual router of this node.
    pub stray_adverts: u64,
    /// How late the VRRP thread woke.
    pub late_wakes: LateWakesSnapshot,
}

impl ProcessSnapshot {
    /// The calling process; the counters are left at zero.
    pub(super) fn measure(workers: usize) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let ports = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Self {
            pid: std::process::id(),
            resident_bytes: resident_bytes(&status).unwrap_or(0),
            open_descriptors: count_descriptors(),
            descriptor_limit: descriptor_limit(&limits).unwrap_or(0),
            local_ports: local_ports(&ports).unwrap_or(0),
            workers,
            connection_limit: 0,
            rate: 0,
            rate_max: 0,
            descriptor_shortages: 0,
            log_lines_lost: 0,
            stray_adverts: 0,
            late_wakes: LateWakesSnapshot::default(),
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Since Linux 6.2 the size of the directory is the number of descriptors; listing 20,000 of them would take
/// milliseconds that the control thread has better uses for.
fn count_descriptors() -> u64 {
    match fs::metadata("/proc/self/fd") {
        Ok(metadata) if metadata.len() > 0 => metadata.len(),
        Ok(_) | Err(_) => {
            let listed = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            // The listing itself has one open.
            u64::try_from(listed.saturating_sub(1)).unwrap_or(u64::MAX)
        }
    }
}

fn descriptor_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

fn local_ports(range: &str) -> Option<u64> {
    let (first, last) = range.trim().split_once(|c: char| c.is_ascii_whitespace())?;
    (last.trim().parse::<u64>().ok()? + 1).checked_sub(first.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_tables() {
        assert_eq!(resident_bytes("VmPeak:\t 10 kB\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(resident_bytes("nothing"), None);
        assert_eq!(local_ports("32768\t60999\n"), Some(28_232));
        assert_eq!(local_ports(""), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(descriptor_limit(limits), Some(1024));
        assert_eq!(descriptor_limit("Max open files            unlimited            unlimited files"), Some(u64::MAX));
    }

    #[test]
    fn measures_this_process() {
        let here = ProcessSnapshot::measure(2);
        assert_eq!(here.pid, std::process::id());
        assert!(here.resident_bytes > 100_000, "{here:?}");
        assert!((3..100_000).contains(&here.open_descriptors), "{here:?}");
        assert!(here.descriptor_limit >= here.open_descriptors, "{here:?}");
    }
}
