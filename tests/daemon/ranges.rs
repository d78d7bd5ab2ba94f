//! Ranges of ports for all addresses beside listeners for a single one, in a network namespace: as root only.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use netns_tests::lab::Lab;
use netns_tests::node::Node;
use netns_tests::wait::{try_until, until_true};

use super::support::{BINARY, PATIENCE};

/// A server that says its name and ends the connection.
fn named(node: &Node, port: u16, name: &'static str) {
    let listener = node.exec_in(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _gone = std::io::Write::write_all(&mut stream, name.as_bytes());
        }
    });
}

/// Who answers there; nobody: nothing.
fn who(node: &Node, at: &str) -> String {
    let at: SocketAddr = at.parse().unwrap();
    node.exec_in(|| {
        let Ok(mut stream) = TcpStream::connect_timeout(&at, Duration::from_secs(2)) else { return String::new() };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut name = String::new();
        let _gone = stream.read_to_string(&mut name);
        name
    })
}

fn config(range: &str, interface: &str) -> String {
    format!(
        "defaults\n mode tcp\n timeout connect 1s\n timeout client 9s\n timeout server 9s\n\
         frontend all\n bind *:{range}\n default_backend all\n\
         frontend one\n bind 192.168.57.1:15000{interface}\n default_backend one\n\
         backend all\n server s 127.0.0.1:7001\nbackend one\n server s 127.0.0.1:7002\n"
    )
}

const PLACES: [&str; 4] = ["192.168.57.1:15000", "192.168.57.2:15000", "192.168.57.1:15001", "192.168.57.2:15001"];

/// What clients of each place get.
fn served(node: &Node) -> Vec<String> {
    let ready = try_until(PATIENCE, || (who(node, PLACES[2]) == "all").then_some(()));
    assert!(ready.is_some(), "nobody serves");
    PLACES.iter().map(|place| who(node, place)).collect()
}

#[test]
fn a_single_address_inside_a_range_has_its_own_clients() {
    let Some(lab) = Lab::for_test("ranges") else { return };
    let (node, client) = (lab.node("n"), lab.node("c"));
    let front = lab.lan("front");
    front.attach(&node, "eth1", &["192.168.57.1/24", "192.168.57.2/24"]);
    front.attach(&client, "eth1", &["192.168.57.9/24"]);
    named(&node, 7001, "all");
    named(&node, 7002, "one");
    let dir = node.dir().display().to_string();
    let file = format!("{dir}/haproxy.cfg");
    let expected = ["one", "all", "all", "all"];
    // Steered; a listener a port, for the range is short; the same, for a listener is tied to an interface.
    for (range, interface, steered) in
        [("14990-15100", "", true), ("14995-15005", "", false), ("14990-15100", " interface eth1", false)]
    {
        node.write("haproxy.cfg", &config(range, interface));
        let check = node.run(&format!("{BINARY} check --haproxy {dir}/haproxy.cfg"));
        assert_eq!(check.contains(&format!("{range} of all")), steered, "{check}");
        let daemon = node.spawn("vipgate", node.command(BINARY).args(["run", "--haproxy", &file, "--run-dir", &dir]));
        assert_eq!(served(&client), expected, "{range}{interface}");
        let many = node.run("ss -Hltn sport = :15050").lines().count();
        assert_eq!(many == 0, steered || range.ends_with("05"), "{range}{interface}");
        if steered {
            // It comes and goes with a reload, and the range takes over.
            let text = config(range, "");
            let without =
                text.split("frontend one").next().unwrap().to_owned() + "backend all\n server s 127.0.0.1:7001\n";
            for (text, name) in [(&without, "all"), (&text, "one")] {
                node.write("haproxy.cfg", text);
                node.run(&format!("{BINARY} reload --run-dir {dir}"));
                until_true(name, PATIENCE, || who(&client, PLACES[0]) == name);
                assert_eq!(who(&client, PLACES[1]), "all");
            }
        }
        drop(daemon);
        until_true("the ports to be free", PATIENCE, || who(&client, PLACES[2]).is_empty());
        let haproxy = node.spawn("haproxy", node.command("/usr/sbin/haproxy").args(["-db", "-f", &file]));
        assert_eq!(served(&client), expected, "HAProxy: {range}{interface}");
        drop(haproxy);
        until_true("the ports to be free", PATIENCE, || who(&client, PLACES[2]).is_empty());
    }
}
