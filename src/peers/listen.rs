//! Peers that connect to this node.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dial::PATIENCE;
use super::group::{Group, Peer};
use super::session::{self, Stream};
use crate::wire::peers::{Hello, Status};

/// Connections at a time, greeted or not.
const PLACES: usize = 64;
/// Until the address is tried again, if it cannot be had.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves whoever is a peer.
pub(super) async fn listen(address: SocketAddr, group: Arc<Group>, peers: Vec<Arc<Peer>>) {
    let mut said = false;
    let listener = loop {
        match bind(address) {
            Ok(listener) => break listener,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::error!("peers {}: cannot listen on {address}, no peer can connect: {error}", group.name);
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let mut guests = JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        while guests.try_join_next().is_some() {}
        if guests.len() < PLACES {
            guests.spawn(serve(stream, from, Arc::clone(&group), peers.clone()));
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(PLACES as u32)
}

async fn serve(stream: TcpStream, from: SocketAddr, group: Arc<Group>, peers: Vec<Arc<Peer>>) {
    match timeout(PATIENCE, greet(stream, &group, &peers)).await {
        Ok(Ok((stream, said, peer))) => session::run(stream, said, group, peer).await,
        Ok(Err(error)) => tracing::debug!("peers {}: {from} was turned away: {error}", group.name),
        Err(_) => tracing::debug!("peers {}: {from} did not say who it is", group.name),
    }
}

async fn greet(stream: TcpStream, group: &Group, peers: &[Arc<Peer>]) -> io::Result<(Stream, Vec<u8>, Arc<Peer>)> {
    stream.set_nodelay(true)?;
    let (mut stream, proven): (Stream, _) = match &group.tls {
        None => (Box::new(stream), None),
        Some(tls) => tls.accept(stream).await.map(|(stream, proven)| (stream, Some(proven)))?,
    };
    let mut said = Vec::new();
    let (hello, length) = loop {
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::Error::other("it hung up before it greeted"));
        }
        match Hello::decode(&said) {
            Ok(Some(heard)) => break heard,
            Ok(None) => {}
            Err(error) => {
                stream.write_all(&Status::Protocol.encode()).await?;
                return Err(io::Error::other(error));
            }
        }
    };
    let known = peers.iter().find(|peer| !peer.is_local() && peer.member.name == hello.from);
    let known = known.filter(|_| proven.is_none_or(|proven| proven.is_for(&hello.from)));
    let status = match known {
        _ if hello.version.0 != 2 => Status::Version,
        _ if hello.to != group.local => Status::NotMe,
        None => Status::Stranger,
        Some(_) => Status::Welcome,
    };
    stream.write_all(&status.encode()).await?;
    stream.flush().await?;
    match known.filter(|_| status == Status::Welcome) {
        Some(peer) => Ok((stream, said.split_off(length), Arc::clone(peer))),
        None => {
            let text = format!("it calls itself {} and this node {}: {}", hello.from, hello.to, status.code());
            tracing::warn!("peers {}: a node was turned away: {text}", group.name);
            Err(io::Error::other(text))
        }
    }
}
