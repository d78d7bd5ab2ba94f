//! Processes of the laboratory: output in a file, ended with their children, always by their ids.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::wait::try_until;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    child: Mutex<Child>,
}

/// A thread stopped in the middle of whatever it did; dropping the value lets it go on.
#[derive(Debug)]
pub struct Frozen {
    release: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Process {
    #[track_caller]
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).expect("a log file");
        let errors = file.try_clone().expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        Self { name: name.to_owned(), pid, log: log.to_owned(), child: Mutex::new(child) }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Sends it a signal; nothing if it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.alive() {
            let _ = kill(self.pid, signal);
        }
    }

    /// Kills it and its children in one blow: no child reacts to its parent's death, no parent to its child's.
    pub fn kill_tree(&self) {
        if self.alive() {
            let _ = kill(self.pid, Signal::SIGSTOP);
            for pid in descendants(self.pid) {
                let _ = kill(pid, Signal::SIGKILL);
            }
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }

    /// Waits for its end.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        try_until(limit, || self.child().try_wait().ok().flatten())
    }

    /// Its children, theirs, and so on.
    #[must_use]
    pub fn descendants(&self) -> Vec<Pid> {
        descendants(self.pid)
    }

    /// Resident memory, in bytes, with its children's.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.family().into_iter().map(resident).sum()
    }

    /// Resident memory of itself alone, in bytes.
    #[must_use]
    pub fn own_resident(&self) -> u64 {
        resident(self.pid)
    }

    /// Processor time used so far, with its children's.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.family().into_iter().map(cpu_time).sum()
    }

    /// Open descriptors, with its children's.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let count = |pid: Pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.family().into_iter().map(count).sum()
    }

    /// What its own descriptors refer to, as /proc names it.
    #[must_use]
    pub fn open_files(&self) -> Vec<PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    }

    fn family(&self) -> Vec<Pid> {
        let mut family = self.descendants();
        family.push(self.pid);
        family
    }

    /// Its threads: id and name.
    #[must_use]
    pub fn threads(&self) -> Vec<(Pid, String)> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten() {
            let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            threads.push((Pid::from_raw(id), name.trim().to_owned()));
        }
        threads
    }

    /// Stops one thread, as a bug that never returns would, and leaves the others running.
    #[track_caller]
    pub fn freeze_thread(&self, name: &str) -> Frozen {
        let threads = self.threads();
        let Some(&(thread, _)) = threads.iter().find(|(_, comm)| comm == name) else {
            panic!("{} has no thread called {name}, only {threads:?}", self.name)
        };
        Frozen::stop(thread)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_tree();
        let _ = self.child().wait();
    }
}

impl Frozen {
    /// A tracer owns its tracee by thread, so one thread both stops it and lets it go.
    #[track_caller]
    fn stop(thread: Pid) -> Self {
        let (stopped, is_stopped) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let tracer = std::thread::spawn(move || {
            let held = ptrace::seize(thread, ptrace::Options::empty())
                .and_then(|()| ptrace::interrupt(thread))
                .and_then(|()| waitpid(thread, Some(WaitPidFlag::__WALL)));
            let _ = stopped.send(held);
            let _ = released.recv();
            // Fails if the process has ended meanwhile, and then nothing is left to release.
            let _ = ptrace::detach(thread, None);
        });
        let held = is_stopped.recv().expect("the tracer answers");
        assert!(held.is_ok(), "thread {thread} cannot be stopped: {held:?}");
        Self { release: Some(release), tracer: Some(tracer) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

fn resident(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn cpu_time(pid: Pid) -> Duration {
    /// `USER_HZ`, the same on every architecture that Debian runs on.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // As in `parent`: fields 14 and 15 of proc(5), counted from the one behind the name.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u32 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    Duration::from_secs_f64(f64::from(ticks) / TICKS)
}

/// Kills every process of a network namespace, each by its id.
pub(crate) fn kill_all_in(namespace: &Path) {
    let Ok(wanted) = fs::metadata(namespace) else { return };
    let is_inside = |pid: &Pid| {
        *pid != Pid::this()
            && fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|seen| seen.ino() == wanted.ino() && seen.dev() == wanted.dev())
    };
    // A process that forks while the list is read escapes one round, not all of them.
    for _ in 0..3 {
        let inside: Vec<Pid> = all_pids().into_iter().filter(is_inside).collect();
        if inside.is_empty() {
            return;
        }
        // In one blow: none reacts to the death of another.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for &pid in &inside {
                let _ = kill(pid, signal);
            }
        }
    }
}

fn descendants(root: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> = all_pids().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&of) = family.get(next) {
        family.extend(parents.iter().filter(|&&(_, parent)| parent == of).map(|&(pid, _)| pid));
        next += 1;
    }
    family.split_off(1)
}

fn all_pids() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok().map(Pid::from_raw)).collect()
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, a parenthesis too: look behind the last one.
    let rest = stat.rsplit_once(')')?.1;
    rest.split_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}
