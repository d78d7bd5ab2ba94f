use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vipgate::model::{Check, CheckKind, CheckResult, Command, CommandCheck};
use vipgate::probe::{Ended, Event, Job, Transition};

use crate::support::{Bench, MS, facts, server};

#[test]
fn a_commands_exit_status_is_the_result() {
    let command = Command {
        program: PathBuf::from("/usr/local/bin/check"),
        arguments: vec!["-v".to_owned()],
        user: None,
        timeout: Duration::from_secs(60),
    };
    let environment = vec![("HAPROXY_SERVER_ADDR".to_owned(), "127.0.0.1".to_owned())];
    let kind = CheckKind::Command(CommandCheck { command, environment });
    let check = Check { kind, interval: 20 * MS, fast_interval: 20 * MS, ..Check::new(([127, 0, 0, 1], 22).into()) };
    let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
    let seen = Arc::clone(&jobs);
    let mut bench = Bench::with_commands(server(check.clone()), move |job| {
        let mut jobs = seen.lock().unwrap();
        jobs.push(job);
        if jobs.len() < 3 { (Ended::Exited(0), String::new()) } else { (Ended::Exited(3), "no disk".to_owned()) }
    });
    let down = bench.next_event();
    let Event::Transition(Transition { up: false, reason, .. }) = down else { panic!("{down:?}") };
    assert!(reason.starts_with("External check error: exit status 3: no disk in "), "{reason}");
    let status = bench.until(|status| status.last_check.is_some());
    assert_eq!(facts(&status), (CheckResult::ProcessError, Some(3), ""));
    let jobs = jobs.lock().unwrap();
    assert_eq!(jobs[0].command.timeout, check.timeout);
    assert_eq!(jobs[0].arguments, ["NOT_USED", "NOT_USED", "127.0.0.1", "NOT_USED"]);
}
