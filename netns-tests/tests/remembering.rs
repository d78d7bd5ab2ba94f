//! `stick on src` on a pair: whatever becomes of a node, its clients keep their servers; beside HAProxy with and without
//! peers.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use netns_tests::gate::Subject;
use netns_tests::pair::FrontPair;
use netns_tests::plan::{Plan, Sticky};
use netns_tests::report::Table;
use netns_tests::wait::pass;

const LIMIT: Duration = Duration::from_secs(3);
const CLIENTS: usize = 20;
/// Health is known on both nodes, peers have met (they try again within 2.05 s).
const SETTLED: Duration = Duration::from_millis(3500);

/// Where clients land, in an order that is not the one in which they came first: round robin would put them where they
/// were by chance.
fn land(pair: &FrontPair, shuffled: bool) -> BTreeMap<IpAddr, String> {
    let mut sources: Vec<IpAddr> = pair.sources().into_iter().take(CLIENTS).collect();
    if shuffled {
        sources.sort_by_key(|source| BuildHasherDefault::<DefaultHasher>::default().hash_one(source));
    }
    let ask = |source| {
        let answer = pair.client.ask(Some(source), pair.target(), LIMIT);
        (source, answer.map_or_else(|error| error.to_string(), |answer| answer.server))
    };
    sources.into_iter().map(ask).collect()
}

#[test]
fn clients_keep_their_servers_whatever_becomes_of_a_node() {
    let title = "20 clients, `stick on src`: so many kept their server";
    let mut table = Table::new(title, &["subject", "peers", "failover", "failback", "restart", "reload"]);
    let mut broken = Vec::new();
    let mut pairs = Vec::new();
    for shares in [false, true] {
        for subject in [Subject::Toml, Subject::Foreign, Subject::Daemons] {
            let Some(pair) = FrontPair::build("clients keep their servers", subject) else { return };
            pairs.push((pair, shares));
        }
    }
    // They wait most of the time, and nothing here is a matter of milliseconds.
    let rows: Vec<_> = thread::scope(|scope| {
        let begun: Vec<_> = pairs.into_iter().map(|(pair, shares)| scope.spawn(move || kept(pair, shares))).collect();
        begun.into_iter().map(|row| row.join().expect("the scenario ends")).collect()
    });
    for (subject, shares, kept) in rows {
        let row = [subject.to_string(), if shares { "yes" } else { "no" }.to_owned()];
        let figures = kept.iter().map(|kept| format!("{kept} of {CLIENTS}"));
        let cells: Vec<String> = row.into_iter().chain(figures).collect();
        table.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
        if subject != Subject::Daemons && kept.iter().any(|kept| *kept != CLIENTS) {
            broken.push(format!("{subject}, peers: {shares}: {kept:?}"));
        }
    }
    table.print();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// How many clients kept their server after a failover, a failback, a restart and a reload.
fn kept(pair: FrontPair, shares: bool) -> (Subject, bool, Vec<usize>) {
    let mut pair = pair.with(|plan: &mut Plan| {
        plan.services[0].sticky = Sticky::Table;
        if shares {
            let back = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
            plan.sharing = vec![("gate-a".to_owned(), back(1)), ("gate-b".to_owned(), back(2))];
        }
    });
    pair.start();
    pass(SETTLED);
    let first = land(&pair, false);
    pass(Duration::from_millis(300));
    let mut kept = Vec::new();
    let mut look = |pair: &FrontPair| {
        let now = land(pair, true);
        kept.push(first.iter().filter(|(client, server)| now[*client] == **server).count());
    };
    // Failover, and the node comes back empty-handed.
    pair.gate(0).terminate();
    pair.gate(0).wait_end();
    pair.wait_owner(1);
    look(&pair);
    forget(&pair, 0);
    pair.start_gate(0);
    pair.wait_owner(0);
    pass(SETTLED);
    look(&pair);
    // A restart of the master: for a moment the other one serves.
    pair.gate(0).terminate();
    pair.gate(0).wait_end();
    pair.start_gate(0);
    pair.wait_owner(0);
    pass(SETTLED);
    look(&pair);
    let mut plan = pair.plans[0].clone();
    plan.services[0].check = None;
    pair.gate(0).reload(&plan);
    pass(SETTLED);
    look(&pair);
    (pair.subject, shares, kept)
}

/// What the node wrote down is lost, as with a new disk.
fn forget(pair: &FrontPair, which: usize) {
    let _absent = std::fs::remove_file(pair.nodes[which].dir().join("state/learnt.state"));
}
