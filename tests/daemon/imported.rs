//! Daemons that were given a haproxy.cfg, and HAProxy itself on the same words.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use netns_tests::wait::until_true;

use super::support::{BINARY, Daemon, Dir, PATIENCE, own_ip, run_arguments};

const HAPROXY: &str = "/usr/sbin/haproxy";

/// The answer to one line.
pub(crate) fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A vipgate that was given a haproxy.cfg.
pub(crate) fn start(config: &str, more: impl FnOnce(&mut Command, &Path)) -> Daemon {
    let dir = Dir::new();
    let config = config.replace("DIR", &dir.path().display().to_string());
    let file = dir.write("haproxy.cfg", &config);
    let log = File::create(dir.path().join("log")).unwrap();
    fs::create_dir_all(dir.path().join("state")).unwrap();
    let mut command = Command::new(BINARY);
    more(&mut command, dir.path());
    command.stderr(log).stdin(Stdio::null()).stdout(Stdio::null());
    command.arg("run").arg("--haproxy").arg(file).arg("--run-dir").arg(dir.path());
    let child = command.arg("--state-dir").arg(dir.path().join("state")).spawn().unwrap();
    let daemon = Daemon { dir, child };
    daemon.wait_running();
    daemon
}

pub(crate) fn config(ip: IpAddr, servers: IpAddr) -> String {
    format!(
        "global\n stats socket DIR/admin.sock mode 600 level admin\n stats socket DIR/operator.sock mode 660 level operator\n\
         \x20stats socket DIR/user.sock level user\n stats timeout 20s\n maxconn 2000\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         frontend fe\n bind {ip}:7001\n default_backend be\n\
         listen li\n bind {ip}:7002\n maxconn 100\n server a {servers}:7100 maxconn 5\n\
         backend be\n stick-table type ip size 1k expire 30m\n stick on src\n\
         \x20server s1 {servers}:7100 check inter 500ms weight 10\n server s2 {servers}:7199 check inter 500ms backup\n\
         \x20server s3 {servers}:7101 disabled\n"
    )
}

/// Echoes on port 7100 of an address of its own.
pub(crate) fn servers() -> IpAddr {
    let ip = own_ip();
    let listener = std::net::TcpListener::bind((ip, 7100)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    ip
}

pub(crate) fn exchange(ip: IpAddr, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((ip, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    stream
}

/// HAProxy on a file of the same words, ended with the value.
pub(crate) struct Haproxy {
    child: Child,
    pub(crate) dir: Dir,
}

impl Haproxy {
    pub(crate) fn start(config: &str) -> Option<Self> {
        if !Path::new(HAPROXY).exists() {
            netns_tests::report::loud("SKIPPED: there is no haproxy to compare with");
            return None;
        }
        let dir = Dir::new();
        let file = dir.write("haproxy.cfg", &config.replace("DIR", &dir.path().display().to_string()));
        let mut command = Command::new(HAPROXY);
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let started = Self { child, dir };
        until_true("haproxy's socket", PATIENCE, || UnixStream::connect(started.socket("admin")).is_ok());
        Some(started)
    }

    pub(crate) fn socket(&self, level: &str) -> PathBuf {
        self.dir.path().join(format!("{level}.sock"))
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Starts it again on what it left.
#[track_caller]
pub(crate) fn start_again(daemon: &mut Daemon) {
    let mut command = Command::new(BINARY);
    let [run, _, _, run_dir, dir] = run_arguments(daemon.dir.path());
    command.arg(run).arg("--haproxy").arg(daemon.dir.path().join("haproxy.cfg")).arg(run_dir).arg(dir);
    command.arg("--state-dir").arg(daemon.dir.path().join("state")).stdin(Stdio::null()).stdout(Stdio::null());
    let log = File::options().append(true).open(daemon.dir.path().join("log")).unwrap();
    daemon.child = command.stderr(log).spawn().unwrap();
    daemon.wait_running();
}
