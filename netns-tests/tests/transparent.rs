//! Servers that see their clients' addresses: what they answer is led back to the front node, and where it goes another way
//! the operator is told. HAProxy, with the same file, stands beside: the rules are for its sockets, too.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use netns_tests::gate::Gate;
use netns_tests::lab::Lab;
use netns_tests::lan::Lan;
use netns_tests::node::Node;
use netns_tests::wait::until_true;
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(5);
const CLIENT: &str = "10.1.0.2";
const CLIENT_V6: &str = "fd00:1::2";

/// A client and a server in networks of their own, and between them the front node, which is the server's gateway.
struct Triangle {
    _lab: Lab,
    front: Lan,
    client: Node,
    gate: Node,
    server: Node,
}

impl Triangle {
    fn for_test(name: &str) -> Option<Self> {
        let lab = Lab::for_test(name)?;
        let (front, back) = (lab.lan("front"), lab.lan("back"));
        let [client, gate, server] = ["client", "gate", "server"].map(|name| lab.node(name));
        front.attach(&client, "eth0", &["10.1.0.2/24", "fd00:1::2/64"]);
        front.attach(&gate, "eth0", &["10.1.0.1/24", "fd00:1::1/64"]);
        back.attach(&gate, "eth1", &["10.2.0.1/24", "fd00:2::1/64"]);
        back.attach(&server, "eth0", &["10.2.0.2/24", "fd00:2::2/64"]);
        server.ip("route add default via 10.2.0.1\nroute add default via fd00:2::1");
        // As many distributions have it: a packet is to come from where its sender is reached.
        gate.sysctl("net/ipv4/conf/all/rp_filter", "1");
        server.sysctl("net/ipv4/conf/all/rp_filter", "0");
        server.sysctl("net/ipv4/conf/default/rp_filter", "0");
        serve_peer_addresses(&server);
        Some(Self { _lab: lab, front, client, gate, server })
    }

    /// The client's address, as the client and as the server see it.
    fn ask(&self, to: &str) -> std::io::Result<[SocketAddr; 2]> {
        let to = to.parse().expect("an address");
        let mut stream = self.client.connect_from(None, to, LIMIT)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let seen = text.parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
        Ok([stream.local_addr()?, seen])
    }

    #[track_caller]
    fn wait_for(&self, to: &str) -> [SocketAddr; 2] {
        until_true(format!("an answer at {to}"), LIMIT, || self.ask(to).is_ok());
        self.ask(to).expect("it answered before")
    }

    /// What is set up for the way back, in the words of the tools.
    fn traces(&self) -> String {
        let list = "ip rule; ip -6 rule; ip route show table 118118; ip -6 route show table 118118; nft list tables";
        let output = self.gate.try_run(list);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ours = |line: &&str| line.contains("118118") || line.contains("default") || line.contains("vipgate");
        text.lines().filter(ours).filter(|line| !line.contains("lookup default")).collect::<Vec<_>>().join("\n")
    }
}

/// At port 7000: says where the connection comes from.
fn serve_peer_addresses(node: &Node) {
    let listener = node.exec_in(|| TcpListener::bind("[::]:7000").expect("a free port"));
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let seen = stream.peer_addr().map(|seen| SocketAddr::new(seen.ip().to_canonical(), seen.port()));
            let _ = stream.write_all(seen.map(|seen| seen.to_string()).unwrap_or_default().as_bytes());
        }
    });
}

/// One service for each kind of source, from `first` on.
fn haproxy_cfg(first: u16) -> String {
    let mut text = "defaults\n mode tcp\n timeout connect 1s\n timeout client 10s\n timeout server 10s\n".to_owned();
    let kinds = [
        ("0.0.0.0:", "source 0.0.0.0 usesrc clientip", "10.2.0.2:7000"),
        ("0.0.0.0:", "source 0.0.0.0 usesrc client", "10.2.0.2:7000"),
        ("0.0.0.0:", "source 10.2.0.1 usesrc 10.9.9.9", "10.2.0.2:7000"),
        ("[::]:", "source [::] usesrc clientip", "[fd00:2::2]:7000"),
    ];
    for (port, (bind, source, server)) in (first..).zip(kinds) {
        let v6 = if bind.starts_with('[') { " v6only" } else { "" };
        text += &format!("listen l{port}\n bind {bind}{port}{v6}\n server s {server} {source}\n");
    }
    text
}

/// The same services, each with its server's source.
fn toml(sources: [&str; 4]) -> String {
    let mut text = String::new();
    for (index, source) in sources.into_iter().enumerate() {
        let (host, server) = if index == 3 { ("[::]", "[fd00:2::2]") } else { ("0.0.0.0", "10.2.0.2") };
        text +=
            &format!("[[service]]\nname = \"s{index}\"\nlisten = \"{host}:{}\"\npool = \"p{index}\"\n", 8000 + index);
        let server = format!("{{ name = \"s\", address = \"{server}:7000\", source = {source} }}");
        text += &format!("[[pool]]\nname = \"p{index}\"\nservers = [{server}]\n");
    }
    text
}

const TRANSPARENT: [&str; 4] = [
    "{ transparent = \"client-ip\" }",
    "{ transparent = \"client\" }",
    "{ address = \"10.2.0.1\", transparent = \"10.9.9.9\" }",
    "{ transparent = \"client-ip\" }",
];
const OWN: [&str; 4] = ["\"10.2.0.1\"", "\"10.2.0.1\"", "\"10.2.0.1\"", "\"fd00:2::1\""];

/// What the four services at `first` show to the server.
#[track_caller]
fn judge(triangle: &Triangle, first: u16, who: &str) {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let [_, seen] = triangle.wait_for(&format!("10.1.0.1:{first}"));
    assert_eq!(seen.ip(), address(CLIENT), "{who}: the client's address");
    let [own, seen] = triangle.wait_for(&format!("10.1.0.1:{}", first + 1));
    assert_eq!(seen, own, "{who}: the client's address and port");
    let [_, seen] = triangle.wait_for(&format!("10.1.0.1:{}", first + 2));
    assert_eq!(seen.ip(), address("10.9.9.9"), "{who}: an address");
    let [_, seen] = triangle.wait_for(&format!("[fd00:1::1]:{}", first + 3));
    assert_eq!(seen.ip(), address(CLIENT_V6), "{who}: IPv6");
}

#[test]
fn servers_see_the_client_s_address_and_nothing_stays_behind() {
    let Some(triangle) = Triangle::for_test("servers_see_the_client_s_address_and_nothing_stays_behind") else {
        return;
    };
    let toml = triangle.gate.write("vipgate.toml", &toml(TRANSPARENT));
    let cfg = triangle.gate.write("haproxy.cfg", &haproxy_cfg(8000));
    let beside = triangle.gate.write("beside.cfg", &haproxy_cfg(8100));
    for (option, file, end) in [("--config", &toml, Signal::SIGTERM), ("--haproxy", &cfg, Signal::SIGKILL)] {
        let gate = Gate::from_file(&triangle.gate, option, file);
        judge(&triangle, 8000, option);
        let traces = triangle.traces();
        assert_eq!(traces.matches("fwmark").count(), 2, "a rule a family:\n{traces}");
        assert!(traces.contains("-divert"), "{traces}");
        if option == "--haproxy" {
            let mut command = triangle.gate.command("haproxy");
            let haproxy = triangle.gate.spawn("haproxy", command.args(["-db", "-f"]).arg(&beside));
            judge(&triangle, 8100, "HAProxy");
            drop(haproxy);
        }
        gate.main().signal(end);
        until_true(format!("{end}: nothing is left"), LIMIT, || triangle.traces().is_empty());
    }
}

#[test]
fn a_reload_begins_and_ends_it() {
    let Some(triangle) = Triangle::for_test("a_reload_begins_and_ends_it") else { return };
    let file = triangle.gate.write("vipgate.toml", &toml(OWN));
    let gate = Gate::from_file(&triangle.gate, "--config", &file);
    let seen = triangle.wait_for("10.1.0.1:8000")[1];
    assert_eq!((seen.ip().to_string(), triangle.traces()), ("10.2.0.1".to_owned(), String::new()));
    triangle.gate.write("vipgate.toml", &toml(TRANSPARENT));
    gate.reread();
    until_true("the client's address is seen", LIMIT, || {
        triangle.ask("10.1.0.1:8000").is_ok_and(|[_, seen]| seen.ip().to_string() == CLIENT)
    });
    triangle.gate.write("vipgate.toml", &toml(OWN));
    gate.reread();
    until_true("nothing is left", LIMIT, || triangle.traces().is_empty());
    assert_eq!(triangle.wait_for("10.1.0.1:8000")[1].ip().to_string(), "10.2.0.1");
}

#[test]
fn answers_that_go_another_way_are_told_of() {
    let Some(triangle) = Triangle::for_test("answers_that_go_another_way_are_told_of") else { return };
    let file = triangle
        .gate
        .write("haproxy.cfg", &haproxy_cfg(8000).replace("timeout connect 1s", "timeout connect 300ms\n retries 0"));
    let gate = Gate::from_file(&triangle.gate, "--haproxy", &file);
    triangle.wait_for("10.1.0.1:8000");
    let lost = |gate: &Gate| {
        let status = gate.status().unwrap_or_default();
        let causes = status["causes"].as_array().cloned().unwrap_or_default();
        causes
            .iter()
            .filter_map(|cause| cause.as_str())
            .any(|cause| cause.contains("does not come back through this node"))
    };
    assert!(!lost(&gate), "{}", gate.log());
    // The server gets a way of its own to the client.
    triangle.front.attach(&triangle.server, "eth1", &["10.1.0.9/24"]);
    assert!(triangle.ask("10.1.0.1:8000").is_err(), "the answer goes to the client, who knows nothing of it");
    until_true("status says so", LIMIT, || lost(&gate));
    let told = "Server l8000/s at 10.2.0.2:7000 answers this node, but what it answers to 10.1.0.2 does not come back";
    assert!(gate.log().contains(told), "{}", gate.log());
    triangle.server.ip("link del eth1");
    triangle.wait_for("10.1.0.1:8000");
    until_true("all is well again", LIMIT, || !lost(&gate));
    // A server that is gone is not this.
    triangle.server.ip("link set eth0 down");
    assert!(triangle.ask("10.1.0.1:8000").is_err());
    netns_tests::wait::pass(Duration::from_millis(2500));
    assert!(!lost(&gate), "{}", gate.log());
}
