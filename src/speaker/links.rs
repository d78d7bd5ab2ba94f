//! The interfaces with a virtual hardware address: made for a router that wants one as soon as its own interface is
//! there, made again when somebody removed them, removed when the router goes. They are up while the router has
//! addresses and down otherwise: whatever a backup sent from the virtual hardware address (reports of group membership are
//! enough) would make switches look for it in the wrong place.

use std::collections::BTreeSet;

use super::RouterId;
use super::addresses::Keeper;
use super::driver::Input;
use super::egress;
use super::ingress::Wanted;
use super::interfaces::Interfaces;
use super::kernel::{Kernel, Refused};
use super::slot::Views;
use super::vmac;
use crate::model::{InterfaceName, VirtualRouter};
use crate::wire::Mac;

/// An interface wanted by a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    name: InterfaceName,
    base: InterfaceName,
    mac: Mac,
}

impl Link {
    /// The one a router wants, if it wants one.
    pub(super) fn of(router: &VirtualRouter) -> Option<Self> {
        let vmac = router.vmac.as_ref()?;
        let mac = vmac::mac(router.vrid, router.family);
        Some(Self { name: vmac.name.clone(), base: router.interface.clone(), mac })
    }

    /// What to make now; none: its base is not there, or it is as it should be.
    fn missing(&self, interfaces: &Interfaces) -> Option<vmac::Wanted> {
        let (base, _) = interfaces.by_name(self.base.as_str())?;
        let wanted = vmac::Wanted { name: self.name.as_str().to_owned(), base, mac: self.mac };
        let made = interfaces.by_name(self.name.as_str()).and_then(|(_, link)| link.made.as_ref());
        made.is_none_or(|made| made.wanted != wanted).then_some(wanted)
    }
}

/// Where a router with a VMAC hears what others send from the very same hardware address: a macvlan takes that away from
/// its base. Everything else is heard on the base.
pub(super) fn channel(router: &VirtualRouter, views: &Views) -> Option<Wanted> {
    let vmac = router.vmac.as_ref().filter(|_| router.peers.is_empty())?;
    let index = views.get(&vmac.name).filter(|view| view.up)?.index;
    let from = Some(vmac::mac(router.vrid, router.family));
    let groups = BTreeSet::from([egress::group(router)]);
    Some(Wanted { channel: (vmac.name.clone(), router.family), index, from, groups })
}

impl<K: Kernel> Keeper<K> {
    /// Makes what is missing.
    pub(super) async fn make_links(self) {
        let _one_at_a_time = self.0.making_links.lock().await;
        let missing: Vec<(RouterId, vmac::Wanted)> = {
            let state = self.0.state.borrow();
            let links = state.links.iter();
            links.filter_map(|(router, link)| Some((*router, link.missing(&state.interfaces)?))).collect()
        };
        for (router, wanted) in missing {
            match self.0.kernel.make_link(&wanted).await {
                Ok(message) => {
                    tracing::info!(interface = wanted.name, "interface with the virtual hardware address made");
                    self.hear(&message);
                    if self.0.state.borrow().ownership.wants_any(router) {
                        self.switch_link(router, true).await;
                    }
                }
                // Its base went meanwhile: it is made when that one is back.
                Err(Refused(libc::ENODEV)) => {}
                Err(refused) => {
                    let hint = match refused {
                        Refused(libc::EEXIST) => ": there is another interface of that name",
                        Refused(libc::EOPNOTSUPP) => ": the kernel has no macvlan (modprobe macvlan)",
                        Refused(libc::EBUSY) => {
                            ": its base is used in a way that leaves no room for it (a bridge port?)"
                        }
                        _ => "",
                    };
                    tracing::error!(interface = wanted.name, error = %std::io::Error::from(refused),
                        "interface with the virtual hardware address not made{hint}");
                }
            }
        }
    }

    /// Sets the router's interface up or down, if it has one of its own.
    pub(super) async fn switch_link(&self, router: RouterId, up: bool) {
        let made = {
            let state = self.0.state.borrow();
            let link = state.links.get(&router).and_then(|link| state.interfaces.by_name(link.name.as_str()));
            link.and_then(|(_, link)| link.made.clone())
        };
        if let Some(made) = made
            && let Err(refused) = self.0.kernel.switch_link(&made, up).await
        {
            tracing::warn!(interface = made.wanted.name, error = %std::io::Error::from(refused),
                "interface with the virtual hardware address not set {}", if up { "up" } else { "down" });
        }
    }

    /// Whether something is missing.
    pub(super) fn lacks_links(&self) -> bool {
        let state = self.0.state.borrow();
        state.links.values().any(|link| link.missing(&state.interfaces).is_some())
    }

    /// The router has done all its work: its interface goes, unless its successor in the configuration wants it.
    pub(super) async fn finish(&self, router: RouterId) {
        let _one_at_a_time = self.0.making_links.lock().await;
        let unwanted = {
            let mut state = self.0.state.borrow_mut();
            let link = state.links.remove(&router).filter(|link| state.links.values().all(|other| other != link));
            link.and_then(|link| state.interfaces.by_name(link.name.as_str())?.1.made.clone())
        };
        if let Some(made) = unwanted
            && let Err(refused) = self.0.kernel.remove_link(&made).await
        {
            tracing::warn!(interface = made.wanted.name, error = %std::io::Error::from(refused),
                "interface with the virtual hardware address not removed");
        }
        self.tell(Input::Finished(router));
    }
}
