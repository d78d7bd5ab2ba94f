//! The first message of a TLS client (RFC 8446 section 4.1.2, RFC 6066 section 3), as far as a front node needs it,
//! read from what the client has sent so far, however that is cut into segments and records.

use std::borrow::Cow;

use super::{HANDSHAKE, LONGEST_RECORD, MESSAGE_HEADER, RECORD_HEADER, Reader, is_grease};
use super::{PRE_SHARED_KEY, SESSION_TICKET, SUPPORTED_VERSIONS, TLS13};
use crate::model::Opening;

/// A longer client hello is taken for none. Post-quantum key shares make hellos of 2 to 6 KiB.
pub const LONGEST: usize = 16 * 1024;

/// Handshake type of a client hello.
const CLIENT_HELLO: u8 = 1;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// A hello inside the hello, which only the server can read (RFC 9849).
const ENCRYPTED_HELLO: u16 = 0xfe0d;

/// Tickets of TLS 1.3 that are looked at: clients send one, or two.
const MOST_IDENTITIES: usize = 8;

/// What the first bytes of a client are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The beginning of a client hello: ask again with more.
    Part,
    /// A client hello.
    Hello(ClientHello),
    /// Something else, or a hello that is broken; more bytes change nothing.
    Other,
}

/// A client hello.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The version in its header, such as 0x0303 for TLS 1.2 and later.
    pub version: u16,
    /// The newest of the versions it offers in an extension, GREASE left out; none before TLS 1.3.
    pub newest_offered: Option<u16>,
    /// TLS 1.3 is among those: a session id says nothing there.
    pub offers_tls13: bool,
    /// The session id, if it sends one.
    pub session_id: Option<Opening>,
    /// The name of the server it wants, as sent.
    pub server_name: Option<String>,
    /// The protocols it offers, in its order, GREASE left out.
    pub protocols: Vec<Vec<u8>>,
    /// Its ticket of TLS 1.2 (RFC 5077).
    pub ticket: Option<Opening>,
    /// Its tickets of TLS 1.3, the identities of pre-shared keys; the first eight.
    pub identities: Vec<Opening>,
    /// It may be the outer one of two hellos, with identities that mean nothing; many clients only pretend that
    /// (GREASE), so that theirs do.
    pub encrypted: bool,
}

/// What the bytes that a client has sent so far are. Takes time in proportion to the number of records while the hello
/// is not complete, and reads it once it is.
#[must_use]
pub fn hear(bytes: &[u8]) -> Heard {
    match message(bytes) {
        Ok(Some(message)) => ClientHello::parse(&message).map_or(Heard::Other, Heard::Hello),
        Ok(None) => Heard::Part,
        Err(NotHello) => Heard::Other,
    }
}

struct NotHello;

/// The first handshake message without its header, put together from its records; none while it is not complete.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, NotHello> {
    // Nearly always one record holds it.
    if let Some((fragment, ..)) = record(bytes)?
        && let Some(length) = message_length(&[fragment])
        && let Some(whole) = fragment.get(MESSAGE_HEADER..length? + MESSAGE_HEADER)
    {
        return Ok(Some(whole.into()));
    }
    let mut fragments: Vec<&[u8]> = Vec::new();
    let mut have = 0;
    let mut rest = bytes;
    loop {
        let wanted = match message_length(&fragments) {
            Some(length) => length? + MESSAGE_HEADER,
            None => usize::MAX,
        };
        if have >= wanted {
            return Ok(fragments.concat().get(MESSAGE_HEADER..wanted).map(|message| message.to_vec().into()));
        }
        let (fragment, complete, after) = match record(rest)? {
            Some(record) => record,
            None => return Ok(None),
        };
        have += fragment.len();
        fragments.push(fragment);
        rest = after;
        if !complete {
            // Its header may be there already, and tell that it is none.
            let length = message_length(&fragments).transpose()?;
            if length.is_none_or(|length| have < length + MESSAGE_HEADER) {
                return Ok(None);
            }
        }
    }
}

/// What a handshake record holds so far, whether that is all of it, and what follows it. None: it has not begun.
type Record<'a> = (&'a [u8], bool, &'a [u8]);

fn record(bytes: &[u8]) -> Result<Option<Record<'_>>, NotHello> {
    // What is there of the header has to be right: what is not TLS is not waited for.
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
        return Err(NotHello);
    }
    let Some(([_, _, _, high, low], rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > LONGEST_RECORD {
        return Err(NotHello);
    }
    Ok(Some(match rest.split_at_checked(length) {
        Some((fragment, after)) => (fragment, true, after),
        None => (rest, false, &[]),
    }))
}

/// The length in the header of a client hello, once that is there.
fn message_length(fragments: &[&[u8]]) -> Option<Result<usize, NotHello>> {
    let mut bytes = fragments.iter().copied().flatten();
    match bytes.next() {
        None => return None,
        Some(&CLIENT_HELLO) => {}
        Some(_) => return Some(Err(NotHello)),
    }
    let length =
        [bytes.next()?, bytes.next()?, bytes.next()?].into_iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Some(if length > LONGEST { Err(NotHello) } else { Ok(length) })
}

impl ClientHello {
    fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let version = reader.number()?;
        let _random = reader.take(32)?;
        let session_id = reader.vector8()?;
        let _ciphers = reader.vector16()?;
        let _compressions = reader.vector8()?;
        let mut hello = Self { version, session_id: Opening::of(session_id), ..Self::default() };
        if session_id.len() > 32 {
            return None;
        }
        // Clients before extensions end here.
        if reader.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = Reader(reader.vector16()?);
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let mut content = Reader(extensions.vector16()?);
            match kind {
                SERVER_NAME => hello.server_name = server_name(&mut content)?,
                ALPN => hello.protocols = protocols(&mut content)?,
                SUPPORTED_VERSIONS => {
                    for version in versions(&mut content)? {
                        hello.newest_offered = hello.newest_offered.max(Some(version));
                        hello.offers_tls13 |= version == TLS13;
                    }
                }
                // An empty one asks for a ticket.
                SESSION_TICKET => hello.ticket = Opening::of(content.0),
                PRE_SHARED_KEY => hello.identities = identities(&mut content)?,
                ENCRYPTED_HELLO => hello.encrypted = content.0.first() == Some(&0),
                _ => {}
            }
        }
        Some(hello)
    }

    /// The newest version it offers, such as 0x0304 for TLS 1.3.
    #[must_use]
    pub fn newest_version(&self) -> u16 {
        self.newest_offered.unwrap_or(self.version)
    }
}

/// The host name in the list; other kinds of names are passed over, none has ever been defined.
fn server_name(content: &mut Reader<'_>) -> Option<Option<String>> {
    let mut names = Reader(content.vector16()?);
    while !names.0.is_empty() {
        let kind = names.number8()?;
        let name = names.vector16()?;
        if kind == 0 && !name.is_empty() {
            // A DNS name in ASCII (RFC 6066): what else is in it could not be a host here.
            let plain = name.len() <= 255 && name.iter().all(u8::is_ascii_graphic);
            return Some(String::from_utf8(name.to_vec()).ok().filter(|_| plain));
        }
    }
    Some(None)
}

fn protocols(content: &mut Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = Reader(content.vector16()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?;
        let grease = <[u8; 2]>::try_from(name).is_ok_and(|bytes| is_grease(u16::from_be_bytes(bytes)));
        if !grease {
            protocols.push(name.to_vec());
        }
    }
    Some(protocols)
}

fn identities(content: &mut Reader<'_>) -> Option<Vec<Opening>> {
    let mut list = Reader(content.vector16()?);
    let mut identities = Vec::new();
    while !list.0.is_empty() {
        let identity = list.vector16()?;
        let _age = list.take(4)?;
        if identities.len() < MOST_IDENTITIES {
            // None is empty (RFC 8446 section 4.2.11).
            identities.push(Opening::of(identity)?);
        }
    }
    Some(identities)
}

/// The versions in the list, GREASE left out.
fn versions<'a>(content: &mut Reader<'a>) -> Option<impl Iterator<Item = u16> + 'a> {
    let (list, []) = content.vector8()?.as_chunks() else { return None };
    Some(list.iter().map(|bytes| u16::from_be_bytes(*bytes)).filter(|version| !is_grease(*version)))
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
mod tests;
