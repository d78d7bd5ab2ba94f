//! Dates as logs write them: the time of this place, as the machine's time zone has it.

#![expect(unsafe_code, reason = "localtime_r(3) and gmtime_r(3) have no safe interface")]

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment in this place's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The year.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// Microseconds of the second.
    pub micros: u32,
    /// Seconds east of Greenwich.
    pub offset: i64,
}

impl LocalTime {
    /// `moment` in this place's time.
    #[must_use]
    pub fn of(moment: SystemTime) -> Self {
        Self::by(libc::localtime_r, moment)
    }

    /// `moment` in Greenwich's time.
    #[must_use]
    pub fn greenwich(moment: SystemTime) -> Self {
        Self::by(libc::gmtime_r, moment)
    }

    /// `convert`: localtime_r(3) or gmtime_r(3).
    fn by(
        convert: unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm,
        moment: SystemTime,
    ) -> Self {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(0);
        // SAFETY: zero is a valid value of every field of `tm`, the zone's pointer included.
        let mut parts: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to values that live during the call, which keeps neither.
        let _ = unsafe { convert(&raw const seconds, &raw mut parts) };
        let small = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
        Self {
            year: parts.tm_year + 1900,
            month: small(parts.tm_mon) + 1,
            day: small(parts.tm_mday),
            hour: small(parts.tm_hour),
            minute: small(parts.tm_min),
            second: small(parts.tm_sec),
            micros: since.subsec_micros(),
            offset: parts.tm_gmtoff,
        }
    }

    fn month_name(&self) -> &'static str {
        MONTHS.get(usize::from(self.month).saturating_sub(1)).copied().unwrap_or("Jan")
    }

    /// `Nov 21 19:13:37` (RFC 3164 section 4.1.2).
    #[must_use]
    pub fn syslog(&self) -> String {
        let Self { day, hour, minute, second, .. } = self;
        format!("{} {day:>2} {hour:02}:{minute:02}:{second:02}", self.month_name())
    }

    /// `2026-11-21T19:13:37.284000+01:00` (RFC 5424 section 6.2.3).
    #[must_use]
    pub fn rfc5424(&self) -> String {
        let Self { year, month, day, hour, minute, second, micros, offset } = self;
        let (sign, offset) = if *offset < 0 { ('-', -offset) } else { ('+', *offset) };
        let (hours, minutes) = (offset / 3600, offset / 60 % 60);
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{sign}{hours:02}:{minutes:02}")
    }

    /// `21/Nov/2026:19:13:37.284`, as HAProxy's logs have it.
    #[must_use]
    pub fn haproxy(&self) -> String {
        let Self { year, day, hour, minute, second, micros, .. } = self;
        let month = self.month_name();
        format!("{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02}.{:03}", micros / 1000)
    }

    /// `21/Nov/2026:19:13:37 +0100`, with the zone, as HAProxy's logs have it.
    #[must_use]
    pub fn haproxy_zone(&self) -> String {
        let Self { year, day, hour, minute, second, offset, .. } = self;
        let (month, sign) = (self.month_name(), if *offset < 0 { '-' } else { '+' });
        let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
        format!("{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} {sign}{hours:02}{minutes:02}")
    }
}

/// [`LocalTime::haproxy`] of a moment.
#[must_use]
pub fn haproxy_date(moment: SystemTime) -> String {
    LocalTime::of(moment).haproxy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_their_readers_expect() {
        let time = LocalTime {
            year: 2026,
            month: 11,
            day: 2,
            hour: 9,
            minute: 3,
            second: 7,
            micros: 284_001,
            offset: -5 * 3600 - 1800,
        };
        assert_eq!(time.syslog(), "Nov  2 09:03:07");
        assert_eq!(time.haproxy(), "02/Nov/2026:09:03:07.284");
        assert_eq!(time.haproxy_zone(), "02/Nov/2026:09:03:07 -0530");
        assert_eq!(time.rfc5424(), "2026-11-02T09:03:07.284001-05:30");
    }

    #[test]
    fn the_clock_of_this_place_is_the_systems() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_288_417_284_000);
        let time = LocalTime::of(moment);
        let day_seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
        assert_eq!((day_seconds - time.offset).rem_euclid(86_400), 1_795_288_417 % 86_400);
        assert_eq!((time.year, time.micros), (2026, 284_000));
    }
}
