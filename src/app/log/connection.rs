//! The line of a connection in HAProxy's formats (configuration manual, section 8.2).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use crate::model::{ConnectionLine, Service};
use crate::os::clock::LocalTime;
use crate::proxy::Ended;

/// HAProxy's `option tcplog`, as a `log-format` (manual, section 8.2.2).
const TCPLOG: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// The line of a connection that begins.
pub(super) fn begin(service: &Service, client: SocketAddr, destination: SocketAddr) -> String {
    format!("Connect from {} to {} ({}/TCP)", bare(client), bare(destination), service.name)
}

/// HAProxy writes IPv6 addresses without brackets.
fn bare(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

/// The line of a connection that has ended at `now`; `tcplog` where the service names no format.
pub(super) fn end(ended: &Ended<'_>, now: SystemTime) -> String {
    match &ended.service.log_line {
        ConnectionLine::Custom(format) => custom(format, ended, now),
        ConnectionLine::AsLog | ConnectionLine::Connect | ConnectionLine::Tcp => custom(TCPLOG, ended, now),
    }
}

/// A `log-format`: text with variables. One that says nothing about TCP is `-`.
fn custom(format: &str, ended: &Ended<'_>, now: SystemTime) -> String {
    let mut out = String::with_capacity(160);
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('%') {
        out.push_str(text);
        // Flags such as `{+Q}` change how a value is quoted; values here need no quotes.
        let name = match after.strip_prefix('{').and_then(|flags| flags.split_once('}')) {
            Some((_, name)) => name,
            None => after,
        };
        rest = if let Some(after) = name.strip_prefix('%') {
            out.push('%');
            after
        } else if let Some((_, after)) = name.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            out.push('-');
            after
        } else {
            let length = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
            // The longest name counts: `%tsc` is `ts` and more only where there is no `tsc`.
            let known = (1..=length).rev().find(|length| variable(&name[..*length], ended, now, &mut out));
            if known.is_none() {
                out.push('-');
            }
            &name[known.unwrap_or(length)..]
        };
    }
    out.push_str(rest);
    out
}

/// Writes a variable; false: there is none of this name.
fn variable(name: &str, ended: &Ended<'_>, now: SystemTime, out: &mut String) -> bool {
    let accepted = || LocalTime::of(now.checked_sub(ended.duration).unwrap_or(now));
    let millis = |duration: Option<std::time::Duration>| {
        duration.map_or_else(|| "-1".to_owned(), |duration| duration.as_millis().to_string())
    };
    let server_address = |part: fn(SocketAddr) -> String| ended.server_address.map_or_else(|| "-".to_owned(), part);
    let open = &ended.open;
    let so_far = if ended.service.log_early { "+" } else { "" };
    // Writing to a String cannot fail.
    let _ = match name {
        "ci" => write!(out, "{}", ended.client.ip()),
        "cp" => write!(out, "{}", ended.client.port()),
        "fi" => write!(out, "{}", ended.destination.ip()),
        "fp" => write!(out, "{}", ended.destination.port()),
        "si" => out.write_str(&server_address(|address| address.ip().to_string())),
        "sp" => out.write_str(&server_address(|address| address.port().to_string())),
        "t" | "tr" => out.write_str(&accepted().haproxy()),
        "T" | "Tl" | "trl" | "trg" => out.write_str(&accepted().rfc5424()),
        "Ts" => write!(out, "{}", since_epoch(now, ended).0),
        "ms" => write!(out, "{:03}", since_epoch(now, ended).1),
        "f" | "ft" => out.write_str(&ended.service.name),
        "b" => out.write_str(ended.pool),
        "s" => out.write_str(ended.server.unwrap_or("<NOSRV>")),
        "Tw" => out.write_str(&millis(ended.waited)),
        "Tc" => out.write_str(&millis(ended.connect)),
        "Tt" | "Ta" | "Tu" => write!(out, "{so_far}{}", ended.duration.as_millis()),
        "Td" => {
            let until = ended.connected();
            out.write_str(&millis(until.map(|until| ended.duration.saturating_sub(until))))
        }
        "Th" | "Ti" => out.write_char('0'),
        "Tq" | "TR" | "Tr" => out.write_str("-1"),
        "B" => write!(out, "{so_far}{}", ended.bytes_out),
        "U" => write!(out, "{}", ended.bytes_in),
        "ts" | "tsc" => out.write_str(&ended.termination()),
        "ac" => write!(out, "{}", open.process),
        "fc" => write!(out, "{}", open.service),
        "bc" => write!(out, "{}", open.pool),
        "sc" => write!(out, "{}", open.server),
        "rc" => write!(out, "{}{}", if ended.redispatched { "+" } else { "" }, ended.retries),
        "sq" => write!(out, "{}", ended.ahead.server),
        "bq" => write!(out, "{}", ended.ahead.any),
        "pid" => write!(out, "{}", std::process::id()),
        "H" => out.write_str(&nix::unistd::gethostname().unwrap_or_default().to_string_lossy()),
        _ => return false,
    };
    true
}

/// When the client was accepted, in seconds and their milliseconds.
fn since_epoch(now: SystemTime, ended: &Ended<'_>) -> (u64, u32) {
    let accepted = now.checked_sub(ended.duration).unwrap_or(now);
    let since = accepted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_millis())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::balance::Ahead;
    use crate::proxy::{OpenCounts, Phase};
    use crate::stats::EndReason;
    use std::time::Duration;

    pub(in crate::app::log) fn ended(service: &Service) -> Ended<'_> {
        Ended {
            service,
            pool: "be",
            server: Some("s1"),
            client: ([192, 0, 2, 9], 48986).into(),
            destination: ([192, 0, 2, 100], 22).into(),
            sni: None,
            server_address: Some(([10, 0, 0, 1], 2222).into()),
            reason: EndReason::Complete,
            phase: Phase::Data,
            bytes_in: 7,
            bytes_out: 5,
            waited: Some(Duration::from_micros(1200)),
            connect: Some(Duration::ZERO),
            duration: Duration::from_millis(5),
            goes_on: false,
            retries: 0,
            redispatched: false,
            ahead: Ahead::default(),
            open: OpenCounts { process: 2, service: 1, pool: 0, server: 0 },
        }
    }

    #[test]
    fn the_tcp_line_has_haproxys_fields() {
        let service = Service::new("fe", "be");
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_288_417_289);
        let line = end(&ended(&service), now);
        let date = LocalTime::of(now - Duration::from_millis(5)).haproxy();
        assert_eq!(line, format!("192.0.2.9:48986 [{date}] fe be/s1 1/0/5 5 -- 2/1/0/0/0 0/0"));
        let refused = Ended {
            server: None,
            reason: EndReason::NoServer,
            phase: Phase::Queue,
            waited: None,
            connect: None,
            retries: 3,
            redispatched: true,
            ahead: Ahead { server: 0, any: 7 },
            bytes_out: 0,
            ..ended(&service)
        };
        assert!(end(&refused, now).ends_with(" fe be/<NOSRV> -1/-1/5 0 SC 2/1/0/0/+3 0/7"), "{}", end(&refused, now));
    }

    #[test]
    fn what_is_logged_early_says_so() {
        let service = Service { log_early: true, ..Service::new("fe", "be") };
        let line = end(&Ended { goes_on: true, bytes_out: 0, ..ended(&service) }, SystemTime::UNIX_EPOCH);
        assert!(line.ends_with(" fe be/s1 1/0/+5 +0 -- 2/1/0/0/0 0/0"), "{line}");
    }

    #[test]
    fn what_went_well_is_normal() {
        let service = Service::new("fe", "be");
        assert!(ended(&service).is_normal());
        assert!(!Ended { retries: 1, ..ended(&service) }.is_normal());
        assert!(!Ended { redispatched: true, ..ended(&service) }.is_normal());
        assert!(!Ended { reason: EndReason::ClientAborted, ..ended(&service) }.is_normal());
    }

    #[test]
    fn a_format_of_ones_own_is_followed() {
        let format = "%{+Q}o %ci:%cp %si:%sp %U/%B %Td %% %[src] %HM 100%";
        let service = Service { log_line: ConnectionLine::Custom(format.to_owned()), ..Service::new("fe", "be") };
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let line = end(&ended(&service), SystemTime::UNIX_EPOCH);
        assert_eq!(line, format!("- 192.0.2.9:48986 10.0.0.1:2222 7/5 3 % - {host}M 100-"));
    }

    #[test]
    fn the_line_of_a_connection_that_begins_is_haproxys() {
        let service = Service::new("li", "li");
        let line = begin(&service, ([127, 0, 0, 1], 58126).into(), ([127, 0, 0, 1], 21002).into());
        assert_eq!(line, "Connect from 127.0.0.1:58126 to 127.0.0.1:21002 (li/TCP)");
    }

    #[test]
    fn terminations_have_haproxys_letters() {
        let service = Service::new("fe", "be");
        for (reason, phase, code) in [
            (EndReason::ClientAborted, Phase::Connect, "CC"),
            (EndReason::ClientAborted, Phase::Queue, "CQ"),
            (EndReason::ClientAborted, Phase::Data, "CD"),
            (EndReason::ConnectRefused, Phase::Connect, "SC"),
            (EndReason::ConnectTimeout, Phase::Connect, "sC"),
            (EndReason::ServerAborted, Phase::Data, "SD"),
            (EndReason::ClientTimeout, Phase::Data, "cD"),
            (EndReason::ServerTimeout, Phase::Data, "sD"),
            (EndReason::ServerDown, Phase::Data, "D-"),
            (EndReason::Resources, Phase::Connect, "RC"),
            (EndReason::Complete, Phase::Data, "--"),
        ] {
            assert_eq!(Ended { reason, phase, ..ended(&service) }.termination(), code, "{reason:?} {phase:?}");
        }
    }
}
