//! TLS as far as it speaks in the clear (RFC 8446, RFC 5246, RFC 5077): what a client offers and what a server answers. Enough
//! to tell which session is resumed and whether that succeeds; nothing is decrypted.

pub mod client_hello;
pub mod server_flight;

/// Content type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Bytes of a record's header.
const RECORD_HEADER: usize = 5;
/// Bytes of a handshake message's header.
const MESSAGE_HEADER: usize = 4;
/// Longest record: 2^14 bytes (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 1 << 14;

const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;

const TLS13: u16 = 0x0304;

/// Reserved values that clients send so that servers get used to unknown ones (RFC 8701).
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// The first bytes of something, in however many pieces they come.
#[derive(Debug)]
struct Gathered<const N: usize> {
    bytes: [u8; N],
    count: usize,
}

impl<const N: usize> Default for Gathered<N> {
    fn default() -> Self {
        Self { bytes: [0; N], count: 0 }
    }
}

impl<const N: usize> Gathered<N> {
    /// Takes what is missing; what follows it.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let missing = self.bytes.get_mut(self.count..).unwrap_or_default();
        let (taken, rest) = bytes.split_at(bytes.len().min(missing.len()));
        missing.iter_mut().zip(taken).for_each(|(place, byte)| *place = *byte);
        self.count += taken.len();
        rest
    }

    /// All of them, once they are there.
    fn whole(&self) -> Option<&[u8; N]> {
        (self.count == N).then_some(&self.bytes)
    }

    fn clear(&mut self) {
        self.count = 0;
    }
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Bytes with their count in one byte before them.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let count = self.number8()?;
        self.take(usize::from(count))
    }

    /// Bytes with their count in two bytes before them.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(usize::from(count))
    }
}
