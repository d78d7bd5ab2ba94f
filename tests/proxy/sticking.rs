//! What a stick table knows clients by, as vipgate and HAProxy do it from the same file.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::rules::on_both;
use crate::support::*;

/// Who serves a client at this address, which says something first.
fn ask(from: IpAddr, address: SocketAddr, says: &str) -> String {
    let mut client = connect_from(from, address);
    client.write_all(says.as_bytes()).unwrap();
    greeting(&mut client)
}

#[test]
fn what_is_stored_when_the_server_answers_leads_later_clients() {
    let file = "listen l\n bind {1}:8000\n stick-table type ip size 1k expire 1m\n\
                \x20stick match src,ipmask(24)\n stick store-response src,ipmask(24)\n\
                \x20server s1 {2}:9000\n server s2 {3}:9000\n";
    let expected = ["aa", "bb", "aa", "bb"].map(str::to_owned);
    on_both(file, &expected, |net| {
        let client = |network: u8, host: u8| Ipv4Addr::new(127, 45, network, host).into();
        [(1, 1), (2, 1), (1, 2), (2, 2)].map(|(network, host)| ask(client(network, host), net.at(1, 8000), ""))
    });
}

#[test]
fn pools_share_a_table_of_networks() {
    let file = "frontend a\n bind {1}:8000\n default_backend one\nfrontend b\n bind {1}:8001\n default_backend two\n\
                backend one\n stick-table type ip size 1k expire 1m\n stick on src,ipmask(24)\n\
                \x20server s1 {2}:9000\n server s2 {3}:9000\n\
                backend two\n stick match src,ipmask(24) table one\n stick store-request src,ipmask(24) table one\n\
                \x20server s1 {2}:9000\n server s2 {3}:9000\n";
    let expected = ["aa", "aa", "bb", "aa", "bb", "aa", "aa"].map(str::to_owned);
    on_both(file, &expected, |net| {
        let client = |network: u8, host: u8| Ipv4Addr::new(127, 44, network, host).into();
        let (one, two) = (net.at(1, 8000), net.at(1, 8001));
        [
            ask(client(1, 1), one, ""),
            ask(client(1, 2), one, ""),
            ask(client(2, 1), one, ""),
            // By the other pool, in any order.
            ask(client(1, 3), two, ""),
            ask(client(2, 2), two, ""),
            // One that this pool puts into the table is known to the other.
            ask(client(3, 1), two, ""),
            ask(client(3, 2), one, ""),
        ]
    });
}

#[test]
fn clients_are_known_by_what_they_say() {
    let file = "frontend a\n bind {1}:8000\n tcp-request inspect-delay 2s\n tcp-request content accept if { req.len ge 6 }\n\
                \x20default_backend one\n\
                backend one\n stick-table type string len 8 size 1k\n stick on req.payload_lv(0,2) if { src 127.0.0.0/8 }\n\
                \x20server s1 {2}:9000\n server s2 {3}:9000\n";
    let expected = ["aa", "bb", "aa", "bb", "bb", "aa"].map(str::to_owned);
    on_both(file, &expected, |net| {
        let (client, one) = (net.ip(5), net.at(1, 8000));
        ["\0\x04anna", "\0\x04otto", "\0\x04anna", "\0\x04otto", "\0\x04otto..", "\0\x04anna"]
            .map(|says| ask(client, one, says))
    });
}
