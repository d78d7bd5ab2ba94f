use super::*;

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

/// A handshake message: what a browser sends, with a key share of `share` bytes.
fn message(name: &str, share: usize) -> Vec<u8> {
    let names = vector16(&[&[0][..], &vector16(name.as_bytes())].concat());
    let offered = vector16(&[vector8(&[0x1a, 0x1a]), vector8(b"h2"), vector8(b"http/1.1")].concat());
    let extensions = [
        extension(0x3a3a, &[]),
        extension(51, &vec![7; share]),
        extension(SERVER_NAME, &names),
        extension(ALPN, &offered),
        extension(SUPPORTED_VERSIONS, &vector8(&[0x5a, 0x5a, 3, 4, 3, 3])),
        extension(0xfafa, &[0]),
    ];
    let body = [
        &[3, 3][..],
        &[9; 32],
        &vector8(&[5; 32]),
        &vector16(&[0x2a, 0x2a, 0x13, 1]),
        &vector8(&[0]),
        &vector16(&extensions.concat()),
    ]
    .concat();
    framed(CLIENT_HELLO, &body)
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

/// In records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &vector16(part)].concat()).collect()
}

fn hello(bytes: &[u8]) -> ClientHello {
    match hear(bytes) {
        Heard::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_browser_s_hello() {
    let hello = hello(&records(&message("www.example.org", 32), LONGEST_RECORD));
    assert_eq!(hello.server_name.as_deref(), Some("www.example.org"));
    assert_eq!((hello.version, hello.newest_version()), (0x0303, 0x0304));
    assert_eq!((hello.newest_offered, hello.offers_tls13), (Some(0x0304), true));
    assert_eq!(hello.protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(hello.session_id, Opening::of(&[5; 32]));
}

#[test]
fn is_found_however_it_is_cut() {
    // A post-quantum key share: more than one segment, and over several records.
    let message = message("pq.example.org", 1216 + 32);
    let whole = hello(&records(&message, LONGEST_RECORD));
    for size in [1, 2, 3, 4, 5, 7, 100, 1000, message.len() - 1, message.len()] {
        let bytes = records(&message, size);
        for end in 0..bytes.len() {
            assert_eq!(hear(&bytes[..end]), Heard::Part, "{end} of {} in records of {size}", bytes.len());
        }
        assert_eq!(hello(&bytes), whole, "records of {size}");
        // What follows in the same flight (early data) changes nothing.
        assert_eq!(hello(&[&bytes[..], &[23, 3, 3, 0, 1, 0]].concat()), whole);
    }
}

#[test]
fn what_is_no_tls_is_known_by_its_first_bytes() {
    for other in [
        &b"S"[..],
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[HANDSHAKE, 2],
        &[HANDSHAKE, 3, 1, 0, 0],
        &[HANDSHAKE, 3, 1, 0xff, 0xff],
        // An alert, and a server's hello.
        &[21, 3, 1, 0, 2],
        &[HANDSHAKE, 3, 1, 0, 9, 2],
        // Longer than anybody's.
        &[HANDSHAKE, 3, 1, 0, 9, 1, 0x10, 0, 0],
        // The second record is of another kind.
        &[HANDSHAKE, 3, 1, 0, 1, 1, 23],
    ] {
        assert_eq!(hear(other), Heard::Other, "{other:?}");
    }
    for part in [&[][..], &[HANDSHAKE], &[HANDSHAKE, 3, 1, 0], &[HANDSHAKE, 3, 1, 0, 9], &[HANDSHAKE, 3, 1, 0, 9, 1, 0]]
    {
        assert_eq!(hear(part), Heard::Part, "{part:?}");
    }
}

#[test]
fn broken_and_plain_hellos() {
    let whole = message("a.example", 3);
    // Every length in it that is too long by one leaves its message.
    let body = &whole[MESSAGE_HEADER..];
    for cut in 1..body.len() - 1 {
        let cut = hear(&records(&framed(CLIENT_HELLO, &body[..cut]), 5000));
        // Before the extensions a hello may end; anywhere else it may not.
        let without_extensions = matches!(&cut, Heard::Hello(hello) if hello.server_name.is_none());
        assert!(cut == Heard::Other || without_extensions, "{cut:?}");
    }
    let old = [&[3, 1][..], &[9; 32], &vector8(&[]), &vector16(&[0, 1]), &vector8(&[0])].concat();
    let old = hello(&records(&framed(CLIENT_HELLO, &old), 5000));
    assert_eq!((old.newest_version(), old.server_name), (0x0301, None));
    let longer_id = [&[3, 1][..], &[9; 32], &vector8(&[1; 33]), &vector16(&[0, 1]), &vector8(&[0])].concat();
    assert_eq!(hear(&records(&framed(CLIENT_HELLO, &longer_id), 5000)), Heard::Other);
    for name in ["a\0b.example", "z\u{fc}rich.example", "a b"] {
        assert_eq!(hello(&records(&message(name, 1), 5000)).server_name, None, "{name:?}");
    }
}

#[test]
fn grease_is_what_the_rfc_reserves() {
    let reserved = (0..=u16::MAX).filter(|value| is_grease(*value)).collect::<Vec<_>>();
    assert_eq!(reserved.len(), 16);
    assert!(reserved.contains(&0x0a0a) && reserved.contains(&0xfafa) && !reserved.contains(&0x0a1a));
}

fn resuming(extensions: &[(u16, Vec<u8>)]) -> ClientHello {
    let extensions: Vec<u8> = extensions.iter().flat_map(|(kind, content)| extension(*kind, content)).collect();
    let body =
        [&[3, 3][..], &[9; 32], &vector8(&[]), &vector16(&[0x13, 1]), &vector8(&[0]), &vector16(&extensions)].concat();
    let message = framed(CLIENT_HELLO, &body);
    let bytes = records(&message, 11);
    for end in 0..bytes.len() {
        assert_eq!(hear(&bytes[..end]), Heard::Part);
    }
    hello(&bytes)
}

/// A pre_shared_key extension with tickets of these sizes.
fn pre_shared_keys(tickets: &[Vec<u8>]) -> Vec<u8> {
    let identities: Vec<u8> =
        tickets.iter().flat_map(|ticket| [&vector16(ticket)[..], &[1, 2, 3, 4]].concat()).collect();
    [vector16(&identities), vector16(&vector8(&[0; 32]))].concat()
}

#[test]
fn tickets_are_known_by_their_beginning() {
    let ticket: Vec<u8> = (0..230).collect();
    let hello =
        resuming(&[(SESSION_TICKET, ticket.clone()), (PRE_SHARED_KEY, pre_shared_keys(&[ticket.clone(), vec![8; 6]]))]);
    assert_eq!(hello.ticket, Opening::of(&ticket));
    assert_eq!(hello.identities, [&ticket[..], &[8; 6]].map(|identity| Opening::of(identity).unwrap()));
    assert!(!hello.encrypted);
    // A client that only asks for a ticket has none.
    assert_eq!(resuming(&[(SESSION_TICKET, Vec::new())]).ticket, None);
}

#[test]
fn no_client_makes_us_keep_a_thousand_tickets() {
    let many = vec![vec![1]; 1000];
    assert_eq!(resuming(&[(PRE_SHARED_KEY, pre_shared_keys(&many))]).identities.len(), MOST_IDENTITIES);
}

#[test]
fn a_hello_around_another_one_is_seen() {
    assert!(resuming(&[(ENCRYPTED_HELLO, vec![0, 0, 1, 0, 1])]).encrypted);
    assert!(!resuming(&[(ENCRYPTED_HELLO, vec![1])]).encrypted, "the inner one");
}
