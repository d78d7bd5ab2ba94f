//! For tests with a `main` of their own, because they start themselves again as something that is killed: the arguments
//! and the lines of cargo's own harness.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use super::report;

/// A test and its name.
pub type Test = (&'static str, fn());

/// Runs those whose name contains one of the arguments that are no options; all of them without any. `name` is the
/// executable's, for what needs root and has none.
#[must_use]
pub fn run(name: &str, arguments: &[String], anybody: &[Test], root: &[Test]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        report::loud(&format!("\n*** {name}: SKIPPED: needs root (network namespaces, raw sockets) ***\n"));
    }
    let chosen = anybody.iter().chain(root.iter().filter(|_| is_root));
    let chosen =
        chosen.filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())));
    let mut failed = false;
    for &(name, test) in chosen {
        let begun = Instant::now();
        let good = thread::spawn(move || catch_unwind(AssertUnwindSafe(test)).is_ok()).join().unwrap_or(false);
        failed |= !good;
        let end = if good { "ok" } else { "FAILED" };
        report::line(&format!("test {name} ... {end} ({:.1} s)", begun.elapsed().as_secs_f64()));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
