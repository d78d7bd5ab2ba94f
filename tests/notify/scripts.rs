//! Scripts: their order, what a newer state makes needless, those that hang; hooks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use vipgate::model::{Notify, NotifyTargets, SyncGroup};
use vipgate::notify::{Change, Ended, LowerPriority, Moment, Notifier, State, Transition, Watched, What, hook};
use vipgate::stats::Registry;

use crate::support::{Folder, LONG, Runs, command, processes, router, text, told, until};

#[tokio::test(start_paused = true)]
async fn they_run_one_after_the_other_in_the_order_of_the_transitions() {
    let (runs, registry) = (Runs::default(), Arc::<Registry>::default());
    let notifier = Notifier::start(runs.taking(Duration::from_millis(100)), Arc::clone(&registry));
    notifier.apply("n", &NotifyTargets::default(), &[router("a"), router("b"), router("c")], &[]);
    for name in ["a", "b", "c"] {
        notifier.tell(&told(name, State::Backup));
    }
    let began = tokio::time::Instant::now();
    notifier.stop(LONG).await;
    assert_eq!(runs.list(), ["any a BACKUP", "any b BACKUP", "any c BACKUP"]);
    assert_eq!(began.elapsed(), Duration::from_millis(300), "one at a time");
    assert_eq!(registry.notify.scripts_done.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_newer_state_takes_the_place_of_one_that_waits_and_this_is_counted() {
    let (runs, registry) = (Runs::default(), Arc::<Registry>::default());
    let notifier = Notifier::start(runs.taking(Duration::from_millis(100)), Arc::clone(&registry));
    notifier.apply("n", &NotifyTargets::default(), &[router("a"), router("b")], &[]);
    notifier.tell(&told("a", State::Backup));
    tokio::time::sleep(Duration::from_millis(50)).await;
    for state in [State::Fault, State::Backup, State::Fault, State::Master] {
        notifier.tell(&told("a", state));
    }
    notifier.tell(&told("b", State::Backup));
    notifier.stop(LONG).await;
    assert_eq!(runs.list(), ["any a BACKUP", "any a MASTER", "any b BACKUP"]);
    assert_eq!(registry.notify.scripts_collapsed.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_overtaken_but_never_by_its_own_router() {
    let (runs, registry) = (Runs::default(), Arc::<Registry>::default());
    let notifier = Notifier::start(runs.hanging_for("a"), Arc::clone(&registry));
    notifier.apply("n", &NotifyTargets::default(), &[router("a"), router("b")], &[]);
    notifier.tell(&told("a", State::Backup));
    notifier.tell(&told("a", State::Master));
    notifier.tell(&told("b", State::Backup));
    // The first state of `a` had not run yet when the second came.
    tokio::time::sleep(Duration::from_millis(900)).await;
    notifier.tell(&told("a", State::Fault));
    assert_eq!(runs.list(), ["any a MASTER"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(runs.list(), ["any a MASTER", "any b BACKUP"], "a second is all it costs the other");
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert_eq!(runs.list().len(), 2, "its own router waits for its end");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(runs.list(), ["any a MASTER", "any b BACKUP", "any a FAULT"]);
    assert_eq!(registry.notify.scripts_timed_out.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_end_cuts_off_is_counted() {
    let (runs, registry) = (Runs::default(), Arc::<Registry>::default());
    let notifier = Notifier::start(runs.hanging_for("a"), Arc::clone(&registry));
    notifier.apply("n", &NotifyTargets::default(), &[router("a"), router("b")], &[]);
    notifier.tell(&told("a", State::Backup));
    tokio::time::sleep(Duration::from_millis(1)).await;
    notifier.tell(&told("a", State::Stop));
    notifier.tell(&told("b", State::Stop));
    let began = tokio::time::Instant::now();
    notifier.stop(Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(runs.list(), ["any a BACKUP", "any b STOP"], "the other router's end is told all the same");
    assert_eq!(registry.notify.scripts_dropped.load(Ordering::Relaxed), 2, "the one that hangs, and the one behind it");
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_hangs_itself_is_given_up() {
    let registry = Arc::<Registry>::default();
    let runner: vipgate::notify::Runner = Arc::new(|_: vipgate::notify::Job| std::future::pending::<Ended>());
    let notifier = Notifier::start(Arc::clone(&runner), Arc::clone(&registry));
    notifier.apply("n", &NotifyTargets::default(), &[router("a")], &[]);
    notifier.tell(&told("a", State::Stop));
    notifier.stop(Duration::from_secs(60)).await;
    assert_eq!(registry.notify.scripts_timed_out.load(Ordering::Relaxed), 1);
    let began = tokio::time::Instant::now();
    assert_eq!(hook(&runner, Moment::BeforeMaster, "a", &command("x"), &registry).await, Ended::TimedOut);
    assert_eq!(began.elapsed(), Duration::from_secs(32), "its timeout and two seconds");
    assert_eq!(registry.notify.hooks_timed_out.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn real_scripts_get_keepalived_s_arguments_and_our_environment() {
    let folder = Folder::new("scripts");
    let out = folder.file("out");
    let script = folder.script(
        "say",
        &format!("echo \"$#:$*|$VIPGATE_KIND $VIPGATE_NAME $VIPGATE_FROM-$VIPGATE_STATE\" >> {}", out.display()),
    );
    let with = |own: &str| {
        let mut command = script.clone();
        command.arguments = vec![own.into()];
        Some(command)
    };
    let mut router = router("VI 1");
    router.notify = Notify {
        master: with("m"),
        backup: with("b"),
        fault: None,
        stop: with("s"),
        any: with("any"),
        lower_priority: with("low"),
        mail: false,
    };
    let group = SyncGroup {
        name: "VG".into(),
        routers: vec![],
        track: vec![],
        member_weights: false,
        notify: Notify { any: with("g"), ..Notify::default() },
    };
    let registry = Arc::<Registry>::default();
    let notifier = Notifier::start(processes(), Arc::clone(&registry));
    notifier.apply("n", &NotifyTargets::default(), &[router], &[group]);
    let lines = |count: usize| text(&out).lines().count() == count;
    notifier.tell(&told("VI 1", State::Backup));
    until("the first backup is told", || lines(2)).await;
    notifier.tell(&told("VI 1", State::Master));
    notifier.tell(&Transition { what: What::Group, priority: 0, ..told("VG", State::Master) });
    until("master and group", || lines(5)).await;
    let heard = LowerPriority { name: "VI 1".into(), priority: 100, at: SystemTime::UNIX_EPOCH, reason: String::new() };
    notifier.lower_priority(&heard);
    until("a lower priority", || lines(6)).await;
    notifier.tell(&told("VI 1", State::Fault));
    until("fault has no script of its own", || lines(7)).await;
    notifier.tell(&told("VI 1", State::Stop));
    notifier.stop(LONG).await;
    assert_eq!(
        text(&out).lines().collect::<Vec<_>>(),
        [
            "1:b|INSTANCE VI 1 -BACKUP",
            "5:any INSTANCE VI 1 BACKUP 100|INSTANCE VI 1 -BACKUP",
            "1:m|INSTANCE VI 1 BACKUP-MASTER",
            "5:any INSTANCE VI 1 MASTER 100|INSTANCE VI 1 BACKUP-MASTER",
            "5:g GROUP VG MASTER 0|GROUP VG -MASTER",
            "1:low|INSTANCE VI 1 -MASTER_RX_LOWER_PRI",
            "5:any INSTANCE VI 1 FAULT 100|INSTANCE VI 1 MASTER-FAULT",
            "1:s|INSTANCE VI 1 FAULT-STOP",
            "5:any INSTANCE VI 1 STOP 100|INSTANCE VI 1 FAULT-STOP",
        ]
    );
    assert_eq!(registry.notify.scripts_done.load(Ordering::Relaxed), 9);
}

#[tokio::test]
async fn hooks_say_how_they_ended() {
    let folder = Folder::new("hooks");
    let registry = Registry::default();
    let runner = processes();
    let out = folder.file("out");
    let good = folder.script("good", &format!("echo $VIPGATE_HOOK $VIPGATE_NAME > {}", out.display()));
    assert_eq!(hook(&runner, Moment::AfterRelease, "front", &good, &registry).await, Ended::Exited(0));
    assert_eq!(text(&out), "after-release front\n");
    let bad = folder.script("bad", "exit 3");
    assert_eq!(hook(&runner, Moment::BeforeMaster, "front", &bad, &registry).await, Ended::Exited(3));
    let missing = command("/nowhere/at/all");
    let ended = hook(&runner, Moment::BeforeMaster, "front", &missing, &registry).await;
    assert!(matches!(ended, Ended::NotStarted(_)), "{ended:?}");
    let counted = registry.notify.snapshot();
    assert_eq!((counted.hooks_done, counted.hooks_failed, counted.hooks_timed_out), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_whatever_scripts_do() {
    let registry = Arc::<Registry>::default();
    let notifier = Notifier::start(Runs::default().hanging_for("a"), registry);
    notifier.apply("node", &NotifyTargets::default(), &[router("a")], &[]);
    let mut events = notifier.subscribe();
    assert_eq!(notifier.tell(&told("a", State::Backup)), 1);
    assert_eq!(notifier.tell(&told("a", State::Master)), 2);
    let at = SystemTime::UNIX_EPOCH;
    let down = Change { of: Watched::Server, name: "p/s".into(), up: false, at, reason: "refused".into() };
    assert_eq!(notifier.change(&down), 3);
    let began = tokio::time::Instant::now();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let line: serde_json::Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        seen.push([&line["seq"], &line["kind"], &line["from"], &line["to"]].map(ToString::to_string).join(" "));
    }
    assert_eq!(seen, [r#"1 "router" null "backup""#, r#"2 "router" "backup" "master""#, r#"3 "server" null "down""#]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    notifier.stop(Duration::ZERO).await;
    assert_eq!(events.next().await, None);
}
