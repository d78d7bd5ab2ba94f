use std::net::{IpAddr, Ipv4Addr};

use super::super::{Pool, Refusal, Request};
use super::*;
use crate::model::{self, Affinity, Algorithm, KeyType, TableSpec};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    Instant::now()
}

fn client(n: u32) -> IpAddr {
    Ipv4Addr::from(0xc000_0200 + n).into()
}

fn spec(names: &[&str]) -> model::Pool {
    let server = |name: &&str| model::Server { weight: 10, ..model::Server::new(*name, Ipv4Addr::LOCALHOST.into()) };
    let table = TableSpec { expire: Some(Duration::from_secs(60)), ..TableSpec::new(KeyType::Ipv4, 100) };
    model::Pool { affinity: Affinity::Table(table), ..model::Pool::new("pool", names.iter().map(server).collect()) }
}

fn select(pool: &mut Pool, key: IpAddr, now: Instant) -> Result<usize, Refusal> {
    let choice = pool.select(&Request::of(key), |_| 0, now)?;
    if let Some(pin) = choice.pin {
        pool.prove(pin, choice.id);
        pool.release(pin, now);
    }
    Ok(choice.position)
}

fn keys(pool: &mut Pool, now: Instant) -> Vec<(IpAddr, Option<String>)> {
    pool.table_entries(now).into_iter().map(|entry| (entry.key.address().unwrap(), entry.server)).collect()
}

#[test]
fn a_drained_server_keeps_its_clients_and_gets_no_new_ones() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b"]), now);
    assert_eq!(select(&mut pool, client(1), now), Ok(0));
    assert!(pool.set_admin("a", AdminState::Drain, now));
    assert!(!pool.set_admin("a", AdminState::Drain, now) && !pool.set_admin("unknown", AdminState::Drain, now));
    assert_eq!(select(&mut pool, client(1), now), Ok(0));
    assert!((2..10).all(|n| select(&mut pool, client(n), now) == Ok(1)));
    pool.set_admin("b", AdminState::Drain, now);
    assert!(!pool.is_usable());
    assert_eq!(select(&mut pool, client(20), now), Err(Refusal::NoneUp));
    assert_eq!(select(&mut pool, client(5), now), Ok(1));
}

#[test]
fn a_server_in_maintenance_serves_nobody() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b"]), now);
    assert_eq!(select(&mut pool, client(1), now), Ok(0));
    pool.set_admin("a", AdminState::Maintenance, now);
    assert_eq!(select(&mut pool, client(1), now), Ok(1));
    pool.set_admin("a", AdminState::Ready, now);
    assert_eq!(select(&mut pool, client(1), now), Ok(1), "it moved and stays where it went");
}

#[test]
fn weights_are_set_absolutely_and_relative_to_the_configured_one() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b"]), now);
    let weight = |pool: &Pool| pool.servers(now)[0].weight;
    for (change, expected) in [
        (WeightChange::Absolute(256), 256),
        (WeightChange::Percent(50), 5),
        (WeightChange::Absolute(257), 256),
        (WeightChange::Percent(100), 10),
        (WeightChange::Percent(u16::MAX), 256),
        (WeightChange::Percent(0), 0),
    ] {
        assert!(pool.set_weight("a", change, now));
        assert_eq!(weight(&pool), expected);
    }
    assert!((1..10).all(|n| select(&mut pool, client(n), now) == Ok(1)));
}

#[test]
fn what_was_set_survives_a_reload_that_says_nothing_new_about_it() {
    let now = now();
    let mut spec = spec(&["a", "b"]);
    let mut pool = Pool::new(&spec, now);
    pool.set_admin("a", AdminState::Drain, now);
    pool.set_weight("a", WeightChange::Absolute(3), now);
    pool.set_weight("b", WeightChange::Absolute(4), now);
    spec.servers[1].weight = 20;
    spec.servers.reverse();
    pool.reconfigure(&spec, now);
    let states = pool.servers(now);
    assert_eq!((states[0].name.as_str(), states[0].weight, states[0].admin), ("b", 20, AdminState::Ready));
    assert_eq!((states[1].name.as_str(), states[1].weight, states[1].admin), ("a", 3, AdminState::Drain));
    assert_eq!((states[1].configured_weight, states[1].eligible), (10, false));
    spec.servers[1].disabled = true;
    pool.reconfigure(&spec, now);
    assert_eq!(pool.servers(now)[1].admin, AdminState::Maintenance);
    pool.set_admin("a", AdminState::Ready, now);
    pool.reconfigure(&spec, now);
    assert_eq!(pool.servers(now)[1].admin, AdminState::Ready);
}

#[test]
fn hash_tables_follow_weights_when_they_are_published() {
    let now = now();
    let spec = model::Pool { algorithm: Algorithm::Source, affinity: Affinity::None, ..spec(&["a", "b"]) };
    let mut pool = Pool::new(&spec, now);
    assert_eq!(pool.hash_plan(), None);
    let share = |pool: &mut Pool| (0..1000).filter(|&n| select(pool, client(n), now) == Ok(0)).count();
    let even = share(&mut pool);
    assert!((400..600).contains(&even), "{even}");
    pool.set_weight("a", WeightChange::Percent(10), now);
    assert_eq!(share(&mut pool), even, "the former tables serve until the new ones are there");
    let tables = pool.hash_plan().unwrap().build();
    pool.publish(tables);
    assert_eq!(pool.hash_plan(), None);
    let fewer = share(&mut pool);
    assert!((50..150).contains(&fewer), "{fewer}");
}

#[test]
fn former_tables_serve_a_pool_whose_servers_moved() {
    let now = now();
    let mut spec = model::Pool { algorithm: Algorithm::Source, affinity: Affinity::None, ..spec(&["a", "b", "c"]) };
    let mut pool = Pool::new(&spec, now);
    let before: Vec<_> = (0..200).map(|n| select(&mut pool, client(n), now).unwrap()).collect();
    spec.servers.remove(0);
    pool.reconfigure(&spec, now);
    for (n, before) in before.iter().enumerate() {
        let after = select(&mut pool, client(n as u32), now).unwrap();
        assert!(*before == 0 || after == before - 1);
    }
}

#[test]
fn entries_are_listed_set_and_cleared() {
    let now = now();
    let later = now + Duration::from_secs(10);
    let mut pool = Pool::new(&spec(&["a", "b"]), now);
    select(&mut pool, client(1), now).unwrap();
    assert!(pool.table_set(client(2), "b", None, later));
    assert!(pool.table_set(client(3), "b", Some(Duration::from_secs(20)), later));
    assert!(!pool.table_set(client(4), "unknown", None, later));
    assert!(!pool.table_set("2001:db8::1".parse::<IpAddr>().unwrap(), "a", None, later));
    let entries = pool.table_entries(later);
    let left: Vec<_> = entries.iter().map(|entry| entry.expires_in.unwrap().as_secs()).collect();
    assert_eq!(left, [20, 50, 60], "the first to expire comes first");
    assert_eq!(select(&mut pool, client(2), later), Ok(1));
    assert_eq!(pool.table_clear(Some(&client(1).into()), Some("b"), later), 0);
    assert_eq!(pool.table_clear(None, Some("b"), later), 2);
    assert_eq!(keys(&mut pool, later), [(client(1), Some("a".into()))]);
    assert_eq!(pool.table_clear(Some(&client(9).into()), None, later), 0);
    assert_eq!(pool.table_clear(None, None, later), 1);
    assert_eq!(pool.table_len(later), 0);
}

#[test]
fn an_entry_that_a_flow_holds_forgets_its_server_and_goes_with_the_flow() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b"]), now);
    let request = Request::of(client(1));
    let flow = pool.select(&request, |_| 0, now).unwrap();
    let pin = flow.pin.unwrap();
    pool.prove(pin, flow.id);
    assert_eq!(pool.table_clear(Some(&client(1).into()), None, now), 1);
    assert_eq!(pool.table_clear(Some(&client(1).into()), None, now), 0);
    let entry = &pool.table_entries(now)[0];
    assert_eq!((&entry.server, entry.expires_in, entry.flows), (&None, None, 1));
    pool.release(pin, now);
    assert_eq!(pool.table_len(now), 0);
    assert_eq!(select(&mut pool, client(1), now), Ok(1), "chosen anew");
}

#[test]
fn entries_restored_in_any_order_expire_in_order() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a"]), now);
    for n in [3, 1, 4, 2] {
        assert!(pool.table_set(client(n), "a", Some(Duration::from_secs(n.into())), now));
    }
    let order: Vec<_> = keys(&mut pool, now).into_iter().map(|(key, _)| key).collect();
    assert_eq!(order, [1, 2, 3, 4].map(client));
    assert_eq!(pool.table_len(now + Duration::from_secs(2)), 2);
}
