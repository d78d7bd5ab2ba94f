//! The grammar's edge cases. Unless a test says otherwise, HAProxy 2.6.12 was seen to read each the same way
//! (`haproxy -c` names the first word of a line it does not know).

use std::io;
use std::path::Path;

use super::condition::holds;
use super::grammar::{Prefix, Section, parse};
use super::words::{Place, split};
use super::{endpoint, value};
use crate::config::import::{Findings, Surroundings};
use crate::config::source::Sources;

struct World;

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "A" => Some("x  y z".into()),
            "E" => Some(String::new()),
            _ => None,
        }
    }

    fn node_name(&self) -> String {
        "gate-a".into()
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn words(line: &str) -> Result<Vec<String>, String> {
    let place = Place { file: "t.cfg", line: 2, section: "global" };
    match split(line, &place, &World) {
        Ok(words) => Ok(words.into_iter().map(|word| word.text).collect()),
        Err(bad) => Err(format!("{}: {}", bad.start, bad.message)),
    }
}

#[track_caller]
fn reads(line: &str, expected: &[&str]) {
    assert_eq!(words(line).unwrap(), expected, "{line}");
}

#[test]
fn backslashes_escape_what_the_manual_lists_and_stand_for_themselves_elsewhere() {
    reads(r"a\ b", &["a b"]);
    reads(r"a\#b", &["a#b"]);
    reads(r#"a\"b\'c\\d"#, &[r#"a"b'c\d"#]);
    reads(r"a\tb\nc\rd", &["a\tb\nc\rd"]);
    reads(r"a\x41b", &["aAb"]);
    reads(r"foo\(bar", &[r"foo\(bar"]);
    reads(r"fo\o\qr", &[r"fo\o\qr"]);
    reads(r"a\$A", &[r"a\$A"]);
    reads("abc\\", &["abc\\"]);
    // The manual says `\<TAB>` is a tab; HAProxy 2.6 keeps the backslash and ends the word. The manual is followed.
    reads("a\\\tb", &["a\tb"]);
}

#[test]
fn quotes_protect_and_join() {
    reads(r#"foo"bar"'baz'qux"#, &["foobarbazqux"]);
    reads(r#""a b # c" 'd "e" \n $A'"#, &["a b # c", r#"d "e" \n $A"#]);
    reads(r#""a\ b" "a\#b" "foo\'b" "fo\q""#, &["a b", "a#b", "foo'b", r"fo\q"]);
    reads(r#""""#, &[""]);
    reads("foo#bar", &["foo"]);
    reads("# all of it", &[]);
    reads("   ", &[]);
}

#[test]
fn variables_are_read_in_double_quotes_only() {
    reads(r#"$A ${A} '$A'"#, &["$A", "${A}", "$A"]);
    reads(r#""$A[q" "${A}" "foo${A}""#, &["x  y z[q", "x  y z", "foox  y z"]);
    reads(r#""${A[*]}""#, &["x", "y", "z"]);
    reads(r#"a"${A[*]}"b"#, &["ax", "y", "zb"]);
    reads(r#""${NOPE-def}" "${E-def}" "${NOPE-de f}""#, &["def", "", "de f"]);
    reads(r#""$A-def" "$NOPE-def" "${NOPE}"q"#, &["x  y z-def", "-def", "q"]);
    reads(r#""\$A""#, &["$A"]);
    reads(r#""$.LINE-$.SECTION-${.FILE}""#, &["2-global-t.cfg"]);
}

#[test]
fn broken_lines_name_the_place() {
    for (line, start) in [
        (r#"a "un"#, 2),
        ("'un", 0),
        (r#""abc\"#, 0),
        (r"a\x4", 1),
        (r"a\xzz", 1),
        (r#""$"x"#, 1),
        (r#""${""#, 1),
        (r#""${}""#, 1),
        (r#""$1""#, 1),
        (r#""${1}""#, 1),
        (r#""${A""#, 1),
        (r#""${NOPE:-de}""#, 1),
    ] {
        let error = words(line).unwrap_err();
        assert!(error.starts_with(&format!("{start}: ")), "{line}: {error}");
    }
}

#[test]
fn no_break_spaces_separate_words() {
    // HAProxy takes them for part of the word, which is then unknown.
    reads("\u{a0}maxconn\u{a0}5", &["maxconn", "5"]);
    reads("a\\\u{a0}b \"c\u{a0}d\"", &["a\u{a0}b", "c\u{a0}d"]);
    let (sections, findings) = sections("global\n\u{a0}maxconn\u{a0}5\n\u{a0}nbthread\u{a0}2\n");
    assert_eq!(sections[0].statements.len(), 2);
    assert_eq!(findings, ["no-break space (U+00A0): taken as a space, here and in the rest of the file"]);
}

#[test]
fn conditions() {
    for (condition, expected) in [
        ("", false),
        ("0", false),
        ("1", true),
        ("!0", true),
        ("!(1)", false),
        ("defined(A)", true),
        ("defined(NOPE)", false),
        ("defined(A) && !streq(x,b) || (0)", true),
        ("0 && 1 || 1", true),
        ("1 || 0 && 0", true),
        ("(1 || 0) && 0", false),
        ("streq(a,a) && strneq(a,b)", true),
        ("streq(\"a,b\",'a,b')", true),
        ("streq(,)", true),
        ("version_atleast(2.6)", true),
        ("version_atleast(2.6-dev3)", true),
        ("version_atleast(2.8)", false),
        ("version_before(2.6.13)", true),
        ("version_before(2.6)", false),
        ("feature(THREAD)", true),
        ("feature(OPENSSL)", false),
    ] {
        assert_eq!(holds(condition, &World), Ok(expected), "{condition}");
    }
    for broken in ["foo(", "foo(a)", "streq(a)", "(1", "1 1", "1 &&", "!", ")", &"!".repeat(200), &"(".repeat(200)] {
        assert!(holds(broken, &World).is_err(), "{broken}");
    }
}

#[test]
fn conditional_blocks_nest() {
    let names = |text: &str| {
        let (sections, findings) = sections(text);
        (
            sections
                .iter()
                .flat_map(|section| &section.statements)
                .map(|s| s.keyword().text.clone())
                .collect::<Vec<_>>(),
            findings,
        )
    };
    let (kept, findings) = names(
        "global\n.if 0\n a\n .if 1\n  b\n .else\n  c\n .endif\n.elif streq(\"$E\",)\n d\n.elif 1\n e\n.else\n f\n.endif\n g\n",
    );
    assert_eq!((kept, findings), (vec!["d".to_owned(), "g".to_owned()], vec![]));
    // A condition that is not reached is not read.
    assert!(names("global\n.if 1\n.elif zork(\n.endif\n.if 0\n.if zork(\n.endif\n.endif\n").1.is_empty());
    // Quotes are looked at also in what is left out, as by HAProxy.
    assert_eq!(names(".if 0\n \"unmatched\n.endif\n").1, ["this \" has no partner on the line"]);
    assert_eq!(names(".if 1\n").1, ["this `.if` has no `.endif`"]);
    assert_eq!(names(".endif\n").1, ["`.endif` without an `.if`"]);
    assert_eq!(names(".if 1\n.else\n.else\n.endif\n").1, ["`.else` cannot follow `.else`"]);
    assert_eq!(names(".if 1\n.else\n.elif 1\n.endif\n").1, ["`.elif` cannot follow `.else`"]);
    assert_eq!(names(".alert \"not ${A}\"\n.warning w\n.diag d\n").1, ["not x  y z", "w"]);
    assert_eq!(names(".zork\n").1.len(), 1);
}

#[test]
fn sections_statements_and_prefixes() {
    let (sections, findings) = sections(
        "global#this is the global section\r\n     daemon#daemonize\r\n         frontend         foo\r\nmode   tcp # or http\r\n no option tcpka\r\n default option tcplog\r\n",
    );
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(sections.len(), 2);
    assert_eq!(sections[1].arguments[0].text, "foo");
    let prefixes = sections[1].statements.iter().map(|statement| statement.prefix).collect::<Vec<_>>();
    assert_eq!(prefixes, [Prefix::None, Prefix::No, Prefix::Default]);
    assert_eq!(sections[1].statements[1].keyword().text, "option");
}

#[test]
fn odd_files() {
    assert_eq!(sections("maxconn 5\n").1.len(), 1, "outside of any section");
    assert_eq!(sections("global\n no\n").1, ["`no` wants a keyword after it"]);
    assert_eq!(sections("global\n \"\" maxconn 5\n").1, ["the line has no effect: its first word is empty"]);
    // HAProxy refuses a file whose last line has no line end.
    assert_eq!(sections("global\n maxconn 5").1.len(), 1);
    assert!(sections("").1.is_empty());
}

#[test]
fn setenv_counts_for_the_lines_after_it() {
    let (sections, findings) = sections(
        "global\n setenv X 1\n presetenv X 2\n presetenv A 3\n a \"$X\" \"$A\"\n unsetenv X\n a \"${X-none}\"\n setenv Y 1\n setenv Z 2\n resetenv Z\n a \"${Y-none}\" \"$Z\"\n",
    );
    assert!(findings.is_empty());
    let seen = sections[0].statements.iter().filter(|s| s.keyword().text == "a");
    let seen =
        seen.map(|s| s.arguments().iter().map(|word| word.text.as_str()).collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(seen, [vec!["1", "x  y z"], vec!["none"], vec!["none", "2"]]);
}

#[test]
fn words_know_their_place() {
    let mut sources = Sources::new();
    let text = "frontend f\n  bind \"a b\"c d # e\n";
    let id = sources.add("t.cfg", text);
    let sections = parse(&sources, id, &|word| word == "frontend", &World, &mut Findings::default());
    let words = &sections[0].statements[0].words;
    let spans = words.iter().map(|word| &text[word.at.span()]).collect::<Vec<_>>();
    assert_eq!(spans, ["bind", "\"a b\"c", "d"]);
    assert_eq!(sources.describe(words[1].at), "t.cfg:2:8");
}

#[test]
fn numbers_times_and_sizes_are_read_strictly() {
    assert_eq!(value::number("10", 1..=20), Ok(10));
    for bad in ["", "abc", "2x", "+5", "-1", "0", "21", "1.5", "18446744073709551616"] {
        assert!(value::number(bad, 1..=20).is_err(), "{bad}");
    }
    let millis = |text| value::time(text).map(|time| time.as_millis());
    assert_eq!([millis("5"), millis("5ms"), millis("5s"), millis("2m")], [Ok(5), Ok(5), Ok(5_000), Ok(120_000)]);
    assert_eq!(
        [millis("1h"), millis("2d"), millis("1500us"), millis("1us")],
        [Ok(3_600_000), Ok(172_800_000), Ok(2), Ok(1)]
    );
    for bad in ["", "s", "5sx", "5.5", "abc", "5 s", "-1", "25d", "99999999999"] {
        assert!(value::time(bad).is_err(), "{bad}");
    }
    assert_eq!(value::time_in_seconds("30").map(|time| time.as_secs()), Ok(30));
    assert_eq!(
        [value::size("10"), value::size("10k"), value::size("1m"), value::size("1g")],
        [Ok(10), Ok(10_240), Ok(1 << 20), Ok(1 << 30)]
    );
    for bad in ["", "k", "10q", "10kk", "5g", "-1"] {
        assert!(value::size(bad).is_err(), "{bad}");
    }
}

#[test]
fn addresses_and_ports() {
    assert_eq!(endpoint::split_port("1.2.3.4:80"), ("1.2.3.4", Some("80")));
    assert_eq!(endpoint::split_port(":::80"), ("::", Some("80")));
    assert_eq!(endpoint::split_port("[::1]:80-90"), ("::1", Some("80-90")));
    assert_eq!(endpoint::split_port("[::1]"), ("::1", None));
    assert_eq!(endpoint::split_port("1.1.1.1:"), ("1.1.1.1", None));
    assert_eq!(endpoint::split_port("name"), ("name", None));
    assert!(endpoint::host("10.0.0.256", None).is_err());
    assert!(endpoint::host("-a_b.c", None).is_ok());
    for bad in ["/run/x.sock", "unix@/x", "abns@x", "fd@3", "sockpair@4", "quic4@:443", "udp@1.1.1.1:1"] {
        assert!(endpoint::family(bad).is_err(), "{bad}");
    }
}

fn sections(text: &str) -> (Vec<Section>, Vec<String>) {
    let mut sources = Sources::new();
    let id = sources.add("t.cfg", text);
    let mut findings = Findings::default();
    let is_section = |word: &str| matches!(word, "global" | "defaults" | "frontend" | "backend" | "listen");
    let sections = parse(&sources, id, &is_section, &World, &mut findings);
    (sections, findings.into_vec().into_iter().map(|finding| finding.message).collect())
}
