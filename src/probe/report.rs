//! Findings in words: HAProxy's log lines, which its users' tools know, and the reason that status pages show.

use crate::stats::{CheckResult, human};

use super::connect::Outcome;
use super::roster::{Change, Finding};

/// Why a server is as it is: `Layer4 connection problem: connection refused in 0.2 ms`.
pub(super) fn reason(outcome: &Outcome) -> String {
    let took = human::duration(outcome.duration.as_secs_f64());
    let what = outcome.result.text();
    let detail = lower_first(&outcome.detail);
    match outcome.result {
        CheckResult::Passed => format!("{what} in {took}"),
        CheckResult::Failed => format!("{what}: {detail} in {took}"),
        CheckResult::TimedOut => format!("{what} after {took}"),
        CheckResult::SocketError => format!("{what} on this node, not counted: {detail}"),
    }
}

/// Writes what a finding is worth to the log.
pub(super) fn log(finding: &Finding) {
    match finding.change {
        Change::Nothing => {}
        Change::Counter => tracing::info!("{}", counter_line(finding)),
        Change::Up => tracing::info!("{}", state_line(finding)),
        Change::Down => {
            tracing::warn!("{}", state_line(finding));
            if finding.usable == (0, 0) {
                tracing::error!("backend {} has no server available!", finding.pool);
            }
        }
        Change::Starved => tracing::warn!(
            "health checks cannot be made: {}; servers keep their state until they can. More descriptors or ports are \
             needed (LimitNOFILE, net.ipv4.ip_local_port_range)",
            finding.outcome.detail
        ),
    }
}

/// `Server b/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. ...`
pub(super) fn state_line(finding: &Finding) -> String {
    let kind = if finding.backup { "Backup Server" } else { "Server" };
    let (active, backup) = finding.usable;
    let on_backup = if active == 0 && backup > 0 { " Running on backup." } else { "" };
    let (state, left, sessions) = if finding.change == Change::Up {
        ("UP", "online", "0 sessions requeued, 0 total in queue.".to_owned())
    } else {
        ("DOWN", "left", format!("{} sessions active, 0 requeued, 0 remaining in queue.", finding.sessions))
    };
    format!(
        "{kind} {}/{} is {state}, {}. {active} active and {backup} backup servers {left}.{on_backup} {sessions}",
        finding.pool,
        finding.server,
        cause(&finding.outcome),
    )
}

/// `Health check for server b/s1 failed, reason: ..., status: 2/3 UP.`, HAProxy's `option log-health-checks`.
pub(super) fn counter_line(finding: &Finding) -> String {
    let kind = if finding.backup { "backup server" } else { "server" };
    let verb = if finding.outcome.result == CheckResult::Passed { "succeeded" } else { "failed" };
    let (value, rise, fall) = finding.counter;
    let status = if value >= rise { format!("{}/{fall} UP", value - rise + 1) } else { format!("{value}/{rise} DOWN") };
    format!(
        "Health check for {kind} {}/{} {verb}, {}, status: {status}.",
        finding.pool,
        finding.server,
        cause(&finding.outcome),
    )
}

fn cause(outcome: &Outcome) -> String {
    let info = if outcome.detail.is_empty() { String::new() } else { format!(", info: \"{}\"", outcome.detail) };
    format!("reason: {}{info}, check duration: {}ms", outcome.result.text(), outcome.duration.as_millis())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}
