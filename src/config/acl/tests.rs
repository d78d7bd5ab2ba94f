use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::*;
use crate::config::import::haproxy::cut;
use crate::config::source::Sources;

fn read(text: &str) -> Result<Rule, String> {
    let at = Location::new(Sources::new().add("t", text), 0..text.len());
    let files = |path: &Path| match path.to_str() {
        Some("/names") => Ok("a.example one\nb.example two\n10.0.0.0/8 net\n".to_owned()),
        Some("/networks") => Ok("# ours\n10.0.0.0/8\n\n  192.168.0.0/16\n".to_owned()),
        Some("/map") => Ok("a.example web\nB.example\tmail\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let acls = HashMap::from([
        ("two".to_owned(), Ok(Arc::from([Test::Always(true), Test::Always(false)]))),
        ("broken".to_owned(), Err(Fault::new(at, "no such thing"))),
    ]);
    let scope = Scope {
        acls: &acls,
        own: None,
        of_requests: false,
        read: &files,
        variable: &|name| Some(name.to_owned()),
        initially: &|_| None,
    };
    rule(&cut(text, at).unwrap(), at, &scope).map_err(|fault| fault.message)
}

/// Reads a rule and says how it is written out; that is read as the same rule.
#[track_caller]
fn shown(text: &str) -> String {
    let rule = read(text).unwrap();
    let shown = show(&rule);
    assert_eq!(read(&shown).unwrap(), rule, "{text}, shown as {shown}");
    shown
}

#[test]
fn what_is_written_out_is_the_same_rule() {
    for text in [
        "connection accept",
        "connection reject if { src 10.0.0.0/8 }",
        "session silent-drop if { src 10.0.0.0/8 }",
        "session reject unless { src 10.0.0.0/8 2001:db8::/32 } { dst_port 80 443 8000:9000 1024: } || !{ wait_end }",
        "connection track-sc0 src table clients",
        "connection sc-inc-gpc1(2) if { sc2_gpc1_rate(other) 11: }",
        "content reject if { req.len 1: } !{ req.ssl_hello_type 1 }",
        "content accept if { req.proto_http }",
        "use-pool files if { req.ssl_sni -m str -- a.example b.example }",
        "use-pool 'two words' if { req.ssl_sni -i -m end -- .example '' 'a b' 'it'\\''s' }",
        "use-pool files if { req.ssl_sni -m reg -- '^a{2}|b' }",
        "use-pool files if { req.ssl_sni -m found }",
        "use-pool files if { req.ssl_sni -m len -- 3:9 }",
        "use-pool files if { req.ssl_alpn -m dom -- h2 }",
        "use-pool files if { req.ssl_ver 3.3: }",
        "use-pool files if { req.payload(0,4) -m bin -- ff00 }",
        "use-pool files if { req.payload(3,0) -m sub -- -x }",
        "use-pool files if { fe_conn 0:9 } { be_conn(a) 10: } { nbsrv(a) 0:1 } { srv_is_up(a/s1) }",
        "use-pool files if { src_conn_cur(t) 3 } { src_conn_cnt(t) 3 } { sc0_conn_rate 3 } { src_get_gpc0(t) 1 }",
        "use-pool files if { src_inc_gpc0(t) 3: } { sc1_clr_gpc1 1 }",
        "connection set-var(sess.net) src,ipmask(24,64)",
        "session unset-var(sess.net) if { dst_port 80 }",
        "content set-var(txn.sni) req.ssl_sni,lower",
        "content set-var-now(txn.sni) req.ssl_sni,lower,map_dom(/names,none)",
        "content set-var(req.x) var(proc.x,here),upper,field(-1,.),word(2,.-),bytes(0,3),bytes(2)",
        "content set-var(req.x) 'str(a b),concat(-,txn.sni,.)'",
        "content set-var(txn.n) int(-3)",
        "content set-var-fmt(txn.key) %[src]-%[req.ssl_sni,lower]",
        "content set-var-fmt-now(txn.key) '%[req.ssl_sni] at %[src]'",
        "session set-var-fmt(sess.key) %[src]:%[src_port]",
        "content set-var(txn.n) src,crc32,mod(100),add(-1),mul(txn.a),neg",
        "content set-var(txn.n) req.payload(0,4),hex",
        "connection reject if { src,ipmask(24,64),table_gpc0(t) -m int 3: } { src,table_gpc0_rate(t),bool -m int 1: le -1 }",
        "connection reject if { src,in_table(t) -m int 1: le -1 } || { rand(100) 0:9 } || { rand 3 }",
        "content set-var(txn.a) ipv6(2001:db8::1)",
        "content set-var(txn.p) req.payload_lv(43,1),length",
        "content capture req.ssl_sni len 50",
        "content capture req.rdp_cookie(mstshash) len 20 id 3 if { req.len 1: }",
        "use-pool files if { var(txn.sni),lower -i -m end -- .example }",
        "use-pool files if { var(txn.n) -m int 3:9 } { var(txn.a) -m ip 10.0.0.0/8 } !{ var(txn.x) -m found }",
        "use-pool files if { capture.req.hdr(0) -m str -- a } { src,ipmask(8,128) -m ip 10.0.0.0/32 }",
        "use-no-pool",
        "use-server s1 if { req.ssl_sni -i -m str -- a.example }",
        "use-server 'it'\\''s'",
        "force-persist unless { src 10.0.0.0/8 }",
        "ignore-persist",
        "use-no-pool if { always_true || src 10.0.0.1/32 }",
    ] {
        assert_eq!(shown(text), text);
    }
}

#[test]
fn other_ways_to_say_it() {
    for (text, short) in [
        (
            "connection reject if two !two or TRUE",
            "connection reject if { always_true || always_false } !{ always_true || always_false } || { always_true }",
        ),
        (
            "connection reject if ! ! { src -f /networks 10.1.1.1 }",
            "connection reject if { src -m ip -f /networks || src 10.1.1.1/32 }",
        ),
        ("connection reject if { src 10.0.0.0/255.254.0.0 -- }", ""),
        (
            "connection reject if { dst_port ge 80 } { dst_port gt 80 90 } { dst_port le 5 lt 9 } { src_port :7 5-6 }",
            "connection reject if { dst_port 80: } { dst_port 81: 91: } { dst_port :5 :8 } { src_port :7 5:6 }",
        ),
        (
            "content accept if REQ_CONTENT WAIT_END !FALSE",
            "content accept if { req.len 1: } { wait_end } !{ always_false }",
        ),
        ("use-pool a if { req_ssl_sni,lower x.example }", "use-pool a if { req.ssl_sni -i -m str -- x.example }"),
        ("use-pool a if { sc_conn_cur(1,t) gt 3 }", "use-pool a if { sc1_conn_cur(t) 4: }"),
        (
            "use-pool a if { be_conn_free(p) lt 1 } { connslots(p) le -1 } { srv_conn_free(p/s) 3 eq -1 }",
            "use-pool a if { be_conn_free(p) :0 } { connslots(p) le -1 } { srv_conn_free(p/s) 3 eq -1 }",
        ),
        (
            "use-pool a if { be_conn_free(p) ge -1 } { connslots(p) 5 gt -3 } { be_conn_free(p) -m bool }",
            "use-pool a if { be_conn_free(p) ge -1 } { connslots(p) 5 ge -2 } { be_conn_free(p) 1: le -1 }",
        ),
        ("use-pool a if { src,in_table(t) }", "use-pool a if { src,in_table(t) -m int 1: le -1 }"),
        (
            "use-pool a if { dst_port,mod(2) eq 1 } { src,crc32(0) 7 }",
            "use-pool a if { dst_port,mod(2) -m int 1 } { src,crc32 -m int 7 }",
        ),
        ("use-pool a if { be_conn(p) -m bool }", "use-pool a if { be_conn(p) 1: }"),
        (
            "use-pool a if { queue(p) gt 5 } { avg_queue(p) 2: } { fe_sess_rate gt 9 } { be_sess_rate(p) : }",
            "use-pool a if { queue(p) 6: } { avg_queue(p) 2: } { fe_sess_rate 10: } { be_sess_rate(p) : }",
        ),
        (
            "use-pool web-%[req.ssl_sni,lower,map_dom(/map,x)]-%[dst_port] if { req.ssl_sni,map(/map) -m found }",
            "use-pool web-%[req.ssl_sni,lower,map_dom(/map,x)]-%[dst_port] if { req.ssl_sni,map_str(/map) -m found }",
        ),
        (
            "connection reject if { src,ipmask(24) 10.0.0.0 } { dst_port,map_str_str(/map) -i -m beg a } !{ src -u 7 192.0.2.1 }",
            "connection reject if { src,ipmask(24,128) -m ip 10.0.0.0/32 } { dst_port,map_str(/map) -i -m beg -- a } !{ src -m ip -u 7 -- 192.0.2.1 }",
        ),
        (
            "content reject if { req.ssl_sni,word(-1,.-) -m reg ^x } { req.ssl_sni,field(2,.,0),upper X } { req.ssl_sni -i -M -f /map }",
            "content reject if { req.ssl_sni,word(-1,.-) -m reg -- ^x } { req.ssl_sni,field(2,.,0),upper -m str -- X } { req.ssl_sni -i -m str -M -f /map }",
        ),
        ("connection track-sc0 src,ipmask(24,64) table t", "connection track-sc0 src,ipmask(24,64) table t"),
        ("use-pool a if { env(HOME) -m beg HO }", "use-pool a if { always_true }"),
        ("use-pool a if { env(HOME) -i home }", "use-pool a if { always_true }"),
        ("use-pool a if { env(HOME) home }", "use-pool a if { always_false }"),
        (
            "connection reject if { src -f /networks } !LOCALHOST",
            "connection reject if { src -m ip -f /networks } !{ src 127.0.0.1/8 ::1/128 }",
        ),
    ] {
        if short.is_empty() {
            assert!(read(text).is_err(), "{text}");
        } else {
            assert_eq!(shown(text), short, "{text}");
        }
    }
}

#[test]
fn mistakes_are_named() {
    for (text, message) in [
        ("zork", "a rule cannot begin with `zork`"),
        ("connection", "an action is missing here"),
        ("connection zork", "`zork` is not an action"),
        ("connection reject now", "`now` cannot stand here"),
        ("connection reject if", "a condition is missing after `if`"),
        ("connection reject if { src 10.0.0.1 } ||", "a condition is missing after `if`"),
        ("connection reject if || { src 10.0.0.1 }", "`||` wants a condition before it"),
        ("connection reject if !", "a condition is missing"),
        ("connection reject if { }", "a test is missing here"),
        ("connection reject if { src 10.0.0.1", "a `{` is not closed"),
        ("connection reject if nope", "there is no ACL called `nope`"),
        ("connection reject if broken", "no such thing"),
        ("connection reject if { hdr(host) x }", "`hdr` is part of an HTTP request, which is not read in TCP mode"),
        ("connection reject if { src }", "`src` is compared with nothing"),
        ("connection reject if { src example.org }", "`example.org` is not a network"),
        ("connection reject if { src 10.0.0.0/255.0.255.0 }", "its ones do not stand together"),
        ("connection reject if { src -f /none }", "`/none` cannot be read"),
        ("connection reject if { src 10/8 }", "`10/8` is a part of an address: write four numbers, such as 10.0.0.0/8"),
        ("connection reject if { src,ipmask(240) 10.0.0.0 }", "`ipmask(240)` wants bits"),
        ("connection reject if { src,ltrim(x) 10.0.0.0 }", "the converter `ltrim(x)` is not there"),
        ("connection reject if { src,map_int_int(/map) gt 3 }", "line 1 of `/map`: `a.example` is not a whole number"),
        ("connection reject if { src,map_str_ip(/map) -m found }", "the value `web` of `a.example` is not an address"),
        ("connection reject if { req.ssl_sni,field(0,.) a }", "`field(0,.)` wants a place and separators"),
        ("connection reject if { req.ssl_sni,map(/map) }", "is compared with nothing"),
        ("connection reject if { wait_end,map(/map) a }", "cannot be kept, converted or looked up"),
        ("connection reject if { src -u x 10.0.0.0 }", "`x` is not a number for `-u`"),
        ("connection reject if { src -u 7 x }", "`x` is not a network"),
        ("connection reject if { req.ssl_ver -f /map }", "patterns of a list cannot be compared so"),
        ("use-pool %[req.ssl_sni", "is not closed with `]`"),
        ("use-pool %[wait_end]", "cannot be kept, converted or looked up"),
        ("connection track-sc0 src,ipmask(x) table t", "`src,ipmask(x)` cannot be tracked"),
        ("connection reject if { var(sess.x) foo }", "say how `var(sess.x)` is compared"),
        ("connection reject if { var(x) -m str foo }", "`x` is not a variable's name"),
        ("connection reject if { var(txn.x) -m str }", "is compared with nothing"),
        ("content set-var(txn.x)", "wants a value after it"),
        ("content set-var(foo.x) src", "`foo.x` is not a variable's name"),
        ("content set-var txn.x src", "`set-var` wants a variable"),
        ("content set-var(txn.x) src dst", "`dst` cannot stand here"),
        ("content set-var-fmt(txn.x) '%[src] %b'", "a `%` can only begin a value here"),
        ("content set-var-fmt(txn.x)", "wants a value after it"),
        ("content set-var(txn.x) src,add", "`add` wants a number or a variable"),
        ("content set-var(txn.x) src,mod(x)", "`x` is not a variable's name"),
        ("content set-var(txn.x) src,not(1)", "`not` takes nothing between parentheses here"),
        ("content set-var(txn.x) src,table_conn_rate", "`table_conn_rate` wants the name of a table"),
        ("content set-var(txn.x) src,table_gpt0(t)", "the converter `table_gpt0(t)` is not there"),
        ("content reject if { rand(0) 1 }", "`0` is no number that `rand` could stay below"),
        ("content reject if { src,in_table(t) eq 1 }", "`src,in_table(t)` is true or false: nothing can follow"),
        ("content set-var(txn.x) src,bytes(x)", "`bytes(x)` wants a place"),
        ("content set-var(txn.x) src,map(/none)", "`/none` cannot be read"),
        ("content set-var(txn.x) wait_end", "cannot be kept, converted or looked up"),
        ("session set-var(sess.x) req.ssl_sni", "make it a `content` rule"),
        ("content unset-var(txn.x) src", "`src` cannot stand here"),
        ("content capture src", "wants what to keep and how much"),
        ("content capture src len 0", "`0` is not a number from 1 to 65535"),
        ("content capture src len 9 id 1000", "`1000` is not a number from 0 to 999"),
        ("session capture src len 9", "`capture` is for `content` rules"),
        ("connection reject if { dst_port 80x }", "`80x` is not a whole number"),
        ("connection reject if { dst_port gt 1:2 }", "`gt` and a range do not go together"),
        ("connection reject if { dst_port 9:8 }", "ends before it begins"),
        ("connection reject if { dst_port lt 0 }", "nothing is less than 0"),
        ("connection reject if { req.ssl_ver lt 0 }", "nothing is less than 0"),
        ("connection reject if { req.ssl_sni -m len -- -5 }", "nothing is less than 0"),
        ("connection reject if { always_true 1 }", "true or false: nothing can follow"),
        ("connection reject if { req.ssl_sni -m dir a }", "`-m dir` cannot be asked here yet"),
        ("connection reject if { req.ssl_sni -m reg a( }", "is not a regular expression"),
        ("connection reject if { req.ssl_sni,lower A.example }", "never matches"),
        ("connection reject if { req.payload(0,4) SSH- }", "say how `req.payload(0,4)` is compared"),
        ("connection reject if { req.payload(4) -m str x }", "wants an offset and a length"),
        ("connection reject if { src_conn_rate gt 3 }", "wants the name of a table"),
        ("connection reject if { nbsrv lt 3 }", "wants the name of a backend"),
        ("connection reject if { nbsrv(a,b) lt 3 }", "has more arguments"),
        ("connection track-sc0 src", "say in which table"),
        ("connection track-sc3 src table t", "`track-sc3` is not there"),
        ("connection track-sc0 dst table t", "`dst` cannot be tracked"),
        ("connection sc-inc-gpc0(3)", "`sc-inc-gpc0(3)` is not there"),
        ("use-pool", "wants the name of one pool"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(message), "{text}: {error}");
    }
}

fn page(text: &str) -> Result<crate::model::page::PageRule, String> {
    let at = Location::new(Sources::new().add("t", text), 0..text.len());
    let files = |path: &Path| match path.to_str() {
        Some("/page") => Ok("here\n".to_owned()),
        Some("/image") => Ok("\u{fffd}PNG".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let (acls, variable) = (HashMap::new(), |_: &str| None);
    let scope =
        Scope { acls: &acls, own: None, of_requests: true, read: &files, variable: &variable, initially: &|_| None };
    page_rule(&cut(text, at).unwrap(), at, &scope).map_err(|fault| fault.message)
}

#[test]
fn rules_of_pages_are_written_out_as_they_are_read() {
    for text in [
        "allow if { path -m str -- /a }",
        "reject",
        "use-service prometheus-exporter if { path -i -m beg -- /metrics }",
        "return status 200",
        "return status 404 default-errorfiles unless { src 10.0.0.0/8 } || { nbsrv(a) 0 }",
        "return status 200 content-type text/plain lf-string 'it'\\''s %[path] of %[nbsrv(a)] 100%%' hdr X-A %[src]",
        "return status 200 content-type text/html file /page",
        "redirect location / code 302",
        "redirect prefix https://%[req.hdr(host)] code 308 drop-query if { method -m str -- GET HEAD }",
        "redirect scheme https code 301 if { path -m reg -- ^/[a-z]+$ }",
    ] {
        let rule = page(text).unwrap();
        assert_eq!(show_page_rule(&rule), text);
    }
    let same = |one: &str, other: &str| assert_eq!(page(one), page(other), "{one}");
    same("deny", "return status 403 default-errorfiles");
    same("deny hdr X-A b", "return status 403 hdr X-A b");
    same("return default-errorfiles hdr X-A b", "return status 200 default-errorfiles");
    same("deny deny_status 404 if METH_GET", "return status 404 default-errorfiles if { method GET HEAD }");
    same(
        "deny deny_status 418 content-type text/plain string x",
        "return status 418 content-type text/plain lf-string x",
    );
    same("return content-type text/plain string 'a\nb%'", "return content-type text/plain lf-string 'a\nb%%'");
    same("redirect scheme https if !{ ssl_fc }", "redirect scheme https if !{ always_false }");
    same("allow if { path_len 3 } { path_dom x } HTTP", "allow if { path -m len 3 } { path -m dom x } { always_true }");
}

#[test]
fn what_a_page_cannot_do_is_told() {
    for (text, part) in [
        ("tarpit", "`tarpit` is not done on a page"),
        ("allow everybody", "`everybody` cannot stand here"),
        ("return status 99", "not a status from 200 to 599"),
        ("return string x", "say of which type it is"),
        ("return content-type text/plain string x file /page", "has been said"),
        ("return content-type text/html file /nowhere", "cannot be read"),
        ("return content-type text/html file /image", "not text in UTF-8"),
        ("return status 418 default-errorfiles", "no standard answer for 418"),
        ("deny deny_status 418", "no standard answer for 418"),
        ("deny hdr X", "wants a name and a value"),
        ("deny hdr 'a b' c", "cannot be the name of a header"),
        ("deny hdr X 'a\nb'", "cannot be in a header"),
        ("return content-type text/plain lf-string %x", "after `%` there is"),
        ("return content-type text/plain lf-string %[path", "after `%` there is"),
        ("return content-type text/plain lf-string %[hdr(x)]", "`%[hdr(x)]` cannot be put in"),
        ("redirect code 301", "say where to"),
        ("redirect location / code 304", "301, 302, 303, 307 or 308"),
        ("use-service lua", "`lua` is not a service here"),
        ("allow if { hdr(host) x }", "`hdr` cannot be asked of a request here yet"),
        ("allow if { req.ssl_sni x }", "`req.ssl_sni` cannot be asked of a request here yet"),
        ("allow if { src_conn_rate(t) gt 1 }", "nobody counts those of a page"),
        ("allow if { fe_sess_rate gt 1 }", "`fe_sess_rate` counts the connections of services"),
        ("allow if HTTP_1.1", "cannot be asked of a request here yet"),
        ("allow if", "a condition is missing"),
    ] {
        let error = page(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(read("content reject if { path /a }").unwrap_err().contains("not read in TCP mode"));
}
