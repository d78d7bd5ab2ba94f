//! The ACLs that are there without being written (manual, section 7.4), as far as they are about TCP or can be told from a
//! client's first bytes.

use std::sync::Arc;

use crate::model::Networks;
use crate::model::rule::{End, Party, Pattern, Quantity, Test, Text};

/// The longest of the methods below, with the space after it, fits in. The shortest request is longer.
const METHOD_BYTES: usize = 8;

/// Those that there is an ACL for.
const METHODS: [&str; 8] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE"];

/// What HAProxy calls an ACL of this name. The error says that there is none, or what it would have to ask.
pub(super) fn predefined(name: &str, of_requests: bool) -> Result<Arc<[Test]>, String> {
    let method = name.strip_prefix("METH_").filter(|_| of_requests);
    let test = match name {
        _ if method.is_some_and(|method| METHODS.contains(&method)) => of_method(method.unwrap_or_default()),
        "HTTP" | "REQ_CONTENT" if of_requests => Test::Always(true),
        "RDP_COOKIE" | "HTTP_1.0" | "HTTP_1.1" if of_requests => {
            return Err(format!("the ACL `{name}` cannot be asked of a request here yet"));
        }
        "TRUE" => Test::Always(true),
        "FALSE" => Test::Always(false),
        "LOCALHOST" => loopback(),
        "REQ_CONTENT" => Test::Number(Quantity::HeardBytes, vec![1..=i64::MAX]),
        "RDP_COOKIE" => Test::Number(Quantity::RdpCookies, vec![1..=i64::MAX]),
        "WAIT_END" => Test::Ended,
        "HTTP" => Test::Http,
        "HTTP_1.0" => version("0"),
        "HTTP_1.1" => version("1"),
        "METH_GET" => begins("^(GET|HEAD) "),
        _ if name.strip_prefix("METH_").is_some_and(|method| METHODS.contains(&method)) => {
            begins(&format!("^{} ", name.trim_start_matches("METH_")))
        }
        "HTTP_CONTENT" | "HTTP_URL_ABS" | "HTTP_URL_SLASH" | "HTTP_URL_STAR" if of_requests => {
            return Err(format!("the ACL `{name}` cannot be asked of a request here yet"));
        }
        "HTTP_CONTENT" | "HTTP_URL_ABS" | "HTTP_URL_SLASH" | "HTTP_URL_STAR" => {
            return Err(format!("the ACL `{name}` asks for parts of an HTTP request, which are not read in TCP mode"));
        }
        _ => return Err(format!("there is no ACL called `{name}`")),
    };
    Ok(Arc::new([test]))
}

/// HAProxy takes HEAD for a GET here.
fn of_method(method: &str) -> Test {
    let and_head = (method == "GET").then_some("HEAD");
    let patterns = [method].into_iter().chain(and_head).map(|method| Pattern::Exact(method.into()));
    Test::Text { of: Text::Method, ignore_case: false, patterns: patterns.collect() }
}

fn begins(expression: &str) -> Test {
    heard(Some(METHOD_BYTES), expression)
}

fn version(minor: &str) -> Test {
    heard(None, &format!("^[A-Z]+ [^ \\r\\n]+ HTTP/1\\.{minor}\\r?\\n"))
}

fn heard(length: Option<usize>, expression: &str) -> Test {
    let patterns = vec![Pattern::Regex(expression.to_owned())];
    Test::Text { of: Text::Heard { by: Party::Client, offset: 0, length }, ignore_case: false, patterns }
}

fn loopback() -> Test {
    let networks = ["127.0.0.1/8", "::1"].iter().filter_map(|text| text.parse().ok()).collect();
    Test::Address(End::Source, Networks::new(networks))
}
