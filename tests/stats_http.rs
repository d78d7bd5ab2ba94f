//! The statistics endpoint over real sockets on loopback.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads clocks, opens sockets and fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use vipgate::model::page::PageListen;
use vipgate::model::{Config, Global, ListenAddress, Page, Pool, Server, Service, Statistics};
use vipgate::pages::{Pages, Source};
use vipgate::rules::World;
use vipgate::stats::{EndReason, Registry, Snapshot, Surroundings};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn config(path: &str) -> Page {
    Page {
        listen: vec![PageListen::new(loopback(0))],
        max_connections: 20,
        statistics: Some(Statistics { show_node: true, alone: true, ..Statistics::new(path) }),
        ..Page::new("stats")
    }
}

fn statistics(page: &mut Page) -> &mut Statistics {
    page.statistics.as_mut().unwrap()
}

/// Statistics ask for nothing.
struct Nothing;

impl World for Nothing {}

/// One service whose pool has one server, in use or not.
fn source(disabled: bool, service: &str) -> Source {
    let registry = Registry::default();
    registry.service(service).count_end(EndReason::Complete);
    let config = Config {
        global: Global { node: Some("front-a".to_owned()), ..Global::default() },
        routers: Vec::new(),
        services: vec![Service {
            listen: vec![ListenAddress::new(Ipv4Addr::new(192, 0, 2, 1).into(), "22".parse().unwrap())],
            ..Service::new(service, "files")
        }],
        pools: vec![Pool::new(
            "files",
            vec![Server { disabled, ..Server::new("s1", Ipv4Addr::new(192, 0, 2, 11).into()) }],
        )],
        ..Config::default()
    };
    let started = Instant::now();
    Arc::new(move || {
        let around = Surroundings {
            now: Instant::now(),
            started,
            host_name: String::new(),
            workers: 1,
            connection_limit: 1000,
            troubles: Vec::new(),
            warnings: Vec::new(),
        };
        Snapshot::take(&registry, &config, around)
    })
}

/// An endpoint on a thread of its own, and the way to reload or stop it.
struct Running {
    address: SocketAddr,
    reloads: mpsc::Sender<Page>,
    addresses: mpsc::Receiver<Vec<SocketAddr>>,
}

fn start(config: Page, source: Source) -> Running {
    let (reloads, wanted) = mpsc::channel::<Page>();
    let (tell, addresses) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pages = Pages::new(source, Arc::new(Nothing), Arc::default());
            let prepared = pages.prepare(&[config]).unwrap();
            pages.commit(prepared);
            tell.send(bound_to(&pages)).unwrap();
            loop {
                match wanted.try_recv() {
                    Ok(config) => {
                        let prepared = pages.prepare(&[config]).unwrap();
                        pages.commit(prepared);
                        tell.send(bound_to(&pages)).unwrap();
                    }
                    Err(mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(2)).await,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
        });
    });
    let address = addresses.recv().unwrap()[0];
    Running { address, reloads, addresses }
}

fn bound_to(pages: &Pages) -> Vec<SocketAddr> {
    pages.addresses().map(|(address, _)| address).collect()
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

fn send(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

fn get(address: SocketAddr, target: &str) -> Answer {
    send(address, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn every_resource_is_where_it_belongs() {
    let endpoint = start(config("/"), source(false, "sftp"));
    let page = get(endpoint.address, "/");
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].starts_with("default-src 'none'; style-src 'self'"));
    assert!(!page.headers.contains_key("refresh"));
    assert!(page.body.contains("front-a") && page.body.contains("sftp"));
    assert_eq!(get(endpoint.address, "/vipgate.css").headers["content-type"], "text/css; charset=utf-8");
    assert!(get(endpoint.address, "/;csv").body.starts_with("# pxname,svname,"));
    let snapshot: Snapshot = serde_json::from_str(&get(endpoint.address, "/stats.json").body).unwrap();
    assert_eq!(snapshot.services[0].name, "sftp");
    assert_eq!(get(endpoint.address, "/healthz").body, "ok\n");
    assert_eq!(get(endpoint.address, "/readyz").status, 200);
    assert_eq!(get(endpoint.address, "/other").status, 404);
    let post = send(endpoint.address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET, HEAD"));
    let head = send(endpoint.address, "HEAD /stats.json HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.headers["content-length"].parse::<usize>().unwrap() > 100);
}

#[test]
fn haproxys_uri_may_hold_a_query() {
    let mut config = config("/haproxy?stats");
    statistics(&mut config).refresh = Some(Duration::from_secs(30));
    statistics(&mut config).hide_version = true;
    statistics(&mut config).show_node = false;
    let endpoint = start(config, source(false, "sftp"));
    let page = get(endpoint.address, "/haproxy?stats");
    assert_eq!((page.status, page.headers["refresh"].as_str()), (200, "30"));
    assert!(!page.body.contains(env!("CARGO_PKG_VERSION")) && !page.body.contains("front-a"), "{}", page.body);
    assert!(!get(endpoint.address, "/haproxy?stats;norefresh").headers.contains_key("refresh"));
    assert!(get(endpoint.address, "/haproxy?stats;csv;norefresh").body.starts_with("# pxname,"));
    assert_eq!(get(endpoint.address, "/haproxy").status, 404);
    assert_eq!(get(endpoint.address, "/").status, 404);
}

#[test]
fn users_need_their_password() {
    let mut config = config("/");
    statistics(&mut config).users =
        vec![("admin".to_owned(), "secret".to_owned()), ("guest".to_owned(), "guest".to_owned())];
    let endpoint = start(config, source(false, "sftp"));
    let with = |target: &str, authorization: &str| {
        send(endpoint.address, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"))
    };
    let refused = get(endpoint.address, "/metrics");
    assert_eq!(refused.status, 401);
    assert!(refused.headers["www-authenticate"].starts_with("Basic realm=\"vipgate\""));
    assert_eq!(with("/", "Basic YWRtaW46c2VjcmV0").status, 200, "admin:secret");
    assert_eq!(with("/stats.json", "basic Z3Vlc3Q6Z3Vlc3Q=").status, 200, "guest:guest");
    for wrong in ["Basic YWRtaW46Z3Vlc3Q=", "Basic YWRtaW46", "Basic !!!", "Basic", "Bearer YWRtaW46c2VjcmV0", ""] {
        assert_eq!(with("/", wrong).status, 401, "{wrong:?}");
    }
    assert_eq!(get(endpoint.address, "/other").status, 401, "what there is, is not told");
    assert_eq!(get(endpoint.address, "/healthz").status, 200, "needs no password");
}

#[test]
fn not_ready_is_503_with_its_reasons() {
    let endpoint = start(config("/"), source(true, "sftp"));
    let ready = get(endpoint.address, "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "service sftp: no server up in pool files\n"));
    assert_eq!(get(endpoint.address, "/healthz").status, 200);
}

#[test]
fn metrics_are_valid_and_complete() {
    let endpoint = start(config("/"), source(false, "odd \"name\" \\ here"));
    let answer = get(endpoint.address, "/metrics");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let samples = exposition::parse(&answer.body);
    let find = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        samples.get(&(name.to_owned(), labels)).copied()
    };
    let odd = "odd \"name\" \\ here";
    assert_eq!(find("vipgate_server_up", &[("pool", "files"), ("server", "s1")]), Some(1.0));
    assert_eq!(find("vipgate_service_connections_ended_total", &[("service", odd), ("reason", "complete")]), Some(1.0));
    assert_eq!(find("vipgate_verdict", &[("verdict", "ok")]), Some(1.0));
    assert!(find("vipgate_resident_memory_bytes", &[]).unwrap() > 1e6);
}

#[test]
fn clients_that_dawdle_keep_nobody_out() {
    let mut config = config("/");
    config.max_connections = 4;
    let endpoint = start(config, source(false, "sftp"));
    let dawdlers: Vec<TcpStream> = (0..50)
        .map(|index| {
            let mut stream = TcpStream::connect(endpoint.address).unwrap();
            if index % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nX-").unwrap();
            }
            stream
        })
        .collect();
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(endpoint.address, "/").status, 200);
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    // All of them are closed: most to make room, the last ones for their slowness.
    for mut stream in dawdlers {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
}

#[test]
fn a_head_that_never_ends_is_refused() {
    let endpoint = start(config("/"), source(false, "sftp"));
    let mut stream = TcpStream::connect(endpoint.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(100_000)).as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn a_reload_keeps_the_listeners_that_stay() {
    // A port of our own that is free now, and stays the same over the reload.
    let fixed = TcpListener::bind(loopback(0)).unwrap().local_addr().unwrap();
    let mut first = config("/");
    first.listen = vec![PageListen::new(fixed)];
    let endpoint = start(first.clone(), source(false, "sftp"));
    let inode = listener_inode(fixed);
    let waiting = TcpStream::connect(fixed).unwrap();

    let mut second = first.clone();
    second.listen.push(PageListen::new(loopback(0)));
    statistics(&mut second).path = "/new".to_owned();
    endpoint.reloads.send(second).unwrap();
    let addresses = endpoint.addresses.recv().unwrap();
    assert_eq!((addresses.len(), listener_inode(fixed)), (2, inode));
    assert_eq!((get(fixed, "/new").status, get(fixed, "/").status, get(addresses[1], "/new").status), (200, 404, 200));
    let mut waiting = waiting;
    waiting.write_all(b"GET /new HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "a connection from before is served: {answer}");

    endpoint.reloads.send(first).unwrap();
    assert_eq!(endpoint.addresses.recv().unwrap(), [fixed]);
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(addresses[1]).is_ok() {
        assert!(Instant::now() < deadline, "{} still listens", addresses[1]);
        std::thread::yield_now();
    }
}

#[test]
fn a_port_in_use_is_named_and_nothing_changes() {
    let holder = TcpListener::bind(loopback(0)).unwrap();
    let taken = holder.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut wanted = config("/");
        wanted.listen.push(PageListen::new(taken));
        let mut pages = Pages::new(source(false, "sftp"), Arc::new(Nothing), Arc::default());
        let error = pages.prepare(std::slice::from_ref(&wanted)).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("another process has the port"), "{error}");
        let prepared = pages.prepare(&[config("/")]).unwrap();
        pages.commit(prepared);
        assert!(pages.prepare(&[wanted]).is_err());
        assert_eq!(bound_to(&pages).len(), 1);
    });
}

fn listener_inode(address: SocketAddr) -> String {
    let wanted = format!("{:08X}:{:04X}", u32::from(Ipv4Addr::LOCALHOST).swap_bytes(), address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    line.filter(|fields| fields.len() > 9 && fields[1] == wanted && fields[3] == "0A")
        .map(|fields| fields[9].to_owned())
        .next()
        .unwrap()
}

/// The text format 0.0.4, strictly: everything `promtool check metrics` would complain about is a panic.
mod exposition {
    use super::{BTreeMap, BTreeSet};

    pub(super) type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

    pub(super) fn parse(text: &str) -> Samples {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut samples = Samples::new();
        let mut families = BTreeSet::new();
        let mut family: Option<(String, Option<String>)> = None;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(!help.is_empty() && families.insert(name.to_owned()), "one HELP a family: {line}");
                check_name(name);
                family = Some((name.to_owned(), None));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                let (current, known) = family.as_mut().unwrap();
                assert!(current == name && known.is_none(), "TYPE follows its HELP: {line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert_eq!(
                    kind == "counter",
                    name.ends_with("_total"),
                    "counters, and only they, end in _total: {line}"
                );
                *known = Some(kind.to_owned());
            } else {
                let (name, labels, value) = sample(line);
                let (current, kind) = family.as_ref().unwrap();
                let part = name.strip_prefix(current.as_str()).unwrap_or("of another family");
                let parts: &[&str] = match kind.as_deref() {
                    Some("histogram") => &["_bucket", "_sum", "_count"],
                    Some(_) => &[""],
                    None => &[],
                };
                assert!(parts.contains(&part), "a sample stands in its family: {line}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(value.is_finite() && value >= 0.0, "{line}");
                assert!(samples.insert((name, labels), value).is_none(), "said twice: {line}");
            }
        }
        samples
    }

    fn check_name(name: &str) {
        assert!(name.starts_with("vipgate_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        for abbreviation in ["_ms", "_secs", "_millis", "_kb", "_mb", "_percent", "_count", "_bucket", "_sum"] {
            assert!(!name.ends_with(abbreviation), "{name}");
        }
    }

    fn sample(line: &str) -> (String, BTreeMap<String, String>, String) {
        let Some((name, rest)) = line.split_once('{') else {
            let (name, value) = line.split_once(' ').unwrap();
            return (name.to_owned(), BTreeMap::new(), value.to_owned());
        };
        let mut labels = BTreeMap::new();
        let mut rest = rest;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = match after.strip_prefix(',') {
                Some(more) => more,
                None => return (name.to_owned(), labels, after.strip_prefix("} ").unwrap().to_owned()),
            };
        }
    }

    fn quoted(text: &str) -> (String, &str) {
        let mut value = String::new();
        let mut chars = text.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => return (value, &text[at + 1..]),
                '\\' => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    other => panic!("unknown escape {other:?}"),
                }),
                other => value.push(other),
            }
        }
        panic!("no end of {text:?}")
    }
}
