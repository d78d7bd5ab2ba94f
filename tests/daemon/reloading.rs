//! HUP: a difference is applied, a bad file changes nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use netns_tests::wait::until_true;
use nix::sys::signal::Signal;

use super::support::{Client, Daemon, PATIENCE, echo_server, listening, own_ip, serves, service};

#[test]
fn a_file_that_cannot_be_used_changes_nothing_until_it_is_repaired() {
    let listen: SocketAddr = (own_ip(), 8000).into();
    let good = service("web", listen, echo_server());
    let daemon = Daemon::start(&good);
    let path = daemon.dir.path().join("vipgate.toml");
    let inodes = listening(listen);
    assert_eq!(daemon.vipgate(&["status"]).code, Some(0));
    let mut client = Client::connect(listen).unwrap();
    // Without root there is another reason before that one.
    let missing = if nix::unistd::geteuid().is_root() { "vgmissing0" } else { "CAP_NET_RAW" };
    let bad = [
        Some("[[service]]\nname = \"web\"\nlisten = 7\n"),
        Some("not toml at all ["),
        Some("\n"),
        None,
        Some(
            "[[virtual-router]]\nname = \"front\"\ninterface = \"vgmissing0\"\nvrid = 1\naddresses = [\"192.0.2.1/24\"]\n",
        ),
    ];
    for (round, text) in bad.into_iter().enumerate() {
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        daemon.signal(Signal::SIGHUP);
        until_true("the refusal", PATIENCE, || {
            daemon.log().matches("reload refused, nothing has changed").count() > round
        });
        let status = daemon.vipgate(&["status"]);
        assert_eq!(status.code, Some(1), "{text:?}: {status:?}");
        assert!(status.out.contains("the last reload failed"), "{text:?}: {status:?}");
        let named = if round < 2 { format!("{}:", path.display()) } else { path.display().to_string() };
        let named = if round == 4 { missing.to_owned() } else { named };
        assert!(status.out.contains(&named), "{text:?}: {named} is not in {}", status.out);
        assert!(daemon.log().contains(&named), "{text:?}: {}", daemon.log());
        assert!(client.echoes() && serves(listen), "{text:?}");
        assert_eq!(listening(listen), inodes, "{text:?}");
    }
    fs::write(&path, &good).unwrap();
    let reload = daemon.vipgate(&["reload"]);
    assert_eq!((reload.code, reload.out.trim()), (Some(0), "reloaded: nothing changed"), "{reload:?}");
    assert_eq!(daemon.vipgate(&["status"]).code, Some(0));
    assert!(client.echoes());
}

#[test]
fn services_come_and_go_and_the_others_keep_sockets_and_flows() {
    let (ip, server) = (own_ip(), echo_server());
    let [kept, old, new]: [SocketAddr; 3] = [8000, 8001, 8002].map(|port| (ip, port).into());
    let daemon = Daemon::start(&[service("kept", kept, server), service("old", old, server)].concat());
    let inodes = listening(kept);
    let mut client = Client::connect(kept).unwrap();
    assert!(client.echoes() && serves(old));
    daemon.configure(&[service("kept", kept, server), service("new", new, server)].concat());
    let reload = daemon.vipgate(&["reload"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    assert!(reload.out.contains("service new added") && reload.out.contains("service old removed"), "{reload:?}");
    assert!(client.echoes(), "the open flow");
    assert_eq!(listening(kept), inodes);
    assert!(serves(kept) && serves(new));
    until_true("the old listener to go", PATIENCE, || listening(old).is_empty());
}

#[test]
fn a_new_port_that_is_taken_refuses_the_whole_reload() {
    let (ip, server) = (own_ip(), echo_server());
    let (kept, free): (SocketAddr, SocketAddr) = ((ip, 8000).into(), (ip, 8001).into());
    let taken = TcpListener::bind((own_ip(), 0)).unwrap();
    let daemon = Daemon::start(&service("kept", kept, server));
    let taken = taken.local_addr().unwrap();
    daemon.configure(&[service("free", free, server), service("taken", taken, server)].concat());
    let reload = daemon.vipgate(&["reload"]);
    assert_eq!(reload.code, Some(1), "{reload:?}");
    assert!(reload.err.contains(&format!("pid {}", std::process::id())), "{reload:?}");
    assert!(serves(kept) && listening(free).is_empty());
}

/// Reloads that overtake each other: what is in force at the end is what the file said last.
#[test]
fn many_reloads_at_once_end_with_the_last_file() {
    let (ip, server) = (own_ip(), echo_server());
    let daemon = Daemon::start(&service("p", (ip, 8000).into(), server));
    for round in 1..=40_u16 {
        daemon.configure(&service("p", (ip, 8000 + round).into(), server));
        daemon.signal(Signal::SIGHUP);
    }
    let last: SocketAddr = (ip, 8040).into();
    until_true("the last file", PATIENCE, || !listening(last).is_empty());
    assert!(serves(last));
    until_true("the others to go", PATIENCE, || (8000..8040).all(|port| listening((ip, port).into()).is_empty()));
    assert!(serves(last));
}

/// Files that cannot be read to their end, again and again: it is said, and the process serves on.
#[test]
fn reloads_that_hang_are_bounded_and_shown() {
    let listen: SocketAddr = (own_ip(), 8000).into();
    let good = service("web", listen, echo_server());
    let daemon = Daemon::start(&good);
    let file = daemon.dir.path().join("vipgate.toml");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let threads = || fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count();
    let before = threads();
    for _ in 0..30 {
        daemon.signal(Signal::SIGHUP);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    daemon.wait_log("reloads are under way");
    assert!(threads() <= before + 6, "{} threads, {before} before", threads());
    let status = daemon.vipgate(&["status"]);
    assert!(status.code == Some(1) && status.out.contains("reloads are under way"), "{status:?}");
    let refused = daemon.vipgate(&["reload"]);
    assert!(refused.code == Some(1) && refused.err.contains("reloads are under way"), "{refused:?}");
    assert!(serves(listen));
    // The pipe gets a writer, who writes nothing: the readings end, and the signal that waited is served.
    let writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, &good).unwrap();
    drop(writer);
    daemon.wait_log("reloaded: nothing changed");
    until_true("a node that is well", PATIENCE, || daemon.vipgate(&["status"]).code == Some(0));
}

/// A read that waits for ever (here: a pipe nobody writes to) does not undo what a later reload applied.
#[test]
fn an_overtaken_reload_is_dropped() {
    let (ip, server) = (own_ip(), echo_server());
    let [old, stale, new]: [SocketAddr; 3] = [8000, 8001, 8002].map(|port| (ip, port).into());
    let daemon = Daemon::start(&service("p", old, server));
    let file = daemon.dir.path().join("vipgate.toml");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloading");
    let writer = std::thread::spawn({
        let file = file.clone();
        // Opens once the reader is there.
        move || fs::OpenOptions::new().write(true).open(file).unwrap()
    });
    let mut writer = writer.join().unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, service("p", new, server)).unwrap();
    assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
    assert!(serves(new));
    std::io::Write::write_all(&mut writer, service("p", stale, server).as_bytes()).unwrap();
    drop(writer);
    daemon.wait_log("overtaken");
    assert!(serves(new) && listening(stale).is_empty());
}
