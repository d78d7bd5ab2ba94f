use super::*;

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &(content.len() as u32).to_be_bytes()[1..], content].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vector16(content)].concat()
}

fn hello(random: &[u8; 32], session_id: &[u8], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let extensions: Vec<u8> =
        extensions.iter().flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &vector16(content)].concat()).collect();
    let id = [&[session_id.len() as u8], session_id].concat();
    message(SERVER_HELLO, &[&[3, 3][..], random, &id, &[0x13, 1, 0], &vector16(&extensions)].concat())
}

const CERTIFICATE: u8 = 11;
const DONE: u8 = 14;
const VERSION_13: (u16, &[u8]) = (SUPPORTED_VERSIONS, &[3, 4]);

fn new_ticket(ticket: &[u8]) -> Vec<u8> {
    message(NEW_SESSION_TICKET, &[&[0, 0, 1, 44][..], &vector16(ticket)].concat())
}

fn cipher_change() -> Vec<u8> {
    record(CHANGE_CIPHER_SPEC, &[1])
}

/// What is heard of these handshake messages, in records of every size and in pieces of every size; then all the rest.
fn heard(messages: &[u8], rest: &[u8]) -> Option<Said> {
    let mut answers = Vec::new();
    for size in [1, 2, 3, 4, 5, 37, 38, 39, 40, 41, 100, LONGEST_RECORD] {
        let records: Vec<u8> = messages.chunks(size).flat_map(|part| record(HANDSHAKE, part)).collect();
        let bytes = [&records[..], rest].concat();
        for cut in 0..=bytes.len() {
            let mut flight = Flight::default();
            flight.hear(&bytes[..cut]);
            flight.hear(&bytes[cut..]);
            answers.push((flight.is_over(), flight.into_said()));
        }
        let mut flight = Flight::default();
        bytes.iter().for_each(|byte| flight.hear(&[*byte]));
        answers.push((flight.is_over(), flight.into_said()));
    }
    let first = answers.swap_remove(0);
    assert!(answers.iter().all(|answer| *answer == first), "the cut makes no difference: {answers:?}");
    first.1
}

#[test]
fn tls_13_says_which_ticket_it_accepts() {
    let accepted = hello(&[9; 32], &[7; 32], &[(51, &[0, 29, 0, 0]), VERSION_13, (PRE_SHARED_KEY, &[0, 1])]);
    let encrypted = record(23, &[0; 300]);
    let said = heard(&accepted, &[cipher_change(), encrypted.clone()].concat()).unwrap();
    assert!(said.tls13 && !said.retried && !said.resumed);
    assert_eq!((said.selected, said.session_id), (Some(1), Opening::of(&[7; 32])));

    let full = hello(&[9; 32], &[7; 32], &[VERSION_13, (51, &[0, 29, 0, 0])]);
    assert_eq!(heard(&full, &encrypted).unwrap().selected, None);
}

#[test]
fn a_request_for_another_hello_is_no_answer() {
    let retry = hello(&RETRY, &[7; 32], &[VERSION_13, (51, &[0, 23])]);
    let accepted = hello(&[9; 32], &[7; 32], &[VERSION_13, (PRE_SHARED_KEY, &[0, 0])]);
    // A cipher change in between is for the eyes of middleboxes.
    let after = [cipher_change(), record(HANDSHAKE, &accepted), cipher_change()].concat();
    let said = heard(&retry, &after).unwrap();
    assert!(said.retried && said.tls13);
    assert_eq!(said.selected, Some(0));
    assert_eq!(heard(&retry, &[]), None, "the second hello is awaited");
    assert_eq!(heard(&[retry.clone(), retry].concat(), &after), None, "there is one at most");
}

#[test]
fn tls_12_makes_a_session_by_id() {
    let full = [hello(&[9; 32], &[4; 32], &[]), message(CERTIFICATE, &[1; 900]), message(DONE, &[])].concat();
    let said = heard(&full, &[]).unwrap();
    assert!(!said.tls13 && !said.resumed && said.ticket.is_none());
    assert_eq!(said.session_id, Opening::of(&[4; 32]));
}

#[test]
fn tls_12_issues_a_ticket() {
    let full = [hello(&[9; 32], &[], &[(SESSION_TICKET, &[])]), message(CERTIFICATE, &[1; 900]), message(DONE, &[])];
    let ticket: Vec<u8> = (0..200).collect();
    let after = [record(HANDSHAKE, &new_ticket(&ticket)), cipher_change(), record(HANDSHAKE, &[0; 40])].concat();
    let said = heard(&full.concat(), &after).unwrap();
    assert!(!said.resumed);
    assert_eq!(said.ticket, Opening::of(&ticket));
    // It promised one, and sent an empty one or none.
    assert_eq!(heard(&full.concat(), &record(HANDSHAKE, &new_ticket(&[]))).unwrap().ticket, None);
    assert_eq!(heard(&full.concat(), &cipher_change()).unwrap().ticket, None);
    // A short one is kept whole.
    assert_eq!(heard(&full.concat(), &record(HANDSHAKE, &new_ticket(&[8; 5]))).unwrap().ticket, Opening::of(&[8; 5]));
}

#[test]
fn tls_12_resumes_without_a_certificate() {
    let said = heard(&hello(&[9; 32], &[4; 32], &[]), &cipher_change()).unwrap();
    assert!(said.resumed && said.session_id == Opening::of(&[4; 32]));
    let renewed = [hello(&[9; 32], &[4; 32], &[(SESSION_TICKET, &[])]), new_ticket(&[6; 180])].concat();
    let said = heard(&renewed, &cipher_change()).unwrap();
    assert!(said.resumed);
    assert_eq!(said.ticket, Opening::of(&[6; 180]));
}

#[test]
fn a_hello_before_extensions_is_one() {
    let old = message(SERVER_HELLO, &[&[3, 1][..], &[9; 32], &[2, 1, 2], &[0, 47, 0]].concat());
    let said = heard(&[old, message(CERTIFICATE, &[0; 10])].concat(), &[]).unwrap();
    assert_eq!((said.session_id, said.resumed), (Opening::of(&[1, 2]), false));
}

/// Whether anything follows it in the same piece or later.
#[test]
fn an_empty_hello_is_none_wherever_it_is_cut() {
    let empty = message(SERVER_HELLO, &[]);
    assert_eq!(heard(&empty, &[]), None);
    assert_eq!(heard(&empty, &record(23, &[0; 300])), None);
    assert_eq!(heard(&[empty, hello(&[9; 32], &[7; 32], &[])].concat(), &[]), None);
}

#[test]
fn what_is_no_hello_is_not_followed() {
    let refused = [
        record(21, &[2, 40]),
        record(23, &[0; 20]),
        cipher_change(),
        b"220 mail.example.org ESMTP\r\n".to_vec(),
        record(HANDSHAKE, &message(CERTIFICATE, &[0; 10])),
        record(HANDSHAKE, &message(SERVER_HELLO, &[3, 3])),
        [&[HANDSHAKE, 3, 3][..], &[0, 0]].concat(),
        record(HANDSHAKE, &[SERVER_HELLO, 0, 255, 255]),
    ];
    for bytes in refused {
        let mut flight = Flight::default();
        flight.hear(&bytes);
        assert!(flight.is_over(), "{bytes:?}");
        assert_eq!(flight.into_said(), None, "{bytes:?}");
    }
}

#[test]
fn no_more_than_a_bound_is_followed() {
    let mut flight = Flight::default();
    flight.hear(&record(HANDSHAKE, &hello(&[9; 32], &[], &[(SESSION_TICKET, &[])])));
    let mut heard = 0;
    while !flight.is_over() {
        let part = record(HANDSHAKE, &message(CERTIFICATE, &[0; 16_000]));
        heard += part.len();
        flight.hear(&part);
        assert!(heard < 2 * MOST_FOLLOWED);
    }
    assert_eq!(flight.into_said().unwrap().ticket, None);
}
