//! What becomes of proxies in HTTP mode that send clients nowhere.

use crate::import_support::{haproxy_text, load, loading, model};
use vipgate::config::Loading;
use vipgate::config::emit::emit;
use vipgate::model::Page;
use vipgate::model::page::{Content, PageAction, PageListen};

/// As kubespray writes it, and a statistics page beside it.
const CLUSTER: &str = "\
global
    maxconn 4000
defaults
    mode http
    option httplog
    option http-server-close
    timeout http-request 5m
    timeout client 5m
    timeout server 5m
    timeout connect 30s
frontend healthz
    bind 0.0.0.0:8081
    bind [::]:8081
    mode http
    monitor-uri /healthz
    acl dead nbsrv(kube_api_backend) lt 1
    monitor fail if dead
frontend kube_api_frontend
    bind 127.0.0.1:6443
    mode tcp
    option tcplog
    default_backend kube_api_backend
backend kube_api_backend
    mode tcp
    balance leastconn
    server m1 10.0.0.1:6443 check
listen stats
    bind *:9000
    mode http
    stats enable
    stats uri /
    stats auth admin:x
    http-request use-service prometheus-exporter if { path /metrics }
    http-request return status 200 content-type text/plain string \"ok\" if { path /ping }
";

fn pages(text: &str) -> Vec<Page> {
    model(None, Some(text)).pages
}

#[test]
fn monitors_and_statistics_beside_services() {
    let config = model(None, Some(CLUSTER));
    assert_eq!(config.services.len(), 1);
    let [healthz, stats] = config.pages.as_slice() else { panic!("{:?}", config.pages) };
    let on = |address: &str| PageListen::new(address.parse().unwrap());
    assert_eq!(healthz.listen, [on("0.0.0.0:8081"), on("[::]:8081")]);
    let monitor = healthz.monitor.as_ref().unwrap();
    assert_eq!((monitor.path.as_str(), monitor.fail.len(), &healthz.statistics), ("/healthz", 1, &None));
    assert_eq!((stats.name.as_str(), stats.rules.len()), ("stats", 2));
    let statistics = stats.statistics.as_ref().unwrap();
    assert_eq!((statistics.path.as_str(), statistics.users.len()), ("/", 1));
    let PageAction::Return(reply) = &stats.rules[1].action else { panic!("{:?}", stats.rules) };
    assert!(matches!(&reply.content, Content::Text { media_type, .. } if media_type == "text/plain"));
}

#[test]
fn the_toml_says_the_same() {
    let direct = model(None, Some(CLUSTER));
    let toml = emit(loading(None, Some(CLUSTER)).raw());
    let mut native = Loading::new();
    native.text("imported.toml", &toml);
    let again =
        native.finish(&crate::import_support::resolve).unwrap_or_else(|failed| panic!("{failed}\n{toml}")).config;
    assert_eq!(direct, again, "{toml}");
    assert!(
        toml.contains("monitor = { path = \"/healthz\", fail = [\"if { nbsrv(kube_api_backend) :0 }\"] }"),
        "{toml}"
    );
}

#[test]
fn the_mode_counts_wherever_it_is_said() {
    let [page] = &pages("frontend f\n bind :1\n monitor-uri /a\n mode http\n")[..] else { panic!() };
    assert_eq!(page.monitor.as_ref().unwrap().path, "/a");
    let tcp = haproxy_text(
        "defaults\n mode http\n monitor-uri /a\nbackend b\n mode tcp\n server s 1.1.1.1:1\n\
         frontend f\n bind :1\n http-request deny\n monitor fail if FALSE\n redirect location /\n mode tcp\n default_backend b\n",
    );
    assert_eq!(
        tcp.findings(),
        [
            "warning 9: `http-request` needs `mode http`: ignored in a TCP proxy",
            "warning 10: `monitor fail` needs `mode http`: ignored in a TCP proxy",
            "warning 11: `redirect` needs `mode http`: ignored in a TCP proxy",
        ]
    );
    assert!(tcp.raw.pages.is_empty());
}

#[test]
fn who_is_turned_away_is_so_before_anything_else() {
    let page = |lines: &str| format!("frontend f\n mode http\n bind :1\n monitor-uri /up\n{lines}");
    let both = " tcp-request connection accept if { src 10.0.0.1 }\n tcp-request connection reject\n";
    let [f] = &pages(&page(both))[..] else { panic!() };
    let actions: Vec<_> = f.admission.iter().map(|rule| &rule.action).collect();
    assert_eq!(actions, [&PageAction::Allow, &PageAction::Reject]);
    assert!(f.admission[0].when.is_some() && f.admission[1].when.is_none());
    let errors = |lines: &str| haproxy_text(&page(lines)).errors();
    assert_eq!(
        errors(" tcp-request connection accept if { src 10.0.0.1 }\n tcp-request content reject\n"),
        ["error 6: `accept` ends its own stage only, which is not there on a page with rules of two stages"]
    );
    assert_eq!(
        errors(" tcp-request connection track-sc0 src table f\n"),
        ["error 5: sources are not counted on a page: `tcp-request` can accept and reject there"]
    );
    assert_eq!(
        haproxy_text(&page(" rate-limit sessions 5\n")).warnings(),
        ["warning 5: `rate-limit sessions` has no effect on a page"]
    );
}

#[test]
fn defaults_are_asked_first_and_redirects_last() {
    let text = "defaults base\n mode http\n monitor-uri /up\n http-request deny if { path /a }\n\
                frontend f from base\n bind :1\n redirect location /b\n http-request return\n stats uri /s\n\
                frontend g from base\n bind :2\n";
    let [f, g] = &pages(text)[..] else { panic!() };
    assert_eq!((f.rules.len(), f.otherwise.len(), g.rules.len()), (2, 1, 1));
    assert_eq!(f.rules[0], g.rules[0]);
    assert!(f.monitor == g.monitor && g.monitor.is_some() && f.statistics.is_some());
}

#[test]
fn no_rule_of_defaults_is_lost_in_silence() {
    let rules = |count: usize| " http-request deny if { path /a }\n".repeat(count);
    let text = |count| format!("defaults d\n mode http\n{}frontend f from d\n bind :1\n", rules(count));
    assert_eq!(pages(&text(100))[0].rules.len(), 100);
    assert_eq!(haproxy_text(&text(101)).errors(), ["error 103: more than 100 `http-request` in one `defaults`"]);
}

#[test]
fn a_proxy_that_leads_to_servers_is_refused_and_nothing_else_is_said_of_it() {
    for lines in [
        " default_backend b\n http-request set-header X y\n",
        " use_backend b if { hdr(host) x }\n",
        " monitor-uri /a\n default_backend b\n",
    ] {
        let text = format!("frontend f\n mode http\n bind :1\n{lines}backend b\n mode http\n server s 1.1.1.1:1\n");
        let errors = haproxy_text(&text).errors();
        assert_eq!(errors.first().unwrap(), "error 2: HTTP mode is not there yet: `f` cannot be served", "{errors:?}");
    }
    let listen =
        haproxy_text("listen l\n mode http\n bind :1\n http-request deny if { hdr(x) y }\n server s 1.1.1.1:1\n");
    assert_eq!(listen.errors(), ["error 2: HTTP mode is not there yet: `l` cannot be served"]);
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (line, finding) in [
        ("monitor-uri", "error 4: `monitor-uri` wants a value after it"),
        ("monitor fail", "error 4: a condition is wanted here: `if` or `unless`, and what is asked"),
        ("monitor fail if FALSE", "warning 4: `monitor fail` has no effect without `monitor-uri`"),
        ("monitor-net 10.0.0.0/8", "error 4: `monitor-net` is not a keyword here"),
        ("http-request", "error 4: `http-request` wants an action after it"),
        ("http-request frobnicate", "error 4: `frobnicate` is not a keyword here"),
        ("http-request set-header X y", "warning 4: `set-header` has no effect yet"),
        ("http-request auth", "error 4: `auth` is not there yet and cannot be ignored safely"),
        ("http-request lua.x", "error 4: `lua` is not there yet and cannot be ignored safely"),
        ("http-request return status 1", "error 4: `1` is not a status from 200 to 599"),
        (
            "http-request deny if { cook(a) b }",
            "error 4: `cook` cannot be asked of a request here yet: path and method can",
        ),
    ] {
        let imported = haproxy_text(&format!("frontend f\n mode http\n bind :1\n {line}\n"));
        assert_eq!(imported.findings(), [finding], "{line}");
    }
    let loaded = load(None, Some("frontend f\n mode http\n bind :1 tfo tcp-ut 5s\n")).unwrap();
    let warned: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warned, ["`fast-open` has no effect on a page", "`user-timeout` has no effect on a page"]);
    let failed = |lines: &str| match load(None, Some(&format!("frontend f\n mode http\n bind :1\n{lines}"))) {
        Ok(loaded) => panic!("{:?}", loaded.config),
        Err(failed) => failed.to_string(),
    };
    let unknown = failed(" monitor-uri /a\n monitor fail if { nbsrv(nowhere) lt 1 }\n");
    assert!(unknown.contains("there is no pool called `nowhere`"), "{unknown}");
    assert!(failed(" bind :1\n").contains("port 1 of 0.0.0.0 is listened on twice"));
    assert!(failed(" bind :2 accept-proxy\n").contains("`proxy-from` is not there for pages yet"));
    assert!(failed(" monitor-uri a\n").contains("`a` is not the path of a page"));
    assert!(failed(" bind :100-200\n").contains("this page would listen on 102 ports"));
    let twice = failed("frontend g\n mode http\n bind :1\n");
    assert!(twice.contains("port 1 of 0.0.0.0 is listened on twice"), "{twice}");
}
