//! The cookie in an RDP client's connection request ([MS-RDPBCGR] 2.2.1.1): a TPKT header, an X.224 Connection Request, and
//! first in that one line, `Cookie: mstshash=NAME`, or the routing token of a session broker, `Cookie: msts=ADDRESS.PORT.0000`.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The name of the cookie that names the user.
const USER: &[u8] = b"mstshash";

/// The bytes before the line.
const HEADER: usize = 11;

/// The longest request: X.224 says its length in one byte, which neither counts itself nor the header before it.
const LONGEST: usize = 4 + 1 + 255;

/// How the line begins, in any case.
const BEGINNING: &[u8] = b"cookie:";

/// What a client's first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// They may yet become a request with a cookie.
    Part,
    /// One with this cookie.
    Cookie {
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Something else.
    Other,
}

impl<'a> Heard<'a> {
    /// The user whom the cookie names, in Windows at most the first nine letters.
    #[must_use]
    pub fn user(self) -> Option<&'a [u8]> {
        match self {
            Self::Cookie { name, value } if name.eq_ignore_ascii_case(USER) => Some(value),
            Self::Cookie { .. } | Self::Part | Self::Other => None,
        }
    }

    /// The server that a routing token of this name leads to ("Session Directory and Load Balancing Using Terminal Server",
    /// [MSFT-SDLBTS]): address and port in decimal, each read with its lowest byte first.
    #[must_use]
    pub fn server(self, token: &str) -> Option<SocketAddrV4> {
        let Self::Cookie { name, value } = self else { return None };
        if !name.eq_ignore_ascii_case(token.as_bytes()) {
            return None;
        }
        let mut parts = std::str::from_utf8(value).ok()?.split('.');
        let (address, port, _reserved) = (parts.next()?, parts.next()?, parts.next()?);
        let (address, port) = (address.parse::<u32>().ok()?, port.parse::<u16>().ok()?);
        Some(SocketAddrV4::new(Ipv4Addr::from(address.to_le_bytes()), port.swap_bytes()))
    }
}

/// Looks at what a client has sent so far. What is once certain does not change with more.
#[must_use]
pub fn hear(bytes: &[u8]) -> Heard<'_> {
    let is_version = bytes.first().is_none_or(|version| *version == 3);
    let is_request = bytes.get(5).is_none_or(|code| code & 0xf0 == 0xe0);
    if !is_version || !is_request {
        return Heard::Other;
    }
    let &[_, _, high, low, ..] = bytes else { return Heard::Part };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !(HEADER..=LONGEST).contains(&length) {
        return Heard::Other;
    }
    let request = bytes.get(..length).unwrap_or(bytes);
    let undecided = if request.len() == length { Heard::Other } else { Heard::Part };
    request.get(HEADER..).and_then(cookie).unwrap_or(undecided)
}

/// The cookie of a line. None: more may tell.
fn cookie(line: &[u8]) -> Option<Heard<'_>> {
    let begins = line.iter().zip(BEGINNING).all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted));
    if !begins {
        return Some(Heard::Other);
    }
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let (text, rest) = line.split_at(end);
    match rest {
        [b'\r'] => return None,
        [b'\r', b'\n', ..] => {}
        _ => return Some(Heard::Other),
    }
    let said = text.get(BEGINNING.len()..).unwrap_or_default().trim_ascii_start();
    let equals = said.iter().position(|byte| *byte == b'=');
    Some(equals.map_or(Heard::Other, |equals| {
        let (name, value) = said.split_at(equals);
        Heard::Cookie { name, value: value.get(1..).unwrap_or_default() }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &[u8]) -> Vec<u8> {
        let length = u8::try_from(HEADER + line.len()).unwrap();
        [&[3, 0, 0, length, length - 5, 0xe0, 0, 0, 0, 0, 0], line].concat()
    }

    #[test]
    fn a_user_is_found_with_the_end_of_the_line_and_not_before() {
        // What a client asks for follows.
        let whole = request(b"Cookie: mstshash=DOM\\alice\r\n\x01\0\x08\0\x03\0\0\0");
        let end = whole.len() - 8;
        for length in 0..end {
            assert_eq!(hear(&whole[..length]), Heard::Part, "{length}");
        }
        for length in end..=whole.len() {
            assert_eq!(hear(&whole[..length]).user(), Some(&b"DOM\\alice"[..]), "{length}");
        }
        assert_eq!(hear(&[&whole[..], b"more"].concat()).user(), Some(&b"DOM\\alice"[..]));
        assert_eq!(hear(&request(b"cookie:MSTSHASH=a b;c\r\n")).user(), Some(&b"a b;c"[..]));
    }

    #[test]
    fn a_routing_token_leads_to_a_server() {
        let leads = |value: &str| hear(&request(format!("Cookie: {value}\r\n").as_bytes())).server("msts");
        // 172.31.249.216:3389
        let server = SocketAddrV4::new(Ipv4Addr::new(172, 31, 249, 216), 3389);
        assert_eq!(leads("msts=3640205228.15629.0000"), Some(server));
        assert_eq!(leads("MSTS=3640205228.15629."), Some(server));
        for value in [
            "msts=3640205228.15629",
            "msts=4294967296.15629.0000",
            "msts=1.65536.0000",
            "msts=a.b.c",
            "msts=",
            "mstshash=1.2.3",
        ] {
            assert_eq!(leads(value), None, "{value}");
        }
    }

    #[test]
    fn another_cookie_names_nobody_and_other_bytes_are_no_request() {
        let other = request(b"Cookie: msts=3640205228.15629.0000\r\n");
        assert_eq!(hear(&other), Heard::Cookie { name: b"msts", value: b"3640205228.15629.0000" });
        assert_eq!(hear(&other).user(), None);
        let no_cookie = [
            request(b"\x01\0\x08\0\x03\0\0\0"),
            request(b"Cookie: mstshash=alice"),
            request(b"Cookie: mstshash=alice\n"),
            request(b"Cookie: mstshash=alice\rx"),
            request(b"Cookie: alice\r\n"),
            request(b"Coo\r\n"),
            b"\x16\x03\x01\x02\0".to_vec(),
            b"\x03\0\0\x05".to_vec(),
            b"\x03\0\xff\xff".to_vec(),
            b"\x03\0\0\x20\x1b\xd0".to_vec(),
        ];
        for bytes in no_cookie {
            assert_eq!(hear(&bytes), Heard::Other, "{bytes:02x?}");
        }
    }
}
