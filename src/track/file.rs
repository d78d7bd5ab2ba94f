//! A number in a file (keepalived's `track_file`).

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Finding, Seen, Sight};
use crate::model::FileCheck;

/// How often the file is read.
const PERIOD: Duration = Duration::from_millis(250);
/// What counts of a file: a number that begins later is none.
const READ: u64 = 128;
/// The numbers that make a difference to a priority.
const LIMIT: i16 = 254;

pub(super) async fn watch(check: FileCheck, sight: Sight) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let path = check.path.clone();
        // A file system that hangs holds up this tracker and no other.
        let Ok(content) = tokio::task::spawn_blocking(move || read(&path)).await else { continue };
        let (number, reason) = match content.as_deref().map(number) {
            Ok(Some(number)) => (number, format!("{} says {number}", check.path.display())),
            Ok(None) => (check.initial, format!("{} has no number in it", check.path.display())),
            Err(error) => (check.initial, format!("{} cannot be read: {error}", check.path.display())),
        };
        let _ = sight.send(Seen { what: Finding::Number(number), reason });
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Not to wait for the writer of a FIFO.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut content = Vec::new();
    file.take(READ).read_to_end(&mut content)?;
    Ok(content)
}

/// The number that a content begins with, white space before it left out, what follows it too, as strtol(3) reads it;
/// one beyond the limits is the limit.
fn number(content: &[u8]) -> Option<i16> {
    let text = content.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut digits =
        digits.iter().take_while(|byte| byte.is_ascii_digit()).map(|digit| i16::from(digit - b'0')).peekable();
    digits.peek()?;
    let size = digits.fold(0, |size: i16, digit| (size * 10 + digit).min(LIMIT));
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_by_strtol() {
        for (content, expected) in [
            ("7", Some(7)),
            (" \n\t-12\n", Some(-12)),
            ("+3 and more", Some(3)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("12x", Some(12)),
            ("254", Some(254)),
            ("255", Some(254)),
            ("-99999999999999999999999999", Some(-254)),
            ("", None),
            ("-", None),
            ("- 1", None),
            ("x1", None),
        ] {
            assert_eq!(number(content.as_bytes()), expected, "{content:?}");
        }
        assert_eq!(number(b"\xff1"), None);
    }
}
