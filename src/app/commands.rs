//! How the operator's commands are run: by the spawner, on behalf of the rooms that have any.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::model::Command;
use crate::os::port_owner::{self, PortOwner};
use crate::spawner::{self, Outcome, Report};
use crate::speaker::foreign::{self, ForeignSpeaker};
use crate::wire::vrrp::PROTOCOL;
use crate::{notify, probe, track};

/// A command that may take this long may take as long as it likes: the reader of a named pipe.
const ENDLESS: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long to wait for the name of whoever has a port.
const LOOK_LIMIT: Duration = Duration::from_millis(500);
const NO_SPAWNER: &str = "the process that runs commands could not be started: see the first lines of the log";

/// Has commands run.
#[derive(Debug, Clone)]
pub(super) struct Commands {
    /// None: the spawner could not be started.
    runner: Option<spawner::Runner>,
    /// What somebody else than root could change is not run as root.
    secure: Arc<AtomicBool>,
}

impl Commands {
    pub(super) fn new(runner: Option<spawner::Runner>) -> Self {
        Self { runner, secure: Arc::new(AtomicBool::new(true)) }
    }

    /// `security` of `[scripts]` from now on.
    pub(super) fn set_secure(&self, secure: bool) {
        self.secure.store(secure, Ordering::Relaxed);
    }

    /// For script trackers.
    pub(super) fn checks(&self) -> track::RunCommand {
        let commands = self.clone();
        Arc::new(move |command| {
            let commands = commands.clone();
            Box::pin(async move {
                match commands.run(command, Vec::new(), Vec::new()).await {
                    Ok(report) => (report.outcome.is_success(), report.to_string()),
                    Err(text) => (false, text),
                }
            })
        })
    }

    /// For health checks.
    pub(super) fn for_health(&self) -> probe::RunCommand {
        let commands = self.clone();
        Arc::new(move |job| {
            let commands = commands.clone();
            Box::pin(async move {
                let probe::Job { command, arguments, environment } = job;
                match commands.run(command, arguments, environment).await {
                    Ok(Report { outcome, last_line, .. }) => {
                        let ended = match outcome {
                            Outcome::Exited(status) => probe::Ended::Exited(status),
                            Outcome::Signalled(signal) => probe::Ended::Signalled(signal),
                            Outcome::TimedOut => probe::Ended::TimedOut,
                            other @ (Outcome::Unsafe { .. } | Outcome::Failed(_) | Outcome::SpawnerGone) => {
                                probe::Ended::NotStarted(other.to_string())
                            }
                        };
                        (ended, last_line.unwrap_or_default())
                    }
                    Err(text) => (probe::Ended::NotStarted(text), String::new()),
                }
            })
        })
    }

    /// The processes that listen on an address: the spawner sees them all.
    pub(super) fn listeners_on(&self, address: SocketAddr) -> Vec<PortOwner> {
        let seen = self.runner.as_ref().and_then(|runner| runner.listeners_on(address, LOOK_LIMIT));
        seen.unwrap_or_else(|| port_owner::listeners_on(address))
    }

    /// Other processes that speak VRRP here.
    pub(super) async fn foreign_speakers(&self) -> Vec<ForeignSpeaker> {
        let seen = match &self.runner {
            Some(runner) => runner.raw_socket_owners(PROTOCOL).await,
            None => None,
        };
        match seen {
            Some(seen) => seen,
            None => tokio::task::spawn_blocking(foreign::protocol_112_users).await.unwrap_or_default(),
        }
    }

    async fn run(
        &self,
        command: Command,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Result<Report, String> {
        let runner = self.runner.as_ref().ok_or_else(|| NO_SPAWNER.to_owned())?;
        let endless = command.timeout >= ENDLESS;
        let secure = self.secure.load(Ordering::Relaxed);
        let job = spawner::Job { command, arguments, environment, secure };
        Ok(if endless { runner.start(job).ended().await } else { runner.run(job).await })
    }
}

/// For notifications and hooks.
impl notify::Run for Commands {
    fn run(&self, job: notify::Job) -> Pin<Box<dyn Future<Output = notify::Ended> + Send>> {
        let commands = self.clone();
        Box::pin(async move {
            let notify::Job { command, arguments, environment } = job;
            match commands.run(command, arguments, environment).await {
                Ok(report) => match report.outcome {
                    Outcome::Exited(status) => notify::Ended::Exited(status),
                    Outcome::Signalled(signal) => notify::Ended::Signalled(signal),
                    Outcome::TimedOut => notify::Ended::TimedOut,
                    other @ (Outcome::Unsafe { .. } | Outcome::Failed(_) | Outcome::SpawnerGone) => {
                        notify::Ended::NotStarted(other.to_string())
                    }
                },
                Err(text) => notify::Ended::NotStarted(text),
            }
        })
    }
}
