//! What a router sees of others that should not be: packets it must reject, a second master, a stranger with its
//! number, a firewall that keeps its own adverts. Each is counted, and told as one line when it begins.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::model::VirtualRouter;
use crate::stats::{RejectReason, RejectedPacket, RouterStats, Stranger};

/// A second master, a stranger and a rejection are over when nothing was heard of them for so many intervals.
const OVER_AFTER: u32 = 4;

/// What one router sees.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// Adverts cannot be sent.
    unsent: bool,
    /// Another lists other addresses.
    differing: bool,
    contest: Option<Contest>,
    stranger: Option<Stranger>,
}

/// Two masters at once.
#[derive(Debug, Clone, Copy)]
struct Contest {
    since: Instant,
    last: Instant,
}

impl Sight {
    /// An advert was sent, with these outcomes: one a path and peer. That none leaves is worth one line, not one a
    /// packet; so is that they leave again.
    pub(super) fn sent(
        &mut self,
        router: &VirtualRouter,
        stats: &RouterStats,
        outcomes: &[io::Result<()>],
        priority: u8,
    ) {
        let is_refusal = |error: &&io::Error| error.raw_os_error() == Some(libc::EPERM);
        let failures = || outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let (failed, refused) = (failures().count(), failures().filter(is_refusal).count());
        let sent = outcomes.len() - failed;
        let add = |counter: &AtomicU64, count: usize| counter.fetch_add(count as u64, Ordering::Relaxed);
        add(&stats.sent, sent);
        add(&stats.zero_sent, if priority == 0 { sent } else { 0 });
        add(&stats.send_errors, failed);
        add(&stats.send_refused, refused);
        if sent > 0 && std::mem::take(&mut self.unsent) {
            stats.update_status(|status| status.refused = false);
            tracing::info!(router = router.name, "adverts leave again");
        }
        if sent == 0
            && let Some(error) = failures().next_back()
            && !std::mem::replace(&mut self.unsent, true)
        {
            let refused = refused > 0;
            let cause = if refused { "adverts are refused by this node's firewall" } else { "adverts cannot be sent" };
            stats.update_status(|status| status.refused = refused);
            tracing::warn!(router = router.name, interface = %router.interface, %error, "{cause}");
        }
    }

    /// A packet of its VRID was not accepted.
    pub(super) fn rejected(stats: &RouterStats, reason: RejectReason, source: Option<IpAddr>, now: Instant) {
        stats.count_reject(reason);
        stats.update_status(|status| status.rejected = Some(RejectedPacket { reason, source, at: now }));
    }

    /// An accepted advert lists the configured addresses, or others. Worth a line when that changes. When they have
    /// none in common it is a router of its own, whose VRID happens to be the same.
    pub(super) fn compare(
        &mut self,
        router: &VirtualRouter,
        stats: &RouterStats,
        advert: (IpAddr, &[IpAddr], bool),
        taken: &BTreeSet<u8>,
        now: Instant,
    ) {
        let (source, addresses, same) = advert;
        let changed = std::mem::replace(&mut self.differing, !same) == same;
        let own = |address: &IpAddr| router.addresses.iter().any(|owned| owned.prefix.address == *address);
        let foreign = !same && !addresses.is_empty() && !router.addresses.is_empty() && !addresses.iter().any(own);
        if foreign {
            let free_vrid = (1..=u8::MAX).find(|vrid| !taken.contains(vrid) && *vrid != router.vrid.get());
            let stranger = Stranger { source, addresses: addresses.to_vec(), free_vrid, at: now };
            if changed {
                let free = free_vrid.map_or_else(|| "another".into(), |vrid| vrid.to_string());
                tracing::warn!(router = router.name, %source, ?addresses,
                    "somebody else uses VRID {} on {}: take VRID {free} here, on both nodes", router.vrid, router.interface);
            }
            stats.update_status(|status| status.stranger = Some(stranger.clone()));
            self.stranger = Some(stranger);
        } else if changed && !same {
            tracing::warn!(router = router.name, %source,
                "the other router lists other addresses: its configuration differs from this node's");
        }
    }

    /// While master, another one was heard. `master_for`: what crosses with its own first advert is no contest.
    pub(super) fn second_master(
        &mut self,
        router: &VirtualRouter,
        stats: &RouterStats,
        source: IpAddr,
        master_for: Duration,
        now: Instant,
    ) {
        if master_for < router.interval.as_duration() {
            return;
        }
        match &mut self.contest {
            Some(contest) => {
                let step = now.saturating_duration_since(std::mem::replace(&mut contest.last, now));
                let micros = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
                stats.two_masters_micros.fetch_add(micros, Ordering::Relaxed);
            }
            None => {
                stats.two_masters.fetch_add(1, Ordering::Relaxed);
                stats.update_status(|status| status.contested = Some(now));
                tracing::warn!(router = router.name, %source, "another master is heard beside this one");
                self.contest = Some(Contest { since: now, last: now });
            }
        }
    }

    /// Forgets what is over. `master`: whether it is master.
    pub(super) fn pass(&mut self, router: &VirtualRouter, stats: &RouterStats, master: bool, now: Instant) {
        let patience = router.interval.as_duration() * OVER_AFTER;
        let over = |last: Instant| now.saturating_duration_since(last) > patience;
        if let Some(contest) = self.contest
            && (!master || over(contest.last))
        {
            self.contest = None;
            stats.update_status(|status| status.contested = None);
            let lasted = contest.last.saturating_duration_since(contest.since);
            tracing::info!(router = router.name, ?lasted, "no other master is heard any more");
        }
        if self.stranger.as_ref().is_some_and(|stranger| over(stranger.at)) {
            self.stranger = None;
            stats.update_status(|status| status.stranger = None);
        }
    }
}
