//! Several paths: the same advertisements are sent and heard on every one, and a router has another address on each.
//!
//! **A tie of priority** must be decided alike on both nodes, though one may have the greater address on one path and
//! the other on another. The first path on which the two hear each other decides: a tie heard on a later path counts
//! only once an interval has passed without one on a path before it. On a single path it counts at once.

use std::net::IpAddr;
use std::time::Instant;

use super::{Heard, Router};

/// The other master, by its address on each path it was heard on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Master {
    pub(super) priority: u8,
    sources: Vec<(usize, IpAddr)>,
}

/// Since when a master of the same priority is heard on a path, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tie {
    pub(super) path: usize,
    pub(super) first: Instant,
    pub(super) last: Instant,
}

impl Master {
    fn new(heard: Heard) -> Self {
        Self { priority: heard.priority, sources: vec![(heard.path, heard.source)] }
    }

    /// Its address, on the first path it is heard on.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.sources.iter().min().map(|(_, source)| *source)
    }

    pub(super) fn has(&self, source: IpAddr) -> bool {
        self.sources.iter().any(|(_, known)| *known == source)
    }

    fn is_heard_on(&self, path: usize) -> bool {
        self.sources.iter().any(|(known, _)| *known == path)
    }
}

impl Router {
    /// The addresses of the other master heard last, each with the number of the path it was heard on.
    pub fn master_on_paths(&self) -> impl Iterator<Item = (usize, IpAddr)> {
        self.master.iter().flat_map(|master| master.sources.iter().copied())
    }

    /// Notes who is master; its priority before, if it is the one that was. An unknown address on a path on which
    /// the master was not heard yet is the master's own there if the priority is the same.
    pub(super) fn note_master(&mut self, heard: Heard) -> Option<u8> {
        match &mut self.master {
            Some(master) if master.has(heard.source) => Some(std::mem::replace(&mut master.priority, heard.priority)),
            Some(master) if master.priority == heard.priority && !master.is_heard_on(heard.path) => {
                master.sources.push((heard.path, heard.source));
                Some(heard.priority)
            }
            Some(_) | None => {
                self.master = Some(Master::new(heard));
                None
            }
        }
    }

    /// As master: whether a router of the same priority wins.
    pub(super) fn loses_tie(&mut self, heard: Heard, now: Instant) -> bool {
        let patience = self.config.interval.as_duration();
        let recent = |tie: &Tie| now.saturating_duration_since(tie.last) <= patience * 2;
        self.ties.retain(recent);
        let first = match self.ties.iter_mut().find(|tie| tie.path == heard.path) {
            Some(tie) => {
                tie.last = now;
                tie.first
            }
            None => {
                self.ties.push(Tie { path: heard.path, first: now, last: now });
                now
            }
        };
        let decided_before = self.ties.iter().any(|tie| tie.path < heard.path);
        let too_early = heard.path > 0 && now.saturating_duration_since(first) < patience;
        !decided_before && !too_early && Some(heard.source) > self.address_on(heard.path)
    }

    fn address_on(&self, path: usize) -> Option<IpAddr> {
        match path.checked_sub(1) {
            None => self.local,
            Some(further) => self.path_addresses.get(further).copied().flatten(),
        }
    }
}
