//! What happens in time.

use super::*;
use crate::model::Password;
use crate::vrrp::tracking::Effect;
use crate::wire::vrrp::{Authentication, Rejected};

#[test]
fn silence_makes_a_master_and_the_advert_goes_first() {
    let mut bench = Bench::new(&config());
    assert_eq!(bench.said(), "Initialize>Backup (started)");
    assert_eq!(bench.pass(ms(3499)), "");
    assert_eq!(
        bench.pass(ms(1)),
        "@1 send 128, own 2, announce 2x5, Backup>Master (no master heard)",
        "three intervals and half an interval of skew"
    );
    assert_eq!(
        bench.pass(ms(6000)),
        "@1000 send 128; @2000 send 128; @3000 send 128; @4000 send 128; @5000 send 128, announce 2x5; @6000 send 128",
        "the second burst is once, after 5 s"
    );
}

#[test]
fn skew_times() {
    let skew = |version, priority: u8, centiseconds| {
        let interval = Interval::from_centiseconds(centiseconds).unwrap();
        let priority = Priority::new(priority).unwrap();
        Bench::new(&VirtualRouter { version, priority, interval, ..config() }).router.skew()
    };
    assert_eq!(skew(Version::V3, 128, 100), ms(500));
    assert_eq!(skew(Version::V3, 128, 1), ms(5));
    assert_eq!(skew(Version::V3, 255, 256), ms(10));
    assert_eq!(skew(Version::V3, 1, 256), ms(2550));
    assert_eq!(skew(Version::V2, 128, 100), ms(500));
    assert_eq!(skew(Version::V2, 128, 2000), ms(500), "version 2: whatever the interval");
    assert_eq!(skew(Version::V2, 1, 100), us(996_093) + Duration::from_nanos(750));
}

#[test]
fn an_owner_begins_as_master_unless_told_to_be_backup() {
    let mut bench = Bench::new(&priority(255));
    let asserts = "send 255, own 2, announce 2x5, Initialize>Master (priority 255 owns the addresses)";
    assert_eq!(bench.said(), asserts);
    assert_eq!(bench.on(Event::LinkDown), "release 2, Master>Fault (link down)");
    let again = "send 255, own 2, announce 2x5, Fault>Master (priority 255 owns the addresses)";
    assert_eq!(bench.on(Event::LinkUp), again);

    let mut bench = Bench::new(&VirtualRouter { initial: InitialState::Backup, ..priority(255) });
    assert_eq!(bench.said(), "Initialize>Backup (started)");
    assert_eq!(bench.hears("192.0.2.9", 255), "");
    assert_eq!(bench.pass(ms(3000)), "", "another owner is accepted");

    let mut bench = Bench::with(&priority(255), Some(ip(LOCAL)), false);
    bench.said();
    bench.on(Event::Ready(false));
    assert_eq!(bench.on(Event::LinkUp), "Fault>Backup (link up)", "not ready, it is an owner no more");
}

#[test]
fn a_backup_follows_its_master() {
    let mut bench = Bench::in_role(Role::Backup);
    for _ in 0..5 {
        bench.hears("192.0.2.9", 200);
        assert_eq!(bench.pass(ms(3400)), "");
    }
    assert_eq!(bench.router.master(), Some((ip("192.0.2.9"), 200)));
    let slower = bench.advert("192.0.2.9", 200, Interval::from_centiseconds(200).unwrap());
    bench.on(slower);
    assert_eq!(bench.router.down_interval(), ms(7000), "the master's interval counts, for the skew too");
    assert_eq!(bench.pass(ms(6999)), "");
    assert!(bench.pass(ms(1)).starts_with("@1 send 128, own 2"));
    assert_eq!(bench.pass(ms(1000)), "@1000 send 128", "its own interval again");
}

#[test]
fn priority_0_shortens_the_wait_to_the_skew_time() {
    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    bench.pass(ms(100));
    bench.hears("192.0.2.9", 0);
    bench.pass(ms(100));
    bench.hears("192.0.2.9", 0);
    let taken = "@400 send 128, own 2, announce 2x5, Backup>Master (master 192.0.2.9 left)";
    assert_eq!(bench.pass(ms(400)), taken, "a second one does not prolong it");

    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    bench.hears("192.0.2.8", 0);
    assert_eq!(bench.pass(ms(3499)), "", "from somebody else than the master it means nothing");
}

#[test]
fn a_lower_master_is_preempted_when_the_timer_runs_out() {
    let mut bench = Bench::in_role(Role::Backup);
    for _ in 0..3 {
        bench.hears("192.0.2.9", 100);
        assert_eq!(bench.pass(ms(1000)), "");
    }
    bench.hears("192.0.2.9", 100);
    let taken = "Backup>Master (preempted 192.0.2.9 (priority 100))";
    assert_eq!(bench.pass(ms(500)), format!("@500 send 128, own 2, announce 2x5, {taken}"), "discarded adverts");
}

#[test]
fn nopreempt_leaves_a_lower_master_alone() {
    let mut bench = Bench::new(&VirtualRouter { preempt: false, ..config() });
    bench.said();
    for _ in 0..10 {
        assert_eq!(bench.hears("192.0.2.9", 100), "");
        assert_eq!(bench.pass(ms(1000)), "");
    }
    assert_eq!(bench.pass(ms(2500)), "@2500 send 128, own 2, announce 2x5, Backup>Master (no master heard)");
}

#[test]
fn preempt_delay_counts_from_the_start_and_from_the_first_lower_advert() {
    let mut bench = Bench::new(&VirtualRouter { preempt_delay: ms(10_000), ..config() });
    bench.said();
    let preempted_after = |bench: &mut Bench| {
        for second in 0..60 {
            bench.hears("192.0.2.9", 100);
            if !bench.pass(ms(1000)).is_empty() {
                return second;
            }
        }
        panic!("never");
    };
    // Discarded from the 10th second on; the last accepted one was at 9 s, and 3.5 s later it is master.
    assert_eq!(preempted_after(&mut bench), 12);
    assert_eq!(
        bench.hears("192.0.2.9", 200),
        "send 128, release 2, Master>Backup (better master 192.0.2.9 (priority 200))"
    );
    bench.pass(ms(2000));
    assert_eq!(preempted_after(&mut bench), 12);
    let mut hurried = Bench::new(&VirtualRouter { preempt_delay: ms(60_000), ..config() });
    hurried.said();
    hurried.on(Event::Reconfigure(Box::new(config())));
    assert_eq!(preempted_after(&mut hurried), 3, "a reload can end the delay");
    let mut alone = Bench::new(&VirtualRouter { preempt_delay: ms(10_000), ..config() });
    alone.said();
    assert!(alone.pass(ms(3500)).contains("no master heard"), "without a master there is nothing to delay");
}

#[test]
fn a_master_that_is_not_ready_is_relieved_at_once() {
    let stubborn = VirtualRouter { preempt: false, preempt_delay: ms(60_000), ..config() };
    let taken = "@200 send 128, own 2, announce 2x5, Backup>Master (master 192.0.2.9 is not ready to serve)";
    assert_eq!(Bench::master_falls(&stubborn, 200, 1), taken, "after the skew time, whatever preempt says");

    let mut bench = Bench::new(&stubborn);
    bench.said();
    bench.on(Event::Ready(false));
    bench.hears("192.0.2.9", 1);
    assert_eq!(bench.pass(ms(3900)), "", "not ready itself, it leaves things as they are");
    bench.hears("192.0.2.9", 1);
    bench.on(Event::Ready(true));
    assert!(bench.pass(ms(500)).contains("not ready to serve"), "and takes over once it is ready");
}

#[test]
fn unready_hands_over_and_comes_back_if_nobody_takes_it() {
    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Ready(false));
    assert_eq!(bench.router.priority(), 1);
    let back = "@3996 send 1, announce 2x5, unwatch, Leaving>Master (nobody took over)";
    assert_eq!(bench.pass(ms(3997)), back, "addresses never went");
    assert_eq!(bench.on(Event::Ready(false)), "", "still not ready: nothing new");
    assert!(bench.hears("192.0.2.9", 2).contains("Master>Backup"), "anybody ready is better");
    bench.on(Event::Ready(true));
    bench.hears("192.0.2.9", 2);
    assert!(bench.pass(ms(4000)).contains("preempted 192.0.2.9"), "ready again, it preempts as configured");
    bench.on(Event::Ready(false));
    bench.pass(ms(4000));
    assert_eq!(bench.on(Event::Ready(true)), "send 128", "its own priority at once");
}

#[test]
fn where_neither_can_serve_the_addresses_stay() {
    let mut bench = Bench::new(&config());
    bench.said();
    bench.hears("192.0.2.9", 200);
    bench.on(Event::Ready(false));
    bench.hears("192.0.2.9", 0);
    assert_eq!(bench.pass(ms(4000)), "", "a master that yields is back by then");
    bench.hears("192.0.2.9", 1);
    assert_eq!(bench.pass(ms(3900)), "", "and stays");
    bench.hears("192.0.2.9", 0);
    bench.hears("192.0.2.9", 0);
    assert!(bench.pass(ms(5000)).contains("Backup>Master"), "one that stopped is succeeded all the same");

    let mut bench = Bench::new(&config());
    bench.said();
    bench.hears("192.0.2.9", 200);
    bench.on(Event::Ready(false));
    bench.hears("192.0.2.9", 0);
    bench.on(Event::Ready(true));
    assert!(bench.pass(ms(500)).contains("Backup>Master"), "ready meanwhile, it waits for its skew time");
}

#[test]
fn a_handover_makes_before_it_breaks() {
    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Handover);
    assert_eq!(bench.pass(ms(500)), "", "neither announces nor contests");
    assert_eq!(bench.hears("192.0.2.9", 100), "", "the successor advertises");
    assert_eq!(bench.on(Event::SuccessorAnnounced(ip("192.0.2.100"))), "release 1");
    assert_eq!(
        bench.on(Event::SuccessorAnnounced(ip("192.0.2.101"))),
        "release 1, unwatch, Leaving>Backup (the successor announced every address)"
    );
    for _ in 0..20 {
        bench.hears("192.0.2.9", 100);
        assert_eq!(bench.pass(ms(1000)), "", "the successor is not preempted");
    }
    assert!(bench.pass(ms(3000)).contains("no master heard"), "until it falls silent");
    bench.hears("192.0.2.9", 200);
    bench.hears("192.0.2.9", 100);
    assert!(bench.pass(ms(3500)).contains("preempted"), "then everything is as configured");
}

#[test]
fn a_successor_that_does_not_announce_has_50_ms() {
    let mut bench = Bench::in_role(Role::Leaving);
    bench.hears("192.0.2.9", 100);
    assert_eq!(bench.pass(ms(20)), "");
    bench.hears("192.0.2.9", 100);
    let silent = "Leaving>Backup (the successor advertises but announced nothing)";
    assert_eq!(bench.pass(ms(30)), format!("@30 send 0, unwatch, release 2, {silent}"));
}

#[test]
fn a_handover_nobody_takes_changes_nothing() {
    let mut bench = Bench::in_role(Role::Leaving);
    let back = "@3500 send 128, announce 2x5, unwatch, Leaving>Master (nobody took over)";
    assert_eq!(bench.pass(ms(3500)), back);
}

#[test]
fn a_successor_that_leaves_again_is_none() {
    let mut bench = Bench::in_role(Role::Leaving);
    bench.on(Event::SuccessorAnnounced(ip("192.0.2.100")));
    bench.hears("192.0.2.9", 100);
    bench.hears("192.0.2.9", 0);
    let back = "@500 send 128, own 1, announce 2x5, unwatch, Leaving>Master (nobody took over)";
    assert_eq!(bench.pass(ms(500)), back, "after the skew time, with what it had let go");

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Stop);
    bench.pass(ms(1000));
    bench.hears("192.0.2.9", 100);
    bench.hears("192.0.2.9", 0);
    assert_eq!(bench.pass(ms(499)), "", "a stop still ends in time");
    assert!(bench.pass(ms(1)).ends_with("left"));
}

#[test]
fn a_stop_ends_within_two_seconds() {
    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Stop);
    let ended = "Leaving>Initialize (asked to stop), left";
    assert_eq!(bench.pass(ms(5000)), format!("@1500 unwatch, release 2, {ended}"));
    assert_eq!(bench.router.next_deadline(), None);

    let mut bench = Bench::in_role(Role::Leaving);
    bench.pass(ms(3000));
    assert_eq!(bench.on(Event::Stop), "", "the hand-over becomes a stop");
    assert_eq!(bench.pass(ms(5000)), format!("@1500 unwatch, release 2, {ended}"));

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Stop);
    bench.on(Event::SuccessorAnnounced(ip("192.0.2.101")));
    let announced = "Leaving>Initialize (the successor announced every address), left";
    let said = bench.on(Event::SuccessorAnnounced(ip("192.0.2.100")));
    assert_eq!(said, format!("release 1, unwatch, {announced}"), "or as soon as the successor is there");

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Stop);
    let cut = "unwatch, release 2, Leaving>Initialize (link down), left";
    assert_eq!(bench.on(Event::LinkDown), cut, "nothing to wait for");
}

#[test]
fn a_flood_of_lower_adverts_is_not_answered_by_one() {
    let mut bench = Bench::in_role(Role::Master);
    let (mut sent, mut announced) = (0, 0);
    for _ in 0..10_000 {
        let mut said = bench.hears("192.0.2.9", 100);
        said += &bench.pass(us(100));
        sent += said.matches("send").count();
        announced += said.matches("announce").count();
    }
    assert!((10..=11).contains(&sent), "one a tenth of the interval: {sent} in a second");
    assert!((10..=11).contains(&announced), "{announced}");
    assert_eq!(bench.hears("192.0.2.9", 100), "");
    assert!(bench.pass(ms(100)).contains("announce"), "the last one is answered too");
    assert!(bench.pass(ms(5000)).contains("announce 2x5"), "and the second burst is not put off for ever");

    let fast = VirtualRouter { interval: Interval::from_centiseconds(1).unwrap(), ..config() };
    let mut bench = Bench::new(&fast);
    bench.promote();
    let mut sent = 0;
    for _ in 0..10_000 {
        let mut said = bench.hears("192.0.2.9", 0);
        said += &bench.pass(us(100));
        sent += said.matches("send").count();
    }
    assert!(sent <= 201, "at 10 ms, at most one more: {sent} in a second");
}

#[test]
fn adverts_keep_their_pace_when_the_timer_is_late() {
    let mut bench = Bench::in_role(Role::Master);
    for _ in 0..10 {
        let deadline = bench.router.next_deadline().unwrap();
        bench.now = deadline + ms(150);
        bench.router.handle_timeout(bench.now);
        assert!(bench.said().starts_with("send 128"));
        assert_eq!(bench.router.next_deadline(), Some(deadline + ms(1000)), "lateness does not add up");
    }
    bench.now += ms(2500);
    bench.router.handle_timeout(bench.now);
    assert_eq!(bench.said(), "send 128", "what was missed is not made up for");
}

#[test]
fn late_is_not_dead() {
    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Woke { late_by: ms(60_000) });
    let took_over = "send 0, unwatch, release 2, Leaving>Backup (better master 192.0.2.9 (priority 100))";
    assert_eq!(bench.hears("192.0.2.9", 100), took_over, "the other one has been master for long");

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Woke { late_by: ms(60_000) });
    let back = "@1200 send 128, announce 2x5, unwatch, Leaving>Master (nobody took over)";
    assert_eq!(bench.pass(ms(1200)), back, "alone, it lost nothing");

    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    bench.now += ms(60_000);
    bench.on(Event::Woke { late_by: ms(56_500) });
    bench.router.handle_timeout(bench.now);
    assert_eq!(bench.said(), "", "it listens first, for as long as an advert may take");
    assert!(bench.pass(ms(1200)).starts_with("@1200 send 128"));
}

#[test]
fn a_backup_that_missed_an_advert_listens_before_it_takes_over() {
    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    assert_eq!(bench.router.pulse(), Some(ms(1250)), "one advert missed is noticed");
    bench.now += ms(3400);
    bench.on(Event::Woke { late_by: ms(2150) });
    assert_eq!(bench.pass(ms(1199)), "", "what the hypervisor swallowed was perhaps an advert");
    assert_eq!(bench.hears("192.0.2.9", 200), "", "and so it was");
    assert_eq!(bench.pass(ms(3000)), "");
}

#[test]
fn one_that_is_always_late_takes_over_all_the_same() {
    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    bench.now += ms(3000);
    bench.on(Event::Woke { late_by: ms(499) });
    assert_eq!(bench.router.next_deadline(), Some(bench.now + ms(500)), "a little is not late");
    bench.on(Event::Woke { late_by: ms(500) });
    let deadline = bench.now + ms(1200);
    assert_eq!(bench.router.next_deadline(), Some(deadline));
    bench.now += ms(900);
    bench.on(Event::Woke { late_by: ms(900) });
    assert_eq!(bench.router.next_deadline(), Some(deadline), "it has listened in this silence");
    assert!(bench.pass(ms(300)).starts_with("@300 send 128"));
}

#[test]
fn a_master_that_was_silent_for_a_down_interval_listens() {
    let mut bench = Bench::in_role(Role::Master);
    let slept = "watch, Master>Leaving (slept through the master-down interval, listening first)";
    assert_eq!(bench.on(Event::Woke { late_by: ms(2500) }), "", "3.5 s since its last advert: nobody took over");
    assert_eq!(bench.on(Event::Woke { late_by: ms(2501) }), slept);
}

#[test]
fn the_last_word_of_one_that_gives_way_moves_no_third_router() {
    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.8", 200);
    bench.hears("192.0.2.8", 1);
    assert_eq!(bench.router.next_deadline(), Some(bench.now + bench.router.skew()), "not ready: it is relieved");
    bench.hears("192.0.2.9", 200);
    assert_eq!(bench.hears("192.0.2.8", 1), "", "it gives way to the better one, and says so");
    assert_eq!(bench.router.next_deadline(), Some(bench.now + ms(3500)));
    assert_eq!(bench.router.master(), Some((ip("192.0.2.9"), 200)));

    bench.now += ms(1201);
    bench.hears("192.0.2.8", 1);
    assert_eq!(bench.router.next_deadline(), Some(bench.now + bench.router.skew()), "the better one is silent");
}

#[test]
fn a_master_that_was_cut_off_says_that_it_left_as_soon_as_it_can() {
    let mut bench = Bench::in_role(Role::Master);
    assert_eq!(bench.on(Event::LinkDown), "release 2, Master>Fault (link down)");
    assert_eq!(bench.on(Event::LinkUp), "send 0, Fault>Backup (link up)");
    assert_eq!(bench.on(Event::LinkDown), "Backup>Fault (link down)");
    assert_eq!(bench.on(Event::LinkUp), "Fault>Backup (link up)", "once");

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::LocalAddress(None));
    bench.on(Event::LinkDown);
    assert_eq!(bench.on(Event::LinkUp), "", "there is still no address to send from");
    let again = "send 0, Fault>Backup (there is an address to send from again)";
    assert_eq!(bench.on(Event::LocalAddress(Some(ip(LOCAL)))), again);

    let mut bench = Bench::in_role(Role::Leaving);
    bench.on(Event::LinkDown);
    assert_eq!(bench.on(Event::LinkUp), "send 0, Fault>Backup (link up)", "its successor may not have heard it");

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Tracked(Effect { delta: 0, fault: Some("tracker t".into()) }));
    assert_eq!(
        bench.on(Event::Tracked(Effect::default())),
        "Fault>Backup (what it follows is well again)",
        "it was said"
    );
}

#[test]
fn refresh_announces_for_as_long_as_it_is_master() {
    let mut config = config();
    config.announce.refresh = Some(ms(60_000));
    let mut bench = Bench::new(&config);
    bench.promote();
    let said = bench.pass(ms(180_000));
    assert_eq!(said.matches("announce 2x5").count(), 1);
    assert_eq!(said.matches("announce 2x1").count(), 3);
    config.announce.refresh = None;
    bench.on(Event::Reconfigure(Box::new(config)));
    assert!(!bench.pass(ms(180_000)).contains("announce"));
}

#[test]
fn a_reload_is_a_difference() {
    let mut bench = Bench::in_role(Role::Master);
    let mut moved = config();
    moved.addresses = vec![virtual_address("192.0.2.101/24"), virtual_address("192.0.2.100/24")];
    moved.excluded = Vec::new();
    assert_eq!(bench.on(Event::Reconfigure(Box::new(moved.clone()))), "send 128", "the same addresses stay");
    moved.addresses[0] = virtual_address("192.0.2.101/32");
    let said = bench.on(Event::Reconfigure(Box::new(moved)));
    assert_eq!(said, "send 128, release 1, own 1, announce 1x5", "another prefix length is another address");

    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    let faster = VirtualRouter { interval: Interval::from_centiseconds(10).unwrap(), ..config() };
    bench.on(Event::Reconfigure(Box::new(faster)));
    assert_eq!(bench.router.down_interval(), ms(3500), "the interval of the master heard goes on");
}

#[test]
fn what_does_not_concern_it_is_not_admitted() {
    let secret = VirtualRouter { version: Version::V2, password: Some(Password::new("1111").unwrap()), ..config() };
    let unicast = VirtualRouter { peers: vec![ip("192.0.2.9").into()], ..config() };
    let source = ip("192.0.2.9");
    let admitted = |config: &VirtualRouter, change: &dyn Fn(&mut Advertisement), source, destination| {
        let bench = Bench::new(config);
        let mut advertisement = bench.router.advertisement(100);
        change(&mut advertisement);
        let envelope = Envelope { source, destination, ttl: 255 };
        bench.router.admit(&received(advertisement), &envelope, 0).map(|heard| heard.same_addresses())
    };
    let same = |_: &mut Advertisement| {};
    assert_eq!(admitted(&config(), &same, source, GROUP), Ok(true));
    assert_eq!(admitted(&config(), &|a| a.addresses.push(source), source, GROUP), Ok(false), "noted, no more");
    assert_eq!(admitted(&config(), &|a| a.vrid = Vrid::new(9).unwrap(), source, GROUP), Err(Rejected::UnknownVrid));
    assert_eq!(admitted(&config(), &|a| a.version = Version::V2, source, GROUP), Err(Rejected::Version));
    assert_eq!(admitted(&config(), &same, ip(LOCAL), GROUP), Err(Rejected::OwnSource));
    assert_eq!(admitted(&config(), &same, source, ip(LOCAL)), Err(Rejected::Destination), "unicast to multicast");
    assert_eq!(admitted(&config(), &same, source, ip("224.0.0.5")), Err(Rejected::Destination));
    assert_eq!(admitted(&config(), &same, ip("fe80::1"), ip("ff02::12")), Err(Rejected::Destination));
    assert_eq!(admitted(&unicast, &same, source, GROUP), Err(Rejected::Destination), "multicast to unicast");
    assert_eq!(admitted(&unicast, &same, ip("192.0.2.77"), ip(LOCAL)), Ok(true), "sources are not checked");
    assert_eq!(admitted(&secret, &same, source, GROUP), Ok(true));
    let no_auth = |a: &mut Advertisement| a.auth = Authentication::None;
    assert_eq!(admitted(&secret, &no_auth, source, GROUP), Err(Rejected::Authentication));
    let wrong = |a: &mut Advertisement| a.auth = Authentication::Password(*b"2222\0\0\0\0");
    assert_eq!(admitted(&secret, &wrong, source, GROUP), Err(Rejected::Authentication));
    let slower = |a: &mut Advertisement| a.interval = Interval::from_centiseconds(200).unwrap();
    assert_eq!(admitted(&secret, &slower, source, GROUP), Err(Rejected::Interval), "version 2: a mismatch");
    assert_eq!(admitted(&config(), &slower, source, GROUP), Ok(true), "version 3: adopted");
}
