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
mod threads;
mod vmac;
mod watch;
mod wire;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::fence::FenceName;
use crate::model::{Estate, InterfaceName, Peering, TrackState};
use crate::stats::{Registry, Role};
pub use cleanup::{Removed, cleanup};
use driver::Input;
pub use plan::Plan;
pub use steering::{SteerReport, Steering};

/// Identity of a router in this process: a name may be given again while its first bearer still leaves.
type RouterId = u64;

/// Longest stop, successor or none.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// A hand-over that the core has not ended by then is reported as nobody's.
const HANDOVER_LIMIT: Duration = Duration::from_secs(5);

/// The virtual routers of this process, at work. Usable from any thread.
#[derive(Debug)]
pub struct Speaker {
    /// None: there was no router yet, and the threads are not started.
    inputs: OnceLock<mpsc::UnboundedSender<Input>>,
    registry: Arc<Registry>,
    notices: mpsc::UnboundedSender<Notice>,
    fence: Option<FenceName>,
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
    #[error("the kernel did not list links and addresses within {} s", threads::START_LIMIT.as_secs())]
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
    /// The routers were stopped.
    #[error("virtual routers cannot run in this process: it is ending")]
    Stopped,
    /// They could not be started.
    #[error("virtual routers cannot run in this process: {0}")]
    Start(String),
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
    /// Starts the routers and the two threads, in the network namespace of the calling thread; without anything to do, the
    /// threads wait for the first plan that has something. Addresses an earlier life left behind are gone when it returns.
    /// Interfaces that are not there are waited for. With `fence`, the node is silent for the addresses of its routers in
    /// the instant in which it is killed.
    pub fn start(
        plan: impl Into<Plan>,
        registry: Arc<Registry>,
        notices: mpsc::UnboundedSender<Notice>,
        fence: Option<FenceName>,
    ) -> Result<Self, StartError> {
        let plan = plan.into();
        let speaker = Self { inputs: OnceLock::new(), registry, notices, fence, running: Mutex::default() };
        if plan.is_empty() {
            tidy_up();
        } else {
            speaker.wake(&plan)?;
            *speaker.lock() = plan;
        }
        Ok(speaker)
    }

    /// Starts the threads with this plan unless they run.
    fn wake(&self, plan: &Plan) -> Result<(), StartError> {
        // Nobody else wakes them meanwhile.
        let _running = self.lock();
        if self.inputs.get().is_none() {
            let (registry, notices) = (Arc::clone(&self.registry), self.notices.clone());
            let _first = self.inputs.set(threads::start(plan, registry, notices, self.fence.clone())?);
        }
        Ok(())
    }

    /// False: nobody hears it, since there is no router or the routers were stopped.
    fn tell(&self, input: Input) -> bool {
        self.inputs.get().is_some_and(|inputs| inputs.send(input).is_ok())
    }

    /// Whether this plan can run, and every interface that a new or changed router names is there. A router that runs as
    /// it is may still wait for its interface.
    pub fn check(&self, plan: &Plan) -> Result<(), ApplyError> {
        if plan.is_empty() {
            return Ok(());
        }
        self.wake(&Plan::default()).map_err(|error| ApplyError::Start(error.to_string()))?;
        if self.inputs.get().is_none_or(mpsc::UnboundedSender::is_closed) {
            return Err(ApplyError::Stopped);
        }
        let running = self.running();
        let changed = plan.routers.iter().filter(|router| !running.routers.contains(router));
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
        self.check(&plan)?;
        let (done, is_done) = oneshot::channel();
        if self.tell(Input::Apply(Box::new(plan.placed()), done)) {
            is_done.await.map_err(|_| ApplyError::Stopped)?;
        } else if !plan.is_empty() {
            return Err(ApplyError::Stopped);
        }
        *self.lock() = plan;
        Ok(())
    }

    /// How something that routers follow is now.
    pub fn set_tracked(&self, tracker: &str, state: TrackState) {
        self.tell(Input::Tracked(tracker.to_owned(), state));
    }

    /// Tells every router from whom it heard adverts at `address` that the process there is dead.
    pub fn peer_died(&self, address: IpAddr) {
        self.tell(Input::PeerDied(address));
    }

    /// Shows how the session with the node at `address` is; none: there is none.
    pub fn show_session(&self, address: IpAddr, text: Option<String>) {
        self.tell(Input::Session(address, text));
    }

    /// Has one router, or all, do what an operator wishes.
    pub async fn steer(&self, router: Option<&str>, steering: Steering) -> Vec<SteerReport> {
        let mut reports = Vec::new();
        for name in self.named(router) {
            let (reply, report) = oneshot::channel();
            self.tell(Input::Steer(name, steering, reply));
            reports.extend(report.await.ok().flatten());
        }
        reports
    }

    /// Whether what `router` fronts can be served here. One that is not there is ignored.
    pub fn set_ready(&self, router: &str, ready: bool) {
        self.tell(Input::Ready(router.to_owned(), ready));
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
        self.tell(Input::Handover(name.clone(), reply));
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
        if self.tell(Input::Stop(done)) && tokio::time::timeout(STOP_LIMIT, is_done).await.is_err() {
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
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what an earlier life left behind, where nothing of the kind is wanted now.
fn tidy_up() {
    // The caller's thread may be in a runtime of its own.
    match thread::spawn(|| cleanup(&[])).join() {
        Ok(Ok(removed)) if removed.is_empty() => {}
        Ok(Ok(removed)) => tracing::info!("removed what an earlier life left behind: {removed}"),
        Ok(Err(error)) => tracing::warn!(%error, "what an earlier life may have left behind was not removed"),
        Err(_) => tracing::error!("nothing was removed: the thread that was to do it has ended"),
    }
}
