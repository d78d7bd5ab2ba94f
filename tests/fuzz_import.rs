//! Mutation fuzzing of both importers, grammar and translation, and of the validation of what they accept. No panic, and
//! no input that takes much longer than its length.
//!
//! `VIPGATE_FUZZ` is the number of executions (20,000 by default), `VIPGATE_FUZZ_SEED` the seed.
#![expect(clippy::unwrap_used, reason = "helpers of tests: they fail them")]
#![expect(clippy::print_stdout, reason = "a helper of tests: figures are printed")]

mod import_support;

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use import_support::{Imported, World, haproxy_in, keepalived_in, resolve};
use vipgate::config::Loading;
use vipgate::config::diagnostic::{Style, render};
use vipgate::config::import::keywords::{self, Table};

/// Time of the processor, which a busy machine does not stretch. Far more than any execution on these lengths needs; a
/// blow-up exceeds it by orders.
const LONGEST_EXECUTION: Duration = Duration::from_secs(10);

type Import = fn(&World, &str) -> Imported;

#[test]
fn haproxy_survives_mutations() {
    let seeds = [
        include_str!("fixtures/systems/udmg-haproxy.cfg"),
        include_str!("fixtures/systems/udmg-haproxy-with-http.cfg"),
        include_str!("fixtures/systems/ccc-haproxy.cfg"),
        include_str!("fixtures/systems/shares-haproxy.cfg"),
        include_str!("fixtures/systems/hsts-haproxy-with-checks.cfg"),
        include_str!("fixtures/everything-haproxy.cfg"),
        ".if defined(A) && !streq(\"$A\",b) || (version_atleast(2.4))\nglobal\n setenv B c\n.elif feature(X)\n.else\n.endif\n\
         listen \"${B-x}\"\n bind \"${A[*]}\" \n server 'a b'\\ \\x41 1.1.1.1:\"$.LINE\"\n",
    ];
    let extra = [
        "\"",
        "'",
        "\\",
        "#",
        "$",
        "${",
        "}",
        "[*]",
        "-",
        "\u{a0}",
        ".if 1",
        ".else",
        ".elif 0",
        ".endif",
        "!",
        "&&",
        "||",
        "(",
        ")",
        ",",
        "no ",
        "default ",
        "from",
        "1-65535",
        "*:80",
        "[::]:80",
        "if TRUE",
        "18446744073709551616",
        "4294967296",
        "1d",
        "0",
        "\\x",
    ];
    fuzz("haproxy", &seeds, &extra, keywords::haproxy(), haproxy_in);
}

#[test]
fn keepalived_survives_mutations() {
    let seeds = [
        include_str!("fixtures/systems/udmg-keepalived-a.conf"),
        include_str!("fixtures/systems/ccc-keepalived-backup.conf"),
        include_str!("fixtures/systems/ovd-keepalived.conf"),
        include_str!("fixtures/everything-keepalived.conf"),
        "$V= \\\nvrrp_instance V_${N} { \\\n interface eth${N} \\\n virtual_router_id ${N} \\\n}\n~SEQ(N, 1, 3) $V\n\
         ~LST({A, B}, {1,2},{3,4}) @gate-a x${A} ${B}\n@^other include conf.d/*.conf\ninclude conf.d/{a,b}.conf\n\
         vrrp_sync_group G { group { A B } }\n",
        "vrrp_script s {\n script \"/bin/true 'a b'\"\n weight -20 reverse\n}\ntrack_file f {\n file /run/f\n init_file 3\n}\n\
         vrrp_track_process p {\n process sshd -D\n quorum 2\n}\nvrrp_instance A {\n interface eth0\n virtual_router_id 7\n\
         track_script {\n s weight 5\n }\n track_file {\n f\n }\n track_process {\n p\n }\n notify_master \"/bin/a b\" u g\n}\n\
         vrrp_instance B {\n interface eth1\n virtual_router_id 7\n version 3\n use_vmac\n auth_hmac {\n key 1 0123456789abcdef\n }\n\
         virtual_routes {\n default via 10.0.0.1 dev eth1 table 9\n }\n virtual_rules {\n from 10.0.0.0/8 table 9 preference 4\n }\n}\n\
         vrrp_sync_group G {\n group {\n A\n B\n }\n track_script {\n s\n }\n}\n",
    ];
    let extra = [
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "\\\n",
        "!",
        "#",
        "$",
        "${",
        "=",
        "$A=${A}${A}\n",
        "${A}",
        "~SEQ(",
        "~SEQx(A,1,99999999)",
        "~SEQ(A,0,9) ",
        "~LST(",
        ")",
        ",",
        "@gate-a ",
        "@^x ",
        "include ",
        "include self.conf\n",
        "includea *\n",
        "{a,b}",
        "[a-z]*",
        "${_RANDOM 1 9}",
        "${_HASH}",
        "0x10",
        "1.5",
        "256",
        "-1",
        "fe80::1/64",
        "10.0.0.1/33",
        "brd +",
        "label eth0:1",
        "weight -254 reverse",
        "weight 0",
        "blackhole 10.9.0.0/16",
        "via fe80::1 dev eth0",
        "table main",
        "hex:00",
        "file:/run/k",
        "min_ttl 255",
        "use_vmac v 00:00:5e:00:01:09",
        "\"/bin/x 'a\"",
    ];
    fuzz("keepalived", &seeds, &extra, keywords::keepalived(), keepalived_in);
}

/// Inputs made to be slow: each is a megabyte or two and must be read in about the time its length takes.
#[test]
fn hostile_inputs_take_linear_time() {
    let many = |text: &str| text.repeat(1_000_000 / text.len());
    let haproxy = [
        many("${"),
        many("\"${A\"\n"),
        many("\""),
        many("\\"),
        many(".if 1\n"),
        many(".if 0\n"),
        format!(".if {}1", many("!")),
        format!(".if {}1", many("(")),
        many("zork "),
        many("zork\n"),
        format!("global\n{}", many(" zork\n")),
        format!("global\n{}{}", many(" setenv a b\n"), many(" resetenv a b\n")),
        many("defaults d\n stats auth a:b\n"),
        format!("defaults\n mode http\n{}{}", many(" stats auth a:b\n"), many("frontend a\n")),
        format!("defaults\n{}{}", many(" option httpchk\n"), many("listen a\n bind :1\n server a 1.1.1.1 check\n")),
        format!("listen s\n mode http\n stats enable\n{}", many(" bind *:1-65535\n")),
        format!("listen s\n bind {}\n", many("*:1-65535,")),
        many("\u{a0}"),
        "x\0\u{1}".repeat(300_000),
    ];
    let keepalived = [
        many("${"),
        many("x ${A} "),
        many("{"),
        many("}"),
        many("a {\n"),
        many("@gate-a "),
        many("@gate-a x\n"),
        format!("$A=x\n{}", many("${A} ")),
        format!("$A=x\n{}", many("$A\n")),
        "$A=${A}${A}\n${A}\n".into(),
        "$A=${B}${B}\n$B=${C}${C}\n$C=${D}${D}\n$D=${E}${E}\n$E=xxxxxxxxxxxxxxxx${A}\n$A\n".into(),
        "~SEQ(A,1,4000000000) x\n".into(),
        "~SEQ(A,1,4000000000)\n".into(),
        "~SEQ(A,1,9999)~SEQ(B,1,9999)~SEQ(C,1,9999) x ${A}\n".into(),
        "~SEQ(A,1,-9223372036854775808) x\n~SEQ(A,9223372036854775807,9223372036854775807) x\n".into(),
        many("~SEQ(A,1,2)"),
        format!("~LST(A,{}) x\n", many("1,")),
        format!("include {}\n", many("{a,b}")),
        format!("include {}\n", many("*a")),
        many("include conf.d/*.conf\n"),
        "include self.conf\n".into(),
        many("vrrp_instance A {\n zork\n}\n"),
        format!("vrrp_instance A {{\n virtual_ipaddress {{\n{}", many("1.2.3.4 zork\n")),
        format!("$A=\\\n{}", many("x\\\n")),
        many("\"\\x"),
        many("vrrp_script s {\n script x\n}\n"),
        many("vrrp_instance A {\n use_vmac\n virtual_router_id 1\n}\n"),
        format!("vrrp_sync_group G {{\n group {{\n{}", many("A\n")),
        format!("vrrp_instance A {{\n virtual_routes {{\n{}", many("1.2.3.4 table zork\n")),
        format!("vrrp_instance A {{\n track_script {{\n{}", many("x weight 1\n")),
    ];
    for (import, inputs) in [(haproxy_in as Import, &haproxy[..]), (keepalived_in as Import, &keepalived[..])] {
        for input in inputs {
            let begin = processor_time();
            let imported = import(&world(), input);
            let took = processor_time() - begin;
            let start = input.chars().take(40).collect::<String>();
            if took > LONGEST_EXECUTION / 20 {
                println!("{took:?} for {} bytes of {start:?}", input.len());
            }
            assert!(took < LONGEST_EXECUTION, "{took:?} for {} bytes of {start:?}", input.len());
            assert!(imported.diagnostics.len() <= 2000, "{} findings", imported.diagnostics.len());
        }
    }
}

/// What this thread has used of the processor.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let used = usage.user_time() + usage.system_time();
    Duration::from_micros(used.num_microseconds().unsigned_abs())
}

fn world() -> World {
    World::default()
        .variable("A", "a b")
        .file("/etc/keepalived/conf.d/a.conf", "global_defs {\n router_id x\n}\n")
        .file("/etc/keepalived/conf.d/b.conf", "include a.conf\ninclude ../self.conf\n")
        .file("/etc/keepalived/self.conf", "include self.conf\ninclude conf.d/*\n")
}

fn fuzz(name: &str, seeds: &[&str], extra: &[&str], table: &Table, import: Import) {
    let executions = number("VIPGATE_FUZZ").unwrap_or(20_000) / 2;
    let seed = number("VIPGATE_FUZZ_SEED").unwrap_or(0x5eed_1e55);
    let mut random = Random(seed | 1);
    let mut dictionary =
        table.keywords().iter().flat_map(|keyword| [keyword.name, keyword.example]).collect::<Vec<_>>();
    dictionary.extend(extra.iter().flat_map(|token| [*token; 8]));
    let world = world();
    let mut corpus = seeds.iter().map(|seed| (*seed).to_owned()).collect::<Vec<_>>();
    let (mut accepted, mut valid, mut longest) = (0_u64, 0_u64, Duration::ZERO);
    for execution in 0..executions {
        let text = mutate(&mut random, &corpus, &dictionary);
        let begin = processor_time();
        let imported = import(&world, &text);
        let took = processor_time() - begin;
        longest = longest.max(took);
        assert!(took < LONGEST_EXECUTION, "{name}: seed {seed}, execution {execution} took {took:?}:\n{text}");
        let has_errors = !imported.errors().is_empty();
        if execution % 64 == 0 {
            let _ = render(&imported.diagnostics, &imported.sources, Style::Plain);
        }
        if !has_errors {
            accepted += 1;
            let mut loading = Loading::new();
            *loading.sources() = imported.sources;
            loading.imported(imported.raw, imported.diagnostics);
            valid += u64::from(loading.finish(&resolve).is_ok());
            // What is accepted leads on to more that is.
            if corpus.len() < 256 && text.len() < 8192 {
                corpus.push(text);
            }
        }
    }
    println!(
        "{name}: seed {seed}, {executions} executions, {:.1} % accepted by the importer, {:.1} % valid, longest {longest:?}",
        100.0 * accepted as f64 / executions.max(1) as f64,
        100.0 * valid as f64 / executions.max(1) as f64
    );
    assert!(executions < 1000 || accepted > 0, "nothing got past the grammar: the fuzzer tests nothing");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Xorshift: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to eight changes to a text of the corpus: bytes, tokens, lines, and pieces of other texts.
fn mutate(random: &mut Random, corpus: &[String], dictionary: &[&str]) -> String {
    let mut text = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        let at = text.floor_char_boundary(random.below(text.len() + 1));
        let end = text.floor_char_boundary(at + random.below(24));
        let token = dictionary[random.below(dictionary.len())];
        match random.below(9) {
            0 => text.insert_str(at, token),
            1 => text.insert_str(at, &format!(" {token} ")),
            2 => text.insert(at, char::from(random.next() as u8 & 0x7f)),
            3 => text.replace_range(at..end.max(at), ""),
            4 => text.replace_range(at..end.max(at), token),
            5 => {
                let line = text.lines().nth(random.below(text.lines().count())).unwrap_or_default().to_owned();
                let at = text[at..].find('\n').map_or(text.len(), |offset| at + offset + 1);
                text.insert_str(at, &format!("{line}\n"));
            }
            6 => {
                let at = text[at..].find('\n').map_or(text.len(), |offset| at + offset + 1);
                text.insert_str(at, &format!("  {token} {}\n", dictionary[random.below(dictionary.len())]));
            }
            7 => {
                let other = &corpus[random.below(corpus.len())];
                let begin = other.floor_char_boundary(random.below(other.len() + 1));
                let stop = other.floor_char_boundary((begin + random.below(200)).min(other.len()));
                text.insert_str(at, &other[begin..stop]);
            }
            _ => text.truncate(at),
        }
        if text.len() > 32_768 {
            text.truncate(text.floor_char_boundary(16_384));
        }
    }
    text
}
