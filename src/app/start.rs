//! `vipgate run`: everything is claimed, bound and checked before the first advertisement leaves, so that a start
//! that fails has changed nothing.

use std::io;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use sd_notify::NotifyState;
use tokio::runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, unbounded_channel};

use super::checking;
use super::commands::Commands;
use super::failure::Failure;
use super::fronts::Fronts;
use super::hooks::Hooks;
use super::keep::Keeper;
use super::load::{self, Loaded};
use super::log::{self, Log};
use super::names::Places;
use super::node::{Done, Inbox, Node};
use super::peers;
use super::reload::{self, Reads};
use super::replicas::Replicas;
use super::returning::Returning;
use super::shared::Shared;
use super::signals::{self, Request as Signal};
use super::tunings::Tunings;
use super::watchdog::{self, Watched};
use super::wishes::Orders;
use crate::cli::Run;
use crate::control::SOCKET_NAME;
use crate::control::haproxy::Sockets;
use crate::control::server::{BindError as ControlError, Server};
use crate::fence::FenceName;
use crate::model::{Config, Estate, LogLevel, Peering};
use crate::names::Names;
use crate::notify::Notifier;
use crate::os::{caps, inherited};
use crate::pages::Pages;
use crate::probe::Prober;
use crate::proxy::{BindReason, Proxy, Steering};
use crate::spawner::Spawner;
use crate::speaker::{Plan, Speaker};
use crate::stats::Registry;
use crate::track::Trackers;

/// Requests on the control socket that wait for the loop.
const CALLS: usize = 16;

/// Runs until a signal ends it.
pub(super) fn run(mut run: Run) -> Result<ExitCode, Failure> {
    // Before anything else: a signal that comes now waits until somebody listens.
    signals::block().map_err(|error| Failure::Fatal(format!("cannot block signals: {error}")))?;
    // It keeps what this process gives up, so it comes first; and both come before any thread.
    inherited::note();
    let spawner = Spawner::start();
    // The program that leads ranges of ports to their listener can be loaded only now.
    let steering = Steering::open();
    let denied = caps::confine();
    run.files = run.files.or_default();
    let registry = Arc::new(Registry::default());
    let log = log::start(LogLevel::Info, &registry);
    let spawner = spawner.and_then(|mut spawner| spawner.listen().map(|()| spawner)).inspect_err(
        |error| tracing::warn!(target: "vipgate", %error, "no process that runs commands: scripts cannot be run"),
    );
    for denied in denied {
        tracing::debug!(target: "vipgate", "{denied}");
    }
    let control = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Fatal(format!("cannot start the control thread's runtime: {error}")))?;
    let ended = control.block_on(start(run, registry, log, spawner.ok(), steering));
    // A thread that waits for a file or a name keeps nobody from ending.
    control.shutdown_background();
    ended
}

async fn start(
    run: Run,
    registry: Arc<Registry>,
    log: Log,
    spawner: Option<Spawner>,
    steering: io::Result<Steering>,
) -> Result<ExitCode, Failure> {
    let mut signals = signals::listen().map_err(|error| Failure::Fatal(format!("cannot wait for signals: {error}")))?;
    let Some((loaded, reload)) = load_first(&run, &mut signals).await? else { return Ok(ExitCode::SUCCESS) };
    let config = &loaded.config;
    log.configure(&config.global.log);
    let warnings = loaded.warning_lines();
    for warning in &warnings {
        tracing::warn!(target: "vipgate", "{warning}");
    }
    let control = claim(&run)?;

    let workers = workers(config);
    let (most, io_uring) = (config.global.max_connections, config.global.io_uring);
    let mut proxy = Proxy::start(workers, Arc::clone(&registry), most, io_uring)
        .map_err(|error| Failure::Fatal(format!("cannot start the data plane's threads: {error}")))?;
    match steering {
        Ok(steering) => proxy.steer_by(steering),
        Err(error) => tracing::debug!(target: "vipgate", %error, "ranges of ports get a listener a port"),
    }
    let commands = Commands::new(spawner.as_ref().map(Spawner::runner));
    let owners = commands.clone();
    proxy.look_for_owners_by(move |address| owners.listeners_on(address));
    // Servers are known before anybody is served: what was learnt of them comes first.
    let pools = proxy.prepare(&[], &config.pools).map_err(|errors| Failure::Fatal(reload::bind_errors(&errors)))?;
    proxy.commit(pools);
    let prepared = proxy.prepare(&config.services, &config.pools).map_err(|errors| {
        let denied = errors.iter().any(|error| matches!(error.reason, BindReason::Permission));
        let text = reload::bind_errors(&errors);
        if denied { Failure::Permission(text) } else { Failure::Fatal(text) }
    })?;

    let shared = Arc::new(Shared::new(registry, loaded.config, workers, warnings));
    let config = shared.config();
    let snapshots = Arc::clone(&shared);
    let mut pages =
        Pages::new(Arc::new(move || snapshots.snapshot()), Arc::new(proxy.lookout()), Arc::clone(proxy.lists()));
    let prepared_pages = pages.prepare(&config.pages).map_err(|error| Failure::Fatal(error.to_string()))?;
    pages.commit(prepared_pages);
    let (notice_sender, notices) = unbounded_channel();
    let (check_sender, checks) = unbounded_channel();
    let (resolved_sender, resolved) = unbounded_channel();
    let (tracked_sender, tracked) = unbounded_channel();
    let (done, done_receiver) = unbounded_channel();
    let observer = done.clone();
    // Without a receiver the process is ending.
    proxy.observe_by(move |observed| _ = observer.send(Done::Observed(checking::observation(observed))));
    let doubter = done.clone();
    proxy.doubt_returns_by(move |unanswered| _ = doubter.send(Done::Unanswered(unanswered)));
    let (call_sender, calls) = mpsc::channel(CALLS);
    let fence = Some(FenceName::new(&run.control.run_dir));
    let plan = Plan::from(&*config);
    let speaker = Speaker::start(plan, Arc::clone(&shared.registry), notice_sender, fence).map_err(|error| {
        let text = error.to_string();
        if error.is_permission() { Failure::Permission(text) } else { Failure::Fatal(text) }
    })?;

    commands.set_secure(config.global.script_security);
    let speaker = Arc::new(speaker);
    let peers = if config.routers.is_empty() { None } else { peers::start(config.global.peer_port, &speaker) };

    proxy.keep_journal(log.journal());
    let looked = Arc::clone(&shared);
    let look = Arc::new(move || (looked.config(), looked.snapshot()));
    let mut node = Node {
        sockets: Sockets::new(call_sender.clone(), look),
        replicas: Replicas::default(),
        keeper: Keeper::new(&run.state_dir),
        run,
        log,
        prober: Prober::start(Arc::clone(&shared.registry), check_sender, commands.for_health()),
        names: Names::start(resolved_sender),
        places: Places::default(),
        orders: Orders::default(),
        fronts: Fronts::default(),
        tunings: Tunings::default(),
        proxy,
        speaker,
        trackers: Trackers::start(commands.checks(), tracked_sender),
        notifier: Notifier::start(Arc::new(commands.clone()), Arc::clone(&shared.registry)),
        hooks: Hooks::new(Arc::new(commands.clone()), Arc::clone(&shared.registry)),
        commands,
        spawner,
        spawner_gone: false,
        subscribers: Arc::default(),
        peers,
        peering: Peering::default(),
        shared,
        pages,
        guardian: None,
        estate: Estate::default(),
        beats: Arc::default(),
        done,
        drain: None,
        handing_over: false,
        reads: Reads::default(),
        returning: Returning::default(),
        full_logged: None,
        second: Instant::now(),
        stopping: None,
    };
    if node.leaves_traces() {
        node.start_guardian();
    }
    node.tell_as_configured(&Config::default(), &config);
    node.take_up_learnt();
    node.commit(prepared);
    node.refresh_replicas();
    node.say_where_pages_are(&[]);
    node.open_stats_sockets();
    watch(&node)?;
    tokio::spawn(async move {
        if let Err(error) = control.serve(call_sender).await {
            tracing::error!(target: "vipgate", %error, "the control socket is not served");
        }
    });
    let connections = node.proxy.connection_limit();
    tracing::info!(target: "vipgate", version = env!("CARGO_PKG_VERSION"), workers, max_connections = connections, "running");
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    if reload {
        node.start_reload(None);
    }
    Ok(node.serve(Inbox { signals, calls, notices, checks, resolved, tracked, done: done_receiver }).await)
}

/// Reads the files. None: a signal ended the process meanwhile, for a name or a lost file system can take long. True: HUP
/// came, so what was read may be out of date.
async fn load_first(run: &Run, signals: &mut UnboundedReceiver<Signal>) -> Result<Option<(Loaded, bool)>, Failure> {
    let files = run.files.clone();
    let mut loading = tokio::task::spawn_blocking(move || load::load(&files));
    let mut reload = false;
    loop {
        tokio::select! {
            biased;
            loaded = &mut loading => {
                let loaded = loaded.map_err(|error| Failure::Internal(format!("reading the configuration: {error}")))?;
                return Ok(Some((loaded?, reload)));
            }
            Some(signal) = signals.recv() => match signal {
                Signal::Reload => reload = true,
                Signal::Stop | Signal::Quit => {
                    tracing::info!(target: "vipgate", "ended before it ran");
                    return Ok(None);
                }
            },
        }
    }
}

/// Watches the heartbeats of the workers and of the control thread.
fn watch(node: &Node) -> Result<(), Failure> {
    let beats = node.proxy.heartbeats().into_iter().enumerate();
    let mut watched: Vec<Watched> =
        beats.map(|(index, beats)| Watched { name: format!("worker-{index}"), beats }).collect();
    watched.push(Watched { name: "control".into(), beats: Arc::clone(&node.beats) });
    let (shared, speaker) = (Arc::clone(&node.shared), Arc::clone(&node.speaker));
    let changed = move |stuck: &[String]| {
        match stuck {
            [] => tracing::warn!(target: "vipgate", "every thread moves again"),
            names => tracing::error!(target: "vipgate", "stuck: {}; the addresses are given up", names.join(", ")),
        }
        shared.set_stuck(stuck, &speaker);
    };
    watchdog::start(watched, changed).map_err(|error| Failure::Fatal(format!("cannot start the watchdog: {error}")))
}

/// The run directory, and with it the right to be the only one who uses it.
fn claim(run: &Run) -> Result<Server, Failure> {
    let directory = &run.control.run_dir;
    let failed = |text: String, denied: bool| if denied { Failure::Permission(text) } else { Failure::Fatal(text) };
    std::fs::create_dir_all(directory).map_err(|error| {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let text = format!("cannot create {}: {error}; create it, or name another with --run-dir", directory.display());
        failed(text, denied)
    })?;
    Server::bind(&directory.join(SOCKET_NAME)).map_err(|error| {
        let denied = match &error {
            ControlError::Running { .. } => false,
            ControlError::System { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
        };
        failed(error.to_string(), denied)
    })
}

/// Threads of the data plane.
pub(super) fn workers(config: &Config) -> usize {
    config.global.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get)).max(1)
}
