//! `vipgate server`, `table` and `sessions`: what an operator asks of the running process.

use std::io::Write;
use std::process::ExitCode;

use super::ask;
use super::failure::Failure;
use crate::cli::{self, Sessions, SetServer, Table};
use crate::control::operate::{PortChange, ServerChange, ServerState, TableChange};
use crate::control::{Reply, Request, listing};

/// `server set`: one change after the other; the first that is refused ends it.
pub(super) fn server(command: cli::Server, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let cli::Server::Set(SetServer { control, server: (pool, server), state, weight, to }) = command;
    let state = state.map(|state| ServerChange::State {
        state: match state {
            cli::ServerState::Ready => ServerState::Ready,
            cli::ServerState::Drain => ServerState::Drain,
            cli::ServerState::Maint => ServerState::Maint,
        },
    });
    let weight = weight.map(|(value, percent)| ServerChange::Weight { value, percent });
    let to =
        to.map(|(address, port)| ServerChange::Address { address: Some(address), port: port.map(PortChange::Fixed) });
    for change in [to, weight, state].into_iter().flatten() {
        let request = Request::Server { pool: pool.clone(), server: server.clone(), change };
        ask::command(&control.run_dir, &request, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn table(command: Table, out: &mut impl Write) -> Result<ExitCode, Failure> {
    match command {
        Table::Show(show) => {
            let reply = ask::reply(&show.control.run_dir, &Request::Tables { pool: show.pool })?;
            let Reply::Tables { tables } = reply else { return Err(ask::unexpected(&reply)) };
            let text = if show.json { ask::json(&tables)? } else { listing::tables(&tables) };
            ask::print(out, &text).map(|()| ExitCode::SUCCESS)
        }
        Table::Set(set) => {
            let (pool, server) = set.server;
            let change = TableChange::Set { key: set.key, server };
            ask::command(&set.control.run_dir, &Request::Table { pool, change }, out)
        }
        Table::Clear(clear) => {
            let change = TableChange::Clear { key: clear.key, server: clear.server };
            ask::command(&clear.control.run_dir, &Request::Table { pool: clear.pool, change }, out)
        }
    }
}

pub(super) fn sessions(command: Sessions, out: &mut impl Write) -> Result<ExitCode, Failure> {
    match command {
        Sessions::Show(show) => {
            let reply = ask::reply(&show.control.run_dir, &Request::Sessions)?;
            let Reply::Sessions { sessions } = reply else { return Err(ask::unexpected(&reply)) };
            let text = if show.json { ask::json(&sessions)? } else { listing::sessions(&sessions) };
            ask::print(out, &text).map(|()| ExitCode::SUCCESS)
        }
        Sessions::Shutdown(end) => {
            let request = match (end.id, end.server) {
                (Some(id), _) => Request::EndSession { id },
                (None, Some((pool, server))) => Request::EndSessions { pool, server },
                (None, None) => return Err(Failure::Internal("neither a session nor a server is named".to_owned())),
            };
            ask::command(&end.control.run_dir, &request, out)
        }
    }
}
