#![expect(clippy::disallowed_methods, reason = "an instant to count from; the clock stands")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::model::{
    Affinity, Algorithm, Check, CheckResult, Config, Family, Global, KeyType, ListenAddress, Pool, Priority, Server,
    Service, Source, TableSpec, VirtualAddress, VirtualRouter, Vrid,
};

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

fn router(name: &str, fronts: &[&str]) -> VirtualRouter {
    VirtualRouter {
        priority: Priority::new(150).unwrap(),
        addresses: vec![VirtualAddress::new("192.0.2.100/24".parse().unwrap(), "eth0".parse().unwrap())],
        fronts: fronts.iter().map(|name| (*name).to_owned()).collect(),
        ..VirtualRouter::new(name, "eth0".parse().unwrap(), Vrid::new(51).unwrap(), Family::V4)
    }
}

fn service(name: &str, pool: &str, ports: &str) -> Service {
    let listen = vec![ListenAddress::new(address(100), ports.parse().unwrap())];
    Service { listen, max_connections: Some(1000), ..Service::new(name, pool) }
}

fn server(name: &str, last: u8, checked: bool) -> Server {
    let check = Check::new((address(last), 22).into());
    Server { check: checked.then_some(check), ..Server::new(name, address(last)) }
}

fn pool(name: &str, servers: Vec<Server>) -> Pool {
    let affinity = Affinity::Table(TableSpec::new(KeyType::Ipv6, 1000));
    Pool { algorithm: Algorithm::LeastConnections, affinity, ..Pool::new(name, servers) }
}

/// A node with everything, and a clock that stands.
struct Node {
    registry: Registry,
    config: Config,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        let mut backup = server("spare", 13, true);
        backup.backup = true;
        let config = Config {
            global: Global { node: Some("front-a".to_owned()), ..Global::default() },
            routers: vec![router("front", &["sftp"])],
            services: vec![service("sftp", "files", "22"), service("ftp", "ftp", "20000-20299")],
            pools: vec![
                pool("files", vec![server("s1", 11, true), server("s2", 12, true), backup]),
                pool("ftp", vec![server("f1", 11, false)]),
            ],
            ..Config::default()
        };
        let now = Instant::now() + Duration::from_secs(1000);
        let registry = Registry::default();
        registry.router("front").update_status(|status| {
            *status = RouterStatus {
                role: Role::Master,
                reason: "the peer's adverts stopped".to_owned(),
                since: Some(now - Duration::from_secs(100)),
                priority: 150,
                master: None,
                heard: None,
                ready: true,
                ..RouterStatus::default()
            };
        });
        Self { registry, config, now }
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot_with(&[])
    }

    fn snapshot_with(&self, troubles: &[&str]) -> Snapshot {
        let around = Surroundings {
            connection_limit: 1000,
            now: self.now,
            started: self.now - Duration::from_secs(725),
            host_name: "host".to_owned(),
            workers: 2,
            troubles: troubles.iter().map(|text| (*text).to_owned()).collect(),
            warnings: vec!["client timeout 30s cuts idle SFTP sessions".to_owned()],
        };
        Snapshot::take(&self.registry, &self.config, around)
    }

    fn health(&self, pool: &str, server: &str, health: Health, counter: u32) {
        self.registry.server(pool, server).update_status(|status| {
            status.health = health;
            status.counter = Some((counter, 4));
            status.reason = "Layer4 connection problem: connection refused in 0.2 ms".to_owned();
            status.since = Some(self.now - Duration::from_secs(3));
            status.last_check = Some(LastCheck {
                result: CheckResult::L4Connection,
                code: None,
                detail: "Connection refused, \"really\"".to_owned(),
                duration: Duration::from_micros(1600),
                at: self.now - Duration::from_millis(1500),
            });
        });
    }
}

#[test]
fn a_node_that_does_its_work_is_ok() {
    let node = Node::new();
    node.registry.service("sftp").count_end(EndReason::ServerTimeout);
    node.registry.service("sftp").accepted.fetch_add(7, Ordering::Relaxed);
    node.registry.router("front").count_reject(RejectReason::Checksum);
    let snapshot = node.snapshot();
    assert_eq!((snapshot.verdict, snapshot.causes.as_slice()), (Verdict::Ok, [].as_slice()));
    assert_eq!(snapshot.unready(), Vec::<String>::new());
    assert_eq!(snapshot.node.as_deref(), Some("front-a"));
    assert!((snapshot.uptime_seconds - 725.0).abs() < 1e-6);
    let front = &snapshot.routers[0];
    assert_eq!((front.role, front.since_seconds), (Role::Master, Some(100.0)));
    assert_eq!(
        (front.addresses.as_slice(), front.fronts.as_slice()),
        (["192.0.2.100/24".to_owned()].as_slice(), ["sftp".to_owned()].as_slice())
    );
    assert_eq!((front.rejected["checksum"], front.rejected["ttl"]), (1, 0));
    let sftp = &snapshot.services[0];
    assert_eq!((sftp.listen[0].as_str(), sftp.accepted, sftp.ended["server-timeout"]), ("192.0.2.100:22", 7, 1));
    assert_eq!(snapshot.services[1].listen, ["192.0.2.100:20000-20299"]);
    let files = &snapshot.pools[0];
    assert_eq!(
        (files.algorithm.as_str(), files.affinity.as_str(), files.usable()),
        ("least connections", "source table", (2, 1))
    );
    assert_eq!(files.servers[0].address, "192.0.2.11:same");
    assert_eq!(
        (files.servers[0].health, files.servers[0].counter),
        (Health::Up, Some(Counter { now: 2, rise: 2, fall: 3 }))
    );
    assert_eq!(snapshot.pools[1].servers[0].health, Health::Unchecked);
}

#[test]
fn every_trouble_is_named_and_weighed() {
    let node = Node::new();
    node.health("files", "s2", Health::Down, 0);
    let snapshot = node.snapshot();
    assert_eq!(snapshot.verdict, Verdict::Degraded);
    assert_eq!(snapshot.causes, ["pool files: 1 of 3 servers down: s2"]);

    node.health("files", "s1", Health::Down, 0);
    assert_eq!(node.snapshot().causes, ["pool files runs on backup (1 up); down: s1, s2"]);

    node.health("files", "spare", Health::Down, 0);
    let snapshot = node.snapshot();
    assert_eq!(snapshot.causes, ["no server up in pool files"]);
    assert_eq!(snapshot.verdict, Verdict::Degraded, "ftp still serves");
    assert_eq!(snapshot.unready(), ["service sftp: no server up in pool files"]);

    node.registry.router("front").update_status(|status| {
        status.role = Role::Fault;
        status.reason = "interface eth0 is down".to_owned();
    });
    let snapshot = node.snapshot_with(&["keepalived (pid 123) also speaks VRRP here"]);
    assert_eq!(snapshot.verdict, Verdict::Down);
    assert_eq!(
        snapshot.causes,
        [
            "router front: fault, interface eth0 is down",
            "no server up in pool files",
            "keepalived (pid 123) also speaks VRRP here"
        ]
    );
}

#[test]
fn want_of_source_ports_is_named_for_a_minute() {
    let mut node = Node::new();
    let s1 = node.registry.server("files", "s1");
    s1.portless.store(3, Ordering::Relaxed);
    s1.update_status(|status| status.portless_at = Some(node.now - Duration::from_secs(59)));
    let ports = Some("20000-29999".parse().unwrap());
    let source = Source { address: address(1), ports, interface: None, transparent: None };
    node.config.pools[0].servers[1].source = Some(source);
    let mut snapshot = node.snapshot();
    assert_eq!(
        snapshot.causes,
        [
            "pool files: every source port towards s1 was taken: widen net.ipv4.ip_local_port_range, or add servers or sources"
        ]
    );
    snapshot.process.local_ports = 28_232;
    let text = prometheus::render(&snapshot);
    for sample in [
        r#"vipgate_server_source_port_shortages_total{pool="files",server="s1"} 3"#,
        r#"vipgate_server_source_ports{pool="files",server="s1"} 28232"#,
        r#"vipgate_server_source_ports{pool="files",server="s2"} 10000"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}");
    }
    node.now += Duration::from_secs(1);
    assert_eq!(node.snapshot().verdict, Verdict::Ok);
}

#[test]
fn no_service_at_all_is_down() {
    let mut node = Node::new();
    node.config.services.truncate(1);
    for name in ["s1", "s2", "spare"] {
        node.health("files", name, Health::Down, 0);
    }
    assert_eq!(node.snapshot().verdict, Verdict::Down);
}

#[test]
fn a_second_master_is_told_from_the_last_words_of_the_first() {
    let node = Node::new();
    let causes = |change: &dyn Fn(&mut RouterStatus)| {
        node.registry.router("front").update_status(change);
        node.snapshot().causes
    };
    assert_eq!(causes(&|status| status.master = Some((address(2), 100))), [""; 0], "heard before it became master");
    assert_eq!(
        causes(&|status| status.contested = Some(node.now - Duration::from_secs(62))),
        [
            "router front: two masters heard for 1 min 2 s, the other is 192.0.2.2 at priority 100: it does not hear this node \
          (its firewall, a link that is dead one way, IGMP snooping)"
        ]
    );
    let rejected = |ago| RejectedPacket {
        reason: RejectReason::Authentication,
        source: Some(address(2)),
        at: node.now - Duration::from_secs(ago),
    };
    let told = causes(&|status| status.rejected = Some(rejected(1)));
    assert!(
        told[0].contains("192.0.2.2 are rejected (authentication): the nodes are configured with different passwords"),
        "{told:?}"
    );
    let told = causes(&|status| status.rejected = Some(rejected(60)));
    assert!(told[0].contains("two masters"), "long ago: {told:?}");
    let told = causes(&|status| status.refused = true);
    assert!(told[0].contains("this node's firewall refuses its advertisements"), "{told:?}");
}

#[test]
fn what_an_operator_changed_is_not_forgotten() {
    let node = Node::new();
    node.registry.router("front").update_status(|status| {
        status.frozen = true;
        status.priority_override = Some(20);
    });
    let told = node.snapshot().causes;
    assert!(told[0].contains("frozen (`vipgate vrrp thaw`") && told[0].contains("priority set to 20"), "{told:?}");
}

#[test]
fn a_router_that_is_not_ready_names_what_it_fronts() {
    let node = Node::new();
    node.registry.router("front").update_status(|status| status.ready = false);
    assert_eq!(node.snapshot().causes, ["router front: what it fronts cannot be served here (sftp)"]);
}

#[test]
fn json_comes_back_the_same() {
    let node = Node::new();
    node.health("files", "s1", Health::Down, 1);
    let snapshot = node.snapshot();
    let text = snapshot.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    assert!(text.contains("\"verdict\": \"degraded\"") && text.contains("\"role\": \"master\""), "{text}");
}

#[test]
fn csv_has_haproxys_columns() {
    let node = Node::new();
    node.health("files", "s1", Health::Down, 1);
    node.health("files", "s2", Health::Up, 3);
    let sftp = node.registry.service("sftp");
    sftp.accepted.fetch_add(10, Ordering::Relaxed);
    for reason in
        [EndReason::DeniedConnection, EndReason::SourceLimit, EndReason::DeniedSession, EndReason::DeniedContent]
    {
        sftp.count_end(reason);
    }
    let text = csv::render(&node.snapshot());
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().strip_prefix("# ").unwrap().split(',').collect();
    assert_eq!(&columns[..4], ["pxname", "svname", "qcur", "qmax"]);
    assert_eq!((columns[17], columns[36], columns[73]), ("status", "check_status", "addr"));
    let rows: Vec<&str> = lines.collect();
    let names: Vec<String> = rows.iter().map(|row| row.split(',').take(2).collect::<Vec<_>>().join("/")).collect();
    assert_eq!(
        names,
        [
            "sftp/FRONTEND",
            "ftp/FRONTEND",
            "ftp/f1",
            "ftp/BACKEND",
            "files/s1",
            "files/s2",
            "files/spare",
            "files/BACKEND"
        ]
    );
    let cell = |row: usize, column: &str| {
        rows[row].split(',').nth(columns.iter().position(|name| *name == column).unwrap()).unwrap().to_owned()
    };
    assert_eq!(
        (cell(4, "status"), cell(4, "check_status"), cell(4, "check_duration")),
        ("DOWN 1/2".into(), "L4CON".into(), "2".into())
    );
    assert_eq!(
        (cell(5, "status"), cell(2, "status"), cell(0, "status")),
        ("UP 2/3".into(), "no check".into(), "OPEN".into())
    );
    assert_eq!(["conn_tot", "stot", "dcon", "dses", "dreq"].map(|column| cell(0, column)), ["10", "7", "2", "1", "1"]);
    assert_eq!((cell(7, "act"), cell(7, "bck"), cell(7, "status")), ("1".into(), "1".into(), "UP".into()));
    assert!(rows[4].contains(",\"Connection refused, \"\"really\"\"\","), "{}", rows[4]);
    assert!(rows.iter().all(|row| row.ends_with(',')), "as HAProxy ends its lines");
}

#[test]
fn csv_counts_connections_not_attempts() {
    let node = Node::new();
    let server = node.registry.server("ftp", "f1");
    // Of four, two were moved elsewhere; one of the other two was tried three times in vain.
    for (counter, value) in
        [(&server.chosen, 4), (&server.connect_errors, 5), (&server.retries, 2), (&server.redispatches, 2)]
    {
        counter.store(value, Ordering::Relaxed);
    }
    node.registry.pool("ftp").unserved.store(3, Ordering::Relaxed);
    let text = csv::render(&node.snapshot());
    let columns: Vec<&str> = text.lines().next().unwrap().trim_start_matches("# ").split(',').collect();
    let cells = |row: &str| {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap();
        let cell =
            |name: &str| line.split(',').nth(columns.iter().position(|column| *column == name).unwrap()).unwrap();
        ["stot", "econ", "wretr", "wredis"].map(cell).map(str::to_owned)
    };
    assert_eq!(cells("ftp,f1,"), ["4", "1", "2", "2"]);
    assert_eq!(cells("ftp,BACKEND,"), ["5", "4", "2", "2"]);
}

#[test]
fn metrics_escape_their_labels() {
    let mut node = Node::new();
    node.config.pools[1].servers[0].name = "a\"b\\c\nd".to_owned();
    let text = prometheus::render(&node.snapshot());
    assert!(text.contains(r#"vipgate_server_up{pool="ftp",server="a\"b\\c\nd"} 1"#), "{text}");
}

#[test]
fn metrics_tell_notifications_by_how_they_ended() {
    let node = Node::new();
    node.registry.notify.scripts_collapsed.store(2, Ordering::Relaxed);
    node.registry.notify.hooks_timed_out.store(3, Ordering::Relaxed);
    node.registry.notify.mails_failed.store(4, Ordering::Relaxed);
    node.registry.notify.fifo_lines_lost.store(5, Ordering::Relaxed);
    let text = prometheus::render(&node.snapshot());
    for sample in [
        r#"vipgate_notify_scripts_total{result="done"} 0"#,
        r#"vipgate_notify_scripts_total{result="collapsed"} 2"#,
        r#"vipgate_notify_hooks_total{result="timed-out"} 3"#,
        r#"vipgate_notify_mails_total{result="failed"} 4"#,
        r#"vipgate_notify_fifo_lines_total{result="lost"} 5"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}");
    }
}

#[test]
fn the_page_escapes_what_it_shows() {
    let mut node = Node::new();
    node.config.pools[1].name = "<script>".to_owned();
    node.health("files", "s1", Health::Up, 3);
    let page = html::render(&node.snapshot_with(&["<b>trouble</b>"]), "/stats").unwrap();
    assert!(!page.contains("<script>") && !page.contains("<b>") && page.contains("trouble"), "{page}");
    assert!(page.contains("href=\"/stats;csv\"") && page.contains(">up 3/4<") && page.contains(">master<"), "{page}");
    assert!(!page.contains("style=\""), "the content security policy would drop it");
}
