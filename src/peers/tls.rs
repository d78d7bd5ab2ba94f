//! Sessions in which both sides prove who they are.

use std::io;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::session::Stream;
use crate::model::PeerKeys;

/// Both roles of a node.
pub(super) struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// Whom a peer has proven to be.
pub(super) struct Proven(CertificateDer<'static>);

impl Tls {
    /// Of a group's keys, or why they cannot be used.
    pub(super) fn new(keys: &PeerKeys) -> Result<Self, String> {
        let text = |error: rustls::Error| error.to_string();
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in keys.authorities.iter() {
            roots.add(CertificateDer::from(authority.clone())).map_err(text)?;
        }
        let roots = Arc::new(roots);
        let chain = || keys.certificates.iter().map(|der| CertificateDer::from(der.clone())).collect::<Vec<_>>();
        let key = || PrivateKeyDer::try_from(keys.key.to_vec()).map_err(str::to_owned);
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(text)?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain(), key()?)
            .map_err(text)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(text)?
            .with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            .with_single_cert(chain(), key()?)
            .map_err(text)?;
        Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// As the one who connected; the other side has to be `name`.
    pub(super) async fn connect(&self, stream: TcpStream, name: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| io::Error::other(format!("`{name}` cannot stand in a certificate: it is no host name")))?;
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }

    /// As the one who was connected to.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(Stream, Proven)> {
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let proven = certificate.map(|certificate| Proven(certificate.clone().into_owned()));
        let proven = proven.ok_or_else(|| io::Error::other("it has shown no certificate"))?;
        Ok((Box::new(stream), proven))
    }
}

impl Proven {
    /// Whether its certificate is for this name.
    pub(super) fn is_for(&self, name: &str) -> bool {
        let Ok(name) = ServerName::try_from(name) else { return false };
        ParsedCertificate::try_from(&self.0).is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }
}
