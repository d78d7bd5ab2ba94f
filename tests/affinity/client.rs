//! A TLS client that keeps its sessions, as a browser does.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, SignatureScheme,
};
use socket2::{Domain, Socket, Type};

/// One client with its address and its sessions.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    source: IpAddr,
}

/// What came of a connection.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) resumed: bool,
    /// The certificate of the server that made the session.
    pub(crate) certificate: Vec<u8>,
}

impl Client {
    pub(crate) fn new(source: IpAddr) -> Self {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Everybody))
            .with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(Sessions(ClientSessionMemoryCache::new(32))));
        Self { config: Arc::new(config), source }
    }

    /// Connects, asks for a page, and reads it to its end.
    pub(crate) fn visit(&self, to: SocketAddr) -> io::Result<Visit> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(self.source, 0).into())?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.connect(&to.into())?;
        socket.set_tcp_nodelay(true)?;
        let mut stream = TcpStream::from(socket);
        let name = ServerName::try_from("app.example.org").unwrap();
        let mut tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut both = rustls::Stream::new(&mut tls, &mut stream);
        both.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut page = Vec::new();
        match both.read_to_end(&mut page) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof && page.is_empty() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = tls.peer_certificates().and_then(|chain| chain.first()).map(|first| first.to_vec());
        Ok(Visit { resumed, certificate: certificate.unwrap_or_default() })
    }
}

/// A store of sessions without the memory of what key exchange a server wants: it asks for another hello each time, if it
/// wants one.
#[derive(Debug)]
struct Sessions(ClientSessionMemoryCache);

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.0.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: rustls::client::Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(name)
    }
}

/// Believes everybody: certificates are only to tell servers apart.
#[derive(Debug)]
struct Everybody;

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
