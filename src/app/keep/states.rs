//! Files as `show servers state` writes them (HAProxy's management guide, section 9.3): how an earlier process, HAProxy or
//! vipgate, left its servers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::control::operate::ServerState;
use crate::model::{CheckResult, ServerRef};

/// The version of the format.
const VERSION: &str = "1";
/// A line ends with the port at least: HAProxy takes no shorter one.
const FEWEST: usize = 20;
/// No file of states is as long.
const LONGEST: u64 = 16 << 20;

/// A file, and when it was written.
#[derive(Debug)]
pub(super) struct States {
    pub(super) written: SystemTime,
    lines: Lines,
}

/// The columns of the lines about servers, by the names of pool and server: numbers may have changed.
type Lines = HashMap<ServerRef, Vec<String>>;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Useless {
    #[error("Can't open server state file '{0}': {1}")]
    Closed(String, io::Error),
    #[error("Can't get version of the server state file '{0}'")]
    Foreign(String),
    #[error("corrupted server state file '{0}' at line {1}")]
    Corrupted(String, usize),
}

/// How one server was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Where it was, if that was known.
    pub(super) address: Option<IpAddr>,
    /// It was up, or starting, or took no new clients.
    pub(super) up: bool,
    pub(super) stopping: bool,
    admin: u8,
    pub(super) weight: u16,
    /// The configured one.
    pub(super) configured_weight: u16,
    /// Since when it was up or down, before the file was written.
    pub(super) lasts: Duration,
    /// How its last check ended; none: it had none yet.
    pub(super) result: Option<CheckResult>,
    pub(super) checks_paused: bool,
    pub(super) agent_paused: bool,
    pub(super) port: i32,
    pub(super) check: (Option<IpAddr>, Option<u16>),
    pub(super) agent: (Option<IpAddr>, Option<u16>),
}

/// A value that nobody understands, and its column.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {0} value '{1}'")]
pub(super) struct Invalid(&'static str, String);

impl States {
    pub(super) fn open(path: &Path) -> Result<Self, Useless> {
        let name = || path.display().to_string();
        let closed = |error| Useless::Closed(name(), error);
        let file = File::open(path).map_err(closed)?;
        let written = file.metadata().and_then(|about| about.modified()).map_err(closed)?;
        let mut bytes = Vec::new();
        // A directory can be opened, not read.
        let Ok(_) = file.take(LONGEST).read_to_end(&mut bytes) else { return Err(Useless::Foreign(name())) };
        let lines = lines(&String::from_utf8_lossy(&bytes)).map_err(|line| match line {
            1 => Useless::Foreign(name()),
            line => Useless::Corrupted(name(), line),
        })?;
        Ok(Self { written, lines })
    }

    /// How a server was left, if the file knows it.
    pub(super) fn of(&self, pool: &str, server: &str) -> Option<Result<State, Invalid>> {
        let at = ServerRef { pool: pool.to_owned(), server: server.to_owned() };
        self.lines.get(&at).map(|line| State::read(line))
    }
}

/// Of several lines about a server the first one counts. One that is too short makes the whole file useless, and is returned
/// by its number.
fn lines(text: &str) -> Result<Lines, usize> {
    let mut all = text.lines();
    if all.next().is_none_or(|line| line.trim() != VERSION) {
        return Err(1);
    }
    let mut found = Lines::new();
    for (index, line) in all.enumerate() {
        let fields: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        match fields.len() {
            0 => {}
            _ if line.starts_with('#') => {}
            FEWEST.. => {
                let at = ServerRef { pool: fields[1].clone(), server: fields[3].clone() };
                found.entry(at).or_insert(fields);
            }
            _ => return Err(index + 2),
        }
    }
    Ok(found)
}

impl State {
    fn read(line: &[String]) -> Result<Self, Invalid> {
        let operation: u8 = number(line, 5, "srv_op_state", 0..=3)?;
        let admin = number(line, 6, "srv_admin_state", 0..=0x7f)?;
        let status: u8 = number(line, 10, "srv_check_status", 0..=22)?;
        let _: u8 = number(line, 11, "srv_check_result", 0..=4)?;
        let check_state: u16 = number(line, 13, "srv_check_state", 0..=0xff)?;
        let agent_state: u16 = number(line, 14, "srv_agent_state", 0..=0xff)?;
        // Columns that came later; 0 is none.
        let text = |column: usize| line.get(column).map_or("", String::as_str);
        let port = |column| text(column).parse().ok().filter(|port| *port > 0);
        let address = |column| text(column).parse().ok();
        Ok(Self {
            address: address(4),
            up: operation > 0,
            stopping: operation == 3,
            admin,
            weight: number(line, 7, "srv_uweight", 0..=256)?,
            configured_weight: number(line, 8, "srv_iweight", 0..=256)?,
            lasts: Duration::from_secs(number(line, 9, "srv_time_since_last_change", 0..=u64::from(u32::MAX))?),
            result: CheckResult::of_number(status).filter(|result| *result != CheckResult::Starved),
            checks_paused: paused(check_state),
            agent_paused: paused(agent_state),
            port: number(line, 18, "srv_port", -65_535..=65_535)?,
            check: (address(22), port(21)),
            agent: (address(23), port(24)),
        })
    }

    /// What an operator, or an agent, let it do. That it was in maintenance by its configuration counts as long as it is
    /// configured so; what came of a server that it tracked, or of its name, is found out again.
    pub(super) fn wanted(&self, disabled: bool) -> ServerState {
        const FORCED: u8 = 0x01;
        const CONFIGURED: u8 = 0x04;
        const DRAIN: u8 = 0x08;
        let was_configured = self.admin & CONFIGURED != 0;
        match (self.admin & FORCED != 0, was_configured, disabled) {
            // Newly configured so, or still.
            (_, false, true) | (true, true, true) | (true, false, false) => ServerState::Maint,
            _ if self.admin & DRAIN != 0 => ServerState::Drain,
            _ => ServerState::Ready,
        }
    }
}

/// Configured and not enabled.
fn paused(state: u16) -> bool {
    state & 0x02 != 0 && state & 0x04 == 0
}

fn number<T: FromStr + PartialOrd>(
    line: &[String],
    column: usize,
    name: &'static str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, Invalid> {
    let text = &line[column];
    text.parse().ok().filter(|value| range.contains(value)).ok_or_else(|| Invalid(name, text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2 b 1 s 192.0.2.1 2 0 5 10 3 6 3 4 6 0 0 0 - 7401 - 0 8081 192.0.2.9 - 0";

    fn state(line: &str) -> Result<State, Invalid> {
        State::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    /// The line with another value in a column.
    fn with(column: usize, value: &str) -> String {
        let mut fields: Vec<&str> = LINE.split(' ').collect();
        fields[column] = value;
        fields.join(" ")
    }

    #[test]
    fn a_line_says_how_a_server_was_left() {
        let left = state(LINE).unwrap();
        assert_eq!((left.weight, left.configured_weight, left.port), (5, 10, 7401));
        assert_eq!(left.check, (Some("192.0.2.9".parse().unwrap()), Some(8081)));
        assert_eq!((left.agent, left.result), ((None, None), Some(CheckResult::L4Ok)));
        assert!(left.up && !left.stopping && !left.checks_paused && !left.agent_paused);
        assert!(state(&with(13, "2")).unwrap().checks_paused);
        assert!(state(&with(5, "3")).unwrap().stopping);
        assert_eq!(state(&with(4, "-")).unwrap().address, None);
        assert_eq!(state(&with(10, "1")).unwrap().result, None);
        let short = LINE.split(' ').take(FEWEST).collect::<Vec<_>>().join(" ");
        assert_eq!(state(&short).unwrap().check, (None, None));
    }

    #[test]
    fn who_may_serve_is_what_haproxy_makes_of_it() {
        for (admin, disabled, expected) in [
            ("0", false, ServerState::Ready),
            ("1", false, ServerState::Maint),
            ("8", false, ServerState::Drain),
            ("9", false, ServerState::Maint),
            // What was inherited, or came of a name.
            ("50", false, ServerState::Ready),
            // Configured so then, today, and both.
            ("5", false, ServerState::Ready),
            ("0", true, ServerState::Maint),
            ("5", true, ServerState::Maint),
            ("4", true, ServerState::Ready),
            ("12", true, ServerState::Drain),
        ] {
            assert_eq!(state(&with(6, admin)).unwrap().wanted(disabled), expected, "{admin} {disabled}");
        }
    }

    #[test]
    fn values_that_nobody_understands_are_named() {
        for (column, value, expected) in [
            (5, "9", "invalid srv_op_state value '9'"),
            (6, "128", "invalid srv_admin_state value '128'"),
            (7, "300", "invalid srv_uweight value '300'"),
            (10, "77", "invalid srv_check_status value '77'"),
            (11, "x", "invalid srv_check_result value 'x'"),
            (18, "99999", "invalid srv_port value '99999'"),
        ] {
            assert_eq!(state(&with(column, value)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_first_line_of_a_server_counts() {
        let others = [with(1, "other"), with(3, "other"), with(7, "9")].join("\n");
        let states =
            States { written: SystemTime::UNIX_EPOCH, lines: lines(&format!("1\n{LINE}\n{others}\n")).unwrap() };
        assert_eq!(states.of("b", "s"), Some(state(LINE)));
        assert_eq!(states.of("other", "s"), Some(state(&with(1, "other"))));
        assert_eq!((states.lines.len(), states.of("b", "none")), (3, None));
    }

    #[test]
    fn a_short_line_makes_a_file_useless_and_comments_do_not() {
        assert_eq!(lines(&format!("1\n# names\n\n{LINE}\n")).unwrap().len(), 1);
        assert_eq!(lines(&format!("1\n{LINE} more\n")).unwrap().len(), 1);
        assert_eq!(lines(&format!("1\n{LINE}\n2 b 1 s\n")), Err(3));
        for text in ["", "\n", "2\n", "1 2\n", "garbage\n"] {
            assert_eq!(lines(text), Err(1), "{text:?}");
        }
    }
}
