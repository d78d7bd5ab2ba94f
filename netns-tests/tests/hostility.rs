//! Clients and servers that mean no good: what they cost, what they leave, and what the others notice of it.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "scenarios in real time, which end at what fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use netns_tests::echo::{Echo, Mode};
use netns_tests::flows::Flows;
use netns_tests::gate::{Gate, Subject};
use netns_tests::pair::{FrontPair, PATIENCE, PORTS, VIP};
use netns_tests::report::{Table, ms};
use netns_tests::siege::{Siege, round_trips, say};
use netns_tests::wait::{pass, try_until, until_true};
use socket2::SockRef;

const VIP4: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 100);
/// A PROXY header has to come first.
const GREETING: u16 = 6100;
/// Sends as much as it is asked for.
const SOURCE: u16 = 6000;
/// Accepts, and never answers.
const MUTE: u16 = 6001;
/// Answers with a reset.
const ABORT: u16 = 6002;
/// Its server is a hardware address that nobody has: no attempt is answered.
const GONE: u16 = 6003;
/// Its server takes two at a time, more wait.
const FULL: u16 = 6004;

/// More than anybody reads.
const ASK: &[u8] = b"1000000000\n";
/// The beginning of a TLS hello: a record of 512 bytes, of which nine come.
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";

/// Connections held by those that hold some: thousands with `VIPGATE_SOAK` in the environment, as it has room for.
fn many() -> usize {
    if std::env::var_os("VIPGATE_SOAK").is_some() { 8000 } else { 2000 }
}

/// One gate with a service for each kind of bad server.
struct Fort {
    pair: FrontPair,
    _servers: Vec<Echo>,
}

impl Fort {
    fn build(test: &str) -> Option<Self> {
        let mut pair = FrontPair::build(test, Subject::Toml)?;
        const MODES: [(u16, Mode); 3] = [(SOURCE, Mode::Source), (MUTE, Mode::Sink), (ABORT, Mode::Abort)];
        let servers = MODES.map(|(port, mode)| Echo::start(&pair.servers[0], port..=port, mode)).into();
        let node = &pair.nodes[0];
        node.ip("neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev eth2");
        let mut text = pair.plans[0].toml();
        let server = |port: u16| match port {
            GONE => "address = \"10.0.0.99:1\"".to_owned(),
            GREETING => "address = \"10.0.0.11:3000\"".to_owned(),
            FULL => format!("address = \"10.0.0.11:{MUTE}\", max-connections = 2"),
            _ => format!("address = \"10.0.0.11:{port}\""),
        };
        for port in [SOURCE, MUTE, ABORT, GONE, FULL, GREETING] {
            let from = if port == GREETING { ", proxy-from = \"0.0.0.0/0\"" } else { "" };
            let _ = writeln!(
                text,
                "\n[[service]]\nname = \"s{port}\"\nlisten = [{{ address = \"{VIP}:{port}\"{from} }}]\n\
                 queue-timeout = \"1m\"\nconnect-timeout = \"3s\"\nretries = 0\nservers = [{{ {} }}]",
                server(port)
            );
        }
        let file = node.write("hostile.toml", &text);
        pair.gates[0] = Some(Gate::from_file(node, "--config", &file));
        pair.wait_owner(0);
        pair.wait_serving();
        Some(Self { pair, _servers: servers })
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new(VIP, port)
    }

    /// The 99th percentiles of a few rounds of connections that echo a line.
    fn percentiles(&self) -> Vec<Duration> {
        const ROUNDS: usize = 5;
        const EACH: usize = 100;
        let round = |_| {
            let mut times =
                round_trips(&self.pair.client, self.pair.target(), EACH).expect("accepted, served and answered");
            times.sort_unstable();
            times[EACH - 2]
        };
        (0..ROUNDS).map(round).collect()
    }

    /// What must be as before once nobody is there: descriptors and every gauge of connections.
    fn base(&self) -> BTreeMap<String, f64> {
        let mut figures = self.gauges();
        // A thread keeps the pipes it once spliced through.
        figures.insert("sockets".to_owned(), self.descriptors("socket:") as f64);
        figures
    }

    /// Pipes, which have two descriptors each.
    fn pipes(&self) -> u64 {
        self.descriptors("pipe:") as u64 / 2
    }

    fn descriptors(&self, kind: &str) -> usize {
        let open = self.pair.gate(0).main().open_files();
        open.iter().filter(|target| target.to_string_lossy().starts_with(kind)).count()
    }

    /// Every gauge of connections, as both ways to ask tell it.
    fn gauges(&self) -> BTreeMap<String, f64> {
        let text = self.pair.nodes[0].run("curl -s http://127.0.0.1:8404/metrics");
        let is_one = |name: &str| ["_connections{", "_queued{", "_workers"].iter().any(|part| name.contains(part));
        let figure = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            is_one(name).then_some((name.to_owned(), value.parse().ok()?))
        };
        let mut figures: BTreeMap<String, f64> = text.lines().filter_map(figure).collect();
        let status = self.pair.gate(0).status().expect("a status");
        let mut collect = |kind: &str, key: &str, list: &serde_json::Value| {
            for one in list.as_array().into_iter().flatten() {
                let name = format!("{kind} {} {key}", one["name"]);
                figures.extend(one[key].as_f64().map(|value| (name, value)));
            }
        };
        collect("service", "open", &status["services"]);
        collect("pool", "queued", &status["pools"]);
        for pool in status["pools"].as_array().into_iter().flatten() {
            let kind = format!("server of {}", pool["name"]);
            collect(&kind, "open", &pool["servers"]);
            collect(&kind, "queued", &pool["servers"]);
        }
        figures
    }

    /// Waits until the source sends no more: nobody reads.
    fn wait_still(&self) {
        let mut before = String::new();
        until_true("full buffers", PATIENCE, || {
            pass(Duration::from_millis(200));
            let text = self.pair.nodes[0].run("curl -s http://127.0.0.1:8404/metrics");
            let now: String = text.lines().filter(|line| line.contains("_bytes_total{")).collect();
            std::mem::replace(&mut before, now.clone()) == now
        });
    }

    fn resident(&self) -> u64 {
        self.pair.gate(0).main().own_resident()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

type Begin = fn(&Fort) -> std::io::Result<Vec<Siege>>;

/// What hostile clients do, and how it begins.
const SIEGES: [(&str, Begin); 9] = [
    ("silent clients", |fort| Ok(vec![Siege::hold(&fort.pair.client, &fort.pair.targets(), many(), b"")?])),
    ("half-open handshakes", |fort| {
        let target = SocketAddrV4::new(VIP4, *PORTS.start());
        Ok(vec![Siege::half_open(&fort.pair.client, target, [192, 168, 56])])
    }),
    ("hellos byte by byte", |fort| Ok(vec![Siege::trickle(&fort.pair.client, fort.pair.target(), 50, HELLO)?])),
    ("PROXY headers byte by byte, or never", |fort| {
        let target = Fort::at(GREETING);
        let silent = Siege::hold(&fort.pair.client, &[target], many() / 10, &HEADER[..9])?;
        Ok(vec![silent, Siege::trickle(&fort.pair.client, target, 50, HEADER)?])
    }),
    ("clients that never read", |fort| {
        let siege = Siege::hold(&fort.pair.client, &[Fort::at(SOURCE)], 20, ASK)?;
        // Every buffer fills first, as fast as it goes: load, but not what is meant.
        fort.wait_still();
        Ok(vec![siege])
    }),
    ("servers that never answer", |fort| {
        Ok(vec![Siege::hold(&fort.pair.client, &[Fort::at(MUTE), Fort::at(GONE)], many() / 4, b"well?")?])
    }),
    ("servers that are full", |fort| {
        Ok(vec![Siege::hold(&fort.pair.client, &[Fort::at(FULL)], many() / 10, b"well?")?])
    }),
    ("servers that reset", |fort| Ok(vec![Siege::resets(&fort.pair.client, &[Fort::at(ABORT)], b"x")])),
    ("resets at every stage", |fort| {
        let targets = [*PORTS.start(), SOURCE, MUTE, GONE, FULL, GREETING].map(Fort::at);
        Ok(vec![Siege::resets(&fort.pair.client, &targets, ASK)])
    }),
];

/// The 99th percentile is of 100 connections one after the other, and what is compared is the median of five such rounds
/// under siege with the median of ten, five before and five after it: one round in which the machine was busy with
/// something else decides nothing. A siege that disturbs does so each time: of three attempts one must be good. Below
/// [`SLICE`] it is the scheduler that is measured.
#[test]
fn hostile_clients_leave_nothing_and_disturb_nobody() {
    /// What the allocator may keep of a second siege that it did not keep of the first one: not even 512 bytes of each of
    /// 2,000 connections.
    const GROWTH: u64 = 1 << 20;
    /// A program that computes keeps a core for a few of these before another gets it.
    const SLICE: Duration = Duration::from_millis(1);
    let undisturbed = |idle: Duration, besieged: Duration| besieged <= 2 * idle.max(SLICE);
    let Some(fort) = Fort::build("hostility") else { return };
    let columns = ["siege", "sockets", "p99 idle", "p99 besieged", "resident", "after it", "after another"];
    let mut table = Table::new("one well-behaved client beside hostile ones", &columns);
    let mut broken = Vec::new();
    for (name, begin) in SIEGES {
        let base = fort.base();
        // What a siege needs for the first time is not a leak.
        drop(begin(&fort).expect(name));
        if let Err(rest) = wait_for(&fort, &base) {
            broken.push(format!("{name}: left behind: {rest}"));
        }
        let first = fort.resident();
        let mut attempts = Vec::new();
        let (mut sockets, mut besieged_memory) = (0.0, 0);
        for _ in 0..3 {
            let mut idle = fort.percentiles();
            let sieges = begin(&fort).expect(name);
            let besieged = median(fort.percentiles());
            sockets = fort.base()["sockets"] - base["sockets"];
            besieged_memory = fort.resident();
            drop(sieges);
            if let Err(rest) = wait_for(&fort, &base) {
                broken.push(format!("{name}: left behind: {rest}"));
                break;
            }
            idle.extend(fort.percentiles());
            attempts.push((median(idle), besieged));
            if attempts.last().is_some_and(|&(idle, besieged)| undisturbed(idle, besieged)) {
                break;
            }
        }
        let second = fort.resident();
        let (idle, besieged) = attempts.last().copied().unwrap_or_default();
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        table.row(&[
            name,
            &sockets.to_string(),
            &ms(idle),
            &ms(besieged),
            &mib(besieged_memory),
            &mib(first),
            &mib(second),
        ]);
        if !undisturbed(idle, besieged) {
            broken.push(format!("{name}: others waited {attempts:?}"));
        }
        if second > first + GROWTH {
            broken.push(format!("{name}: grew from {first} to {second} bytes"));
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Waits until all is as in `base`, and says otherwise what is not.
fn wait_for(fort: &Fort, base: &BTreeMap<String, f64>) -> Result<(), String> {
    let mut rest = String::new();
    let good = try_until(PATIENCE, || {
        let now = fort.base();
        let other = now.iter().filter(|(name, value)| base.get(*name) != Some(value));
        rest = other.map(|(name, value)| format!("{name} {value}, ")).collect();
        rest.is_empty().then_some(())
    });
    good.ok_or(rest)
}

#[test]
fn at_the_descriptor_limit_what_is_open_goes_on_and_what_waits_is_served() {
    const WAITING: usize = 50;
    let Some(fort) = Fort::build("no descriptors") else { return };
    let (pair, gate) = (&fort.pair, fort.pair.gate(0));
    let base = fort.base();
    let limit = |limit: &str| {
        let pid = gate.main().pid().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, limit]).status().expect("prlimit");
        assert!(status.success());
    };
    let flows = Flows::open(&pair.client, &pair.targets(), &[], 20, Duration::from_millis(20));
    // A bulk transfer with nothing to splice through is copied.
    let mut bulk = pair.client.exec_in(|| say(Fort::at(SOURCE), b"8000000\n")).expect("a connection");
    limit("--nofile=10:20000");
    let mut waiting: Vec<TcpStream> = pair
        .client
        .exec_in(|| (0..WAITING).map(|_| say(pair.target(), b"x\n")).collect::<Result<_, _>>())
        .expect("the kernel takes clients in");
    until_true("a word about it", PATIENCE, || gate.log().contains("no socket can be had"));
    let mut heard = 0;
    let mut buffer = vec![0; 1 << 16];
    while heard < 8_000_000 {
        match bulk.read(&mut buffer).expect("bytes") {
            0 => break,
            count => heard += count,
        }
    }
    assert_eq!(heard, 8_000_000, "what was open is cut short");
    // Longer than it takes to believe that a server is down, or to be taken for dead.
    pass(Duration::from_secs(2));
    let log = gate.log();
    let said = log.lines().filter(|line| line.contains("no socket can be had")).count();
    assert!(said <= 4, "a shortage that lasts is said {said} times");
    assert!(!log.contains("is DOWN"), "its own want is taken for a server's fault");
    assert_eq!(flows.tally().lost(), 0, "{}", flows.tally());
    assert_eq!(pair.ownership.owners(VIP), [pair.nodes[0].name()], "the address was given up");

    limit("--nofile=20000:20000");
    for stream in &mut waiting {
        let mut word = [0; 6];
        stream.read_exact(&mut word).expect("served once there are descriptors again");
        assert_eq!(&word, b"files-");
    }
    round_trips(&pair.client, pair.target(), 20).expect("served as ever");
    assert_eq!(flows.tally().lost(), 0, "{}", flows.tally());
    drop((flows, waiting, bulk));
    assert_eq!(wait_for(&fort, &base), Ok(()));
}

#[test]
fn a_slow_reader_behind_a_fast_writer_costs_little() {
    const READERS: usize = 100;
    const SPAN: Duration = Duration::from_secs(4);
    const TURN: Duration = Duration::from_millis(50);
    /// 100 kB a second.
    const SIP: usize = 5_000;
    const EACH: u64 = 256 << 10;
    let Some(fort) = Fort::build("back-pressure") else { return };
    let client = &fort.pair.client;
    let (before, pipes_before) = (fort.resident(), fort.pipes());
    let one = |_| {
        let mut stream = say(Fort::at(SOURCE), b"")?;
        // What it does not read is not to lie about at the client either.
        SockRef::from(&stream).set_recv_buffer_size(1 << 16)?;
        stream.write_all(ASK)?;
        Ok(stream)
    };
    let streams = client.exec_in(|| (0..READERS).map(one).collect::<std::io::Result<Vec<TcpStream>>>());
    let mut streams = streams.expect("connections");
    fort.wait_still();
    let (mut highest, mut pipes, mut bytes) = (0, 0, 0);
    let begun = Instant::now();
    let mut next = begun;
    let mut buffer = vec![0; SIP];
    while begun.elapsed() < SPAN {
        for stream in &mut streams {
            bytes += stream.read(&mut buffer).expect("bytes");
        }
        highest = highest.max(fort.resident().saturating_sub(before));
        pipes = pipes.max(fort.pipes() - pipes_before);
        next += TURN;
        pass(next.saturating_duration_since(Instant::now()));
    }
    let readers = READERS as u64;
    let rate = bytes as f64 / READERS as f64 / begun.elapsed().as_secs_f64() / 1000.0;
    let mut table = Table::new(
        &format!("{READERS} slow readers behind a writer as fast as it can"),
        &["each reads", "memory of the process, each", "pipes of 256 KiB", "both, each"],
    );
    let both = highest / readers + pipes * EACH / readers;
    let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
    table.row(&[&format!("{rate:.0} kB/s"), &kib(highest / readers), &pipes.to_string(), &kib(both)]);
    table.print();
    assert!((50.0..=101.0).contains(&rate), "{rate} kB/s is not what was to be measured");
    assert!(highest <= readers * EACH, "{} KiB a connection", (highest / readers) >> 10);
    // 32 a thread, and no connection has two.
    assert!(pipes <= 64, "{pipes} pipes");
    assert!(both <= EACH, "{} KiB a connection, pipes included", both >> 10);
}
