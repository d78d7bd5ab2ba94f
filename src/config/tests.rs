//! From text to model and to findings, through all of the room.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Style, render};
use super::{Failed, Failure, Loaded, Loading, emit};
use crate::model::{
    Affinity, ArgumentsMatch, Config, Family, InitialState, Interval, KeyType, OnMarkedDown, ServerPort, TableSpec,
    Version, VirtualRouter, Watched,
};

fn hosts(name: &str) -> io::Result<Vec<IpAddr>> {
    match name {
        "files.example" => Ok(vec!["2001:db8::7".parse().unwrap(), "10.0.0.7".parse().unwrap()]),
        "empty.example" => Ok(Vec::new()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such host")),
    }
}

pub(super) fn load(text: &str) -> Result<Loaded, Box<Failed>> {
    let mut loading = Loading::new();
    loading.text("test.toml", text);
    loading.finish(&hosts)
}

pub(super) fn config(text: &str) -> Config {
    load(text).unwrap_or_else(|failed| panic!("{failed}")).config
}

pub(super) fn router(keys: &str) -> VirtualRouter {
    config(&with_router(keys)).routers.remove(0)
}

pub(super) fn with_router(keys: &str) -> String {
    format!("[[virtual-router]]\nname = \"r\"\ninterface = \"eth0\"\nvrid = 1\n{keys}\n")
}

fn with_service(keys: &str) -> String {
    format!("[[service]]\nname = \"s\"\n{keys}\n")
}

/// What a finding says, all of it.
pub(super) fn words(finding: &Diagnostic) -> String {
    [Some(finding.message.as_str()), finding.label.as_deref(), finding.help.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" | ")
}

/// Each line marked `#! words` has one finding that says these words (`&&`: one each); there are no others.
fn expect_marked(text: &str, warnings: bool) -> usize {
    let mut marked: Vec<(usize, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let expected = line.split_once("#! ").map(|(_, expected)| expected.split(" && "));
        marked.extend(expected.into_iter().flatten().map(|expected| (index + 1, expected.trim())));
    }
    let (found, sources) = match load(text) {
        Ok(Loaded { warnings, sources, .. }) => (warnings, sources),
        Err(failed) => (failed.diagnostics, failed.sources),
    };
    let found: Vec<Diagnostic> = found.into_iter().filter(|finding| finding.is_error() != warnings).collect();
    let shown = render(&found, &sources, Style::Plain);
    let lines: Vec<usize> = found.iter().map(|finding| sources.line(finding.at)).collect();
    assert_eq!(lines, marked.iter().map(|(line, _)| *line).collect::<Vec<_>>(), "{shown}");
    for (finding, (line, expected)) in found.iter().zip(marked) {
        assert!(words(finding).contains(expected), "line {line}: `{expected}` is not in: {}", words(finding));
    }
    found.len()
}

#[test]
fn a_file_with_twenty_mistakes_reports_twenty_each_at_its_line() {
    let mistakes = expect_marked(include_str!("tests/twenty.toml"), false);
    assert_eq!(mistakes, 20);
}

#[test]
fn more_mistakes_that_cannot_stand_in_one_file() {
    expect_marked(include_str!("tests/more.toml"), false);
}

#[test]
fn syntax_errors_are_collected_and_hide_nothing_else() {
    expect_marked(include_str!("tests/syntax.toml"), false);
}

#[test]
fn warnings_do_not_stop_a_configuration() {
    expect_marked(include_str!("tests/warnings.toml"), true);
    assert!(load(include_str!("tests/warnings.toml")).is_ok());
}

#[test]
fn a_finding_is_drawn_with_its_place_and_its_remedy() {
    let text = with_router("addresses = [\"192.0.2.1/24\"]\nintervall = \"1s\"\npreempt-delay = 5");
    let failed = load(&text).unwrap_err();
    assert_eq!(failed.kind, Failure::Invalid);
    assert_eq!(
        failed.to_string(),
        "\
error: `intervall` is not a key of [[virtual-router]]
 --> test.toml:6:1
  |
6 | intervall = \"1s\"
  | ^^^^^^^^^ did you mean `interval`?

error: `preempt-delay` needs a unit
 --> test.toml:7:17
  |
7 | preempt-delay = 5
  |                 ^
  |
  = help: write \"5s\" for seconds, \"5ms\" for milliseconds"
    );
}

#[test]
fn native_defaults() {
    let config = config(&format!(
        "{}{}",
        with_router("addresses = [\"192.0.2.1/24\"]"),
        with_service("listen = \"192.0.2.1:22\"\nservers = [\"10.0.0.1\", \"10.0.0.2:+5\"]")
    ));
    let router = &config.routers[0];
    assert_eq!((router.version, router.family), (Version::V3, Family::V4));
    assert_eq!(
        (router.priority.get(), router.interval, router.initial),
        (100, Interval::DEFAULT, InitialState::Backup)
    );
    assert_eq!(router.announce.refresh, Some(Duration::from_secs(60)));
    assert!(router.preempt && router.peers.is_empty() && router.password.is_none());
    assert_eq!(router.fronts, ["s"]);
    let service = &config.services[0];
    assert_eq!((service.pool.as_str(), service.backlog, service.log), ("s", 4096, true));
    assert_eq!((service.client_timeout, service.client_fin_timeout), (None, Some(Duration::from_secs(300))));
    assert!(service.client_keepalive.is_some() && service.listen[0].nonlocal && !service.listen[0].dual_stack);
    let pool = &config.pools[0];
    assert_eq!((pool.retries, pool.redispatch, &pool.affinity), (3, true, &Affinity::None));
    assert_eq!((pool.connect_timeout, pool.server_timeout), (Some(Duration::from_secs(5)), None));
    assert_eq!(pool.server_fin_timeout, Some(Duration::from_secs(300)));
    assert_eq!(pool.servers[0].name, "s1");
    assert_eq!((pool.servers[0].port, pool.servers[1].port), (ServerPort::Same, ServerPort::Offset(5)));
    assert_eq!((pool.servers[0].weight, &pool.servers[0].check), (1, &None));
    assert!(config.pages.is_empty());
}

#[test]
fn a_fin_timeout_is_by_default_no_longer_than_the_open_one_and_none_means_none() {
    let service = with_service(
        "listen = \"*:22\"\nservers = \"10.0.0.1\"\nclient-timeout = \"30s\"\nserver-timeout = \"1h\"\nconnect-timeout = \"none\"",
    );
    let config = config(&service);
    assert_eq!(config.services[0].client_fin_timeout, Some(Duration::from_secs(30)));
    assert_eq!(config.pools[0].server_fin_timeout, Some(Duration::from_secs(300)));
    assert_eq!(config.pools[0].connect_timeout, None);
    let config = self::config(&service.replace("connect-timeout", "server-fin-timeout"));
    assert_eq!(config.pools[0].server_fin_timeout, None);
}

#[test]
fn a_servers_check_stands_over_its_pools_key_by_key() {
    let config = config(&with_service(
        "listen = \"*:22\"
check = { port = 22, interval = \"1s\", rise = 4 }
on-marked-down = \"reset\"
servers = [
    \"10.0.0.1\",
    { address = \"10.0.0.2:80\", check = { fall = 1, address = \"10.9.0.2\" }, on-marked-down = \"keep\" },
    { address = \"10.0.0.3\", check = false },
    { address = \"10.0.0.4\", check = { port = 8080 } },
]",
    ));
    let servers = &config.pools[0].servers;
    let check = |index: usize| servers[index].check.as_ref().unwrap();
    assert_eq!(check(0).target, "10.0.0.1:22".parse().unwrap());
    assert_eq!((check(0).rise, check(0).fall), (4, 3));
    assert_eq!((check(0).interval, check(0).down_interval), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!((check(0).timeout, check(0).fast_interval), (Duration::from_secs(1), Duration::from_millis(500)));
    assert_eq!(check(1).target, "10.9.0.2:22".parse().unwrap());
    assert_eq!((check(1).rise, check(1).fall), (4, 1));
    assert!(servers[2].check.is_none());
    assert_eq!(check(3).target, "10.0.0.4:8080".parse().unwrap());
    assert_eq!(servers[0].on_marked_down, OnMarkedDown::ShutdownSessions);
    assert_eq!(servers[1].on_marked_down, OnMarkedDown::Keep);
}

#[test]
fn a_virtual_address_of_this_run_is_bound_wherever_it_is() {
    let config = config(&format!(
        "{}{}",
        with_router("addresses = [\"192.0.2.1/24\"]\nexcluded-addresses = [\"2001:db8::1/64\"]"),
        with_service(
            "listen = [
    { address = \"192.0.2.1:22\", nonlocal = false },
    { address = \"[2001:db8::1]:22\", nonlocal = false },
    { address = \"192.0.2.9:22\", nonlocal = false },
]
servers = \"10.0.0.1\""
        )
    ));
    let nonlocal: Vec<bool> = config.services[0].listen.iter().map(|listen| listen.nonlocal).collect();
    assert_eq!(nonlocal, [true, true, false]);
}

#[test]
fn fronts_are_the_services_on_its_addresses_unless_named() {
    let services = "[[service]]\nname = \"a\"\nlisten = \"192.0.2.1:22\"\nservers = \"10.0.0.1\"
[[service]]\nname = \"b\"\nlisten = \"192.0.2.2:22\"\nservers = \"10.0.0.1\"
[[service]]\nname = \"c\"\nlisten = [\"*:80\", \"192.0.2.1:23\"]\nservers = \"10.0.0.1\"\n";
    let fronts = |keys: &str| {
        let text = format!("{}{services}", with_router(&format!("addresses = [\"192.0.2.1/24\"]\n{keys}")));
        config(&text).routers.remove(0).fronts
    };
    assert_eq!(fronts(""), ["a", "c"]);
    assert_eq!(fronts("fronts = [\"b\"]"), ["b"]);
    assert!(fronts("fronts = []").is_empty());
}

#[test]
fn names_resolved_at_the_start_have_an_address_and_the_others_none() {
    let at_start = |name: &str| format!("{{ address = \"{name}\", resolve = \"at-start\" }}");
    let servers = [at_start("files.example"), at_start("ipv4@files.example:22"), "\"no.example:22\"".to_owned()];
    let config = config(&with_service(&format!("listen = \"*:22\"\nservers = [{}]", servers.join(", "))));
    let servers = &config.pools[0].servers;
    assert_eq!(servers[0].address, "2001:db8::7".parse::<IpAddr>().unwrap());
    assert_eq!(servers[1].address, "10.0.0.7".parse::<IpAddr>().unwrap());
    assert!(servers[0].name_of.is_none() && servers[1].name_of.is_none());
    assert!(servers[2].address.is_unspecified());
    assert_eq!(servers[2].name_of.as_ref().map(|name| name.name.as_str()), Some("no.example"));
}

#[test]
fn a_table_has_native_dimensions() {
    let affinity = |text: &str| {
        let keys = format!("listen = \"*:22\"\nservers = \"10.0.0.1\"\naffinity = {text}");
        config(&with_service(&keys)).pools.remove(0).affinity
    };
    assert_eq!(affinity("\"source\""), Affinity::Source);
    let table = TableSpec { expire: Some(Duration::from_secs(1800)), ..TableSpec::new(KeyType::Ipv6, 100_000) };
    assert_eq!(affinity("{ table = \"source\" }"), Affinity::Table(table.clone()));
    let table = TableSpec { nopurge: true, ..TableSpec::new(KeyType::Ipv4, 5) };
    let text = "{ table = \"source\", size = 5, expire = \"none\", nopurge = true, ipv6 = false }";
    assert_eq!(affinity(text), Affinity::Table(table));
}

#[test]
fn strange_texts_survive_being_written_out() {
    let text = with_service(
        "listen = { address = \"[::]:22\", dual-stack = true, interface = \"e\\\"th\" }
servers = [{ name = \"a\\\\b'é\", address = \"::1\", port = \"-9\" }, { address = \"[::1]:+0\" }]
[global]
node = 'quote \" backslash \\ end'
[stats]
users = { \"a b\" = 'p\"w', \"é\" = \"\\u00a0\" }",
    );
    let mut loading = Loading::new();
    loading.text("test.toml", &text);
    let emitted = emit::emit(loading.raw());
    assert_eq!(config(&emitted), config(&text), "{emitted}");
}

#[test]
fn every_duration_is_written_as_it_is_read() {
    let mut milliseconds: u64 = 1;
    while milliseconds < 300_000_000_000 {
        let written = humantime::format_duration(Duration::from_millis(milliseconds)).to_string();
        assert_eq!(super::syntax::duration(&written).unwrap(), Duration::from_millis(milliseconds), "{written}");
        milliseconds += 1 + milliseconds / 7;
    }
}

#[test]
fn several_files_append_and_tables_do_not_repeat() {
    let mut loading = Loading::new();
    loading.text("a.toml", &with_service("listen = \"*:22\"\npool = \"p\"\n[global]\nworkers = 1"));
    loading.text("b.toml", "[[pool]]\nname = \"p\"\nservers = \"10.0.0.1\"\n");
    assert_eq!(loading.finish(&hosts).unwrap().config.pools.len(), 1);

    let mut loading = Loading::new();
    loading.text("a.toml", &with_service("listen = \"*:22\"\nservers = \"10.0.0.1\"\n[global]\nworkers = 1"));
    loading.text("b.toml", "\n[global]\nnode = \"n\"\n");
    let failed = loading.finish(&hosts).unwrap_err();
    assert!(failed.to_string().starts_with("error: [global] is given twice\n --> b.toml:2:1\n"), "{failed}");
}

#[test]
fn imported_tables_are_joined_and_the_first_wins() {
    let decoded = |text: &str| {
        let mut loading = Loading::new();
        loading.text("x", text);
        loading.raw().clone()
    };
    let mut loading = Loading::new();
    loading.sources().add("keepalived.conf", "vrrp\n");
    loading.imported(decoded(&with_router("addresses = \"192.0.2.1\"\n[global]\nnode = \"k\"")), Vec::new());
    loading.imported(decoded("[global]\nnode = \"h\"\nmax-connections = 9\n"), Vec::new());
    let global = loading.finish(&hosts).unwrap().config.global;
    assert_eq!((global.node.as_deref(), global.max_connections), (Some("k"), Some(9)));
}

#[test]
fn no_configuration_is_not_a_bad_one() {
    let directory = std::env::temp_dir().join(format!("vipgate-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("vipgate.toml");
    let failed = |bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => drop(std::fs::remove_file(&path)),
        }
        let failed = super::load(std::slice::from_ref(&path), &hosts).unwrap_err();
        (failed.kind, failed.to_string())
    };
    let expect = |bytes: Option<&[u8]>, kind: Failure, words: &str| {
        let (found, text) = failed(bytes);
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(words) && text.contains("vipgate.toml"), "{text}");
        assert_eq!(text.matches("error: ").count(), 1, "{text}");
    };
    expect(None, Failure::NoConfiguration, "cannot be read: No such file");
    expect(Some(b""), Failure::NoConfiguration, "is empty");
    expect(Some(b" \n\t\n"), Failure::NoConfiguration, "is empty");
    expect(Some(b"# nothing yet\n"), Failure::NoConfiguration, "neither a virtual router nor a service");
    expect(Some(b"[global]\nnode = \"\xff\"\n"), Failure::Invalid, "not UTF-8: see line 2");
    expect(Some(b"[global]\nnode = 3\n"), Failure::Invalid, "must be a string");
    let directory_itself = super::load(std::slice::from_ref(&directory), &hosts).unwrap_err();
    assert_eq!(directory_itself.kind, Failure::NoConfiguration);
    let none = super::load(&[], &hosts).unwrap_err();
    assert_eq!(none.kind, Failure::NoConfiguration);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_megabyte_takes_no_longer_a_byte_than_a_kilobyte() {
    let mut text = String::new();
    for index in 0..4000 {
        text.push_str(&format!(
            "[[service]]\nname = \"s{index}\"\nlisten = \"10.{}.{}.1:1-65535\"\npool = \"p{index}\"\n\
             [[pool]]\nname = \"p{index}\"\ncheck = {{ port = 22 }}\nservers = [\"172.16.0.1\", \"172.16.0.2\", \"172.16.0.3\"]\n\
             [[pool]]\nname = \"unused{index}\"\nservers = [{{ address = \"nowhere\", resolve = \"at-start\" }}]\nretrys = 1\n",
            index / 250,
            index % 250
        ));
    }
    let failed = load(&text).unwrap_err();
    assert_eq!(failed.diagnostics.len(), 8000);
    assert!(failed.to_string().len() < 50_000, "only so many are drawn");
}

/// Everything that is not the default somewhere, in the model.
#[test]
fn short_forms_are_what_they_stand_for() {
    let router = |keys: &str| router(&format!("addresses = [\"192.0.2.1/24\"]\n{keys}"));
    let name = |keys: &str| router(keys).vmac.map(|vmac| (vmac.name.to_string(), vmac.from_base));
    assert_eq!(name("vmac = true"), Some(("vrrp.1".into(), false)));
    assert_eq!(name("vmac = false"), None);
    assert_eq!(name("vmac = \"v\""), Some(("v".into(), false)));
    assert!(!router("peers = [\"192.0.2.9\"]").only_peers);
    let silent = router("notify = { any = [\"/bin/a b\", \"c d\"] }").notify.any.unwrap();
    assert_eq!((silent.program.to_str(), &*silent.arguments), (Some("/bin/a b"), &["c d".to_owned()][..]));
    let tracked = |tracker: &str| {
        let text = with_router("addresses = [\"192.0.2.1/24\"]\ntrack = \"t\"");
        config(&format!("{text}[[tracker]]\nname = \"t\"\n{tracker}\n")).trackers.remove(0).watched
    };
    assert_eq!(
        tracked("service = \"s\"\n[[service]]\nname = \"s\"\nlisten = \"*:1\"\nservers = \"10.0.0.1\""),
        Watched::Service("s".into())
    );
    let Watched::Process(process) = tracked("process = \"sshd\"") else { panic!() };
    assert_eq!((process.at_least, process.at_most, process.arguments_match), (1, None, ArgumentsMatch::Any));
    let Watched::Process(none) = tracked("process = { command = \"sshd\", at-most = 0, arguments = \"-D\" }") else {
        panic!()
    };
    assert_eq!((none.at_least, none.at_most, none.arguments_match), (0, Some(0), ArgumentsMatch::Exact));
    let Watched::Gateway(gateway) = tracked("gateway = \"192.0.2.254\"\ninterval = \"500ms\"") else { panic!() };
    assert_eq!((gateway.interval, gateway.timeout), (Duration::from_millis(500), Duration::from_millis(500)));
    let Watched::Route(route) = tracked("route = \"0.0.0.0/0\"") else { panic!() };
    assert_eq!(route.destination.length, 0);
}

#[test]
fn a_secret_can_stand_in_a_file_and_is_read_when_all_is_loaded() {
    let path = std::env::temp_dir().join(format!("vipgate-secret-{}", std::process::id()));
    let text = with_router(&format!(
        "addresses = [\"192.0.2.1/24\"]\nhmac = {{ key-id = 2, secret-file = \"{}\" }}",
        path.display()
    ));
    let missing = load(&text).unwrap_err().to_string();
    assert!(missing.contains("the secret cannot be read from"), "{missing}");
    std::fs::write(&path, "hex:000102030405060708090a0b0c0d0e0f\n").unwrap();
    let mut loading = Loading::new();
    loading.text("test.toml", &text);
    let emitted = emit::emit(loading.raw());
    let key = loading.finish(&hosts).unwrap().config.routers.remove(0).hmac.unwrap();
    assert_eq!((key.id, key.secret), (2, (0..16).collect::<Vec<u8>>()));
    assert!(emitted.contains("secret-file") && !emitted.contains("0a0b"), "{emitted}");
    std::fs::remove_file(&path).unwrap();
}
