use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use vipgate::model::{Action, CheckResult, Connect, Conversation, HttpExpect, HttpRequest, ProxyVersion, Tls, Trust};

use crate::support::{conversation, facts, first, hear_until, listen};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn trust(&self) -> Trust {
        trust(self.issuer.der())
    }

    /// A certificate for `a.example` that expires at `expires`.
    fn sign(&self, expires: SystemTime) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - 30 * DAY).into();
        params.not_after = expires.into();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.der().clone(), key: key.serialize_der() }
    }
}

fn trust(certificate: &CertificateDer<'_>) -> Trust {
    Trust::File { path: "/ca.pem".into(), certificates: Arc::new(vec![certificate.to_vec()]) }
}

/// The name that was asked for, and the protocol that was agreed on.
type Handshake = (Option<String>, Option<Vec<u8>>);

/// Tells the SNI and the protocol of each handshake; answers a request over HTTP. A PROXY line may come first.
fn serve(identity: &Identity, proxied: bool) -> (SocketAddr, Receiver<Handshake>) {
    let key = PrivateKeyDer::try_from(identity.key.clone()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let (tell, told) = channel();
    let address = listen(move |mut stream| {
        if proxied && !hear_until(&mut stream, b"\r\n").is_some_and(|line| line.starts_with(b"PROXY TCP4 ")) {
            return;
        }
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        if connection.complete_io(&mut stream).is_err() {
            return;
        }
        let _ =
            tell.send((connection.server_name().map(str::to_owned), connection.alpn_protocol().map(<[u8]>::to_vec)));
        let mut stream = rustls::Stream::new(&mut connection, &mut stream);
        if hear_until(&mut stream, b"\r\n\r\n").is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        }
    });
    (address, told)
}

fn speak(address: SocketAddr, tls: Tls) -> vipgate::stats::ServerStatus {
    let connect = Connect { tls: Some(tls), ..Connect::default() };
    first(conversation(address, Conversation::of(vec![Action::Connect(connect)])))
}

fn believing(trust: Option<Trust>) -> Tls {
    Tls { server_name: None, trust, verify_name: None, alpn: Vec::new() }
}

fn named(name: &str, trust: Trust) -> Tls {
    Tls { server_name: Some(name.to_owned()), ..believing(Some(trust)) }
}

#[test]
fn a_handshake_is_a_check_and_shows_when_the_certificate_expires() {
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let identity = Authority::new().sign(expires);
    let (address, seen) = serve(&identity, false);
    let tls = Tls { server_name: Some("b.example".to_owned()), alpn: vec!["http/1.1".to_owned()], ..believing(None) };
    assert_eq!(facts(&speak(address, tls.clone())), (CheckResult::L6Ok, None, ""));
    // One that stays for an answer: the server has seen the whole handshake.
    let connect = Connect { tls: Some(tls), ..Connect::default() };
    let talk = Conversation::http(connect, HttpRequest::options(), vec![HttpExpect::fine()]);
    let status = first(conversation(address, talk));
    assert_eq!(status.certificate_expires, Some(expires));
    assert!(status.reason.contains("2033-05-18"), "{}", status.reason);
    let seen = seen.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(seen, (Some("b.example".to_owned()), Some(b"http/1.1".to_vec())));
}

#[test]
fn a_certificate_must_convince() {
    let authority = Authority::new();
    let soon = SystemTime::now() + 30 * DAY;
    let (address, _seen) = serve(&authority.sign(soon), false);
    let result = |tls: Tls| {
        let status = speak(address, tls);
        let (result, _, info) = facts(&status);
        (result, info.to_owned())
    };
    let fine = (CheckResult::L6Ok, String::new());
    let other_name = "Server presented an SSL certificate different from the expected one".to_owned();
    assert_eq!(result(believing(Some(authority.trust()))), fine);
    assert_eq!(result(named("a.example", authority.trust())), fine);
    assert_eq!(result(named("b.example", authority.trust())), (CheckResult::L6Response, other_name.clone()));
    let by_host = Tls { verify_name: Some("b.example".to_owned()), ..believing(Some(authority.trust())) };
    assert_eq!(result(by_host), (CheckResult::L6Response, other_name));
    let stranger = result(believing(Some(Authority::new().trust())));
    assert_eq!(stranger, (CheckResult::L6Response, "SSL handshake failure".to_owned()));

    let (expired, _seen) = serve(&authority.sign(SystemTime::now() - DAY), false);
    let status = speak(expired, believing(Some(authority.trust())));
    assert_eq!(facts(&status).0, CheckResult::L6Response);
    assert!(status.reason.to_lowercase().contains("expired"), "{}", status.reason);
}

#[test]
fn one_that_signed_itself_is_believed_when_it_is_known() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let identity = Identity { certificate: certificate.der().clone(), key: key.serialize_der() };
    let (address, _seen) = serve(&identity, false);
    let known = trust(&identity.certificate);
    assert_eq!(facts(&speak(address, named("a.example", known.clone()))).0, CheckResult::L6Ok);
    assert_eq!(facts(&speak(address, named("b.example", known))).0, CheckResult::L6Response);
}

#[test]
fn http_goes_over_tls_behind_a_proxy_header() {
    let identity = Authority::new().sign(SystemTime::now() + DAY);
    let (address, _seen) = serve(&identity, true);
    let connect = Connect { tls: Some(believing(None)), proxy_header: Some(ProxyVersion::V1), ..Connect::default() };
    let status =
        first(conversation(address, Conversation::http(connect, HttpRequest::options(), vec![HttpExpect::fine()])));
    assert_eq!(facts(&status), (CheckResult::L7Ok, Some(200), ""));
}
