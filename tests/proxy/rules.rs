//! Rules: who is turned away and where the others go. What HAProxy does too is observed on both, from the same file.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::hello::{hello, plain};
use crate::support::*;
use vipgate::config::import::{System, load_haproxy};
use vipgate::config::{Loading, resolve};
use vipgate::model::{Config, Service};
use vipgate::stats::EndReason;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// HAProxy, until it is dropped.
struct HaProxy(Child);

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) fn native(text: &str) -> Config {
    let mut loading = Loading::new();
    loading.text("test.toml", text);
    loading.finish(&resolve).unwrap_or_else(|failed| panic!("{failed}")).config
}

fn imported(path: &Path) -> Config {
    let mut loading = Loading::new();
    load_haproxy(&mut loading, path, &System);
    loading.finish(&resolve).unwrap_or_else(|failed| panic!("{failed}")).config
}

pub(crate) fn run(config: &Config) -> Running {
    let services: Vec<Service> =
        config.services.iter().map(|service| Service { log: false, ..service.clone() }).collect();
    Running::start_all(&services, &config.pools)
}

/// What clients see of vipgate and, where it is installed, of HAProxy; each has a network of its own. `{0}`.. in the file
/// are the addresses of it; the observation is given the same.
pub(crate) fn on_both<T: PartialEq + std::fmt::Debug>(file: &str, expected: &T, observe: impl Fn(&Net) -> T) {
    for theirs in [false, true] {
        if theirs && !Path::new(HAPROXY).exists() {
            println!("SKIPPED: {HAPROXY} is not installed, so nothing was compared with it");
            return;
        }
        let net = Net::new();
        let mut text =
            "defaults\n mode tcp\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n".to_owned();
        text += file;
        text += READY;
        for host in 0..10 {
            text = text.replace(&format!("{{{host}}}"), &net.ip(host).to_string());
        }
        let path = std::env::temp_dir().join(format!("vipgate-rules-{}-{}.cfg", std::process::id(), net.ip(0)));
        std::fs::write(&path, text).unwrap();
        for (host, name) in [(2, "aa"), (3, "bb"), (4, "cc")] {
            serve_named(net.at(host, 9000), name);
        }
        let haproxy = || HaProxy(Command::new(HAPROXY).args(["-db", "-f"]).arg(&path).spawn().unwrap());
        let front: (Option<HaProxy>, Option<Running>) =
            if theirs { (Some(haproxy()), None) } else { (None, Some(run(&imported(&path)))) };
        eventually("it listens", || {
            // Its own port: connections to it count for nothing.
            TcpStream::connect(net.at(9, 9)).is_ok()
        });
        let seen = observe(&net);
        drop(front);
        let _removed = std::fs::remove_file(&path);
        assert_eq!(&seen, expected, "{}", if theirs { "HAProxy" } else { "vipgate" });
    }
}

/// The last proxy of a file: it tells that those before it listen.
const READY: &str = "\nlisten ready\n bind {9}:9\n server s {2}:9000\n";
const BACKENDS: &str = "backend a\n server s {2}:9000\nbackend b\n server s {3}:9000\nbackend c\n server s {4}:9000\n";

/// What becomes of a client that sends `bytes`, in pieces of `piece` bytes: who greets it, or how it ends. The greeting's
/// delay is told apart only by whether it is more than half a second.
pub(crate) fn greeted(address: SocketAddr, bytes: &[u8], piece: usize) -> (String, bool) {
    let mut client = connect(address);
    client.set_nodelay(true).unwrap();
    for (place, part) in bytes.chunks(piece.max(1)).enumerate() {
        if place > 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        if client.write_all(part).is_err() {
            break;
        }
    }
    let start = Instant::now();
    let outcome = first_two(&mut client);
    let slow = start.elapsed() > Duration::from_millis(500);
    if outcome.len() == 2 {
        // What was looked at reaches the server whole.
        let mut echo = vec![0; bytes.len()];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, bytes);
    }
    (outcome, slow)
}

/// The name of the server, or `end`, or `reset`.
pub(crate) fn first_two(client: &mut TcpStream) -> String {
    let mut name = [0; 2];
    match client.read_exact(&mut name) {
        Ok(()) => String::from_utf8_lossy(&name).into_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset".to_owned(),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => "end".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn fast(outcome: &str) -> (String, bool) {
    (outcome.to_owned(), false)
}

pub(crate) fn slow(outcome: &str) -> (String, bool) {
    (outcome.to_owned(), true)
}

#[test]
fn names_in_hellos_choose_pools_however_they_are_cut() {
    let file = format!(
        "frontend web\n bind {{1}}:443\n tcp-request inspect-delay 1s\n \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n acl b req_ssl_sni -i -m end .B.example\n \
         acl b req.ssl_sni b.example\n use_backend a if {{ req.ssl_sni -m beg a. }} !b\n use_backend b if b\n \
         default_backend c\n{BACKENDS}"
    );
    let expected = vec![
        fast("aa"),
        fast("bb"),
        fast("bb"),
        fast("cc"),
        // Post-quantum: cut into many segments.
        fast("aa"),
        // What is no TLS is known at once.
        fast("cc"),
        // Who says nothing waits for all of the delay.
        slow("cc"),
    ];
    on_both(&file, &expected, |net| {
        let front = net.at(1, 443);
        vec![
            greeted(front, &plain("a.example"), 4096),
            greeted(front, &plain("www.b.example"), 4096),
            greeted(front, &plain("b.example"), 50),
            greeted(front, &plain("other.example"), 4096),
            greeted(front, &hello("a.example", 1216, 16_384), 100),
            greeted(front, b"SSH-2.0-x\r\n", 4096),
            greeted(front, b"", 1),
        ]
    });
}

#[test]
fn a_name_is_found_over_several_records() {
    // HAProxy looks at the first record only.
    let net = Net::new();
    let config = native(&format!(
        "[[service]]\nname = \"web\"\nlisten = \"{}\"\npool = \"c\"\nroute = [{{ sni = \"*.example\", pool = \"a\" }}]\n\
         [[pool]]\nname = \"a\"\nservers = [\"{}\"]\n[[pool]]\nname = \"c\"\nservers = [\"{}\"]\n",
        net.at(1, 443),
        net.at(2, 9000),
        net.at(4, 9000)
    ));
    serve_named(net.at(2, 9000), "aa");
    serve_named(net.at(4, 9000), "cc");
    let running = run(&config);
    assert_eq!(greeted(net.at(1, 443), &hello("a.example", 1216, 300), 4096), fast("aa"));
    assert_eq!(greeted(net.at(1, 443), &hello("a.EXAMPLE", 36, 7), 1), fast("aa"));
    assert_eq!(greeted(net.at(1, 443), &plain("a.elsewhere"), 64), fast("cc"));
    // A client that ends its stream says no more.
    let mut client = connect(net.at(1, 443));
    client.write_all(&plain("a.example")[..20]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(first_two(&mut client), "cc");
    drop(client);
    running.wait_idle();
}

#[test]
fn networks_are_turned_away_on_accept() {
    let file = format!(
        "frontend web\n bind {{1}}:80\n acl bad src {{6}} {{7}}/32\n acl bad src 192.0.2.0/255.255.255.0\n \
         tcp-request connection reject if bad !{{ src_port 1:1023 }}\n default_backend c\n{BACKENDS}"
    );
    let expected = ["reset", "reset", "cc"];
    on_both(&file, &expected.iter().map(ToString::to_string).collect::<Vec<_>>(), |net| {
        [6, 7, 8].map(|host| first_two(&mut connect_from(net.ip(host), net.at(1, 80)))).to_vec()
    });
}

#[test]
fn what_is_said_is_accepted_or_not() {
    let file = format!(
        "frontend strict\n bind {{1}}:443\n tcp-request inspect-delay 1s\n \
         tcp-request content accept if {{ req_ssl_hello_type 1 }}\n tcp-request content reject\n default_backend a\n\
         frontend late\n bind {{1}}:25\n tcp-request inspect-delay 1s\n \
         tcp-request content reject if {{ req_len gt 0 }}\n default_backend b\n\
         frontend either\n bind {{1}}:22\n tcp-request inspect-delay 5s\n acl ssh req.payload(0,4) -m str SSH-\n \
         use_backend c if ssh\n tcp-request content accept if {{ req.len ge 4 }}\n default_backend a\n{BACKENDS}"
    );
    let expected = vec![fast("aa"), fast("end"), slow("end"), fast("end"), slow("bb"), fast("cc"), fast("aa")];
    on_both(&file, &expected, |net| {
        vec![
            greeted(net.at(1, 443), &plain("a.example"), 4096),
            greeted(net.at(1, 443), b"GET / HTTP/1.0\r\n\r\n", 4096),
            greeted(net.at(1, 443), b"", 1),
            // Who speaks before the server does, and who does not.
            greeted(net.at(1, 25), b"EHLO x\r\n", 4096),
            greeted(net.at(1, 25), b"", 1),
            greeted(net.at(1, 22), b"SSH-2.0-x\r\n", 4096),
            greeted(net.at(1, 22), b"GET /", 4096),
        ]
    });
}

#[test]
fn sources_have_limits() {
    let file = format!(
        "frontend web\n bind {{1}}:80\n stick-table type ip size 10k expire 1m store conn_rate(20s),conn_cur,gpc0\n \
         tcp-request connection track-sc0 src\n tcp-request connection reject if {{ sc0_conn_cur gt 2 }} or {{ sc_conn_rate(0) gt 5 }}\n \
         default_backend c\n{BACKENDS}"
    );
    let expected = ["cc", "cc", "reset", "cc", "cc", "reset", "cc"].map(str::to_owned).to_vec();
    on_both(&file, &expected, |net| {
        let from = |host| {
            let mut client = connect_from(net.ip(host), net.at(1, 80));
            (first_two(&mut client), client)
        };
        let (first, held) = from(6);
        let (second, other) = from(6);
        // Two are open: no third one.
        let (third, _) = from(6);
        drop((held, other));
        // They are let go of when their connection has ended.
        std::thread::sleep(Duration::from_millis(300));
        let (fourth, client) = from(6);
        drop(client);
        std::thread::sleep(Duration::from_millis(300));
        let (fifth, client) = from(6);
        drop(client);
        std::thread::sleep(Duration::from_millis(300));
        // The sixth within the time; those turned away count.
        let (sixth, _) = from(6);
        let (another, _) = from(7);
        vec![first, second, third, fourth, fifth, sixth, another]
    });
}

#[test]
fn a_purpose_counter_remembers_who_was_marked() {
    let file = format!(
        "frontend web\n bind {{1}}:80\n stick-table type ip size 10k expire 1m store gpc0,conn_cnt\n \
         tcp-request connection track-sc0 src\n tcp-request connection reject if {{ src_get_gpc0(web) gt 0 }}\n \
         tcp-request inspect-delay 2s\n tcp-request content sc-inc-gpc0(0) if {{ req.payload(0,3) -m str BAD }}\n \
         default_backend c\n{BACKENDS}"
    );
    let expected = vec![fast("cc"), fast("cc"), fast("reset"), fast("cc")];
    on_both(&file, &expected, |net| {
        let said = |host, bytes: &[u8]| {
            let mut client = connect_from(net.ip(host), net.at(1, 80));
            let refused = client.write_all(bytes).is_err();
            let outcome = first_two(&mut client);
            // The write took the news of the reset.
            fast(if refused { "reset" } else { &outcome })
        };
        vec![said(6, b"good"), said(6, b"BAD!"), said(6, b"good"), said(7, b"good")]
    });
}

#[test]
fn who_has_no_pool_goes_nowhere() {
    let file = format!(
        "frontend web\n bind {{1}}:80-82\n use_backend a if {{ dst_port 80 }}\n use_backend b unless {{ dst_port ge 82 }}\n{BACKENDS}"
    );
    // HAProxy ends the stream, here it is refused as wherever there is no server.
    let kind = |outcome: String| if outcome == "end" || outcome == "reset" { "nowhere".to_owned() } else { outcome };
    let expected = ["aa", "bb", "nowhere"].map(str::to_owned).to_vec();
    on_both(&file, &expected, |net| [80, 81, 82].map(|port| kind(first_two(&mut connect(net.at(1, port))))).to_vec());
}

#[test]
fn pools_without_servers_are_passed_over() {
    let file = "frontend web\n bind {1}:80\n acl a_is_gone nbsrv(a) lt 1\n acl b_up srv_is_up(b/s)\n \
         use_backend b if a_is_gone b_up\n default_backend c\n\
         backend a\n server s {2}:9000 disabled\nbackend b\n server s {3}:9000\nbackend c\n server s {4}:9000\n";
    on_both(file, &"bb".to_owned(), |net| first_two(&mut connect(net.at(1, 80))));
}

#[test]
fn new_connections_a_second_wait_for_the_next() {
    let file = format!("frontend web\n bind {{1}}:80\n rate-limit sessions 5\n default_backend c\n{BACKENDS}");
    on_both(&file, &true, |net| {
        let start = Instant::now();
        let mut clients: Vec<_> = (0..12).map(|_| connect(net.at(1, 80))).collect();
        let names: Vec<_> = clients.iter_mut().map(first_two).collect();
        let elapsed = start.elapsed();
        // Twelve at five a second: all are served, and not within one second.
        names.iter().all(|name| name == "cc") && elapsed > Duration::from_secs(1) && elapsed < Duration::from_secs(6)
    });
}

fn limited(net: &Net, keys: &str) -> Config {
    native(&format!(
        "[[service]]\nname = \"web\"\nlisten = \"{}\"\nservers = [\"{}\"]\n{keys}\n",
        net.at(1, 80),
        net.at(2, 9000)
    ))
}

#[test]
fn native_networks_and_limits() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "aa");
    let allow = format!("allow = [\"{}/29\"]\ndeny = [\"{}\"]", net.ip(0), net.ip(6));
    let config = limited(&net, &format!("{allow}\nlimits = {{ concurrent = 1, connections-per-second = 100 }}"));
    let mut running = run(&config);
    let from = |host| {
        let mut client = connect_from(net.ip(host), net.at(1, 80));
        (first_two(&mut client), client)
    };
    assert_eq!(from(6).0, "reset", "denied within what is allowed");
    assert_eq!(from(8).0, "reset", "not among those allowed");
    let (first, held) = from(5);
    assert_eq!((first.as_str(), from(5).0.as_str(), from(4).0.as_str()), ("aa", "reset", "aa"));
    assert_eq!((running.ended(EndReason::DeniedConnection), running.ended(EndReason::SourceLimit)), (2, 1));
    assert_eq!(running.proxy.counted_sources("limits of web"), 2);
    // A reload keeps what was counted, also for those that came before it.
    let config = limited(&net, "limits = { concurrent = 2 }");
    running.reload(&config.services, &config.pools);
    let (second, other) = from(5);
    assert_eq!((second.as_str(), from(5).0.as_str()), ("aa", "reset"));
    drop((held, other));
    running.wait_idle();
    assert_eq!(from(5).0, "aa");
    // Without rules nothing is counted.
    let config = limited(&net, "");
    running.reload(&config.services, &config.pools);
    assert_eq!(from(8).0, "aa");
    assert_eq!(running.proxy.counted_sources("limits of web"), 0);
}

#[test]
fn many_silent_clients_delay_nobody_and_leave_nothing() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "aa");
    let rules = "rules = [\"content reject unless { req.ssl_hello_type 1 }\"]\ninspect-delay = \"2s\"";
    let running = run(&limited(&net, rules));
    let silent: Vec<_> = (0..300).map(|_| connect(net.at(1, 80))).collect();
    assert_eq!(greeted(net.at(1, 80), &plain("a.example"), 1), fast("aa"));
    // Half of them go by themselves, the others when their time is over.
    let mut patient = silent;
    patient.drain(..150).for_each(reset);
    running.wait_ended(EndReason::ClientAborted, 150);
    running.wait_ended(EndReason::DeniedContent, 150);
    running.wait_idle();
}

#[test]
fn what_would_become_of_a_client_is_told() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "aa");
    let config = limited(
        &net,
        &format!(
            "deny = [\"{}\"]\nlimits = {{ concurrent = 1 }}\n\
             route = [{{ sni = \"*.b.example\", pool = \"b\" }}]\nrules = [\"use-no-pool if {{ req.ssl_sni none.example }}\"]\n\
             [[pool]]\nname = \"b\"\nservers = [\"{}\"]",
            net.ip(6),
            net.at(2, 9000)
        ),
    );
    let running = run(&config);
    let told = |host, name| {
        let rehearsal = running.proxy.rehearse("web", net.at(host, 5000), net.at(1, 80), name).unwrap();
        (rehearsal.pool, rehearsal.steps.last().cloned().unwrap_or_default())
    };
    let to = |pool: &str, step: &str| (Some(pool.to_owned()), step.to_owned());
    assert_eq!(told(5, Some("a.b.example")), to("b", "pool rules: b"));
    assert_eq!(told(5, None), to("web", "pool rules: none holds, so it is the service's own"));
    assert_eq!(told(5, Some("none.example")), (None, "pool rules: there is no pool for it".to_owned()));
    assert_eq!(told(6, None), (None, "connection rules: turned away".to_owned()));
    let mut client = connect_from(net.ip(5), net.at(1, 80));
    // Its route waits for a hello; this is none.
    client.write_all(b"hello").unwrap();
    assert_eq!(first_two(&mut client), "aa");
    assert_eq!(told(5, None), (None, "connection rules: turned away".to_owned()), "it has one already");
    assert_eq!(told(4, None).0.as_deref(), Some("web"));
    // Nothing was counted by asking.
    assert_eq!(running.proxy.counted_sources("limits of web"), 1);
    assert_eq!(running.proxy.rehearse("other", net.at(5, 1), net.at(1, 80), None), None);
}

#[test]
fn a_name_that_is_hashed_is_waited_for() {
    let net = Net::new();
    let mut servers = Vec::new();
    for (host, name) in [(2, "aa"), (3, "bb"), (4, "cc")] {
        serve_named(net.at(host, 9000), name);
        servers.push(format!("\"{}\"", net.at(host, 9000)));
    }
    // No rule asks for it, the pool does.
    let config = native(&format!(
        "[[service]]\nname = \"web\"\nlisten = \"{}\"\nservers = [{}]\nbalance = \"sni\"\n",
        net.at(1, 80),
        servers.join(", ")
    ));
    let running = run(&config);
    let mut seen = std::collections::HashSet::new();
    for name in ["a.example", "b.example", "c.example", "d.example", "e.example", "f.example"] {
        let (first, slow) = greeted(net.at(1, 80), &plain(name), 40);
        assert!(!slow);
        for piece in [1000, 30] {
            assert_eq!(greeted(net.at(1, 80), &plain(name), piece), (first.clone(), false), "{name}");
        }
        let explained = running.proxy.explain("web", net.at(9, 9), Some(name)).unwrap();
        assert_eq!(explained.pool.as_deref(), Some("web"));
        seen.insert(first);
    }
    assert!(seen.len() > 1, "{seen:?}");
    assert!(!greeted(net.at(1, 80), b"SSH-2.0-x\r\n", 4096).1, "what is no TLS goes on at once");
}
