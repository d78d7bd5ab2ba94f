//! What files in use write, and HAProxy takes.

use std::time::Duration;

use crate::import_support::{World, haproxy_in, haproxy_text, load, model};
use vipgate::config::raw::{Check, Host};
use vipgate::model::rule::{Action, Denial, Stage};
use vipgate::model::{Algorithm, Config};

#[test]
fn variables_stand_in_addresses_whatever_the_quotes() {
    let world = World::default().variable("HOST", "192.0.2.7").variable("PORT", "8080").variable("NAME", "web");
    let text = "global\n setenv PEER 192.0.2.9\n log $HOST:514 local0\n stats socket $HOST:9000\n\
        resolvers r\n nameserver n ${PEER}:53\n\
        listen l\n bind '*:$PORT',$HOST:81\n source $PEER\n option tcp-check\n tcp-check connect addr $HOST port 1\n\
         server a $NAME.example:${PORT} check addr ${HOST} source $PEER\n\
         server-template t 2 $HOST:80\n";
    let raw = haproxy_in(&world, text).clean().raw;
    let listen = &raw.services[0].listen;
    assert_eq!(listen[0].ports.value.to_string(), "8080");
    assert_eq!(listen[1].host.value, Host::Address("192.0.2.7".parse().unwrap()));
    let servers = &raw.pools[0].servers;
    assert_eq!(servers[0].host.value, Host::Name("web.example".to_owned(), None));
    assert_eq!(servers[1].host.value, Host::Address("192.0.2.7".parse().unwrap()));
    assert_eq!(raw.log.unwrap().targets[0].to.as_ref().unwrap().value, "192.0.2.7:514");
    assert_eq!(raw.stats_sockets[0].address.as_ref().unwrap().value, "192.0.2.7:9000");
    assert!(format!("{:?}", raw.resolvers).contains("192.0.2.9"), "{:?}", raw.resolvers);

    // Numbers that are no addresses stay as they are written.
    let number = haproxy_in(&world, "listen l\n bind *:80\n maxconn $PORT\n server a 192.0.2.1:80\n").errors();
    assert_eq!(number, ["error 3: `$PORT` is not a whole number from 0 to 4294967295"]);
}

#[test]
fn a_variable_that_is_not_set_is_empty_and_told() {
    let found = haproxy_in(&World::default(), "listen l\n bind $HOST:80\n server a 192.0.2.1:80\n");
    assert_eq!(found.findings(), ["warning 2: the variable `HOST` is not set: nothing is put in its place"]);
    assert_eq!(found.raw.services[0].listen[0].host.value, Host::Address("0.0.0.0".parse().unwrap()));
}

/// Where a service listens: the address, and whether IPv4 is included.
fn listening(text: &str) -> Vec<(String, bool)> {
    let services = model(None, Some(text)).services;
    let listen = services.iter().flat_map(|service| &service.listen);
    listen.map(|listen| (listen.address.to_string(), listen.dual_stack)).collect()
}

#[test]
fn a_single_address_and_both_families_go_beside_all_addresses() {
    let listen = |binds: &str| listening(&format!("listen l\n{binds} server a 192.0.2.1:80\n"));
    let own = |address: &str, dual_stack| (address.to_owned(), dual_stack);
    assert_eq!(listen(" bind *:80\n bind :::80\n"), [own("0.0.0.0", false), own("::", false)]);
    assert_eq!(listen(" bind :::80 v4v6\n bind *:80\n"), [own("::", false), own("0.0.0.0", false)]);
    assert_eq!(listen(" bind *:80\n bind :::81\n"), [own("0.0.0.0", false), own("::", true)]);
    assert_eq!(listen(" bind 127.0.0.1:80\n bind [::]:80\n"), [own("127.0.0.1", false), own("::", true)]);
    assert_eq!(listen(" bind *:80\n bind 127.0.0.1:80\n"), [own("0.0.0.0", false), own("127.0.0.1", false)]);
    let two = "frontend a\n bind *:80\n default_backend b\nfrontend c\n bind :::80\n default_backend b\n\
        backend b\n server a 192.0.2.1:80\n";
    assert_eq!(listening(two), [own("0.0.0.0", false), own("::", false)]);
}

#[test]
fn the_same_address_twice_is_told_with_both_lines() {
    let text = "listen l\n bind 127.0.0.1:80\n server a 192.0.2.1:80\n\
        listen m\n bind 127.0.0.1:80\n server a 192.0.2.1:80\n";
    let failed = load(None, Some(text)).unwrap_err().to_string();
    for expected in ["port 80 of 127.0.0.1 is listened on twice", "haproxy.cfg:5", "haproxy.cfg:2"] {
        assert!(failed.contains(expected), "{failed}");
    }
    let ranges = "listen l\n bind *:80-90\n bind [::]:85-95\n server a 192.0.2.1:80\n";
    let failed = load(None, Some(ranges)).unwrap_err().to_string();
    assert!(failed.contains("port 85 of :: is listened on twice, for IPv4, which it includes"), "{failed}");
}

#[test]
fn keywords_of_2_6_that_change_nothing_are_taken() {
    let text = "global\n master-worker\n ssl-load-extra-files none\n ssl-load-extra-del-ext\n\
        defaults\n default-server check-send-proxy\n\
        listen l\n bind *:80\n dynamic-cookie-key secret\n option tcp-check\n tcp-check set-var(check.x) int(1)\n\
         tcp-check set-var-fmt(check.y) z\n tcp-check unset-var(check.x)\n http-check set-var(check.x) int(1)\n\
         server a 192.0.2.1:80 check no-check-send-proxy\n server b 192.0.2.2:80 check\n";
    let found = haproxy_text(text).without_errors();
    assert_eq!(found.warnings().len(), 8, "{:?}", found.warnings());
    let header = |server: usize| match &found.raw.pools[0].servers[server].check.as_ref().unwrap().value {
        Check::On(options) => options.proxy_header.is_some(),
        Check::Off => false,
    };
    assert_eq!((header(0), header(1)), (false, true));
}

/// A `listen` with these lines.
fn listen(lines: &str) -> Config {
    model(None, Some(&format!("listen l\n bind 127.0.0.1:7000\n{lines}\n server a 192.0.2.1:80\n")))
}

/// What is found in a `listen` with this line.
fn found(line: &str) -> Vec<String> {
    haproxy_text(&format!("listen l\n bind 127.0.0.1:7000\n server a 192.0.2.1:80\n{line}\n")).findings()
}

#[test]
fn acls_that_need_not_be_written_tell_http_from_anything_else() {
    for name in [
        "HTTP",
        "!HTTP",
        "HTTP_1.0",
        "HTTP_1.1",
        "METH_GET",
        "METH_POST",
        "TRUE",
        "WAIT_END",
        "RDP_COOKIE",
        "{ req.proto_http }",
    ] {
        let lines = format!(" tcp-request inspect-delay 5s\n tcp-request content accept if {name}");
        assert!(listen(&lines).services[0].policy.is_some(), "{name}");
    }
    for (name, message) in [
        ("HTTP_URL_ABS", "the ACL `HTTP_URL_ABS` asks for parts of an HTTP request, which are not read in TCP mode"),
        ("http", "there is no ACL called `http`"),
        ("{ hdr_beg(host) www }", "`hdr_beg` is part of an HTTP request, which is not read in TCP mode"),
        ("{ rdp_cookie(x) y }", "`rdp_cookie`: of the cookies of RDP only `mstshash` is read"),
    ] {
        assert_eq!(found(&format!(" tcp-request content reject if {name}")), [format!("error 4: {message}")]);
    }
}

#[test]
fn a_silent_drop_sends_nothing_whatever_its_ttl() {
    let text = "frontend f\n bind 127.0.0.1:7000\n tcp-request connection silent-drop if { src 10.0.0.0/8 }\n\
         tcp-request content silent-drop rst-ttl 1 unless TRUE\n default_backend b\nbackend b\n server a 192.0.2.1:80\n";
    let warnings = haproxy_text(text).without_errors().warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`rst-ttl` has no effect"), "{warnings:?}");
    let policy = model(None, Some(text)).services[0].policy.clone().unwrap();
    let rules: Vec<_> = policy.rules.iter().map(|rule| (rule.stage, rule.when.is_some())).collect();
    assert_eq!(rules, [(Stage::Connection, true), (Stage::Content, true)]);
    assert!(policy.rules.iter().all(|rule| rule.action == Action::Reject(Denial::Silent)));
}

#[test]
fn what_clients_cannot_be_known_by_is_named() {
    for (key, why) in [
        ("rdp_cookie(msts)", "`rdp_cookie`: of the cookies of RDP only `mstshash` is read"),
        ("hdr(x)", "`hdr` is part of an HTTP request, which is not read in TCP mode"),
        ("fe_name", "`fe_name` cannot be asked yet"),
    ] {
        let found = found(&format!(" stick-table type string len 20 size 10k\n stick on {key}"));
        let begin = format!("error 5: {why}");
        assert!(found.len() == 1 && found[0].starts_with(&begin), "{found:?}");
    }
}

#[test]
fn session_brokers_lead_clients_by_a_cookie() {
    let token = |line: &str| {
        let text = format!("listen l\n bind *:3389\n{line} server a 192.0.2.1:3389\n");
        model(None, Some(&text)).pools[0].rdp_cookie.clone()
    };
    assert_eq!(token(""), None);
    assert_eq!(token(" persist rdp-cookie\n").as_deref(), Some("msts"));
    assert_eq!(token(" persist rdp-cookie(other)\n").as_deref(), Some("other"));
}

/// The pools that a service's rules send connections to, and whether the rest goes nowhere.
fn routes(frontend: &str) -> (Vec<String>, bool) {
    let backends = ["a.example-https", "b.example-https", "C.example-https", "bk_443", "bk_080", "rest"];
    let backends: String = backends.iter().map(|name| format!("backend {name}\n server a 192.0.2.1:80\n")).collect();
    let text = format!("frontend f\n bind 127.0.0.1:7000\n tcp-request inspect-delay 5s\n{frontend}\n{backends}");
    let config = model(None, Some(&text));
    let policy = config.services[0].policy.as_ref().unwrap();
    (policy.pools().map(str::to_owned).collect(), policy.rules.iter().any(|rule| rule.action == Action::Nowhere))
}

#[test]
fn names_of_backends_are_made_of_what_clients_ask_for() {
    let (pools, nowhere) = routes(" use_backend %[req.ssl_sni,lower]-https");
    let https = ["C.example-https", "a.example-https", "b.example-https"].map(str::to_owned).to_vec();
    assert_eq!((pools, nowhere), (https, true));
    let (pools, nowhere) = routes(" use_backend bk_%[dst_port]\n default_backend rest");
    assert_eq!((pools, nowhere), (vec!["bk_080".to_owned(), "bk_443".to_owned()], false));
    // One error: that the frontend has no backend then is its consequence.
    let refused = haproxy_text("frontend f\n bind 127.0.0.1:7000\n use_backend %[hdr(host)]\n").errors();
    assert_eq!(refused, ["error 3: `hdr` is part of an HTTP request, which is not read in TCP mode"]);
}

#[test]
fn a_frontend_whose_backends_are_not_there_is_left_out() {
    let text = "frontend f\n bind 127.0.0.1:7000\n use_backend %[req.ssl_sni]-x\nfrontend g\n bind 127.0.0.1:7001\n default_backend b\n\
         backend b\n server a 192.0.2.1:80\n";
    let warnings = haproxy_text(text).without_errors().warnings();
    assert!(warnings.iter().any(|line| line.contains("`f` has no backend")), "{warnings:?}");
    assert_eq!(model(None, Some(text)).services.len(), 1);
}

#[test]
fn what_haproxy_passes_over_is_told_and_passed_over() {
    for line in [
        " balance uri whole",
        " balance url_param x check_post",
        " balance hdr(x)",
        " balance roundrobin foo",
        " option redispatch foo",
        " stats http-request allow",
        " timeout client 1m30s",
    ] {
        let found = found(line);
        assert!(found.len() == 1 && found[0].starts_with("warning 4: "), "{line}: {found:?}");
    }
    assert_eq!(listen(" balance uri").pools[0].algorithm, Algorithm::RoundRobin);
    assert_eq!(listen(" timeout client 1m30s").services[0].client_timeout, Some(Duration::from_secs(60)));
    for line in [" maxconn 0", " backlog 0", " bind :81 maxconn 0 backlog 0", "global\n maxconn 0"] {
        assert_eq!(found(line), [""; 0], "{line}");
    }
    let stick = "frontend f\n bind :1\n default_backend b\n stick on src\nbackend b\n server a 192.0.2.1\n";
    assert_eq!(haproxy_text(stick).findings(), ["warning 4: `stick on` has no place in a `frontend` section: ignored"]);
}

#[test]
fn what_haproxy_refuses_is_told() {
    for (line, finding) in [
        (" server a/b 192.0.2.2:80", "error 4: `/` cannot be in a name: letters, digits, `-`, `_`, `.` and `:` can"),
        (" server 'a b' 192.0.2.2:80", "error 4: ` ` cannot be in a name: letters, digits, `-`, `_`, `.` and `:` can"),
        (" server b 192.0.2.2:80 resolvers nope", "error 4: there is no section `resolvers nope`"),
        (" option mysql-check foo", "error 4: `option mysql-check` wants `user` and a name, or nothing"),
        (" option mysql-check user", "error 4: `option mysql-check` wants `user` and a name, or nothing"),
        (" option pgsql-check", "error 4: `option pgsql-check` wants `user` and a name"),
        (" default_backend l", "warning 4: `l` is its own backend: HAProxy takes this for a loop"),
        (
            " server b 192.0.2.2:80 check check-ssl",
            "warning 4: certificates are verified by the authorities that the system trusts, as nothing else is said",
        ),
        (
            " tcp-check expect string x\n tcp-check connect",
            "error 5: `tcp-check connect` comes too late: the steps above have connected",
        ),
        (
            " http-check send meth GET\n http-check connect",
            "error 5: `http-check connect` comes too late: the steps above have connected",
        ),
        ("defaults a\ndefaults a\nbackend b from a", "error 6: there are several `defaults a` above"),
        (
            " use_backend l if { src 10/8 }",
            "error 4: `10/8` is a part of an address: write four numbers, such as 10.0.0.0/8",
        ),
    ] {
        assert_eq!(found(line), [finding], "{line}");
    }
    assert_eq!(found(" tcp-check comment x\n tcp-check connect\n tcp-check send y\n tcp-check connect"), [""; 0]);
    assert_eq!(found(" server b 192.0.2.2:80 check check-ssl verify none"), [""; 0]);
}

#[test]
fn the_keys_of_a_map_are_patterns() {
    let world = World::default().file("/networks.map", "# ours\n10.0.0.0/8 one\n192.168.0.0/16\ttwo\n");
    let text =
        "frontend f\n bind :1\n use_backend b if { src -M -f /networks.map }\nbackend b\n server a 192.0.2.1:80\n";
    let raw = haproxy_in(&world, text).clean().raw;
    let rule = &raw.services[0].policy.rules[0].value;
    assert!(format!("{rule:?}").contains("192.168.0.0"), "{rule:?}");
}
