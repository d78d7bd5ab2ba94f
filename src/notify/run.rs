//! How commands are run on behalf of notifications: by whoever `app` names, within a bounded time.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::Command;
use crate::stats::Registry;

/// One run of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The command. A timeout of [`Duration::MAX`] is none.
    pub command: Command,
    /// Added to its arguments.
    pub arguments: Vec<String>,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code; 0 is success.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It took longer than it may.
    TimedOut,
    /// It could not be started, and why.
    NotStarted(String),
}

/// What runs commands.
pub trait Run: Send + Sync + 'static {
    /// Runs it to its end, at most for its timeout. To drop the future ends the run: TERM to its process group, KILL a
    /// second later.
    fn run(&self, job: Job) -> Pin<Box<dyn Future<Output = Ended> + Send>>;
}

/// A shared [`Run`].
pub type Runner = Arc<dyn Run>;

/// When in a change of ownership a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the addresses are set.
    BeforeMaster,
    /// Once they are gone.
    AfterRelease,
}

/// A run that is still not over so long after its timeout is given up: what runs commands may hang itself.
const GRACE: Duration = Duration::from_secs(2);

/// Runs what must be done around a change of ownership of the router called `router`, bounded by its timeout and
/// [`GRACE`]. A failure is logged and counted; what follows it is the caller's to decide.
pub async fn hook(runner: &Runner, moment: Moment, router: &str, command: &Command, registry: &Registry) -> Ended {
    let environment = [("VIPGATE_KIND", "INSTANCE"), ("VIPGATE_NAME", router), ("VIPGATE_HOOK", moment.label())];
    let job = Job {
        command: command.clone(),
        arguments: Vec::new(),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let ended = bounded(runner, job).await;
    let stats = &registry.notify;
    let counter = match ended {
        Ended::Exited(0) => &stats.hooks_done,
        Ended::Exited(_) | Ended::Signalled(_) | Ended::NotStarted(_) => &stats.hooks_failed,
        Ended::TimedOut => &stats.hooks_timed_out,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    if !ended.is_success() {
        tracing::error!("{router}: hook {} ({}) {ended}", moment.label(), command.program.display());
    }
    ended
}

/// The end of a run, at most [`GRACE`] after its timeout.
pub(super) async fn bounded(runner: &Runner, job: Job) -> Ended {
    let limit = job.command.timeout.saturating_add(GRACE);
    tokio::time::timeout(limit, runner.run(job)).await.unwrap_or(Ended::TimedOut)
}

impl Moment {
    /// Its name in logs and in `VIPGATE_HOOK`: the configuration's.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::BeforeMaster => "before-master",
            Self::AfterRelease => "after-release",
        }
    }
}

impl Ended {
    /// Whether it did what it should.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

impl fmt::Display for Ended {
    /// As the end of a sentence that begins with the program: `ended with code 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with code {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut => f.write_str("took longer than its timeout and was ended"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

impl<F, T> Run for F
where
    F: Fn(Job) -> T + Send + Sync + 'static,
    T: Future<Output = Ended> + Send + 'static,
{
    fn run(&self, job: Job) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
        Box::pin(self(job))
    }
}
