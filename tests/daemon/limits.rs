//! Few descriptors.

use std::net::SocketAddr;
use std::process::Command;

use netns_tests::wait::until_true;

use super::support::{BINARY, Client, Daemon, Dir, PATIENCE, echo_server, own_ip, serves, service};

#[test]
fn without_descriptors_it_keeps_what_it_has_and_recovers() {
    let listen: SocketAddr = (own_ip(), 8000).into();
    let dir = Dir::new();
    dir.write("vipgate.toml", &service("web", listen, echo_server()));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=300:300", BINARY]).stderr(log);
    let mut daemon = Daemon::spawn_in(dir, &mut command, &[]);
    daemon.wait_running();
    let mut first = Client::connect(listen).unwrap();
    assert!(first.echoes());
    // More than fit beside the descriptors that are kept for other things; the kernel's queue takes the rest.
    let more: Vec<Client> = (0..60).map_while(|_| Client::connect(listen).ok()).collect();
    assert_eq!(more.len(), 60);
    until_true("a word about it", PATIENCE, || daemon.log().contains("descriptor"));
    let status = daemon.vipgate(&["status"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.out.contains("the limit of open connections is reached"), "{status:?}");
    assert!(first.echoes(), "what was open is lost");
    assert!(daemon.runs());
    drop(more);
    until_true("new connections to be served again", PATIENCE, || serves(listen));
    assert!(first.echoes());
    until_true("a node that is well", PATIENCE, || daemon.vipgate(&["status"]).code == Some(0));
}

#[test]
fn a_limit_that_falls_below_what_is_open_harms_nothing_that_is() {
    let (listen, new): (SocketAddr, SocketAddr) = ((own_ip(), 8000).into(), (own_ip(), 8001).into());
    let server = echo_server();
    let mut daemon = Daemon::start(&service("web", listen, server));
    let mut first = Client::connect(listen).unwrap();
    assert!(first.echoes());
    let limit = |limit: &str| {
        let pid = daemon.pid().to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, limit]).status().unwrap().success());
    };
    limit("--nofile=10:20000");
    let waiting = Client::connect(listen).unwrap();
    daemon.wait_log("no socket can be had");
    assert!(first.echoes());
    limit("--nofile=20000:20000");
    drop(waiting);
    until_true("new connections to be served again", PATIENCE, || serves(listen));
    daemon.configure(&service("web", new, server));
    assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
    assert!(first.echoes() && serves(new) && daemon.runs());
}

#[test]
fn too_few_descriptors_to_listen_are_an_error_in_words() {
    let (ip, server) = (own_ip(), echo_server());
    let dir = Dir::new();
    // Too short for the kernel to steer them.
    let short: Vec<String> = (0..7).map(|n| format!("\"{ip}:{}-{}\"", 8000 + 15 * n, 8014 + 15 * n)).collect();
    let one = format!("\"{}\"", SocketAddr::new(ip, 8000));
    let range = service("range", (ip, 8000).into(), server).replace(&one, &format!("[{}]", short.join(", ")));
    dir.write("vipgate.toml", &range);
    let mut command = Command::new("prlimit");
    command.args(["--nofile=64:64", BINARY]).args(super::support::run_arguments(dir.path()));
    let said = super::support::said(&mut command);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no descriptors left; raise LimitNOFILE"), "{said:?}");
    assert!(said.err.lines().count() < 10, "{}", said.err);
}
