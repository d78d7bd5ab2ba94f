//! TLS as checks speak it: whom a server's certificate must convince, and until when it is valid.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::SupportedProtocolVersion;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::der::Decode as _;

use crate::model::{Tls, Trust};

/// The configuration of clients for `tls`, or why there cannot be one.
pub(super) fn client(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(tls, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    config.enable_sni = tls.server_name.is_some();
    // Each check shows what a new client would see.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The configuration of clients that keep their sessions in `store`, of this version. What they are for is no secret, and the
/// check has judged the certificate: everybody is believed.
pub(super) fn resuming(
    tls: &Tls,
    version: &'static SupportedProtocolVersion,
    store: Arc<dyn ClientSessionStore>,
) -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier { provider: Arc::clone(&provider), chain: None, known: Vec::new(), name: None };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    config.enable_sni = tls.server_name.is_some();
    config.resumption = Resumption::store(store);
    Some(Arc::new(config))
}

/// The name that the server at `address` is asked for; its address where that is none.
pub(super) fn name(tls: &Tls, address: IpAddr) -> ServerName<'static> {
    let name = tls.server_name.as_ref().and_then(|name| ServerName::try_from(name.clone()).ok());
    name.unwrap_or_else(|| ServerName::from(address))
}

/// When a certificate expires.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(UNIX_EPOCH + certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

/// What a failed handshake is called: HAProxy's words for logs, and the cause for people.
pub(super) fn in_words(error: &std::io::Error) -> (&'static str, String) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let words = match inner {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "Server presented an SSL certificate different from the expected one",
        Some(_) | None => "SSL handshake failure",
    };
    (words, error.to_string())
}

/// Believes in a chain to one of the authorities, in one of their own certificates, or in everybody. The name counts only
/// where one is expected, as with HAProxy.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: everybody is believed.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are believed as they are: a server may show one that signed itself.
    known: Vec<Vec<u8>>,
    name: Option<ServerName<'static>>,
}

impl Verifier {
    fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let name = tls.verify_name.as_ref().or(tls.server_name.as_ref());
        let name = name
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| format!("`{name}` is not a host name")))
            .transpose()?;
        let (chain, known) = match &tls.trust {
            None => (None, Vec::new()),
            Some(Trust::System) => {
                (Some(of_authorities(rustls_native_certs::load_native_certs().certs, provider)?), Vec::new())
            }
            Some(Trust::File { certificates, .. }) => {
                let authorities = certificates.iter().map(|der| CertificateDer::from(der.clone()));
                (Some(of_authorities(authorities.collect(), provider)?), certificates.to_vec())
            }
        };
        Ok(Self { provider: Arc::clone(provider), chain, known, name })
    }

    fn named(&self, certificate: &CertificateDer<'_>) -> Result<ServerCertVerified, Error> {
        if let Some(name) = &self.name {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

fn of_authorities(
    certificates: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    // Some of the system's may be of a kind that is not understood; then they convince nobody.
    roots.add_parsable_certificates(certificates);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| format!("no certificate authority can be used: {error}"))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.known.iter().any(|known| known == certificate.as_ref()) {
            let expires = expiry(certificate).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            if expires.is_none_or(|expires| expires < Duration::from_secs(now.as_secs())) {
                return Err(Error::InvalidCertificate(CertificateError::Expired));
            }
            return self.named(certificate);
        }
        // The name is looked at last: an answer about it means that the chain is fine.
        match chain.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => self.named(certificate),
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
