//! A node's kernel: one interface with its addresses, told and changed as rtnetlink(7) does it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use tokio::sync::mpsc;

use super::super::interfaces::{Interfaces, OUR_PROTOCOL};
use super::super::kernel::{Kernel, Notification, Notifications, Refused};
use super::super::netlink;
use super::super::routes::Placed;
use super::super::vmac;
use super::lan::Socket;
use super::world::{Shared, World};
use crate::model::{Estate, Prefix, Rule, VirtualAddress};
use crate::os;
use crate::stats::Registry;
use crate::wire::Mac;

pub(super) const INTERFACE: &str = "eth0";
pub(super) const INDEX: u32 = 2;
/// The longest that a request takes.
pub(super) const SLOWNESS: Duration = Duration::from_millis(3);

/// A node without its process.
pub(super) struct Host {
    pub(super) mac: Mac,
    /// The address its distribution sets up.
    pub(super) own: Prefix,
    pub(super) carrier: bool,
    pub(super) powered: bool,
    pub(super) suspended: bool,
    /// Its process was killed and nobody undid what it left.
    pub(super) abandoned: bool,
    pub(super) standing: Standing,
    pub(super) socket: Socket,
    pub(super) registry: Arc<Registry>,
    /// What the guardian knows.
    pub(super) estate: Estate,
    addresses: Vec<(Prefix, AddressMessage)>,
    /// net.ipv4.conf.all.promote_secondaries
    promotes_secondaries: bool,
    notify: Option<mpsc::UnboundedSender<Notification>>,
    /// The next notification is lost.
    overrun: bool,
}

/// What a node's process can do at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// It runs.
    pub(super) alive: bool,
    /// It was told to stop.
    pub(super) stopping: bool,
    /// The thread `vrrp` does not run.
    pub(super) starved: bool,
    /// The thread `addresses` does not run.
    pub(super) blocked: bool,
}

impl Host {
    pub(super) fn new(number: u8, own: Prefix, promotes_secondaries: bool) -> Self {
        let mut host = Self {
            mac: [2, 0, 0, 0, 0, number],
            own,
            carrier: true,
            powered: true,
            suspended: false,
            abandoned: false,
            standing: Standing::default(),
            socket: Socket::default(),
            registry: Arc::default(),
            estate: Estate::default(),
            addresses: Vec::new(),
            promotes_secondaries,
            notify: None,
            overrun: false,
        };
        host.set_plain(own);
        host
    }

    /// Whether it hears and is heard.
    pub(super) fn is_on_segment(&self) -> bool {
        self.powered && self.carrier && !self.suspended
    }

    /// Every address.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.addresses.iter().map(|(prefix, _)| *prefix)
    }

    /// Its process is gone, and all that the kernel kept for it.
    pub(super) fn bury_process(&mut self) {
        self.standing = Standing::default();
        self.socket = Socket::default();
        self.notify = None;
        self.overrun = false;
    }

    pub(super) fn lose_power(&mut self) {
        self.bury_process();
        self.powered = false;
        self.addresses.clear();
    }

    /// The machine has power again, and what its distribution sets up.
    pub(super) fn restart(&mut self) {
        self.powered = true;
        self.abandoned = false;
        self.set_plain(self.own);
    }

    /// Whether it has an address to send from.
    pub(super) fn has_source(&self) -> bool {
        self.prefixes().any(|prefix| prefix == self.own)
    }

    /// Somebody else than this program sets an address.
    pub(super) fn set_plain(&mut self, prefix: Prefix) {
        let _ = self.set(prefix, os::netlink::address(INDEX, prefix));
    }

    fn set(&mut self, prefix: Prefix, mut message: AddressMessage) -> Result<(), Refused> {
        if self.prefixes().any(|known| known == prefix) {
            return Err(Refused(libc::EEXIST));
        }
        if prefix.address.is_ipv4() && self.prefixes().any(|known| is_same_subnet(known, prefix)) {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Secondary));
        }
        self.addresses.push((prefix, message.clone()));
        self.tell(RouteNetlinkMessage::NewAddress(message));
        Ok(())
    }

    /// Removes an address, and with the first IPv4 address of a subnet the others of it.
    pub(super) fn remove(&mut self, prefix: Prefix) {
        let Some(at) = self.prefixes().position(|known| known == prefix) else { return };
        let (_, message) = self.addresses.remove(at);
        if prefix.address.is_ipv4() && !is_secondary(&message) {
            let others = self.addresses.extract_if(.., |(known, _)| is_same_subnet(*known, prefix));
            let others: Vec<(Prefix, AddressMessage)> = others.collect();
            for (_, secondary) in &others {
                self.tell(RouteNetlinkMessage::DelAddress(secondary.clone()));
            }
            self.tell(RouteNetlinkMessage::DelAddress(message));
            if self.promotes_secondaries {
                for (prefix, mut secondary) in others {
                    secondary.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Flags(_)));
                    let _ = self.set(prefix, secondary);
                }
            }
        } else {
            self.tell(RouteNetlinkMessage::DelAddress(message));
        }
    }

    pub(super) fn set_carrier(&mut self, carrier: bool) {
        self.carrier = carrier;
        self.tell(RouteNetlinkMessage::NewLink(self.link()));
    }

    /// The socket's buffer is full: the next notification is lost, and only that is told.
    pub(super) fn overrun(&mut self) {
        self.overrun = true;
    }

    /// Whether an address carries our mark.
    pub(super) fn is_marked(&self, prefix: Prefix) -> bool {
        let marked = AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL));
        self.addresses.iter().any(|(known, message)| *known == prefix && message.attributes.contains(&marked))
    }

    /// Where the process learns of changes from now on.
    pub(super) fn subscribe(&mut self) -> Notifications {
        let (notify, mut told) = mpsc::unbounded_channel();
        self.notify = Some(notify);
        futures_util::stream::poll_fn(move |context| told.poll_recv(context)).boxed()
    }

    fn tell(&mut self, message: RouteNetlinkMessage) {
        if let Some(notify) = &self.notify {
            let lost = std::mem::take(&mut self.overrun);
            let _ = notify.send(if lost { Notification::Lost } else { Notification::Changed(message) });
        }
    }

    fn link(&self) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = INDEX;
        link.header.link_layer_type = LinkLayerType::Ether;
        link.header.flags = LinkFlags::Up;
        if self.carrier {
            link.header.flags |= LinkFlags::Running | LinkFlags::LowerUp;
        }
        link.attributes.push(LinkAttribute::IfName(INTERFACE.into()));
        link.attributes.push(LinkAttribute::Address(self.mac.to_vec()));
        link
    }
}

fn is_secondary(message: &AddressMessage) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Secondary)))
}

fn is_same_subnet(one: Prefix, other: Prefix) -> bool {
    let subnet = |prefix: Prefix| match prefix.address {
        std::net::IpAddr::V4(address) => {
            u32::from(address).checked_shr(32 - u32::from(prefix.length)).unwrap_or_default()
        }
        std::net::IpAddr::V6(_) => 0,
    };
    one.address.is_ipv4() && one.length == other.length && subnet(one) == subnet(other)
}

/// A node's kernel as its process sees it.
pub(super) struct FakeKernel {
    pub(super) world: Shared,
    pub(super) at: usize,
}

impl FakeKernel {
    /// The kernel may have other things to do first.
    async fn dawdle(&self) {
        let wait = {
            let mut world = self.world.borrow_mut();
            let likely = if world.stormy { 40 } else { 5 };
            if world.random.chance(likely) { world.random.up_to(SLOWNESS) } else { Duration::ZERO }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Host) -> T) -> T {
        self.world.borrow_mut().change(|world| {
            if world.stormy && world.random.chance(2) {
                world.hosts[self.at].overrun();
            }
            change(&mut world.hosts[self.at])
        })
    }
}

impl Kernel for FakeKernel {
    async fn dump(&self) -> io::Result<Interfaces> {
        self.dawdle().await;
        let world = self.world.borrow();
        let host = &world.hosts[self.at];
        let mut interfaces = Interfaces::default();
        interfaces.apply(&RouteNetlinkMessage::NewLink(host.link()));
        for (_, message) in &host.addresses {
            interfaces.apply(&RouteNetlinkMessage::NewAddress(message.clone()));
        }
        Ok(interfaces)
    }

    async fn set(&self, wanted: &[(u32, VirtualAddress)]) -> Vec<Result<(), Refused>> {
        self.dawdle().await;
        let mut results = Vec::new();
        for (index, address) in wanted {
            assert_eq!(*index, INDEX);
            let message = netlink::message(*index, address);
            let result = self.change(|host| host.set(address.prefix, message));
            self.trace(format_args!("sets {}: {result:?}", address.prefix));
            results.push(result);
        }
        results
    }

    async fn remove(&self, unwanted: &[(u32, Prefix)]) -> Vec<Result<(), Refused>> {
        self.dawdle().await;
        for (index, prefix) in unwanted {
            assert_eq!(*index, INDEX);
            self.change(|host| host.remove(*prefix));
            self.trace(format_args!("removes {prefix}"));
        }
        vec![Ok(()); unwanted.len()]
    }

    async fn forget_unreached(&self, _indexes: &BTreeSet<u32>) -> io::Result<()> {
        Ok(())
    }

    async fn set_routes(&self, wanted: &[Placed]) -> Vec<Result<(), Refused>> {
        vec![Ok(()); wanted.len()]
    }

    async fn remove_routes(&self, unwanted: &[Placed]) -> Vec<Result<(), Refused>> {
        vec![Ok(()); unwanted.len()]
    }

    async fn set_rule(&self, _rule: &Rule) -> Result<(), Refused> {
        Ok(())
    }

    async fn remove_rule(&self, _rule: &Rule) -> Result<(), Refused> {
        Ok(())
    }

    fn routing_losses(&self) -> io::Result<BoxStream<'static, ()>> {
        Ok(Box::pin(futures_util::stream::pending()))
    }

    async fn make_link(&self, _wanted: &vmac::Wanted) -> Result<RouteNetlinkMessage, Refused> {
        Err(Refused(libc::EOPNOTSUPP))
    }

    async fn switch_link(&self, _link: &vmac::Found, _up: bool) -> Result<(), Refused> {
        Err(Refused(libc::ENODEV))
    }

    async fn remove_link(&self, _unwanted: &vmac::Found) -> Result<(), Refused> {
        Ok(())
    }

    async fn remove_leftovers(&self) -> io::Result<()> {
        Ok(())
    }

    fn transmit(&self, frame: &[u8], index: u32) -> io::Result<()> {
        assert_eq!(index, INDEX);
        self.world.borrow_mut().send_frame(self.at, frame);
        Ok(())
    }

    fn forwards(&self, _interface: &str) -> bool {
        false
    }
}

impl FakeKernel {
    fn trace(&self, what: std::fmt::Arguments<'_>) {
        self.world.borrow().trace(format_args!("node {}: kernel {what}", self.at));
    }
}

impl World {
    /// What a guardian does when its daemon dies.
    pub(super) fn execute_estate(&mut self, at: usize) {
        let estate = std::mem::take(&mut self.hosts[at].estate);
        for packet in &estate.adverts {
            let _ = self.send_packet(at, packet);
        }
        for address in &estate.addresses {
            assert_eq!(address.ifindex, INDEX);
            self.change(|world| world.hosts[at].remove(address.prefix));
        }
    }
}
