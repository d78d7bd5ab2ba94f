//! The interfaces and addresses of this network namespace, as netlink tells them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};

use super::vmac;
use crate::model::Prefix;
use crate::wire::Mac;

/// IFA_PROTO of the addresses this program sets: `v`. (keepalived's is 18; 1 to 3 are the kernel's.)
pub(super) const OUR_PROTOCOL: u8 = b'v';

/// Every interface, by index.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    links: BTreeMap<u32, Interface>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its name.
    pub(super) name: String,
    /// Administratively up, with a carrier.
    pub(super) up: bool,
    /// Its Ethernet address; none on loopback, tunnels and whatever else needs no announcement.
    pub(super) mac: Option<Mac>,
    /// It was made by this program: as what, and how to undo it.
    pub(super) made: Option<vmac::Found>,
    /// Its addresses, in the kernel's order.
    pub(super) addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    /// Address and prefix length.
    pub(super) prefix: Prefix,
    /// Not the first of its subnet.
    pub(super) secondary: bool,
    /// Duplicate detection has not ended, or ended badly: nothing can be sent from it.
    pub(super) tentative: bool,
    /// Set by this program, now or in an earlier life.
    pub(super) ours: bool,
}

/// What a message changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A link is not what it was.
    Link {
        /// Its name.
        name: String,
        /// Its name before, if it was renamed.
        before: Option<String>,
    },
    /// An address was set.
    AddressSet {
        /// Interface index.
        index: u32,
        /// Which.
        prefix: Prefix,
    },
    /// An address was removed.
    AddressGone {
        /// Interface index.
        index: u32,
        /// Which.
        prefix: Prefix,
    },
}

/// What routers need to know about one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Its index.
    pub(super) index: u32,
    /// Administratively up, with a carrier.
    pub(super) up: bool,
    /// Its Ethernet address.
    pub(super) mac: Option<Mac>,
    /// It was made by this program: as what, and how to undo it.
    pub(super) made: Option<vmac::Found>,
    /// Addresses packets can be sent from, best first. None that this program set.
    pub(super) sources: Vec<IpAddr>,
}

impl Interfaces {
    /// Takes a notification or one part of a dump.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) -> Option<Change> {
        if let RouteNetlinkMessage::NewLink(link) = message {
            self.set_link(link)
        } else if let RouteNetlinkMessage::DelLink(link) = message {
            self.links.remove(&link.header.index).map(|gone| Change::Link { name: gone.name, before: None })
        } else if let RouteNetlinkMessage::NewAddress(address) = message {
            self.set_address(address)
        } else if let RouteNetlinkMessage::DelAddress(address) = message {
            self.remove_address(address)
        } else {
            None
        }
    }

    fn set_link(&mut self, message: &LinkMessage) -> Option<Change> {
        let flags = message.header.flags;
        let name = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        let announces = message.header.link_layer_type == LinkLayerType::Ether && !flags.contains(LinkFlags::Noarp);
        let (before, addresses) =
            self.links.remove(&message.header.index).map(|link| (link.name, link.addresses)).unzip();
        let link = Interface {
            name: name.clone(),
            up: flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp),
            mac: mac.filter(|_| announces),
            made: vmac::read(message),
            addresses: addresses.unwrap_or_default(),
        };
        self.links.insert(message.header.index, link);
        Some(Change::Link { before: before.filter(|before| *before != name), name })
    }

    fn set_address(&mut self, message: &AddressMessage) -> Option<Change> {
        let index = message.header.index;
        let address = read_address(message)?;
        let link = self.links.get_mut(&index)?;
        match link.addresses.iter_mut().find(|known| known.prefix == address.prefix) {
            Some(known) => *known = address,
            None => link.addresses.push(address),
        }
        Some(Change::AddressSet { index, prefix: address.prefix })
    }

    fn remove_address(&mut self, message: &AddressMessage) -> Option<Change> {
        let index = message.header.index;
        let address = read_address(message)?;
        if let Some(link) = self.links.get_mut(&index) {
            link.addresses.retain(|known| known.prefix != address.prefix);
        }
        Some(Change::AddressGone { index, prefix: address.prefix })
    }

    /// The interface with this index.
    pub(super) fn by_index(&self, index: u32) -> Option<&Interface> {
        self.links.get(&index)
    }

    /// The interface with this name, and its index.
    pub(super) fn by_name(&self, name: &str) -> Option<(u32, &Interface)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, link))
    }

    /// Every interface with its index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Interface)> {
        self.links.iter().map(|(index, link)| (*index, link))
    }

    /// What routers need to know about the interface with this name.
    pub(super) fn view(&self, name: &str) -> Option<View> {
        let (index, link) = self.by_name(name)?;
        let mut usable: Vec<Address> =
            link.addresses.iter().copied().filter(|address| !address.tentative && !address.ours).collect();
        usable.sort_by_key(|address| address.secondary);
        let sources = usable.iter().map(|address| address.prefix.address).collect();
        Some(View { index, up: link.up, mac: link.mac, made: link.made.clone(), sources })
    }
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut peer, mut flags, mut ours) = (None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::Flags(value) => flags = Some(*value),
            AddressAttribute::Protocol(protocol) => ours = *protocol == AddressProtocol::Other(OUR_PROTOCOL),
            _ => {}
        }
    }
    let short = message.header.flags;
    let has = |long: AddressFlags, brief: AddressHeaderFlags| {
        flags.map_or_else(|| short.contains(brief), |flags| flags.contains(long))
    };
    Some(Address {
        prefix: Prefix { address: local.or(peer)?, length: message.header.prefix_len },
        secondary: has(AddressFlags::Secondary, AddressHeaderFlags::Secondary),
        tentative: has(AddressFlags::Tentative, AddressHeaderFlags::Tentative)
            || has(AddressFlags::Dadfailed, AddressHeaderFlags::Dadfailed),
        ours,
    })
}
