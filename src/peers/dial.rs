//! Connects to a peer for as long as there is no session with it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::group::{Group, Peer};
use super::session::{self, Stream};
use crate::wire::peers::{Hello, Status};

/// A connection, its keys and its greeting take no longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts at least and at most, as HAProxy does it: drawn, so that two nodes do not connect at the same time
/// for ever.
const PAUSE: (u64, u64) = (50, 2050);

/// Connects again and again.
pub(super) async fn keep_connected(group: Arc<Group>, peer: Arc<Peer>) {
    loop {
        while peer.is_connected() {
            peer.ended.notified().await;
        }
        tokio::time::sleep(pause()).await;
        if peer.is_connected() {
            continue;
        }
        match timeout(PATIENCE, connect(&group, &peer)).await {
            Ok(Ok(_)) if peer.is_connected() => {}
            Ok(Ok((stream, said))) => session::run(stream, said, Arc::clone(&group), Arc::clone(&peer)).await,
            Ok(Err(error)) => peer.note(&error.to_string()),
            Err(_) => peer.note("it does not answer"),
        }
    }
}

async fn connect(group: &Group, peer: &Peer) -> io::Result<(Stream, Vec<u8>)> {
    let stream = TcpStream::connect(peer.member.address).await?;
    stream.set_nodelay(true)?;
    let mut stream: Stream = match &group.tls {
        None => Box::new(stream),
        Some(tls) => tls.connect(stream, &peer.member.name).await?,
    };
    let hello = Hello { version: (2, 1), to: peer.member.name.clone(), from: group.local.clone() };
    stream.write_all(&hello.encode(std::process::id())).await?;
    stream.flush().await?;
    let mut said = Vec::new();
    loop {
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::Error::other("it hung up before it answered the greeting"));
        }
        match Status::decode(&said).map_err(io::Error::other)? {
            Some((Status::Welcome, length)) => return Ok((stream, said.split_off(length))),
            Some((refused, _)) => return Err(io::Error::other(refused)),
            None => {}
        }
    }
}

fn pause() -> Duration {
    let (least, most) = PAUSE;
    Duration::from_millis(least + RandomState::new().hash_one(0) % (most - least))
}
