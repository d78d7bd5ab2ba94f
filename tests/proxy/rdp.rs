//! Clients of RDP, known by the user whom the cookie in their request names, with HAProxy as the measure.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate::model::AdminState;

use crate::oracle::{Front, Servers, compare};
use crate::support::*;

/// A connection request with this line.
fn request(line: &str) -> Vec<u8> {
    let length = u8::try_from(11 + line.len()).unwrap();
    [&[3, 0, 0, length, length - 5, 0xe0, 0, 0, 0, 0, 0], line.as_bytes()].concat()
}

/// Who serves a client that says this, in two pieces.
fn ask(front: &Front, servers: &Servers, host: u8, line: &str) -> String {
    let mut client = connect_from(servers.client(host), front.address);
    let said = request(line);
    let (first, rest) = said.split_at(said.len() / 2);
    client.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    client.write_all(rest).unwrap();
    greeting(&mut client)
}

const WAITING: &str = " tcp-request inspect-delay 2s\n tcp-request content accept if RDP_COOKIE\n";

#[test]
fn users_stay_with_their_servers_wherever_they_come_from() {
    let lines = format!(
        "{WAITING} stick-table type string len 32 size 1k\n stick on req.rdp_cookie(mstshash)\n\
         \x20server s1 {{1}}\n server s2 {{2}}\n server s3 {{3}}"
    );
    let seen = compare(&lines, |front, servers| {
        [
            (100, "Cookie: mstshash=alice\r\n"),
            (101, "Cookie: mstshash=bob\r\n"),
            (102, "cookie:MSTSHASH=alice\r\n"),
            (100, "Cookie: mstshash=bob\r\n"),
            (103, "Cookie: mstshash=alice\r\n\x01\0\x08\0\x03\0\0\0"),
            // Another user, and nobody.
            (104, "Cookie: mstshash=Alice\r\n"),
            (105, "Cookie: msts=3640205228.15629.0000\r\n"),
        ]
        .map(|(host, line)| ask(front, servers, host, line))
    });
    assert!(seen.is_none_or(|seen| seen == ["s1", "s2", "s1", "s2", "s1", "s3", "s1"]));
}

/// How a session broker names a server.
fn token(server: IpAddr, port: u16) -> String {
    let IpAddr::V4(address) = server else { panic!("{server} is not of IPv4") };
    format!("Cookie: msts={}.{}.0000\r\n", u32::from_le_bytes(address.octets()), port.swap_bytes())
}

#[test]
fn a_routing_token_leads_to_its_server() {
    let servers = " stick-table type ip size 1k\n stick on src\n use-server s1 if { src {net}.120 }\n server s1 {1}\n \
                   server s2 {2}\n server s3 {3}";
    for (option, in_maintenance) in [("", "s2"), (" option persist\n", "")] {
        let seen = compare(&format!("{WAITING} persist rdp-cookie\n{option}{servers}"), |front, servers| {
            let third = token(servers.client(4), 9000);
            let mut seen = vec![
                ask(front, servers, 100, &third),
                ask(front, servers, 101, &third),
                // Nobody's address, port or cookie: in turn, and remembered.
                ask(front, servers, 102, &token(servers.client(9), 9000)),
                ask(front, servers, 103, &token(servers.client(4), 9001)),
                ask(front, servers, 104, "Cookie: mstshash=alice\r\n"),
                // Before what is remembered, after what a rule says.
                ask(front, servers, 102, &third),
                ask(front, servers, 120, &third),
            ];
            front.set_admin("s3", AdminState::Maintenance);
            seen.push(ask(front, servers, 110, &third));
            seen
        });
        let Some(seen) = seen else { return };
        assert_eq!(
            (&seen[..2], &seen[5..7]),
            (&["s3".to_owned(), "s3".to_owned()][..], &["s3".to_owned(), "s1".to_owned()][..])
        );
        assert!(in_maintenance.is_empty() || seen[7] != "s3", "{seen:?}");
    }
}

#[test]
fn a_hash_of_the_user_chooses_the_server() {
    let lines = format!("{WAITING} balance rdp-cookie(mstshash)\n server s1 {{1}}\n server s2 {{2}}\n server s3 {{3}}");
    let seen = compare(&lines, |front, servers| {
        let user = |host: u8, name: &str| ask(front, servers, host, &format!("Cookie: mstshash={name}\r\n"));
        let alike = (100..106).map(|host| user(host, "alice")).collect::<BTreeSet<_>>().len();
        let all = (0..40).map(|number| user(100, &format!("user{number}"))).collect::<BTreeSet<_>>().len();
        (alike, all)
    });
    assert!(seen.is_none_or(|seen| seen == (1, 3)));
}

#[test]
fn who_speaks_something_else_does_not_wait() {
    let seen = compare(&format!("{WAITING} server s1 {{1}}"), |front, servers| {
        let start = Instant::now();
        let mut client = connect_from(servers.client(100), front.address);
        client.write_all(b"SSH-2.0-OpenSSH_9.2p1 and more\r\n").unwrap();
        (greeting(&mut client), start.elapsed() < Duration::from_millis(1500))
    });
    assert!(seen.is_none_or(|seen| seen == ("s1".to_owned(), true)));
}
