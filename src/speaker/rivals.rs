//! Who else speaks for the addresses of a master, and who has learned where they are: what is heard on the segment
//! besides adverts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::addresses::Keeper;
use super::kernel::Kernel;
use super::ownership::Key;
use crate::wire::Announcement;

/// An announcement by somebody else is answered this often: two who both answer must not fill the segment.
const ANSWERED_EVERY: Duration = Duration::from_secs(1);

/// What is heard, and was answered.
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// The tasks that listen, by index of the interface.
    tasks: BTreeMap<u32, AbortHandle>,
    answered: BTreeMap<Key, Instant>,
}

impl<K: Kernel> Keeper<K> {
    /// Listens on the interfaces with an address of a master, and on no others.
    pub(super) fn listen(&self) {
        let mut state = self.0.state.borrow_mut();
        let state = &mut *state;
        let with_address = |name: &str| {
            let (index, link) = state.interfaces.by_name(name)?;
            link.mac.map(|_| index)
        };
        let wanted: BTreeSet<u32> = state.ownership.wanted_on().filter_map(with_address).collect();
        state.ears.tasks.retain(|index, task| {
            let keep = wanted.contains(index) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for index in wanted {
            let tasks = &mut state.ears.tasks;
            tasks.entry(index).or_insert_with(|| spawn_local(self.clone().attend(index)).abort_handle());
        }
    }

    async fn attend(self, index: u32) {
        let mut heard = match self.0.kernel.announcements(index) {
            Ok(heard) => heard,
            Err(error) => return tracing::debug!(index, %error, "announcements by others are not heard"),
        };
        while let Some(announcement) = heard.next().await {
            self.learned(index, &announcement);
            self.contest(index, &announcement).await;
        }
    }

    /// Somebody else says that an address of ours is theirs: it is said again where it is.
    async fn contest(&self, index: u32, announcement: &Announcement) {
        let Announcement { address, mac, .. } = announcement;
        let (router, address, stats) = {
            let mut state = self.0.state.borrow_mut();
            let Some(link) = state.interfaces.by_index(index) else { return };
            // The other node of a virtual hardware address has the very same.
            if state.interfaces.iter().any(|(_, link)| link.mac == Some(*mac) && link.made.is_none()) {
                return;
            }
            let key = (link.name.clone(), *address);
            let Some((router, address)) = state.ownership.owner(&key) else { return };
            // Its successor, or one that serves until everything is prepared here.
            if state.yielding.contains(&router) || state.delayed.contains(&router) {
                return;
            }
            let now = Instant::now();
            let last = state.ears.answered.get(&key);
            if last.is_some_and(|last| now.saturating_duration_since(*last) < ANSWERED_EVERY) {
                return;
            }
            let first = state.ears.answered.insert(key, now).is_none();
            let Some(stats) = state.stats(router) else { return };
            if first {
                let [a, b, c, d, e, f] = mac;
                let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
                tracing::warn!(address = %address.prefix, interface = %address.interface, mac,
                    "announced by somebody else too: two nodes have this address; announced again");
            }
            (router, address, stats)
        };
        stats.two_announcers.fetch_add(1, Ordering::Relaxed);
        self.announce(router, &[address], 1, &stats).await;
    }

    /// The address is given up: the next rival is news again.
    pub(super) fn forget_rivals(&self, keys: impl IntoIterator<Item = Key>) {
        let mut state = self.0.state.borrow_mut();
        for key in keys {
            state.ears.answered.remove(&key);
        }
    }

    /// Somebody who was asked from an address of ours answered it: they know now where it is.
    fn learned(&self, index: u32, announcement: &Announcement) {
        let Announcement { address: gateway, to, .. } = announcement;
        if self.0.state.borrow_mut().asked.remove(&(index, *to, *gateway)) {
            tracing::debug!(%gateway, address = %to, "knows where the address is now");
            self.0.answered.notify_waiters();
        }
    }
}

/// A question that is open: index of the interface, our address, whom it was asked.
pub(super) type Question = (u32, IpAddr, IpAddr);
