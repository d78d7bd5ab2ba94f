//! `show table`, `set table`, `clear table`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{Shared, change, show, sources};
use crate::control::operate::{TableChange, TableEntryView, TableView};
use crate::control::server;
use crate::control::{Reply, Request};
use crate::model::Config;

const NO_TABLE: &str = "No such table\n";

async fn tables(pool: Option<&str>, shared: &Shared) -> Vec<TableView> {
    let reply = server::call(&shared.calls, Request::Tables { pool: pool.map(str::to_owned) }).await;
    if let Reply::Tables { tables } = reply { tables } else { Vec::new() }
}

async fn numbers(pool: &str, shared: &Arc<Shared>) -> Vec<String> {
    let pool = pool.to_owned();
    let names = move |config: &Config| {
        let servers = config.pool(&pool).into_iter().flat_map(|pool| &pool.servers);
        servers.map(|server| server.name.clone()).collect::<Vec<_>>().join("\n")
    };
    let names = show::look(shared, move |config, _| names(config)).await;
    names.lines().map(str::to_owned).collect()
}

fn number(servers: &[String], server: Option<&str>) -> usize {
    let place = server.and_then(|name| servers.iter().position(|known| known == name));
    place.map_or(0, |place| place + 1)
}

/// The nodes that share tables.
pub(super) async fn peers(shared: &Shared) -> String {
    let reply = server::call(&shared.calls, Request::Peers).await;
    if let Reply::Done { text } | Reply::Failed { text, .. } = reply { text } else { String::new() }
}

/// Every table's head; of a named one its entries too, all or those asked for.
pub(super) async fn show(arguments: &[&str], shared: &Arc<Shared>) -> String {
    let Some((name, rest)) = arguments.split_first() else {
        let counting = sources::tables(None, shared).await;
        let counting = counting.iter().map(sources::head);
        return tables(None, shared).await.iter().map(head).chain(counting).collect();
    };
    let tables = tables(Some(name), shared).await;
    let Some(table) = tables.first() else {
        let counting = sources::tables(Some(name), shared).await;
        return counting.first().map_or_else(|| NO_TABLE.to_owned(), |table| sources::show(table, rest));
    };
    let servers = numbers(name, shared).await;
    let line = |entry: &TableEntryView| entry_line(entry, table, &servers);
    match Filter::of(rest) {
        Ok(Filter::Key(text)) => {
            let key = canonical(text, table);
            table
                .entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| head(table) + &line(entry))
                .unwrap_or_default()
        }
        Ok(filter) => {
            let chosen = table.entries.iter().filter(|entry| filter.lets(number(&servers, entry.server.as_deref())));
            head(table) + &chosen.map(line).collect::<String>()
        }
        Err(text) if rest.first().is_some_and(|word| *word != "key" && !word.starts_with("data.")) => text
            .replace("Required arguments: <table>", "Optional argument only supports")
            .replace("or <table> key", "and key"),
        Err(text) => text,
    }
}

fn head(table: &TableView) -> String {
    format!("# table: {}, type: {}, size:{}, used:{}\n", table.pool, table.kind, table.size, table.entries.len())
}

fn entry_line(entry: &TableEntryView, table: &TableView, servers: &[String]) -> String {
    // A live flow pins its entry: its life begins when that ends.
    let expires = entry.expires_in_seconds.or(table.life_seconds.filter(|_| entry.flows > 0)).unwrap_or(0.0);
    format!(
        "{:#x}: key={} use={} exp={:.0} server_id={} server_key={}\n",
        handle(&entry.key),
        shown(&entry.key, &table.kind),
        entry.flows,
        expires * 1000.0,
        number(servers, entry.server.as_deref()),
        entry.server.as_deref().unwrap_or("-"),
    )
}

/// A key as HAProxy shows it: in a table of both families all addresses are IPv6 ones; texts show no control characters, and
/// what would end them has a backslash before it.
pub(super) fn shown<'k>(key: &'k str, kind: &str) -> Cow<'k, str> {
    match (kind, key.parse::<Ipv4Addr>()) {
        ("ipv6", Ok(address)) => address.to_ipv6_mapped().to_string().into(),
        ("string", _) => key.bytes().map(shown_byte).collect::<String>().into(),
        _ => key.into(),
    }
}

fn shown_byte(byte: u8) -> String {
    match byte {
        b'\t' => "\\t".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        0x1b => "\\e".to_owned(),
        b' ' | b'=' | b'\\' => format!("\\{}", char::from(byte)),
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

/// Stands where HAProxy shows a pointer: the same for the same client.
pub(super) fn handle(key: &str) -> u64 {
    let bits = match key.parse() {
        Ok(IpAddr::V4(address)) => u128::from(u32::from(address)),
        Ok(IpAddr::V6(address)) => u128::from(address),
        // FNV-1a.
        Err(_) => key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
            .into(),
    };
    // 48 bits, as a pointer has.
    ((bits ^ bits >> 48 ^ bits >> 96) as u64) & 0xffff_ffff_ffff | 1 << 44
}

/// A key as its table shows it: an address may be written in many ways, bytes with small digits.
fn canonical(key: &str, table: &TableView) -> String {
    match table.kind.as_str() {
        "ip" | "ipv6" => key.parse().map_or(key.to_owned(), |key: IpAddr| key.to_canonical().to_string()),
        "binary" => key.to_uppercase(),
        _ => key.to_owned(),
    }
}

/// Which entries are meant.
#[derive(Debug, PartialEq)]
enum Filter<'a> {
    All,
    Key(&'a str),
    Server(Compare, usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Less,
    Greater,
}

impl Compare {
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "le" => Self::AtMost,
            "ge" => Self::AtLeast,
            "lt" => Self::Less,
            "gt" => Self::Greater,
            _ => return None,
        })
    }

    pub(super) fn holds(self, value: u64, than: u64) -> bool {
        match self {
            Self::Equal => value == than,
            Self::NotEqual => value != than,
            Self::AtMost => value <= than,
            Self::AtLeast => value >= than,
            Self::Less => value < than,
            Self::Greater => value > than,
        }
    }
}

pub(super) fn usage() -> String {
    let usage = r#"Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key <key>"#;
    format!("{usage}\n")
}

impl<'a> Filter<'a> {
    fn of(words: &[&'a str]) -> Result<Self, String> {
        match words {
            [] => Ok(Self::All),
            ["key", key, ..] => Ok(Self::Key(key)),
            ["key"] => Err("Key value expected\n".to_owned()),
            ["data.server_id", rest @ ..] => {
                let Some(compare) = rest.first().and_then(|word| Compare::of(word)) else {
                    let words = r#""eq", "ne", "le", "ge", "lt", "gt""#;
                    return Err(format!("Filter entry #1: Require and operator among {words}\n"));
                };
                let value = rest.get(1).and_then(|value| value.parse().ok());
                let wanted = "Filter entry #1: Require a valid integer value to compare against\n";
                value.map(|value| Self::Server(compare, value)).ok_or_else(|| wanted.to_owned())
            }
            [word, ..] if word.starts_with("data.") => Err("Filter entry #1: Unknown data type\n".to_owned()),
            _ => Err(usage()),
        }
    }

    fn lets(&self, server: usize) -> bool {
        match self {
            Self::All | Self::Key(_) => true,
            Self::Server(compare, value) => compare.holds(server as u64, *value as u64),
        }
    }
}

/// `set table <table> key <key> [data.server_id <id>] [data.server_key <name>]`
pub(super) async fn set(arguments: &[&str], shared: &Arc<Shared>) -> String {
    let usage = "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n";
    let Some((name, rest)) = arguments.split_first() else { return usage.to_owned() };
    let tables = tables(Some(name), shared).await;
    let Some(table) = tables.first() else {
        let counts = !sources::tables(Some(name), shared).await.is_empty();
        let what = "What is counted of sources cannot be set.\n";
        return if counts { what } else { NO_TABLE }.to_owned();
    };
    let (key, data) = match rest {
        [] => return String::new(),
        ["key"] => return "Key value expected\n".to_owned(),
        ["key", key, data @ ..] => (key, data),
        [word, ..] if word.starts_with("data.") => {
            return "content-based lookup is only supported with the \"show\" and \"clear\" actions\n".to_owned();
        }
        _ => return usage.to_owned(),
    };
    if table.kind.starts_with("ip") && key.parse::<IpAddr>().is_err() {
        return format!("'{key}' is not an address.\n");
    }
    let key = canonical(key, table);
    let servers = numbers(name, shared).await;
    let mut server = None;
    for pair in data.chunks(2) {
        server = match pair {
            ["data.server_id", id] => {
                let place = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
                place.and_then(|place| servers.get(place)).cloned()
            }
            ["data.server_key", key] => servers.iter().find(|known| known == key).cloned(),
            [
                "data.conn_cnt" | "data.conn_rate" | "data.gpc0" | "data.gpc1" | "data.gpt0" | "data.bytes_in_cnt",
                ..,
            ] => {
                return "Data type not stored in this table\n".to_owned();
            }
            [_] => return "Value expected\n".to_owned(),
            _ => return "Unknown data type\n".to_owned(),
        };
        if server.is_none() {
            return "No such server in the table's backend.\n".to_owned();
        }
    }
    // An entry without a server would say nothing.
    let Some(server) = server else { return "Require data.server_id or data.server_key.\n".to_owned() };
    change::request(shared, Request::Table { pool: (*name).to_owned(), change: TableChange::Set { key, server } }).await
}

/// `clear table <table> [key <key> | data.server_id <operator> <value>]`
pub(super) async fn clear(arguments: &[&str], shared: &Arc<Shared>) -> String {
    let Some((name, rest)) = arguments.split_first() else {
        return Filter::of(&["?"]).err().unwrap_or_default();
    };
    let tables = tables(Some(name), shared).await;
    let Some(table) = tables.first() else {
        return match sources::tables(Some(name), shared).await.first() {
            Some(table) => sources::clear(table, rest, shared).await,
            None => NO_TABLE.to_owned(),
        };
    };
    let clear = |key, server| {
        let change = TableChange::Clear { key, server };
        change::request(shared, Request::Table { pool: table.pool.clone(), change })
    };
    match Filter::of(rest) {
        Ok(Filter::All) => clear(None, None).await,
        Ok(Filter::Key(key)) => clear(Some(canonical(key, table)), None).await,
        Ok(filter) => {
            let servers = numbers(name, shared).await;
            for (index, server) in servers.iter().enumerate() {
                if filter.lets(index + 1) {
                    let said = clear(None, Some(server.clone())).await;
                    if !said.is_empty() {
                        return said;
                    }
                }
            }
            String::new()
        }
        Err(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_in_haproxy() {
        assert_eq!(Filter::of(&[]), Ok(Filter::All));
        assert_eq!(Filter::of(&["key", "192.0.2.1"]), Ok(Filter::Key("192.0.2.1")));
        assert_eq!(Filter::of(&["data.server_id", "gt", "1"]), Ok(Filter::Server(Compare::Greater, 1)));
        for (words, said) in [
            (vec!["key"], "Key value expected\n"),
            (
                vec!["data.server_id", "foo", "1"],
                "Filter entry #1: Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"\n",
            ),
            (vec!["data.server_id", "eq"], "Filter entry #1: Require a valid integer value to compare against\n"),
            (vec!["data.foo", "eq", "1"], "Filter entry #1: Unknown data type\n"),
        ] {
            assert_eq!(Filter::of(&words), Err(said.to_owned()));
        }
        assert!(Filter::Server(Compare::AtLeast, 2).lets(2) && !Filter::Server(Compare::AtLeast, 2).lets(1));
    }
}
