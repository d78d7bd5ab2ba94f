//! One test: what is looked at (a "sample fetch") and what it has to be.

use super::pattern::{self, Patterns};
use super::{Fault, Scope, converter, expression, figure, purpose, slot, variable};
use crate::config::import::Word;
use crate::config::source::Location;
use crate::model::ServerRef;
use crate::model::expression::{Expression, Origin};
use crate::model::rule::{Counted, Counter, End, Party, Quantity, Test, Text};
use crate::rules;

/// What can be looked at.
pub(super) enum Fetch {
    Address(End),
    Number(Quantity),
    /// A TLS version, written `3.3`.
    Version,
    /// A text, and how it is compared unless something else is said.
    Text(Text, &'static str),
    /// Bytes that are no text: how they are compared has to be said.
    Bytes(Text),
    /// A variable of the environment, which is known already.
    Environment(Option<String>),
    /// What rules have kept, or what stands there.
    Origin(Origin),
    Truth(Test),
}

/// `FETCH[,CONVERTER ..] [-i] [-m METHOD] [-f FILE] [-u NUMBER] [--] PATTERN ..`. `at` is where it would begin.
pub(in crate::config) fn tests(at: Location, words: &[Word], scope: &Scope<'_>) -> Result<Vec<Test>, Fault> {
    let Some((first, rest)) = words.split_first() else { return Err(Fault::new(at, "a test is missing here")) };
    let (name, chain) = converters(&first.text);
    let fetch = fetch(name, scope).map_err(|message| Fault::new(first.at, message))?;
    // What is compared in small letters need not be made of them.
    let lower = chain == Some("lower") && matches!(fetch, Fetch::Text(..) | Fetch::Environment(_));
    let then = match chain.filter(|_| !lower) {
        Some(chain) => converter::converters(chain, first, scope)?,
        None => Vec::new(),
    };
    let patterns = pattern::read(first, rest)?;
    if then.is_empty() && patterns.files.is_empty() && patterns.number.is_none() {
        return test(fetch, patterns, lower, first);
    }
    expression::tests((fetch, then), patterns, lower, first, scope)
}

/// Parts of HTTP requests.
const OF_REQUESTS: [&str; 14] = [
    "base",
    "cook",
    "cookie",
    "hdr",
    "hdr_ip",
    "method",
    "path",
    "pathq",
    "query",
    "req.hdr",
    "url",
    "url_param",
    "urlp",
    "capture.req.hdr",
];

/// A fetch, and the converters after its first comma that is not between parentheses.
pub(super) fn converters(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0;
    let comma = text.find(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    });
    match comma {
        Some(comma) => (&text[..comma], Some(&text[comma + 1..])),
        None => (text, None),
    }
}

pub(super) fn test(fetch: Fetch, patterns: Patterns<'_>, lower: bool, word: &Word) -> Result<Vec<Test>, Fault> {
    let none_given = |what: &str| none_given(what, word);
    match fetch {
        Fetch::Truth(test) => {
            if let Some(more) = patterns.words.first() {
                return Err(Fault::new(more.at, format!("`{}` is true or false: nothing can follow", word.text)));
            }
            Ok(vec![test])
        }
        Fetch::Address(end) => {
            let networks = patterns.networks()?;
            if networks.listed().is_empty() {
                Err(none_given("networks"))
            } else {
                Ok(vec![Test::Address(end, networks)])
            }
        }
        Fetch::Number(quantity) => {
            let unlimited = matches!(&quantity, Quantity::Figure(figure) if figure.may_be_unlimited());
            let ranges = patterns.numbers(if unlimited { -1 } else { 0 }, rules::lists::number)?;
            if ranges.is_empty() {
                Err(none_given("numbers, such as `gt 10`"))
            } else {
                Ok(vec![Test::Number(quantity, ranges)])
            }
        }
        Fetch::Version => {
            let ranges = patterns.numbers(0, pattern::version)?;
            let test = Test::Number(Quantity::HelloVersion, ranges.clone());
            if ranges.is_empty() { Err(none_given("versions, such as `3.3`")) } else { Ok(vec![test]) }
        }
        Fetch::Text(of, _) | Fetch::Bytes(of) => {
            let usual = if let Fetch::Text(_, usual) = fetch { Some(usual) } else { None };
            let (list, ignore_case) = patterns.texts(usual, lower, word)?;
            if list.is_empty() {
                return Err(none_given("texts, or `-m found`"));
            }
            Ok(vec![Test::Text { of, ignore_case, patterns: list }])
        }
        Fetch::Origin(of) => Ok(vec![expression::compared(Expression { of, then: Vec::new() }, &patterns, word)?]),
        Fetch::Environment(value) => {
            let (list, ignore_case) = patterns.texts(Some("str"), lower, word)?;
            let holds = value.is_some_and(|value| rules::text_is(value.as_bytes(), ignore_case, &list));
            Ok(vec![Test::Always(holds)])
        }
    }
}

pub(super) fn none_given(what: &str, word: &Word) -> Fault {
    Fault::new(word.at, format!("`{}` is compared with nothing: write {what} after it", word.text))
}

/// The fetch `name(arguments)`. What is not there is refused by its name.
pub(super) fn fetch(text: &str, scope: &Scope<'_>) -> Result<Fetch, String> {
    let (name, inside) = match text.split_once('(') {
        Some((name, rest)) => {
            let inside = rest.strip_suffix(')').ok_or_else(|| format!("`{text}` is not closed with `)`"))?;
            (name, inside)
        }
        None => (text, ""),
    };
    let arguments: Vec<&str> = inside.split(',').map(str::trim).filter(|argument| !argument.is_empty()).collect();
    if let Some(fetch) = counter(name, &arguments, scope)? {
        if scope.of_requests {
            return Err(format!("`{name}` counts sources of connections to services: nobody counts those of a page"));
        }
        return Ok(fetch);
    }
    if scope.of_requests
        && let Some(fetch) = of_request(name)?
    {
        return Ok(fetch);
    }
    if let Some(origin) = variable::origin(name, inside, scope)? {
        return Ok(Fetch::Origin(origin));
    }
    if let Some(figure) = figure::read(name, &arguments, scope)? {
        return Ok(Fetch::Number(Quantity::Figure(figure)));
    }
    let by = if name.starts_with("res.") { Party::Server } else { Party::Client };
    let fetch = match name {
        "src" => Fetch::Address(End::Source),
        "dst" => Fetch::Address(End::Destination),
        "src_port" => Fetch::Number(Quantity::Port(End::Source)),
        "dst_port" => Fetch::Number(Quantity::Port(End::Destination)),
        "req.len" | "req_len" => Fetch::Number(Quantity::HeardBytes),
        "req.ssl_hello_type" | "req_ssl_hello_type" => Fetch::Number(Quantity::HelloType),
        "req.rdp_cookie_cnt" | "req_rdp_cookie_cnt" | "rdp_cookie_cnt" => Fetch::Number(Quantity::RdpCookies),
        "req.ssl_ver" | "req_ssl_ver" => Fetch::Version,
        "req.ssl_sni" | "req_ssl_sni" => Fetch::Text(Text::ServerName, "str"),
        "req.ssl_alpn" => Fetch::Text(Text::Protocol, "str"),
        "req.rdp_cookie" | "req_rdp_cookie" | "rdp_cookie" if inside == "mstshash" => Fetch::Text(Text::RdpUser, "str"),
        "req.payload" | "payload" | "res.payload" => {
            let numbers = arguments.iter().map(|number| number.parse().ok()).collect::<Option<Vec<usize>>>();
            match numbers.as_deref() {
                Some([offset, length]) => {
                    let length = Some(*length).filter(|length| *length > 0);
                    Fetch::Bytes(Text::Heard { by, offset: *offset, length })
                }
                _ => return Err(format!("`{name}` wants an offset and a length, as in `{name}(0,4)`")),
            }
        }
        "req.payload_lv" | "payload_lv" | "res.payload_lv" => {
            let numbers = arguments.iter().map(|number| number.parse().ok()).collect::<Option<Vec<usize>>>();
            match numbers.as_deref() {
                Some([offset, size @ 1..=4]) => Fetch::Bytes(Text::Counted { by, offset: *offset, size: *size }),
                _ => return Err(format!("`{name}` wants an offset and the size of a length, as in `{name}(43,1)`")),
            }
        }
        "env" => match arguments.as_slice() {
            [variable] => Fetch::Environment((scope.variable)(variable)),
            _ => return Err("`env` wants the name of a variable, as in `env(HOME)`".to_owned()),
        },
        "rand" if scope.of_requests => return Err("`rand` cannot be asked of a page".to_owned()),
        "rand" => match arguments.as_slice() {
            [] => Fetch::Number(Quantity::Random(None)),
            [below] => match below.parse().ok().filter(|below| *below > 0) {
                Some(below) => Fetch::Number(Quantity::Random(Some(below))),
                None => return Err(format!("`{below}` is no number that `rand` could stay below")),
            },
            _ => return Err("`rand` takes one number, as in `rand(100)`".to_owned()),
        },
        "srv_is_up" => {
            let ServerRef { pool, server } = figure::server(name, &arguments, scope)?;
            Fetch::Truth(Test::ServerUp { pool, server })
        }
        "always_true" => Fetch::Truth(Test::Always(true)),
        "always_false" => Fetch::Truth(Test::Always(false)),
        // TLS ends elsewhere.
        "ssl_fc" => Fetch::Truth(Test::Always(false)),
        "wait_end" => Fetch::Truth(Test::Ended),
        "req.proto_http" | "req_proto_http" => Fetch::Truth(Test::Http),
        other => return Err(not_there(other)),
    };
    let most = match name {
        "req.payload" | "payload" | "res.payload" | "req.payload_lv" | "payload_lv" | "res.payload_lv" => 2,
        "srv_is_up" | "env" | "rand" | "req.rdp_cookie" | "req_rdp_cookie" | "rdp_cookie" => 1,
        _ => 0,
    };
    if arguments.len() > most {
        return Err(format!("`{text}` has more arguments than `{name}` takes"));
    }
    Ok(fetch)
}

/// What can be asked of a request in particular; what of a connection's first bytes cannot.
fn of_request(name: &str) -> Result<Option<Fetch>, String> {
    const HOW: [(&str, &str); 6] =
        [("_beg", "beg"), ("_dom", "dom"), ("_end", "end"), ("_len", "len"), ("_reg", "reg"), ("_sub", "sub")];
    let compared = HOW.iter().find_map(|(suffix, how)| Some((name.strip_suffix(suffix)?, *how)));
    let (plain, usual) = compared.unwrap_or((name, "str"));
    Ok(Some(match plain {
        "path" => Fetch::Text(Text::Path, usual),
        "method" => Fetch::Text(Text::Method, usual),
        _ if name.starts_with("req") || OF_REQUESTS.contains(&plain) || name == "payload" => {
            return Err(format!("`{name}` cannot be asked of a request here yet: path and method can"));
        }
        _ => return Ok(None),
    }))
}

/// Why a fetch cannot be asked.
pub(super) fn not_there(name: &str) -> String {
    let plain = ["_beg", "_dir", "_dom", "_end", "_len", "_reg", "_sub"].iter().find_map(|how| name.strip_suffix(how));
    if OF_REQUESTS.contains(&plain.unwrap_or(name)) {
        format!("`{name}` is part of an HTTP request, which is not read in TCP mode")
    } else if name.contains("rdp_cookie") {
        format!("`{name}`: of the cookies of RDP only `mstshash` is read")
    } else {
        match name {
            "dst_conn" => {
                "`dst_conn` counts the connections of one listener, which nobody does here: `fe_conn` counts those of its \
                 frontend"
                    .to_owned()
            }
            "fe_id" | "so_id" | "be_id" => {
                format!("`{name}` is a number that HAProxy gives out: nothing has it here; `dst_port` tells listeners apart")
            }
            name if name.starts_with("ssl_fc_sni") => {
                format!("`{name}` is of TLS that ends here, which it does not: `req.ssl_sni` is in the hello that passes through")
            }
            _ => format!("`{name}` cannot be asked yet"),
        }
    }
}

/// `src_conn_rate(table)`, `sc0_conn_rate[(table)]`, `sc_conn_rate(0[,table])` and their like.
fn counter(name: &str, arguments: &[&str], scope: &Scope<'_>) -> Result<Option<Fetch>, String> {
    let (of, what, table) = if let Some(what) = name.strip_prefix("src_") {
        (Counted::Source, what, arguments.first().copied().or(scope.own))
    } else if let Some(what) = name.strip_prefix("sc_") {
        let Some(slot) = arguments.first().and_then(|number| slot(number)) else { return Ok(None) };
        (Counted::Tracked(slot), what, arguments.get(1).copied())
    } else if let Some((number, what)) = name.strip_prefix("sc").and_then(|rest| rest.split_once('_')) {
        let Some(slot) = slot(number) else { return Ok(None) };
        (Counted::Tracked(slot), what, arguments.first().copied())
    } else {
        return Ok(None);
    };
    let general = |prefix: &str| what.strip_prefix(prefix).and_then(purpose);
    let counter = match what {
        "updt_conn_cnt" if of == Counted::Source => Counter::CountConnection,
        // Who is tracked counts as open himself.
        "trackers" | "tracked" if of != Counted::Source => Counter::Connections,
        _ => {
            let found = counted(what).or_else(|| general("get_gpc").map(Counter::Purpose));
            let found = found.or_else(|| general("inc_gpc").map(Counter::Increment));
            match found.or_else(|| general("clr_gpc").map(Counter::Clear)) {
                Some(counter) => counter,
                None => return Ok(None),
            }
        }
    };
    if of == Counted::Source && table.is_none() {
        return Err(format!("`{name}` wants the name of a table, as in `{name}(clients)`"));
    }
    let quantity = Quantity::Counter { of, table: table.map(str::to_owned), counter };
    let is_tracked = what == "tracked";
    Ok(Some(if is_tracked {
        Fetch::Truth(Test::Number(quantity, vec![0..=i64::MAX]))
    } else {
        Fetch::Number(quantity)
    }))
}

/// What a table counts, by the name it has there.
pub(super) fn counted(what: &str) -> Option<Counter> {
    Some(match what {
        "conn_cnt" => Counter::ConnectionCount,
        "conn_cur" => Counter::Connections,
        "conn_rate" => Counter::ConnectionRate,
        "sess_cnt" => Counter::SessionCount,
        "sess_rate" => Counter::SessionRate,
        "kbytes_in" => Counter::KilobytesIn,
        "kbytes_out" => Counter::KilobytesOut,
        "bytes_in_rate" => Counter::BytesInRate,
        "bytes_out_rate" => Counter::BytesOutRate,
        _ => return what.strip_suffix("_rate")?.strip_prefix("gpc").and_then(purpose).map(Counter::PurposeRate),
    })
}
