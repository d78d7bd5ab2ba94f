//! What was learnt and set is known after a restart.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use netns_tests::wait::until_true;
use nix::sys::signal::Signal;

use super::imported::{ask, config, exchange, servers, start, start_again};
use super::support::{BINARY, Daemon, Dir, PATIENCE, own_ip, run_arguments, service};

fn stop(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.wait(PATIENCE);
}

#[test]
fn what_was_learnt_survives_a_restart_and_a_damaged_file_does_no_harm() {
    let (ip, servers) = (own_ip(), servers());
    let mut daemon = start(&config(ip, servers), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    ask(&admin, "set table be key 192.0.2.7 data.server_id 2; set server be/s1 weight 5; set server li/a state drain");
    ask(&admin, "set server li/a addr 127.0.0.2 port 7103; set maxconn server li/a 9");
    stop(&mut daemon);
    start_again(&mut daemon);
    assert!(ask(&admin, "show table be").contains("key=192.0.2.7 use=0 exp=17"), "{}", ask(&admin, "show table be"));
    assert_eq!(ask(&admin, "get weight be/s1"), "5 (initial 10)\n\n");
    let moved = ask(&admin, "show stat li 4 -1");
    assert!(
        moved.contains(",DRAIN,") && moved.contains("127.0.0.2:7103") && moved.contains("li,a,0,0,0,0,9,"),
        "{moved}"
    );
    stop(&mut daemon);
    // What the configuration says anew holds.
    let file = daemon.dir.path().join("haproxy.cfg");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("weight 10", "weight 20").replace(":7100 maxconn 5", ":7104 maxconn 5")).unwrap();
    start_again(&mut daemon);
    assert_eq!(ask(&admin, "get weight be/s1"), "20 (initial 20)\n\n");
    let moved = ask(&admin, "show stat li 4 -1");
    assert!(moved.contains(",DRAIN,") && moved.contains(&format!("{servers}:7104")), "{moved}");
    stop(&mut daemon);
    let file = daemon.dir.path().join("state/learnt.state");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    start_again(&mut daemon);
    daemon.wait_log("is of no use, what was learnt is lost: its checksum is wrong");
    assert_eq!(ask(&admin, "get weight be/s1"), "20 (initial 20)\n\n");
}

/// A listener that says `greeting` and then echoes nothing, and how many came.
fn counting(address: SocketAddr) -> Arc<AtomicUsize> {
    let (listener, count) = (TcpListener::bind(address).unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    count
}

fn checked(ip: IpAddr, servers: IpAddr, sick: IpAddr) -> String {
    format!(
        "global\n stats socket DIR/admin.sock mode 600 level admin\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         listen li\n bind {ip}:7001\n option tcp-check\n tcp-check expect string hello\n timeout check 20s\n\
         \x20server well {servers}:7100\n server sick {sick}:7100 check port 7101 inter 20s downinter 200ms rise 3\n"
    )
}

#[test]
fn a_server_that_was_down_gets_nobody_before_it_was_checked_again() {
    let (ip, servers, sick) = (own_ip(), servers(), own_ip());
    let clients = counting((sick, 7100).into());
    let mut daemon = start(&checked(ip, servers, sick), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    let row = || ask(&admin, "show stat li 4 -1");
    until_true("it to be found down", PATIENCE, || row().contains(",DOWN,"));
    stop(&mut daemon);
    // Its check now takes for ever: nothing is found.
    let checks = counting((sick, 7101).into());
    start_again(&mut daemon);
    let row = ask(&admin, "show stat li 4 -1");
    assert!(row.contains(",DOWN,") && row.contains("L4CON") && row.contains("Connection refused"), "{row}");
    until_true("it to be checked at once", PATIENCE, || checks.load(Ordering::SeqCst) > 0);
    for _ in 0..8 {
        drop(exchange(ip, 7001));
    }
    assert_eq!(clients.load(Ordering::SeqCst), 0, "clients of a server that was down");
    assert!(daemon.log().contains("taken up what was learnt"), "{}", daemon.log());
    // Whoever knows nothing of it takes it for up.
    stop(&mut daemon);
    fs::remove_file(daemon.dir.path().join("state/learnt.state")).unwrap();
    start_again(&mut daemon);
    let row = ask(&admin, "show stat li 4 -1");
    assert!(!row.contains(",DOWN,"), "{row}");
}

#[test]
fn what_was_found_last_survives_a_process_that_is_killed() {
    let (ip, servers, sick) = (own_ip(), servers(), own_ip());
    let mut daemon = start(&checked(ip, servers, sick), |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    until_true("it to be found down", PATIENCE, || ask(&admin, "show stat li 4 -1").contains(",DOWN,"));
    let file = daemon.dir.path().join("state/learnt.state");
    until_true("that to be written", 2 * PATIENCE, || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("L4CON"))
    });
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let _checks = counting((sick, 7101).into());
    start_again(&mut daemon);
    let row = ask(&admin, "show stat li 4 -1");
    assert!(row.contains(",DOWN,"), "{row}");
}

/// A TLS server that goes on with every session it is asked for.
fn resuming(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _hello = stream.read(&mut [0; 1024]);
            let extensions = [[0, 43, 0, 2, 3, 4], [0, 41, 0, 2, 0, 0]].concat();
            let body = [&[3, 3][..], &[1; 32], &[0, 0x13, 1, 0], &vector16(&extensions)].concat();
            let _gone = stream.write_all(&record(2, &body));
        }
    });
}

/// A client that goes on with the session of a ticket, until it is answered.
fn resumes(at: SocketAddr, ticket: &[u8]) {
    let identities = vector16(&[&vector16(ticket)[..], &[0, 0, 0, 1]].concat());
    let binders = vector16(&[&[32][..], &[8; 32]].concat());
    let key = [&[0, 41][..], &vector16(&[identities, binders].concat())].concat();
    let extensions = [&[0, 43, 0, 3, 2, 3, 4][..], &key].concat();
    let body = [&[3, 3][..], &[1; 32], &[0, 0, 2, 0x13, 1, 1, 0], &vector16(&extensions)].concat();
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(&record(1, &body)).unwrap();
    let _answer = stream.read(&mut [0; 256]).unwrap();
}

fn record(message: u8, body: &[u8]) -> Vec<u8> {
    [&[22, 3, 3][..], &vector16(&[&[message, 0][..], &vector16(body)].concat())].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

#[test]
fn the_names_of_ticket_keys_survive_a_restart() {
    let ip = own_ip();
    let (at, server): (SocketAddr, SocketAddr) = ((ip, 8443).into(), (own_ip(), 8443).into());
    resuming(server);
    let dir = Dir::new();
    dir.write("vipgate.toml", &(service("tls", at, server) + "affinity = \"tls\"\n"));
    let state = dir.path().join("state");
    fs::create_dir_all(&state).unwrap();
    let command = |dir: &Path| {
        let mut command = Command::new(BINARY);
        let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
        command.args(run_arguments(dir)).arg("--state-dir").arg(&state).stderr(log);
        command
    };
    let child = command(dir.path()).spawn().unwrap();
    let mut daemon = Daemon { dir, child };
    daemon.wait_running();
    for new in 1..4 {
        resumes(at, &[[7; 16], [new; 16]].concat());
    }
    let names = |daemon: &Daemon| daemon.status()["pools"][0]["servers"][0]["key_names"].clone();
    let name = serde_json::json!(["07".repeat(16)]);
    until_true("the name to be learnt", PATIENCE, || names(&daemon) == name);
    stop(&mut daemon);
    daemon.child = command(daemon.dir.path()).spawn().unwrap();
    daemon.wait_running();
    assert_eq!(names(&daemon), name);
}

/// An agent that says this to everybody, or nothing for ever.
fn agent(address: SocketAddr) -> Arc<Mutex<Option<&'static str>>> {
    let (listener, word) = (TcpListener::bind(address).unwrap(), Arc::new(Mutex::new(None)));
    let says = Arc::clone(&word);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            match *says.lock().unwrap() {
                Some(word) => _ = stream.write_all(format!("{word}\n").as_bytes()),
                None => silent.push(stream),
            }
        }
    });
    word
}

#[test]
fn the_last_word_of_an_agent_is_known_after_a_restart() {
    let (ip, servers, asked) = (own_ip(), servers(), own_ip());
    let word = agent((asked, 7102).into());
    let text = format!(
        "global\n stats socket DIR/admin.sock mode 600 level admin\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         listen li\n bind {ip}:7001\n server well {servers}:7100\n\
         \x20server told {servers}:7100 weight 10 agent-check agent-addr {asked} agent-port 7102 agent-inter 500ms\n"
    );
    let mut daemon = start(&text, |_, _| {});
    let admin = daemon.dir.path().join("admin.sock");
    let row = || ask(&admin, "show stat li 4 2");
    let restart_in_silence = |daemon: &mut Daemon| {
        *word.lock().unwrap() = None;
        stop(daemon);
        start_again(daemon);
    };
    let say = |what: &'static str, shown: &str| {
        until_true(shown, PATIENCE, || {
            *word.lock().unwrap() = Some(what);
            row().contains(shown)
        });
    };
    say("down", ",DOWN (agent),");
    restart_in_silence(&mut daemon);
    assert!(row().contains(",DOWN (agent),"), "{}", row());
    // What it orders of what an operator can set too.
    say("up drain 50%", ",DRAIN,5,");
    restart_in_silence(&mut daemon);
    assert!(row().contains(",DRAIN,5,"), "{}", row());
    // Without an agent nobody would take it back; what an operator sets stays.
    ask(&admin, "set server li/told weight 7");
    let file = daemon.dir.path().join("haproxy.cfg");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.split(" agent-check").next().unwrap().to_owned() + "\n").unwrap();
    restart_in_silence(&mut daemon);
    assert!(row().contains(",no check,7,"), "{}", row());
}
