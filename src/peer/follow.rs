//! The side that follows: keeps a session to one peer, and finds out what its end means.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::greeting::{self, LONGEST_LINE, Line};
use super::standing::{End, Happening, News, Next, Standing};
use super::{Link, PeerEvent, Shared};
use crate::os::session;

/// Bytes of a whole session that are read; ours are far fewer.
const LONGEST_SESSION: u64 = 4096;

/// Follows `link` until it is dropped.
pub(super) async fn follow(link: Link, shared: Arc<Shared>) {
    let (mut standing, mut next) = Standing::BEGIN;
    let mut stream = None;
    loop {
        let happening = match next {
            Next::Connect { delay, patience } => {
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                let attempt = timeout(patience, Session::begin(&link, shared.port)).await;
                let (happening, session) = outcome(attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
                stream = session;
                happening
            }
            Next::Stay => match stream.take() {
                Some(session) => Happening::Ended(session.end().await),
                None => Happening::Ended(End::Broken),
            },
        };
        let (news, then) = standing.handle(happening);
        next = then;
        for news in news {
            tell(&link, *news);
            let _ = shared.events.send(PeerEvent { link: link.clone(), news: *news });
        }
    }
}

fn tell(Link { peer, interface, .. }: &Link, news: News) {
    match news {
        News::Connected => {
            tracing::info!(%peer, %interface, "session with the peer: its death would be noticed at once")
        }
        News::Died => tracing::warn!(%peer, %interface, "the peer's process is dead"),
        News::Gone => tracing::info!(%peer, %interface, "no session with the peer any more"),
    }
}

fn outcome(attempt: io::Result<(Session, Line)>) -> (Happening, Option<Session>) {
    match attempt {
        Ok((session, Line::Greeting(instance))) => (Happening::Greeted(instance), Some(session)),
        // Somebody else listens there, or ours has sessions enough.
        Ok((_, Line::Goodbye | Line::Other)) => (Happening::Unanswered, None),
        // Reset before it greeted: accepted by the kernel in the moment in which the process died.
        Err(error) if is_refusal(&error) => (Happening::Refused, None),
        Err(_) => (Happening::Unanswered, None),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// A connection to a peer that has said its first line.
struct Session {
    lines: Lines,
}

impl Session {
    async fn begin(link: &Link, port: u16) -> io::Result<(Self, Line)> {
        let stream = session::connect(link.local, link.peer, port, link.interface.as_str(), link.index).await?;
        let mut lines = Lines { stream: stream.take(LONGEST_SESSION), buffer: Vec::new() };
        let line = lines.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((Self { lines }, line))
    }

    /// Waits for the end.
    async fn end(mut self) -> End {
        loop {
            match self.lines.next().await {
                Ok(Some(Line::Goodbye)) => return End::Goodbye,
                Ok(Some(Line::Greeting(_) | Line::Other)) => {}
                Ok(None) if self.lines.is_used_up() => return End::Broken,
                Ok(None) => return End::Closed,
                Err(_) => return End::Broken,
            }
        }
    }
}

/// Lines of a stream; one that is too long is an error.
struct Lines {
    stream: tokio::io::Take<TcpStream>,
    buffer: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return Ok(Some(greeting::parse(&line)));
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn is_used_up(&self) -> bool {
        self.stream.limit() == 0
    }
}
