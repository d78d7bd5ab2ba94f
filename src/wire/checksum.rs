//! The Internet checksum (RFC 1071), with the pseudo-header of either IP version.

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::util;

/// No word is skipped: the field is summed as it stands.
const NOTHING: usize = usize::MAX;

/// Checksum of `message` alone, its checksum field (the 16-bit word `field`) taken for zero.
#[must_use]
pub fn plain(message: &[u8], field: usize) -> u16 {
    util::checksum(message, field)
}

/// Checksum of `message` and the pseudo-header of its IP version (RFC 793, RFC 8200 section 8.1). Addresses of
/// different versions have no pseudo-header: the message alone is summed.
#[must_use]
pub fn with_pseudo_header(message: &[u8], field: usize, source: IpAddr, destination: IpAddr, protocol: u8) -> u16 {
    let protocol = IpNextHeaderProtocol(protocol);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            util::ipv4_checksum(message, field, &[], &source, &destination, protocol)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            util::ipv6_checksum(message, field, &[], &source, &destination, protocol)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => plain(message, field),
    }
}

/// Whether `message`, checksum field included, sums up.
#[must_use]
pub fn is_valid(message: &[u8]) -> bool {
    !message.is_empty() && plain(message, NOTHING) == 0
}

/// Whether `message`, checksum field included, sums up with the pseudo-header.
#[must_use]
pub fn is_valid_with_pseudo_header(message: &[u8], source: IpAddr, destination: IpAddr, protocol: u8) -> bool {
    with_pseudo_header(message, NOTHING, source, destination, protocol) == 0
}
