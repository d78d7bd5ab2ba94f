//! The protocols that a check can speak.

use std::net::IpAddr;

use super::check::{Checked, regex, request, text};
use super::findings::{Findings, LONGEST};
use crate::config::raw::{self, Maybe, Protocol};
use crate::config::source::Location;
use crate::model::{
    CommandCheck, Connect, Conversation, HttpExpect, HttpPattern, HttpRequest, PostgresLogin, ServerPort,
};

/// What is said and heard in it; a server at `address`.
pub(super) fn conversation(
    protocol: &Protocol,
    at: Location,
    connect: Connect,
    address: IpAddr,
    findings: &mut Findings<'_>,
) -> Option<Conversation> {
    Some(match protocol {
        Protocol::Http(http) => {
            let (request, expect) = self::http(http, at, &connect, address, findings);
            Conversation::http(connect, request, expect)
        }
        Protocol::Redis(redis) => {
            if let Some(user) = redis.user.as_ref().filter(|_| redis.password.is_none()) {
                findings.error(user.at, "a user without a password", "add password = \"...\"");
            }
            let password = redis.password.as_ref().map(|password| password.value.0.as_str());
            let role = redis.role.map(|role| role.value);
            Conversation::redis(connect, plain(&redis.user), password, role)
        }
        Protocol::Postgres(postgres) => {
            let user = text(&postgres.user, "user", at, findings)?;
            if postgres.startup_only.is_some_and(|only| only.value) {
                let other =
                    postgres.role.map(|role| role.at).or(postgres.password.as_ref().map(|password| password.at));
                if let Some(at) = other {
                    findings.error(at, "without a login this cannot be", "remove it, or `startup-only`");
                }
                return Some(Conversation::postgres_startup(connect, user));
            }
            let login = PostgresLogin {
                user: user.to_owned(),
                password: postgres.password.as_ref().map(|password| password.value.0.clone()),
                database: plain(&postgres.database).unwrap_or(user).to_owned(),
                role: postgres.role.map(|role| role.value),
            };
            Conversation::postgres(connect, login)
        }
        Protocol::Mysql(mysql) => {
            Conversation::mysql(connect, plain(&mysql.user), mysql.before_41.is_some_and(|before| before.value))
        }
        Protocol::Smtp(smtp) => {
            for word in [&smtp.hello, &smtp.domain].into_iter().flatten() {
                if word.value.is_empty() || word.value.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    findings.error(
                        word.at,
                        format!("`{}` is not one word", word.value),
                        "write EHLO, or a host's name",
                    );
                }
            }
            Conversation::smtp(
                connect,
                plain(&smtp.hello).unwrap_or("HELO"),
                plain(&smtp.domain).unwrap_or("localhost"),
            )
        }
        Protocol::Ldap => Conversation::ldap(connect),
        Protocol::Ssh => Conversation::ssh(connect),
        Protocol::Ftp => Conversation::ftp(connect),
        Protocol::TlsHello => Conversation::tls_hello(connect),
        // They are no conversations, or are made elsewhere.
        Protocol::Steps(_) | Protocol::Command(_) => return None,
    })
}

fn http(
    raw: &raw::Http,
    at: Location,
    connect: &Connect,
    address: IpAddr,
    findings: &mut Findings<'_>,
) -> (HttpRequest, Vec<HttpExpect>) {
    let named = connect.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let host = plain(&raw.host).or(named).map_or_else(
        || match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        },
        str::to_owned,
    );
    let mut headers = vec![("host".to_owned(), host)];
    headers.extend(raw.headers.iter().cloned());
    let asked = HttpRequest {
        method: plain(&raw.method).unwrap_or("GET").to_owned(),
        target: plain(&raw.path).unwrap_or("/").to_owned(),
        http11: true,
        headers,
        ..HttpRequest::options()
    };
    request(&asked, at, findings);
    let mut expect = vec![match &raw.status {
        Some(ranges) => HttpExpect::new(HttpPattern::Status(ranges.value.clone())),
        None => HttpExpect::fine(),
    }];
    if let Some(body) = &raw.body {
        expect.push(HttpExpect::new(HttpPattern::Text(body.value.clone().into_bytes())));
    }
    if let Some(body) = &raw.body_regex {
        regex(&body.value, body.at, findings);
        expect.push(HttpExpect::new(HttpPattern::Regex(body.value.clone())));
    }
    (asked, expect)
}

/// A command that is told whom it is about, in HAProxy's variables.
pub(super) fn command(raw: &raw::CheckCommand, checked: &Checked<'_>, findings: &mut Findings<'_>) -> CommandCheck {
    // Its time is the check's.
    let command = checked.commands.words(&raw.command.words, raw.command.user.as_ref(), LONGEST, findings);
    let mut environment = checked.environment.clone();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let port = match checked.port {
        ServerPort::Fixed(port) => port,
        ServerPort::Same | ServerPort::Offset(_) => 0,
    };
    let connections = checked.server.max_connections.map_or(0, |most| most.value);
    environment.extend([
        pair("HAPROXY_SERVER_NAME", checked.name.to_owned()),
        pair("HAPROXY_SERVER_ADDR", checked.address.map_or_else(String::new, |address| address.to_string())),
        pair("HAPROXY_SERVER_PORT", port.to_string()),
        pair("HAPROXY_SERVER_MAXCONN", connections.to_string()),
        pair("HAPROXY_SERVER_SSL", "0".to_owned()),
        pair("HAPROXY_SERVER_PROTO", "tcp".to_owned()),
    ]);
    environment.extend(raw.path.as_ref().map(|path| pair("PATH", path.value.clone())));
    CommandCheck { command, environment }
}

fn plain(value: &Maybe<String>) -> Option<&str> {
    value.as_ref().map(|value| value.value.as_str())
}
