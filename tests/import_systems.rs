//! The five systems' files, each loaded to the model, and back from the TOML they are emitted as.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: they fail them")]

mod import_support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use import_support::{haproxy_text, keepalived_text, load, loading, model, resolve};
use vipgate::config::Loading;
use vipgate::config::emit::emit;
use vipgate::model::page::PageListen;
use vipgate::model::{
    Affinity, Algorithm, Check, CheckKind, Config, InitialState, InterfaceName, KeyType, OnMarkedDown, Priority, Scope,
    ServerPort, TableSpec, TlsAffinity, TlsFallback, Version,
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/systems/", $name))
    };
}

fn on(address: &str) -> PageListen {
    PageListen::new(address.parse().unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn udmg_both_files_of_a_node() {
    for (keepalived, state) in [
        (fixture!("udmg-keepalived-a.conf"), InitialState::Master),
        (fixture!("udmg-keepalived-b.conf"), InitialState::Backup),
    ] {
        let config = model(Some(keepalived), Some(fixture!("udmg-haproxy.cfg")));
        let router = &config.routers[0];
        assert_eq!((router.version, router.priority, router.initial), (Version::V2, Priority::OWNER, state));
        assert_eq!(router.password.unwrap().bytes(), *b"12345\0\0\0");
        assert_eq!(router.addresses[0].prefix.to_string(), "192.168.56.100/24");
        assert_eq!(router.addresses[0].label.as_deref(), Some("eth1:1"));
        assert_eq!(router.addresses[0].broadcast, None);
        // Both frontends are bound to the virtual address, so both are fronted.
        assert_eq!(router.fronts, ["ftp", "sftp"]);
        let sftp = config.services.iter().find(|service| service.name == "sftp").unwrap();
        assert_eq!(sftp.listen[0].address, ip("192.168.56.100"));
        assert_eq!(sftp.listen[0].ports.to_string(), "3000-3010");
        assert!(sftp.listen[0].nonlocal);
        assert_eq!(sftp.client_timeout, Some(Duration::from_secs(30)));
        assert_eq!((sftp.client_fin_timeout, sftp.client_keepalive), (None, None));
        let pool = config.pool("sftp-servers").unwrap();
        let table = TableSpec { expire: Some(Duration::from_secs(300)), ..TableSpec::new(KeyType::Ipv4, 10_240) };
        assert_eq!(pool.affinity, Affinity::Table(table));
        assert_eq!((pool.retries, pool.redispatch), (3, true));
        assert_eq!(pool.connect_timeout, Some(Duration::from_secs(4)));
        assert_eq!(pool.servers[0].port, ServerPort::Same);
        let two = Duration::from_secs(2);
        let check = Check { fast_interval: two, ..Check::new(SocketAddr::new(ip("192.168.56.101"), 3000)) };
        assert_eq!(pool.servers[0].check, Some(check));
        assert_eq!(pool.servers[0].on_marked_down, OnMarkedDown::Keep);
        let [page] = config.pages.as_slice() else { panic!("{:?}", config.pages) };
        assert_eq!((page.listen.as_slice(), page.max_connections), (&[on("0.0.0.0:8081")][..], 10));
        let stats = page.statistics.as_ref().unwrap();
        assert_eq!(stats.path, "/status");
        assert_eq!(stats.users, [("admin".into(), "password".into())]);
        assert_eq!((stats.refresh, stats.hide_version, stats.show_node), (Some(Duration::from_secs(30)), true, true));
        assert_eq!(config.global.spread_checks, 0, "HAProxy does not spread checks unless told to");
    }
}

#[test]
fn udmg_http_frontends_are_refused_with_their_line() {
    let imported = haproxy_text(fixture!("udmg-haproxy-with-http.cfg"));
    assert_eq!(
        imported.errors(),
        [
            "error 49: HTTP mode is not there yet: `http` cannot be served",
            "error 61: HTTP mode is not there yet: `web` cannot be served",
        ]
    );
}

#[test]
fn ccc_tls_pass_through_keeps_clients_by_their_sessions() {
    let config = model(None, Some(fixture!("ccc-haproxy.cfg")));
    let pool = config.pool("app").unwrap();
    let table = TableSpec { expire: Some(Duration::from_secs(1800)), ..TableSpec::new(KeyType::Ipv6, 30_720) };
    let tls = TlsAffinity { wait: Duration::from_secs(5), fallback: TlsFallback::Source, table };
    assert_eq!((pool.algorithm, &pool.affinity), (Algorithm::RoundRobin, &Affinity::Tls(tls)));
    assert!(pool.redispatch, "a dead server must not keep half of the clients waiting");
    assert_eq!((pool.connect_timeout, pool.server_timeout), (None, None));
    assert_eq!(pool.servers[0].check, None);
    assert_eq!(config.services[0].client_timeout, None);
}

#[test]
fn ccc_database_pair() {
    let config = model(Some(fixture!("ccc-keepalived-master.conf")), None);
    assert_eq!(config.global.node.as_deref(), Some("PG_MASTER"));
    assert_eq!(config.routers[0].priority.get(), 101);
    assert_eq!(config.routers[0].password.unwrap().bytes(), *b"s3cr3t-8");
    assert_eq!(config.routers[0].addresses[0].prefix.to_string(), "10.0.0.100/32");
    let mail = config.notify.mail.unwrap();
    assert_eq!((mail.server.as_str(), mail.port, mail.from.as_str()), ("127.0.0.1", 25, "keepalived@example.org"));
    assert_eq!(mail.to, ["ops@example.org"]);
    assert!(!mail.routers && !mail.servers, "no `smtp_alert` asks for any");
    let standby = model(Some(fixture!("ccc-keepalived-backup.conf")), None);
    let notify = &standby.routers[0].notify;
    assert!(notify.master.is_some() && notify.backup.is_some(), "{notify:?}");
    keepalived_text(fixture!("ccc-keepalived-backup.conf")).clean();
}

#[test]
fn shares_pair_listens_on_its_address_without_transparent() {
    let config = model(Some(fixture!("shares-keepalived.conf")), Some(fixture!("shares-haproxy.cfg")));
    assert!(!config.routers[0].preempt);
    assert_eq!(config.routers[0].fronts, ["web", "transfer"]);
    for service in &config.services {
        assert!(service.listen.iter().all(|listen| listen.nonlocal), "the VIP of the same run may be absent");
    }
    let transfer = config.pool("transfer").unwrap();
    assert_eq!(transfer.algorithm, Algorithm::LeastConnections);
    let check = transfer.servers[1].check.as_ref().unwrap();
    assert_eq!((check.target.port(), check.interval, check.fall), (33_001, Duration::from_secs(3), 2));
    assert!(config.pool("web").unwrap().servers[1].backup);
}

#[test]
fn hsts_transfer_ports_stick_together() {
    let config = model(None, Some(fixture!("hsts-haproxy.cfg")));
    assert_eq!(config.services[0].listen.len(), 2);
    assert!(!config.services[0].listen[0].nonlocal, "no VIP of this run, no `transparent`");
    assert!(matches!(config.pool("ssh").unwrap().affinity, Affinity::Table(_)));
}

#[test]
fn hsts_role_checks_ask_for_the_role() {
    let config = model(None, Some(fixture!("hsts-haproxy-with-checks.cfg")));
    for server in &config.pool("redis").unwrap().servers {
        let check = server.check.as_ref().unwrap();
        let CheckKind::Conversation(conversation) = &check.kind else { panic!("{check:?}") };
        assert!(conversation.scripted && conversation.steps.len() >= 4, "{conversation:?}");
    }
}

#[test]
fn ovd_adverts_on_a_dedicated_link() {
    let config = model(Some(fixture!("ovd-keepalived.conf")), None);
    let router = &config.routers[0];
    assert_eq!(router.interface.as_str(), "eth1");
    assert_eq!((router.source, router.peers.as_slice()), (Some(ip("10.0.0.1")), [ip("10.0.0.2").into()].as_slice()));
    assert_eq!(router.interval.centiseconds(), 200);
    assert_eq!(router.tracked_interfaces().next().map(InterfaceName::as_str), Some("eth0"));
    let address = &router.addresses[0];
    assert_eq!((address.interface.as_str(), address.scope), ("eth0", Scope::Global));
    assert_eq!(address.broadcast, Some("192.168.0.255".parse().unwrap()));
}

#[test]
fn debian_default_file_starts() {
    let loaded = load(None, Some(fixture!("debian-12-haproxy.cfg"))).unwrap_or_else(|failed| panic!("{failed}"));
    assert!(loaded.config.services.is_empty());
    assert_eq!(loaded.config.stats_sockets.len(), 1);
    let warned = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect::<Vec<_>>();
    for word in ["chroot", "user", "daemon", "ssl-default-bind-options", "errorfile"] {
        assert!(warned.iter().any(|warning| warning.starts_with(&format!("`{word}`"))), "{word}: {warned:?}");
    }
}

/// What `vipgate import` prints, loaded, is what the foreign files give directly.
#[test]
fn emitted_toml_gives_the_same_model() {
    let pairs: [(Option<&str>, Option<&str>); 7] = [
        (Some(fixture!("udmg-keepalived-a.conf")), Some(fixture!("udmg-haproxy.cfg"))),
        (Some(fixture!("udmg-keepalived-b.conf")), None),
        (Some(fixture!("ccc-keepalived-backup.conf")), Some(fixture!("ccc-haproxy.cfg"))),
        (Some(fixture!("shares-keepalived.conf")), Some(fixture!("shares-haproxy.cfg"))),
        (None, Some(fixture!("hsts-haproxy.cfg"))),
        (Some(fixture!("ovd-keepalived.conf")), None),
        (
            Some(include_str!("fixtures/everything-keepalived.conf")),
            Some(include_str!("fixtures/everything-haproxy.cfg")),
        ),
    ];
    for (keepalived, haproxy) in pairs {
        let direct = model(keepalived, haproxy);
        let toml = emit(loading(keepalived, haproxy).raw());
        assert_eq!(direct, native(&toml), "{toml}");
    }
}

fn native(toml: &str) -> Config {
    let mut loading = Loading::new();
    loading.text("imported.toml", toml);
    loading.finish(&resolve).unwrap_or_else(|failed| panic!("{failed}\n{toml}")).config
}
