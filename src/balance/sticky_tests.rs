use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn spec(size: usize) -> TableSpec {
    TableSpec { size, expire: Some(Duration::from_secs(60)), nopurge: false, ipv6: false }
}

fn table(spec: TableSpec) -> (Table, Instant) {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    let now = Instant::now();
    (Table::new(Bounds::Stick(spec)), now)
}

fn client(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

/// The server of a client, and whether it has served.
fn known(table: &mut Table, key: IpAddr, now: Instant) -> Option<(u32, bool)> {
    table.get(key, now).map(|remembered| (remembered.server, remembered.proven))
}

/// A flow that came, was established and went.
fn visit(table: &mut Table, key: IpAddr, server: u32, now: Instant) {
    let pin = table.pin(key, server, now).unwrap();
    table.prove(pin, server);
    table.release(pin, now);
}

#[test]
fn an_entry_expires_after_its_last_use_but_never_under_a_flow() {
    let (mut table, start) = table(spec(10));
    let after = |seconds| start + Duration::from_secs(seconds);
    visit(&mut table, client(1), 7, start);
    let pin = table.pin(client(2), 8, start).unwrap();
    table.prove(pin, 8);
    assert_eq!(known(&mut table, client(1), after(59)), Some((7, true)));
    assert_eq!(table.get(client(1), after(60)), None);
    assert_eq!(known(&mut table, client(2), after(10_000)), Some((8, true)));
    table.release(pin, after(10_000));
    assert_eq!(table.len(after(10_059)), 1);
    assert_eq!(table.len(after(10_060)), 0);
}

#[test]
fn a_full_table_purges_exactly_the_oldest() {
    let (mut table, now) = table(spec(3));
    for n in 1..=3 {
        visit(&mut table, client(n), n.into(), now);
    }
    visit(&mut table, client(1), 1, now);
    visit(&mut table, client(4), 4, now);
    let known: Vec<_> = (1..=4).filter(|&n| table.get(client(n), now).is_some()).collect();
    assert_eq!(known, [1, 3, 4]);
}

#[test]
fn a_returning_client_of_a_full_table_evicts_nobody() {
    let (mut table, now) = table(spec(2));
    visit(&mut table, client(1), 1, now);
    visit(&mut table, client(2), 2, now);
    visit(&mut table, client(1), 1, now);
    assert_eq!(table.len(now), 2);
}

#[test]
fn nopurge_refuses_and_pinned_entries_are_not_purged() {
    let (mut refusing, now) = table(TableSpec { nopurge: true, ..spec(1) });
    visit(&mut refusing, client(1), 1, now);
    assert_eq!(refusing.pin(client(2), 2, now), None);

    let (mut purging, now) = table(spec(1));
    let pin = purging.pin(client(1), 1, now).unwrap();
    assert_eq!(purging.pin(client(2), 2, now), None);
    purging.prove(pin, 1);
    purging.release(pin, now);
    assert!(purging.pin(client(2), 2, now).is_some());
}

#[test]
fn ipv6_clients_only_where_the_type_holds_them() {
    let (mut v4_only, now) = table(spec(4));
    assert_eq!(v4_only.pin("2001:db8::1".parse().unwrap(), 1, now), None);
    visit(&mut v4_only, "::ffff:192.0.2.1".parse().unwrap(), 1, now);
    assert!(v4_only.get(client(1), now).is_some());
    let (mut both, now) = table(TableSpec { ipv6: true, ..spec(4) });
    assert!(both.pin("2001:db8::1".parse().unwrap(), 1, now).is_some());
}

#[test]
fn what_never_led_to_a_connection_is_not_remembered() {
    let (mut table, now) = table(spec(4));
    let pin = table.pin(client(1), 1, now).unwrap();
    assert_eq!(known(&mut table, client(1), now), Some((1, false)));
    table.release(pin, now);
    assert_eq!(table.get(client(1), now), None);
}

#[test]
fn another_server_has_to_prove_itself_again() {
    let (mut table, now) = table(spec(4));
    let pin = table.pin(client(1), 1, now).unwrap();
    table.prove(pin, 1);
    table.assign(pin, 2);
    table.prove(pin, 1);
    assert_eq!(known(&mut table, client(1), now), Some((2, false)));
    table.prove(pin, 2);
    assert_eq!(known(&mut table, client(1), now), Some((2, true)));
}

#[test]
fn smaller_bounds_purge_the_oldest_and_keep_live_ones() {
    let (mut table, now) = table(TableSpec { ipv6: true, ..spec(10) });
    let pin = table.pin(client(9), 9, now).unwrap();
    table.prove(pin, 9);
    visit(&mut table, "2001:db8::1".parse().unwrap(), 1, now);
    for n in 1..=5 {
        visit(&mut table, client(n), n.into(), now);
    }
    table.set_bounds(Bounds::Stick(spec(3)), now);
    let known: Vec<_> = (1..=9).filter(|&n| table.get(client(n), now).is_some()).collect();
    assert_eq!(known, [4, 5, 9]);
    table.set_bounds(Bounds::LiveFlows, now);
    assert_eq!(table.len(now), 1);
    table.release(pin, now);
    assert_eq!(table.len(now), 0);
}

proptest! {
    /// The table against a list that is searched: same clients, same order of purging, nothing lost or left.
    #[test]
    fn it_remembers_what_a_plain_list_would(visits in prop::collection::vec((0..12_u8, 0..3_u32, 0..30_u64), 1..200)) {
        let (mut table, mut now) = table(spec(5));
        let mut model: Vec<(IpAddr, u32, Instant)> = Vec::new();
        for (n, server, pause) in visits {
            now += Duration::from_secs(pause);
            visit(&mut table, client(n), server, now);
            model.retain(|(key, _, used)| *key != client(n) && now.duration_since(*used) < Duration::from_secs(60));
            model.push((client(n), server, now));
            if model.len() > 5 {
                model.remove(0);
            }
            prop_assert_eq!(table.len(now), model.len());
            for (key, server, _) in &model {
                prop_assert_eq!(known(&mut table, *key, now), Some((*server, true)));
            }
            prop_assert!(table.rows.len() <= 6);
        }
    }
}
