//! Two nodes on one network, each told what to do by a text: TOML, or keepalived.conf of the same meaning.

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netns_tests::adverts::Adverts;
use netns_tests::gate::Gate;
use netns_tests::lab::Lab;
use netns_tests::lan::{Lan, Link};
use netns_tests::node::Node;
use netns_tests::ownership::Ownership;
use netns_tests::wait::{until, until_true};

/// The virtual address.
pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
/// Another one.
pub(crate) const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 101));
/// The virtual router.
pub(crate) const VRID: u8 = 51;
/// Between two advertisements.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// How long a backup of priority 100 believes in a silent master (RFC 9568 6.1), the better one of 150 less.
pub(crate) const DOWN: Duration = Duration::from_millis(361);
/// What a busy machine may add.
pub(crate) const SLACK: Duration = Duration::from_millis(400);
/// How long anything may take that is not itself measured.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// In whose words the nodes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    Toml,
    Keepalived,
}

impl Words {
    pub(crate) const BOTH: [Self; 2] = [Self::Toml, Self::Keepalived];
}

/// The two nodes.
pub(crate) struct Scene {
    pub(crate) words: Words,
    gates: [Option<Gate>; 2],
    /// Who has the addresses.
    pub(crate) ownership: Ownership,
    /// Who announces itself.
    pub(crate) adverts: Adverts,
    pub(crate) nodes: [Node; 2],
    pub(crate) links: [Link; 2],
    pub(crate) lan: Lan,
    pub(crate) lab: Lab,
}

impl Scene {
    /// Builds it; nothing runs yet. None (said loudly) without privileges.
    pub(crate) fn build(test: &str, words: Words) -> Option<Self> {
        let lab = Lab::for_test(&format!("{test} [{words:?}]"))?;
        let lan = lab.lan("front");
        let nodes = ["a", "b"].map(|name| lab.node(name));
        let links = [0, 1].map(|i: usize| lan.attach(&nodes[i], "eth0", &[&format!("{}/24", address(i))]));
        let ownership = Ownership::watch(&[&nodes[0], &nodes[1]], &[VIP, SECOND]);
        let adverts = Adverts::listen(&lan);
        Some(Self { words, gates: [None, None], ownership, adverts, nodes, links, lan, lab })
    }

    /// A script in the directory of a node.
    #[track_caller]
    pub(crate) fn script(&self, which: usize, name: &str, text: &str) -> PathBuf {
        let path = self.nodes[which].write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its mode");
        path
    }

    /// Writes the file of a node: a router `front` of this priority, `inside` its block more words, `outside` others.
    #[track_caller]
    pub(crate) fn write(&self, which: usize, priority: u8, inside: &str, outside: &str) -> PathBuf {
        let name = self.nodes[which].name();
        match self.words {
            Words::Toml => self.nodes[which].write("vipgate.toml", &toml(name, priority, inside, outside)),
            Words::Keepalived => {
                self.nodes[which].write("keepalived.conf", &keepalived(name, priority, inside, outside))
            }
        }
    }

    /// Writes the file of a node and starts vipgate from it.
    #[track_caller]
    pub(crate) fn start(&mut self, which: usize, priority: u8, inside: &str, outside: &str) {
        let file = self.write(which, priority, inside, outside);
        self.restart(which, file);
    }

    /// Starts vipgate from a file.
    #[track_caller]
    pub(crate) fn restart(&mut self, which: usize, file: PathBuf) {
        let option = match self.words {
            Words::Toml => "--config",
            Words::Keepalived => "--keepalived",
        };
        self.gates[which] = Some(Gate::from_file(&self.nodes[which], option, &file));
    }

    /// The gate, which must have been started.
    #[track_caller]
    pub(crate) fn gate(&self, which: usize) -> &Gate {
        self.gates[which].as_ref().expect("a started gate")
    }

    /// Ends a gate as a service manager does.
    #[track_caller]
    pub(crate) fn stop(&mut self, which: usize) -> Ended {
        let begun = Instant::now();
        let gate = self.gates[which].take().expect("a started gate");
        gate.terminate();
        gate.wait_end();
        Ended { took: begun.elapsed(), log: gate.log() }
    }

    /// Waits until `which` has the address alone, and says since when.
    #[track_caller]
    pub(crate) fn wait_owner(&self, which: usize) -> Instant {
        self.ownership.wait_for(&self.nodes[which], VIP, PATIENCE)
    }

    /// Waits until `which`, which was no master, has the address after `since`; says after how long it announced itself, by
    /// the kernel's clock: a busy machine reads late.
    #[track_caller]
    pub(crate) fn moved_to(&self, which: usize, since: Instant) -> Duration {
        let node = &self.nodes[which];
        let what = format!("{} to get {VIP}; {}", node.name(), self.gate(which).log());
        let announced = || {
            self.ownership.gained(node, VIP, since)?;
            self.adverts.since(VRID, since).into_iter().find(|advert| advert.source == address(which))
        };
        until(what, PATIENCE, announced).at.saturating_duration_since(since)
    }

    /// The priorities that a node advertised since then, each once, in their order.
    pub(crate) fn priorities(&self, which: usize, since: Instant) -> Vec<u8> {
        let adverts = self.adverts.since(VRID, since);
        let mut priorities: Vec<u8> =
            adverts.iter().filter(|advert| advert.source == address(which)).map(|advert| advert.priority).collect();
        priorities.dedup();
        priorities
    }

    /// What `vipgate vrrp show --json` says of the router on a node; null while nobody answers.
    #[track_caller]
    pub(crate) fn router(&self, which: usize) -> serde_json::Value {
        let shown = self.gate(which).vipgate("vrrp show --json front").stdout;
        let routers: serde_json::Value = serde_json::from_slice(&shown).unwrap_or_default();
        routers[0].clone()
    }

    /// Waits until the second node, just started, hears the first.
    #[track_caller]
    pub(crate) fn wait_standby(&self) {
        let what = format!("a standby; {}", self.gate(1).log());
        until_true(what, PATIENCE, || self.router(1)["heard_seconds"].is_number());
    }
}

/// How a gate ended.
pub(crate) struct Ended {
    /// From TERM to the end.
    pub(crate) took: Duration,
    /// All it wrote.
    pub(crate) log: String,
}

/// The address of a node.
pub(crate) fn address(which: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, if which == 0 { 1 } else { 2 }))
}

fn toml(node: &str, priority: u8, inside: &str, outside: &str) -> String {
    format!(
        "[global]\nnode = \"{node}\"\nworkers = 1\n\n[[virtual-router]]\nname = \"front\"\ninterface = \"eth0\"\n\
         vrid = {VRID}\npriority = {priority}\ninterval = \"100ms\"\naddresses = [\"{VIP}/24\"]\n{inside}\n{outside}\n"
    )
}

fn keepalived(node: &str, priority: u8, inside: &str, outside: &str) -> String {
    format!(
        "global_defs {{\n    router_id {node}\n    script_user root\n    enable_script_security\n}}\n{outside}\n\
         vrrp_instance front {{\n    version 3\n    state BACKUP\n    interface eth0\n    virtual_router_id {VRID}\n    \
         priority {priority}\n    advert_int 0.1\n    virtual_ipaddress {{\n        {VIP}/24 dev eth0\n    }}\n{inside}\n}}\n"
    )
}

/// Runs `scenario` in the words of both, at once: mostly they wait. Nothing without privileges.
pub(crate) fn in_both_words(test: &str, scenario: impl Fn(Scene) + Copy + Send) {
    let Some(scenes) = Words::BOTH.iter().map(|&words| Scene::build(test, words)).collect::<Option<Vec<_>>>() else {
        return;
    };
    side_by_side(scenes, scenario);
}

/// Runs `scenario` with each of them at once.
pub(crate) fn side_by_side<T: Send>(scenes: Vec<T>, scenario: impl Fn(T) + Copy + Send) {
    std::thread::scope(|scope| {
        let runs: Vec<_> = scenes.into_iter().map(|scene| scope.spawn(move || scenario(scene))).collect();
        for run in runs {
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
