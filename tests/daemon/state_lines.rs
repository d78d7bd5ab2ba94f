//! What the log says when an operator changes servers: HAProxy and vipgate on the same file.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::imported::{Haproxy, ask, start};
use super::support::own_ip;

/// Each with what is asked then; the state of the servers that HAProxy and vipgate show must be the same after each.
const COMMANDS: [&str; 22] = [
    "set server b/s1 state maint",
    "set server b/s1 state maint",
    "set server b/s2 state maint",
    "set server b/s3 state maint",
    "set server b/s3 state ready",
    "set server b/s1 state ready",
    "set server b/s2 state ready",
    "set server b/s1 state drain",
    "set server b/s2 state drain",
    "set server b/s2 state ready",
    "set server b/t1 state drain",
    "set server b/s1 state ready",
    "set server b/t1 state ready",
    "set server b/t1 state maint",
    "set server b/t1 state ready",
    "disable server b/s1",
    "enable server b/s1",
    "set server b/s2 state maint",
    "set server b/s2 state drain",
    "set server b/s2 state ready",
    "disable frontend fe",
    "enable frontend fe",
];

/// The lines that come within a while, each with its priority.
fn lines(udp: &UdpSocket) -> Vec<String> {
    let mut buffer = [0; 2048];
    let mut lines = Vec::new();
    while let Ok(count) = udp.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let Some((head, line)) = text.split_once("]: ") else { continue };
        if ["Server ", "Backup Server ", "backend ", "Paused ", "Resumed "].iter().any(|begin| line.starts_with(begin))
        {
            lines.push(format!("{} {}", &head[..5], line.trim()));
        }
    }
    lines
}

/// Name, state and administrative state of each server.
fn states(socket: &Path) -> Vec<String> {
    let answer = ask(socket, "show servers state b");
    let rows = answer.lines().skip(2).map(|line| line.split(' ').collect::<Vec<_>>());
    let shown = ask(socket, "show stat b 4 -1");
    let status = |name: &str| {
        let row = shown.lines().find(|line| line.starts_with(&format!("b,{name},")))?;
        // Of servers that are not checked HAProxy says `no check`, of some that are with how many checks.
        Some(row.split(',').nth(17)?.split(" 1/").next()?.to_owned())
    };
    rows.filter(|row| row.len() > 6)
        .map(|row| format!("{} {} {} {}", row[3], row[5], row[6], status(row[3]).unwrap_or_default()))
        .collect()
}

#[test]
fn changes_of_servers_are_told_in_haproxys_words() {
    let servers = own_ip();
    let listener = TcpListener::bind((servers, 7101)).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
    let udp = UdpSocket::bind((own_ip(), 0)).unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let text = |ip| {
        format!(
            "global\n log {} local0\n stats socket DIR/admin.sock mode 600 level admin\n\
             defaults\n mode tcp\n log global\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend fe\n bind {ip}:7001\n default_backend b\n\
             backend b\n server s1 {servers}:7101 check inter 60s\n server s2 {servers}:7101\n server s3 {servers}:7101 backup\n\
             \x20server t1 {servers}:7101 track b/s1\n",
            udp.local_addr().unwrap()
        )
    };
    let seen = |socket: &Path| -> Vec<(Vec<String>, Vec<String>)> {
        let _begun = lines(&udp);
        COMMANDS
            .iter()
            .map(|command| {
                let _answer = ask(socket, command);
                (lines(&udp), states(socket))
            })
            .collect()
    };
    let ours = {
        let daemon = start(&text(own_ip()), |_, _| {});
        seen(&daemon.dir.path().join("admin.sock"))
    };
    let all: Vec<&String> = ours.iter().flat_map(|(lines, _)| lines).collect();
    assert!(all.iter().any(|line| *line == "<128> backend b has no server available!"), "{all:?}");
    let Some(haproxy) = Haproxy::start(&text(own_ip())) else { return };
    let theirs = seen(&haproxy.socket("admin"));
    let mut different = Vec::new();
    for ((command, ours), theirs) in COMMANDS.iter().zip(&ours).zip(&theirs) {
        if ours != theirs {
            different.push(format!("{command}\n  haproxy: {theirs:#?}\n  vipgate: {ours:#?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
