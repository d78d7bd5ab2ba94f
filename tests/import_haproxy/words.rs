//! What haproxy.cfg says about the rules of backends, about how connections are probed, closed and logged, and about mail.

use std::time::Duration;

use crate::import_support::{haproxy_text, load, model};
use vipgate::model::rule::Stage;
use vipgate::model::{KeepAlive, ServerPort, Severity};

#[test]
fn how_connections_are_probed_closed_and_logged_is_kept() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let config = model(
        None,
        Some(
            "global\n log 127.0.0.1:514 local0\ndefaults\n log global\n clitcpka-idle 10\n srvtcpka-cnt 4\n option logasap\n\
             frontend f\n bind 127.0.0.1:7000\n option clitcpka\n clitcpka-intvl 1500ms\n option nolinger\n log-tag web\n\
             option dontlog-normal\n option log-separate-errors\n default_backend b\n\
             backend b\n option srvtcpka\n srvtcpka-intvl 0\n server s 10.0.0.1\n\
             listen l\n bind 127.0.0.1:7001\n no option logasap\n srvtcpka-idle 5\n server s 10.0.0.1\n",
        ),
    );
    let [f, l] = &config.services[..] else { panic!("two services") };
    let [of_l, b] = &config.pools[..] else { panic!("two pools") };
    assert_eq!(f.client_keepalive, Some(KeepAlive { idle: seconds(10), interval: seconds(2), count: None }));
    assert_eq!(b.server_keepalive, Some(KeepAlive { idle: None, interval: None, count: Some(4) }));
    assert_eq!((l.client_keepalive, of_l.server_keepalive), (None, None));
    assert_eq!((f.client_linger, b.server_linger, l.client_linger), (false, true, true));
    assert_eq!((f.log_normal, f.log_errors_as, f.log_early), (false, Severity::Error, true));
    assert_eq!((l.log_normal, l.log_errors_as, l.log_early), (true, Severity::Info, false));
    assert_eq!((f.log_tag.as_deref(), l.log_tag.as_deref()), (Some("web"), None));
}

#[test]
fn alerts_are_mailed_about_servers() {
    let text = "mailers m\n mailer one 192.0.2.25:587\n timeout mail 20s\n\
        defaults\n email-alert mailers m\n email-alert from a@example.org\n email-alert to b@example.org\n\
        listen l\n bind 127.0.0.1:7000\n server s 10.0.0.1\n\
        listen other\n bind 127.0.0.1:7001\n email-alert to c@example.org\n email-alert level notice\n server s 10.0.0.1\n";
    let mail = haproxy_text(text).clean().raw.mail.unwrap();
    let to: Vec<&str> = mail.to.iter().map(|to| to.value.as_str()).collect();
    assert_eq!((mail.server.unwrap().value.port, to), (Some(587), vec!["b@example.org", "c@example.org"]));
    assert_eq!(mail.timeout.unwrap().value, Duration::from_secs(20));
    let said = |name: &str, change: &str| haproxy_text(&text.replace(name, change)).findings();
    let gone = said(" email-alert from a@example.org\n", "");
    assert!(gone.len() == 1 && gone[0].starts_with("warning") && gone[0].contains("no mail is sent"), "{gone:?}");
    let unknown = said("email-alert mailers m", "email-alert mailers z");
    assert!(unknown.len() == 1 && unknown[0].contains("there is no `mailers z`"), "{unknown:?}");
    let more = said(" timeout mail", " mailer two 192.0.2.26:25\n timeout mail");
    assert!(more.len() == 1 && more[0].contains("this one gets none"), "{more:?}");
    assert_eq!(
        haproxy_text(&text.replace("email-alert to b", "email-alert level emerg\n email-alert to b"))
            .raw
            .mail
            .map(|mail| mail.to.len()),
        Some(1)
    );
    // The whole is a configuration, and so is what is printed of it.
    let config = model(None, Some(text));
    assert!(config.notify.mail.is_some_and(|mail| mail.servers && !mail.routers));
}

#[test]
fn backends_keep_their_rules() {
    let text = "frontend f\n bind 127.0.0.1:7000\n default_backend b\n\
        backend b\n stick-table type ip size 1k store conn_cur\n tcp-request content track-sc0 src\n\
        tcp-request content reject if { sc0_conn_cur gt 9 }\n tcp-request inspect-delay 3s\n\
        use-server s if { req.ssl_sni s.example }\n force-persist if { src 10.0.0.1 }\n server s 10.0.0.1\n";
    let config = model(None, Some(text));
    let policy = config.pools[0].policy.as_ref().unwrap();
    let stages: Vec<Stage> = policy.rules.iter().map(|rule| rule.stage).collect();
    assert_eq!(stages, [Stage::Content, Stage::Content, Stage::Server, Stage::Server]);
    assert_eq!(policy.inspect_delay, Duration::from_secs(3));
    assert_eq!(policy.tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["b"]);
    let unheard = text.replace(" tcp-request inspect-delay 3s\n", "");
    let warnings = haproxy_text(&unheard).warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("none of them waits"), "{warnings:?}");
    let waiting = unheard.replace(" default_backend", " tcp-request inspect-delay 1s\n default_backend");
    assert_eq!(haproxy_text(&waiting).warnings(), [""; 0]);
    let missing = load(None, Some(&text.replace("use-server s ", "use-server z "))).unwrap_err().to_string();
    assert!(missing.contains("this pool has no server called `z`"), "{missing}");
}

#[test]
fn files_of_states_are_where_haproxy_looks_for_them() {
    let text = "global\n server-state-base /var/lib/s\n server-state-file all\n\
        defaults\n load-server-state-from-file global\n\
        backend a\n server s 10.0.0.1:1\n\
        backend b\n load-server-state-from-file local\n server s 10.0.0.1:1\n\
        backend c\n load-server-state-from-file local\n server-state-file-name /tmp/c\n server s 10.0.0.1:1\n\
        backend d\n load-server-state-from-file local\n server-state-file-name use-backend-name\n server s 10.0.0.1:1\n\
        backend e\n load-server-state-from-file none\n server s 10.0.0.1:1\n\
        frontend f\n bind 127.0.0.1:7000\n use_backend b if { src 10.0.0.1 }\n use_backend c if { src 10.0.0.2 }\n\
        use_backend d if { src 10.0.0.3 }\n use_backend e if { src 10.0.0.4 }\n default_backend a\n";
    let files = |text: &str| {
        let pools = model(None, Some(text)).pools;
        let mut files: Vec<_> = pools
            .into_iter()
            .map(|pool| (pool.name, pool.server_state.map_or(String::new(), |file| file.display().to_string())))
            .collect();
        files.sort();
        files.into_iter().map(|(_, file)| file).collect::<Vec<_>>()
    };
    assert_eq!(files(text), ["/var/lib/s/all", "/var/lib/s/b", "/tmp/c", "/var/lib/s/d", ""]);
    let bare = text.replace(" server-state-base /var/lib/s\n", "");
    assert_eq!(files(&bare), ["all", "b", "/tmp/c", "d", ""]);
    let warnings = haproxy_text(&text.replace(" server-state-file all\n", "")).warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("`server-state-file` is not set"), "{warnings:?}");
}

#[test]
fn a_server_without_an_address_is_where_clients_connect_to() {
    let lines = "listen l\n bind 192.0.2.1:7000\n";
    for (address, port) in [
        ("0.0.0.0:80", ServerPort::Fixed(80)),
        ("*:80", ServerPort::Fixed(80)),
        (":80", ServerPort::Fixed(80)),
        ("[::]:80", ServerPort::Fixed(80)),
        (":::80", ServerPort::Fixed(80)),
        ("ipv6@*:80", ServerPort::Fixed(80)),
        ("0.0.0.0:+1000", ServerPort::Offset(1000)),
    ] {
        let text = format!("{lines} server s {address}\n");
        haproxy_text(&text).clean();
        let server = &model(None, Some(&text)).pools[0].servers[0];
        assert!(server.follows_clients() && server.port == port && server.check.is_none(), "{address}: {server:?}");
    }
    assert_eq!(haproxy_text(&format!("{lines} server s :::+0x\n")).errors().len(), 1);
}

#[test]
fn a_server_where_clients_connect_to_is_checked_here() {
    let text = |words: &str| format!("listen l\n bind 192.0.2.1:7000\n server s {words}\n");
    let checked = |words: &str| model(None, Some(&text(words))).pools[0].servers[0].clone();
    let target = |words: &str| checked(words).check.map(|check| check.target.to_string());
    assert_eq!(target("0.0.0.0:80 check").as_deref(), Some("127.0.0.1:80"));
    assert_eq!(target("[::]:80 check").as_deref(), Some("[::1]:80"));
    assert_eq!(target("*:80 check addr 192.0.2.9 port 81").as_deref(), Some("192.0.2.9:81"));
    let agent = checked("0.0.0.0:80 agent-check agent-port 99").agent.map(|agent| agent.target.to_string());
    assert_eq!(agent.as_deref(), Some("127.0.0.1:99"));
    let told = haproxy_text(&text("0.0.0.0:80 check")).findings();
    let said = "this server is wherever clients connect to, but asked about its health at 127.0.0.1";
    assert_eq!(told, [format!("warning 3: {said}")]);
    haproxy_text(&text("0.0.0.0:80 check addr 192.0.2.9")).clean();
}
