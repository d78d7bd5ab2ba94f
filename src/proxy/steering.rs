//! Ranges of ports on one listener a worker: the kernel is told by a program which connections are theirs (BPF, sk_lookup).
//!
//! A change is staged beside what is in force, under numbers of its own, so that it can fail without a trace; then the
//! array of ports is rewritten, and from there on new connections follow it. What was in force stays in the maps until the
//! next change: the program may have read the array just before, and finds nobody to go to if its entries are gone.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use crate::model::PortRange;
use crate::os::bpf::{self, Array, Link, Map, Program};
use crate::os::tcp::Listener;
use crate::wire::sk_lookup::{self, GROUP_KEY, Maps};

/// Ranges of fewer ports are not worth it: each port gets a listener, which `ss` shows.
pub(super) const SMALLEST: usize = 16;
/// As many ranges can be steered, in force, retired and staged together.
const MOST: u32 = 1024;
/// Pairs of a port's set and an address.
const MOST_GROUPS: u32 = 64 * 1024;

/// A range of ports and the listener that its connections come to.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) address: IpAddr,
    pub(super) ports: PortRange,
    /// For `::`: IPv4 connections too.
    pub(super) dual_stack: bool,
    /// One of the sockets that share the first port; the kernel spreads connections over all of them.
    pub(super) listener: Arc<Listener>,
}

/// The program and its maps.
#[derive(Debug)]
pub struct Steering {
    ports: Array,
    groups: Map,
    listeners: Map,
    hook: Hook,
    active: Stage,
    staged: Stage,
    /// Was in force before what is now.
    retired: Stage,
}

/// The program by which the kernel asks.
#[derive(Debug)]
enum Hook {
    /// It is not asked as long as there has been no range.
    Loaded(Program),
    /// From the first range on; the link keeps the program. Where there is no range any more, it leads nobody anywhere.
    Attached(#[expect(dead_code, reason = "it lasts as long as this")] Link),
}

/// What a set of ranges put into the maps.
#[derive(Debug, Default)]
struct Stage {
    /// Ports that lead somewhere, with the number of their set.
    segments: Vec<(PortRange, u32)>,
    groups: Vec<[u8; GROUP_KEY]>,
    /// Places in the map of listeners.
    places: Vec<u32>,
}

impl Steering {
    /// Loads the program; it is attached once there is a range. Needs CAP_BPF and CAP_NET_ADMIN, so it must come before a
    /// process gives them up. Fails where this is not permitted or the kernel has no such programs (before Linux 5.9).
    pub fn open() -> io::Result<Self> {
        let (ports, array) = Array::new(1 << 16)?;
        let groups = Map::hash(GROUP_KEY as u32, 4, MOST_GROUPS)?;
        let listeners = Map::sockets(MOST)?;
        let maps = Maps { ports: array.descriptor(), groups: groups.descriptor(), listeners: listeners.descriptor() };
        let hook = Hook::Loaded(Program::load(&sk_lookup::program(maps))?);
        let [active, staged, retired] = std::array::from_fn(|_| Stage::default());
        Ok(Self { ports, groups, listeners, hook, active, staged, retired })
    }

    /// Prepares to lead these ranges to their listeners, and nothing else any more. Changes nothing yet.
    pub(super) fn stage(&mut self, ranges: &[Range]) -> io::Result<()> {
        self.discard();
        self.forget();
        if ranges.len() as u32 > MOST / 2 {
            return Err(io::Error::other(format!("more than {} ranges of ports", MOST / 2)));
        }
        if let Hook::Loaded(program) = &self.hook
            && !ranges.is_empty()
        {
            self.hook = Hook::Attached(program.attach()?);
        }
        let mut places = Vec::with_capacity(ranges.len());
        for (range, place) in ranges.iter().zip(free(&self.active.places)) {
            let socket = u64::from(range.listener.as_raw_fd().cast_unsigned());
            self.staged.places.push(place);
            self.listeners.set(place.to_ne_bytes(), socket.to_ne_bytes())?;
            places.push(place);
        }
        let taken: Vec<u32> = self.active.segments.iter().map(|(_, number)| *number).collect();
        for ((ports, members), number) in segments(ranges).into_iter().zip(free(&taken).skip(1)) {
            for member in members {
                for address in addresses(&ranges[member]) {
                    let key = sk_lookup::group_key(number, address);
                    self.staged.groups.push(key);
                    self.groups.set(key, places[member].to_ne_bytes())?;
                }
            }
            self.staged.segments.push((ports, number));
        }
        Ok(())
    }

    /// What was staged is in force from now on.
    pub(super) fn commit(&mut self) {
        let new = std::mem::take(&mut self.staged);
        let old = std::mem::replace(&mut self.active, new);
        for (ports, number) in &self.active.segments {
            for port in ports.iter() {
                self.ports.set(port.into(), u64::from(*number));
            }
        }
        for port in old.segments.iter().flat_map(|(ports, _)| ports.iter()) {
            if !self.active.segments.iter().any(|(ports, _)| ports.contains(port)) {
                self.ports.set(port.into(), 0);
            }
        }
        self.retired = old;
    }

    /// Forgets what was staged and not committed.
    fn discard(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        self.remove(&staged);
    }

    fn forget(&mut self) {
        let retired = std::mem::take(&mut self.retired);
        if !retired.groups.is_empty() {
            bpf::wait_for_programs();
            self.remove(&retired);
        }
    }

    /// A listener that was closed has left its map by itself.
    fn remove(&self, stage: &Stage) {
        for key in &stage.groups {
            let _gone = self.groups.remove(*key);
        }
        for place in &stage.places {
            let _gone = self.listeners.remove(place.to_ne_bytes());
        }
    }
}

/// The unspecified address of its family stands for all of them; `::` for those of IPv4 too where it is dual-stack.
fn addresses(range: &Range) -> impl Iterator<Item = IpAddr> {
    let v4 = range.dual_stack.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    std::iter::once(range.address).chain(v4)
}

/// Numbers that are not among `taken`.
fn free(taken: &[u32]) -> impl Iterator<Item = u32> {
    let taken: BTreeSet<u32> = taken.iter().copied().collect();
    (0..).filter(move |number| !taken.contains(number))
}

/// The ports cut into pieces that the same ranges cover, each with these ranges.
fn segments(ranges: &[Range]) -> Vec<(PortRange, Vec<usize>)> {
    let mut cuts: BTreeSet<u32> = BTreeSet::new();
    for range in ranges {
        cuts.insert(u32::from(range.ports.first()));
        cuts.insert(u32::from(range.ports.last()) + 1);
    }
    let cuts: Vec<u32> = cuts.into_iter().collect();
    let mut segments = Vec::new();
    for piece in cuts.windows(2) {
        let (Ok(first), Ok(last)) = (u16::try_from(piece[0]), u16::try_from(piece[1] - 1)) else { continue };
        let Ok(ports) = PortRange::new(first, last) else { continue };
        let members: Vec<usize> = (0..ranges.len()).filter(|index| ranges[*index].ports.contains(first)).collect();
        if !members.is_empty() {
            segments.push((ports, members));
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::tcp::ListenOptions;

    fn range(address: &str, ports: &str) -> Range {
        let options = ListenOptions {
            address: "127.0.0.1:0".parse().unwrap(),
            interface: None,
            nonlocal: false,
            dual_stack: false,
            shared: true,
            backlog: 1,
        };
        let listener = Arc::new(Listener::open(options).unwrap());
        Range { address: address.parse().unwrap(), ports: ports.parse().unwrap(), dual_stack: false, listener }
    }

    #[test]
    fn ports_are_cut_where_the_ranges_that_cover_them_change() {
        let ranges = [range("192.0.2.1", "100-199"), range("192.0.2.2", "150-249"), range("192.0.2.3", "65000-65535")];
        let cut: Vec<(String, Vec<usize>)> =
            segments(&ranges).into_iter().map(|(ports, members)| (ports.to_string(), members)).collect();
        let expected = [("100-149", vec![0]), ("150-199", vec![0, 1]), ("200-249", vec![1]), ("65000-65535", vec![2])];
        assert_eq!(cut, expected.map(|(ports, members)| (ports.to_owned(), members)));
    }

    #[test]
    fn numbers_in_use_are_not_given_again() {
        assert_eq!(free(&[0, 2, 3]).take(3).collect::<Vec<_>>(), [1, 4, 5]);
    }
}
