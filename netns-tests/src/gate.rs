//! What stands on a front node: vipgate from its own file, vipgate from the foreign files, or the two daemons it replaces.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::node::Node;
use crate::plan::Plan;
use crate::process::Process;

/// How a node's job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// vipgate, from a TOML file.
    Toml,
    /// vipgate, from a keepalived.conf and a haproxy.cfg given together.
    Foreign,
    /// keepalived and HAProxy, from the same two files: the peer to compare with.
    Daemons,
}

/// A running front node.
#[derive(Debug)]
pub struct Gate {
    node: Node,
    subject: Subject,
    processes: Vec<Process>,
}

/// How long a process may take to end after being told to.
const END: Duration = Duration::from_secs(10);

impl Subject {
    /// Both ways to run vipgate.
    pub const VIPGATE: [Self; 2] = [Self::Toml, Self::Foreign];
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Toml => "vipgate, TOML",
            Self::Foreign => "vipgate, foreign files",
            Self::Daemons => "keepalived + HAProxy",
        })
    }
}

impl Gate {
    /// Writes the files of `plan` and starts what reads them.
    #[track_caller]
    pub fn start(node: &Node, subject: Subject, plan: &Plan) -> Self {
        write_files(node, subject, plan);
        let processes =
            match subject {
                Subject::Toml | Subject::Foreign => {
                    vec![node.spawn(
                        "vipgate",
                        node.command(vipgate_binary()).arg("run").args(file_arguments(node, subject)),
                    )]
                }
                Subject::Daemons => vec![start_keepalived(node), start_haproxy(node)],
            };
        Self { node: node.clone(), subject, processes }
    }

    /// Starts vipgate from one file that is there already; `option` says of which kind it is.
    #[track_caller]
    pub fn from_file(node: &Node, option: &str, file: &Path) -> Self {
        let mut command = node.command(vipgate_binary());
        command.arg("run").arg(option).arg(file).args(directories(node));
        Self { node: node.clone(), subject: Subject::Toml, processes: vec![node.spawn("vipgate", &mut command)] }
    }

    /// Starts keepalived alone from `plan`: the partner of interoperation.
    #[track_caller]
    pub fn keepalived_alone(node: &Node, plan: &Plan) -> Self {
        write_files(node, Subject::Daemons, plan);
        Self { node: node.clone(), subject: Subject::Daemons, processes: vec![start_keepalived(node)] }
    }

    /// The process that matters: vipgate, or keepalived.
    #[must_use]
    pub fn main(&self) -> &Process {
        &self.processes[0]
    }

    /// The process that carries the traffic: vipgate, or HAProxy.
    #[must_use]
    pub fn proxy(&self) -> &Process {
        self.processes.last().expect("a gate has a process")
    }

    /// Whether everything still runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.processes.iter().all(Process::alive)
    }

    /// SIGTERM to everything, as a service manager stops a node.
    pub fn terminate(&self) {
        self.processes.iter().for_each(|process| process.signal(Signal::SIGTERM));
    }

    /// SIGKILL to the daemons: not to what stands by for that (vipgate's guardian).
    pub fn kill(&self) {
        match self.subject {
            Subject::Toml | Subject::Foreign => self.main().signal(Signal::SIGKILL),
            Subject::Daemons => self.processes.iter().for_each(Process::kill_tree),
        }
    }

    /// Gives the addresses away and goes on running. keepalived cannot: its operator stops it, and HAProxy goes on.
    #[track_caller]
    pub fn hand_over(&self) {
        match self.subject {
            Subject::Toml | Subject::Foreign => {
                let output = self.vipgate("handover");
                assert!(output.status.success(), "vipgate handover: {}", said(&output));
            }
            Subject::Daemons => self.main().signal(Signal::SIGTERM),
        }
    }

    /// Writes new files and has them read.
    #[track_caller]
    pub fn reload(&self, plan: &Plan) {
        write_files(&self.node, self.subject, plan);
        self.reread();
    }

    /// Has the files read again, whatever is in them.
    pub fn reread(&self) {
        self.main().signal(Signal::SIGHUP);
        if self.subject == Subject::Daemons {
            // HAProxy's master process re-executes itself.
            self.proxy().signal(Signal::SIGUSR2);
        }
    }

    /// Waits for the end of everything.
    #[track_caller]
    pub fn wait_end(&self) {
        for process in &self.processes {
            assert!(process.wait(END).is_some(), "{} runs on after {END:?}: {}", self.subject, process.log());
        }
    }

    /// Runs a command of vipgate's against the running daemon.
    #[track_caller]
    pub fn vipgate(&self, command: &str) -> Output {
        self.command(command).output().expect("ip netns exec")
    }

    /// Starts a command of vipgate's that goes on until it is ended.
    #[track_caller]
    pub fn follow(&self, command: &str) -> Process {
        self.node.spawn(command, &mut self.command(command))
    }

    fn command(&self, command: &str) -> Command {
        let mut run = self.node.command(vipgate_binary());
        run.args(command.split_whitespace()).arg("--run-dir").arg(run_dir(&self.node));
        run
    }

    /// What vipgate says of itself; none while it does not answer.
    #[must_use]
    pub fn status(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.vipgate("status --json").stdout).ok()
    }

    /// Everything it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// The file with the services and the one with the virtual routers: to break them.
    #[must_use]
    pub fn files(&self) -> [PathBuf; 2] {
        let names = match self.subject {
            Subject::Toml => ["vipgate.toml", "vipgate.toml"],
            Subject::Foreign | Subject::Daemons => ["haproxy.cfg", "keepalived.conf"],
        };
        names.map(|name| self.node.dir().join(name))
    }
}

/// What a command wrote, for a message.
#[must_use]
pub fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    format!("{} {} {}", output.status, texts[0], texts[1])
}

/// The binary under test: `$VIPGATE_BIN`, or the one built beside this executable.
#[must_use]
#[track_caller]
pub fn vipgate_binary() -> PathBuf {
    if let Some(path) = env::var_os("VIPGATE_BIN") {
        return path.into();
    }
    let executable = env::current_exe().expect("this executable has a path");
    // target/PROFILE/demo or target/PROFILE/deps/TEST-HASH.
    let candidates = executable.ancestors().skip(1).take(2).map(|dir| dir.join("vipgate"));
    let looked: Vec<PathBuf> = candidates.collect();
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => path.clone(),
        None => panic!("no vipgate binary at {looked:?}: run `cargo build` first, or set VIPGATE_BIN"),
    }
}

/// The arguments that name a node's files and directories.
#[must_use]
pub fn file_arguments(node: &Node, subject: Subject) -> Vec<std::ffi::OsString> {
    let path = |name: &str| node.dir().join(name).into_os_string();
    let mut arguments: Vec<std::ffi::OsString> = match subject {
        Subject::Toml => vec!["--config".into(), path("vipgate.toml")],
        Subject::Foreign | Subject::Daemons => {
            vec!["--keepalived".into(), path("keepalived.conf"), "--haproxy".into(), path("haproxy.cfg")]
        }
    };
    arguments.extend(directories(node));
    arguments
}

fn directories(node: &Node) -> [std::ffi::OsString; 4] {
    ["--run-dir".into(), run_dir(node).into(), "--state-dir".into(), node.dir().join("state").into()]
}

fn run_dir(node: &Node) -> PathBuf {
    node.dir().join("run")
}

/// Writes the files that `subject` reads.
#[track_caller]
pub fn write_files(node: &Node, subject: Subject, plan: &Plan) {
    match subject {
        Subject::Toml => drop(node.write("vipgate.toml", &plan.toml())),
        Subject::Foreign | Subject::Daemons => {
            node.write("keepalived.conf", &plan.keepalived());
            node.write("haproxy.cfg", &plan.haproxy());
        }
    }
}

#[track_caller]
fn start_keepalived(node: &Node) -> Process {
    let path = |name: &str| node.dir().join(name);
    // Left by a killed run: the dead child, not yet reaped by init, would pass for "already running".
    for left in ["keepalived.pid", "vrrp.pid"] {
        let _ = fs::remove_file(path(left));
    }
    let mut command: Command = node.command("keepalived");
    command.args(["--dont-fork", "--log-console", "--log-detail", "--dump-conf", "--vrrp", "--use-file"]);
    command.arg(path("keepalived.conf"));
    command.arg("--pid").arg(path("keepalived.pid")).arg("--vrrp_pid").arg(path("vrrp.pid"));
    node.spawn("keepalived", &mut command)
}

#[track_caller]
fn start_haproxy(node: &Node) -> Process {
    let mut command = node.command("haproxy");
    command.args(["-W", "-db", "-f"]).arg(node.dir().join("haproxy.cfg"));
    node.spawn("haproxy", &mut command)
}
