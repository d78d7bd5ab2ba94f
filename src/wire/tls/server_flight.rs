//! What a server says at the beginning of a TLS connection, read while it passes by: its hello, or two after a
//! HelloRetryRequest, and with TLS 1.2 the ticket it issues and whether it resumes the session.

use super::{Gathered, HANDSHAKE, LONGEST_RECORD, MESSAGE_HEADER, RECORD_HEADER, Reader};
use super::{PRE_SHARED_KEY, SESSION_TICKET, SUPPORTED_VERSIONS, TLS13};
use crate::model::Opening;

/// No more than this is followed: long chains of certificates are shorter.
const MOST_FOLLOWED: usize = 64 * 1024;
/// A longer hello of a server is none. With a post-quantum key share it has 1.3 KiB.
const LONGEST_HELLO: usize = 4096;
/// What is kept of a NewSessionTicket: lifetime, length and opening.
const TICKET_KEPT: usize = 4 + 2 + Opening::LONGEST;
/// Encrypted records are longer than plain ones, by this much at most (RFC 5246 section 6.2.3).
const EXPANSION: usize = 2048;

const CHANGE_CIPHER_SPEC: u8 = 20;
const SERVER_HELLO: u8 = 2;
const NEW_SESSION_TICKET: u8 = 4;

/// The random of a hello that asks the client for another one (RFC 8446 section 4.1.3): SHA-256 of "HelloRetryRequest".
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a server has said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// It speaks TLS 1.3; else an older version.
    pub tls13: bool,
    /// It asked for another client hello first.
    pub retried: bool,
    /// The session id of its hello, if there is one.
    pub session_id: Option<Opening>,
    /// TLS 1.3: the place of the ticket it accepts among those of the client.
    pub selected: Option<u16>,
    /// Before TLS 1.3: it resumes a session, and sends no certificate.
    pub resumed: bool,
    /// The ticket that it issues in the clear, before TLS 1.3.
    pub ticket: Option<Opening>,
}

/// A server that is listened to until all that can be known is, or it says something else. Keeps a few bytes beside its
/// hello, however the rest is cut.
#[derive(Debug, Default)]
pub struct Flight {
    stage: Stage,
    seen: usize,
    /// Of the record that is under way: its header, as far as it is there, and what is left of its content.
    header: Gathered<RECORD_HEADER>,
    left: usize,
    /// Of the handshake message that is under way: its header, what is kept of it if it did not come in one piece, and
    /// what is left of it.
    head: Gathered<MESSAGE_HEADER>,
    body: Vec<u8>,
    skipped: usize,
    said: Said,
    tickets: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Its hello is awaited.
    #[default]
    Hello,
    /// What follows its hello tells whether a session is resumed.
    After,
    /// It makes a new session, and will issue a ticket.
    Ticket,
    /// All is known.
    Complete,
    /// It said something that is no hello.
    Foreign,
}

impl Flight {
    /// Takes what the server said next.
    pub fn hear(&mut self, mut bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len());
        while !self.is_over() && !bytes.is_empty() {
            bytes = if self.left == 0 { self.take_header(bytes) } else { self.take_content(bytes) };
        }
        if self.seen > MOST_FOLLOWED && !self.is_over() {
            self.finish();
        }
    }

    /// Whether nothing more is to be heard.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Complete | Stage::Foreign)
    }

    /// What was said, once its hello has come.
    #[must_use]
    pub fn into_said(self) -> Option<Said> {
        matches!(self.stage, Stage::Complete | Stage::Ticket).then_some(self.said)
    }

    /// No more will be heard: what is not known by now will not be.
    fn finish(&mut self) {
        self.stage = match self.stage {
            Stage::Ticket | Stage::Complete => Stage::Complete,
            Stage::Hello | Stage::After | Stage::Foreign => Stage::Foreign,
        };
    }

    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let rest = self.header.take(bytes);
        if let Some(&[kind, major, _, high, low]) = self.header.whole() {
            self.left = usize::from(u16::from_be_bytes([high, low]));
            if major != 3 || self.left == 0 || self.left > LONGEST_RECORD + EXPANSION {
                self.finish();
            } else if kind == CHANGE_CIPHER_SPEC {
                self.on_cipher_change();
            } else if kind != HANDSHAKE {
                self.finish();
            }
        }
        rest
    }

    /// From here on all is encrypted. After a request for another hello it only looks as if (RFC 8446 appendix D.4).
    fn on_cipher_change(&mut self) {
        match self.stage {
            Stage::Hello if self.said.retried => {}
            Stage::After => {
                self.said.resumed = true;
                self.stage = Stage::Complete;
            }
            Stage::Hello | Stage::Ticket | Stage::Complete | Stage::Foreign => self.finish(),
        }
    }

    fn take_content<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (mut content, rest) = bytes.split_at(bytes.len().min(self.left));
        self.left -= content.len();
        if self.header.whole().is_some_and(|[kind, ..]| *kind == HANDSHAKE) {
            while !self.is_over() && !content.is_empty() {
                content = self.take_message(content);
            }
        }
        if self.left == 0 {
            self.header.clear();
        }
        rest
    }

    /// Takes a part of a message, and looks at it once it is complete.
    fn take_message<'a>(&mut self, content: &'a [u8]) -> &'a [u8] {
        if self.skipped > 0 {
            let (skipped, rest) = content.split_at(content.len().min(self.skipped));
            self.skipped -= skipped.len();
            return rest;
        }
        let Some((kind, length)) = self.message_header() else {
            let rest = self.head.take(content);
            // One without content is complete.
            if let Some((kind, length)) = self.message_header() {
                self.begin_message(kind, length);
            }
            return rest;
        };
        let wanted = if kind == SERVER_HELLO { length } else { length.min(TICKET_KEPT) };
        let (part, rest) = content.split_at(content.len().min(wanted - self.body.len()));
        if part.len() == wanted {
            // Nearly always it comes in one piece.
            self.end_message(kind, part, length);
        } else {
            self.body.extend_from_slice(part);
            if self.body.len() == wanted {
                let body = std::mem::take(&mut self.body);
                self.end_message(kind, &body, length);
            }
        }
        rest
    }

    fn message_header(&self) -> Option<(u8, usize)> {
        let &[kind, high, middle, low] = self.head.whole()?;
        Some((kind, usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)))
    }

    /// The kind of a message tells much already, and most are of no further interest.
    fn begin_message(&mut self, kind: u8, length: usize) {
        match (self.stage, kind) {
            (Stage::Hello, SERVER_HELLO) if length <= LONGEST_HELLO => {}
            (Stage::Hello, _) => self.finish(),
            (Stage::After | Stage::Ticket, NEW_SESSION_TICKET) if length > 0 => {
                self.said.resumed = self.stage == Stage::After;
            }
            (Stage::After, _) if !self.tickets => self.stage = Stage::Complete,
            (_, _) => {
                if self.stage == Stage::After {
                    self.stage = Stage::Ticket;
                }
                self.head.clear();
                self.skipped = length;
            }
        }
    }

    /// All is there that is kept of a message of `length` bytes.
    fn end_message(&mut self, kind: u8, kept: &[u8], length: usize) {
        self.head.clear();
        self.skipped = length - kept.len();
        match kind {
            SERVER_HELLO => match self.read_hello(kept) {
                Some(stage) => self.stage = stage,
                None => self.finish(),
            },
            _ => {
                self.said.ticket = ticket(kept);
                self.stage = Stage::Complete;
            }
        }
    }

    /// Reads a hello; what comes next.
    fn read_hello(&mut self, content: &[u8]) -> Option<Stage> {
        let mut reader = Reader(content);
        let _version = reader.number()?;
        let random = reader.take(RETRY.len())?;
        let session_id = reader.vector8()?;
        let _cipher = reader.take(2)?;
        let _compression = reader.take(1)?;
        let mut said = Said { session_id: Opening::of(session_id), retried: self.said.retried, ..Said::default() };
        // Servers before extensions end here.
        let mut extensions = Reader(if reader.0.is_empty() { &[] } else { reader.vector16()? });
        self.tickets = false;
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let mut content = Reader(extensions.vector16()?);
            match kind {
                SUPPORTED_VERSIONS => said.tls13 = content.number()? == TLS13,
                PRE_SHARED_KEY => said.selected = Some(content.number()?),
                SESSION_TICKET => self.tickets = true,
                _ => {}
            }
        }
        if session_id.len() > 32 || self.said.retried && !said.tls13 {
            return None;
        }
        let retry = said.tls13 && random == RETRY;
        if retry && said.retried {
            return None;
        }
        said.retried |= retry;
        self.said = said;
        Some(match (self.said.tls13, retry) {
            (true, true) => Stage::Hello,
            (true, false) => Stage::Complete,
            (false, _) => Stage::After,
        })
    }
}

/// The ticket in a NewSessionTicket of RFC 5077; none in an empty one.
fn ticket(content: &[u8]) -> Option<Opening> {
    let mut reader = Reader(content);
    let _lifetime = reader.take(4)?;
    let length = usize::from(reader.number()?);
    Opening::of(reader.0.get(..length).unwrap_or(reader.0))
}

#[cfg(test)]
#[path = "server_flight_tests.rs"]
mod tests;
