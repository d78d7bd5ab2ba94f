//! The line of a connection in HAProxy's formats (configuration manual, section 8.2).

use std::net::SocketAddr;
use std::time::SystemTime;

use super::format;
use crate::model::{ConnectionLine, Service};
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
        ConnectionLine::Custom(line) => format::line((&line.format, &line.samples), ended, now),
        ConnectionLine::AsLog | ConnectionLine::Connect | ConnectionLine::Tcp => {
            format::line((TCPLOG, &[]), ended, now)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::balance::Ahead;
    use crate::os::clock::LocalTime;
    use crate::proxy::{Noted, OpenCounts, Phase};
    use crate::stats::EndReason;
    use std::time::Duration;

    pub(in crate::app::log) fn ended(service: &Service) -> Ended<'_> {
        Ended {
            service,
            pool: Some("be"),
            server: Some("s1"),
            client: ([192, 0, 2, 9], 48986).into(),
            destination: ([192, 0, 2, 100], 22).into(),
            sni: None,
            noted: Noted::default(),
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
