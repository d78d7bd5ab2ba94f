//! A login to PostgreSQL and one question (PostgreSQL's documentation, "Frontend/Backend Protocol").

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answers::postgres_field;
use super::connection::{self, Stream};
use super::matching::LONGEST_ANSWER;
use super::outcome::Verdict;
use crate::model::{CheckResult, DatabaseRole, PostgresLogin, postgres_startup};

const IN_RECOVERY: &str = "SELECT pg_is_in_recovery()";
/// More rounds than this would keep the thread of the checks busy; PostgreSQL's default is 4,096.
const MOST_ROUNDS: u32 = 100_000;

/// Logs in, asks whether the server is in recovery, and says goodbye.
pub(super) async fn log_in(stream: &mut Stream, login: &PostgresLogin) -> Result<Verdict, Verdict> {
    let parameters =
        [("user", login.user.as_str()), ("database", login.database.as_str()), ("application_name", "vipgate")];
    send(stream, &postgres_startup(&parameters)).await?;
    authenticate(stream, login).await?;
    send(stream, &message(b'Q', &[IN_RECOVERY.as_bytes(), b"\0"].concat())).await?;
    let mut role = None;
    loop {
        match receive(stream).await? {
            (b'D', row) => role = role_of(&row),
            (b'Z', _) => break,
            (b'E', fields) => return Err(refused(&fields)),
            _ => {}
        }
    }
    // It may have gone away by now, which is no fault.
    let _ = send(stream, &message(b'X', &[])).await;
    let Some(role) = role else { return Err(foreign("it does not say whether it is in recovery")) };
    let words = match role {
        DatabaseRole::Primary => "PostgreSQL server is primary",
        DatabaseRole::Replica => "PostgreSQL server is standby",
    };
    if login.role.is_some_and(|wanted| wanted != role) {
        return Err(Verdict::saying(CheckResult::L7Status, words));
    }
    Ok(Verdict::saying(CheckResult::L7Ok, words))
}

async fn authenticate(stream: &mut Stream, login: &PostgresLogin) -> Result<(), Verdict> {
    let password = || login.password.as_deref().ok_or_else(|| wrong("it wants a password, and none is configured"));
    let mut scram = None;
    loop {
        let (kind, body) = receive(stream).await?;
        match (kind, body.split_first_chunk::<4>().map(|(code, rest)| (u32::from_be_bytes(*code), rest))) {
            (b'E', _) => return Err(refused(&body)),
            (b'R', Some((0, _))) => {}
            (b'R', Some((3, _))) => {
                send(stream, &message(b'p', &[password()?.as_bytes(), b"\0"].concat())).await?;
            }
            (b'R', Some((10, mechanisms))) => {
                if !mechanisms.split(|byte| *byte == 0).any(|name| name == b"SCRAM-SHA-256") {
                    return Err(wrong("it offers no SCRAM-SHA-256"));
                }
                let first = scram.insert(Scram::new(password()?));
                send(stream, &message(b'p', &first.initial())).await?;
            }
            (b'R', Some((11, challenge))) => {
                let Some(scram) = &mut scram else { return Err(foreign("a challenge that was not asked for")) };
                let answer = scram.answer(challenge).ok_or_else(|| foreign("a challenge that is none"))?;
                send(stream, &message(b'p', answer.as_bytes())).await?;
            }
            // The server's signature: who is to be trusted is TLS's matter; here it is looked at because it is there.
            (b'R', Some((12, signature))) => {
                if !scram.as_ref().is_some_and(|scram| scram.verifies(signature)) {
                    return Err(wrong("it does not know the password it asked for"));
                }
            }
            (b'R', Some((code, _))) => {
                let cause = format!(
                    "it wants authentication method {code}; `trust`, `password` and `scram-sha-256` are spoken"
                );
                return Err(wrong(&cause));
            }
            (b'Z', _) => return Ok(()),
            // Its parameters, and the key for cancelling.
            (b'S' | b'K' | b'N' | b'v', _) => {}
            _ => return Err(foreign("PostgreSQL unknown error")),
        }
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), Verdict> {
    let sent = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| connection::broken(&error))
}

/// One message: its kind and its body.
async fn receive(stream: &mut Stream) -> Result<(u8, Vec<u8>), Verdict> {
    let received = async {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).wrapping_sub(4);
        if length > LONGEST_ANSWER {
            return Ok(None);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Some((kind, body)))
    };
    match received.await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(foreign("PostgreSQL unknown error")),
        Err(error) => Err(connection::broken(&error)),
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

/// A row of one column, `t` or `f`.
fn role_of(row: &[u8]) -> Option<DatabaseRole> {
    match row {
        [0, 1, 0, 0, 0, 1, b't'] => Some(DatabaseRole::Replica),
        [0, 1, 0, 0, 0, 1, b'f'] => Some(DatabaseRole::Primary),
        _ => None,
    }
}

fn refused(fields: &[u8]) -> Verdict {
    let field = |kind: u8| postgres_field(fields, kind).unwrap_or_default();
    let cause = format!("{}: {}", field(b'S'), field(b'M'));
    Verdict::saying(CheckResult::L7Status, cause)
}

fn wrong(cause: &str) -> Verdict {
    Verdict::saying(CheckResult::L7Status, cause)
}

fn foreign(cause: &str) -> Verdict {
    Verdict::saying(CheckResult::L7Response, cause)
}

/// The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding.
struct Scram {
    password: String,
    nonce: String,
    server_key: [u8; 32],
    signed: String,
}

impl Scram {
    fn new(password: &str) -> Self {
        // Enough to be different each time; it protects the server from replays, not us.
        use std::hash::BuildHasher as _;
        let random = std::hash::RandomState::new();
        let nonce = BASE64.encode(&[random.hash_one(1).to_be_bytes(), random.hash_one(2).to_be_bytes()].concat());
        Self { password: password.to_owned(), nonce, server_key: [0; 32], signed: String::new() }
    }

    fn first_bare(&self) -> String {
        // PostgreSQL takes the name from the startup message.
        format!("n=,r={}", self.nonce)
    }

    /// The body of SASLInitialResponse.
    fn initial(&self) -> Vec<u8> {
        let first = format!("n,,{}", self.first_bare());
        let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
        [b"SCRAM-SHA-256\0".as_slice(), &length, first.as_bytes()].concat()
    }

    /// What is answered to `r=...,s=...,i=...`.
    fn answer(&mut self, challenge: &[u8]) -> Option<String> {
        let challenge = std::str::from_utf8(challenge).ok()?;
        let field = |name: &str| challenge.split(',').find_map(|field| field.strip_prefix(name));
        let nonce = field("r=").filter(|nonce| nonce.starts_with(&self.nonce))?;
        let salt = BASE64.decode(field("s=")?.as_bytes()).ok()?;
        let rounds = field("i=")?.parse().ok().filter(|rounds| (1..=MOST_ROUNDS).contains(rounds))?;
        let salted = stretched(self.password.as_bytes(), &salt, rounds)?;
        let client_key = hmac(&salted, b"Client Key")?;
        self.server_key = hmac(&salted, b"Server Key")?;
        let without_proof = format!("c=biws,r={nonce}");
        self.signed = format!("{},{challenge},{without_proof}", self.first_bare());
        let signature = hmac(&Sha256::digest(client_key), self.signed.as_bytes())?;
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        Some(format!("{without_proof},p={}", BASE64.encode(&proof)))
    }

    /// Whether `v=...` is what only somebody can say who knows the password.
    fn verifies(&self, signature: &[u8]) -> bool {
        let wanted =
            hmac(&self.server_key, self.signed.as_bytes()).map(|wanted| format!("v={}", BASE64.encode(&wanted)));
        wanted.is_some_and(|wanted| wanted.as_bytes() == signature)
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().into())
}

/// PBKDF2 with HMAC-SHA-256, one block (RFC 8018).
fn stretched(password: &[u8], salt: &[u8], rounds: u32) -> Option<[u8; 32]> {
    let mut block = hmac(password, &[salt, &[0, 0, 0, 1]].concat())?;
    let mut result = block;
    for _ in 1..rounds {
        block = hmac(password, &block)?;
        result.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3, with its user name, which PostgreSQL leaves out.
    #[test]
    fn scram_is_the_rfcs() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = stretched(b"pencil", &salt, 4096).unwrap();
        let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let client_key = hmac(&salted, b"Client Key").unwrap();
        let signature = hmac(&Sha256::digest(client_key), signed.as_bytes()).unwrap();
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        assert_eq!(BASE64.encode(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let scram = Scram {
            password: String::new(),
            nonce: String::new(),
            server_key: hmac(&salted, b"Server Key").unwrap(),
            signed: signed.to_owned(),
        };
        assert!(scram.verifies(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!scram.verifies(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="));
    }
}
