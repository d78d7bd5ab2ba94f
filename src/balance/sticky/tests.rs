use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

fn spec(size: usize) -> TableSpec {
    TableSpec { expire: Some(Duration::from_secs(60)), ..TableSpec::new(KeyType::Ipv4, size) }
}

fn table(spec: TableSpec) -> (Table, Instant) {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    let now = Instant::now();
    (Table::new(Bounds::Stick(spec)), now)
}

fn client(n: u8) -> Key {
    Key::Address(Ipv4Addr::new(192, 0, 2, n).into())
}

fn address(text: &str) -> Key {
    Key::Address(text.parse::<IpAddr>().unwrap())
}

/// The server of a client, and whether it has served.
fn known(table: &mut Table, key: Key, now: Instant) -> Option<(u32, bool)> {
    table.get(&key, now).map(|remembered| (remembered.server, remembered.proven))
}

/// A flow that came, was established and went.
fn visit(table: &mut Table, key: Key, server: u32, now: Instant) {
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
    assert_eq!(table.get(&client(1), after(60)), None);
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
    let known: Vec<_> = (1..=4).filter(|&n| table.get(&client(n), now).is_some()).collect();
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
    assert_eq!(v4_only.pin(address("2001:db8::1"), 1, now), None);
    visit(&mut v4_only, address("::ffff:192.0.2.1"), 1, now);
    assert!(v4_only.get(&client(1), now).is_some());
    let (mut both, now) = table(TableSpec { kind: KeyType::Ipv6, ..spec(4) });
    assert!(both.pin(address("2001:db8::1"), 1, now).is_some());
}

#[test]
fn keys_of_every_type() {
    let keys = [
        (KeyType::Integer, Key::Integer(7)),
        (KeyType::Text(16), Key::Bytes(b"www.example.org".as_slice().into())),
        (KeyType::Binary(4), Key::Bytes([1, 2, 3, 4].into())),
    ];
    for (kind, key) in keys {
        let (mut table, now) = table(TableSpec { kind, ..spec(4) });
        visit(&mut table, key.clone(), 3, now);
        assert_eq!(known(&mut table, key.clone(), now), Some((3, true)));
        assert_eq!(table.entries(now)[0].key, key);
    }
    let (mut numbers, now) = table(TableSpec { kind: KeyType::Integer, ..spec(4) });
    assert_eq!(numbers.pin(Key::Bytes([1].into()), 1, now), None);
}

#[test]
fn changes_are_told_once_and_what_was_learnt_is_not() {
    let (mut table, now) = table(spec(3));
    visit(&mut table, client(9), 9, now);
    table.keep_changes(true);
    let told = |table: &mut Table| table.take_changes(now).into_iter().map(|entry| entry.key).collect::<Vec<_>>();
    assert_eq!(told(&mut table), []);
    let tried = table.pin(client(1), 1, now).unwrap();
    assert_eq!(told(&mut table), [], "nobody knows whether the server is there");
    table.prove(tried, 1);
    table.prove(tried, 1);
    assert!(table.learn(client(2), 2, None, now));
    assert_eq!(told(&mut table), [client(1)]);
    assert!(table.learn(client(1), 7, None, now));
    assert_eq!(known(&mut table, client(1), now), Some((1, true)), "a flow of it runs here");
    table.release(tried, now);
    assert_eq!(told(&mut table), [client(1)], "its life begins");
    assert!(table.set(client(3), 3, None, now) && table.learn(client(1), 7, None, now));
    assert_eq!(known(&mut table, client(1), now), Some((7, true)));
    table.clear(Some(&client(3)), None, now);
    assert_eq!(told(&mut table), []);
}

#[test]
fn entries_are_learnt_at_the_place_that_their_age_gives_them() {
    let (mut table, start) = table(spec(1000));
    let now = start + Duration::from_secs(100);
    for n in 0..100 {
        visit(&mut table, client(n), 1, now);
    }
    let left = |n: u32| Duration::from_millis(u64::from(n) * 100 + 1);
    let order: Vec<u32> = (0..500).map(|n| n * 7 % 500).collect();
    for n in &order {
        assert!(table.learn(Key::Address(Ipv4Addr::from(0x0a00_0000 + n).into()), 2, Some(left(*n)), now));
    }
    let entries = table.entries(now);
    let lives: Vec<_> = entries.iter().map(|entry| entry.expires_in.unwrap()).collect();
    assert!(lives.is_sorted(), "{lives:?}");
    assert_eq!((lives.len(), lives[0], lives[499]), (600, left(0), left(499)));
    assert_eq!(table.len(now + left(249)), 350, "those with less to live than that have expired");
}

#[test]
fn what_never_led_to_a_connection_is_not_remembered() {
    let (mut table, now) = table(spec(4));
    let pin = table.pin(client(1), 1, now).unwrap();
    assert_eq!(known(&mut table, client(1), now), Some((1, false)));
    table.release(pin, now);
    assert_eq!(table.get(&client(1), now), None);
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
    let (mut table, now) = table(TableSpec { kind: KeyType::Ipv6, ..spec(10) });
    let pin = table.pin(client(9), 9, now).unwrap();
    table.prove(pin, 9);
    visit(&mut table, address("2001:db8::1"), 1, now);
    for n in 1..=5 {
        visit(&mut table, client(n), n.into(), now);
    }
    table.set_bounds(Bounds::Stick(spec(3)), now);
    let known: Vec<_> = (1..=9).filter(|&n| table.get(&client(n), now).is_some()).collect();
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
        let mut model: Vec<(Key, u32, Instant)> = Vec::new();
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
                prop_assert_eq!(known(&mut table, key.clone(), now), Some((*server, true)));
            }
            prop_assert!(table.rows.capacity() <= 6);
        }
    }
}
