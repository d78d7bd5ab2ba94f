//! What a master does so that its addresses stay where they are, and everybody knows.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vipgate::model::{Command, Hooks, VirtualRouter};
use vipgate::os::packet::FrameSender;
use vipgate::speaker::Notice;
use vipgate::stats::{Role, RouterStats};
use vipgate::wire::arp;

use crate::support::{Lab, Node, Running, router, wait_until};

const VIP: &str = "192.0.2.100";
const RIVAL: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// One that announces its address five times on becoming master, and then only with cause.
fn quiet(priority: u8) -> VirtualRouter {
    let mut config = router("r1", "192.0.2.100/24", priority);
    config.announce.repeat_after = Duration::ZERO;
    config
}

fn become_master(node: &Node, config: VirtualRouter) -> (Running, Arc<RouterStats>) {
    let running = node.start(vec![config]);
    running.wait_for("r1", Role::Master);
    let stats = running.registry.router("r1");
    wait_until("announced", || stats.announcements.load(Ordering::Relaxed) >= 5);
    (running, stats)
}

pub(crate) fn master_whose_address_is_taken_again_and_again_yields() {
    let lab = Lab::new();
    let (one, stats) = become_master(&lab.a, VirtualRouter { fight_limit: 2, ..quiet(150) });
    let two = lab.b.start(vec![quiet(100)]);
    two.wait_for("r1", Role::Backup);
    for times in 1..=3 {
        assert_eq!(one.role("r1"), Role::Master, "after {} times", times - 1);
        wait_until("address set", || lab.a.address(VIP).is_some());
        lab.a.ip("addr del 192.0.2.100/24 dev eth0");
        wait_until("counted", || stats.addresses_taken.load(Ordering::Relaxed) == times);
    }
    two.wait_for("r1", Role::Master);
    one.wait_for("r1", Role::Backup);
    wait_until("released", || lab.a.address(VIP).is_none() && lab.b.address(VIP).is_some());
    println!("    {}", two.registry.router("r1").status().reason);
    one.stop();
    two.stop();
}

pub(crate) fn announcement_by_a_rival_is_answered() {
    let lab = Lab::new();
    let (running, stats) = become_master(&lab.a, quiet(150));
    let rival = || {
        lab.b.run(|| {
            let index = nix::net::if_::if_nametoindex("eth0").unwrap();
            FrameSender::open().unwrap().send(&arp::announcement(VIP.parse().unwrap(), RIVAL), index).unwrap();
        });
    };
    let counts = || (stats.two_announcers.load(Ordering::Relaxed), stats.announcements.load(Ordering::Relaxed));
    let (_, before) = counts();
    for answers in 1..=2 {
        let begun = Instant::now();
        rival();
        wait_until("answered", || counts() == (answers, before + answers));
        println!("    answered after {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        assert!(begun.elapsed() < Duration::from_millis(100));
        // A flood is answered once a second.
        for _ in 0..50 {
            rival();
        }
        assert_eq!(counts(), (answers, before + answers));
        thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()) + Duration::from_millis(20));
    }
    // One that leaves does not contest what its successor says.
    let two = lab.b.start(vec![quiet(100)]);
    two.wait_for("r1", Role::Backup);
    running.wait(running.speaker.handover(None));
    assert_eq!(two.role("r1"), Role::Master);
    assert_eq!(counts(), (2, before + 2));
    two.stop();
    running.stop();
}

pub(crate) fn gateway_learns_where_the_address_is() {
    let lab = Lab::new();
    lab.a.ip("route add default via 192.0.2.2");
    let knows = || lab.b.lines("neigh show 192.0.2.100").iter().any(|line| line.contains("lladdr"));
    assert!(!knows());
    // An announcement alone teaches nobody who has never heard of the address (arp_accept is 0).
    let (running, stats) = become_master(&lab.a, quiet(150));
    wait_until("the gateway knows", knows);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(stats.announcements.load(Ordering::Relaxed), 5, "it answered: nothing is repeated");
    running.stop();

    // A gateway that is silent: the address is announced with each question, until the gateway is there.
    lab.a.ip("route replace default via 192.0.2.7");
    let (running, stats) = become_master(&lab.a, quiet(150));
    wait_until("announced again", || stats.announcements.load(Ordering::Relaxed) >= 7);
    lab.b.ip("addr add 192.0.2.7/24 dev eth0");
    thread::sleep(Duration::from_millis(1000));
    let announced = stats.announcements.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(stats.announcements.load(Ordering::Relaxed), announced, "it answered");
    running.stop();
}

pub(crate) fn addresses_wait_for_what_must_be_done_before() {
    let lab = Lab::new();
    let command =
        Command { program: "/bin/true".into(), arguments: Vec::new(), user: None, timeout: Duration::from_secs(10) };
    let hooks = Hooks { before_master: Some(command), after_release: None };
    let (asked, released) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (asking, releasing) = (Arc::clone(&asked), Arc::clone(&released));
    let running = lab.a.start_telling(vec![VirtualRouter { hooks, ..quiet(150) }], move |notice| match notice {
        Notice::BeforeMaster { router, done } => asking.lock().unwrap().push((router, done)),
        Notice::Released { router } => {
            assert_eq!(router, "r1");
            *releasing.lock().unwrap() += 1;
        }
        _ => {}
    });
    let stats = running.registry.router("r1");
    running.wait_for("r1", Role::Master);
    wait_until("asked", || asked.lock().unwrap().len() == 1);
    let sent = stats.sent.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(500));
    assert!(stats.sent.load(Ordering::Relaxed) >= sent + 3, "adverts go on");
    assert!(lab.a.address(VIP).is_none() && stats.announcements.load(Ordering::Relaxed) == 0);
    let begun = Instant::now();
    let (router, done) = asked.lock().unwrap().pop().unwrap();
    assert_eq!(router, "r1");
    done.send(()).unwrap();
    wait_until("address set", || lab.a.address(VIP).is_some());
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    wait_until("announced", || stats.announcements.load(Ordering::Relaxed) == 5);
    assert_eq!(*released.lock().unwrap(), 0);

    // Released, and wanted again: asked again. Released meanwhile: nobody waits for the answer.
    lab.a.ip("link set eth0 down");
    running.wait_for("r1", Role::Fault);
    wait_until("released", || *released.lock().unwrap() == 1);
    lab.a.ip("link set eth0 up");
    running.wait_for("r1", Role::Master);
    wait_until("asked again", || asked.lock().unwrap().len() == 1);
    let begun = Instant::now();
    running.stop();
    println!("    stop while something is to be done before: {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_secs(2));
    wait_until("released", || *released.lock().unwrap() == 2);
    assert!(lab.a.address(VIP).is_none());
}
