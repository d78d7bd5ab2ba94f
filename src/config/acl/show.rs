//! Rules as text again. Reading it gives the same rule.

use std::ops::RangeInclusive;

use data_encoding::HEXLOWER;

use super::{PERSISTENCE, STAGES, USE_NO_POOL, USE_POOL, USE_SERVER, converter, expression, figure, variable};
use crate::model::Networks;
use crate::model::expression::Is;
use crate::model::rule::{
    Action, Condition, Counted, Counter, Denial, End, Party, Pattern, Purpose, Quantity, Rule, Slot, Stage, Term, Test,
    Text,
};

/// A rule in the native language.
pub(in crate::config) fn show(rule: &Rule) -> String {
    let stage = STAGES.iter().find(|(_, stage)| *stage == rule.stage).map_or("", |(name, _)| name);
    let action = match (&rule.action, rule.stage) {
        (Action::Pool(pool), _) => format!("{USE_POOL} {}", quoted(pool)),
        (Action::Named(naming), _) => format!("{USE_POOL} {}", quoted(&expression::show_naming(naming))),
        (Action::Server(server), _) => format!("{USE_SERVER} {}", quoted(server)),
        (Action::Persistence(persistence), _) => {
            let name = PERSISTENCE.iter().find(|(_, known)| known == persistence).map_or("", |(name, _)| name);
            name.to_owned()
        }
        (Action::Nowhere, _) | (_, Stage::Route | Stage::Server) => USE_NO_POOL.to_owned(),
        (Action::Accept, _) => format!("{stage} accept"),
        (Action::Reject(Denial::Silent), _) => format!("{stage} silent-drop"),
        (Action::Reject(Denial::Rule | Denial::Limit), _) => format!("{stage} reject"),
        (Action::Track { slot, table, mask }, _) => {
            let mask = mask.map_or(String::new(), |(v4, v6)| format!(",ipmask({v4},{v6})"));
            format!("{stage} track-sc{} src{mask} table {}", slot.index(), quoted(table))
        }
        (Action::Increment { slot, counter }, _) => {
            format!("{stage} sc-inc-{}({})", purpose(*counter), slot.index())
        }
        (action @ (Action::Set { .. } | Action::Compose { .. } | Action::Unset(_) | Action::Capture { .. }), _) => {
            format!("{stage} {}", variable::show_action(action).unwrap_or_default())
        }
    };
    match &rule.when {
        Some(when) => format!("{action} {}", condition(when)),
        None => action,
    }
}

pub(in crate::config) fn condition(condition: &Condition) -> String {
    let lines = condition.any.iter().map(|line| line.iter().map(term).collect::<Vec<_>>().join(" "));
    let keyword = if condition.negated { "unless" } else { "if" };
    format!("{keyword} {}", lines.collect::<Vec<_>>().join(" || "))
}

fn term(term: &Term) -> String {
    let tests = term.any.iter().map(test).collect::<Vec<_>>().join(" || ");
    format!("{}{{ {tests} }}", if term.negated { "!" } else { "" })
}

fn test(test: &Test) -> String {
    match test {
        Test::Always(holds) => format!("always_{holds}"),
        Test::Ended => "wait_end".to_owned(),
        Test::Http => "req.proto_http".to_owned(),
        Test::ServerUp { pool, server } => quoted(&format!("srv_is_up({pool}/{server})")),
        Test::Address(which, listed) => format!("{} {}", end(*which), networks(listed)),
        Test::Number(Quantity::HelloVersion, ranges) => format!("req.ssl_ver {}", numbers(ranges, version)),
        Test::Number(quantity, ranges) => {
            format!("{} {}", quoted(&self::quantity(quantity)), numbers(ranges, |number| number.to_string()))
        }
        Test::Text { of, ignore_case, patterns } => {
            format!("{}{}{}", text(*of), if *ignore_case { " -i" } else { "" }, texts(patterns))
        }
        Test::Value { of, is } => {
            let is = match is {
                Is::Found => " -m found".to_owned(),
                Is::Listed(lookup) => converter::show_lookup(lookup),
                Is::In(listed) => format!(" -m ip {}", networks(listed)),
                Is::Within(ranges) => format!(" -m int {}", numbers(ranges, |number| number.to_string())),
                Is::Like { ignore_case, patterns } => {
                    format!("{}{}", if *ignore_case { " -i" } else { "" }, texts(patterns))
                }
            };
            format!("{}{is}", quoted(&expression::show_expression(of)))
        }
    }
}

pub(super) fn end(end: End) -> &'static str {
    if end == End::Source { "src" } else { "dst" }
}

pub(super) fn quantity(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Port(which) => format!("{}_port", end(*which)),
        Quantity::HeardBytes => "req.len".to_owned(),
        Quantity::HelloType => "req.ssl_hello_type".to_owned(),
        Quantity::HelloVersion => "req.ssl_ver".to_owned(),
        Quantity::RdpCookies => "req.rdp_cookie_cnt".to_owned(),
        Quantity::Random(None) => "rand".to_owned(),
        Quantity::Random(Some(below)) => format!("rand({below})"),
        Quantity::Figure(figure) => figure::show(figure),
        Quantity::Counter { of, table, counter } => self::counter(*of, table.as_deref(), *counter),
    }
}

pub(super) fn text(of: Text) -> String {
    match of {
        Text::ServerName => "req.ssl_sni".to_owned(),
        Text::Protocol => "req.ssl_alpn".to_owned(),
        Text::Method => "method".to_owned(),
        Text::Path => "path".to_owned(),
        Text::Heard { by, offset, length } => format!("{}.payload({offset},{})", said(by), length.unwrap_or(0)),
        Text::Counted { by, offset, size } => format!("{}.payload_lv({offset},{size})", said(by)),
        Text::RdpUser => "req.rdp_cookie(mstshash)".to_owned(),
    }
}

/// What somebody says.
fn said(by: Party) -> &'static str {
    match by {
        Party::Client => "req",
        Party::Server => "res",
    }
}

fn networks(networks: &Networks) -> String {
    networks.listed().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn counter(of: Counted, table: Option<&str>, counter: Counter) -> String {
    let what = counted(counter);
    let table = table.map(|table| format!("({table})")).unwrap_or_default();
    match of {
        Counted::Source => format!("src_{what}{table}"),
        Counted::Tracked(slot) => format!("sc{}_{what}{table}", Slot::index(slot)),
    }
}

/// What a table counts, by the name it has after `src_` and `sc0_`.
pub(super) fn counted(counter: Counter) -> String {
    match counter {
        Counter::ConnectionCount => "conn_cnt".to_owned(),
        Counter::Connections => "conn_cur".to_owned(),
        Counter::ConnectionRate => "conn_rate".to_owned(),
        Counter::SessionCount => "sess_cnt".to_owned(),
        Counter::SessionRate => "sess_rate".to_owned(),
        Counter::KilobytesIn => "kbytes_in".to_owned(),
        Counter::KilobytesOut => "kbytes_out".to_owned(),
        Counter::BytesInRate => "bytes_in_rate".to_owned(),
        Counter::BytesOutRate => "bytes_out_rate".to_owned(),
        Counter::CountConnection => "updt_conn_cnt".to_owned(),
        Counter::Purpose(which) => format!("get_{}", purpose(which)),
        Counter::PurposeRate(which) => format!("{}_rate", purpose(which)),
        Counter::Increment(which) => format!("inc_{}", purpose(which)),
        Counter::Clear(which) => format!("clr_{}", purpose(which)),
    }
}

pub(super) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Gpc0 => "gpc0",
        Purpose::Gpc1 => "gpc1",
    }
}

fn numbers(ranges: &[RangeInclusive<i64>], show: impl Fn(i64) -> String) -> String {
    let range = |range: &RangeInclusive<i64>| match (*range.start(), *range.end()) {
        (i64::MIN, i64::MAX) => ":".to_owned(),
        // A range cannot begin below 0, and a number would be taken for a flag.
        (i64::MIN, last) if last < 0 => format!("le {}", show(last)),
        (first, last) if first == last && first < 0 => format!("eq {}", show(first)),
        (first, i64::MAX) if first < 0 => format!("ge {}", show(first)),
        (first, last) if first == last => show(first),
        (i64::MIN, last) => format!(":{}", show(last)),
        (first, i64::MAX) => format!("{}:", show(first)),
        (first, last) => format!("{}:{}", show(first), show(last)),
    };
    // What is said by relation goes last: it counts for what follows.
    let mut shown: Vec<String> = ranges.iter().map(range).collect();
    shown.sort_by_key(|range| range.contains(' '));
    shown.join(" ")
}

fn version(number: i64) -> String {
    format!("{}.{}", number >> 16, number & 0xff)
}

/// The method of the first pattern is that of all: a test has one.
fn texts(patterns: &[Pattern]) -> String {
    let binary = |pattern: &Pattern| matches!(pattern, Pattern::Exact(bytes) if std::str::from_utf8(bytes).is_err());
    let all_binary = patterns.iter().any(binary);
    let method = match patterns.first() {
        Some(Pattern::Exact(_)) if all_binary => "bin",
        Some(Pattern::Exact(_)) | None => "str",
        Some(Pattern::Found) => return " -m found".to_owned(),
        Some(Pattern::Begin(_)) => "beg",
        Some(Pattern::End(_)) => "end",
        Some(Pattern::Contains(_)) => "sub",
        Some(Pattern::Domain(_)) => "dom",
        Some(Pattern::Regex(_)) => "reg",
        Some(Pattern::Length(_)) => "len",
    };
    let one = |pattern: &Pattern| match pattern {
        Pattern::Found => String::new(),
        Pattern::Exact(bytes) if all_binary => HEXLOWER.encode(bytes),
        Pattern::Exact(text)
        | Pattern::Begin(text)
        | Pattern::End(text)
        | Pattern::Contains(text)
        | Pattern::Domain(text) => quoted(&String::from_utf8_lossy(text)),
        Pattern::Regex(text) => quoted(text),
        Pattern::Length(range) => numbers(std::slice::from_ref(range), |number| number.to_string()),
    };
    format!(" -m {method} -- {}", patterns.iter().map(one).collect::<Vec<_>>().join(" "))
}

/// As one word: in quotes where it would be several, or something else.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:,/()*^$+?=@%&;<>[]!".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    // Within single quotes all but a single quote stands for itself.
    format!("'{}'", text.replace('\'', r"'\''"))
}
