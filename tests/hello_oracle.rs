//! Client hellos of rustls and OpenSSL, read by us and by rustls as a server: both see the same. The tickets in them are those
//! that were given out.

#![expect(clippy::disallowed_methods, reason = "OpenSSL says hello to a real socket")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{Acceptor, ProducesTickets};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use vipgate::wire::tls::client_hello::{ClientHello, Heard, hear};

fn ours(bytes: &[u8]) -> ClientHello {
    for end in 0..bytes.len() {
        assert_eq!(hear(&bytes[..end]), Heard::Part, "{end} of {}", bytes.len());
    }
    match hear(bytes) {
        Heard::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// What rustls sees of it as a server.
fn agree(name: &str, bytes: &[u8]) -> ClientHello {
    let hello = ours(bytes);
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &bytes[..]).unwrap();
    let accepted = acceptor.accept().ok().flatten().unwrap();
    let theirs = accepted.client_hello();
    assert_eq!(hello.server_name.as_deref(), theirs.server_name(), "{name}");
    let protocols: Vec<Vec<u8>> = theirs.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    assert_eq!(hello.protocols, protocols, "{name}");
    hello
}

/// Seals tickets, and remembers how those begin that it gave out.
#[derive(Debug)]
struct Ticketer {
    seal: Arc<dyn ProducesTickets>,
    issued: Mutex<Vec<Vec<u8>>>,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.seal.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let ticket = self.seal.encrypt(plain)?;
        self.issued.lock().unwrap().push(ticket.iter().copied().take(32).collect());
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.seal.decrypt(cipher)
    }
}

#[test]
fn hellos_of_rustls_new_and_resuming() {
    let key = rcgen::generate_simple_self_signed(vec!["app.example.org".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let ticketer = Arc::new(Ticketer { seal: ring::Ticketer::new().unwrap(), issued: Mutex::default() });
        let server = server(version, &certificate, &key.signing_key.serialize_der(), &ticketer);
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Arc::new(client);
        let new = agree("new", &first_flight(&client));
        assert_eq!(new.server_name.as_deref(), Some("app.example.org"));
        assert!(new.identities.is_empty() && new.ticket.is_none());
        shake_hands(&client, &server);
        let resuming = agree("resuming", &first_flight(&client));
        let opening = resuming.identities.first().or(resuming.ticket.as_ref()).unwrap();
        assert!(ticketer.issued.lock().unwrap().contains(&opening.to_vec()), "{version:?}");
    }
}

fn server(
    version: &'static SupportedProtocolVersion,
    certificate: &[u8],
    key: &[u8],
    ticketer: &Arc<Ticketer>,
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.to_vec().into()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.ticketer = Arc::clone(ticketer) as Arc<dyn ProducesTickets>;
    Arc::new(config)
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("app.example.org").unwrap()).unwrap()
}

fn first_flight(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut bytes = Vec::new();
    connection(config).write_tls(&mut bytes).unwrap();
    bytes
}

/// Until nobody has anything more to say: tickets have come.
fn shake_hands(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) {
    let (mut client, mut server) = (connection(client), ServerConnection::new(Arc::clone(server)).unwrap());
    while client.wants_write() || server.wants_write() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        let mut there = &there[..];
        while !there.is_empty() {
            server.read_tls(&mut there).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        let mut back = &back[..];
        while !back.is_empty() {
            client.read_tls(&mut back).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
}

#[test]
fn hellos_of_openssl() {
    if !Path::new("/usr/bin/openssl").exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "nothing may be skipped here: no openssl");
        return netns_tests::report::loud("SKIPPED: openssl is not installed");
    }
    let psk = ["-psk", "1a2b3c4d", "-psk_identity", "the-identity-of-a-key"];
    for (options, identity) in [
        (&["-tls1_2"][..], None),
        (&["-tls1_3"][..], None),
        (&["-alpn", "h2,http/1.1"][..], None),
        (&["-no_ticket", "-groups", "P-521:X25519"][..], None),
        (&psk[..], Some(b"the-identity-of-a-key".to_vec())),
    ] {
        let hello = agree(&format!("{options:?}"), &hello_of_openssl(options));
        assert_eq!(hello.server_name.as_deref(), Some("app.example.org"));
        assert_eq!(hello.identities.first().map(|known| known.to_vec()), identity, "{options:?}");
    }
}

fn hello_of_openssl(options: &[&str]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-servername", "app.example.org", "-connect", &address.to_string()]).args(options);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 5];
    stream.read_exact(&mut bytes).unwrap();
    let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    bytes.resize(5 + length, 0);
    stream.read_exact(&mut bytes[5..]).unwrap();
    drop(stream);
    let _gone = child.wait();
    bytes
}
