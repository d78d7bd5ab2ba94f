//! Through the virtual address: stickiness, port ranges, real file transfers.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "scenarios in real time, which end at what fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use netns_tests::echo::{Echo, Mode, pattern};
use netns_tests::flows::{Flows, HANGING};
use netns_tests::gate::Subject;
use netns_tests::node::Node;
use netns_tests::pair::{FrontPair, PATIENCE, PORTS, VIP};
use netns_tests::plan::{Check, Plan, Sticky};
use netns_tests::process::Process;
use netns_tests::report::{Table, line, ms};
use netns_tests::wait::{pass, until, until_true};

const SUBJECTS: [Subject; 3] = [Subject::Toml, Subject::Foreign, Subject::Daemons];
const LIMIT: Duration = Duration::from_secs(5);
const MEBIBYTE: usize = 1 << 20;

#[test]
fn sticky_clients_stay_and_only_those_of_a_dead_server_move() {
    let mut table = Table::new(
        "sixty clients, three servers, one dies and returns",
        &["subject", "stickiness", "spread", "moved at its death", "its flows", "other flows", "moved at its return"],
    );
    let variants =
        SUBJECTS.into_iter().map(|subject| (subject, Sticky::Table)).chain([(Subject::Toml, Sticky::Source)]);
    for (subject, sticky) in variants {
        let Some(pair) = FrontPair::build("sticky clients", subject) else { return };
        let mut pair = pair.with(|plan| plan.services[0].sticky = sticky);
        pair.start();
        // Checks have told every server's state.
        pass(Duration::from_millis(600));

        let first = where_clients_land(&pair);
        for round in 0..3 {
            let strayed = changed(&first, &where_clients_land(&pair));
            assert!(strayed.is_empty(), "{subject}: round {round}: {strayed:?} changed their server");
        }
        let spread = count_by_server(&first);
        assert_eq!(spread.len(), 3, "{subject}: not every server has clients: {spread:?}");
        assert!(spread.values().all(|&count| count >= 6), "{subject}: badly spread: {spread:?}");

        let flows = Flows::open(&pair.client, &pair.targets(), &pair.sources(), 60, Duration::from_millis(50));
        let dead = pair.servers[0].name().to_owned();
        let victims: Vec<IpAddr> = clients_of(&first, &dead);
        pair.stop_server(0);
        until_true("the dead server's clients to be served elsewhere", PATIENCE, || {
            pair.client.ask(Some(victims[0]), pair.target(), LIMIT).is_ok_and(|answer| answer.server != dead)
        });
        let second = where_clients_land(&pair);
        let moved = changed(&first, &second);
        assert_eq!(moved, victims, "{subject}: not the dead server's clients moved");
        pass(HANGING);
        let lost: Vec<String> =
            flows.snapshot().into_iter().filter(|flow| flow.end.is_some()).map(|flow| flow.server).collect();
        let tally = flows.tally();
        assert_eq!(tally.hanging, 0, "{subject}: flows of a dead server hang: {tally}");
        assert!(lost.iter().all(|server| *server == dead), "{subject}: flows of living servers died: {lost:?}");

        pair.start_server(0);
        pass(Duration::from_secs(2));
        let third = where_clients_land(&pair);
        let returned = changed(&second, &third);
        match sticky {
            // Remembered where they went.
            Sticky::Table | Sticky::No => assert!(returned.is_empty(), "{subject}: {returned:?} moved back"),
            // The hash says so.
            Sticky::Source => {
                let astray = changed(&first, &third);
                assert!(astray.is_empty(), "{subject}: {astray:?} did not return to where the hash has them");
            }
        }
        table.row(&[
            &subject.to_string(),
            &format!("{sticky:?}"),
            &format!("{:?}", spread.values().collect::<Vec<_>>()),
            &format!("{} of {}", moved.len(), victims.len()),
            &format!("{} ended", lost.len()),
            &format!("{} alive", tally.alive),
            &returned.len().to_string(),
        ]);
    }
    table.print();
}

fn where_clients_land(pair: &FrontPair) -> BTreeMap<IpAddr, String> {
    let targets = pair.targets();
    let ask = |(index, source): (usize, IpAddr)| {
        // Any port of the range: stickiness is the service's, not the port's.
        let answer = pair.client.ask(Some(source), targets[index % targets.len()], LIMIT);
        (source, answer.unwrap_or_else(|error| panic!("client {source}: {error}")).server)
    };
    pair.sources().into_iter().enumerate().map(ask).collect()
}

fn count_by_server(landed: &BTreeMap<IpAddr, String>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for server in landed.values() {
        *counts.entry(server.as_str()).or_default() += 1;
    }
    counts
}

fn clients_of(landed: &BTreeMap<IpAddr, String>, server: &str) -> Vec<IpAddr> {
    landed.iter().filter(|(_, at)| *at == server).map(|(&client, _)| client).collect()
}

fn changed(before: &BTreeMap<IpAddr, String>, after: &BTreeMap<IpAddr, String>) -> Vec<IpAddr> {
    before.iter().filter(|(client, server)| after[*client] != **server).map(|(&client, _)| client).collect()
}

#[test]
fn the_hash_picks_the_same_server_on_both_nodes() {
    let Some(pair) = FrontPair::build("one hash, two nodes", Subject::Toml) else { return };
    let mut pair = pair.with(|plan| plan.services[0].sticky = Sticky::Source);
    pair.start();
    pass(Duration::from_millis(600));
    let before = where_clients_land(&pair);
    pair.gate(0).terminate();
    pair.gate(0).wait_end();
    pair.wait_owner(1);
    let after = where_clients_land(&pair);
    let moved = changed(&before, &after).len();
    line(&format!("{moved} of {} sticky clients changed their server at a failover", before.len()));
    assert_eq!(before, after);
}

#[test]
fn connections_without_stickiness_spread_evenly() {
    for subject in SUBJECTS {
        let Some(mut pair) = FrontPair::build("round robin", subject) else { return };
        pair.start();
        pass(Duration::from_millis(600));
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..90 {
            let answer = pair.client.ask(None, pair.target(), LIMIT).expect("served");
            *counts.entry(answer.server).or_default() += 1;
        }
        line(&format!("{subject}: 90 connections: {counts:?}"));
        // Several workers each go round: a few more or less.
        assert!(counts.len() == 3 && counts.values().all(|count| (26..=34).contains(count)), "{subject}: {counts:?}");
    }
}

#[test]
fn a_range_of_300_ports_reaches_the_same_port_of_a_server() {
    const RANGE: std::ops::RangeInclusive<u16> = 5000..=5299;
    let mut table =
        Table::new("300 ports", &["subject", "ports right", "start to first echo", "descriptors", "resident"]);
    for subject in SUBJECTS {
        let Some(pair) = FrontPair::build("300 ports", subject) else { return };
        let mut pair = pair.with(|plan| {
            plan.services[0].ports = RANGE;
            plan.services[0].check = Some(check(*RANGE.start()));
        });
        let _echoes: Vec<Echo> = pair.servers.iter().map(|node| Echo::start(node, RANGE, Mode::Echo)).collect();
        let begun = Instant::now();
        pair.start_gate(0);
        let first = SocketAddr::new(VIP, *RANGE.start());
        until("an echo through the range", PATIENCE, || pair.client.ask(None, first, LIMIT).ok());
        let started = begun.elapsed();
        for port in RANGE {
            let answer = pair.client.ask(None, SocketAddr::new(VIP, port), LIMIT);
            assert_eq!(answer.map(|answer| answer.port).ok(), Some(port), "{subject}: port {port}");
        }
        let outside = pair.client.ask(None, SocketAddr::new(VIP, RANGE.end() + 1), LIMIT);
        assert!(outside.is_err(), "{subject}: a port outside the range is served");
        let proxy = pair.gate(0).proxy();
        table.row(&[
            &subject.to_string(),
            &format!("{} of {}", RANGE.count(), RANGE.count()),
            &ms(started),
            &proxy.descriptors().to_string(),
            &format!("{} KiB", proxy.resident() / 1024),
        ]);
    }
    table.print();
}

#[test]
fn bytes_arrive_whole_in_order_and_half_closed() {
    const MODES: [(u16, Mode); 4] =
        [(6000, Mode::Source), (6001, Mode::Sink), (6002, Mode::Banner), (6003, Mode::Abort)];
    for subject in SUBJECTS {
        let Some(pair) = FrontPair::build("bytes", subject) else { return };
        let mut pair = pair.with(|plan| {
            plan.services[0].ports = 6000..=6003;
            plan.services[0].check = None;
        });
        let mut echoes = Vec::new();
        for node in &pair.servers {
            echoes.extend(MODES.map(|(port, mode)| Echo::start(node, port..=port, mode)));
        }
        pair.start_gate(0);
        pair.wait_owner(0);
        let connect = |port: u16| {
            pair.client.connect_from(None, SocketAddr::new(VIP, port), LIMIT).expect("a connection through the gate")
        };
        until("the listeners", PATIENCE, || pair.client.connect_from(None, SocketAddr::new(VIP, 6002), LIMIT).ok());

        let begun = Instant::now();
        let received = read_pattern(&mut connect(6000), 64 * MEBIBYTE);
        line(&format!("{subject}: {received} bytes from the server in {}", ms(begun.elapsed())));

        // The server answers only after the client's half is closed.
        let mut upward = connect(6001);
        upward.write_all(&vec![7; 8 * MEBIBYTE]).expect("sent");
        upward.shutdown(Shutdown::Write).expect("half-closed");
        let mut said = String::new();
        upward.read_to_string(&mut said).expect("an answer after the half-close");
        assert_eq!(said.trim(), (8 * MEBIBYTE).to_string(), "{subject}");

        // The server speaks first.
        let mut waits: Vec<Duration> = (0..5).map(|_| first_word(&mut connect(6002))).collect();
        waits.sort_unstable();
        line(&format!("{subject}: a server's first word after {}, at worst {}", ms(waits[2]), ms(waits[4])));
        assert!(waits[2] < Duration::from_millis(60), "{subject}: the server's first word took {waits:?}");

        // The server aborts.
        let mut aborted = connect(6003);
        aborted.write_all(b"x").expect("sent");
        let end = aborted.read(&mut [0; 8]);
        line(&format!("{subject}: a server's reset reaches the client as {end:?}"));
        let reset = end.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(reset || subject == Subject::Daemons, "{subject}: a reset arrives as {end:?}");
    }
}

fn first_word(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    stream.read_exact(&mut [0; 8]).expect("a banner");
    begun.elapsed()
}

fn read_pattern(stream: &mut TcpStream, size: usize) -> usize {
    stream.write_all(format!("{size}\n").as_bytes()).expect("asked");
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        let count = stream.read(&mut buffer).expect("bytes");
        if count == 0 {
            assert_eq!(offset, size, "bytes were lost at the end");
            return offset;
        }
        for (index, &byte) in buffer[..count].iter().enumerate() {
            assert_eq!(byte, pattern((offset + index) as u64), "at byte {}", offset + index);
        }
        offset += count;
    }
}

#[test]
fn sftp_carries_100_megabytes_both_ways() {
    const SIZE: usize = 100 * MEBIBYTE;
    let mut table = Table::new("OpenSSH's SFTP through the address, 100 MiB", &["subject", "put", "get", "server"]);
    for subject in SUBJECTS {
        let Some(pair) = FrontPair::build("SFTP", subject) else { return };
        let mut pair = pair.with(|plan| only_service(plan, 2200..=2210));
        let _servers = start_sshd(&pair);
        pair.start_gate(0);
        pair.wait_owner(0);
        let file = pair.client.dir().join("sent");
        random_file(&file, SIZE);
        let sftp = |commands: &str| {
            let batch = pair.client.write("batch", commands);
            let key = pair.lab.dir().join("key");
            let begun = Instant::now();
            pair.client.run(&format!(
                "sftp -q -P 2205 -b {} -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
                 -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@{VIP}",
                batch.display(),
                key.display()
            ));
            begun.elapsed()
        };
        until("sshd through the address", PATIENCE, || {
            pair.client.connect_from(None, SocketAddr::new(VIP, 2205), LIMIT).ok()
        });
        let put = sftp(&format!("put {} there\n", file.display()));
        // A second connection of the same client finds what the first one left.
        let get = sftp("get there received\n");
        assert_eq!(checksum(&pair.client, "sent"), checksum(&pair.client, "received"), "{subject}");
        let holders: Vec<&Node> = pair.servers.iter().filter(|node| node.dir().join("files/there").exists()).collect();
        assert_eq!(holders.len(), 1, "{subject}: the client did not stay on one server");
        table.row(&[&subject.to_string(), &ms(put), &ms(get), holders[0].name()]);
    }
    table.print();
}

#[test]
fn passive_ftp_keeps_control_and_data_on_one_server() {
    const SIZE: usize = 20 * MEBIBYTE;
    let mut table =
        Table::new("vsftpd through the address, 20 MiB", &["subject", "put (PASV)", "get (EPSV)", "server"]);
    for subject in SUBJECTS {
        let Some(pair) = FrontPair::build("passive FTP", subject) else { return };
        let mut pair = pair.with(|plan| only_service(plan, 4000..=4010));
        let _servers = start_vsftpd(&pair);
        pair.start_gate(0);
        pair.wait_owner(0);
        let file = pair.client.dir().join("sent");
        random_file(&file, SIZE);
        until("vsftpd through the address", PATIENCE, || {
            pair.client.connect_from(None, SocketAddr::new(VIP, 4000), LIMIT).ok()
        });
        let timed = |command: &str| {
            let begun = Instant::now();
            pair.client.run(command);
            begun.elapsed()
        };
        let put =
            timed(&format!("curl -sS --max-time 60 --disable-epsv -T {} ftp://{VIP}:4000/pub/there", file.display()));
        let get = timed(&format!("curl -sS --max-time 60 -o received ftp://{VIP}:4000/pub/there"));
        assert_eq!(checksum(&pair.client, "sent"), checksum(&pair.client, "received"), "{subject}");
        // Another program, many control and data connections: the listing must be the same server's each time.
        let listed = pair.client.run(&format!(
            "lftp -e 'set net:max-retries 1; set net:timeout 10; set ftp:ssl-allow no; cls -1 pub; cls -1 pub; bye' \
             ftp://{VIP}:4000"
        ));
        assert_eq!(listed.matches("there").count(), 2, "{subject}: {listed}");
        let holders: Vec<&Node> =
            pair.servers.iter().filter(|node| node.dir().join("ftp/pub/there").exists()).collect();
        assert_eq!(holders.len(), 1, "{subject}: the client did not stay on one server");
        table.row(&[&subject.to_string(), &ms(put), &ms(get), holders[0].name()]);
    }
    table.print();
}

fn only_service(plan: &mut Plan, ports: std::ops::RangeInclusive<u16>) {
    let service = &mut plan.services[0];
    service.check = Some(check(*ports.start()));
    service.ports = ports;
    service.sticky = Sticky::Table;
}

fn check(port: u16) -> Check {
    assert!(!PORTS.contains(&port), "the laboratory's own servers have that port");
    Check { port, interval: Duration::from_millis(200), rise: 2, fall: 3 }
}

/// One sshd a server, on the first port (for the checks) and on one inside the range, with one host key for all.
fn start_sshd(pair: &FrontPair) -> Vec<Process> {
    let dir = pair.lab.dir();
    let generate = |name: &str| {
        pair.client.run(&format!("ssh-keygen -q -t ed25519 -N '' -f {}", dir.join(name).display()));
    };
    generate("key");
    generate("host-key");
    let start = |node: &Node| {
        let files = node.dir().join("files");
        fs::create_dir_all(&files).expect("a directory");
        let config = node.write(
            "sshd_config",
            &format!(
                "Port 2200\nPort 2205\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nMaxStartups 200\n\
                 PerSourceMaxStartups none\nSubsystem sftp internal-sftp\nForceCommand internal-sftp -d {}\n",
                dir.join("host-key").display(),
                dir.join("key.pub").display(),
                files.display()
            ),
        );
        // Its privilege separation directory is in /run, which is the machine's: give it one of its own.
        let start = format!(
            "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f {}",
            config.display()
        );
        node.spawn("sshd", node.command("sh").args(["-c", &start]))
    };
    pair.servers.iter().map(start).collect()
}

/// One vsftpd a server: control on the first port, data on the others, announced under the virtual address.
fn start_vsftpd(pair: &FrontPair) -> Vec<Process> {
    let start = |node: &Node| {
        let root = node.dir().join("ftp");
        let empty = node.dir().join("empty");
        fs::create_dir_all(root.join("pub")).expect("a directory");
        fs::create_dir_all(&empty).expect("a directory");
        node.run(&format!("chown ftp {}", root.join("pub").display()));
        let config = node.write(
            "vsftpd.conf",
            &format!(
                "listen=YES\nlisten_port=4000\nbackground=NO\npasv_enable=YES\npasv_min_port=4001\npasv_max_port=4010\n\
                 pasv_address={VIP}\nanonymous_enable=YES\nno_anon_password=YES\nwrite_enable=YES\n\
                 anon_upload_enable=YES\nanon_world_readable_only=NO\nanon_root={}\nsecure_chroot_dir={}\n\
                 seccomp_sandbox=NO\nxferlog_enable=NO\n",
                root.display(),
                empty.display()
            ),
        );
        node.spawn("vsftpd", node.command("vsftpd").arg(config))
    };
    pair.servers.iter().map(start).collect()
}

fn random_file(path: &Path, size: usize) {
    let mut random = fs::File::open("/dev/urandom").expect("random bytes").take(size as u64);
    let mut file = fs::File::create(path).expect("a file");
    std::io::copy(&mut random, &mut file).expect("disk space");
}

fn checksum(node: &Node, name: &str) -> String {
    let text = node.run(&format!("sha256sum < {name}"));
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
