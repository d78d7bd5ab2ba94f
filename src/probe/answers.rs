//! The answers of known protocols, taken apart as far as a check needs it. Results and words are HAProxy's where it has
//! such a check.

use super::matching::{contains, printable, regex};
use super::outcome::Verdict;
use crate::model::{Answer, CheckResult};

/// What `received` means; none: more must come, or nothing came. `complete`: nothing more will.
pub(super) fn judge(answer: Answer, received: &[u8], complete: bool) -> Option<Verdict> {
    if received.is_empty() {
        return None;
    }
    let verdict = match answer {
        Answer::Smtp => reply_code(received, 200..=299),
        Answer::Ftp => reply_code(received, 220..=220),
        Answer::RedisPong => redis(received, b"+PONG\r\n", "Redis server is ok"),
        Answer::RedisOk => redis(received, b"+OK\r\n", "Redis server is ok"),
        Answer::RedisPrimary => redis_role(received, "master"),
        Answer::RedisReplica => redis_role(received, "slave"),
        Answer::MysqlGreeting => mysql(received, mysql_greeting),
        Answer::MysqlLogin => mysql(received, |_| Some(Verdict::new(CheckResult::L7Ok))),
        Answer::PostgresStartup => postgres_startup(received),
        Answer::LdapBind => ldap_bind(received),
        Answer::TlsHello => tls_hello(received),
        Answer::Ssh => ssh(received),
    };
    verdict.or_else(|| complete.then(|| invalid(received)))
}

/// What came is not what the protocol says.
fn invalid(received: &[u8]) -> Verdict {
    let line = first_line(received).unwrap_or(received);
    Verdict::saying(CheckResult::L7Response, printable(line.strip_suffix(b"\r").unwrap_or(line)))
}

/// A reply of SMTP (RFC 5321, section 4.2) or FTP: lines `250-...` until one `250 ...`, whose code counts.
fn reply_code(received: &[u8], fine: std::ops::RangeInclusive<u32>) -> Option<Verdict> {
    let mut rest = received;
    loop {
        let Some(line) = first_line(rest) else {
            // Not even three digits: it is another protocol.
            let digits = rest.iter().take(3).all(u8::is_ascii_digit);
            return (!digits).then(|| invalid(received));
        };
        rest = &rest[(line.len() + 1).min(rest.len())..];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let code = line.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| text.parse().ok());
        let Some(code) = code.filter(|code| (100..=599).contains(code)) else { return Some(invalid(received)) };
        if line.get(3) == Some(&b'-') {
            continue;
        }
        let result = if fine.contains(&code) { CheckResult::L7Ok } else { CheckResult::L7Status };
        let text = printable(line.get(4..).unwrap_or_default());
        let cause = format!("code {code}: {text}");
        return Some(Verdict::saying(result, text).with_code(code).because(cause));
    }
}

/// The first line without its line feed, if it is complete.
fn first_line(received: &[u8]) -> Option<&[u8]> {
    received.iter().position(|byte| *byte == b'\n').map(|end| &received[..end])
}

fn redis(received: &[u8], fine: &[u8], words: &str) -> Option<Verdict> {
    if received.starts_with(fine) {
        return Some(Verdict::saying(CheckResult::L7Ok, words));
    }
    redis_error(received)
}

/// A line that is not the one hoped for.
fn redis_error(received: &[u8]) -> Option<Verdict> {
    let line = first_line(received)?;
    Some(Verdict::saying(CheckResult::L7Status, printable(line.strip_suffix(b"\r").unwrap_or(line))))
}

/// The answer to ROLE: an array whose first element is `master` or `slave`; a replica's fourth is its link's state.
fn redis_role(received: &[u8], wanted: &str) -> Option<Verdict> {
    if received.first() != Some(&b'*') {
        return redis_error(received);
    }
    let lines: Vec<&[u8]> =
        received.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    // `*N`, `$6`, `master`, ...: the last part of a split is not complete.
    let role = lines.get(2).filter(|_| lines.len() > 3)?;
    if *role != wanted.as_bytes() {
        let text = format!("its role is {}", printable(role));
        return Some(Verdict::saying(CheckResult::L7Status, text));
    }
    if wanted == "slave" {
        // `$5 slave $n address :port $n state :offset`
        let state = lines.get(7).filter(|_| lines.len() > 8)?;
        if *state != b"connected" {
            let text = format!("it is a replica and its link is in state {}", printable(state));
            return Some(Verdict::saying(CheckResult::L7Status, text));
        }
    }
    Some(Verdict::saying(CheckResult::L7Ok, format!("Redis server is {wanted}")))
}

/// One MySQL packet: a length in three bytes, a sequence number, and the rest. An error packet is told as such.
fn mysql(received: &[u8], judge: impl Fn(&[u8]) -> Option<Verdict>) -> Option<Verdict> {
    let (head, rest) = received.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes([head[0], head[1], head[2], 0])).unwrap_or(usize::MAX);
    let body = rest.get(..length)?;
    match body {
        [0xff, low, high, message @ ..] => {
            let code = u16::from_le_bytes([*low, *high]);
            let text = printable(message);
            let cause = format!("error {code}: {text}");
            Some(Verdict::saying(CheckResult::L7Status, text).with_code(u32::from(code)).because(cause))
        }
        body => judge(body),
    }
}

/// The protocol's version, then the server's as text.
fn mysql_greeting(body: &[u8]) -> Option<Verdict> {
    let [10, text @ ..] = body else { return Some(invalid(body)) };
    let version = text.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Verdict::saying(CheckResult::L7Ok, printable(version)))
}

/// A request to authenticate, or an error (PostgreSQL's message formats).
fn postgres_startup(received: &[u8]) -> Option<Verdict> {
    match received.first() {
        Some(b'R') if received.len() < 9 => None,
        Some(b'R') => Some(Verdict::saying(CheckResult::L7Ok, "PostgreSQL server is ok")),
        Some(b'E') => {
            let (_, fields) = received.split_at_checked(5)?;
            let field = |kind: u8| postgres_field(fields, kind);
            let severity = field(b'S')?;
            let message = field(b'M').unwrap_or_default();
            let cause = format!("{severity}: {message}");
            Some(Verdict::saying(CheckResult::L7Response, severity).because(cause))
        }
        _ => Some(Verdict::saying(CheckResult::L7Status, "PostgreSQL unknown error")),
    }
}

/// A field of an ErrorResponse: a byte for its kind, then text and a zero. None while it is not complete.
pub(super) fn postgres_field(fields: &[u8], kind: u8) -> Option<String> {
    let mut parts = fields.split(|byte| *byte == 0);
    parts.find(|part| part.first() == Some(&kind)).map(|part| printable(&part[1..]))
}

/// A bind response with its result code (RFC 4511, section 4.2.2), in whichever form its lengths are written.
fn ldap_bind(received: &[u8]) -> Option<Verdict> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const ENUMERATED: u8 = 0x0a;
    const BIND_RESPONSE: u8 = 0x61;
    let foreign = || Verdict::saying(CheckResult::L7Response, "Not LDAPv3 protocol");
    let code = (|| {
        let (message, _) = ber(received, SEQUENCE)?;
        let (_, message) = ber(message, INTEGER)?;
        let (response, _) = ber(message, BIND_RESPONSE)?;
        let (code, _) = ber(response, ENUMERATED)?;
        match code {
            [code] => Ok(*code),
            _ => Err(Ber::Foreign),
        }
    })();
    match code {
        Ok(0) => Some(Verdict::saying(CheckResult::L7Ok, "Success")),
        Ok(code) => {
            let words = "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9";
            let cause = format!("the bind's result code is {code}");
            Some(Verdict::saying(CheckResult::L7Status, words).with_code(u32::from(code)).because(cause))
        }
        Err(Ber::Foreign) => Some(foreign()),
        Err(Ber::Incomplete) => None,
    }
}

enum Ber {
    Incomplete,
    Foreign,
}

/// The contents of an element of this kind, and what follows it.
fn ber(bytes: &[u8], kind: u8) -> Result<(&[u8], &[u8]), Ber> {
    let (tag, rest) = bytes.split_first().ok_or(Ber::Incomplete)?;
    if *tag != kind {
        return Err(Ber::Foreign);
    }
    let (first, rest) = rest.split_first().ok_or(Ber::Incomplete)?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Ber::Incomplete)?;
            (digits.iter().fold(0, |value, digit| value << 8 | usize::from(*digit)), rest)
        }
        _ => return Err(Ber::Foreign),
    };
    rest.split_at_checked(length).ok_or(Ber::Incomplete)
}

/// The first byte of a record: a handshake message, or an alert.
fn tls_hello(received: &[u8]) -> Option<Verdict> {
    match received {
        [22 | 21] | [22 | 21, 3] => None,
        [22 | 21, 3, ..] => Some(Verdict::new(CheckResult::L6Ok)),
        _ => Some(Verdict::new(CheckResult::L6Response).because("it does not speak TLS")),
    }
}

/// `SSH-2.0-...`, perhaps after lines of greeting (RFC 4253, section 4.2).
fn ssh(received: &[u8]) -> Option<Verdict> {
    if !contains(received, b"SSH-") && received.len() < 4096 {
        return None;
    }
    let found = regex(r"(?m)^SSH-(2\.0|1\.99)-[^\r\n]*\r?\n")?
        .find(received)
        .map(|found| printable(found.as_bytes().trim_ascii_end()));
    match found {
        Some(text) => Some(Verdict::saying(CheckResult::L7Ok, text)),
        None if received.len() >= 4096 => Some(invalid(received)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckResult::{L6Ok, L6Response, L7Ok, L7Response, L7Status};

    fn seen(answer: Answer, received: &[u8]) -> Option<(CheckResult, Option<u32>, String)> {
        judge(answer, received, false).map(|verdict| (verdict.result, verdict.code, verdict.info))
    }

    fn told(
        result: CheckResult,
        code: impl Into<Option<u32>>,
        info: &str,
    ) -> Option<(CheckResult, Option<u32>, String)> {
        Some((result, code.into(), info.to_owned()))
    }

    /// Every byte string is also given in all its beginnings: none of them may be judged wrongly or panic.
    fn by_pieces(answer: Answer, received: &[u8]) {
        let whole = seen(answer, received);
        for end in 0..received.len() {
            let part = seen(answer, &received[..end]);
            let passed = part.as_ref().is_some_and(|(result, ..)| result.passed());
            assert!(part.is_none() || part == whole || passed, "{answer:?} after {end} bytes: {part:?}");
        }
    }

    #[test]
    fn replies_have_codes_and_several_lines() {
        assert_eq!(seen(Answer::Smtp, b"220 mail ready\r\n"), told(L7Ok, 220, "mail ready"));
        assert_eq!(seen(Answer::Smtp, b"250-hi\r\n250-SIZE\r\n250 there\r\n"), told(L7Ok, 250, "there"));
        assert_eq!(seen(Answer::Smtp, b"250-hi\r\n"), None);
        assert_eq!(seen(Answer::Smtp, b"554 go away\r\n"), told(L7Status, 554, "go away"));
        assert_eq!(seen(Answer::Smtp, b"hello there\r\n"), told(L7Response, None, "hello there"));
        assert_eq!(seen(Answer::Ftp, b"220\n"), told(L7Ok, 220, ""));
        assert_eq!(seen(Answer::Ftp, b"421 busy\r\n"), told(L7Status, 421, "busy"));
        by_pieces(Answer::Smtp, b"250-hi\r\n250 there\r\n");
        by_pieces(Answer::Smtp, b"554 go away\r\n");
    }

    #[test]
    fn redis_says_pong_or_why_not() {
        assert_eq!(seen(Answer::RedisPong, b"+PONG\r\n"), told(L7Ok, 0, "Redis server is ok"));
        let denied = b"-NOAUTH Authentication required.\r\n";
        assert_eq!(seen(Answer::RedisPong, denied), told(L7Status, 0, "-NOAUTH Authentication required."));
        let primary = b"*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n";
        assert_eq!(seen(Answer::RedisPrimary, primary), told(L7Ok, 0, "Redis server is master"));
        assert_eq!(seen(Answer::RedisReplica, primary), told(L7Status, 0, "its role is master"));
        let replica = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n$9\r\nconnected\r\n:3167038\r\n";
        assert_eq!(seen(Answer::RedisReplica, replica), told(L7Ok, 0, "Redis server is slave"));
        assert_eq!(seen(Answer::RedisPrimary, replica), told(L7Status, 0, "its role is slave"));
        let lost = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n$7\r\nconnect\r\n:-1\r\n";
        assert!(seen(Answer::RedisReplica, lost).is_some_and(|(result, ..)| result == L7Status));
        by_pieces(Answer::RedisPrimary, primary);
        by_pieces(Answer::RedisReplica, replica);
        by_pieces(Answer::RedisPong, denied);
    }

    #[test]
    fn mysql_greets_or_refuses() {
        let greeting = b"\x1a\0\0\0\x0a5.5.5-10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(seen(Answer::MysqlGreeting, greeting), told(L7Ok, 0, "5.5.5-10"));
        let refused = b"\x17\0\0\0\xff\x15\x04#28000Host blocked x";
        assert_eq!(seen(Answer::MysqlGreeting, refused), told(L7Status, 1045, "#28000Host blocked x"));
        assert_eq!(seen(Answer::MysqlLogin, refused), told(L7Status, 1045, "#28000Host blocked x"));
        assert_eq!(seen(Answer::MysqlLogin, b"\x07\0\0\x02\0\0\0\x02\0\0\0"), told(L7Ok, 0, ""));
        assert_eq!(seen(Answer::MysqlGreeting, b"hello there"), None);
        by_pieces(Answer::MysqlGreeting, greeting);
        by_pieces(Answer::MysqlGreeting, refused);
    }

    #[test]
    fn postgres_asks_or_refuses() {
        assert_eq!(seen(Answer::PostgresStartup, b"R\0\0\0\x08\0\0\0\0"), told(L7Ok, 0, "PostgreSQL server is ok"));
        let refused = b"E\0\0\0\x28SFATAL\0C28000\0Mno such role \"u1\"\0\0";
        assert_eq!(seen(Answer::PostgresStartup, refused), told(L7Response, None, "FATAL"));
        let verdict = judge(Answer::PostgresStartup, refused, false).unwrap();
        assert_eq!(verdict.cause, "FATAL: no such role \"u1\"");
        assert_eq!(seen(Answer::PostgresStartup, b"hello"), told(L7Status, 0, "PostgreSQL unknown error"));
    }

    #[test]
    fn ldap_binds_or_not() {
        let bound = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(seen(Answer::LdapBind, bound), told(L7Ok, 0, "Success"));
        // The same with long lengths, as Active Directory writes them.
        let long = b"\x30\x84\0\0\0\x10\x02\x01\x01\x61\x84\0\0\0\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(seen(Answer::LdapBind, long), told(L7Ok, 0, "Success"));
        let refused = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x35\x04\x00\x04\x00";
        let rfc = "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9";
        assert_eq!(seen(Answer::LdapBind, refused), told(L7Status, 53, rfc));
        assert_eq!(seen(Answer::LdapBind, b"hello there this is"), told(L7Response, None, "Not LDAPv3 protocol"));
        for whole in [bound.as_slice(), long, refused] {
            by_pieces(Answer::LdapBind, whole);
        }
    }

    #[test]
    fn tls_and_ssh_are_known_by_their_first_words() {
        assert_eq!(seen(Answer::TlsHello, &[22, 3, 3, 0, 74]), told(L6Ok, None, ""));
        assert_eq!(seen(Answer::TlsHello, &[21, 3, 0, 0, 2, 2, 40]), told(L6Ok, None, ""));
        assert_eq!(seen(Answer::TlsHello, b"hello"), told(L6Response, None, ""));
        assert_eq!(seen(Answer::Ssh, b"SSH-2.0-OpenSSH_9.2\r\n"), told(L7Ok, 0, "SSH-2.0-OpenSSH_9.2"));
        assert_eq!(seen(Answer::Ssh, b"welcome\r\nSSH-2.0-x y\r\n"), told(L7Ok, 0, "SSH-2.0-x y"));
        assert_eq!(seen(Answer::Ssh, b"220 ftp\r\n"), None);
        assert_eq!(judge(Answer::Ssh, b"220 ftp\r\n", true).map(|verdict| verdict.result), Some(L7Response));
        by_pieces(Answer::Ssh, b"welcome\r\nSSH-2.0-x y\r\n");
    }
}
