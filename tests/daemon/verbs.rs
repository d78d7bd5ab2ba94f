//! Verbs of the control socket that change what is found out and who listens, beside HAProxy's.

use std::net::{IpAddr, TcpStream};

use netns_tests::wait::{try_until, until_true};

use super::imported::{Haproxy, ask, exchange, servers, start};
use super::support::{Daemon, PATIENCE, own_ip};

fn config(ip: IpAddr, servers: IpAddr) -> String {
    format!(
        "global\n stats socket DIR/admin.sock mode 600 level admin\n maxconn 2000\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout queue 20s\n timeout client 30s\n timeout server 30s\n\
         frontend fe\n bind {ip}:7001\n default_backend be\n\
         listen li\n bind {ip}:7002\n fullconn 20\n server a {servers}:7100 maxconn 10 minconn 2\n\
         listen lo\n bind {ip}:7003\n server a {servers}:7100 maxconn 1\n\
         backend be\n server s1 {servers}:7100 check inter 60s weight 10\n\
         \x20server s2 {servers}:7100 check inter 60s backup agent-check agent-port 7198 agent-inter 60s\n\
         \x20server s3 {servers}:7101 disabled\n"
    )
}

/// The columns of one row of `show stat`.
fn columns(answer: &str, wanted: &[&str]) -> Vec<String> {
    let mut lines = answer.lines();
    let names: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
    let cells: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let cell = |name: &&str| {
        let index = names.iter().position(|known| known == name).unwrap();
        cells.get(index).copied().unwrap_or_default().to_owned()
    };
    wanted.iter().map(cell).collect()
}

/// `show servers state` without what only HAProxy knows or what is a time; where a check was moved to, both forget what it
/// found, but not in the same words.
fn states(answer: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words.len() == 25 && !line.starts_with('#') {
            (words[9], words[10], words[11], words[12]) = ("SINCE", "STATUS", "RESULT", "HEALTH");
        }
        words.join(" ")
    };
    answer.lines().map(line).collect()
}

/// Answered alike, one after the other, and then the states are alike.
const COMMANDS: &str = "
disable frontend
disable frontend nobody
disable frontend fe
disable frontend fe
enable frontend fe
enable frontend fe
enable frontend be
enable frontend
set maxconn frontend
set maxconn frontend fe
set maxconn frontend nobody 5
set maxconn frontend fe 7
set maxconn frontend fe -3
set maxconn server
set maxconn server be/s1
set maxconn server be/s1 abc
set maxconn server be/s1 7
set maxconn server be/nobody 7
disable health
disable health be/nobody
disable health be/s1
enable health be/s1
enable health be/s3
enable health li/a
disable health be/s1
disable agent be/s1
enable agent be/s1
disable agent be/s2
set server be/s1 health
set server be/s1 health nonsense
set server be/s1 health down
set server be/s1 health stopping
set server be/s1 health up
set server li/a health down
set server li/a health up
set server be/s1 health stopping
enable agent be/s2
set server be/s2 agent down
set server be/s2 agent up
set server be/s2 agent down
set server be/s1 agent up
set server be/s2 agent nonsense
set server be/s2 agent
set server be/s1 check-port
set server be/s1 check-port abc
enable health be/s1
set server be/s1 check-port abc
set server be/s1 check-port 70000
set server be/s3 check-port 55
set server li/a check-port 55
set server be/s1 check-addr
set server be/s1 check-addr nonsense
set server be/s1 check-addr 127.0.0.9 port abc
set server li/a check-addr 127.0.0.9
set server be/s2 agent-addr
set server be/s2 agent-addr nonsense
set server be/s1 agent-addr 127.0.0.8
set server be/s2 agent-port
set server be/s2 agent-port abc
set server be/s1 agent-port 99
set server be/s2 agent-send hi
set server be/s1 agent-send hi
set server be/s1 fqdn
set server be/s1 fqdn www.example.com
shutdown frontend
shutdown frontend nobody
help disable
help shutdown
";

#[test]
fn what_is_found_out_is_overruled_as_in_haproxy() {
    let servers = servers();
    let (here, there) = (own_ip(), own_ip());
    let Some(haproxy) = Haproxy::start(&config(there, servers)) else { return };
    let daemon = start(&config(here, servers), |_, _| {});
    let ours = daemon.dir.path().join("admin.sock");
    let theirs = haproxy.socket("admin");
    for socket in [&ours, &theirs] {
        until_true("the first checks", PATIENCE, || ask(socket, "show stat be 4 -1").contains("L4OK"));
    }
    let mut different = Vec::new();
    let mut states_differ = Vec::new();
    // Dynamic cookies are of HTTP.
    let known =
        |answer: &str| answer.lines().filter(|line| !line.contains("dynamic-cookie")).collect::<Vec<_>>().join("|");
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let (his, mine) = (known(&ask(&theirs, line)), known(&ask(&ours, line)));
        if his != mine {
            different.push(format!("{line}\n  haproxy: {his:?}\n  vipgate: {mine:?}"));
        }
        let look = |socket: &std::path::Path| {
            let front = columns(&ask(socket, "show stat fe 1 -1"), &["status", "slim"]);
            let server = columns(&ask(socket, "show stat be 4 1"), &["status", "slim", "weight"]);
            format!("{front:?} {server:?} {:?}", states(&ask(socket, "show servers state be")))
        };
        let mut seen = (look(&theirs), look(&ours));
        // What an operator says of health goes through the control thread.
        let _settled = try_until(PATIENCE / 4, || {
            seen = (look(&theirs), look(&ours));
            (seen.0 == seen.1).then_some(())
        });
        if seen.0 != seen.1 {
            states_differ.push(format!("after {line}\n  haproxy: {}\n  vipgate: {}", seen.0, seen.1));
        }
    }
    assert!(different.is_empty() && states_differ.is_empty(), "{}\n{}", different.join("\n"), states_differ.join("\n"));
}

#[test]
fn a_frontend_is_closed_and_opened_and_its_connections_go_on() {
    let (ip, servers) = (own_ip(), servers());
    let daemon = start(&config(ip, servers), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    let refused = || TcpStream::connect((ip, 7001)).is_err();
    let mut open = super::support::Client::connect((ip, 7001).into()).unwrap();
    assert!(open.echoes());
    assert_eq!(ask(&admin, "disable frontend fe"), "\n");
    until_true("clients to be refused", PATIENCE, refused);
    assert!(open.echoes(), "what is open goes on");
    drop(exchange(ip, 7002));
    // A reload that changes something else keeps it closed.
    let file = daemon.dir.path().join("haproxy.cfg");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("weight 10", "weight 11")).unwrap();
    assert_eq!(daemon.vipgate(&["reload"]).code, Some(0));
    assert!(refused() && open.echoes());
    assert_eq!(columns(&ask(&admin, "show stat fe 1 -1"), &["status"]), ["PAUSED"]);
    assert_eq!(ask(&admin, "enable frontend fe"), "\n");
    drop(exchange(ip, 7001));
    assert_eq!(ask(&admin, "shutdown frontend fe"), "\n");
    until_true("clients to be refused", PATIENCE, refused);
    assert!(ask(&admin, "enable frontend fe").starts_with("Frontend was previously shut down"));
    assert!(open.echoes());
    // On the socket of our own, too.
    let said = daemon.ask(r#"{"request":"service","service":"li","change":{"set":"state","state":"paused"}}"#);
    assert!(said.contains("does not listen for now"), "{said}");
    until_true("clients of li to be refused", PATIENCE, || TcpStream::connect((ip, 7002)).is_err());
}

#[test]
fn a_server_that_an_operator_says_is_down_gets_nobody() {
    let (ip, servers) = (own_ip(), servers());
    let daemon = start(&config(ip, servers), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    let of = |server: &str| -> u64 {
        columns(&ask(&admin, &format!("show stat be 4 {server}")), &["stot"])[0].parse().unwrap()
    };
    for (word, status, serves) in
        [("down", "DOWN", "2"), ("up", "UP", "1"), ("stopping", "NOLB", "2"), ("up", "UP", "1")]
    {
        assert_eq!(ask(&admin, &format!("set server be/s1 health {word}")), "\n");
        until_true(word, PATIENCE, || columns(&ask(&admin, "show stat be 4 1"), &["status"]) == [status]);
        // It is in force when somebody is served by whom it should be, and from then on.
        until_true("it to be in force", PATIENCE, || {
            let before = of(serves);
            drop(exchange(ip, 7001));
            of(serves) > before
        });
        let before = of(serves);
        (0..3).for_each(|_| drop(exchange(ip, 7001)));
        assert_eq!(of(serves), before + 3, "{word}");
    }
    daemon.wait_log("Server be/s1 is DOWN, changed from CLI. 0 active and 1 backup servers left. Running on backup.");
    daemon.wait_log("Server be/s1 is stopping, changed from CLI.");
}

/// Connections open at the server, and connections that wait.
fn load(admin: &std::path::Path, pool: &str) -> (u64, u64) {
    let figure = |line: &str, column: &str| columns(&ask(admin, line), &[column])[0].parse().unwrap();
    (figure(&format!("show stat {pool} 4 -1"), "scur"), figure(&format!("show stat {pool} 2 -1"), "qcur"))
}

#[test]
fn a_limit_follows_the_load_as_in_haproxy() {
    let servers = servers();
    let (here, there) = (own_ip(), own_ip());
    let Some(haproxy) = Haproxy::start(&config(there, servers)) else { return };
    let daemon = start(&config(here, servers), |_, _| {});
    let fronts = [(there, haproxy.socket("admin")), (here, daemon.dir.path().join("admin.sock"))];
    for clients in [1, 6, 12, 16, 24] {
        let seen = fronts.each_ref().map(|(ip, admin)| {
            let connect = || TcpStream::connect((*ip, 7002)).unwrap();
            let first = connect();
            until_true("the first to be served", PATIENCE, || load(admin, "li") == (1, 0));
            let open: Vec<TcpStream> = (1..clients).map(|_| connect()).collect();
            let all = |count: u64| {
                let (serving, waiting) = load(admin, "li");
                serving + waiting == count
            };
            until_true("all to be there", PATIENCE, || all(clients));
            // HAProxy looks anew when somebody leaves who was served: the first one was.
            drop(first);
            until_true("one to be gone", PATIENCE, || all(clients - 1));
            let mut serving = 0;
            until_true("who is served to settle", PATIENCE, || {
                let before = serving;
                serving = load(admin, "li").0;
                std::thread::sleep(std::time::Duration::from_millis(50));
                before == serving
            });
            drop(open);
            until_true("all to be gone", PATIENCE, || all(0));
            serving
        });
        // HAProxy counts the one that leaves.
        assert!(seen[0].abs_diff(seen[1]) <= 1, "{clients} clients: haproxy serves {}, vipgate {}", seen[0], seen[1]);
    }
}

#[test]
fn places_in_the_queue_and_times_are_told() {
    let (ip, servers) = (own_ip(), servers());
    let udp = std::net::UdpSocket::bind((own_ip(), 0)).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = format!("global\n log {} local0\n", udp.local_addr().unwrap());
    let text = config(ip, servers).replacen("global\n", &log, 1);
    let text = text.replace("defaults\n", "defaults\n log global\n option tcplog\n");
    let daemon = start(&text, |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    let mut clients = Vec::new();
    for count in 0..4 {
        clients.push(TcpStream::connect((ip, 7003)).unwrap());
        until_true("it to be served or to wait", PATIENCE, || load(&admin, "lo") == (1, count));
    }
    std::thread::sleep(std::time::Duration::from_millis(60));
    let mut places = Vec::new();
    for (index, client) in clients.into_iter().enumerate() {
        drop(client);
        let waiting = 2_u64.saturating_sub(index as u64);
        until_true("the next", PATIENCE, || load(&admin, "lo") == (u64::from(index < 3), waiting));
        let mut buffer = [0; 2048];
        loop {
            let count = udp.recv(&mut buffer).unwrap();
            let line = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if line.contains(" lo lo/a ") {
                places.push(line.trim_end().rsplit(' ').next().unwrap().to_owned());
                break;
            }
        }
    }
    assert_eq!(places, ["0/0", "0/0", "0/1", "0/2"]);
    let times = columns(&ask(&admin, "show stat lo 4 -1"), &["qtime", "qtime_max", "ttime", "ttime_max", "ctime_max"]);
    let times: Vec<u64> = times.iter().map(|time| time.parse().unwrap()).collect();
    assert!(times[0] >= 40 && times[1] >= 60 && times[2] >= 60 && times[3] >= times[2] && times[4] < 60, "{times:?}");
    let pool = columns(&ask(&admin, "show stat lo 2 -1"), &["qtime_max", "ttime_max"]);
    assert_eq!(pool, [times[1].to_string(), times[3].to_string()]);
}

/// A limit that an operator sets, and one that an agent asks for.
#[test]
fn limits_of_servers_change_while_they_run() {
    let (ip, servers) = (own_ip(), servers());
    let agent = std::net::TcpListener::bind((servers, 7198)).unwrap();
    let answers = std::thread::spawn(move || {
        let (mut asked, _) = agent.accept().unwrap();
        std::io::Write::write_all(&mut asked, b"maxconn:3\n").unwrap();
    });
    let daemon: Daemon = start(&config(ip, servers), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    answers.join().unwrap();
    until_true("the agent's limit", PATIENCE, || columns(&ask(&admin, "show stat be 4 2"), &["slim"]) == ["3"]);
    let clients: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect((ip, 7003)).unwrap()).collect();
    until_true("one to be served", PATIENCE, || load(&admin, "lo") == (1, 3));
    assert_eq!(ask(&admin, "set maxconn server lo/a 3"), "\n");
    until_true("three to be served", PATIENCE, || load(&admin, "lo") == (3, 1));
    assert_eq!(ask(&admin, "set maxconn server lo/a 0"), "\n");
    until_true("all to be served", PATIENCE, || load(&admin, "lo") == (4, 0));
    drop(clients);
}

#[test]
fn every_frontend_has_its_own_log_targets() {
    let (ip, servers) = (own_ip(), servers());
    let sockets = [(); 2].map(|()| std::net::UdpSocket::bind((own_ip(), 0)).unwrap());
    let [global, own] = sockets.each_ref().map(|socket| {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.local_addr().unwrap()
    });
    let text = config(ip, servers).replacen("global\n", &format!("global\n log {global} local0\n"), 1);
    let text = text.replace("defaults\n", "defaults\n log global\n option tcplog\n");
    let text = text.replace("frontend fe\n", &format!("frontend fe\n no log\n log {own} local1\n"));
    let text = text.replace("listen li\n", &format!("listen li\n log {own} local2\n"));
    let text = text.replace("listen lo\n", "listen lo\n no log\n");
    let _daemon = start(&text, |_, _| {});
    for port in [7001, 7002, 7003, 7002] {
        drop(exchange(ip, port));
    }
    // The lines of connections, up to the one that came last to both.
    let heard = sockets.each_ref().map(|socket| {
        let mut lines = Vec::new();
        let mut buffer = [0; 2048];
        while lines.iter().filter(|line| *line == "li li/a").count() < 2 {
            let count = socket.recv(&mut buffer).unwrap();
            let line = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let places = ["fe be/s1", "li li/a", "lo lo/a"];
            lines.extend(
                places.iter().find(|place| line.contains(&format!("] {place} "))).map(|place| (*place).to_owned()),
            );
        }
        lines.sort();
        lines
    });
    assert_eq!(heard[0], ["li li/a", "li li/a"], "the process's targets");
    assert_eq!(heard[1], ["fe be/s1", "li li/a", "li li/a"], "those of frontends");
}

#[test]
fn sources_that_are_counted_are_shown_and_forgotten() {
    let servers = servers();
    let (here, there) = (own_ip(), own_ip());
    let config = |ip: IpAddr| {
        let rules = " tcp-request connection track-sc0 src table cnt\n default_backend be\n";
        let table =
            "backend cnt\n stick-table type ip size 1k expire 30m store gpc0,conn_cnt,conn_rate(10s),conn_cur\n";
        config(ip, servers).replace(" default_backend be\n", rules) + table
    };
    let Some(haproxy) = Haproxy::start(&config(there)) else { return };
    let daemon = start(&config(here), |_, _| {});
    let fronts = [(there, haproxy.socket("admin")), (here, daemon.dir.path().join("admin.sock"))];
    let from = |client: &str, ip: IpAddr| {
        let mut client = super::support::Client::connect_from(client.parse().unwrap(), (ip, 7001).into());
        assert!(client.echoes());
        client
    };
    let seen = fronts.map(|(ip, admin)| {
        let _open = from("127.0.0.5", ip);
        drop((from("127.0.0.6", ip), from("127.0.0.6", ip)));
        until_true("they to be gone", PATIENCE, || ask(&admin, "show table cnt data.conn_cur gt 0").contains("used:2"));
        let idle = "show table cnt key 127.0.0.6";
        until_true("they to be gone", PATIENCE, || ask(&admin, idle).contains("conn_cur=0"));
        let mut said = Vec::new();
        for line in [
            "show table cnt",
            "show table cnt data.conn_cur gt 0",
            "show table cnt data.conn_rate gt 1",
            "show table cnt data.server_id eq 1",
            "show table cnt key 127.0.0.5",
            "clear table cnt data.conn_cur eq 1",
            "clear table cnt key 127.0.0.6",
            "show table cnt",
            "clear table cnt",
            "show table cnt",
            "clear table cnt data.foo eq 1",
        ] {
            let answer = ask(&admin, line);
            let word = |word: &str| !word.starts_with("0x") && !word.starts_with("exp=");
            let lines =
                answer.lines().map(|line| line.split(' ').filter(|one| word(one)).collect::<Vec<_>>().join(" "));
            let mut lines: Vec<String> = lines.collect();
            lines.sort();
            said.push(format!("{line}: {}", lines.join("|")));
        }
        said
    });
    assert_eq!(seen[1], seen[0]);
}
