use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::checks::Checks;
use crate::client::{Client, Visit};
use crate::fronts::{Front, Stick};
use crate::java;
use crate::servers::{Kind, Mode, Server};

const CLIENTS: usize = 40;
const RETURNS: usize = 10;

/// The scenarios measure shares of a machine that they have for themselves.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Stage {
    servers: Vec<Server>,
    directory: PathBuf,
    net: u8,
    _alone: MutexGuard<'static, ()>,
}

/// What clients saw of a front.
#[derive(Debug, Default)]
struct Counts {
    /// New clients of each server.
    new: [usize; Kind::ALL.len()],
    resumed: usize,
    returns: usize,
    /// After each client's first return.
    late_resumed: usize,
    late: usize,
}

impl Stage {
    /// None where a program is missing.
    fn set(name: &str, net: u8, mode: Mode) -> Option<Self> {
        for program in ["/usr/sbin/nginx", "/usr/bin/openssl", "/usr/bin/java", "/usr/sbin/haproxy"] {
            if !Path::new(program).exists() {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "nothing may be skipped here: no {program}");
                netns_tests::report::loud(&format!("SKIPPED: {program} is not installed"));
                return None;
            }
        }
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = std::env::temp_dir().join(format!("vipgate-affinity-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        // It takes a second to start: meanwhile the others do.
        java::start();
        let start = |(index, kind): (usize, Kind)| {
            let address = SocketAddr::new(Ipv4Addr::new(127, 78, net, 11 + index as u8).into(), 8443);
            Server::start(kind, address, mode, &directory)
        };
        let servers = Kind::ALL.into_iter().enumerate().map(start).collect();
        Some(Self { servers, directory, net, _alone: alone })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(127, 78, self.net, 1).into(), port)
    }

    fn who(&self, visit: &Visit) -> usize {
        self.servers.iter().position(|server| server.certificate == visit.certificate).unwrap()
    }

    /// Clients that come once, and then return in random order.
    fn play(&self, at: SocketAddr, nat: bool) -> Counts {
        let clients: Vec<Client> = (0..CLIENTS).map(|number| Client::new(source(number, nat))).collect();
        let mut counts = Counts::default();
        for client in &clients {
            let visit = client.visit(at).unwrap();
            assert!(!visit.resumed);
            counts.new[self.who(&visit)] += 1;
        }
        let mut random = Random(0x5eed);
        for round in 0..RETURNS {
            for number in random.order(CLIENTS) {
                let resumed = usize::from(clients[number].visit(at).unwrap().resumed);
                (counts.resumed, counts.returns) = (counts.resumed + resumed, counts.returns + 1);
                if round > 0 {
                    (counts.late_resumed, counts.late) = (counts.late_resumed + resumed, counts.late + 1);
                }
            }
        }
        counts
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.servers.clear();
        let _gone = std::fs::remove_dir_all(&self.directory);
    }
}

impl Counts {
    fn percent(part: usize, of: usize) -> f64 {
        part as f64 * 100.0 / of.max(1) as f64
    }

    fn line(&self, mode: Mode, front: &str) -> String {
        let new = self.new.map(|clients| format!("{clients:>2}")).join(" ");
        format!(
            "{:<22} {front:<34} {:>6.1} % {:>6.1} %   {new}",
            mode.name(),
            Self::percent(self.resumed, self.returns),
            Self::percent(self.late_resumed, self.late),
        )
    }
}

/// Each from an address of its own, or all from one.
fn source(number: usize, nat: bool) -> IpAddr {
    Ipv4Addr::new(127, 79, 1, if nat { 1 } else { number as u8 + 1 }).into()
}

/// xorshift64, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        (1..count).rev().for_each(|last| order.swap(last, self.below(last + 1)));
        order
    }
}

fn compare(net: u8, mode: Mode) {
    let Some(stage) = Stage::set("compare", net, mode) else { return };
    let servers = stage.addresses();
    let mut lines = vec![format!("{:<22} {:<34} resumed, after a first return; new clients", "", "")];
    for (nat, name) in [(false, "vipgate"), (true, "vipgate, one NAT address")] {
        let at = stage.at(8443 + u16::from(nat));
        let front = Front::vipgate(at, &servers);
        let counts = stage.play(at, nat);
        lines.push(counts.line(mode, name));
        let names = (0..Kind::ALL.len()).map(|server| front.key_names(server)).collect::<Vec<_>>();
        assert!(counts.late_resumed * 100 >= counts.late * 99, "{}\n{names:?}", counts.line(mode, name));
        assert!(counts.new.iter().all(|share| (7..=13).contains(share)), "{:?}", counts.new);
    }
    for (port, stick, nat, name) in [
        (8445, Stick::Idiom, false, "HAProxy, payload_lv(43,1)"),
        (8446, Stick::Source, false, "HAProxy, stick on src"),
        (8447, Stick::Source, true, "HAProxy, stick on src, one NAT"),
    ] {
        let _front = Front::haproxy(stage.at(port), &servers, stick, &stage.directory);
        lines.push(stage.play(stage.at(port), nat).line(mode, name));
    }
    println!("{}", lines.join("\n"));
}

#[test]
fn tls_12_sessions_by_id_resume_where_they_were_made() {
    compare(1, Mode::Ids12);
}

#[test]
fn tls_12_tickets_resume_where_they_were_issued() {
    compare(2, Mode::Tickets12);
}

#[test]
fn tls_13_tickets_resume_where_they_were_issued() {
    compare(3, Mode::Tickets13);
}

#[test]
fn tls_13_tickets_resume_after_a_second_hello() {
    compare(4, Mode::Retry13);
}

/// Clients that have been here, each from an address of its own.
struct Crowd {
    clients: Vec<Client>,
    random: Random,
}

impl Crowd {
    fn gather(stage: &Stage, at: SocketAddr) -> Self {
        let crowd = Self { clients: (0..CLIENTS).map(|n| Client::new(source(n, false))).collect(), random: Random(7) };
        (0..2).for_each(|_| crowd.clients.iter().for_each(|client| _ = stage.who(&client.visit(at).unwrap())));
        crowd
    }

    /// One more visit of each in random order: how many resumed, and where they were.
    fn round(&mut self, stage: &Stage, at: SocketAddr) -> (usize, Vec<usize>) {
        let mut places = vec![0; CLIENTS];
        let mut resumed = 0;
        for number in self.random.order(CLIENTS) {
            let visit = self.clients[number].visit(at).unwrap();
            resumed += usize::from(visit.resumed);
            places[number] = stage.who(&visit);
        }
        (resumed, places)
    }

    /// All resume, in so many rounds that one percent is something.
    fn all_resume(&mut self, stage: &Stage, at: SocketAddr) -> Vec<usize> {
        let rounds: Vec<(usize, Vec<usize>)> = (0..5).map(|_| self.round(stage, at)).collect();
        let resumed: usize = rounds.iter().map(|(resumed, _)| resumed).sum();
        assert!(resumed * 100 >= 5 * CLIENTS * 99, "{resumed} of {}", 5 * CLIENTS);
        rounds.into_iter().next_back().unwrap().1
    }
}

#[test]
fn a_dead_server_s_clients_stay_where_they_land_and_nobody_moves_when_it_is_back() {
    let Some(mut stage) = Stage::set("dead", 5, Mode::Tickets13) else { return };
    let at = stage.at(8443);
    let front = Front::vipgate(at, &stage.addresses());
    let mut crowd = Crowd::gather(&stage, at);
    let before = crowd.all_resume(&stage, at);
    stage.servers[1].fall();
    front.proxy().set_server_up("app", "s1", false);
    crowd.round(&stage, at);
    let landed = crowd.all_resume(&stage, at);
    assert!(
        (0..CLIENTS).all(|n| landed[n] != 1 && (before[n] == 1 || landed[n] == before[n])),
        "only its clients moved"
    );
    stage.servers[1].rise();
    front.proxy().set_server_up("app", "s1", true);
    assert_eq!(crowd.all_resume(&stage, at), landed);
}

/// Without any check: what clients bring and servers answer is enough.
#[test]
fn new_keys_and_new_processes_are_learnt_again() {
    let Some(mut stage) = Stage::set("rotation", 6, Mode::Tickets13) else { return };
    let at = stage.at(8443);
    let mut front = Front::vipgate(at, &stage.addresses());
    let mut crowd = Crowd::gather(&stage, at);
    crowd.all_resume(&stage, at);
    for (server, kind) in Kind::ALL.into_iter().enumerate() {
        let names = front.key_names(server);
        assert!(names.len() == 1 && names[0].len() == 2 * kind.name_length(), "{kind:?} has one: {names:?}");
    }
    // The keys of the rustls server change while it runs; the others begin anew.
    for server in [2, 0, 3] {
        stage.servers[server].rotate();
        crowd.round(&stage, at);
        crowd.all_resume(&stage, at);
    }
    drop(front);
    front = Front::vipgate(at, &stage.addresses());
    crowd.round(&stage, at);
    crowd.all_resume(&stage, at);
    drop(front);
}

/// What checks alone find out: the names of the keys, before any client came.
#[test]
fn checks_find_the_names_of_keys_and_every_first_return_resumes() {
    let Some(mut stage) = Stage::set("checks", 7, Mode::Tickets13) else { return };
    let at = stage.at(8443);
    let front = Front::vipgate(at, &stage.addresses());
    let checks = Checks::start(&stage.addresses());
    for _ in 0..2 {
        checks.tell_names(&front);
        // All from one address: it tells nothing.
        let clients: Vec<Client> = (0..CLIENTS).map(|number| Client::new(source(number, true))).collect();
        clients.iter().for_each(|client| assert!(!client.visit(at).unwrap().resumed));
        let resumed = clients.iter().filter(|client| client.visit(at).unwrap().resumed).count();
        assert_eq!(resumed, CLIENTS);
        // Other keys: found by the next check.
        [2, 0, 3].into_iter().for_each(|server| stage.servers[server].rotate());
        checks.forget();
    }
}
