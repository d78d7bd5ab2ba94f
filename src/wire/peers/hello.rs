//! How a session begins: three lines of whoever connected, and a status in return.

use super::Malformed;

/// Longest greeting, in bytes.
const LONGEST: usize = 1024;

/// Who connected, and whom it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version, such as 2 and 1.
    pub version: (u32, u32),
    /// The name by which it knows the one it connected to.
    pub to: String,
    /// Its own name.
    pub from: String,
}

/// The answer to a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Status {
    /// Messages may follow.
    #[error("welcome")]
    Welcome,
    /// Try again later.
    #[error("it is busy: it wants to be asked again later")]
    Busy,
    /// Not this protocol.
    #[error("it does not understand the greeting")]
    Protocol,
    /// Another version.
    #[error("it speaks another version of the protocol")]
    Version,
    /// It has another name.
    #[error("it has another name than the one it was called by: compare the names on both sides")]
    NotMe,
    /// It does not know who greets.
    #[error("it does not know this node by this name: compare the names on both sides")]
    Stranger,
    /// Something else.
    #[error("status {0}")]
    Other(u16),
}

impl Hello {
    /// As it is sent. `pid` is of interest to those who read the wire.
    #[must_use]
    pub fn encode(&self, pid: u32) -> Vec<u8> {
        let Self { version: (major, minor), to, from } = self;
        format!("HAProxyS {major}.{minor}\n{to}\n{from} {pid} 1\n").into_bytes()
    }

    /// The greeting that `bytes` begin with, and its length; none while it is not complete.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        const NAME: &[u8] = b"HAProxyS ";
        if bytes.iter().zip(NAME).any(|(have, want)| have != want) {
            return Err(Malformed::Greeting);
        }
        let mut rest = bytes;
        let mut lines = [""; 3];
        for line in &mut lines {
            match take_line(&mut rest)? {
                Some(text) => *line = text,
                None if bytes.len() >= LONGEST => return Err(Malformed::Greeting),
                None => return Ok(None),
            }
        }
        let [version, to, from] = lines;
        let version = version.get(NAME.len()..).and_then(|version| version.split_once('.'));
        let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let from = from.split(' ').next().unwrap_or_default();
        if to.is_empty() || from.is_empty() {
            return Err(Malformed::Greeting);
        }
        let version = version.ok_or(Malformed::Greeting)?;
        let hello = Self { version, to: to.to_owned(), from: from.to_owned() };
        Ok(Some((hello, bytes.len() - rest.len())))
    }
}

impl Status {
    const KNOWN: [(Self, u16); 6] = [
        (Self::Welcome, 200),
        (Self::Busy, 300),
        (Self::Protocol, 501),
        (Self::Version, 502),
        (Self::NotMe, 503),
        (Self::Stranger, 504),
    ];

    /// Its number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Other(code) => code,
            known => Self::KNOWN.iter().find(|(status, _)| *status == known).map_or(501, |(_, code)| *code),
        }
    }

    /// As it is sent.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        format!("{}\n", self.code()).into_bytes()
    }

    /// The status that `bytes` begin with, and its length; none while it is not complete.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut rest = bytes;
        let Some(line) = take_line(&mut rest)? else {
            return if bytes.len() >= LONGEST { Err(Malformed::Greeting) } else { Ok(None) };
        };
        let code: u16 = line.parse().map_err(|_| Malformed::Greeting)?;
        let status =
            Self::KNOWN.iter().find(|(_, known)| *known == code).map_or(Self::Other(code), |(status, _)| *status);
        Ok(Some((status, bytes.len() - rest.len())))
    }
}

/// Takes a line without its end.
fn take_line<'b>(bytes: &mut &'b [u8]) -> Result<Option<&'b str>, Malformed> {
    let Some(end) = bytes.iter().take(LONGEST).position(|byte| *byte == b'\n') else { return Ok(None) };
    let (line, rest) = bytes.split_at(end);
    *bytes = rest.get(1..).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map(Some).map_err(|_| Malformed::Greeting)
}
