//! The grammar's edge cases. Unless a test says otherwise, keepalived 2.2.7 was seen to read each the same way
//! (`keepalived -t` names the first word of a line it does not know).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::grammar::{Node, parse};
use crate::config::import::{Findings, Surroundings};
use crate::config::source::Sources;

#[derive(Default)]
struct World(BTreeMap<PathBuf, String>);

impl Surroundings for World {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn node_name(&self) -> String {
        "gate-a.example.org".into()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let children = self.0.keys().filter_map(|path| path.strip_prefix(directory).ok()?.to_str().map(str::to_owned));
        Ok(children.map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect())
    }
}

/// The tree as text: words joined by `|`, blocks in braces.
fn shown(nodes: &[Node]) -> String {
    let shown = |node: &Node| {
        let words = node.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join("|");
        match &node.block {
            Some(block) => format!("{words}{{{}}}", shown(block)),
            None => words,
        }
    };
    nodes.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn tree_in(world: &World, text: &str) -> (String, Vec<String>) {
    let mut sources = Sources::new();
    let id = sources.add("/etc/keepalived/keepalived.conf", text);
    let mut findings = Findings::default();
    let nodes = parse(&mut sources, id, "gate-a", world, &mut findings);
    (shown(&nodes), findings.into_vec().into_iter().map(|finding| finding.message).collect())
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    let (tree, findings) = tree_in(&World::default(), text);
    assert_eq!(tree, expected, "{text}");
    assert!(findings.is_empty(), "{text}: {findings:?}");
}

fn told(text: &str) -> Vec<String> {
    tree_in(&World::default(), text).1
}

#[test]
fn blocks_open_on_the_same_or_the_next_line_and_close_anywhere() {
    reads("a b {\n c d\n}\n", "a|b{c|d}");
    reads("a b\n{\n c d\n}\n", "a|b{c|d}");
    reads("a b\n\n ! comment\n{ c d }", "a|b{c|d}");
    reads("a { b { c } d }\ne", "a{b{c} d} e");
    reads("a{b}c", "a{b} c");
    assert_eq!(told("a {\n}\n{\n}"), ["a block without a name: its content has no effect"]);
}

#[test]
fn comments_end_lines_outside_of_quotes() {
    reads("a b ! c\n# d\n  ! e\nf#g\n", "a|b f");
    reads("a \"b # c ! d\" e\n", "a|b # c ! d|e");
}

#[test]
fn quotes_join_and_escape() {
    reads(r#"abcd" efg h jkl "mnop"#, "abcd efg h jkl mnop");
    reads(r#"abcd "efg h jkl" mnop"#, "abcd|efg h jkl|mnop");
    reads(r#"a 'b "c" d'"#, r#"a|b "c" d"#);
    // keepalived 2.2.7 knows no escapes yet in most places; its manual does.
    reads(r#""a\tb\x41\101\\\"c\cA""#, "a\tbAA\\\"c\u{1}");
    reads(r#"a\"b c\d"#, r#"a"b|c\d"#);
    assert_eq!(told("a \"b c"), ["this quote has no partner on the line: taken up to the line's end"]);
}

#[test]
fn a_backslash_at_the_end_goes_on_with_the_statement() {
    // keepalived 2.2.7 takes it for part of the word; later ones join the lines.
    reads("a b \\\n  c d\ne", "a|b|c|d e");
}

#[test]
fn definitions_are_put_in_when_they_are_used() {
    reads("$X=foo\n$X bar\n${X}bar\n", "foo|bar foobar");
    reads("$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n", "10.2.0.100/32 10.2.10.100/32");
    reads("$C=5 6 ! comment\nk$C\n", "k5|6");
    reads("$E=\na ${E}b\n", "a|b");
    // Without braces a space has to follow; what is not defined stays.
    reads("$X=foo\n$Xy $UNDEF ${UNDEF} q\n", "$Xy|$UNDEF|${UNDEF}|q");
    reads("a ${_INSTANCE} ${_PWD}/x \"${_HASH}${_BANG}\"\n", "a|gate-a|/etc/keepalived/x|#!");
    reads("$B =5\n", "$B|=5");
}

#[test]
fn definitions_of_several_lines() {
    reads(
        "$I= \\\nvrrp V_${N} { \\\n  if eth${N} \\\n  $M=1 \\\n  m $M \\\n}\n$N=0\n$I\n$N=1\n$I\n",
        "vrrp|V_0{if|eth0 m|1} vrrp|V_1{if|eth1 m|1}",
    );
}

#[test]
fn conditional_lines() {
    reads("@gate-a a\n@gate-b b\n@^gate-a c\n@^gate-b d\n", "a d");
    reads("@gate-a $P=240\n@gate-b $P=200\npriority $P\n", "priority|240");
    reads("$IF=@gate-a\n$IF priority 240\n", "priority|240");
    reads("a {\n@gate-b {\n}\n", "a{}");
}

#[test]
fn sequences_and_lists() {
    reads("~SEQ(A, 1, 3) z${A}\n", "z1 z2 z3");
    reads("~SEQ(A, 3) z$A\n", "z1 z2 z3");
    reads("~SEQ(A, -3) z${A} x\n", "z-1|x z-2|x z-3|x");
    reads("~SEQ(A, 6, -2, 1) z${A}\n", "z6 z4 z2");
    reads("~SEQx(A, 8, 11) z${A}\n", "z8 z9 za zb");
    reads("~SEQx(A, 0x90, 0x10, 0xb0) fe80::${A}:1\n", "fe80::90:1 fe80::a0:1 fe80::b0:1");
    reads("~LST(Q, a,b , c) k${Q}\n", "ka kb kc");
    reads("~LST({P,R}, {1,2},{3 , 4}) k${P}_${R}\n", "k1_2 k3_4");
    reads("~LST(A, 1, 2) ~SEQ(B, 5, 6) ${A}.${B}\n", "1.5 1.6 2.5 2.6");
    reads("$V= \\\na ${N} { \\\n}\n~SEQ(N, 1, 2) $V\n", "a|1{} a|2{}");
    for broken in
        ["~SEQ(A,1,3", "~SEQ(A,1,0,3) z", "~SEQ(A,x,3) z", "~SEQ() z", "~ZORK(A,1) z", "~LST({A,B},{1}) z", "~"]
    {
        assert_eq!(told(broken).len(), 1, "{broken}");
    }
}

#[test]
fn what_would_not_end_is_refused() {
    for bomb in [
        "$A=${A}x\nfoo ${A}\n",
        "$A=${B}\n$B=${A}\n$A\n",
        "$A=${B}${B}\n$B=${C}${C}\n$C=${A}${A}\n$A\n",
        "~SEQ(A,1,4000000000) x\n",
        "~SEQ(A,1,999)~SEQ(B,1,999)~SEQ(C,1,999)\n",
        &"~SEQ(A,1,1)".repeat(100),
    ] {
        assert_eq!(told(bomb).len(), 1, "{bomb}");
    }
    let world = World([("/etc/keepalived/keepalived.conf".into(), "include keepalived.conf\na\n".into())].into());
    let findings = tree_in(&world, "include keepalived.conf\n").1;
    assert_eq!(findings, ["files include each other without end"]);
}

#[test]
fn missing_braces_are_refused_and_surplus_ones_told() {
    // keepalived runs with the rest of a file that was cut off; here nothing changes until it is whole.
    assert_eq!(told("a {\n b {\n }\n").len(), 1);
    assert!(told("a {\n b {\n }\n")[0].contains("block of `a` is not closed"));
    assert_eq!(told("a\n}\n"), ["a `}` too many: ignored"]);
}

#[test]
fn files_are_included_in_place_relative_to_the_including_one() {
    let file = |name: &str, text: &str| (PathBuf::from(format!("/etc/keepalived/{name}")), text.to_owned());
    let world = World(
        [
            file("conf.d/10-a.conf", "a ${_PWD}\ninclude ../top.conf\n"),
            file("conf.d/20-b.conf", "b\n"),
            file("conf.d/.hidden.conf", "hidden\n"),
            file("conf.d/../top.conf", "top\n"),
        ]
        .into(),
    );
    let (tree, findings) = tree_in(
        &world,
        "x {\ninclude conf.d/*.conf\n}\ninclude conf.d/{20-b,none}.conf\ninclude conf.d/[^1]0-?.conf\n",
    );
    assert_eq!(tree, "x{a|/etc/keepalived/conf.d top b} b b");
    assert_eq!(findings, ["cannot read `/etc/keepalived/conf.d/none.conf`: entity not found"]);
}

#[test]
fn a_missing_include_is_told_and_an_error_only_when_asked() {
    let severity = |text: &str| {
        let mut sources = Sources::new();
        let id = sources.add("/etc/k.conf", text);
        let mut findings = Findings::default();
        parse(&mut sources, id, "gate-a", &World::default(), &mut findings);
        findings.into_vec().iter().map(|finding| finding.is_error()).collect::<Vec<_>>()
    };
    assert_eq!(severity("include none.conf\n"), [false]);
    assert_eq!(severity("include none/*.conf\n"), [false; 0]);
    assert_eq!(severity("includer none.conf\n"), [true]);
    assert_eq!(severity("includew none/*.conf\n"), [true]);
    assert_eq!(severity("includea none.conf\n"), [true]);
    assert_eq!(severity("include_check\ninclude none.conf\n"), [true]);
    assert_eq!(severity("include_check +readable\ninclude_check -readable\ninclude none.conf\n"), [false]);
}

#[test]
fn words_know_their_place_also_in_expanded_lines() {
    let mut sources = Sources::new();
    let text = "a {\n   bb  \"c d\" # x\n}\n$X=1 2\n e $X\n";
    let id = sources.add("k.conf", text);
    let nodes = parse(&mut sources, id, "gate-a", &World::default(), &mut Findings::default());
    let spans = nodes[0].children()[0].words.iter().map(|word| &text[word.at.span()]).collect::<Vec<_>>();
    assert_eq!(spans, ["bb", "\"c d\""]);
    assert_eq!(sources.describe(nodes[1].words[1].at), "k.conf:5:2");
}
