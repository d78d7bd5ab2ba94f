//! What is not as the routers want it is put right: addresses that somebody else removed, and those that nobody wants.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use netlink_packet_route::RouteNetlinkMessage;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::Instant;

use super::RouterId;
use super::addresses::Keeper;
use super::driver::Input;
use super::fights::{Fight, suspects};
use super::interfaces::Change;
use super::kernel::{Kernel, Refused};
use super::ownership::Repair;
use crate::model::{InterfaceName, VirtualAddress};
use crate::stats::RouterStats;

/// Announcements of an address somebody else had removed, as on becoming master.
const PUT_BACK_COUNT: u32 = 5;

impl<K: Kernel> Keeper<K> {
    /// What the kernel says of a link or an address.
    pub(super) fn hear(&self, message: &RouteNetlinkMessage) {
        let change = self.0.state.borrow_mut().interfaces.apply(message);
        if let Some(change) = change {
            self.take_change(&change);
        }
    }

    fn take_change(&self, change: &Change) {
        self.0.surroundings_changed.notify_one();
        if self.lacks_links() {
            spawn_local(self.clone().make_links());
        }
        match change {
            Change::Link { name, before } => {
                self.listen();
                self.publish(name);
                if let Some(before) = before {
                    self.publish(before);
                }
            }
            Change::AddressSet { index, .. } | Change::AddressGone { index, .. } => {
                let name = self.0.state.borrow().interfaces.by_index(*index).map(|link| link.name.clone());
                if let Some(name) = name {
                    self.publish(&name);
                }
            }
        }
        let repair = {
            let state = self.0.state.borrow();
            state.ownership.repair(&state.interfaces, change)
        };
        self.start_repairs(repair);
    }

    /// Tells the routers about an interface, if it is not what they were told last.
    fn publish(&self, name: &str) {
        let view = self.0.state.borrow().interfaces.view(name);
        let mut published = self.0.published.borrow_mut();
        if published.get(name) == view.as_ref() {
            return;
        }
        match &view {
            Some(view) => drop(published.insert(name.to_owned(), view.clone())),
            None => drop(published.remove(name)),
        }
        if let Ok(name) = name.parse::<InterfaceName>() {
            self.tell(Input::Interface { name, view });
        }
    }

    /// Notifications were lost: everything is read again.
    pub(super) async fn recover(&self) {
        tracing::debug!("notifications of the kernel were lost, reading links and addresses again");
        if let Err(error) = self.read_everything().await {
            tracing::warn!(%error, "links and addresses could not be read");
            return;
        }
        let repairs = {
            let state = self.0.state.borrow();
            state.ownership.repair_all(&state.interfaces)
        };
        self.start_repairs(repairs);
        self.0.surroundings_changed.notify_one();
        spawn_local(self.clone().make_links());
    }

    pub(super) async fn read_everything(&self) -> std::io::Result<()> {
        let interfaces = self.0.kernel.dump().await?;
        let mut names: BTreeSet<String> = self.0.published.borrow().keys().cloned().collect();
        names.extend(interfaces.iter().map(|(_, link)| link.name.clone()));
        self.0.state.borrow_mut().interfaces = interfaces;
        for name in names {
            self.publish(&name);
        }
        Ok(())
    }

    pub(super) async fn repair_now(&self) {
        let repairs = {
            let state = self.0.state.borrow();
            state.ownership.repair_all(&state.interfaces)
        };
        for repair in repairs {
            self.clone().repair(repair).await;
        }
    }

    pub(super) fn start_repairs(&self, repairs: impl IntoIterator<Item = Repair>) {
        for repair in repairs {
            spawn_local(self.clone().repair(repair));
        }
    }

    async fn repair(self, repair: Repair) {
        match repair {
            Repair::PutBack { index, router, address } => {
                if !self.is_due(router, &address) {
                    return;
                }
                let results = self.0.kernel.set(&[(index, address.clone())]).await;
                if results.first() == Some(&Err(Refused(libc::EEXIST))) {
                    // Replaced by ourselves a moment ago.
                    return;
                }
                if let Some(Err(refused)) = results.first() {
                    tracing::warn!(address = %address.prefix, interface = %address.interface,
                        error = %std::io::Error::from(*refused), "address removed by somebody else, not put back");
                    return;
                }
                if !self.is_due(router, &address) {
                    // Given up meanwhile: whoever released it may have been here before.
                    self.0.kernel.remove(&[(index, address.prefix)]).await;
                    return;
                }
                tracing::warn!(address = %address.prefix, interface = %address.interface,
                    "address removed by somebody else, put back");
                let Some(stats) = self.0.state.borrow().stats(router) else { return };
                stats.addresses_taken.fetch_add(1, Ordering::Relaxed);
                spawn_local(self.clone().look_for_culprit(router, address.clone(), Arc::clone(&stats)));
                self.announce(router, &[address], PUT_BACK_COUNT, &stats).await;
            }
            Repair::Remove { index, prefix } => {
                let results = self.0.kernel.remove(&[(index, prefix)]).await;
                match results.first() {
                    Some(Err(refused)) => {
                        tracing::warn!(address = %prefix, error = %std::io::Error::from(*refused),
                            "address that belongs to the master not removed");
                    }
                    Some(Ok(())) | None => {
                        tracing::warn!(address = %prefix, "address that belongs to the master removed from this node");
                    }
                }
            }
        }
    }

    /// Whether the address is to be on this node now.
    fn is_due(&self, router: RouterId, address: &VirtualAddress) -> bool {
        let state = self.0.state.borrow();
        state.ownership.is_wanted(router, address) && !state.delayed.contains(&router)
    }

    /// An address was put back. When that was of no use too often the router yields.
    async fn look_for_culprit(self, router: RouterId, address: VirtualAddress, stats: Arc<RouterStats>) {
        let (fight, name) = {
            let mut state = self.0.state.borrow_mut();
            let Some((limit, name)) =
                state.charges.get(&router).map(|charge| (charge.fight_limit, charge.name.clone()))
            else {
                return;
            };
            (state.fights.count(router, &address, limit, Instant::now()), name)
        };
        match fight {
            Fight::First => {}
            Fight::Again => return,
            Fight::Lost => self.tell(Input::Contested(router)),
        }
        let suspects = spawn_blocking(suspects).await.ok().flatten();
        let culprit = suspects.clone().unwrap_or_else(|| "nobody known runs here".to_owned());
        stats.update_status(|status| status.suspects = suspects);
        match fight {
            Fight::First => tracing::info!(router = name, suspects = culprit, "who may have removed the address"),
            Fight::Lost | Fight::Again => tracing::error!(router = name, address = %address.prefix, suspects = culprit,
                "the address is removed by somebody else again and again, the router yields; have them leave it alone \
                 (systemd-networkd: KeepConfiguration=yes; NetworkManager: unmanaged-devices)"),
        }
    }
}
