//! Files of `show servers state`: what HAProxy left, vipgate begins with, and the other way round.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use netns_tests::wait::until_true;
use nix::sys::signal::Signal;

use super::imported::{Haproxy, ask, start, start_again};
use super::support::{Daemon, PATIENCE, own_ip};

fn config(ip: IpAddr, file: &Path) -> String {
    format!(
        "global\n stats socket DIR/admin.sock level admin\n server-state-base {}\n server-state-file {}\n\
         defaults\n mode tcp\n timeout connect 1s\n timeout client 9s\n timeout server 9s\n\
         load-server-state-from-file global\n default-server inter 500ms\n\
         frontend f\n bind {ip}:7000\n default_backend b\n\
         backend b\n server weighed {ip}:7401 weight 10\n server maint {ip}:7402 check weight 10\n server drain {ip}:7403\n\
         \x20server enabled {ip}:7404 disabled\n server down {ip}:7405 check\n server up {ip}:7000 check\n\
         \x20server moved {ip}:7407\n server ranged {ip}:+10 check port 7000\n server untouched {ip}:7409 weight 3\n\
         \x20server configured {ip}:7410 disabled\n server rested {ip}:7000 check\n\
         backend own\n load-server-state-from-file local\n server-state-file-name {}\n server s {ip}:7401 weight 4\n\
         backend none\n load-server-state-from-file none\n server s {ip}:7401\n",
        file.parent().unwrap().display(),
        file.file_name().unwrap().to_str().unwrap(),
        file.display(),
    )
}

const ORDERS: [&str; 9] = [
    "set server b/weighed weight 5",
    "set server b/maint state maint",
    "set server b/drain state drain",
    "set server b/enabled state ready",
    "set server own/s weight 0",
    "set server none/s state maint",
    "set server b/maint weight 20%",
    "disable health b/rested",
    "set server b/down health down",
];

/// Names, states, weights and the port of each server, and whether its check rests.
fn left(text: &str) -> Vec<String> {
    let servers = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()) && line.len() > 1);
    let columns = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let chosen = [1, 3, 5, 6, 7, 8, 18].map(|column| fields[column]).join(" ");
        let state: u8 = fields[13].parse().unwrap();
        format!("{chosen} {}", state & 4)
    };
    servers.map(columns).collect()
}

fn states(socket: &Path) -> String {
    ask(socket, "show servers state")
}

/// What somebody makes of the file.
fn begun(daemon: &Daemon) -> Vec<String> {
    left(&states(&daemon.dir.path().join("admin.sock")))
}

fn fresh(text: &str) -> Daemon {
    start(text, |_, _| {})
}

#[test]
fn servers_begin_as_haproxy_left_them_and_the_other_way_round() {
    let scratch = super::support::Dir::new();
    let file = scratch.path().join("states");
    let first = fresh(&config(own_ip(), &file));
    first.wait_log(&format!("Can't open server state file '{}'", file.display()));
    let socket = first.dir.path().join("admin.sock");
    for order in ORDERS {
        assert_eq!(ask(&socket, order).trim(), "", "{order}");
    }
    ask(&socket, "set server b/moved addr 127.0.0.1 port 7499");
    until_true("the check", PATIENCE, || states(&socket).contains(" 6 3 "));
    let text = states(&socket);
    fs::write(&file, &text).unwrap();
    drop(first);
    let ours = fresh(&config(own_ip(), &file));
    // Nobody reads a file for that one.
    let expected: Vec<String> = left(&text).into_iter().map(|line| line.replace("none s 0 1", "none s 2 0")).collect();
    assert_eq!(begun(&ours), expected, "its own file, begun and left");
    assert!(text.contains(" moved 127.0.0.1 "), "{text}");
    ours.wait_log("servers begin as their files of states left them");
    // The file does not say whether it was configured there, so the configuration holds, as in HAProxy.
    let again = states(&ours.dir.path().join("admin.sock"));
    assert!(!again.contains(" moved 127.0.0.1 "), "{again}");
    drop(ours);
    if let Some(haproxy) = Haproxy::start(&config(own_ip(), &file)) {
        let theirs = states(&haproxy.socket("admin"));
        assert_eq!(left(&theirs), expected, "HAProxy on vipgate's file");
        fs::write(&file, &theirs).unwrap();
        drop(haproxy);
        assert_eq!(begun(&fresh(&config(own_ip(), &file))), left(&theirs), "vipgate on HAProxy's file");
    }
}

#[test]
fn bad_lines_and_files_are_told_and_stop_nothing() {
    let scratch = super::support::Dir::new();
    let file = scratch.path().join("states");
    let line = |server: &str, weight: &str, port: &str| {
        format!("2 b 1 {server} 127.0.0.1 2 0 {weight} 10 9 1 0 2 0 0 0 0 - {port} - 0 0 - - 0\n")
    };
    let weighed = line("weighed", "5", "7401");
    for (text, said, weight) in [
        (format!("1\n# x\n{weighed}"), "servers begin as their files", " 5 10 "),
        (format!("2\n{weighed}"), "Can't get version of the server state file", " 10 10 "),
        (format!("1\n{weighed}2 b 1 short\n"), "corrupted server state file", " 10 10 "),
        (
            format!("1\n{weighed}{}", line("maint", "5", "99999")),
            "server-state application failed for server 'b/maint', invalid srv_port value '99999'",
            " 5 10 ",
        ),
        (format!("1\n{weighed}{}", line("other", "300", "1")), "servers begin as their files", " 5 10 "),
        (format!("1\n{}", line("weighed", "5", "7401").replace(" 5 10 ", " 5 20 ")), "servers begin", " 10 10 "),
        (format!("1\n{weighed}{}", line("weighed", "7", "7401")), "servers begin as their files", " 5 10 "),
    ] {
        fs::write(&file, &text).unwrap();
        let daemon = fresh(&config(own_ip(), &file));
        daemon.wait_log(said);
        let shows = |text: &str| text.lines().any(|line| line.contains(" weighed ") && line.contains(weight));
        let ours = states(&daemon.dir.path().join("admin.sock"));
        assert!(shows(&ours), "{said}: {ours}");
        if let Some(haproxy) = Haproxy::start(&config(own_ip(), &file)) {
            let theirs = states(&haproxy.socket("admin"));
            assert!(shows(&theirs), "HAProxy, {said}: {theirs}");
        }
    }
}

#[test]
fn what_is_newer_wins_over_what_the_state_directory_has() {
    let scratch = super::support::Dir::new();
    let file = scratch.path().join("states");
    fs::write(&file, "1\n").unwrap();
    let mut daemon = fresh(&config(own_ip(), &file));
    let socket = daemon.dir.path().join("admin.sock");
    ask(&socket, "set server b/weighed weight 5; set server b/drain state drain");
    let text = states(&socket);
    fs::write(&file, &text).unwrap();
    ask(&socket, "set server b/weighed weight 6");
    let restart = |daemon: &mut Daemon| {
        daemon.signal(Signal::SIGTERM);
        daemon.wait(PATIENCE);
        start_again(daemon);
    };
    let weight = || ask(&socket, "get weight b/weighed");
    restart(&mut daemon);
    assert_eq!(weight(), "6 (initial 10)\n\n");
    daemon.wait_log("is passed over: what the state directory has is newer");
    // Somebody else served meanwhile.
    daemon.signal(Signal::SIGTERM);
    daemon.wait(PATIENCE);
    fs::write(&file, text.replace(" 5 10 ", " 7 10 ").replace(" 2 8 1 1 ", " 2 0 1 1 ")).unwrap();
    File::options().append(true).open(&file).unwrap().set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
    start_again(&mut daemon);
    assert_eq!(weight(), "7 (initial 10)\n\n");
    let drain = states(&socket).lines().find(|line| line.contains(" drain ")).unwrap().to_owned();
    assert!(drain.contains(" 2 0 1 1 "), "{drain}");
}
