use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::model::Networks;
use crate::model::expression::Origin;
use crate::model::figure::{Figure, PoolFigure};
use crate::model::rule::{
    Condition, Counted, Counter, End, Party, Pattern, Persistence, Quantity, SourceTable, Term, Text,
};

/// A process in which everything is 3.
struct Still;

impl World for Still {
    fn figure(&self, figure: &Figure) -> i64 {
        if figure.may_be_unlimited() { -1 } else { 3 }
    }
    fn is_up(&self, pool: &str, server: &str) -> bool {
        (pool, server) == ("p", "up")
    }
    fn counter(&self, _: Counted, _: Option<&str>, counter: Counter) -> Option<u64> {
        (counter == Counter::Connections).then_some(3)
    }
}

impl Effects for Still {
    fn is_pool(&self, name: &str) -> bool {
        name != "nobody"
    }

    fn track(&mut self, _: Slot, _: &str, _: Option<(u8, u8)>) {}
    fn increment(&mut self, _: Slot, _: Purpose) {}
    fn set(&mut self, _: &Variable, _: Option<Value<'static>>) {}
    fn put(&mut self, _: u16, _: Value<'static>) {}
}

fn if_all(tests: impl IntoIterator<Item = (bool, Test)>) -> Option<Condition> {
    let term = |(negated, test)| Term { negated, any: Arc::new([test]) };
    Some(Condition { negated: false, any: vec![tests.into_iter().map(term).collect()] })
}

fn content(action: Action, when: Option<Condition>) -> Rule {
    Rule { stage: Stage::Content, action, when }
}

fn facts(heard: &[u8], ended: bool) -> Facts<'_> {
    Facts::new("10.1.2.3:4000".parse().unwrap(), "192.0.2.1:443".parse().unwrap(), heard, ended)
}

fn answer(test: Test, heard: &[u8], ended: bool) -> Answer {
    let condition = if_all([(false, test)]).unwrap();
    let policy = Policy { rules: vec![content(Action::Accept, Some(condition.clone()))], ..Policy::new() };
    condition::holds(&condition, facts(heard, ended).known(false), &Matchers::of(&policy), &Still)
}

fn number(quantity: Quantity, range: std::ops::RangeInclusive<i64>) -> Test {
    Test::Number(quantity, vec![range])
}

fn text(of: Text, ignore_case: bool, pattern: Pattern) -> Test {
    Test::Text { of, ignore_case, patterns: vec![pattern] }
}

const ALL: Text = Text::Heard { by: Party::Client, offset: 0, length: None };
const REJECT: Action = Action::Reject(Denial::Rule);

/// A client hello for `a.example.org`, in one record.
fn hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 0x45, 1, 0, 0, 0x41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 1, 1, 0, 0, 22, 0, 0, 0, 18, 0, 16, 0, 0, 13]);
    hello.extend(b"a.example.org");
    let length = (hello.len() - 5) as u8;
    hello[4] = length;
    hello[8] = length - 4;
    hello
}

/// A client hello that offers `http/1.1` and `h2`, in this order.
fn hello_of_http() -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let protocols = vector(b"\x08http/1.1\x02h2");
    let extensions = vector(&[&[0, 16][..], &vector(&protocols)].concat());
    let message = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    [&[22, 3, 1][..], &vector(&[&[1, 0][..], &vector(&message)].concat())].concat()
}

#[test]
fn answers_wait_only_for_what_can_change_them() {
    use Answer::{No, Unknown, Yes};
    assert_eq!(answer(number(Quantity::HeardBytes, 1..=i64::MAX), b"", false), Unknown);
    assert_eq!(answer(number(Quantity::HeardBytes, 1..=i64::MAX), b"", true), No);
    assert_eq!(answer(number(Quantity::HeardBytes, 1..=i64::MAX), b"x", false), Yes);
    let tls = || number(Quantity::HelloType, 1..=1);
    assert_eq!(answer(tls(), &hello(), false), Yes);
    assert_eq!(answer(tls(), &hello()[..40], false), Unknown);
    assert_eq!(answer(tls(), &hello()[..40], true), No);
    // Garbage passes at once.
    assert_eq!(answer(tls(), b"SSH-2.0", false), No);
    assert_eq!(answer(number(Quantity::HelloVersion, 3 << 16 | 3..=i64::MAX), &hello(), false), Yes);
    assert_eq!(answer(Test::Ended, b"x", false), Unknown);
    assert_eq!(answer(Test::Ended, b"", true), Yes);
    // What has nothing to do with bytes is known at once.
    assert_eq!(answer(number(Quantity::Port(End::Destination), 443..=443), b"", false), Yes);
    assert_eq!(answer(number(Quantity::Port(End::Source), 443..=443), b"", false), No);
    let of_pool = |figure| Quantity::Figure(Figure::Pool(figure, "p".into()));
    assert_eq!(answer(number(of_pool(PoolFigure::UsableServers), 0..=2), b"", false), No);
    // Without a limit it is -1: less than anything.
    assert_eq!(answer(number(of_pool(PoolFigure::FreePlaces), 0..=2), b"", false), No);
    assert_eq!(answer(number(of_pool(PoolFigure::FreePlaces), i64::MIN..=2), b"", false), Yes);
    let counter = |counter| Quantity::Counter { of: Counted::Source, table: None, counter };
    assert_eq!(answer(number(counter(Counter::Connections), 3..=3), b"", false), Yes);
    assert_eq!(answer(number(counter(Counter::ConnectionCount), 0..=i64::MAX), b"", false), No);
    assert_eq!(answer(Test::ServerUp { pool: "p".into(), server: "up".into() }, b"", false), Yes);
    let inside = Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(answer(Test::Address(End::Source, inside), b"", false), Yes);
}

#[test]
fn texts_match_as_their_method_says() {
    let sni =
        |ignore_case, pattern| answer(text(Text::ServerName, ignore_case, pattern), &hello(), false) == Answer::Yes;
    assert!(
        sni(false, Pattern::Exact(b"a.example.org".into())) && !sni(false, Pattern::Exact(b"A.example.org".into()))
    );
    assert!(sni(true, Pattern::Exact(b"A.Example.org".into())));
    assert!(sni(false, Pattern::End(b".example.org".into())) && !sni(false, Pattern::End(b".example.com".into())));
    assert!(sni(false, Pattern::Begin(b"a.".into())) && !sni(false, Pattern::Begin(b"b.".into())));
    assert!(sni(false, Pattern::Contains(b"mple.o".into())));
    assert!(sni(false, Pattern::Domain(b"example".into())) && sni(false, Pattern::Domain(b".example.org".into())));
    assert!(!sni(false, Pattern::Domain(b"exampl".into())) && !sni(false, Pattern::Domain(b".".into())));
    assert!(sni(false, Pattern::Regex("^a\\.ex.*g$".into())) && !sni(false, Pattern::Regex("^A".into())));
    assert!(sni(true, Pattern::Regex("^A".into())));
    assert!(sni(false, Pattern::Length(13..=13)) && sni(false, Pattern::Found));
    let alpn = |pattern| answer(text(Text::Protocol, false, pattern), &hello_of_http(), false);
    assert_eq!(alpn(Pattern::Exact(b"h2".into())), Answer::Yes, "one of several");
    assert_eq!(alpn(Pattern::Exact(b"h3".into())), Answer::No);
    // Without TLS there is no name, whatever is asked about it.
    assert_eq!(answer(text(Text::ServerName, false, Pattern::Found), b"GET /", false), Answer::No);
    assert_eq!(answer(text(Text::ServerName, false, Pattern::Found), b"", false), Answer::Unknown);
    let heard = |of, heard, pattern| answer(text(of, false, pattern), heard, false);
    assert_eq!(heard(ALL, b"SSH-2", Pattern::Begin(b"SSH-2.0".into())), Answer::Unknown);
    assert_eq!(heard(ALL, b"SSH-2.0-", Pattern::Begin(b"SSH-2.0".into())), Answer::Yes);
    let three = Text::Heard { by: Party::Client, offset: 1, length: Some(3) };
    assert_eq!(heard(three, b"xSS", Pattern::Exact(b"SSH".into())), Answer::Unknown);
    assert_eq!(heard(three, b"xSSH", Pattern::Exact(b"SSH".into())), Answer::Yes);
    assert_eq!(heard(three, b"xGET", Pattern::Exact(b"SSH".into())), Answer::No);
    assert!(Matchers::check("a(").is_err() && Matchers::check("a{1000}{1000}{1000}").is_err());
}

#[test]
fn conditions_are_lines_of_terms() {
    let yes = || (false, Test::Always(true));
    let no = || (false, Test::Always(false));
    let open = |negated| (negated, number(Quantity::HeardBytes, 1..=1));
    let ask = |lines: Vec<Option<Condition>>, negated| {
        let any = lines.into_iter().flatten().flat_map(|condition| condition.any).collect();
        condition::holds(&Condition { negated, any }, facts(b"", false).known(false), &Matchers::default(), &Still)
    };
    assert_eq!(ask(vec![if_all([yes(), no()]), if_all([yes()])], false), Answer::Yes);
    assert_eq!(ask(vec![if_all([yes(), no()])], true), Answer::Yes);
    assert_eq!(ask(vec![if_all([yes(), open(false)])], false), Answer::Unknown);
    assert_eq!(ask(vec![if_all([no(), open(true)])], false), Answer::No);
    assert_eq!(ask(vec![if_all([open(true)]), if_all([yes()])], true), Answer::No);
    assert_eq!(ask(vec![if_all([])], false), Answer::Yes);
    assert_eq!(ask(vec![], false), Answer::No);
}

fn run(rules: Vec<Rule>, heard: &[u8], ended: bool) -> Outcome<'static> {
    let policy = Box::leak(Box::new(Policy { rules, ..Policy::new() }));
    let matchers = Matchers::of(policy);
    decide(policy, Stage::Content, 0, &facts(heard, ended), &matchers, &mut Still)
}

#[test]
fn rules_wait_for_what_matters_only() {
    let said = || if_all([(false, number(Quantity::HeardBytes, 1..=i64::MAX))]);
    let tls = || if_all([(false, number(Quantity::HelloType, 1..=1))]);
    // The idiom of `accept if clienthello`, with nothing to reject: nobody waits.
    assert_eq!(run(vec![content(Action::Accept, tls())], b"", false), Outcome::Pass);
    let strict = || vec![content(Action::Accept, tls()), content(REJECT, None)];
    assert_eq!(run(strict(), b"", false), Outcome::Wait { from: 0 });
    assert_eq!(run(strict(), b"GET", false), Outcome::Reject(Denial::Rule));
    assert_eq!(run(strict(), b"", true), Outcome::Reject(Denial::Rule));
    assert_eq!(run(strict(), &hello(), false), Outcome::Pass);
    // Who speaks before the server does is sent away, the others wait for that.
    assert_eq!(run(vec![content(REJECT, said())], b"", false), Outcome::Wait { from: 0 });
    assert_eq!(run(vec![content(REJECT, said())], b"EHLO", false), Outcome::Reject(Denial::Rule));
    assert_eq!(run(vec![content(REJECT, said())], b"", true), Outcome::Pass);
    // A delay is one.
    let delay = || vec![content(Action::Accept, if_all([(false, Test::Ended)]))];
    assert_eq!(run(delay(), b"x", false), Outcome::Wait { from: 0 });
    assert_eq!(run(delay(), b"x", true), Outcome::Pass);
    // The first that holds decides.
    assert_eq!(run(vec![content(Action::Accept, None), content(REJECT, None)], b"", false), Outcome::Pass);
    assert_eq!(run(vec![Rule { stage: Stage::Route, ..content(REJECT, None) }], b"", false), Outcome::Pass);
}

/// HAProxy's `use_backend`: what its content rules waited for is all there is.
#[test]
fn routes_that_do_not_wait_have_content_rules_wait_for_them() {
    let tls = |negated| if_all([(negated, number(Quantity::HelloType, 1..=1))]);
    let said = if_all([(false, number(Quantity::HeardBytes, 5..=i64::MAX))]);
    let route = |pool: &str, when| Rule { stage: Stage::Route, ..content(Action::Pool(pool.to_owned()), when) };
    let routes = [route("long", said), route("plain", tls(true)), route("tls", tls(false))];
    let rules = [content(Action::Accept, tls(false))].into_iter().chain(routes).collect();
    let policy = Policy { rules, routes_wait: false, ..Policy::new() };
    let ask = |stage, heard: &'static [u8], ended| {
        decide(&policy, stage, 0, &facts(heard, ended), &Matchers::of(&policy), &mut Still)
    };
    assert_eq!(ask(Stage::Content, b"", false), Outcome::Wait { from: 0 });
    assert_eq!(ask(Stage::Content, b"\x16\x03", false), Outcome::Wait { from: 0 });
    assert_eq!(ask(Stage::Content, b"GET", false), Outcome::Pass);
    assert_eq!(ask(Stage::Route, b"GET", false), Outcome::Pool("plain".into()));
    assert_eq!(ask(Stage::Route, b"GET /", false), Outcome::Pool("long".into()));
    assert_eq!(ask(Stage::Route, b"\x16\x03", false), Outcome::Pool("plain".into()), "no hello yet is none");
    assert_eq!(ask(Stage::Route, hello().leak(), false), Outcome::Pool("long".into()));
    let natively = Policy { routes_wait: true, ..policy.clone() };
    let waits = decide(&natively, Stage::Route, 0, &facts(b"GET", false), &Matchers::of(&natively), &mut Still);
    assert_eq!(waits, Outcome::Wait { from: 0 });
}

#[test]
fn the_first_rule_for_a_server_that_serves_directs() {
    let rule = |action, when| Rule { stage: Stage::Server, action, when };
    let to = |name: &str| Action::Server(name.to_owned());
    let persistence = |persistence| Action::Persistence(persistence);
    let tls = || if_all([(false, number(Quantity::HelloType, 1..=1))]);
    let ours = || if_all([(false, Test::Address(End::Source, Networks::new(vec!["10.0.0.0/8".parse().unwrap()])))]);
    let direct = |rules: Vec<Rule>, heard, ended| {
        let policy = Policy { rules, ..Policy::new() };
        direct(&policy, &facts(heard, ended), &Matchers::of(&policy), &Still, |server| server != "down")
    };
    let server = |name: &str| Some(Directions { server: Some(name.to_owned()), persistence: None });
    assert_eq!(direct(vec![], b"", false), Some(Directions::default()));
    assert_eq!(
        direct(vec![rule(to("down"), None), rule(to("a"), ours()), rule(to("b"), None)], b"", true),
        server("a")
    );
    // What comes after the one that holds is not waited for.
    assert_eq!(direct(vec![rule(to("a"), ours()), rule(to("b"), tls())], b"", false), server("a"));
    let hello = hello();
    let waits = || vec![rule(to("b"), tls()), rule(to("a"), ours())];
    assert_eq!(direct(waits(), b"", false), None);
    assert_eq!(direct(waits(), b"", true), server("a"));
    assert_eq!(direct(waits(), &hello, false), server("b"));
    // Wherever it stands, the first word about persistence holds for all.
    let forced = || rule(persistence(Persistence::Forced), ours());
    let usual = || rule(persistence(Persistence::Usual), None);
    let said = |server: &str, persistence| {
        Some(Directions { server: Some(server.to_owned()), persistence: Some(persistence) })
    };
    let rules = vec![rule(to("down"), None), rule(to("a"), None), forced(), usual()];
    assert_eq!(direct(rules, b"", true), said("down", Persistence::Forced));
    let rules = vec![usual(), forced(), rule(to("down"), None), rule(to("a"), None)];
    assert_eq!(direct(rules, b"", true), said("a", Persistence::Usual));
}

fn source(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn origin() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an origin for the virtual clock")]
    Instant::now()
}

#[test]
fn counters_count_and_forget() {
    let start = origin();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let spec = SourceTable { size: 2, connection_period: Duration::from_secs(10), ..SourceTable::new("t") };
    let mut table = Counters::new(SourceTable { expire: Some(Duration::from_secs(100)), ..spec.clone() });
    let first = table.hold(source(1), at(0)).unwrap();
    let again = table.hold(source(1), at(1)).unwrap();
    assert_eq!(first, again);
    assert_eq!(table.of_held(first, Counter::Connections, at(1)), Some(2));
    assert_eq!(table.of_source(source(1), Counter::ConnectionCount, at(1)), Some(2));
    assert_eq!(table.of_source(source(1), Counter::ConnectionRate, at(9)), Some(2));
    // Half of the period later half of what was before still counts.
    assert_eq!(table.of_source(source(1), Counter::ConnectionRate, at(15)), Some(1));
    assert_eq!(table.of_source(source(1), Counter::ConnectionRate, at(20)), Some(0));
    assert_eq!(table.of_source(source(9), Counter::Connections, at(20)), None);
    let second = table.hold(source(2), at(20)).unwrap();
    // Full, and both have a connection.
    assert_eq!(table.hold(source(3), at(20)), None);
    table.release(second, at(21));
    assert!(table.hold(source(3), at(22)).is_some());
    assert_eq!(table.of_source(source(2), Counter::ConnectionCount, at(22)), None);
    table.release(first, at(30));
    table.release(again, at(40));
    assert_eq!(table.of_source(source(1), Counter::Connections, at(40)), Some(0));
    assert_eq!((table.len(at(139)), table.len(at(140))), (2, 1));
    let mut keeps = Counters::new(SourceTable { nopurge: true, size: 1, ..spec });
    let held = keeps.hold(source(1), at(0)).unwrap();
    keeps.release(held, at(0));
    assert_eq!(keeps.hold(source(2), at(1)), None);
}

#[test]
fn purposes_and_families() {
    let start = origin();
    let mut table = Counters::new(SourceTable::new("t"));
    let gpc0 = Purpose::Gpc0;
    assert_eq!(table.of_source(source(1), Counter::Increment(gpc0), start), Some(1));
    assert_eq!(table.of_source(source(1), Counter::Increment(gpc0), start), Some(2));
    assert_eq!(table.of_source(source(1), Counter::PurposeRate(gpc0), start), Some(2));
    assert_eq!(table.of_source(source(1), Counter::Purpose(Purpose::Gpc1), start), Some(0));
    assert_eq!(table.of_source(source(1), Counter::Clear(gpc0), start), Some(2));
    assert_eq!(table.of_source(source(1), Counter::Purpose(gpc0), start), Some(0));
    // A whole /64 is one source, an address in IPv6 clothes its IPv4 self.
    let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
    table.hold(v6("2001:db8::1"), start).unwrap();
    table.hold(v6("2001:db8::2"), start).unwrap();
    assert_eq!(table.of_source(v6("2001:db8::ffff"), Counter::Connections, start), Some(2));
    assert_eq!(table.of_source(v6("2001:db8:0:1::1"), Counter::Connections, start), None);
    assert_eq!(table.of_source(v6("::ffff:10.0.0.1"), Counter::Connections, start), Some(0));
    let mut v4 = Counters::new(SourceTable { ipv6_bits: 0, ..SourceTable::new("t") });
    assert_eq!(v4.hold(v6("2001:db8::1"), start), None);
}

#[test]
fn sources_are_listed_and_those_without_a_connection_forgotten() {
    let now = origin();
    let mut counters = Counters::new(SourceTable::new("t"));
    let [open, gone, unknown] = [1, 2, 3].map(|host| IpAddr::from([192, 0, 2, host]));
    let _held = counters.hold(open, now).unwrap();
    let held = counters.hold(gone, now).unwrap();
    counters.release(held, now);
    let later = now + Duration::from_secs(600);
    let shown = counters.sources(later);
    let figures: Vec<_> = shown.iter().map(|s| (s.address, s.count, s.open, s.expires_in)).collect();
    assert_eq!(figures, [(open, 1, 1, None), (gone, 1, 0, Some(Duration::from_secs(1200)))]);
    assert_eq!(counters.forget(&[open, gone, unknown]), 1);
    assert_eq!(counters.sources(later).len(), 1);
    // Its place is free for another one.
    let held = counters.hold(unknown, later).unwrap();
    counters.release(held, later);
    assert_eq!(counters.len(later + Duration::from_secs(1800)), 1);
}

/// Notes what rules keep, and how often they count.
#[derive(Default)]
struct Noting(Notes, std::cell::Cell<u32>);

impl World for Noting {
    fn figure(&self, figure: &Figure) -> i64 {
        Still.figure(figure)
    }
    fn is_up(&self, pool: &str, server: &str) -> bool {
        Still.is_up(pool, server)
    }
    fn counter(&self, of: Counted, table: Option<&str>, counter: Counter) -> Option<u64> {
        self.1.set(self.1.get() + u32::from(matches!(counter, Counter::Increment(_))));
        Still.counter(of, table, counter)
    }
    fn variable(&self, variable: &Variable) -> Option<Value<'static>> {
        self.0.variable(variable).cloned()
    }
}

impl Effects for Noting {
    fn is_pool(&self, _: &str) -> bool {
        false
    }

    fn track(&mut self, _: Slot, _: &str, _: Option<(u8, u8)>) {}
    fn increment(&mut self, _: Slot, _: Purpose) {}
    fn set(&mut self, variable: &Variable, value: Option<Value<'static>>) {
        self.0.set(variable, value);
    }
    fn put(&mut self, slot: u16, value: Value<'static>) {
        self.0.put(slot, value);
    }
}

#[test]
fn variables_wait_natively_and_begin_anew() {
    let variable = Variable::parse("txn.x").unwrap();
    let of = |of| Expression { of, then: Vec::new() };
    let set = |waits| {
        let value = of(Origin::Text(Text::Heard { by: Party::Client, offset: 0, length: Some(3) }));
        content(Action::Set { variable: variable.clone(), value, waits }, None)
    };
    let hello = if_all([(false, Test::Number(Quantity::HelloType, vec![1..=1]))]);
    let decide = |rules: &[Rule], from, heard: &[u8], world: &mut Noting| -> Option<usize> {
        let policy = Policy { rules: rules.to_vec(), ..Policy::new() };
        match super::decide(&policy, Stage::Content, from, &facts(heard, false), &Matchers::default(), world) {
            Outcome::Wait { from } => Some(from),
            _ => None,
        }
    };
    let held = |world: &Noting| world.variable(&variable);
    let (first, all) = (b"\x16\x03".as_slice(), b"GET / HTTP/1.1\r\n".as_slice());
    let mut world = Noting::default();
    assert_eq!(decide(&[set(true)], 0, first, &mut world), Some(0), "natively it waits");
    assert_eq!(decide(&[set(false)], 0, first, &mut world), None);
    assert_eq!(held(&world), None, "where there is no value the variable stays");
    // An acceptance that could not change anything but for what is noted meanwhile.
    let rules = [set(false), content(Action::Accept, hello)];
    assert_eq!(decide(&rules, 0, first, &mut world), Some(1));
    assert_eq!(decide(&rules, 1, all, &mut world), None);
    assert_eq!(held(&world), Some(Value::Bytes(b"GET".into())));
    // What rules before it count is not counted again.
    let quantity = Quantity::Counter { of: Counted::Source, table: None, counter: Counter::Increment(Purpose::Gpc0) };
    let counts = content(Action::Reject(Denial::Rule), if_all([(false, Test::Number(quantity, vec![99..=100]))]));
    let rules = [vec![counts], rules.to_vec()].concat();
    assert_eq!((decide(&rules, 0, first, &mut world), decide(&rules, 2, all, &mut world)), (Some(2), None));
    assert_eq!(world.1.get(), 1);
    let capture = Action::Capture { slot: Some(2), length: 2, value: of(Origin::Variable(variable.clone(), None)) };
    assert_eq!(
        decide(&[content(capture, None), content(Action::Unset(variable.clone()), None)], 0, b"", &mut world),
        None
    );
    assert_eq!((world.0.capture(2), held(&world)), (Some(&Value::text(b"GE")), None));
    let early = Rule {
        stage: Stage::Session,
        ..content(
            Action::Set { variable: variable.clone(), value: of(Origin::Address(End::Source)), waits: false },
            None,
        )
    };
    let policy = Policy { rules: vec![early], ..Policy::new() };
    let _ = super::decide(&policy, Stage::Session, 0, &facts(b"", false), &Matchers::default(), &mut world);
    assert_eq!(held(&world), None, "`txn` begins when the client is listened to");
}
