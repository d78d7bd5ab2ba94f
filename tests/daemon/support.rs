//! Daemons in directories of their own, servers behind them, and what other tools say about them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use netns_tests::wait::{try_until, until_true};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_vipgate");
/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// A directory that goes with the value.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vipgate-daemon-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// An address of 127/8 that no other test has, nor another run of them that goes on beside this one.
pub(crate) fn own_ip() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 128 | high, low, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A running `vipgate run`, its log in a file. Killed when the value goes.
pub(crate) struct Daemon {
    pub(crate) dir: Dir,
    pub(crate) child: Child,
}

impl Daemon {
    /// Starts with this configuration and waits until it runs.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        let daemon = Self::spawn(config);
        daemon.wait_running();
        daemon
    }

    /// Starts and waits for nothing.
    pub(crate) fn spawn(config: &str) -> Self {
        let dir = Dir::new();
        dir.write("vipgate.toml", config);
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(BINARY);
        Self::spawn_in(dir, command.stderr(log), &[])
    }

    /// Runs `command`, a vipgate with standard error already set, with `more` arguments.
    pub(crate) fn spawn_in(dir: Dir, command: &mut Command, more: &[&str]) -> Self {
        let arguments = run_arguments(dir.path());
        let child = command.args(arguments).args(more).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { dir, child }
    }

    /// Kills it and starts it again on what it left.
    #[track_caller]
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut command = Command::new(BINARY);
        command.args(run_arguments(self.dir.path())).stdin(Stdio::null()).stdout(Stdio::null());
        let log = File::options().append(true).open(self.dir.path().join("log")).unwrap();
        self.child = command.stderr(log).spawn().unwrap();
        self.wait_running();
    }

    /// Waits for an answer on the control socket.
    #[track_caller]
    pub(crate) fn wait_running(&self) {
        until_true("the control socket", PATIENCE, || self.ask(r#"{"request":"ping"}"#).contains("answers"));
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) {
        let found = try_until(PATIENCE, || self.log().contains(text).then_some(()));
        assert!(found.is_some(), "the log does not say `{text}`:\n{}", self.log());
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        match try_until(limit, || self.child.try_wait().unwrap()) {
            Some(status) => status,
            None => panic!("it runs on after {limit:?}"),
        }
    }

    /// `vipgate ARGUMENTS --run-dir ...`.
    pub(crate) fn vipgate(&self, arguments: &[&str]) -> Said {
        said(Command::new(BINARY).args(arguments).arg("--run-dir").arg(self.dir.path()))
    }

    /// Sends a line on the control socket and returns the first line of the answer, or nothing.
    pub(crate) fn ask(&self, line: &str) -> String {
        let Ok(mut stream) = self.connect() else { return String::new() };
        let _gone = stream.write_all(format!("{line}\n").as_bytes());
        read_line(&mut stream)
    }

    pub(crate) fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(self.dir.path().join("control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&self.ask(r#"{"request":"status"}"#)).unwrap()["snapshot"].clone()
    }

    pub(crate) fn configure(&self, config: &str) {
        self.dir.write("vipgate.toml", config);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// `run` with file and run directory in `dir`.
pub(crate) fn run_arguments(dir: &Path) -> [std::ffi::OsString; 5] {
    ["run".into(), "--config".into(), dir.join("vipgate.toml").into(), "--run-dir".into(), dir.into()]
}

pub(crate) fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        if byte[0] == b'\n' {
            break;
        }
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs a command to its end, which must come soon.
#[track_caller]
pub(crate) fn said(command: &mut Command) -> Said {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _gone = from.read_to_end(&mut bytes);
            bytes
        })
    };
    let (stdout, stderr) = (read(Box::new(out)), read(Box::new(err)));
    let status = try_until(PATIENCE, || child.try_wait().unwrap());
    if status.is_none() {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    let ended = child.wait().unwrap();
    let output = Output { status: ended, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    let said = Said::of(&output);
    assert!(status.is_some(), "{command:?} did not end: {said:?}");
    said
}

/// `vipgate ARGUMENTS`.
#[track_caller]
pub(crate) fn vipgate(arguments: &[&str]) -> Said {
    said(Command::new(BINARY).args(arguments))
}

/// `vipgate run` with this text as its file, to its end.
#[track_caller]
pub(crate) fn refusal(config: &str) -> Said {
    let dir = Dir::new();
    dir.write("vipgate.toml", config);
    said(Command::new(BINARY).args(run_arguments(dir.path())))
}

/// A service `name` on `listen` that sends everybody to `server`.
pub(crate) fn service(name: &str, listen: SocketAddr, server: SocketAddr) -> String {
    format!("[[service]]\nname = \"{name}\"\nlisten = \"{listen}\"\nservers = [\"{server}\"]\n")
}

/// A server that echoes, on a free port.
pub(crate) fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind((own_ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            std::thread::spawn(move || echo(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _gone = stream.shutdown(Shutdown::Write);
}

/// A client of an echo.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// From this address.
    pub(crate) fn connect_from(client: IpAddr, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(client, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Whether what it says comes back.
    pub(crate) fn echoes(&mut self) -> bool {
        self.hears(b"ping")
    }

    /// Whether this comes back when it says so.
    pub(crate) fn hears(&mut self, said: &[u8]) -> bool {
        let mut back = vec![0; said.len()];
        self.0.write_all(said).is_ok() && self.0.read_exact(&mut back).is_ok() && back == said
    }
}

/// Whether a new connection is served.
pub(crate) fn serves(address: SocketAddr) -> bool {
    Client::connect(address).is_ok_and(|mut client| client.echoes())
}

/// Inodes of the IPv4 sockets that listen on `address`.
pub(crate) fn listening(address: SocketAddr) -> Vec<String> {
    let IpAddr::V4(ip) = address.ip() else { panic!("IPv4 only") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut inodes: Vec<String> =
        fields.filter(|line| line[1] == local && line[3] == "0A").map(|line| line[9].to_owned()).collect();
    inodes.sort();
    inodes
}

/// Whether the test may go on as root; otherwise says loudly that it does not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        netns_tests::report::loud(&format!("SKIPPED {test}: not root"));
    }
    root
}
