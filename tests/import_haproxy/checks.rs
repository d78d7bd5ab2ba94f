//! Health checks and agents.

use std::time::Duration;

use crate::import_support::{haproxy_text, load, model};
use crate::{pool, validated};
use vipgate::model::{Action, CheckKind, Expect, HttpExpect, Pattern, ProxyVersion, Step, Trust};

#[test]
fn a_check_may_take_inter_or_less_to_connect() {
    let timeout = |lines: &str| pool(lines).servers[0].check.as_ref().unwrap().timeout.as_millis();
    assert_eq!(timeout(" server s 10.0.0.1:1 check inter 1s"), 1000);
    assert_eq!(timeout(" timeout connect 100\n server s 10.0.0.1:1 check inter 1s"), 1000);
    assert_eq!(timeout(" timeout check 9s\n timeout connect 100\n server s 10.0.0.1:1 check inter 1s"), 100);
    assert_eq!(timeout(" timeout check 9s\n timeout connect 5s\n server s 10.0.0.1:1 check inter 1s"), 1000);
    assert_eq!(timeout(" timeout check 9s\n server s 10.0.0.1:1 check"), 2000);
}

#[test]
fn a_check_without_any_port_is_an_error() {
    for server in ["10.0.0.1 check", "10.0.0.1:+5 check"] {
        let failed = load(None, Some(&format!("listen l\n bind :1\n server s {server}\n"))).unwrap_err();
        assert!(failed.to_string().contains("haproxy.cfg:3"), "{failed}");
    }
}

fn steps(lines: &str) -> Vec<Step> {
    let pool = pool(&format!(" server s 10.0.0.1:80 check\n{lines}"));
    match &pool.servers[0].check.as_ref().unwrap().kind {
        CheckKind::Conversation(conversation) => conversation.steps.clone(),
        CheckKind::Command(command) => panic!("{command:?}"),
    }
}

#[test]
fn the_last_check_option_counts_and_rules_of_ones_own_replace_inherited_ones() {
    let kinds = |text: &str| {
        let config = model(None, Some(&format!("{text}\nlisten l\n bind :9\n use_backend b\n")));
        let pool = config.pools.into_iter().find(|pool| pool.name == "b").unwrap();
        pool.servers[0].check.as_ref().unwrap().kind.clone()
    };
    let asks = |kind: &CheckKind| match kind {
        CheckKind::Conversation(conversation) => conversation.steps.len(),
        CheckKind::Command(_) => 0,
    };
    let server = " server s 1.1.1.1:1 check\n";
    assert_eq!(asks(&kinds(&format!("defaults\n option httpchk\nbackend b\n{server}"))), 3);
    assert_eq!(asks(&kinds(&format!("defaults\n option httpchk\nbackend b\n option tcp-check\n{server}"))), 1);
    assert_eq!(asks(&kinds(&format!("defaults\n option httpchk\nbackend b\n no option httpchk\n{server}"))), 1);
    let inherited = "defaults\n option tcp-check\n tcp-check send a\n tcp-check expect string b\nbackend b\n";
    assert_eq!(asks(&kinds(&format!("{inherited}{server}"))), 3);
    assert_eq!(asks(&kinds(&format!("{inherited} tcp-check expect string c\n{server}"))), 2);
    // Rules without their option do nothing.
    assert_eq!(asks(&kinds(&format!("backend b\n tcp-check expect string c\n{server}"))), 1);
}

#[test]
fn steps_are_numbered_as_written() {
    let steps = steps(
        " option tcp-check\n tcp-check connect\n tcp-check comment first\n tcp-check send-binary 50494e47\n \
         tcp-check expect min-recv 3 ! rstring ^a comment own\n tcp-check connect port 22 ssl sni a.example alpn h2 linger\n \
         default-server verify none\n",
    );
    let facts: Vec<_> = steps.iter().map(|step| (step.number, step.comment.as_deref())).collect();
    assert_eq!(facts, [(1, None), (3, Some("first")), (4, Some("own")), (5, None)]);
    assert_eq!(steps[1].action, Action::Send(b"PING".to_vec()));
    let expect = Expect { negated: true, min_received: Some(3), ..Expect::new(Pattern::Regex("^a".to_owned())) };
    assert_eq!(steps[2].action, Action::Expect(expect));
    let Action::Connect(connect) = &steps[3].action else { panic!("{:?}", steps[3]) };
    assert_eq!((connect.port, connect.linger), (Some(22), true));
    assert_eq!(connect.tls.as_ref().unwrap().server_name.as_deref(), Some("a.example"));
}

#[test]
fn http_rules_take_from_the_line_what_they_leave_open() {
    let steps = steps(
        " option httpchk HEAD /line HTTP/1.1\\r\\nHost:\\ www\n http-check send hdr X-A b body data\n \
         http-check expect status 200,300-310\n http-check send meth PUT uri /second\n http-check send-state\n",
    );
    let requests: Vec<_> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Request(request) => Some((request.method.as_str(), request.target.as_str(), request.headers.len())),
            _ => None,
        })
        .collect();
    assert_eq!(requests, [("HEAD", "/line", 2), ("PUT", "/second", 0)]);
    // What nobody judges must be 2xx or 3xx.
    assert_eq!(steps.last().unwrap().action, Action::Response(HttpExpect::fine()));
    assert_eq!(steps.len(), 5);
}

#[test]
fn tls_and_agents_are_the_servers() {
    let pool = pool(
        " timeout check 700ms\n server a 10.0.0.1:443 check check-ssl verify none check-sni b.example check-alpn http/1.1,h2 \
         check-send-proxy\n server b 10.0.0.1:443 agent-check agent-port 9 agent-inter 3s agent-addr 10.0.0.9 agent-send hi\\n\n \
         server c 10.0.0.1:443 check check-ssl ca-file @system-ca verifyhost c.example no-agent-check\n",
    );
    let connect = |server: usize| {
        let CheckKind::Conversation(conversation) = &pool.servers[server].check.as_ref().unwrap().kind else {
            panic!()
        };
        let Action::Connect(connect) = &conversation.steps[0].action else { panic!() };
        connect.clone()
    };
    let tls = connect(0).tls.unwrap();
    assert_eq!((tls.server_name.as_deref(), tls.trust, tls.alpn.len()), (Some("b.example"), None, 2));
    assert_eq!(connect(0).proxy_header, Some(ProxyVersion::V1));
    assert_eq!(pool.servers[0].check.as_ref().unwrap().response_timeout, Some(Duration::from_millis(700)));
    let agent = pool.servers[1].agent.as_ref().unwrap();
    assert_eq!((agent.target.to_string().as_str(), agent.send.as_slice()), ("10.0.0.9:9", b"hi\n".as_slice()));
    assert_eq!((agent.interval, agent.timeout), (Duration::from_secs(3), Duration::from_millis(700)));
    let tls = connect(2).tls.unwrap();
    assert_eq!((tls.trust, tls.verify_name.as_deref()), (Some(Trust::System), Some("c.example")));
    assert_eq!(pool.servers[2].agent, None);
}

#[test]
fn mistakes_in_checks_are_told_with_their_line() {
    for (line, error) in [
        ("tcp-check expect rstring (?=a)", "look-around, including look-ahead and look-behind, is not supported"),
        ("tcp-check expect string", "a pattern is missing at the end of this line"),
        ("tcp-check expect strng a", "`strng` is not a kind of pattern"),
        ("tcp-check send-binary 5", "is not a number of pairs of hexadecimal digits"),
        ("tcp-check connect via-socks4", "`via-socks4` is not there"),
        ("tcp-check expect string-lf %[x]", "expressions are not there"),
        ("tcp-check expect ok-status L7STS string a", "`L7STS` cannot stand here"),
    ] {
        let text = format!("listen b\n bind :9\n server s 1.1.1.1:80 check\n option tcp-check\n {line}\n");
        let errors = haproxy_text(&text).errors();
        let told = errors.iter().any(|told| told.starts_with("error 5: ") && told.contains(error));
        assert!(told || validated(&text).contains(error), "{line}: {errors:?}");
    }
    let without = haproxy_text("backend b\n option external-check\n server s 1.1.1.1:80 check\n").errors();
    assert_eq!(without, ["error 2: `option external-check` has no command"]);
}
