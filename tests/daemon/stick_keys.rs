//! What stick tables know clients by: HAProxy and vipgate on the same file.

use std::net::IpAddr;
use std::path::Path;

use super::imported::{Haproxy, ask, servers, start};
use super::support::{Client, own_ip};
use super::variables::hello;

/// Keys, of requests where nothing else is said, and the types of the tables that have them.
const KEYS: [(&str, &str); 46] = [
    ("src", "ip"),
    ("src,ipmask(24)", "ip"),
    ("src", "ipv6"),
    ("src", "integer"),
    ("src", "string len 20"),
    ("src", "binary len 4"),
    ("dst_port", "integer"),
    ("dst_port,mod(10)", "integer"),
    ("dst_port,mod(10)", "string len 9"),
    ("int(1)", "integer"),
    ("int(-1)", "integer"),
    ("str(all)", "string len 9"),
    ("src,crc32", "integer"),
    ("req.ssl_sni", "string len 40"),
    ("req.ssl_sni,lower", "string len 40"),
    ("req.ssl_sni,lower,field(2,.)", "string len 40"),
    ("req.payload(0,3)", "binary len 3"),
    ("req.payload(0,3),hex", "string len 9"),
    ("req.payload_lv(44,1)", "binary len 8"),
    ("src,map_ip_int(DIR/places.map,7)", "integer"),
    ("dst_port", "binary len 4"),
    ("dst_port", "binary len 8"),
    ("dst_port", "ip"),
    ("req.ssl_sni", "integer"),
    ("str(12ab)", "integer"),
    ("str(192.0.2.9)", "ip"),
    ("req.ssl_sni", "binary len 6"),
    ("req.ssl_sni", "ip"),
    ("src,hex", "string len 20"),
    ("dst_port,mul(70000000000)", "string len 30"),
    ("dst_port,mul(70000000000)", "integer"),
    ("req.payload(0,9)", "string len 30"),
    ("req.payload(0,3),bytes(0,2)", "string len 30"),
    ("'str(a b=c)',concat(\\\\,,)", "string len 30"),
    ("store-response res.payload(0,3)", "binary len 3"),
    ("store-response payload(1,2),hex", "string len 9"),
    ("store-response res.payload_lv(44,1)", "binary len 8"),
    ("store-response res.payload(0,3) if { res.payload(0,1) -m bin 16 }", "binary len 3"),
    ("store-response res.payload(0,2),bytes(1) unless { res.payload(0,1) -m bin 16 }", "string len 3"),
    ("store-response src", "ip"),
    ("store-response src if { res.payload(0,1) -m bin 16 }", "ip"),
    ("store-response src if { res.payload(0,1) -m bin 17 }", "ip"),
    ("store-response src,ipmask(8)", "string len 40"),
    ("store-response res.payload(0,3) if { dst_port 1 }", "binary len 3"),
    ("var(txn.kept)", "string len 40"),
    ("var(sess.kept),upper", "string len 40"),
];

fn config(ip: IpAddr, servers: IpAddr) -> String {
    let mut text = "global\n stats socket DIR/admin.sock mode 600 level admin\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n"
        .to_owned();
    for (index, (key, kind)) in KEYS.iter().enumerate() {
        let port = 7011 + index;
        // HAProxy looks before the server has said anything, unless it is told to wait.
        let rule = if key.starts_with("store-response") {
            format!("{key}\n tcp-response inspect-delay 200ms\n tcp-response content accept if WAIT_END")
        } else {
            format!("on {key}")
        };
        text += &format!(
            "frontend fe{index}\n bind {ip}:{port}\n tcp-request inspect-delay 300ms\n\
             \x20tcp-request content reject if {{ req.ssl_hello_type 2 }}\n\
             \x20tcp-request content set-var(txn.kept) req.ssl_sni\n tcp-request content set-var(sess.kept) str(ab)\n\
             \x20default_backend be{index}\n\
             backend be{index}\n stick-table type {kind} size 100 expire 10m\n stick {rule}\n server s1 {servers}:7100\n"
        );
    }
    text
}

/// The keys in each table, once clients have been there.
fn stored(ip: IpAddr, admin: &Path) -> Vec<String> {
    let of = |index: usize| {
        for said in [hello("Www.Example.org"), hello("www.example.org"), b"few".to_vec()] {
            let mut client = Client::connect_from("127.0.0.5".parse().unwrap(), (ip, 7011 + index as u16).into());
            assert!(client.hears(&said), "{}", KEYS[index].0);
        }
        let shown = ask(admin, &format!("show table be{index}"));
        let mut keys: Vec<&str> = shown.split_whitespace().filter_map(|word| word.strip_prefix("key=")).collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    (0..KEYS.len()).map(of).collect()
}

#[test]
fn clients_are_known_by_what_haproxy_knows_them_by() {
    let (servers, here, there) = (servers(), own_ip(), own_ip());
    let places = "/tmp/vipgate-places-of-stick-keys.map";
    std::fs::write(places, "127.0.0.0/8 12\n").unwrap();
    let config = |ip| config(ip, servers).replace("DIR/places.map", places);
    let daemon = start(&config(here), |_, _| {});
    let ours = stored(here, &daemon.dir.path().join("admin.sock"));
    let theirs = Haproxy::start(&config(there)).map(|haproxy| stored(there, &haproxy.socket("admin")));
    let _removed = std::fs::remove_file(places);
    for (index, (key, kind)) in KEYS.iter().enumerate() {
        if let Some(theirs) = &theirs {
            assert_eq!(ours[index], theirs[index], "vipgate, then HAProxy: stick on {key}, type {kind}");
        }
    }
    assert_eq!((ours[9].as_str(), ours[14].as_str(), ours[19].as_str()), ("1", "www.example.org", "12"));
}

/// How many connections both servers got of clients who say one after the other `said`, which the servers repeat.
fn shares(ip: IpAddr, admin: &Path, said: &[&[u8]]) -> Vec<String> {
    for said in said {
        assert!(Client::connect((ip, 7001).into()).unwrap().hears(said));
    }
    let table = ask(admin, "show stat be 4 -1");
    let rows = table.lines().filter(|line| line.starts_with("be,"));
    rows.map(|row| row.split(',').nth(7).unwrap_or_default().to_owned()).collect()
}

#[test]
fn who_says_what_a_server_has_answered_comes_to_it() {
    let (servers, here, there) = (servers(), own_ip(), own_ip());
    let config = |ip: IpAddr| {
        format!(
            "global\n stats socket DIR/admin.sock mode 600 level admin\n\
             defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
             frontend fe\n bind {ip}:7001\n tcp-request inspect-delay 2s\n tcp-request content accept if {{ req.len gt 3 }}\n default_backend be\n\
             backend be\n stick-table type binary len 4 size 100 expire 10m\n stick match req.payload(0,4)\n\
             \x20stick store-response res.payload(0,4)\n tcp-response inspect-delay 200ms\n tcp-response content accept if WAIT_END\n\
             \x20server s1 {servers}:7100\n server s2 {servers}:7100\n"
        )
    };
    let said: [&[u8]; 7] = [b"key1", b"key1", b"key1", b"key1", b"key2", b"key2", b"key1"];
    let daemon = start(&config(here), |_, _| {});
    assert_eq!(shares(here, &daemon.dir.path().join("admin.sock"), &said), ["5", "2"]);
    if let Some(haproxy) = Haproxy::start(&config(there)) {
        assert_eq!(shares(there, &haproxy.socket("admin"), &said), ["5", "2"]);
    }
}
