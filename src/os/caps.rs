//! The capabilities that the daemon works with, and giving up the others.

use std::fs;

/// The capabilities that a process started from here can ever get, as a mask; none: the system does not tell.
#[must_use]
pub fn bounding() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    field(&status, "CapBnd:")
}

fn field(status: &str, name: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(text.trim(), 16).ok()
}
