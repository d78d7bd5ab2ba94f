//! Maps and files of patterns, asked and changed at the control socket, beside HAProxy.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::Path;

use netns_tests::wait::until_true;

use super::imported::{Haproxy, ask, start};
use super::support::{Dir, PATIENCE, own_ip};

/// Greets on port 7100 of an address of its own.
fn greets(name: &'static str) -> IpAddr {
    let ip = own_ip();
    let listener = std::net::TcpListener::bind((ip, 7100)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _gone = stream.write_all(name.as_bytes());
        }
    });
    ip
}

/// Who greets a client of this port; empty: nobody.
fn greeting(ip: IpAddr, port: u16) -> String {
    let mut stream = TcpStream::connect((ip, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = String::new();
    let _reset = stream.read_to_string(&mut said);
    said
}

struct Files(Dir);

impl Files {
    fn new() -> Self {
        let files = Self(Dir::new());
        files.0.write("ports.map", "# of ports\n7001 one\n7002   two\n7003 none\n7001 two\n");
        files.0.write("names.map", "a.example one\nb.example\ttwo\n^x rx\nonlykey\n");
        files.0.write("begins.map", "a one\na.b two\na.b.c three\n.example four\n");
        files.0.write("expressions.map", "^a\\..*$ one\nb.example two\n");
        files.0.write("weights.map", "80 1\n443:445 2\n");
        files.0.write("networks.map", "0.0.0.0/0 all\n127.0.0.0/8 here\n10.0.0.0/8 ten\n");
        files.0.write("banned.lst", "192.0.2.1\n10.0.0.0/8\n");
        files.0.write("names.lst", "foo.example\nbar.example\n");
        files
    }

    fn config(&self, ip: IpAddr, [one, two]: [IpAddr; 2]) -> String {
        let text = "global\n stats socket DIR/admin.sock mode 600 level admin\n stats socket DIR/user.sock level user\n\
             defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend fe\n bind IP:7001-7004\n tcp-request inspect-delay 10ms\n\
             acl listed req.ssl_sni,lower,map_reg(FILES/expressions.map) -m found\n\
             acl listed req.ssl_sni -m str -f FILES/names.lst\n\
             acl listed req.ssl_sni -i -f FILES/names.lst\n\
             tcp-request connection reject if { src -f FILES/banned.lst } || { src -u 77 192.0.2.7 192.0.2.8 }\n\
             tcp-request content reject if listed\n\
             tcp-request content reject if { req.ssl_sni,map(FILES/names.map,none) -m str one }\n\
             tcp-request content reject if { req.ssl_sni,map_beg(FILES/begins.map) -m found }\n\
             tcp-request content reject if { dst_port,map_int_int(FILES/weights.map,0) gt 5 }\n\
             tcp-request content reject if { src,map_ip(FILES/networks.map) -m str ten }\n\
             use_backend %[dst_port,map_int(FILES/ports.map)]\n default_backend rest\n\
             backend one\n server a ONE:7100\nbackend two\n server a TWO:7100\nbackend rest\n server a ONE:7100\n";
        let text = text.replace("FILES", &self.0.path().display().to_string()).replace("IP", &ip.to_string());
        text.replace("ONE", &one.to_string()).replace("TWO", &two.to_string())
    }

    fn line(&self, line: &str) -> String {
        line.replace("FILES", &self.0.path().display().to_string())
    }
}

/// Answered alike, one after the other.
const COMMANDS: &str = "
help prepare
help show map
help del acl
show map FILES/names.map
show map @0 FILES/names.map
show map @7 FILES/names.map
show map nope
show map #99
show map FILES/names.lst
show acl FILES/names.lst
show acl FILES/names.map
show acl #77
show acl #99
get map
get map FILES/names.map
get map nope a
get map FILES/names.map a.example
get map FILES/names.map zzz
get map FILES/begins.map a.b.c.d
get map FILES/begins.map b
get map FILES/expressions.map a.b
get map FILES/weights.map 444
get map FILES/weights.map abc
get map FILES/networks.map 127.1.1.1
get map FILES/networks.map 10.1.1.1
get acl
get acl nope k
get acl #77
get acl #77 192.0.2.8
get acl #77 192.0.2.9
get acl FILES/names.lst FOO.example
get acl FILES/names.lst foo.example
get acl FILES/banned.lst 10.1.2.3
get acl FILES/banned.lst nonsense
add map
add map FILES/names.map
add map FILES/names.map k2
add map nope k v
add map FILES/names.map k v w x
add map FILES/names.map k again
add map FILES/networks.map everybody x
add map FILES/networks.map 192.0.2.0/24 x
get map FILES/networks.map 192.0.2.7
add map FILES/weights.map 5 abc
add map FILES/weights.map xx 5
get map FILES/names.map k
show map FILES/names.map
set map
set map FILES/names.map zzz
set map FILES/names.map zzz new
set map nope zzz q
set map FILES/names.map k all
show map FILES/names.map
del map
del map FILES/names.map
del map FILES/names.map zzz
del map FILES/names.map #0xfffffffffffffff1
del map nope zzz
del map FILES/names.map k
show map FILES/names.map
add acl
add acl nope 1
add acl FILES/banned.lst
add acl FILES/banned.lst nonsense
add acl FILES/banned.lst 10.2.0.0/16
get acl FILES/banned.lst 10.2.3.4
del acl FILES/banned.lst 10.99.0.0/16
del acl FILES/banned.lst 10.2.0.0/16
get acl FILES/banned.lst 10.2.3.4
add acl #77 2.2.2.2
del acl #77 192.0.2.7
show acl #77
clear acl #77
show acl #77
clear acl
clear acl nope
clear map
clear map nope
prepare map
prepare map nope
commit map
commit map FILES/names.map
commit map @1 nope
commit map @1 FILES/names.map
prepare map FILES/names.map
add map @1 FILES/names.map x y
add map @5 FILES/names.map x y
show map FILES/names.map
show map @1 FILES/names.map
commit map @1 FILES/names.map
commit map @1 FILES/names.map
show map FILES/names.map
get map FILES/names.map x
prepare acl FILES/banned.lst
prepare acl FILES/banned.lst
add acl @2 FILES/banned.lst 192.0.2.99
commit acl @2 FILES/banned.lst
show acl FILES/banned.lst
clear map FILES/names.map
show map FILES/names.map
add map FILES/names.map <<\\nk5 v5\\nk6   v6 v7\\n
show map FILES/names.map
get map FILES/names.map k6
add acl FILES/banned.lst <<\\n192.0.2.1\\n
add map FILES/names.map <<\\nk7\\n
add map FILES/names.map k7 v7;add map FILES/names.map <<\\nk8 v8\\n
add map FILES/names.map k v <<\\nk9 v9\\n
show map FILES/names.map
prepare map FILES/names.map
add map @2 FILES/names.map k7 next
set map FILES/names.map k7 both
show map FILES/names.map
show map @2 FILES/names.map
del map FILES/names.map k7
show map FILES/names.map
show map @2 FILES/names.map
set map FILES/names.map #0x0 v
commit map @2
add map FILES/weights.map 9:5 1
add map FILES/networks.map ::ffff:192.0.3.0/120 mapped
get map FILES/networks.map 192.0.3.1
add acl FILES/banned.lst ::ffff:192.0.3.0/120
get acl FILES/banned.lst 192.0.3.1
get acl FILES/banned.lst 192.0.4.1
add map FILES/names.map <<\\nk10 v10\\n  \\nprepare map FILES/names.map\\n
prepare map FILES/names.map
";

/// References of entries are each one's own.
fn known(answer: &str) -> String {
    let line = |line: &str| match line.strip_prefix("0x").and_then(|rest| rest.split_once(' ')) {
        Some((_, rest)) => format!("REF {rest}"),
        None => line.to_owned(),
    };
    answer.lines().map(line).collect::<Vec<_>>().join("|")
}

/// Files and their versions. HAProxy miscounts entries: of files that are used twice, and when it refuses one.
fn overview(socket: &Path, what: &str) -> Vec<String> {
    let answer = ask(socket, what);
    let mut lines: Vec<String> = answer
        .lines()
        .skip(1)
        .filter(|line| !line.contains("() ") && !line.is_empty())
        .map(|line| {
            let (_, rest) = line.split_once(' ').unwrap();
            let (file, rest) = rest.split_once(')').unwrap();
            format!("{file} {}", &rest[rest.find("curr_ver").unwrap()..rest.find(" entry_cnt").unwrap()])
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn maps_and_acls_are_asked_and_changed_as_in_haproxy() {
    let (files, servers) = (Files::new(), [greets("one"), greets("two")]);
    let (here, there) = (own_ip(), own_ip());
    let Some(haproxy) = Haproxy::start(&files.config(there, servers)) else { return };
    let daemon = start(&files.config(here, servers), |_, _| {});
    let (ours, theirs) = (daemon.dir.path().join("admin.sock"), haproxy.socket("admin"));
    let mut different = Vec::new();
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let sent = files.line(line).replace("\\n", "\n");
        let (his, mine) = (known(&ask(&theirs, &sent)), known(&ask(&ours, &sent)));
        if his != mine {
            different.push(format!("{line}\n  haproxy: {his:?}\n  vipgate: {mine:?}"));
        }
    }
    for what in ["show map", "show acl"] {
        let (his, mine) = (overview(&theirs, what), overview(&ours, what));
        if his != mine {
            different.push(format!("{what}\n  haproxy: {his:?}\n  vipgate: {mine:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    // No level is wanted, there as here.
    let (ours, theirs) = (daemon.dir.path().join("user.sock"), haproxy.socket("user"));
    let add = files.line("add map FILES/names.map by user");
    assert_eq!([ask(&ours, &add), ask(&theirs, &add)], ["\n", "\n"]);
}

#[test]
fn the_next_connection_goes_by_what_was_changed_and_a_reload_reads_the_files_again() {
    let (files, servers) = (Files::new(), [greets("one"), greets("two")]);
    let (here, there) = (own_ip(), own_ip());
    let haproxy = Haproxy::start(&files.config(there, servers));
    let daemon = start(&files.config(here, servers), |_, _| {});
    let ours = (here, daemon.dir.path().join("admin.sock"));
    let theirs = haproxy.as_ref().map(|haproxy| (there, haproxy.socket("admin")));
    for (ip, socket) in theirs.iter().chain([&ours]) {
        let change = |line: &str| assert_eq!(ask(socket, &files.line(line)), "\n", "{line}");
        let seen = || [7001, 7002, 7003, 7004].map(|port| greeting(*ip, port));
        assert_eq!(seen(), ["one", "two", "one", "one"]);
        change("set map FILES/ports.map 7001 two");
        change("add map FILES/ports.map 7004 two");
        change("del map FILES/ports.map 7002");
        assert_eq!(seen(), ["two", "one", "one", "two"]);
        change("add acl FILES/banned.lst 127.0.0.0/8");
        assert_eq!(seen(), ["", "", "", ""]);
        change("del acl FILES/banned.lst 127.0.0.0/8");
        change("add acl #77 127.0.0.0/8");
        assert_eq!(seen(), ["", "", "", ""]);
        change("clear acl #77");
        assert_eq!(ask(socket, &files.line("prepare map FILES/ports.map")), "New version created: 1\n\n");
        change("add map @1 FILES/ports.map 7003 two");
        assert_eq!(seen(), ["two", "one", "one", "two"]);
        change("commit map @1 FILES/ports.map");
        assert_eq!(seen(), ["one", "one", "two", "one"]);
    }
    files.0.write("ports.map", "7002 two\n");
    assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
    let seen = || [7001, 7002, 7003, 7004].map(|port| greeting(here, port));
    until_true("the file", PATIENCE, || seen() == ["one", "two", "one", "one"]);
    assert_eq!(known(&ask(&ours.1, "show acl #77")), "REF 192.0.2.7|REF 192.0.2.8|");
    // One that cannot be read changes nothing.
    files.0.write("weights.map", "5 nonsense\n");
    let reload = daemon.vipgate(&["reload"]);
    assert!(reload.code != Some(0) && reload.err.contains("the value `nonsense` of `5`"), "{}", reload.err);
    assert_eq!(seen(), ["one", "two", "one", "one"]);
}

#[test]
fn variables_and_log_lines_go_by_what_was_changed() {
    let (files, servers) = (Files::new(), [greets("one"), greets("two")]);
    let (here, there) = (own_ip(), own_ip());
    let log = UdpSocket::bind((own_ip(), 0)).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = |ip| {
        let lines = files.line(
            " log global\n log-format 'told %[var(sess.n)] %[dst_port,map_int(FILES/ports.map,none),upper]'\n\
             \x20tcp-request connection set-var(sess.n) dst_port,map_int(FILES/ports.map,none)\n default_backend rest\n",
        );
        let to_log = format!("global\n log {} local0\n", log.local_addr().unwrap());
        let text = files.config(ip, servers).replacen("global\n", &to_log, 1);
        text.replacen(" default_backend rest\n", &lines, 1)
    };
    let told = |ip| {
        let _greeted = greeting(ip, 7001);
        let mut buffer = [0; 1024];
        loop {
            let count = log.recv(&mut buffer).unwrap();
            if let Some((_, line)) = String::from_utf8_lossy(&buffer[..count]).split_once("told ") {
                return line.trim_end().to_owned();
            }
        }
    };
    let haproxy = Haproxy::start(&config(there));
    let daemon = start(&config(here), |_, _| {});
    let ours = (here, daemon.dir.path().join("admin.sock"));
    let theirs = haproxy.as_ref().map(|haproxy| (there, haproxy.socket("admin")));
    for (ip, socket) in theirs.iter().chain([&ours]) {
        let change = |line: &str| assert_eq!(ask(socket, &files.line(line)), "\n", "{line}");
        assert_eq!(told(*ip), "one ONE");
        change("set map FILES/ports.map 7001 two");
        assert_eq!(told(*ip), "two TWO");
        change("clear map FILES/ports.map");
        assert_eq!(told(*ip), "none NONE");
    }
    files.0.write("ports.map", "7001 three\n");
    assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
    until_true("the file", PATIENCE, || told(here) == "three THREE");
}
