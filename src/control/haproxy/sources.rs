//! `show table` and `clear table` of tables that count sources.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::tables::{Compare, handle, shown};
use super::{Shared, change};
use crate::control::operate::{SourceTableView, SourceView, TrafficView};
use crate::control::server;
use crate::control::{Reply, Request};

/// All of them, or the one of this name.
pub(super) async fn tables(name: Option<&str>, shared: &Shared) -> Vec<SourceTableView> {
    let reply = server::call(&shared.calls, Request::Sources { table: name.map(str::to_owned) }).await;
    if let Reply::Sources { sources } = reply { sources } else { Vec::new() }
}

pub(super) fn head(table: &SourceTableView) -> String {
    format!("# table: {}, type: {}, size:{}, used:{}\n", table.name, kind(table), table.size, table.sources.len())
}

fn kind(table: &SourceTableView) -> &'static str {
    if table.ipv6 { "ipv6" } else { "ip" }
}

/// The sources of a table: all, or those that filters let through.
pub(super) fn show(table: &SourceTableView, filters: &[&str]) -> String {
    match Filter::of(filters, table) {
        Ok(filter @ Filter::Key(_)) if !table.sources.iter().any(|source| filter.lets(source)) => String::new(),
        Ok(filter) => {
            let chosen = table.sources.iter().filter(|source| filter.lets(source));
            head(table) + &chosen.map(|source| line(source, table)).collect::<String>()
        }
        Err(text) => text,
    }
}

/// Forgets them.
pub(super) async fn clear(table: &SourceTableView, filters: &[&str], shared: &Shared) -> String {
    match Filter::of(filters, table) {
        Ok(filter) => {
            let chosen = table.sources.iter().filter(|source| filter.lets(source));
            let sources = chosen.map(|source| source.address).collect();
            change::request(shared, Request::ForgetSources { table: table.name.clone(), sources }).await
        }
        Err(text) => text,
    }
}

/// Counters of connections are kept of every source, whatever the table was said to store.
fn line(source: &SourceView, table: &SourceTableView) -> String {
    let SourceView { address, connections, open, rate, purpose, .. } = source;
    let address = address.to_string();
    let mut line = format!(
        "{:#x}: key={} use={open} exp={:.0} gpc0={} conn_cnt={connections} conn_rate({:.0})={rate} conn_cur={open}",
        handle(&address),
        shown(&address, kind(table)),
        source.expires_in_seconds.unwrap_or(0.0) * 1000.0,
        purpose[0],
        table.period_seconds * 1000.0,
    );
    if let Some(traffic) = &source.traffic {
        let [brought, got] = traffic.bytes;
        let [brought_rate, got_rate] = traffic.byte_rates;
        let kept = [
            ("sess_cnt", traffic.sessions, "sess_rate", traffic.session_rate),
            ("bytes_in_cnt", brought, "bytes_in_rate", brought_rate),
            ("bytes_out_cnt", got, "bytes_out_rate", got_rate),
        ];
        for ((count, counted, rate, within), seconds) in kept.into_iter().zip(table.traffic_seconds) {
            let Some(seconds) = seconds else { continue };
            // Writing to a String cannot fail.
            let _ = write!(line, " {count}={counted} {rate}({:.0})={within}", seconds * 1000.0);
        }
    }
    line + "\n"
}

fn traffic(source: &SourceView) -> TrafficView {
    source.traffic.unwrap_or(TrafficView { sessions: 0, session_rate: 0, bytes: [0; 2], byte_rates: [0; 2] })
}

/// Which sources are meant.
#[derive(Debug, PartialEq)]
enum Filter {
    /// Nobody has what is no address.
    Key(Option<IpAddr>),
    /// All of these hold.
    Data(Vec<(Figure, Compare, u64)>),
}

/// A counter of a source.
type Figure = fn(&SourceView) -> u64;

impl Filter {
    fn of(words: &[&str], table: &SourceTableView) -> Result<Self, String> {
        let [sessions, brought, got] = table.traffic_seconds.map(|seconds| seconds.is_some());
        match words {
            ["key"] => return Err("Key value expected\n".to_owned()),
            ["key", key, ..] => return Ok(Self::Key(key.parse().ok().map(|key: IpAddr| key.to_canonical()))),
            _ => {}
        }
        let mut all = Vec::new();
        for (index, filter) in words.chunks(3).enumerate() {
            let failed = |text: &str| Err(format!("Filter entry #{}: {text}\n", index + 1));
            let figure: Figure = match filter[0] {
                "data.conn_cnt" => |source| source.connections,
                "data.conn_cur" => |source| source.open,
                "data.conn_rate" => |source| source.rate,
                "data.gpc0" => |source| source.purpose[0],
                "data.gpc1" => |source| source.purpose[1],
                "data.gpc0_rate" => |source| source.purpose_rate[0],
                "data.gpc1_rate" => |source| source.purpose_rate[1],
                "data.sess_cnt" if sessions => |source| traffic(source).sessions,
                "data.sess_rate" if sessions => |source| traffic(source).session_rate,
                "data.bytes_in_cnt" if brought => |source| traffic(source).bytes[0],
                "data.bytes_in_rate" if brought => |source| traffic(source).byte_rates[0],
                "data.bytes_out_cnt" if got => |source| traffic(source).bytes[1],
                "data.bytes_out_rate" if got => |source| traffic(source).byte_rates[1],
                "data.server_id"
                | "data.server_key"
                | "data.sess_cnt"
                | "data.sess_rate"
                | "data.bytes_in_cnt"
                | "data.bytes_in_rate"
                | "data.bytes_out_cnt"
                | "data.bytes_out_rate"
                | "data.gpt0" => {
                    return failed("Data type not stored in this table");
                }
                word if word.starts_with("data.") => return failed("Unknown data type"),
                _ => return Err(super::tables::usage()),
            };
            let Some(compare) = filter.get(1).and_then(|word| Compare::of(word)) else {
                return failed(r#"Require and operator among "eq", "ne", "le", "ge", "lt", "gt""#);
            };
            let Some(value) = filter.get(2).and_then(|value| value.parse().ok()) else {
                return failed("Require a valid integer value to compare against");
            };
            all.push((figure, compare, value));
        }
        Ok(Self::Data(all))
    }

    fn lets(&self, source: &SourceView) -> bool {
        match self {
            Self::Key(key) => *key == Some(source.address),
            Self::Data(all) => all.iter().all(|(figure, compare, value)| compare.holds(figure(source), *value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_bytes_are_shown_where_they_are_kept() {
        let mut table = table();
        table.traffic_seconds = [Some(3.0), None, Some(5.0)];
        let traffic = TrafficView { sessions: 4, session_rate: 2, bytes: [7, 2048], byte_rates: [1, 9] };
        table.sources[0].traffic = Some(traffic);
        let shown = show(&table, &["data.bytes_out_rate", "ge", "9", "data.sess_cnt", "gt", "3"]);
        assert!(
            shown.ends_with(" conn_cur=1 sess_cnt=4 sess_rate(3000)=2 bytes_out_cnt=2048 bytes_out_rate(5000)=9\n"),
            "{shown}"
        );
        let refused = show(&table, &["data.bytes_in_cnt", "gt", "3"]);
        assert_eq!(refused, "Filter entry #1: Data type not stored in this table\n");
    }

    fn table() -> SourceTableView {
        let source = |host: u8, open: u64, connections: u64| SourceView {
            address: [192, 0, 2, host].into(),
            connections,
            open,
            rate: 1,
            purpose: [0; 2],
            purpose_rate: [0; 2],
            traffic: None,
            expires_in_seconds: Some(1.5).filter(|_| open == 0),
        };
        let sources = vec![source(1, 1, 2), source(2, 0, 5)];
        SourceTableView {
            name: "cnt".to_owned(),
            size: 1024,
            ipv6: false,
            period_seconds: 10.0,
            traffic_seconds: [None; 3],
            sources,
        }
    }

    #[test]
    fn lines_and_filters_are_haproxys() {
        let head = "# table: cnt, type: ip, size:1024, used:2\n";
        let one = "0x1000c0000201: key=192.0.2.1 use=1 exp=0 gpc0=0 conn_cnt=2 conn_rate(10000)=1 conn_cur=1\n";
        let two = "0x1000c0000202: key=192.0.2.2 use=0 exp=1500 gpc0=0 conn_cnt=5 conn_rate(10000)=1 conn_cur=0\n";
        for (filters, expected) in [
            ("", [head, one, two].concat()),
            ("data.conn_cur gt 0", [head, one].concat()),
            ("data.conn_cnt ge 2 data.conn_cur lt 1", [head, two].concat()),
            ("data.gpc0 gt 0", head.to_owned()),
            ("key 192.0.2.2", [head, two].concat()),
            ("key 192.0.2.9", String::new()),
            ("key", "Key value expected\n".to_owned()),
            ("data.server_id eq 1", "Filter entry #1: Data type not stored in this table\n".to_owned()),
            ("data.foo eq 1", "Filter entry #1: Unknown data type\n".to_owned()),
            (
                "data.conn_cnt gt 0 data.conn_rate gt",
                "Filter entry #2: Require a valid integer value to compare against\n".to_owned(),
            ),
            (
                "data.conn_rate foo 1",
                "Filter entry #1: Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"\n"
                    .to_owned(),
            ),
        ] {
            let words: Vec<&str> = filters.split_whitespace().collect();
            assert_eq!(show(&table(), &words), expected, "{filters}");
        }
    }
}
