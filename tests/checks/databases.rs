use std::io::Write as _;
use std::net::TcpStream;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use vipgate::model::{CheckResult, Connect, Conversation, DatabaseRole, PostgresLogin};

use crate::support::{conversation, facts, first, hear, hear_until, listen, say};

const PRIMARY: &[u8] = b"*3\r\n$6\r\nmaster\r\n:42\r\n*0\r\n";
const REPLICA: &[u8] = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n$9\r\nconnected\r\n:42\r\n";

#[test]
fn redis_wants_its_password_and_has_a_role() {
    let ask = |password: &'static str, role: Option<DatabaseRole>, answer: &'static [u8]| {
        let address = listen(move |mut stream| {
            let auth = hear_until(&mut stream, b"$4\r\nAUTH\r\n$5\r\nvalid\r\n");
            if auth.is_none() {
                return;
            }
            let _ = stream.write_all(b"+OK\r\n");
            let wanted = if role.is_some() { b"$4\r\nROLE\r\n" } else { b"$4\r\nPING\r\n" };
            if hear_until(&mut stream, wanted).is_some() {
                say(stream, answer);
            }
        });
        let check = Conversation::redis(Connect::default(), None, Some(password), role);
        let check = vipgate::model::Check {
            timeout: std::time::Duration::from_millis(if password == "valid" { 5000 } else { 500 }),
            ..conversation(address, check)
        };
        first(check).last_check.unwrap().result
    };
    assert_eq!(ask("valid", None, b"+PONG\r\n"), CheckResult::L7Ok);
    assert_eq!(ask("wrong", None, b"+PONG\r\n"), CheckResult::L7Timeout);
    assert_eq!(ask("valid", Some(DatabaseRole::Primary), PRIMARY), CheckResult::L7Ok);
    assert_eq!(ask("valid", Some(DatabaseRole::Primary), REPLICA), CheckResult::L7Status);
    assert_eq!(ask("valid", Some(DatabaseRole::Replica), REPLICA), CheckResult::L7Ok);
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], (u32::try_from(body.len()).unwrap() + 4).to_be_bytes().as_slice(), body].concat()
}

fn receive(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let head = hear(stream, 5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    Some((head[0], hear(stream, length as usize - 4)?))
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The server's side of SCRAM-SHA-256 (RFC 5802); the password is `pencil`.
fn scram(stream: &mut TcpStream) -> Option<()> {
    stream.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).ok()?;
    let (_, initial) = receive(stream)?;
    let initial = String::from_utf8(initial).ok()?;
    let bare = &initial[initial.find("n=,r=")?..];
    let nonce = format!("{}server", bare.strip_prefix("n=,r=")?);
    let challenge = format!("r={nonce},s={},i=4096", BASE64.encode(b"salt"));
    stream.write_all(&message(b'R', &[b"\0\0\0\x0b", challenge.as_bytes()].concat())).ok()?;
    let (_, answer) = receive(stream)?;
    let answer = String::from_utf8(answer).ok()?;
    let (without_proof, proof) = answer.split_once(",p=")?;
    let mut block = mac(b"pencil", b"salt\0\0\0\x01");
    let mut salted = block;
    for _ in 1..4096 {
        block = mac(b"pencil", &block);
        salted.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    let signed = format!("{bare},{challenge},{without_proof}");
    let client_key = mac(&salted, b"Client Key");
    let signature = mac(&Sha256::digest(client_key), signed.as_bytes());
    let wanted: Vec<u8> = client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
    if BASE64.decode(proof.as_bytes()).ok()? != wanted {
        let refusal = b"SFATAL\0C28P01\0Mpassword authentication failed for user \"check\"\0\0";
        stream.write_all(&message(b'E', refusal)).ok()?;
        return None;
    }
    let signature = BASE64.encode(&mac(&mac(&salted, b"Server Key"), signed.as_bytes()));
    stream.write_all(&message(b'R', format!("\0\0\0\x0cv={signature}").as_bytes())).ok()
}

/// A PostgreSQL server that is in recovery or not; it wants a password or not.
fn postgres(mut stream: TcpStream, password: bool, recovery: bool) -> Option<()> {
    let length = hear(&mut stream, 4)?;
    let startup = hear(&mut stream, u32::from_be_bytes(length.try_into().ok()?) as usize - 4)?;
    assert!(startup.starts_with(b"\0\x03\0\0user\0check\0database\0check\0"), "{startup:?}");
    if password {
        scram(&mut stream)?;
    }
    let ready = [message(b'R', &[0; 4]), message(b'S', b"server_version\x0015\0"), message(b'Z', b"I")].concat();
    stream.write_all(&ready).ok()?;
    let (kind, question) = receive(&mut stream)?;
    assert_eq!((kind, question.as_slice()), (b'Q', b"SELECT pg_is_in_recovery()\0".as_slice()));
    let row = [b"\0\x01\0\0\0\x01".as_slice(), if recovery { b"t" } else { b"f" }].concat();
    let answer =
        [message(b'T', b"\0\0"), message(b'D', &row), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    stream.write_all(&answer).ok()?;
    hear(&mut stream, 5).map(drop)
}

#[test]
fn postgres_lets_in_and_has_a_role() {
    use DatabaseRole::{Primary, Replica};
    let ask = |password: Option<&str>, role: Option<DatabaseRole>, wants: bool, recovery: bool| {
        let address = listen(move |stream| {
            let _ = postgres(stream, wants, recovery);
        });
        let password = password.map(str::to_owned);
        let login = PostgresLogin { user: "check".to_owned(), password, database: "check".to_owned(), role };
        let status = first(conversation(address, Conversation::postgres(Connect::default(), login)));
        let (result, _, info) = facts(&status);
        (result, info.to_owned())
    };
    let primary = "PostgreSQL server is primary".to_owned();
    assert_eq!(ask(None, None, false, false), (CheckResult::L7Ok, primary.clone()));
    assert_eq!(ask(Some("pencil"), Some(Primary), true, false), (CheckResult::L7Ok, primary.clone()));
    assert_eq!(ask(Some("pencil"), Some(Replica), true, false), (CheckResult::L7Status, primary));
    assert_eq!(ask(Some("pencil"), Some(Replica), true, true).0, CheckResult::L7Ok);
    let (result, cause) = ask(Some("wrong"), None, true, false);
    assert_eq!(
        (result, cause.as_str()),
        (CheckResult::L7Status, "FATAL: password authentication failed for user \"check\"")
    );
    assert!(ask(None, None, true, false).1.contains("none is configured"));
}
