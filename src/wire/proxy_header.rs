//! The PROXY protocol's header, which tells a server who the client of a relayed connection is: written here, versions 1
//! and 2 (<https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>).

use std::net::{IpAddr, SocketAddr};

/// What a version 2 header begins with.
pub const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's.
    Client {
        /// The client.
        source: SocketAddr,
        /// Where it connected.
        destination: SocketAddr,
    },
    /// The proxy's own, such as a health check: the server is to take the addresses of the connection.
    Local,
}

impl Origin {
    /// A version 1 header: `PROXY TCP4 192.0.2.1 192.0.2.100 40000 22` and its line end.
    #[must_use]
    pub fn v1(self) -> Vec<u8> {
        let text = match self {
            Self::Local => "PROXY UNKNOWN\r\n".to_owned(),
            Self::Client { source, destination } => match of_one_family(source.ip(), destination.ip()) {
                (from @ IpAddr::V4(_), to) => {
                    format!("PROXY TCP4 {from} {to} {} {}\r\n", source.port(), destination.port())
                }
                (from @ IpAddr::V6(_), to) => {
                    format!("PROXY TCP6 {from} {to} {} {}\r\n", source.port(), destination.port())
                }
            },
        };
        text.into_bytes()
    }

    /// A version 2 header without extensions.
    #[must_use]
    pub fn v2(self) -> Vec<u8> {
        const LOCAL: u8 = 0x20;
        const PROXY: u8 = 0x21;
        const TCP_OVER_IPV4: u8 = 0x11;
        const TCP_OVER_IPV6: u8 = 0x21;
        let mut header = V2_SIGNATURE.to_vec();
        match self {
            Self::Local => header.extend([LOCAL, 0, 0, 0]),
            Self::Client { source, destination } => {
                match of_one_family(source.ip(), destination.ip()) {
                    (IpAddr::V4(from), IpAddr::V4(to)) => {
                        header.extend([PROXY, TCP_OVER_IPV4, 0, 12]);
                        header.extend(from.octets());
                        header.extend(to.octets());
                    }
                    (from, to) => {
                        header.extend([PROXY, TCP_OVER_IPV6, 0, 36]);
                        header.extend(v6(from));
                        header.extend(v6(to));
                    }
                }
                header.extend(source.port().to_be_bytes());
                header.extend(destination.port().to_be_bytes());
            }
        }
        header
    }
}

/// IPv4 where both are, IPv6 otherwise: an IPv4 address beside an IPv6 one is mapped. A mapped one is IPv4.
fn of_one_family(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    match (a.to_canonical(), b.to_canonical()) {
        (a @ IpAddr::V4(_), b @ IpAddr::V4(_)) | (a @ IpAddr::V6(_), b @ IpAddr::V6(_)) => (a, b),
        (a, b) => (IpAddr::V6(v6_address(a)), IpAddr::V6(v6_address(b))),
    }
}

fn v6_address(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    v6_address(address).octets()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(source: &str, destination: &str) -> Origin {
        Origin::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn version_1_is_a_line() {
        let text = |origin: Origin| String::from_utf8(origin.v1()).unwrap();
        assert_eq!(text(client("192.0.2.1:40000", "192.0.2.100:22")), "PROXY TCP4 192.0.2.1 192.0.2.100 40000 22\r\n");
        assert_eq!(
            text(client("[2001:db8::1]:1", "[2001:db8::2]:65535")),
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"
        );
        assert_eq!(text(client("[::ffff:192.0.2.1]:1", "192.0.2.2:2")), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
        assert_eq!(text(client("[2001:db8::1]:1", "192.0.2.2:2")), "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1 2\r\n");
        assert_eq!(text(Origin::Local), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let signature = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
        let with = |rest: &[u8]| [signature.as_slice(), rest].concat();
        let v4 = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 100, 0x9c, 0x40, 0, 22];
        assert_eq!(client("192.0.2.1:40000", "192.0.2.100:22").v2(), with(&v4));
        let v6 = client("[2001:db8::1]:1", "[2001:db8::2]:258").v2();
        assert_eq!((v6.len(), &v6[12..16], &v6[48..]), (52, [0x21, 0x21, 0, 36].as_slice(), [0, 1, 1, 2].as_slice()));
        assert_eq!(&v6[16..20], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(Origin::Local.v2(), with(&[0x20, 0, 0, 0]));
    }
}
