use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::model::{KeyType, TableSpec};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    Instant::now()
}

fn client(n: u32) -> IpAddr {
    Ipv4Addr::from(0xc000_0200 + n).into()
}

fn request(client: IpAddr) -> Request<'static> {
    Request::of(client)
}

fn server(name: &str) -> model::Server {
    let check = Some(model::Check::new(([127, 0, 0, 1], 1).into()));
    model::Server { check, ..model::Server::new(name, Ipv4Addr::LOCALHOST.into()) }
}

fn spec(names: &[&str], algorithm: Algorithm, affinity: Affinity) -> model::Pool {
    let servers = names.iter().map(|name| server(name)).collect();
    model::Pool { algorithm, affinity, ..model::Pool::new("pool", servers) }
}

fn stick() -> Affinity {
    Affinity::Table(TableSpec::new(KeyType::Ipv4, 100))
}

/// A connection that is established and stays open.
fn connect(pool: &mut Pool, key: IpAddr, now: Instant) -> Choice {
    let choice = pool.select(&request(key), |_| 0, now).unwrap();
    if let Some(pin) = choice.pin {
        pool.prove(pin, choice.id);
    }
    choice
}

/// A connection that comes and goes.
fn visit(pool: &mut Pool, key: IpAddr, now: Instant) -> usize {
    let choice = connect(pool, key, now);
    if let Some(pin) = choice.pin {
        pool.release(pin, now);
    }
    choice.position
}

#[test]
fn new_clients_go_round_and_remembered_ones_stay() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c"], Algorithm::RoundRobin, stick()), now);
    let first: Vec<_> = (0..6).map(|n| visit(&mut pool, client(n), now)).collect();
    assert_eq!(first, [0, 1, 2, 0, 1, 2]);
    let again: Vec<_> = (0..6).rev().map(|n| visit(&mut pool, client(n), now)).collect();
    assert_eq!(again, [2, 1, 0, 2, 1, 0]);
    assert_eq!(pool.table_len(now), 6);
}

#[test]
fn nodes_that_choose_alike_agree_on_a_client_and_share_clients_evenly() {
    let now = now();
    let spec = model::Pool { alike: true, ..spec(&["a", "b", "c"], Algorithm::RoundRobin, stick()) };
    let (mut one, mut other) = (Pool::new(&spec, now), Pool::new(&spec, now));
    let first: Vec<_> = (0..90).map(|n| visit(&mut one, client(n), now)).collect();
    let second: Vec<_> = (0..90).rev().map(|n| visit(&mut other, client(n), now)).collect();
    assert!(first.iter().eq(second.iter().rev()));
    assert!((0..3).all(|server| first.iter().filter(|&&chosen| chosen == server).count() > 15));
    // What the table knows comes first.
    one.set_up("a", false, now);
    let moved: Vec<_> = (0..90).map(|n| visit(&mut one, client(n), now)).collect();
    one.set_up("a", true, now);
    assert!((0..90).all(|n| visit(&mut one, client(n), now) == moved[n as usize]));
}

#[test]
fn only_the_clients_of_a_dead_server_move_and_stay_where_they_went() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c"], Algorithm::RoundRobin, stick()), now);
    let before: Vec<_> = (0..30).map(|n| visit(&mut pool, client(n), now)).collect();
    assert!(pool.set_up("b", false, now));
    assert!(!pool.set_up("b", false, now));
    let during: Vec<_> = (0..30).map(|n| visit(&mut pool, client(n), now)).collect();
    assert!(pool.set_up("b", true, now));
    let after: Vec<_> = (0..30).map(|n| visit(&mut pool, client(n), now)).collect();
    for n in 0..30 {
        assert_ne!(during[n], 1);
        assert!(before[n] == 1 || during[n] == before[n]);
    }
    assert_eq!(during, after);
}

#[test]
fn source_affinity_moves_the_clients_of_a_dead_server_and_takes_them_back() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c"], Algorithm::RoundRobin, Affinity::Source), now);
    let before: Vec<_> = (0..300).map(|n| visit(&mut pool, client(n), now)).collect();
    pool.set_up("b", false, now);
    let during: Vec<_> = (0..300).map(|n| visit(&mut pool, client(n), now)).collect();
    pool.set_up("b", true, now);
    let after: Vec<_> = (0..300).map(|n| visit(&mut pool, client(n), now)).collect();
    assert!((0..300).all(|n| before[n] == 1 || during[n] == before[n]));
    assert_eq!(before, after);
    assert_eq!(pool.table_len(now), 0);
}

#[test]
fn a_client_with_live_flows_stays_although_its_server_is_back() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c"], Algorithm::RoundRobin, Affinity::Source), now);
    let key = (0..).map(client).find(|&key| visit(&mut pool, key, now) == 1).unwrap();
    pool.set_up("b", false, now);
    let flow = connect(&mut pool, key, now);
    pool.set_up("b", true, now);
    assert_eq!(visit(&mut pool, key, now), flow.position);
    pool.release(flow.pin.unwrap(), now);
    assert_eq!(visit(&mut pool, key, now), 1);
}

#[test]
fn weight_zero_gets_its_sticky_clients_only() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin, stick());
    let mut pool = Pool::new(&spec, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    spec.servers[0].weight = 0;
    pool.reconfigure(&spec, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    assert!((2..10).all(|n| visit(&mut pool, client(n), now) == 1));
    pool.set_up("a", false, now);
    assert_eq!(visit(&mut pool, client(1), now), 1);
}

#[test]
fn backups_serve_when_no_active_server_is_up() {
    let now = now();
    let mut spec = spec(&["a", "b", "c"], Algorithm::RoundRobin, Affinity::None);
    spec.servers[1].backup = true;
    spec.servers[2].backup = true;
    let mut pool = Pool::new(&spec, now);
    let positions = |pool: &mut Pool| [1, 2, 3].map(|n| visit(pool, client(n), now));
    assert_eq!(positions(&mut pool), [0, 0, 0]);
    pool.set_up("a", false, now);
    assert_eq!(positions(&mut pool), [1, 1, 1]);
    pool.set_up("b", false, now);
    assert_eq!(positions(&mut pool), [2, 2, 2]);
    pool.set_up("b", true, now);
    spec.all_backups = true;
    pool.reconfigure(&spec, now);
    assert_eq!(positions(&mut pool).iter().filter(|&&position| position == 1).count(), 2);
    pool.set_up("b", false, now);
    pool.set_up("c", false, now);
    assert!(!pool.is_usable());
    assert_eq!(pool.select(&request(client(1)), |_| 0, now), Err(Refusal::NoneUp));
}

#[test]
fn hashed_backups_share_only_when_all_may_serve() {
    let now = now();
    let mut spec = spec(&["a", "b", "c"], Algorithm::Source, Affinity::None);
    spec.servers[1].backup = true;
    spec.servers[2].backup = true;
    let mut pool = Pool::new(&spec, now);
    assert!((0..50).all(|n| visit(&mut pool, client(n), now) == 0));
    pool.set_up("a", false, now);
    assert!((0..50).all(|n| visit(&mut pool, client(n), now) == 1));
    spec.all_backups = true;
    pool.reconfigure(&spec, now);
    let on_c = (0..50).filter(|&n| visit(&mut pool, client(n), now) == 2).count();
    assert!((10..40).contains(&on_c), "{on_c}");
}

#[test]
fn excluded_servers_are_not_chosen_and_the_entry_follows() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b"], Algorithm::RoundRobin, stick()), now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    let first = pool.select(&request(client(1)), |_| 0, now).unwrap();
    assert!(first.sticky);
    let elsewhere = Request { exclude: &[first.id], held: first.pin, ..request(client(1)) };
    let second = pool.select(&elsewhere, |_| 0, now).unwrap();
    assert_eq!((second.position, second.pin, second.sticky), (1, first.pin, false));
    pool.prove(second.pin.unwrap(), second.id);
    pool.release(second.pin.unwrap(), now);
    assert_eq!(visit(&mut pool, client(1), now), 1);
    assert_eq!(
        pool.select(&Request { exclude: &[first.id, second.id], ..request(client(2)) }, |_| 0, now),
        Err(Refusal::Excluded)
    );
}

#[test]
fn a_reload_keeps_turns_health_and_clients() {
    let now = now();
    let mut spec = spec(&["a", "b", "c"], Algorithm::RoundRobin, stick());
    let mut pool = Pool::new(&spec, now);
    assert_eq!(visit(&mut pool, client(1), now), 0);
    assert_eq!(visit(&mut pool, client(2), now), 1);
    pool.set_up("a", false, now);
    spec.servers.insert(0, server("new"));
    pool.reconfigure(&spec, now);
    assert_eq!(visit(&mut pool, client(2), now), 2, "b has moved to position 2 and kept its client");
    assert_ne!(visit(&mut pool, client(1), now), 1, "a is still down");
    spec.servers.retain(|server| server.name != "b");
    pool.reconfigure(&spec, now);
    assert!(pool.select(&request(client(2)), |_| 0, now).is_ok_and(|choice| !choice.sticky));
}

#[test]
fn without_affinity_held_entries_are_given_back() {
    let now = now();
    let mut spec = spec(&["a", "b"], Algorithm::RoundRobin, stick());
    let mut pool = Pool::new(&spec, now);
    let flow = connect(&mut pool, client(1), now);
    spec.affinity = Affinity::None;
    pool.reconfigure(&spec, now);
    assert_eq!(connect(&mut pool, client(1), now).pin, None);
    pool.release(flow.pin.unwrap(), now);
    assert_eq!(pool.table_len(now), 0);
}

#[test]
fn least_connections_goes_by_load() {
    let now = now();
    let mut pool = Pool::new(&spec(&["a", "b", "c"], Algorithm::LeastConnections, Affinity::None), now);
    let chosen = pool.select(&request(client(1)), |position| [3, 1, 2][position], now).unwrap();
    assert_eq!(chosen.position, 1);
}

proptest! {
    /// Whatever is up, full or excluded: what is chosen may be used, and a refusal is true.
    #[test]
    fn what_is_chosen_may_be_used(
        servers in prop::collection::vec((0..4_u16, any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u32), 0..8),
        excluded in prop::collection::vec(1..9_u32, 0..4),
        algorithm in prop::sample::select(vec![
            Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::Source, Algorithm::First, Algorithm::Random(2),
            Algorithm::StaticRoundRobin, Algorithm::Sni, Algorithm::RdpUser,
        ]),
        affinity in prop::sample::select(vec![Affinity::None, Affinity::Source, stick()]),
        all_backups in any::<bool>(),
    ) {
        let now = now();
        let names: Vec<_> = (0..servers.len()).map(|n| format!("s{n}")).collect();
        let mut spec = spec(&names.iter().map(String::as_str).collect::<Vec<_>>(), algorithm, affinity);
        spec.all_backups = all_backups;
        for (server, (weight, backup, disabled, _, _)) in spec.servers.iter_mut().zip(&servers) {
            (server.weight, server.backup, server.disabled) = (*weight, *backup, *disabled);
            server.max_connections = Some(2);
        }
        let mut pool = Pool::new(&spec, now);
        for (name, (.., down, _)) in names.iter().zip(&servers) {
            pool.set_up(name, !down, now);
        }
        let load = |position: usize| u64::from(servers[position].4);
        let eligible = |s: &(u16, bool, bool, bool, u32)| s.0 > 0 && !s.2 && !s.3;
        let active = servers.iter().any(|s| eligible(s) && !s.1);
        match pool.select(&Request { exclude: &excluded, ..request(client(1)) }, load, now) {
            Ok(choice) => {
                let server = servers[choice.position];
                prop_assert!(eligible(&server) && server.4 < 2 && !excluded.contains(&choice.id));
                prop_assert_eq!(server.1, !active);
            }
            Err(Refusal::NoneUp) => prop_assert!(!servers.iter().any(eligible)),
            Err(Refusal::Full { .. }) => prop_assert!(servers.iter().any(eligible)),
            Err(Refusal::Excluded) => prop_assert!(!excluded.is_empty()),
        }
    }
}
