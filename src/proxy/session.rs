//! Open connections as an administrator sees them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::slab::Key;

/// The number of an open connection: never that of another one as long as it is open. Written as `0x` and up to 20
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub(super) worker: u16,
    pub(super) key: Key,
}

/// An open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// The service that accepted it.
    pub service: String,
    /// The pool that serves it.
    pub pool: String,
    /// Its server, if it has one yet.
    pub server: Option<String>,
    /// Where that is reached.
    pub server_address: Option<SocketAddr>,
    /// The client.
    pub client: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// What it does.
    pub phase: SessionPhase,
    /// Since the client was accepted.
    pub age: Duration,
    /// Since bytes were last seen from the client, and from the server.
    pub idle: (Duration, Duration),
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// What an open connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionPhase {
    /// Its PROXY header has not come in yet.
    Greeting,
    /// Rules wait for what it says.
    Inspecting,
    /// Every server is full: it waits for one with room.
    Queued,
    /// It is being connected to its server, or waits for the next attempt.
    Connecting,
    /// Bytes flow.
    Established,
    /// One side was reset, the other gets what it was sent before.
    Closing,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, key } = self;
        let number = u128::from(*worker) << 64 | u128::from(key.generation) << 32 | u128::from(key.index);
        write!(f, "{number:#x}")
    }
}

impl FromStr for SessionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let number = u128::from_str_radix(digits, 16)?;
        let key = Key { index: number as u32, generation: (number >> 32) as u32 };
        // One that no worker has finds nobody.
        Ok(Self { worker: u16::try_from(number >> 64).unwrap_or(u16::MAX), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_is_written() {
        let id = SessionId { worker: 3, key: Key { index: 7, generation: u32::MAX } };
        assert_eq!(id.to_string(), "0x3ffffffff00000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("3ffffffff00000007".parse(), Ok(id));
        assert!("0x".parse::<SessionId>().is_err() && "seven".parse::<SessionId>().is_err());
    }
}
