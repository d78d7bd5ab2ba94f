//! The same haproxy.cfg, the same clients: what HAProxy does with them, vipgate does. Skipped, loudly, where HAProxy is not
//! installed.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "helpers of tests: they say what was seen or skipped, and fail"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vipgate::config::Loading;
use vipgate::config::import::System;
use vipgate::config::import::haproxy;
use vipgate::model::AdminState;

use crate::support::*;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// A front of either kind.
pub(crate) struct Front {
    name: &'static str,
    pub(crate) address: SocketAddr,
    kind: Kind,
}

enum Kind {
    Haproxy { process: Child, socket: PathBuf },
    Vipgate(Box<Running>),
}

impl Front {
    /// Who serves a client; empty when it is turned away with an end of stream.
    pub(crate) fn visit(&self, client: IpAddr) -> String {
        let mut name = String::new();
        match connect_from(client, self.address).take(2).read_to_string(&mut name) {
            Ok(_) => name,
            Err(error) => error.kind().to_string(),
        }
    }

    pub(crate) fn set_admin(&self, server: &str, admin: AdminState) {
        match &self.kind {
            Kind::Haproxy { socket, .. } => {
                let said = say(socket, &format!("set server l/{server} state {}", admin.label()));
                assert_eq!(said.trim(), "", "{said}");
            }
            Kind::Vipgate(running) => running.proxy.set_server_admin("l", server, admin).unwrap(),
        }
    }

    fn set_weight_zero(&self, server: &str) {
        match &self.kind {
            Kind::Haproxy { socket, .. } => _ = say(socket, &format!("set server l/{server} weight 0")),
            Kind::Vipgate(running) => {
                running.proxy.set_server_weight("l", server, vipgate::balance::WeightChange::Absolute(0)).unwrap();
            }
        }
    }

    /// Its checks find a server down, or up again. HAProxy makes them itself.
    fn set_up(&self, server: &str, up: bool) {
        match &self.kind {
            Kind::Haproxy { socket, .. } => {
                let wanted = if up { "UP" } else { "DOWN" };
                eventually("HAProxy's check", || {
                    let stat = say(socket, "show stat");
                    stat.lines().any(|line| line.starts_with(&format!("l,{server},")) && line.contains(wanted))
                });
            }
            Kind::Vipgate(running) => running.proxy.set_server_up("l", server, up),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Kind::Haproxy { process, socket } = &mut self.kind {
            let _gone = process.kill();
            let _reaped = process.wait();
            let _removed = socket.parent().map(std::fs::remove_dir_all);
        }
    }
}

fn say(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

/// Runs `observe` with both fronts, each with servers of its own: `listen l` with `lines`, in which `{1}` to `{4}` are servers'
/// addresses, `{host1}` to `{host4}` these without their port, and `{net}` the first three parts of them all. Both must come to the same.
pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(
    lines: &str,
    observe: impl Fn(&Front, &Servers) -> T,
) -> Option<T> {
    if !Path::new(HAPROXY).exists() {
        println!("SKIPPED: there is no {HAPROXY}");
        return None;
    }
    let [theirs, ours] = [Front::haproxy as fn(&Net, &str) -> Front, Front::vipgate].map(|start| {
        let net = Net::new();
        let servers = Servers::start(&net);
        let mut text = lines.to_owned();
        for host in 1..=4 {
            text = text.replace(&format!("{{{host}}}"), &net.at(host + 1, 9000).to_string());
            text = text.replace(&format!("{{host{host}}}"), &net.ip(host + 1).to_string());
        }
        text = text.replace("{net}", net.ip(0).to_string().trim_end_matches(".0"));
        let bind = net.at(1, 8000);
        let text = format!(
            "defaults\n mode tcp\n timeout connect 200ms\n timeout client 5s\n timeout server 5s\nlisten l\n bind {bind}\n{text}\n"
        );
        let front = start(&net, &text);
        let seen = observe(&front, &servers);
        println!("{}: {seen:?}", front.name);
        seen
    });
    assert_eq!(theirs, ours, "HAProxy, then vipgate");
    Some(ours)
}

impl Front {
    fn haproxy(net: &Net, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vipgate-oracle-{}-{}", std::process::id(), net.ip(1)));
        std::fs::create_dir_all(&directory).unwrap();
        let (config, socket) = (directory.join("haproxy.cfg"), directory.join("sock"));
        let global = format!("global\n stats socket {} level admin\n", socket.display());
        std::fs::write(&config, global + text).unwrap();
        let mut command = Command::new(HAPROXY);
        command.arg("-db").arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        eventually("HAProxy's socket is there", || UnixStream::connect(&socket).is_ok());
        // It answers once everything listens.
        let info = say(&socket, "show info");
        assert!(info.starts_with("Name: HAProxy"), "{info}");
        // `scur`: what is open counts in conditions.
        let idle = |line: &str| line.starts_with("l,FRONTEND,") && line.split(',').nth(4) == Some("0");
        eventually("nobody is connected to HAProxy", || say(&socket, "show stat").lines().any(idle));
        Self { name: "haproxy", address: net.at(1, 8000), kind: Kind::Haproxy { process, socket } }
    }

    fn vipgate(net: &Net, text: &str) -> Self {
        let mut loading = Loading::new();
        let id = loading.sources().add("haproxy.cfg", text);
        let (raw, diagnostics) = haproxy::import(loading.sources(), id, &System);
        loading.imported(raw, diagnostics);
        let resolve = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let config = match loading.finish(&resolve) {
            Ok(loaded) => loaded.config,
            Err(failed) => panic!("{failed}"),
        };
        let running = Running::start_all(&config.services, &config.pools);
        Self { name: "vipgate", address: net.at(1, 8000), kind: Kind::Vipgate(Box::new(running)) }
    }
}

/// Servers that say their names, `s1` to `s4`, and can be stopped.
pub(crate) struct Servers {
    net: Ipv4Addr,
    running: BTreeMap<u8, Arc<AtomicBool>>,
}

impl Servers {
    fn start(net: &Net) -> Self {
        let IpAddr::V4(first) = net.ip(0) else { panic!("the loopback is IPv4") };
        let running = (1..=4).map(|number| (number, serve_until(net.at(number + 1, 9000), number))).collect();
        Self { net: first, running }
    }

    pub(crate) fn stop(&self, number: u8) {
        self.running[&number].store(true, Ordering::SeqCst);
        let address = SocketAddr::from((self.client(number + 1), 9000));
        eventually("the server is gone", || std::net::TcpStream::connect(address).is_err());
    }

    /// A client's address.
    pub(crate) fn client(&self, host: u8) -> IpAddr {
        let [a, b, c, _] = self.net.octets();
        Ipv4Addr::new(a, b, c, host).into()
    }
}

/// Each of them looks again and again for whether it is to stop.
impl Drop for Servers {
    fn drop(&mut self) {
        self.running.values().for_each(|stop| stop.store(true, Ordering::SeqCst));
    }
}

fn serve_until(address: SocketAddr, number: u8) -> Arc<AtomicBool> {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let _gone = stream.write_all(format!("s{number}").as_bytes());
                    std::thread::spawn(move || echo(stream));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    });
    stop
}

const STICK: &str = " stick-table type ip size 1k\n stick on src\n";

fn visits(front: &Front, servers: &Servers, clients: std::ops::Range<u8>) -> Vec<String> {
    clients.map(|client| front.visit(servers.client(client))).collect()
}

#[test]
fn drained_and_weightless_servers_keep_their_clients() {
    for weight in [false, true] {
        let lines = format!(" balance roundrobin\n{STICK} server s1 {{1}}\n server s2 {{2}}\n");
        compare(&lines, |front, servers| {
            let before = visits(front, servers, 100..104);
            if weight {
                front.set_weight_zero("s1")
            } else {
                front.set_admin("s1", AdminState::Drain)
            }
            (before, visits(front, servers, 100..104), visits(front, servers, 110..114))
        });
    }
}

#[test]
fn the_clients_of_a_server_in_maintenance_move_and_stay_where_they_went() {
    let lines = format!(" balance roundrobin\n{STICK} server s1 {{1}}\n server s2 {{2}}\n server s3 {{3}}\n");
    compare(&lines, |front, servers| {
        let before = visits(front, servers, 100..106);
        front.set_admin("s2", AdminState::Maintenance);
        let during = visits(front, servers, 100..106);
        front.set_admin("s2", AdminState::Ready);
        let after = visits(front, servers, 100..106);
        let moved = (0..6).filter(|&n| before[n] != during[n]).count();
        (moved, during == after, after.contains(&"s2".to_owned()))
    });
}

#[test]
fn the_first_backup_serves_alone_or_all_of_them() {
    for (option, both) in [("", false), (" option allbackups\n", true)] {
        let lines = format!(
            " balance roundrobin\n{option} server s1 {{1}}\n server s2 {{2}} backup\n server s3 {{3}} backup\n"
        );
        let seen = compare(&lines, |front, servers| {
            let mut seen = vec![visits(front, servers, 100..102)];
            for (server, admin) in
                [("s1", AdminState::Maintenance), ("s2", AdminState::Maintenance), ("s1", AdminState::Ready)]
            {
                front.set_admin(server, admin);
                let mut served = visits(front, servers, 100..104);
                served.sort();
                served.dedup();
                seen.push(served);
            }
            seen
        });
        if let Some(seen) = seen {
            assert_eq!(seen[1].len(), if both { 2 } else { 1 });
        }
    }
}

#[test]
fn a_map_moves_most_clients_and_a_consistent_hash_those_of_the_dead() {
    for (hash_type, most_move) in [("map-based", true), ("consistent", false)] {
        let lines = format!(
            " balance source\n hash-type {hash_type}\n server s1 {{1}}\n server s2 {{2}}\n server s3 {{3}}\n server s4 {{4}}\n"
        );
        // The functions differ, so do the servers of a client: what moves is alike.
        compare(&lines, |front, servers| {
            let before = visits(front, servers, 100..220);
            front.set_admin("s2", AdminState::Maintenance);
            let during = visits(front, servers, 100..220);
            front.set_admin("s2", AdminState::Ready);
            let after = visits(front, servers, 100..220);
            let others = before.iter().zip(&during).filter(|(before, _)| *before != "s2");
            let (count, moved) = (others.clone().count(), others.filter(|(before, during)| before != during).count());
            assert_eq!(moved * 2 > count, most_move, "{}: {moved} of {count}", front.name);
            (during.contains(&"s2".to_owned()), before == after, moved == 0)
        });
    }
}

#[test]
fn a_dead_sticky_server_is_tried_again_and_left_only_with_redispatch() {
    for option in ["", " option redispatch\n", " option redispatch 1\n"] {
        let lines = format!(" balance roundrobin\n{STICK}{option} retries 2\n server s1 {{1}}\n server s2 {{2}}\n");
        compare(&lines, |front, servers| {
            let before = visits(front, servers, 100..102);
            servers.stop(1);
            let start = Instant::now();
            let first = front.visit(servers.client(100));
            // Attempts are 200 ms apart, the connect timeout.
            let attempts = start.elapsed().as_millis() / 190;
            (before, first, attempts, front.visit(servers.client(101)))
        });
    }
}

#[test]
fn persistence_sends_clients_to_their_dead_server() {
    for option in ["", " option redispatch\n"] {
        let checks = "check inter 50 rise 1 fall 1";
        let lines = format!(
            " balance roundrobin\n{STICK} option persist\n{option} retries 1\n server s1 {{1}} {checks}\n server s2 {{2}} {checks}\n"
        );
        compare(&lines, |front, servers| {
            let before = visits(front, servers, 100..102);
            servers.stop(1);
            front.set_up("s1", false);
            (before, visits(front, servers, 100..104))
        });
    }
}

#[test]
fn without_a_server_clients_are_closed() {
    compare(" balance roundrobin\n server s1 {1}\n", |front, servers| {
        front.set_admin("s1", AdminState::Maintenance);
        let mut client = connect_from(servers.client(100), front.address);
        client.read(&mut [0; 1]).map_err(|error| error.kind())
    });
}

#[test]
fn clients_wait_for_a_full_server_until_there_is_room_or_time_is_over() {
    for balance in ["roundrobin", "source"] {
        let lines = format!(" balance {balance}\n timeout queue 600ms\n server s1 {{1}} maxconn 1\n");
        compare(&lines, |front, servers| {
            let from = |host: u8| connect_from(servers.client(host), front.address);
            let mut first = from(100);
            let served = greeting(&mut first);
            let start = Instant::now();
            let late = from(101).read(&mut [0; 1]).map_err(|error| error.kind());
            let waited = (500..900).contains(&start.elapsed().as_millis());
            let mut next = from(102);
            drop(first);
            (served, late, waited, greeting(&mut next))
        });
    }
}

#[test]
fn first_fills_its_servers_one_after_the_other() {
    let lines = " balance first\n server s1 {1} maxconn 2 id 30\n server s2 {2} maxconn 2 id 10\n server s3 {3} maxconn 2 id 20\n";
    let seen = compare(lines, |front, servers| {
        let mut open = Vec::new();
        (100..106)
            .map(|host| {
                let mut client = connect_from(servers.client(host), front.address);
                let name = greeting(&mut client);
                open.push(client);
                name
            })
            .collect::<Vec<_>>()
    });
    if let Some(seen) = seen {
        assert_eq!(seen, ["s2", "s2", "s3", "s3", "s1", "s1"]);
    }
}

#[test]
fn nobody_is_remembered_for_a_server_that_does_not_stick() {
    let lines = format!(" balance roundrobin\n{STICK} server s1 {{1}} non-stick\n server s2 {{2}}\n");
    compare(&lines, |front, servers| {
        let clients = [100, 101, 100, 101, 100, 101];
        clients.map(|client| front.visit(servers.client(client)))
    });
}
