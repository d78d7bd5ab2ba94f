//! The start of the two threads.

use std::future::Future;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::SystemClock;
use super::driver::{self, Driver, Input};
use super::kernel::Linux;
use super::plan::Plan;
use super::wire::Sockets;
use super::{Notice, StartError, addresses, netlink, ownership};
use crate::fence::{self, FenceName};
use crate::os::packet::FrameSender;
use crate::os::sched;
use crate::stats::Registry;

/// Longest wait for the first look at the interfaces.
pub(super) const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts them with these routers. Addresses that an earlier life left behind are gone when it returns.
pub(super) fn start(
    plan: &Plan,
    registry: Arc<Registry>,
    notices: mpsc::UnboundedSender<Notice>,
    fence: Option<FenceName>,
) -> Result<mpsc::UnboundedSender<Input>, StartError> {
    let wire = Sockets::open().map_err(StartError::socket)?;
    let frames = FrameSender::open().map_err(StartError::socket)?;
    let (inputs, told) = mpsc::unbounded_channel();
    let (orders, ordered) = mpsc::unbounded_channel();

    let placed = plan.placed();
    let configured = ownership::reclaimable(&placed.routers);
    let (inputs_of_links, notices_of_releases) = (inputs.downgrade(), notices.clone());
    let unfence = fence.as_ref().map(fence::prepared_cleanup).unwrap_or_default();
    let (ready, is_ready) = std_mpsc::channel();
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

    spawn("vrrp", move || {
        keep_time();
        let setup = driver::Setup { orders, notices, registry, wire, clock: SystemClock };
        run(Driver::new(setup).with_unfence(unfence).run(told));
    })?;
    let (done, _) = oneshot::channel();
    let _ = inputs.send(Input::Apply(Box::new(placed), done));
    Ok(inputs)
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
