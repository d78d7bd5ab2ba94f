//! Echo requests and replies (RFC 792, RFC 4443 section 4).

use pnet_packet::Packet;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;

use super::checksum;
use crate::model::Family;

/// Bytes of a request: the header, and as many of data.
pub const REQUEST_LEN: usize = 16;

const HEADER_LEN: usize = 8;
/// The checksum is the second 16-bit word.
const CHECKSUM_FIELD: usize = 1;

/// Which request a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Whose it is.
    pub identifier: u16,
    /// Which of them.
    pub sequence: u16,
}

/// An echo request. The checksum of the IPv6 one, with its pseudo-header, is the kernel's to fill in.
#[must_use]
pub fn request(family: Family, echo: Echo) -> [u8; REQUEST_LEN] {
    let kind = match family {
        Family::V4 => 8,
        Family::V6 => 128,
    };
    let [identifier, sequence] = [echo.identifier.to_be_bytes(), echo.sequence.to_be_bytes()];
    let mut message = [0; REQUEST_LEN];
    let header = [kind, 0, 0, 0, identifier[0], identifier[1], sequence[0], sequence[1]];
    message[..HEADER_LEN].copy_from_slice(&header);
    if family == Family::V4 {
        let sum = checksum::plain(&message, CHECKSUM_FIELD).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// The echo reply in what a raw socket yields: with the IP header for IPv4, without it for IPv6.
#[must_use]
pub fn reply(family: Family, received: &[u8]) -> Option<Echo> {
    match family {
        Family::V4 => {
            let packet = Ipv4Packet::new(received)?;
            let ours = packet.get_next_level_protocol() == IpNextHeaderProtocols::Icmp;
            // The payload ends where the header says, or where the packet was cut.
            parse(packet.payload(), 0).filter(|_| ours && checksum::is_valid(packet.payload()))
        }
        // The kernel has checked it.
        Family::V6 => parse(received, 129),
    }
}

fn parse(message: &[u8], kind: u8) -> Option<Echo> {
    match message.first_chunk::<HEADER_LEN>()? {
        [found, 0, _, _, a, b, c, d] if *found == kind => {
            Some(Echo { identifier: u16::from_be_bytes([*a, *b]), sequence: u16::from_be_bytes([*c, *d]) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo { identifier: 0x1234, sequence: 7 };

    /// 20 bytes of IPv4 header, then a message.
    fn packet(protocol: u8, message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 20 + message.len() as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend(message);
        packet
    }

    #[test]
    fn requests_are_the_bytes_of_the_standard() {
        // 0xffff - (0x0800 + 0x1234 + 0x0007).
        assert_eq!(request(Family::V4, ECHO)[..8], [8, 0, 0xe5, 0xc4, 0x12, 0x34, 0, 7]);
        assert_eq!(request(Family::V6, ECHO)[..8], [128, 0, 0, 0, 0x12, 0x34, 0, 7]);
    }

    #[test]
    fn replies_are_told_from_everything_else() {
        // 0xffff - (0x1234 + 0x0007).
        let good = [0, 0, 0xed, 0xc4, 0x12, 0x34, 0, 7];
        assert_eq!(reply(Family::V4, &packet(1, &good)), Some(ECHO));
        assert_eq!(reply(Family::V4, &packet(58, &good)), None);
        assert_eq!(reply(Family::V4, &packet(1, &[0, 0, 0xed, 0xc5, 0x12, 0x34, 0, 7])), None, "checksum");
        assert_eq!(reply(Family::V4, &packet(1, &request(Family::V4, ECHO))), None, "a request");
        assert_eq!(reply(Family::V6, &[129, 0, 9, 9, 0x12, 0x34, 0, 7]), Some(ECHO));
        assert_eq!(reply(Family::V6, &[136, 0, 9, 9, 0x12, 0x34, 0, 7]), None);
        for end in 0..28 {
            assert_eq!(reply(Family::V4, &packet(1, &good)[..end]), None);
        }
        assert_eq!(reply(Family::V6, &[129, 0, 9, 9, 0x12, 0x34, 0]), None);
    }
}
