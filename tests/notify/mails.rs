//! Mail, to a server that speaks the protocol and fails as real ones do.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vipgate::model::{Mail, Notify, NotifyTargets, VirtualRouter};
use vipgate::notify::{Change, Notifier, State, Transition, Watched, What};
use vipgate::stats::Registry;

use crate::sink::{Manner, Sink};
use crate::support::{LONG, processes, router, told, until};

const GAP: Duration = Duration::from_millis(400);

/// The first pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);

fn mail(sink: &Sink) -> Mail {
    Mail {
        // A name, with an IPv6 address too perhaps, where nobody listens.
        server: "localhost".into(),
        port: sink.address.port(),
        helo: Some("front.example".into()),
        from: "vipgate@example.com".into(),
        to: vec!["a@example.com".into(), "b@example.com".into()],
        timeout: Duration::from_millis(1500),
        routers: true,
        servers: true,
        faults: true,
        gap: GAP,
    }
}

struct Post {
    sink: Sink,
    notifier: Notifier,
    registry: Arc<Registry>,
}

impl Post {
    async fn new(manners: &[Manner], change: impl FnOnce(&mut Mail)) -> Self {
        let sink = Sink::start(manners).await;
        let mut settings = mail(&sink);
        change(&mut settings);
        let registry = Arc::<Registry>::default();
        let notifier = Notifier::start(processes(), Arc::clone(&registry));
        let post = Self { sink, notifier, registry };
        post.apply(settings);
        post
    }

    fn apply(&self, settings: Mail) {
        let targets = NotifyTargets { fifos: vec![], mail: Some(settings) };
        let silent = VirtualRouter { notify: Notify::default(), ..router("VI_1") };
        let mailing = VirtualRouter { notify: Notify { mail: true, ..Notify::default() }, ..router("VI_2") };
        self.notifier.apply("NODE_A", &targets, &[silent, mailing], &[]);
    }

    async fn arrived(&self, count: usize) {
        until(&format!("{count} mails"), || self.sink.mails().len() >= count).await;
    }

    fn subjects(&self) -> Vec<String> {
        self.sink.mails().iter().map(|mail| mail.header("Subject")).collect()
    }
}

#[tokio::test]
async fn a_transition_is_mailed_in_keepalived_s_words_to_everybody() {
    let post = Post::new(&[], |_| {}).await;
    post.notifier.tell(&told("VI_1", State::Master));
    post.arrived(1).await;
    let mail = &post.sink.mails()[0];
    assert_eq!((mail.helo.as_str(), mail.from.as_str()), ("front.example", "FROM:<vipgate@example.com>"));
    assert_eq!(mail.to, ["a@example.com", "b@example.com"]);
    assert_eq!(mail.header("From"), "vipgate@example.com");
    assert_eq!(mail.header("To"), "a@example.com, b@example.com");
    assert_eq!(mail.header("Subject"), "[NODE_A] VRRP Instance VI_1 - Entering MASTER state");
    assert_eq!(mail.header("Date"), "Thu, 01 Jan 1970 00:00:00 +0000");
    assert!(
        mail.body().starts_with("=> VRRP Instance is now owning VRRP VIPs <=\n\nReason: test\n"),
        "{}",
        mail.body()
    );
    until("it is counted", || post.registry.notify.snapshot().mails_sent == 1).await;
}

#[tokio::test]
async fn what_happens_in_the_gap_is_gathered_into_one_mail() {
    let post = Post::new(&[], |_| {}).await;
    let began = Instant::now();
    post.notifier.tell(&told("VI_1", State::Backup));
    post.arrived(1).await;
    for state in [State::Master, State::Fault, State::Backup] {
        post.notifier.tell(&told("VI_1", state));
    }
    let at = std::time::SystemTime::UNIX_EPOCH;
    let down = Change { of: Watched::Server, name: "pool/s1".into(), up: false, at, reason: "refused".into() };
    post.notifier.change(&down);
    post.notifier.change(&Change { of: Watched::Tracker, ..down });
    post.arrived(2).await;
    assert!(began.elapsed() >= GAP, "{:?}", began.elapsed());
    assert_eq!(post.subjects()[1], "[NODE_A] 4 events, the last: Server pool/s1 - DOWN");
    let body = post.sink.mails()[1].body();
    let places: Vec<_> = ["Entering MASTER", "Entering FAULT", "Entering BACKUP", "Server pool/s1 - DOWN"]
        .iter()
        .map(|words| body.find(words).unwrap())
        .collect();
    assert!(places.is_sorted(), "{body}");
    assert_ne!(post.sink.mails()[0].header("Message-ID"), post.sink.mails()[1].header("Message-ID"));
}

#[tokio::test]
async fn only_what_is_wanted_is_mailed() {
    let post = Post::new(&[], |mail| {
        mail.routers = false;
        mail.servers = false;
        mail.faults = false;
    })
    .await;
    let at = std::time::SystemTime::UNIX_EPOCH;
    let down = Change { of: Watched::Server, name: "p/s".into(), up: false, at, reason: String::new() };
    post.notifier.change(&down);
    post.notifier.tell(&told("VI_1", State::Master));
    post.notifier.tell(&Transition { what: What::Group, ..told("VG", State::Master) });
    post.notifier.tell(&told("VI_2", State::Fault));
    post.notifier.tell(&told("VI_2", State::Stop));
    post.notifier.tell(&told("VI_2", State::Backup));
    let Post { sink, notifier, .. } = post;
    notifier.stop(LONG).await;
    let subjects: Vec<_> = sink.mails().iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["[NODE_A] VRRP Instance VI_2 - Entering BACKUP state"]);
}

#[tokio::test]
async fn lines_of_dots_arrive_as_they_were() {
    let post = Post::new(&[], |_| {}).await;
    let reason = format!("{} ünd .", ".".repeat(300));
    post.notifier.tell(&Transition { reason: reason.clone(), ..told("VI_1", State::Master) });
    post.arrived(1).await;
    let mail = &post.sink.mails()[0];
    assert!(mail.stuffed, "no line began with a dot: {:?}", mail.lines);
    let body = mail.body().replace("=C3=BC", "ü");
    assert!(body.contains(&format!("Reason: {reason}\n")), "{body}");
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let post = Post::new(&[Manner::Slow(Duration::from_millis(400))], |_| {}).await;
    post.notifier.tell(&told("VI_1", State::Master));
    post.arrived(1).await;
    assert_eq!(post.sink.connections(), 1, "six answers take longer than one may, and each has its own time");
}

#[tokio::test]
async fn a_recipient_that_is_deferred_gets_it_later_and_the_others_at_once() {
    let post = Post::new(&[Manner::Rejects("a@example.com", 450)], |_| {}).await;
    let began = Instant::now();
    post.notifier.tell(&told("VI_1", State::Master));
    post.arrived(1).await;
    assert!(began.elapsed() < PAUSE);
    post.arrived(2).await;
    assert!(began.elapsed() >= PAUSE, "{:?}", began.elapsed());
    let mails = post.sink.mails();
    assert_eq!((mails[0].to[0].as_str(), mails[1].to[0].as_str()), ("b@example.com", "a@example.com"));
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"), "one mail, twice");
    let counted = post.registry.notify.snapshot();
    assert_eq!((counted.mail_retries, counted.mails_failed), (1, 0));
}

#[tokio::test]
async fn what_is_refused_is_given_up_for_that_recipient_alone() {
    let manners = [Manner::Rejects("a@example.com", 550), Manner::RefusesSender];
    let post = Post::new(&manners, |mail| mail.to.push("no address".into())).await;
    post.notifier.tell(&told("VI_1", State::Master));
    until("the refusal is counted", || post.registry.notify.snapshot().mails_failed == 1).await;
    assert_eq!(post.sink.mails()[0].to, ["b@example.com"]);
    post.notifier.tell(&told("VI_1", State::Backup));
    until("the second refusal", || post.registry.notify.snapshot().mails_failed == 2).await;
    post.notifier.tell(&told("VI_1", State::Master));
    post.arrived(2).await;
    // The server has it before its answer, after which it counts as sent, is heard.
    until("both count as sent", || post.registry.notify.snapshot().mails_sent == 2).await;
    assert_eq!(post.registry.notify.snapshot().mail_retries, 0);
}

/// Each of these costs one attempt; the mail arrives with the next, five seconds later.
#[tokio::test]
async fn a_server_that_is_silent_hangs_or_disappears_is_tried_again_and_delays_no_pipe() {
    let checks =
        [Manner::Silent, Manner::Hangs, Manner::Disappears, Manner::Rejects("example.com", 421)].map(async |manner| {
            let post = Post::new(&[manner], |_| {}).await;
            let mut events = post.notifier.subscribe();
            let began = Instant::now();
            post.notifier.tell(&told("VI_1", State::Master));
            until("the attempt", || post.sink.connections() == 1).await;
            post.notifier.tell(&told("VI_1", State::Backup));
            assert!(events.next().await.is_some() && events.next().await.is_some());
            assert!(began.elapsed() < PAUSE, "{manner:?}: events do not wait");
            post.arrived(2).await;
            assert!(began.elapsed() >= PAUSE, "{manner:?}: {:?}", began.elapsed());
            assert_eq!(
                post.subjects(),
                [
                    "[NODE_A] VRRP Instance VI_1 - Entering MASTER state",
                    "[NODE_A] VRRP Instance VI_1 - Entering BACKUP state"
                ],
                "{manner:?}"
            );
            assert_eq!(post.registry.notify.snapshot().mail_retries, 1, "{manner:?}");
        });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn the_end_waits_for_a_last_attempt_and_no_longer() {
    let Post { sink, notifier, registry } = Post::new(&[], |mail| mail.gap = LONG).await;
    notifier.tell(&told("VI_1", State::Backup));
    until("the first", || sink.mails().len() == 1).await;
    notifier.tell(&told("VI_1", State::Master));
    notifier.stop(LONG).await;
    assert_eq!(sink.mails().len(), 2, "at the end the gap does not count");
    assert_eq!(registry.notify.snapshot().mails_failed, 0);

    let Post { notifier, registry, .. } = Post::new(&[Manner::Silent], |mail| mail.timeout = LONG).await;
    notifier.tell(&told("VI_1", State::Master));
    let began = Instant::now();
    notifier.stop(Duration::from_millis(300)).await;
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(registry.notify.snapshot().mails_failed, 1);
}

#[tokio::test]
async fn a_reload_keeps_what_is_gathered_and_uses_the_new_settings() {
    let post = Post::new(&[], |_| {}).await;
    post.notifier.tell(&told("VI_1", State::Backup));
    post.arrived(1).await;
    post.notifier.tell(&told("VI_1", State::Master));
    let mut settings = mail(&post.sink);
    settings.to = vec!["Night shift <c@example.com>".into()];
    post.apply(settings);
    post.arrived(2).await;
    let mail = &post.sink.mails()[1];
    assert_eq!(mail.to, ["c@example.com"]);
    assert_eq!(mail.header("To"), "\"Night shift\" <c@example.com>");
}
