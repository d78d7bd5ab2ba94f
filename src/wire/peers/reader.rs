//! What the other side says, in as many pieces as it comes in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{
    ACKNOWLEDGE, CLASS_CONTROL, CLASS_ERROR, CLASS_TABLE, DEFINE, DICTIONARY, Definition, FORMATS, Format, HEARTBEAT,
    LONGEST, MOST_TABLES, Malformed, Message, RESYNC_CONFIRM, RESYNC_FINISHED, RESYNC_PARTIAL, RESYNC_REQUEST,
    SERVER_ID, SWITCH, TIMED, TIMED_NEXT, UPDATE, UPDATE_NEXT, Update, number,
};
use crate::model::{Key, KeyType};

/// One direction of a session, as it is heard.
#[derive(Debug)]
pub struct Reader {
    tables: HashMap<u64, Table>,
    current: Option<u64>,
    /// The last update, by which the next may be counted.
    last_update: u32,
    /// Names by number, from 1 on.
    names: Vec<Option<Arc<str>>>,
}

#[derive(Debug)]
struct Table {
    definition: Arc<Definition>,
    /// Numbers in each value of several (`gpt(10)`), by bit.
    counts: HashMap<u8, u64>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { tables: HashMap::new(), current: None, last_update: 0, names: vec![None; DICTIONARY + 1] }
    }
}

impl Reader {
    /// Takes one message from the beginning of `bytes`; none while it is not complete: then nothing is taken. After an
    /// error the session is of no use.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message>, Malformed> {
        let (class, kind, mut rest) = match **bytes {
            [class, kind, ref rest @ ..] => (class, kind, rest),
            _ => return Ok(None),
        };
        if kind < 0x80 {
            *bytes = rest;
            return Ok(Some(Self::short(class, kind)));
        }
        let Some(length) = number::take(&mut rest)? else { return Ok(None) };
        let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST).ok_or(Malformed::TooLong)?;
        let Some((content, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        *bytes = rest;
        if class != CLASS_TABLE {
            return Ok(Some(if class == CLASS_ERROR { Message::Error } else { Message::Unknown }));
        }
        self.table_message(kind, content).map(Some)
    }

    fn short(class: u8, kind: u8) -> Message {
        match (class, kind) {
            (CLASS_CONTROL, RESYNC_REQUEST) => Message::ResyncRequest,
            (CLASS_CONTROL, RESYNC_FINISHED) => Message::ResyncFinished,
            (CLASS_CONTROL, RESYNC_PARTIAL) => Message::ResyncPartial,
            (CLASS_CONTROL, RESYNC_CONFIRM) => Message::ResyncConfirm,
            (CLASS_CONTROL, HEARTBEAT) => Message::Heartbeat,
            (CLASS_ERROR, _) => Message::Error,
            _ => Message::Unknown,
        }
    }

    fn table_message(&mut self, kind: u8, mut content: &[u8]) -> Result<Message, Malformed> {
        match kind {
            DEFINE => self.define(&mut content),
            SWITCH => {
                let id = whole(&mut content)?;
                self.current = Some(id);
                Ok(Message::Switch(id))
            }
            ACKNOWLEDGE => {
                let table = whole(&mut content)?;
                Ok(Message::Acknowledge { table, update: u32::from_be_bytes(array(&mut content)?) })
            }
            UPDATE | UPDATE_NEXT | TIMED | TIMED_NEXT => self.update(kind, content),
            _ => Ok(Message::Unknown),
        }
    }

    fn define(&mut self, content: &mut &[u8]) -> Result<Message, Malformed> {
        let id = whole(content)?;
        let length = whole(content)?;
        let name = String::from_utf8_lossy(slice(content, length)?).into_owned();
        let (kind, key_length) = (whole(content)?, whole(content)?);
        let kind = key_type(kind, key_length);
        let (data, expire) = (whole(content)?, whole(content)?);
        let mut counts = HashMap::new();
        for (bit, format) in bits(data) {
            match format {
                Some(Format::Rate) => _ = whole(content)?,
                Some(Format::Numbers) => _ = counts.insert(bit, whole(content)?),
                Some(Format::Rates) => {
                    counts.insert(bit, whole(content)?);
                    let _period = whole(content)?;
                }
                Some(Format::Number | Format::Name) => {}
                // What comes after something unknown cannot be found.
                None => break,
            }
        }
        if self.tables.len() >= MOST_TABLES && !self.tables.contains_key(&id) {
            return Err(Malformed::TooMany);
        }
        let definition = Arc::new(Definition { id, name, kind, data, expire });
        self.tables.insert(id, Table { definition: Arc::clone(&definition), counts });
        self.current = Some(id);
        Ok(Message::Define(definition))
    }

    fn update(&mut self, kind: u8, mut content: &[u8]) -> Result<Message, Malformed> {
        let content = &mut content;
        let explicit = matches!(kind, UPDATE | TIMED);
        let id = if explicit { u32::from_be_bytes(array(content)?) } else { self.last_update.wrapping_add(1) };
        self.last_update = id;
        let timed = matches!(kind, TIMED | TIMED_NEXT);
        let left = if timed { Some(u32::from_be_bytes(array(content)?)) } else { None };
        let Some(table) = self.current.and_then(|id| self.tables.get(&id)) else { return Ok(Message::Unknown) };
        let Some(kind) = table.definition.kind else { return Ok(Message::Unknown) };
        let key = key(kind, content)?;
        let mut update = Update { id, left, key, server_id: None, server: None };
        for (bit, format) in bits(table.definition.data) {
            let count = table.counts.get(&bit).copied().unwrap_or(0);
            match format {
                Some(Format::Number) => {
                    let value = whole(content)?;
                    if bit == SERVER_ID {
                        update.server_id = u32::try_from(value).ok();
                    }
                }
                Some(Format::Rate) => skip(content, 3)?,
                Some(Format::Numbers) => skip(content, count)?,
                Some(Format::Rates) => skip(content, count.saturating_mul(3))?,
                Some(Format::Name) => update.server = Self::name(&mut self.names, content)?,
                None => break,
            }
        }
        Ok(Message::Update(update))
    }

    /// A name: by number, or with the number that it has from now on.
    fn name(names: &mut [Option<Arc<str>>], content: &mut &[u8]) -> Result<Option<Arc<str>>, Malformed> {
        let length = whole(content)?;
        let mut entry = slice(content, length)?;
        if entry.is_empty() {
            return Ok(None);
        }
        let number = whole(&mut entry)?;
        let known = usize::try_from(number).ok().filter(|number| *number > 0).and_then(|number| names.get_mut(number));
        let known = known.ok_or(Malformed::Number)?;
        if entry.is_empty() {
            return Ok(known.clone());
        }
        let length = whole(&mut entry)?;
        let name = std::str::from_utf8(slice(&mut entry, length)?).map_err(|_| Malformed::Content)?;
        *known = Some(name.into());
        Ok(known.clone())
    }
}

/// The bits that are set, with their formats.
fn bits(data: u64) -> impl Iterator<Item = (u8, Option<Format>)> {
    (0..64_u8).filter(move |bit| data >> bit & 1 == 1).map(|bit| (bit, FORMATS.get(usize::from(bit)).copied()))
}

fn key_type(kind: u64, length: u64) -> Option<KeyType> {
    let length = u16::try_from(length).ok()?;
    match kind {
        2 => Some(KeyType::Integer),
        4 => Some(KeyType::Ipv4),
        5 => Some(KeyType::Ipv6),
        // Room for the zero that ends it.
        6 => length.checked_sub(1).map(KeyType::Text),
        7 => Some(KeyType::Binary(length)),
        _ => None,
    }
}

fn key(kind: KeyType, content: &mut &[u8]) -> Result<Key, Malformed> {
    Ok(match kind {
        KeyType::Integer => Key::Integer(u32::from_be_bytes(array(content)?)),
        KeyType::Ipv4 => Key::Address(Ipv4Addr::from(array::<4>(content)?).into()),
        KeyType::Ipv6 => Key::from(IpAddr::from(Ipv6Addr::from(array::<16>(content)?))),
        KeyType::Text(_) => {
            let length = whole(content)?;
            Key::Bytes(slice(content, length)?.into())
        }
        KeyType::Binary(length) => Key::Bytes(slice(content, length.into())?.into()),
    })
}

/// A number that has to be there.
fn whole(content: &mut &[u8]) -> Result<u64, Malformed> {
    number::take(content)?.ok_or(Malformed::Content)
}

fn skip(content: &mut &[u8], numbers: u64) -> Result<(), Malformed> {
    // Each has a byte: the end of the content comes before the end of a number that is too large.
    (0..numbers).try_for_each(|_| whole(content).map(drop))
}

fn slice<'b>(content: &mut &'b [u8], length: u64) -> Result<&'b [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed::Content)?;
    let (taken, rest) = content.split_at_checked(length).ok_or(Malformed::Content)?;
    *content = rest;
    Ok(taken)
}

fn array<const N: usize>(content: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, rest) = content.split_first_chunk::<N>().ok_or(Malformed::Content)?;
    *content = rest;
    Ok(*taken)
}
