//! The sockets that questions go out of: those of the resolver, with somebody who counts beside them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider};

use super::tally::{HEADER, Meaning, Tally};

/// Makes the sockets of one question.
#[derive(Clone)]
pub(super) struct Counting {
    sockets: TokioRuntimeProvider,
    tally: Tally,
    section: Arc<str>,
    /// A question that is older has timed out.
    patience: Duration,
    /// Who gave the last valid answer.
    answered_by: Arc<Mutex<Option<SocketAddr>>>,
}

impl Counting {
    pub(super) fn new(tally: Tally, section: &str, patience: Duration) -> Self {
        let answered_by = Arc::default();
        Self { sockets: TokioRuntimeProvider::new(), tally, section: section.into(), patience, answered_by }
    }

    pub(super) fn answered_by(&self) -> Option<SocketAddr> {
        *lock(&self.answered_by)
    }

    fn exchange(&self, server: SocketAddr) -> Exchange {
        Exchange { counting: self.clone(), server, open: None }
    }
}

/// What passes between one socket and its name server.
struct Exchange {
    counting: Counting,
    server: SocketAddr,
    /// The number of the question that has no answer yet, and since when.
    open: Option<(u16, Instant)>,
}

impl Exchange {
    fn asked(&mut self, message: &[u8]) {
        let number = message.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
        self.open = Some((number, Instant::now()));
        self.counting.tally.count(&self.counting.section, self.server, |counts| counts.sent += 1);
    }

    fn not_sent(&self) {
        self.counting.tally.count(&self.counting.section, self.server, |counts| counts.send_errors += 1);
    }

    fn answered(&mut self, message: &[u8]) {
        let Some((number, _)) = self.open else { return };
        let meaning = Meaning::of(message, number);
        if !matches!(meaning, Meaning::Invalid | Meaning::Outdated) {
            self.open = None;
        }
        if meaning == Meaning::Valid {
            *lock(&self.counting.answered_by) = Some(self.server);
        }
        self.counting.tally.count(&self.counting.section, self.server, |counts| meaning.count(counts));
    }
}

impl Drop for Exchange {
    /// One that is given up earlier was answered by another name server.
    fn drop(&mut self) {
        if self.open.is_some_and(|(_, since)| since.elapsed() >= self.counting.patience) {
            self.counting.tally.count(&self.counting.section, self.server, |counts| counts.timeouts += 1);
        }
    }
}

impl RuntimeProvider for Counting {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = CountedUdp;
    type Tcp = CountedTcp;

    fn create_handle(&self) -> Self::Handle {
        self.sockets.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        let (connecting, exchange) = (self.sockets.connect_tcp(server, from, limit), self.exchange(server));
        Box::pin(async move {
            let stream = connecting.await.inspect_err(|_| exchange.not_sent())?;
            Ok(CountedTcp { stream, exchange, out: Frames::default(), back: Frames::default() })
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        let (binding, exchange) = (self.sockets.bind_udp(local, server), self.exchange(server));
        Box::pin(async move { Ok(CountedUdp { socket: binding.await?, exchange: Mutex::new(exchange) }) })
    }
}

/// A socket of one question over UDP.
pub(super) struct CountedUdp {
    socket: <TokioRuntimeProvider as RuntimeProvider>::Udp,
    exchange: Mutex<Exchange>,
}

impl DnsUdpSocket for CountedUdp {
    type Time = <TokioRuntimeProvider as RuntimeProvider>::Timer;

    fn poll_recv_from(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let polled = DnsUdpSocket::poll_recv_from(&self.socket, context, buffer);
        if let Poll::Ready(Ok((length, from))) = &polled {
            let mut exchange = lock(&self.exchange);
            // Anybody can send something here; the resolver passes it over.
            if *from == exchange.server {
                exchange.answered(buffer.get(..*length).unwrap_or_default());
            }
        }
        polled
    }

    fn poll_send_to(&self, context: &mut Context<'_>, message: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        let polled = DnsUdpSocket::poll_send_to(&self.socket, context, message, to);
        match &polled {
            Poll::Ready(Ok(_)) => lock(&self.exchange).asked(message),
            Poll::Ready(Err(_)) => lock(&self.exchange).not_sent(),
            Poll::Pending => {}
        }
        polled
    }
}

/// A connection for what is too long for UDP.
pub(super) struct CountedTcp {
    stream: <TokioRuntimeProvider as RuntimeProvider>::Tcp,
    exchange: Exchange,
    out: Frames,
    back: Frames,
}

impl DnsTcpStream for CountedTcp {
    type Time = <TokioRuntimeProvider as RuntimeProvider>::Timer;
}

impl AsyncRead for CountedTcp {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, exchange, back, .. } = self.get_mut();
        let polled = Pin::new(stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(length)) = &polled {
            back.take(buffer.get(..*length).unwrap_or_default(), |header| exchange.answered(header));
        }
        polled
    }
}

impl AsyncWrite for CountedTcp {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, exchange, out, .. } = self.get_mut();
        let polled = Pin::new(stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = &polled {
            out.take(bytes.get(..*length).unwrap_or_default(), |header| exchange.asked(header));
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

/// Finds the messages of a stream, each of which comes behind its length (RFC 1035, 4.2.2).
#[derive(Default)]
struct Frames {
    /// The length and the header, as far as they came.
    head: Vec<u8>,
    /// Bytes of the message that are of no interest.
    skip: usize,
}

impl Frames {
    fn take(&mut self, bytes: &[u8], mut message: impl FnMut(&[u8])) {
        for byte in bytes {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.head.push(*byte);
            let [high, low, header @ ..] = &*self.head else { continue };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if header.len() >= length.min(HEADER) {
                message(header);
                self.skip = length - header.len();
                self.head.clear();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_stream_are_found_however_it_is_cut() {
        let mut stream = vec![0, 14];
        stream.extend(1..=14);
        stream.extend([0, 3, 7, 8, 9, 0, 12]);
        stream.extend(21..=32);
        for size in 1..stream.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.take(piece, |header| found.push(header.to_vec()));
            }
            let expected = [(1..=12).collect::<Vec<u8>>(), vec![7, 8, 9], (21..=32).collect()];
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
