//! The PROXY header that a client from a listed address begins with: whom it speaks for. Until it is whole the connection is
//! nobody's; then client and destination are those that the header names.

use std::io;
use std::time::{Duration, Instant};

use super::connection::{Connection, Reset, State, Verdict};
use super::relay::Ready;
use super::upstream::Upstream;
use super::worker::Context;
use crate::os::tcp::Stream;
use crate::stats::EndReason;
use crate::wire::proxy_header::{self, Header, LONGEST};

/// The longest wait for a whole header.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client whose header is not there yet.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) client: Stream,
    /// What was heard of its socket.
    pub(super) ready: Ready,
    pub(super) until: Instant,
}

impl Greeting {
    pub(super) fn new(client: Stream, client_timeout: Option<Duration>, now: Instant) -> Self {
        let patience = client_timeout.map_or(PATIENCE, |timeout| timeout.min(PATIENCE));
        Self { client, ready: Ready { writable: true, ..Ready::default() }, until: now + patience }
    }

    /// Takes the header off the stream; none while it is not complete. What follows it stays for the server.
    fn take(&self) -> Result<Option<Header>, EndReason> {
        let mut bytes = [0; LONGEST];
        let count = match self.client.peek(&mut bytes) {
            Ok(0) => return Err(EndReason::ClientAborted),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Err(EndReason::ClientAborted),
        };
        match proxy_header::decode(&bytes[..count]) {
            Ok(Some((header, length))) => match self.client.recv(&mut bytes[..length]) {
                Ok(taken) if taken == length => Ok(Some(header)),
                Ok(_) | Err(_) => Err(EndReason::ClientAborted),
            },
            Ok(None) if self.ready.read_end => Err(EndReason::ClientAborted),
            Ok(None) => Ok(None),
            Err(malformed) => {
                tracing::debug!(%malformed, "a client that has to begin with a PROXY header was closed");
                Err(EndReason::BadProxyHeader)
            }
        }
    }
}

impl Connection {
    /// More of the header may be there.
    pub(super) fn on_greeting(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Greeting(greeting) = &self.state else { return Verdict::Keep };
        if greeting.ready.error {
            return Verdict::End(EndReason::ClientAborted, Reset::None);
        }
        let header = match greeting.take() {
            Ok(Some(header)) => header,
            Ok(None) => return Verdict::Keep,
            Err(reason) => return Verdict::End(reason, Reset::Client),
        };
        if let Header::Proxied { source, destination } = header {
            (self.client, self.destination) = (source, destination);
        }
        let State::Greeting(greeting) = std::mem::replace(&mut self.state, State::Over) else { return Verdict::Keep };
        let mut upstream = Upstream::new(greeting.client, context.now);
        // What was reported before is not reported again; that there is nothing behind the header a read will tell.
        upstream.client_ready = greeting.ready;
        self.state = State::Upstream(Box::new(upstream));
        self.announce();
        self.inspect(context)
    }
}
