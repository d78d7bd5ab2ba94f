//! What pools say about who gets which server, and how connections are closed; with HAProxy as the measure.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use vipgate::balance::Why;
use vipgate::model::AdminState;

use crate::hello::plain;
use crate::oracle::{Front, Servers, compare};
use crate::rules::{fast, first_two, greeted, native, on_both, run, slow};
use crate::support::*;

const SERVERS: &str = " server s1 {1}\n server s2 {2}\n server s3 {3}\n server s4 {4}\n";
const STICK: &str = " stick-table type ip size 1k\n stick on src\n";

#[test]
fn use_server_goes_before_what_is_remembered_and_passes_over_who_is_away() {
    let lines = format!(
        " use-server s3 if {{ src {{net}}.60 }}\n use-server s4 if {{ src {{net}}.60 }}\n\
         use-server s2 unless {{ src {{net}}.0/26 }} or {{ dst_port 1 }}\n{STICK}{SERVERS}"
    );
    let seen = compare(&lines, |front, servers| {
        let visit = |client| front.visit(servers.client(client));
        let mut seen = vec![visit(60), visit(60), visit(61), visit(61), visit(100)];
        front.set_admin("s3", AdminState::Drain);
        seen.push(visit(60));
        front.set_admin("s3", AdminState::Maintenance);
        seen.push(visit(60));
        front.set_admin("s4", AdminState::Maintenance);
        seen.push(visit(60));
        front.set_admin("s3", AdminState::Ready);
        seen.push(visit(60));
        seen
    });
    assert!(seen.is_none_or(|seen| seen == ["s3", "s3", "s1", "s1", "s2", "s3", "s4", "s2", "s3"]));
}

#[test]
fn forced_clients_reach_servers_in_maintenance_and_no_other_ones() {
    let lines = format!(
        " option redispatch\n retries 1\n ignore-persist if {{ src {{net}}.62 }}\n force-persist if {{ src {{net}}.60/30 }}\n\
         use-server s2 if {{ src {{net}}.60/31 }}\n{STICK}{SERVERS}"
    );
    let seen = compare(&lines, |front, servers| {
        let visit = |client| front.visit(servers.client(client));
        let mut seen = vec![visit(60), visit(62), visit(63), visit(100)];
        for server in ["s1", "s2", "s3"] {
            front.set_admin(server, AdminState::Maintenance);
        }
        seen.extend([visit(60), visit(62), visit(63), visit(100)]);
        // It does not answer, and nobody else is tried.
        servers.stop(2);
        seen.extend([visit(60), visit(100)]);
        seen
    });
    let expected = ["s2", "s1", "s2", "s3", "s2", "s4", "s2", "s4", "", "s4"];
    assert!(seen.is_none_or(|seen| seen == expected));
}

#[test]
fn persistence_reaches_servers_in_maintenance() {
    let lines = format!(" option persist\n{STICK}{SERVERS}");
    compare(&lines, |front, servers| {
        let before = front.visit(servers.client(60));
        front.set_admin("s1", AdminState::Maintenance);
        (before, front.visit(servers.client(60)), front.visit(servers.client(61)))
    });
}

#[test]
fn backends_have_rules_of_their_own() {
    let backend = " server a {2}:9000\n server b {3}:9000 weight 0\n";
    let file = format!(
        "frontend web\n bind {{1}}:443\n use_backend other if {{ src {{6}} }}\n default_backend tls\n\
         backend tls\n tcp-request inspect-delay 1s\n tcp-request content reject if {{ src {{7}} }}\n \
         tcp-request content accept if {{ req_ssl_hello_type 1 }}\n tcp-request content reject if {{ req.len gt 0 }}\n \
         use-server b if {{ req.ssl_sni -i b.example }}\n{backend}\
         backend other\n use-server b if {{ req.ssl_sni -i b.example }}\n{backend}"
    );
    let expected = (
        vec![fast("bb"), fast("bb"), fast("aa"), fast("end"), slow("aa")],
        // Nobody waits where no rule does.
        ("end".to_owned(), "aa".to_owned(), true),
    );
    on_both(&file, &expected, |net| {
        let web = net.at(1, 443);
        let hellos = vec![
            greeted(web, &plain("b.example"), 4096),
            greeted(web, &plain("b.example"), 40),
            greeted(web, &plain("a.example"), 4096),
            greeted(web, b"GET / HTTP/1.0\r\n\r\n", 4096),
            greeted(web, b"", 1),
        ];
        let start = Instant::now();
        let rejected = first_two(&mut connect_from(net.ip(7), web));
        let unheard = first_two(&mut connect_from(net.ip(6), web));
        (hellos, (rejected, unheard, start.elapsed() < Duration::from_millis(500)))
    });
}

/// Who serves a client that says this, and whether that took most of the 700 ms that rules may wait.
fn visit(net: &Net, port: u16, said: &[u8]) -> (String, bool) {
    let mut client = connect(net.at(1, port));
    let start = Instant::now();
    client.write_all(said).unwrap();
    (first_two(&mut client), start.elapsed() > Duration::from_millis(600))
}

/// `use_backend` goes by what content rules waited for, and waits for nothing itself.
#[test]
fn routes_go_by_what_content_rules_waited_for() {
    let file = "frontend mux\n bind {1}:443\n tcp-request inspect-delay 700ms\n \
         tcp-request content accept if { req.ssl_hello_type 1 }\n \
         use_backend aa if { req.ssl_hello_type 1 }\n use_backend bb if !{ req.len 0 }\n default_backend cc\n\
         frontend unheard\n bind {1}:444\n tcp-request inspect-delay 700ms\n \
         use_backend bb if !{ req.len 0 }\n use_backend aa if { req.ssl_hello_type 1 }\n default_backend cc\n\
         backend aa\n server s {2}:9000\nbackend bb\n server s {3}:9000\nbackend cc\n server s {4}:9000\n";
    let expected = [("aa", false), ("bb", false), ("bb", false), ("cc", true), ("cc", false)];
    let expected = expected.map(|(server, late)| (server.to_owned(), late)).to_vec();
    on_both(file, &expected, |net| {
        let hello = plain("a.example");
        let heard = [&hello[..], b"GET / HTTP/1.1\r\n", b"x", b""].map(|said| visit(net, 443, said));
        heard.into_iter().chain([visit(net, 444, b"")]).collect()
    });
}

/// The client is left to wonder; its server is not troubled.
#[test]
fn who_is_dropped_silently_is_told_nothing() {
    if let Some(missing) = netns_tests::lab::missing_privilege() {
        netns_tests::report::loud(&format!("SKIPPED: {missing}"));
        return;
    }
    let file = "frontend web\n bind {1}:80-83\n tcp-request inspect-delay 5s\n \
         tcp-request connection silent-drop if { dst_port 80 }\n tcp-request session silent-drop if { dst_port 81 }\n \
         tcp-request content silent-drop if { dst_port 82 } { req.len gt 0 }\n default_backend aa\n\
         backend aa\n server s {2}:9000\n";
    let expected = [Err(ErrorKind::WouldBlock), Err(ErrorKind::WouldBlock), Err(ErrorKind::WouldBlock), Ok(2)];
    on_both(file, &expected, |net| {
        [80, 81, 82, 83].map(|port| {
            let mut client = connect(net.at(1, port));
            client.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
            // To what is said to nobody the kernel answers with a reset.
            client.write_all(if port < 82 { b"" } else { b"hello" }).unwrap();
            client.read(&mut [0; 2]).map_err(|error| error.kind())
        })
    });
}

#[test]
fn whole_requests_of_http_are_told_from_the_rest() {
    let file = "frontend mux\n bind {1}:443\n tcp-request inspect-delay 700ms\n tcp-request content accept if HTTP\n \
         use_backend aa if { req.proto_http }\n use_backend bb if !{ req.len 0 }\n default_backend cc\n\
         backend aa\n server s {2}:9000\nbackend bb\n server s {3}:9000\nbackend cc\n server s {4}:9000\n";
    let expected = [("aa", false), ("bb", true), ("bb", false), ("bb", false), ("cc", true)];
    let expected = expected.map(|(server, late)| (server.to_owned(), late)).to_vec();
    on_both(file, &expected, |net| {
        let hello = plain("a.example");
        let whole = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let said = [&whole[..], &whole[..20], b"SSH-2.0-client\r\n", &hello, b""];
        said.map(|said| visit(net, 443, said)).to_vec()
    });
}

#[test]
fn maps_say_the_backend() {
    let directory = std::env::temp_dir();
    let file = |name: &str, text: &str| {
        let path = directory.join(format!("vipgate-map-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let names = file("names", "# whose\na.example   aa\nB.example cc\nb.example bb\nno.example zork\na.example bb\n");
    let ends = file("ends", ".example aa\na.example.org bb\n.org cc\n");
    // The longest prefix counts, wherever it stands.
    let networks = file("networks", "0.0.0.0/0 cc\n127.0.0.0/8 aa\n127.64.0.0/10 bb\n");
    let file = format!(
        "frontend exact\n bind {{1}}:443\n tcp-request inspect-delay 1s\n tcp-request content accept if {{ req_ssl_hello_type 1 }}\n \
         use_backend %[req.ssl_sni,lower,map({names},cc)] if {{ req.ssl_hello_type 1 }} !{{ src {{7}} }}\n \
         use_backend b%[req.ssl_sni,map_end({ends})]\n default_backend cc\n\
         frontend ports\n bind {{1}}:80-81\n use_backend %[src,map_ip({networks})] if {{ dst_port 80 }}\n default_backend cc\n\
         backend aa\n server s {{2}}:9000\nbackend bb\n server s {{3}}:9000\nbackend cc\n server s {{4}}:9000\nbackend bbb\n server s {{3}}:9000\n"
    );
    let hello_of = |net: &Net, host: u8, name: &str| {
        let mut client = connect_from(net.ip(host), net.at(1, 443));
        client.write_all(&plain(name)).unwrap();
        first_two(&mut client)
    };
    let expected = ["aa", "bb", "cc", "cc", "cc", "bb", "cc", "aa", "bb", "cc"].map(str::to_owned).to_vec();
    on_both(&file, &expected, |net| {
        let mut seen: Vec<String> = ["A.example", "b.example", "no.example", "other.example"]
            .iter()
            .map(|name| hello_of(net, 6, name))
            .collect();
        // Not of the first map; `baa` and `bcc` are no backends, `bbb` is.
        seen.extend(["x.example", "a.example.org", "z.org"].map(|name| hello_of(net, 7, name)));
        seen.push(first_two(&mut connect(net.at(1, 80))));
        seen.extend([80, 81].map(|port| first_two(&mut connect_from(net.ip(6), net.at(1, port)))));
        seen
    });
}

#[test]
fn an_explanation_tells_what_rules_of_pools_say() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    serve_named(net.at(3, 9000), "s2");
    let [front, s1, s2, bad, forced] = [1, 2, 3, 66, 77].map(|host| net.ip(host));
    let running = run(&native(&format!(
        "[[service]]\nname = \"web\"\nlisten = \"{front}:80\"\npool = \"p\"\n\
         [[pool]]\nname = \"p\"\nservers = [\"{s1}:9000\", \"{s2}:9000\"]\nserver-inspect-delay = \"1s\"\nserver-rules = [\n\
         \"content reject if {{ src {bad} }}\", \"force-persist if {{ src {forced} }}\",\n\
         \"use-server s2 if {{ req.ssl_sni a.example }} || {{ src {forced} }}\",\n]\n"
    )));
    let explain = |client, name| running.proxy.explain("web", std::net::SocketAddr::new(client, 0), name).unwrap();
    let named = explain(net.ip(8), Some("a.example"));
    assert_eq!(named.steps, ["content rules of the pool: let in", "server rules: s2 (use-server)"]);
    assert_eq!(named.choice.unwrap().decision, Ok(("s2".to_owned(), Why::Rule)));
    assert!(matches!(explain(net.ip(8), Some("b.example")).choice.unwrap().decision, Ok((_, Why::Turn(_)))));
    let turned_away = explain(bad, None);
    assert_eq!(
        (turned_away.steps.as_slice(), turned_away.pool),
        (&["content rules of the pool: turned away".to_owned()][..], None)
    );
    assert_eq!(greeted(net.at(1, 80), &plain("a.example"), 40), fast("s2"));
    running.proxy.set_server_admin("p", "s2", AdminState::Maintenance).unwrap();
    assert!(matches!(explain(net.ip(8), Some("a.example")).choice.unwrap().decision, Ok((_, Why::Turn(_)))));
    assert_eq!(explain(forced, None).choice.unwrap().decision, Ok(("s2".to_owned(), Why::Rule)));
    // Natively rules wait for what they ask, and no longer.
    assert_eq!(greeted(net.at(1, 80), b"", 1), slow("s1"));
}

/// What a client gets that half-closes: the servers echo.
fn half_closed(front: &Front, servers: &Servers) -> (Vec<u8>, Result<usize, std::io::ErrorKind>) {
    let mut client: TcpStream = connect_from(servers.client(100), front.address);
    assert_eq!(greeting(&mut client), "s1");
    client.write_all(b"last words").unwrap();
    let mut echo = [0; 10];
    client.read_exact(&mut echo).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let end = client.read_to_end(&mut rest).map_err(|error| error.kind());
    (rest, end)
}

#[test]
fn who_does_not_linger_is_reset() {
    use std::io::ErrorKind::ConnectionReset;
    for (lines, end) in [("", Ok(0)), (" option nolinger\n", Err(ConnectionReset))] {
        let seen = compare(&format!("{lines}{SERVERS}"), half_closed);
        assert!(seen.is_none_or(|seen| seen == (Vec::new(), end)), "{lines}");
    }
}
