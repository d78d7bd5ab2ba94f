//! What is told, and keepalived's words for it. Pure.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{Command, Notify};

use super::run::Job;

/// A virtual router or a sync group is in another state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// What it is.
    pub what: What,
    /// Its name.
    pub name: String,
    /// Its state now.
    pub state: State,
    /// Its effective priority; 0 for a group, as keepalived says it.
    pub priority: u8,
    /// When.
    pub at: SystemTime,
    /// Why, in words.
    pub reason: String,
}

/// A master heard an advertisement of lower priority (keepalived's `MASTER_RX_LOWER_PRI`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerPriority {
    /// The router.
    pub name: String,
    /// Its effective priority.
    pub priority: u8,
    /// When.
    pub at: SystemTime,
    /// Whom it heard, in words.
    pub reason: String,
}

/// A server or a tracker went down or came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub of: Watched,
    /// Its name; a server's as `pool/server`.
    pub name: String,
    /// Whether it is up now.
    pub up: bool,
    /// When.
    pub at: SystemTime,
    /// Why, in words.
    pub reason: String,
}

/// What has states of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A virtual router.
    Instance,
    /// A sync group.
    Group,
}

/// What is up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// A server of a pool.
    Server,
    /// A tracker.
    Tracker,
}

/// A state that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Owns the addresses.
    Master,
    /// Listens.
    Backup,
    /// Cannot take part.
    Fault,
    /// Ended, with the process or with a reload that removed it.
    Stop,
}

/// Who changed: what keeps its order, and what a newer state is newer than.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) what: What,
    pub(super) name: String,
}

/// What a transition is told with beside itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) seq: u64,
    pub(super) from: Option<State>,
    pub(super) node: &'a str,
}

impl What {
    /// keepalived's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Instance => "INSTANCE",
            Self::Group => "GROUP",
        }
    }
}

impl State {
    /// keepalived's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        }
    }

    /// The word in events: that of `vipgate status`, and `stopped`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Fault => "fault",
            Self::Stop => "stopped",
        }
    }
}

impl fmt::Display for Subject {
    /// `INSTANCE "VI_1"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.what.word(), printable(&self.name))
    }
}

impl Transition {
    pub(super) fn subject(&self) -> Subject {
        Subject { what: self.what, name: self.name.clone() }
    }

    /// The line a named pipe gets.
    pub(super) fn line(&self) -> String {
        format!("{} {} {}\n", self.subject(), self.state.word(), self.priority)
    }

    /// The runs it asks for: the state's own command first, then the one for every state, as keepalived documents it.
    pub(super) fn jobs(&self, notify: &Notify, context: Context<'_>) -> Vec<Job> {
        let own = match self.state {
            State::Master => &notify.master,
            State::Backup => &notify.backup,
            State::Fault => &notify.fault,
            State::Stop => &notify.stop,
        };
        let words = [self.what.word(), &self.name, self.state.word(), &self.priority.to_string()].map(str::to_owned);
        let environment = self.environment(context);
        let plain = own.iter().map(|command| job(command, Vec::new(), &environment));
        plain.chain(notify.any.iter().map(|command| job(command, words.to_vec(), &environment))).collect()
    }

    fn environment(&self, context: Context<'_>) -> Vec<(String, String)> {
        let mut variables =
            environment(self.what, &self.name, self.state.word(), self.priority, self.at, &self.reason, context);
        variables.push(("VIPGATE_FROM".into(), context.from.map_or("", State::word).into()));
        variables
    }
}

impl LowerPriority {
    const WORD: &'static str = "MASTER_RX_LOWER_PRI";

    pub(super) fn subject(&self) -> Subject {
        Subject { what: What::Instance, name: self.name.clone() }
    }

    /// The line a named pipe gets.
    pub(super) fn line(&self) -> String {
        format!("{} {} {}\n", self.subject(), Self::WORD, self.priority)
    }

    pub(super) fn jobs(&self, notify: &Notify, context: Context<'_>) -> Vec<Job> {
        let environment =
            environment(What::Instance, &self.name, Self::WORD, self.priority, self.at, &self.reason, context);
        notify.lower_priority.iter().map(|command| job(command, Vec::new(), &environment)).collect()
    }
}

fn job(command: &Command, arguments: Vec<String>, environment: &[(String, String)]) -> Job {
    Job { command: command.clone(), arguments, environment: environment.to_vec() }
}

fn environment(
    what: What,
    name: &str,
    state: &str,
    priority: u8,
    at: SystemTime,
    reason: &str,
    context: Context<'_>,
) -> Vec<(String, String)> {
    [
        ("VIPGATE_KIND", what.word().to_owned()),
        ("VIPGATE_NAME", name.to_owned()),
        ("VIPGATE_STATE", state.to_owned()),
        ("VIPGATE_PRIORITY", priority.to_string()),
        ("VIPGATE_REASON", reason.to_owned()),
        ("VIPGATE_SEQUENCE", context.seq.to_string()),
        ("VIPGATE_TIME", rfc3339(at)),
        ("VIPGATE_NODE", context.node.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A time as RFC 3339 writes it, in UTC, to the millisecond. A clock before 1970 counts as 1970.
pub(super) fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at.max(UNIX_EPOCH)).to_string()
}

/// A name that cannot break the line it stands in.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn command(program: &str) -> Command {
        Command { program: program.into(), arguments: vec!["own".into()], user: None, timeout: Duration::from_secs(1) }
    }

    fn everything() -> Notify {
        Notify {
            master: Some(command("master")),
            backup: Some(command("backup")),
            fault: Some(command("fault")),
            stop: Some(command("stop")),
            any: Some(command("any")),
            lower_priority: Some(command("lower")),
            mail: false,
        }
    }

    fn transition(what: What, state: State, priority: u8) -> Transition {
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        Transition { what, name: "VI_1".into(), state, priority, at, reason: "link down".into() }
    }

    const CONTEXT: Context<'_> = Context { seq: 7, from: Some(State::Backup), node: "front-a" };

    #[test]
    fn every_state_has_keepalived_s_script_arguments_and_line() {
        for (what, state, priority, own, words) in [
            (What::Instance, State::Master, 100, "master", ["INSTANCE", "VI_1", "MASTER", "100"]),
            (What::Instance, State::Backup, 99, "backup", ["INSTANCE", "VI_1", "BACKUP", "99"]),
            (What::Instance, State::Fault, 1, "fault", ["INSTANCE", "VI_1", "FAULT", "1"]),
            (What::Instance, State::Stop, 100, "stop", ["INSTANCE", "VI_1", "STOP", "100"]),
            (What::Group, State::Master, 0, "master", ["GROUP", "VI_1", "MASTER", "0"]),
        ] {
            let told = transition(what, state, priority);
            let jobs = told.jobs(&everything(), CONTEXT);
            let programs: Vec<_> = jobs.iter().map(|job| job.command.program.to_str().unwrap()).collect();
            assert_eq!(programs, [own, "any"], "{state:?}");
            assert!(jobs[0].arguments.is_empty(), "nothing is added for {own}");
            assert_eq!(jobs[1].arguments, words);
            assert_eq!(told.line(), format!("{} \"{}\" {} {}\n", words[0], words[1], words[2], words[3]));
        }
    }

    #[test]
    fn the_environment_says_the_same_and_more() {
        let jobs = transition(What::Instance, State::Fault, 100).jobs(&everything(), CONTEXT);
        let expected = [
            ("VIPGATE_KIND", "INSTANCE"),
            ("VIPGATE_NAME", "VI_1"),
            ("VIPGATE_STATE", "FAULT"),
            ("VIPGATE_PRIORITY", "100"),
            ("VIPGATE_REASON", "link down"),
            ("VIPGATE_SEQUENCE", "7"),
            ("VIPGATE_TIME", "1970-01-01T00:00:01.500Z"),
            ("VIPGATE_NODE", "front-a"),
            ("VIPGATE_FROM", "BACKUP"),
        ];
        for job in jobs {
            let given: Vec<_> = job.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(given, expected);
        }
    }

    #[test]
    fn what_is_not_configured_runs_nothing() {
        assert_eq!(transition(What::Instance, State::Master, 1).jobs(&Notify::default(), CONTEXT), []);
    }

    #[test]
    fn a_lower_priority_is_told_in_keepalived_s_word() {
        let at = UNIX_EPOCH - Duration::from_secs(1);
        let heard = LowerPriority { name: "VI_1".into(), priority: 150, at, reason: "192.0.2.9, 100".into() };
        assert_eq!(heard.line(), "INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 150\n");
        let jobs = heard.jobs(&everything(), CONTEXT);
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].command, command("lower"));
        assert!(jobs[0].arguments.is_empty());
        assert!(jobs[0].environment.contains(&("VIPGATE_TIME".into(), "1970-01-01T00:00:00.000Z".into())));
    }

    #[test]
    fn a_name_does_not_break_its_line() {
        let mut told = transition(What::Instance, State::Master, 1);
        told.name = "a\nINSTANCE \"b\"".into();
        assert_eq!(told.line().matches('\n').count(), 1);
    }
}
