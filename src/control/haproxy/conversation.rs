//! One client: a line of commands, their answers, and the end; or a prompt, and the next line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use super::access::Access;
use super::open::{Listener, Opened};
use super::verbs::{self, Turn};
use super::words;
use crate::model::StatsSocket;

/// The longest line, in bytes; HAProxy's buffer.
const LINE_LIMIT: u64 = 16_384;
/// Longest wait for a client to take what it asked for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept error: without a free descriptor it would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the task is aborted. The file goes with it.
pub(super) async fn serve(opened: Opened, spec: StatsSocket, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(usize::try_from(spec.max_connections).unwrap_or(usize::MAX)));
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let client = Client::new(&spec, &shared);
        let accepted = match &opened.listener {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                clients.spawn(async move {
                    let _place = place;
                    client.converse(stream).await
                });
            }),
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                clients.spawn(async move {
                    let _place = place;
                    client.converse(stream).await
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, socket = %spec.place, "the control socket could not accept a client");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        while clients.try_join_next().is_some() {}
    }
}

/// What is remembered from one line of a client to the next.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) access: Access,
    pub(super) timeout: Duration,
    pub(super) prompt: bool,
    /// What stands behind the line whose last command is answered, up to an empty line.
    pub(super) payload: Option<String>,
}

/// The longest payload, in bytes.
const PAYLOAD_LIMIT: usize = 1024 * 1024;

impl Client {
    pub(super) fn new(spec: &StatsSocket, shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            access: Access::new(spec.level),
            timeout: spec.timeout,
            prompt: false,
            payload: None,
        }
    }

    /// Until the client is done, or says nothing for too long. One that went away is no error.
    async fn converse(mut self, stream: impl AsyncRead + AsyncWrite) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::new(reader);
        while let Ok(Some(line)) = self.read_line(&mut reader).await {
            let mut payload = None;
            if line.trim_end().ends_with("<<") {
                payload = self.read_payload(&mut reader, &mut writer).await;
                if payload.is_none() {
                    return;
                }
            }
            let line = line.trim_end().strip_suffix("<<").unwrap_or(&line);
            let mut commands = words::commands(line).into_iter().peekable();
            while let Some(command) = commands.next() {
                self.payload = if commands.peek().is_none() { payload.take() } else { None };
                let answer = match verbs::answer(&command, &mut self).await {
                    Turn::Say(answer) => answer,
                    Turn::HangUp(last) => {
                        let _ = write(&mut writer, &last).await;
                        let _ = writer.shutdown().await;
                        return;
                    }
                };
                let prompt = if self.prompt { "> " } else { "" };
                if write(&mut writer, &format!("{answer}\n{prompt}")).await.is_err() {
                    return;
                }
            }
            // Lines that were sent together are answered together.
            if !self.prompt && !reader.buffer().contains(&b'\n') {
                break;
            }
        }
        let _ = writer.shutdown().await;
    }

    /// The next line; none at the end. One that is not ended is not carried out: part of it may be missing.
    async fn read_line<R: AsyncRead + Unpin>(&self, reader: &mut BufReader<R>) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = async { reader.take(LINE_LIMIT).read_until(b'\n', &mut line).await };
        tokio::time::timeout(self.timeout, read).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok((line.pop() == Some(b'\n')).then(|| String::from_utf8_lossy(&line).into_owned()))
    }

    /// A payload ends with an empty line, and not with one of spaces, behind which more of it may follow. None: so does the
    /// client, or it has no end.
    async fn read_payload<R, W>(&self, reader: &mut BufReader<R>, writer: &mut W) -> Option<String>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut payload = String::new();
        loop {
            if self.prompt {
                write(writer, "+ ").await.ok()?;
            }
            match self.read_line(reader).await {
                Ok(Some(line)) if line.trim_end_matches('\r').is_empty() => return Some(payload),
                Ok(Some(line)) if payload.len() + line.len() < PAYLOAD_LIMIT => {
                    payload.push_str(&line);
                    payload.push('\n');
                }
                Ok(_) | Err(_) => return None,
            }
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(text.as_bytes())).await.map_err(|_| io::ErrorKind::TimedOut)?
}
