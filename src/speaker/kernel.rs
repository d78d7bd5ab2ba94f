//! The kernel, as the thread `addresses` meets it: links, addresses, neighbours, and frames out of an interface.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;

use super::cleanup::remove_routing_and_links;
use super::fencing::Fencing;
use super::interfaces::Interfaces;
use super::routes::{self, Placed};
use super::{netlink, rules, vmac};
use crate::fence::FenceName;
use crate::model::{Prefix, Rule, VirtualAddress};
use crate::os::packet::FrameSender;
use crate::wire::Announcement;

/// What sets and removes addresses, routes, rules and links.
pub(super) trait Kernel: 'static {
    /// Reads every link and address.
    async fn dump(&self) -> io::Result<Interfaces>;

    /// Sets addresses, in this order; the results are in it too. `EEXIST`: it is there already.
    async fn set(&self, wanted: &[(u32, VirtualAddress)]) -> Vec<Result<(), Refused>>;

    /// Removes addresses, in this order. One that is not there is as good as removed.
    async fn remove(&self, unwanted: &[(u32, Prefix)]) -> Vec<Result<(), Refused>>;

    /// Deletes the neighbours on these interfaces that have not answered: the next packet for one asks again at once.
    async fn forget_unreached(&self, indexes: &BTreeSet<u32>) -> io::Result<()>;

    /// Sets routes, in this order; the results are in it too. `EEXIST`: it is there already.
    async fn set_routes(&self, wanted: &[Placed]) -> Vec<Result<(), Refused>>;

    /// Removes routes of ours, in this order. One that is not there is as good as removed.
    async fn remove_routes(&self, unwanted: &[Placed]) -> Vec<Result<(), Refused>>;

    /// Sets a rule. `EEXIST`: it is there already.
    async fn set_rule(&self, rule: &Rule) -> Result<(), Refused>;

    /// Removes a rule of ours. One that is not there is as good as removed.
    async fn remove_rule(&self, rule: &Rule) -> Result<(), Refused>;

    /// Tells each time when routes or rules of ours may have been removed or displaced.
    fn routing_losses(&self) -> io::Result<BoxStream<'static, ()>>;

    /// Makes an interface with a virtual hardware address, and returns what the kernel says of it.
    async fn make_link(&self, wanted: &vmac::Wanted) -> Result<RouteNetlinkMessage, Refused>;

    /// Sets an interface of ours up or down.
    async fn switch_link(&self, link: &vmac::Found, up: bool) -> Result<(), Refused>;

    /// Removes an interface of ours.
    async fn remove_link(&self, unwanted: &vmac::Found) -> Result<(), Refused>;

    /// Removes the routes, rules and interfaces that an earlier life left behind.
    async fn remove_leftovers(&self) -> io::Result<()>;

    /// Has the node go silent for these addresses, and no others, in the instant in which this process is gone.
    fn fence(&self, _addresses: &BTreeSet<IpAddr>) {}

    /// Restores the fence if somebody took it down. To be called now and then.
    fn mend_fence(&self) {}

    /// Takes the fence down, this process's or what an earlier life left of its own: addresses that are still set
    /// answer whoever set them.
    fn lift_fence(&self) {}

    /// What others announce on the interface from now on.
    fn announcements(&self, _index: u32) -> io::Result<BoxStream<'static, Announcement>> {
        Ok(futures_util::stream::pending().boxed())
    }

    /// The next hops of the default routes of the main table, each with the index of its interface.
    async fn gateways(&self) -> io::Result<Vec<(u32, IpAddr)>> {
        Ok(Vec::new())
    }

    /// Sends an Ethernet frame out of the interface. Never blocks.
    fn transmit(&self, frame: &[u8], index: u32) -> io::Result<()>;

    /// Whether this node is a router on the interface (IPv6).
    fn forwards(&self, interface: &str) -> bool;
}

/// A request refused, with the errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) i32);

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::from_raw_os_error(refused.0)
    }
}

/// What the kernel tells unasked.
#[derive(Debug, Clone)]
pub(super) enum Notification {
    /// A link or an address is not what it was.
    Changed(RouteNetlinkMessage),
    /// Some of these were lost: only a dump says what is.
    Lost,
}

/// The kernel's notifications about links and addresses.
pub(super) type Notifications = BoxStream<'static, Notification>;

/// The kernel of this network namespace, by rtnetlink(7) and packet(7).
pub(super) struct Linux {
    handle: Handle,
    frames: FrameSender,
    fence: Option<RefCell<Fencing>>,
}

impl Linux {
    /// Connects to it, within a runtime.
    pub(super) fn connect(frames: FrameSender, fence: Option<FenceName>) -> io::Result<Self> {
        let fence = fence.map(|name| RefCell::new(Fencing::new(name)));
        Ok(Self { handle: netlink::connect()?, frames, fence })
    }
}

impl Kernel for Linux {
    async fn dump(&self) -> io::Result<Interfaces> {
        netlink::dump(&self.handle).await
    }

    async fn set(&self, wanted: &[(u32, VirtualAddress)]) -> Vec<Result<(), Refused>> {
        netlink::set(&self.handle, wanted).await
    }

    async fn remove(&self, unwanted: &[(u32, Prefix)]) -> Vec<Result<(), Refused>> {
        netlink::remove(&self.handle, unwanted).await
    }

    async fn forget_unreached(&self, indexes: &BTreeSet<u32>) -> io::Result<()> {
        netlink::forget_unreached(&self.handle, indexes).await
    }

    async fn set_routes(&self, wanted: &[Placed]) -> Vec<Result<(), Refused>> {
        routes::set(&self.handle, wanted).await
    }

    async fn remove_routes(&self, unwanted: &[Placed]) -> Vec<Result<(), Refused>> {
        routes::remove(&self.handle, unwanted).await
    }

    async fn set_rule(&self, rule: &Rule) -> Result<(), Refused> {
        rules::set(&self.handle, rule).await
    }

    async fn remove_rule(&self, rule: &Rule) -> Result<(), Refused> {
        rules::remove(&self.handle, rule).await
    }

    fn routing_losses(&self) -> io::Result<BoxStream<'static, ()>> {
        netlink::routing_losses()
    }

    async fn make_link(&self, wanted: &vmac::Wanted) -> Result<RouteNetlinkMessage, Refused> {
        vmac::set(&self.handle, wanted).await.map(RouteNetlinkMessage::NewLink)
    }

    async fn switch_link(&self, link: &vmac::Found, up: bool) -> Result<(), Refused> {
        vmac::switch(&self.handle, link.index, up).await
    }

    async fn remove_link(&self, unwanted: &vmac::Found) -> Result<(), Refused> {
        vmac::remove(&self.handle, unwanted).await
    }

    async fn remove_leftovers(&self) -> io::Result<()> {
        let removed = remove_routing_and_links(&self.handle).await?;
        if !removed.is_empty() {
            tracing::warn!("removed what an earlier run left behind: {removed}");
        }
        Ok(())
    }

    fn announcements(&self, index: u32) -> io::Result<BoxStream<'static, Announcement>> {
        super::watch::announcements(index)
    }

    async fn gateways(&self) -> io::Result<Vec<(u32, IpAddr)>> {
        routes::gateways(&self.handle).await.map_err(io::Error::other)
    }

    fn fence(&self, addresses: &BTreeSet<IpAddr>) {
        if let Some(fence) = &self.fence {
            fence.borrow_mut().set(addresses);
        }
    }

    fn mend_fence(&self) {
        if let Some(fence) = &self.fence {
            fence.borrow_mut().mend();
        }
    }

    fn lift_fence(&self) {
        if let Some(fence) = &self.fence {
            fence.borrow_mut().lift();
        }
    }

    fn transmit(&self, frame: &[u8], index: u32) -> io::Result<()> {
        self.frames.send(frame, index)
    }

    fn forwards(&self, interface: &str) -> bool {
        fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/forwarding"))
            .is_ok_and(|value| value.trim() != "0")
    }
}
