//! Signals at every moment.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::{Daemon, PATIENCE, echo_server, own_ip, serves, service};

const ROUNDS: u8 = 15;

#[test]
fn a_term_in_the_first_millisecond_ends_it() {
    let config = service("web", (own_ip(), 8000).into(), echo_server());
    for round in 0..ROUNDS {
        let mut daemon = Daemon::spawn(&config);
        first_moment(&daemon, round);
        daemon.signal(Signal::SIGTERM);
        let status = daemon.wait(PATIENCE);
        assert!(status.success(), "round {round}: {status}\n{}", daemon.log());
    }
}

#[test]
fn a_hup_in_the_first_millisecond_is_a_reload() {
    let config = service("web", (own_ip(), 8000).into(), echo_server());
    for round in 0..ROUNDS {
        let mut daemon = Daemon::spawn(&config);
        first_moment(&daemon, round);
        daemon.signal(Signal::SIGHUP);
        daemon.wait_log("reloaded: nothing changed");
        assert!(daemon.runs(), "round {round}: {}", daemon.log());
    }
}

/// Waits until the program has begun to run: before that a signal meets the test's own code in the forked child, and
/// no program can do anything about it. What is asked for is that nothing is lost from then on.
fn first_moment(daemon: &Daemon, round: u8) {
    let blocked = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).map(str::trim);
        mask.is_some_and(|mask| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 << 14 != 0))
    };
    let deadline = Instant::now() + PATIENCE;
    while !blocked() && Instant::now() < deadline {}
    std::thread::sleep(Duration::from_micros(u64::from(round) * 100));
}

#[test]
fn int_after_term_waits_for_nobody() {
    let listen = (own_ip(), 8000).into();
    let config = format!("[global]\nstop-grace = \"1500ms\"\n{}", service("web", listen, echo_server()));
    let mut daemon = Daemon::start(&config);
    let mut client = super::support::Client::connect(listen).unwrap();
    assert!(client.echoes());
    daemon.signal(Signal::SIGTERM);
    daemon.wait_log("TERM: handing over");
    std::thread::sleep(Duration::from_millis(50));
    assert!(daemon.runs() && client.echoes(), "an open flow has its grace");
    let begun = Instant::now();
    daemon.signal(Signal::SIGINT);
    assert!(daemon.wait(PATIENCE).success());
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
}

#[test]
fn signals_of_others_change_nothing() {
    let listen = (own_ip(), 8000).into();
    let mut daemon = Daemon::start(&service("web", listen, echo_server()));
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
        for _ in 0..3 {
            daemon.signal(signal);
        }
    }
    assert!(serves(listen));
    assert!(daemon.runs());
    assert_eq!(daemon.vipgate(&["status"]).code, Some(0));
}

#[test]
fn int_ends_at_once_and_term_soon_although_clients_hold_on() {
    for (signal, limit) in [(Signal::SIGINT, 500), (Signal::SIGTERM, 2500)] {
        let listen = (own_ip(), 8000).into();
        let mut daemon = Daemon::start(&service("web", listen, echo_server()));
        let mut client = super::support::Client::connect(listen).unwrap();
        assert!(client.echoes());
        let begun = Instant::now();
        daemon.signal(signal);
        assert!(daemon.wait(PATIENCE).success(), "{signal}");
        assert!(begun.elapsed() < Duration::from_millis(limit), "{signal} took {:?}", begun.elapsed());
        assert!(!daemon.dir.path().join("control.sock").exists() || signal == Signal::SIGINT);
        assert_eq!(daemon.vipgate(&["status"]).code, Some(2));
    }
}

#[test]
fn a_start_that_waits_for_its_file_can_be_ended() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = super::support::Dir::new();
        let file = dir.path().join("vipgate.toml");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut daemon = Daemon::spawn_in(dir, &mut std::process::Command::new(super::support::BINARY), &[]);
        first_moment(&daemon, ROUNDS);
        daemon.signal(signal);
        assert!(daemon.wait(PATIENCE).success(), "{signal}");
    }
}

/// A reload that waits for a file to be read (a pipe nobody writes to, a name that does not resolve) holds up nothing.
#[test]
fn a_reload_that_hangs_keeps_nobody_from_ending() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let listen = (own_ip(), 8000).into();
        let mut daemon = Daemon::start(&service("web", listen, echo_server()));
        let file = daemon.dir.path().join("vipgate.toml");
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.wait_log("reloading");
        assert!(serves(listen));
        daemon.signal(signal);
        assert!(daemon.wait(PATIENCE).success(), "{signal}");
    }
}
