//! `show sess`, `shutdown session`, `shutdown sessions server`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Shared, change};
use crate::control::operate::SessionView;
use crate::control::server;
use crate::control::{Reply, Request};

async fn sessions(shared: &Shared) -> Vec<SessionView> {
    let reply = server::call(&shared.calls, Request::Sessions).await;
    if let Reply::Sessions { sessions } = reply { sessions } else { Vec::new() }
}

/// All of them, a line each; one, with all that is known of it.
pub(super) async fn show(arguments: &[&str], shared: &Shared) -> String {
    let sessions = sessions(shared).await;
    match arguments.first() {
        Some(&"all") => sessions.iter().map(detail).collect(),
        Some(id) if id.starts_with("0x") => match sessions.iter().find(|session| session.id == *id) {
            Some(session) => detail(session),
            None => "Session not found.\n".to_owned(),
        },
        Some(_) | None => sessions.iter().map(line).collect(),
    }
}

/// HAProxy's line; the inner state of its streams has no counterpart.
fn line(session: &SessionView) -> String {
    let server = session.server.as_deref().unwrap_or("<none>");
    format!(
        "{}: proto={} src={} fe={} be={} srv={server} ts=00 epoch=0 age={} calls=0 rate=0 cpu=0 lat=0 \
         rq[f=000000h,i=0,an=00h,rx=,wx=,ax=] rp[f=000000h,i=0,an=00h,rx=,wx=,ax=] scf=[8,0h,fd=-1] scb=[8,1h,fd=-1] \
         exp= rc=0 c_exp=\n",
        session.id,
        protocol(session),
        session.client,
        session.service,
        session.pool,
        age(session.age_seconds),
    )
}

fn detail(session: &SessionView) -> String {
    let none = || "<NONE>".to_owned();
    let address = session.server_address.map_or_else(String::new, |address| format!(" addr={address}"));
    let mut out = format!(
        "{}: id={} proto={} source={}\n  frontend={} (mode=tcp), listener=? addr={}\n  backend={} (mode=tcp)\n  server={}{address}\n",
        session.id,
        session.id,
        protocol(session),
        session.client,
        session.service,
        session.destination,
        session.pool,
        session.server.clone().unwrap_or_else(none),
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  state={} age={} req total={} idle={} res total={} idle={}",
        session.phase,
        age(session.age_seconds),
        session.bytes_in,
        age(session.client_idle_seconds),
        session.bytes_out,
        age(session.server_idle_seconds),
    );
    out
}

fn protocol(session: &SessionView) -> &'static str {
    if session.client.is_ipv4() { "tcpv4" } else { "tcpv6" }
}

/// The two greatest units: `5s`, `1m3s`, `2h1m`, `3d4h`.
fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// `shutdown session <id>`
pub(super) async fn end(arguments: &[&str], shared: &Shared) -> String {
    let expected = "Session pointer expected (use 'show sess').\n";
    let Some(id) = arguments.first() else { return expected.to_owned() };
    let digits = id.strip_prefix("0x").unwrap_or(id);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || !id.starts_with("0x") {
        return expected.to_owned();
    }
    let said = change::request(shared, Request::EndSession { id: (*id).to_owned() }).await;
    if said.is_empty() { said } else { "No such session (use 'show sess').\n".to_owned() }
}

/// `shutdown sessions server <b>/<s>`
pub(super) async fn end_of_server(arguments: &[&str], shared: &Arc<Shared>) -> String {
    match change::names(arguments.first().copied(), shared).await {
        Ok((pool, server)) => change::request(shared, Request::EndSessions { pool, server }).await,
        Err(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        for (seconds, text) in [(0.9, "0s"), (59.0, "59s"), (63.0, "1m3s"), (7260.0, "2h1m"), (273_600.0, "3d4h")] {
            assert_eq!(age(seconds), text);
        }
    }
}
