//! Four servers that share no key: OpenSSL, nginx, rustls, Java.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::ServerSessionMemoryCache;
use rustls::{ServerConfig, ServerConnection, version};

use crate::java;

/// How sessions are resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Ids12,
    Tickets12,
    Tickets13,
    /// TLS 1.3, after the server has asked for another hello.
    Retry13,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ids12 => "TLS 1.2 ids",
            Self::Tickets12 => "TLS 1.2 tickets",
            Self::Tickets13 => "TLS 1.3 tickets",
            Self::Retry13 => "TLS 1.3, second hello",
        }
    }

    pub(crate) fn is_tls13(self) -> bool {
        matches!(self, Self::Tickets13 | Self::Retry13)
    }
}

/// A server and where it is.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Vec<u8>,
    mode: Mode,
    directory: PathBuf,
    running: Option<Running>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenSsl,
    Nginx,
    Rustls,
    Java,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] = [Self::OpenSsl, Self::Nginx, Self::Rustls, Self::Java];

    /// How long the names of its ticket keys are.
    pub(crate) fn name_length(self) -> usize {
        if self == Self::Java { 4 } else { 16 }
    }
}

enum Running {
    Process(Child),
    Java,
    Thread { stop: Arc<AtomicBool>, config: Arc<Mutex<Arc<ServerConfig>>> },
}

impl Server {
    pub(crate) fn start(kind: Kind, address: SocketAddr, mode: Mode, directory: &Path) -> Self {
        let directory = directory.join(format!("{kind:?}-{mode:?}"));
        std::fs::create_dir_all(&directory).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["app.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        let certificate = certificate.der().to_vec();
        let mut server = Self { kind, address, certificate, mode, directory, running: None };
        server.rise();
        server
    }

    /// Starts, with new keys for tickets and without any session.
    pub(crate) fn rise(&mut self) {
        self.running = Some(match self.kind {
            Kind::OpenSsl => Running::Process(self.open_ssl()),
            Kind::Nginx => Running::Process(self.nginx()),
            Kind::Rustls => self.rustls(),
            Kind::Java => {
                java::open(self.address, self.mode, &self.directory);
                Running::Java
            }
        });
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < end, "{:?} does not listen", self.kind);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn fall(&mut self) {
        match self.running.take() {
            Some(Running::Process(mut child)) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Some(Running::Java) => java::close(self.address),
            Some(Running::Thread { stop, .. }) => {
                stop.store(true, Ordering::SeqCst);
                let _wakes = TcpStream::connect(self.address);
                let end = Instant::now() + Duration::from_secs(20);
                while TcpStream::connect(self.address).is_ok() {
                    assert!(Instant::now() < end, "the server still listens");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            None => {}
        }
    }

    /// Other keys for tickets, without a pause.
    pub(crate) fn rotate(&mut self) {
        if let Some(Running::Thread { config, .. }) = &self.running {
            *config.lock().unwrap() = self.config();
        } else {
            self.fall();
            self.rise();
        }
    }

    fn open_ssl(&self) -> Child {
        let options: &[&str] = match self.mode {
            Mode::Ids12 => &["-tls1_2", "-no_ticket"],
            Mode::Tickets12 => &["-tls1_2"],
            Mode::Tickets13 => &["-tls1_3"],
            Mode::Retry13 => &["-tls1_3", "-groups", "P-256"],
        };
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-cert", "cert.pem", "-key", "key.pem", "-accept"]);
        command.arg(self.address.to_string()).args(options).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn nginx(&self) -> Child {
        let (protocol, tickets, cache) = match self.mode {
            Mode::Ids12 => ("TLSv1.2", "off", "shared:S:1m"),
            Mode::Tickets12 => ("TLSv1.2", "on", "none"),
            Mode::Tickets13 | Mode::Retry13 => ("TLSv1.3", "on", "none"),
        };
        let curve = if self.mode == Mode::Retry13 { "prime256v1" } else { "auto" };
        let (address, directory) = (self.address, self.directory.display());
        let text = format!(
            "daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\nevents {{}}\n\
             http {{\n access_log off;\n client_body_temp_path {directory}/a;\n proxy_temp_path {directory}/b;\n \
             fastcgi_temp_path {directory}/c;\n uwsgi_temp_path {directory}/d;\n scgi_temp_path {directory}/e;\n server {{\n \
             listen {address} ssl;\n ssl_certificate {directory}/cert.pem;\n ssl_certificate_key {directory}/key.pem;\n \
             ssl_protocols {protocol};\n ssl_session_tickets {tickets};\n ssl_session_cache {cache};\n \
             ssl_ecdh_curve {curve};\n location / {{ return 200 hello; }}\n }}\n}}\n"
        );
        let config = self.directory.join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(&config).arg("-p").arg(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut provider = ring::default_provider();
        if self.mode == Mode::Retry13 {
            provider.kx_groups = vec![ring::kx_group::SECP256R1];
        }
        let provider: Arc<CryptoProvider> = Arc::new(provider);
        let versions = if self.mode.is_tls13() { [&version::TLS13] } else { [&version::TLS12] };
        let certificates = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::from_pem_file(self.directory.join("key.pem")).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        config.session_storage = ServerSessionMemoryCache::new(10_000);
        if self.mode != Mode::Ids12 {
            config.ticketer = ring::Ticketer::new().unwrap();
        }
        Arc::new(config)
    }

    fn rustls(&self) -> Running {
        let listener = TcpListener::bind(self.address).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let config = Arc::new(Mutex::new(self.config()));
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(&config));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let config = Arc::clone(&shared.lock().unwrap());
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || answer(stream, config));
            }
        });
        Running::Thread { stop, config }
    }
}

fn answer(mut stream: TcpStream, config: Arc<ServerConfig>) {
    let _gone = stream.set_nodelay(true);
    let mut tls = ServerConnection::new(config).unwrap();
    let mut both = rustls::Stream::new(&mut tls, &mut stream);
    let mut request = [0; 1024];
    // A client that only looks whether somebody listens says nothing.
    if matches!(both.read(&mut request), Ok(count) if count > 0) {
        let _gone = both.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello");
        both.conn.send_close_notify();
        let _gone = both.flush();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.fall();
    }
}
