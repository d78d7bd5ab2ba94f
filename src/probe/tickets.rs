//! The names of a server's ticket keys, found by handshakes of our own: what its tickets begin with, as far as two of them
//! have it in common. Every node finds the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, NamedGroup, SupportedProtocolVersion, version};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::connection::{self, Manner};
use super::plan::Plan;
use super::tls;
use crate::model::{Connect, Opening, Source, Tls};
use crate::wire::tls::client_hello::{self, Heard};

/// With TLS 1.3 tickets come after the handshake, at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// A server, and how it is spoken with.
#[derive(Clone, Copy)]
struct Contact<'a> {
    target: SocketAddr,
    source: Option<&'a Source>,
    connect: &'a Connect,
    tls: &'a Tls,
}

/// The names found, by TLS 1.3 and by TLS 1.2, whichever the server speaks. None where its tickets have nothing in common,
/// or the check speaks no TLS.
pub(super) async fn key_names(plan: &Plan) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let Some((connect, tls)) = plan.tls() else { return names };
    let checked = plan.check.target;
    let target = SocketAddr::new(connect.address.unwrap_or(checked.ip()), connect.port.unwrap_or(checked.port()));
    let contact = Contact { target, source: plan.check.source.as_ref(), connect, tls };
    for version in [&version::TLS13, &version::TLS12] {
        let finding = key_name(contact, version);
        if let Ok(Some(name)) = tokio::time::timeout(plan.check.timeout, finding).await
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

async fn key_name(contact: Contact<'_>, version: &'static SupportedProtocolVersion) -> Option<Vec<u8>> {
    let mut tickets: Vec<Opening> = Vec::new();
    let name = tls::name(contact.tls, contact.target.ip());
    // A second handshake where the first brought one ticket only.
    while tickets.len() < 2 {
        let store = Arc::new(Store::default());
        let config = tls::resuming(contact.tls, version, Arc::clone(&store) as Arc<dyn ClientSessionStore>)?;
        shake_hands(contact, &config, name.clone(), &store).await?;
        let found = tickets.len();
        for _ in 0..2 {
            let ticket = offered_ticket(&config, name.clone());
            tickets.extend(ticket.filter(|ticket| !tickets.contains(ticket)));
        }
        if tickets.len() == found {
            return None;
        }
    }
    let (first, second) = (tickets.first()?, tickets.get(1)?);
    first.get(..first.common(second)).filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

async fn shake_hands(
    contact: Contact<'_>,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    store: &Store,
) -> Option<()> {
    let mut stream = connection::connect(contact.target, contact.source, Manner::Clean).await.ok()?;
    if let Some(version) = contact.connect.proxy_header {
        connection::write_header(&mut stream, version).await.ok()?;
    }
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.ok()?;
    if stream.get_ref().1.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
        tokio::select! {
            _ended = stream.read_u8() => {}
            () = store.arrived.notified() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
    }
    Some(())
}

/// The ticket that we would resume with now, as our own hello shows it.
fn offered_ticket(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Option<Opening> {
    let mut connection = ClientConnection::new(Arc::clone(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    let Heard::Hello(hello) = client_hello::hear(&hello) else { return None };
    hello.identities.into_iter().next().or(hello.ticket)
}

/// Our sessions with the server, and word of new ones.
#[derive(Debug)]
struct Store {
    sessions: ClientSessionMemoryCache,
    arrived: Notify,
}

impl Default for Store {
    fn default() -> Self {
        Self { sessions: ClientSessionMemoryCache::new(8), arrived: Notify::new() }
    }
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(name, ticket);
        self.arrived.notify_one();
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(name)
    }
}
