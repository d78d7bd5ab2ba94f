//! What daemon and guardian say to each other: a length (4 bytes, big-endian), then a message of that length. Both are
//! the same executable, so there is no version; all numbers are big-endian.
//!
//! ```text
//! message  = 0                                    goodbye
//!          | 1 count(2) advert* count(2) address* count(2) request* request   estate
//! advert   = family(1) ifindex(4) destination(4|16) seal length(2) bytes
//! seal     = 0 | 1 key(1) length(2) secret
//! address  = family(1) ifindex(4) address(4|16) prefix length(1)
//! request  = length(2) bytes
//! ```

use std::net::IpAddr;

use crate::model::{Estate, Family, HmacKey, OwnedAddress, Prefix, PreparedPacket};

/// Longest message. Thousands of addresses and hundreds of peers fit; a length beyond it is no message.
pub(super) const LIMIT: usize = 1 << 20;
/// Bytes of the length.
pub(super) const HEADER: usize = 4;

const GOODBYE: u8 = 0;
const ESTATE: u8 = 1;
const UNSEALED: u8 = 0;
const SEALED: u8 = 1;
const V4: u8 = 4;
const V6: u8 = 6;

/// A message to the guardian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// From now on this is to be undone.
    Estate(Estate),
    /// The daemon ends in good order: nothing is to be undone.
    Goodbye,
}

/// The message with its length before it; none: it is too long.
pub(super) fn encode(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    match message {
        Message::Goodbye => bytes.push(GOODBYE),
        Message::Estate(estate) => {
            bytes.push(ESTATE);
            bytes.extend_from_slice(&u16::try_from(estate.adverts.len()).ok()?.to_be_bytes());
            for advert in &estate.adverts {
                put_address(&mut bytes, advert.ifindex, advert.destination);
                match &advert.seal {
                    None => bytes.push(UNSEALED),
                    Some(HmacKey { id, secret }) => {
                        bytes.extend_from_slice(&[SEALED, *id]);
                        bytes.extend_from_slice(&u16::try_from(secret.len()).ok()?.to_be_bytes());
                        bytes.extend_from_slice(secret);
                    }
                }
                bytes.extend_from_slice(&u16::try_from(advert.bytes.len()).ok()?.to_be_bytes());
                bytes.extend_from_slice(&advert.bytes);
            }
            bytes.extend_from_slice(&u16::try_from(estate.addresses.len()).ok()?.to_be_bytes());
            for address in &estate.addresses {
                put_address(&mut bytes, address.ifindex, address.prefix.address);
                bytes.push(address.prefix.length);
            }
            bytes.extend_from_slice(&u16::try_from(estate.removals.len()).ok()?.to_be_bytes());
            for request in estate.removals.iter().chain([&estate.netfilter]) {
                bytes.extend_from_slice(&u16::try_from(request.len()).ok()?.to_be_bytes());
                bytes.extend_from_slice(request);
            }
        }
    }
    let length = bytes.len() - HEADER;
    let header = u32::try_from(length).ok().filter(|_| length <= LIMIT)?;
    bytes.get_mut(..HEADER)?.copy_from_slice(&header.to_be_bytes());
    Some(bytes)
}

fn put_address(bytes: &mut Vec<u8>, ifindex: u32, address: IpAddr) {
    bytes.push(match address {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    });
    bytes.extend_from_slice(&ifindex.to_be_bytes());
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}

/// The length a header names; none: no message is that long, the two are out of step.
pub(super) fn length(header: [u8; HEADER]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(header)).ok().filter(|length| *length <= LIMIT)
}

/// The message in `bytes`, without its length; none: it is not one.
pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader { rest: bytes };
    let message = match reader.byte()? {
        GOODBYE => Message::Goodbye,
        ESTATE => Message::Estate(reader.estate()?),
        _ => return None,
    };
    reader.rest.is_empty().then_some(message)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn estate(&mut self) -> Option<Estate> {
        let adverts = (0..self.short()?).map(|_| self.advert()).collect::<Option<_>>()?;
        let addresses = (0..self.short()?).map(|_| self.address()).collect::<Option<_>>()?;
        let removals = (0..self.short()?).map(|_| self.counted()).collect::<Option<_>>()?;
        let netfilter = self.counted()?;
        Some(Estate { adverts, addresses, removals, netfilter })
    }

    /// Bytes behind their number.
    fn counted(&mut self) -> Option<Vec<u8>> {
        let length = self.short()?;
        Some(self.take(usize::from(length))?.to_vec())
    }

    fn advert(&mut self) -> Option<PreparedPacket> {
        let (ifindex, destination) = self.place()?;
        let seal = match self.byte()? {
            UNSEALED => None,
            SEALED => Some(HmacKey { id: self.byte()?, secret: self.counted()? }),
            _ => return None,
        };
        let bytes = self.counted()?;
        Some(PreparedPacket { family: Family::of(destination), ifindex, destination, bytes, seal })
    }

    fn address(&mut self) -> Option<OwnedAddress> {
        let (ifindex, address) = self.place()?;
        let length = self.byte().filter(|length| *length <= Family::of(address).bits())?;
        Some(OwnedAddress { ifindex, prefix: Prefix { address, length } })
    }

    fn place(&mut self) -> Option<(u32, IpAddr)> {
        let family = self.byte()?;
        let ifindex = u32::from_be_bytes(self.array()?);
        let address = match family {
            V4 => IpAddr::from(self.array::<4>()?),
            V6 => IpAddr::from(self.array::<16>()?),
            _ => return None,
        };
        Some((ifindex, address))
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(seal: Option<HmacKey>) -> PreparedPacket {
        let destination = "224.0.0.18".parse().unwrap();
        PreparedPacket { family: Family::V4, ifindex: 3, destination, bytes: vec![0x45, 0xc0, 1, 2, 3], seal }
    }

    fn estate() -> Estate {
        Estate {
            adverts: [None, Some(HmacKey { id: 7, secret: b"secret".to_vec() })].map(packet).to_vec(),
            addresses: vec![
                OwnedAddress { ifindex: 3, prefix: "192.0.2.1/24".parse().unwrap() },
                OwnedAddress { ifindex: 4, prefix: "2001:db8::1/64".parse().unwrap() },
            ],
            removals: vec![vec![1, 2, 3], Vec::new(), vec![4; 300]],
            netfilter: vec![5; 400],
        }
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        for message in [Message::Goodbye, Message::Estate(Estate::default()), Message::Estate(estate())] {
            let bytes = encode(&message).unwrap();
            let (header, rest) = bytes.split_at(HEADER);
            assert_eq!(length(header.try_into().unwrap()), Some(rest.len()));
            assert_eq!(decode(rest), Some(message));
        }
    }

    #[test]
    fn a_message_cut_anywhere_or_with_something_behind_is_none() {
        let bytes = encode(&Message::Estate(estate())).unwrap();
        for end in HEADER..bytes.len() {
            assert_eq!(decode(&bytes[HEADER..end]), None);
        }
        let longer = [&bytes[HEADER..], &[0]].concat();
        assert_eq!(decode(&longer), None);
    }

    #[test]
    fn a_length_beyond_the_limit_is_none() {
        assert_eq!(length((LIMIT as u32).to_be_bytes()), Some(LIMIT));
        assert_eq!(length([0xff; HEADER]), None);
        let packet = PreparedPacket { bytes: vec![0; 65_535], ..estate().adverts.remove(0) };
        assert_eq!(encode(&Message::Estate(Estate { adverts: vec![packet; 17], ..Estate::default() })), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
