//! Programs that people run against HAProxy's socket: an exporter for Prometheus, and HATop.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use netns_tests::report::loud;
use netns_tests::wait::{try_until, until_true};

use super::imported::{Haproxy, ask, config, exchange, servers, start};
use super::support::{PATIENCE, own_ip};

const EXPORTER: &str = "/usr/bin/prometheus-haproxy-exporter";
const HATOP: &str = "/usr/bin/hatop";

fn is_there(program: &str) -> bool {
    if !Path::new(program).exists() {
        loud(&format!("SKIPPED: there is no {program}"));
    }
    Path::new(program).exists()
}

/// The exporter, ended with the value.
struct Exporter {
    child: Child,
    at: SocketAddr,
}

impl Exporter {
    fn start(socket: &Path) -> Self {
        let at = SocketAddr::new(own_ip(), 9101);
        let mut command = Command::new(EXPORTER);
        command
            .arg(format!("--haproxy.scrape-uri=unix:{}", socket.display()))
            .arg(format!("--web.listen-address={at}"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Self { child, at };
        until_true("the exporter", PATIENCE, || TcpStream::connect(at).is_ok());
        started
    }

    /// The lines about HAProxy.
    fn metrics(&self) -> Vec<String> {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page.lines().filter(|line| line.starts_with("haproxy_")).map(str::to_owned).collect()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn an_exporter_finds_what_it_finds_at_haproxy() {
    let servers = servers();
    let addresses @ [here, there] = [own_ip(), own_ip()];
    if !is_there(EXPORTER) {
        return;
    }
    let Some(haproxy) = Haproxy::start(&config(there, servers)) else { return };
    let daemon = start(&config(here, servers), |_, _| {});
    let sockets = [haproxy.socket("admin"), daemon.dir.path().join("admin.sock")];
    for ip in addresses {
        drop(exchange(ip, 7001));
    }
    for socket in &sockets {
        until_true("the check", PATIENCE, || ask(socket, "show stat be 4 -1").contains(",DOWN,"));
    }
    let [theirs, ours] = sockets.map(|socket| Exporter::start(&socket).metrics());
    // Which there are, with their labels; the values are compared where the socket's own answers are.
    let series = |metrics: &[String]| -> BTreeSet<String> {
        let named = metrics.iter().filter(|line| !line.starts_with("haproxy_version_info"));
        named.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let (there, here) = (series(&theirs), series(&ours));
    let differ: Vec<_> = there.symmetric_difference(&here).collect();
    assert!(differ.is_empty() && here.len() > 100, "{differ:?}");
    for line in [
        "haproxy_exporter_csv_parse_failures_total 0",
        "haproxy_up 1",
        "haproxy_server_up{backend=\"be\",server=\"s2\"} 0",
        "haproxy_server_weight{backend=\"be\",server=\"s1\"} 10",
        "haproxy_server_sessions_total{backend=\"be\",server=\"s1\"} 1",
    ] {
        for metrics in [&theirs, &ours] {
            assert!(metrics.iter().any(|said| said == line), "{line}: {metrics:#?}");
        }
    }
}

#[test]
fn hatop_shows_every_proxy_and_server() {
    if !is_there(HATOP) {
        return;
    }
    let (ip, servers) = (own_ip(), servers());
    let daemon = start(&config(ip, servers), |_, _| {});
    let socket = daemon.dir.path().join("admin.sock");
    until_true("the check", PATIENCE, || ask(&socket, "show stat be 4 -1").contains(",DOWN,"));
    // It wants a terminal.
    let shown = daemon.dir.path().join("shown");
    let line = format!("stty cols 120 rows 50; {HATOP} -s {}", socket.display());
    let mut command = Command::new("script");
    command.args(["-q", "-f", "-c", &line]).arg(&shown).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let wanted = [">>> be", ">>> li", "s1", "s2", "DOWN", "BACKEND", "vipgate"];
    let seen = || std::fs::read(&shown).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all = try_until(PATIENCE, || wanted.iter().all(|word| seen().contains(word)).then_some(()));
    let _gone = child.stdin.take().unwrap().write_all(b"q");
    let ended = try_until(PATIENCE, || child.try_wait().unwrap());
    let _gone = child.kill();
    assert!(all.is_some(), "{}", seen());
    assert!(ended.is_some_and(|status| status.success()), "{}", seen());
}
