//! Which connections are logged, when, and as what: HAProxy and vipgate on the same file.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::imported::{Haproxy, config, exchange, servers, start};
use super::support::{PATIENCE, own_ip};

/// What is sent there until nothing comes for a while. Without the time stamp of syslog, the process's number, the client's
/// port and the times.
fn lines(udp: &UdpSocket) -> Vec<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 2048];
    udp.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    while let Ok(count) = udp.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let priority = text.split('>').next().unwrap_or_default();
        let tag = text.split('[').next().and_then(|head| head.rsplit(' ').next()).unwrap_or_default();
        let Some((_, line)) = text.split_once("] ").filter(|_| text.contains(" fe")) else { continue };
        let fields: Vec<&str> = line.trim_end().split(' ').collect();
        let [service, server, times, rest @ ..] = fields.as_slice() else { continue };
        let early = if times.contains('+') { "+" } else { "" };
        lines.push(format!("{priority}> {tag} {service} {server} {early}T {}", rest.join(" ")));
    }
    lines
}

/// One connection that ends well, one that is reset, and one that times out.
fn visit(ip: IpAddr, port: u16, udp: &UdpSocket) -> Vec<String> {
    let mut ends_well = exchange(ip, port);
    ends_well.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ends_well.read(&mut [0]).unwrap(), 0);
    let mut seen = lines(udp);
    let reset = socket2::Socket::from(exchange(ip, port));
    reset.set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    seen.extend(lines(udp));
    let mut times_out = exchange(ip, port);
    seen.extend(lines(udp));
    times_out.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ended = times_out.read(&mut [0]);
    seen.extend(lines(udp));
    seen
}

/// A server that speaks first.
fn greeter(ip: IpAddr) {
    let listener = TcpListener::bind((ip, 7101)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"hi");
            let _ = stream.read(&mut [0]);
        }
    });
}

/// A client that says nothing.
fn probe(ip: IpAddr, port: u16, udp: &UdpSocket) -> Vec<String> {
    let mut stream = TcpStream::connect((ip, port)).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    drop(stream);
    lines(udp)
}

#[test]
fn lines_are_haproxys() {
    let seen = |theirs: bool| -> Option<Vec<Vec<String>>> {
        let (ip, servers) = (own_ip(), servers());
        greeter(ip);
        let udp = UdpSocket::bind((own_ip(), 0)).unwrap();
        let frontend = |port: u16, lines: &str| {
            format!(
                "frontend fe{port}\n bind {ip}:{port}\n option tcplog\n timeout client 900ms\n{lines} default_backend be\n"
            )
        };
        let text = config(ip, servers).replacen(
            "global\n",
            &format!("global\n log {} local0\n", udp.local_addr().unwrap()),
            1,
        );
        let text = text.replace("defaults\n", "defaults\n log global\n")
            + &frontend(7011, " option dontlog-normal\n")
            + &frontend(7012, " option log-separate-errors\n log-tag web\n")
            + &frontend(7013, " option logasap\n")
            + &frontend(7014, " option logasap\n option dontlog-normal\n option dontlognull\n")
            + &frontend(7015, " use_backend greeter\n option dontlognull\n")
            + &frontend(7016, " use_backend greeter\n")
            + &format!("backend greeter\n server s1 {ip}:7101\n");
        let (_theirs, _ours) =
            if theirs { (Some(Haproxy::start(&text)?), None) } else { (None, Some(start(&text, |_, _| {}))) };
        // What is said about servers at the start.
        let _start = lines(&udp);
        let mut seen = [7011, 7012, 7013, 7014].map(|port| visit(ip, port, &udp)).to_vec();
        seen.extend([7015, 7016].map(|port| probe(ip, port, &udp)));
        Some(seen)
    };
    let ours = seen(false).unwrap();
    let expected = [
        vec!["<134> haproxy fe7011 be/s1 T 5 CD 1/1/0/0/0 0/0", "<134> haproxy fe7011 be/s1 T 5 cD 1/1/0/0/0 0/0"],
        vec![
            "<134> web fe7012 be/s1 T 5 -- 1/1/0/0/0 0/0",
            "<131> web fe7012 be/s1 T 5 CD 1/1/0/0/0 0/0",
            "<131> web fe7012 be/s1 T 5 cD 1/1/0/0/0 0/0",
        ],
        vec!["<134> haproxy fe7013 be/s1 +T +0 -- 1/1/1/1/0 0/0"; 3],
        vec!["<134> haproxy fe7014 be/s1 +T +5 CD 1/1/0/0/0 0/0", "<134> haproxy fe7014 be/s1 +T +5 cD 1/1/0/0/0 0/0"],
        vec![],
        vec!["<134> haproxy fe7016 greeter/s1 T 2 -- 1/1/0/0/0 0/0"],
    ];
    assert_eq!(ours, expected);
    if let Some(theirs) = seen(true) {
        assert_eq!(theirs, ours, "HAProxy, then vipgate");
    }
}

#[test]
fn values_in_a_format_are_haproxys() {
    let seen = |theirs: bool| -> Option<Vec<String>> {
        let (ip, servers) = (own_ip(), servers());
        let udp = UdpSocket::bind((own_ip(), 0)).unwrap();
        let frontend = |port: u16, format: &str, backend: &str| {
            format!("frontend fe{port}\n bind {ip}:{port}\n log-format 'fe {format}'\n default_backend {backend}\n")
        };
        let log = format!("global\n log {} local0\n", udp.local_addr().unwrap());
        let text = config(ip, servers).replacen("global\n", &log, 1).replace("defaults\n", "defaults\n log global\n")
            + &frontend(
                7011,
                "%{+Q}o b=%b s=%s ft=%ft fi=%fi si=%si sp=%sp ts=%ts U=%U B=%B ci=%ci %{-Q}b %{+X}ci",
                "be",
            )
            + &frontend(7012, "%[src] %{+Q}[src] %[dst] %[dst_port] %{+Q}[dst_port] %[fe_name] %[be_name]", "be")
            + &frontend(7013, "%{+Q}o %s %si %sp [%[srv_name]] Tc=%Tc %{-Q}si %{-Q}sp %fi %{+X,-Q}fi %%", "none")
            + "backend none\n server s1 127.0.0.1:1 disabled\n";
        let (_theirs, _ours) =
            if theirs { (Some(Haproxy::start(&text)?), None) } else { (None, Some(start(&text, |_, _| {}))) };
        let mut seen = Vec::new();
        for port in [7011, 7012, 7013] {
            let mut stream = TcpStream::connect((ip, port)).unwrap();
            // Who finds no server may be closed by now.
            let _turned_away = stream.write_all(b"hello").and_then(|()| stream.shutdown(Shutdown::Write));
            let _ended = stream.read_to_end(&mut Vec::new());
            let mut buffer = [0; 2048];
            udp.set_read_timeout(Some(PATIENCE)).unwrap();
            let line = loop {
                let count = udp.recv(&mut buffer).unwrap();
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                if let Some((_, line)) = text.split_once("]: fe ") {
                    break line.trim_end().to_owned();
                }
            };
            let IpAddr::V4(front) = ip else { unreachable!() };
            let hex = format!("{:08X}", u32::from(front));
            let line =
                line.replace(&servers.to_string(), "SERVER").replace(&ip.to_string(), "HERE").replace(&hex, "HEX");
            seen.push(line);
        }
        Some(seen)
    };
    let ours = seen(false).unwrap();
    assert_eq!(
        ours[2], "\"<NOSRV>\" \"\" \"\" [\"\"] Tc=-1 - - \"HERE\" HEX %",
        "a format that is JSON stays JSON without a server"
    );
    if let Some(theirs) = seen(true) {
        assert_eq!(theirs, ours, "HAProxy, then vipgate");
    }
}
