//! The laboratory: namespaces with unique names, removed when it goes, whatever ended it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::lan::Lan;
use crate::node::Node;
use crate::process;
use crate::report::loud;

/// Every namespace and directory of a laboratory starts with this, then the process id.
const PREFIX: &str = "vglab-";
const NETNS_DIR: &str = "/run/netns";
const ETC_NETNS_DIR: &str = "/etc/netns";

/// Two cores: one scenario at a time, or nothing that is measured means anything.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// A test keeps its turn until its thread ends: what it prints stays together.
    static MY_TURN: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// A set of nodes and the switch between them. Dropping it ends every process inside and removes the namespaces.
#[derive(Debug)]
pub struct Lab {
    id: String,
    dir: PathBuf,
    switch: Node,
    nodes: Mutex<BTreeMap<String, Node>>,
    ports: Arc<AtomicU32>,
}

impl Lab {
    /// A laboratory for the test `name`, or none, said loudly, where the privileges are missing. With `CI=true` in the
    /// environment a missing privilege is a failure.
    #[must_use]
    pub fn for_test(name: &str) -> Option<Self> {
        take_turn();
        match missing_privilege() {
            None => {
                crate::report::line(&format!("\n-- {name}"));
                Some(Self::new())
            }
            Some(missing) if std::env::var_os("CI").is_some_and(|value| value == "true") => {
                panic!("{name}: {missing}, and CI=true allows no skipping")
            }
            Some(missing) => {
                loud(&format!("SKIPPED {name}: {missing}; run as root on Linux (`sudo make test`)"));
                None
            }
        }
    }

    /// A laboratory; waits for the tests of other threads to end.
    #[must_use]
    pub fn new() -> Self {
        SWEPT.call_once(|| {
            remove_dead();
            raise_descriptor_limit();
        });
        take_turn();
        let id = format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir_all(&dir).expect("the laboratory's directory");
        let switch = Node::create(&id, "switch", &dir);
        Self { id, dir, switch, nodes: Mutex::default(), ports: Arc::default() }
    }

    /// A new node: a namespace with its loopback up.
    #[must_use]
    pub fn node(&self, name: &str) -> Node {
        let node = Node::create(&self.id, name, &self.dir);
        let before = self.nodes().insert(name.to_owned(), node.clone());
        assert!(before.is_none(), "two nodes are called {name}");
        node
    }

    /// A new local network: a bridge in the switch.
    #[must_use]
    pub fn lan(&self, name: &str) -> Lan {
        Lan::create(&self.switch, name, Arc::clone(&self.ports))
    }

    /// Its directory, removed with it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            loud(&log_tails(&self.dir));
        }
        remove(&self.id);
    }
}

/// Removes every laboratory of the process `pid`: for a program that may be interrupted, once it has ended.
pub fn remove_all_of(pid: u32) {
    remove_matching(|of| of == pid);
}

/// Why no laboratory can be built here.
#[must_use]
pub fn missing_privilege() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(find_missing_privilege).clone()
}

fn take_turn() {
    MY_TURN.with_borrow_mut(|mine| {
        mine.get_or_insert_with(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    });
}

fn find_missing_privilege() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root, so no network namespaces".to_owned());
    }
    let probe = format!("{PREFIX}{}-probe", std::process::id());
    let added = Command::new("ip").args(["netns", "add", &probe]).stderr(Stdio::piped()).output();
    match added {
        Ok(output) if output.status.success() => {
            let _ = Command::new("ip").args(["netns", "del", &probe]).status();
            None
        }
        Ok(output) => Some(format!("`ip netns add` fails: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("`ip` cannot be run ({error}); install iproute2")),
    }
}

/// Runs `ip -batch` inside a namespace; the test fails with what it said.
#[track_caller]
pub(crate) fn ip_batch(namespace: Option<&str>, lines: &str) {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iproute2's ip");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("ip reads its batch");
    let output = child.wait_with_output().expect("ip ends");
    assert!(
        output.status.success(),
        "ip -batch in {namespace:?} failed: {}\n{lines}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}

/// Removes namespaces, directories and processes whose laboratory ended without doing so, or was to be kept.
pub fn remove_dead() {
    remove_matching(|pid| !Path::new(&format!("/proc/{pid}")).exists());
}

fn remove_matching(matches: impl Fn(u32) -> bool) {
    let mut ids: Vec<String> = Vec::new();
    for dir in [Path::new(NETNS_DIR), &std::env::temp_dir(), Path::new(ETC_NETNS_DIR)] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().splitn(3, '-');
            let (Some(Ok(pid)), Some(number)) = (parts.next().map(str::parse::<u32>), parts.next()) else { continue };
            let id = format!("{PREFIX}{pid}-{number}");
            if matches(pid) && !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    ids.iter().for_each(|id| remove(id));
}

fn remove(id: &str) {
    let belongs = |name: &str| name == id || name.strip_prefix(id).is_some_and(|rest| rest.starts_with('-'));
    let mut batch = String::new();
    for entry in fs::read_dir(NETNS_DIR).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if belongs(&name) {
            process::kill_all_in(&entry.path());
            let _ = writeln!(batch, "netns del {name}");
        }
    }
    if !batch.is_empty()
        && let Ok(mut child) = Command::new("ip").args(["-force", "-batch", "-"]).stdin(Stdio::piped()).spawn()
    {
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(batch.as_bytes());
        }
        let _ = child.wait();
    }
    for dir in [PathBuf::from(ETC_NETNS_DIR), std::env::temp_dir()] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if belongs(&entry.file_name().to_string_lossy()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    // Only ours were in it, if it is empty now.
    let _ = fs::remove_dir(ETC_NETNS_DIR);
}

/// Thousands of connections are held by the test itself.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The last lines of every log, for the reader of a failed test.
fn log_tails(dir: &Path) -> String {
    const LINES: usize = 25;
    let mut text = String::new();
    for path in logs_below(dir) {
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        // One line a connection drowns every other.
        let lines: Vec<&str> = content.lines().filter(|line| !line.contains("connection ended")).collect();
        let _ = writeln!(
            text,
            "---- {} ({} lines of interest)",
            path.strip_prefix(dir).unwrap_or(&path).display(),
            lines.len()
        );
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn logs_below(dir: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            logs.extend(logs_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    logs.sort();
    logs
}
