//! The same texts given to Debian's HAProxy and keepalived, where they are installed: what they refuse is refused, what
//! they take is taken. Known differences are said beside the text.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests: they fail them, and say what was skipped"
)]

mod import_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use import_support::{haproxy_text, keepalived_text};

/// Whether both agree, or how vipgate differs on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    Alike,
    /// HAProxy takes it, we refuse: it is a mistake it does not see, or not there yet.
    Stricter,
    /// HAProxy refuses it, we take it.
    Milder,
}
use Ours::{Alike, Milder, Stricter};

/// Each after `listen l`, a bind line and a server.
const HAPROXY_LINES: &[(&str, Ours)] = &[
    ("balance leastconn", Alike),
    ("balance zork", Alike),
    ("balance rdp-cookie", Alike),
    ("balance rdp-cookie(mstshash)", Alike),
    ("balance rdp-cookie(msts)", Stricter),
    ("persist rdp-cookie", Alike),
    ("persist rdp-cookie(msts)", Alike),
    ("persist rdp-cookie()", Alike),
    ("persist rdp-cookie(msts", Alike),
    ("persist rdp-cookie msts", Alike),
    ("persist rdp-cookie if TRUE", Alike),
    ("persist", Alike),
    ("no persist rdp-cookie", Alike),
    ("tcp-request content accept if RDP_COOKIE { req.rdp_cookie_cnt gt 0 }", Alike),
    ("balance random(3)", Alike),
    ("balance random(0)", Alike),
    ("balance first", Alike),
    ("balance static-rr", Alike),
    ("balance hash req.ssl_sni", Alike),
    ("balance hash", Alike),
    ("hash-balance-factor 150", Alike),
    ("hash-balance-factor 50", Alike),
    ("option redispatch 2", Alike),
    ("option persist", Alike),
    ("timeout queue 5s", Alike),
    ("server b 10.0.0.1:80 check slowstart 5s maxqueue 3 non-stick on-marked-up shutdown-backup-sessions", Alike),
    ("server b 10.0.0.1:80 check observe layer4 error-limit 5 on-error mark-down", Alike),
    ("server b 10.0.0.1:80 check observe layer9", Alike),
    ("server b 10.0.0.1:80 check on-error zork", Alike),
    ("server b 10.0.0.1:80 check\n server c 10.0.0.2:80 track b", Alike),
    ("server b 10.0.0.1:80 check\n server c 10.0.0.2:80 track l/b", Alike),
    ("maxconn 5", Alike),
    // Taken for 0 and 5 there.
    ("maxconn abc", Stricter),
    ("maxconn 5x", Stricter),
    ("maxconn", Alike),
    ("retries 3", Alike),
    // Warned about there.
    ("retries -1", Stricter),
    ("timeout connect 5s", Alike),
    ("timeout connect 5", Alike),
    ("timeout connect 5sx", Alike),
    ("timeout connect 5.5", Alike),
    ("timeout zork 5", Alike),
    ("timeout connect", Alike),
    ("option tcpka", Alike),
    ("no option clitcpka", Alike),
    ("default option redispatch", Alike),
    // Only its two halves can be negated there.
    ("no option tcpka", Milder),
    ("no balance", Alike),
    ("option zork", Alike),
    ("mode zork", Alike),
    ("zork", Alike),
    ("bind 127.0.0.1:7001-7005", Alike),
    ("bind 127.0.0.1", Alike),
    ("bind 127.0.0.1:0", Alike),
    ("bind 127.0.0.1:90-80", Alike),
    ("bind 127.0.0.1:+5", Alike),
    ("bind 127.0.0.1:7001 zork", Alike),
    ("bind 127.0.0.1:7001 maxconn", Alike),
    ("bind [::1]:7001,127.0.0.1:7002 name x", Alike),
    ("bind :::7001 v6only", Alike),
    ("bind ipv4@127.0.0.1:7001 transparent", Alike),
    ("bind unix@/run/x.sock", Stricter),
    ("server b 10.0.0.1", Alike),
    ("server b 10.0.0.1:+5", Alike),
    ("server b 10.0.0.1:-5", Alike),
    ("server b 10.0.0.1:70000", Alike),
    ("server b 10.0.0.1:80-90", Alike),
    ("server b", Alike),
    ("server b 10.0.0.1:80 zork", Alike),
    ("server b 10.0.0.1:80 weight 300", Alike),
    ("server b 10.0.0.1:80 fall 0", Alike),
    ("server b 10.0.0.1:80 inter 2x", Alike),
    // Taken for 2 there.
    ("server b 10.0.0.1:80 rise 2x", Stricter),
    ("server b 10.0.0.1:80 check inter 1s fastinter 500 downinter 5s rise 1 fall 9 port 22 backup disabled", Alike),
    ("server b ::1:80", Alike),
    ("server b 0.0.0.0:80", Alike),
    ("server b *:80", Alike),
    ("server b :80", Alike),
    ("server b [::]:80 check", Alike),
    ("server b 0.0.0.0:80 check addr 127.0.0.1", Alike),
    ("server b ::", Alike),
    ("default-server inter 1s zork", Alike),
    ("default-server inter 1s weight 5", Alike),
    ("stick-table type ip size 10k expire 5m nopurge", Alike),
    ("stick-table type ip size 10q", Alike),
    ("stick-table type zork size 10", Alike),
    ("stick on src", Alike),
    ("use_backend b\nbackend b", Alike),
    ("use_backend", Alike),
    ("hash-type consistent", Alike),
    ("hash-type zork", Alike),
    ("foo\\x4", Alike),
    ("balance \"leastconn", Alike),
    ("balance 'leastconn'", Alike),
    ("balance least\\x63onn", Alike),
    ("balance \"${NOPE-leastconn}\"", Alike),
    ("balance \"${NOPE", Alike),
    (".if 1", Alike),
    (".if zork(\n.endif", Alike),
    (".if streq(a,a) && !defined(NOPE)\n balance leastconn\n.else\n zork\n.endif", Alike),
    (".if 0\n zork\n.elif 1\n.endif", Alike),
    (".endif", Alike),
    (".zork", Alike),
    (".alert no", Alike),
    (".notice yes", Alike),
    // Pasted from documents: an unknown keyword there.
    ("\u{a0}balance\u{a0}leastconn", Milder),
    ("tcp-request connection accept", Alike),
    ("tcp-request connection reject", Alike),
    ("tcp-request connection reject if { src 10.0.0.0/8 10.1.1.1 } !LOCALHOST || { dst_port 80:90 443 }", Alike),
    ("tcp-request connection reject unless { src 10.0.0.0/255.0.0.0 }", Alike),
    ("tcp-request connection reject if { src 10.0.0.0/33 }", Alike),
    ("tcp-request connection reject if zork", Alike),
    ("tcp-request connection reject if", Stricter),
    ("tcp-request connection reject if { src 10.0.0.1", Alike),
    ("tcp-request connection reject zork", Alike),
    ("tcp-request connection expect-proxy layer4", Alike),
    ("tcp-request connection expect-proxy layer4 if { src 10.0.0.0/8 } || { src -m ip 10.1.1.1 }", Alike),
    ("tcp-request connection expect-proxy layer4 if { dst_port 80 }", Stricter),
    ("tcp-request connection expect-proxy", Alike),
    ("tcp-request connection expect-proxy zork", Alike),
    ("tcp-request session expect-proxy layer4", Alike),
    ("acl a dst_port ge 80 lt 90\n use_backend b if a or !a\nbackend b", Alike),
    ("acl a dst_port 80-90\n use_backend b if a\nbackend b", Alike),
    ("acl a dst_port 90:80\n use_backend b if a\nbackend b", Alike),
    ("acl a dst_port x\n use_backend b if a\nbackend b", Alike),
    ("acl a dst_port 1000: :20\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_sni -i a.example -m end b\n use_backend b if a\nbackend b", Alike),
    ("acl a req_ssl_sni -i -m end .a.example .b.example\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_sni,lower -m sub -- -x\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_sni -x\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_sni -m zork b\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_sni -m reg a(\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_sni -m len 3:9\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_ver 3.1:3.3 gt 3.0\n use_backend b if a\nbackend b", Alike),
    ("acl a req.ssl_ver gt 3.0\n use_backend b if a\nbackend b", Alike),
    ("acl a req.payload(0,4) -m str SSH-\n use_backend b if a\nbackend b", Alike),
    ("acl a req.payload(0,4) -m bin 5353482d\n use_backend b if a\nbackend b", Alike),
    ("acl a req.payload(0,4) -m bin 5353482\n use_backend b if a\nbackend b", Alike),
    ("acl a req.payload(0,4) SSH-\n use_backend b if a\nbackend b", Alike),
    ("acl a req.payload -m str x\n use_backend b if a\nbackend b", Alike),
    ("acl a nbsrv(l) lt 2\n acl b srv_is_up(l/s)\n use_backend b if a b\nbackend b", Alike),
    ("acl a be_conn_free lt 1\n acl b connslots(l) -- -1\n use_backend b if a || b\nbackend b", Alike),
    ("acl a be_conn_free -1\n use_backend b if a\nbackend b", Alike),
    ("acl a queue(l) gt 5\n acl b avg_queue gt 1\n use_backend b if a b\nbackend b", Alike),
    (
        "acl a srv_conn(l/s) gt 5\n acl b srv_conn_free(s) 0\n acl c srv_queue(s) 0\n use_backend b if a b c\nbackend b",
        Alike,
    ),
    ("acl a srv_conn gt 5\n use_backend b if a\nbackend b", Alike),
    ("acl a queue(l,m) gt 5\n use_backend b if a\nbackend b", Alike),
    ("acl a fe_sess_rate gt 5\n acl b be_sess_rate(l) gt 5\n use_backend b if a b\nbackend b", Alike),
    ("acl a dst_conn gt 5\n use_backend b if a\nbackend b", Stricter),
    ("acl a fe_id 5\n use_backend b if a\nbackend b", Stricter),
    ("acl a always_true\n acl b wait_end\n use_backend b if a b TRUE WAIT_END REQ_CONTENT !FALSE\nbackend b", Alike),
    ("acl a env(HOME) -m beg /\n use_backend b if a\nbackend b", Alike),
    ("acl a zork x\n use_backend b if a\nbackend b", Alike),
    // Never matches, which is a warning there.
    ("acl a dst_port\n use_backend b if a\nbackend b", Stricter),
    ("acl or src 10.0.0.1", Alike),
    ("acl a", Alike),
    ("tcp-request connection track-sc0 src", Alike),
    ("tcp-request connection track-sc0 src table l if TRUE", Alike),
    ("tcp-request connection track-sc0", Alike),
    ("tcp-request connection track-sc9 src", Alike),
    ("tcp-request session reject if { sc0_conn_rate gt 10 } { sc_conn_cur(1) gt 3 } { src_conn_cnt(l) gt 3 }", Alike),
    ("tcp-request connection sc-inc-gpc0(0) if TRUE", Alike),
    ("tcp-request connection sc-inc-gpc0(7)", Alike),
    ("tcp-request content accept if { req.len gt 0 } or TRUE", Alike),
    ("tcp-request content capture src", Alike),
    ("tcp-request content capture src len 0", Alike),
    ("tcp-request content capture src len 9", Alike),
    ("tcp-request content capture src len 9 if { src 10.0.0.0/8 }", Alike),
    ("tcp-request content capture src id 0", Alike),
    ("tcp-request session capture src len 20", Alike),
    ("tcp-request content set-var(foo.x) src", Alike),
    ("tcp-request content set-var(x) src", Alike),
    ("tcp-request content set-var(sess.) src", Alike),
    ("tcp-request content set-var(sess.a-b) src", Alike),
    ("tcp-request content set-var(sess.a.b_C9) src", Alike),
    ("tcp-request content set-var(txn.x)", Alike),
    ("tcp-request content set-var(txn.x) src dst", Alike),
    ("tcp-request content set-var() src", Alike),
    ("tcp-request content set-var(txn.x) zork", Alike),
    ("tcp-request content set-var(txn.x) src,zork", Alike),
    ("tcp-request content unset-var(txn.x) if TRUE", Alike),
    ("tcp-request content unset-var(txn.x) src", Alike),
    ("tcp-request connection set-var(sess.x) req.ssl_sni", Alike),
    ("tcp-request content set-var(txn.x) src,map(/none)", Alike),
    ("declare capture request len 0", Alike),
    ("declare capture request", Alike),
    ("declare capture response len 10", Alike),
    ("declare capture zork len 10", Alike),
    ("acl a var(txn.x) -m str foo", Alike),
    ("use_backend l2 if { var(txn.x) foo }\nbackend l2", Alike),
    ("use_backend l2 if { var(txn.x),lower foo }\nbackend l2", Alike),
    ("use_backend l2 if { var(x) -m str foo }\nbackend l2", Alike),
    ("tcp-request content set-var(txn.x) int(a)", Alike),
    ("tcp-request content set-var(txn.x) req.ssl_sni,field(0,.)", Alike),
    ("tcp-request content set-var(txn.x) req.ssl_sni,bytes(a)", Alike),
    ("tcp-request content set-var(txn.x) req.ssl_sni,lower,field(1,.)", Alike),
    // Taken by themselves there, and never read.
    ("tcp-request content set-var(res.x) src", Stricter),
    ("tcp-request content set-var(check.x) src", Stricter),
    ("tcp-request content set-var(txn.x) req.ssl_sni,ipmask(24)", Alike),
    ("tcp-request inspect-delay 5s", Alike),
    ("tcp-request inspect-delay x", Alike),
    ("rate-limit sessions 100", Alike),
    ("rate-limit sessions x", Alike),
    ("stick-table type ip size 10k store conn_rate(3s),conn_cur,gpc0,gpc0_rate(10s),conn_cnt", Alike),
    ("stick-table type ip size 10k store conn_rate", Alike),
    ("tcp-request connection zork", Alike),
    ("use-server s if { src 10.0.0.0/8 } or TRUE", Alike),
    ("use-server s unless TRUE", Alike),
    ("use-server s", Alike),
    ("use-server s TRUE", Alike),
    ("use-server s if", Stricter),
    ("use-server", Alike),
    ("force-persist if { src 10.0.0.1 }", Alike),
    ("force-persist", Alike),
    ("force-persist s if TRUE", Alike),
    ("ignore-persist unless { src 10.0.0.1 }", Alike),
    ("ignore-persist", Alike),
    ("clitcpka-cnt 3", Alike),
    ("clitcpka-cnt", Alike),
    // What the kernel does not take, it is not given there in silence.
    ("clitcpka-cnt 200", Stricter),
    ("clitcpka-idle 10s", Alike),
    ("clitcpka-idle x", Alike),
    ("srvtcpka-intvl 500ms", Alike),
    ("log-tag web", Alike),
    ("log-tag", Alike),
    ("option nolinger", Alike),
    ("no option nolinger", Alike),
    ("option dontlog-normal", Alike),
    ("option log-separate-errors", Alike),
    ("option logasap", Alike),
    ("frontend x from nope", Alike),
    ("defaults x y z", Alike),
    ("backend a b", Alike),
    // An alert there, which runs and listens nowhere.
    ("frontend a b", Stricter),
    ("listen a :80", Stricter),
    ("backend \"a b\"", Alike),
];

/// Each after `frontend f`, a bind line and `mode http`; there is a backend `b`.
const PAGE_LINES: &[(&str, Ours)] = &[
    ("monitor-uri /healthz", Alike),
    ("monitor-uri", Alike),
    ("monitor-uri /a\n monitor-uri /b", Alike),
    ("monitor-uri /a\n monitor fail if FALSE || { path /b }", Alike),
    ("monitor-uri /a\n monitor fail unless { method GET } METH_POST", Alike),
    ("monitor fail", Alike),
    ("monitor fail if", Stricter),
    ("monitor fail if nothing", Alike),
    ("monitor-net 127.0.0.1/32", Alike),
    ("stats enable\n stats auth a:b\n stats uri /", Alike),
    ("http-request", Alike),
    ("http-request zork", Alike),
    ("http-request allow", Alike),
    ("http-request allow all", Alike),
    ("http-request deny if { path_beg -i /a /b } !{ src 10.0.0.0/8 }", Alike),
    ("http-request deny deny_status 404", Alike),
    ("http-request deny deny_status 418", Alike),
    ("http-request deny status 404", Alike),
    ("http-request deny deny_status 418 hdr X y", Alike),
    ("http-request deny deny_status 418 content-type text/plain", Alike),
    ("http-request reject", Alike),
    ("http-request return", Alike),
    ("http-request return status 199", Alike),
    ("http-request return status 599", Alike),
    ("http-request return status 600", Alike),
    ("http-request return content-type text/plain", Alike),
    ("http-request return string ok", Alike),
    ("http-request return content-type text/plain string ok hdr X y hdr Z %[src]", Alike),
    ("http-request return content-type text/plain string a lf-string b", Alike),
    ("http-request return content-type text/plain lf-string '%[path] %[nbsrv(b)] 1%%'", Alike),
    ("http-request return content-type text/plain lf-string '%[nowhere]'", Alike),
    ("http-request return content-type text/plain lf-string %ci", Stricter),
    ("http-request return content-type text/plain file /nonexistent", Alike),
    ("http-request return status 429 default-errorfiles", Alike),
    ("http-request return status 418 default-errorfiles", Alike),
    ("http-request redirect location / code 301", Alike),
    ("http-request redirect code 303 prefix http://a.example drop-query", Alike),
    ("http-request redirect location / code 304", Alike),
    ("http-request redirect code 301", Alike),
    ("http-request redirect location / set-cookie a=b", Stricter),
    ("redirect scheme https if !{ ssl_fc }", Alike),
    ("redirect", Alike),
    ("http-request use-service prometheus-exporter if { path /metrics }", Alike),
    ("http-request use-service zork", Alike),
    ("http-request set-header X y", Alike),
    ("http-request set-log-level silent", Alike),
    ("http-request silent-drop", Stricter),
    ("http-request auth", Stricter),
    ("http-request deny if { hdr(host) a.example }", Stricter),
    ("http-request deny if { nbsrv(b) lt 1 }", Alike),
    ("http-request deny if { path -m zork x }", Alike),
    ("http-request deny if { path_reg ( }", Alike),
];

#[test]
fn haproxy_agrees() {
    let in_listen = |line: &str| {
        let text = format!(
            "listen l\n bind 127.0.0.1:7000\n server s 127.0.0.1:7000\n stick-table type ip size 1k\n {line}\n"
        );
        // One table a proxy: where the line is one, it stands alone.
        if line.starts_with("stick-table") { text.replacen(" stick-table type ip size 1k\n", "", 1) } else { text }
    };
    compare("haproxy", HAPROXY_LINES, in_listen);
}

#[test]
fn haproxy_agrees_about_pages() {
    compare("pages", PAGE_LINES, |line| {
        format!("backend b\n mode tcp\nfrontend f\n bind 127.0.0.1:7000\n mode http\n {line}\n")
    });
}

/// Gives each line, in its text, to both.
fn compare(name: &str, lines: &[(&str, Ours)], in_text: impl Fn(&str) -> String) {
    let Some(binary) = installed("haproxy") else { return };
    let directory = Scratch::new(name);
    let mut wrong = Vec::new();
    for (line, ours) in lines {
        let text = in_text(line);
        let path = directory.write(&text);
        let output = Command::new(&binary).args(["-c", "-f"]).arg(path).env_remove("NOPE").output().unwrap();
        let theirs = output.status.success();
        let accepted = haproxy_text(&text).errors().is_empty();
        let expected = match ours {
            Alike => theirs,
            Stricter => false,
            Milder => true,
        };
        let really_differs = *ours == Alike || theirs != expected;
        if accepted != expected || !really_differs {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!(
                "{line:?} ({ours:?}): HAProxy {theirs}, vipgate {accepted}\n{said}{:?}",
                haproxy_text(&text).findings()
            ));
        }
    }
    println!("{} texts given to {}", lines.len(), binary.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that keepalived does not know, after expansion: it names each, and so do we.
const KEEPALIVED_TEXTS: &[&str] = &[
    "zork1 a\nzork2 \"b c\" d\n",
    "zork1 ! comment\n# zork2\nzork3 # more\n",
    "$X=zork1\n$X a\n${X}b\n",
    "$N=1\n$Y= \\\n zork${N} a \\\n zorky b\n$Y\n$N=2\n$Y\n",
    "~SEQ(A, 1, 3) zork${A}\n~SEQ(B, 2) zorkb${B}\n~SEQ(C, -2) zorkc${C}\n~SEQx(D, 9, 11) zorkd${D}\n",
    "~SEQ(A, 9, -4, 1) zork${A}\n",
    "~LST(A, x, y) zork${A}\n~LST({B, C}, {1, 2}, {3, 4}) zork${B}_${C}\n",
    "@^nobody zork1\n@nobody zork2\n",
    "$A=zork${B}\n$B=1\n${A}\n$B=2\n${A}\n",
    "include none.conf\nzork1\n",
];

#[test]
fn keepalived_expands_alike() {
    let Some(binary) = installed("keepalived") else { return };
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: keepalived -t wants root");
        return;
    }
    let directory = Scratch::new("keepalived");
    for text in KEEPALIVED_TEXTS {
        let path = directory.write(text);
        let output = Command::new(&binary).args(["-t", "-l", "-f"]).arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let mut theirs = said.lines().filter_map(|line| quoted(line, "Unknown keyword '", '\'')).collect::<Vec<_>>();
        theirs.sort();
        theirs.dedup();
        let findings = keepalived_text(text).findings();
        let mut ours = findings.iter().filter_map(|line| quoted(line, "unknown word `", '`')).collect::<Vec<_>>();
        ours.sort();
        ours.dedup();
        assert_eq!(ours, theirs, "{text}\n{said}");
    }
    println!("{} texts given to {}", KEEPALIVED_TEXTS.len(), binary.display());
}

fn quoted(line: &str, before: &str, end: char) -> Option<String> {
    let (_, rest) = line.split_once(before)?;
    Some(rest.split(end).next()?.to_owned())
}

fn installed(name: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: {name} is not installed, so nothing was compared with it");
    }
    found
}

/// A directory of this test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipgate-import-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.0.join("test.cfg");
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
