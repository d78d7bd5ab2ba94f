//! Where clients come in, and the address and the port that connections go to and come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::import_support::{haproxy_text, load, model};
use crate::{pool, validated};
use vipgate::model::{ServerPort, Transparent};

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
fn tls_is_refused_with_its_line() {
    let errors =
        haproxy_text("listen l\n bind :443 ssl crt /etc/x.pem alpn h2\n server s 1.1.1.1:443 ssl verify none\n")
            .errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("error 2: `ssl`") && errors[2].starts_with("error 3: `ssl`"), "{errors:?}");
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
        let said = validated(&text);
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
