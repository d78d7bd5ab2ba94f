//! Numbers, times and sizes of a haproxy.cfg, read strictly: what HAProxy takes for 0 or cuts off in silence
//! (`maxconn abc`, `rise 2x`) is an error here.

use std::time::Duration;

/// HAProxy's timers end here: 2^31 - 1 milliseconds.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A whole number within `range`.
pub(super) fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let digits = text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    match digits {
        Some(value) if range.contains(&value) => Ok(value),
        Some(_) | None => {
            let (first, last) = range.into_inner();
            Err(if last == u64::MAX {
                format!("`{text}` is not a whole number of at least {first}")
            } else {
                format!("`{text}` is not a whole number from {first} to {last}")
            })
        }
    }
}

/// A time: a number of milliseconds, or one with `us`, `ms`, `s`, `m`, `h` or `d` (manual, section 2.5).
pub(super) fn time(text: &str) -> Result<Duration, String> {
    time_in(text, Duration::from_millis(1))
}

/// The time that `text` begins with, and what follows its unit: `1m30s` is a minute, and `30s`.
pub(super) fn leading_time(text: &str) -> Option<(Duration, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = ["us", "ms", "s", "m", "h", "d"].iter().find(|unit| text[digits..].starts_with(**unit))?;
    let (first, rest) = text.split_at(digits + unit.len());
    Some((time(first).ok()?, rest))
}

/// A time whose bare number counts seconds, as in `stats refresh`.
pub(super) fn time_in_seconds(text: &str) -> Result<Duration, String> {
    time_in(text, Duration::from_secs(1))
}

fn time_in(text: &str, default_unit: Duration) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time: a number with `us`, `ms`, `s`, `m`, `h` or `d` was expected");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = match unit {
        "" => default_unit,
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(86_400),
        _ => return Err(wrong()),
    };
    let count: u32 = digits.parse().map_err(|_| wrong())?;
    match unit.checked_mul(count) {
        // Timers count milliseconds: what is shorter is rounded up, never to "none".
        Some(time) if time <= LONGEST => Ok(Duration::from_millis(time.as_micros().div_ceil(1000) as u64)),
        Some(_) | None => Err(format!("`{text}` is longer than HAProxy's longest time, 24 days")),
    }
}

/// A size: a number, or one with `k`, `m` or `g` (1024 each).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: a number, possibly with `k`, `m` or `g`, was expected");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(1 << shift).filter(|size| *size <= u64::from(u32::MAX)).ok_or_else(wrong)
}
