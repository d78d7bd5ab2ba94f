//! The control socket in the hands of clients that do everything wrong.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::support::{Daemon, echo_server, own_ip, read_line, service};

fn daemon() -> Daemon {
    Daemon::start(&service("web", (own_ip(), 8000).into(), echo_server()))
}

#[test]
fn nonsense_is_answered_and_harms_nobody() {
    let daemon = daemon();
    for nonsense in ["", "status", "{}", r#"{"request":"frobnicate"}"#, r#"{"request":7}"#, "\u{0}\u{1}[[[", "null"] {
        let answer = daemon.ask(nonsense);
        assert!(answer.contains("failed") && answer.contains(r#"{\"request\":\"status\"}"#), "{nonsense:?}: {answer}");
    }
    let mut deep = daemon.connect().unwrap();
    let _refused = deep.write_all("[".repeat(4000).as_bytes());
    let _refused = deep.write_all(b"\n");
    assert!(read_line(&mut deep).contains("failed"));
    let mut long = daemon.connect().unwrap();
    let _refused = long.write_all(&[b'x'; 1 << 20]);
    let mut rest = Vec::new();
    let _reset = long.read_to_end(&mut rest);
    let mut half = daemon.connect().unwrap();
    half.write_all(br#"{"request":"sta"#).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert!(read_line(&mut half).contains("failed"));
    let mut gone = daemon.connect().unwrap();
    gone.write_all(b"{\"request\":\"status\"}\n").unwrap();
    drop(gone);
    assert_eq!(daemon.vipgate(&["status"]).code, Some(0));
}

#[test]
fn it_explains_where_a_client_would_go() {
    let server = echo_server();
    let address = (own_ip(), 8000).into();
    let daemon = Daemon::start(&service("web", address, server));
    let said = daemon.vipgate(&["explain", "service", "web", "--from", "192.0.2.7"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let expected =
        format!("192.0.2.7 to service web\n  goes to web/s1 ({server}): it is next in turn\n  > s1  may be chosen\n");
    assert_eq!(said.out, expected);
    let said = daemon.vipgate(&["explain", "service", "web", "--from", "[2001:db8::7]:50000", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&json["server"], &json["pool"]), (&"s1".into(), &"web".into()));
    let said = daemon.vipgate(&["explain", "service", "nobody", "--from", "192.0.2.7"]);
    assert!(said.code == Some(1) && said.err.contains("the services are: web"), "{said:?}");
    let said = daemon.vipgate(&["explain", "service", "web", "--from", "somewhere"]);
    assert!(said.code == Some(1) && said.err.contains("`somewhere` is no client's address"), "{said:?}");
}

#[test]
fn only_the_own_user_may_ask() {
    let daemon = daemon();
    let mode = std::fs::metadata(daemon.dir.path().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Whoever could open the lock could hold it, and keep the next start from running.
    let mode = std::fs::metadata(daemon.dir.path().join("control.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_hundred_idle_clients_keep_nobody_waiting() {
    let daemon = daemon();
    let idle: Vec<_> = (0..100)
        .map(|index| {
            let mut client = daemon.connect().unwrap();
            // Some are in the middle of a word.
            if index % 2 == 0 {
                client.write_all(b"{\"request\":").unwrap();
            }
            client
        })
        .collect();
    let begun = Instant::now();
    let status = daemon.vipgate(&["status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "status took {:?}", begun.elapsed());
    drop(idle);
}

#[test]
fn what_a_killed_process_left_is_replaced() {
    let mut daemon = daemon();
    for _ in 0..3 {
        daemon.kill_and_restart();
    }
    assert_eq!(daemon.vipgate(&["status"]).code, Some(0));
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(daemon.dir.path().join("control.sock").exists(), "a socket is left behind");
    for command in ["status", "reload", "handover", "drain"] {
        let said = daemon.vipgate(&[command]);
        assert_eq!(said.code, Some(if command == "status" { 2 } else { 1 }), "{said:?}");
        assert!(said.err.contains("vipgate does not run here"), "{said:?}");
    }
}

#[test]
fn what_cannot_be_done_is_said_with_its_remedy() {
    let daemon = daemon();
    for (arguments, sentence) in [
        (["handover"].as_slice(), "there is no virtual router; a hand-over moves virtual addresses"),
        (&["handover", "front"], "there is no virtual router `front`"),
        (&["drain", "--cancel"], "no drain is under way; nothing needs to be cancelled"),
        (&["drain"], "there is no virtual router"),
    ] {
        let said = daemon.vipgate(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        assert!(said.err.contains(sentence), "{arguments:?}: {said:?}");
    }
}
