//! Routers that tell, and runners that remember.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use vipgate::model::{Command, Family, Notify, VirtualRouter, Vrid};
use vipgate::notify::{Ended, Job, Runner, State, Transition, What};

/// Longer than anything here takes, unless it never comes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn command(program: &str) -> Command {
    Command { program: program.into(), arguments: vec![], user: None, timeout: Duration::from_secs(30) }
}

/// A router that runs `any` on every transition.
pub(crate) fn router(name: &str) -> VirtualRouter {
    let notify = Notify { any: Some(command("any")), ..Notify::default() };
    let base = VirtualRouter::new(name, "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4);
    VirtualRouter { notify, ..base }
}

pub(crate) fn told(name: &str, state: State) -> Transition {
    Transition {
        what: What::Instance,
        name: name.into(),
        state,
        priority: 100,
        at: SystemTime::UNIX_EPOCH,
        reason: "test".into(),
    }
}

/// The runs of a runner, in words: `any VI_1 MASTER`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<Vec<String>>>);

impl Runs {
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn add(&self, job: &Job) {
        let value = |name| job.environment.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let words = [&job.command.program.display().to_string(), value("VIPGATE_NAME"), value("VIPGATE_STATE")];
        self.0.lock().unwrap().push(words.join(" "));
    }

    /// Each run ends by itself after `time`.
    pub(crate) fn taking(&self, time: Duration) -> Runner {
        let runs = self.clone();
        Arc::new(move |job: Job| {
            runs.add(&job);
            async move {
                tokio::time::sleep(time).await;
                Ended::Exited(0)
            }
        })
    }

    /// Runs for the router called `hung` are over at their timeout, others at once.
    pub(crate) fn hanging_for(&self, hung: &'static str) -> Runner {
        let runs = self.clone();
        Arc::new(move |job: Job| {
            runs.add(&job);
            let hangs = job.environment.contains(&("VIPGATE_NAME".into(), hung.into()));
            async move {
                if hangs {
                    tokio::time::sleep(job.command.timeout).await;
                    return Ended::TimedOut;
                }
                Ended::Exited(0)
            }
        })
    }
}

/// Runs real processes; whoever drops the future kills the process.
pub(crate) fn processes() -> Runner {
    Arc::new(|job: Job| async move {
        let child = std::process::Command::new(&job.command.program)
            .args(&job.command.arguments)
            .args(&job.arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(job.environment)
            .stdin(Stdio::null())
            .spawn();
        let mut child = match child {
            Ok(child) => Killed(child),
            Err(error) => return Ended::NotStarted(error.to_string()),
        };
        loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                return status.code().map_or(Ended::Signalled(9), Ended::Exited);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipgate-notify-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A shell script.
    pub(crate) fn script(&self, name: &str, text: &str) -> Command {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.file(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Command { program: path, ..command("") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
