//! The spawner as a process of its own, and commands that behave well, badly and dangerously.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: they read the clock, wait, and fail by panicking"
)]

use std::fs;
use std::future::Future;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::model::{Command, User};
use vipgate::spawner::{Job, Outcome, Runner, Spawner};

/// The second between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);
/// What a loaded machine may add.
const SLACK: Duration = Duration::from_secs(3);

fn start() -> Spawner {
    let mut spawner = Spawner::start_as(Path::new(env!("CARGO_BIN_EXE_vipgate"))).unwrap();
    spawner.listen().unwrap();
    spawner
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A line of shell.
fn shell(line: &str) -> Job {
    let arguments = vec!["-c".to_owned(), line.to_owned()];
    let command = Command { program: "sh".into(), arguments, user: None, timeout: Duration::from_secs(20) };
    Job { command, arguments: Vec::new(), environment: Vec::new(), secure: false }
}

fn shell_within(line: &str, timeout: Duration) -> Job {
    let mut job = shell(line);
    job.command.timeout = timeout;
    job
}

fn program(path: &Path) -> Job {
    let mut job = shell("");
    job.command.program = path.to_owned();
    job.command.arguments.clear();
    job
}

/// A directory of this test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipgate-spawner-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn script(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("*** SKIPPED: needs root ***");
    }
    root
}

/// Whether a process runs; a zombie does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SLACK, "not within {SLACK:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn outcome(runner: &Runner, job: Job) -> Outcome {
    block_on(runner.run(job)).outcome
}

#[test]
fn ends_are_told_apart() {
    let spawner = start();
    let runner = spawner.runner();
    assert_eq!(outcome(&runner, shell("exit 0")), Outcome::Exited(0));
    assert_eq!(outcome(&runner, shell("exit 3")), Outcome::Exited(3));
    assert_eq!(outcome(&runner, shell("kill -SEGV $$")), Outcome::Signalled(libc::SIGSEGV));
    let report = block_on(runner.run(shell("echo one; echo two >&2; exit 1")));
    assert_eq!((report.outcome, report.last_line.as_deref()), (Outcome::Exited(1), Some("two")));
    let folder = Folder::new("ends");
    let not_executable = program(&folder.script("plain", "", 0o644));
    let no_interpreter = program(&folder.script("lost", "#!/no/such/interpreter\n", 0o755));
    for (job, cause) in [
        (program(Path::new("/no/such/program")), "/no/such/program"),
        (not_executable, "executable"),
        (no_interpreter, "interpreter"),
    ] {
        let Outcome::Failed(text) = outcome(&runner, job) else { panic!("it ran: {cause}") };
        assert!(text.contains(cause), "{text}");
    }
    spawner.stop();
}

#[test]
fn a_command_inherits_nothing() {
    let spawner = start();
    let folder = Folder::new("inherits");
    let seen = |line: &str| {
        let file = folder.0.join("seen");
        let mut job = shell(&format!("({line}) > {}", file.display()));
        job.environment = vec![("VIP".into(), "192.0.2.1".into())];
        assert_eq!(outcome(&spawner.runner(), job), Outcome::Exited(0));
        fs::read_to_string(file).unwrap().trim().to_owned()
    };
    let environment = seen("cat /proc/$$/environ | tr '\\0' '\\n' | sort");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(environment, format!("{path}\nVIP=192.0.2.1"));
    assert_eq!(seen("pwd"), "/");
    assert_eq!(seen("wc -c < /proc/$$/fd/0"), "0");
    assert_eq!(seen("ls /proc/$$/fd | grep -vx '1[0-9]' | tr '\\n' ' '"), "0 1 2");
    let signals = seen("grep -E 'Sig(Blk|Ign)' /proc/$$/status | cut -f 2 | tr '\\n' ' '");
    assert_eq!(signals, "0000000000000000 0000000000000000");
    assert_eq!(seen("cat /proc/$$/oom_score_adj"), "0");
    assert_eq!(seen("cut -d ' ' -f 5,6 /proc/$$/stat | grep -cx \"$$ $$\""), "1");
    spawner.stop();
}

#[test]
fn arguments_of_the_job_follow_those_of_the_command() {
    let spawner = start();
    let mut job = shell("test \"$0 $1\" = 'MASTER 100'");
    job.arguments = vec!["MASTER".into(), "100".into()];
    assert_eq!(outcome(&spawner.runner(), job), Outcome::Exited(0));
    spawner.stop();
}

#[test]
fn what_takes_too_long_is_ended_with_its_whole_group() {
    let spawner = start();
    let folder = Folder::new("long");
    let limit = Duration::from_millis(300);
    let pid = folder.0.join("pid");
    // Both are deaf to TERM: only KILL a second later helps.
    let line = format!("trap '' TERM; sleep 1000 & echo $! > {}; wait; wait; sleep 1000", pid.display());
    let begun = Instant::now();
    assert_eq!(outcome(&spawner.runner(), shell_within(&line, limit)), Outcome::TimedOut);
    let took = begun.elapsed();
    assert!((limit + GRACE..limit + GRACE + SLACK).contains(&took), "{took:?}");
    let grandchild = fs::read_to_string(&pid).unwrap();
    eventually("the grandchild is dead", || !runs(&grandchild));

    // One that heeds TERM is not waited for.
    let begun = Instant::now();
    assert_eq!(outcome(&spawner.runner(), shell_within("exec sleep 1000", limit)), Outcome::TimedOut);
    assert!(begun.elapsed() < limit + GRACE, "{:?}", begun.elapsed());
    spawner.stop();
}

#[test]
fn commands_do_not_wait_for_each_other() {
    let spawner = start();
    let runner = spawner.runner();
    let begun = Instant::now();
    block_on(async {
        let slow = futures_util::future::join_all((0..20).map(|_| runner.run(shell("sleep 1"))));
        let quick = async {
            let quick = runner.run(shell("exit 4")).await;
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            quick
        };
        let (slow, quick) = tokio::join!(slow, quick);
        assert!(slow.iter().all(|report| report.outcome.is_success()), "{slow:?}");
        assert_eq!(quick.outcome, Outcome::Exited(4));
    });
    // One after the other they would take 20 s.
    assert!(begun.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", begun.elapsed());
    spawner.stop();
}

#[test]
fn a_job_nobody_waits_for_is_ended() {
    let spawner = start();
    let runner = spawner.runner();
    let folder = Folder::new("dropped");
    let pid = folder.0.join("pid");
    let job = shell(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display()));
    block_on(async {
        tokio::select! {
            report = runner.run(job.clone()) => panic!("{report:?}"),
            () = async { while !pid.exists() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        }
    });
    let first = fs::read_to_string(&pid).unwrap();
    eventually("the dropped job is dead", || !runs(&first));

    // A long-running one, started and stopped by hand.
    fs::remove_file(&pid).unwrap();
    let mut running =
        runner.start(Job { command: Command { timeout: Duration::from_millis(1), ..job.command }, ..job });
    eventually("it runs", || pid.exists());
    running.stop();
    assert_eq!(block_on(running.ended()).outcome, Outcome::Signalled(libc::SIGTERM));
    spawner.stop();
}

#[test]
fn what_a_command_leaves_running_is_left_alone() {
    let spawner = start();
    let folder = Folder::new("daemon");
    let file = folder.0.join("alive");
    let line = format!("(sleep 0.5; echo one; sleep 0.1; echo two; echo > {}) & exit 0", file.display());
    let begun = Instant::now();
    assert_eq!(outcome(&spawner.runner(), shell(&line)), Outcome::Exited(0));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    eventually("it writes without harm", || file.exists());
    spawner.stop();
}

#[test]
fn commands_become_other_users() {
    if !is_root() {
        return;
    }
    let spawner = start();
    let runner = spawner.runner();
    let as_user = |user: &str, group: Option<&str>, line: &str| {
        let mut job = shell(line);
        job.command.user = Some(User { name: user.into(), group: group.map(str::to_owned) });
        outcome(&runner, job)
    };
    assert_eq!(as_user("nobody", None, "test \"$(id -nu):$(id -nG)\" = nobody:nogroup"), Outcome::Exited(0));
    assert_eq!(as_user("65534", Some("daemon"), "test \"$(id -u):$(id -ng)\" = 65534:daemon"), Outcome::Exited(0));
    assert_eq!(as_user("nobody", None, "grep -q '^CapEff:\t0000000000000000' /proc/self/status"), Outcome::Exited(0));
    assert_eq!(as_user("root", None, "test \"$(id -u)\" = 0"), Outcome::Exited(0));
    let Outcome::Failed(text) = as_user("no-such-user", None, "true") else { panic!("it ran") };
    assert!(text.contains("no user no-such-user"), "{text}");

    let folder = Folder::new("users");
    let private = folder.script("private", "#!/bin/sh\n", 0o700);
    let mut job = program(&private);
    job.command.user = Some(User { name: "nobody".into(), group: None });
    let Outcome::Failed(text) = outcome(&runner, job) else { panic!("it ran") };
    assert!(text.contains("as nobody: permission denied"), "{text}");
    spawner.stop();
}

#[test]
fn what_others_can_change_is_not_run_as_root() {
    if !is_root() {
        return;
    }
    let spawner = start();
    let runner = spawner.runner();
    let folder = Folder::new("unsafe");
    let safe = folder.script("safe", "#!/bin/sh\nexit 5\n", 0o755);
    let writable = folder.script("writable", "#!/bin/sh\nexit 5\n", 0o757);
    let foreign = folder.script("foreign", "#!/bin/sh\nexit 5\n", 0o755);
    chown(&foreign, Some(65534), None).unwrap();
    let open = folder.0.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(&safe, open.join("inner")).unwrap();
    let detour = folder.0.join("detour");
    symlink(open.join("inner"), &detour).unwrap();
    let relative = folder.0.join("relative");
    symlink("open/../writable", &relative).unwrap();

    let secure = |path: &Path| Job { secure: true, ..program(path) };
    assert_eq!(outcome(&runner, secure(&safe)), Outcome::Exited(5));
    for (path, named, why) in [
        (&writable, &writable, "everybody"),
        (&foreign, &foreign, "belongs to nobody"),
        (&open.join("inner"), &open, "everybody"),
        (&detour, &open, "everybody"),
        (&relative, &open, "everybody"),
    ] {
        match outcome(&runner, secure(path)) {
            Outcome::Unsafe { path, why: text } => {
                assert_eq!(path, *named);
                assert!(text.contains(why), "{text}");
            }
            other => panic!("{}: {other:?}", path.display()),
        }
        assert_eq!(outcome(&runner, program(path)), Outcome::Exited(5), "without security it runs");
    }
    // As somebody else it may be whatever it is.
    let mut job = secure(&writable);
    job.command.user = Some(User { name: "nobody".into(), group: None });
    assert_eq!(outcome(&runner, job), Outcome::Exited(5));
    spawner.stop();
}

#[test]
fn a_killed_spawner_is_noticed_and_replaced() {
    let mut spawner = start();
    let runner = spawner.runner();
    assert!(!spawner.has_died());
    let victim = Pid::from_raw(spawner.pid().cast_signed());
    let (ended, ()) = block_on(async {
        tokio::join!(runner.run(shell("sleep 1000")), async {
            runner.run(shell("true")).await;
            kill(victim, Signal::SIGKILL).unwrap();
        })
    });
    assert_eq!(ended.outcome, Outcome::SpawnerGone);
    eventually("it is noticed", || spawner.has_died());
    assert_eq!(outcome(&runner, shell("true")), Outcome::SpawnerGone);
    assert_eq!(runner.listeners_on("127.0.0.1:1".parse().unwrap(), SLACK), None);
    spawner.restart().unwrap();
    assert_eq!(outcome(&runner, shell("true")), Outcome::Exited(0), "the same runner asks the new one");
    spawner.stop();
}

#[test]
fn the_end_of_the_daemon_ends_what_runs() {
    let spawner = start();
    let folder = Folder::new("end");
    let pid = folder.0.join("pid");
    let line = format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 1000; sleep 1000", pid.display());
    let running = spawner.runner().start(shell(&line));
    eventually("it runs", || pid.exists());
    let deaf = fs::read_to_string(&pid).unwrap();
    let own = spawner.pid().to_string();
    let begun = Instant::now();
    spawner.stop();
    assert!(begun.elapsed() < GRACE + Duration::from_millis(600), "{:?}", begun.elapsed());
    eventually("the command is dead", || !runs(&deaf));
    assert!(!runs(&own), "the spawner is dead");
    drop(running);
}

#[test]
fn it_names_who_listens() {
    let spawner = start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let owners = spawner.runner().listeners_on(address, SLACK).unwrap();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!((owners[0].pid, owners[0].address), (std::process::id(), address));
    // Protocol 253 is for experiments: nobody uses it.
    assert_eq!(block_on(spawner.runner().raw_socket_owners(253)), Some(Vec::new()));
    spawner.stop();
}
