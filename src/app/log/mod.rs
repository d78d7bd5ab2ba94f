//! Log lines: formatted by the thread that speaks, written by a thread of their own.
//!
//! A log that nobody reads stops nothing: the queue is bounded, a line that does not fit is dropped and counted.
//! Lines that repeat, time stamps aside, collapse into one that says how often. Lines go to standard error; under
//! systemd each begins with its severity as `<N>` (sd-daemon(3)), which is how journald learns it without a call
//! that could block.
//!
//! Targets that the configuration names (syslog, standard output) get the same lines through the same queue, in HAProxy's
//! wording; the lines of connections go there instead of standard error.

mod connection;
mod dress;
mod format;
mod json;
mod plain;
mod queue;
mod record;
mod targets;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, reload};

use crate::model::{self, ConnectionLine, LogFormat, LogLevel, LogTarget, Service, Severity};
use crate::proxy::{Ended, Journal};
use crate::stats::Registry;
use dress::Sender;
use json::{Fields, Json};
use record::{About, Record};
use targets::Targets;

/// Lines that wait to be written; at about 200 bytes each the queue holds 3 MiB at most.
const MOST_QUEUED: usize = 16_384;

/// So much goes out with one write.
const BATCH: usize = 64 * 1024;

/// Between two writes lines gather, so that on a busy node a line costs neither a system call nor a wake-up.
const PAUSE: Duration = Duration::from_millis(5);

/// After this long the count of a repeated line is written although the line still repeats.
const COLLAPSE: Duration = Duration::from_secs(10);

/// The target of the lines of connections.
const CONNECTION: &str = "vipgate::connection";

/// The running log: changes what is configured on reload, and writes out what is queued at the end.
pub(super) struct Log {
    level: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
    book: Arc<Book>,
}

/// What every thread that speaks shares.
struct Book {
    setup: RwLock<Arc<Setup>>,
    queue: queue::Sender<Line>,
    registry: Arc<Registry>,
    /// journald reads standard error: each line begins with its severity, and none with the time.
    journald: bool,
}

/// What the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setup {
    format: LogFormat,
    targets: Vec<LogTarget>,
    sender: Sender,
}

enum Line {
    Text(Vec<u8>),
    /// For the targets.
    Record(Record),
    /// Write everything before this, then answer.
    Flush(SyncSender<()>),
}

/// Starts the log thread and makes it the process's subscriber.
pub(super) fn start(level: LogLevel, registry: &Arc<Registry>) -> Log {
    let (queue, lines) = queue::bounded(MOST_QUEUED);
    let setup = RwLock::new(Arc::new(Setup::of(&model::Log::default())));
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    let book = Arc::new(Book { setup, queue, registry: Arc::clone(registry), journald });
    // Without a thread the lines are dropped and counted; the process runs on.
    let _ = thread::Builder::new().name("log".into()).spawn({
        let book = Arc::clone(&book);
        move || write_lines(&lines, io::stderr(), &book)
    });
    let writer = Queued { book: Arc::clone(&book) };
    let (filter, level) = reload::Layer::new(filter(level));
    let text = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let plain = tracing_subscriber::fmt::format();
    let subscriber = tracing_subscriber::registry().with(filter).with(Forward(Arc::clone(&book)));
    // A second call in one process (tests) keeps the first subscriber.
    let _ = if journald {
        let lines = Lines { book: Arc::clone(&book), text: plain.with_ansi(false).without_time() };
        subscriber.with(text.event_format(lines)).try_init()
    } else {
        let lines = Lines { book: Arc::clone(&book), text: plain.with_ansi(false) };
        subscriber.with(text.event_format(lines)).try_init()
    };
    let panicked = Arc::clone(&book);
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(target: "vipgate", "internal error: {panic}");
        flush(&panicked.queue);
    }));
    Log { level, book }
}

impl Log {
    /// Does as the configuration says from now on.
    pub(super) fn configure(&self, log: &model::Log) {
        let _ = self.level.reload(filter(log.level));
        *self.book.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Setup::of(log));
    }

    /// Who keeps the log of connections.
    pub(super) fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.book) as Arc<dyn Journal>
    }
}

impl Setup {
    fn of(log: &model::Log) -> Self {
        let host_name = log.host_name.as_ref().map(|name| match name.as_str() {
            "" => nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            name => name.to_owned(),
        });
        let sender = Sender { tag: log.tag.clone(), host_name, pid: std::process::id() };
        Self { format: log.format, targets: log.targets.clone(), sender }
    }
}

impl Book {
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A line that does not fit is lost.
    fn queue(&self, line: Line) {
        if !self.queue.try_send(line) {
            self.registry.log_lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What lines of standard error begin with.
    fn prefix(&self, level: Level) -> &'static str {
        match level {
            _ if !self.journald => "",
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            Level::DEBUG | Level::TRACE => "<7>",
        }
    }

    /// The line of a connection in the words of an event, but not the long way of those.
    fn say_plainly(&self, ended: &Ended<'_>) {
        let time = (!self.journald).then(SystemTime::now);
        let mut line = String::with_capacity(512);
        line.push_str(self.prefix(Level::INFO));
        plain::write(ended, time, &mut line);
        self.queue(Line::Text(line.into_bytes()));
    }

    /// The line of a connection, to the targets, or as it is to standard error.
    fn say(&self, setup: &Setup, service: &Service, severity: Severity, text: String) {
        let about = match &service.log_targets {
            Some(own) => About::ConnectionOf(Arc::clone(own)),
            None if setup.targets.is_empty() && severity <= Severity::Error => {
                return tracing::error!(target: CONNECTION, "{text}");
            }
            None if setup.targets.is_empty() => return tracing::info!(target: CONNECTION, "{text}"),
            None => About::Connection,
        };
        let tag = service.log_tag.clone();
        self.queue(Line::Record(Record { about, severity, at: SystemTime::now(), tag, text }));
    }
}

impl Setup {
    /// Connections are logged in HAProxy's words.
    fn in_haproxys_words(&self, service: &Service) -> bool {
        !self.targets.is_empty() || service.log_targets.is_some() || self.format == LogFormat::Haproxy
    }
}

impl Journal for Book {
    fn accepted(&self, service: &Service, client: SocketAddr, destination: SocketAddr) {
        let setup = self.setup();
        if setup.in_haproxys_words(service) {
            self.say(&setup, service, Severity::Info, connection::begin(service, client, destination));
        }
    }

    fn ended(&self, ended: &Ended<'_>) {
        let setup = self.setup();
        if !setup.in_haproxys_words(ended.service) {
            if setup.format == LogFormat::Json {
                ended.trace();
            } else if tracing::enabled!(target: CONNECTION, Level::INFO) {
                self.say_plainly(ended);
            }
        } else if ended.service.log_line != ConnectionLine::Connect {
            let severity = if ended.is_normal() { Severity::Info } else { ended.service.log_errors_as };
            self.say(&setup, ended.service, severity, connection::end(ended, SystemTime::now()));
        }
    }
}

/// Passes what happens to the targets; connections go there by themselves.
struct Forward(Arc<Book>);

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        if meta.target() == CONNECTION || self.0.setup().targets.is_empty() {
            return;
        }
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let mut text = match fields.0.remove("message") {
            Some(Value::String(message)) => message,
            Some(_) | None => String::new(),
        };
        for (name, value) in &fields.0 {
            text.push_str(&format!(" {name}={value}"));
        }
        // A line break would begin another message.
        let text = text.replace('\n', " ");
        self.0.queue(Line::Record(Record {
            about: About::Process,
            severity: severity(meta),
            at: SystemTime::now(),
            tag: None,
            text,
        }));
    }
}

/// Who tells of servers.
const OF_SERVERS: [&str; 2] = ["vipgate::probe", "vipgate::stats::server_line"];

/// As HAProxy ranks them: a server that goes down is an alert, one that comes back a notice.
fn severity(meta: &Metadata<'_>) -> Severity {
    let of_a_server = OF_SERVERS.iter().any(|room| meta.target().starts_with(room));
    match *meta.level() {
        Level::ERROR if of_a_server => Severity::Emergency,
        Level::WARN if of_a_server => Severity::Alert,
        Level::INFO if of_a_server => Severity::Notice,
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

/// Lines of standard error, as text or as JSON.
struct Lines<F> {
    book: Arc<Book>,
    text: F,
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match self.book.setup().format {
            LogFormat::Json => Json.format_event(context, writer, event),
            LogFormat::Text | LogFormat::Haproxy => self.text.format_event(context, writer, event),
        }
    }
}

impl Drop for Log {
    /// Waits until what is queued has been written, at most [`FLUSH`].
    fn drop(&mut self) {
        flush(&self.book.queue);
    }
}

fn flush(queue: &queue::Sender<Line>) {
    let (done, wait) = sync_channel(1);
    if queue.try_send(Line::Flush(done)) {
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
fn write_lines(lines: &queue::Receiver<Line>, mut out: impl Write, book: &Book) {
    let lost = &book.registry.log_lines_lost;
    let mut batch = Batch::default();
    let mut setup = book.setup();
    loop {
        let next = lines.next(COLLAPSE);
        let current = book.setup();
        if current != setup {
            setup = current;
            batch.targets.retain(&setup);
        }
        match next {
            Ok(line) => batch.take(line, &setup, &mut out, lost),
            Err(RecvTimeoutError::Timeout) => batch.end_repetition(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while batch.text.len() < BATCH
            && let Some(line) = lines.try_next()
        {
            batch.take(line, &setup, &mut out, lost);
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
    targets: Targets,
}

impl Batch {
    fn take(&mut self, line: Line, setup: &Setup, out: &mut impl Write, lost: &AtomicU64) {
        match line {
            Line::Record(record) => self.targets.write(&record, setup, lost),
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
    book: Arc<Book>,
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
        Pending { to: self, text: self.book.prefix(*meta.level()).into() }
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
        self.to.book.queue(Line::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(queue: queue::Sender<Line>) -> Book {
        let setup = RwLock::new(Arc::new(Setup::of(&model::Log::default())));
        Book { setup, queue, registry: Arc::default(), journald: false }
    }

    fn written(lines: &[&str]) -> String {
        let (sender, receiver) = queue::bounded(16);
        for line in lines {
            assert!(sender.try_send(Line::Text(line.as_bytes().to_vec())));
        }
        drop(sender);
        let mut out = Vec::new();
        write_lines(&receiver, &mut out, &book(queue::bounded(1).0));
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
        let (sender, _kept) = queue::bounded(1);
        let book = Arc::new(book(sender));
        let registry = Arc::clone(&book.registry);
        let writer = Queued { book };
        for _ in 0..3 {
            writer.make_writer().write_all(b"x\n").unwrap();
        }
        assert_eq!(registry.log_lines_lost.load(Ordering::Relaxed), 2);
    }
}
