use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::balance::{Choice, Pool, Request};
use crate::model::{self, Affinity, TlsAffinity, TlsFallback};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    Instant::now()
}

fn pool(names: &[&str]) -> Pool {
    let servers = names.iter().map(|name| model::Server::new(*name, Ipv4Addr::LOCALHOST.into())).collect();
    let affinity = Affinity::Tls(TlsAffinity { fallback: TlsFallback::Source, ..TlsAffinity::default() });
    Pool::new(&model::Pool { affinity, ..model::Pool::new("pool", servers) }, now())
}

/// A server's tickets: the name of its key, then what is new in each.
#[derive(Clone, Copy)]
struct Key(u8, usize);

impl Key {
    fn ticket(self, number: u32) -> Opening {
        let mut bytes = [self.0; Opening::LONGEST];
        // Scattered, so that tickets have no more than the name in common.
        let new = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).to_be_bytes();
        for (place, byte) in bytes.iter_mut().skip(self.1).zip(new.iter().cycle()) {
            *place = *byte;
        }
        Opening::of(&bytes).unwrap()
    }
}

fn source(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc633_6400 + number).into()
}

fn of_tls13(ticket: Opening) -> Offer {
    Offer { identities: vec![ticket], ..Offer::default() }
}

fn accepted(ticket: Opening) -> Lesson {
    Lesson { accepted: Some(ticket), ..Lesson::default() }
}

fn refused(ticket: Opening) -> Lesson {
    Lesson { refused: vec![ticket], ..Lesson::default() }
}

/// A connection from `source` that brings this; where it goes.
fn visit(pool: &mut Pool, source: IpAddr, offer: &Offer) -> usize {
    let request = Request { offer: Some(offer), ..Request::of(source) };
    let Choice { position, id, pin, .. } = pool.select(&request, |_| 0, now()).unwrap();
    if let Some(pin) = pin {
        pool.prove(pin, id);
        pool.release(pin, now());
    }
    position
}

fn id(pool: &Pool, position: usize) -> ServerId {
    pool.servers(now())[position].id
}

fn teach(pool: &mut Pool, position: usize, lesson: &Lesson) -> Learned {
    let id = id(pool, position);
    pool.learn(lesson, id, now())
}

#[test]
fn a_ticket_leads_where_its_key_is_however_long_the_name() {
    for length in [4, 8, 16] {
        let mut pool = pool(&["a", "b", "c"]);
        let keys = [Key(1, length), Key(2, length), Key(3, length)];
        for (position, key) in keys.iter().enumerate() {
            teach(&mut pool, position, &accepted(key.ticket(0)));
        }
        for number in 1..30 {
            let position = (number % 3) as usize;
            let ticket = keys[position].ticket(number);
            assert_eq!(visit(&mut pool, source(1), &of_tls13(ticket)), position, "name of {length}");
            teach(&mut pool, position, &accepted(ticket));
        }
        let names = pool.key_names(id(&pool, 1));
        assert_eq!(names, [vec![2; length]]);
    }
}

#[test]
fn clients_without_a_session_are_balanced_although_their_source_is_known() {
    let mut pool = pool(&["a", "b", "c"]);
    let positions: Vec<usize> = (0..6).map(|_| visit(&mut pool, source(1), &Offer::default())).collect();
    assert_eq!(positions, [0, 1, 2, 0, 1, 2]);
    // In TLS 1.3 a session id is a random number.
    let random = Offer { session: Opening::of(&[7; 32]), ..Offer::default() };
    assert_eq!(visit(&mut pool, source(1), &random), 0);
}

#[test]
fn what_nobody_knows_goes_where_its_source_was() {
    let mut pool = pool(&["a", "b", "c"]);
    visit(&mut pool, source(1), &Offer::default());
    visit(&mut pool, source(2), &Offer::default());
    let unknown = of_tls13(Key(9, 0).ticket(1));
    assert_eq!(visit(&mut pool, source(2), &unknown), 1);
    assert_eq!(visit(&mut pool, source(1), &unknown), 0);
    // No TLS at all.
    let request = Request::of(source(2));
    assert_eq!(pool.select(&request, |_| 0, now()).unwrap().position, 1);
}

#[test]
fn what_nobody_knows_may_be_of_a_server_without_a_known_key() {
    let mut pool = pool(&["a", "b", "c"]);
    pool.set_key_name("a", &[1; 16]);
    pool.set_key_name("c", &[3; 16]);
    let nobody_s = of_tls13(Key(9, 16).ticket(1));
    (0..9).for_each(|number| assert_eq!(visit(&mut pool, source(number), &nobody_s), 1));
    pool.set_key_name("b", &[2; 16]);
    let spread: std::collections::HashSet<usize> =
        (20..29).map(|number| visit(&mut pool, source(number), &nobody_s)).collect();
    assert_eq!(spread.len(), 3, "a foreign key is nobody's");
}

#[test]
fn sessions_by_id_are_remembered_and_forgotten() {
    let mut pool = pool(&["a", "b", "c"]);
    let session = Opening::of(&[4; 32]).unwrap();
    teach(&mut pool, 2, &Lesson { session: Some(session), ..Lesson::default() });
    let offer = Offer { session: Some(session), session_is_certain: true, ..Offer::default() };
    assert_eq!(visit(&mut pool, source(1), &offer), 2);
    let anew = Opening::of(&[5; 32]);
    teach(&mut pool, 2, &Lesson { session: anew, forgotten: Some(session), ..Lesson::default() });
    assert_eq!(pool.learnt_mut().sessions.len(now()), 1);
}

#[test]
fn sessions_are_bounded_and_end() {
    let (start, life) = (now(), Duration::from_secs(60));
    let mut learnt = Learnt::new(3, Some(life));
    let session = |number: u8| Opening::of(&[number; 32]).unwrap();
    let makes = |learnt: &mut Learnt, number: u8, now| {
        learnt.learn(&Lesson { session: Some(session(number)), ..Lesson::default() }, number.into(), now);
    };
    (0..3).for_each(|number| makes(&mut learnt, number, start));
    // One that is used again outlives an older one.
    makes(&mut learnt, 0, start);
    makes(&mut learnt, 7, start + Duration::from_secs(50));
    let held = |learnt: &mut Learnt, now| [0, 1, 2, 7].map(|number| learnt.maker(&session(number), now));
    assert_eq!(held(&mut learnt, start), [Some(0), None, Some(2), Some(7)]);
    assert_eq!(held(&mut learnt, start + life), [None, None, None, Some(7)]);
    learnt.retain(|server| server != 7);
    assert_eq!(learnt.sessions.len(start), 0);
}

#[test]
fn tickets_without_a_name_are_remembered_whole_only_where_they_are_used_again() {
    let mut pool = pool(&["a", "b"]);
    // Go since 1.21: nothing in common. Of TLS 1.2, seen when it is issued.
    for number in 0..1000 {
        let ticket = Key(0, 0).ticket(number);
        teach(&mut pool, 1, &Lesson { issued: Some(ticket), ..Lesson::default() });
        let offer = Offer { ticket: Some(ticket), ..Offer::default() };
        assert_eq!(visit(&mut pool, source(number), &offer), 1);
    }
    assert_eq!(pool.learnt_mut().sessions.len(now()), 1000);
    // Of TLS 1.3, used once: nothing is kept but the last few.
    (1000..5000).for_each(|number| _ = teach(&mut pool, 0, &accepted(Key(0, 0).ticket(number))));
    assert_eq!(pool.learnt_mut().sessions.len(now()), 1000);
    assert!(pool.learnt_mut().names.len() <= 2 * (MOST_TENTATIVE + MOST_CERTAIN));
    assert!(pool.key_names(id(&pool, 0)).is_empty(), "chance makes no name");
}

#[test]
fn garbage_does_not_displace_a_name() {
    let mut pool = pool(&["a", "b"]);
    let key = Key(1, 16);
    (0..2).for_each(|number| _ = teach(&mut pool, 1, &accepted(key.ticket(number))));
    (10..100).for_each(|number| _ = teach(&mut pool, 1, &accepted(Key(0, 0).ticket(number))));
    (0..9).for_each(|number| assert_eq!(visit(&mut pool, source(number), &of_tls13(key.ticket(number))), 1));
}

#[test]
fn a_server_that_no_longer_knows_a_key_loses_its_name() {
    let mut pool = pool(&["a", "b", "c"]);
    (0..3).for_each(|position| _ = pool.set_key_name(["a", "b", "c"][position], &[position as u8 + 1; 16]));
    let (old, new) = (Key(2, 16), Key(20, 16));
    for number in 0..u32::from(MOST_REFUSALS) {
        assert_eq!(visit(&mut pool, source(number), &of_tls13(old.ticket(number))), 1);
        teach(&mut pool, 1, &refused(old.ticket(number)));
    }
    assert!(pool.key_names(id(&pool, 1)).is_empty());
    // Its new tickets find it, being of the only server without a name.
    assert_eq!(visit(&mut pool, source(99), &of_tls13(new.ticket(1))), 1);
    teach(&mut pool, 1, &accepted(new.ticket(1)));
    assert_eq!(visit(&mut pool, source(100), &of_tls13(new.ticket(2))), 1);
}

#[test]
fn now_and_then_a_refusal_means_nothing() {
    let mut pool = pool(&["a", "b"]);
    let key = Key(1, 16);
    pool.set_key_name("b", &[1; 16]);
    for number in 0..1000 {
        let lesson = if number % u32::from(MOST_REFUSALS) == 0 { accepted } else { refused };
        teach(&mut pool, 1, &lesson(key.ticket(number)));
    }
    assert_eq!(pool.key_names(id(&pool, 1)), [vec![1; 16]]);
}

#[test]
fn servers_that_share_a_key_are_found_out_and_share_the_clients() {
    let mut pool = pool(&["a", "b", "c"]);
    let key = Key(1, 16);
    let mut said = 0;
    let mut visits = [0; 3];
    for number in 0..4000 {
        let position = visit(&mut pool, source(number), &of_tls13(key.ticket(number)));
        // Whoever gets it accepts it.
        said += usize::from(teach(&mut pool, position, &accepted(key.ticket(number))).shared);
        visits[position] += 1;
    }
    assert_eq!(said, 1, "it is said once");
    assert!(visits.iter().all(|visits| *visits > 800), "{visits:?}");
}

#[test]
fn a_trial_is_made_once_a_server() {
    let mut pool = pool(&["a", "b", "c"]);
    let key = Key(1, 16);
    (0..2).for_each(|number| _ = teach(&mut pool, 0, &accepted(key.ticket(number))));
    let mut elsewhere = 0;
    for number in 2..5000 {
        let ticket = key.ticket(number);
        match visit(&mut pool, source(number), &of_tls13(ticket)) {
            0 => _ = teach(&mut pool, 0, &accepted(ticket)),
            other => {
                elsewhere += 1;
                teach(&mut pool, other, &refused(ticket));
            }
        }
    }
    assert_eq!(elsewhere, 2);
}

#[test]
fn the_clients_of_a_server_that_died_stay_where_they_land() {
    let mut pool = pool(&["a", "b", "c"]);
    (0..3).for_each(|position| _ = pool.set_key_name(["a", "b", "c"][position], &[position as u8 + 1; 16]));
    let old = of_tls13(Key(2, 16).ticket(7));
    pool.set_up("b", false, now());
    let landed = visit(&mut pool, source(1), &old);
    assert_ne!(landed, 1);
    pool.set_up("b", true, now());
    let new = of_tls13(Key(landed as u8 + 1, 16).ticket(8));
    assert_eq!(visit(&mut pool, source(1), &new), landed);
}

#[test]
fn a_key_that_some_servers_share_leads_to_one_that_serves() {
    let mut pool = pool(&["a", "b", "c"]);
    pool.set_key_name("a", &[1; 16]);
    pool.set_key_name("b", &[1; 16]);
    pool.set_key_name("c", &[3; 16]);
    let offer = of_tls13(Key(1, 16).ticket(1));
    let positions: Vec<usize> = (0..40).map(|number| visit(&mut pool, source(number), &offer)).collect();
    assert!(positions.iter().all(|position| *position < 2) && positions.contains(&0) && positions.contains(&1));
    pool.set_up("a", false, now());
    assert!((0..10).all(|number| visit(&mut pool, source(number), &offer) == 1));
}

#[test]
fn names_go_with_their_server() {
    let mut pool = pool(&["a", "b"]);
    pool.set_key_name("b", &[2; 16]);
    let mut spec = model::Pool::new("pool", vec![model::Server::new("a", Ipv4Addr::LOCALHOST.into())]);
    spec.affinity = Affinity::Tls(TlsAffinity::default());
    pool.reconfigure(&spec, now());
    assert!(pool.learnt_mut().names.is_empty());
    assert_eq!(visit(&mut pool, source(1), &of_tls13(Key(2, 16).ticket(1))), 0);
}
