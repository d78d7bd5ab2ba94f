//! Servers that are known by their names, with a name server that comes and goes; HAProxy beside, where it has the same.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::op::ResponseCode;
use netns_tests::wait::{pass, until_true};
use std::time::Duration;

use super::imported::{Haproxy, ask, start};
use super::name_server::{NameServer, Says};
use super::support::{Daemon, PATIENCE, echo_server, own_ip, serves};

fn toml(listen: SocketAddr, dns: SocketAddr, port: u16) -> String {
    format!(
        "[[service]]\nname = \"web\"\nlisten = \"{listen}\"\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nservers = [{{ name = \"s\", address = \"www.test:{port}\", resolver = \"r\" }}]\n\
         [[resolver]]\nname = \"r\"\nservers = [\"{dns}\"]\nretries = 1\ntimeout = \"100ms\"\nleast-refresh = \"100ms\"\n"
    )
}

/// Waits for so many more questions.
#[track_caller]
fn asked(dns: &NameServer, more: usize) {
    let before = dns.asked();
    until_true("questions", PATIENCE, || dns.asked() >= before + more);
}

#[test]
fn a_dead_name_server_stops_no_start_and_takes_no_server_away() {
    let (dns, server) = (NameServer::start(Says::Nothing), echo_server());
    let listen = SocketAddr::new(own_ip(), 7300);
    let daemon = Daemon::start(&toml(listen, dns.address, server.port()));
    asked(&dns, 2);
    assert!(!serves(listen), "nobody knows where the server is");
    dns.say(Says::Host(server.ip(), 0));
    until_true("the server has clients", PATIENCE, || serves(listen));
    assert_eq!(daemon.status()["pools"][0]["servers"][0]["address"], server.to_string(), "where it is now");
    dns.say(Says::Nothing);
    daemon.wait_log("the last answer stays in force");
    asked(&dns, 3);
    assert!(serves(listen));
    dns.say(Says::Code(ResponseCode::ServFail));
    asked(&dns, 3);
    assert!(serves(listen));
}

#[test]
fn an_answer_is_taken_for_as_long_as_it_lives() {
    let (servers, listen) = ([echo_server(), echo_server()], SocketAddr::new(own_ip(), 7300));
    let dns = NameServer::start(Says::Host(servers[0].ip(), 0));
    let daemon = Daemon::start(&toml(listen, dns.address, servers[0].port()));
    let is_at = |address: IpAddr| {
        let shown = daemon.status()["pools"][0]["servers"][0]["address"].clone();
        shown == SocketAddr::new(address, servers[0].port()).to_string()
    };
    until_true("the first answer", PATIENCE, || is_at(servers[0].ip()));
    dns.say(Says::Host(servers[1].ip(), 3600));
    until_true("one that lives no longer is asked for again", PATIENCE, || is_at(servers[1].ip()));
    let asked = dns.asked();
    dns.say(Says::Host(servers[0].ip(), 3600));
    pass(Duration::from_millis(500));
    assert_eq!(dns.asked(), asked, "one that lives is not");
    assert!(is_at(servers[1].ip()));
}

fn haproxy_cfg(listen: SocketAddr, dns: SocketAddr) -> String {
    format!(
        "global\n stats socket DIR/admin.sock mode 600 level admin\n\
         resolvers r\n nameserver a {dns}\n timeout resolve 200ms\n timeout retry 100ms\n resolve_retries 2\n\
         \x20accepted_payload_size 4096\n hold nx 500ms\n hold valid 200ms\n hold obsolete 0s\n\
         defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         listen l\n bind {listen}\n server-template s 4 _http._tcp.test resolvers r init-addr none\n"
    )
}

/// Address, port and weight of the servers that are up.
fn up(socket: &std::path::Path) -> Vec<(String, String, String)> {
    let state = ask(socket, "show servers state l");
    let lines = state.lines().skip(2).map(|line| line.split(' ').collect::<Vec<_>>());
    let mut up: Vec<_> = lines
        .filter(|fields| fields.len() > 18 && fields[5] == "2")
        .map(|fields| (fields[4].to_owned(), fields[18].to_owned(), fields[7].to_owned()))
        .collect();
    up.sort();
    up
}

/// What both show of one story: nothing, three targets, one exchanged for another, another weight, silence, the end.
fn story(socket: &std::path::Path, dns: &NameServer) {
    asked(dns, 2);
    assert!(up(socket).is_empty(), "nothing is known: {:?}", up(socket));
    let then = |says: Says, wanted: &[(u8, u16, u16)]| {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(last, port, weight)| (format!("127.0.0.{last}"), port.to_string(), weight.to_string()))
            .collect();
        dns.say(says);
        until_true(format!("{wanted:?}, not {:?}", up(socket)), PATIENCE, || up(socket) == wanted);
    };
    then(Says::Service(vec![(1, 81, 5), (300, 82, 6), (65_535, 83, 7)]), &[(5, 81, 1), (6, 82, 2), (7, 83, 256)]);
    then(Says::Service(vec![(1, 81, 5), (300, 82, 6), (512, 84, 8)]), &[(5, 81, 1), (6, 82, 2), (8, 84, 2)]);
    then(Says::Service(vec![(1, 81, 5), (0, 82, 6), (512, 84, 8)]), &[(5, 81, 1), (6, 82, 0), (8, 84, 2)]);
    dns.say(Says::Nothing);
    asked(dns, 3);
    assert_eq!(up(socket).len(), 3, "silence is no answer");
    then(Says::Service(vec![(1, 81, 5)]), &[(5, 81, 1)]);
}

#[test]
fn templates_of_a_service_are_filled_as_haproxy_fills_them() {
    let dns = NameServer::start(Says::Nothing);
    if let Some(haproxy) = Haproxy::start(&haproxy_cfg(SocketAddr::new(own_ip(), 7300), dns.address)) {
        story(&haproxy.socket("admin"), &dns);
    }
    dns.say(Says::Nothing);
    let daemon = start(&haproxy_cfg(SocketAddr::new(own_ip(), 7300), dns.address), |_, _| {});
    story(&daemon.dir.path().join("admin.sock"), &dns);
}

/// What is said to whom wants a server to go by another name, and where it is then.
fn renaming(admin: &std::path::Path, dns: &NameServer) -> Vec<String> {
    dns.say(Says::Host([127, 0, 0, 11].into(), 3600));
    let is_at = |address: &str| ask(admin, "show servers state be").contains(&format!(" {address} "));
    until_true("the first name", PATIENCE, || is_at("127.0.0.11"));
    dns.say(Says::Host([127, 0, 0, 12].into(), 3600));
    let said = ["s fqdn b.test", "s fqdn b.test", "s fqdn", "s fqdn b!", "plain fqdn b.test", "none fqdn b.test"]
        .map(|words| ask(admin, &format!("set server be/{words}")));
    until_true("the new name", PATIENCE, || is_at("127.0.0.12"));
    said.to_vec()
}

#[test]
fn a_server_can_go_by_another_name_as_in_haproxy() {
    let dns = NameServer::start(Says::Nothing);
    let text = |listen: IpAddr| {
        format!(
            "global\n stats socket DIR/admin.sock level admin\nresolvers r\n nameserver one {}\n hold valid 1h\n timeout resolve 100ms\n\
             defaults\n mode tcp\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
             listen be\n bind {listen}:7300\n server s a.test:7100 resolvers r init-addr none\n server plain 127.0.0.1:7100\n",
            dns.address
        )
    };
    let theirs = Haproxy::start(&text(own_ip())).map(|haproxy| renaming(&haproxy.socket("admin"), &dns));
    dns.say(Says::Nothing);
    let daemon = start(&text(own_ip()), |_, _| {});
    let ours = renaming(&daemon.dir.path().join("admin.sock"), &dns);
    assert_eq!(ours[0], "be/s changed its FQDN from a.test to b.test by 'stats socket command'\n\n");
    if let Some(theirs) = theirs {
        assert_eq!(theirs, ours, "HAProxy, then vipgate");
    }
}

/// `show resolvers ID` without its figures, and some of these.
fn section(text: &str, wanted: &[&str]) -> (Vec<String>, Vec<bool>) {
    let figure = |line: &str| line.rsplit_once(' ')?.1.parse::<u64>().ok();
    let layout = text.lines().map(|line| match figure(line) {
        Some(_) => line.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
        None => line.to_owned(),
    });
    let of =
        |name: &&str| text.lines().find(|line| line.trim_start().starts_with(&format!("{name}:"))).and_then(figure);
    (layout.collect(), wanted.iter().map(|name| of(name).is_some_and(|count| count > 0)).collect())
}

const COUNTED: [&str; 12] = [
    "sent",
    "valid",
    "update",
    "cname",
    "cname_error",
    "any_err",
    "nx",
    "refused",
    "other",
    "invalid",
    "too_big",
    "truncated",
];

/// Asks for one name while the name server says this and that; what is counted then.
fn counting(socket: &std::path::Path, dns: &NameServer) -> (Vec<String>, Vec<bool>) {
    for (says, counted) in [
        // It has an IPv6 address, which is not asked for.
        (Says::Host("::1".parse().unwrap(), 0), "any_err"),
        (Says::Host("127.0.0.9".parse().unwrap(), 0), "update"),
        (Says::Code(ResponseCode::NXDomain), "nx"),
        (Says::Code(ResponseCode::Refused), "refused"),
        (Says::Code(ResponseCode::ServFail), "other"),
    ] {
        dns.say(says);
        until_true(counted, PATIENCE, || section(&ask(socket, "show resolvers r"), &[counted]).1 == [true]);
    }
    section(&ask(socket, "show resolvers r"), &COUNTED)
}

#[test]
fn what_name_servers_say_is_counted_and_shown_as_haproxy_does() {
    let dns = NameServer::start(Says::Nothing);
    let text = |ip: IpAddr| {
        format!(
            "global\n stats socket DIR/admin.sock level admin\n\
             resolvers r\n nameserver first {}\n hold valid 200ms\n timeout resolve 200ms\n timeout retry 200ms\n\
             resolvers empty\n parse-resolv-conf\n\
             defaults\n mode tcp\n timeout connect 1s\n timeout client 9s\n timeout server 9s\n\
             frontend fe\n bind {ip}:7000\n default_backend be\n\
             backend be\n server s www.test:80 resolvers r resolve-prefer ipv4 init-addr none\n",
            dns.address
        )
    };
    let theirs = Haproxy::start(&text(own_ip())).map(|haproxy| {
        let socket = haproxy.socket("admin");
        let unknown = ask(&socket, "show resolvers other");
        (counting(&socket, &dns), unknown, ask(&socket, "show resolvers").matches("Resolvers section").count())
    });
    dns.say(Says::Nothing);
    let daemon = start(&text(own_ip()), |_, _| {});
    let socket = daemon.dir.path().join("admin.sock");
    let unknown = ask(&socket, "show resolvers other");
    let ours = (counting(&socket, &dns), unknown, ask(&socket, "show resolvers").matches("Resolvers section").count());
    let seen = |name: &str| ours.0.1[COUNTED.iter().position(|counted| *counted == name).unwrap()];
    assert!(["sent", "valid", "update", "any_err", "nx", "refused", "other"].iter().all(|name| seen(name)), "{ours:?}");
    if let Some(theirs) = theirs {
        assert_eq!(theirs, ours, "HAProxy, then vipgate");
    }
    // Only vipgate says so: HAProxy counts no silence of a name server that is there.
    dns.say(Says::Nothing);
    until_true("silence", PATIENCE, || section(&ask(&socket, "show resolvers r"), &["timeout"]).1 == [true]);
    dns.say(Says::Host("127.0.0.9".parse().unwrap(), 3600));
    asked(&dns, 1);
    daemon.wait_log("www.test is resolved again");
    ask(&socket, "clear counters all");
    assert_eq!(section(&ask(&socket, "show resolvers r"), &["sent", "timeout"]).1, [false, false]);
}
