//! The shell around `vrrp`: two threads of their own. `vrrp` keeps time, sends and hears adverts; `addresses` talks to
//! the kernel about addresses and links. They meet this room's callers in [`Speaker`] and [`Notice`].

#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod addresses;
mod announce;
mod charge;
mod cleanup;
mod clock;
mod driver;
#[cfg(test)]
mod driver_tests;
mod egress;
mod fencing;
mod fights;
pub mod foreign;
mod gateways;
#[cfg(test)]
mod gateways_tests;
mod hearing;
mod ingress;
mod interfaces;
mod kernel;
#[cfg(test)]
mod kernel_tests;
mod legacy;
mod links;
mod netlink;
mod ownership;
mod peering;
mod plan;
mod queue;
mod reload;
mod repairs;
mod rivals;
mod routes;
mod routing;
mod rules;
mod sight;
#[cfg(test)]
mod simulation;
mod slot;
mod steering;
mod surroundings;
mod team;
mod vmac;
mod watch;
mod wire;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::fence::{self, FenceName};
use crate::model::{Estate, InterfaceName, Peering, TrackState, VirtualRouter};
use crate::os::packet::FrameSender;
use crate::os::sched;
use crate::stats::{Registry, Role};
pub use cleanup::{Removed, cleanup};
use clock::SystemClock;
use driver::{Driver, Input};
use kernel::Linux;
pub use plan::Plan;
pub use steering::{SteerReport, Steering};
use wire::Sockets;

/// Identity of a router in this process: a name may be given again while its first bearer still leaves.
type RouterId = u64;

/// Longest stop, successor or none.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// A hand-over that the core has not ended by then is reported as nobody's.
const HANDOVER_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for the first look at the interfaces.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The virtual routers of this process, at work. Usable from any thread.
#[derive(Debug)]
pub struct Speaker {
    inputs: mpsc::UnboundedSender<Input>,
    registry: Arc<Registry>,
    running: Mutex<Plan>,
}

/// What the routers tell the rest of the process.
#[derive(Debug)]
pub enum Notice {
    /// These addresses are about to leave this node, or have just left it: reset the flows they carry, then complete
    /// `done`. It is waited for, but not for longer than 100 ms.
    Releasing {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// To be completed (or dropped) when done.
        done: oneshot::Sender<()>,
    },
    /// A router is about to set its addresses: what must be done before is to be done now. It is waited for as long as
    /// its command may take.
    BeforeMaster {
        /// Its name.
        router: String,
        /// To be completed (or dropped) when done.
        done: oneshot::Sender<()>,
    },
    /// The last of a router's addresses is gone.
    Released {
        /// Its name.
        router: String,
    },
    /// What a killed daemon would leave behind from now on.
    Estate(Estate),
    /// A router's role changed.
    Changed {
        /// Its name.
        router: String,
        /// Its role before.
        from: Role,
        /// Its role now.
        role: Role,
        /// Why.
        reason: String,
        /// The priority it has now.
        priority: u8,
    },
    /// A sync group's role changed.
    GroupChanged {
        /// Its name.
        group: String,
        /// What all its members are: master, backup, or in fault.
        role: Role,
    },
    /// These sessions with other nodes are wanted from now on.
    Peering(Peering),
    /// A master heard a router that is no better.
    HeardLower {
        /// The master's name.
        router: String,
    },
}

/// Why the routers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Raw sockets need a capability.
    #[error("no permission for raw sockets: run as root, or give the process CAP_NET_RAW and CAP_NET_ADMIN")]
    Permission(#[source] io::Error),
    /// A socket could not be opened for another reason.
    #[error("a raw socket could not be opened: {0}")]
    Socket(#[source] io::Error),
    /// The kernel does not tell about links and addresses.
    #[error("links and addresses cannot be read from the kernel (rtnetlink): {0}")]
    Netlink(#[source] io::Error),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] io::Error),
    /// The interfaces were not read in time.
    #[error("the kernel did not list links and addresses within {} s", START_LIMIT.as_secs())]
    Timeout,
}

/// Why a changed set of routers was refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It names an interface that is not there.
    #[error("virtual router `{router}`: there is no interface `{interface}` on this node")]
    MissingInterface {
        /// The router.
        router: String,
        /// The interface.
        interface: InterfaceName,
    },
    /// The routers were stopped, or this process never could run any.
    #[error(
        "virtual routers cannot run in this process: it was started without CAP_NET_RAW and CAP_NET_ADMIN, or it is ending; restart it"
    )]
    Stopped,
}

/// How a hand-over of one router ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoverReport {
    /// The router.
    pub router: String,
    /// How it ended.
    pub outcome: HandoverOutcome,
    /// From the request to that end.
    pub took: Duration,
}

/// How a hand-over ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoverOutcome {
    /// Another node is master now.
    Moved {
        /// Who, as far as heard.
        to: Option<IpAddr>,
    },
    /// Nobody took the addresses: this node is master still.
    NobodyTook,
    /// There was nothing to hand over: this node is not master.
    NotMaster(Role),
    /// Something else ended it, such as a lost link; the role since.
    Interrupted(Role),
    /// There is no router of that name.
    UnknownRouter,
}

impl StartError {
    /// Whether it is for lack of permission (exit code 4).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Permission(_))
    }

    fn socket(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission(error),
            _ => Self::Socket(error),
        }
    }
}

impl Speaker {
    /// Starts the routers and the two threads, in the network namespace of the calling thread. Addresses an earlier life
    /// left behind are gone when it returns. Interfaces that are not there are waited for. With `fence`, the node is
    /// silent for the addresses of its routers in the instant in which it is killed.
    pub fn start(
        plan: impl Into<Plan>,
        registry: Arc<Registry>,
        notices: mpsc::UnboundedSender<Notice>,
        fence: Option<FenceName>,
    ) -> Result<Self, StartError> {
        let plan = plan.into();
        let wire = Sockets::open().map_err(StartError::socket)?;
        let frames = FrameSender::open().map_err(StartError::socket)?;
        let (inputs, told) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();

        let placed = plan.placed();
        let configured = ownership::reclaimable(&placed.routers);
        let (inputs_of_links, notices_of_releases) = (inputs.downgrade(), notices.clone());
        let unfence = fence.as_ref().map(fence::prepared_cleanup).unwrap_or_default();
        let (ready, is_ready) = std::sync::mpsc::channel();
        spawn("addresses", move || {
            let life = async move {
                // Before the first look: no change escapes between the two.
                let connected = netlink::subscribe().and_then(|told| Ok((told, Linux::connect(frames, fence)?)));
                let (notifications, kernel) = match connected {
                    Ok(connected) => connected,
                    Err(error) => return drop(ready.send(Err(StartError::Netlink(error)))),
                };
                let setup = addresses::Setup {
                    orders: ordered,
                    inputs: inputs_of_links,
                    notices: notices_of_releases,
                    kernel,
                    notifications,
                    configured,
                };
                addresses::run(setup, ready).await;
            };
            run(tokio::task::LocalSet::new().run_until(life));
        })?;
        is_ready.recv_timeout(START_LIMIT).map_err(|_| StartError::Timeout)??;

        let registry_of_routers = Arc::clone(&registry);
        spawn("vrrp", move || {
            keep_time();
            let setup = driver::Setup { orders, notices, registry: registry_of_routers, wire, clock: SystemClock };
            run(Driver::new(setup).with_unfence(unfence).run(told));
        })?;
        let (done, _) = oneshot::channel();
        let _ = inputs.send(Input::Apply(Box::new(placed), done));
        Ok(Self { inputs, registry, running: Mutex::new(plan) })
    }

    /// One that runs no router and never will: for a process that has none and may not open raw sockets.
    #[must_use]
    pub fn without_routers(registry: Arc<Registry>) -> Self {
        let (inputs, _) = mpsc::unbounded_channel();
        Self { inputs, registry, running: Mutex::default() }
    }

    /// Whether every interface that a new or changed router names is there. A router that runs as it is may still wait
    /// for its interface.
    pub fn check_interfaces(&self, routers: &[VirtualRouter]) -> Result<(), ApplyError> {
        if self.inputs.is_closed() && !routers.is_empty() {
            return Err(ApplyError::Stopped);
        }
        let running = self.running();
        let changed = routers.iter().filter(|router| !running.routers.contains(router));
        for router in changed {
            for interface in plan::interfaces_of(router) {
                if nix::net::if_::if_nametoindex(interface.as_str()).is_err() {
                    return Err(ApplyError::MissingInterface {
                        router: router.name.clone(),
                        interface: interface.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Runs these routers and no others, by name: what did not change is not touched. Completes once it is decided;
    /// addresses follow at once.
    pub async fn apply(&self, plan: impl Into<Plan>) -> Result<(), ApplyError> {
        let plan = plan.into();
        self.check_interfaces(&plan.routers)?;
        let (done, is_done) = oneshot::channel();
        self.inputs.send(Input::Apply(Box::new(plan.placed()), done)).map_err(|_| ApplyError::Stopped)?;
        is_done.await.map_err(|_| ApplyError::Stopped)?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        Ok(())
    }

    /// How something that routers follow is now.
    pub fn set_tracked(&self, tracker: &str, state: TrackState) {
        let _ = self.inputs.send(Input::Tracked(tracker.to_owned(), state));
    }

    /// Tells every router from whom it heard adverts at `address` that the process there is dead.
    pub fn peer_died(&self, address: IpAddr) {
        let _ = self.inputs.send(Input::PeerDied(address));
    }

    /// Shows how the session with the node at `address` is; none: there is none.
    pub fn show_session(&self, address: IpAddr, text: Option<String>) {
        let _ = self.inputs.send(Input::Session(address, text));
    }

    /// Has one router, or all, do what an operator wishes.
    pub async fn steer(&self, router: Option<&str>, steering: Steering) -> Vec<SteerReport> {
        let mut reports = Vec::new();
        for name in self.named(router) {
            let (reply, report) = oneshot::channel();
            let _ = self.inputs.send(Input::Steer(name, steering, reply));
            reports.extend(report.await.ok().flatten());
        }
        reports
    }

    /// Whether what `router` fronts can be served here. One that is not there is ignored.
    pub fn set_ready(&self, router: &str, ready: bool) {
        let _ = self.inputs.send(Input::Ready(router.to_owned(), ready));
    }

    /// Gives the addresses of one router, or of all, to whoever takes them, and waits until it is clear who did.
    pub async fn handover(&self, router: Option<&str>) -> Vec<HandoverReport> {
        let names = self.named(router).into_iter();
        futures_util::future::join_all(names.map(|name| self.hand_over(name))).await
    }

    fn named(&self, router: Option<&str>) -> Vec<String> {
        match router {
            Some(name) => vec![name.to_owned()],
            None => self.running().routers.into_iter().map(|router| router.name).collect(),
        }
    }

    async fn hand_over(&self, name: String) -> HandoverReport {
        let (reply, report) = oneshot::channel();
        let _ = self.inputs.send(Input::Handover(name.clone(), reply));
        match tokio::time::timeout(HANDOVER_LIMIT, report).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => HandoverReport {
                router: name,
                outcome: HandoverOutcome::Interrupted(Role::Initialize),
                took: Duration::ZERO,
            },
            Err(_) => HandoverReport { router: name, outcome: HandoverOutcome::NobodyTook, took: HANDOVER_LIMIT },
        }
    }

    /// Every router leaves: priority 0, then its addresses stay until the successor has announced them. Completes when
    /// they are gone, within 2 s in any case. Again: completes at once.
    pub async fn stop(&self) {
        let (done, is_done) = oneshot::channel();
        if self.inputs.send(Input::Stop(done)).is_ok() && tokio::time::timeout(STOP_LIMIT, is_done).await.is_err() {
            tracing::warn!("the virtual routers did not stop in time");
        }
    }

    /// The role of every router, by name.
    #[must_use]
    pub fn roles(&self) -> Vec<(String, Role)> {
        let names = self.running().routers.into_iter().map(|router| router.name);
        names.map(|name| (name.clone(), self.registry.router(&name).status().role)).collect()
    }

    fn running(&self) -> Plan {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Asks for what makes a thread wake on time. Without permission it runs on, a little less exactly.
fn keep_time() {
    let wishes = [
        ("SCHED_RR", sched::round_robin()),
        ("exact timers", sched::exact_timers()),
        ("locked text and stack", sched::lock_text_and_stack()),
    ];
    for (wish, result) in wishes {
        if let Err(error) = result {
            tracing::debug!(%error, "VRRP thread runs without {wish}");
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(StartError::Thread)
}

/// Runs a thread's whole life on a runtime of its own.
fn run(life: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(life),
        Err(error) => tracing::error!(%error, "a runtime could not be made"),
    }
}
