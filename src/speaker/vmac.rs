//! Interfaces with a virtual hardware address (RFC 9568 section 7.3): macvlans in private mode on a router's own
//! interface, made by this program. Ours are known by their alias (IFLA_IFALIAS), which also keeps what the base was set
//! to before: whoever removes the last of them, in this life or a later one, restores it.

use std::fs;

use futures_util::StreamExt;
use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
    MacVlanMode,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkMacVlan, LinkUnspec};

use super::kernel::Refused;
use super::netlink::{refused, serialize};
use crate::model::{Family, VirtualRouter, Vrid};
use crate::wire::Mac;

/// What the alias of our links begins with.
const MARK: &str = "vipgate";

// IPV4_DEVCONF_* of linux/ip.h.
const RP_FILTER: u16 = 8;
const ARP_FILTER: u16 = 13;
const ARP_ANNOUNCE: u16 = 18;
const ARP_IGNORE: u16 = 19;
const ACCEPT_LOCAL: u16 = 23;
/// IFLA_INET_CONF of linux/if_link.h.
const INET_CONF: u16 = 1;

/// The hardware address of a virtual router.
pub(super) fn mac(vrid: Vrid, family: Family) -> Mac {
    let family = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    [0x00, 0x00, 0x5e, 0x00, family, vrid.get()]
}

/// The router with its addresses where they are to be: those that name its own interface are on its VMAC.
pub(super) fn place(router: &VirtualRouter) -> VirtualRouter {
    let mut placed = router.clone();
    if let Some(vmac) = &router.vmac {
        for address in placed.addresses.iter_mut().chain(&mut placed.excluded) {
            if address.interface == router.interface {
                address.interface = vmac.name.clone();
            }
        }
    }
    placed
}

/// A link as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its name.
    pub(super) name: String,
    /// Index of the interface it is on.
    pub(super) base: u32,
    /// Its hardware address.
    pub(super) mac: Mac,
}

/// A link of ours that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its index.
    pub(super) index: u32,
    /// It as it was wanted once.
    pub(super) wanted: Wanted,
    /// What its base was set to before.
    pub(super) before: BaseSettings,
}

/// Settings of a base that VMACs on it change (net.ipv4.conf.*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BaseSettings {
    arp_ignore: i32,
    arp_filter: i32,
    arp_announce: i32,
}

impl BaseSettings {
    /// The base answers ARP for its own addresses only, and asks with its own only: for the others' sake, who would
    /// learn its hardware address for a virtual address.
    const WITH_VMAC: Self = Self { arp_ignore: 1, arp_filter: 1, arp_announce: 2 };

    fn of(conf: &InetDevConf) -> Self {
        Self { arp_ignore: conf.arp_ignore, arp_filter: conf.arpfilter, arp_announce: conf.arp_announce }
    }

    fn settings(self) -> [(u16, i32); 3] {
        [(ARP_IGNORE, self.arp_ignore), (ARP_FILTER, self.arp_filter), (ARP_ANNOUNCE, self.arp_announce)]
    }

    fn to_alias(self) -> String {
        let Self { arp_ignore, arp_filter, arp_announce } = self;
        format!("{MARK}:arp_ignore={arp_ignore}/arp_filter={arp_filter}/arp_announce={arp_announce}")
    }

    /// What an alias says; none: the link is not ours.
    fn from_alias(alias: &str) -> Option<Self> {
        let words = alias.strip_prefix(MARK)?.strip_prefix(':')?;
        let value = |name: &str| -> Option<i32> {
            let mut values = words.split('/').filter_map(|word| word.split_once('='));
            values.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        Some(Self {
            arp_ignore: value("arp_ignore")?,
            arp_filter: value("arp_filter")?,
            arp_announce: value("arp_announce")?,
        })
    }
}

/// Makes the link; it is down. One with this name that is not as wanted is refused with `EEXIST`, unless it is
/// recognisable as ours: then it is made again. Returns what the kernel says of it now.
pub(super) async fn set(handle: &Handle, wanted: &Wanted) -> Result<LinkMessage, Refused> {
    let links = dump(handle).await.map_err(refused)?;
    let ours: Vec<Found> = links.iter().filter_map(read).collect();
    if ours.iter().any(|found| found.wanted == *wanted) {
        return dump_one(handle, &wanted.name).await.map_err(refused);
    }
    if let Some(index) = links.iter().find(|link| is_leftover(link, wanted)).map(|link| link.header.index) {
        remove_link(handle, index).await?;
    }
    let base = links.iter().find(|link| link.header.index == wanted.base).ok_or(Refused(libc::ENODEV))?;
    // Another of ours on this base has changed it already, and knows what was before.
    let known = ours.iter().find(|found| found.wanted.base == wanted.base).map(|found| found.before);
    let before = known.or_else(|| ipv4_settings(base)).ok_or(Refused(libc::ENODEV))?;
    let link = LinkMacVlan::new(&wanted.name, wanted.base, MacVlanMode::Private).address(wanted.mac.to_vec()).build();
    handle.link().add(link).execute().await.map_err(refused)?;
    let index = dump_one(handle, &wanted.name).await.map_err(refused)?.header.index;
    // From here on a killed run's is recognised.
    let alias = LinkUnspec::new_with_index(index).alias(before.to_alias()).build();
    handle.link().set(alias).execute().await.map_err(refused)?;
    let settings = [(ACCEPT_LOCAL, 1), (ARP_IGNORE, 1), (RP_FILTER, reverse_path_filter())];
    change(handle, index, vec![ipv4(&settings), no_link_local()]).await?;
    ignore_router_advertisements(&wanted.name);
    change(handle, wanted.base, vec![ipv4(&BaseSettings::WITH_VMAC.settings())]).await?;
    dump_one(handle, &wanted.name).await.map_err(refused)
}

/// Removes a link of ours; the last on its base restores the base.
pub(super) async fn remove(handle: &Handle, unwanted: &Found) -> Result<(), Refused> {
    remove_link(handle, unwanted.index).await?;
    let left = ours(handle).await.map_err(refused)?;
    if left.iter().any(|found| found.wanted.base == unwanted.wanted.base) {
        return Ok(());
    }
    match change(handle, unwanted.wanted.base, vec![ipv4(&unwanted.before.settings())]).await {
        Err(Refused(libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// Every link of ours: what this run made, or what an earlier one left behind.
pub(super) async fn ours(handle: &Handle) -> Result<Vec<Found>, rtnetlink::Error> {
    Ok(dump(handle).await?.iter().filter_map(read).collect())
}

/// Requests to remove a link and to restore its base, ready to be sent to the kernel in this order.
pub(super) fn removal(link: &Found) -> [Vec<u8>; 2] {
    let remove = LinkUnspec::new_with_index(link.index).build();
    let restore = settings_message(link.wanted.base, vec![ipv4(&link.before.settings())]);
    [serialize(RouteNetlinkMessage::DelLink(remove)), serialize(RouteNetlinkMessage::SetLink(restore))]
}

/// The link in a notification or a dump, if it is ours.
pub(super) fn read(message: &LinkMessage) -> Option<Found> {
    let (mut name, mut base, mut mac, mut before) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Link(value) => base = Some(*value),
            LinkAttribute::Address(value) => mac = Mac::try_from(value.as_slice()).ok(),
            LinkAttribute::IfAlias(value) => before = BaseSettings::from_alias(value),
            _ => {}
        }
    }
    let wanted = Wanted { name: name?, base: base?, mac: mac? };
    (is_macvlan(message)).then_some(Found { index: message.header.index, wanted, before: before? })
}

/// One of this name that is ours, or that a run was killed over before it could mark it.
fn is_leftover(link: &LinkMessage, wanted: &Wanted) -> bool {
    is_macvlan(link)
        && link.attributes.contains(&LinkAttribute::IfName(wanted.name.clone()))
        && (read(link).is_some() || link.attributes.contains(&LinkAttribute::Address(wanted.mac.to_vec())))
}

fn is_macvlan(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(parts) => parts.contains(&LinkInfo::Kind(InfoKind::MacVlan)),
        _ => false,
    })
}

fn ipv4_settings(link: &LinkMessage) -> Option<BaseSettings> {
    let families = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::AfSpecUnspec(families) => Some(families),
        _ => None,
    })?;
    let parts = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet(parts) => Some(parts),
        _ => None,
    })?;
    parts.iter().find_map(|part| match part {
        AfSpecInet::DevConf(conf) => Some(BaseSettings::of(conf)),
        _ => None,
    })
}

async fn dump(handle: &Handle) -> Result<Vec<LinkMessage>, rtnetlink::Error> {
    let mut found = Vec::new();
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(link) = links.next().await {
        found.push(link?);
    }
    Ok(found)
}

async fn dump_one(handle: &Handle, name: &str) -> Result<LinkMessage, rtnetlink::Error> {
    let mut links = std::pin::pin!(handle.link().get().match_name(name.to_owned()).execute());
    links.next().await.ok_or(rtnetlink::Error::RequestFailed)?
}

async fn remove_link(handle: &Handle, index: u32) -> Result<(), Refused> {
    match handle.link().del(index).execute().await.map_err(refused) {
        Err(Refused(libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// Sets a link of ours up or down.
pub(super) async fn switch(handle: &Handle, index: u32, up: bool) -> Result<(), Refused> {
    let link = LinkUnspec::new_with_index(index);
    let link = if up { link.up() } else { link.down() };
    handle.link().set(link.build()).execute().await.map_err(refused)
}

async fn change(handle: &Handle, index: u32, families: Vec<AfSpecUnspec>) -> Result<(), Refused> {
    handle.link().set(settings_message(index, families)).execute().await.map_err(refused)
}

fn settings_message(index: u32, families: Vec<AfSpecUnspec>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Unspec;
    message.header.index = index;
    message.attributes.push(LinkAttribute::AfSpecUnspec(families));
    message
}

/// Settings of net.ipv4.conf, zeros too.
fn ipv4(settings: &[(u16, i32)]) -> AfSpecUnspec {
    let settings: Vec<DefaultNla> =
        settings.iter().map(|(name, value)| DefaultNla::new(*name, value.to_ne_bytes().to_vec())).collect();
    let mut bytes = vec![0; settings.as_slice().buffer_len()];
    settings.as_slice().emit(&mut bytes);
    AfSpecUnspec::Inet(vec![AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, bytes))])
}

/// A link-local address made of the virtual hardware address would be the same on every node of the router.
fn no_link_local() -> AfSpecUnspec {
    AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)])
}

/// Off: answers to what arrives for a virtual address usually leave by the base. The greater of an interface's setting
/// and that of `all` counts, so where that one is strict only loose comes nearer to it.
fn reverse_path_filter() -> i32 {
    let all = fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter").unwrap_or_default();
    if all.trim() == "1" { 2 } else { 0 }
}

/// Its base hears them too; here they would make an address of the virtual hardware address. There is no such setting
/// in netlink.
fn ignore_router_advertisements(name: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
    match fs::write(path, "0") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(interface = name, %error,
                "router advertisements are not ignored: it may get addresses of its own; set net.ipv6.conf.default.accept_ra = 0");
        }
        Ok(()) | Err(_) => {}
    }
}
