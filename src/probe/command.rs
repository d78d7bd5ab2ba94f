//! Checks that are commands (HAProxy's `option external-check`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outcome::{Outcome, Verdict};
use crate::model::{self, Check, CheckResult, CommandCheck};

/// A command to be run for a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The command; its timeout is the check's.
    pub command: model::Command,
    /// Arguments after its own.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this status; 0 is success.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// It took too long, and was ended.
    TimedOut,
    /// It could not be run: cause and remedy.
    NotStarted(String),
}

/// Runs a command to its end, and returns what it said last, too; dropped, it ends the command.
pub type RunCommand = Arc<dyn Fn(Job) -> Pin<Box<dyn Future<Output = (Ended, String)> + Send>> + Send + Sync>;

/// Runs the command of `check` for a server with so many connections.
pub(super) async fn run(check: &Check, command: &CommandCheck, sessions: u64, run: &RunCommand) -> Outcome {
    let started = Instant::now();
    let verdict = verdict(run(job(check, command, sessions)).await);
    verdict.after(started.elapsed())
}

fn job(check: &Check, command: &CommandCheck, sessions: u64) -> Job {
    let timeout = check.response_timeout.map_or(check.timeout, |response| check.timeout.saturating_add(response));
    let mut environment = command.environment.clone();
    environment.push(("HAPROXY_SERVER_CURCONN".to_owned(), sessions.to_string()));
    let words = |name: &str| {
        let value = environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty()).unwrap_or("NOT_USED").to_owned()
    };
    let arguments =
        ["HAPROXY_PROXY_ADDR", "HAPROXY_PROXY_PORT", "HAPROXY_SERVER_ADDR", "HAPROXY_SERVER_PORT"].map(words).to_vec();
    let timeout = timeout.max(Duration::from_millis(1));
    Job { command: model::Command { timeout, ..command.command.clone() }, arguments, environment }
}

fn verdict((ended, said): (Ended, String)) -> Verdict {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    match ended {
        Ended::Exited(0) => Verdict::new(CheckResult::ProcessOk),
        Ended::Exited(status) => Verdict::new(CheckResult::ProcessError)
            .with_code(status.unsigned_abs())
            .because(format!("exit status {status}{said}")),
        Ended::Signalled(signal) => Verdict::new(CheckResult::ProcessError)
            .with_code(u32::MAX)
            .because(format!("ended by signal {signal}{said}")),
        Ended::TimedOut => Verdict::new(CheckResult::ProcessTimeout).because("it took too long"),
        Ended::NotStarted(cause) => Verdict::new(CheckResult::ProcessError).with_code(255).because(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_whom_to_check() {
        let command = model::Command {
            program: "/bin/true".into(),
            arguments: vec!["-x".to_owned()],
            user: None,
            timeout: Duration::from_secs(60),
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = vec![
            pair("HAPROXY_PROXY_ADDR", ""),
            pair("HAPROXY_SERVER_ADDR", "10.0.0.1"),
            pair("HAPROXY_SERVER_PORT", "22"),
        ];
        let check = Check::new(([10, 0, 0, 1], 22).into());
        let job = job(&check, &CommandCheck { command, environment }, 7);
        assert_eq!(job.arguments, ["NOT_USED", "NOT_USED", "10.0.0.1", "22"]);
        assert_eq!(job.command.timeout, check.timeout);
        assert!(job.environment.contains(&pair("HAPROXY_SERVER_CURCONN", "7")));
    }

    #[test]
    fn the_exit_status_is_the_result() {
        let seen = |ended: Ended| {
            let verdict = verdict((ended, "no disk".to_owned()));
            (verdict.result, verdict.code, verdict.cause)
        };
        assert_eq!(seen(Ended::Exited(0)), (CheckResult::ProcessOk, Some(0), String::new()));
        assert_eq!(seen(Ended::Exited(3)), (CheckResult::ProcessError, Some(3), "exit status 3: no disk".to_owned()));
        assert_eq!(seen(Ended::Signalled(9)).2, "ended by signal 9: no disk");
        assert_eq!(seen(Ended::TimedOut).0, CheckResult::ProcessTimeout);
    }
}
