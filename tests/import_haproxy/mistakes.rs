//! Words that nobody knows and values that cannot be.

use crate::import_support::haproxy_text;

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
    for line in [
        " maxconn abc",
        " maxconn",
        " maxconn 1 2",
        " retries 3x",
        " timeout client 5.5",
        " timeout server abc",
        " timeout connect",
        " balance",
        " mode foo",
        " server a",
        " server a 1.1.1.1:70000",
        " server a 1.1.1.1:80-90",
        " server a 1.1.1.300:80",
        " server a unix@/run/x",
        " server a 1.1.1.1:80 rise 2x",
        " server a 1.1.1.1:80 fall 0",
        " server a 1.1.1.1:80 weight 300",
        " server a 1.1.1.1:80 weight",
        " server a 1.1.1.1:80 check port 0",
        " server a 1.1.1.1:80 check inter 2x",
        " server a 1.1.1.1:80 check inter 0",
        " server a 1.1.1.1:80 on-marked-down zork",
        " bind",
        " bind 1.1.1.1",
        " bind 1.1.1.1:0",
        " bind 1.1.1.1:90-80",
        " bind 1.1.1.1:+5",
        " bind 1.1.1.1:99999",
        " bind /run/x.sock",
        " bind fd@3",
        " bind :80 maxconn",
        " bind :80 maxconn 3x",
        " stick-table type ip",
        " stick-table type zork size 5",
        " stick-table type ip size 10q",
        " stick on",
        " stick on req.len",
        " use_backend",
        " use_backend l if { hdr(host) x }",
        " use_backend l if",
        " use_backend l if zork",
        " use_backend l if { src 10.0.0.1",
        " use_backend l zork",
        " use_backend l zork if { src 10.0.0.1 }",
        " use_backend %[hdr(host)]",
        " hash-type zork",
        " no maxconn",
        " tcp-request connection",
        " tcp-request connection reject if { src 10.0.0.0/33 }",
        " tcp-request connection reject if { src }",
        " tcp-request connection reject now",
        " tcp-request connection track-sc0",
        " tcp-request connection track-sc0 dst",
        " tcp-request inspect-delay 5x",
        " acl",
        " rate-limit sessions x",
        " tcp-request content zork",
        " server-state-file-name a b",
    ] {
        let text = format!("listen l\n bind 127.0.0.1:7000\n server s 10.0.0.1:1\n{line}\n");
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
fn what_is_not_there_is_named() {
    let section = |line: &str| format!("listen l\n bind :1\n server s 10.0.0.1:1\n {line}\n");
    let told = |line: &str| haproxy_text(&section(line)).errors().join("\n");
    let key =
        told("stick-table type string len 9 size 9\n stick on req.payload(0,9),mqtt_field_value(connect,username)");
    assert!(key.contains("the converter `mqtt_field_value(connect,username)` is not there"), "{key}");
    let early = told("stick-table type string len 9 size 9\n stick on res.payload(0,9)");
    assert!(early.contains("`store-response` stores what it says"), "{early}");
    let late = told("stick-table type string len 9 size 9\n stick store-response res.payload(0,9),concat(,txn.x)");
    assert!(late.contains("`store-request` stores it"), "{late}");
    let name = told("tcp-request content reject if { ssl_fc_sni_end .a }");
    assert!(name.contains("`req.ssl_sni` is in the hello that passes through"), "{name}");
}

#[test]
fn what_no_log_line_has_is_told() {
    let format = "defaults\n log-format \"%ci %[var(sess.sni)] %[rand(7)] %[req.len] %[nbsrv(l)] %b\"\nlisten l\n bind :1\n server s 10.0.0.1:1\n";
    assert_eq!(
        haproxy_text(format).warnings(),
        [
            "warning 2: `%[nbsrv(l)]` is not known any more when a line is written: lines have `-` in its place",
            "warning 2: `%[req.len]` is not known any more when a line is written: lines have `-` in its place"
        ]
    );
}
