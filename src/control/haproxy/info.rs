//! `show info`.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use crate::model::Config;
use crate::os::clock::LocalTime;
use crate::stats::Snapshot;
use crate::stats::rows::described;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Described,
    Typed,
    Json,
}

impl Form {
    pub(super) fn of(arguments: &[&str]) -> Self {
        let mut form = Self::Plain;
        for word in arguments {
            match *word {
                "typed" => form = Self::Typed,
                "json" => form = Self::Json,
                "desc" => form = Self::Described,
                _ => {}
            }
        }
        form
    }
}

/// A value of the table beside this file.
struct Field {
    position: usize,
    name: &'static str,
    tags: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
}

static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let lines = include_str!("info.tsv").lines().filter(|line| !line.starts_with('#'));
    let field = |line: &'static str| {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let position = cell().parse().unwrap_or(0);
        let (name, tags, form, default, meaning) = (cell(), cell(), cell(), cell(), cell());
        Field { position, name, tags, form, default, meaning }
    };
    lines.map(field).collect()
});

pub(super) fn render(form: Form, config: &Config, snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let mut members = Vec::new();
    for field in FIELDS.iter() {
        let Field { position, name, tags, form: kind, default, meaning } = field;
        let value = value(name, config, snapshot).unwrap_or_else(|| (*default).to_owned());
        // Writing to a String cannot fail.
        let _ = match form {
            Form::Plain => writeln!(out, "{name}: {value}"),
            Form::Described => writeln!(out, "{name}: {value}:\"{meaning}\""),
            Form::Typed => writeln!(out, "{position}.{name}.1:{tags}:{kind}:{value}"),
            Form::Json => {
                members.push(format!("{{{}}}", described(*position, name, tags, kind, &value)));
                Ok(())
            }
        };
    }
    if form == Form::Json { format!("[{}]\n", members.join(",")) } else { out }
}

/// What is known here of a field.
fn value(name: &str, config: &Config, snapshot: &Snapshot) -> Option<String> {
    let process = &snapshot.process;
    let uptime = Duration::try_from_secs_f64(snapshot.uptime_seconds).unwrap_or_default();
    let sum = |figure: fn(&crate::stats::ServiceSnapshot) -> u64| snapshot.services.iter().map(figure).sum::<u64>();
    Some(match name {
        "Name" => "vipgate".to_owned(),
        "Version" | "Build info" => env!("CARGO_PKG_VERSION").to_owned(),
        "Release_date" => release_date(),
        "Nbthread" => process.workers.to_string(),
        "Pid" => process.pid.to_string(),
        "Uptime" => uptime_text(uptime.as_secs()),
        "Uptime_sec" => uptime.as_secs().to_string(),
        "Ulimit-n" => process.descriptor_limit.to_string(),
        "Maxsock" => process.descriptor_limit.to_string(),
        "Maxconn" | "Hard_maxconn" => process.connection_limit.to_string(),
        "CurrConns" => sum(|service| service.open).to_string(),
        "CumConns" | "CumReq" => sum(|service| service.accepted).to_string(),
        "ConnRate" | "SessRate" => process.rate.to_string(),
        "MaxConnRate" | "MaxSessRate" => process.rate_max.to_string(),
        "node" => snapshot.node.clone().unwrap_or_default(),
        "Listeners" => config.services.iter().map(|service| service.listen.len()).sum::<usize>().to_string(),
        "Jobs" => (sum(|service| service.open) + config.services.len() as u64).to_string(),
        "DroppedLogs" => process.log_lines_lost.to_string(),
        "TotalBytesOut" => sum(|service| service.bytes_out).to_string(),
        "PoolAlloc_bytes" | "PoolUsed_bytes" => process.resident_bytes.to_string(),
        "PoolAlloc_MB" | "PoolUsed_MB" => (process.resident_bytes >> 20).to_string(),
        "Start_time_sec" => {
            let start = SystemTime::now().checked_sub(uptime).unwrap_or(SystemTime::UNIX_EPOCH);
            start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
        }
        _ => return None,
    })
}

/// `1d 2h03m04s`.
fn uptime_text(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days}d {hours}h{minutes:02}m{:02}s", seconds % 60)
}

/// The date of the program's file: what was installed then.
fn release_date() -> String {
    let modified = std::fs::metadata("/proc/self/exe").and_then(|file| file.modified());
    let LocalTime { year, month, day, .. } = LocalTime::of(modified.unwrap_or(SystemTime::UNIX_EPOCH));
    format!("{year}/{month:02}/{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_written_as_haproxy_does() {
        assert_eq!(uptime_text(4), "0d 0h00m04s");
        assert_eq!(uptime_text(2 * 86_400 + 13 * 3600 + 7 * 60 + 9), "2d 13h07m09s");
    }
}
