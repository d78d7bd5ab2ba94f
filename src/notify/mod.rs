//! Who is told about transitions, and how: scripts, named pipes, events, mail. And the hooks around them.
//!
//! Four ways, none of which waits for another: one queue of script runs, a backlog for each named pipe, a broadcast of
//! events, a task for mail. Each is bounded, keeps the newest state of every router whatever happens, and counts and
//! logs what it gives up. [`Notifier::tell`] never waits.
//!
//! Scripts get keepalived's arguments. keepalived gives them no environment of its own; here they also have
//! `VIPGATE_KIND` (`INSTANCE`, `GROUP`), `VIPGATE_NAME`, `VIPGATE_STATE` (`MASTER`, `BACKUP`, `FAULT`, `STOP`,
//! `MASTER_RX_LOWER_PRI`), `VIPGATE_FROM` (the state before, empty at first), `VIPGATE_PRIORITY`, `VIPGATE_REASON`,
//! `VIPGATE_SEQUENCE` (grows with each event of the process), `VIPGATE_TIME` (RFC 3339) and `VIPGATE_NODE`; the reader of
//! a named pipe has `VIPGATE_FIFO`, a hook `VIPGATE_HOOK` (`before-master`, `after-release`).

mod backlog;
mod events;
mod fifo;
mod mail;
mod news;
mod queue;
mod run;
mod scripts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Mail, Notify, NotifyTargets, SyncGroup, VirtualRouter};
use crate::stats::Registry;

use self::backlog::Key;
use self::events::Events;
use self::fifo::Pipe;
use self::mail::Mailer;
use self::news::{Context, Subject};
use self::queue::{Entry, Kind};
use self::scripts::Scripts;

pub use self::events::{Line, Subscription};
pub use self::news::{Change, LowerPriority, State, Transition, Watched, What};
pub use self::run::{Ended, Job, Moment, Run, Runner, hook};

/// What a removed pipe or mail target has to finish its last work in.
const RETIREMENT: Duration = Duration::from_secs(30);

/// Tells everybody who wants to know. Dropped, it ends at once; [`Notifier::stop`] finishes first.
#[derive(Debug)]
pub struct Notifier {
    state: Mutex<Told>,
    scripts: Scripts,
    events: Events,
    runner: Shown<Runner>,
    registry: Arc<Registry>,
}

/// What is configured, and what was told last.
#[derive(Debug, Default)]
struct Told {
    node: String,
    notify: BTreeMap<Subject, Notify>,
    pipes: BTreeMap<PathBuf, Pipe>,
    mail: Option<(Mail, Mailer)>,
    seq: u64,
    states: BTreeMap<Subject, State>,
    up: BTreeMap<(Watched, String), bool>,
}

/// Something with nothing to show for `Debug`.
struct Shown<T>(T);

impl Notifier {
    /// Starts with nobody to tell but subscribers; [`Notifier::apply`] brings the others. To be called within a tokio
    /// runtime.
    #[must_use]
    pub fn start(runner: Runner, registry: Arc<Registry>) -> Self {
        Self {
            state: Mutex::default(),
            scripts: Scripts::start(Arc::clone(&runner), Arc::clone(&registry)),
            events: Events::new(Arc::clone(&registry)),
            runner: Shown(runner),
            registry,
        }
    }

    /// Tells these from now on. A pipe or a mail target that is the same goes on undisturbed; what waits to be told is
    /// told as it was configured when it happened. `node` is the name in events and mail.
    ///
    /// A router that a reload removes is to be told as [`State::Stop`] before.
    pub fn apply(&self, node: &str, targets: &NotifyTargets, routers: &[VirtualRouter], groups: &[SyncGroup]) {
        let mut state = self.state();
        node.clone_into(&mut state.node);
        let of_routers = routers.iter().map(|router| (What::Instance, &router.name, &router.notify));
        let of_groups = groups.iter().map(|group| (What::Group, &group.name, &group.notify));
        state.notify = of_routers
            .chain(of_groups)
            .map(|(what, name, notify)| (Subject { what, name: name.clone() }, notify.clone()))
            .collect();
        let Told { notify, states, .. } = &mut *state;
        states.retain(|subject, _| notify.contains_key(subject));
        self.apply_pipes(&mut state, targets);
        self.apply_mail(&mut state, targets);
    }

    /// A router or a group is in another state. To be called in the order of events; the first state is told too.
    /// Returns its sequence number.
    pub fn tell(&self, told: &Transition) -> u64 {
        let mut state = self.state();
        let subject = told.subject();
        let from = state.states.insert(subject.clone(), told.state);
        let seq = state.next();
        let context = Context { seq, from, node: &state.node };
        self.events.transition(told, from, seq, &state.node);
        let notify = state.notify.get(&subject);
        let jobs = notify.map_or_else(Vec::new, |notify| told.jobs(notify, context));
        self.scripts.push(Entry { seq, subject: subject.clone(), kind: Kind::State, jobs });
        for pipe in state.pipes.values() {
            pipe.push(Key { subject: subject.clone(), is_state: true }, told.line());
        }
        if let Some((settings, mailer)) = &state.mail
            && is_mailed(settings, notify, told.state)
        {
            mailer.push(mail::transition(told));
        }
        seq
    }

    /// A master heard a lower priority. Returns its sequence number.
    pub fn lower_priority(&self, heard: &LowerPriority) -> u64 {
        let mut state = self.state();
        let subject = heard.subject();
        let seq = state.next();
        let context = Context { seq, from: None, node: &state.node };
        self.events.lower_priority(heard, seq, &state.node);
        let jobs = state.notify.get(&subject).map_or_else(Vec::new, |notify| heard.jobs(notify, context));
        self.scripts.push(Entry { seq, subject: subject.clone(), kind: Kind::LowerPriority, jobs });
        for pipe in state.pipes.values() {
            pipe.push(Key { subject: subject.clone(), is_state: false }, heard.line());
        }
        seq
    }

    /// A server or a tracker went down or came up. Returns its sequence number.
    pub fn change(&self, change: &Change) -> u64 {
        let mut state = self.state();
        let from = state.up.insert((change.of, change.name.clone()), change.up);
        let seq = state.next();
        self.events.change(change, from, seq, &state.node);
        if let Some((settings, mailer)) = &state.mail
            && settings.servers
            && change.of == Watched::Server
        {
            mailer.push(mail::change(change));
        }
        seq
    }

    /// Events from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.events.subscribe()
    }

    /// Finishes what was told, at most within `limit`: scripts that wait, lines, mail. Then ends the readers of pipes and
    /// removes the pipes that were made. What could not be finished is counted and logged.
    pub async fn stop(self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let Told { pipes, mail, .. } = std::mem::take(&mut *self.state());
        let pipes = futures_util::future::join_all(pipes.into_values().map(|pipe| pipe.stop(deadline)));
        let mail = async {
            if let Some((_, mailer)) = mail {
                mailer.stop(deadline).await;
            }
        };
        tokio::join!(self.scripts.stop(deadline), pipes, mail);
    }

    fn apply_pipes(&self, state: &mut Told, targets: &NotifyTargets) {
        let mut old = std::mem::take(&mut state.pipes);
        for fifo in &targets.fifos {
            let predecessor = old.remove(&fifo.path);
            let pipe = match predecessor {
                Some(pipe) if pipe.fifo() == fifo => Ok(pipe),
                predecessor => {
                    let (runner, registry) = (Arc::clone(&self.runner.0), Arc::clone(&self.registry));
                    Pipe::start(fifo.clone(), predecessor, runner, registry)
                }
            };
            match pipe {
                Ok(pipe) => drop(state.pipes.insert(fifo.path.clone(), pipe)),
                Err(error) => tracing::error!("{error}; it is not used until then"),
            }
        }
        for pipe in old.into_values() {
            tokio::spawn(pipe.stop(Instant::now() + RETIREMENT));
        }
    }

    fn apply_mail(&self, state: &mut Told, targets: &NotifyTargets) {
        state.mail = match (state.mail.take(), &targets.mail) {
            (Some((_, mailer)), Some(new)) => {
                mailer.set(new.clone(), &state.node);
                Some((new.clone(), mailer))
            }
            (None, Some(new)) => {
                Some((new.clone(), Mailer::start(new.clone(), &state.node, Arc::clone(&self.registry))))
            }
            (Some((_, mailer)), None) => {
                tokio::spawn(mailer.stop(Instant::now() + RETIREMENT));
                None
            }
            (None, None) => None,
        };
    }

    fn state(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}

impl<T> std::fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// Whether a transition is mailed. As with keepalived, the end of the process is not.
fn is_mailed(settings: &Mail, notify: Option<&Notify>, state: State) -> bool {
    let wanted = settings.routers || notify.is_some_and(|notify| notify.mail);
    match state {
        State::Master | State::Backup => wanted,
        State::Fault => wanted && settings.faults,
        State::Stop => false,
    }
}
