//! Three namespaces in a row: the client, the balancer, the server. The direct path goes over the same two links,
//! forwarded by the balancer's kernel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netns_tests::lab::Lab;
use netns_tests::node::Node;

use crate::server::Server;

/// Where the balancers listen.
pub(crate) const FRONT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Their address towards the servers.
pub(crate) const BACK: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// The first of the ports of everything but the range.
pub(crate) const PORT: u16 = 80;
/// The range whose start is timed, and which connections are spread over.
pub(crate) const RANGE: (u16, u16) = (20_000, 29_999);
/// The two servers: one process, two addresses.
pub(crate) const SERVERS: [SocketAddr; 2] = [server(2), server(3)];
/// Source addresses of the clients: two thousand ports each would do, and the stick tables have entries.
const CLIENTS: u8 = 16;

/// The namespaces, and the server that runs the whole time.
pub(crate) struct Stand {
    // Fields go in this order: the server's threads before their namespace.
    _server: Server,
    pub(crate) client: Node,
    pub(crate) balancer: Node,
    _lab: Lab,
}

impl Stand {
    pub(crate) fn build() -> Self {
        let lab = Lab::new();
        let [client, balancer, server] = ["client", "balancer", "server"].map(|name| lab.node(name));
        // Straight cables: a bridge between would cost each packet a little more and tell nothing.
        balancer.ip(&format!("link add clients type veth peer name eth0 netns {}", client.namespace()));
        balancer.ip(&format!("link add servers type veth peer name eth0 netns {}", server.namespace()));
        balancer.ip(&format!(
            "addr add {FRONT}/24 dev clients\nlink set clients up\naddr add {BACK}/24 dev servers\nlink set servers up"
        ));
        for address in client_addresses() {
            client.ip(&format!("addr add {address}/24 dev eth0"));
        }
        for address in SERVERS {
            server.ip(&format!("addr add {}/24 dev eth0", address.ip()));
        }
        client.ip(&format!("link set eth0 up\nroute add default via {FRONT}"));
        server.ip("link set eth0 up\nroute add default via 10.2.0.1");
        balancer.sysctl("net/ipv4/ip_forward", "1");
        for node in [&client, &balancer] {
            node.sysctl("net/ipv4/ip_local_port_range", "10000 65535");
        }
        let answering = Server::start(&server, SERVERS[0].port());
        Self { _server: answering, client, balancer, _lab: lab }
    }
}

/// The addresses that the client connects from.
pub(crate) fn client_addresses() -> impl Iterator<Item = IpAddr> {
    (2..2 + CLIENTS).map(|last| IpAddr::from([10, 1, 0, last]))
}

const fn server(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 2, 0, last)), 9000)
}
