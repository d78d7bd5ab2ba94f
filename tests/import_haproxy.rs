//! What haproxy.cfg's directives become, and how mistakes are told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of tests: it fails them")]

mod import_support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use import_support::{World, haproxy_in, haproxy_text, load, model};
use vipgate::model::page::PageListen;
use vipgate::model::{
    Action, Affinity, Algorithm, CheckKind, Expect, Failback, HashType, HttpExpect, KeyType, Observe, OnError,
    OnMarkedDown, OnMarkedUp, Pattern, Pool, ProxyVersion, RefuseWith, ServerPort, ServerRef, Step, Transparent, Trust,
};

fn pool(lines: &str) -> Pool {
    let config = model(None, Some(&format!("listen l\n bind 127.0.0.1:7000\n{lines}\n")));
    config.pools.into_iter().next().unwrap()
}

#[test]
fn defaults_are_haproxys_own() {
    let config = model(None, Some("listen l\n bind *:7000\n server s 10.0.0.1 check port 22\n"));
    let (service, pool) = (&config.services[0], &config.pools[0]);
    assert_eq!((service.client_timeout, service.client_fin_timeout, service.client_keepalive), (None, None, None));
    assert_eq!(
        (pool.connect_timeout, pool.server_timeout, pool.server_fin_timeout, pool.tunnel_timeout),
        (None, None, None, None)
    );
    assert_eq!((pool.retries, pool.redispatch, pool.server_keepalive, pool.all_backups), (3, false, None, false));
    assert_eq!((pool.algorithm, &pool.affinity), (Algorithm::RoundRobin, &Affinity::None));
    let server = &pool.servers[0];
    assert_eq!((server.weight, server.backup, server.disabled, server.max_connections), (1, false, false, None));
    let check = server.check.as_ref().unwrap();
    let two = Duration::from_secs(2);
    assert_eq!((check.interval, check.fast_interval, check.down_interval, check.timeout), (two, two, two, two));
    assert_eq!((check.rise, check.fall), (2, 3));
    let address = &service.listen[0];
    assert_eq!((address.address, address.nonlocal, address.dual_stack), (IpAddr::from([0, 0, 0, 0]), false, false));
}

#[test]
fn defaults_sections_hand_down_and_can_be_named() {
    let config = model(
        None,
        Some(
            "defaults a\n timeout connect 1s\n option redispatch\n option tcpka\n retries 1\n\
             defaults b from a\n timeout server 2s\n no option tcpka\n\
             listen one\n bind :1001\n server s 10.0.0.1:1\n\
             listen two from a\n bind :1002\n server s 10.0.0.1:1\n no option redispatch\n\
             defaults\n\
             listen three\n bind :1003\n server s 10.0.0.1:1\n\
             listen four from b\n bind :1004\n server s 10.0.0.1:1\n default option redispatch\n",
        ),
    );
    let facts = config.pools.iter().map(|pool| {
        (
            pool.connect_timeout.is_some(),
            pool.server_timeout.is_some(),
            pool.redispatch,
            pool.server_keepalive.is_some(),
            pool.retries,
        )
    });
    assert_eq!(
        facts.collect::<Vec<_>>(),
        [
            (true, true, true, false, 1),
            (true, false, false, true, 1),
            (false, false, false, false, 3),
            (true, true, false, false, 1),
        ]
    );
    assert_eq!(
        haproxy_text("listen a from nope\n bind :1\n server s 1.1.1.1:1\n").errors(),
        ["error 1: there is no `defaults nope` above"]
    );
}

#[test]
fn default_server_is_a_start_and_the_line_has_the_last_word() {
    let pool = pool(
        " default-server check inter 3s rise 5 weight 7 on-marked-down shutdown-sessions\n server a 10.0.0.1:1\n\
         \n default-server inter 4s no-check\n server b 10.0.0.1:2 check weight 9\n server c 10.0.0.1:3 no-backup",
    );
    let [a, b, c] = &pool.servers[..] else { panic!("three servers") };
    assert_eq!(
        (a.weight, a.check.as_ref().unwrap().interval, a.check.as_ref().unwrap().rise),
        (7, Duration::from_secs(3), 5)
    );
    assert_eq!(
        (b.weight, b.check.as_ref().unwrap().interval, b.check.as_ref().unwrap().rise),
        (9, Duration::from_secs(4), 5)
    );
    assert_eq!((c.check.is_none(), c.on_marked_down), (true, OnMarkedDown::ShutdownSessions));
}

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
fn server_ports_are_fixed_relative_or_the_clients() {
    let pool = pool(
        " server a 10.0.0.1\n server b 10.0.0.1:+1000\n server c 10.0.0.1:-9\n server d 10.0.0.1:80\n server e 10.0.0.1:0\n server f ::1:22",
    );
    let ports = pool.servers.iter().map(|server| server.port).collect::<Vec<_>>();
    use ServerPort::{Fixed, Offset, Same};
    assert_eq!(ports, [Same, Offset(1000), Offset(-9), Fixed(80), Same, Fixed(22)]);
    assert_eq!(pool.servers[5].address.to_string(), "::1");
}

#[test]
fn a_check_without_any_port_is_an_error() {
    for server in ["10.0.0.1 check", "10.0.0.1:+5 check"] {
        let failed = load(None, Some(&format!("listen l\n bind :1\n server s {server}\n"))).unwrap_err();
        assert!(failed.to_string().contains("haproxy.cfg:3"), "{failed}");
    }
}

#[test]
fn bind_takes_lists_ranges_families_and_names() {
    let config = model(
        None,
        Some(
            "listen l\n bind 127.0.0.1:80-82,127.0.0.2:90\n bind :::86\n bind [::]:83 v6only\n bind ipv6@:84\n bind ipv4@localhost:85 transparent\n server s 10.0.0.1\n",
        ),
    );
    let seen = config.services[0]
        .listen
        .iter()
        .map(|listen| (listen.address.to_string(), listen.ports.to_string(), listen.nonlocal, listen.dual_stack));
    let expected = [
        ("127.0.0.1", "80-82", false, false),
        ("127.0.0.2", "90", false, false),
        ("::", "86", false, true),
        ("::", "83", false, false),
        ("::", "84", false, true),
        ("127.0.0.1", "85", true, false),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected.map(|(a, p, n, d)| (a.to_owned(), p.to_owned(), n, d)));
}

#[test]
fn a_virtual_address_of_the_same_run_needs_no_transparent() {
    let keepalived =
        "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n";
    let haproxy = "listen a\n bind 192.0.2.1:80\n bind 192.0.2.2:80\n server s 10.0.0.1\nlisten b\n bind *:81\n server s 10.0.0.1\n";
    let config = model(Some(keepalived), Some(haproxy));
    let nonlocal = config.services[0].listen.iter().map(|listen| listen.nonlocal).collect::<Vec<_>>();
    assert_eq!(nonlocal, [true, false]);
    assert_eq!(config.routers[0].fronts, ["a"], "a wildcard listener is not bound to the address");
}

#[test]
fn unknown_words_are_errors_with_a_suggestion() {
    let imported = haproxy_text(
        "global\n maxcon 5\nlisten l\n bind :1 transparnt\n blance roundrobin\n balance leastcon\n server s 10.0.0.1 chek\n option tcpk\n timeout conect 5s\n stick-table type ip sise 5\nzork\n",
    );
    assert_eq!(
        imported.errors(),
        [
            "error 2: `maxcon` is not a keyword here",
            "error 4: `transparnt` is not a keyword of a bind line",
            "error 5: `blance` is not a keyword here",
            "error 6: `leastcon` is not a keyword of `balance`",
            "error 7: `chek` is not a keyword of a server line",
            "error 8: `option tcpk` is not a keyword here",
            "error 9: `timeout conect` is not a keyword here",
            "error 10: `sise` is not a keyword of a stick table",
            "error 11: `zork` is not a keyword here",
        ]
    );
    let helps = imported.diagnostics.iter().filter_map(|finding| finding.help.as_deref());
    let helps = helps.filter(|help| help.starts_with("did you mean")).collect::<Vec<_>>();
    assert!(helps.contains(&"did you mean `maxconn`?"), "{helps:?}");
    assert!(helps.contains(&"did you mean `option tcpka`?"), "{helps:?}");
    assert!(helps.contains(&"did you mean `timeout connect`?"), "{helps:?}");
}

#[test]
fn values_are_read_strictly() {
    // HAProxy 2.6 takes `maxconn abc` for 0 and `rise 2x` for 2, in silence.
    for (line, column) in [
        (" maxconn abc", "listen"),
        (" maxconn", "listen"),
        (" maxconn 1 2", "listen"),
        (" retries 3x", "listen"),
        (" timeout client 5.5", "listen"),
        (" timeout server abc", "listen"),
        (" timeout connect", "listen"),
        (" balance", "listen"),
        (" mode foo", "listen"),
        (" server a", "listen"),
        (" server a 1.1.1.1:70000", "listen"),
        (" server a 1.1.1.1:80-90", "listen"),
        (" server a 1.1.1.300:80", "listen"),
        (" server a unix@/run/x", "listen"),
        (" server a 1.1.1.1:80 rise 2x", "listen"),
        (" server a 1.1.1.1:80 fall 0", "listen"),
        (" server a 1.1.1.1:80 weight 300", "listen"),
        (" server a 1.1.1.1:80 weight", "listen"),
        (" server a 1.1.1.1:80 check port 0", "listen"),
        (" server a 1.1.1.1:80 check inter 2x", "listen"),
        (" server a 1.1.1.1:80 check inter 0", "listen"),
        (" server a 1.1.1.1:80 on-marked-down zork", "listen"),
        (" bind", "listen"),
        (" bind 1.1.1.1", "listen"),
        (" bind 1.1.1.1:0", "listen"),
        (" bind 1.1.1.1:90-80", "listen"),
        (" bind 1.1.1.1:+5", "listen"),
        (" bind 1.1.1.1:99999", "listen"),
        (" bind /run/x.sock", "listen"),
        (" bind fd@3", "listen"),
        (" bind :80 maxconn", "listen"),
        (" bind :80 maxconn 3x", "listen"),
        (" stick-table type ip", "listen"),
        (" stick-table type zork size 5", "listen"),
        (" stick-table type ip size 10q", "listen"),
        (" stick on", "listen"),
        (" stick on req.len", "listen"),
        (" use_backend", "listen"),
        (" use_backend l if { hdr(host) x }", "listen"),
        (" use_backend l if", "listen"),
        (" use_backend l if zork", "listen"),
        (" use_backend l if { src 10.0.0.1", "listen"),
        (" use_backend l zork", "listen"),
        (" use_backend %[src]", "listen"),
        (" hash-type zork", "listen"),
        (" no maxconn", "listen"),
        (" tcp-request connection", "listen"),
        (" tcp-request connection reject if { src 10.0.0.0/33 }", "listen"),
        (" tcp-request connection reject if { src }", "listen"),
        (" tcp-request connection reject now", "listen"),
        (" tcp-request connection track-sc0", "listen"),
        (" tcp-request connection track-sc0 dst", "listen"),
        (" tcp-request inspect-delay 5x", "listen"),
        (" acl", "listen"),
        (" rate-limit sessions x", "listen"),
        (" tcp-request content zork", "listen"),
    ] {
        let text = format!("{column} l\n bind 127.0.0.1:7000\n server s 10.0.0.1:1\n{line}\n");
        let errors = haproxy_text(&text).errors();
        assert!(errors.len() == 1 && errors[0].starts_with("error 4: "), "{line}: {errors:?}");
    }
}

#[test]
fn twenty_mistakes_are_twenty_errors() {
    let lines = (0..20).map(|n| format!(" server s{n} 10.0.0.1:80 check rise x{n}\n")).collect::<String>();
    assert_eq!(haproxy_text(&format!("listen l\n bind :1\n{lines}")).errors().len(), 20);
}

#[test]
fn what_is_in_the_wrong_section_is_told() {
    let imported = haproxy_text(
        "defaults\n bind :1\nfrontend f\n bind :2\n default_backend b\n server s 1.1.1.1\n balance leastconn\nbackend b\n bind :3\n timeout client 3s\n server s 1.1.1.1\n",
    );
    assert_eq!(
        imported.findings(),
        [
            "error 2: `bind` has no place in a `defaults` section",
            "error 6: `server` has no place in a `frontend` section",
            "warning 7: `balance` has no place in a `frontend` section: ignored",
            "warning 9: `bind` has no place in a `backend` section: ignored",
            "warning 10: `timeout client` has no place in a `backend` section: ignored",
        ]
    );
}

#[test]
fn frontends_need_a_way_out() {
    assert_eq!(
        haproxy_text("frontend f\n bind :1\n").findings(),
        ["warning 1: `f` has no backend, so that its connections would go nowhere: left out"]
    );
    assert_eq!(
        haproxy_text("frontend f\n default_backend b\nbackend b\n server s 1.1.1.1\n").findings(),
        ["warning 1: `f` has no `bind` line: nobody can connect to it"]
    );
    haproxy_text("frontend f\n bind :1\n disabled\n").clean();
    let missing = load(None, Some("frontend f\n bind :1\n default_backend nope\n")).unwrap_err();
    assert!(missing.to_string().contains("haproxy.cfg:3:18"), "{missing}");
}

#[test]
fn header_lines_are_checked() {
    for (line, fine) in [
        ("listen", false),
        ("listen a b", false),
        ("listen a :80", false),
        ("listen a from", false),
        ("listen \"a b\"", false),
        ("backend a-b_c.d:e", true),
        ("defaults from", true),
        ("defaults a b", true),
        ("backend a b", true),
        ("defaults x from y", false),
    ] {
        let text = format!("{line}\n");
        let errors = haproxy_text(&text).errors();
        assert_eq!(errors.is_empty(), fine, "{line}: {errors:?}");
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

/// What validation says of a file that was imported.
fn validated(text: &str) -> String {
    match load(None, Some(text)) {
        Ok(_) => String::new(),
        Err(failed) => failed.to_string(),
    }
}

#[test]
fn the_statistics_page() {
    let page = |lines: &str| {
        let mut config = model(None, Some(&format!("listen s\n bind 127.0.0.1:8404-8405\n mode http\n{lines}")));
        config.pages.pop().unwrap()
    };
    let ports = page(" stats enable\n").listen;
    assert_eq!(ports, ["127.0.0.1:8404", "127.0.0.1:8405"].map(|address| PageListen::new(address.parse().unwrap())));
    let stats = |lines: &str| page(lines).statistics.unwrap();
    let said = stats(" stats enable\n");
    assert_eq!((said.path.as_str(), said.users.len(), said.refresh, said.alone), ("/haproxy?stats", 0, None, false));
    let said = stats(" stats uri /s\n stats auth a:b:c\n stats auth d:e\n stats refresh 5\n");
    assert_eq!((said.path.as_str(), said.refresh), ("/s", Some(Duration::from_secs(5))));
    assert_eq!(said.users, [("a".into(), "b:c".into()), ("d".into(), "e".into())]);
    let guarded = haproxy_text("listen s\n bind :8404\n mode http\n stats enable\n stats http-request deny\n");
    assert_eq!(
        guarded.errors(),
        ["error 5: `stats http-request` is not there yet: the statistics would be open to more clients"]
    );
    let tcp = haproxy_text("listen a\n bind :1\n stats enable\n server s 1.1.1.1\n");
    assert_eq!(tcp.warnings(), ["warning 3: `stats` needs `mode http`: ignored in a TCP proxy"]);
}

#[test]
fn http_mode_is_refused_where_it_is_bound_or_wanted() {
    assert_eq!(
        haproxy_text("defaults\n mode http\nfrontend f\n bind :1\n default_backend b\nbackend b\n server s 1.1.1.1\n")
            .errors(),
        ["error 2: HTTP mode is not there yet: `f` cannot be served"]
    );
    assert_eq!(
        haproxy_text("frontend f\n bind :1\n default_backend b\nbackend b\n mode http\n server s 1.1.1.1\n").errors(),
        ["error 5: HTTP mode is not there yet: `b` cannot be served"]
    );
    assert_eq!(
        haproxy_text("backend b\n mode http\n server s 1.1.1.1\n").findings(),
        ["warning 1: backend `b` is in HTTP mode, which is not there yet: left out"]
    );
}

#[test]
fn tls_is_refused_with_its_line() {
    let errors =
        haproxy_text("listen l\n bind :443 ssl crt /etc/x.pem alpn h2\n server s 1.1.1.1:443 ssl verify none\n")
            .errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("error 2: `ssl`") && errors[2].starts_with("error 3: `ssl`"), "{errors:?}");
}

#[test]
fn stick_tables() {
    let affinity = |lines: &str| pool(&format!(" server s 10.0.0.1\n{lines}")).affinity;
    let Affinity::Table(table) = affinity(" stick-table type ip size 1k\n stick on src table l") else {
        panic!("a table")
    };
    assert_eq!((table.size, table.expire, table.nopurge, table.kind), (1024, None, false, KeyType::Ipv4));
    let Affinity::Table(table) = affinity(" stick on src\n stick-table type ipv6 size 5 expire 90 nopurge") else {
        panic!("a table")
    };
    assert_eq!((table.expire, table.nopurge, table.kind), (Some(Duration::from_millis(90)), true, KeyType::Ipv6));
    for (lines, errors) in [
        (" stick on src", 1),
        (" stick-table type string len 40 size 1k\n stick on src", 0),
        (" stick-table type string len 0 size 1k\n stick on src", 2),
        (" stick-table type ip size 1k\n stick on src if x", 1),
        (" stick-table type ip size 1k\n stick on src table other", 1),
        (" stick-table type ip size 1k\n stick match src\n stick store-request src,ipmask(24)", 0),
        (" stick-table type ip size 1k\n stick on hdr(x)", 1),
        (" stick-table type ip size 1k", 0),
    ] {
        let found = haproxy_text(&format!("listen l\n bind :1\n server s 1.1.1.1\n{lines}\n")).errors();
        assert_eq!(found.len(), errors, "{lines}: {found:?}");
    }
}

#[test]
fn peers_share_tables() {
    let text = "global\n localpeer b\npeers nodes\n peer a 192.0.2.1:10000\n peer b 192.0.2.2:10000\n\
        \x20table clients type ipv6 size 1k expire 5m\n\
        listen one\n bind :1\n server s 10.0.0.1\n stick-table type ip size 1k peers nodes\n stick on src\n\
        listen two\n bind :2\n server s 10.0.0.1\n stick on src table one\n\
        listen three\n bind :3\n server s 10.0.0.1\n stick on src table nodes/clients\n";
    let config = model(None, Some(text));
    let group = &config.peer_groups[0];
    assert_eq!((group.name.as_str(), group.local.as_deref(), group.members.len()), ("nodes", Some("b"), 2));
    let table = |pool: &str| match &config.pool(pool).unwrap().affinity {
        Affinity::Table(table) => (table.name.clone(), table.kind, table.peers.clone()),
        other => panic!("{other:?}"),
    };
    let nodes = || Some("nodes".to_owned());
    assert_eq!(table("one"), (None, KeyType::Ipv4, nodes()));
    assert_eq!(table("two"), (Some("one".to_owned()), KeyType::Ipv4, nodes()));
    assert_eq!(table("three"), (Some("nodes/clients".to_owned()), KeyType::Ipv6, nodes()));
    let other = "listen l\n bind :1\n server s 1.1.1.1\n stick-table type ip size 1k peers none\n stick on src\n";
    assert!(haproxy_text("peers x\n peer a 192.0.2.1\n").errors()[0].contains("no port"));
    assert!(load(None, Some(other)).is_err(), "there is no such section");
}

#[test]
fn variables_and_conditions_reach_the_translation() {
    let world = World::default().variable("PORTS", "80-90").variable("SERVERS", "10.0.0.1:1 check");
    let text = "listen l\n.if defined(PORTS)\n bind \"127.0.0.1:${PORTS}\"\n.else\n bind zork\n.endif\n server s \"${SERVERS[*]}\"\n \"${KEYWORD-balance}\" source\n";
    let raw = haproxy_in(&world, text).clean().raw;
    assert_eq!(raw.services[0].listen[0].ports.value.to_string(), "80-90");
    assert!(raw.pools[0].servers[0].check.is_some());
    assert_eq!(raw.pools[0].balance.unwrap().value, Algorithm::Source);
}

#[test]
fn what_a_backend_says_about_the_choice_of_a_server_is_kept() {
    let chosen = |lines: &str| pool(&format!("{lines}\n server s 10.0.0.1")).algorithm;
    for (lines, algorithm) in [
        (" balance static-rr", Algorithm::StaticRoundRobin),
        (" balance first", Algorithm::First),
        (" balance random", Algorithm::Random(2)),
        (" balance random(5)", Algorithm::Random(5)),
        (" balance hash req.ssl_sni", Algorithm::Sni),
        (" balance hash src", Algorithm::Source),
    ] {
        assert_eq!(chosen(lines), algorithm, "{lines}");
    }
    let hashed = pool(" balance source\n server s 10.0.0.1");
    assert_eq!((hashed.hash_type, hashed.hash_balance_factor), (HashType::MapBased, None));
    let said = pool(
        " balance source\n hash-type consistent\n hash-balance-factor 150\n timeout queue 3s\n option persist\n\
         option redispatch 3\n server s 10.0.0.1",
    );
    assert_eq!((said.hash_type, said.hash_balance_factor), (HashType::Consistent, Some(150)));
    assert_eq!((said.queue_timeout, said.persist), (Some(Duration::from_secs(3)), true));
    assert_eq!((said.redispatch, said.redispatch_every), (true, Some(3)));
    assert_eq!((said.failback, said.refusal), (Failback::New, RefuseWith::Close));
    assert!(!pool(" option redispatch 0\n server s 10.0.0.1").redispatch);
    let last = pool(" option redispatch -1\n server s 10.0.0.1");
    assert_eq!((last.redispatch, last.redispatch_every), (true, None));
}

#[test]
fn what_a_server_says_about_its_health_and_its_share_is_kept() {
    let pool = pool(
        " server a 10.0.0.1:80 maxconn 5 maxqueue 7 slowstart 30s check observe layer4 on-error sudden-death\n\
         server b 10.0.0.2 track a non-stick on-marked-up shutdown-backup-sessions\n\
         server c 10.0.0.3:80 track l/b check observe layer4 error-limit 3 no-check",
    );
    let [a, b, c] = &pool.servers[..] else { panic!("three servers") };
    assert_eq!((a.max_connections, a.max_queue, a.slow_start), (Some(5), Some(7), Some(Duration::from_secs(30))));
    assert_eq!(a.observe, Some(Observe { error_limit: 10, on_error: OnError::SuddenDeath }));
    assert_eq!(b.track, Some(ServerRef { pool: "l".into(), server: "a".into() }));
    assert_eq!((b.non_stick, b.on_marked_up), (true, OnMarkedUp::ShutdownBackupSessions));
    assert_eq!(c.track, Some(ServerRef { pool: "l".into(), server: "b".into() }));
}

#[test]
fn a_source_may_be_the_client_s() {
    let source = |line: &str| pool(&format!(" server s 10.0.0.1 {line}")).servers.remove(0).source;
    let ours: IpAddr = "10.0.0.5".parse().unwrap();
    for (line, address, transparent) in [
        ("source 10.0.0.5", ours, None),
        ("source 0.0.0.0 usesrc clientip", Ipv4Addr::UNSPECIFIED.into(), Some(Transparent::ClientIp)),
        ("source 10.0.0.5 usesrc client", ours, Some(Transparent::Client)),
        (
            "source * usesrc 10.9.9.9",
            Ipv4Addr::UNSPECIFIED.into(),
            Some(Transparent::Address("10.9.9.9:0".parse().unwrap())),
        ),
        ("source 10.0.0.5 usesrc 10.9.9.9:99", ours, Some(Transparent::Address("10.9.9.9:99".parse().unwrap()))),
    ] {
        let found = source(line).unwrap();
        assert_eq!((found.address, found.transparent), (address, transparent), "{line}");
    }
    assert_eq!(source("source 0.0.0.0"), None, "the kernel's choice anyway");
    let around = pool(" source 0.0.0.0 usesrc clientip\n server s [fd00::1]").servers.remove(0).source.unwrap();
    assert_eq!((around.address, around.transparent), (Ipv6Addr::UNSPECIFIED.into(), Some(Transparent::ClientIp)));
    for (line, words) in [
        ("source 0.0.0.0 usesrc hdr_ip(x-forwarded-for)", "HTTP's"),
        ("source 0.0.0.0 usesrc nobody", "neither `client`"),
        ("source 0.0.0.0 usesrc [fd00::9]", "not an IPv4 address"),
        ("source 0.0.0.0:1000-2000 usesrc client", "the port is the client's"),
    ] {
        let text = format!("listen l\n bind 127.0.0.1:7000\n server s 10.0.0.9 {line}\n");
        let said = match load(None, Some(&text)) {
            Ok(_) => String::new(),
            Err(failed) => failed.to_string(),
        };
        assert!(said.contains(words) && said.contains("haproxy.cfg:3"), "{line}: {said}");
    }
}

#[test]
fn timeouts_that_cut_idle_transfers_are_told() {
    let warned = |lines: &str| {
        let text = format!("listen l\n bind 127.0.0.1:7000\n timeout client 30s\n{lines}\n");
        let loaded = load(None, Some(&text)).unwrap_or_else(|failed| panic!("{failed}"));
        loaded.warnings.iter().any(|warning| warning.message == "idle sessions of `l` are cut after 30s")
    };
    assert!(warned(" server s 10.0.0.1:22"));
    assert!(!warned(" server s 10.0.0.1:80"));
    assert!(!warned(" timeout tunnel 1h\n server s 10.0.0.1:22"));
}

#[test]
fn first_goes_by_the_numbers_of_servers() {
    let pool = pool(" balance first\n server a 10.0.0.1 id 9\n server b 10.0.0.2\n server c 10.0.0.3 id 1");
    assert_eq!(pool.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
}

#[test]
fn mistakes_about_the_choice_are_told() {
    for (line, words) in [
        ("balance random(0)", "whole number"),
        ("balance random(2", "lacks its `)`"),
        ("balance hash hdr(host)", "is not there"),
        ("hash-balance-factor 100", "above 100"),
        ("option redispatch -2", "is not there"),
        ("server x 10.0.0.1 track nobody", "there is no server `nobody`"),
        ("server x 10.0.0.1 track x", "tracks itself"),
        ("server x 10.0.0.1 track s", "has no check"),
        ("server x 10.0.0.1:1 check track s", "not both"),
        ("server x 10.0.0.1 observe layer7", "wants HTTP mode"),
        ("server x 10.0.0.1 on-error panic", "is none of"),
    ] {
        let text = format!("listen l\n bind 127.0.0.1:7000\n server s 10.0.0.9\n {line}\n");
        let said = match load(None, Some(&text)) {
            Ok(_) => String::new(),
            Err(failed) => failed.to_string(),
        };
        assert!(said.contains(words) && said.contains("haproxy.cfg:4"), "{line}: {said}");
    }
}
