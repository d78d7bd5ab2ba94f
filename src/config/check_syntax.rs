//! The small grammars inside health checks: statuses and hexadecimal bytes.

use std::ops::RangeInclusive;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::words::{Words, word_for};
use crate::model::{CheckResult, Invalid, TextPattern};

/// Results that `on-success`, `on-error` and `on-timeout` can name, by HAProxy's codes.
pub(super) const SUCCESSES: &Words<CheckResult> = &[
    ("L7OK", CheckResult::L7Ok),
    ("L7OKC", CheckResult::L7OkConditionally),
    ("L6OK", CheckResult::L6Ok),
    ("L4OK", CheckResult::L4Ok),
];
pub(super) const ERRORS: &Words<CheckResult> = &[
    ("L7OKC", CheckResult::L7OkConditionally),
    ("L7RSP", CheckResult::L7Response),
    ("L7STS", CheckResult::L7Status),
    ("L6RSP", CheckResult::L6Response),
    ("L4CON", CheckResult::L4Connection),
];
pub(super) const TIMEOUTS: &Words<CheckResult> =
    &[("L7TOUT", CheckResult::L7Timeout), ("L6TOUT", CheckResult::L6Timeout), ("L4TOUT", CheckResult::L4Timeout)];

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Exact,
    Begins,
    Ends,
    Contains,
    Regex,
}

pub(super) const COMPARISONS: &Words<Comparison> = &[
    ("exact", Comparison::Exact),
    ("begins", Comparison::Begins),
    ("ends", Comparison::Ends),
    ("contains", Comparison::Contains),
    ("regex", Comparison::Regex),
];

impl Comparison {
    /// With the text.
    pub(super) fn with(self, text: String) -> TextPattern {
        match self {
            Self::Exact => TextPattern::Exactly(text),
            Self::Begins => TextPattern::Begins(text),
            Self::Ends => TextPattern::Ends(text),
            Self::Contains => TextPattern::Contains(text),
            Self::Regex => TextPattern::Regex(text),
        }
    }
}

/// A pattern's text, and the word for how it is compared.
pub(super) fn comparison(pattern: &TextPattern) -> (&str, &'static str) {
    let (comparison, text) = match pattern {
        TextPattern::Exactly(text) => (Comparison::Exact, text),
        TextPattern::Begins(text) => (Comparison::Begins, text),
        TextPattern::Ends(text) => (Comparison::Ends, text),
        TextPattern::Contains(text) => (Comparison::Contains, text),
        TextPattern::Regex(text) => (Comparison::Regex, text),
    };
    (text, word_for(COMPARISONS, &comparison))
}

/// `200,201,300-310`.
pub(super) fn statuses(text: &str) -> Result<Vec<RangeInclusive<u16>>, Invalid> {
    let status = |digits: &str| {
        let digits = digits.trim();
        let number = digits.parse::<u16>().ok().filter(|number| (100..=999).contains(number) && digits.len() == 3);
        number.ok_or_else(|| Invalid(format!("`{digits}` is not an HTTP status: three digits, such as 200")))
    };
    let range = |part: &str| {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (status(first)?, status(last)?),
            None => (status(part)?, status(part)?),
        };
        if first > last {
            return Err(Invalid(format!("`{part}` ends before it begins")));
        }
        Ok(first..=last)
    };
    text.split(',').map(range).collect()
}

/// The same as text.
pub(super) fn statuses_text(ranges: &[RangeInclusive<u16>]) -> String {
    let text = |range: &RangeInclusive<u16>| match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// `50494e470d0a`.
pub(super) fn hexadecimal(text: &str) -> Result<Vec<u8>, Invalid> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| {
        Invalid(format!("`{text}` is not a number of pairs of hexadecimal digits, such as `50494e47` for PING"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        assert_eq!(statuses("200,300-310").unwrap(), [200..=200, 300..=310]);
        assert_eq!(statuses_text(&statuses("200, 300-310").unwrap()), "200,300-310");
        for slip in ["", "20", "2xx", "200-", "310-300", "200,,201", "0200", "-1"] {
            assert!(statuses(slip).is_err(), "{slip}");
        }
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(hexadecimal("2b504F4e47").unwrap(), b"+PONG");
        for slip in ["2", "2b5", "zz", "2b 50", "é0"] {
            assert!(hexadecimal(slip).is_err(), "{slip}");
        }
    }
}
