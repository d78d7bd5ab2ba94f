//! What stands in front of the servers: vipgate, or HAProxy as people configure it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vipgate::model::{Affinity, ListenAddress, Pool, PortRange, Server, ServerPort, Service, TlsAffinity};
use vipgate::proxy::Proxy;
use vipgate::stats::Registry;

/// One of them.
pub(crate) enum Front {
    Vipgate { proxy: Box<Proxy>, registry: Arc<Registry> },
    Haproxy(Child),
}

/// What HAProxy sticks on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stick {
    /// As CCC's guide has it.
    Idiom,
    Source,
}

impl Front {
    pub(crate) fn vipgate(at: SocketAddr, servers: &[SocketAddr]) -> Self {
        let server = |(index, address): (usize, &SocketAddr)| Server {
            port: ServerPort::Fixed(address.port()),
            ..Server::new(format!("s{index}"), address.ip())
        };
        let servers = servers.iter().enumerate().map(server).collect();
        let affinity = Affinity::Tls(TlsAffinity::default());
        let connect_timeout = Some(Duration::from_secs(3));
        let pool = Pool { affinity, connect_timeout, ..Pool::new("app", servers) };
        let listen = vec![ListenAddress::new(at.ip(), PortRange::new(at.port(), at.port()).unwrap())];
        let service = Service { listen, log: false, ..Service::new("https", "app") };
        let registry = Arc::new(Registry::default());
        let mut proxy = Proxy::start(2, Arc::clone(&registry), None, true).unwrap();
        let prepared = proxy.prepare(&[service], &[pool]).unwrap();
        proxy.commit(prepared);
        Self::Vipgate { proxy: Box::new(proxy), registry }
    }

    pub(crate) fn haproxy(at: SocketAddr, servers: &[SocketAddr], stick: Stick, directory: &Path) -> Self {
        let sticks = match stick {
            Stick::Idiom => {
                " stick-table type binary len 32 size 30k expire 30m\n acl clienthello req_ssl_hello_type 1\n \
                 acl serverhello rep_ssl_hello_type 2\n tcp-request inspect-delay 5s\n \
                 tcp-request content accept if clienthello\n tcp-response content accept if serverhello\n \
                 stick on payload_lv(43,1) if clienthello\n stick store-response payload_lv(43,1) if serverhello\n"
            }
            Stick::Source => " stick-table type ip size 30k expire 30m\n stick on src\n",
        };
        let servers: String =
            servers.iter().enumerate().map(|(index, address)| format!(" server s{index} {address}\n")).collect();
        let text = format!(
            "global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
             frontend https-in\n bind {at}\n default_backend app\nbackend app\n balance roundrobin\n{sticks}{servers}"
        );
        let config = directory.join(format!("haproxy-{}.cfg", at.port()));
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(&config);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(at).is_err() {
            assert!(Instant::now() < end, "HAProxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self::Haproxy(child)
    }

    /// The names of the keys of a server that vipgate knows.
    pub(crate) fn key_names(&self, server: usize) -> Vec<String> {
        match self {
            Self::Vipgate { registry, .. } => registry.server("app", &format!("s{server}")).status().key_names.clone(),
            Self::Haproxy(_) => Vec::new(),
        }
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        match self {
            Self::Vipgate { proxy, .. } => proxy,
            Self::Haproxy(_) => panic!("this is HAProxy"),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Self::Haproxy(child) = self {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}
