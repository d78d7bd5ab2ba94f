//! HAProxy's `log-format` (configuration manual, section 8.2.4): a text with variables, and what they say of a connection.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use crate::model::LogSample;
use crate::model::expression::Expression;
use crate::os::clock::LocalTime;
use crate::proxy::Ended;
use crate::rules::{Facts, World as _};

/// How values are written: `%{+Q}b`, or `%{+Q}o` for all that follow.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    /// Texts and addresses stand in quotes.
    quote: bool,
    /// Addresses and ports are written in hexadecimal digits.
    hex: bool,
    /// Quotes, backslashes and closing brackets have a backslash before them.
    escape: bool,
}

/// A line under way.
struct Line<'a> {
    out: String,
    /// Its expressions.
    samples: &'a [(String, Expression)],
    flags: Flags,
    ended: &'a Ended<'a>,
    now: SystemTime,
}

/// The line of a connection that has ended at `now`. What says nothing about TCP is missing: `-`, or in quotes nothing.
pub(super) fn line((format, samples): (&str, &[(String, Expression)]), ended: &Ended<'_>, now: SystemTime) -> String {
    let mut line = Line { out: String::with_capacity(160), samples, flags: Flags::default(), ended, now };
    let mut all = Flags::default();
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('%') {
        line.out.push_str(text);
        line.flags = all;
        let name = match after.strip_prefix('{').and_then(|flags| flags.split_once('}')) {
            Some((flags, name)) => {
                line.flags.change(flags);
                name
            }
            None => after,
        };
        rest = if let Some(after) = name.strip_prefix('%') {
            line.out.push('%');
            after
        } else if let Some((sample, after)) = name.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            line.sample(sample);
            after
        } else if let Some(after) = name.strip_prefix('o').filter(|after| !after.starts_with(char::is_alphabetic)) {
            all = line.flags;
            // As HAProxy, which passes over the space behind it.
            after.strip_prefix(' ').unwrap_or(after)
        } else {
            let length = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
            // The longest name counts: `%tsc` is `ts` and more only where there is no `tsc`.
            let known = (1..=length).rev().find(|length| line.variable(&name[..*length]));
            if known.is_none() {
                line.missing();
            }
            &name[known.unwrap_or(length)..]
        };
    }
    line.out.push_str(rest);
    line.out
}

impl Flags {
    /// `+Q,-X`
    fn change(&mut self, flags: &str) {
        for flag in flags.split(',') {
            match flag.trim() {
                "+Q" => self.quote = true,
                "-Q" => self.quote = false,
                "+X" => self.hex = true,
                "-X" => self.hex = false,
                "+E" => self.escape = true,
                "-E" => self.escape = false,
                _ => {}
            }
        }
    }
}

impl Line<'_> {
    fn text(&mut self, text: &str) {
        if self.flags.quote {
            let _written = write!(self.out, "\"{text}\"");
        } else {
            self.out.push_str(text);
        }
    }

    fn missing(&mut self) {
        self.out.push_str(if self.flags.quote { "\"\"" } else { "-" });
    }

    fn text_or_none(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.missing(),
        }
    }

    fn plain(&mut self, value: impl std::fmt::Display) {
        let _written = write!(self.out, "{value}");
    }

    fn number(&mut self, number: u32) {
        let _written = if self.flags.hex { write!(self.out, "{number:04X}") } else { write!(self.out, "{number}") };
    }

    fn address(&mut self, address: IpAddr) {
        let _written = match address {
            IpAddr::V4(address) if self.flags.hex => write!(self.out, "{:08X}", u32::from(address)),
            IpAddr::V6(address) if self.flags.hex => write!(self.out, "{:032X}", u128::from(address)),
            address => {
                self.text(&address.to_string());
                Ok(())
            }
        };
    }

    fn millis(&mut self, duration: Option<std::time::Duration>) {
        match duration {
            Some(duration) => self.plain(duration.as_millis()),
            None => self.out.push_str("-1"),
        }
    }

    /// `%[var(txn.sni)]`
    fn expression(&mut self, name: &str) {
        let ended = self.ended;
        let facts = Facts::unheard(ended.client, ended.destination);
        let sample = self.samples.iter().find(|(known, _)| known == name);
        let value = sample.and_then(|(_, of)| ended.noted.value(of, &facts));
        match value.as_ref().map(|value| value.as_text()).filter(|text| !text.is_empty()) {
            Some(text) => {
                let safe = escaped(&text, if self.flags.escape { b"\"\\]" } else { b"" });
                self.text(&safe);
            }
            None => self.missing(),
        }
    }

    /// All captures: between braces, or one after the other.
    fn captures(&mut self, of_servers: bool, listed: bool) {
        let ended = self.ended;
        let slots = ended.service.policy.as_ref().map(|policy| policy.captures).unwrap_or_default();
        let count = if of_servers { slots.response } else { slots.request };
        let capture = |slot: u16| ended.noted.capture(slot).filter(|_| !of_servers);
        let captures =
            (0..count).map(|slot| capture(slot).map(|value| hex_escaped(&value.as_text())).unwrap_or_default());
        let captures: Vec<String> = captures.collect();
        if !listed && count > 0 {
            self.text(&format!("{{{}}}", captures.join("|")));
        }
        for (place, capture) in captures.iter().enumerate().filter(|_| listed) {
            if place > 0 {
                self.out.push(' ');
            }
            self.text_or_none(Some(capture.as_str()).filter(|capture| !capture.is_empty()));
        }
    }

    fn of_server(&mut self, write: impl FnOnce(&mut Self, SocketAddr)) {
        match self.ended.server_address {
            Some(address) => write(self, address),
            None => self.missing(),
        }
    }

    /// `%[src]`
    fn sample(&mut self, name: &str) {
        let ended = self.ended;
        match LogSample::named(name) {
            Some(LogSample::Source) => self.text(&ended.client.ip().to_string()),
            Some(LogSample::SourcePort) => self.text(&ended.client.port().to_string()),
            Some(LogSample::Destination) => self.text(&ended.destination.ip().to_string()),
            Some(LogSample::DestinationPort) => self.text(&ended.destination.port().to_string()),
            Some(LogSample::Service) => self.text(&ended.service.name),
            Some(LogSample::Pool) => self.text(ended.proxy()),
            Some(LogSample::Server) => self.text_or_none(ended.server),
            Some(LogSample::ServerName) => self.text_or_none(ended.sni),
            None => self.expression(name),
        }
    }

    /// Writes a variable; false: there is none of this name.
    fn variable(&mut self, name: &str) -> bool {
        let ended = self.ended;
        let accepted = self.now.checked_sub(ended.duration).unwrap_or(self.now);
        let since = accepted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let open = &ended.open;
        let so_far = if ended.service.log_early { "+" } else { "" };
        match name {
            "ci" => self.address(ended.client.ip()),
            "cp" => self.number(ended.client.port().into()),
            "fi" => self.address(ended.destination.ip()),
            "fp" => self.number(ended.destination.port().into()),
            "si" => self.of_server(|line, address| line.address(address.ip())),
            "sp" => self.of_server(|line, address| line.number(address.port().into())),
            // Where connections to servers come from is not kept.
            "bi" | "bp" => self.missing(),
            "t" | "tr" => self.plain(LocalTime::of(accepted).haproxy()),
            "Tl" | "trl" => self.plain(LocalTime::of(accepted).haproxy_zone()),
            "T" | "trg" => self.plain(LocalTime::greenwich(accepted).haproxy_zone()),
            "Ts" => self.plain(since.as_secs()),
            "ms" => self.plain(format_args!("{:03}", since.subsec_millis())),
            "f" | "ft" => self.text(&ended.service.name),
            "b" => self.text(ended.proxy()),
            "s" => self.text(ended.server.unwrap_or("<NOSRV>")),
            "Tw" => self.millis(ended.waited),
            "Tc" => self.millis(ended.connect),
            "Tt" | "Ta" | "Tu" => self.plain(format_args!("{so_far}{}", ended.duration.as_millis())),
            "Td" => {
                let until = ended.connected();
                self.millis(until.map(|until| ended.duration.saturating_sub(until)));
            }
            "Th" | "Ti" => self.out.push('0'),
            "Tq" | "TR" | "Tr" => self.out.push_str("-1"),
            "B" => self.plain(format_args!("{so_far}{}", ended.bytes_out)),
            "U" => self.plain(ended.bytes_in),
            "hr" => self.captures(false, false),
            "hrl" => self.captures(false, true),
            "hs" => self.captures(true, false),
            "hsl" => self.captures(true, true),
            "ts" | "tsc" => self.plain(ended.termination()),
            "ac" => self.plain(open.process),
            "fc" => self.plain(open.service),
            "bc" => self.plain(open.pool),
            "sc" => self.plain(open.server),
            "rc" => self.plain(format_args!("{}{}", if ended.redispatched { "+" } else { "" }, ended.retries)),
            "sq" => self.plain(ended.ahead.server),
            "bq" => self.plain(ended.ahead.any),
            "pid" => self.number(std::process::id()),
            "H" => self.text(&nix::unistd::gethostname().unwrap_or_default().to_string_lossy()),
            _ => return false,
        }
        true
    }
}

/// As HAProxy writes captures: what has a meaning there, and what is no printable ASCII, as `#` and two digits.
fn hex_escaped(text: &[u8]) -> String {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\"#{|}".contains(byte);
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if plain(byte) {
            out.push(char::from(*byte));
        } else {
            let _written = write!(out, "#{byte:02X}");
        }
    }
    out
}

/// A text of the client's: no character in it ends the line. Those of `before` have a backslash before them.
fn escaped(text: &[u8], before: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let _written = write!(out, "#{:02X}", u32::from(c));
                continue;
            }
            if u8::try_from(c).is_ok_and(|byte| before.contains(&byte)) {
                out.push('\\');
            }
            out.push(c);
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("#{byte:02X}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::ended;
    use super::*;
    use crate::model::Service;

    fn said(format: &str) -> String {
        let service = Service::new("fe", "be");
        line((format, &[]), &Ended { sni: Some("a.example"), ..ended(&service) }, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_format_of_ones_own_is_followed() {
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let format = "%ci:%cp %si:%sp %U/%B %Td %% %[lua.x] %HM %bi %zork 100%";
        assert_eq!(said(format), format!("192.0.2.9:48986 10.0.0.1:2222 7/5 3 % - {host}M - - 100-"));
        assert_eq!(
            said("%[src] %[src_port] %[dst]:%[dst_port] %[fe_name]/%[be_name]/%[srv_name] %[req.ssl_sni]"),
            "192.0.2.9 48986 192.0.2.100:22 fe/be/s1 a.example"
        );
    }

    #[test]
    fn flags_quote_texts_and_addresses_and_write_in_hexadecimal_digits() {
        assert_eq!(
            said("%{+Q}o %ci %cp %b %s %ts %Tt %[dst_port] %bi %{-Q}ft %{+X}ci"),
            "\"192.0.2.9\" 48986 \"be\" \"s1\" -- 5 \"22\" \"\" fe C0000209"
        );
        assert_eq!(said("%{+Q}b %b %{+X}ci %{+X,+Q}cp %{+E}b"), "\"be\" be C0000209 BF5A be");
    }

    #[test]
    fn dates_are_those_of_greenwich_or_of_this_place() {
        assert_eq!(said("%T"), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(said("%Tl"), LocalTime::of(SystemTime::UNIX_EPOCH).haproxy_zone());
    }
}
