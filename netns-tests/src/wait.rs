//! Waiting for the thing itself, with a deadline.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` yields a value; none after `limit`.
pub fn try_until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until `condition` yields a value; the test fails, naming `what`, after `limit`.
#[track_caller]
pub fn until<T>(what: impl Display, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    match try_until(limit, condition) {
        Some(value) => value,
        None => panic!("waited {limit:?} for {what}, in vain"),
    }
}

/// Waits until `condition` holds; the test fails, naming `what`, after `limit`.
#[track_caller]
pub fn until_true(what: impl Display, limit: Duration, mut condition: impl FnMut() -> bool) {
    until(what, limit, || condition().then_some(()));
}

/// Lets time pass: for spans that are themselves the thing measured.
pub fn pass(span: Duration) {
    std::thread::sleep(span);
}
