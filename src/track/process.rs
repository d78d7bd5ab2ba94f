//! Processes that have to run: /proc is read once for all trackers together.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::{Finding, Seen, Sight};
use crate::model::{ArgumentsMatch, ProcessCheck, Tracker, Watched};

/// How often /proc is read.
const PERIOD: Duration = Duration::from_millis(500);
/// What the kernel keeps of a name.
const NAME: usize = 15;

/// A process that runs; zombies do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    name: String,
    /// The command line's words; empty unless somebody wants them.
    words: Vec<String>,
}

/// What was found; none: nothing yet.
pub(super) type Found = Option<Arc<Vec<Process>>>;

/// Reads /proc again and again. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Scanner {
    with_words: bool,
    found: watch::Sender<Found>,
    task: JoinHandle<()>,
}

/// Has a scanner run that reads what these trackers need; none if they need none.
pub(super) fn keep(scanner: &mut Option<Scanner>, trackers: &[Tracker]) {
    let checks: Vec<&ProcessCheck> = trackers
        .iter()
        .filter_map(|tracker| match &tracker.watched {
            Watched::Process(check) => Some(check),
            Watched::Script(_) | Watched::File(_) | Watched::Service(_) | Watched::Gateway(_) | Watched::Route(_) => {
                None
            }
        })
        .collect();
    if checks.is_empty() {
        *scanner = None;
        return;
    }
    let with_words = checks.iter().any(|check| needs_words(check));
    match scanner {
        Some(scanner) if scanner.with_words == with_words => {}
        Some(scanner) => {
            scanner.task.abort();
            scanner.with_words = with_words;
            // What was read without words would tell the new trackers that nothing runs.
            scanner.found.send_replace(None);
            scanner.task = tokio::spawn(scan(with_words, scanner.found.clone()));
        }
        None => {
            let found = watch::Sender::new(None);
            let task = tokio::spawn(scan(with_words, found.clone()));
            *scanner = Some(Scanner { with_words, found, task });
        }
    }
}

impl Scanner {
    pub(super) fn subscribe(&self) -> watch::Receiver<Found> {
        self.found.subscribe()
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn scan(with_words: bool, found: watch::Sender<Found>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(processes) = tokio::task::spawn_blocking(move || processes(with_words)).await {
            found.send_replace(Some(Arc::new(processes)));
        }
    }
}

/// Counts at each scan. Without a scanner there is nothing to count.
pub(super) async fn watch(check: ProcessCheck, processes: Option<watch::Receiver<Found>>, sight: Sight) {
    let Some(mut processes) = processes else { return };
    loop {
        let count = processes.borrow_and_update().as_ref().map(|processes| count(&check, processes));
        if let Some(count) = count {
            let enough = count >= check.at_least && check.at_most.is_none_or(|most| count <= most);
            let reason = format!("{count} of {} run", check.command);
            let _ = sight.send(Seen { what: Finding::Well(enough), reason });
        }
        if processes.changed().await.is_err() {
            return;
        }
    }
}

fn count(check: &ProcessCheck, processes: &[Process]) -> u32 {
    let matching = processes.iter().filter(|process| matches(check, process)).count();
    u32::try_from(matching).unwrap_or(u32::MAX)
}

fn needs_words(check: &ProcessCheck) -> bool {
    check.whole_command || check.arguments_match != ArgumentsMatch::Any
}

fn matches(check: &ProcessCheck, process: &Process) -> bool {
    let mut words = process.words.iter();
    let first = words.next();
    let named = if check.whole_command {
        first.is_some_and(|first| *first == check.command)
    } else {
        process.name == cut(&check.command)
    };
    let arguments = words.as_slice();
    named
        && match check.arguments_match {
            ArgumentsMatch::Any => true,
            ArgumentsMatch::Exact => arguments == check.arguments,
            ArgumentsMatch::Initial => begins_with(arguments, &check.arguments),
        }
}

fn begins_with(arguments: &[String], wanted: &[String]) -> bool {
    let Some((last, wanted)) = wanted.split_last() else { return true };
    arguments.starts_with(wanted) && arguments.get(wanted.len()).is_some_and(|argument| argument.starts_with(last))
}

fn cut(name: &str) -> &str {
    let end = (0..=NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or(name)
}

fn processes(with_words: bool) -> Vec<Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse::<u32>().ok()?;
            // It may have ended since.
            let name = running(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))?.to_owned();
            let words = if with_words { words(&fs::read(format!("/proc/{pid}/cmdline")).ok()?) } else { Vec::new() };
            Some(Process { name, words })
        })
        .collect()
}

/// The name in a line of /proc/PID/stat, `PID (NAME) STATE ...`; none: it is a zombie, or dead.
fn running(stat: &str) -> Option<&str> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(") ")?;
    (!rest.starts_with(['Z', 'X', 'x'])).then_some(name)
}

/// The words of /proc/PID/cmdline, each with a zero behind it.
fn words(line: &[u8]) -> Vec<String> {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    if line.is_empty() {
        return Vec::new();
    }
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, arguments: &[&str], arguments_match: ArgumentsMatch, whole_command: bool) -> ProcessCheck {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        ProcessCheck { command: command.into(), arguments, arguments_match, whole_command, at_least: 1, at_most: None }
    }

    #[test]
    fn processes_are_told_by_name_and_words() {
        use ArgumentsMatch::{Any, Exact, Initial};
        let process = Process {
            name: "a-very-long-nam".into(),
            words: ["/usr/bin/a-very-long-name", "-c", "/etc/x.conf"].map(str::to_owned).to_vec(),
        };
        for (check, expected) in [
            (check("a-very-long-name-indeed", &[], Any, false), true),
            (check("a-very-long-na", &[], Any, false), false),
            (check("/usr/bin/a-very-long-name", &[], Any, true), true),
            (check("a-very-long-name", &[], Any, true), false),
            (check("a-very-long-nam", &["-c", "/etc/x.conf"], Exact, false), true),
            (check("a-very-long-nam", &["-c"], Exact, false), false),
            (check("a-very-long-nam", &[], Exact, false), false),
            (check("a-very-long-nam", &["-c"], Initial, false), true),
            (check("a-very-long-nam", &["-c", "/etc/"], Initial, false), true),
            (check("a-very-long-nam", &["-", "/etc/"], Initial, false), false),
            (check("a-very-long-nam", &["-c", "/etc/x.conf", ""], Initial, false), false),
            (check("a-very-long-nam", &[], Initial, false), true),
        ] {
            assert_eq!(matches(&check, &process), expected, "{check:?}");
        }
    }

    #[test]
    fn the_kernels_lines_are_read() {
        assert_eq!(running("7 (a) b (c) S 1 7"), Some("a) b (c"));
        assert_eq!(running("7 (gone) Z 1 7"), None);
        assert_eq!(running("7"), None);
        assert_eq!(words(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        assert!(words(b"").is_empty());
    }

    #[test]
    fn this_process_is_found() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let found = processes(true);
        assert!(found.iter().any(|process| process.name == own.trim() || !process.words.is_empty()));
    }
}
