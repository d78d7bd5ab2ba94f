//! What is said to the other side.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{
    ACKNOWLEDGE, CLASS_CONTROL, CLASS_ERROR, CLASS_TABLE, DEFINE, DICTIONARY, Definition, HEARTBEAT, Message,
    RESYNC_CONFIRM, RESYNC_FINISHED, RESYNC_PARTIAL, RESYNC_REQUEST, SERVER_ID, SERVER_KEY, SWITCH, TIMED, UPDATE,
    Update, number,
};
use crate::model::{Key, KeyType};

/// One direction of a session, as it is written. Updates always carry their number.
#[derive(Debug, Default)]
pub struct Writer {
    current: Option<Arc<Definition>>,
    names: Dictionary,
}

/// Names that the other side knows by number, the least recently used to be forgotten first.
#[derive(Debug, Default)]
struct Dictionary {
    numbers: HashMap<Arc<str>, (u64, u64)>,
    uses: u64,
}

impl Writer {
    /// Appends a message. One that means nothing to the other side is left out: an update before any table, of a key that
    /// its table cannot have.
    pub fn put(&mut self, out: &mut Vec<u8>, message: &Message) {
        match message {
            Message::ResyncRequest => out.extend([CLASS_CONTROL, RESYNC_REQUEST]),
            Message::ResyncFinished => out.extend([CLASS_CONTROL, RESYNC_FINISHED]),
            Message::ResyncPartial => out.extend([CLASS_CONTROL, RESYNC_PARTIAL]),
            Message::ResyncConfirm => out.extend([CLASS_CONTROL, RESYNC_CONFIRM]),
            Message::Heartbeat => out.extend([CLASS_CONTROL, HEARTBEAT]),
            Message::Error => out.extend([CLASS_ERROR, 0]),
            Message::Define(definition) => self.define(out, definition),
            Message::Switch(id) => put(out, SWITCH, |content| number::put(content, *id)),
            Message::Acknowledge { table, update } => put(out, ACKNOWLEDGE, |content| {
                number::put(content, *table);
                content.extend(update.to_be_bytes());
            }),
            Message::Update(update) => self.update(out, update),
            Message::Unknown => {}
        }
    }

    fn define(&mut self, out: &mut Vec<u8>, definition: &Arc<Definition>) {
        let Some(kind) = definition.kind else { return };
        let (kind, length) = match kind {
            KeyType::Integer => (2, 4),
            KeyType::Ipv4 => (4, 4),
            KeyType::Ipv6 => (5, 16),
            KeyType::Text(length) => (6, u64::from(length) + 1),
            KeyType::Binary(length) => (7, u64::from(length)),
        };
        put(out, DEFINE, |content| {
            number::put(content, definition.id);
            number::put(content, definition.name.len() as u64);
            content.extend(definition.name.bytes());
            for value in [kind, length, definition.data, definition.expire] {
                number::put(content, value);
            }
        });
        self.current = Some(Arc::clone(definition));
    }

    fn update(&mut self, out: &mut Vec<u8>, update: &Update) {
        let Some(definition) = &self.current else { return };
        let (Some(kind), data) = (definition.kind, definition.data) else { return };
        let mut key = Vec::with_capacity(20);
        match (kind, &update.key) {
            (KeyType::Integer, Key::Integer(value)) => key.extend(value.to_be_bytes()),
            (KeyType::Ipv4, Key::Address(IpAddr::V4(address))) => key.extend(address.octets()),
            (KeyType::Ipv6, Key::Address(IpAddr::V4(address))) => key.extend(address.to_ipv6_mapped().octets()),
            (KeyType::Ipv6, Key::Address(IpAddr::V6(address))) => key.extend(address.octets()),
            (KeyType::Text(most), Key::Bytes(bytes)) if bytes.len() <= usize::from(most) => {
                number::put(&mut key, bytes.len() as u64);
                key.extend(bytes.iter());
            }
            (KeyType::Binary(length), Key::Bytes(bytes)) if bytes.len() == usize::from(length) => {
                key.extend(bytes.iter());
            }
            _ => return,
        }
        put(out, if update.left.is_some() { TIMED } else { UPDATE }, |content| {
            content.extend(update.id.to_be_bytes());
            content.extend(update.left.iter().flat_map(|left| left.to_be_bytes()));
            content.extend(key);
            if data >> SERVER_ID & 1 == 1 {
                number::put(content, update.server_id.unwrap_or(0).into());
            }
            if data >> SERVER_KEY & 1 == 1 {
                self.names.put(content, update.server.as_ref());
            }
        });
    }
}

impl Dictionary {
    fn put(&mut self, out: &mut Vec<u8>, name: Option<&Arc<str>>) {
        let Some(name) = name else { return out.push(0) };
        self.uses += 1;
        let mut entry = Vec::new();
        if let Some((known, used)) = self.numbers.get_mut(name) {
            *used = self.uses;
            number::put(&mut entry, *known);
        } else {
            let new = self.numbers.len() as u64 + 1;
            let oldest = self.numbers.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| Arc::clone(name));
            let full = self.numbers.len() >= DICTIONARY;
            let freed = oldest.filter(|_| full).and_then(|oldest| self.numbers.remove(&oldest));
            let new = freed.map_or(new, |(freed, _)| freed);
            self.numbers.insert(Arc::clone(name), (new, self.uses));
            number::put(&mut entry, new);
            number::put(&mut entry, name.len() as u64);
            entry.extend(name.bytes());
        }
        number::put(out, entry.len() as u64);
        out.extend(entry);
    }
}

/// Appends a message with content.
fn put(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::with_capacity(64);
    write(&mut content);
    out.extend([CLASS_TABLE, kind]);
    number::put(out, content.len() as u64);
    out.append(&mut content);
}
