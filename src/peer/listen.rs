//! The side that is followed: greets whoever connects, and then only has to live.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::greeting::{self, BUSY, GOODBYE};
use super::{Listening, Shared};
use crate::os::session;

/// Bytes that are read of whoever connects, before it is cut off: ours send none.
const LONGEST_SPEECH: u64 = 64;
/// A listener that could not be opened is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// Between two connections: no more than some hundreds a second are looked at, whoever sends them.
const PACE: Duration = Duration::from_millis(1);
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);
/// For the goodbyes to be written: into empty buffers.
const FAREWELL: Duration = Duration::from_millis(50);

/// Listens until `farewell` changes or its sender is gone, then says goodbye to everybody.
pub(super) async fn listen(listening: Listening, shared: Arc<Shared>, mut farewell: watch::Receiver<()>) {
    let mut sessions = JoinSet::new();
    let all_over = farewell.clone();
    tokio::select! {
        _ = farewell.changed() => {}
        () = serve(&listening, &shared, &mut sessions, all_over) => {}
    }
    let _ = timeout(FAREWELL, async { while sessions.join_next().await.is_some() {} }).await;
}

async fn serve(listening: &Listening, shared: &Arc<Shared>, sessions: &mut JoinSet<()>, farewell: watch::Receiver<()>) {
    let listener = open(listening, shared.port).await;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Some(stream) = admit(listening, stream, from.ip()) {
                    sessions.spawn(attend(stream, Arc::clone(shared), farewell.clone()));
                }
                sleep(PACE).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a peer's session was not accepted");
                sleep(AFTER_AN_ERROR).await;
            }
        }
        while sessions.try_join_next().is_some() {}
    }
}

/// The listener, as soon as it can be had.
async fn open(Listening { local, interface, index, peers }: &Listening, port: u16) -> TcpListener {
    let mut told = false;
    loop {
        match session::listen(*local, port, interface.as_str(), *index, peers.is_empty()) {
            Ok(listener) => return listener,
            Err(error) if !told => {
                told = true;
                tracing::warn!(%local, %interface, port, %error,
                    "peers cannot have a session: the death of this process would be noticed after a down interval only");
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// The connection, if it is from somebody it is meant for. Neighbours were told from others by the kernel.
fn admit(listening: &Listening, stream: TcpStream, from: IpAddr) -> Option<TcpStream> {
    let expected = listening.peers.is_empty() || listening.peers.contains(&from.to_canonical());
    let prepared = session::accepted(&stream, listening.local);
    (expected && prepared.is_ok()).then_some(stream)
}

async fn attend(mut stream: TcpStream, shared: Arc<Shared>, mut farewell: watch::Receiver<()>) {
    let Ok(_place) = shared.places.try_acquire() else {
        let _ = stream.write_all(BUSY.as_bytes()).await;
        return;
    };
    if stream.write_all(greeting::greet(shared.instance).as_bytes()).await.is_err() {
        return;
    }
    let (mut reader, mut writer) = stream.split();
    tokio::select! {
        biased;
        _ = farewell.changed() => {
            let _ = writer.write_all(GOODBYE.as_bytes()).await;
        }
        _ = hear_out(&mut reader) => {}
    }
}

/// Reads until the other side ends or has said too much.
async fn hear_out(reader: &mut (impl AsyncReadExt + Unpin)) -> io::Result<u64> {
    tokio::io::copy(&mut reader.take(LONGEST_SPEECH), &mut tokio::io::sink()).await
}
