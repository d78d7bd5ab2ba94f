use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::client::{ClientError, ask};
use super::server::{BindError, Call, Server};
use super::table::{exit_code, render};
use super::*;
use crate::stats::Verdict;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

/// A run directory of its own, removed afterwards.
struct RunDirectory(PathBuf);

impl RunDirectory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vipgate-control-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    fn socket(&self) -> PathBuf {
        self.0.join(SOCKET_NAME)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Serves on a thread of its own; `answer` is called for each request, until it says so.
fn serve(path: &Path, mut answer: impl FnMut(Call) -> bool + Send + 'static) -> std::thread::JoinHandle<()> {
    let server = Server::bind(path).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (calls, mut incoming) = mpsc::channel(1);
            let serving = tokio::spawn(server.serve(calls));
            while let Some(call) = incoming.recv().await {
                if !answer(call) {
                    break;
                }
            }
            // Lets the last answer out.
            drop(incoming);
            tokio::time::sleep(Duration::from_millis(50)).await;
            serving.abort();
        });
    })
}

/// Answers every request with its own text.
fn echo(call: Call) -> bool {
    let text = format!("{:?}", call.request);
    call.answer.finish(Reply::done(text))
}

fn router() -> serde_json::Value {
    serde_json::json!({
        "name": "front", "role": "backup", "reason": "10.0.0.2 has the higher priority", "since_seconds": 62.0,
        "interface": "eth0", "vrid": 51, "protocol": 3, "interval_seconds": 1.0, "priority": 100,
        "configured_priority": 100, "ready": true, "master": { "address": "10.0.0.2", "priority": 200 },
        "heard_seconds": 0.31, "addresses": ["192.0.2.100/24"], "fronts": [], "sent": 0, "received": 9,
        "send_errors": 0, "zero_sent": 0, "zero_received": 0, "became_master": 0, "announcements": 0, "rejected": {},
        "send_refused": 0, "none_heard": 0, "two_masters": 0, "two_masters_seconds": 0.0, "addresses_taken": 0,
        "last_rejected": null, "contested_seconds": null, "refused": false, "stranger": null, "frozen": false,
        "priority_override": null, "tracks": [], "session": null, "group": null
    })
}

fn snapshot(verdict: &str) -> Snapshot {
    serde_json::from_value(serde_json::json!({
        "node": "front-a", "version": "0.1.0", "uptime_seconds": 725.0, "verdict": verdict,
        "causes": ["no server up in pool files"], "warnings": ["one\u{1b}[2J\nthing"],
        "routers": [router()],
        "services": [{
            "name": "sftp", "listen": ["192.0.2.100:22"], "pool": "files", "ready": false, "open": 1, "open_max": 2,
            "max_connections": null, "accepted": 3, "ended": {}, "bytes_in": 4, "bytes_out": 1500, "limited": 0
        }],
        "pools": [{ "name": "files", "algorithm": "round robin", "affinity": "none", "servers": [{
            "name": "s1", "address": "10.1.0.1:same", "weight": 1, "backup": true, "health": "down",
            "counter": { "now": 0, "rise": 2, "fall": 3 }, "reason": "Layer4 timeout after 2.0 s",
            "since_seconds": null, "last_check": null, "max_connections": null, "open": 0, "open_max": 0, "chosen": 0,
            "bytes_in": 0, "bytes_out": 0, "connect_errors": 0, "retries": 0, "redispatches": 0, "checks": 0,
            "checks_failed": 0, "downs": 0
        }] }],
        "process": {
            "pid": 7, "resident_bytes": 38_400_000, "open_descriptors": 30, "descriptor_limit": 1024, "workers": 2,
            "descriptor_shortages": 0, "log_lines_lost": 0,
            "stray_adverts": 0, "late_wakes": { "buckets": [], "count": 0, "sum_seconds": 0.0, "max_seconds": 0.0 }
        }
    }))
    .unwrap()
}

#[test]
fn requests_read_as_they_are_documented() {
    for (text, request) in [
        (r#"{"request":"ping"}"#, Request::Ping),
        (r#"{"request":"status"}"#, Request::Status),
        (r#"{"request":"reload"}"#, Request::Reload),
        (r#"{"request":"handover"}"#, Request::Handover { router: None }),
        (r#"{"request":"handover","router":"front"}"#, Request::Handover { router: Some("front".to_owned()) }),
        (r#"{"request":"drain"}"#, Request::Drain { cancel: false }),
        (r#"{"request":"drain","cancel":true}"#, Request::Drain { cancel: true }),
    ] {
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        assert_eq!(serde_json::from_str::<Request>(&serde_json::to_string(&request).unwrap()).unwrap(), request);
    }
    for wrong in [r#"{"request":"drain","cancle":true}"#, r#"{"request":"stop"}"#, "{}", "status"] {
        assert!(serde_json::from_str::<Request>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_question_is_answered_and_progress_comes_first() {
    let directory = RunDirectory::new();
    let path = directory.socket();
    let daemon = serve(&path, |call| match call.request {
        Request::Status => {
            assert!(call.answer.is_awaited());
            call.answer.finish(Reply::Status { snapshot: Box::new(snapshot("ok")) })
        }
        Request::Drain { cancel: false } => {
            call.answer.progress("412 connections open");
            call.answer.progress("1 connection open");
            let _ = call.answer.finish(Reply::done("drained"));
            false
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let reply = ask(&path, &Request::Status, PATIENCE, |text| panic!("{text}")).unwrap();
    assert_eq!(reply, Reply::Status { snapshot: Box::new(snapshot("ok")) });
    let mut said = Vec::new();
    let reply = ask(&path, &Request::Drain { cancel: false }, PATIENCE, |text| said.push(text.to_owned())).unwrap();
    assert_eq!(
        (reply, said),
        (Reply::done("drained"), vec!["412 connections open".into(), "1 connection open".into()])
    );
    daemon.join().unwrap();
    assert!(!path.exists(), "removed at the end");
}

#[test]
fn nonsense_gets_a_sentence_and_hurts_nobody() {
    let directory = RunDirectory::new();
    let path = directory.socket();
    let _daemon = serve(&path, echo);
    let mut other = UnixStream::connect(&path).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"what?\n\n{\"request\":\"ping\"}\n").unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    for _ in 0..2 {
        let refusal: Reply = serde_json::from_str(&lines.next().unwrap()).unwrap();
        assert!(
            matches!(&refusal, Reply::Failed { text, remedy: Some(_) } if text.starts_with("not a request")),
            "{refusal:?}"
        );
    }
    assert_eq!(lines.next().unwrap(), r#"{"reply":"done","text":"Ping"}"#, "the connection goes on");

    let mut endless = UnixStream::connect(&path).unwrap();
    let _ = endless.write_all(&[b'x'; 10_000]);
    let mut answer = String::new();
    // It may be reset with our bytes unread; what it said has arrived.
    let _ = endless.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.contains("one line of at most 4096 bytes"), "{answer}");

    // As `echo | socat` does it: the request's end is the stream's end, too.
    other.write_all(b"{\"request\":\"reload\"}").unwrap();
    other.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "{\"reply\":\"done\",\"text\":\"Reload\"}\n");
}

#[test]
fn a_dead_ones_socket_is_replaced_and_a_live_one_respected() {
    let directory = RunDirectory::new();
    let path = directory.socket();
    fs::create_dir_all(&directory.0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let error = ask(&path, &Request::Ping, PATIENCE, |_| {}).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");

    let _daemon = serve(&path, echo);
    assert_eq!(ask(&path, &Request::Ping, PATIENCE, |_| {}).unwrap(), Reply::done("Ping"));
    let error = Server::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::Running { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("another vipgate runs (pid {}, ", std::process::id())), "{text}");
    assert_eq!(ask(&path, &Request::Ping, PATIENCE, |_| {}).unwrap(), Reply::done("Ping"), "it is none the worse");
}

#[test]
fn a_daemon_that_does_not_answer_is_told_from_one_that_is_not_there() {
    let directory = RunDirectory::new();
    let path = directory.socket();
    let error = ask(&path, &Request::Ping, PATIENCE, |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("vipgate does not run here") && error.contains(SOCKET_NAME), "{error}");

    let mut kept = Vec::new();
    let daemon = serve(&path, move |call| {
        if call.request == Request::Reload {
            return false;
        }
        kept.push(call);
        true
    });
    let error = ask(&path, &Request::Ping, Some(Duration::from_millis(50)), |_| {}).unwrap_err();
    assert!(error.to_string().contains("did not answer within 50ms"), "{error}");
    // One that ends in the middle says so.
    let reply = ask(&path, &Request::Reload, PATIENCE, |_| {}).unwrap();
    assert!(matches!(&reply, Reply::Failed { text, .. } if text.contains("stopped before")), "{reply:?}");
    daemon.join().unwrap();
}

#[test]
fn the_run_directory_that_cannot_be_is_named() {
    let error = Server::bind(Path::new("/proc/vipgate/control.sock")).unwrap_err().to_string();
    assert!(error.starts_with("cannot create /proc/vipgate: "), "{error}");
}

#[test]
fn the_table_is_aligned_and_says_the_verdict_first() {
    let text = render(&snapshot("degraded"));
    let expected = "\
front-a: DEGRADED (vipgate 0.1.0, up 12 min 5 s, pid 7)
  no server up in pool files
  warning: one [2J thing

ROUTER  ROLE    SINCE      PRIORITY  READY  MASTER SEEN                        ADDRESSES       REASON
front   backup  1 min 2 s  100       yes    10.0.0.2 priority 200, 310 ms ago  192.0.2.100/24  10.0.0.2 has the higher priority

SERVICE  STATE      LISTENS ON      POOL   OPEN  TOTAL  IN   OUT
sftp     no server  192.0.2.100:22  files  1     3      4 B  1.5 kB

POOL   SERVER       ADDRESS        HEALTH  SINCE  OPEN  TOTAL  IN   OUT  LAST CHECK
files  s1 (backup)  10.1.0.1:same  down    -      0     0      0 B  0 B  Layer4 timeout after 2.0 s

38 MB memory, 30 of 1024 descriptors, 2 workers
";
    assert_eq!(text, expected);
    assert_eq!([Verdict::Ok, Verdict::Degraded, Verdict::Down].map(exit_code), [0, 1, 2]);
}
