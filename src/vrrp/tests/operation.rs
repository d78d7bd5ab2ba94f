//! What an operator asks for at run time, and what the shell finds out.

use super::*;
use crate::vrrp::{TakeOverRefused, tracking};

fn wanted(value: u8) -> Event {
    Event::SetPriority(Some(Priority::new(value).unwrap()))
}

#[test]
fn a_frozen_backup_stays_backup() {
    let mut bench = Bench::in_role(Role::Backup);
    assert_eq!(bench.on(Event::Freeze(true)), "");
    assert!(bench.router.frozen());
    assert_eq!(bench.pass(ms(60_000)).replace("; ", "").replace(char::is_numeric, "").replace("@ ", ""), "");
    bench.hears("192.0.2.9", 1);
    assert!(!bench.pass(ms(10_000)).contains("send"));
    bench.on(Event::Freeze(false));
    assert!(bench.pass(ms(3500)).contains("own 2"), "and takes part again");
}

#[test]
fn a_frozen_master_gives_way_to_a_better_one_alone() {
    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Freeze(true));
    let failed = tracking::Effect { delta: -50, fault: Some("tracker t".into()) };
    for event in [Event::Ready(false), Event::Tracked(failed.clone()), Event::Contested] {
        assert_eq!(bench.on(event.clone()), "", "{event:?}");
    }
    assert_eq!(bench.router.priority(), 128);
    assert_eq!(bench.pass(ms(1000)), "@1000 send 128");
    let thawed = "send 0, release 2, Master>Fault (tracker t failed)";
    assert_eq!(bench.on(Event::Freeze(false)), thawed, "what it was told counts from then on");

    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Freeze(true));
    assert!(bench.hears("192.0.2.9", 200).contains("Master>Backup"), "never two masters");
    let mut bench = Bench::in_role(Role::Master);
    bench.on(Event::Freeze(true));
    assert_eq!(bench.on(Event::LinkDown), "release 2, Master>Fault (link down)", "a fault is one");
    bench.on(Event::LinkUp);
    assert!(!bench.pass(ms(10_000)).contains("send"));
    assert!(bench.router.take_over(bench.now).is_ok(), "an operator may");
}

#[test]
fn the_operators_priority_holds_until_cleared() {
    let mut bench = Bench::in_role(Role::Master);
    assert_eq!(bench.on(wanted(200)), "send 200");
    assert_eq!(bench.router.priority_override(), Priority::new(200).ok());
    assert_eq!(bench.on(Event::Reconfigure(Box::new(priority(90)))), "send 200", "a reload does not change it");
    assert_eq!(bench.on(Event::SetPriority(None)), "send 90");

    let mut bench = Bench::in_role(Role::Backup);
    bench.on(wanted(255));
    assert_eq!(bench.router.next_deadline(), Some(bench.now + us(3_003_906) + Duration::from_nanos(250)));
}

#[test]
fn taking_over_is_being_better_than_the_master() {
    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    assert_eq!(bench.router.take_over(bench.now), Ok(()));
    assert_eq!(bench.said(), "send 201, own 2, announce 2x5, Backup>Master (asked to take over)");
    assert_eq!(bench.router.priority_override(), Priority::new(201).ok());
    assert_eq!(bench.router.take_over(bench.now), Err(TakeOverRefused::AlreadyMaster));

    let mut bench = Bench::new(&VirtualRouter { preempt: false, ..config() });
    bench.hears("192.0.2.9", 100);
    assert_eq!(bench.router.take_over(bench.now), Ok(()));
    assert_eq!(bench.router.priority_override(), None, "it was better already");

    let mut bench = Bench::in_role(Role::Backup);
    bench.on(Event::Tracked(tracking::Effect { delta: -30, fault: None }));
    bench.hears("192.0.2.9", 150);
    assert_eq!(bench.router.take_over(bench.now), Ok(()));
    assert_eq!(bench.router.priority(), 151, "trackers count on");

    for (master, delta) in [(255, 0), (254, 0), (224, -30)] {
        let mut bench = Bench::in_role(Role::Backup);
        bench.on(Event::Tracked(tracking::Effect { delta, fault: None }));
        bench.hears("192.0.2.9", master);
        assert_eq!(bench.router.take_over(bench.now), Err(TakeOverRefused::Outranked { master }));
        assert_eq!(bench.said(), "");
    }
    let mut bench = Bench::in_role(Role::Backup);
    bench.on(Event::Ready(false));
    assert_eq!(bench.router.take_over(bench.now), Err(TakeOverRefused::NotReady));
    let mut bench = Bench::in_role(Role::Fault);
    assert_eq!(bench.router.take_over(bench.now), Err(TakeOverRefused::Fault));
    let mut bench = Bench::in_role(Role::Leaving);
    assert_eq!(bench.router.take_over(bench.now), Err(TakeOverRefused::Leaving));
}

#[test]
fn one_whose_addresses_are_fought_over_yields() {
    let mut bench = Bench::in_role(Role::Master);
    let why = "addresses are taken away again and again";
    assert_eq!(bench.on(Event::Contested), format!("watch, send 0, Master>Leaving ({why})"));
    bench.hears("192.0.2.9", 100);
    bench.pass(ms(50));
    assert_eq!(bench.router.role(), Role::Backup);
    for _ in 0..10 {
        bench.hears("192.0.2.9", 100);
        assert_eq!(bench.pass(ms(1000)), "", "and does not come back while there is another");
    }
}

#[test]
fn a_dead_master_is_not_waited_for() {
    let mut bench = Bench::new(&VirtualRouter { preempt: false, ..config() });
    bench.said();
    bench.hears("192.0.2.9", 200);
    bench.pass(ms(100));
    bench.on(Event::PeerDied(ip("192.0.2.8")));
    bench.pass(ms(500));
    assert_eq!(bench.router.role(), Role::Backup, "somebody else died");
    bench.hears("192.0.2.9", 200);
    bench.on(Event::PeerDied(ip("192.0.2.9")));
    let taken = "@500 send 128, own 2, announce 2x5, Backup>Master (the process of master 192.0.2.9 died)";
    assert_eq!(bench.pass(ms(500)), taken);

    let mut bench = Bench::in_role(Role::Leaving);
    bench.hears("192.0.2.9", 200);
    bench.on(Event::PeerDied(ip("192.0.2.9")));
    assert!(bench.pass(ms(500)).contains("nobody took over"), "a successor that died is none");
}

#[test]
fn missed_adverts_and_start_delay() {
    let mut bench = Bench::new(&VirtualRouter { missed_adverts: 5, ..config() });
    bench.said();
    assert_eq!(bench.pass(ms(5499)), "");
    assert!(bench.pass(ms(1)).contains("no master heard"), "five intervals and the skew");

    let late = VirtualRouter { start_delay: ms(10_000), ..config() };
    let mut bench = Bench::new(&late);
    bench.said();
    bench.hears("192.0.2.9", 200);
    bench.hears("192.0.2.9", 0);
    bench.pass(ms(9999));
    assert_eq!(bench.router.role(), Role::Backup);
    assert!(bench.pass(ms(1)).contains("192.0.2.9 left"), "not before the delay is over");
    let mut bench = Bench::new(&late);
    bench.said();
    assert_eq!(bench.pass(ms(13_499)), "");
    assert!(bench.pass(ms(1)).contains("no master heard"), "the election begins after it");
    let mut owner = Bench::new(&VirtualRouter { start_delay: ms(10_000), ..priority(255) });
    assert_eq!(owner.said(), "Initialize>Backup (started)");
    assert_eq!(owner.pass(ms(9999)), "");
    assert!(owner.pass(ms(1)).contains("owns the addresses"));
}

#[test]
fn another_interface_keeps_the_master() {
    let mut there = config();
    there.interface = "eth1".parse().unwrap();
    there.addresses[0].interface = "eth1".parse().unwrap();
    let local = Some(ip("192.0.2.6"));
    let moved = |link_up| Event::Move { config: Box::new(there.clone()), local, link_up };
    let mut bench = Bench::in_role(Role::Master);
    assert_eq!(bench.on(moved(true)), "send 128, release 1, own 1, announce 1x5", "no more than the difference");
    assert_eq!(bench.router.local(), local);
    assert_eq!(bench.pass(ms(1000)), "@1000 send 128");

    let mut bench = Bench::in_role(Role::Master);
    assert_eq!(bench.on(moved(false)), "release 2, Master>Fault (link down)");
    let mut bench = Bench::in_role(Role::Backup);
    bench.hears("192.0.2.9", 200);
    bench.pass(ms(3000));
    bench.on(moved(true));
    assert_eq!(bench.pass(ms(3499)), "", "it listens there for a whole down interval");
    let mut bench = Bench::in_role(Role::Fault);
    assert_eq!(bench.on(moved(true)), "Fault>Backup (link up)");
}
