//! HAProxy's peers protocol, versions 2.x: what nodes tell each other of their stick tables (HAProxy, doc/peers.txt).
//!
//! A session is a TCP connection: a [`Hello`] of who connected, a [`Status`] in return, then messages both ways until it
//! ends. Names of servers are said once and then by number ([`Dictionary`](writer) of 128), so that a direction of a
//! session is a [`Reader`] or a [`Writer`], which know what was said before. Both are bounded: no message is longer than
//! [`LONGEST`], no session defines more than [`MOST_TABLES`] tables.

mod hello;
mod number;
mod reader;
mod writer;

pub use hello::{Hello, Status};
pub use reader::Reader;
pub use writer::Writer;

use std::sync::Arc;

use crate::model::{Key, KeyType};

/// Longest message that is taken, in bytes. HAProxy writes none that does not fit its buffer of 16 KiB.
pub const LONGEST: usize = 64 * 1024;
/// Most tables that one side defines.
pub const MOST_TABLES: usize = 256;
/// Most servers that are known by number.
const DICTIONARY: usize = 128;

/// Bit of the data that a server's number is, by its place in the pool from 1 on.
const SERVER_ID: u8 = 0;
/// Bit of a server's name.
const SERVER_KEY: u8 = 19;

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Teach me all you know.
    ResyncRequest,
    /// That was all; I know all there is.
    ResyncFinished,
    /// That was all I know, which may not be all there is.
    ResyncPartial,
    /// Heard one of these two.
    ResyncConfirm,
    /// I am there.
    Heartbeat,
    /// Something that was said broke the protocol, or is too long: the session ends.
    Error,
    /// A table, which further messages mean by its number; updates are of this one from now on.
    Define(Arc<Definition>),
    /// Updates are of this table from now on.
    Switch(u64),
    /// Updates up to this one were heard.
    Acknowledge {
        /// The number that the hearer gave the table.
        table: u64,
        /// The update.
        update: u32,
    },
    /// An entry of the table that was defined or switched to last.
    Update(Update),
    /// Something that this version does not know, or an update of a table that was not understood.
    Unknown,
}

/// A table, as one side describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its number in this direction of the session.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What its keys are; none: of a type that is not known here.
    pub kind: Option<KeyType>,
    /// What is kept of each key, bit by bit.
    pub data: u64,
    /// Life of an entry in milliseconds; 0: it does not expire.
    pub expire: u64,
}

/// An entry, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its number; they grow, and wrap.
    pub id: u32,
    /// What is left of its life, in milliseconds; none: all of it.
    pub left: Option<u32>,
    /// The client.
    pub key: Key,
    /// The server's place in its pool, from 1 on; 0 or none: no server.
    pub server_id: Option<u32>,
    /// The server's name.
    pub server: Option<Arc<str>>,
}

impl Definition {
    /// A table of servers.
    #[must_use]
    pub fn of_servers(id: u64, name: &str, kind: KeyType, expire: u64) -> Self {
        Self { id, name: name.to_owned(), kind: Some(kind), data: 1 << SERVER_ID | 1 << SERVER_KEY, expire }
    }

    /// Whether it tells servers at all.
    #[must_use]
    pub fn tells_servers(&self) -> bool {
        self.data & (1 << SERVER_ID | 1 << SERVER_KEY) != 0
    }
}

/// Why bytes are not of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message that is longer than any.
    #[error("a message of more than {LONGEST} bytes")]
    TooLong,
    /// A number of more than 64 bits, or one out of its range.
    #[error("a number that is out of range")]
    Number,
    /// A message whose content is longer than it says, or is not what it should be.
    #[error("a message that cannot be read")]
    Content,
    /// More tables than a session may define.
    #[error("more than {MOST_TABLES} tables")]
    TooMany,
    /// A greeting that is none.
    #[error("no greeting of a peer")]
    Greeting,
}

/// How values of one kind of data are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A number.
    Number,
    /// A rate: three numbers; its period is part of the definition.
    Rate,
    /// A name by number.
    Name,
    /// So many numbers; how many is part of the definition.
    Numbers,
    /// So many rates.
    Rates,
}

/// The formats of bits 0 to 24.
const FORMATS: [Format; 25] = {
    use Format::{Name, Number, Numbers, Rate, Rates};
    [
        Number, Number, Number, Rate, Number, Rate, Number, Number, Rate, Number, Rate, Number, Rate, Number, Rate,
        Number, Rate, Number, Rate, Name, Number, Rate, Numbers, Numbers, Rates,
    ]
};

const CLASS_CONTROL: u8 = 0;
const CLASS_ERROR: u8 = 1;
const CLASS_TABLE: u8 = 10;

const RESYNC_REQUEST: u8 = 0;
const RESYNC_FINISHED: u8 = 1;
const RESYNC_PARTIAL: u8 = 2;
const RESYNC_CONFIRM: u8 = 3;
const HEARTBEAT: u8 = 4;

const UPDATE: u8 = 0x80;
const UPDATE_NEXT: u8 = 0x81;
const DEFINE: u8 = 0x82;
const SWITCH: u8 = 0x83;
const ACKNOWLEDGE: u8 = 0x84;
const TIMED: u8 = 0x85;
const TIMED_NEXT: u8 = 0x86;

#[cfg(test)]
mod tests;
