//! Addresses, prefixes, ports and interface names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::control::Descriptor;

use super::socket::ListenTuning;

/// A value that cannot be what it is meant to be; the text names the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// IP version of a virtual router or socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Address bits: 32 or 128.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address with its prefix length, as it is set on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The address, host bits included.
    pub address: IpAddr,
    /// Prefix length in bits, at most 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// The same without its host bits.
    #[must_use]
    pub fn network(self) -> Self {
        let length = u32::from(self.length);
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(u32::BITS.saturating_sub(length)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(u128::BITS.saturating_sub(length)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        };
        Self { address, ..self }
    }

    /// Whether `address` is in it. IPv4 addresses written as IPv6 ones are IPv4 ones.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        Family::of(address) == Family::of(self.address)
            && Self { address, ..self }.network().address == self.network().address
    }
}

impl FromStr for Prefix {
    type Err = Invalid;

    /// `192.0.2.1/24`; without a length, a host address (/32 or /128).
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| Invalid(format!("`{address}` is not an IP address")))?;
        let bits = Family::of(address).bits();
        let length = match length {
            None => bits,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|length| *length <= bits)
                .ok_or_else(|| Invalid(format!("prefix length `{digits}` is not a number from 0 to {bits}")))?,
        };
        Ok(Self { address, length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An inclusive range of TCP ports; a single port is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The range `first..=last`. Fails when it is empty or contains port 0.
    pub fn new(first: u16, last: u16) -> Result<Self, Invalid> {
        if first == 0 {
            return Err(Invalid("port 0 is not a port a client can reach".into()));
        }
        if last < first {
            return Err(Invalid(format!("port range {first}-{last} ends before it begins")));
        }
        Ok(Self { first, last })
    }

    /// The first port.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port, inclusive.
    #[must_use]
    pub fn last(self) -> u16 {
        self.last
    }

    /// All ports, ascending.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// How many ports; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Whether `port` is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether a port is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl FromStr for PortRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let port = |digits: &str| {
            digits
                .parse::<u16>()
                .map_err(|_| Invalid(format!("`{digits}` is not a port: a number from 1 to 65535 was expected")))
        };
        match text.split_once('-') {
            Some((first, last)) => Self::new(port(first)?, port(last)?),
            None => port(text).and_then(|port| Self::new(port, port)),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// A network interface's name, as the kernel accepts it: 1 to 15 bytes, no `/`, no white space.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// `lo`, which every network namespace has.
    #[must_use]
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let valid = !text.is_empty()
            && text.len() <= 15
            && text != "."
            && text != ".."
            && !text.contains(|c: char| c == '/' || c.is_whitespace());
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid(format!("`{text}` cannot be an interface name: 1 to 15 bytes without `/` or spaces")))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// The local address; unspecified for all of a family.
    pub address: IpAddr,
    /// The ports, each listened on.
    pub ports: PortRange,
    /// Bind although the address is not on this node now (IP_FREEBIND). Always true natively; from a haproxy.cfg
    /// only with `transparent` or when the address is a virtual address of the same run.
    pub nonlocal: bool,
    /// Only connections that arrive on this interface (SO_BINDTODEVICE).
    pub interface: Option<InterfaceName>,
    /// For `::`: whether IPv4 connections are accepted too.
    pub dual_stack: bool,
    /// Clients within these begin with a PROXY header, which says whom they speak for; from nobody else one is taken.
    pub proxy_from: Vec<Prefix>,
    /// Options of its TCP.
    pub tuning: ListenTuning,
    /// The process was started with this socket, which listens on `address`; it is not bound again.
    pub inherited: Option<Descriptor>,
}

impl ListenAddress {
    /// `address` and `ports`, whether the address is on this node or not.
    #[must_use]
    pub fn new(address: IpAddr, ports: PortRange) -> Self {
        Self {
            address,
            ports,
            nonlocal: true,
            interface: None,
            dual_stack: false,
            proxy_from: Vec::new(),
            tuning: ListenTuning::default(),
            inherited: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_no_host_bits() {
        let rows = [
            ("192.0.2.129/25", "192.0.2.128/25"),
            ("192.0.2.129/32", "192.0.2.129/32"),
            ("192.0.2.129/0", "0.0.0.0/0"),
            ("2001:db8:0:ffff::1/49", "2001:db8:0:8000::/49"),
            ("2001:db8::1/128", "2001:db8::1/128"),
            ("2001:db8::1/0", "::/0"),
        ];
        for (prefix, network) in rows {
            let prefix: Prefix = prefix.parse().unwrap();
            assert_eq!(prefix.network().to_string(), network);
        }
    }
}
