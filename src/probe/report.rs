//! Findings in words: HAProxy's log lines, which its users' tools know, and the reason that status pages show.

use crate::model::CheckResult;
use crate::stats::human;
use crate::stats::server_line::{Line, ServerLine};

use super::outcome::Outcome;
use super::roster::{Change, Finding};

/// Why a server is as it is: `Layer4 connection problem: connection refused in 0.2 ms at step 2 (login)`.
pub(super) fn reason(outcome: &Outcome) -> String {
    let took = human::duration(outcome.duration.as_secs_f64());
    let what = outcome.result.text();
    let cause = if outcome.cause == "(tcp-check)" { String::new() } else { lower_first(&outcome.cause) };
    let step = outcome.step.as_ref().map_or_else(String::new, |step| format!(" at {step}"));
    let certificate = outcome.certificate_expires.map_or_else(String::new, |expires| {
        format!("; its certificate expires {}", humantime::format_rfc3339_seconds(expires))
    });
    match outcome.result {
        CheckResult::Starved => format!("{what} on this node, not counted: {cause}"),
        CheckResult::Observed => format!("{what}: {cause}"),
        result if result.timed_out() => format!("{what} after {took}{step}"),
        _ if cause.is_empty() => format!("{what} in {took}{step}{certificate}"),
        _ => format!("{what}: {cause} in {took}{step}{certificate}"),
    }
}

/// Writes what a finding is worth to the log.
pub(super) fn log(finding: &Finding) {
    if finding.logged {
        tracing::info!("{}", counter_line(finding));
    }
    match finding.change {
        Change::Nothing => {}
        Change::Up | Change::Stopping | Change::Resumed | Change::Down => {
            state_lines(finding).iter().for_each(Line::log);
        }
        Change::Starved => tracing::warn!(
            "health checks cannot be made: {}; servers keep their state until they can. More descriptors or ports are \
             needed (LimitNOFILE, net.ipv4.ip_local_port_range)",
            finding.outcome.cause
        ),
    }
}

/// `Server b/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. ...`. The
/// reason is left out where the result had a line of its own.
pub(super) fn state_lines(finding: &Finding) -> Vec<Line> {
    let reason = match finding {
        Finding { by_hand: true, .. } => ", changed from CLI".to_owned(),
        Finding { logged: true, .. } => String::new(),
        _ => format!(", {}", cause(&finding.outcome)),
    };
    let Finding { pool, server, backup, usable, sessions, .. } = finding;
    let line = ServerLine { pool, server, backup: *backup, usable: *usable, sessions: *sessions };
    match finding.change {
        Change::Up | Change::Resumed => vec![line.online(&format!("is UP{reason}"))],
        Change::Stopping => vec![line.online(&format!("is stopping{reason}"))],
        Change::Down => line.down(&format!("is DOWN{reason}")),
        Change::Nothing | Change::Starved => Vec::new(),
    }
}

/// `Health check for server b/s1 failed, reason: ..., status: 2/3 UP.`, HAProxy's `option log-health-checks`.
pub(super) fn counter_line(finding: &Finding) -> String {
    let who = if finding.by_agent { "Agent" } else { "Health" };
    let kind = if finding.backup { "backup server" } else { "server" };
    let verb = match finding.outcome.result {
        CheckResult::L7OkConditionally => "conditionally succeeded",
        result if result.passed() => "succeeded",
        _ => "failed",
    };
    let (value, rise, fall) = finding.counter;
    let status = if value >= rise { format!("{}/{fall} UP", value - rise + 1) } else { format!("{value}/{rise} DOWN") };
    format!(
        "{who} check for {kind} {}/{} {verb}, {}, status: {status}.",
        finding.pool,
        finding.server,
        cause(&finding.outcome),
    )
}

fn cause(outcome: &Outcome) -> String {
    // HAProxy writes it with a sign: a command that a signal ended has -1.
    let code = outcome.code.map_or_else(String::new, |code| format!(", code: {}", code.cast_signed()));
    let info = if outcome.info.is_empty() { String::new() } else { format!(", info: \"{}\"", outcome.info) };
    let took = match outcome.result {
        CheckResult::Observed => String::new(),
        _ => format!(", check duration: {}ms", outcome.duration.as_millis()),
    };
    format!("reason: {}{code}{info}{took}", outcome.result.text())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // `SSH-2.0`, `FATAL`: a name stays as it is.
        (Some(_), Some(second)) if second.is_uppercase() => text.to_owned(),
        (Some(first), _) => first.to_lowercase().chain(text.chars().skip(1)).collect(),
        (None, _) => String::new(),
    }
}
