//! The keyword tables say what really happens: every keyword of both manuals is in them, and each is walked through the
//! importer. An implemented one is accepted, a warned one gives a warning, a refused one an error, with its line.
#![expect(clippy::print_stdout, reason = "a helper of tests: figures are printed")]

mod import_support;

use std::collections::HashSet;

use import_support::{Imported, World, haproxy_text, keepalived_in};
use vipgate::config::import::keywords::{self, Keyword, Status, Table};

#[test]
fn every_keyword_of_the_manuals_is_in_the_tables() {
    let manuals = [
        ("haproxy-2.6", include_str!("fixtures/manuals/haproxy-2.6.tsv"), keywords::haproxy()),
        ("haproxy-3.3", include_str!("fixtures/manuals/haproxy-3.3.tsv"), keywords::haproxy()),
    ];
    for (name, list, table) in manuals {
        let entries = list.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap());
        let missing =
            entries.clone().filter(|(context, keyword)| table.get(context, keyword).is_none()).collect::<Vec<_>>();
        assert!(missing.is_empty(), "keywords of {name} that the table lacks: {missing:?}");
        println!("{name}: {} keywords", entries.count());
    }
    // keepalived.conf(5) has no index: its words are known without their blocks.
    let words = include_str!("fixtures/manuals/keepalived-2.2.7.txt").lines().filter(|line| !line.starts_with('#'));
    let known = keywords::keepalived().keywords().iter().map(|keyword| keyword.name).collect::<HashSet<_>>();
    let missing = words.clone().filter(|word| !known.contains(word)).collect::<Vec<_>>();
    assert!(missing.is_empty(), "keywords of keepalived.conf(5) that the table lacks: {missing:?}");
    println!("keepalived-2.2.7: {} keywords", words.count());
}

#[test]
fn tables_are_well_formed() {
    for table in [keywords::haproxy(), keywords::keepalived()] {
        let mut seen = HashSet::new();
        for keyword in table.keywords() {
            let Keyword { context, name, reason, .. } = *keyword;
            assert!(seen.insert((context, name)), "{context} {name} is there twice");
            assert!(!reason.is_empty(), "{context} {name} has no reason");
        }
    }
    let statuses = [
        include_str!("../src/config/import/keywords/haproxy.tsv"),
        include_str!("../src/config/import/keywords/keepalived.tsv"),
    ];
    for line in statuses.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#')) {
        let status = line.split('\t').nth(2).unwrap_or_default();
        assert!(matches!(status, "implemented" | "warned" | "refused"), "no such status: {line}");
    }
}

#[test]
fn every_haproxy_keyword_does_what_the_table_says() {
    walk(keywords::haproxy(), |keyword| {
        let (text, lines) = haproxy_example(keyword);
        (haproxy_text(&text), text, lines)
    });
}

#[test]
fn every_keepalived_keyword_does_what_the_table_says() {
    let world = World::default().file("/etc/keepalived/conf.d/a.conf", "global_defs {\n}\n");
    walk(keywords::keepalived(), |keyword| {
        let (text, lines) = keepalived_example(keyword);
        (keepalived_in(&world, &text), text, lines)
    });
}

/// Imports an example of each keyword. `lines` are those a finding about it may point at: its own, or the head of the
/// block that is warned about or refused as a whole.
fn walk(table: &Table, import: impl Fn(&Keyword) -> (Imported, String, Vec<usize>)) {
    let mut wrong = Vec::new();
    for keyword in table.keywords() {
        let (imported, text, lines) = import(keyword);
        let findings = imported.findings();
        let at_its_line = |severity: &str| {
            lines.iter().any(|line| findings.iter().any(|f| f.starts_with(&format!("{severity} {line}: "))))
        };
        let right = match keyword.status {
            Status::Implemented => findings.is_empty(),
            Status::Warned => at_its_line("warning") && !findings.iter().any(|finding| finding.starts_with("error")),
            Status::Refused => at_its_line("error"),
        };
        if !right {
            wrong.push(format!(
                "{} `{}` is {:?} in the table, but\n{text}gives {findings:#?}",
                keyword.context, keyword.name, keyword.status
            ));
        }
    }
    println!("{} keywords walked", table.keywords().len());
    assert!(wrong.is_empty(), "{} keywords:\n{}", wrong.len(), wrong.join("\n"));
}

fn haproxy_example(keyword: &Keyword) -> (String, Vec<usize>) {
    let Keyword { context, name, example, places, .. } = *keyword;
    let line = format!("{name} {example}").trim_end().to_owned();
    let listen = |line: &str| {
        format!("backend other\n mode tcp\nlisten l\n bind 127.0.0.1:7000\n server s 127.0.0.1:7001 check\n {line}\n")
    };
    match context {
        "section" => {
            let rest = match name {
                "frontend" => " bind 127.0.0.1:7000\n default_backend b\n",
                "listen" => " bind 127.0.0.1:7000\n",
                _ => "",
            };
            (format!("{line}\n{rest}"), vec![1])
        }
        "global" => (format!("global\n {line}\n"), vec![2]),
        "proxy" if name.starts_with("stats ") => {
            (format!("listen l\n bind 127.0.0.1:7000\n mode http\n {line}\n"), vec![4])
        }
        "proxy" if matches!(name, "http-request" | "redirect" | "monitor-uri") => {
            (format!("frontend f\n bind 127.0.0.1:7000\n mode http\n {line}\n"), vec![4])
        }
        "proxy" if name == "monitor fail" => {
            (format!("frontend f\n bind 127.0.0.1:7000\n mode http\n {line}\n monitor-uri /\n"), vec![4])
        }
        "http-request" => (format!("frontend f\n bind 127.0.0.1:7000\n mode http\n {context} {line}\n"), vec![4]),
        "proxy" if name == "stick-table" || matches!(name, "stick on" | "stick match" | "stick store-request") => {
            let other = if name != "stick-table" { "stick-table type ip size 1k" } else { "stick on src" };
            (format!("{} {other}\n", listen(&line)), vec![6])
        }
        "proxy" if name.starts_with("email-alert ") => {
            let others = " email-alert mailers m\n email-alert from a@example.org\n email-alert to b@example.org\n";
            (format!("{}{others}mailers m\n mailer smtp 192.0.2.25:25\n", listen(&line)), vec![6])
        }
        "proxy" if name == "option external-check" => {
            (format!("{} external-check command /bin/true\n", listen(&line)), vec![6])
        }
        "proxy" if places.contains('L') => (listen(&line), vec![6]),
        "proxy" => (format!("backend other\n mode tcp\nbackend b\n {line}\n"), vec![4]),
        "balance" => (listen(&format!("balance {line}")), vec![6]),
        "stick-table" => {
            let table = match name {
                "type" | "size" => "type ip size 10k".to_owned(),
                _ => format!("type ip size 10k {line}"),
            };
            (format!("{} stick on src\n", listen(&format!("stick-table {table}"))), vec![6])
        }
        "bind" => (listen(&format!("bind 127.0.0.1:7002 {line}")), vec![6]),
        "server" => (listen(&format!("server s2 127.0.0.1:7002 {line}")), vec![6]),
        "tcp-request connection" | "tcp-request session" | "tcp-request content" | "tcp-response content" => {
            let space = if example.is_empty() || example.starts_with('(') { "" } else { " " };
            (listen(&format!("{context} {name}{space}{example}")), vec![6])
        }
        "resolvers" => (format!("resolvers x\n {line}\n"), vec![1]),
        "peers" => (format!("peers x\n {line}\n"), vec![2]),
        "mailers" => (format!("mailers x\n {line}\n"), vec![2]),
        section => (format!("{section} x\n {line} x\n"), vec![1]),
    }
}

fn keepalived_example(keyword: &Keyword) -> (String, Vec<usize>) {
    let Keyword { context, name, example, .. } = *keyword;
    let line = format!("{name} {example}").trim_end().to_owned();
    let global = |line: &str, other: &str| format!("global_defs {{\n {line}\n {other}\n}}\n");
    let instance = |line: &str| format!("vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n {line}\n}}\n");
    let other = |name: &str| format!("vrrp_instance {name} {{\n interface eth9\n virtual_router_id 9\n}}\n");
    // What is followed has to be defined; it stands behind, so that no line moves.
    const TRACKERS: &str = "vrrp_script s {\n script /bin/true\n}\ntrack_file f {\n file /run/f\n}\n\
        vrrp_track_process p {\n process sshd\n}\n";
    match (context, name) {
        ("root", "vrrp_sync_group") => (format!("{line}\n{}{}", other("A"), other("B")), vec![1]),
        // Mail has a server and recipients, and a reader has its pipe.
        ("global_defs", "notification_email") => (global(&line, "smtp_server 127.0.0.1"), vec![2]),
        ("global_defs", "smtp_server") => (global(&line, "notification_email {\n a@b\n }"), vec![2]),
        ("global_defs", "notify_fifo_script") => (global(&line, "notify_fifo /run/y"), vec![2]),
        ("global_defs", "vrrp_notify_fifo_script") => (global(&line, "vrrp_notify_fifo /run/y"), vec![2]),
        ("vrrp_instance", "unicast_ttl" | "check_unicast_src") => {
            (instance(&format!("{line}\n unicast_peer {{ 192.0.2.2 }}")), vec![4])
        }
        ("vrrp_instance", "vmac_xmit_base") => (instance(&format!("{line}\n use_vmac")), vec![4]),
        ("vrrp_instance", "auth_hmac") => (instance(&format!("{line}\n version 3")), vec![4]),
        ("vrrp_instance", "track_script" | "track_file" | "track_process") => {
            (format!("{}{TRACKERS}", instance(&line)), vec![4])
        }
        ("vrrp_sync_group", "group") => {
            (format!("vrrp_sync_group G {{\n {line}\n}}\n{}{}", other("A"), other("B")), vec![2])
        }
        ("vrrp_sync_group", _) => {
            let group = format!("vrrp_sync_group G {{\n {line}\n group {{\n A\n B\n }}\n}}\n");
            (format!("{group}{}{}{TRACKERS}", other("A"), other("B")), vec![2])
        }
        ("vrrp_script", "script") | ("track_file", "file") | ("vrrp_track_process", "process") => {
            (format!("{context} x {{\n {line}\n}}\n"), vec![2])
        }
        ("vrrp_script", _) => (format!("{context} x {{\n {line}\n script /bin/true\n}}\n"), vec![2]),
        ("track_file", _) => (format!("{context} x {{\n {line}\n file /run/x\n}}\n"), vec![2]),
        ("vrrp_track_process", _) => (format!("{context} x {{\n {line}\n process sshd\n}}\n"), vec![2]),
        ("auth_hmac", "key") => (instance(&format!("auth_hmac {{\n {line}\n }}")), vec![5]),
        ("auth_hmac", _) => (instance(&format!("auth_hmac {{\n {line}\n key 1 0123456789abcdef\n }}")), vec![5]),
        ("route", "default" | "default6") => {
            (instance(&format!("virtual_routes {{\n {line} via 192.0.2.254\n }}")), vec![5])
        }
        ("route", "unicast" | "blackhole" | "unreachable" | "prohibit" | "to") => {
            (instance(&format!("virtual_routes {{\n {line} 10.1.0.0/16\n }}")), vec![5])
        }
        ("route", _) => (instance(&format!("virtual_routes {{\n 10.1.0.0/16 {line}\n }}")), vec![5]),
        ("rule", "priority" | "preference" | "order") => {
            (instance(&format!("virtual_rules {{\n from 10.1.0.0/16 table 1 {line}\n }}")), vec![5])
        }
        ("rule", "table" | "lookup") => {
            (instance(&format!("virtual_rules {{\n from 10.1.0.0/16 {line} preference 5\n }}")), vec![5])
        }
        ("rule", _) => (instance(&format!("virtual_rules {{\n {line} table 1 preference 5\n }}")), vec![5]),
        ("root", "vrrp_instance") => (instance("priority 1"), vec![1]),
        ("root", _) => (format!("{line}\n"), vec![1]),
        ("global_defs", _) => (format!("global_defs {{\n {line}\n}}\n"), vec![2]),
        ("vrrp_instance", "native_ipv6") => (instance(&format!("{line}\n unicast_peer {{ fe80::2 }}")), vec![4]),
        ("vrrp_instance", "unicast_src_ip") => (instance(&format!("{line}\n unicast_peer {{ 192.0.2.2 }}")), vec![4]),
        ("vrrp_instance", _) => (instance(&line), vec![4]),
        ("authentication", _) => {
            let both = if name == "auth_type" { "auth_pass 1" } else { "auth_type PASS" };
            (instance(&format!("authentication {{\n {line}\n {both}\n }}")), vec![5])
        }
        ("virtual_ipaddress", _) => (instance(&format!("virtual_ipaddress {{\n 192.0.2.1/24 {line}\n }}")), vec![5]),
        ("real_server", _) => {
            (format!("virtual_server 192.0.2.1 80 {{\n real_server 10.0.0.1 80 {{\n {line}\n }}\n}}\n"), vec![1, 2, 3])
        }
        ("checker", _) => {
            let check = format!("TCP_CHECK {{\n {line}\n }}");
            (
                format!("virtual_server 192.0.2.1 80 {{\n real_server 10.0.0.1 80 {{\n {check}\n }}\n}}\n"),
                vec![1, 2, 3, 4],
            )
        }
        (block, _) => (format!("{block} x {{\n {line}\n}}\n"), vec![1, 2]),
    }
}
