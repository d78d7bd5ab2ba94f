//! Mutated configurations through decoder, validator, renderer and emitter: nothing panics, and what loads is written
//! out and read in again as the same model.
//!
//! `VIPGATE_FUZZ=1000000 cargo test --release --test fuzz_config -- --nocapture` runs longer; `VIPGATE_FUZZ_SEED`
//! repeats a run. Each panic's input is in the message.

#![expect(clippy::panic, reason = "a test's way to fail")]

use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vipgate::config::diagnostic::{Style, render};
use vipgate::config::{Failed, Loaded, Loading, emit};

/// Small ones first: half of the inputs start from these, where a mutation leaves more of the rest valid.
const SMALL: [&str; 5] = [
    "[[tracker]]\nname = \"t\"\nscript = \"/bin/true 'a b'\"\ninterval = \"1s\"\nrise = 2\nweight = -20\nreverse = true\n\
     [[tracker]]\nname = \"g\"\ngateway = { address = \"192.0.2.2\", method = \"echo\" }\n[[virtual-router]]\nname = \"r\"\n\
     interface = \"eth0\"\nvrid = 51\naddresses = [\"192.0.2.1/24\"]\ntrack = [\"t\", \"eth1\", { tracker = \"g\", weight = 5 }]\n\
     vmac = true\nnotify = { any = [\"/bin/a\", \"b c\"], mail = true }\nbefore-master = { command = \"/bin/b\", timeout = \"2s\" }\n\
     [mail]\nserver = \"mail.example:25\"\nfrom = \"a@b\"\nto = [\"c@d\"]\n[scripts]\nuser = \"u:g\"\n",
    "[[virtual-router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"192.0.2.1/24\"]\npaths = [\"eth2\"]\n\
     hmac = { key-id = 1, secret = \"0123456789abcdef\" }\ngroup = \"224.0.0.50\"\n\
     routes = [{ destination = \"10.0.0.0/8\", gateway = \"192.0.2.2\", table = 9 }]\nrules = [{ from = \"10.0.0.0/8\", table = 9 }]\n\
     [[virtual-router]]\nname = \"b\"\ninterface = \"eth1\"\nvrid = 51\naddresses = [\"192.0.2.9/24\"]\n\
     peers = [{ address = \"192.0.2.3\", min-ttl = 255 }]\n[[sync-group]]\nname = \"g\"\nrouters = [\"a\", \"b\"]\nmember-weights = true\n\
     [[route]]\ndestination = \"10.9.0.0/16\"\nkind = \"blackhole\"\n[[rule]]\nto = \"10.9.0.0/16\"\ntable = 7\n[notify]\nfifo = \"/run/f\"\n",
    "[[virtual-router]]\nname = \"r\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"192.0.2.1/24\"]\npriority = 100\n\
     interval = \"1s\"\nstart = \"backup\"\npreempt = true\npreempt-delay = \"0s\"\npeers = [\"192.0.2.2\"]\n",
    "[[service]]\nname = \"s\"\nlisten = \"*:22\"\nservers = [\"10.0.0.1:22\", \"10.0.0.2:+1000\"]\nretries = 3\n\
     client-timeout = \"1h\"\naffinity = { table = \"source\", size = 9, expire = \"1m\" }\nbacklog = 10\n",
    "[[service]]\nname = \"s\"\nlisten = [\"*:22\"]\npool = \"p\"\n[[pool]]\nname = \"p\"\ncheck = { port = 22, rise = 2 }\n\
     servers = [{ name = \"a\", address = \"10.0.0.1\", port = 22, weight = 1, backup = false }]\n",
];

const CORPUS: [&str; 6] = [
    include_str!("../config/pair-a.toml"),
    include_str!("../config/single.toml"),
    include_str!("../config/all-options.toml"),
    include_str!("../src/config/tests/twenty.toml"),
    include_str!("../src/config/tests/more.toml"),
    include_str!("../src/config/tests/warnings.toml"),
];

/// What a person, or a bad merge, would put in.
#[rustfmt::skip]
const PIECES: [&str; 37] = [
    "[[tracker]]\n", "[[sync-group]]\n", "[[route]]\n", "track = [\"eth1\"]\n", "[[pool]]\n", "[[service]]\n", "[[virtual-router]]\n", "[global]\n", "[", "]", "[[", "]]", "{", "}", "\"", "'", "\"\"\"",
    "=", ",", "\n", "#", ".", "-", "+", "name = \"x\"\n", "vrid = 51\n", "pool = \"files\"\n", "check = true\n", "servers = []\n",
    "fronts = []\n", "version = 2\n", "\u{0}", "\u{feff}", "é", "\\u0000", "1979-05-27T07:32:00Z", "0x_",
];
const NUMBERS: [&str; 9] = ["0", "1", "2", "-1", "255", "256", "65535", "65536", "18446744073709551616"];
const TRUTHS: [&str; 2] = ["true", "false"];
#[rustfmt::skip]
const STRINGS: [&str; 13] = [
    "\"none\"", "\"1s\"", "\"0s\"", "\"999999999years\"", "\"*:1-65535\"", "\"[::]:22\"", "\"10.0.0.1:+1\"", "\"10.0.0.1:-65534\"",
    "\"192.0.2.100\"", "\"::1/129\"", "\"name.example\"", "\"source\"", "\"\"",
];

/// xorshift64*: small, seeded, good enough to choose mutations.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit.max(1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn token(&mut self) -> &'static str {
        match self.below(4) {
            0 => self.one(&NUMBERS),
            1 => self.one(&STRINGS),
            _ => self.one(&PIECES),
        }
    }
}

fn mutate(random: &mut Random) -> String {
    let mut text = if random.below(2) == 0 { random.one(&SMALL) } else { random.one(&CORPUS) }.to_owned();
    for _ in 0..1 + random.below(3) {
        let (start, end) = (boundary(&text, random), boundary(&text, random));
        let (start, end) = (start.min(end), start.max(end).min(start.min(end) + 40));
        let end = text.floor_char_boundary(end).max(start);
        match random.below(16) {
            0 => text.insert_str(start, random.token()),
            1 => text.replace_range(start..end, random.token()),
            2 => text.replace_range(start..end, ""),
            3 => {
                let piece = text[start..end].to_owned();
                let at = boundary(&text, random);
                text.insert_str(at, &piece);
            }
            4 => swap_lines(&mut text, random),
            5 => text.truncate(text.floor_char_boundary(text.len() - random.below(200).min(text.len()))),
            _ => replace_value(&mut text, random),
        }
    }
    text
}

fn boundary(text: &str, random: &mut Random) -> usize {
    text.floor_char_boundary(random.below(text.len() + 1))
}

fn swap_lines(text: &mut String, random: &mut Random) {
    let mut lines: Vec<&str> = text.lines().collect();
    if !lines.is_empty() {
        let (one, other) = (random.below(lines.len()), random.below(lines.len()));
        lines.swap(one, other);
        *text = lines.join("\n");
    }
}

/// A value that is well formed, but perhaps wrong: this is what reaches the validator.
fn replace_value(text: &mut String, random: &mut Random) {
    let starts: Vec<usize> = text.match_indices(" = ").map(|(at, _)| at + 3).collect();
    if starts.is_empty() {
        return;
    }
    let start = starts[random.below(starts.len())];
    let end = text[start..].find([',', '\n', '#', '}']).map_or(text.len(), |length| start + length);
    let alike = match text[start..end].chars().next() {
        Some('"') => random.one(&STRINGS),
        Some('t' | 'f') => random.one(&TRUTHS),
        Some(c) if c.is_ascii_digit() => random.one(&NUMBERS),
        Some(_) | None => random.token(),
    };
    text.replace_range(start..end, if random.below(5) > 0 { alike } else { random.token() });
}

fn hosts(name: &str) -> io::Result<Vec<IpAddr>> {
    if name.len().is_multiple_of(2) {
        Ok(vec![IpAddr::from([10, 0, 0, 1])])
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[derive(Default)]
struct Seen {
    executions: u64,
    parsed: u64,
    loaded: u64,
}

fn run(text: &str, seen: &mut Seen) {
    let mut loading = Loading::new();
    loading.text("fuzz.toml", text);
    let emitted = emit::emit(loading.raw());
    seen.executions += 1;
    seen.parsed += u64::from(toml::de::DeTable::parse(text).is_ok());
    match loading.finish(&hosts) {
        Ok(Loaded { config, warnings, sources }) => {
            seen.loaded += 1;
            assert_eq!(render(&warnings, &sources, Style::Plain).is_empty(), warnings.is_empty());
            let mut again = Loading::new();
            again.text("emitted.toml", &emitted);
            match again.finish(&hosts) {
                Ok(again) => assert_eq!(config, again.config, "written out as:\n{emitted}"),
                Err(failed) => panic!("written out, it no longer loads: {failed}\n{emitted}"),
            }
        }
        Err(failed) => {
            let Failed { diagnostics, sources, .. } = *failed;
            assert!(diagnostics.iter().any(|finding| finding.is_error()), "a failure without an error");
            let style = if seen.executions.is_multiple_of(8) { Style::Terminal } else { Style::Plain };
            assert!(!render(&diagnostics, &sources, style).is_empty());
        }
    }
}

#[test]
fn mutated_configurations_never_panic() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let iterations = variable("VIPGATE_FUZZ").unwrap_or(1000);
    let seed = variable("VIPGATE_FUZZ_SEED").unwrap_or(0x5EED);
    let mut random = Random(seed | 1);
    let mut seen = Seen::default();
    for _ in 0..iterations {
        let text = mutate(&mut random);
        if catch_unwind(AssertUnwindSafe(|| run(&text, &mut seen))).is_err() {
            panic!("seed {seed}, execution {}: see above; the input was:\n{text}", seen.executions);
        }
    }
    println!(
        "config fuzz: {} executions, {} % parsed as TOML, {} % loaded, seed {seed}",
        seen.executions,
        100 * seen.parsed / seen.executions.max(1),
        100 * seen.loaded / seen.executions.max(1)
    );
    assert!(iterations < 100 || seen.loaded * 100 > seen.executions, "hardly anything gets past the parser");
}
