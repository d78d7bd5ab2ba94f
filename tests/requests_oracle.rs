//! What HTTP checks send, byte for byte: HAProxy (Debian's 2.6) and vipgate read the same lines, and a server hears both.
//! Skipped, loudly, where HAProxy is not installed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test waits for real processes, and says what was skipped"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use vipgate::config::Loading;
use vipgate::config::import::{System, load_haproxy};
use vipgate::probe::{Ended, Policy, Prober};
use vipgate::stats::Registry;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// What a backend says about its check.
const CASES: &[&str] = &[
    "option httpchk",
    "option httpchk /x",
    "option httpchk GET /x",
    "option httpchk HEAD /x HTTP/1.1",
    "option httpchk POST /x",
    "option httpchk POST /x HTTP/1.1",
    "option httpchk PUT /x HTTP/1.0",
    "option httpchk DELETE /x HTTP/1.1",
    "option httpchk get /x",
    "option httpchk GET /x HTTP/1.1\\r\\nHost:\\ www",
    "option httpchk POST /x \"HTTP/1.1\\r\\nHost: www\\r\\nX-A: b\\r\\n\\r\\nsome text\"",
    "option httpchk\n http-check send meth GET uri /x",
    "option httpchk\n http-check send meth POST uri /x",
    "option httpchk\n http-check send meth POST uri /x ver HTTP/1.1 hdr Host www",
    "option httpchk\n http-check send meth POST uri /x ver HTTP/1.1 hdr host www hdr X-A b body hello",
    "option httpchk\n http-check send meth GET uri /x ver HTTP/1.1 hdr Host www body hello",
    "option httpchk\n http-check send meth GET uri /x body hello",
    "option httpchk\n http-check send meth PUT uri /x hdr Content-Length 0",
    "option httpchk\n http-check send meth POST uri /x hdr Content-Length 5",
    "option httpchk\n http-check send meth POST uri /x hdr content-length 9 body hello",
    "option httpchk\n http-check send meth GET uri /x hdr content-length 0",
    "option httpchk\n http-check send meth POST uri /x ver HTTP/1.1 hdr Transfer-Encoding chunked",
    "option httpchk\n http-check send meth PATCH uri /x ver HTTP/1.1",
    "option httpchk\n http-check send meth TRACE uri /x ver HTTP/1.1",
    "option httpchk\n http-check send meth FOO uri /x ver HTTP/1.1",
    "option httpchk\n http-check send meth OPTIONS uri * ver HTTP/1.1",
    "option httpchk\n http-check send meth GET uri /x ver HTTP/2.0",
    "option httpchk\n http-check send meth POST uri /x ver HTTP/1.1 hdr Connection keep-alive",
    "option httpchk\n http-check send meth GET uri /x ver HTTP/1.1 hdr Connection Close",
    "option httpchk\n http-check send meth GET uri /x ver HTTP/1.1 hdr Connection \"close, x-a\"",
    "option httpchk\n http-check send meth GET uri /x ver HTTP/1.1 hdr Connection upgrade hdr Upgrade foo",
    "option httpchk\n http-check send meth GET uri /x hdr Connection keep-alive",
    "option httpchk\n http-check send meth GET uri /x hdr Connection close",
    "option httpchk\n http-check send meth GET uri /x hdr Connection x-a",
    "option httpchk GET /x HTTP/1.1\n http-check send hdr Host www body hello",
    "option httpchk POST /x HTTP/1.1\n http-check send hdr Host www",
    "option httpchk\n http-check send meth GET uri /x hdr A b hdr A c hdr a d",
];

/// A whole request: its head, and as much after it as that says.
fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    let length = |head: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        line.map_or(0, |length| length.parse::<usize>().unwrap())
    };
    while stream.read(&mut byte).is_ok_and(|count| count == 1) {
        heard.push(byte[0]);
        let text = String::from_utf8_lossy(&heard);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() == length(head)
        {
            break;
        }
    }
    String::from_utf8(heard).unwrap()
}

/// A server of each case, and what it heard first.
fn serve() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let _ = tell.send(hear(&mut stream));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (address, told)
}

/// The file of all cases; what their servers hear.
fn scene(side: &str) -> (Scratch, Vec<Receiver<String>>) {
    // HAProxy does not start without a listener.
    let mut text = format!(
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\nlisten f\n bind {}\n \
         server s 127.0.0.1:9\n",
        free_port()
    );
    let told = CASES.iter().enumerate().map(|(place, lines)| {
        let (server, told) = serve();
        text.push_str(&format!("backend b{place}\n {lines}\n server s {server} check inter 1s\n"));
        told
    });
    let told = told.collect();
    let path = std::env::temp_dir().join(format!("vipgate-requests-{side}-{}.cfg", std::process::id()));
    std::fs::write(&path, text).unwrap();
    (Scratch(path), told)
}

/// A port below those that the kernel gives out by itself.
fn free_port() -> SocketAddr {
    let mut ports = 10_000 + u16::try_from(std::process::id() % 10_000).unwrap()..;
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    ports.find_map(|port| TcpListener::bind(address(port)).ok()).unwrap().local_addr().unwrap()
}

/// A file that is removed when the test is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn first_words(told: &[Receiver<String>]) -> Vec<String> {
    told.iter().map(|told| told.recv_timeout(Duration::from_secs(10)).unwrap_or_default()).collect()
}

fn heard_from_haproxy() -> Vec<String> {
    let (file, told) = scene("haproxy");
    let mut command = Command::new(HAPROXY);
    command.args(["-db", "-f"]).arg(&file.0).stdout(Stdio::null()).stderr(Stdio::null());
    let _haproxy = Running(command.spawn().unwrap());
    first_words(&told)
}

fn heard_from_vipgate() -> Vec<String> {
    let (file, told) = scene("vipgate");
    let mut loading = Loading::new();
    load_haproxy(&mut loading, &file.0, &System);
    let config = loading.finish(&vipgate::config::resolve).unwrap_or_else(|failed| panic!("{failed}")).config;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (events, _told) = unbounded_channel();
            let none = Arc::new(|_| -> std::pin::Pin<Box<dyn Future<Output = (Ended, String)> + Send>> {
                Box::pin(async { (Ended::Exited(0), String::new()) })
            });
            let prober = Prober::start(Arc::new(Registry::default()), events, none);
            prober.apply(&config.pools, Policy { spread_percent: 0, log_checks: config.global.log.checks }, "n1");
            let _ = stopped.await;
        });
    });
    let heard = first_words(&told);
    let _ = stop.send(());
    thread.join().unwrap();
    heard
}

#[test]
fn requests_are_haproxys_byte_for_byte() {
    if !Path::new(HAPROXY).exists() {
        println!("SKIPPED: there is no {HAPROXY}");
        return;
    }
    let (theirs, ours) = (heard_from_haproxy(), heard_from_vipgate());
    let mut differences = Vec::new();
    for (lines, (theirs, ours)) in CASES.iter().zip(theirs.iter().zip(&ours)) {
        assert!(!theirs.is_empty(), "HAProxy asks nothing: {lines}");
        if theirs != ours {
            differences.push(format!("{lines}\n  HAProxy: {theirs:?}\n  vipgate: {ours:?}"));
        }
    }
    println!("{} requests of {HAPROXY} and vipgate compared", CASES.len());
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), CASES.len(), differences.join("\n"));
}
