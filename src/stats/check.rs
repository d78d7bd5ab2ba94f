//! Health checks in statistics: the last one of a server, as counters keep it and as snapshots show it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::CheckResult;

/// A finished health check.
#[derive(Debug, Clone, PartialEq)]
pub struct LastCheck {
    /// How it ended.
    pub result: CheckResult,
    /// The code that came with it: an HTTP status, an exit status.
    pub code: Option<u32>,
    /// What there is to say, in HAProxy's words, such as `Connection refused`; may be empty.
    pub detail: String,
    /// How long it took.
    pub duration: Duration,
    /// When it ended.
    pub at: Instant,
}

/// A finished health check, or an agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastCheckSnapshot {
    /// How it ended.
    pub result: CheckResult,
    /// The code that came with it: an HTTP status, an exit status.
    #[serde(default)]
    pub code: Option<u32>,
    /// What there is to say, in HAProxy's words.
    pub detail: String,
    /// How long it took.
    pub duration_seconds: f64,
    /// How long ago it ended.
    pub ago_seconds: f64,
}

impl LastCheckSnapshot {
    /// The check as it is seen at `now`.
    #[must_use]
    pub fn of(check: LastCheck, now: Instant) -> Self {
        Self {
            result: check.result,
            code: check.code,
            detail: check.detail,
            duration_seconds: super::snapshot::seconds(check.duration),
            ago_seconds: super::snapshot::ago(check.at, now),
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// By HAProxy's code.
impl Serialize for CheckResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for CheckResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| D::Error::custom(format!("`{code}` is not a result of a check")))
    }
}
