//! The line of a connection as an event of the process is written. Every connection has one: it is put together without the
//! formatting machinery, which took a fortieth of a short connection's processor time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::CONNECTION;
use crate::proxy::Ended;

/// Writes the line of [`Ended::trace`] as it is as text, directly.
pub(super) fn write(ended: &Ended<'_>, time: Option<SystemTime>, out: &mut String) {
    if let Some(time) = time {
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, "{} ", humantime::format_rfc3339_micros(time));
    }
    out.push_str(" INFO ");
    out.push_str(CONNECTION);
    out.push_str(if ended.goes_on { ": connection established service=" } else { ": connection ended service=" });
    quote(&ended.service.name, out);
    out.push_str(" client=");
    address(ended.client, out);
    out.push_str(" destination=");
    address(ended.destination, out);
    if let Some(name) = ended.sni {
        out.push_str(" sni=");
        quote(name, out);
    }
    if let Some(pool) = ended.pool {
        out.push_str(" pool=");
        quote(pool, out);
    }
    if let Some(server) = ended.server {
        out.push_str(" server=");
        quote(server, out);
    }
    if let Some(server) = ended.server_address {
        out.push_str(" server_address=");
        address(server, out);
    }
    out.push_str(" reason=");
    quote(ended.reason.label(), out);
    out.push_str(" bytes_in=");
    number(ended.bytes_in, out);
    out.push_str(" bytes_out=");
    number(ended.bytes_out, out);
    if let Some(connected) = ended.connected() {
        out.push_str(" connect_ms=");
        millis(connected, out);
    }
    out.push_str(" duration_ms=");
    millis(ended.duration, out);
    out.push('\n');
}

/// As `{:?}` does.
fn quote(text: &str, out: &mut String) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        let _ = write!(out, "{text:?}");
    }
}

fn address(address: SocketAddr, out: &mut String) {
    let SocketAddr::V4(v4) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (octet, end) in v4.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        number(octet.into(), out);
        out.push(end);
    }
    number(v4.port().into(), out);
}

fn number(number: u64, out: &mut String) {
    if number >= 10 {
        self::number(number / 10, out);
    }
    out.push(digit(number));
}

/// The last one.
fn digit(number: u64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

/// Milliseconds with as many decimals as there are, one at least, to the microsecond.
fn millis(duration: Duration, out: &mut String) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    out.push('.');
    out.push(digit(micros / 100));
    if micros % 100 != 0 {
        out.push(digit(micros / 10));
    }
    if micros % 10 != 0 {
        out.push(digit(micros));
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::ended;
    use super::*;
    use crate::model::Service;

    #[test]
    fn the_line_of_text_is_that_of_the_event() {
        let service = Service::new("fe", "be");
        let unserved = Ended { server: None, server_address: None, waited: None, ..ended(&service) };
        let named = Ended { sni: Some("a\"b\n"), client: "[2001:db8::1]:9".parse().unwrap(), ..ended(&service) };
        for ended in [ended(&service), unserved, named, Ended { goes_on: true, ..ended(&service) }] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let writer = move || Sent(sender.clone());
            let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(writer);
            tracing::subscriber::with_default(format.finish(), || ended.trace());
            let event: Vec<u8> = receiver.try_iter().flatten().collect();
            let mut line = String::new();
            write(&ended, None, &mut line);
            assert_eq!(line, String::from_utf8(event).unwrap());
            let mut stamped = String::new();
            write(&ended, Some(SystemTime::UNIX_EPOCH), &mut stamped);
            assert_eq!(stamped, format!("1970-01-01T00:00:00.000000Z {line}"));
        }
    }

    struct Sent(std::sync::mpsc::Sender<Vec<u8>>);

    impl std::io::Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn durations_are_written_as_numbers_are() {
        for micros in (0..2_000).chain((2_000..50_000_000).step_by(997)) {
            let mut out = String::new();
            millis(Duration::from_micros(micros), &mut out);
            assert_eq!(out, format!("{:?}", micros as f64 / 1000.0));
        }
    }
}
