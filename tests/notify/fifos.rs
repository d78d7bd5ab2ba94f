//! Named pipes: made and removed, never waited for, the newest state always there.

use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vipgate::model::{Command, Fifo, NotifyTargets, VirtualRouter};
use vipgate::notify::{Notifier, State, Transition, What};
use vipgate::stats::Registry;

use crate::support::{Folder, LONG, Runs, processes, router, text, told, until};

fn targets(path: &Path, reader: Option<Command>) -> NotifyTargets {
    NotifyTargets { fifos: vec![Fifo { path: path.to_owned(), reader }], mail: None }
}

/// Tells about routers without scripts.
fn quiet(name: &str) -> VirtualRouter {
    VirtualRouter { notify: Default::default(), ..router(name) }
}

struct Reader(fs::File);

impl Reader {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap())
    }

    /// Everything up to and with the line `last`.
    async fn through(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        let reading = async {
            while !all.ends_with(format!("{last}\n").as_bytes()) {
                let mut some = [0; 4096];
                match self.0.read(&mut some) {
                    Ok(count) if count > 0 => all.extend_from_slice(&some[..count]),
                    Ok(_) => panic!("nobody writes"),
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let found = tokio::time::timeout(LONG, reading).await.is_ok();
        let text = String::from_utf8(all).unwrap();
        assert!(found, "{last} never came: {text}");
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_pipe_is_made_written_as_keepalived_writes_it_and_removed() {
    let folder = Folder::new("made");
    let path = folder.file("fifo");
    let registry = Arc::<Registry>::default();
    let notifier = Notifier::start(processes(), Arc::clone(&registry));
    notifier.apply("n", &targets(&path, None), &[quiet("VI_1")], &[]);
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_fifo());
    assert_eq!(metadata.mode() & 0o777, 0o600);
    // Nobody reads yet: no error, nothing lost.
    notifier.tell(&told("VI_1", State::Backup));
    notifier.tell(&told("VI_1", State::Master));
    notifier.tell(&Transition { what: What::Group, priority: 0, ..told("VG", State::Master) });
    let mut reader = Reader::open(&path);
    let lines = reader.through("GROUP \"VG\" MASTER 0").await;
    assert_eq!(lines, ["INSTANCE \"VI_1\" BACKUP 100", "INSTANCE \"VI_1\" MASTER 100", "GROUP \"VG\" MASTER 0"]);
    notifier.tell(&told("VI_1", State::Stop));
    let (last, ()) = tokio::join!(reader.through("INSTANCE \"VI_1\" STOP 100"), notifier.stop(LONG));
    assert_eq!(last.len(), 1);
    assert!(!path.exists(), "made by us, removed by us");
    assert_eq!(registry.notify.fifo_lines.load(Ordering::Relaxed), 4);
    assert_eq!(registry.notify.fifo_lines_lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_full_pipe_stops_nobody_and_every_router_s_newest_state_is_read() {
    let folder = Folder::new("full");
    let (path, other) = (folder.file("fifo"), folder.file("other"));
    let registry = Arc::<Registry>::default();
    let runs = Runs::default();
    let notifier = Notifier::start(runs.taking(Duration::ZERO), Arc::clone(&registry));
    let mut both = targets(&path, None);
    both.fifos.extend(targets(&other, None).fifos);
    notifier.apply("n", &both, &[router("quiet"), quiet("busy")], &[]);
    let mut read_all_the_time = Reader::open(&other);
    notifier.tell(&told("quiet", State::Master));
    let total: u64 = 5000;
    for number in 1..=total {
        let state = if number % 2 == 0 { State::Backup } else { State::Master };
        notifier.tell(&told("busy", state));
        tokio::task::yield_now().await;
    }
    notifier.tell(&told("busy", State::Fault));
    until("the script ran although the pipe is full", || runs.list() == ["any quiet MASTER"]).await;
    read_all_the_time.through("INSTANCE \"busy\" FAULT 100").await;
    let lines = Reader::open(&path).through("INSTANCE \"busy\" FAULT 100").await;
    assert_eq!(lines[0], "INSTANCE \"quiet\" MASTER 100");
    let lost = registry.notify.fifo_lines_lost.load(Ordering::Relaxed);
    assert!(lost > 0, "a pipe holds 64 KiB, the backlog a thousand lines");
    let written = registry.notify.fifo_lines.load(Ordering::Relaxed);
    assert_eq!(written + lost, 2 * (total + 2), "each line was either written or counted");
    notifier.stop(LONG).await;
}

#[tokio::test]
async fn a_pipe_that_was_there_stays_and_a_file_is_not_touched() {
    let folder = Folder::new("there");
    let (pipe, file, nowhere) = (folder.file("pipe"), folder.file("file"), folder.file("no/such/place"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o620)).unwrap();
    fs::write(&file, "precious\n").unwrap();
    let notifier = Notifier::start(processes(), Arc::default());
    let paths: [&PathBuf; 3] = [&file, &nowhere, &pipe];
    let fifos = paths.map(|path| Fifo { path: path.clone(), reader: None }).into();
    notifier.apply("n", &NotifyTargets { fifos, mail: None }, &[quiet("a")], &[]);
    notifier.tell(&told("a", State::Master));
    assert_eq!(Reader::open(&pipe).through("INSTANCE \"a\" MASTER 100").await.len(), 1, "the good one works");
    notifier.stop(LONG).await;
    assert_eq!(text(&file), "precious\n");
    assert!(pipe.exists());
}

#[tokio::test]
async fn the_reader_has_the_path_runs_on_through_reloads_and_is_ended() {
    let folder = Folder::new("reader");
    let path = folder.file("fifo");
    let (read, starts) = (folder.file("read"), folder.file("starts"));
    let script = |name: &str| {
        let text = "echo $0 $1 $VIPGATE_FIFO $$ >> STARTS\nexec cat \"$1\" >> READ";
        let text = text.replace("STARTS", &starts.display().to_string()).replace("READ", &read.display().to_string());
        folder.script(name, &text)
    };
    let (first, second) = (script("first"), script("second"));
    let notifier = Notifier::start(processes(), Arc::default());
    notifier.apply("n", &targets(&path, Some(first.clone())), &[quiet("a")], &[]);
    notifier.tell(&told("a", State::Backup));
    until("the first reader reads", || text(&read) == "INSTANCE \"a\" BACKUP 100\n").await;
    notifier.apply("n", &targets(&path, Some(first.clone())), &[quiet("a"), quiet("b")], &[]);
    notifier.apply("n", &targets(&path, Some(second.clone())), &[quiet("a"), quiet("b")], &[]);
    notifier.tell(&told("b", State::Backup));
    until("the second reader reads", || text(&read).ends_with("INSTANCE \"b\" BACKUP 100\n")).await;
    notifier.tell(&told("a", State::Stop));
    notifier.stop(LONG).await;
    assert!(text(&read).ends_with("INSTANCE \"a\" STOP 100\n"), "read before it was ended: {}", text(&read));
    assert!(!path.exists());
    let starts = text(&starts);
    let words: Vec<Vec<&str>> = starts.lines().map(|line| line.split(' ').collect()).collect();
    let shown = path.display().to_string();
    assert_eq!(words.len(), 2, "a reload that changes nothing starts nothing: {starts}");
    for (words, command) in words.iter().zip([&first, &second]) {
        assert_eq!(words[..3], [command.program.to_str().unwrap(), &shown, &shown]);
        assert!(!Path::new("/proc").join(words[3]).exists(), "it is ended");
    }
}

/// What a reader that is this script has written to READ when the process has ended: it saw a first line, then the last.
async fn read_to_the_end(name: &str, script: &str) -> String {
    let folder = Folder::new(name);
    let (path, read) = (folder.file("fifo"), folder.file("read"));
    let script = folder.script(name, &script.replace("READ", &read.display().to_string()));
    let notifier = Notifier::start(processes(), Arc::default());
    notifier.apply("n", &targets(&path, Some(script)), &[quiet("a")], &[]);
    notifier.tell(&told("a", State::Backup));
    until("the reader reads", || text(&read) == "INSTANCE \"a\" BACKUP 100\n").await;
    notifier.tell(&told("a", State::Stop));
    notifier.stop(LONG).await;
    text(&read)
}

#[tokio::test]
async fn a_reader_that_takes_its_time_ends_by_itself() {
    let read = read_to_the_end(
        "slow",
        "while read -r line; do sleep 0.05; echo \"$line\" >> READ; done < \"$1\"; echo over >> READ",
    )
    .await;
    assert_eq!(read, "INSTANCE \"a\" BACKUP 100\nINSTANCE \"a\" STOP 100\nover\n");
}

/// It reads the last line and goes before anybody ends it.
#[tokio::test]
async fn a_reader_that_leaves_at_the_end_is_no_fault() {
    static FAULTS: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let here = panic.location().is_some_and(|location| location.file().ends_with("notify/fifo.rs"));
        FAULTS.fetch_add(usize::from(here), Ordering::Relaxed);
        before(panic);
    }));
    let read = read_to_the_end(
        "leaves",
        "while read -r line; do echo \"$line\" >> READ; case $line in *STOP*) exit;; esac; done < \"$1\"",
    )
    .await;
    assert!(read.ends_with("INSTANCE \"a\" STOP 100\n"), "{read}");
    assert_eq!(FAULTS.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_reader_that_ends_is_started_again_and_a_removed_pipe_goes() {
    let folder = Folder::new("again");
    let (path, starts) = (folder.file("fifo"), folder.file("starts"));
    let script = folder.script("short", &format!("echo x >> {}", starts.display()));
    let notifier = Notifier::start(processes(), Arc::default());
    notifier.apply("n", &targets(&path, Some(script)), &[quiet("a")], &[]);
    until("a second start", || text(&starts).lines().count() == 2).await;
    notifier.apply("n", &NotifyTargets::default(), &[quiet("a")], &[]);
    until("it is removed", || !path.exists()).await;
    notifier.stop(LONG).await;
}
