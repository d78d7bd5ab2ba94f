//! What stick tables know clients by: HAProxy and vipgate on the same file.

use std::net::IpAddr;
use std::path::Path;

use super::imported::{Haproxy, ask, servers, start};
use super::support::{Client, own_ip};
use super::variables::hello;

/// Keys, and the types of the tables that have them.
const KEYS: [(&str, &str); 36] = [
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
    ("var(txn.kept)", "string len 40"),
    ("var(sess.kept),upper", "string len 40"),
];

fn config(ip: IpAddr, servers: IpAddr) -> String {
    let mut text = "global\n stats socket DIR/admin.sock mode 600 level admin\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n"
        .to_owned();
    for (index, (key, kind)) in KEYS.iter().enumerate() {
        let port = 7011 + index;
        text += &format!(
            "frontend fe{index}\n bind {ip}:{port}\n tcp-request inspect-delay 300ms\n\
             \x20tcp-request content reject if {{ req.ssl_hello_type 2 }}\n\
             \x20tcp-request content set-var(txn.kept) req.ssl_sni\n tcp-request content set-var(sess.kept) str(ab)\n\
             \x20default_backend be{index}\n\
             backend be{index}\n stick-table type {kind} size 100 expire 10m\n stick on {key}\n server s1 {servers}:7100\n"
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
