//! What a peer says of its stick tables, altered and cut, and what has to hold of every reading.

use std::sync::Arc;

use vipgate::model::{Key, KeyType};
use vipgate::wire::peers::{Definition, Hello, LONGEST, Malformed, Message, Reader, Status, Update, Writer};

use super::draws::Draws;

/// Bytes that say something somewhere.
const FAVOURITES: &[u8] = &[0, 1, 10, 0x80, 0x82, 0xf0, 0xff];

/// How much got how far.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) messages: u64,
    pub(crate) updates: u64,
    pub(crate) refused: u64,
}

pub(crate) struct Fuzzer {
    draws: Draws,
    pub(crate) shares: Shares,
}

impl Fuzzer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: Draws::seeded(seed), shares: Shares::default() }
    }

    /// A few messages: as they were written if nothing was altered, and in any case the same in pieces as in one.
    pub(crate) fn execute(&mut self) {
        let (said, mut bytes) = self.session();
        let altered = self.draws.below(4) > 0;
        if altered {
            self.draws.alter(&mut bytes, FAVOURITES);
        }
        let (heard, end) = read(&bytes, bytes.len());
        if !altered {
            assert_eq!((&heard, &end), (&said, &Ok(0)), "{bytes:02x?}");
        }
        let size = 1 + self.draws.below(9);
        assert_eq!(read(&bytes, size), (heard.clone(), end), "in pieces of {size}: {bytes:02x?}");
        for message in &heard {
            if let Message::Update(update) = message {
                self.shares.updates += 1;
                assert!(!matches!(&update.key, Key::Bytes(bytes) if bytes.len() > LONGEST));
            }
        }
        self.shares.messages += heard.len() as u64;
        self.shares.refused += u64::from(end.is_err());
        if self.draws.below(16) == 0 {
            self.greet();
        }
    }

    fn session(&mut self) -> (Vec<Message>, Vec<u8>) {
        let kinds = [KeyType::Ipv4, KeyType::Ipv6, KeyType::Integer, KeyType::Text(8), KeyType::Binary(3)];
        let kind = kinds[self.draws.below(kinds.len())];
        let expire = [0, 239, 60_000, u64::from(u32::MAX)][self.draws.below(4)];
        let definition = Definition::of_servers(self.draws.below(300) as u64, "sticky", kind, expire);
        let mut messages = vec![Message::Define(Arc::new(definition))];
        for _ in 0..self.draws.below(4) {
            let message = match self.draws.below(8) {
                0 => Message::Heartbeat,
                1 => Message::Acknowledge {
                    table: self.draws.below(5000) as u64,
                    update: self.draws.below(1 << 31) as u32,
                },
                2 => Message::ResyncFinished,
                _ => Message::Update(self.update(kind)),
            };
            messages.push(message);
        }
        let (mut writer, mut bytes) = (Writer::default(), Vec::new());
        messages.iter().for_each(|message| writer.put(&mut bytes, message));
        (messages, bytes)
    }

    fn update(&mut self, kind: KeyType) -> Update {
        let key = match kind {
            KeyType::Ipv4 => Key::Address([10, 0, 0, self.draws.below(256) as u8].into()),
            KeyType::Ipv6 => Key::Address("2001:db8::1".parse().unwrap()),
            KeyType::Integer => Key::Integer(self.draws.below(1 << 20) as u32),
            KeyType::Text(most) => Key::Bytes(vec![b'a'; 1 + self.draws.below(usize::from(most))].into()),
            KeyType::Binary(length) => Key::Bytes(vec![self.draws.below(256) as u8; length.into()].into()),
        };
        let server = (self.draws.below(3) > 0).then(|| Arc::from(["a", "b", "server-17"][self.draws.below(3)]));
        let left = (self.draws.below(2) == 0).then(|| self.draws.below(1 << 30) as u32);
        Update {
            id: self.draws.below(1 << 31) as u32,
            left,
            key,
            server_id: Some(self.draws.below(300) as u32),
            server,
        }
    }

    fn greet(&mut self) {
        let hello = Hello { version: (2, 1), to: "node-b".into(), from: "node-a".into() };
        let mut bytes = [hello.encode(1), Status::Welcome.encode()].concat();
        self.draws.alter(&mut bytes, FAVOURITES);
        bytes.truncate(self.draws.below(bytes.len() + 1));
        let _read = Hello::decode(&bytes);
        let _read = Status::decode(&bytes);
    }
}

/// The messages, and how many bytes are left or why it ended.
fn read(bytes: &[u8], piece: usize) -> (Vec<Message>, Result<usize, Malformed>) {
    let (mut reader, mut messages, mut start) = (Reader::default(), Vec::new(), 0);
    let mut end = 0;
    loop {
        end = (end + piece.max(1)).min(bytes.len());
        let mut rest = &bytes[start..end];
        loop {
            match reader.next(&mut rest) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
        start = end - rest.len();
        if end == bytes.len() {
            return (messages, Ok(bytes.len() - start));
        }
    }
}
