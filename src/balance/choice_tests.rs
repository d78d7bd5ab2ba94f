use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::balance::ServerId;
use crate::model::rule::{Directions, Persistence};
use crate::model::{self, Failback, KeyType, TableSpec};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    Instant::now()
}

fn client(n: u32) -> IpAddr {
    Ipv4Addr::from(0xc000_0200 + n).into()
}

fn server(name: &str) -> model::Server {
    let check = Some(model::Check::new(([127, 0, 0, 1], 1).into()));
    model::Server { check, ..model::Server::new(name, Ipv4Addr::LOCALHOST.into()) }
}

fn spec(names: &[&str], algorithm: Algorithm) -> model::Pool {
    model::Pool { algorithm, ..model::Pool::new("pool", names.iter().map(|name| server(name)).collect()) }
}

fn stick() -> Affinity {
    Affinity::Table(TableSpec::new(KeyType::Ipv4, 100))
}

/// A client that comes, is served, and goes, while nothing else is open.
fn visit(pool: &mut Pool, client: IpAddr, now: Instant) -> usize {
    let choice = pool.select(&Request::of(client), |_| 0, now).unwrap();
    if let Some(pin) = choice.pin {
        pool.prove(pin, choice.id);
        pool.release(pin, now);
    }
    choice.position
}

/// Clients that come and stay, each with its server.
fn crowd(pool: &mut Pool, count: u32, now: Instant) -> Vec<usize> {
    let mut open = BTreeMap::<usize, u64>::new();
    (0..count)
        .map(|n| {
            let load = |position: usize| open.get(&position).copied().unwrap_or(0);
            let position = pool.select(&Request::of(client(n)), load, now).unwrap().position;
            *open.entry(position).or_default() += 1;
            position
        })
        .collect()
}

fn id(pool: &Pool, name: &str) -> ServerId {
    pool.candidates.iter().find(|candidate| candidate.name == name).unwrap().id
}

#[test]
fn first_fills_one_server_after_the_other() {
    let now = now();
    let mut spec = spec(&["a", "b", "c"], Algorithm::First);
    for server in &mut spec.servers {
        server.max_connections = Some(2);
    }
    let mut pool = Pool::new(&spec, now);
    assert_eq!(crowd(&mut pool, 6, now), [0, 0, 1, 1, 2, 2]);
    assert_eq!(pool.select(&Request::of(client(9)), |_| 2, now), Err(Refusal::Full { server: None }));
    assert_eq!(pool.select(&Request::of(client(9)), |position| [2, 1, 2][position], now).unwrap().position, 1);
}

#[test]
fn random_spreads_by_load() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c", "d"], Algorithm::Random(2)), now);
    let chosen = crowd(&mut pool, 400, now);
    for server in 0..4 {
        let share = chosen.iter().filter(|&&position| position == server).count();
        assert!((95..=105).contains(&share), "{server}: {share}");
    }
}

#[test]
fn least_connections_goes_by_weight() {
    let now = now();
    let mut spec = spec(&["a", "b", "c"], Algorithm::LeastConnections);
    spec.servers[1].weight = 2;
    let chosen = crowd(&mut Pool::new(&spec, now), 400, now);
    assert_eq!([0, 1, 2].map(|server| chosen.iter().filter(|&&p| p == server).count()), [100, 200, 100]);
}

#[test]
fn a_map_has_exact_shares_and_moves_most_clients_a_consistent_hash_only_those_of_the_dead() {
    let now = now();
    for (hash_type, movers) in [(HashType::MapBased, 400..900), (HashType::Consistent, 0..1)] {
        let mut pool = Pool::new(&model::Pool { hash_type, ..spec(&["a", "b", "c", "d"], Algorithm::Source) }, now);
        let all = |pool: &mut Pool| (0..1000).map(|n| visit(pool, client(n), now)).collect::<Vec<_>>();
        let before = all(&mut pool);
        assert!((200..300).contains(&before.iter().filter(|&&position| position == 1).count()));
        pool.set_up("b", false, now);
        let during = all(&mut pool);
        let moved = before.iter().zip(&during).filter(|(before, during)| **before != 1 && before != during).count();
        assert!(movers.contains(&moved), "{hash_type:?}: {moved}");
        pool.set_up("b", true, now);
        assert_eq!(all(&mut pool), before, "who moved returns");
    }
}

#[test]
fn a_name_in_the_hello_decides_and_without_one_it_goes_in_turn() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c"], Algorithm::Sni), now);
    let mut named = |client: u32, name: &str| {
        let name = Some(KeyHash::of_name(name));
        pool.select(&Request { name, ..Request::of(self::client(client)) }, |_| 0, now).unwrap().position
    };
    for name in ["one.example", "two.example", "three.example"] {
        let first = named(1, name);
        assert!((2..20).all(|client| named(client, &name.to_uppercase()) == first));
    }
    let positions: Vec<_> = (0..30).map(|n| named(1, &format!("{n}.example"))).collect();
    assert!([0, 1, 2].iter().all(|position| positions.contains(position)));
    assert_eq!([0; 4].map(|_| visit(&mut pool, client(1), now)), [0, 1, 2, 0]);
}

#[test]
fn a_bounded_hash_gives_no_server_more_than_its_share() {
    let now = now();
    let factor = |factor| model::Pool { hash_balance_factor: factor, ..spec(&["a", "b"], Algorithm::Source) };
    // One client, many connections: all on one server without a bound.
    let many = |spec: &model::Pool| {
        let mut pool = Pool::new(spec, now);
        let mut open = [0_u64; 2];
        for _ in 0..90 {
            open[pool.select(&Request::of(client(1)), |position| open[position], now).unwrap().position] += 1;
        }
        open.sort_unstable();
        open
    };
    assert_eq!(many(&factor(None)), [0, 90]);
    assert_eq!(many(&factor(Some(150))), [22, 68], "75 % at most, and the first of the two as long as it may");
}

#[test]
fn a_full_server_is_waited_for_by_those_who_belong_to_it() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin);
    spec.affinity = stick();
    spec.servers[0].max_connections = Some(1);
    spec.servers[0].max_queue = Some(1);
    let mut pool = Pool::new(&spec, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    let load = |position: usize| [1, 0][position];
    let a = Some(id(&pool, "a"));
    assert_eq!(pool.select(&Request::of(client(1)), load, now), Err(Refusal::Full { server: a }));
    let ticket = pool.wait(a).unwrap();
    assert_eq!(pool.waiting(a), 1);
    // As many wait as may: elsewhere for this once, and it still belongs to the full one.
    let elsewhere = pool.select(&Request::of(client(1)), load, now).unwrap();
    assert_eq!((elsewhere.position, elsewhere.pin, elsewhere.sticky), (1, None, false));
    // New clients pass it over.
    assert_eq!(visit_with(&mut pool, client(2), load, now), 1);
    // Its place is for the one that waits, not for another one that comes now.
    assert_eq!(visit_with(&mut pool, client(3), |_| 0, now), 1);
    let waited = Request { waited: true, ..Request::of(client(1)) };
    assert_eq!(pool.select(&waited, |_| 0, now).unwrap().position, 0);
    assert!(pool.leave_queue(ticket));
    assert_eq!(visit(&mut pool, client(1), now), 0);
}

fn visit_with(pool: &mut Pool, client: IpAddr, loads: impl Fn(usize) -> u64, now: Instant) -> usize {
    pool.select(&Request::of(client), loads, now).unwrap().position
}

#[test]
fn who_waits_for_a_server_that_goes_down_takes_any_other() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b"], Algorithm::RoundRobin), now);
    let a = Some(id(&pool, "a"));
    let ticket = pool.wait(a).unwrap();
    pool.set_up("a", false, now);
    assert_eq!((pool.waiting(a), pool.waiting(None), pool.next_in_queue()), (0, 1, vec![ticket]));
}

#[test]
fn the_queue_of_a_pool_is_bounded() {
    let now = now();
    let mut pool = Pool::new(&model::Pool { max_queue: Some(1), ..spec(&["a"], Algorithm::RoundRobin) }, now);
    assert!(pool.wait(None).is_some() && pool.wait(None).is_none());
}

#[test]
fn a_hash_waits_for_its_server_and_goes_on_where_it_may_not() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::Source);
    for server in &mut spec.servers {
        server.max_connections = Some(1);
    }
    let mut pool = Pool::new(&spec, now);
    let own = visit(&mut pool, client(1), now);
    let name = ["a", "b"][own];
    let full = |position: usize| u64::from(position == own);
    let wanted = Refusal::Full { server: Some(id(&pool, name)) };
    assert_eq!(pool.select(&Request::of(client(1)), full, now), Err(wanted));
    spec.servers[own].max_queue = Some(0);
    pool.reconfigure(&spec, now);
    assert_eq!(pool.select(&Request::of(client(1)), full, now).unwrap().position, 1 - own);
}

#[test]
fn a_server_that_came_back_starts_slowly() {
    let start = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin);
    for server in &mut spec.servers {
        (server.weight, server.slow_start, server.max_connections) = (10, Some(Duration::from_secs(100)), Some(50));
    }
    let mut pool = Pool::new(&spec, start);
    let share = |pool: &mut Pool, now: Instant| (0..1000).filter(|&n| visit(pool, client(n), now) == 0).count();
    assert_eq!(share(&mut pool, start), 500, "not at the start of the process");
    pool.set_up("a", false, start);
    pool.set_up("a", true, start);
    let after = |seconds| start + Duration::from_secs(seconds);
    let a_tenth = share(&mut pool, after(10));
    assert!((80..=100).contains(&a_tenth), "10 of 110: {a_tenth}");
    assert_eq!(pool.servers(after(10))[0].throttle, Some(10));
    // Five of its fifty connections.
    let full = Err(Refusal::Full { server: None });
    pool.set_up("b", false, start);
    assert_eq!(pool.select(&Request::of(client(1)), |_| 5, after(10)), full);
    assert!(pool.select(&Request::of(client(1)), |_| 4, after(10)).is_ok());
    pool.set_up("b", true, start);
    assert_eq!(share(&mut pool, after(100)), 500);
    assert_eq!(pool.servers(after(100))[0].throttle, None);
}

#[test]
fn a_static_round_robin_knows_no_slow_start() {
    let start = now();
    let mut spec = spec(&["a", "b"], Algorithm::StaticRoundRobin);
    spec.servers[0].slow_start = Some(Duration::from_secs(100));
    let mut pool = Pool::new(&spec, start);
    pool.set_up("a", false, start);
    pool.set_up("a", true, start);
    let on_a = (0..100).filter(|&n| visit(&mut pool, client(n), start) == 0).count();
    assert_eq!(on_a, 50);
}

#[test]
fn what_clients_do_when_the_active_server_is_back_is_configured() {
    let now = now();
    for (failback, new_client, old_client) in [(Failback::Never, 1, 1), (Failback::New, 0, 1), (Failback::Drain, 0, 0)]
    {
        let mut spec = spec(&["a", "spare"], Algorithm::RoundRobin);
        spec.servers[1].backup = true;
        (spec.affinity, spec.failback) = (stick(), failback);
        let mut pool = Pool::new(&spec, now);
        assert_eq!(visit(&mut pool, client(1), now), 0);
        pool.set_up("a", false, now);
        assert_eq!(visit(&mut pool, client(1), now), 1);
        let flow = pool.select(&Request::of(client(1)), |_| 0, now).unwrap();
        pool.set_up("a", true, now);
        assert_eq!(visit(&mut pool, client(1), now), 1, "{failback:?}: while a flow runs");
        pool.release(flow.pin.unwrap(), now);
        assert_eq!(visit(&mut pool, client(1), now), old_client, "{failback:?}");
        assert_eq!(visit(&mut pool, client(2), now), new_client, "{failback:?}");
    }
}

#[test]
fn a_fail_over_for_good_ends_with_the_last_backup_or_by_hand() {
    let now = now();
    let mut spec = spec(&["a", "spare"], Algorithm::RoundRobin);
    spec.servers[1].backup = true;
    spec.failback = Failback::Never;
    let mut pool = Pool::new(&spec, now);
    let bounce = |pool: &mut Pool| {
        pool.set_up("a", false, now);
        pool.set_up("a", true, now);
    };
    bounce(&mut pool);
    assert_eq!(visit(&mut pool, client(1), now), 1);
    pool.set_up("spare", false, now);
    pool.set_up("spare", true, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    bounce(&mut pool);
    assert_eq!(visit(&mut pool, client(1), now), 1);
    pool.fail_back();
    assert_eq!(visit(&mut pool, client(1), now), 0);
}

#[test]
fn persistence_sends_clients_to_their_dead_server() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin);
    (spec.affinity, spec.persist) = (stick(), true);
    let mut pool = Pool::new(&spec, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    pool.set_up("a", false, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    assert_eq!(visit(&mut pool, client(2), now), 1);
    // As in HAProxy, to one in maintenance too.
    pool.set_admin("a", AdminState::Maintenance, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
}

#[test]
fn rules_come_before_stickiness_as_long_as_their_server_serves() {
    let now = now();
    let mut spec = spec(&["a", "b", "c"], Algorithm::RoundRobin);
    spec.affinity = stick();
    (spec.servers[1].max_connections, spec.servers[1].weight) = (Some(1), 0);
    let mut pool = Pool::new(&spec, now);
    let to = |server: &str, persistence| Directions { server: Some(server.to_owned()), persistence };
    let (to_b, forced) = (to("b", None), to("b", Some(Persistence::Forced)));
    let gone = to("gone", Some(Persistence::Forced));
    let ask = |pool: &mut Pool, directions, load| {
        pool.select(&Request { directions, ..Request::of(client(1)) }, |_| load, now).map(|choice| choice.position)
    };
    assert_eq!(visit(&mut pool, client(1), now), 0);
    assert_eq!(ask(&mut pool, Some(&to_b), 0), Ok(1), "weight 0 does not matter");
    let why = pool.explain(&Request { directions: Some(&to_b), ..Request::of(client(1)) }, |_| 0, now).decision;
    assert_eq!(why, Ok(("b".to_owned(), Why::Rule)));
    let b = id(&pool, "b");
    assert_eq!(ask(&mut pool, Some(&to_b), 1), Err(Refusal::Full { server: Some(b) }), "it is waited for");
    let excluded = Request { directions: Some(&to_b), exclude: &[b], ..Request::of(client(1)) };
    assert_ne!(pool.select(&excluded, |_| 0, now).unwrap().position, 1, "it failed this connection");
    pool.set_admin("b", AdminState::Maintenance, now);
    assert_ne!(ask(&mut pool, Some(&to_b), 0), Ok(1));
    assert_eq!(ask(&mut pool, Some(&forced), 0), Ok(1));
    assert_eq!(ask(&mut pool, Some(&gone), 0), Ok(1), "where it was sent it is remembered");
    pool.set_admin("b", AdminState::Drain, now);
    assert_eq!(ask(&mut pool, Some(&to_b), 0), Ok(1));
    // Who was sent there is remembered there.
    assert_eq!(ask(&mut pool, None, 0), Ok(1));
}

#[test]
fn forced_clients_stay_with_their_dead_server() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin);
    spec.affinity = stick();
    let mut pool = Pool::new(&spec, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    pool.set_up("a", false, now);
    for (persistence, position) in [(Some(Persistence::Forced), 0), (Some(Persistence::Usual), 1)] {
        let directions = Directions { server: None, persistence };
        let request = Request { directions: Some(&directions), ..Request::of(client(1)) };
        assert_eq!(pool.select(&request, |_| 0, now).unwrap().position, position);
    }
}

#[test]
fn nobody_is_remembered_for_a_server_that_does_not_stick() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin);
    spec.affinity = stick();
    spec.servers[0].non_stick = true;
    let mut pool = Pool::new(&spec, now);
    assert_eq!([1, 2, 1, 2].map(|n| visit(&mut pool, client(n), now)), [0, 1, 0, 1]);
    assert_eq!(visit(&mut pool, client(1), now), 1, "next in turn, and remembered there");
    assert_eq!(pool.table_len(now), 2);
}

#[test]
fn an_explanation_is_what_happens_next_and_changes_nothing() {
    let now = now();
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::Random(2), Algorithm::Source] {
        let mut spec = spec(&["a", "b", "c"], algorithm);
        spec.affinity = stick();
        let mut pool = Pool::new(&spec, now);
        for n in 0..40 {
            let request = Request::of(client(n % 25));
            let first = pool.explain(&request, |_| 0, now);
            assert_eq!(pool.explain(&request, |_| 0, now), first);
            let (server, why) = first.decision.unwrap();
            let expected = if n < 25 { first.remembered.is_none() } else { why == Why::Remembered { proven: true } };
            assert!(expected, "{algorithm:?} {n}: {why:?}");
            assert_eq!(["a", "b", "c"][visit(&mut pool, client(n % 25), now)], server);
        }
    }
}

#[test]
fn an_explanation_says_what_keeps_the_others_away() {
    let now = now();
    let names = ["up", "down", "out", "drained", "light", "full", "spare"];
    let mut spec = spec(&names, Algorithm::RoundRobin);
    spec.servers[2].disabled = true;
    spec.servers[4].weight = 0;
    spec.servers[5].max_connections = Some(1);
    spec.servers[6].backup = true;
    let mut pool = Pool::new(&spec, now);
    pool.set_up("down", false, now);
    pool.set_admin("drained", AdminState::Drain, now);
    let explanation = pool.explain(&Request::of(client(1)), |position| u64::from(position == 5), now);
    assert_eq!(explanation.decision, Ok(("up".into(), Why::Turn(Algorithm::RoundRobin))));
    let standings: Vec<_> = explanation.servers.into_iter().map(|(_, standing)| standing).collect();
    assert_eq!(
        standings,
        [
            Standing::Usable,
            Standing::Down,
            Standing::Maintenance,
            Standing::Draining,
            Standing::Weightless,
            Standing::Full,
            Standing::Backup,
        ]
    );
}
