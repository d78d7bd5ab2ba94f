//! After a takeover the gateways are asked from the address itself: who answers has learned where it is, and the first
//! answer of a server behind it does not wait. An announcement alone may be lost, or ignored.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::RouterId;
use super::addresses::Keeper;
use super::announce::{Announcement, BATCH};
use super::kernel::Kernel;
use super::rivals::Question;
use crate::model::{Family, VirtualAddress};
use crate::stats::RouterStats;
use crate::wire::Mac;

/// The first pause for an answer; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 10;

/// What is to be asked for one address.
struct Inquiry {
    address: VirtualAddress,
    mac: Mac,
    question: Question,
}

impl<K: Kernel> Keeper<K> {
    /// Asks until everybody has answered, the addresses are given up, or it is of no use.
    pub(super) async fn ask_gateways(self, router: RouterId, addresses: Vec<VirtualAddress>, stats: Arc<RouterStats>) {
        let mut open = match self.0.kernel.gateways().await {
            Ok(gateways) => self.inquiries(router, &addresses, &gateways),
            Err(error) => return tracing::debug!(%error, "routes cannot be read: no gateway is asked"),
        };
        self.0.state.borrow_mut().asked.extend(open.iter().map(|inquiry| inquiry.question));
        let mut pause = FIRST_PAUSE;
        for attempt in 0..ATTEMPTS {
            self.ask(router, &mut open).await;
            if open.is_empty() {
                return;
            }
            if attempt > 0 {
                let again: BTreeSet<_> = open.iter().map(|inquiry| inquiry.question.1).collect();
                let again: Vec<VirtualAddress> =
                    addresses.iter().filter(|address| again.contains(&address.prefix.address)).cloned().collect();
                self.announce(router, &again, 1, &stats).await;
            }
            self.pass(&open, pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let mut state = self.0.state.borrow_mut();
        let mut silent: BTreeSet<IpAddr> = BTreeSet::new();
        for inquiry in &open {
            if state.asked.remove(&inquiry.question) {
                silent.insert(inquiry.question.2);
            }
        }
        for gateway in silent {
            tracing::warn!(router = state.charges.get(&router).map(|charge| charge.name.as_str()), %gateway,
                "asked {ATTEMPTS} times since the takeover and never answered: it may still send to another node");
        }
    }

    fn inquiries(&self, router: RouterId, addresses: &[VirtualAddress], gateways: &[(u32, IpAddr)]) -> Vec<Inquiry> {
        let state = self.0.state.borrow();
        let own: BTreeSet<IpAddr> = state.ownership.present().collect();
        let configured = state.charges.get(&router).map_or(&[][..], |charge| &charge.ask);
        let mut inquiries = Vec::new();
        for address in addresses {
            let Some((index, link)) = state.interfaces.by_name(address.interface.as_str()) else { continue };
            let Some(mac) = link.mac else { continue };
            // The routes of a node go by the interface below its virtual one.
            let below = link.made.as_ref().map(|made| made.wanted.base);
            let near = gateways.iter().filter(|(on, _)| *on == index || Some(*on) == below).map(|(_, gateway)| gateway);
            let targets: BTreeSet<&IpAddr> = near.chain(configured).collect();
            let own_address = address.prefix.address;
            let suits = |target: &&IpAddr| Family::of(**target) == Family::of(own_address) && !own.contains(target);
            inquiries.extend(targets.into_iter().filter(suits).map(|target| Inquiry {
                address: address.clone(),
                mac,
                question: (index, own_address, *target),
            }));
        }
        inquiries
    }

    /// Asks what is still open. What nobody here owns any more is not.
    async fn ask(&self, router: RouterId, open: &mut Vec<Inquiry>) {
        {
            let mut state = self.0.state.borrow_mut();
            let state = &mut *state;
            let (ownership, asked) = (&state.ownership, &mut state.asked);
            let yields = state.yielding.contains(&router);
            open.retain(|inquiry| {
                let ours = ownership.is_wanted(router, &inquiry.address) && !yields;
                if !ours {
                    asked.remove(&inquiry.question);
                }
                ours && asked.contains(&inquiry.question)
            });
        }
        for batch in open.chunks(BATCH) {
            for Inquiry { mac, question: (index, address, target), .. } in batch {
                if let Some(question) = Announcement::question(*target, *address, *mac, *index)
                    && let Err(error) = question.send(&self.0.kernel).await
                {
                    tracing::debug!(%target, %error, "not asked");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits, but not once everybody has answered.
    async fn pass(&self, open: &[Inquiry], pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            let answered = self.0.answered.notified();
            let is_open = {
                let state = self.0.state.borrow();
                open.iter().any(|inquiry| state.asked.contains(&inquiry.question))
            };
            if !is_open {
                return;
            }
            tokio::select! {
                () = sleep_until(end) => return,
                () = answered => {}
            }
        }
    }
}
