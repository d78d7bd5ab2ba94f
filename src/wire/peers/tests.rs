use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn read(mut input: &[u8]) -> Vec<Message> {
    let mut reader = Reader::default();
    std::iter::from_fn(|| reader.next(&mut input).unwrap()).collect()
}

/// As HAProxy 2.6 writes them.
const DEFINITION: &str = "0a82 11 01 06 737469636b79 04 04 f1f1fe00 f0971c";
const ENTRY: &str = "0a80 0e 00000000 7f000001 01 04 01 02 6431";

fn definition() -> Arc<Definition> {
    Arc::new(Definition::of_servers(1, "sticky", KeyType::Ipv4, 60_000))
}

fn entry() -> Update {
    let key = Key::Address([127, 0, 0, 1].into());
    Update { id: 0, left: None, key, server_id: Some(1), server: Some("d1".into()) }
}

#[test]
fn what_haproxy_says_is_read_and_written_alike() {
    let input = bytes(&[DEFINITION, ENTRY].concat());
    let messages = [Message::Define(definition()), Message::Update(entry())];
    assert_eq!(read(&input), messages);
    let mut out = Vec::new();
    let mut writer = Writer::default();
    messages.iter().for_each(|message| writer.put(&mut out, message));
    assert_eq!(out, input);
}

#[test]
fn numbers_of_every_length_come_back() {
    for value in [0, 1, 239, 240, 241, 2287, 2288, 60_000, 0x8_0001, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        let mut out = Vec::new();
        number::put(&mut out, value);
        assert_eq!(number::take(&mut &*out), Ok(Some(value)), "{out:02x?}");
        for length in 0..out.len() {
            assert_eq!(number::take(&mut &out[..length]), Ok(None));
        }
    }
    assert_eq!(number::take(&mut &[0xff; 30][..]), Err(Malformed::Number));
}

#[test]
fn control_messages_are_two_bytes() {
    let input = bytes("0000 0001 0002 0003 0004 0100 0005");
    use Message::*;
    let expected =
        [ResyncRequest, ResyncFinished, ResyncPartial, ResyncConfirm, Heartbeat, Error, Unknown].map(|message| message);
    assert_eq!(read(&input), expected);
}

#[test]
fn entries_with_time_and_without_number() {
    let input = bytes(
        &[DEFINITION, "0a85 10 80000001 00001000 7f000001 02 02 01 00", "0a86 0a 00000010 7f000002 00 00"].concat(),
    );
    let messages = read(&input);
    // The name is empty but there.
    let expected = Update {
        id: 0x8000_0001,
        left: Some(0x1000),
        key: Key::Address([127, 0, 0, 1].into()),
        server_id: Some(2),
        server: None,
    };
    assert!(
        matches!(&messages[1], Message::Update(update) if *update == Update { server: update.server.clone(), ..expected }),
        "{messages:?}"
    );
    let Message::Update(next) = &messages[2] else { panic!("{messages:?}") };
    assert_eq!((next.id, next.left, next.server_id, next.server.as_deref()), (0x8000_0002, Some(16), Some(0), None));
}

#[test]
fn every_type_of_key_comes_back() {
    let cases = [
        (KeyType::Integer, Key::Integer(77)),
        (KeyType::Ipv6, Key::Address("2001:db8::1".parse().unwrap())),
        (KeyType::Ipv6, Key::Address([192, 0, 2, 1].into())),
        (KeyType::Text(31), Key::Bytes(b"www.example.org".as_slice().into())),
        (KeyType::Binary(4), Key::Bytes([1, 2, 3, 4].into())),
    ];
    for (kind, key) in cases {
        let definition = Definition::of_servers(300, "t", kind, 0);
        let update = Update { key, ..entry() };
        let messages = [Message::Define(Arc::new(definition)), Message::Update(update)];
        let mut out = Vec::new();
        let mut writer = Writer::default();
        messages.iter().for_each(|message| writer.put(&mut out, message));
        assert_eq!(read(&out), messages);
    }
}

#[test]
fn counters_beside_the_server_are_passed_over() {
    // server id, gpc0, conn_rate over 10 s, server name, three gpt.
    let data = 1 | 1 << 2 | 1 << 5 | 1 << 19 | 1 << 22;
    let mut content = vec![1, 1, b't', 4, 4];
    number::put(&mut content, data);
    number::put(&mut content, 0);
    number::put(&mut content, 10_000);
    content.push(3);
    let define = [&[10, 0x82, content.len() as u8], &*content].concat();
    let update = bytes("0a80 14 00000005 7f000001 03 07 010203 04 01 02 6432 0a0b0c");
    let update = [&update[..2], &[(update.len() - 3) as u8], &update[3..]].concat();
    let messages = read(&[define, update].concat());
    let Message::Update(update) = &messages[1] else { panic!("{messages:?}") };
    assert_eq!((update.id, update.server_id, update.server.as_deref()), (5, Some(3), Some("d2")));
}

#[test]
fn names_are_said_once_and_the_least_recently_used_number_is_given_away() {
    let mut writer = Writer::default();
    let mut reader = Reader::default();
    let mut out = Vec::new();
    writer.put(&mut out, &Message::Define(definition()));
    let mut lengths = Vec::new();
    let order: Vec<u32> = (0..130).chain([1, 129, 0]).collect();
    for n in &order {
        let before = out.len();
        let server: Arc<str> = format!("server-{n:03}").into();
        writer.put(&mut out, &Message::Update(Update { server: Some(server), ..entry() }));
        lengths.push(out.len() - before);
    }
    let mut input = &*out;
    let mut heard = Vec::new();
    while let Some(message) = reader.next(&mut input).unwrap() {
        if let Message::Update(update) = message {
            heard.push(update.server.unwrap().to_string());
        }
    }
    let said: Vec<_> = order.iter().map(|n| format!("server-{n:03}")).collect();
    assert_eq!(heard, said);
    // 0 and 1 were forgotten for 128 and 129: the latter is known, both others are said again.
    assert!(lengths[131] < lengths[130] && lengths[132] == lengths[130], "{:?}", &lengths[128..]);
}

#[test]
fn a_message_in_pieces_is_the_same_message() {
    let input = bytes(&[DEFINITION, ENTRY, "0004"].concat());
    let whole = read(&input);
    let (mut reader, mut buffer, mut heard) = (Reader::default(), Vec::new(), Vec::new());
    for byte in input {
        buffer.push(byte);
        let mut rest = &*buffer;
        while let Some(message) = reader.next(&mut rest).unwrap() {
            heard.push(message);
        }
        buffer = rest.to_vec();
    }
    assert_eq!(heard, whole);
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    for (input, error) in [
        ("0a80 fffffffffffffffffffff0", Malformed::Number),
        ("0a80 ff ff ff ff 0f", Malformed::TooLong),
        ("0a82 02 01 06", Malformed::Content),
        ("0a84 01 01", Malformed::Content),
    ] {
        assert_eq!(Reader::default().next(&mut &*bytes(input)), Err(error), "{input}");
    }
    let numbered = bytes(&[DEFINITION, "0a80 0b 00000000 7f000001 01 01 00"].concat());
    let mut input = &*numbered;
    let mut reader = Reader::default();
    assert!(reader.next(&mut input).is_ok());
    assert_eq!(reader.next(&mut input), Err(Malformed::Number), "names are numbered from 1 on");
    assert_eq!(read(&bytes("0a80 02 0000")[..0]), []);
    let mut reader = Reader::default();
    for id in 0..=MOST_TABLES as u64 {
        let mut out = Vec::new();
        let definition = Definition { id, ..Definition::of_servers(1, "t", KeyType::Ipv4, 0) };
        Writer::default().put(&mut out, &Message::Define(Arc::new(definition)));
        assert_eq!(reader.next(&mut &*out).is_err(), id == MOST_TABLES as u64);
    }
}

#[test]
fn greetings() {
    let hello = Hello { version: (2, 1), to: "b".into(), from: "a".into() };
    let sent = hello.encode(77);
    assert_eq!(sent, b"HAProxyS 2.1\nb\na 77 1\n");
    assert_eq!(Hello::decode(&sent), Ok(Some((hello, sent.len()))));
    for length in 0..sent.len() {
        assert_eq!(Hello::decode(&sent[..length]), Ok(None), "{length}");
    }
    for bad in ["GET / HTTP/1.0\n", "HAProxyS x\nb\na 1 1\n", "HAProxyS 2.1\n\na 1 1\n"] {
        assert_eq!(Hello::decode(bad.as_bytes()), Err(Malformed::Greeting), "{bad:?}");
    }
    assert_eq!(Hello::decode(&[b"HAProxyS ".as_slice(), &[b'x'; 2000]].concat()), Err(Malformed::Greeting));
    assert_eq!(Status::decode(b"200\nrest"), Ok(Some((Status::Welcome, 4))));
    assert_eq!(Status::decode(b"20"), Ok(None));
    assert_eq!(Status::decode(b"999\n"), Ok(Some((Status::Other(999), 4))));
    assert_eq!(Status::decode(b"hello\n"), Err(Malformed::Greeting));
    assert_eq!(Status::Stranger.encode(), b"504\n");
}
