//! One session: everything once, then what changes, both ways.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::Entry;
use super::group::{Group, Peer};
use crate::wire::peers::{Definition, Message, Reader, Update, Writer};

/// A connection, with TLS or without.
pub(super) type Stream = Box<dyn Connection>;

/// What a session needs of a connection.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// After so long without a word this node says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// After so long without a word the other side is dead.
const DEAD: Duration = Duration::from_secs(5);
/// More is not written before this is sent.
const ENOUGH: usize = 128 * 1024;
/// Entries that are taught at a time.
const PORTION: usize = 1024;

/// What is said and heard in a session.
struct Session {
    group: Arc<Group>,
    peer: Arc<Peer>,
    writer: Writer,
    reader: Reader,
    /// What is to be sent.
    out: Vec<u8>,
    /// The table that updates are of.
    current: Option<usize>,
    last_update: u32,
    /// What is still to be taught.
    lessons: VecDeque<(usize, VecDeque<Entry>)>,
    /// The other side asked for everything: it wants to know when that was it.
    asked: bool,
    /// Its tables by their numbers; none: not one of ours.
    known: HashMap<u64, Option<usize>>,
    heard_of: Option<u64>,
    /// Heard and not yet acknowledged.
    unacknowledged: Option<(u64, u32)>,
}

/// Runs a session that was greeted to its end. `said` is what the other side said after the greeting already.
pub(super) async fn run(stream: Stream, said: Vec<u8>, group: Arc<Group>, peer: Arc<Peer>) {
    let address: SocketAddr = peer.member.address;
    let books = Arc::clone(&peer);
    // A task of its own, so that the next session can end it wherever it waits.
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let session = tokio::spawn(async move {
        let _begun = begun.await;
        serve(stream, said, group, peer).await
    });
    let abort = AbortOnDrop(session.abort_handle());
    let entered = books.enter(abort.0.clone(), address);
    let _waits = begin.send(());
    let ended = session.await;
    drop(entered);
    // Otherwise another session took its place, or nobody wants it any more.
    if let Ok(Err(error)) = ended {
        books.note(&error.to_string());
    }
    drop(abort);
}

/// A group that ends takes its sessions with it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(stream: Stream, mut said: Vec<u8>, group: Arc<Group>, peer: Arc<Peer>) -> io::Result<()> {
    let mut changes = group.changes.subscribe();
    let (mut input, mut output) = tokio::io::split(stream);
    let mut session = Session::new(group, peer);
    session.say(&Message::ResyncRequest);
    session.teach();
    session.hear(&mut said)?;
    let (mut heard, mut spoke) = (Instant::now(), Instant::now());
    loop {
        session.recite();
        tokio::select! {
            read = input.read_buf(&mut said) => {
                if read? == 0 {
                    return Err(io::Error::other("it has ended the session"));
                }
                heard = Instant::now();
                session.hear(&mut said)?;
            }
            written = output.write(&session.out), if !session.out.is_empty() => {
                let written = written?;
                session.out.drain(..written);
                if session.out.is_empty() {
                    output.flush().await?;
                }
                spoke = Instant::now();
            }
            changed = changes.recv(), if session.out.len() < ENOUGH => match changed {
                Ok(changed) => session.tell(&changed),
                Err(RecvError::Lagged(_)) => return Err(io::Error::other("it is too slow: everything is taught anew")),
                Err(RecvError::Closed) => return Ok(()),
            },
            () = tokio::time::sleep_until(spoke + HEARTBEAT), if session.out.is_empty() => {
                session.say(&Message::Heartbeat);
            }
            () = tokio::time::sleep_until(heard + DEAD) => {
                return Err(io::Error::other("nothing was heard of it for five seconds"));
            }
        }
    }
}

impl Session {
    fn new(group: Arc<Group>, peer: Arc<Peer>) -> Self {
        Self {
            group,
            peer,
            writer: Writer::default(),
            reader: Reader::default(),
            out: Vec::new(),
            current: None,
            last_update: 0,
            lessons: VecDeque::new(),
            asked: false,
            known: HashMap::new(),
            heard_of: None,
            unacknowledged: None,
        }
    }

    fn say(&mut self, message: &Message) {
        self.writer.put(&mut self.out, message);
    }

    /// All there is is to be taught.
    fn teach(&mut self) {
        let tables = self.group.tables.iter().enumerate();
        self.lessons = tables.map(|(number, table)| (number, table.replica.entries().into())).collect();
    }

    /// Writes as much of what is to be taught as is sent soon.
    fn recite(&mut self) {
        while self.out.len() < ENOUGH {
            let Some((table, entries)) = self.lessons.front_mut() else { break };
            let (table, portion) = (*table, entries.drain(..entries.len().min(PORTION)).collect::<Vec<_>>());
            if entries.is_empty() {
                self.lessons.pop_front();
            }
            self.updates(table, &portion);
            if self.lessons.is_empty() && std::mem::take(&mut self.asked) {
                self.say(&Message::ResyncFinished);
            }
        }
    }

    fn tell(&mut self, changes: &[(usize, Vec<Entry>)]) {
        for (table, entries) in changes {
            self.updates(*table, entries);
        }
    }

    fn updates(&mut self, number: usize, entries: &[Entry]) {
        let Some(table) = self.group.tables.get(number).cloned() else { return };
        if self.current != Some(number) {
            let id = number as u64 + 1;
            let expire = table.expire.map_or(0, |expire| u64::try_from(expire.as_millis()).unwrap_or(u64::MAX));
            // The definition says which table is meant too, and does no harm when it is said again.
            let definition = Definition::of_servers(id, &table.name, table.kind, expire);
            self.say(&Message::Define(Arc::new(definition)));
            self.current = Some(number);
        }
        for entry in entries {
            self.last_update = self.last_update.wrapping_add(1);
            let life = entry.left.or(table.expire);
            let left = life.map(|left| u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
            let update = Update {
                id: self.last_update,
                left,
                key: entry.key.clone(),
                server_id: Some(entry.place),
                server: entry.server.clone(),
            };
            self.say(&Message::Update(update));
        }
        self.peer.taught.fetch_add(entries.len() as u64, Ordering::Relaxed);
    }

    /// Takes what has come in whole from `said`.
    fn hear(&mut self, said: &mut Vec<u8>) -> io::Result<()> {
        let mut learnt: Vec<(usize, Vec<Entry>)> = Vec::new();
        let mut rest = said.as_slice();
        while let Some(message) = self.reader.next(&mut rest).map_err(io::Error::other)? {
            match message {
                Message::ResyncRequest => {
                    self.asked = true;
                    // What is being taught anyway is the answer.
                    if self.lessons.is_empty() {
                        self.teach();
                        if self.lessons.is_empty() {
                            self.asked = false;
                            self.say(&Message::ResyncFinished);
                        }
                    }
                }
                // Unless this is confirmed, the other side teaches for ever.
                Message::ResyncFinished | Message::ResyncPartial => self.say(&Message::ResyncConfirm),
                Message::Define(definition) => {
                    self.acknowledge();
                    self.meet(&definition);
                    self.heard_of = Some(definition.id);
                }
                Message::Switch(id) => {
                    self.acknowledge();
                    self.heard_of = Some(id);
                }
                Message::Update(update) => {
                    let Some(id) = self.heard_of else { continue };
                    self.unacknowledged = Some((id, update.id));
                    let Some(Some(table)) = self.known.get(&id) else { continue };
                    let entry = Entry {
                        key: update.key,
                        server: update.server,
                        place: update.server_id.unwrap_or(0),
                        left: update.left.map(|left| Duration::from_millis(left.into())),
                    };
                    match learnt.last_mut() {
                        Some((last, entries)) if last == table => entries.push(entry),
                        _ => learnt.push((*table, vec![entry])),
                    }
                }
                Message::Error => return Err(io::Error::other("it says that this node broke the protocol")),
                Message::ResyncConfirm | Message::Heartbeat | Message::Acknowledge { .. } | Message::Unknown => {}
            }
        }
        let taken = said.len() - rest.len();
        said.drain(..taken);
        self.acknowledge();
        for (table, entries) in learnt {
            self.peer.learnt.fetch_add(entries.len() as u64, Ordering::Relaxed);
            if let Some(table) = self.group.tables.get(table) {
                table.replica.learn(entries);
            }
        }
        Ok(())
    }

    /// Finds the table that the other side means.
    fn meet(&mut self, definition: &Definition) {
        let table = self.group.tables.iter().position(|table| table.name == definition.name);
        let fits = table
            .and_then(|table| self.group.tables.get(table))
            .is_some_and(|table| definition.kind == Some(table.kind) && definition.tells_servers());
        let new = self.known.insert(definition.id, table.filter(|_| fits)).is_none();
        if new && !fits {
            let (group, peer, name) = (&self.group.name, &self.peer.member.name, &definition.name);
            match table {
                Some(_) => tracing::warn!(
                    "peers {group}: table {name} is of another type at {peer}, its entries are ignored: make `type` and `len` alike"
                ),
                None => tracing::debug!("peers {group}: {peer} has a table {name}, which is not here"),
            }
        }
    }

    /// Says how far it has heard.
    fn acknowledge(&mut self) {
        if let Some((table, update)) = self.unacknowledged.take() {
            self.say(&Message::Acknowledge { table, update });
        }
    }
}
