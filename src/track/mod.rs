//! What virtual routers follow beside advertisements: each tracker is a task of the control thread that watches one
//! thing, counts, and says when its state changed. Nothing here blocks that thread: files and /proc are read on others,
//! and commands are run by the spawner.

mod debounce;
mod file;
mod gateway;
mod process;
mod route;
mod script;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::debounce::Debounce;
use crate::model::{Command, TrackState, Tracker, Watched};

/// The state of a tracker changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The tracker's name.
    pub name: String,
    /// What it says now.
    pub state: TrackState,
    /// Why, in words: `exit status 3 after 12 ms`.
    pub reason: String,
}

/// How a command that is run as a check ended: whether well, and in words.
pub type CommandEnd = (bool, String);
/// Runs a command to its end, or to its timeout; dropped, it ends the command.
pub type RunCommand = Arc<dyn Fn(Command) -> Pin<Box<dyn Future<Output = CommandEnd> + Send>> + Send + Sync>;

/// The running trackers. Dropped, they stop.
pub struct Trackers {
    run: RunCommand,
    events: UnboundedSender<Changed>,
    running: BTreeMap<String, Running>,
    board: Board,
    scanner: Option<process::Scanner>,
    services: watch::Sender<BTreeMap<String, bool>>,
}

/// What every tracker says, by name.
type Board = Arc<Mutex<BTreeMap<String, TrackState>>>;

#[derive(Debug)]
struct Running {
    tracker: Tracker,
    task: JoinHandle<()>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    what: Finding,
    /// In words.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Well(bool),
    Number(i16),
}

/// Where a tracker's task puts what it sees.
type Sight = UnboundedSender<Seen>;

impl Trackers {
    /// No tracker yet. `run` runs the commands of script trackers.
    #[must_use]
    pub fn start(run: RunCommand, events: UnboundedSender<Changed>) -> Self {
        let services = watch::Sender::new(BTreeMap::new());
        Self { run, events, running: BTreeMap::new(), board: Board::default(), scanner: None, services }
    }

    /// Makes `trackers` those that run. What did not change is not touched; one that changed goes on with the state it had
    /// until it knows better. Within the control thread's runtime.
    pub fn apply(&mut self, trackers: &[Tracker]) {
        self.running.retain(|name, _| {
            let stays = trackers.iter().any(|tracker| tracker.name == *name);
            if !stays {
                lock(&self.board).remove(name);
            }
            stays
        });
        process::keep(&mut self.scanner, trackers);
        for tracker in trackers {
            if self.running.get(&tracker.name).is_none_or(|running| running.tracker != *tracker) {
                self.begin(tracker);
            }
        }
    }

    /// Tells whether a service can be served here. Trackers of a service wait for the first word about it.
    pub fn set_service(&self, service: &str, up: bool) {
        self.services.send_if_modified(|services| services.insert(service.to_owned(), up) != Some(up));
    }

    fn begin(&mut self, tracker: &Tracker) {
        // Its task must not speak after this, so that the one that follows has the last word.
        let before = self.running.remove(&tracker.name).and_then(|old| {
            let comparable = std::mem::discriminant(&old.tracker.watched) == std::mem::discriminant(&tracker.watched);
            drop(old);
            lock(&self.board).get(&tracker.name).filter(|_| comparable).copied()
        });
        let judge = Judge::new(tracker, before, self.events.clone(), Arc::clone(&self.board));
        let (sight, seen) = unbounded_channel();
        let watching = self.watching(tracker, sight);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = judge.run(seen) => {}
            }
        });
        self.running.insert(tracker.name.clone(), Running { tracker: tracker.clone(), task });
    }

    /// What watches: it puts into `sight` what it sees, for ever.
    fn watching(&self, tracker: &Tracker, sight: Sight) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match tracker.watched.clone() {
            Watched::Script(check) => Box::pin(script::watch(check, Arc::clone(&self.run), sight)),
            Watched::Process(check) => {
                let processes = self.scanner.as_ref().map(process::Scanner::subscribe);
                Box::pin(process::watch(check, processes, sight))
            }
            Watched::File(check) => Box::pin(file::watch(check, sight)),
            Watched::Service(name) => Box::pin(watch_service(name, self.services.subscribe(), sight)),
            Watched::Gateway(check) => Box::pin(gateway::watch(check, sight)),
            Watched::Route(check) => Box::pin(route::watch(check, sight)),
        }
    }
}

async fn watch_service(name: String, mut services: watch::Receiver<BTreeMap<String, bool>>, sight: Sight) {
    loop {
        let up = services.borrow_and_update().get(&name).copied();
        if let Some(up) = up {
            let reason = if up { "can be served here" } else { "cannot be served here" };
            let _ = sight.send(Seen { what: Finding::Well(up), reason: format!("service {name} {reason}") });
        }
        if services.changed().await.is_err() {
            return;
        }
    }
}

/// Makes states of what is seen.
struct Judge {
    name: String,
    debounce: Debounce,
    number: Option<i16>,
    last: String,
    events: UnboundedSender<Changed>,
    board: Board,
}

impl Judge {
    fn new(tracker: &Tracker, before: Option<TrackState>, events: UnboundedSender<Changed>, board: Board) -> Self {
        let (up, number) = match before {
            Some(TrackState::Up) => (Some(true), None),
            Some(TrackState::Down) => (Some(false), None),
            Some(TrackState::Number(number)) => (None, Some(number)),
            Some(TrackState::Unknown) | None => (None, None),
        };
        let debounce = Debounce::new(tracker, up);
        let judge = Self { name: tracker.name.clone(), debounce, number, last: String::new(), events, board };
        let known = lock(&judge.board).get(&judge.name).copied();
        if known.unwrap_or(TrackState::Unknown) != judge.state() {
            judge.announce("not checked yet".into());
        }
        judge
    }

    async fn run(mut self, mut seen: UnboundedReceiver<Seen>) {
        loop {
            let deadline = self.debounce.deadline();
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            let changed = tokio::select! {
                seen = seen.recv() => match seen {
                    Some(seen) => self.take(seen),
                    None => return,
                },
                () = due => self.debounce.expire(tokio::time::Instant::now().into_std()),
            };
            if changed {
                self.announce(self.last.clone());
            }
        }
    }

    fn take(&mut self, seen: Seen) -> bool {
        self.last = seen.reason;
        match seen.what {
            Finding::Well(up) => self.debounce.observe(up, tokio::time::Instant::now().into_std()),
            Finding::Number(number) => self.number.replace(number) != Some(number),
        }
    }

    fn state(&self) -> TrackState {
        self.number.map_or_else(|| self.debounce.state(), TrackState::Number)
    }

    fn announce(&self, reason: String) {
        let state = self.state();
        lock(&self.board).insert(self.name.clone(), state);
        let _ = self.events.send(Changed { name: self.name.clone(), state, reason });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
