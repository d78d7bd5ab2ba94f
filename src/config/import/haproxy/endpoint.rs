//! Addresses as bind and server lines write them: `[ipv4@|ipv6@]host:port`.

use crate::config::raw::Host;
use crate::model::Family;

/// The part before `@`, taken off: the family that is wanted. What is not TCP over IP is an error.
pub(super) fn family(text: &str) -> Result<(Option<Family>, &str), String> {
    if text.starts_with('/') {
        return Err(format!("`{text}` is a UNIX socket: only TCP over IPv4 and IPv6 is spoken"));
    }
    let Some((prefix, rest)) = text.split_once('@') else { return Ok((None, text)) };
    match prefix {
        "ipv4" | "tcp4" | "stream+ipv4" => Ok((Some(Family::V4), rest)),
        "ipv6" | "tcp6" | "stream+ipv6" => Ok((Some(Family::V6), rest)),
        "ip" | "tcp" | "stream+ip" => Ok((None, rest)),
        other => Err(format!("`{other}@` is not there: only TCP over IPv4 and IPv6 is spoken")),
    }
}

/// Host and port apart: the last colon separates them, a host in brackets has none of its own.
pub(super) fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':').filter(|port| !port.is_empty()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
        None => (text, None),
    }
}

/// An address, or a name that is resolved when the configuration is loaded.
pub(super) fn host(text: &str, family: Option<Family>) -> Result<Host, String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = inner.parse() {
        return match family {
            Some(family) if family != Family::of(address) => Err(format!("`{inner}` is not an {family} address")),
            Some(_) | None => Ok(Host::Address(address)),
        };
    }
    let name = !inner.is_empty()
        && inner.len() <= 253
        && inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        // What looks like an address and is none is a mistake, not a name.
        && !inner.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if name {
        Ok(Host::Name(inner.to_owned(), family))
    } else {
        Err(format!("`{inner}` is neither an address nor a name"))
    }
}
