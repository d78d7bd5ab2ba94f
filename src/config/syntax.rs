//! The small grammars inside values: hosts, host and port, durations, and how near two words are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::raw::{Host, HostPort, MailServer};
use crate::model::{Family, Invalid, KeyType, PortRange, ServerPort, User};

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

/// `name@domain`, with nothing around it.
pub fn is_mail_address(text: &str) -> bool {
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;".contains(c));
    plain && text.rsplit_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
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

/// The type of a stick table's keys: `ip`, `ipv6`, `integer`, `string 32`, `binary 16`; the length may be left out.
pub fn key_type(text: &str) -> Result<KeyType, Invalid> {
    let (name, length) = match text.split_once(' ') {
        Some((name, length)) => (name, Some(length.trim())),
        None => (text, None),
    };
    let length = |default: u16| match length {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(length @ 1..=16_384) => Ok(length),
            Ok(_) | Err(_) => Err(Invalid(format!("`{text}` is no length of keys: 1 to 16384 is"))),
        },
    };
    match (name, length(0)?) {
        ("ip", 0) => Ok(KeyType::Ipv4),
        ("ipv6", 0) => Ok(KeyType::Ipv6),
        ("integer", 0) => Ok(KeyType::Integer),
        ("string", _) => length(31).map(KeyType::Text),
        ("binary", _) => length(32).map(KeyType::Binary),
        ("ip" | "ipv6" | "integer", _) => Err(Invalid(format!("keys of the type `{name}` have no length"))),
        _ => Err(Invalid(format!("`{name}` is none of the types ip, ipv6, integer, string, binary"))),
    }
}

/// How the address that the client connected to is called where a server's stands: no host can have this name.
pub const DESTINATION: &str = "@destination";

/// A server: `10.0.0.1:22`, `10.0.0.1` (the client's port), `10.0.0.1:+1000`, `@destination:22`.
pub fn server(text: &str) -> Result<(Host, Option<ServerPort>), Invalid> {
    let (name, port) = split_port(text);
    let host = if name == DESTINATION { Host::Destination } else { host(name)? };
    Ok((host, port.map(server_port).transpose()?))
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

/// A command line in words, as a shell would split it, but no shell is asked: white space separates; `'..'` and `".."`
/// join; a backslash takes the next character as it is, except in `'..'`.
pub fn words(text: &str) -> Result<Vec<String>, Invalid> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if let Some(open) = quote {
        return Err(Invalid(format!("a {open} of this command has no partner")));
    }
    command(words)
}

/// A command that has been split.
pub fn command(words: Vec<String>) -> Result<Vec<String>, Invalid> {
    if words.first().is_none_or(String::is_empty) {
        return Err(Invalid("a command begins with a program".into()));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Invalid("a command cannot contain the character NUL".into()));
    }
    Ok(words)
}

/// `name` or `name:group`.
pub fn user(text: &str) -> Result<User, Invalid> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let valid =
        |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':');
    if !valid(name) || !group.is_none_or(valid) {
        return Err(Invalid(format!("`{text}` is not a user: a name, or a name, a colon and a group")));
    }
    Ok(User { name: name.to_owned(), group: group.map(str::to_owned) })
}

/// The key of an `hmac` trailer: `hex:` and digits, or a text.
pub fn hmac_secret(text: &str) -> Result<Vec<u8>, Invalid> {
    let Some(digits) = text.strip_prefix("hex:") else { return Ok(text.as_bytes().to_vec()) };
    let digits = digits.as_bytes();
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    });
    pairs
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| Invalid("after `hex:` there is not a number of pairs of hex digits".into()))
}

/// A mail server: a name or an address, with or without a port.
pub fn mail_server(text: &str) -> Result<MailServer, Invalid> {
    let (name, port) = split_port(text);
    let host = host(name)?;
    if let Host::Name(_, Some(_)) = host {
        return Err(Invalid(format!("`{text}`: the address of a mail server is chosen when mail is sent")));
    }
    let port = match port {
        None => None,
        Some(digits) => Some(
            digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| Invalid(format!("`{digits}` is not a port: a number from 1 to 65535")))?,
        ),
    };
    Ok(MailServer { host, port })
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
    fn commands_are_split_and_not_interpreted() {
        let split = |text: &str| words(text).unwrap();
        assert_eq!(
            split("/bin/check -x  'a b'c \"d \\\" e\" \\'f g\\ h ''"),
            ["/bin/check", "-x", "a bc", "d \" e", "'f", "g h", ""]
        );
        assert_eq!(split("/bin/echo $HOME | rm *; x"), ["/bin/echo", "$HOME", "|", "rm", "*;", "x"]);
        for slip in ["", "  ", "''", "/bin/x 'a", "/bin/x \"a", "/bin/x \0"] {
            assert!(words(slip).is_err(), "{slip}");
        }
    }

    #[test]
    fn users_have_groups_and_mail_servers_ports() {
        assert_eq!(user("a:b").unwrap(), User { name: "a".into(), group: Some("b".into()) });
        assert_eq!(user("65534").unwrap().group, None);
        for slip in ["", ":b", "a:", "a b", "a:b:c"] {
            assert!(user(slip).is_err(), "{slip}");
        }
        assert_eq!(mail_server("[::1]:25").unwrap().port, Some(25));
        assert_eq!(mail_server("mail.example").unwrap().port, None);
        for slip in ["", "a:0", "a:x", "a b", "ipv4@a"] {
            assert!(mail_server(slip).is_err(), "{slip}");
        }
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
