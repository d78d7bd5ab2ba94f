//! Commands that ask the running process over its control socket.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::failure::Failure;
use super::handover::unknown_router;
use crate::control::client::{self, ClientError};
use crate::control::{Reply, Request, SOCKET_NAME, explain, routers, table};
use crate::stats::Snapshot;

/// How long a command that ends by itself may take; a drain may take as long as it is configured to.
const PATIENCE: Duration = Duration::from_secs(10);

/// `vipgate status`: the table, or with `json` the snapshot. The exit code is the verdict: 0 well, 1 degraded,
/// 2 down; a process that does not answer is down.
pub(super) fn status(run_dir: &Path, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let snapshot = snapshot(run_dir)?;
    let text = if json {
        serde_json::to_string_pretty(&snapshot).map_err(|error| Failure::Internal(error.to_string()))? + "\n"
    } else {
        table::render(&snapshot)
    };
    print(out, &text)?;
    Ok(ExitCode::from(table::exit_code(snapshot.verdict)))
}

/// `vipgate vrrp show`: a paragraph for each router, or with `json` its part of the snapshot.
pub(super) fn routers(
    run_dir: &Path,
    router: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let snapshot = snapshot(run_dir)?;
    let text = if json {
        let chosen: Vec<_> =
            snapshot.routers.iter().filter(|known| router.is_none_or(|name| known.name == name)).collect();
        Some(serde_json::to_string_pretty(&chosen).map_err(|error| Failure::Internal(error.to_string()))? + "\n")
            .filter(|_| router.is_none() || !chosen.is_empty())
    } else {
        routers::render(&snapshot, router)
    };
    let unknown = || {
        let known = snapshot.routers.iter().map(|router| router.name.as_str());
        Failure::Fatal(unknown_router(router.unwrap_or_default(), known).join("; "))
    };
    print(out, &text.ok_or_else(unknown)?)?;
    Ok(ExitCode::SUCCESS)
}

fn snapshot(run_dir: &Path) -> Result<Box<Snapshot>, Failure> {
    match client::ask(&run_dir.join(SOCKET_NAME), &Request::Status, Some(PATIENCE), |_| {}) {
        Ok(Reply::Status { snapshot }) => Ok(snapshot),
        Ok(other) => Err(unexpected(&other)),
        Err(error @ ClientError::Permission { .. }) => Err(Failure::Permission(error.to_string())),
        Err(error) => Err(Failure::Down(error.to_string())),
    }
}

/// `vipgate handover`, `drain`, `reload`, `vrrp` and `events`: prints progress and the result.
pub(super) fn command(run_dir: &Path, request: &Request, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let patience = match request {
        Request::Drain { cancel: false } | Request::Events => None,
        Request::Ping
        | Request::Status
        | Request::Handover { .. }
        | Request::Drain { .. }
        | Request::Reload
        | Request::Server { .. }
        | Request::Service { .. }
        | Request::Sessions
        | Request::EndSession { .. }
        | Request::EndSessions { .. }
        | Request::Tables { .. }
        | Request::Peers
        | Request::Resolvers
        | Request::Table { .. }
        | Request::Sources { .. }
        | Request::ForgetSources { .. }
        | Request::Lists { .. }
        | Request::List { .. }
        | Request::ClearCounters { .. }
        | Request::MaxConnections { .. }
        | Request::Explain { .. }
        | Request::Vrrp { .. } => Some(PATIENCE),
    };
    let reply = client::ask(&run_dir.join(SOCKET_NAME), request, patience, |text| {
        // The command goes on although nobody reads how far it is.
        let _ = print(out, &format!("{text}\n"));
    });
    match reply {
        Ok(Reply::Done { text }) => print(out, &format!("{text}\n")).map(|()| ExitCode::SUCCESS),
        Ok(Reply::Failed { text, remedy }) => {
            Err(Failure::Fatal(remedy.map_or_else(|| text.clone(), |remedy| format!("{text}; {remedy}"))))
        }
        Ok(other) => Err(unexpected(&other)),
        Err(error @ ClientError::Permission { .. }) => Err(Failure::Permission(error.to_string())),
        Err(error) => Err(Failure::Fatal(error.to_string())),
    }
}

/// `vipgate explain service`: in words, or with `json` as it was answered.
pub(super) fn explain(
    run_dir: &Path,
    request: &Request,
    json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    match client::ask(&run_dir.join(SOCKET_NAME), request, Some(PATIENCE), |_| {}) {
        Ok(Reply::Explained { explained }) => {
            let text = if json {
                serde_json::to_string_pretty(&explained).map_err(|error| Failure::Internal(error.to_string()))? + "\n"
            } else {
                explain::render(&explained)
            };
            print(out, &text).map(|()| ExitCode::SUCCESS)
        }
        Ok(Reply::Failed { text, remedy }) => {
            Err(Failure::Fatal(remedy.map_or_else(|| text.clone(), |remedy| format!("{text}; {remedy}"))))
        }
        Ok(other) => Err(unexpected(&other)),
        Err(error @ ClientError::Permission { .. }) => Err(Failure::Permission(error.to_string())),
        Err(error) => Err(Failure::Fatal(error.to_string())),
    }
}

/// The last word to a request that changes nothing.
pub(super) fn reply(run_dir: &Path, request: &Request) -> Result<Reply, Failure> {
    match client::ask(&run_dir.join(SOCKET_NAME), request, Some(PATIENCE), |_| {}) {
        Ok(Reply::Failed { text, .. }) => Err(Failure::Fatal(text)),
        Ok(reply) => Ok(reply),
        Err(error @ ClientError::Permission { .. }) => Err(Failure::Permission(error.to_string())),
        Err(error) => Err(Failure::Fatal(error.to_string())),
    }
}

/// As JSON for people and programs.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| Failure::Internal(error.to_string()))
}

/// Whether a process answers at this run directory.
pub(super) fn answers(run_dir: &Path) -> bool {
    client::ask(&run_dir.join(SOCKET_NAME), &Request::Ping, Some(Duration::from_secs(1)), |_| {}).is_ok()
}

/// Writes to standard output; a reader that went away is no error worth a word (`vipgate status | head -1`).
pub(super) fn print(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Fatal(format!("cannot write to standard output: {error}"))),
    }
}

pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::Internal(format!("the running process gave an answer to another question: {reply:?}"))
}
