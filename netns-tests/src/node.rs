//! A node: one network namespace, and everything that runs in it.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};

use crate::lab::ip_batch;
use crate::process::{self, Process};

/// One network namespace. A clone is the same node.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    namespace: String,
    dir: PathBuf,
    handle: File,
    processes: AtomicU32,
}

/// What a server that names itself answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server's name.
    pub server: String,
    /// The port on which it was reached.
    pub port: u16,
}

impl Node {
    pub(crate) fn create(lab: &str, name: &str, lab_dir: &Path) -> Self {
        let namespace = format!("{lab}-{name}");
        let dir = lab_dir.join(name);
        fs::create_dir_all(&dir).expect("the node's directory");
        ip_batch(None, &format!("netns add {namespace}\n"));
        ip_batch(Some(&namespace), "link set lo up\n");
        let handle = File::open(format!("/run/netns/{namespace}")).expect("the namespace just made");
        let node =
            Self(Arc::new(Inner { name: name.to_owned(), namespace, dir, handle, processes: AtomicU32::new(0) }));
        // Addresses are usable at once, and a thousand short connections a second do not run out of ports.
        node.sysctl("net/ipv6/conf/all/accept_dad", "0");
        node.sysctl("net/ipv6/conf/default/accept_dad", "0");
        node.sysctl("net/ipv4/tcp_tw_reuse", "1");
        node
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its namespace, as `ip netns exec` wants it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// A directory of its own, removed with the laboratory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Writes a file into its directory and says where.
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.dir.join(name);
        fs::write(&path, content).expect("the node's directory takes files");
        path
    }

    /// Runs `work` inside the namespace, in a thread of its own.
    pub fn exec_in<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Starts a thread that lives inside the namespace.
    pub fn thread<T: Send + 'static>(&self, name: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let node = self.clone();
        let run = move || {
            node.enter();
            work()
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread")
    }

    fn enter(&self) {
        setns(&self.0.handle, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
    }

    /// A command that runs inside, to be given arguments; with /etc/hosts and /sys of the node.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0.namespace]).arg(program).current_dir(&self.0.dir);
        command
    }

    /// Runs a command line inside to its end and returns what it wrote; the test fails if it does.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(
            output.status.success(),
            "{}: `{line}` failed ({}): {}{}",
            self.name(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command line (of `sh`) inside to its end.
    #[track_caller]
    pub fn try_run(&self, line: &str) -> Output {
        self.command("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("ip netns exec")
    }

    /// Starts a command inside, its output captured in a file. It ends, with its children, when the value goes.
    #[track_caller]
    pub fn spawn(&self, name: &str, command: &mut Command) -> Process {
        let number = self.0.processes.fetch_add(1, Ordering::Relaxed);
        Process::start(name, command, &self.0.dir.join(format!("{name}-{number}.log")))
    }

    /// Runs `ip` commands, one a line.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        ip_batch(Some(&self.0.namespace), &format!("{lines}\n"));
    }

    /// Sets a network sysctl, written with slashes.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{name}");
        let written = self.exec_in(|| fs::write(&path, value));
        assert!(written.is_ok(), "{}: {path} = {value}: {written:?}", self.name());
    }

    /// Names that resolve inside, as lines of /etc/hosts.
    #[track_caller]
    pub fn hosts(&self, lines: &str) {
        let dir = Path::new("/etc/netns").join(&self.0.namespace);
        fs::create_dir_all(&dir).expect("/etc/netns");
        fs::write(dir.join("hosts"), format!("127.0.0.1 localhost\n{lines}\n")).expect("/etc/netns");
    }

    /// Reads a file below /proc/net of this namespace.
    #[must_use]
    #[track_caller]
    pub fn proc_net(&self, name: &str) -> String {
        self.exec_in(|| fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("a file of /proc/net"))
    }

    /// Inodes of the listening TCP sockets of IPv4, with their ports.
    #[must_use]
    #[track_caller]
    pub fn listeners(&self) -> Vec<(u16, u64)> {
        let table = self.proc_net("tcp");
        let mut listeners: Vec<(u16, u64)> = table.lines().skip(1).filter_map(listener).collect();
        listeners.sort_unstable();
        listeners
    }

    /// `ip -j addr`, as the command prints it.
    #[must_use]
    #[track_caller]
    pub fn addresses(&self) -> serde_json::Value {
        serde_json::from_str(&self.run("ip -j addr")).expect("ip's JSON")
    }

    /// Every configured address.
    #[must_use]
    #[track_caller]
    pub fn owned(&self) -> Vec<IpAddr> {
        let links = self.addresses();
        let links = links.as_array().into_iter().flatten();
        let addresses = links.flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
        addresses.filter_map(|address| address["local"].as_str()?.parse().ok()).collect()
    }

    /// One configured address as `ip -j addr` shows it, with its interface's name and hardware
    /// address under `dev` and `mac`.
    #[must_use]
    #[track_caller]
    pub fn address(&self, wanted: IpAddr) -> Option<serde_json::Value> {
        let wanted = wanted.to_string();
        let links = self.addresses();
        for link in links.as_array().into_iter().flatten() {
            for address in link["addr_info"].as_array().into_iter().flatten() {
                if address["local"].as_str() == Some(&wanted) {
                    let mut found = address.clone();
                    found["dev"] = link["ifname"].clone();
                    found["mac"] = link["address"].clone();
                    return Some(found);
                }
            }
        }
        None
    }

    /// Ends every process inside at once, as a crash does.
    pub fn kill_everything(&self) {
        process::kill_all_in(&Path::new("/run/netns").join(&self.0.namespace));
    }

    /// Connects from `source`, within `limit`.
    pub fn connect_from(&self, source: Option<IpAddr>, target: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        self.exec_in(|| {
            let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket.connect_timeout(&target.into(), limit)?;
            socket.set_tcp_nodelay(true)?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            Ok(stream)
        })
    }

    /// Asks the server behind `target` for its name over a new connection from `source`.
    pub fn ask(&self, source: Option<IpAddr>, target: SocketAddr, limit: Duration) -> io::Result<Answer> {
        use std::io::{BufRead, BufReader, Write};
        let mut stream = self.connect_from(source, target, limit)?;
        stream.write_all(b"hello\n")?;
        let mut lines = BufReader::new(stream).lines();
        let mut next = || lines.next().unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::UnexpectedEof)));
        let (first, echoed) = (next()?, next()?);
        let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("{first:?} then {echoed:?}"));
        let (server, port) = first.split_once(':').ok_or_else(strange)?;
        let port = port.parse().map_err(|_| strange())?;
        if echoed != "hello" {
            return Err(strange());
        }
        Ok(Answer { server: server.to_owned(), port })
    }
}

/// Port and inode of a line of /proc/net/tcp, if it is of a listener.
fn listener(line: &str) -> Option<(u16, u64)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.split_once(':')?;
    (*fields.get(3)? == LISTEN).then_some(())?;
    Some((u16::from_str_radix(port, 16).ok()?, fields.get(9)?.parse().ok()?))
}
