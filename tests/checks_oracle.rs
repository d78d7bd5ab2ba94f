//! The same checks in HAProxy (Debian's 2.6) and here, of the same servers from the same file: the same results, log lines
//! and columns.
#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test waits for real processes")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::unbounded_channel;
use tracing_subscriber::fmt::MakeWriter;
use vipgate::config::Loading;
use vipgate::config::import::{System, load_haproxy};
use vipgate::probe::{Ended, Policy, Prober};
use vipgate::stats::Registry;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// What a server does with a connection.
#[derive(Clone, Copy)]
enum Act {
    Say(&'static [u8]),
    /// Reads what there is, at least a byte.
    Hear,
    /// One byte at a time.
    Stammer(&'static [u8]),
    /// Says nothing more for a while.
    Hold,
}

use Act::{Hear, Hold, Say, Stammer};

struct Case {
    name: &'static str,
    /// Lines of the backend.
    lines: &'static str,
    /// Words of the server line.
    words: &'static str,
    /// None: nobody listens.
    acts: Option<&'static [Act]>,
}

const fn case(name: &'static str, lines: &'static str, acts: &'static [Act]) -> Case {
    Case { name, lines, words: "", acts: Some(acts) }
}

const fn nobody(name: &'static str, lines: &'static str) -> Case {
    Case { name, lines, words: "", acts: None }
}

const fn words(case: Case, words: &'static str) -> Case {
    Case { words, ..case }
}

const OK_HTTP: &[Act] = &[Hear, Say(b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nworld")];
const ERR: &[Act] = &[Say(b"-ERR no\r\n"), Hold];
const ERR_CLOSE: &[Act] = &[Say(b"-ERR no\r\n")];
const OK: &[Act] = &[Say(b"+OK ready\r\n"), Hold];

#[rustfmt::skip]
static CASES: &[Case] = &[
    nobody("refused", ""),
    nobody("refused-script", "option tcp-check\n tcp-check send x"),
    nobody("refused-step", "option tcp-check\n tcp-check connect comment hello\\ world\n tcp-check send x"),
    case("connected", "", &[Hold]),
    case("banner", "option tcp-check\n tcp-check expect string OK comment the\\ banner", OK),
    case("stammer", "option tcp-check\n tcp-check expect string OK", &[Stammer(b"xxxOK"), Hold]),
    case("not-in-time", "option tcp-check\n tcp-check expect string OK comment the\\ banner", ERR),
    case("other-banner", "option tcp-check\n tcp-check expect string OK", ERR_CLOSE),
    case("first-bytes", "option tcp-check\n tcp-check expect min-recv 0 string OK", ERR),
    case("error-status", "option tcp-check\n tcp-check expect error-status L7STS string OK", ERR_CLOSE),
    case("empty", "option tcp-check\n tcp-check expect string OK", &[]),
    case("unwanted", "option tcp-check\n tcp-check expect ! string ERR comment neg", ERR),
    case("wanted-until-the-end", "option tcp-check\n tcp-check expect ! string ERR", OK),
    case("regex", "option tcp-check\n tcp-check expect rstring ^\\+OK", OK),
    case("other-regex", "option tcp-check\n tcp-check expect rstring ^\\+OK", ERR_CLOSE),
    case("binary", "option tcp-check\n tcp-check expect binary 2b4f4b", OK),
    case("other-binary", "option tcp-check\n tcp-check expect binary 2b4f4b", ERR_CLOSE),
    case("hex-regex", "option tcp-check\n tcp-check expect rbinary ^2B4F", OK),
    case("other-hex-regex", "option tcp-check\n tcp-check expect rbinary ^2b4f", OK),
    case("regex-not-in-time", "option tcp-check\n tcp-check expect rstring ^AA comment x", OK),
    case("dialogue", "option tcp-check\n tcp-check connect\n tcp-check comment PING\\ phase\n tcp-check send PING\\r\\n\n \
        tcp-check expect string +PONG\n tcp-check comment role\\ phase\n tcp-check send info\\r\\n\n \
        tcp-check expect string role:master", &[Hear, Say(b"+PONG\r\n"), Hear, Say(b"role:slave\r\n"), Hold]),
    case("two-in-one", "option tcp-check\n tcp-check expect string +O\n tcp-check expect string ready", OK),
    case("gone-with-a-send", "option tcp-check\n tcp-check expect string OK\n tcp-check send x\n tcp-check expect string OK", OK),
    case("comment-before", "option tcp-check\n tcp-check comment one\n tcp-check expect string YY", ERR_CLOSE),
    case("second-port", "option tcp-check\n tcp-check connect\n tcp-check connect port 1 comment second\n \
        tcp-check expect string OK", OK),
    case("sends-only", "option tcp-check\n tcp-check connect\n tcp-check send abc", OK),
    case("conditional", "option tcp-check\n tcp-check expect ok-status L7OKC string OK", OK),
    case("http", "option httpchk", &[Hear, Say(b"HTTP/1.0 200 OK\r\n\r\n")]),
    case("http-503", "option httpchk GET /x", &[Hear, Say(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno")]),
    case("http-comment", "option httpchk GET /x\n http-check expect comment mine status 200",
        &[Hear, Say(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")]),
    case("http-404", "option httpchk GET /x\n http-check disable-on-404", &[Hear, Say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]),
    case("http-string", "option httpchk GET /x\n http-check expect string world", OK_HTTP),
    case("http-other-string", "option httpchk GET /x\n http-check expect string hello", OK_HTTP),
    case("http-unwanted-string", "option httpchk GET /x\n http-check expect ! string world", OK_HTTP),
    case("http-regex", "option httpchk GET /x\n http-check expect rstring ^w.*d", OK_HTTP),
    case("http-status-regex", "option httpchk GET /x\n http-check expect ! rstatus ^2", OK_HTTP),
    case("http-header", "option httpchk GET /x\n http-check expect hdr name content-length value -m beg 5", OK_HTTP),
    case("http-other-header", "option httpchk GET /x\n http-check expect hdr name x-a value b comment hh", OK_HTTP),
    case("http-error-status", "option httpchk GET /x\n http-check expect error-status L7RSP status 204", OK_HTTP),
    case("http-short-body", "option httpchk GET /x\n http-check expect string hello",
        &[Hear, Say(b"HTTP/1.1 200 Fine\r\nContent-Length: 50\r\n\r\nworld")]),
    case("http-not-in-time", "option httpchk GET /x", &[Hear, Hold]),
    case("http-closed", "option httpchk GET /x", &[Hear]),
    case("http-junk", "option httpchk GET /x", &[Hear, Say(b"junk\r\n\r\n")]),
    nobody("http-refused", "option httpchk GET /x"),
    case("smtp", "option smtpchk EHLO x.example", &[Say(b"220 mail\r\n"), Hear, Say(b"250-hi\r\n250 there\r\n"), Hear, Say(b"221 bye\r\n"), Hold]),
    case("smtp-refuses", "option smtpchk", &[Say(b"554 go away\r\n"), Hold]),
    case("smtp-junk", "option smtpchk", &[Say(b"hello there\r\n"), Hold]),
    case("smtp-silent", "option smtpchk", &[Hold]),
    case("redis", "option redis-check", &[Hear, Say(b"+PONG\r\n"), Hold]),
    case("redis-refuses", "option redis-check", &[Hear, Say(b"-NOAUTH Authentication required.\r\n")]),
    case("ldap", "option ldap-check", &[Hear, Say(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), Hold]),
    case("ldap-refuses", "option ldap-check", &[Hear, Say(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x35\x04\x00\x04\x00"), Hold]),
    case("ldap-junk", "option ldap-check", &[Hear, Say(b"hello there this is"), Hold]),
    case("postgres", "option pgsql-check user u1", &[Hear, Say(b"R\0\0\0\x08\0\0\0\0"), Hold]),
    case("postgres-refuses", "option pgsql-check user u1", &[Hear, Say(b"E\0\0\0\x28SFATAL\0C28000\0Mno such role \"u1\"\0\0"), Hold]),
    case("postgres-junk", "option pgsql-check user u1", &[Hear, Say(b"hello there this is"), Hold]),
    case("mysql", "option mysql-check", &[Say(b"\x1a\0\0\0\x0a5.5.5-10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), Hold]),
    case("mysql-refuses", "option mysql-check", &[Say(b"\x17\0\0\0\xff\x15\x04#28000Host blocked x"), Hold]),
    case("mysql-user-refused", "option mysql-check user u1", &[Say(b"\x1a\0\0\0\x0a5.5.5-10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), Hear,
        Say(b"\x19\0\0\x02\xff\x15\x04#28000Access denied u1"), Hold]),
    case("tls-hello", "option ssl-hello-chk", &[Hear, Say(b"\x15\x03\0\0\x02\x02\x28"), Hold]),
    case("tls-hello-junk", "option ssl-hello-chk", &[Hear, Say(b"hello there\r\n"), Hold]),
    words(case("tls-junk", "", &[Hear, Say(b"hello there\r\n"), Hold]), "check-ssl verify none"),
    words(case("tls-closed", "", &[Hear]), "check-ssl verify none"),
    words(case("tls-silent", "", &[Hear, Hold]), "check-ssl verify none"),
    words(nobody("tls-refused", ""), "check-ssl verify none"),
];

fn serve(acts: &'static [Act]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || play(stream, acts));
        }
    });
    address
}

fn play(mut stream: TcpStream, acts: &[Act]) {
    for act in acts {
        let went_on = match act {
            Say(bytes) => stream.write_all(bytes).is_ok(),
            Hear => stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0),
            Stammer(bytes) => bytes.iter().all(|byte| {
                std::thread::sleep(Duration::from_millis(10));
                stream.write_all(&[*byte]).is_ok()
            }),
            Hold => {
                std::thread::sleep(Duration::from_secs(3));
                true
            }
        };
        if !went_on {
            return;
        }
    }
}

/// The backends, each with a server; and a listener, without which HAProxy does not start.
fn file(log: SocketAddr, stats: SocketAddr) -> String {
    let mut text = format!(
        "global\n log {log} local0\ndefaults\n mode tcp\n log global\n option log-health-checks\n timeout connect 1500ms\n \
         timeout client 5s\n timeout server 5s\nlisten stats\n bind {stats}\n mode http\n stats enable\n stats uri /\n"
    );
    for case in CASES {
        let server = case.acts.map_or_else(closed_port, serve);
        let Case { name, lines, words, .. } = case;
        text.push_str(&format!(
            "backend {name}\n {lines}\n server s {server} check inter 1500ms rise 1 fall 1 {words}\n"
        ));
    }
    text
}

/// Somebody has it, and nobody listens: connections are refused.
fn closed_port() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // For as long as the test runs.
    std::mem::forget(socket);
    address
}

/// A port below those that the kernel gives out by itself.
fn free_port() -> SocketAddr {
    let mut ports = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap()..;
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    ports.find_map(|port| TcpListener::bind(address(port)).ok()).unwrap().local_addr().unwrap()
}

/// What one side says of one backend.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    lines: BTreeSet<String>,
    /// check_status, check_code, check_desc.
    columns: [String; 3],
}

/// Durations differ from run to run.
fn without_duration(line: &str) -> String {
    match line.split_once("check duration: ") {
        Some((before, after)) => {
            let rest = after.split_once("ms").map_or("", |(_, rest)| rest);
            format!("{before}check duration: _ms{rest}")
        }
        None => line.to_owned(),
    }
}

/// Keeps a line of the log if it is about a check, or a state, of a server.
fn keep(line: &str, said: &mut BTreeMap<String, Said>) {
    let Some(start) = ["Health check for ", "Server "].iter().find_map(|start| line.find(start)) else { return };
    let line = line[start..].trim();
    let case = CASES.iter().find(|case| line.contains(&format!(" {}/s ", case.name)));
    if let Some(case) = case {
        said.entry(case.name.to_owned()).or_default().lines.insert(without_duration(line));
    }
}

fn ask_haproxy(text: &str, log: &UdpSocket, stats: SocketAddr) -> BTreeMap<String, Said> {
    let path = std::env::temp_dir().join(format!("vipgate-checks-{}.cfg", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let mut haproxy = Command::new(HAPROXY)
        .args(["-db", "-f"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BTreeMap::new();
    let begun = Instant::now();
    log.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 4096];
    while begun.elapsed() < LONG_ENOUGH {
        if let Ok(length) = log.recv(&mut buffer) {
            keep(&String::from_utf8_lossy(&buffer[..length]), &mut said);
        }
    }
    let csv = fetch_csv(stats);
    haproxy.kill().unwrap();
    haproxy.wait().unwrap();
    std::fs::remove_file(path).unwrap();
    let mut rows = csv.lines();
    let names: Vec<&str> = rows.next().unwrap().trim_start_matches("# ").split(',').collect();
    let column = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let wanted = ["check_status", "check_code", "check_desc"].map(column);
    for row in rows {
        let cells: Vec<&str> = row.split(',').collect();
        if cells.get(1) == Some(&"s") {
            // A star stands before it while the next check is under way.
            let columns = wanted.map(|at| cells[at].trim_start_matches("* ").to_owned());
            said.entry(cells[0].to_owned()).or_default().columns = columns;
        }
    }
    said
}

fn fetch_csv(stats: SocketAddr) -> String {
    let mut stream = TcpStream::connect(stats).unwrap();
    stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let mut body = text.split_once("\r\n\r\n").unwrap().1;
    // It comes in chunks, HTTP/1.0 or not.
    let mut csv = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        csv.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    csv
}

/// A first check is made within the interval, and ends within it.
const LONG_ENOUGH: Duration = Duration::from_millis(3500);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn ask_vipgate(text: &str) -> BTreeMap<String, Said> {
    let path = std::env::temp_dir().join(format!("vipgate-checks-own-{}.cfg", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let mut loading = Loading::new();
    load_haproxy(&mut loading, &path, &System);
    let config = loading.finish(&vipgate::config::resolve).unwrap_or_else(|failed| panic!("{failed}")).config;
    std::fs::remove_file(path).unwrap();
    assert_eq!(config.pools.len(), CASES.len());

    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    let registry = Arc::new(Registry::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let (events, _told) = unbounded_channel();
            let none = Arc::new(|_| -> std::pin::Pin<Box<dyn Future<Output = (Ended, String)> + Send>> {
                Box::pin(async { (Ended::Exited(0), String::new()) })
            });
            let prober = Prober::start(Arc::clone(&registry), events, none);
            let policy = Policy { spread_percent: 0, log_checks: config.global.log.checks };
            prober.apply(&config.pools, policy, "n1");
            tokio::time::sleep(LONG_ENOUGH).await;
        });
    });
    let mut said = BTreeMap::new();
    for line in String::from_utf8_lossy(&lines.0.lock().unwrap()).lines() {
        keep(line, &mut said);
    }
    for case in CASES {
        if let Some(check) = registry.server(case.name, "s").status().last_check {
            let code = check.code.map_or(String::new(), |code| code.to_string());
            said.entry(case.name.to_owned()).or_default().columns =
                [check.result.code().to_owned(), code, check.result.text().to_owned()];
        }
    }
    said
}

#[test]
fn results_and_lines_are_haproxys() {
    let log = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stats = free_port();
    let text = file(log.local_addr().unwrap(), stats);
    let theirs = ask_haproxy(&text, &log, stats);
    let ours = ask_vipgate(&text);
    let mut differences = Vec::new();
    for case in CASES {
        let (their, our) = (theirs.get(case.name), ours.get(case.name));
        // Each server has had a check and a line about it at least.
        assert!(their.is_some_and(|said| !said.lines.is_empty()), "HAProxy says nothing of {}", case.name);
        if their != our {
            differences.push(format!("{}\n  HAProxy: {their:#?}\n  vipgate: {our:#?}", case.name));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), CASES.len(), differences.join("\n"));
}
