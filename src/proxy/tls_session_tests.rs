use super::*;
use crate::model::Opening;

fn opening(byte: u8) -> Opening {
    Opening::of(&[byte; 32]).unwrap()
}

#[test]
fn tls_13_tells_by_the_key_it_selects() {
    let offer = Offer { identities: vec![opening(1), opening(2)], ..Offer::default() };
    let said = Said { tls13: true, selected: Some(1), session_id: Opening::of(&[9; 32]), ..Said::default() };
    assert_eq!(lesson(&offer, &said), Lesson { accepted: Some(opening(2)), ..Lesson::default() });
    let refused = Said { selected: None, ..said.clone() };
    assert_eq!(lesson(&offer, &refused).refused, offer.identities);
    let retried = Said { retried: true, ..said.clone() };
    assert_eq!(lesson(&offer, &retried), Lesson::default(), "the second hello may have left one out");
    assert_eq!(lesson(&Offer { identities: vec![opening(1)], ..offer }, &said), Lesson::default(), "there is none");
}

#[test]
fn tls_12_tells_by_what_it_leaves_out() {
    let by_id = Offer { session: Some(opening(1)), session_is_certain: true, ..Offer::default() };
    let resumed = Said { resumed: true, session_id: Opening::of(&[1; 32]), ..Said::default() };
    assert_eq!(lesson(&by_id, &resumed), Lesson { session: Some(opening(1)), ..Lesson::default() });
    let made = Said { session_id: Opening::of(&[2; 32]), ..Said::default() };
    let anew = Lesson { session: Some(opening(2)), forgotten: Some(opening(1)), ..Lesson::default() };
    assert_eq!(lesson(&by_id, &made), anew);

    let by_ticket = Offer { ticket: Some(opening(3)), ..by_id };
    assert_eq!(lesson(&by_ticket, &resumed), Lesson { accepted: Some(opening(3)), ..Lesson::default() });
    let issued = Said { ticket: Opening::of(&[4; 32]), ..Said::default() };
    let lesson = lesson(&by_ticket, &issued);
    assert_eq!((lesson.refused, lesson.issued, lesson.session), (vec![opening(3)], Some(opening(4)), None));
}
