//! How checks make a server up and down: HAProxy's counter, with HAProxy as the measure.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use netns_tests::wait::{pass, until_true};

use super::imported::{Haproxy, ask, start};
use super::support::{PATIENCE, own_ip};

const INTERVAL: Duration = Duration::from_millis(200);
const RISE: u32 = 5;

fn config(listen: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n stats socket DIR/admin.sock mode 600 level admin\n spread-checks 0\n\
         defaults\n mode tcp\n timeout connect 1s\n timeout client 30s\n timeout server 30s\n\
         listen l\n bind {listen}\n server s {server} check inter 200ms rise {RISE} fall 1000\n"
    )
}

fn is_up(socket: &Path) -> bool {
    let state = ask(socket, "show servers state l");
    let line = state.lines().nth(2).unwrap_or_default();
    line.split(' ').nth(5) == Some("2")
}

fn story(socket: &Path, server: SocketAddr) {
    until_true("one failed first check is enough, whatever `fall` says", PATIENCE, || !is_up(socket));
    let (opened, listener) = (Instant::now(), TcpListener::bind(server).unwrap());
    until_true("it is up", PATIENCE, || is_up(socket));
    // The first good check may come at once.
    let least = INTERVAL * (RISE - 1);
    assert!(opened.elapsed() > least - INTERVAL / 2, "up after {:?}, not {RISE} checks", opened.elapsed());
    drop(listener);
    pass(3 * INTERVAL);
    assert!(is_up(socket), "a few failures are not 1000");
}

#[test]
fn a_first_failure_is_down_and_rise_and_fall_are_counted_as_haproxy_does() {
    for ours in [false, true] {
        let (listen, server) = (SocketAddr::new(own_ip(), 7300), SocketAddr::new(own_ip(), 7301));
        if ours {
            let daemon = start(&config(listen, server), |_, _| {});
            story(&daemon.dir.path().join("admin.sock"), server);
        } else if let Some(haproxy) = Haproxy::start(&config(listen, server)) {
            story(&haproxy.socket("admin"), server);
        }
    }
}
