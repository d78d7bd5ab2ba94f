//! HTTP pages that the node answers itself: from a haproxy.cfg as HAProxy answers them, and over reloads.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use netns_tests::wait::until_true;

use super::imported::{Haproxy, start};
use super::support::{Daemon, Dir, PATIENCE, listening, own_ip, vipgate};

/// What matters of an answer: its status, those of its headers that say something, its body.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

const COMPARED: [&str; 7] =
    ["content-type", "content-length", "cache-control", "location", "retry-after", "x-path", "www-authenticate"];

/// None: the connection ended without an answer.
fn ask(address: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = if request.starts_with("P") { "Content-Length: 0\r\n" } else { "" };
    // Whom rules turn away at once may have been reset by now.
    let _turned_away = write!(stream, "{request} HTTP/1.1\r\nHost: h.example:81\r\nConnection: close\r\n{length}\r\n");
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap_or((line, "")));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| COMPARED.contains(&name.as_str())).collect();
    headers.sort();
    Some(Answer { status, headers, body: body.to_owned() })
}

fn status(address: SocketAddr, target: &str) -> u16 {
    ask(address, &format!("GET {target}")).map_or(0, |answer| answer.status)
}

/// Ports 8081 (a monitor that fails), 8082 (one that is fine), 8083 (rules before statistics), 8084 (refusals), 8085 (https),
/// 8086 and 8087 (who is turned away, and who is not).
fn config(ip: IpAddr, file: &str) -> String {
    let refusals: String = [400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504, 200]
        .iter()
        .map(|status| format!(" http-request deny deny_status {status} if {{ path /{status} }}\n"))
        .collect();
    format!(
        "global\n stats socket DIR/admin.sock level admin\n\
         defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n\
         frontend healthz\n bind {ip}:8081\n monitor-uri /healthz\n acl dead nbsrv(be) lt 1\n monitor fail if dead\n\
         frontend fine\n bind {ip}:8082\n monitor-uri /healthz\n monitor fail if {{ nbsrv(be) gt 0 }}\n \
         monitor fail unless TRUE\n\
         listen stats\n bind {ip}:8083\n stats enable\n stats uri /status\n\
         \x20http-request return status 200 content-type text/plain string \"ok\" if {{ path /ping }}\n\
         \x20http-request return if {{ path /empty }}\n\
         \x20http-request return status 204 if {{ path /204 }}\n\
         \x20http-request return status 404 if {{ path -i /NOTHING }}\n\
         \x20http-request return status 503 content-type text/html lf-string \"%[path] %[method] %[nbsrv(be)] 100%%\\n\" hdr X-Path \"on %[path]\" hdr cache-control no-store if {{ path_beg /filled }}\n\
         \x20http-request return content-type text/html file {file} if {{ path_end .html }}\n\
         \x20http-request deny if {{ path_sub secret }} !{{ src 10.0.0.0/8 }}\n\
         \x20http-request deny deny_status 429 content-type text/plain string slow hdr Retry-After 5 if {{ path_reg ^/slow[0-9]+$ }}\n\
         \x20http-request deny hdr X-Path bare if {{ path /bare }}\n\
         \x20http-request deny deny_status 418 content-type text/plain if {{ path /teapot }}\n\
         \x20http-request return status 404 default-errorfiles if {{ path /standard }}\n\
         \x20http-request redirect location /to code 301 if {{ path /r1 }}\n\
         \x20http-request redirect prefix https://p.example if {{ path /r2 }}\n\
         \x20http-request redirect prefix https://p.example drop-query code 308 if {{ path /r3 }}\n\
         \x20http-request redirect location https://%[hdr(host)]/x%[query] code 307 if {{ path /r4 }}\n\
         \x20http-request reject if {{ path /reject }}\n\
         \x20http-request allow if {{ path /allowed }}\n\
         \x20http-request return content-type text/plain string get if METH_GET {{ path /method }}\n\
         \x20http-request return content-type text/plain string other if {{ path /method }} {{ method POST PUT }}\n\
         \x20http-request deny if {{ path /allowed }}\n\
         \x20http-request return content-type text/plain string alone if {{ path /figures }} {{ fe_conn 1 }} {{ be_conn(be) 0 }} {{ dst_port 8083 }}\n\
         \x20http-request return content-type text/plain string up if {{ path /up }} {{ srv_is_up(be/s) }} || {{ path /up }} {{ be_conn_free(be) ge 0 }}\n\
         \x20redirect location /status if {{ path / /status }}\n\
         frontend refusals\n bind {ip}:8084\n{refusals}\
         frontend https\n bind {ip}:8085\n redirect scheme https code 301 unless {{ ssl_fc }}\n\
         frontend shut\n bind {ip}:8086\n monitor-uri /healthz\n \
         tcp-request connection reject unless {{ src 10.0.0.0/8 }}\n\
         frontend open\n bind {ip}:8087\n monitor-uri /healthz\n \
         tcp-request content accept if {{ src 127.0.0.0/8 }}\n tcp-request content reject\n\
         backend be\n mode tcp\n server s 127.0.0.1:1 disabled\n"
    )
}

const REQUESTS: &[(u16, &str)] = &[
    (8081, "GET /healthz"),
    (8081, "HEAD /healthz"),
    (8081, "GET /"),
    (8082, "GET /healthz"),
    (8082, "GET /healthz?x"),
    (8082, "GET /healthz/"),
    (8082, "GET /HEALTHZ"),
    (8082, "HEAD /healthz"),
    (8082, "POST /healthz"),
    (8083, "GET /ping"),
    (8083, "GET /ping?x=y"),
    (8083, "HEAD /ping"),
    (8083, "GET /empty"),
    (8083, "GET /204"),
    (8083, "GET /nothing"),
    (8083, "GET /filled/to/the/brim?but=this"),
    (8083, "GET /any.html"),
    (8083, "GET /a/secret/b"),
    (8083, "GET /slow12"),
    (8083, "GET /slow"),
    (8083, "GET /figures"),
    (8083, "GET /up"),
    (8083, "GET /bare"),
    (8083, "GET /teapot"),
    (8083, "GET /standard"),
    (8083, "PUT /status"),
    (8083, "GET /r1"),
    (8083, "GET /r2?a=b"),
    (8083, "GET /r3?a=b"),
    (8083, "GET /r4?a=b"),
    (8083, "GET /reject"),
    (8083, "GET /allowed"),
    (8083, "GET /method"),
    (8083, "HEAD /method"),
    (8083, "POST /method"),
    (8083, "DELETE /method"),
    (8083, "GET /"),
    (8083, "GET /elsewhere"),
    (8085, "GET /x?y"),
    (8086, "GET /healthz"),
    (8086, "GET /"),
    (8087, "GET /healthz"),
    (8087, "GET /"),
];

#[test]
fn pages_are_answered_as_haproxy_answers_them() {
    let files = Dir::new();
    let file = files.write("page.html", "<b>here</b>\n").display().to_string();
    let (here, there) = (own_ip(), own_ip());
    let daemon = start(&config(here, &file), |_, _| {});
    let Some(_haproxy) = Haproxy::start(&config(there, &file)) else { return };
    let refusals = [400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504, 200];
    let refusals: Vec<(u16, String)> = refusals.iter().map(|status| (8084, format!("GET /{status}"))).collect();
    let listed = REQUESTS.iter().map(|(port, request)| (*port, (*request).to_owned()));
    let mut wrong = Vec::new();
    for (port, request) in listed.chain(refusals) {
        let (ours, theirs) = (ask((here, port).into(), &request), ask((there, port).into(), &request));
        if ours != theirs {
            wrong.push(format!("{port} {request}: {ours:?}\n  instead of {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), daemon.log());
    // The pages of statistics differ, but are at the same paths.
    for target in ["/status", "/status;csv", "/status/x", "/statusx"] {
        let (ours, theirs) = (status((here, 8083).into(), target), status((there, 8083).into(), target));
        assert_eq!((ours, theirs), (200, 200), "{target}");
    }
}

#[test]
fn a_monitor_turns_when_the_last_server_dies_and_back() {
    for ours in [true, false] {
        let (ip, server) = (own_ip(), SocketAddr::new(own_ip(), 7500));
        let text = format!(
            "global\n stats socket DIR/admin.sock level admin\n\
             defaults\n mode tcp\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n\
             frontend api\n bind {ip}:6443\n default_backend api\n\
             frontend healthz\n bind {ip}:8081\n mode http\n monitor-uri /healthz\n monitor fail if {{ nbsrv(api) lt 1 }}\n\
             backend api\n server a {server} check inter 100ms rise 1 fall 1\n server b 127.0.0.1:1 check inter 100ms\n"
        );
        let listener = TcpListener::bind(server).unwrap();
        let daemon = ours.then(|| start(&text, |_, _| {}));
        let haproxy = if ours { None } else { Haproxy::start(&text) };
        if daemon.is_none() && haproxy.is_none() {
            return;
        }
        let page: SocketAddr = (ip, 8081).into();
        until_true("the monitor is fine", PATIENCE, || status(page, "/healthz") == 200);
        drop(listener);
        until_true("the last server is dead", PATIENCE, || status(page, "/healthz") == 503);
        let _listener = TcpListener::bind(server).unwrap();
        until_true("it is back", PATIENCE, || status(page, "/healthz") == 200);
    }
}

#[test]
fn pages_come_and_go_and_the_others_keep_their_sockets() {
    let (kept, moved, new): (SocketAddr, SocketAddr, SocketAddr) =
        ((own_ip(), 8000).into(), (own_ip(), 8001).into(), (own_ip(), 8002).into());
    let page = |name: &str, listen: SocketAddr, says: &str| {
        format!(
            "[[page]]\nname = \"{name}\"\nlisten = \"{listen}\"\n\
             rules = [\"return status 200 content-type text/plain string {says}\"]\n"
        )
    };
    let says = |address: SocketAddr| ask(address, "GET /").map(|answer| answer.body);
    let stats = format!("[stats]\nlisten = \"{}\"\n", SocketAddr::new(own_ip(), 8404));
    let daemon = Daemon::start(&[stats.clone(), page("a", kept, "one"), page("b", moved, "two")].concat());
    assert_eq!((says(kept), says(moved)), (Some("one".into()), Some("two".into())));
    let (sockets, other) = (listening(kept), listening(moved));
    // One says something else, another one takes the place of the second.
    daemon.configure(
        &[stats.clone(), page("a", kept, "three"), page("c", moved, "four"), page("d", new, "five")].concat(),
    );
    let reload = daemon.vipgate(&["reload"]);
    assert_eq!(
        (reload.code, reload.out.trim()),
        (Some(0), "reloaded: page a changed; page c added; page d added; page b removed"),
        "{reload:?}"
    );
    assert_eq!([says(kept), says(moved), says(new)], ["three", "four", "five"].map(|text| Some(text.to_owned())));
    assert_eq!((listening(kept), listening(moved)), (sockets.clone(), other));
    // What cannot be bound changes nothing.
    let taken = TcpListener::bind((own_ip(), 0)).unwrap();
    daemon.configure(&[page("a", kept, "six"), page("e", taken.local_addr().unwrap(), "seven")].concat());
    let reload = daemon.vipgate(&["reload"]);
    assert!(reload.code != Some(0) && reload.err.contains("page e cannot listen on"), "{reload:?}");
    assert_eq!((says(kept), says(new)), (Some("three".into()), Some("five".into())));
    // What is gone no longer listens.
    daemon.configure(&page("a", kept, "three"));
    assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
    until_true("the others are closed", PATIENCE, || listening(moved).is_empty() && listening(new).is_empty());
    assert_eq!((says(kept), listening(kept)), (Some("three".into()), sockets));
}

#[test]
fn a_monitor_sees_the_pools_as_a_reload_left_them() {
    let page: SocketAddr = (own_ip(), 8000).into();
    let config = |pool: &str| {
        format!(
            "[[page]]\nname = \"up\"\nlisten = \"{page}\"\n\
             monitor = {{ path = \"/up\", fail = [\"if {{ nbsrv({pool}) 0 }}\"] }}\n\
             [[pool]]\nname = \"{pool}\"\nservers = [{{ address = \"127.0.0.1:1\", disabled = {} }}]\n",
            pool == "down"
        )
    };
    let daemon = Daemon::start(&config("down"));
    assert_eq!(status(page, "/up"), 503);
    for (pool, answer) in [("fine", 200), ("down", 503), ("better", 200)] {
        daemon.configure(&config(pool));
        assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
        assert_eq!(status(page, "/up"), answer, "{pool}");
    }
    // An operator's word counts at once, too.
    assert_eq!(daemon.vipgate(&["server", "set", "better/s1", "--state", "maint"]).code, Some(0));
    assert_eq!(status(page, "/up"), 503);
}

#[test]
fn every_page_has_its_own_settings_and_check_names_it() {
    let (first, second) = (SocketAddr::new(own_ip(), 9000), SocketAddr::new(own_ip(), 9001));
    let text = format!(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n\
         listen open\n bind {first}\n stats enable\n stats refresh 7s\n\
         listen closed\n bind {second}\n stats enable\n stats uri /\n stats auth admin:x\n\
         \x20http-request use-service prometheus-exporter if {{ path /metrics }}\n"
    );
    let daemon = start(&text, |_, _| {});
    assert_eq!((status(first, "/haproxy?stats"), status(first, "/"), status(first, "/healthz")), (200, 503, 200));
    assert_eq!((status(second, "/"), status(second, "/x"), status(second, "/metrics")), (401, 401, 200));
    let file = daemon.dir.path().join("haproxy.cfg");
    let checked = vipgate(&["check", "--haproxy", file.to_str().unwrap()]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let named = format!("page open: {first}\npage closed: {second}\n");
    assert!(checked.out.contains("2 page(s)") && checked.out.ends_with(&named), "{checked:?}");
    let toml = vipgate(&["import", "--haproxy", file.to_str().unwrap()]).out;
    fs::write(daemon.dir.path().join("again.toml"), &toml).unwrap();
    let again = vipgate(&["check", "--config", daemon.dir.path().join("again.toml").to_str().unwrap()]);
    assert!(again.code == Some(0) && again.out.ends_with(&named), "{again:?}\n{toml}");
}
