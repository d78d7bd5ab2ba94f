//! How a check ended.

use std::time::{Duration, SystemTime};

use crate::model::CheckResult;

/// A finished check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result: CheckResult,
    /// The code that came with it: an HTTP status, an exit status.
    pub(super) code: Option<u32>,
    /// What HAProxy says in `info: "..."` of its log lines and in its column `last_chk`; may be empty.
    pub(super) info: String,
    /// What is said to people: the cause of a failure, or what a passing server said; may be empty.
    pub(super) cause: String,
    /// Where it ended, such as `step 2 (the banner)`; none where nobody wrote steps.
    pub(super) step: Option<String>,
    pub(super) duration: Duration,
    /// When the certificate that the server showed expires.
    pub(super) certificate_expires: Option<SystemTime>,
}

/// What a part of a check came to. The code is 0 where a result has one and nothing else is known, as with HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) result: CheckResult,
    pub(super) code: Option<u32>,
    pub(super) info: String,
    pub(super) cause: String,
}

impl Verdict {
    pub(super) fn new(result: CheckResult) -> Self {
        Self { result, code: result.has_code().then_some(0), info: String::new(), cause: String::new() }
    }

    /// The same words for HAProxy's readers and for people.
    pub(super) fn saying(result: CheckResult, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { info: text.clone(), cause: text, ..Self::new(result) }
    }

    pub(super) fn with_code(self, code: u32) -> Self {
        Self { code: self.result.has_code().then_some(code), ..self }
    }

    /// The step belongs to what HAProxy's readers are told.
    pub(super) fn at(self, place: &str) -> Self {
        Self { info: format!("{}{place}", self.info), ..self }
    }

    pub(super) fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), ..self }
    }

    pub(super) fn after(self, duration: Duration) -> Outcome {
        let Self { result, code, info, cause } = self;
        Outcome { result, code, info, cause, step: None, duration, certificate_expires: None }
    }
}
