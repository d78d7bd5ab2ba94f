//! TLS servers of Java (JSSE), all in one process that starts once: `TlsServers.java`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::servers::Mode;

/// The process; the end of its input, which is the end of this one, ends it.
struct Java {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

static JAVA: OnceLock<Mutex<Java>> = OnceLock::new();

/// Starts the process, if it does not run yet, and does not wait until it listens to commands.
pub(crate) fn start() {
    let _running = java();
}

/// A server with new keys for tickets and without any session; its certificate and key are in `directory`.
pub(crate) fn open(address: SocketAddr, mode: Mode, directory: &Path) {
    let protocol = if mode.is_tls13() { "TLSv1.3" } else { "TLSv1.2" };
    let (tickets, retry) = (mode != Mode::Ids12, mode == Mode::Retry13);
    let (ip, port, directory) = (address.ip(), address.port(), directory.display());
    java().carry_out(&format!("open {ip} {port} {protocol} {tickets} {retry} {directory}"));
}

pub(crate) fn close(address: SocketAddr) {
    java().carry_out(&format!("close {}", address.ip()));
}

fn java() -> MutexGuard<'static, Java> {
    JAVA.get_or_init(|| Mutex::new(Java::launch())).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Java {
    fn launch() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/affinity/TlsServers.java");
        let mut command = Command::new("java");
        // It lives for seconds: what is compiled well later would come too late.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]).arg(source);
        let Child { stdin, stdout, .. } = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { commands: stdin.unwrap(), answers: BufReader::new(stdout.unwrap()) }
    }

    fn carry_out(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "Java did not carry out: {command}");
    }
}
