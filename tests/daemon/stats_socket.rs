//! Control sockets that speak HAProxy's language, and HAProxy itself beside them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use netns_tests::wait::{try_until, until_true};
use nix::sys::signal::Signal;

use super::imported::{Haproxy, ask, config, exchange, servers, start};
use super::support::{BINARY, Daemon, Dir, PATIENCE, echo_server, own_ip};

/// What differs from one process to another without meaning anything: addresses in memory and on the network, times.
fn comparable(answer: &str, replace: &[(String, &str)]) -> String {
    let mut text = answer.to_owned();
    for (from, to) in replace {
        text = text.replace(from.as_str(), to);
    }
    let word = |word: &str| {
        if word.starts_with("0x") {
            "0x:".to_owned()
        } else if word.starts_with("exp=") {
            "exp=".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(word).collect();
        // A server's state: the tenth word is for how long it has been so.
        if words.len() == 25 && !line.starts_with('#') {
            words[9] = "SINCE".to_owned();
        }
        words.join(" ")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Columns of `show stat` that are times or rates, and most sessions: on a busy machine HAProxy sees the first client go after the second came.
#[rustfmt::skip]
const MOVING: [&str; 15] = [
    "smax",
    "lastchg", "downtime", "lastsess", "check_duration", "qtime", "ctime", "ttime", "rtime", "ctime_max", "ttime_max", "rate",
    "rate_max", "conn_rate", "conn_rate_max",
];

fn statistics(answer: &str) -> Vec<String> {
    let mut lines = answer.lines();
    let columns: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
    let row = |line: &str| {
        let cells = columns.iter().zip(line.split(','));
        let fixed = cells.filter(|(column, _)| !MOVING.contains(*column));
        fixed.map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(",")
    };
    lines.map(row).collect()
}

#[test]
fn it_answers_as_haproxy_does() {
    let servers = servers();
    let (here, there) = (own_ip(), own_ip());
    let Some(haproxy) = Haproxy::start(&config(there, servers)) else { return };
    let daemon = start(&config(here, servers), |_, _| {});
    let socket = |level: &str| daemon.dir.path().join(format!("{level}.sock"));
    for ip in [here, there] {
        drop(exchange(ip, 7001));
        drop(exchange(ip, 7002));
    }
    let settled = |socket: &Path| {
        let state = ask(socket, "show stat");
        let ended =
            ask(socket, "show stat -1 4 -1").lines().skip(1).all(|line| line.is_empty() || line.contains(",0,0,0,"));
        ended && state.contains("be,s2,") && state.contains(",DOWN,") && state.contains("L4OK")
    };
    until_true("both have checked", PATIENCE, || settled(&haproxy.socket("admin")) && settled(&socket("admin")));
    let (theirs, ours) = (ask(&haproxy.socket("user"), "show stat"), ask(&socket("user"), "show stat"));
    assert_eq!(theirs.lines().next(), ours.lines().next(), "the columns");
    assert_eq!(statistics(&ours), statistics(&theirs));
    let same = [
        (here.to_string(), "IP"),
        (there.to_string(), "IP"),
        (daemon.dir.path().display().to_string(), "DIR"),
        (haproxy.dir.path().display().to_string(), "DIR"),
    ];
    let mut different = Vec::new();
    let mut compare = |level: &str, line: &str| {
        let (theirs, ours) = (ask(&haproxy.socket(level), line), ask(&socket(level), line));
        let (theirs, ours) = (comparable(&theirs, &same), comparable(&ours, &same));
        if theirs != ours {
            different.push(format!("{level}: {line}\n  haproxy: {theirs:?}\n  vipgate: {ours:?}"));
        }
    };
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        compare("admin", line);
    }
    for line in
        ["show env", "show sess", "show errors", "set server be/s1 state ready", "clear counters", "show cli level"]
    {
        compare("user", line);
    }
    for line in ["set server be/s1 state ready", "clear counters all", "shutdown session 0x1", "set maxconn global 5"] {
        compare("operator", line);
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    let values = |answer: &str| {
        let line = |line: &str| line.rsplit_once(':').map(|(what, _)| what.to_owned());
        answer.lines().filter_map(line).collect::<Vec<_>>()
    };
    let (theirs, ours) = (ask(&haproxy.socket("user"), "show info"), ask(&socket("user"), "show info"));
    let names =
        |answer: &str| answer.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    let (theirs, ours) = (ask(&haproxy.socket("user"), "show stat typed"), ask(&socket("user"), "show stat typed"));
    assert_eq!(values(&ours), values(&theirs), "every value has the same tags");
    for command in ["show stat json", "show info json"] {
        let theirs: serde_json::Value = serde_json::from_str(&ask(&haproxy.socket("user"), command)).unwrap();
        let ours: serde_json::Value = serde_json::from_str(&ask(&socket("user"), command)).unwrap();
        assert_eq!(ours.as_array().unwrap().len(), theirs.as_array().unwrap().len(), "{command}");
    }
}

/// Answered alike, one after the other, by an administrator.
const COMMANDS: &str = "
show servers state
show servers conn
show backend
show table
show table be
show cli level
show cli sockets
show peers
show sess 0x123
show env VIPGATE_NOT_SET
show servers state nobody
show servers conn nobody
show table nobody
show errors nobody
show cli level nonsense;show backend ;  show peers
set server be/s1 state drain
show servers state be
set server be/s1 state maint
show servers state be
set server be/s1 state ready
set server be/s1 state nonsense
set server be/s1 state
set server be/s1
set server be/s1 nonsense
set server be
set server
set server nobody/s1 state ready
set server be/nobody state ready
set server be/s1 weight 50%
get weight be/s1
set server be/s1 weight 5
set server be/s1 weight 300
set server be/s1 weight abc
set server be/s1 weight
set weight be/s1 20
set weight be/s1
set weight be 10
get weight be/s1
get weight be
get weight
get weight be/nobody
set server be/s1 weight 10
set server be/s1 addr
set server be/s1 addr nonsense
disable server be/s1
enable server be/s1
disable server
disable server be/nobody
shutdown session
shutdown session abc
shutdown session 0x1234
shutdown sessions server
shutdown sessions server be/nobody
set maxconn global
set maxconn global 1500
set timeout cli
set timeout cli abc
set timeout cli 15s
set timeout
set table
set table nobody key 192.0.2.1
set table be key
set table be key 192.0.2.1 data.server_id 1
set table be key 192.0.2.1 data.conn_cnt 4
set table be key 192.0.2.1 data.nonsense 4
set table be nonsense
clear table
clear table nobody
clear table be key 192.0.2.77
show table be key
show table be key 192.0.2.77
show table be data.server_id nonsense 1
show table be data.server_id eq
show table be data.nonsense eq 1
show table be nonsense
clear table be
show table be
";

#[test]
fn sockets_come_and_go_with_the_configuration() {
    let (ip, servers) = (own_ip(), servers());
    let mut daemon = start(&config(ip, servers), |_, dir| {
        // What a dead process left is replaced.
        drop(UnixListener::bind(dir.join("admin.sock")).unwrap());
    });
    let directory = daemon.dir.path().to_owned();
    let path = |name: &str| directory.join(name);
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("admin.sock"), mode("operator.sock")), (0o600, 0o660));
    let mut prompt = UnixStream::connect(path("admin.sock")).unwrap();
    prompt.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut turn = |line: &str, expected: &str| {
        prompt.write_all(line.as_bytes()).unwrap();
        let mut answer = vec![0; expected.len()];
        prompt.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{line:?}");
    };
    turn("prompt\n", "\n> ");
    turn("get weight be/s1;show cli level\n", "10 (initial 10)\n\n> admin\n\n> ");
    turn("operator\n", "\n> ");
    turn("set weight be/s1 5\n", "Permission denied\n\n> ");
    // A reload keeps the client of a socket that stays.
    let text = fs::read_to_string(path("haproxy.cfg")).unwrap();
    let text = text.replace("user.sock level user", "second.sock level user mode 640");
    fs::write(path("haproxy.cfg"), text).unwrap();
    daemon.signal(Signal::SIGHUP);
    until_true("the new socket", PATIENCE, || path("second.sock").exists() && !path("user.sock").exists());
    turn("show cli level\n", "operator\n\n> ");
    assert_eq!(ask(&path("second.sock"), "show cli level"), "user\n\n");
    assert_eq!(mode("second.sock"), 0o640);
    daemon.signal(Signal::SIGTERM);
    daemon.wait(PATIENCE);
    for name in ["admin.sock", "operator.sock", "second.sock"] {
        assert!(!path(name).exists(), "{name} is left");
    }
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced_and_hinders_nobody() {
    let (ip, servers) = (own_ip(), servers());
    let daemon = start(&config(ip, servers), |_, dir| fs::write(dir.join("admin.sock"), "precious").unwrap());
    daemon.wait_log("admin.sock cannot be opened: cannot replace what is there");
    assert_eq!(fs::read_to_string(daemon.dir.path().join("admin.sock")).unwrap(), "precious");
    drop(exchange(ip, 7001));
    assert!(fs::metadata(daemon.dir.path().join("operator.sock")).unwrap().file_type().is_socket());
}

#[test]
fn sessions_and_tables_are_seen_and_changed_on_both_sockets() {
    let (ip, servers) = (own_ip(), servers());
    let daemon = start(&config(ip, servers), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    let mut open = exchange(ip, 7001);
    let list = ask(&admin, "show sess");
    assert!(list.contains(" fe=fe be=be srv=s1 ") && list.contains("proto=tcpv4"), "{list}");
    let id = list.split(':').next().unwrap().to_owned();
    assert!(ask(&admin, &format!("show sess {id}")).contains("state=established"));
    let shown = daemon.vipgate(&["sessions", "show"]);
    assert!(shown.out.contains(&id) && shown.out.contains("established"), "{shown:?}");
    assert!(
        daemon.vipgate(&["table", "show", "be"]).out.contains("s1      1"),
        "{:?}",
        daemon.vipgate(&["table", "show"])
    );
    assert_eq!(ask(&admin, &format!("shutdown session {id}")), "\n");
    assert!(open.read(&mut [0]).map_or(true, |count| count == 0), "it is ended");
    let said = daemon.vipgate(&["sessions", "shutdown", &id]);
    assert_eq!(said.code, Some(1), "{said:?}");

    assert_eq!(daemon.vipgate(&["table", "set", "be/s2", "192.0.2.7"]).code, Some(0));
    assert!(ask(&admin, "show table be key 192.0.2.7").contains("server_id=2 server_key=s2"));
    assert_eq!(daemon.vipgate(&["table", "clear", "be", "--key", "192.0.2.7"]).code, Some(0));
    assert_eq!(ask(&admin, "show table be key 192.0.2.7"), "\n");
    let set = daemon.vipgate(&["server", "set", "be/s1", "--weight", "50%", "--state", "drain"]);
    assert_eq!((set.code, set.out.as_str()), (Some(0), "be/s1: weight 50%\nbe/s1: drains\n"), "{set:?}");
    assert_eq!(ask(&admin, "get weight be/s1"), "5 (initial 10)\n\n");
    assert!(
        daemon.vipgate(&["server", "set", "be/nobody", "--state", "maint"]).err.contains("no server called nobody")
    );
    let moved = ask(&admin, "set server li/a addr 127.0.0.2 port 7103");
    let expected = format!(
        "IP changed from '{servers}' to '127.0.0.2', port changed from '7100' to '7103' by 'stats socket command'\n\n"
    );
    assert_eq!(moved, expected);
    assert!(
        ask(&admin, "show servers state li").contains(" a 127.0.0.2 ")
            && ask(&admin, "show stat li 4 -1").contains("127.0.0.2:7103")
    );
}

#[test]
fn an_inherited_socket_is_served() {
    let (ip, servers) = (own_ip(), servers());
    let dir = Dir::new();
    let path = dir.path().join("inherited.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = " stats socket fd@${CONTROL} level admin\n stats timeout";
    let text = config(ip, servers).replace(" stats timeout", socket).replace("DIR", &dir.path().display().to_string());
    let file = dir.write("haproxy.cfg", &text);
    let log = File::create(dir.path().join("log")).unwrap();
    // A shell moves it from standard input to where it is looked for.
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("exec 7<&0 </dev/null; exec \"$@\"")
        .arg("sh")
        .arg(BINARY)
        .arg("run")
        .arg("--haproxy")
        .arg(file);
    shell.arg("--run-dir").arg(dir.path()).env("CONTROL", "7");
    let child = shell.stdin(std::os::fd::OwnedFd::from(listener)).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon { dir, child };
    daemon.wait_running();
    assert_eq!(ask(&path, "show cli level"), "admin\n\n");
    assert!(ask(&path, "show cli sockets").contains("fd@"), "{}", ask(&path, "show cli sockets"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloaded: nothing changed");
    assert_eq!(ask(&path, "show cli level"), "admin\n\n");
}

#[test]
fn an_inherited_listener_is_served() {
    let (ip, servers) = (own_ip(), servers());
    let dir = Dir::new();
    let listener = std::net::TcpListener::bind((ip, 7009)).unwrap();
    let text = config(ip, servers).replace(&format!("bind {ip}:7001"), "bind fd@${FRONT}");
    let file = dir.write("haproxy.cfg", &text.replace("DIR", &dir.path().display().to_string()));
    let log = File::create(dir.path().join("log")).unwrap();
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("exec 8<&0 </dev/null; exec \"$@\"")
        .arg("sh")
        .arg(BINARY)
        .arg("run")
        .arg("--haproxy")
        .arg(file);
    shell.arg("--run-dir").arg(dir.path()).env("FRONT", "8");
    let child = shell.stdin(std::os::fd::OwnedFd::from(listener)).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon { dir, child };
    daemon.wait_running();
    for _ in 0..8 {
        drop(exchange(ip, 7009));
    }
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloaded: nothing changed");
    drop(exchange(ip, 7009));
    drop(daemon);
    let dir = Dir::new();
    let file = dir.write("haproxy.cfg", "listen l\n bind fd@777\n server s 127.0.0.1:1\n");
    let said = super::support::vipgate(&["check", "--haproxy", &file.display().to_string()]);
    assert!(said.err.contains("`fd@777` cannot be listened with"), "{said:?}");
}

#[test]
fn connections_are_logged_in_haproxys_words_to_syslog() {
    let (ip, servers) = (own_ip(), servers());
    let udp = UdpSocket::bind((own_ip(), 0)).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let dir = Dir::new();
    let dev_log = dir.path().join("log.sock");
    let unix = UnixDatagram::bind(&dev_log).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let targets = format!(
        "global\n log {} local0\n log {} local1 notice\n log-tag gate\n",
        udp.local_addr().unwrap(),
        dev_log.display()
    );
    let text = config(ip, servers).replacen("global\n", &targets, 1);
    let text =
        text.replace("defaults\n", "defaults\n log global\n").replace("frontend fe\n", "frontend fe\n option tcplog\n");
    let daemon = start(&text, |_, _| {});
    let receive = |wanted: &str| {
        let mut buffer = [0; 2048];
        let heard = try_until(PATIENCE, || {
            let count = udp.recv(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            text.contains(wanted).then_some(text)
        });
        heard.unwrap_or_else(|| panic!("nobody said `{wanted}`"))
    };
    let pid = daemon.pid();
    let down = receive("Server be/s2 is DOWN");
    assert!(
        down.starts_with("<129>")
            && down.contains(&format!(" gate[{pid}]: Backup Server be/s2 is DOWN, reason: Layer4")),
        "{down}"
    );
    let stream = exchange(ip, 7001);
    let client = stream.local_addr().unwrap();
    drop(stream);
    let line = receive(" fe be/s1 ");
    assert!(line.starts_with("<134>") && line.contains(&format!(" gate[{pid}]: {client} [")), "{line}");
    let fields: Vec<&str> = line.trim_end().split(' ').skip_while(|word| !word.starts_with('[')).collect();
    assert_eq!((fields[1], fields[2], fields[4], fields[5], fields[7]), ("fe", "be/s1", "5", "--", "0/0"), "{line}");
    assert_eq!((fields[3].split('/').count(), fields[6]), (3, "1/1/0/0/0"), "{line}");
    let stream = exchange(ip, 7002);
    let client = stream.local_addr().unwrap();
    // It is told when the client comes.
    assert!(receive("Connect from").contains(&format!(": Connect from {client} to {ip}:7002 (li/TCP)")));
    drop(stream);
    // Notices and worse only.
    let mut buffer = [0; 2048];
    let count = unix.recv(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..count]).starts_with("<137>"), "local1.alert");
    unix.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while let Ok(count) = unix.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        assert!(!text.contains("Connect from") && !text.contains(" fe be/s1 "), "{text}");
    }
    assert!(!daemon.log().contains("connection ended"), "their lines go to the targets instead: {}", daemon.log());
    assert!(daemon.log().contains("Server be/s2 is DOWN"));
}

#[test]
fn standard_error_speaks_json() {
    let (ip, server) = (own_ip(), echo_server());
    let config = format!(
        "[log]\nformat = \"json\"\n[[service]]\nname = \"web\"\nlisten = \"{ip}:7001\"\nservers = [\"{server}\"]\n"
    );
    let daemon = Daemon::start(&config);
    drop(exchange(ip, 7001));
    daemon.wait_log("connection ended");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("connection ended")).unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&value["level"], &value["service"], &value["bytes_in"]), (&"info".into(), &"web".into(), &5.into()));
}
