//! How a line is dressed for its target: syslog's headers, as HAProxy writes them.

use super::record::Record;
use crate::model::{LogDress, LogTarget};
use crate::os::clock::LocalTime;

/// What every line of the process carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) tag: String,
    pub(super) host_name: Option<String>,
    pub(super) pid: u32,
}

/// A line for `target`, its end included; none: it is not severe enough.
pub(super) fn dress(target: &LogTarget, sender: &Sender, record: &Record) -> Option<Vec<u8>> {
    let Record { at, ref text, .. } = *record;
    if record.severity > target.level {
        return None;
    }
    let severity = record.severity.max(target.most_severe);
    let priority = u16::from(target.facility) << 3 | u16::from(severity.number());
    let Sender { host_name, pid, .. } = sender;
    let tag = record.tag.as_deref().unwrap_or(&sender.tag);
    let mut line = match target.dress {
        LogDress::Rfc3164 => {
            let host = host_name.as_ref().map_or_else(String::new, |name| format!("{name} "));
            format!("<{priority}>{} {host}{tag}[{pid}]: {text}", LocalTime::of(at).syslog())
        }
        LogDress::Rfc5424 => {
            let host = host_name.as_deref().unwrap_or("-");
            format!("<{priority}>1 {} {host} {tag} {pid} - - {text}", LocalTime::of(at).rfc5424())
        }
        LogDress::Short => format!("<{}>{text}", severity.number()),
        LogDress::Raw => text.clone(),
    };
    // One byte is the line's end.
    let room = target.length.saturating_sub(1);
    if line.len() > room {
        let end = (0..=room).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
    }
    line.push('\n');
    Some(line.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::app::log::record::About;
    use crate::model::LogPlace;
    use crate::model::Severity;
    use std::time::Duration;

    #[test]
    fn lines_are_dressed_as_haproxy_sends_them() {
        let sender = Sender { tag: "haproxy".to_owned(), host_name: None, pid: 24426 };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_288_417_284);
        let time = LocalTime::of(at);
        let target = LogTarget::new(LogPlace::Stdout);
        let written = |target: &LogTarget, severity| {
            let record = Record { about: About::Process, severity, at, tag: None, text: "Connect".to_owned() };
            dress(target, &sender, &record).map(|line| String::from_utf8(line).unwrap())
        };
        let plain = format!("<134>{} haproxy[24426]: Connect\n", time.syslog());
        assert_eq!(written(&target, Severity::Info), Some(plain));
        let record = Record {
            about: About::Process,
            severity: Severity::Info,
            at,
            tag: Some("web".into()),
            text: "Connect".to_owned(),
        };
        let line = String::from_utf8(dress(&target, &sender, &record).unwrap()).unwrap();
        assert_eq!(line, format!("<134>{} web[24426]: Connect\n", time.syslog()));
        let capped = LogTarget { most_severe: Severity::Notice, level: Severity::Info, ..target.clone() };
        assert!(written(&capped, Severity::Alert).unwrap().starts_with("<133>"));
        assert_eq!(written(&capped, Severity::Debug), None);
        let raw = LogTarget { dress: LogDress::Raw, length: 5, ..target.clone() };
        assert_eq!(written(&raw, Severity::Info).as_deref(), Some("Conn\n"));
        let short = LogTarget { dress: LogDress::Short, ..target.clone() };
        assert_eq!(written(&short, Severity::Warning).as_deref(), Some("<4>Connect\n"));
        let new = LogTarget { dress: LogDress::Rfc5424, facility: 3, ..target };
        assert_eq!(
            written(&new, Severity::Info),
            Some(format!("<30>1 {} - haproxy 24426 - - Connect\n", time.rfc5424()))
        );
    }
}
