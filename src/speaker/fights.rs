//! Addresses that somebody else takes away again and again: how often, and who it may be.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use super::RouterId;
use super::ownership::{Key, key};
use crate::model::VirtualAddress;

/// What is longer ago does not count.
const MEMORY: Duration = Duration::from_secs(60);

/// Programs that remove addresses they do not know, as /proc/PID/comm has them (15 bytes at most), and as people call them.
const SUSPECTS: [(&str, &str); 11] = [
    ("systemd-network", "systemd-networkd"),
    ("NetworkManager", "NetworkManager"),
    ("ifup", "ifupdown"),
    ("ifdown", "ifupdown"),
    ("ifquery", "ifupdown"),
    ("dhclient", "dhclient"),
    ("dhcpcd", "dhcpcd"),
    ("cloud-init", "cloud-init"),
    ("netplan", "netplan"),
    ("keepalived", "keepalived"),
    ("connmand", "ConnMan"),
];

/// When each address was put back.
#[derive(Debug, Default)]
pub(super) struct Fights {
    put_back: BTreeMap<(RouterId, Key), VecDeque<Instant>>,
}

/// What a loss amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fight {
    /// The first within a minute.
    First,
    /// One more.
    Again,
    /// More than the limit: it is of no use. The count begins anew.
    Lost,
}

impl Fights {
    /// An address of the router was put back. `limit` is for each address: many that go at once are one loss. 0: none.
    pub(super) fn count(&mut self, router: RouterId, address: &VirtualAddress, limit: u32, now: Instant) -> Fight {
        let times = self.put_back.entry((router, key(address))).or_default();
        while times.front().is_some_and(|time| now.saturating_duration_since(*time) >= MEMORY) {
            times.pop_front();
        }
        times.push_back(now);
        match times.len() {
            count if limit > 0 && count > limit as usize => {
                self.forget(router);
                Fight::Lost
            }
            1 => Fight::First,
            _ => {
                // Without a limit it is enough to know that there was one.
                times.truncate(if limit == 0 { 1 } else { usize::MAX });
                Fight::Again
            }
        }
    }

    /// The router is done.
    pub(super) fn forget(&mut self, router: RouterId) {
        self.put_back.retain(|(owner, _), _| *owner != router);
    }
}

/// The programs on this node that may have taken an address, in words; none is known: none runs. Reads /proc.
pub(super) fn suspects() -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut names: Vec<&str> = processes
        .filter_map(|process| fs::read_to_string(process.path().join("comm")).ok())
        .filter_map(|comm| SUSPECTS.iter().find(|(known, _)| *known == comm.trim_end()).map(|(_, name)| *name))
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(prefix: &str) -> VirtualAddress {
        VirtualAddress::new(prefix.parse().unwrap(), "eth0".parse().unwrap())
    }

    #[test]
    fn more_than_the_limit_within_a_minute_is_lost_and_the_count_begins_anew() {
        let (mut fights, start, vip) = (Fights::default(), Instant::now(), address("192.0.2.100/24"));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut count = |limit, seconds| fights.count(1, &vip, limit, at(seconds));
        assert_eq!([0, 1, 2].map(|second| count(2, second)), [Fight::First, Fight::Again, Fight::Lost]);
        assert_eq!([3, 4].map(|second| count(2, second)), [Fight::First, Fight::Again]);
        assert_eq!(count(2, 63), Fight::Again, "one of the two is a minute ago");
        assert_eq!(count(2, 63), Fight::Lost);
    }

    #[test]
    fn many_addresses_that_go_at_once_are_one_loss() {
        let (mut fights, now) = (Fights::default(), Instant::now());
        for host in 1..=80 {
            assert_eq!(fights.count(1, &address(&format!("192.0.2.{host}/24")), 1, now), Fight::First);
        }
        assert_eq!(fights.count(2, &address("192.0.2.1/24"), 1, now), Fight::First, "another router's");
        assert_eq!(fights.count(1, &address("192.0.2.1/24"), 1, now), Fight::Lost);
    }

    #[test]
    fn without_a_limit_it_is_never_lost() {
        let (mut fights, now) = (Fights::default(), Instant::now());
        let vip = address("192.0.2.100/24");
        assert_eq!(fights.count(1, &vip, 0, now), Fight::First);
        assert!((0..1000).all(|_| fights.count(1, &vip, 0, now) == Fight::Again));
    }
}
