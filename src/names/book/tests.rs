use super::*;
use crate::model::{Hold, Server};

const SECOND: Duration = Duration::from_secs(1);

fn pools(servers: &[&str], name: &ServerName) -> Vec<Pool> {
    let server = |server: &&str| Server {
        name_of: Some(name.clone()),
        ..Server::new(*server, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    };
    vec![Pool::new("p", servers.iter().map(server).collect())]
}

fn at(last: u8) -> Place {
    Place { address: IpAddr::from([10, 0, 0, last]), port: None, weight: None }
}

fn resolver() -> Resolver {
    let hold =
        Hold { nx: Some(10 * SECOND), timeout: None, refused: Some(5 * SECOND), other: None, obsolete: Duration::ZERO };
    Resolver { least_refresh: SECOND, most_refresh: 60 * SECOND, hold, ..Resolver::new("r") }
}

fn name() -> ServerName {
    ServerName { resolver: Some("r".into()), ..ServerName::new("www.test") }
}

/// Asks what is due and settles it.
fn settle(book: &mut Book, answer: Answer, now: Instant) -> Vec<Resolved> {
    let (id, _) = book.take_due(now).expect("something is due");
    book.settle(id, answer, now).0
}

fn places(lasts: &[u8], life: Duration) -> Answer {
    Answer::Places(lasts.iter().map(|last| at(*last)).collect(), life)
}

fn place(changes: &[Resolved]) -> Vec<(&str, Option<Place>)> {
    changes.iter().map(|change| (change.server.as_str(), change.place.clone().ok())).collect()
}

#[test]
fn the_life_of_an_answer_is_kept_to_within_its_bounds() {
    let (mut book, start) = (Book::default(), Instant::now());
    book.apply(&pools(&["a"], &name()), &[resolver()], start);
    settle(&mut book, places(&[1], 20 * SECOND), start);
    assert_eq!(book.next_due(), Some(start + 20 * SECOND));
    assert!(book.take_due(start + 19 * SECOND).is_none());
    let now = start + 20 * SECOND;
    settle(&mut book, places(&[1], Duration::ZERO), now);
    assert_eq!(book.next_due(), Some(now + SECOND), "not without pause");
    let now = now + SECOND;
    settle(&mut book, places(&[1], 86_400 * SECOND), now);
    assert_eq!(book.next_due(), Some(now + 60 * SECOND), "not only tomorrow");
}

#[test]
fn what_fails_is_held_as_long_as_its_kind_says() {
    let failed = |failure| Answer::Failed(failure, "why".into());
    for (failure, held) in
        [(Failure::NoSuchName, Some(10)), (Failure::Refused, Some(5)), (Failure::Timeout, None), (Failure::Other, None)]
    {
        let (mut book, start) = (Book::default(), Instant::now());
        book.apply(&pools(&["a"], &name()), &[resolver()], start);
        settle(&mut book, places(&[1], SECOND), start);
        let gone = (1..=20_u32).find(|second| !settle(&mut book, failed(failure), start + SECOND * *second).is_empty());
        assert_eq!(gone, held, "{failure:?}");
    }
}

#[test]
fn servers_of_one_name_get_different_addresses_unless_they_may_share() {
    let (mut book, now) = (Book::default(), Instant::now());
    book.apply(&pools(&["a", "b"], &name()), &[resolver()], now);
    let changes = settle(&mut book, places(&[1, 2], SECOND), now);
    assert_eq!(place(&changes), [("a", Some(at(1))), ("b", Some(at(2)))]);
    // One goes: its server takes the new one, the other stays.
    let changes = settle(&mut book, places(&[3, 2], SECOND), now + SECOND);
    assert_eq!(place(&changes), [("a", Some(at(3)))]);
    let changes = settle(&mut book, places(&[2], SECOND), now + 2 * SECOND);
    assert_eq!(place(&changes), [("a", None)]);

    let shared = ServerName { share_address: true, ..name() };
    book.apply(&pools(&["a", "b"], &shared), &[resolver()], now);
    let changes = settle(&mut book, places(&[7], SECOND), now);
    assert_eq!(place(&changes), [("a", Some(at(7))), ("b", Some(at(7)))]);
}

#[test]
fn an_address_that_is_missing_once_is_held_for_as_long_as_obsolete_says() {
    let hold = Hold { obsolete: 3 * SECOND, ..resolver().hold };
    let (mut book, start) = (Book::default(), Instant::now());
    book.apply(&pools(&["a"], &name()), &[Resolver { hold, ..resolver() }], start);
    settle(&mut book, places(&[1], SECOND), start);
    assert!(settle(&mut book, places(&[2], SECOND), start + SECOND).is_empty());
    assert!(settle(&mut book, places(&[2], SECOND), start + 2 * SECOND).is_empty());
    let changes = settle(&mut book, places(&[2], SECOND), start + 3 * SECOND);
    assert_eq!(place(&changes), [("a", Some(at(2)))]);
}

#[test]
fn near_networks_come_first_and_an_initial_address_serves_until_the_first_answer() {
    let name = ServerName {
        networks: vec!["10.0.0.4/30".parse().expect("a network")],
        initial: Some(at(99).address),
        ..name()
    };
    let (mut book, now) = (Book::default(), Instant::now());
    assert_eq!(place(&book.apply(&pools(&["a"], &name), &[resolver()], now)), [("a", Some(at(99)))]);
    let changes = settle(&mut book, places(&[1, 5], SECOND), now);
    assert_eq!(place(&changes), [("a", Some(at(5)))]);
    // A reload says what is known, and asks.
    assert_eq!(place(&book.apply(&pools(&["a"], &name), &[resolver()], now)), [("a", Some(at(5)))]);
    assert_eq!(book.next_due(), Some(now));
}

#[test]
fn a_weight_that_changes_moves_no_server_and_may_not_count() {
    let (mut book, start) = (Book::default(), Instant::now());
    let weighed = |weight| Answer::Places(vec![Place { weight: Some(weight), ..at(1) }], Duration::ZERO);
    book.apply(&pools(&["a"], &name()), &[resolver()], start);
    settle(&mut book, weighed(3), start);
    let changes = settle(&mut book, weighed(7), start + SECOND);
    assert_eq!(place(&changes), [("a", Some(Place { weight: Some(7), ..at(1) }))]);
    let unweighed = ServerName { ignore_weight: true, ..name() };
    book.apply(&pools(&["a"], &unweighed), &[resolver()], start);
    assert_eq!(place(&settle(&mut book, weighed(3), start)), [("a", Some(at(1)))]);
    assert!(settle(&mut book, weighed(7), start + SECOND).is_empty());
}

#[test]
fn a_server_goes_by_another_name_until_it_is_configured_anew() {
    let (mut book, start) = (Book::default(), Instant::now());
    let questions = |book: &mut Book, now| {
        let mut names: Vec<String> = std::iter::from_fn(|| book.take_due(now)).map(|(_, asked)| asked.name).collect();
        names.sort();
        names
    };
    let configured = pools(&["a", "b"], &name());
    book.apply(&configured, &[resolver()], start);
    settle(&mut book, places(&[1, 2], 9 * SECOND), start);
    assert_eq!(book.rename("p", "c", "other.test", start), None);
    assert_eq!(book.rename("p", "a", "other.test", start).as_deref(), Some("www.test"));
    assert_eq!(book.rename("p", "a", "other.test", start).as_deref(), Some("other.test"));
    assert_eq!(questions(&mut book, start), ["other.test"], "the other one is not due yet");
    // It stays where it is until it is known where the new name is; and it keeps that name over a reload.
    let known = book.apply(&configured, &[resolver()], start);
    assert_eq!(place(&known), [("a", Some(at(1))), ("b", Some(at(2)))]);
    assert_eq!(questions(&mut book, start), ["other.test", "www.test"]);
    let mut elsewhere = configured.clone();
    elsewhere[0].servers[0].name_of = Some(ServerName { name: "new.test".into(), ..name() });
    book.apply(&elsewhere, &[resolver()], start);
    assert_eq!(questions(&mut book, start), ["new.test", "www.test"]);
    // The answer to the new name moves it.
    let mut book = Book::default();
    book.apply(&pools(&["a"], &name()), &[resolver()], start);
    settle(&mut book, places(&[1], 9 * SECOND), start);
    assert!(book.rename("p", "a", "other.test", start).is_some());
    assert_eq!(place(&settle(&mut book, places(&[7], SECOND), start)), [("a", Some(at(7)))]);
}
