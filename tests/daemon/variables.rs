//! Variables and captures of connections: HAProxy and vipgate on the same file.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::imported::{Haproxy, config, servers, start};
use super::support::{PATIENCE, own_ip};

/// A client's TLS hello with this name.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let host = [&[0][..], &(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
    let list = [&(host.len() as u16).to_be_bytes()[..], &host].concat();
    let extension = [&[0, 0][..], &(list.len() as u16).to_be_bytes(), &list].concat();
    let extensions = [&(extension.len() as u16).to_be_bytes()[..], &extension].concat();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    let message = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

/// The lines of one after the other who says this, a while after it was accepted.
fn told(ip: IpAddr, port: u16, udp: &UdpSocket, said: &[&[u8]]) -> Vec<String> {
    let line = |said: &&[u8]| {
        let mut stream = TcpStream::connect((ip, port)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        // Who is turned away may be closed by now.
        let _turned_away = stream.write_all(said).and_then(|()| stream.shutdown(Shutdown::Write));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ended = stream.read_to_end(&mut Vec::new());
        let mut buffer = [0; 4096];
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        loop {
            let count = udp.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if let Some((_, line)) = text.split_once("]: fe ") {
                return line.trim_end().replace(&ip.to_string(), "HERE");
            }
        }
    };
    said.iter().map(line).collect()
}

/// What both log about the clients of these frontends, each of which has lines of its own after its `bind`.
#[track_caller]
fn compare(global: &str, frontends: &[(&str, &[&[u8]])]) -> Vec<Vec<String>> {
    let seen = |theirs: bool| -> Option<Vec<Vec<String>>> {
        let (ip, servers) = (own_ip(), servers());
        let closer = TcpListener::bind((servers, 7105)).unwrap();
        std::thread::spawn(move || {
            for mut stream in closer.incoming().flatten() {
                let _all = stream.read_to_end(&mut Vec::new());
            }
        });
        let udp = UdpSocket::bind((own_ip(), 0)).unwrap();
        let mut text = config(ip, servers).replacen(
            "global\n",
            &format!("global\n log {} len 4096 local0\n{global}", udp.local_addr().unwrap()),
            1,
        );
        text = text.replace("defaults\n", "defaults\n log global\n");
        for (index, (lines, _)) in frontends.iter().enumerate() {
            let port = 7011 + index;
            text += &format!("frontend fe{port}\n bind {ip}:{port}\n tcp-request inspect-delay 600ms\n{lines}\n");
        }
        for name in ["plain", "other", "net", "bk_www.example.org"] {
            text += &format!("backend {name}\n server s1 {servers}:7105\n");
        }
        text += &format!(
            "backend asks\n tcp-request content set-var(txn.late) req.ssl_sni\n tcp-request content set-var(txn.mine) dst_port\n\
             \x20use-server s2 if {{ var(txn.late) -m beg www }}\n server s1 {servers}:7105\n server s2 {servers}:7105\n"
        );
        let (_theirs, _ours) =
            if theirs { (Some(Haproxy::start(&text)?), None) } else { (None, Some(start(&text, |_, _| {}))) };
        let of = |(index, (_, said)): (usize, &(&str, &[&[u8]]))| told(ip, 7011 + index as u16, &udp, said);
        Some(frontends.iter().enumerate().map(of).collect())
    };
    let ours = seen(false).unwrap();
    if let Some(theirs) = seen(true) {
        for (index, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            assert_eq!(theirs, ours, "HAProxy, then vipgate: {}", frontends[index].0);
        }
    }
    ours
}

const OTHER: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

#[test]
fn captures_are_haproxys() {
    let named = hello("Www.Example.org");
    let said: &[&[u8]] = &[&named, OTHER, b""];
    let ours = compare(
        "",
        &[
            (
                " declare capture request len 40\n declare capture response len 9\n tcp-request content capture req.ssl_sni len 10\n\
                 \x20tcp-request content capture src len 20\n default_backend plain\n\
                 \x20log-format 'fe %hr %hrl [%hs] [%hsl] %{+Q}hr %{+Q}hrl %[capture.req.hdr(0)] %[capture.req.hdr(1),lower] %[capture.req.hdr(7)]'",
                said,
            ),
            (" default_backend plain\n log-format 'fe [%hr] [%hrl] [%hs] [%hsl] %{+Q}hr'", &[OTHER]),
            (
                " tcp-request content capture req.payload(0,18) len 40\n tcp-request content capture req.len len 2\n\
                 \x20default_backend plain\n log-format 'fe %hr %hrl %{+Q}hr'",
                &[b"a {b}|\"c#]\\ \xe9\n1234567", OTHER, b"few"],
            ),
            (
                " tcp-request content capture src len 40\n tcp-request content reject if { req.len gt 0 }\n\
                 \x20default_backend plain\n log-format 'fe %hr %ts'",
                &[OTHER],
            ),
            (
                " tcp-request content capture req.ssl_sni len 40 if { req.ssl_hello_type 1 }\n\
                 \x20use_backend other if { capture.req.hdr(0) -m end -i .EXAMPLE.ORG }\n default_backend plain\n\
                 \x20log-format 'fe %b %hr'",
                said,
            ),
        ],
    );
    assert_eq!(
        ours[0][0],
        "{|Www.Exampl|127.0.0.1} - Www.Exampl 127.0.0.1 [{}] [-] \"{|Www.Exampl|127.0.0.1}\" \"\" \"Www.Exampl\" \"127.0.0.1\" - www.exampl -"
    );
    assert_eq!(
        ours[2][0],
        "{a #7Bb#7D#7C#22c#23]\\ #E9#0A1234|21} a #7Bb#7D#7C#22c#23]\\ #E9#0A1234 21 \"{a #7Bb#7D#7C#22c#23]\\ #E9#0A1234|21}\""
    );
}

#[test]
fn variables_are_haproxys() {
    let named = hello("Www.Example.org");
    let said: &[&[u8]] = &[&named, OTHER, b""];
    let ours = compare(
        " set-var proc.site str(berlin)\n set-var proc.kept str(Ab),lower\n",
        &[
            // How long they live, and what is not there.
            (
                " tcp-request connection set-var(sess.c) src\n tcp-request connection set-var(sess.d) str(foo)\n\
                 \x20tcp-request connection set-var(txn.c) src\n tcp-request session set-var(sess.s) dst_port\n\
                 \x20tcp-request session unset-var(sess.d) if { dst_port gt 1 }\n tcp-request content set-var(req.r) src\n\
                 \x20tcp-request content set-var(txn.r) var(req.r)\n tcp-request content set-var(txn.p) var(proc.site)\n\
                 \x20use_backend other if { var(req.r) -m ip 0.0.0.0/0 } { var(txn.none) -m found } || { var(sess.s) -m str 7011 }\n\
                 \x20default_backend plain\n\
                 \x20log-format 'fe %b %[var(sess.c)] %[var(txn.c)] %[var(sess.d)] %[var(sess.s)] %[var(req.r)] %[var(txn.r)] %[var(txn.p)] %[var(proc.kept),upper] %{+Q}[var(txn.none)] %{+Q}[var(txn.p)]'",
                &[OTHER],
            ),
            // Nobody waits for a variable's sake.
            (
                " tcp-request content set-var(txn.sni) req.ssl_sni\n default_backend plain\n log-format 'fe %[var(txn.sni)]'",
                said,
            ),
            // What waits looks at all from the beginning on, but not where it waits for what it captures.
            (
                " tcp-request content set-var(txn.a) req.ssl_sni\n tcp-request content set-var(txn.len) req.len\n\
                 \x20tcp-request content accept if { req.ssl_hello_type 1 }\n tcp-request content set-var(txn.b) str(none)\n\
                 \x20default_backend plain\n log-format 'fe %[var(txn.a)] %[var(txn.len)] %[var(txn.b)]'",
                said,
            ),
            (
                " tcp-request content set-var(txn.a) req.ssl_sni\n tcp-request content capture req.ssl_sni len 9\n\
                 \x20tcp-request content set-var(txn.b) req.ssl_sni\n default_backend plain\n\
                 \x20log-format 'fe %[var(txn.a)] %hr %[var(txn.b)]'",
                said,
            ),
            // A value that is not there changes nothing.
            (
                " tcp-request content reject if { req.ssl_hello_type 2 }\n tcp-request content set-var(sess.x) req.len\n\
                 \x20tcp-request content set-var(sess.x) src if { req.ssl_hello_type 1 }\n\
                 \x20tcp-request content set-var(sess.x) req.payload(0,5000)\n default_backend plain\n\
                 \x20log-format 'fe %[var(sess.x)]'",
                &[&named, OTHER],
            ),
            // A backend's name.
            (
                " tcp-request content reject if { req.ssl_hello_type 2 }\n tcp-request content set-var(txn.sni) req.ssl_sni\n\
                 \x20use_backend bk_%[var(txn.sni),lower]\n default_backend plain\n log-format 'fe %b %[var(txn.sni)]'",
                said,
            ),
            // Texts with values in them.
            (
                " tcp-request content reject if { req.ssl_hello_type 2 }\n tcp-request content set-var-fmt(txn.a) a%[req.ssl_sni,lower]b\n\
                 \x20tcp-request connection set-var-fmt(sess.b) %[src]%[var(txn.none)]:%[dst_port,mod(10)]\n\
                 \x20tcp-request connection set-var-fmt(txn.c) gone\n tcp-request content set-var-fmt(txn.d) \"%ci %[str(x)] %fp\"\n\
                 \x20default_backend plain\n log-format 'fe %[var(txn.a)] %[var(sess.b)] %[var(txn.c)] %[var(txn.d)]'",
                said,
            ),
            (
                " tcp-request content set-var-fmt(txn.a) <%[req.ssl_sni]>\n tcp-request content accept if { req.ssl_hello_type 1 }\n\
                 \x20default_backend plain\n log-format 'fe %[var(txn.a)]'",
                said,
            ),
            (
                " tcp-request content set-var-fmt(txn.a) <%[req.ssl_sni]>\n\
                 \x20default_backend plain\n log-format 'fe %[var(txn.a)]'",
                &[&named],
            ),
            // A backend that sets them, and chooses by them.
            (
                " tcp-request content capture req.ssl_sni len 40\n default_backend asks\n\
                 \x20log-format 'fe %b/%s %[var(txn.mine)] %[var(txn.late)]'",
                &[&hello("www.example.org"), OTHER],
            ),
        ],
    );
    assert_eq!(ours[0], ["other 127.0.0.1 - - 7011 - 127.0.0.1 berlin AB \"\" \"berlin\""]);
    assert_eq!(ours[5], ["bk_www.example.org Www.Example.org", "plain -", "plain -"]);
}

const WAIT: &str = " tcp-request content reject if { req.ssl_hello_type 2 }\n";

/// A frontend's lines that keep these values and tell them.
fn keep(values: &[&str]) -> String {
    let set = |(n, value): (usize, &&str)| format!(" tcp-request content set-var(txn.v{n}) {value}\n");
    let shown: Vec<String> = (0..values.len()).map(|n| format!("%[var(txn.v{n})]")).collect();
    let set: String = values.iter().enumerate().map(set).collect();
    format!("{WAIT}{set} default_backend plain\n log-format 'fe {}'", shown.join(" "))
}

#[test]
fn numbers_hashes_and_counters_are_haproxys() {
    let named = hello("Www.Example.org");
    let said: &[&[u8]] = &[&named, OTHER, b""];
    let port = ["bool", "not", "neg", "cpl", "even", "odd", "hex", "crc32", "djb2", "sdbm", "base64"]
        .into_iter()
        .flat_map(|name| ["dst_port", "int(0)", "int(-7)"].map(|of| format!("{of},{name}")));
    let operations = ["add", "sub", "mul", "div", "mod", "and", "or", "xor"].into_iter().flat_map(|name| {
        let of = ["dst_port", "int(-7)", "int(9223372036854775807)", "str(12ab)", "str(x)", "str(+5)"];
        of.into_iter()
            .flat_map(move |of| ["3", "-2", "0", "9223372036854775807"].map(|by| format!("{of},{name}({by})")))
    });
    let texts = [
        "src",
        "str(abc)",
        "str()",
        "req.payload(0,4)",
        "req.ssl_sni",
        "req.payload(0,0),bytes(3,8)",
        "ipv6(2001:db8::1)",
    ]
    .into_iter()
    .flat_map(|of| ["hex", "base64", "crc32", "djb2", "sdbm", "crc32,mod(100)"].map(|name| format!("{of},{name}")));
    let further = [
        "dst_port,sub(txn.v0)",
        "dst_port,add(txn.v999)",
        "always_true,not",
        "always_true,bool",
        "src,and(255)",
        "dst_port,hex,length",
    ];
    let of = |values: Vec<String>| keep(&values.iter().map(String::as_str).collect::<Vec<_>>());
    // HAProxy takes what both ways are below 0 for more than there is.
    let wrong = ["int(-7),add(-2)", "int(-7),sub(3)"];
    let operations: Vec<String> = operations.filter(|value| !wrong.contains(&value.as_str())).collect();
    let (first, second) = operations.split_at(operations.len() / 2);
    let further = ["dst_port"].into_iter().chain(further).map(str::to_owned).collect();
    let table = " stick-table type ip size 10 expire 1m store conn_cnt,conn_cur,gpc0,gpc0_rate(10s),conn_rate(10s)\n\
         \x20tcp-request connection track-sc0 src\n tcp-request connection sc-inc-gpc0(0)\n";
    let counters: Vec<String> =
        ["in_table", "table_conn_cnt", "table_conn_cur", "table_gpc0", "table_gpc0_rate", "table_conn_rate"]
            .into_iter()
            .flat_map(|name| {
                ["src", "ipv4(192.0.2.1)", "str(x)", "src,ipmask(8)"].map(|of| format!("{of},{name}(fe7016)"))
            })
            .collect();
    let counters = table.to_owned() + &of(counters);
    let banned = " stick-table type ip size 10 expire 1m store conn_cnt,gpc0\n tcp-request connection track-sc0 src\n\
         \x20tcp-request content reject if { src,table_conn_cnt(fe7017) gt 2 } || { src,ipmask(8),in_table(fe7017) }\n\
         \x20tcp-request content reject if { src,crc32,mod(2) -m int 7 } or { rand(10) gt 9 } or { rand(1),bool } or { ssl_fc }\n\
         \x20use_backend other if { rand(1) eq 0 } { dst_port,mod(2) eq 1 }\n default_backend plain\n log-format 'fe %b %ts'";
    let ours = compare(
        "",
        &[
            (&of(port.collect()), &[OTHER]),
            (&of(first.to_vec()), &[OTHER]),
            (&of(second.to_vec()), &[OTHER]),
            (&of(texts.collect()), said),
            (&of(further), &[OTHER]),
            (&counters, &[OTHER, OTHER]),
            (banned, &[OTHER, OTHER, OTHER]),
        ],
    );
    assert_eq!(ours[6], ["other --", "other --", "fe7017 PR"]);
}

#[test]
fn a_text_that_every_connection_makes_longer_stays_bounded() {
    let ours = compare(
        "",
        &[
            (
                &format!(
                    " tcp-request content set-var(proc.long) str(b),concat({},proc.long,)\n default_backend plain\n log-format 'fe %[var(proc.long),length]'",
                    "a".repeat(900)
                ),
                &[OTHER; 20],
            ),
            (
                " tcp-request content set-var(proc.hex) var(proc.hex,ab),hex\n default_backend plain\n log-format 'fe %[var(proc.hex),length]'",
                &[OTHER; 16],
            ),
        ],
    );
    assert_eq!((ours[1][0].as_str(), ours[1][12].as_str()), ("4", "16383"));
    let lengths: Vec<usize> = ours[0].iter().map(|length| length.parse().unwrap()).collect();
    assert_eq!((lengths[0], lengths[1]), (901, 1802));
    assert!(lengths.iter().all(|length| *length <= 16_384) && lengths[19] > 16_000, "{lengths:?}");
}

#[test]
fn values_and_what_is_made_of_them_are_haproxys() {
    let named = hello("Www.Example.org");
    let said: &[&[u8]] = &[&named, OTHER, b""];
    let wait = WAIT;
    let map = "/tmp/vipgate-names-of-variables.map";
    std::fs::write(
        map,
        "www.example.org one\nWww.Example.org two\nexample.org three\n10.0.0.0/8 net\n127.0.0.0/8 here\n",
    )
    .unwrap();
    let samples = keep(&[
        "always_true",
        "int(-7)",
        "req.len",
        "req.ssl_ver",
        "req.ssl_hello_type",
        "req.ssl_alpn",
        "nbsrv(plain)",
        "env(HOME)",
        "bool(true)",
        "ipv4(192.0.2.1)",
        "req.payload(0,4),length",
        "req.payload_lv(43,1),length",
        "dst_port,lower",
        "src,length",
    ]);
    let converters = keep(&[
        "req.ssl_sni,upper",
        "req.ssl_sni,field(2,.)",
        "req.ssl_sni,field(-1,.)",
        "req.ssl_sni,word(1,.)",
        "req.ssl_sni,bytes(0,3)",
        "req.ssl_sni,bytes(4)",
        "req.ssl_sni,bytes(9,99)",
        "req.ssl_sni,bytes(99)",
        "req.ssl_sni,length",
        "src,ipmask(8)",
        "str(x),concat(-,txn.v0,.)",
        "str(x),concat(-)",
        "str(x),concat(,txn.v0)",
        "req.ssl_sni,field(9,.)",
        "req.ssl_sni,lower,field(1,.),upper",
        "str(..a.b),word(1,.)",
        "str(..a.b),word(-1,.)",
        "str(..a.b),field(1,.)",
    ]);
    let maps = keep(&[
        &format!("req.ssl_sni,lower,map({map})"),
        &format!("req.ssl_sni,map({map},none)"),
        &format!("req.ssl_alpn,map({map},none)"),
        &format!("req.ssl_sni,lower,map_end({map},none)"),
        &format!("req.ssl_sni,lower,map_dom({map},none)"),
        &format!("dst_port,map({map},none)"),
        &format!("req.ssl_sni,lower,map_sub({map})"),
    ]);
    std::fs::write("/tmp/vipgate-nets-of-variables.map", "10.0.0.0/8 net\n127.0.0.0/8 here\n127.0.0.1 host\n").unwrap();
    let networks = keep(&[
        "src,map_ip(/tmp/vipgate-nets-of-variables.map)",
        "ipv4(10.1.2.3),map_ip(/tmp/vipgate-nets-of-variables.map)",
        "ipv4(192.0.2.1),map_ip(/tmp/vipgate-nets-of-variables.map,other)",
    ]);
    let asked = [
        "var(txn.sni) -m end -i .ORG",
        "var(txn.p) -m int 1:9999",
        "var(txn.p) -m str 7015",
        "var(txn.ip) -m ip 0.0.0.0/0",
        "var(txn.ip) -m beg 127",
        "var(txn.none) -m found",
        "var(txn.none) -m str foo",
        "var(txn.p) -m len 4",
        "var(txn.sni),lower -m str www.example.org",
        "var(txn.sni),lower www.example.org",
        "var(txn.p) -m bool",
        "var(txn.p) -m beg 70",
        "var(txn.sni),length gt 3",
        "var(txn.sni) -m int 3",
        "var(txn.sni) -m ip 127.0.0.1",
        "var(txn.num) -m int 12",
        "var(txn.addr) -m ip 192.0.2.0/24",
        "var(txn.none,some) -m str some",
        "var(txn.sni),field(1,.) -m str Www",
        "src,ipmask(8) 127.0.0.0",
        "req.ssl_sni,field(2,.),lower -m str example",
        "var(txn.ip) -m int 0:99999999999",
        "var(txn.sni) -m reg ^W.*g$",
    ];
    let tests: String = asked
        .iter()
        .enumerate()
        .map(|(n, asked)| format!(" tcp-request content set-var(txn.t{n}) int(1) if {{ {asked} }}\n"))
        .collect();
    let shown: Vec<String> = (0..asked.len()).map(|n| format!("{n}=%[var(txn.t{n})]")).collect();
    let tests = format!(
        "{wait} tcp-request content set-var(txn.sni) req.ssl_sni\n tcp-request content set-var(txn.p) dst_port\n\
         \x20tcp-request content set-var(txn.ip) src\n tcp-request content set-var(txn.num) str(12)\n\
         \x20tcp-request content set-var(txn.addr) str(192.0.2.7)\n{tests} default_backend plain\n log-format 'fe {}'",
        shown.join(" ")
    );
    let told = format!(
        "{wait} tcp-request content set-var(txn.sni) req.ssl_sni\n default_backend plain\n\
         \x20log-format 'fe %[var(txn.sni),map({map},none)] %[var(txn.none),map({map},none)] %[src,ipmask(16)] %[str(abc),upper] \
         %{{+Q}}[var(txn.sni),lower] %{{+X}}[var(txn.sni),length] %{{+Q,+E}}[var(txn.none)]'"
    );
    // One for all, set by whoever came.
    let process = format!(
        "{wait} tcp-request content set-var(proc.last) req.ssl_sni\n default_backend plain\n log-format 'fe %[var(proc.last)]'"
    );
    let chosen = format!(
        "{wait} tcp-request content set-var(txn.sni) req.ssl_sni,lower\n use_backend %[var(txn.sni),map_end(/tmp/vipgate-pools-of-variables.map,other)]\n\
         \x20default_backend plain\n log-format 'fe %b'"
    );
    std::fs::write("/tmp/vipgate-pools-of-variables.map", ".example.org net\n").unwrap();
    let ours = compare(
        "",
        &[
            (&samples, said),
            (&converters, said),
            (&maps, said),
            (&networks, &[OTHER]),
            (&tests, said),
            (&told, said),
            (&process, said),
            (&chosen, said),
        ],
    );
    for name in ["names", "nets", "pools"] {
        let _removed = std::fs::remove_file(format!("/tmp/vipgate-{name}-of-variables.map"));
    }
    assert_eq!(ours[7], ["net", "plain", "plain"]);
}
