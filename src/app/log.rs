//! Log lines: formatted by the thread that speaks, written by a thread of their own.
//!
//! A log that nobody reads stops nothing: the queue is bounded, a line that does not fit is dropped and counted.
//! Lines that repeat, time stamps aside, collapse into one that says how often. Lines go to standard error; under
//! systemd each begins with its severity as `<N>` (sd-daemon(3)), which is how journald learns it without a call
//! that could block.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

use crate::model::LogLevel;
use crate::stats::Registry;

/// Lines that wait to be written; at about 200 bytes each the queue holds 3 MiB at most.
const QUEUE: usize = 16_384;

/// So much goes out with one write.
const BATCH: usize = 64 * 1024;

/// Between two writes lines gather, so that on a busy node a line costs neither a system call nor a wake-up.
const PAUSE: Duration = Duration::from_millis(2);

/// After this long the count of a repeated line is written although the line still repeats.
const COLLAPSE: Duration = Duration::from_secs(10);

/// The running log: changes the level on reload, and writes out what is queued at the end.
pub(super) struct Log {
    level: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
    queue: SyncSender<Line>,
}

enum Line {
    Text(Vec<u8>),
    /// Write everything before this, then answer.
    Flush(SyncSender<()>),
}

/// Starts the log thread and makes it the process's subscriber.
pub(super) fn start(level: LogLevel, registry: &Arc<Registry>) -> Log {
    let (queue, lines) = sync_channel(QUEUE);
    // Without a thread the lines are dropped and counted; the process runs on.
    let _ = thread::Builder::new().name("log".into()).spawn({
        let registry = Arc::clone(registry);
        move || write_lines(&lines, io::stderr(), &registry.log_lines_lost)
    });
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let writer = Queued { queue: queue.clone(), registry: Arc::clone(registry), journal };
    let (filter, level) = reload::Layer::new(filter(level));
    let text = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let subscriber = tracing_subscriber::registry().with(filter);
    // journald stamps the time itself. A second call in one process (tests) keeps the first subscriber.
    let _ = if journal { subscriber.with(text.without_time()).try_init() } else { subscriber.with(text).try_init() };
    let panic_queue = queue.clone();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(target: "vipgate", "internal error: {panic}");
        flush(&panic_queue);
    }));
    Log { level, queue }
}

impl Log {
    /// Changes the least severe level written.
    pub(super) fn set_level(&self, level: LogLevel) {
        let _ = self.level.reload(filter(level));
    }
}

impl Drop for Log {
    /// Waits until what is queued has been written, at most [`FLUSH`].
    fn drop(&mut self) {
        flush(&self.queue);
    }
}

fn flush(queue: &SyncSender<Line>) {
    let (done, wait) = sync_channel(1);
    if queue.try_send(Line::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(FLUSH);
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Longest wait for the queue to be written at the end: TERM has 2 s for everything.
const FLUSH: Duration = Duration::from_millis(100);

/// What cannot be written (a full disk, a closed pipe) is lost, and counted.
fn write_lines(lines: &Receiver<Line>, mut out: impl Write, lost: &AtomicU64) {
    let mut batch = Batch::default();
    loop {
        match lines.recv_timeout(COLLAPSE) {
            Ok(line) => batch.take(line, &mut out, lost),
            Err(RecvTimeoutError::Timeout) => batch.end_repetition(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while batch.text.len() < BATCH
            && let Ok(line) = lines.try_recv()
        {
            batch.take(line, &mut out, lost);
        }
        batch.write(&mut out, lost);
        thread::sleep(PAUSE);
    }
}

/// Lines that go out with one write.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
    last: Vec<u8>,
    repeated: u64,
}

impl Batch {
    fn take(&mut self, line: Line, out: &mut impl Write, lost: &AtomicU64) {
        match line {
            Line::Text(text) if without_time(&text) == without_time(&self.last) => self.repeated += 1,
            Line::Text(text) => {
                self.count_repetition();
                self.text.extend_from_slice(&text);
                self.lines += 1;
                self.last = text;
            }
            Line::Flush(done) => {
                self.count_repetition();
                self.write(out, lost);
                let _ = done.try_send(());
            }
        }
    }

    /// Nothing came for a while: the same line would be news again.
    fn end_repetition(&mut self) {
        self.count_repetition();
        self.last.clear();
    }

    fn count_repetition(&mut self) {
        if self.repeated > 0 {
            let count = format!("(the line before was repeated {} more times)\n", self.repeated);
            self.text.extend_from_slice(count.as_bytes());
            self.repeated = 0;
        }
    }

    fn write(&mut self, out: &mut impl Write, lost: &AtomicU64) {
        if out.write_all(&self.text).and_then(|()| out.flush()).is_err() {
            lost.fetch_add(self.lines, Ordering::Relaxed);
        }
        self.text.clear();
        self.lines = 0;
    }
}

/// The line without its time stamp, which is its first word when it begins with a digit.
fn without_time(line: &[u8]) -> &[u8] {
    if !line.first().is_some_and(u8::is_ascii_digit) {
        return line;
    }
    line.iter().position(|byte| *byte == b' ').and_then(|end| line.get(end..)).unwrap_or(line)
}

#[derive(Clone)]
struct Queued {
    queue: SyncSender<Line>,
    registry: Arc<Registry>,
    journal: bool,
}

/// One line: `fmt` writes it as a whole, the drop queues it.
struct Pending<'a> {
    to: &'a Queued,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Queued {
    type Writer = Pending<'a>;

    fn make_writer(&'a self) -> Pending<'a> {
        Pending { to: self, text: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Pending<'a> {
        let mut pending = self.make_writer();
        if self.journal {
            let severity = match *meta.level() {
                Level::ERROR => "<3>",
                Level::WARN => "<4>",
                Level::INFO => "<6>",
                Level::DEBUG | Level::TRACE => "<7>",
            };
            pending.text.extend_from_slice(severity.as_bytes());
        }
        pending
    }
}

impl Write for Pending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.to.queue.try_send(Line::Text(text)) {
            self.to.registry.log_lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lines: &[&str]) -> String {
        let (queue, receiver) = sync_channel(16);
        for line in lines {
            queue.send(Line::Text(line.as_bytes().to_vec())).unwrap();
        }
        drop(queue);
        let mut out = Vec::new();
        write_lines(&receiver, &mut out, &AtomicU64::new(0));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn repeated_lines_collapse_whatever_their_time() {
        assert_eq!(
            written(&["2026Z WARN no\n", "2027Z WARN no\n", "2028Z WARN no\n", "2029Z WARN yes\n"]),
            "2026Z WARN no\n(the line before was repeated 2 more times)\n2029Z WARN yes\n"
        );
    }

    #[test]
    fn different_lines_are_all_written() {
        assert_eq!(written(&["a\n", "b\n", "a\n"]), "a\nb\na\n");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let registry = Arc::new(Registry::default());
        let (queue, _kept) = sync_channel(1);
        let writer = Queued { queue, registry: Arc::clone(&registry), journal: false };
        for _ in 0..3 {
            writer.make_writer().write_all(b"x\n").unwrap();
        }
        assert_eq!(registry.log_lines_lost.load(Ordering::Relaxed), 2);
    }
}
