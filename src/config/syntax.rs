//! The small grammars inside values: hosts, host and port, durations, and how near two words are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::raw::{Host, HostPort};
use crate::model::{Family, Invalid, PortRange, ServerPort};

/// An address (`192.0.2.1`, `::1`, `[::1]`), `*` for all of IPv4, or a host name, optionally of one family
/// (`ipv6@name`).
pub fn host(text: &str) -> Result<Host, Invalid> {
    let (name, family) = match text.split_once('@') {
        Some(("ipv4", name)) => (name, Some(Family::V4)),
        Some(("ipv6", name)) => (name, Some(Family::V6)),
        Some(_) | None => (text, None),
    };
    if family.is_none() {
        if text == "*" {
            return Ok(Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        }
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        if let Some(inner) = bare {
            let address: Ipv6Addr =
                inner.parse().map_err(|_| Invalid(format!("`{inner}` in brackets is not an IPv6 address")))?;
            return Ok(Host::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Ok(Host::Address(address));
        }
    }
    if is_host_name(name) {
        Ok(Host::Name(name.to_owned(), family))
    } else {
        Err(Invalid(format!("`{text}` is neither an IP address nor a host name")))
    }
}

/// RFC 1123 section 2.1, and underscores, which are seen in real names. A last label of digits only would be an
/// address: `10.0.0.256` is a slip, not a name.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(label)
        && !name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `host:port` taken apart; no port for a bare host. A bare IPv6 address is a host.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
        Some(_) | None => (text, None),
    }
}

/// Where to listen: `192.0.2.1:3000-3010`, `*:22`, `[::]:22`, `name:22`.
pub fn listen(text: &str) -> Result<(Host, PortRange), Invalid> {
    let (name, ports) = split_port(text);
    match ports {
        Some(ports) => Ok((host(name)?, ports.parse()?)),
        None if text.contains(':') => Err(Invalid(format!(
            "`{text}` has no port: an IPv6 address stands in brackets before it, such as `[::]:22`"
        ))),
        None => Err(Invalid(format!("`{text}` has no port: write `{text}:22` or `{text}:3000-3010`"))),
    }
}

/// One host and one port.
pub fn host_port(text: &str) -> Result<HostPort, Invalid> {
    let (host, ports) = listen(text)?;
    if ports.first() == ports.last() {
        Ok(HostPort { host, port: ports.first() })
    } else {
        Err(Invalid(format!("`{ports}` is a range, but one port is expected here")))
    }
}

/// A server: `10.0.0.1:22`, `10.0.0.1` (the client's port), `10.0.0.1:+1000`.
pub fn server(text: &str) -> Result<(Host, Option<ServerPort>), Invalid> {
    let (name, port) = split_port(text);
    Ok((host(name)?, port.map(server_port).transpose()?))
}

/// A server's port: `22`, or relative to the client's `+1000`, `-9`.
pub fn server_port(text: &str) -> Result<ServerPort, Invalid> {
    let expected =
        || Invalid(format!("`{text}` is not a server's port: a number from 1 to 65535, or an offset such as `+1000`"));
    if text.starts_with(['+', '-']) {
        let offset: i32 = text.parse().map_err(|_| expected())?;
        if offset.unsigned_abs() > 65_534 {
            return Err(Invalid(format!("`{text}` moves every port out of the range 1 to 65535")));
        }
        return Ok(ServerPort::Offset(offset));
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(ServerPort::Fixed(port)),
        Ok(_) | Err(_) => Err(expected()),
    }
}

/// `300ms`, `1h 30m`: a number always has its unit.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    humantime::parse_duration(text).map_err(|_| Invalid(format!("`{text}` is not a duration")))
}

/// Suggestions are for people: a file with thousands of wrong names must not cost thousands of searches.
pub(super) const SUGGESTIONS: usize = 50;

/// The candidate that `word` was probably meant to be. Costs the length of the candidates: callers bound how often.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST && *candidate != word)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + word.len().max(candidate.len()) / 5)
        .filter(|(distance, _)| *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_slips_are_neither() {
        let address = |text: &str| Ok(Host::Address(text.parse().unwrap()));
        assert_eq!(host("*"), address("0.0.0.0"));
        assert_eq!(host("[::1]"), address("::1"));
        assert_eq!(host("fe80::1"), address("fe80::1"));
        assert_eq!(host("db-1.example"), Ok(Host::Name("db-1.example".into(), None)));
        assert_eq!(host("ipv6@db"), Ok(Host::Name("db".into(), Some(Family::V6))));
        for slip in ["", "10.0.0.256", "999.1.1.1", "1.1.1", "a..b", "-a", "[10.0.0.1]", "a b", "::g", "x@y", "eth0/24"]
        {
            assert!(host(slip).is_err(), "{slip}");
        }
    }

    #[test]
    fn listen_addresses_have_ports_and_servers_may() {
        assert_eq!(listen("[::]:22").unwrap(), (host("::").unwrap(), "22".parse().unwrap()));
        assert_eq!(listen("*:1-9").unwrap().1.last(), 9);
        for slip in ["::", "*", "10.0.0.1:0", "10.0.0.1:9-1", "10.0.0.1:x", "10.0.0.1:", "10.0.0.1:1-"] {
            assert!(listen(slip).is_err(), "{slip}");
        }
        assert_eq!(server("::1").unwrap(), (host("::1").unwrap(), None));
        assert_eq!(server("a:+5").unwrap().1, Some(ServerPort::Offset(5)));
        assert_eq!(server("a:-5").unwrap().1, Some(ServerPort::Offset(-5)));
        assert_eq!(server("[::1]:5").unwrap().1, Some(ServerPort::Fixed(5)));
        for slip in ["a:0", "a:65536", "a:+", "a:+70000", "a:5x", "a:", "a:+-1"] {
            assert!(server(slip).is_err(), "{slip}");
        }
        assert!(host_port("a:1-2").is_err());
    }

    #[test]
    fn the_nearest_word_is_near() {
        let words = ["interface", "interval", "vrid"];
        assert_eq!(nearest("intervall", words), Some("interval"));
        assert_eq!(nearest("vird", words), Some("vrid"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest(&"i".repeat(100_000), words), None);
    }
}
