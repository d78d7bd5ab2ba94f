//! The laboratory: two nodes with a cable between them, and the speakers that run on them.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc::{self, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressProtocol};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::mpsc::unbounded_channel;
use vipgate::model::{Family, Interval, Priority, VirtualAddress, VirtualRouter, Vrid};
use vipgate::speaker::{Notice, Plan, Speaker};
use vipgate::stats::{Registry, Role};

/// Two nodes with a cable between them, `eth0` on both: 192.0.2.1 and 192.0.2.2.
pub(crate) struct Lab {
    pub(crate) a: Node,
    pub(crate) b: Node,
}

/// A network namespace, and the thread that lives in it.
pub(crate) struct Node {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    path: String,
}

pub(crate) struct Running {
    pub(crate) speaker: Speaker,
    pub(crate) registry: Arc<Registry>,
    releases: Arc<Mutex<usize>>,
    path: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (a, b) = (Node::new(), Node::new());
        // With the same index on both ends the kernel would take its time to tell of a lost carrier: up to a second after
        // any other link event on the machine.
        a.ip(&format!("link add eth0 index 11 type veth peer name eth0 index 12 netns {}", b.path));
        for (node, address) in [(&a, "192.0.2.1/24"), (&b, "192.0.2.2/24")] {
            node.ip("link set lo up");
            node.ip("link set eth0 up");
            node.ip(&format!("addr add {address} dev eth0"));
        }
        Self { a, b }
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespace");
            let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
            tell.send(path).expect("somebody waits");
            while let Ok(job) = queue.recv() {
                job();
            }
        });
        Self { jobs, path: told.recv().expect("network namespace") }
    }

    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (tell, told) = channel();
        self.jobs.send(Box::new(move || drop(tell.send(job())))).expect("node lives");
        told.recv().expect("job ends well")
    }

    pub(crate) fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        let status = self.run(move || Command::new("ip").args(arguments.split(' ')).status().expect("ip"));
        assert!(status.success());
    }

    /// A cable: one end has this name, the other leads nowhere.
    pub(crate) fn plug_in(&self, name: &str) {
        self.ip(&format!("link add {name} type veth peer name far-{name}"));
        self.ip(&format!("link set far-{name} up"));
        self.ip(&format!("link set {name} up"));
    }

    /// What `ip` prints, a line each, one blank between two words.
    pub(crate) fn lines(&self, arguments: &str) -> Vec<String> {
        let line = arguments.to_owned();
        let output = self.run(move || Command::new("ip").args(line.split(' ')).output().expect("ip"));
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        String::from_utf8_lossy(&output.stdout).lines().map(words).collect()
    }

    /// A setting of net.ipv4.conf.
    pub(crate) fn setting(&self, interface: &str, name: &str) -> String {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
        self.run(move || fs::read_to_string(path).expect("a setting").trim().to_owned())
    }

    /// The address as `ip -j addr` shows it.
    pub(crate) fn address(&self, address: &str) -> Option<serde_json::Value> {
        let output = self.run(|| Command::new("ip").args(["-d", "-j", "addr"]).output().expect("ip"));
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let addresses = links.as_array()?.iter().filter_map(|link| link["addr_info"].as_array()).flatten();
        addresses.clone().find(|known| known["local"] == address).cloned()
    }

    /// Sets a /24 address on eth0 with this IFA_PROTO: what iproute2 of Debian 12 cannot.
    pub(crate) fn set_marked(&self, address: &str, mark: u8) {
        let address = address.parse().unwrap();
        self.run(move || {
            block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                let index = nix::net::if_::if_nametoindex("eth0").unwrap();
                let mut request = handle.address().add(index, address, 24);
                let protocol = AddressProtocol::Other(mark);
                request.message_mut().attributes.push(AddressAttribute::Protocol(protocol));
                request.execute().await.unwrap();
            });
        });
    }

    /// The IFA_PROTO of an address.
    pub(crate) fn mark(&self, address: &str) -> Option<u8> {
        let address: IpAddr = address.parse().unwrap();
        self.run(move || {
            block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                let messages: Vec<_> = handle.address().get().execute().collect().await;
                let mut messages = messages.into_iter().flatten();
                let found = messages.find(|message| message.attributes.contains(&AddressAttribute::Local(address)))?;
                found.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Protocol(mark) => Some(u8::from(*mark)),
                    _ => None,
                })
            })
        })
    }

    pub(crate) fn start(&self, plan: impl Into<Plan>) -> Running {
        self.start_telling(plan, drop)
    }

    /// `tell` hears every notice but those that flows are to be reset.
    pub(crate) fn start_telling(
        &self,
        plan: impl Into<Plan>,
        mut tell: impl FnMut(Notice) + Send + 'static,
    ) -> Running {
        let registry = Arc::<Registry>::default();
        let (notices, mut told) = unbounded_channel();
        let releases = Arc::<Mutex<usize>>::default();
        let count = Arc::clone(&releases);
        thread::spawn(move || {
            while let Some(notice) = told.blocking_recv() {
                if let Notice::Releasing { done, .. } = notice {
                    *count.lock().unwrap() += 1;
                    let _ = done.send(());
                } else {
                    tell(notice);
                }
            }
        });
        let shared = Arc::clone(&registry);
        let plan = plan.into();
        let speaker = self.run(move || Speaker::start(plan, shared, notices, None)).expect("speaker starts");
        Running { speaker, registry, releases, path: self.path.clone() }
    }
}

impl Running {
    /// On a thread of the node's namespace.
    pub(crate) fn wait<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let namespace = fs::File::open(&self.path).expect("namespace");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
                block_on(future)
            });
            waiter.join().expect("future ends well")
        })
    }

    pub(crate) fn stop(&self) {
        self.wait(self.speaker.stop());
    }

    pub(crate) fn role(&self, router: &str) -> Role {
        self.registry.router(router).status().role
    }

    pub(crate) fn releases(&self) -> usize {
        *self.releases.lock().unwrap()
    }

    pub(crate) fn wait_for(&self, router: &str, role: Role) {
        let begun = Instant::now();
        while self.role(router) != role {
            let status = self.registry.router(router).status();
            assert!(begun.elapsed() < Duration::from_secs(6), "{router} is not {role:?}: {status:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within 5 s: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn virtual_address(prefix: &str) -> VirtualAddress {
    VirtualAddress::new(prefix.parse().unwrap(), "eth0".parse().unwrap())
}

pub(crate) fn router(name: &str, address: &str, priority: u8) -> VirtualRouter {
    VirtualRouter {
        priority: Priority::new(priority).unwrap(),
        interval: Interval::from_centiseconds(10).unwrap(),
        addresses: vec![virtual_address(address)],
        ..VirtualRouter::new(name, "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4)
    }
}
