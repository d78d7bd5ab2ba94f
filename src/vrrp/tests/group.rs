//! Sync groups: what happens to one, and what becomes of the other.

use super::*;
use crate::vrrp::tracking::Effect;
use crate::vrrp::{Group, TakeOverRefused};

/// A group of two, `a` and `b`, each on a segment of its own.
struct Pair {
    group: Group,
    members: Vec<Bench>,
    now: Instant,
}

impl Pair {
    fn new(config: &VirtualRouter) -> Self {
        let member = |name: &str| {
            let config = VirtualRouter { name: name.into(), ..config.clone() };
            Bench::starting(&config, Start { grouped: true, ..Start::new(Some(ip(LOCAL)), true) })
        };
        let members = vec![member("a"), member("b")];
        let now = members[1].now;
        let mut pair = Self { group: Group::new("g"), members, now };
        pair.settle();
        pair
    }

    fn master() -> Self {
        let mut pair = Self::new(&config());
        pair.pass(ms(3600));
        assert!(pair.group.is_master());
        pair
    }

    /// Both backup, following a master of priority 200.
    fn backup(config: &VirtualRouter) -> Self {
        let mut pair = Self::new(config);
        pair.hear(0, 200);
        pair.hear(1, 200);
        pair
    }

    fn settle(&mut self) -> String {
        let mut routers: Vec<&mut Router> = self.members.iter_mut().map(|member| &mut member.router).collect();
        self.group.settle(&mut routers, self.now);
        let said = self.members.iter_mut().map(Bench::said).collect::<Vec<_>>().join(" | ");
        if said == " | " { String::new() } else { said }
    }

    fn on(&mut self, at: usize, event: Event) -> String {
        self.members[at].router.handle(event, self.now);
        self.settle()
    }

    fn hear(&mut self, at: usize, priority: u8) -> String {
        let event = self.members[at].advert("192.0.2.9", priority, Interval::DEFAULT);
        self.on(at, event)
    }

    /// Lets time pass; what was said, without adverts of a steady master.
    fn pass(&mut self, length: Duration) -> String {
        let (start, end) = (self.now, self.now + length);
        let mut all = Vec::new();
        loop {
            let next = (0..2).filter_map(|at| Some((self.members[at].router.next_deadline()?, at))).min();
            let Some((deadline, at)) = next.filter(|(deadline, _)| *deadline <= end) else { break };
            self.now = deadline.max(self.now);
            self.members[at].router.handle_timeout(self.now);
            let said = self.settle();
            if said.contains('>') {
                all.push(format!("@{} {said}", (self.now - start).as_millis()));
            }
        }
        self.now = end;
        all.join("; ")
    }

    fn roles(&self) -> (Role, Role) {
        (self.members[0].router.role(), self.members[1].router.role())
    }

    fn take_over(&mut self) -> Result<(), TakeOverRefused> {
        let mut routers: Vec<&mut Router> = self.members.iter_mut().map(|member| &mut member.router).collect();
        self.group.take_over(&mut routers, self.now)
    }
}

fn fault() -> Event {
    Event::Tracked(Effect { delta: 0, fault: Some("tracker t".into()) })
}

#[test]
fn a_fault_of_one_is_a_fault_of_all() {
    let mut pair = Pair::master();
    let other = "send 0, release 2, Master>Fault (sync group g: b is in fault)";
    assert_eq!(pair.on(1, Event::LinkDown), format!("{other} | release 2, Master>Fault (link down)"));
    assert_eq!(pair.on(0, fault()), "");
    assert_eq!(pair.members[0].router.reason().to_string(), "tracker t failed");
    assert_eq!(pair.on(1, Event::LinkUp), " | send 0", "the other one still is");
    assert_eq!(pair.members[1].router.reason().to_string(), "sync group g: a is in fault");
    let well = "Fault>Backup (what it follows is well again)";
    let both = format!("{well} | Fault>Backup (sync group g: nobody is in fault any more)");
    assert_eq!(pair.on(0, Event::Tracked(Effect::default())), both);

    let mut pair = Pair::backup(&config());
    assert!(pair.on(0, Event::LocalAddress(None)).contains("Backup>Fault (sync group g: a is in fault)"));
}

#[test]
fn one_that_becomes_master_takes_the_others_along() {
    let mut pair = Pair::backup(&config());
    pair.hear(0, 0);
    let taken = "send 128, own 2, announce 2x5, Backup>Master";
    let said = format!("@500 {taken} (master 192.0.2.9 left) | {taken} (sync group g: a became master)");
    assert_eq!(pair.pass(ms(500)), said, "in the skew time of the one that knows");

    let mut pair = Pair::backup(&config());
    pair.on(1, Event::PeerDied(ip("192.0.2.9")));
    assert!(pair.pass(ms(500)).starts_with("@500 "), "a dead process too");
    assert_eq!(pair.roles(), (Role::Master, Role::Master));

    let mut pair = Pair::backup(&config());
    pair.pass(ms(800));
    pair.hear(1, 200);
    assert!(pair.pass(ms(2700)).starts_with("@2700 "), "a node that died is silent on both: the first to notice acts");
    assert_eq!(pair.roles(), (Role::Master, Role::Master));
}

#[test]
fn silence_on_one_segment_alone_moves_nothing() {
    let mut pair = Pair::backup(&config());
    for _ in 0..30 {
        pair.hear(1, 200);
        assert_eq!(pair.pass(ms(1000)), "", "the master is alive on the other segment");
    }
    assert!(pair.pass(ms(1000)).starts_with("@1000 "), "two intervals after it was last heard anywhere");
}

#[test]
fn preemption_waits_for_the_slowest() {
    let mut pair = Pair::new(&config());
    pair.on(1, Event::Reconfigure(Box::new(VirtualRouter { name: "b".into(), preempt: false, ..config() })));
    for _ in 0..30 {
        pair.hear(0, 100);
        pair.hear(1, 100);
        assert_eq!(pair.pass(ms(1000)), "", "one that does not preempt holds back the group");
    }
    pair.on(1, Event::Reconfigure(Box::new(VirtualRouter { name: "b".into(), ..config() })));
    let mut seconds = 0;
    while pair.roles() != (Role::Master, Role::Master) {
        pair.hear(0, 100);
        pair.hear(1, 100);
        pair.pass(ms(1000));
        seconds += 1;
        assert!(seconds < 6, "and then it goes");
    }
}

#[test]
fn losing_one_is_losing_all() {
    let mut pair = Pair::master();
    let lost = "send 128, release 2, Master>Backup (better master 192.0.2.9 (priority 200))";
    let other = "watch, send 0, Master>Leaving (sync group g: a is master no more)";
    assert_eq!(pair.hear(0, 200), format!("{lost} | {other}"));
    pair.hear(1, 200);
    assert!(pair.pass(ms(50)).contains("Leaving>Backup"));

    // The other segment is cut: nobody announces itself there, and it is given up all the same.
    let mut pair = Pair::master();
    for _ in 0..4 {
        pair.hear(0, 200);
        pair.pass(ms(1000));
    }
    assert_eq!(pair.roles(), (Role::Backup, Role::Backup));
    for _ in 0..20 {
        pair.hear(0, 200);
        assert_eq!(pair.pass(ms(1000)), "", "and not taken back");
    }
}

#[test]
fn readiness_is_of_the_whole() {
    let mut pair = Pair::master();
    let leaves = "watch, send 0, Master>Leaving (the services it fronts cannot be served here)";
    assert_eq!(pair.on(0, Event::Ready(false)), format!("{leaves} | {leaves}"));
    assert_eq!((pair.members[0].router.priority(), pair.members[1].router.priority()), (1, 1));
    assert!(pair.members[1].router.ready(), "it is the group that is not");
    pair.pass(ms(5000));
    assert_eq!(pair.roles(), (Role::Master, Role::Master), "nobody took over");
    assert_eq!(pair.on(0, Event::Ready(true)), "send 128 | send 128");

    let mut owners = Pair::new(&priority(255));
    owners.pass(Duration::ZERO);
    assert_eq!(owners.roles(), (Role::Master, Role::Master), "owners begin together");
    owners.on(1, Event::Ready(false));
    assert_eq!(owners.members[0].router.priority(), 1, "a 255 included");
}

#[test]
fn a_handover_is_of_the_whole() {
    let mut pair = Pair::master();
    let leaves = "watch, send 0, Master>Leaving (asked to hand over)";
    assert_eq!(pair.on(1, Event::Handover), format!("{leaves} | {leaves}"));
    pair.pass(ms(5000));
    assert_eq!(pair.roles(), (Role::Master, Role::Master), "nobody took it");
    pair.on(1, Event::Handover);
    for _ in 0..20 {
        pair.hear(0, 100);
        pair.hear(1, 100);
        pair.pass(ms(1000));
        assert_eq!(pair.roles(), (Role::Backup, Role::Backup), "somebody did, and keeps it");
    }

    let mut pair = Pair::master();
    pair.on(0, Event::Handover);
    for _ in 0..20 {
        pair.hear(0, 100);
        pair.pass(ms(1000));
    }
    assert_eq!(pair.roles(), (Role::Backup, Role::Backup), "on one segment: all or nothing");

    let mut pair = Pair::master();
    let woke = Event::Woke { late_by: ms(60_000) };
    assert!(pair.on(0, woke).matches("Master>Leaving (slept").count() == 2);
    assert!(pair.on(0, Event::Stop).contains("Initialize") || pair.members[0].router.role() == Role::Leaving);
}

#[test]
fn one_that_ends_is_a_member_no_more() {
    let mut pair = Pair::master();
    assert_eq!(pair.on(0, Event::Stop), "watch, send 0, Master>Leaving (asked to stop) | ");
    assert_eq!(pair.roles().1, Role::Master);
}

#[test]
fn a_member_that_joins_a_master_becomes_one() {
    let mut pair = Pair::master();
    let config = VirtualRouter { name: "c".into(), ..config() };
    let mut joins = Bench::starting(&config, Start { grouped: true, ..Start::new(Some(ip(LOCAL)), true) });
    let mut routers: Vec<&mut Router> = pair.members.iter_mut().map(|member| &mut member.router).collect();
    routers.push(&mut joins.router);
    pair.group.settle(&mut routers, pair.now);
    assert!(joins.said().ends_with("Backup>Master (sync group g: a became master)"));
    assert_eq!(pair.roles(), (Role::Master, Role::Master));
}

#[test]
fn freezing_and_taking_over() {
    let mut pair = Pair::backup(&config());
    assert_eq!(pair.take_over(), Ok(()));
    assert_eq!(pair.roles(), (Role::Master, Role::Master));
    assert_eq!(pair.members[1].router.priority(), 201);
    assert_eq!(pair.take_over(), Err(TakeOverRefused::AlreadyMaster));

    let mut pair = Pair::backup(&config());
    pair.hear(1, 255);
    assert_eq!(pair.take_over(), Err(TakeOverRefused::Outranked { master: 255 }));
    assert_eq!(pair.roles(), (Role::Backup, Role::Backup), "none of them");

    let mut pair = Pair::backup(&config());
    pair.on(1, Event::Freeze(true));
    pair.hear(0, 0);
    assert_eq!(pair.pass(ms(60_000)), "", "a frozen member holds back the group");
}
