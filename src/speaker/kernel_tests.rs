//! Routes, rules and VMACs against the kernel, as iproute2 shows them, each test in a network namespace of its own.

use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rtnetlink::Handle;

use super::kernel::Refused;
use super::vmac::{Found, Wanted};
use super::{netlink, routes, rules, vmac};
use crate::model::{Family, Prefix, Route, RouteKind, Rule, Scope, Vrid};

/// Runs a test in a namespace with `eth0` (192.0.2.1/24, 2001:db8::1/64) and `eth1` at the ends of a cable, both up.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Handle) -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root (network namespaces)");
        eprintln!("\n*** SKIPPED: needs root (network namespaces) ***\n");
        return;
    }
    let life = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for command in [
            "link set lo up",
            "link add eth0 type veth peer name eth1",
            "link set eth0 addrgenmode none up",
            "link set eth1 addrgenmode none up",
            "addr add 192.0.2.1/24 dev eth0",
            "addr add 2001:db8::1/64 dev eth0 nodad",
        ] {
            ip(command);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let handle = netlink::connect().unwrap();
            test(handle).await;
        });
    });
    life.join().unwrap();
}

/// What `ip` prints, a line each, one blank between two words.
fn ip(arguments: &str) -> Vec<String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    String::from_utf8(output.stdout).unwrap().lines().map(words).collect()
}

/// Those of the lines that show our number.
fn marked(commands: &[&str]) -> Vec<String> {
    commands.iter().flat_map(|command| ip(command)).filter(|line| line.contains("proto 118")).collect()
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

fn sysctl(interface: &str, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/{name}")).unwrap().trim().to_owned()
}

fn route(destination: &str) -> Route {
    Route::new(destination.parse().unwrap())
}

fn via(destination: &str, gateway: &str) -> Route {
    Route { gateway: Some(gateway.parse().unwrap()), ..route(destination) }
}

fn rule(table: u32) -> Rule {
    Rule::new(table)
}

#[test]
fn every_kind_of_route_is_set_shown_and_removed() {
    in_namespace(|handle| async move {
        let eth0 = Some(index("eth0"));
        let source = |address: &str| Some(address.parse().unwrap());
        let cases = [
            (via("10.1.0.0/16", "192.0.2.254"), None, "10.1.0.0/16 via 192.0.2.254 dev eth0 proto 118"),
            (route("10.2.0.7/16"), eth0, "10.2.0.0/16 dev eth0 proto 118 scope link"),
            (
                Route {
                    source: source("192.0.2.1"),
                    metric: Some(5),
                    mtu: Some(1400),
                    ..via("0.0.0.0/0", "192.0.2.254")
                },
                eth0,
                "default via 192.0.2.254 dev eth0 proto 118 src 192.0.2.1 metric 5 mtu 1400",
            ),
            (
                Route { on_link: true, scope: Some(Scope::Global), ..via("10.3.0.0/16", "198.51.100.1") },
                eth0,
                "10.3.0.0/16 via 198.51.100.1 dev eth0 proto 118 onlink",
            ),
            (via("10.4.0.0/16", "2001:db8::fe"), eth0, "10.4.0.0/16 via inet6 2001:db8::fe dev eth0 proto 118"),
            (
                Route { table: Some(100), ..via("10.5.0.0/16", "192.0.2.254") },
                None,
                "10.5.0.0/16 via 192.0.2.254 dev eth0 table 100 proto 118",
            ),
            (
                Route { table: Some(70_000), ..route("10.6.0.0/16") },
                eth0,
                "10.6.0.0/16 dev eth0 table 70000 proto 118 scope link",
            ),
            (Route { kind: RouteKind::Blackhole, ..route("10.7.0.0/16") }, None, "blackhole 10.7.0.0/16 proto 118"),
            (Route { kind: RouteKind::Unreachable, ..route("10.8.0.0/16") }, None, "unreachable 10.8.0.0/16 proto 118"),
            (Route { kind: RouteKind::Prohibit, ..route("10.9.0.0/16") }, None, "prohibit 10.9.0.0/16 proto 118"),
            (
                via("2001:db8:1::/48", "2001:db8::fe"),
                None,
                "2001:db8:1::/48 via 2001:db8::fe dev eth0 proto 118 metric 1024 pref medium",
            ),
            (
                Route {
                    metric: Some(9),
                    source: source("2001:db8::1"),
                    mtu: Some(1280),
                    ..via("::/0", "2001:db8::fe")
                },
                eth0,
                "default via 2001:db8::fe dev eth0 proto 118 src 2001:db8::1 metric 9 mtu 1280 pref medium",
            ),
            (
                Route { kind: RouteKind::Unreachable, ..route("2001:db8:2::/48") },
                None,
                "unreachable 2001:db8:2::/48 dev lo proto 118 metric 1024 pref medium",
            ),
            (
                Route { table: Some(70_000), ..route("2001:db8:3::/48") },
                eth0,
                "2001:db8:3::/48 dev eth0 table 70000 proto 118 metric 1024 pref medium",
            ),
        ];
        let shown = || marked(&["-4 route show table all", "-6 route show table all"]);
        for (route, index, expected) in cases {
            let placed = [(route, index)];
            assert_eq!(routes::set(&handle, &placed).await, [Ok(())], "{expected}");
            assert_eq!(shown(), [expected]);
            assert_eq!(routes::set(&handle, &placed).await, [Err(Refused(libc::EEXIST))], "twice: {expected}");
            assert_eq!(routes::ours(&handle).await.unwrap().len(), 1);
            assert_eq!(routes::remove(&handle, &placed).await, [Ok(())]);
            assert_eq!(shown(), [""; 0], "after {expected}");
            assert_eq!(routes::remove(&handle, &placed).await, [Ok(())], "what is gone is removed");
        }
    });
}

#[test]
fn somebody_elses_route_stays_behind_ours_and_is_not_removed() {
    in_namespace(|handle| async move {
        ip("route add default via 192.0.2.253");
        let ours = [(via("0.0.0.0/0", "192.0.2.254"), None)];
        assert_eq!(routes::set(&handle, &ours).await, [Ok(())]);
        assert!(ip("route get 203.0.113.1")[0].contains("via 192.0.2.254"));
        assert_eq!(routes::remove(&handle, &ours).await, [Ok(())]);
        // The very same, but somebody else's.
        let same = [(via("0.0.0.0/0", "192.0.2.253"), None)];
        assert_eq!(routes::remove(&handle, &same).await, [Ok(())]);
        assert_eq!(ip("route show default"), ["default via 192.0.2.253 dev eth0"]);
    });
}

#[test]
fn a_route_that_cannot_be_is_refused_with_its_cause() {
    in_namespace(|handle| async move {
        let unreachable = [(via("10.1.0.0/16", "203.0.113.1"), None)];
        assert_eq!(routes::set(&handle, &unreachable).await, [Err(Refused(libc::ENETUNREACH))]);
        let nowhere = [(route("10.1.0.0/16"), Some(4711))];
        assert_eq!(routes::set(&handle, &nowhere).await, [Err(Refused(libc::ENODEV))]);
    });
}

#[test]
fn routes_and_rules_left_behind_are_found_and_removed() {
    in_namespace(|handle| async move {
        let placed: Vec<_> = (0..200).map(|n| (via(&format!("10.{n}.0.0/16"), "192.0.2.254"), None)).collect();
        assert!(routes::set(&handle, &placed).await.iter().all(Result::is_ok));
        let far = Route { table: Some(70_000), ..via("2001:db8:1::/48", "2001:db8::fe") };
        assert_eq!(routes::set(&handle, &[(far, None)]).await, [Ok(())]);
        rules::set(&handle, &Rule { mark: Some(7), ..rule(70_000) }).await.unwrap();
        ip("route add 10.250.0.0/16 via 192.0.2.254 proto static");
        ip("rule add from 10.0.0.0/8 table 99 priority 90");
        // What another life finds.
        let handle = netlink::connect().unwrap();
        let left = routes::ours(&handle).await.unwrap();
        assert_eq!(left.len(), 201);
        assert!(routes::remove_messages(&handle, left).await.iter().all(Result::is_ok));
        for rule in rules::ours(&handle).await.unwrap() {
            rules::remove_message(&handle, rule).await.unwrap();
        }
        assert_eq!(ip("route show proto 118"), [""; 0]);
        assert_eq!(ip("-6 route show table 70000"), [""; 0]);
        assert_eq!(ip("route show proto static"), ["10.250.0.0/16 via 192.0.2.254 dev eth0"]);
        assert_eq!(ip("rule")[1..3], ["90: from 10.0.0.0/8 lookup 99", "32766: from all lookup main"]);
    });
}

#[test]
fn every_selector_of_a_rule_is_set_shown_and_removed() {
    in_namespace(|handle| async move {
        let prefix = |text: &str| -> Option<Prefix> { Some(text.parse().unwrap()) };
        let name = |text: &str| Some(text.parse().unwrap());
        let cases = [
            (Rule { from: prefix("10.0.0.0/8"), ..rule(77) }, "from 10.0.0.0/8 lookup 77 proto 118"),
            (
                Rule { to: prefix("10.1.0.0/16"), priority: Some(50), ..rule(70_000) },
                "from all to 10.1.0.0/16 lookup 70000 proto 118",
            ),
            (
                Rule { incoming: name("eth0"), outgoing: name("eth1"), mark: Some(7), ..rule(77) },
                "from all fwmark 0x7 iif eth0 oif eth1 lookup 77 proto 118",
            ),
            (Rule { mark: Some(7), mark_mask: Some(0xff), ..rule(77) }, "from all fwmark 0x7/0xff lookup 77 proto 118"),
            (
                Rule { from: prefix("2001:db8::/32"), priority: Some(60), ..rule(77) },
                "from 2001:db8::/32 lookup 77 proto 118",
            ),
        ];
        let shown = || marked(&["-4 rule", "-6 rule"]);
        for (rule, expected) in cases {
            rules::set(&handle, &rule).await.unwrap();
            let lines = shown();
            let (priority, selector) = lines[0].split_once(": ").unwrap();
            assert_eq!((lines.len(), selector), (1, expected));
            assert!(rule.priority.is_none_or(|wanted| wanted.to_string() == priority));
            assert_eq!(rules::set(&handle, &rule).await, Err(Refused(libc::EEXIST)), "twice: {expected}");
            assert_eq!(rules::ours(&handle).await.unwrap().len(), 1);
            rules::remove(&handle, &rule).await.unwrap();
            assert_eq!(shown(), [""; 0], "after {expected}");
            rules::remove(&handle, &rule).await.unwrap();
        }
        ip("rule add from 10.0.0.0/8 table 77");
        rules::remove(&handle, &Rule { from: prefix("10.0.0.0/8"), ..rule(77) }).await.unwrap();
        assert_eq!(ip("rule")[1], "32765: from 10.0.0.0/8 lookup 77", "somebody else's stays");
    });
}

async fn make(handle: &Handle, wanted: &Wanted) -> Result<Found, Refused> {
    vmac::set(handle, wanted).await.map(|message| vmac::read(&message).expect("ours"))
}

fn wanted(name: &str, vrid: u8, family: Family) -> Wanted {
    Wanted { name: name.into(), base: index("eth0"), mac: vmac::mac(Vrid::new(vrid).unwrap(), family) }
}

#[test]
fn a_vmac_is_made_as_rfc_9568_wants_it_and_the_base_is_restored() {
    in_namespace(|handle| async move {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/arp_announce", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
        let four = make(&handle, &wanted("vrrp.51", 51, Family::V4)).await.unwrap();
        let six = make(&handle, &wanted("vrrp6.51", 51, Family::V6)).await.unwrap();
        assert_eq!(four.index, index("vrrp.51"));
        for (name, mac) in [("vrrp.51", "00:00:5e:00:01:33"), ("vrrp6.51", "00:00:5e:00:02:33")] {
            let shown = || ip(&format!("-d link show {name}")).join(" ");
            assert!(shown().contains(&format!("{name}@eth0: <BROADCAST,MULTICAST>")), "{}", shown());
            vmac::switch(&handle, index(name), true).await.unwrap();
            let shown = shown();
            assert!(shown.contains(&format!("{name}@eth0: <BROADCAST,MULTICAST,UP,LOWER_UP>")), "{shown}");
            assert!(shown.contains(&format!("link/ether {mac} ")), "{shown}");
            assert!(shown.contains("macvlan mode private"), "{shown}");
            assert!(shown.contains("addrgenmode none"), "{shown}");
            assert_eq!(ip(&format!("addr show dev {name} scope link")).len(), 2, "no address: link and alias");
            let ipv4 = ["accept_local", "arp_ignore", "rp_filter"].map(|setting| sysctl(name, setting));
            assert_eq!(ipv4, ["1", "1", "0"]);
            let accept_ra = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra")).unwrap();
            assert_eq!(accept_ra, "0\n");
        }
        let base = || ["arp_ignore", "arp_filter", "arp_announce"].map(|setting| sysctl("eth0", setting));
        assert_eq!(base(), ["1", "1", "2"]);
        vmac::switch(&handle, four.index, false).await.unwrap();
        // Again: nothing changes.
        assert_eq!(make(&handle, &wanted("vrrp.51", 51, Family::V4)).await.unwrap(), four);
        vmac::remove(&handle, &four).await.unwrap();
        assert_eq!(base(), ["1", "1", "2"], "another one is still there");
        vmac::remove(&handle, &six).await.unwrap();
        assert_eq!(base(), ["0", "0", "1"]);
        vmac::remove(&handle, &six).await.unwrap();
        assert_eq!(ip("-br link").len(), 3);
    });
}

#[test]
fn a_later_life_recognises_a_vmac_and_restores_the_base() {
    in_namespace(|handle| async move {
        let made = make(&handle, &wanted("vrrp.51", 51, Family::V4)).await.unwrap();
        ip("link add other0 link eth0 type macvlan mode private");
        let handle = netlink::connect().unwrap();
        assert_eq!(vmac::ours(&handle).await.unwrap(), std::slice::from_ref(&made));
        // One of the same name for another VRID is made again, and what was before is still known.
        let again = make(&handle, &wanted("vrrp.51", 52, Family::V4)).await.unwrap();
        assert_eq!(again.before, made.before);
        assert!(ip("link show vrrp.51")[1].contains("00:00:5e:00:01:34"));
        for left in vmac::ours(&handle).await.unwrap() {
            vmac::remove(&handle, &left).await.unwrap();
        }
        assert_eq!((sysctl("eth0", "arp_ignore"), sysctl("eth0", "arp_filter")), ("0".into(), "0".into()));
        assert_eq!(ip("-br link show type macvlan").len(), 1, "somebody else's stays");
        // An interface of somebody else's is in the way.
        ip("link add vrrp.51 type veth peer name vrrp.52");
        assert_eq!(make(&handle, &wanted("vrrp.51", 51, Family::V4)).await, Err(Refused(libc::EEXIST)));
    });
}

#[test]
fn requests_prepared_for_the_guardian_undo_everything() {
    in_namespace(|handle| async move {
        let link = make(&handle, &wanted("vrrp.51", 51, Family::V4)).await.unwrap();
        let route = via("10.1.0.0/16", "192.0.2.254");
        let rule = Rule { mark: Some(7), ..rule(70_000) };
        assert_eq!(routes::set(&handle, &[(route.clone(), None)]).await, [Ok(())]);
        rules::set(&handle, &rule).await.unwrap();
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        let [unlink, restore] = vmac::removal(&link);
        for request in [rules::removal(&rule), routes::removal(&route, None), unlink, restore] {
            socket.send(&request, 0).unwrap();
            let (answer, _) = socket.recv_from_full().unwrap();
            // An acknowledgement: NLMSG_ERROR with 0.
            assert_eq!((answer[4], &answer[16..20]), (2, &[0; 4][..]));
        }
        assert_eq!(ip("-br link").len(), 3);
        assert_eq!(sysctl("eth0", "arp_ignore"), "0");
        assert_eq!(ip("route show proto 118"), [""; 0]);
        assert_eq!(rules::ours(&handle).await.unwrap(), []);
    });
}
