//! Figures for people: the HTML page and `vipgate status` say them alike.

use std::time::Duration;

/// `3 d 4 h`, `12 min 5 s`, `4.2 s`, `15 ms`, `0.2 ms`: two units at most. Negative or not a number: `0 s`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let exact = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let whole = exact.as_secs();
    match whole {
        0 if exact.is_zero() => "0 s".to_owned(),
        0 if exact < Duration::from_millis(10) => format!("{:.1} ms", seconds * 1000.0),
        0 => format!("{} ms", exact.as_millis()),
        1..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        86_400.. => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// `512 B`, `1.4 kB`, `23 MB`: powers of 1000, three digits at most.
#[must_use]
pub fn bytes(count: u64) -> String {
    scaled(count, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
}

/// `999`, `1.4 k`, `23 M`.
#[must_use]
pub fn count(count: u64) -> String {
    if count < 100_000 { grouped(count) } else { scaled(count, &["", " k", " M", " G", " T", " P", " E"]) }
}

/// `12 345`: thousands apart, with a thin space that does not break.
fn grouped(count: u64) -> String {
    if count < 10_000 { count.to_string() } else { format!("{}\u{202f}{:03}", count / 1000, count % 1000) }
}

fn scaled(count: u64, units: &[&str]) -> String {
    let mut step = 0;
    let mut unit = 1_u64;
    while step + 1 < units.len() && count / unit >= 1000 {
        unit = unit.saturating_mul(1000);
        step += 1;
    }
    let (whole, tenth) = (count / unit, count % unit * 10 / unit.max(1));
    let suffix = units.get(step).copied().unwrap_or_default();
    if step == 0 || whole >= 10 { format!("{whole}{suffix}") } else { format!("{whole}.{tenth}{suffix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (-1.0, "0 s"),
            (f64::NAN, "0 s"),
            (0.0, "0 s"),
            (0.000_21, "0.2 ms"),
            (0.2, "200 ms"),
            (4.26, "4.3 s"),
            (59.9, "59 s"),
            (60.0, "1 min"),
            (725.0, "12 min 5 s"),
            (3600.0, "1 h"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn bytes_and_counts_are_short() {
        for (value, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_449, "1.4 kB"),
            (23_400_000, "23 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(12_045), "12\u{202f}045");
        assert_eq!(count(1_234_567), "1.2 M");
    }
}
