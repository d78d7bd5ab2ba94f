//! What is compared: configurations with the same features, processes, and what the kernel says of them.

use std::env;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netns_tests::process::Process;
use netns_tests::wait::try_until;
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use crate::load::open_idle;
use crate::stand::{BACK, FRONT, PORT, RANGE, SERVERS, Stand};

const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// A balancer that does not serve after this long never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// A way from the client to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Vipgate,
    Haproxy,
    Nginx,
    Direct,
}

/// What the balancer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    OnePort,
    Range,
    /// vipgate only: one port, and clients are kept by their TLS sessions.
    Sessions,
}

/// A subject at work; it ends when dropped.
pub(crate) struct Balancer {
    process: Option<Process>,
    target: SocketAddr,
}

/// How long a range of ports took from the execution of the process on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Until its first or its last port accepted.
    pub(crate) first: Duration,
    /// Until both did.
    pub(crate) all: Duration,
}

/// Resident memory of all processes of a subject, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// `VmRSS`: pages shared by two processes count twice.
    pub(crate) resident: u64,
    /// `Pss`: they count half each.
    pub(crate) proportional: u64,
    /// Without the pages of program files, which the kernel can drop and read again.
    pub(crate) own: u64,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Vipgate, Self::Haproxy, Self::Nginx, Self::Direct];

    /// What is switched on, beside what all have.
    pub(crate) fn features(self) -> &'static str {
        match self {
            Self::Vipgate => "workers = 2, checks every 2 s, stick table with 30 min expiry",
            Self::Haproxy => "nbthread 2, splice-auto, tcplog, checks every 2 s, stick on src with 30 min expiry",
            Self::Nginx => {
                "2 workers, reuseport, access_log; stickiness by consistent hash, passive checks (it has no others)"
            }
            Self::Direct => "no balancer: the same links, forwarded by the kernel in between; one server",
        }
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self, stand: &Stand, what: Use) -> Result<Balancer, String> {
        if self == Self::Direct {
            return Ok(Balancer { process: None, target: SERVERS[0] });
        }
        let serve = |quiet: bool| {
            let target = SocketAddr::from((FRONT, port(self, what)));
            let balancer = Balancer { process: Some(self.spawn(stand, what, quiet)?), target };
            let serves = || open_idle(stand, target, 1).is_ok().then_some(true);
            match try_until(PATIENCE, || serves().or_else(|| balancer.ended().then_some(false))) {
                Some(true) => Ok(balancer),
                Some(false) => Err(format!("ended: {}", balancer.last_words())),
                None => Err(format!("does not serve: {}", balancer.last_words())),
            }
        };
        // Silenced it cannot say why it does not start: then once more, aloud.
        serve(true).map_err(|silent| serve(false).err().unwrap_or(silent))
    }

    /// Starts it on a range of ports.
    pub(crate) fn start_range(self, stand: &Stand) -> Result<(Balancer, Start), String> {
        let ends = [RANGE.0, RANGE.1].map(|port| SocketAddr::from((FRONT, port)));
        let (process, began) = (self.spawn(stand, Use::Range, false)?, Instant::now());
        let balancer = Balancer { process: Some(process), target: ends[0] };
        let ready = stand.balancer.exec_in(|| {
            let deadline = began + PATIENCE;
            let mut first = None;
            while Instant::now() < deadline {
                let [one, all] = match ends.map(accepts) {
                    [true, true] => [true, true],
                    [one, other] => [one || other, false],
                };
                if one {
                    first.get_or_insert_with(|| began.elapsed());
                }
                if let Some(first) = first.filter(|_| all) {
                    return Some(Start { first, all: began.elapsed() });
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            None
        });
        match ready {
            Some(took) => Ok((balancer, took)),
            None => Err(format!("the range does not accept: {}", balancer.last_words())),
        }
    }

    /// Runs it in the balancer's namespace, without `ip netns exec` between: its own start is timed.
    fn spawn(self, stand: &Stand, what: Use, quiet: bool) -> Result<Process, String> {
        static STARTS: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", self.name(), STARTS.fetch_add(1, Ordering::Relaxed));
        let dir = stand.balancer.dir().join(&name);
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut words: Vec<PathBuf> = vec![self.program()?];
        let listen = match what {
            Use::OnePort | Use::Sessions => format!("{FRONT}:{}", port(self, what)),
            Use::Range => format!("{FRONT}:{}-{}", RANGE.0, RANGE.1),
        };
        let config = |file: &str, text: String| {
            let path = dir.join(file);
            fs::write(&path, text).map(|()| path.clone()).map_err(|error| format!("{}: {error}", path.display()))
        };
        match self {
            Self::Vipgate => {
                words.extend(["run".into(), "--config".into(), config("vipgate.toml", vipgate(&listen, what))?]);
                words.extend(["--run-dir".into(), dir.join("run"), "--state-dir".into(), dir.join("state")]);
            }
            Self::Haproxy => words.extend(["-db".into(), "-f".into(), config("haproxy.cfg", haproxy(&listen, what))?]),
            Self::Nginx => {
                words.extend(["-p".into(), dir.clone(), "-e".into(), "stderr".into()]);
                words.extend(["-c".into(), config("nginx.conf", nginx(&listen, what, &dir))?]);
            }
            Self::Direct => {}
        }
        let mut command;
        if quiet {
            // One stream a subject, the one its log goes to: what they log is not what is measured here.
            command = Command::new("/bin/sh");
            command.args(["-c", r#"exec "$0" "$@" >/dev/null 2>&1"#]).args(&words);
        } else {
            command = Command::new(&words[0]);
            command.args(&words[1..]);
        }
        command.current_dir(&dir).env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET");
        Ok(stand.balancer.exec_in(|| stand.balancer.spawn(&name, &mut command)))
    }

    fn program(self) -> Result<PathBuf, String> {
        let (name, package) = match self {
            Self::Vipgate => {
                let built = || PathBuf::from(env!("CARGO_BIN_EXE_vipgate"));
                return Ok(env::var_os("VIPGATE_BIN").map_or_else(built, PathBuf::from));
            }
            Self::Nginx if !Path::new(NGINX_STREAM).exists() => {
                return Err(format!("{NGINX_STREAM} is not there; install libnginx-mod-stream"));
            }
            Self::Haproxy => ("haproxy", "haproxy"),
            Self::Nginx => ("nginx", "nginx-light"),
            Self::Direct => return Err("there is nothing to run".to_owned()),
        };
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).chain(["/usr/sbin".into()]).map(|dir| dir.join(name)).find(|p| p.is_file());
        found.ok_or_else(|| format!("{name} is not there; install {package}"))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Vipgate => "vipgate",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vipgate => "vipgate",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx stream",
            Self::Direct => "direct",
        })
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|subject| subject.name() == text.trim());
        found.ok_or_else(|| format!("no subject is called {text:?}, only vipgate, haproxy, nginx and direct"))
    }
}

impl Balancer {
    /// Where the client connects to.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        self.process.as_ref().map(family).unwrap_or_default()
    }

    pub(crate) fn memory(&self) -> Memory {
        let mut all = Memory::default();
        for pid in self.processes() {
            all.resident += kilobytes(&format!("/proc/{pid}/status"), "VmRSS:") * 1024;
            let rollup = format!("/proc/{pid}/smaps_rollup");
            all.proportional += kilobytes(&rollup, "Pss:") * 1024;
            all.own += own(pid) * 1024;
        }
        all
    }

    /// Open descriptors of all its processes.
    pub(crate) fn descriptors(&self) -> usize {
        self.process.as_ref().map_or(0, Process::descriptors)
    }

    /// An error where it has ended by itself.
    pub(crate) fn lives(&self) -> Result<(), String> {
        if self.ended() { Err(format!("ended: {}", self.last_words())) } else { Ok(()) }
    }

    fn ended(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.alive())
    }

    fn last_words(&self) -> String {
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(8).collect();
        lines.reverse();
        if lines.is_empty() { "it says nothing".to_owned() } else { lines.join("\n") }
    }
}

impl Drop for Balancer {
    /// Ends its children too before the next subject starts: a worker that still dies holds its ports.
    fn drop(&mut self) {
        let family = self.processes();
        drop(self.process.take());
        let gone = |pid: &Pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // A zombie has closed everything. Who reaps it is no concern of this.
            !status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
        };
        let _ = try_until(PATIENCE, || family.iter().all(gone).then_some(()));
    }
}

/// Asked from another address than it listens on: a subject could not bind a port that the question came from.
fn accepts(end: SocketAddr) -> bool {
    let ask = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((BACK, 0)).into())?;
        socket.connect(&end.into())
    };
    ask().is_ok()
}

fn family(process: &Process) -> Vec<Pid> {
    let mut family = process.descendants();
    family.push(process.pid());
    family
}

/// Kilobytes of a process that come from no file, and its changed copies of pages that do.
fn own(pid: Pid) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut own, mut counted) = (0, "Pss:");
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some(key) if key == counted => own += words.next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0),
            Some(key) if key.ends_with(':') => {}
            // A mapping: addresses, rights, offset, device, inode, and the file's path if it is one.
            _ => counted = if words.nth(4).is_some_and(|path| path.starts_with('/')) { "Anonymous:" } else { "Pss:" },
        }
    }
    own
}

fn kilobytes(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Several are at work at a time.
fn port(subject: Subject, what: Use) -> u16 {
    PORT + subject as u16 + if what == Use::Sessions { 10 } else { 0 }
}

fn vipgate(listen: &str, what: Use) -> String {
    let [first, second] = SERVERS;
    format!(
        r#"[global]
workers = 2
max-connections = 5000

[log]
level = "info"
connections = true

[[service]]
name = "bench"
listen = "{listen}"
pool = "servers"
client-timeout = "1h"

[[pool]]
name = "servers"
balance = "round-robin"
affinity = {{ table = "{}", size = 100000, expire = "30m" }}
connect-timeout = "5s"
server-timeout = "1h"
check = {{ interval = "2s" }}
servers = ["{first}", "{second}"]
"#,
        if what == Use::Sessions { "tls" } else { "source" }
    )
}

fn haproxy(listen: &str, what: Use) -> String {
    let [first, second] = SERVERS;
    // These connections with their pipes, and 10,000 ports, are what 20,000 descriptors allow.
    let connections = if what == Use::Range { 2000 } else { 5000 };
    format!(
        "global
    nbthread 2
    maxconn {connections}
    log stdout format raw local0 info
defaults
    mode tcp
    log global
    option tcplog
    option splice-auto
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind {listen}
    balance roundrobin
    stick-table type ip size 100k expire 30m
    stick on src
    server s1 {first} check inter 2s
    server s2 {second} check inter 2s
"
    )
}

fn nginx(listen: &str, what: Use, dir: &Path) -> String {
    let [first, second] = SERVERS;
    // A socket for each worker and each port would be more than 20,000 descriptors.
    let (connections, shared) = if what == Use::Range { (19_000, "") } else { (9000, " reuseport") };
    format!(
        "load_module {NGINX_STREAM};
worker_processes 2;
worker_rlimit_nofile 20000;
daemon off;
pid {}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
stream {{
    log_format line '$remote_addr $status $bytes_sent $bytes_received $session_time $upstream_addr';
    access_log /dev/null line;
    upstream servers {{
        hash $remote_addr consistent;
        server {first};
        server {second};
    }}
    server {{
        listen {listen}{shared} backlog=4096;
        proxy_pass servers;
        proxy_connect_timeout 5s;
        proxy_timeout 1h;
    }}
}}
",
        dir.display()
    )
}
