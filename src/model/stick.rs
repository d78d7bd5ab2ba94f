//! What a stick table knows clients by. The types are HAProxy's (`stick-table type ...`).

use std::net::{IpAddr, Ipv4Addr};

use data_encoding::{HEXLOWER_PERMISSIVE, HEXUPPER};

use super::expression::Expression;
use super::list::{Kind, Lookup};
use super::net::Prefix;
use super::rule::Condition;

/// What kind of keys a stick table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// IPv4 addresses; IPv6 ones are not kept.
    Ipv4,
    /// Addresses of both families.
    Ipv6,
    /// Numbers of 32 bits.
    Integer,
    /// Texts, cut off after so many bytes.
    Text(u16),
    /// So many bytes: what is longer is cut off, what is shorter is filled with zeros.
    Binary(u16),
}

/// What a client is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An address; an IPv4-mapped one is the IPv4 address.
    Address(IpAddr),
    /// A number.
    Integer(u32),
    /// A text, which need not be UTF-8, or bytes.
    Bytes(Box<[u8]>),
}

/// What a connection's client is known by in a stick table, where that is not its address alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StickKeys {
    /// The first one that is known leads to the server.
    pub matches: Vec<Key>,
    /// These lead to the server from now on.
    pub stores: Vec<Key>,
}

/// What a stick table does with a connection. Rules are asked in order: the first key that is known leads to its server.
#[derive(Debug, Clone, PartialEq)]
pub struct StickRule {
    /// What is done with the key.
    pub action: StickAction,
    /// Where the key comes from.
    pub key: Expression,
    /// For whom; none: for everybody.
    pub when: Option<Condition>,
}

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StickAction {
    /// It leads to the server, and is stored (`stick on`).
    On,
    /// It only leads to the server (`stick match`).
    Match,
    /// It is only stored (`stick store-request`).
    Store,
    /// It is something that the server says, and is stored then (`stick store-response`).
    StoreAnswer,
}

impl StickRule {
    /// Whether it is about what the server says.
    #[must_use]
    pub fn is_of_the_answer(&self) -> bool {
        self.action == StickAction::StoreAnswer
    }

    /// Whether what the client says may change what it comes to.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.key.listens() || self.when.as_ref().is_some_and(Condition::listens)
    }

    /// The lists that it asks, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        self.key.lookups().chain(self.when.iter().flat_map(Condition::lookups))
    }
}

impl KeyType {
    /// A key as a table of this type keeps it; none where it cannot.
    #[must_use]
    pub fn cast(self, key: Key) -> Option<Key> {
        match (self, key) {
            (Self::Ipv4, Key::Address(address)) => {
                let address = address.to_canonical();
                address.is_ipv4().then_some(Key::Address(address))
            }
            (Self::Ipv6, Key::Address(address)) => Some(Key::Address(address.to_canonical())),
            (Self::Integer, key @ Key::Integer(_)) => Some(key),
            // HAProxy's casts between addresses and numbers.
            (Self::Integer, Key::Address(IpAddr::V4(address))) => Some(Key::Integer(address.into())),
            (Self::Ipv4 | Self::Ipv6, Key::Integer(number)) => Some(Key::Address(Ipv4Addr::from(number).into())),
            (Self::Text(_), Key::Address(address)) => self.cast(text(&address.to_canonical())),
            (Self::Text(_), Key::Integer(number)) => self.cast(text(&number)),
            (Self::Text(most), Key::Bytes(bytes)) => {
                let fits = bytes.len() <= usize::from(most);
                let cut = |bytes: Box<[u8]>| bytes.iter().copied().take(usize::from(most)).collect();
                Some(Key::Bytes(if fits { bytes } else { cut(bytes) })).filter(|key| *key != Key::Bytes(Box::new([])))
            }
            (Self::Binary(_), Key::Address(IpAddr::V4(address))) => self.cast(bytes(&address.octets())),
            (Self::Binary(_), Key::Address(IpAddr::V6(address))) => self.cast(bytes(&address.octets())),
            (Self::Binary(_), Key::Integer(number)) => self.cast(bytes(&number.to_be_bytes())),
            (Self::Binary(length), Key::Bytes(bytes)) => {
                if bytes.is_empty() || bytes.len() == usize::from(length) {
                    return Some(Key::Bytes(bytes)).filter(|key| *key != Key::Bytes(Box::new([])));
                }
                let mut filled = bytes.into_vec();
                filled.resize(usize::from(length), 0);
                Some(Key::Bytes(filled.into()))
            }
            (Self::Ipv4 | Self::Ipv6 | Self::Integer, Key::Bytes(_)) | (Self::Integer, Key::Address(_)) => None,
        }
    }

    /// Whether a table of this type keeps a key as it is: what [`cast`](Self::cast) would not change.
    #[must_use]
    pub fn keeps(self, key: &Key) -> bool {
        match (self, key) {
            (Self::Ipv4, Key::Address(address)) => address.is_ipv4(),
            (Self::Ipv6, Key::Address(address)) => address.to_canonical() == *address,
            (Self::Integer, Key::Integer(_)) => true,
            (Self::Text(most), Key::Bytes(bytes)) => (1..=usize::from(most)).contains(&bytes.len()),
            (Self::Binary(length), Key::Bytes(bytes)) => !bytes.is_empty() && bytes.len() == usize::from(length),
            (Self::Ipv4 | Self::Ipv6, Key::Integer(_) | Key::Bytes(_))
            | (Self::Integer, Key::Address(_) | Key::Bytes(_))
            | (Self::Text(_) | Self::Binary(_), Key::Address(_) | Key::Integer(_)) => false,
        }
    }

    /// The key that somebody means by `text`: an address, a number, the text itself, or bytes as hexadecimal digits.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Key> {
        let key = match self {
            Self::Ipv4 | Self::Ipv6 => Key::Address(text.parse().ok()?),
            Self::Integer => Key::Integer(text.parse().ok()?),
            Self::Text(_) => bytes(text.as_bytes()),
            Self::Binary(_) => bytes(&HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?),
        };
        self.cast(key)
    }

    /// A key as [`KeyType::read`] takes it.
    #[must_use]
    pub fn show(self, key: &Key) -> String {
        match (self, key) {
            (_, Key::Address(address)) => address.to_string(),
            (_, Key::Integer(number)) => number.to_string(),
            (Self::Text(_), Key::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            (_, Key::Bytes(bytes)) => HEXUPPER.encode(bytes),
        }
    }

    /// Its name in HAProxy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ipv6",
            Self::Integer => "integer",
            Self::Text(_) => "string",
            Self::Binary(_) => "binary",
        }
    }
}

impl Key {
    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Integer(_) | Self::Bytes(_) => None,
        }
    }

    /// An address with all but its first bits zero: so many of an IPv4, so many of an IPv6 one.
    #[must_use]
    pub fn network(address: IpAddr, v4_bits: u8, v6_bits: u8) -> IpAddr {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { v4_bits } else { v6_bits };
        Prefix { address, length }.network().address
    }
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

fn bytes(bytes: &[u8]) -> Key {
    Key::Bytes(bytes.into())
}

fn text(what: &impl ToString) -> Key {
    bytes(what.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_as_the_type_has_them() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(KeyType::Ipv4.cast(Key::Address(mapped)), Some(Key::Address(v4)));
        assert_eq!(KeyType::Ipv4.cast(Key::Address(v6)), None);
        assert_eq!(KeyType::Ipv6.cast(Key::Address(v6)), Some(Key::Address(v6)));
        assert_eq!(KeyType::Integer.cast(Key::Address(v4)), Some(Key::Integer(0xc000_0201)));
        assert_eq!(KeyType::Text(3).cast(bytes(b"abcd")), Some(bytes(b"abc")));
        assert_eq!(KeyType::Text(3).cast(bytes(b"")), None);
        assert_eq!(KeyType::Text(20).cast(Key::Address(v4)), Some(bytes(b"192.0.2.1")));
        assert_eq!(KeyType::Binary(4).cast(bytes(&[1, 2])), Some(bytes(&[1, 2, 0, 0])));
        assert_eq!(KeyType::Binary(1).cast(bytes(&[1, 2])), Some(bytes(&[1])));
        assert_eq!(KeyType::Integer.cast(bytes(b"1")), None);
    }

    #[test]
    fn a_key_is_kept_that_a_cast_leaves_as_it_is() {
        let address = |text: &str| Key::Address(text.parse().unwrap());
        let addresses = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(address);
        let texts = [&b""[..], b"a", b"abc", b"abcd"].map(bytes);
        for key in addresses.into_iter().chain(texts).chain([Key::Integer(7)]) {
            for kind in [KeyType::Ipv4, KeyType::Ipv6, KeyType::Integer, KeyType::Text(3), KeyType::Binary(3)] {
                assert_eq!(kind.keeps(&key), kind.cast(key.clone()) == Some(key.clone()), "{kind:?} {key:?}");
            }
        }
    }

    #[test]
    fn what_is_shown_is_read() {
        for (kind, text) in [
            (KeyType::Ipv4, "192.0.2.1"),
            (KeyType::Ipv6, "2001:db8::1"),
            (KeyType::Integer, "4294967295"),
            (KeyType::Text(32), "www.example.org"),
            (KeyType::Binary(3), "00A1FF"),
        ] {
            assert_eq!(kind.show(&kind.read(text).unwrap()), text);
        }
        assert_eq!(KeyType::Binary(2).read("0"), None);
        assert_eq!(KeyType::Integer.read("-1"), None);
    }

    #[test]
    fn networks_keep_the_first_bits() {
        let network = |text: &str, v4, v6| Key::network(text.parse().unwrap(), v4, v6).to_string();
        assert_eq!(network("192.0.2.77", 24, 64), "192.0.2.0");
        assert_eq!(network("192.0.2.77", 0, 64), "0.0.0.0");
        assert_eq!(network("192.0.2.77", 32, 64), "192.0.2.77");
        assert_eq!(network("2001:db8:1:2:3::4", 24, 64), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:3::4", 24, 128), "2001:db8:1:2:3::4");
    }
}
