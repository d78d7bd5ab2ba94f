//! SIGHUP: the difference is applied, and nothing else is touched.
#![expect(clippy::disallowed_methods, reason = "scenarios in real time")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use netns_tests::adverts::spacing;
use netns_tests::echo::{Echo, Mode};
use netns_tests::flows::Flows;
use netns_tests::gate::Subject;
use netns_tests::pair::{FrontPair, PATIENCE, PORTS, VIP, VRID};
use netns_tests::plan::{Plan, Sticky, Vip};
use netns_tests::report::{Table, line, ms};
use netns_tests::silence::Silence;
use netns_tests::wait::{pass, until_true};

const LIMIT: Duration = Duration::from_secs(3);
/// A reload answers in its log within this.
const SAID: Duration = Duration::from_secs(5);
/// Of the service that comes and goes.
const MORE: u16 = 7000;
const SECOND_VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 56, 110));

/// What must not change.
struct Watch<'a> {
    pair: &'a FrontPair,
    silence: &'a Silence,
    flows: &'a Flows,
    since: Instant,
    listeners: Vec<(u16, u64)>,
    alive: BTreeMap<String, usize>,
}

impl<'a> Watch<'a> {
    fn begin(pair: &'a FrontPair, silence: &'a Silence, flows: &'a Flows) -> Self {
        let since = Instant::now();
        // A few regular advertisements before the change.
        pass(3 * pair.interval());
        Self { pair, silence, flows, since, listeners: kept_listeners(pair), alive: flows.by_server() }
    }

    /// Checks that what did not change was not touched, and adds a row of figures.
    #[track_caller]
    fn end(self, table: &mut Table, subject: Subject, what: &str) {
        let pair = self.pair;
        pass(5 * pair.interval() + netns_tests::silence::PATIENCE);
        let now = Instant::now();
        let report = self.silence.report_since(self.since);
        let adverts = pair.adverts.between(VRID, self.since, now);
        let (shortest, longest) = spacing(&adverts, [192, 168, 56, 101].into()).unwrap_or_default();
        let moved: Vec<_> = pair.ownership.events().into_iter().filter(|event| event.at > self.since).collect();
        let kept = kept_listeners(pair);
        let same = kept.iter().filter(|listener| self.listeners.contains(listener)).count();
        let alive = self.flows.by_server();
        table.row(&[
            what,
            &format!("{same} of {}", self.listeners.len()),
            &format!("{}", self.flows.tally()),
            &format!("{} of {}", report.failed(), report.attempts.len()),
            &format!("{} to {}", ms(shortest), ms(longest)),
        ]);
        let name = format!("{subject}: {what}");
        assert!(pair.gate(0).alive(), "{name}: it ended: {}", pair.gate(0).log());
        assert_eq!(self.listeners, kept, "{name}: listeners were replaced");
        assert_eq!(self.alive, alive, "{name}: flows were lost");
        assert_eq!(report.failed(), 0, "{name}: {}", report.summary());
        // None is missing. Where the client's thread stood still as well, the whole machine did.
        let allowed = pair.interval() * 3 / 2 + report.pause;
        let sent: Vec<String> =
            adverts.iter().map(|one| format!("{} {}", ms(one.at - self.since), one.priority)).collect();
        assert!(longest < allowed, "{name}: adverts up to {longest:?} apart: {}", sent.join(", "));
        assert!(moved.is_empty(), "{name}: the address moved: {moved:?}");
    }
}

/// Listeners of the service that stays.
fn kept_listeners(pair: &FrontPair) -> Vec<(u16, u64)> {
    pair.nodes[0].listeners().into_iter().filter(|(port, _)| PORTS.contains(port)).collect()
}

#[test]
fn what_changes_is_applied_and_what_does_not_is_untouched() {
    for subject in Subject::VIPGATE {
        let Some(mut pair) = FrontPair::build("reload", subject) else { return };
        let _more: Vec<Echo> = pair.servers.iter().map(|node| Echo::start(node, MORE..=MORE, Mode::Echo)).collect();
        pair.start();
        pass(Duration::from_millis(600));
        let silence = Silence::start(&pair.client, &pair.targets(), &[]);
        silence.wait_steady(300, PATIENCE);
        let flows = Flows::open(&pair.client, &pair.targets(), &[], 30, Duration::from_millis(20));
        let mut table = Table::new(
            &format!("{subject}: reloads under load"),
            &["change", "listeners kept", "flows", "failed connections", "advert spacing"],
        );
        let more = SocketAddr::new(VIP, MORE);
        let step = |table: &mut Table, plan: &Plan, what: &str, done: &dyn Fn() -> bool| {
            let watch = Watch::begin(&pair, &silence, &flows);
            pair.gate(0).reload(plan);
            until_true(format_args!("{what} to show; {}", pair.gate(0).log()), SAID, done);
            watch.end(table, subject, what);
        };
        let served = |target: SocketAddr| pair.client.ask(None, target, LIMIT).is_ok();
        let owns = |address: IpAddr| pair.nodes[0].address(address).is_some();
        let priority = |wanted: u8| pair.adverts.last(VRID).is_some_and(|advert| advert.priority == wanted);
        let mut plan = pair.plans[0].clone();

        let unchanged = pair.gate(0).log().len();
        step(&mut table, &plan, "nothing", &|| pair.gate(0).log().len() > unchanged);

        let mut service = plan.services[0].clone();
        (service.name, service.ports) = ("more".to_owned(), MORE..=MORE);
        if let Some(check) = &mut service.check {
            check.port = MORE;
        }
        plan.services.push(service);
        step(&mut table, &plan, "a service added", &|| served(more));

        plan.services[1].servers.truncate(1);
        let only_first = || (0..6).all(|_| pair.client.ask(None, more, LIMIT).is_ok_and(|one| one.server == "files-1"));
        step(&mut table, &plan, "servers removed", &only_first);

        plan.services.pop();
        step(&mut table, &plan, "a service removed", &|| !served(more));

        let vip = Vip { address: format!("{SECOND_VIP}/24"), interface: "eth1".to_owned(), label: None };
        plan.routers[0].addresses.push(vip);
        step(&mut table, &plan, "an address added", &|| owns(SECOND_VIP));

        plan.routers[0].addresses.pop();
        step(&mut table, &plan, "an address removed", &|| !owns(SECOND_VIP));

        plan.routers[0].priority = 160;
        step(&mut table, &plan, "another priority", &|| priority(160));

        let mut router = plan.routers[0].clone();
        (router.name, router.vrid) = ("second".to_owned(), VRID + 1);
        router.addresses = vec![Vip { address: format!("{SECOND_VIP}/24"), interface: "eth1".to_owned(), label: None }];
        plan.routers.push(router);
        step(&mut table, &plan, "a virtual router added", &|| owns(SECOND_VIP));

        plan.routers.pop();
        step(&mut table, &plan, "a virtual router removed", &|| !owns(SECOND_VIP));
        table.print();
    }
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_says_so() {
    for subject in Subject::VIPGATE {
        let Some(mut pair) = FrontPair::build("unusable files", subject) else { return };
        pair.start();
        pass(Duration::from_millis(600));
        let silence = Silence::start(&pair.client, &pair.targets(), &[]);
        silence.wait_steady(300, PATIENCE);
        let flows = Flows::open(&pair.client, &pair.targets(), &[], 30, Duration::from_millis(20));
        let mut table = Table::new(
            &format!("{subject}: reloads of unusable files"),
            &["file", "listeners kept", "flows", "failed connections", "advert spacing"],
        );
        let [proxy_file, router_file] = pair.gate(0).files();
        let read = |file: &Path| fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let half = |text: String| text.split_at(text.len() / 2).0.to_owned() + "\n}}}} = [[[\n";
        let cases = [
            ("broken", &proxy_file, Some(half(read(&proxy_file)))),
            ("empty", &proxy_file, Some(String::new())),
            ("missing", &proxy_file, None),
            ("for a missing interface", &router_file, Some(read(&router_file).replace("eth1", "eth8"))),
        ];
        for (what, file, content) in cases {
            let good = read(file);
            let watch = Watch::begin(&pair, &silence, &flows);
            let before = pair.gate(0).log().len();
            match content {
                Some(content) => fs::write(file, content),
                None => fs::remove_file(file),
            }
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            pair.gate(0).reread();
            let said = || pair.gate(0).log().split_off(before);
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let word = if what.contains("interface") { "eth8" } else { &name };
            until_true(format_args!("the log to name {word}"), SAID, || said().contains(word));
            let words: Vec<String> = said().lines().filter(|line| !is_traffic(line)).map(str::to_owned).collect();
            line(&format!("{subject}, {what}: {}", words.join("\n  ")));
            watch.end(&mut table, subject, what);
            fs::write(file, &good).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        // And a good one is still taken.
        let mut plan = pair.plans[0].clone();
        plan.routers[0].priority = 170;
        pair.gate(0).reload(&plan);
        until_true("the next good file to be applied", SAID, || {
            pair.adverts.last(VRID).is_some_and(|advert| advert.priority == 170)
        });
        table.print();
    }
}

fn is_traffic(line: &str) -> bool {
    line.contains("connection ended")
}

#[test]
fn both_nodes_reload_and_sticky_clients_stay() {
    let mut table = Table::new(
        "both nodes reload, 60 sticky clients, one of three servers down",
        &["subject", "changed their server", "slowest answer after it"],
    );
    for subject in [Subject::Toml, Subject::Foreign, Subject::Daemons] {
        let Some(pair) = FrontPair::build("both reload", subject) else { return };
        let mut pair = pair.with(|plan| plan.services[0].sticky = Sticky::Table);
        pair.start();
        pass(Duration::from_millis(600));
        pair.stop_server(2);
        pass(Duration::from_millis(1500));
        let land = || -> (BTreeMap<IpAddr, String>, Duration) {
            let mut slowest = Duration::ZERO;
            let mut landed = BTreeMap::new();
            // Not in the order in which they came: round robin would put them where they were by chance.
            let mut sources = pair.sources();
            sources.sort_by_key(|source| std::hash::BuildHasher::hash_one(&Fixed::default(), source));
            for source in sources {
                let begun = Instant::now();
                let answer = pair.client.ask(Some(source), pair.target(), LIMIT);
                slowest = slowest.max(begun.elapsed());
                landed.insert(source, answer.map_or_else(|error| error.to_string(), |answer| answer.server));
            }
            (landed, slowest)
        };
        let mut before = BTreeMap::new();
        for source in pair.sources() {
            let answer = pair.client.ask(Some(source), pair.target(), LIMIT);
            before.insert(source, answer.map_or_else(|error| error.to_string(), |answer| answer.server));
        }
        let more = |plan: &mut Plan| {
            let mut service = plan.services[0].clone();
            (service.name, service.ports) = ("more".to_owned(), MORE..=MORE);
            plan.services.push(service);
        };
        for which in [0, 1] {
            let mut plan = pair.plans[which].clone();
            more(&mut plan);
            pair.gate(which).reload(&plan);
        }
        until_true("the new service", SAID, || pair.nodes[0].listeners().iter().any(|&(port, _)| port == MORE));
        let (after, slowest) = land();
        let changed = before.iter().filter(|(client, server)| after[*client] != **server).count();
        table.row(&[&subject.to_string(), &format!("{changed} of {}", before.len()), &ms(slowest)]);
        if subject != Subject::Daemons {
            assert_eq!(changed, 0, "{subject}: sticky clients changed their server");
            assert!(
                slowest < Duration::from_millis(200),
                "{subject}: an answer took {slowest:?}: health was forgotten"
            );
        }
    }
    table.print();
}

/// A hash that is the same in every run.
type Fixed = std::hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher>;
