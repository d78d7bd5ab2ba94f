//! What files in use write, and HAProxy takes.
#![expect(clippy::unwrap_used, reason = "a helper of tests: it fails them")]

mod import_support;

use import_support::{World, haproxy_in, haproxy_text, load, model};
use vipgate::config::raw::{Check, Host};

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
