//! Converters and maps in rules, with HAProxy as the measure.

use std::io::{Read as _, Write as _};

use crate::hello::plain;
use crate::rules::{first_two, native, on_both, run};
use crate::support::*;

const BACKENDS: &str =
    "backend aa\n server s {2}:9000\nbackend bb\n server s {3}:9000\nbackend cc\n server s {4}:9000\n";

fn file(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("vipgate-maps-{name}-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn hello_at(net: &Net, port: u16, name: &str) -> String {
    let mut client = connect(net.at(1, port));
    client.write_all(&plain(name)).unwrap();
    outcome(first_two(&mut client))
}

/// Whether a client that is turned away sees an end or a reset is a matter of time.
fn outcome(seen: String) -> String {
    if seen == "reset" { "end".to_owned() } else { seen }
}

/// As a router of OpenShift's writes it.
#[test]
fn a_map_of_expressions_says_who_passes_through_and_where_to() {
    let passes = file("passes", "^a\\.example\\.?(:[0-9]+)?(/.*)?$ 1\n^(b|none)\\.example$ 1\n");
    let pools = file("pools", "^a\\.example\\.?(:[0-9]+)?(/.*)?$ aa\n^b\\.example$ bb\n");
    let text = format!(
        "frontend public\n bind {{1}}:443\n tcp-request inspect-delay 5s\n tcp-request content accept if {{ req_ssl_hello_type 1 }}\n\
         acl sni req.ssl_sni -m found\n acl sni_passthrough req.ssl_sni,map_reg({passes}) -m found\n\
         use_backend %[req.ssl_sni,map_reg({pools})] if sni sni_passthrough\n use_backend cc if sni\n{BACKENDS}"
    );
    let expected = ["aa", "bb", "end", "cc", "aa"].map(str::to_owned).to_vec();
    on_both(&text, &expected, |net| {
        // Of the one that passes through to nowhere nobody else takes care.
        ["a.example", "b.example", "none.example", "c.example", "a.example."]
            .map(|name| hello_at(net, 443, name))
            .to_vec()
    });
}

#[test]
fn what_converters_make_is_compared_as_what_it_is() {
    let numbers = file("numbers", "a.example 5\nb.example 20\n");
    let networks = file("addresses", "127.0.0.0/8 192.0.2.9\n");
    let ends = file("dots", "example aa\norg bb\n");
    let text = format!(
        "frontend numbers\n bind {{1}}:81\n tcp-request inspect-delay 5s\n tcp-request content accept if {{ req_ssl_hello_type 1 }}\n\
         use_backend aa if {{ req.ssl_sni,map_str_int({numbers},50) lt 10 }}\n\
         use_backend bb if {{ req.ssl_sni,map_str_int({numbers}) -m found }}\n default_backend cc\n\
         frontend addresses\n bind {{1}}:82\n use_backend bb if {{ src,map_ip_ip({networks}) 192.0.2.8/31 }} {{ src,ipmask(24) {{6}} }}\n\
         use_backend aa if {{ src,ipmask(8) 127.0.0.0 }}\n default_backend cc\n\
         frontend parts\n bind {{1}}:83\n tcp-request inspect-delay 5s\n tcp-request content accept if {{ req_ssl_hello_type 1 }}\n\
         use_backend %[req.ssl_sni,lower,word(-1,.),map({ends})] if {{ req.ssl_sni,field(1,.) -m len 1 }}\n\
         use_backend bb if {{ req.ssl_sni,upper,field(2,.) EXAMPLE }}\n default_backend cc\n\
         frontend text\n bind {{1}}:8090\n use_backend aa if {{ dst_port,field(1,9) -m str 80 }}\n default_backend cc\n{BACKENDS}"
    );
    let expected = ["aa", "bb", "cc", "aa", "aa", "bb", "cc", "bb", "cc", "aa"].map(str::to_owned).to_vec();
    on_both(&text, &expected, |net| {
        let mut seen: Vec<String> =
            ["a.example", "b.example", "c.example"].map(|name| hello_at(net, 81, name)).to_vec();
        seen.push(first_two(&mut connect(net.at(1, 82))));
        seen.extend(
            ["a.example", "B.Example.ORG", "x.net", "www.example.net", "www.net"].map(|name| hello_at(net, 83, name)),
        );
        seen.push(first_two(&mut connect(net.at(1, 8090))));
        seen
    });
}

#[test]
fn networks_are_counted_as_one_source() {
    let text = format!(
        "frontend few\n bind {{1}}:80\n tcp-request connection track-sc0 src,ipmask(30) table counted\n\
         tcp-request connection track-sc1 src table counted\n\
         tcp-request connection reject if {{ sc0_conn_cnt gt 3 }}\n use_backend bb if {{ sc1_conn_cnt ge 2 }}\n default_backend aa\n\
         backend counted\n stick-table type ip size 10 expire 1m store conn_cnt\n{BACKENDS}"
    );
    let expected = ["aa", "aa", "bb", "end", "aa"].map(str::to_owned).to_vec();
    on_both(&text, &expected, |net| {
        let visit = |host: u8| outcome(first_two(&mut connect_from(net.ip(host), net.at(1, 80))));
        [5, 6, 6, 7, 9].map(visit).to_vec()
    });
}

#[test]
fn an_explanation_goes_by_maps() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "aa");
    let names = file("explained", "a.example one\nb.example nobody\n");
    let (front, server) = (net.ip(1), net.ip(2));
    let running = run(&native(&format!(
        "[[service]]\nname = \"web\"\nlisten = \"{front}:80\"\npool = \"rest\"\n\
         rules = [\"use-pool %[req.ssl_sni,lower,map({names})] unless {{ req.ssl_sni -m beg x. }}\"]\n\
         [[pool]]\nname = \"one\"\nservers = [\"{server}:9000\"]\n[[pool]]\nname = \"rest\"\nservers = [\"{server}:9000\"]\n"
    )));
    let explain = |name: &str| {
        let explained = running.proxy.explain("web", std::net::SocketAddr::new(net.ip(8), 0), Some(name)).unwrap();
        (explained.steps.join("; "), explained.pool.unwrap())
    };
    assert_eq!(explain("A.example"), ("pool rules: one".to_owned(), "one".to_owned()));
    let own = ("pool rules: none holds, so it is the service's own".to_owned(), "rest".to_owned());
    assert_eq!([explain("b.example"), explain("c.example"), explain("x.a.example")], [own.clone(), own.clone(), own]);
    assert_eq!(running.proxy.lists().overview(true).len(), 1);
    running.proxy.lists().set(true, &names, &vipgate::rules::lists::Which::Key("b.example".into()), "one").unwrap();
    assert_eq!(explain("b.example").1, "one");
}

#[test]
fn sessions_and_bytes_of_sources_are_counted_as_in_haproxy() {
    let text = format!(
        "frontend sessions\n bind {{1}}:80\n tcp-request connection track-sc0 src table counted\n\
         tcp-request connection reject if {{ sc0_conn_cnt gt 3 }}\n\
         tcp-request inspect-delay 5s\n tcp-request content track-sc1 src table late\n\
         use_backend bb if {{ sc1_sess_cnt 0 }} {{ sc0_sess_cnt ge 2 }} {{ sc0_sess_rate ge 2 }} {{ sc0_tracked }} !{{ sc2_tracked }} {{ sc0_trackers ge 1 }}\n\
         default_backend aa\n\
         frontend after\n bind {{1}}:81\n use_backend bb if {{ src_sess_cnt(counted) 3 }} {{ src_conn_cnt(counted) 4 }}\n default_backend aa\n\
         frontend bytes\n bind {{1}}:82\n tcp-request connection track-sc0 src table counted\n\
         use_backend bb if {{ sc0_bytes_in_rate ge 3000 }} {{ src_kbytes_in(counted) 2 }} {{ sc0_bytes_out_rate ge 3002 }} {{ sc0_kbytes_out 2 }}\n\
         default_backend aa\n\
         frontend more\n bind {{1}}:83\n use_backend bb if {{ src_updt_conn_cnt(counted) gt 1 }}\n default_backend aa\n\
         backend counted\n stick-table type ip size 10 expire 1m store conn_cnt,sess_cnt,sess_rate(60s),bytes_in_cnt,bytes_in_rate(60s),bytes_out_cnt,bytes_out_rate(60s)\n\
         backend late\n stick-table type ip size 10 expire 1m store sess_cnt\n{BACKENDS}"
    );
    let expected = ["aa", "bb", "bb", "end", "bb", "aa", "bb", "aa", "bb"].map(str::to_owned).to_vec();
    on_both(&text, &expected, |net| {
        let visit = |host: u8, port: u16| outcome(first_two(&mut connect_from(net.ip(host), net.at(1, port))));
        let mut seen: Vec<String> = (0..4).map(|_| visit(5, 80)).collect();
        seen.push(visit(5, 81));
        // 3000 bytes there, and back behind the greeting.
        let mut client = connect_from(net.ip(6), net.at(1, 82));
        client.write_all(&[b'x'; 3000]).unwrap();
        seen.push(first_two(&mut client));
        client.read_exact(&mut [0; 3000]).unwrap();
        drop(client);
        let mut last = String::new();
        eventually("they to be counted", || {
            last = visit(6, 82);
            last == "bb"
        });
        seen.push(last);
        seen.extend([visit(7, 83), visit(7, 83)]);
        seen
    });
}
