//! An address that has to answer: ARP requests or neighbour solicitations on its link, or echo requests from anywhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::Handle;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Finding, Seen, Sight};
use crate::model::{Family, GatewayCheck, InterfaceName, Prefix, ProbeMethod};
use crate::os::icmp::EchoSocket;
use crate::os::packet::{AnnouncementReceiver, FrameSender};
use crate::wire::icmp::Echo;
use crate::wire::{Announcement, Mac, arp, icmp, ndp};

/// IFA_PROTO of virtual addresses: they come and go, so no question is asked from one.
const VIRTUAL: AddressProtocol = AddressProtocol::Other(b'v');
/// Enough for an ARP frame, an advertisement, or an echo reply with any IP header.
const BUFFER: usize = 512;

/// Asks again and again.
pub(super) async fn watch(check: GatewayCheck, sight: Sight) {
    let mut asker = Asker::new(&check);
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = match check.method {
            ProbeMethod::Neighbour => asker.ask_neighbour().await,
            ProbeMethod::Echo => asker.ask_echo().await,
        };
        let (well, reason) = match answer {
            Ok(after) => (true, format!("{} answered after {:.1} ms", check.address, after.as_secs_f64() * 1000.0)),
            Err(cause) => (false, cause),
        };
        let _ = sight.send(Seen { what: Finding::Well(well), reason });
    }
}

struct Asker<'a> {
    check: &'a GatewayCheck,
    netlink: Option<Handle>,
    /// The socket of the link last asked on.
    ears: Option<(u32, AsyncFd<AnnouncementReceiver>)>,
    identifier: u16,
    sequence: u16,
}

/// From where a neighbour is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    index: u32,
    mac: Mac,
    source: IpAddr,
}

impl<'a> Asker<'a> {
    fn new(check: &'a GatewayCheck) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Distinct from those of `ping`, which are process ids too, as far as 16 bits allow.
        let own = (std::process::id() as u16).rotate_left(8);
        let identifier = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { check, netlink: None, ears: None, identifier, sequence: 0 }
    }

    /// How long the answer took.
    async fn ask_neighbour(&mut self) -> Result<Duration, String> {
        let check = self.check;
        let failed = |error: io::Error| format!("cannot ask for {}: {error}", check.address);
        let place = self.place().await?;
        let sender = FrameSender::open().map_err(failed)?;
        let ears = self.listen(place.index).map_err(failed)?;
        match (check.address, place.source) {
            (IpAddr::V4(target), IpAddr::V4(source)) => {
                sender.send(&arp::request(target, source, place.mac), place.index).map_err(failed)?;
            }
            (IpAddr::V6(target), IpAddr::V6(source)) => {
                sender.send(&ndp::solicitation(target, source, place.mac), place.index).map_err(failed)?;
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
        let says_so = |frame: &[u8]| {
            Announcement::parse(frame).is_some_and(|found| found.address == check.address && found.mac != place.mac)
        };
        await_answer(check, ears, AnnouncementReceiver::receive, says_so).await
    }

    async fn ask_echo(&mut self) -> Result<Duration, String> {
        let check = self.check;
        let family = Family::of(check.address);
        self.sequence = self.sequence.wrapping_add(1);
        let echo = Echo { identifier: self.identifier, sequence: self.sequence };
        let ask = || {
            let interface = check.interface.as_ref().map(InterfaceName::as_str);
            let index = interface.map(nix::net::if_::if_nametoindex).transpose()?;
            let socket = EchoSocket::connect(check.address, interface.zip(index))?;
            socket.send(&icmp::request(family, echo))?;
            socket.register()
        };
        let ears = ask().map_err(|error: io::Error| format!("cannot ask {}: {error}", check.address))?;
        await_answer(check, &ears, EchoSocket::receive, |received| icmp::reply(family, received) == Some(echo)).await
    }

    async fn place(&mut self) -> Result<Place, String> {
        let failed = |error: &dyn std::fmt::Display| format!("cannot read this node's addresses: {error}");
        let handle = match &self.netlink {
            Some(handle) => handle.clone(),
            None => {
                let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| failed(&error))?;
                tokio::spawn(connection);
                self.netlink = Some(handle.clone());
                handle
            }
        };
        let (mut links, mut addresses) = (Vec::new(), Vec::new());
        let mut messages = std::pin::pin!(handle.link().get().execute());
        while let Some(message) = messages.next().await {
            links.push(message.map_err(|error| failed(&error))?);
        }
        let mut messages = std::pin::pin!(handle.address().get().execute());
        while let Some(message) = messages.next().await {
            addresses.push(message.map_err(|error| failed(&error))?);
        }
        place(self.check, &links, &addresses)
    }

    /// The socket that hears the link. It is kept: to close one takes its time.
    fn listen(&mut self, index: u32) -> io::Result<&AsyncFd<AnnouncementReceiver>> {
        let kept = self.ears.take().filter(|(kept, _)| *kept == index);
        let (_, ears) = self.ears.insert(match kept {
            Some(kept) => kept,
            None => (index, AnnouncementReceiver::open(index)?.register()?),
        });
        Ok(ears)
    }
}

/// Waits for the first message that is an answer, for as long as the check allows.
async fn await_answer<S: AsRawFd>(
    check: &GatewayCheck,
    ears: &AsyncFd<S>,
    receive: impl Fn(&S, &mut [u8]) -> io::Result<usize>,
    is_answer: impl Fn(&[u8]) -> bool,
) -> Result<Duration, String> {
    let asked = Instant::now();
    let hear = async {
        let mut buffer = [0; BUFFER];
        loop {
            let mut ready = ears.readable().await?;
            match ready.try_io(|ears| receive(ears.get_ref(), &mut buffer)) {
                Ok(Ok(length)) if is_answer(buffer.get(..length).unwrap_or_default()) => return Ok(()),
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    };
    match timeout(check.timeout, hear).await {
        Ok(Ok(())) => Ok(asked.elapsed()),
        Ok(Err(error)) => Err(format!("cannot ask {}: {error}", check.address)),
        Err(_) => Err(format!("{} did not answer within {} ms", check.address, check.timeout.as_millis())),
    }
}

/// From where the address is asked: over the interface that is named, or the one with a matching prefix.
fn place(check: &GatewayCheck, links: &[LinkMessage], addresses: &[AddressMessage]) -> Result<Place, String> {
    let own: Vec<(u32, Prefix)> = addresses.iter().filter_map(own_address).collect();
    let near = |index: u32| {
        let mut matching = own.iter().filter(move |(on, prefix)| *on == index && covers(*prefix, check.address));
        matching.next().map(|(_, prefix)| prefix.address)
    };
    let link = match &check.interface {
        Some(name) => links
            .iter()
            .find(|link| link.attributes.contains(&LinkAttribute::IfName(name.to_string())))
            .ok_or_else(|| format!("cannot ask for {}: there is no interface {name}", check.address))?,
        None => links.iter().find(|link| near(link.header.index).is_some()).ok_or_else(|| {
            format!("cannot ask for {}: no interface has an address of its network; name an interface", check.address)
        })?,
    };
    let index = link.header.index;
    let mac = link.attributes.iter().find_map(mac).ok_or_else(|| {
        format!("cannot ask for {}: the interface is none of Ethernet; use method `echo`", check.address)
    })?;
    let source = match check.address {
        IpAddr::V4(_) => near(index).or(Some(Ipv4Addr::UNSPECIFIED.into())),
        IpAddr::V6(_) => {
            own.iter().find(|(on, prefix)| *on == index && is_link_local(*prefix)).map(|(_, own)| own.address)
        }
    };
    let source = source.ok_or_else(|| {
        format!("cannot ask for {}: the interface has no link-local address; enable IPv6 on it", check.address)
    })?;
    Ok(Place { index, mac, source })
}

/// An address of this node that is there to stay, with its interface.
fn own_address(message: &AddressMessage) -> Option<(u32, Prefix)> {
    if message.attributes.contains(&AddressAttribute::Protocol(VIRTUAL)) {
        return None;
    }
    // A point-to-point link has its peer in `Address`.
    let find = |local: bool| {
        message.attributes.iter().find_map(move |attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    let address = find(true).or_else(|| find(false))?;
    Some((message.header.index, Prefix { address, length: message.header.prefix_len }))
}

fn covers(prefix: Prefix, address: IpAddr) -> bool {
    let masked = |bits: u128, width: u8| bits.checked_shr(u32::from(width.saturating_sub(prefix.length))).unwrap_or(0);
    match (prefix.address, address) {
        (IpAddr::V4(own), IpAddr::V4(other)) => masked(own.to_bits().into(), 32) == masked(other.to_bits().into(), 32),
        (IpAddr::V6(own), IpAddr::V6(other)) => masked(own.to_bits(), 128) == masked(other.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn is_link_local(prefix: Prefix) -> bool {
    matches!(prefix.address, IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address))
}

fn mac(attribute: &LinkAttribute) -> Option<Mac> {
    match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().filter(|mac| *mac != [0; 6]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn link(index: u32, name: &str, mac: &[u8]) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(mac.to_vec())];
        link
    }

    fn address(index: u32, prefix: &str, is_virtual: bool) -> AddressMessage {
        let mut message = crate::os::netlink::address(index, prefix.parse().unwrap());
        if is_virtual {
            message.attributes.push(AddressAttribute::Protocol(VIRTUAL));
        }
        message
    }

    fn check(address: &str, interface: Option<&str>) -> GatewayCheck {
        GatewayCheck {
            address: address.parse().unwrap(),
            interface: interface.map(|name| name.parse().unwrap()),
            method: ProbeMethod::Neighbour,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_place_to_ask_from_is_found() {
        let links = [link(1, "lo", &[0; 6]), link(2, "eth0", &MAC), link(3, "eth1", &MAC), link(4, "tun0", &[])];
        let addresses = [
            address(1, "127.0.0.1/8", false),
            address(2, "192.0.2.9/24", true),
            address(2, "192.0.2.1/24", false),
            address(2, "2001:db8::1/64", false),
            address(2, "fe80::9/64", true),
            address(2, "fe80::1/64", false),
            address(3, "198.51.100.9/24", true),
            address(4, "10.0.0.1/24", false),
        ];
        let found = |address, interface| place(&check(address, interface), &links, &addresses);
        let at = |index, source: &str| Ok(Place { index, mac: MAC, source: source.parse().unwrap() });
        assert_eq!(found("192.0.2.254", None), at(2, "192.0.2.1"));
        assert_eq!(found("192.0.2.254", Some("eth1")), at(3, "0.0.0.0"));
        assert_eq!(found("2001:db8::ff", None), at(2, "fe80::1"));
        assert_eq!(found("fe80::ff", Some("eth0")), at(2, "fe80::1"));
        for (address, interface, cause) in [
            ("198.51.100.1", None, "name an interface"),
            ("192.0.2.254", Some("eth7"), "no interface eth7"),
            ("10.0.0.2", None, "use method `echo`"),
            ("fe80::ff", Some("eth1"), "no link-local address"),
        ] {
            assert!(found(address, interface).unwrap_err().contains(cause), "{address}");
        }
    }

    #[test]
    fn prefixes_cover_what_they_begin() {
        for (prefix, address, expected) in [
            ("192.0.2.1/24", "192.0.2.255", true),
            ("192.0.2.1/24", "192.0.3.1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::1/64", "2001:db8::2", true),
            ("2001:db8::1/64", "192.0.2.1", false),
        ] {
            assert_eq!(covers(prefix.parse().unwrap(), address.parse().unwrap()), expected, "{prefix} {address}");
        }
    }
}
