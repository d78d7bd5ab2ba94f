//! A log nobody reads stops nothing.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

use super::support::{BINARY, Client, Daemon, Dir, PATIENCE, echo_server, own_ip, serves, service};

/// A pipe that is full: who writes to it waits.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(write.as_fd(), &[b'.'; 4096]).is_ok() {}
    fcntl(&write, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (read, write)
}

fn lost(daemon: &Daemon) -> u64 {
    daemon.status()["process"]["log_lines_lost"].as_u64().unwrap()
}

#[test]
fn a_full_pipe_stops_nothing_and_what_is_lost_is_counted() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let listen: SocketAddr = (own_ip(), 8000).into();
        let (_unread, full) = full_pipe();
        let dir = Dir::new();
        dir.write("vipgate.toml", &service("web", listen, echo_server()));
        // Words without effect here, of which each reload logs every one.
        let words = dir.write("haproxy.cfg", &format!("global\n{}", "    daemon\n".repeat(1000)));
        let mut command = Command::new(BINARY);
        let more = ["--haproxy", words.to_str().unwrap()];
        let mut daemon = Daemon::spawn_in(dir, command.stderr(Stdio::from(full)), &more);
        daemon.wait_running();
        let mut client = Client::connect(listen).unwrap();
        // Each logs a thousand findings; the queue has room for sixteen.
        for _ in 0..20 {
            assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
        }
        assert!(client.echoes() && serves(listen));
        assert!(lost(&daemon) > 1000, "{}", lost(&daemon));
        assert!(daemon.vipgate(&["status"]).out.contains("log lines lost"));
        drop(client);
        let begun = Instant::now();
        daemon.signal(signal);
        assert!(daemon.wait(PATIENCE).success());
        assert!(begun.elapsed() < Duration::from_secs(2), "{signal}: {:?}", begun.elapsed());
    }
}

#[test]
fn closed_and_full_standard_errors_stop_nothing() {
    for closed in [true, false] {
        let listen = (own_ip(), 8000).into();
        let dir = Dir::new();
        dir.write("vipgate.toml", &service("web", listen, echo_server()));
        let mut command = Command::new(BINARY);
        if closed {
            let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
            drop(read);
            command.stderr(Stdio::from(write));
        } else {
            command.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
        }
        let mut daemon = Daemon::spawn_in(dir, &mut command, &[]);
        daemon.wait_running();
        assert!(serves(listen));
        assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
        assert!(lost(&daemon) > 0, "lines that could not be written are not counted");
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.wait(PATIENCE).success());
    }
}
