//! The running node: passes what the rooms say to each other, reloads, and ends.
//!
//! One loop on the control thread. Nothing in it waits: what takes long (a hand-over, reading files) is a task whose
//! result comes back to the loop as [`Done`].

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::MissedTickBehavior;

use super::commands::Commands;
use super::drain::Drain;
use super::explain;
use super::fronts::Fronts;
use super::hooks::Hooks;
use super::keep::{self, Keeper, Sources};
use super::log::Log;
use super::names::Places;
use super::reload::{Read, Reads};
use super::replicas::Replicas;
use super::returning::Returning;
use super::shared::Shared;
use super::signals::Request as Signal;
use super::telling;
use super::tunings::Tunings;
use super::wishes::Orders;
use crate::cli::Run;
use crate::control::haproxy::Sockets;
use crate::control::server::Call;
use crate::control::{Reply, Request};
use crate::guardian::Guardian;
use crate::model::{Estate, Peering};
use crate::names::{Names, Resolved};
use crate::notify::Notifier;
use crate::pages::Pages;
use crate::peer::Peers;
use crate::probe::{self, Observation, Prober};
use crate::proxy::{Proxy, Unanswered};
use crate::spawner::Spawner;
use crate::speaker::foreign::ForeignSpeaker;
use crate::speaker::{Notice, Speaker};
use crate::stats::Health;
use crate::track::{self, Trackers};

/// The control thread's heartbeat, and how often it looks after the guardian and a drain.
const TICK: Duration = Duration::from_millis(100);
/// How often rates are taken.
const SECOND: Duration = Duration::from_secs(1);
/// How often other VRRP speakers are looked for.
const FOREIGN_PERIOD: Duration = Duration::from_secs(10);
/// At most this often the log says that the limit of connections is reached.
const FULL_LOG: Duration = Duration::from_secs(10);
/// From TERM to the end of the process, successor or none.
const STOP_LIMIT: Duration = Duration::from_millis(1900);

/// What a task brings back to the loop.
pub(super) enum Done {
    /// The files were read for a reload; somebody may wait for the outcome.
    Read(Box<Read>),
    /// Other processes that speak VRRP here.
    Foreign(Vec<String>),
    /// Connections to a server failed in a row.
    Observed(Observation),
    /// A server did not answer a client's address.
    Unanswered(Unanswered),
    /// It answers this node's own.
    ReturnPathLost(Unanswered),
    /// What was learnt is written, or could not be.
    Kept(std::io::Result<()>),
    /// A hand-over has ended, one way or the other.
    HandedOver,
    /// Every router has left.
    Left,
}

/// Where everything that happens arrives.
pub(super) struct Inbox {
    pub(super) signals: UnboundedReceiver<Signal>,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) notices: UnboundedReceiver<Notice>,
    pub(super) checks: UnboundedReceiver<probe::Event>,
    pub(super) resolved: UnboundedReceiver<Resolved>,
    pub(super) tracked: UnboundedReceiver<track::Changed>,
    pub(super) done: UnboundedReceiver<Done>,
}

/// The rooms, running.
pub(super) struct Node {
    pub(super) run: Run,
    pub(super) log: Log,
    pub(super) shared: Arc<Shared>,
    pub(super) proxy: Proxy,
    pub(super) speaker: Arc<Speaker>,
    pub(super) prober: Prober,
    pub(super) names: Names,
    /// What the names of servers say now.
    pub(super) places: Places,
    /// What agents set of servers.
    pub(super) orders: Orders,
    /// What an operator set of services.
    pub(super) fronts: Fronts,
    /// Where an operator has servers checked.
    pub(super) tunings: Tunings,
    /// HTTP pages that the node answers itself.
    pub(super) pages: Pages,
    /// Control sockets that speak HAProxy's language.
    pub(super) sockets: Sockets,
    /// Stick tables shared with other nodes.
    pub(super) replicas: Replicas,
    /// Keeps what was learnt.
    pub(super) keeper: Keeper,
    pub(super) trackers: Trackers,
    pub(super) notifier: Notifier,
    pub(super) commands: Commands,
    pub(super) spawner: Option<Spawner>,
    /// It died and cannot be replaced.
    pub(super) spawner_gone: bool,
    pub(super) hooks: Hooks,
    /// One more reference for each client that follows the events.
    pub(super) subscribers: Arc<()>,
    pub(super) peers: Option<Peers>,
    /// The sessions with other nodes that the speaker wants.
    pub(super) peering: Peering,
    pub(super) guardian: Option<Guardian>,
    /// What a killed daemon would leave; a new guardian is told at once.
    pub(super) estate: Estate,
    /// The control thread's heartbeat.
    pub(super) beats: Arc<AtomicU64>,
    pub(super) done: UnboundedSender<Done>,
    pub(super) drain: Option<Drain>,
    pub(super) handing_over: bool,
    pub(super) reads: Reads,
    /// What servers answer to clients' addresses.
    pub(super) returning: Returning,
    /// When the log said last that the limit of connections is reached.
    pub(super) full_logged: Option<Instant>,
    /// When the figures of a second were taken last.
    pub(super) second: Instant,
    /// Since when it is ending.
    pub(super) stopping: Option<Instant>,
}

/// Whether the loop goes on.
enum Flow {
    Continue,
    /// Ends after the routers have left: no trace remains.
    Left,
    /// Ends at once: the guardian undoes the rest.
    Quit,
}

impl Node {
    /// Serves until a signal ends it.
    pub(super) async fn serve(mut self, mut inbox: Inbox) -> ExitCode {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut foreign = tokio::time::interval(FOREIGN_PERIOD);
        foreign.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let flow = tokio::select! {
                biased;
                Some(notice) = inbox.notices.recv() => self.notice(notice),
                Some(signal) = inbox.signals.recv() => self.signal(signal),
                Some(event) = inbox.checks.recv() => self.checked(event),
                Some(first) = inbox.resolved.recv() => {
                    let more = std::iter::from_fn(|| inbox.resolved.try_recv().ok());
                    self.resolved(std::iter::once(first).chain(more).collect());
                    Flow::Continue
                }
                Some(tracked) = inbox.tracked.recv() => {
                    self.tracked(tracked);
                    Flow::Continue
                }
                Some(done) = inbox.done.recv() => self.done(done),
                Some(call) = inbox.calls.recv() => self.call(call),
                _ = tick.tick() => self.tick(),
                _ = foreign.tick() => self.look_for_foreign(),
            };
            match flow {
                Flow::Continue => {}
                Flow::Left => return self.end(inbox.signals).await,
                Flow::Quit => {
                    tracing::info!(target: "vipgate", "INT: ending now, the guardian cleans up");
                    // It begins when its pipe closes: with the last thread, for one that lives would put back what it removes.
                    std::mem::forget((self.guardian.take(), Arc::clone(&self.speaker)));
                    return ExitCode::SUCCESS;
                }
            }
        }
    }

    fn notice(&mut self, notice: Notice) -> Flow {
        match notice {
            Notice::Releasing { addresses, done } => {
                // Afterwards neither data nor a reset would leave this node.
                self.proxy.reset_local(&addresses, move |flows| {
                    if flows > 0 {
                        tracing::info!(target: "vipgate", flows, "connections reset: their address moves");
                    }
                    // The speaker waits no longer than it must.
                    let _ = done.send(());
                });
            }
            Notice::BeforeMaster { router, done } => self.hooks.before_master(router, done),
            Notice::Released { router } => self.hooks.after_release(router),
            Notice::Estate(estate) => {
                self.estate = estate;
                self.tell_guardian();
            }
            Notice::Changed { router, role, reason, priority, .. } => {
                self.tell_router(&router, role, priority, &reason);
                let text = format!("{router}: {} ({reason})", role.label());
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&text)]);
            }
            Notice::GroupChanged { group, role } => self.tell_group(&group, role),
            Notice::HeardLower { router } => self.tell_lower(&router),
            Notice::Peering(peering) => self.peer_with(peering),
        }
        Flow::Continue
    }

    fn signal(&mut self, signal: Signal) -> Flow {
        match signal {
            Signal::Reload => self.start_reload(None),
            Signal::Stop => self.stop(),
            Signal::Quit => return Flow::Quit,
        }
        Flow::Continue
    }

    fn checked(&mut self, event: probe::Event) -> Flow {
        match event {
            probe::Event::Transition(transition) => {
                let status = self.shared.registry.server(&transition.pool, &transition.server).status();
                // In maintenance nobody looks whether it is up, and afterwards it is taken for up.
                if status.health != Health::Disabled {
                    self.proxy.set_server_up(&transition.pool, &transition.server, transition.up);
                }
                self.tell_server(&transition);
                self.keeper.hurry();
            }
            probe::Event::Wish(wish) => self.grant(&wish),
            probe::Event::KeyName { pool, server, name } => self.proxy.set_key_name(&pool, &server, &name),
        }
        self.refresh_serving();
        Flow::Continue
    }

    fn done(&mut self, done: Done) -> Flow {
        match done {
            Done::Read(read) => self.finish_reload(*read),
            Done::Foreign(foreign) => {
                if self.shared.set_foreign(foreign.clone()) {
                    for line in foreign {
                        tracing::warn!(target: "vipgate", "{line}");
                    }
                }
            }
            Done::Observed(observation) => self.prober.observe(&observation),
            Done::Unanswered(unanswered) => self.try_from_here(unanswered),
            Done::ReturnPathLost(unanswered) => self.return_path_lost(&unanswered),
            Done::Kept(kept) => self.learnt_is_kept(kept),
            Done::HandedOver => self.handing_over = false,
            Done::Left => return Flow::Left,
        }
        Flow::Continue
    }

    fn call(&mut self, call: Call) -> Flow {
        let Call { request, answer } = call;
        match request {
            Request::Ping => _ = answer.finish(Reply::done("vipgate answers")),
            Request::Status => {
                let shared = Arc::clone(&self.shared);
                // Reads /proc and every counter: not on the control thread.
                tokio::task::spawn_blocking(move || {
                    answer.finish(Reply::Status { snapshot: Box::new(shared.snapshot()) })
                });
            }
            Request::Handover { router } => self.hand_over(router, answer),
            Request::Drain { cancel: true } => self.cancel_drain(answer),
            Request::Drain { cancel: false } => self.start_drain(answer),
            Request::Reload => self.start_reload(Some(answer)),
            Request::Vrrp { action, router } => self.steer(action, router, answer),
            Request::Server { pool, server, change } => {
                self.keeper.hurry();
                _ = answer.finish(self.change_server(&pool, &server, change));
            }
            Request::Service { service, change } => _ = answer.finish(self.change_service(&service, change)),
            Request::Sessions => self.list_sessions(answer),
            Request::EndSession { id } => self.end_session(&id, answer),
            Request::EndSessions { pool, server } => self.end_sessions(&pool, &server, answer),
            Request::Tables { pool } => _ = answer.finish(self.tables(pool.as_deref())),
            Request::Resolvers => self.list_resolvers(answer),
            Request::Peers => _ = answer.finish(Reply::done(self.replicas.show())),
            Request::Table { pool, change } => _ = answer.finish(self.change_table(&pool, change)),
            Request::Sources { table } => _ = answer.finish(self.sources(table.as_deref())),
            Request::ForgetSources { table, sources } => _ = answer.finish(self.forget_sources(&table, &sources)),
            Request::Lists { maps } => _ = answer.finish(self.show_lists(maps)),
            Request::List { maps, name, action } => _ = answer.finish(self.list(maps, &name, action)),
            Request::ClearCounters { all } => _ = answer.finish(self.clear_counters(all)),
            Request::MaxConnections { value } => _ = answer.finish(self.bound_connections(value)),
            Request::Explain { service, from, sni } => {
                let config = self.shared.config();
                answer.finish(explain::answer(&self.proxy, &config, &service, &from, sni.as_deref()));
            }
            Request::Events => self.subscribe(answer),
        }
        Flow::Continue
    }

    fn tick(&mut self) -> Flow {
        self.beats.fetch_add(1, Ordering::Relaxed);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        if self.guardian.as_ref().is_some_and(Guardian::has_died) {
            tracing::warn!(target: "vipgate", "the guardian died: it is replaced, nothing moves");
            self.guardian = None;
        }
        if let Some(spawner) = &mut self.spawner
            && spawner.has_died()
            && !std::mem::replace(&mut self.spawner_gone, true)
        {
            match spawner.restart() {
                Ok(()) => {
                    self.spawner_gone = false;
                    tracing::warn!(target: "vipgate", "the process that runs commands died: it is replaced");
                }
                Err(error) => tracing::error!(target: "vipgate", "{error}"),
            }
        }
        if self.guardian.is_none() && self.stopping.is_none() && self.leaves_traces() {
            self.start_guardian();
        }
        self.step_drain();
        self.look_at_limit();
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.second);
        if passed >= SECOND {
            self.second = now;
            self.shared.registry.take_second(now, passed);
        }
        if self.stopping.is_none() {
            self.keep_learnt(now);
        }
        Flow::Continue
    }

    /// At the limit clients wait unseen in the kernel's queue, so it is said.
    fn look_at_limit(&mut self) {
        let (open, limit) = (self.proxy.open_flows(), self.proxy.connection_limit());
        self.shared.set_connection_limit(limit);
        let full = open >= limit;
        let silent = self.full_logged.is_some_and(|at| at.elapsed() < FULL_LOG);
        if self.shared.set_full(full) && full && !silent {
            self.full_logged = Some(Instant::now());
            tracing::warn!(
                target: "vipgate",
                "{open} of at most {limit} connections are open, more clients wait: raise max-connections or the descriptor limit (LimitNOFILE)"
            );
        }
    }

    /// Whether there may be something to undo.
    pub(super) fn leaves_traces(&self) -> bool {
        let config = self.shared.config();
        !(config.routers.is_empty() && config.routes.is_empty() && config.rules.is_empty()) || config.is_transparent()
    }

    /// Recomputes which services can be served here and tells the routers that front them.
    pub(super) fn refresh_serving(&self) {
        let config = self.shared.config();
        let serving: BTreeSet<String> = config
            .services
            .iter()
            .filter(|service| self.proxy.ready(&service.name) && !self.fronts.is_closed(&service.name))
            .map(|service| service.name.clone())
            .collect();
        for service in &config.services {
            self.trackers.set_service(&service.name, serving.contains(&service.name));
        }
        self.shared.set_serving(serving, &self.speaker);
    }

    fn look_for_foreign(&self) -> Flow {
        if !self.shared.config().routers.is_empty() {
            let (done, commands) = (self.done.clone(), self.commands.clone());
            tokio::spawn(async move {
                let line = |user: ForeignSpeaker| {
                    format!(
                        "{} (pid {}) also speaks VRRP in this network namespace: stop it, or two daemons manage the same addresses",
                        user.name, user.pid
                    )
                };
                let _ = done.send(Done::Foreign(commands.foreign_speakers().await.into_iter().map(line).collect()));
            });
        }
        Flow::Continue
    }

    /// TERM: the routers leave while the data plane serves on.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        tracing::info!(target: "vipgate", "TERM: handing over, then ending");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.stopping = Some(Instant::now());
        let (speaker, done) = (Arc::clone(&self.speaker), self.done.clone());
        tokio::spawn(async move {
            speaker.stop().await;
            let _ = done.send(Done::Left);
        });
    }

    /// The addresses are gone: what is open otherwise gets its grace, and nothing is left for the guardian.
    async fn end(self, mut signals: UnboundedReceiver<Signal>) -> ExitCode {
        let Self {
            proxy,
            guardian,
            pages,
            sockets,
            keeper,
            places,
            orders,
            stopping,
            shared,
            beats,
            log,
            hooks,
            notifier,
            trackers,
            peers,
            spawner,
            ..
        } = self;
        drop((pages, sockets, trackers));
        if let Some(peers) = peers {
            // It says goodbye: the other nodes do not take this for a death.
            let _ = tokio::task::spawn_blocking(move || peers.stop()).await;
        }
        let told = beat_until(telling::finish(hooks, notifier), &beats, &mut signals).await;
        if let Some(spawner) = spawner {
            let _ = tokio::task::spawn_blocking(move || spawner.stop()).await;
        }
        if let Some(guardian) = guardian
            && let Err(error) = guardian.goodbye()
        {
            tracing::warn!(target: "vipgate", %error, "the guardian did not hear the goodbye");
        }
        let spent = stopping.map_or(Duration::ZERO, |since| since.elapsed());
        let grace = shared.config().global.stop_grace.min(STOP_LIMIT.saturating_sub(spent));
        let config = shared.config();
        let stop = tokio::task::spawn_blocking(move || {
            let (registry, config) = (&*shared.registry, &*config);
            let sources = Sources { proxy: &proxy, places: &places, orders: &orders, registry, config };
            keep::keep_at_the_end(&keeper, &sources);
            proxy.stop(grace);
        });
        if told.is_none() || beat_until(stop, &beats, &mut signals).await.is_none() {
            tracing::info!(target: "vipgate", "INT: what is still open is not waited for");
        }
        tracing::info!(target: "vipgate", "ended");
        drop(log);
        ExitCode::SUCCESS
    }
}

/// Waits for `work` while the heart beats; none if INT comes first.
async fn beat_until<T>(
    work: impl Future<Output = T>,
    beats: &AtomicU64,
    signals: &mut UnboundedReceiver<Signal>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return Some(done);
        }
        beats.fetch_add(1, Ordering::Relaxed);
        if std::iter::from_fn(|| signals.try_recv().ok()).any(|signal| signal == Signal::Quit) {
            return None;
        }
    }
}
