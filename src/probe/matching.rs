//! What was received, held against what is expected.

use data_encoding::HEXUPPER;
use regex::bytes::{Regex, RegexBuilder};

use super::answers;
use super::outcome::Verdict;
use crate::model::{Expect, Pattern};

/// More of an answer is not looked at (HAProxy's `tune.bufsize`).
pub(super) const LONGEST_ANSWER: usize = 16 * 1024;
/// A compiled expression may take this much memory.
const REGEX_LIMIT: usize = 1 << 20;

/// An [`Expect`], ready to be used.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) expect: Expect,
    /// None: there is none, or it cannot be compiled, which the configuration would not have let through.
    regex: Option<Regex>,
}

/// An expression over bytes, in which `.` takes any byte but a line end.
pub(super) fn regex(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).unicode(false).size_limit(REGEX_LIMIT).build().ok()
}

impl Expected {
    pub(super) fn new(expect: &Expect) -> Self {
        let regex = match &expect.pattern {
            Pattern::Regex(text) | Pattern::HexRegex(text) => regex(text),
            Pattern::Text(_) | Pattern::Binary(_) | Pattern::Answer(_) => None,
        };
        Self { expect: expect.clone(), regex }
    }

    /// What `received` means at step `number`; none: more must come. `complete`: nothing more will.
    pub(super) fn judge(&self, received: &[u8], complete: bool, place: &str) -> Option<Verdict> {
        let complete = complete || received.len() >= LONGEST_ANSWER;
        if let Pattern::Answer(answer) = self.expect.pattern {
            return match answers::judge(answer, received, complete) {
                None if complete => {
                    Some(Verdict::saying(self.expect.on_error, format!("TCPCHK got an empty response{place}")))
                }
                verdict => verdict,
            };
        }
        if received.is_empty() {
            let verdict = Verdict::saying(self.expect.on_error, format!("TCPCHK got an empty response{place}"));
            return complete.then(|| verdict.because("it closed the connection without a word"));
        }
        let wanted = self.expect.min_received.unwrap_or(0).min(self.longest_need());
        if received.len() < wanted && !complete {
            return None;
        }
        let found = self.is_in(received);
        // As HAProxy: what is not there may still come, until the connection ends, unless the first bytes decide.
        if !found && !complete && self.expect.min_received != Some(0) {
            return None;
        }
        Some(if found != self.expect.negated {
            Verdict::saying(self.expect.on_success, "(tcp-check)")
        } else {
            self.missed(place)
        })
    }

    fn is_in(&self, received: &[u8]) -> bool {
        let matches = |text: &[u8]| self.regex.as_ref().is_some_and(|regex| regex.is_match(text));
        match &self.expect.pattern {
            Pattern::Text(bytes) | Pattern::Binary(bytes) => contains(received, bytes),
            Pattern::Regex(_) => matches(received),
            Pattern::HexRegex(_) => matches(HEXUPPER.encode(received).as_bytes()),
            Pattern::Answer(_) => false,
        }
    }

    /// Bytes beyond which there is no need to wait for more.
    fn longest_need(&self) -> usize {
        match &self.expect.pattern {
            Pattern::Text(bytes) | Pattern::Binary(bytes) => bytes.len(),
            Pattern::Regex(_) | Pattern::HexRegex(_) | Pattern::Answer(_) => LONGEST_ANSWER,
        }
    }

    fn missed(&self, place: &str) -> Verdict {
        let content = match &self.expect.pattern {
            Pattern::Text(bytes) => format!("content '{}'", printable(bytes)),
            Pattern::Regex(_) => "content (regex)".to_owned(),
            Pattern::Binary(_) => "content (binary)".to_owned(),
            Pattern::HexRegex(_) => "content (binary regex)".to_owned(),
            Pattern::Answer(_) => "content".to_owned(),
        };
        let (verb, cause) = match self.expect.negated {
            true => ("matched unwanted", format!("unwanted {content} came")),
            false => ("did not match", format!("{content} did not come")),
        };
        Verdict::saying(self.expect.on_error, format!("TCPCHK {verb} {content}{place}")).because(cause)
    }
}

/// The step in HAProxy's words: `expect string 'OK'`.
pub(super) fn in_words(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Text(bytes) => format!("expect string '{}'", printable(bytes)),
        Pattern::Regex(_) => "expect regex".to_owned(),
        Pattern::Binary(bytes) => format!("expect binary '{}'", printable(bytes)),
        Pattern::HexRegex(_) => "expect binary regex".to_owned(),
        Pattern::Answer(_) => "expect".to_owned(),
    }
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// Text for a log line: what is not printable becomes a dot, and it is cut where it gets long.
pub(super) fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 120;
    let shown = bytes.iter().take(LONGEST);
    shown.map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckResult;

    fn text(bytes: &str) -> Expect {
        Expect::new(Pattern::Text(bytes.into()))
    }

    fn judge(expect: Expect, received: &str, complete: bool) -> Option<(CheckResult, String)> {
        let verdict = Expected::new(&expect).judge(received.as_bytes(), complete, " at step 1")?;
        Some((verdict.result, verdict.info))
    }

    fn failed(info: &str) -> Option<(CheckResult, String)> {
        Some((CheckResult::L7Response, info.to_owned()))
    }

    fn passed() -> Option<(CheckResult, String)> {
        Some((CheckResult::L7Ok, "(tcp-check)".to_owned()))
    }

    /// Each line was seen with HAProxy 2.6.
    #[test]
    fn what_is_not_there_may_come_until_the_end() {
        assert_eq!(judge(text("OK"), "+OK ready", false), passed());
        assert_eq!(judge(text("OK"), "-ERR", false), None);
        assert_eq!(judge(text("OK"), "-ERR", true), failed("TCPCHK did not match content 'OK' at step 1"));
        assert_eq!(judge(text("OK"), "", true), failed("TCPCHK got an empty response at step 1"));
        let at_once = Expect { min_received: Some(0), ..text("OK") };
        assert_eq!(judge(at_once, "-ERR", false), failed("TCPCHK did not match content 'OK' at step 1"));
        let not = Expect { negated: true, ..text("ERR") };
        assert_eq!(judge(not.clone(), "-ERR", false), failed("TCPCHK matched unwanted content 'ERR' at step 1"));
        assert_eq!(judge(not.clone(), "+OK", false), None);
        assert_eq!(judge(not, "+OK", true), passed());
    }

    #[test]
    fn bytes_and_expressions() {
        let regex = |text: &str| Expect::new(Pattern::Regex(text.to_owned()));
        assert_eq!(judge(regex("^\\+OK"), "+OK", false), passed());
        assert_eq!(judge(regex("^\\+OK"), "x+OK", true), failed("TCPCHK did not match content (regex) at step 1"));
        let hex = |text: &str| Expect::new(Pattern::HexRegex(text.to_owned()));
        assert_eq!(judge(hex("^2B4F"), "+OK", false), passed());
        assert_eq!(judge(hex("^2b4f"), "+OK", true), failed("TCPCHK did not match content (binary regex) at step 1"));
        let binary = Expect::new(Pattern::Binary(vec![0xff]));
        assert_eq!(judge(binary, "+OK", true), failed("TCPCHK did not match content (binary) at step 1"));
        let raw = Expected::new(&regex("\\xff."));
        assert!(raw.judge(&[0, 0xff, 0xfe], false, "").is_some_and(|verdict| verdict.result.passed()));
    }

    #[test]
    fn enough_is_waited_for_and_not_for_ever() {
        let wait = |least| Expect { min_received: Some(least), ..Expect::new(Pattern::Regex("a".to_owned())) };
        assert_eq!(judge(wait(10), "a", false), None);
        assert_eq!(judge(wait(10), "aaaaaaaaaa", false), passed());
        assert_eq!(judge(wait(10), "a", true), passed());
        let long = "x".repeat(LONGEST_ANSWER);
        assert_eq!(judge(text("OK"), &long, false), failed("TCPCHK did not match content 'OK' at step 1"));
    }

    #[test]
    fn a_greedy_expression_is_refused_not_built() {
        assert!(regex("(a{1000}){1000}").is_none());
        assert_eq!(printable(b"a\r\nb\xff"), "a..b.");
    }
}
