//! Every event in every role.

use super::*;

/// Every kind of event, by name, as it meets a router of priority 128 at 192.0.2.5.
fn events(bench: &Bench) -> Vec<(&'static str, Event)> {
    let advert = |source, priority| bench.advert(source, priority, Interval::DEFAULT);
    let mut more = config();
    more.excluded.push(virtual_address("192.0.2.102/24"));
    let faster = VirtualRouter { interval: Interval::from_centiseconds(10).unwrap(), ..config() };
    let fewer = VirtualRouter { excluded: Vec::new(), ..config() };
    let reconfigure = |config| Event::Reconfigure(Box::new(config));
    vec![
        ("priority 0", advert("192.0.2.9", 0)),
        ("not ready", advert("192.0.2.9", 1)),
        ("lower", advert("192.0.2.9", 100)),
        ("equal, smaller address", advert("192.0.2.4", 128)),
        ("equal, greater address", advert("192.0.2.9", 128)),
        ("higher", advert("192.0.2.4", 200)),
        ("link up", Event::LinkUp),
        ("link down", Event::LinkDown),
        ("same source", Event::LocalAddress(Some(ip(LOCAL)))),
        ("new source", Event::LocalAddress(Some(ip("192.0.2.6")))),
        ("no source", Event::LocalAddress(None)),
        ("ready", Event::Ready(true)),
        ("unready", Event::Ready(false)),
        ("handover", Event::Handover),
        ("stop", Event::Stop),
        ("announced", Event::SuccessorAnnounced(ip("192.0.2.100"))),
        ("announced other", Event::SuccessorAnnounced(ip("192.0.2.77"))),
        ("same config", reconfigure(config())),
        ("priority 150", reconfigure(priority(150))),
        ("faster", reconfigure(faster)),
        ("one address more", reconfigure(more)),
        ("one address less", reconfigure(fewer)),
        ("woke a bit late", Event::Woke { late_by: ms(2500) }),
        ("woke too late", Event::Woke { late_by: ms(2501) }),
    ]
}

/// What it does at once, and until when it waits then (milliseconds; none: for ever), for every event.
fn check(role: Role, expected: &[(&str, &str, Option<u64>)]) {
    for (name, event) in events(&Bench::in_role(Role::Backup)) {
        let mut bench = Bench::in_role(role);
        let (_, said, waits) =
            expected.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{role:?}: no row for {name}"));
        assert_eq!(bench.on(event), *said, "{role:?}, {name}");
        let deadline = bench.router.next_deadline().map(|deadline| (deadline - bench.now).as_millis());
        assert_eq!(deadline, waits.map(u128::from), "{role:?}, {name}: the next deadline");
    }
    assert_eq!(expected.len(), events(&Bench::in_role(Role::Backup)).len());
}

#[test]
fn initialize() {
    let nothing: Vec<_> = events(&Bench::in_role(Role::Backup)).into_iter().map(|(name, _)| (name, "", None)).collect();
    check(Role::Initialize, &nothing);
}

#[test]
fn backup() {
    check(
        Role::Backup,
        &[
            ("priority 0", "", Some(500)),
            ("not ready", "", Some(500)),
            ("lower", "", Some(3500)),
            ("equal, smaller address", "", Some(3500)),
            ("equal, greater address", "", Some(3500)),
            ("higher", "", Some(3500)),
            ("link up", "", Some(3500)),
            ("link down", "Backup>Fault (link down)", None),
            ("same source", "", Some(3500)),
            ("new source", "", Some(3500)),
            ("no source", "Backup>Fault (no address to send from)", None),
            ("ready", "", Some(3500)),
            ("unready", "", Some(3996)),
            ("handover", "", Some(3500)),
            ("stop", "Backup>Initialize (asked to stop), left", None),
            ("announced", "", Some(3500)),
            ("announced other", "", Some(3500)),
            ("same config", "", Some(3500)),
            ("priority 150", "", Some(3414)),
            ("faster", "", Some(350)),
            ("one address more", "", Some(3500)),
            ("one address less", "", Some(3500)),
            ("woke a bit late", "", Some(3500)),
            ("woke too late", "", Some(3500)),
        ],
    );
}

#[test]
fn master() {
    let resigns = |who: &str| format!("send 128, release 2, Master>Backup (better master {who})");
    check(
        Role::Master,
        &[
            ("priority 0", "send 128, announce 2x5", Some(1000)),
            ("not ready", "send 128, announce 2x5", Some(1000)),
            ("lower", "send 128, announce 2x5", Some(1000)),
            ("equal, smaller address", "send 128, announce 2x5", Some(1000)),
            ("equal, greater address", &resigns("192.0.2.9 (priority 128)"), Some(3500)),
            ("higher", &resigns("192.0.2.4 (priority 200)"), Some(3500)),
            ("link up", "", Some(1000)),
            ("link down", "release 2, Master>Fault (link down)", None),
            ("same source", "", Some(1000)),
            ("new source", "send 128", Some(1000)),
            ("no source", "release 2, Master>Fault (no address to send from)", None),
            ("ready", "", Some(1000)),
            ("unready", "watch, send 0, Master>Leaving (the services it fronts cannot be served here)", Some(3996)),
            ("handover", "watch, send 0, Master>Leaving (asked to hand over)", Some(3500)),
            ("stop", "watch, send 0, Master>Leaving (asked to stop)", Some(1500)),
            ("announced", "", Some(1000)),
            ("announced other", "", Some(1000)),
            ("same config", "", Some(1000)),
            ("priority 150", "send 150", Some(1000)),
            ("faster", "send 128", Some(100)),
            ("one address more", "send 128, own 1, announce 1x5", Some(1000)),
            ("one address less", "send 128, release 1", Some(1000)),
            ("woke a bit late", "", Some(1000)),
            (
                "woke too late",
                "watch, Master>Leaving (slept through the master-down interval, listening first)",
                Some(1200),
            ),
        ],
    );
}

#[test]
fn leaving() {
    check(
        Role::Leaving,
        &[
            ("priority 0", "", Some(3500)),
            ("not ready", "", Some(50)),
            ("lower", "", Some(50)),
            ("equal, smaller address", "", Some(50)),
            ("equal, greater address", "", Some(50)),
            ("higher", "", Some(50)),
            ("link up", "", Some(3500)),
            ("link down", "unwatch, release 2, Leaving>Fault (link down)", None),
            ("same source", "", Some(3500)),
            ("new source", "", Some(3500)),
            ("no source", "unwatch, release 2, Leaving>Fault (no address to send from)", None),
            ("ready", "", Some(3500)),
            ("unready", "", Some(3500)),
            ("handover", "", Some(3500)),
            ("stop", "", Some(1500)),
            ("announced", "release 1", Some(3500)),
            ("announced other", "", Some(3500)),
            ("same config", "", Some(3500)),
            ("priority 150", "", Some(3500)),
            ("faster", "", Some(3500)),
            ("one address more", "", Some(3500)),
            ("one address less", "release 1", Some(3500)),
            ("woke a bit late", "", Some(3500)),
            ("woke too late", "", Some(3500)),
        ],
    );
}

#[test]
fn fault() {
    let mut rows: Vec<_> =
        events(&Bench::in_role(Role::Backup)).into_iter().map(|(name, _)| (name, "", None)).collect();
    for row in &mut rows {
        match row.0 {
            "link up" => *row = (row.0, "Fault>Backup (link up)", Some(3500)),
            "stop" => *row = (row.0, "Fault>Initialize (asked to stop), left", None),
            _ => {}
        }
    }
    check(Role::Fault, &rows);
}

#[test]
fn fault_without_an_address() {
    let mut bench = Bench::with(&config(), None, true);
    assert_eq!(bench.said(), "Initialize>Fault (no address to send from)");
    assert_eq!(bench.on(Event::LocalAddress(Some(ip(LOCAL)))), "Fault>Backup (there is an address to send from again)");

    let mut bench = Bench::with(&config(), None, false);
    assert_eq!(bench.said(), "Initialize>Fault (link down)");
    assert_eq!(bench.on(Event::LinkUp), "");
    assert_eq!(bench.router.reason().to_string(), "no address to send from");
    assert_eq!(bench.on(Event::LinkDown), "");
    assert_eq!(bench.on(Event::LocalAddress(Some(ip(LOCAL)))), "", "the link is still down");
    assert_eq!(bench.on(Event::LinkUp), "Fault>Backup (link up)");
}
