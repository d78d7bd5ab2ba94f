//! HAProxy and vipgate as processes, tables in memory, and addresses of one's own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netns_tests::wait::until_true;
use vipgate::model::{Key, KeyType, Member, PeerGroup, PeerKeys};
use vipgate::peers::{Entry, Replica, Table};

pub(crate) const HAPROXY: &str = "/usr/sbin/haproxy";
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// Whether HAProxy is here. Without it tests are skipped, loudly; in CI that is a failure.
pub(crate) fn haproxy_is_here() -> bool {
    let here = Path::new(HAPROXY).exists();
    if !here {
        assert!(std::env::var_os("CI").is_none(), "haproxy is not installed");
        println!("SKIPPED: haproxy is not installed");
    }
    here
}

/// An address of 127/8 that no other test has.
pub(crate) fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 64 | high & 63, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A process with a stats socket, in a directory of its own. Killed when the value goes.
pub(crate) struct Process {
    directory: PathBuf,
    name: String,
    program: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// HAProxy, called `name` among the peers.
    pub(crate) fn haproxy(name: &str, config: &str) -> Self {
        Self::new(name, Path::new(HAPROXY), config)
    }

    /// vipgate with the same file.
    pub(crate) fn vipgate(name: &str, config: &str) -> Self {
        Self::new(name, Path::new(env!("CARGO_BIN_EXE_vipgate")), config)
    }

    fn new(name: &str, program: &Path, config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("vipgate-peers-{}-{number}", std::process::id()));
        fs::create_dir_all(directory.join("state")).unwrap();
        fs::write(directory.join("cfg"), config.replace("DIR", &directory.display().to_string())).unwrap();
        let mut process = Self { directory, name: name.to_owned(), program: program.to_owned(), child: None };
        process.start();
        process
    }

    pub(crate) fn start(&mut self) {
        let (config, socket) = (self.directory.join("cfg"), self.directory.join("sock"));
        let _old = fs::remove_file(&socket);
        let mut command = Command::new(&self.program);
        if self.program == Path::new(HAPROXY) {
            command.arg("-db").arg("-f").arg(config).arg("-L").arg(&self.name);
        } else {
            command.arg("run").arg("--haproxy").arg(config).arg("--run-dir").arg(&self.directory);
            command.arg("--state-dir").arg(self.directory.join("state")).env("HAPROXY_LOCALPEER", &self.name);
        }
        let log = File::options().create(true).append(true).open(self.directory.join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        until_true("the stats socket", PATIENCE, || UnixStream::connect(&socket).is_ok());
    }

    /// Kills it, so that it says nothing any more, and forgets what it kept.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let _kept = fs::remove_file(self.directory.join("state/learnt.state"));
    }

    pub(crate) fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.directory.join("sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The server of a client, by its place; none: it is not in the table.
    pub(crate) fn server_of(&self, client: &str) -> Option<u32> {
        let answer = self.ask(&format!("show table be key {client}"));
        answer.split("server_id=").nth(1)?.split(' ').next()?.parse().ok()
    }

    pub(crate) fn used(&self) -> usize {
        let answer = self.ask("show table");
        answer.split("used:").nth(1).and_then(|used| used.lines().next()?.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {} ({})\n{}", self.name, self.program.display(), self.log());
        }
        self.kill();
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// A table that only remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: Mutex<Vec<Entry>>,
    changes: Mutex<Vec<Entry>>,
    learnt: Mutex<Vec<Entry>>,
}

impl Memory {
    pub(crate) fn of(entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::new(entries), ..Self::default() })
    }

    pub(crate) fn change(&self, entry: Entry) {
        self.changes.lock().unwrap().push(entry);
    }

    pub(crate) fn learnt(&self) -> Vec<Entry> {
        self.learnt.lock().unwrap().clone()
    }

    pub(crate) fn learnt_count(&self) -> usize {
        self.learnt.lock().unwrap().len()
    }
}

impl Replica for Memory {
    fn changes(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.changes.lock().unwrap())
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    fn learn(&self, entries: Vec<Entry>) {
        self.learnt.lock().unwrap().extend(entries);
    }
}

pub(crate) fn table(memory: &Arc<Memory>) -> Table {
    let expire = Some(Duration::from_secs(3600));
    Table { name: "be".into(), kind: KeyType::Ipv4, expire, replica: Arc::clone(memory) as Arc<dyn Replica> }
}

pub(crate) fn entry(n: u32, server: u32) -> Entry {
    let key = Key::Address(Ipv4Addr::from(0x0a00_0000 + n).into());
    Entry { key, server: Some(format!("s{server}").into()), place: server, left: Some(Duration::from_secs(1800)) }
}

/// A group of nodes at these addresses, as the one called `local` has it.
pub(crate) fn group(local: &str, members: &[(&str, SocketAddr)], keys: Option<PeerKeys>) -> PeerGroup {
    let member = |&(name, address): &(&str, SocketAddr)| Member { name: name.to_owned(), address };
    PeerGroup {
        name: "nodes".into(),
        local: Some(local.to_owned()),
        listen: None,
        members: members.iter().map(member).collect(),
        keys,
    }
}
