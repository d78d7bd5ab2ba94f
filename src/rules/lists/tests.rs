use std::net::IpAddr;

use super::*;

fn list(name: &str, is_map: bool, entries: &[(&str, &str)]) -> Arc<List> {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Arc::new(List { name: ListName::File(name.to_owned()), is_map, entries })
}

fn lookup(list: &Arc<List>, how: How) -> Lookup {
    Lookup { list: Arc::clone(list), how, ignore_case: false }
}

/// A list called `m` that is read and asked, and who asks it.
fn loaded(is_map: bool, entries: &[(&str, &str)], how: How) -> (Lists, Lookup, Arc<ArcSwap<Index>>) {
    let (lists, asked) = (Lists::default(), lookup(&list("m", is_map, entries), how));
    lists.load([(&asked, Kind::Text)].into_iter());
    let index = lists.index(&asked, Kind::Text);
    (lists, asked, index)
}

fn pair(key: &str, value: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), value.to_owned())]
}

fn text(index: &ArcSwap<Index>, text: &str) -> Option<String> {
    let index = index.load();
    match index.value(index.of_text(text.as_bytes())?)? {
        Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        other => Some(format!("{other:?}")),
    }
}

#[test]
fn patterns_are_compared_as_in_haproxy() {
    let lists = Lists::default();
    let all = list("k", true, &[("a", "one"), ("a.b", "two"), ("a.b.c", "three"), (".example", "four"), ("a", "five")]);
    for (how, asked, expected) in [
        (How::Exact, "a", Some("one")),
        (How::Exact, "A", None),
        (How::Begin, "a.b.c.d", Some("three")),
        (How::Begin, "b", None),
        (How::End, "x.example", Some("four")),
        (How::Contains, "a.b.c.d", Some("one")),
        (How::Domain, "x.a.b.c.d", Some("one")),
        (How::Domain, "xa", None),
        (How::Regex, "x", None),
        (How::Regex, "xaybz", Some("one")),
    ] {
        let found = text(&lists.index(&lookup(&all, how), Kind::Text), asked);
        assert_eq!(found.as_deref(), expected, "{how:?} {asked}");
    }
    let folded = Lookup { ignore_case: true, ..lookup(&all, How::Exact) };
    assert_eq!(text(&lists.index(&folded, Kind::Text), "A.B").as_deref(), Some("two"));
    let networks = list(
        "n",
        true,
        &[("0.0.0.0/0", "1"), ("10.0.0.0/8", "2"), ("10.1.0.0/255.255.0.0", "3"), ("2001:db8::/32", "4")],
    );
    let index = lists.index(&lookup(&networks, How::Address), Kind::Number);
    for (address, expected) in [
        ("192.0.2.1", Some(1)),
        ("10.2.3.4", Some(2)),
        ("::ffff:10.1.2.3", Some(3)),
        ("2001:db8::1", Some(4)),
        ("::1", None),
    ] {
        let address: IpAddr = address.parse().unwrap();
        let index = index.load();
        let value = index.of_address(address).and_then(|place| index.value(place));
        assert_eq!(value, expected.map(Value::Number).as_ref(), "{address}");
    }
    let numbers = list("p", false, &[("80", ""), ("443:445", ""), ("9000:", "")]);
    let index = lists.index(&lookup(&numbers, How::Number), Kind::Text).load_full();
    assert_eq!([80, 444, 446, 70_000].map(|number| index.of_number(number)), [Some(1), Some(2), None, Some(3)]);
}

#[test]
fn who_asks_sees_each_change() {
    let lists = Lists::default();
    let names = list("m", true, &[("a", "one"), ("b", "two"), ("a", "three")]);
    let asked = [(&lookup(&names, How::Exact), Kind::Text)];
    lists.load(asked.into_iter());
    let index = lists.index(asked[0].0, Kind::Text);
    let is = |key: &str| text(&index, key);
    assert_eq!((is("a").as_deref(), is("c")), (Some("one"), None));
    lists.add(true, "m", None, &pair("c", "new")).unwrap();
    lists.set(true, "#0", &Which::Key("a".into()), "all").unwrap();
    assert_eq!((is("a").as_deref(), is("c").as_deref()), (Some("all"), Some("new")));
    lists.remove(true, "m", &Which::Number(1)).unwrap();
    let rows = lists.entries(true, "m", None).unwrap();
    let shown: Vec<_> = rows.iter().map(|row| (row.number, row.key.as_str(), row.value.as_str())).collect();
    assert_eq!(shown, [(2, "b", "two"), (3, "a", "all"), (4, "c", "new")]);
    assert_eq!(lists.remove(true, "m", &Which::Key("z".into())), Err(ListError::NoEntry));
    assert_eq!(lists.set(true, "m", &Which::Number(99), "x"), Err(ListError::NoEntry));
    assert_eq!(lists.clear(false, "m", None), Err(ListError::Unknown), "it is a map");
    lists.clear(true, "m", None).unwrap();
    assert_eq!(is("a"), None);
    // What was changed does not outlast what is read anew.
    assert_eq!(lists.load(asked.into_iter()), [ListName::File("m".into())]);
    assert_eq!(lists.load(asked.into_iter()), []);
    assert_eq!(is("a").as_deref(), Some("one"));
}

#[test]
fn a_version_takes_the_place_of_the_one_before_at_once() {
    let (lists, asked, index) = loaded(true, &[("a", "one")], How::Exact);
    assert_eq!(lists.add(true, "m", Some(1), &pair("b", "two")), Err(ListError::Future));
    assert_eq!(lists.prepare(true, "m"), Ok(1));
    lists.add(true, "m", Some(1), &pair("b", "two")).unwrap();
    assert_eq!((text(&index, "a").as_deref(), text(&index, "b")), (Some("one"), None));
    assert_eq!(lists.commit(true, "m", 2), Err(ListError::Version));
    lists.commit(true, "m", 1).unwrap();
    assert_eq!(lists.commit(true, "m", 1), Err(ListError::Version));
    assert_eq!((text(&index, "a"), text(&index, "b").as_deref()), (None, Some("two")));
    let overview = lists.overview(true);
    assert_eq!(overview.iter().map(|list| (list.current, list.newest, list.count)).collect::<Vec<_>>(), [(1, 1, 1)]);
    // What is in a version that is not asked any more counts for nothing when the list is read anew.
    lists.clear(true, "m", None).unwrap();
    lists.add(true, "m", Some(0), &pair("a", "one")).unwrap();
    lists.load([(&asked, Kind::Text)].into_iter());
    assert_eq!(text(&index, "a").as_deref(), Some("one"));
}

#[test]
fn a_pattern_is_set_and_removed_in_every_version() {
    let (lists, _, index) = loaded(true, &[("a", "one")], How::Exact);
    assert_eq!(lists.prepare(true, "m"), Ok(1));
    lists.add(true, "m", Some(1), &[pair("a", "next"), pair("b", "next")].concat()).unwrap();
    lists.set(true, "m", &Which::Key("a".into()), "both").unwrap();
    lists.remove(true, "m", &Which::Key("b".into())).unwrap();
    let values =
        |version| lists.entries(true, "m", version).unwrap().into_iter().map(|row| row.value).collect::<Vec<_>>();
    assert_eq!((values(None), values(Some(1))), (vec!["both".to_owned()], vec!["both".to_owned()]));
    assert_eq!(text(&index, "a").as_deref(), Some("both"));
    lists.remove(true, "m", &Which::Key("a".into())).unwrap();
    assert_eq!((text(&index, "a"), values(Some(1))), (None, vec![]));
}

#[test]
fn a_list_that_is_asked_in_another_way_has_all_of_its_patterns() {
    let lists = Lists::default();
    let networks = list("m", true, &[("192.0.2.0/24", "1")]);
    let before = lookup(&networks, How::Address);
    lists.load([(&before, Kind::Number)].into_iter());
    let names = list("m", true, &[("a", "one"), ("192.0.2.0/24", "two")]);
    let after = lookup(&names, How::Exact);
    lists.load([(&after, Kind::Text)].into_iter());
    assert_eq!(text(&lists.index(&after, Kind::Text), "a").as_deref(), Some("one"));
    lists.add(true, "m", None, &pair("b", "three")).unwrap();
    assert_eq!(lists.find(true, "m", "b").unwrap().len(), 1);
}

#[test]
fn patterns_are_changed_however_they_are_compared() {
    for (how, [first, second], asked) in [
        (How::Exact, ["a", "a"], "a"),
        (How::Binary, ["61", "61"], "a"),
        (How::Begin, ["ab", "a"], "abc"),
        (How::End, ["b", "ab"], "ab"),
        (How::Regex, ["^a", "b$"], "ab"),
    ] {
        let (lists, _, index) = loaded(true, &[(first, "1"), (second, "2")], how);
        let mut seen = vec![text(&index, asked)];
        for number in [1, 2] {
            lists.remove(true, "m", &Which::Number(number)).unwrap();
            seen.push(text(&index, asked));
        }
        lists.add(true, "m", None, &pair(second, "3")).unwrap();
        lists.set(true, "m", &Which::Number(3), "4").unwrap();
        seen.push(text(&index, asked));
        assert_eq!(seen, [Some("1".to_owned()), Some("2".to_owned()), None, Some("4".to_owned())], "{how:?}");
    }
    let (lists, _, index) = loaded(false, &[("10.0.0.0/8", ""), ("10.1.0.0/16", "")], How::Address);
    let found = || index.load().of_address("10.1.2.3".parse().unwrap());
    assert_eq!(found(), Some(2));
    lists.remove(false, "m", &Which::Key("10.1.0.0/16".into())).unwrap();
    assert_eq!(found(), Some(1));
}

#[test]
fn an_ipv4_address_is_found_among_ipv6_networks_if_no_ipv4_one_has_it() {
    let lists = Lists::default();
    let networks =
        list("n", false, &[("::ffff:192.0.2.0/120", ""), ("::ffff:198.51.100.1", ""), ("192.0.2.128/25", "")]);
    let index = lists.index(&lookup(&networks, How::Address), Kind::Text).load_full();
    let found = |address: &str| index.of_address(address.parse().unwrap());
    assert_eq!(
        ["192.0.2.7", "::ffff:192.0.2.7", "192.0.2.200", "198.51.100.1", "192.0.3.1"].map(found),
        [Some(1), Some(1), Some(3), Some(2), None]
    );
}

#[test]
fn what_is_no_pattern_changes_nothing() {
    let lists = Lists::default();
    let networks = list("n", true, &[]);
    let asked = lookup(&networks, How::Address);
    lists.load([(&asked, Kind::Number)].into_iter());
    let two = [pair("192.0.2.0/24", "1"), pair("everybody", "2")].concat();
    assert!(matches!(lists.add(true, "n", None, &two), Err(ListError::Pattern { how: How::Address, .. })));
    assert_eq!(lists.add(true, "n", None, &pair("192.0.2.0/24", "x")), Err(ListError::Value("x".into())));
    assert_eq!(lists.entries(true, "n", None), Ok(vec![]));
}

#[test]
fn lists_have_numbers_that_nobody_else_was_given() {
    let lists = Lists::default();
    let named = |number| Arc::new(List { name: ListName::Number(number), is_map: false, entries: Vec::new() });
    let all = [list("a", false, &[]), named(0), list("b", false, &[]), named(77)];
    let lookups = all.map(|list| lookup(&list, How::Exact));
    lists.load(lookups.iter().map(|lookup| (lookup, Kind::Text)));
    let shown: Vec<_> = lists.overview(false).iter().map(|list| (list.number, list.name.to_string())).collect();
    let expected = [(0, "#0"), (1, "a"), (2, "b"), (77, "#77")].map(|(number, name)| (number, name.to_owned()));
    assert_eq!(shown, expected);
    lists.add(false, "#77", None, &pair("x", "")).unwrap();
    assert_eq!(lists.find(false, "#77", "x").unwrap()[0].row.as_ref().unwrap().key, "x");
}
