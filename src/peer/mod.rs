//! Sessions between nodes, by which a dead process is told from a silent one.
//!
//! Every node listens where it advertises from, and a router that follows a master has a TCP connection to it. When the
//! master's process dies, however, its kernel closes the connection at once. The follower connects again: *refused* means
//! that the process is dead, another process's greeting that it was replaced, and silence says nothing, so that the down
//! interval decides. Nothing else is said in a session, and nothing secret.
//!
//! All of it lives on a thread of its own that does nothing else, real-time where permitted.

mod follow;
mod greeting;
mod listen;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::model::InterfaceName;
pub use crate::model::{PeerLink as Link, PeerPlace as Listening};
use crate::os::sched;
use greeting::Instance;
pub use standing::News;

/// Sessions of others with this process.
const PLACES: usize = 64;

/// Something new about a peer that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerEvent {
    /// The peer.
    pub link: Link,
    /// What is new.
    pub news: News,
}

/// The sessions, at work. Dropping it ends them in order; [`Peers::stop`] waits for that.
#[derive(Debug)]
pub struct Peers {
    commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    Follow(BTreeSet<Link>),
    Listen(BTreeSet<Listening>),
}

/// What all tasks share.
#[derive(Debug)]
struct Shared {
    port: u16,
    instance: Instance,
    events: mpsc::UnboundedSender<PeerEvent>,
    places: Semaphore,
}

impl Peers {
    /// Starts the thread. Every node of a segment uses the same `port`.
    pub fn start(port: u16, events: mpsc::UnboundedSender<PeerEvent>) -> io::Result<Self> {
        let (commands, orders) = mpsc::unbounded_channel();
        // Drawn from the kernel's randomness, once for each process.
        let instance = Instance(RandomState::new().hash_one(std::process::id()));
        let places = Semaphore::new(PLACES);
        let shared = Shared { port, instance, events, places };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("peer".to_owned()).spawn(move || {
            // Little work, rarely, but at once: both cores may be busy when a peer dies.
            let _ = sched::round_robin();
            runtime.block_on(run(Arc::new(shared), orders));
        })?;
        Ok(Self { commands, thread })
    }

    /// Replaces the list of peers to follow; sessions with those that stay are not touched. One that is new is tried
    /// at once.
    pub fn follow(&self, links: BTreeSet<Link>) {
        let _ = self.commands.send(Command::Follow(links));
    }

    /// Replaces the list of places to listen at; those that stay are not touched. Where both a multicast and a unicast
    /// router advertise from, whoever is on the link may connect.
    pub fn listen(&self, places: impl IntoIterator<Item = Listening>) {
        let mut merged: BTreeMap<(IpAddr, InterfaceName, u32), BTreeSet<IpAddr>> = BTreeMap::new();
        for Listening { local, interface, index, peers } in places {
            merged
                .entry((local, interface, index))
                .and_modify(|known| {
                    if peers.is_empty() || known.is_empty() {
                        known.clear();
                    } else {
                        known.extend(&peers);
                    }
                })
                .or_insert(peers);
        }
        let place = |((local, interface, index), peers)| Listening { local, interface, index, peers };
        let places = merged.into_iter().map(place);
        let _ = self.commands.send(Command::Listen(places.collect()));
    }

    /// Says goodbye to all and waits until that is done (50 ms at the most): peers know that this is no death.
    pub fn stop(self) {
        let Self { commands, thread } = self;
        drop(commands);
        let _ = thread.join();
    }
}

async fn run(shared: Arc<Shared>, mut orders: mpsc::UnboundedReceiver<Command>) {
    let mut followed: BTreeMap<Link, AbortHandle> = BTreeMap::new();
    let mut places: BTreeMap<Listening, watch::Sender<()>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(command) = orders.recv().await {
        match command {
            Command::Follow(links) => {
                followed.retain(|link, task| {
                    let stays = links.contains(link);
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                for link in links {
                    followed
                        .entry(link)
                        .or_insert_with_key(|link| tasks.spawn(follow::follow(link.clone(), Arc::clone(&shared))));
                }
            }
            Command::Listen(wanted) => {
                places.retain(|place, _| wanted.contains(place));
                for place in wanted {
                    places.entry(place).or_insert_with_key(|place| {
                        let (farewell, told) = watch::channel(());
                        tasks.spawn(listen::listen(place.clone(), Arc::clone(&shared), told));
                        farewell
                    });
                }
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    followed.values().for_each(AbortHandle::abort);
    drop(places);
    // Those that listen say goodbye.
    while tasks.join_next().await.is_some() {}
}
