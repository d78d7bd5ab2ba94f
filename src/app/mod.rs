//! The composition root: what each command does, and how the rooms of the running process are put together.
#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here, and the watchdog sleeps")]

mod ask;
mod checking;
mod commands;
mod drain;
mod explain;
mod failure;
mod fronts;
mod guarding;
mod handover;
mod hooks;
mod keep;
mod lists;
mod load;
mod log;
mod names;
mod node;
mod operate;
mod operator;
mod peers;
mod readiness;
mod reload;
mod replicas;
mod returning;
mod shared;
mod signals;
mod start;
mod steer;
mod telling;
mod tunings;
mod watchdog;
mod wishes;

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

pub use failure::Failure;

use crate::cli::{Command, Explain, ExplainService, Files, Handover, Vrrp};
use crate::config::diagnostic;
use crate::control::{Request, VrrpAction};
use crate::fence::{FenceError, FenceName};
use crate::model::{Priority, VirtualAddress, VirtualRouter};
use crate::proxy::{self, Steering};
use crate::{fence, guardian, spawner, speaker};

/// Does what the command line says. Results go to `out`, findings to `err`.
pub fn main(command: Command, out: &mut impl Write, err: &mut impl Write) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(run) => start::run(run),
        Command::Check(files) => check(&files.or_default(), out, err),
        Command::Import(files) => import(&files.or_default(), out, err),
        Command::Status(status) => ask::status(&status.control.run_dir, status.json, out),
        Command::Handover(handover) => {
            ask::command(&handover.control.run_dir, &Request::Handover { router: handover.router }, out)
        }
        Command::Drain(drain) => ask::command(&drain.control.run_dir, &Request::Drain { cancel: drain.cancel }, out),
        Command::Reload(control) => ask::command(&control.run_dir, &Request::Reload, out),
        Command::Vrrp(command) => vrrp(command, out),
        Command::Server(command) => operator::server(command, out),
        Command::Table(command) => operator::table(command, out),
        Command::Sessions(command) => operator::sessions(command, out),
        Command::Explain(Explain::Service(ExplainService { control, service, from, sni, json })) => {
            ask::explain(&control.run_dir, &Request::Explain { service, from, sni }, json, out)
        }
        Command::Events(control) => ask::command(&control.run_dir, &Request::Events, out),
        Command::Cleanup(cleanup) => clean_up(&cleanup.files.or_default(), &cleanup.control.run_dir, out),
        Command::Guardian => {
            let pipe = std::io::stdin().as_fd().try_clone_to_owned();
            pipe.and_then(guardian::run).map_err(|error| Failure::Fatal(format!("guardian: {error}")))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Spawner => {
            let socket = std::io::stdin().as_fd().try_clone_to_owned();
            socket.and_then(spawner::run).map_err(|error| Failure::Fatal(format!("spawner: {error}")))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn vrrp(command: Vrrp, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let (control, router, action) = match command {
        Vrrp::Show(show) => return ask::routers(&show.control.run_dir, show.router.as_deref(), show.json, out),
        Vrrp::Handover(Handover { control, router }) => {
            return ask::command(&control.run_dir, &Request::Handover { router }, out);
        }
        Vrrp::Takeover(Handover { control, router }) => (control, router, VrrpAction::Takeover),
        Vrrp::Thaw(Handover { control, router }) => (control, router, VrrpAction::Thaw),
        Vrrp::Priority(set) => (set.control, Some(set.router), VrrpAction::Priority { value: set.value }),
        Vrrp::Freeze(freeze) => {
            // A part of a second is a second more: it is thawed no earlier than asked.
            let seconds = freeze.duration.map(|duration| duration.as_secs() + u64::from(duration.subsec_nanos() > 0));
            (freeze.control, freeze.router, VrrpAction::Freeze { seconds })
        }
    };
    ask::command(&control.run_dir, &Request::Vrrp { action, router }, out)
}

fn check(files: &Files, out: &mut impl Write, err: &mut impl Write) -> Result<ExitCode, Failure> {
    let loaded = load::load(files)?;
    warn(&loaded, err);
    let config = &loaded.config;
    let text = format!(
        "valid: {} virtual router(s), {} service(s), {} pool(s), {} page(s), {} warning(s)\n",
        config.routers.len(),
        config.services.len(),
        config.pools.len(),
        config.pages.len(),
        loaded.warnings.len() + loaded.misfits.len()
    );
    let listening = proxy::listening_plan(&config.services, start::workers(config), &Steering::open());
    let pages = config.pages.iter().map(|page| {
        let addresses = page.listen.iter().map(|listen| listen.address.to_string()).collect::<Vec<_>>();
        format!("page {}: {}\n", page.name, addresses.join(", "))
    });
    ask::print(out, &(text + &listening + "\n" + &pages.collect::<String>()))?;
    Ok(ExitCode::SUCCESS)
}

fn import(files: &Files, out: &mut impl Write, err: &mut impl Write) -> Result<ExitCode, Failure> {
    let (text, loaded) = load::to_toml(files)?;
    warn(&loaded, err);
    ask::print(out, &text)?;
    Ok(ExitCode::SUCCESS)
}

fn warn(loaded: &load::Loaded, err: &mut impl Write) {
    let mut text = diagnostic::render(&loaded.warnings, &loaded.sources, load::style());
    text.extend(loaded.misfits.iter().map(|misfit| format!("warning: {misfit}\n")));
    // Whoever closed standard error does not want them.
    let _ = err.write_all(text.as_bytes());
}

/// Removes what is marked as ours, and the configured addresses if there is a readable configuration. Not those of an
/// address owner (priority 255): they may be the node's only ones, set by somebody else.
fn clean_up(files: &Files, run_dir: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    if ask::answers(run_dir) {
        let text = format!("vipgate runs here ({}): what it owns is no leftover; stop it first", run_dir.display());
        return Err(Failure::Fatal(text));
    }
    let config = load::load(files).map(|loaded| loaded.config);
    let routers = config.iter().flat_map(|config| &config.routers).filter(|router| router.priority != Priority::OWNER);
    let addresses: Vec<VirtualAddress> = routers.flat_map(VirtualRouter::owned).cloned().collect();
    let removed = speaker::cleanup(&addresses).map_err(|error| Failure::Fatal(error.to_string()))?;
    // Addresses that are still set would answer again: they went first.
    match fence::cleanup(&FenceName::new(run_dir)) {
        Ok(()) | Err(FenceError::Unsupported) => {}
        Err(error) => return Err(Failure::Fatal(error.to_string())),
    }
    let text = if removed.is_empty() { "nothing of ours was left".to_owned() } else { format!("removed {removed}") };
    ask::print(out, &(text + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
