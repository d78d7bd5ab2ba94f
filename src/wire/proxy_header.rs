//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who a connection was made by, said by a proxy in
//! front of its first byte. Parsing is strict and bounded, and takes a header in as many pieces as it comes in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, line end included (section 2.1).
const LONGEST_V1: usize = 107;
/// The longest one of version 2 that is taken: 216 bytes of addresses and well-known extensions fit several times.
const LONGEST_V2: usize = 4096;
/// As many bytes decide whether a header has come in whole, or how long it is.
pub const LONGEST: usize = LONGEST_V2;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The connection is the proxy's own, such as a health check, or of a kind that cannot be told: its own addresses count.
    Local,
    /// It was made for somebody else.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They begin with something else.
    #[error("no PROXY header")]
    Absent,
    /// A line of version 1 that is too long.
    #[error("a PROXY line of more than 107 bytes")]
    LongLine,
    /// A line of version 1 that is not as it should be.
    #[error("a PROXY line that cannot be read")]
    Line,
    /// Version, command or transport of a binary header.
    #[error("a PROXY header of a kind that is not known")]
    Kind,
    /// The length of a binary header does not fit its addresses, or it is longer than 4096 bytes.
    #[error("a PROXY header with a wrong length")]
    Length,
}

/// The header that `bytes` begin with, and its length; none while it is not complete.
pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(have, want)| have == want);
    if begins(&SIGNATURE) {
        decode_v2(bytes)
    } else if begins(b"PROXY ") {
        decode_v1(bytes)
    } else {
        Err(Malformed::Absent)
    }
}

fn decode_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let window = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= LONGEST_V1 { Err(Malformed::LongLine) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&window[..end]).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("UNKNOWN") => Header::Local,
        Some(family @ ("TCP4" | "TCP6")) => {
            let v4 = family == "TCP4";
            let mut address = || {
                let address: IpAddr = words.next()?.parse().ok()?;
                (address.is_ipv4() == v4).then_some(address)
            };
            let (source, destination) = (address().ok_or(Malformed::Line)?, address().ok_or(Malformed::Line)?);
            let mut port = || words.next().and_then(port).ok_or(Malformed::Line);
            let (source, destination) = (SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?));
            if words.next().is_some() {
                return Err(Malformed::Line);
            }
            Header::Proxied { source, destination }
        }
        _ => return Err(Malformed::Line),
    };
    Ok(Some((header, end + 2)))
}

/// 0 to 65535 in decimal digits, without needless ones in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn decode_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let whole = V2_FIXED + length;
    if whole > LONGEST_V2 {
        return Err(Malformed::Length);
    }
    let command = match fixed[12] {
        0x20 => Command::Local,
        0x21 => Command::Proxy,
        _ => return Err(Malformed::Kind),
    };
    let Some(block) = bytes.get(V2_FIXED..whole) else { return Ok(None) };
    let header = match (command, fixed[13]) {
        // Whatever stands in the block is to be skipped (section 2.2).
        (Command::Local, _) | (Command::Proxy, UNSPECIFIED | UNIX_STREAM) => Header::Local,
        (Command::Proxy, TCP4) => addresses::<4>(block)?,
        (Command::Proxy, TCP6) => addresses::<16>(block)?,
        (Command::Proxy, _) => return Err(Malformed::Kind),
    };
    Ok(Some((header, whole)))
}

enum Command {
    Local,
    Proxy,
}

// Address family and transport.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// Two addresses of `N` bytes, two ports; extensions may follow.
fn addresses<const N: usize>(block: &[u8]) -> Result<Header, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>().ok_or(Malformed::Length)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(Malformed::Length)?;
    let (ports, _extensions) = rest.split_first_chunk::<4>().ok_or(Malformed::Length)?;
    let [a, b, c, d] = *ports;
    Ok(Header::Proxied {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([c, d])),
    })
}

/// A header of version 1.
#[must_use]
pub fn encode_v1(header: Header) -> Vec<u8> {
    match header {
        Header::Local => b"PROXY UNKNOWN\r\n".to_vec(),
        Header::Proxied { source, destination } => {
            let (source, destination) = one_family(source, destination);
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let ports = (source.port(), destination.port());
            let (source, destination) = (source.ip(), destination.ip());
            format!("PROXY {family} {source} {destination} {} {}\r\n", ports.0, ports.1).into_bytes()
        }
    }
}

/// A header of version 2.
#[must_use]
pub fn encode_v2(header: Header) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    match header {
        Header::Local => bytes.extend([0x20, UNSPECIFIED, 0, 0]),
        Header::Proxied { source, destination } => {
            let (source, destination) = one_family(source, destination);
            let (family, length) = if source.is_ipv4() { (TCP4, 12_u16) } else { (TCP6, 36) };
            bytes.extend([0x21, family]);
            bytes.extend(length.to_be_bytes());
            for address in [source.ip(), destination.ip()] {
                match address {
                    IpAddr::V4(address) => bytes.extend(address.octets()),
                    IpAddr::V6(address) => bytes.extend(address.octets()),
                }
            }
            bytes.extend(source.port().to_be_bytes());
            bytes.extend(destination.port().to_be_bytes());
        }
    }
    bytes
}

/// Two addresses of different families both as IPv6.
fn one_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (a, b) = (canonical(a), canonical(b));
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(Ipv4Addr::to_ipv6_mapped(&ip).into(), address.port()),
        IpAddr::V6(ip) => SocketAddr::new(Ipv6Addr::into(ip), address.port()),
    };
    if a.is_ipv4() == b.is_ipv4() { (a, b) } else { (mapped(a), mapped(b)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn lines_of_the_specification() {
        let line = b"PROXY TCP4 255.255.255.255 192.0.2.1 65535 443\r\nGET / HTTP/1.0\r\n";
        assert_eq!(decode(line), Ok(Some((proxied("255.255.255.255:65535", "192.0.2.1:443"), 48))));
        assert_eq!(decode(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), Ok(Some((Header::Local, 43))));
        assert_eq!(decode(b"PROXY UNKNOWN\r\n"), Ok(Some((Header::Local, 15))));
        let v6 = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
        assert_eq!(decode(v6), Ok(Some((proxied("[2001:db8::1]:1", "[::1]:2"), v6.len()))));
    }

    #[test]
    fn lines_that_haproxy_mangles_are_refused() {
        for bad in [
            "TCP4 999.1.1.1 192.0.2.1 1 2",
            "TCP4 1.1.1 192.0.2.1 1 2",
            "TCP4 192.0.2.1 192.0.2.2 70000 2",
            "TCP4 192.0.2.1 192.0.2.2 01 2",
            "TCP4 192.0.2.1 192.0.2.2 +1 2",
            "TCP4 192.0.2.1 192.0.2.2 1",
            "TCP4 192.0.2.1 192.0.2.2 1 2 3",
            "TCP4  192.0.2.1 192.0.2.2 1 2",
            "TCP4 ::1 ::2 1 2",
            "TCP6 192.0.2.1 192.0.2.2 1 2",
            "UDP4 192.0.2.1 192.0.2.2 1 2",
        ] {
            assert_eq!(decode(format!("PROXY {bad}\r\n").as_bytes()), Err(Malformed::Line), "{bad}");
        }
        assert_eq!(decode(&[b"PROXY ".as_slice(), &[b'x'; 101]].concat()), Err(Malformed::LongLine));
        assert_eq!(decode(b"GET / HTTP/1.0\r\n"), Err(Malformed::Absent));
    }

    #[test]
    fn a_header_comes_in_pieces_of_any_size() {
        let both =
            [proxied("192.0.2.9:1234", "192.0.2.1:443"), proxied("[2001:db8::9]:1", "[2001:db8::1]:2"), Header::Local];
        for header in both {
            for whole in [encode_v1(header), encode_v2(header)] {
                for cut in 0..whole.len() {
                    assert_eq!(decode(&whole[..cut]), Ok(None), "{cut}");
                }
                let with_data = [&whole[..], b"data"].concat();
                assert_eq!(decode(&with_data), Ok(Some((header, whole.len()))));
            }
        }
    }

    #[test]
    fn binary_headers_that_need_a_word() {
        let mut local = encode_v2(proxied("192.0.2.9:1", "192.0.2.1:2"));
        local[12] = 0x20;
        assert_eq!(decode(&local), Ok(Some((Header::Local, 28))), "LOCAL with an address block");
        let mut extended = encode_v2(proxied("192.0.2.9:1", "192.0.2.1:2"));
        extended[15] = 12 + 7;
        extended.extend([0x05, 0, 4, 1, 2, 3, 4]);
        assert_eq!(decode(&extended), Ok(Some((proxied("192.0.2.9:1", "192.0.2.1:2"), 35))));
        let change = |at: usize, byte: u8| {
            let mut bytes = encode_v2(proxied("192.0.2.9:1", "192.0.2.1:2"));
            bytes[at] = byte;
            decode(&bytes)
        };
        assert_eq!(change(12, 0x31), Err(Malformed::Kind));
        assert_eq!(change(12, 0x22), Err(Malformed::Kind));
        assert_eq!(change(13, 0x12), Err(Malformed::Kind), "UDP");
        assert_eq!(change(15, 11), Err(Malformed::Length));
        assert_eq!(change(14, 0xff), Err(Malformed::Length));
        assert_eq!(change(0, b'x'), Err(Malformed::Absent));
    }

    #[test]
    fn two_families_become_one() {
        let header = proxied("192.0.2.9:1", "[2001:db8::1]:2");
        let text = String::from_utf8(encode_v1(header)).unwrap();
        assert_eq!(text, "PROXY TCP6 ::ffff:192.0.2.9 2001:db8::1 1 2\r\n");
        let mapped = proxied("[::ffff:192.0.2.9]:1", "192.0.2.1:2");
        assert_eq!(encode_v1(mapped), b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\n");
    }
}
