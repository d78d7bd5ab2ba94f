//! Conditions about services, pools and servers, with HAProxy as the measure.

use std::io::Read;
use std::net::TcpStream;

use crate::oracle::{Front, Servers, compare};
use crate::support::*;

/// Who serves five clients that stay, each of which comes when the one before it is served.
fn staying(front: &Front, servers: &Servers) -> Vec<String> {
    let come = |host: u8| {
        let mut client = connect_from(servers.client(100 + host), front.address);
        let name = greeting(&mut client);
        (client, name)
    };
    let (_clients, names): (Vec<TcpStream>, Vec<String>) = (0..5).map(come).unzip();
    names
}

#[test]
fn clients_go_elsewhere_by_what_is_open_and_free() {
    for condition in [
        "fe_conn gt 2",
        "be_conn gt 1",
        "be_conn(l) gt 1",
        "srv_conn(l/s1) gt 1",
        "srv_conn(s1) gt 1",
        "be_conn_free lt 1",
        "be_conn_free(l) eq 0",
        "srv_conn_free(l/s1) 0",
        "connslots(l) lt 4",
        "connslots(l) -m int 3",
    ] {
        let lines = format!(
            " use_backend b if {{ {condition} }}\n server s1 {{1}} maxconn 2 maxqueue 3\nbackend b\n server s2 {{2}}"
        );
        let seen = compare(&lines, staying);
        assert!(seen.is_none_or(|seen| seen == ["s1", "s1", "s2", "s2", "s2"]), "{condition}");
    }
}

#[test]
fn without_a_limit_there_is_less_room_than_none() {
    for (condition, served) in [
        ("be_conn_free(l) lt 1", "s2"),
        ("be_conn_free(l) :5", "s2"),
        ("be_conn_free(l) -- -1", "s2"),
        ("connslots(l) le -1", "s2"),
        ("srv_conn_free(l/s1) lt 0", "s2"),
        ("be_conn_free(l) 0:5", "s1"),
        ("be_conn_free(l) ge 0", "s1"),
    ] {
        let lines = format!(" use_backend b if {{ {condition} }}\n server s1 {{1}}\nbackend b\n server s2 {{2}}");
        let seen = compare(&lines, |front, servers| front.visit(servers.client(100)));
        assert!(seen.is_none_or(|seen| seen == served), "{condition}");
    }
}

#[test]
fn backups_have_room_when_they_serve_and_slots_in_any_case() {
    let servers = " server s1 {1} maxconn 2 maxqueue 1\n server s2 {2} maxconn 3 maxqueue 1 weight 0\n server s3 {3} \
                   maxconn 5 maxqueue 1 backup";
    // What clients occupy is counted before the next one asks.
    for (condition, at) in [("be_conn_free(l) lt 1", 2), ("connslots(l) lt 12", 2)] {
        let lines = format!(" use_backend b if {{ {condition} }}\n{servers}\nbackend b\n server s4 {{4}}");
        let seen = compare(&lines, |front, servers| {
            let mut clients = Vec::new();
            let came = (0..5).take_while(|host| {
                let mut client = connect_from(servers.client(100 + host), front.address);
                client.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
                let mut name = [0; 2];
                let left = client.read_exact(&mut name).is_ok() && &name == b"s4";
                clients.push(client);
                !left
            });
            came.count()
        });
        assert!(seen.is_none_or(|seen| seen == at), "{condition}: {seen:?}");
    }
}

#[test]
fn who_waits_counts_by_backend_and_by_usable_server() {
    // Two are served, three wait: two to a usable server, rounded up.
    for (condition, served) in
        [("queue(b) 3", "s4"), ("avg_queue(b) 2", "s4"), ("be_conn(b) 5", "s4"), ("srv_queue(b/s1) 0", "s4")]
    {
        let lines = format!(
            " timeout queue 9s\n use_backend c if {{ src {{net}}.200 }} {{ {condition} }}\n use_backend b if TRUE\n\
             backend b\n timeout queue 9s\n server s1 {{1}} maxconn 1\n server s2 {{2}} maxconn 1\n\
             backend c\n server s4 {{4}}"
        );
        let seen = compare(&lines, |front, servers| {
            let clients: Vec<TcpStream> =
                (0..5).map(|host| connect_from(servers.client(100 + host), front.address)).collect();
            std::thread::sleep(std::time::Duration::from_millis(200));
            let name = front.visit(servers.client(200));
            drop(clients);
            name
        });
        assert!(seen.is_none_or(|seen| seen == served), "{condition}");
    }
}

#[test]
fn rates_of_sessions_count_who_was_let_in() {
    let to_b = "\nbackend b\n server s2 {2}";
    for (lines, served) in [
        (" tcp-request session reject if { fe_sess_rate gt 2 }\n server s1 {1}", 3),
        (" tcp-request content reject if { fe_sess_rate gt 2 }\n server s1 {1}", 2),
        (" use_backend b if { fe_sess_rate(l) gt 2 }\n server s1 {1}", 2),
        (" use_backend b if { be_sess_rate(l) gt 2 }\n server s1 {1}", 3),
        (" use_backend b unless { be_sess_rate(b) le 2 }\n server s1 {1}", 7),
    ] {
        let lines = if lines.contains("use_backend") { format!("{lines}{to_b}") } else { lines.to_owned() };
        let seen = compare(&lines, |front, servers| {
            let names = (0..7).map(|host| front.visit(servers.client(100 + host)));
            names.take_while(|name| name == "s1").count()
        });
        assert!(seen.is_none_or(|seen| seen == served), "{lines}: {seen:?}");
    }
}
