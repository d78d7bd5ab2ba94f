//! `make bench`: vipgate, HAProxy, nginx stream and the direct path, side by side on this machine.
//!
//! ```text
//! main       rounds: every figure of every subject in turn, the order of the subjects rotated
//! stand      three namespaces in a row: client, balancer, server
//! subject    the balancers: their configurations, their processes, what the kernel says of them
//! server     answers, closes or streams, as the first byte of a connection asks
//! load       clients: short connections, keep-alive requests, bulk streams
//! sniffing   what it costs to listen to TLS
//! tls        what TLS says in the clear
//! usage      who used the processor
//! histogram  latencies
//! figures    medians, spreads, the table
//! watch      ends the bench cleanly on a signal or when it takes too long
//! ```
//!
//! `VIPGATE_BENCH_ROUNDS` (7) and `VIPGATE_BENCH_SECONDS` (1, the length of one measurement) change how long it
//! takes; `VIPGATE_BENCH_SUBJECTS` (`vipgate,haproxy,nginx,direct`) and `VIPGATE_BENCH_TASKS`
//! (`short,keep-alive,bulk,idle,start,range,sniffing`) what is measured; `VIPGATE_BIN` names another binary.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time on real sockets")]
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot measure ends")]

mod figures;
mod histogram;
mod load;
mod server;
mod sniffing;
mod stand;
mod subject;
mod tls;
mod usage;
mod watch;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use netns_tests::lab;
use netns_tests::report::{line, loud};
use netns_tests::wait::pass;

use crate::figures::{Figures, Metric};
use crate::histogram::Histogram;
use crate::load::{Kind, Load};
use crate::stand::{RANGE, Stand};
use crate::subject::{Balancer, Subject, Use};
use crate::usage::Usage;

/// Load runs so long before it is measured.
const WARM_UP: Duration = Duration::from_millis(150);
/// A measurement is taken in so many parts, between which the subjects alternate: what the machine has for its guests
/// changes within a second.
const PARTS: u32 = 5;
/// Connections that are open and silent while memory is read.
const IDLE: usize = 4000;
/// Before memory and descriptors are read.
const SETTLE: Duration = Duration::from_millis(300);
/// What others may take of the processor before the reader is warned.
const QUIET: f64 = 0.05;

/// How much is measured.
struct Plan {
    rounds: usize,
    window: Duration,
    subjects: Vec<Subject>,
    tasks: Vec<Task>,
    sniffing: bool,
}

/// One thing done to one subject.
#[derive(Clone, Copy)]
enum Task {
    Load(Kind),
    Idle,
    Start,
    Range,
}

const TASKS: [Task; 8] = [
    Task::Load(Kind::Short),
    Task::Load(Kind::KeepAlive { connections: 64 }),
    Task::Load(Kind::KeepAlive { connections: 1000 }),
    Task::Load(Kind::Bulk { streams: 1 }),
    Task::Load(Kind::Bulk { streams: 4 }),
    Task::Idle,
    Task::Start,
    Task::Range,
];
/// Measured of vipgate alone, after all rounds.
const SNIFFING: &str = "sniffing";

fn main() -> ExitCode {
    if let Some(missing) = lab::missing_privilege() {
        loud(&format!("SKIPPED bench proxy: {missing}; run as root on Linux (`sudo make bench`)"));
        return ExitCode::SUCCESS;
    }
    let plan = Plan::from_environment();
    watch::guard(plan.limit());
    let began = Instant::now();
    let stand = Stand::build();
    let mut figures = Figures::default();
    let mut failures = Vec::new();
    for round in 0..plan.rounds {
        loud(&format!("round {} of {}", round + 1, plan.rounds));
        for &task in &plan.tasks {
            let subjects = plan.in_turn(round);
            let results = match task {
                Task::Load(kind) => loads(&stand, &subjects, kind, plan.window, round, &mut figures),
                _ => subjects.iter().map(|&of| (of, measure(&stand, of, task, &plan, round, &mut figures))).collect(),
            };
            for (subject, result) in results {
                if let Err(reason) = result {
                    loud(&format!("{subject}, {}: NOT MEASURED: {reason}", task.label()));
                    failures.push(format!("{subject}, {}", task.label()));
                }
            }
        }
    }
    let sniffing = plan.sniffing.then(|| {
        sniffing::compare(&stand, plan.rounds, plan.window).unwrap_or_else(|reason| {
            failures.push("affinity by TLS sessions".to_owned());
            format!("affinity by TLS sessions: NOT MEASURED: {reason}")
        })
    });
    line(&figures.render(&plan.subjects, plan.rounds));
    if let Some(sniffing) = sniffing {
        line(&sniffing);
    }
    line(&notes(&plan, &figures, began.elapsed()));
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    failures.sort();
    failures.dedup();
    line(&format!("NOT MEASURED in every round: {}", failures.join("; ")));
    ExitCode::FAILURE
}

fn measure(
    stand: &Stand,
    subject: Subject,
    task: Task,
    plan: &Plan,
    round: usize,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut note = |metric, value| figures.note(metric, subject, round, value);
    match task {
        // Nothing stands between client and server there.
        _ if subject == Subject::Direct => Ok(()),
        // See `loads`.
        Task::Load(_) => Ok(()),
        Task::Range => range(stand, subject, plan.window, &mut note),
        Task::Idle => idle(stand, subject, &mut note),
        Task::Start => start(stand, subject, &mut note),
    }
}

/// One measurement of a load.
struct Measured {
    /// Connections, requests or bytes.
    done: f64,
    seconds: f64,
    /// Seconds of processor time that the balancer took.
    busy: f64,
    errors: f64,
    latencies: Histogram,
    /// Seconds of it that other processes took meanwhile.
    others: f64,
}

impl Measured {
    fn nothing() -> Self {
        let latencies = Histogram::new();
        Self { done: 0.0, seconds: 0.0, busy: 0.0, errors: 0.0, latencies, others: 0.0 }
    }

    fn add(&mut self, part: &Self) {
        self.done += part.done;
        self.seconds += part.seconds;
        self.busy += part.busy;
        self.errors += part.errors;
        self.latencies.merge(&part.latencies);
        self.others += part.others;
    }

    /// Seconds of processor time for one.
    fn cpu(&self) -> f64 {
        self.busy / self.done
    }
}

/// The same load on all of them, each alone, in turns that are short.
fn alternate(stand: &Stand, balancers: &[&Balancer], kind: Kind, window: Duration) -> Vec<Result<Measured, String>> {
    let mut all: Vec<Result<Measured, String>> = balancers.iter().map(|_| Ok(Measured::nothing())).collect();
    for part in 0..PARTS as usize {
        for turn in 0..balancers.len() {
            let place = (part + turn) % balancers.len();
            let (Some(balancer), Some(Ok(total))) = (balancers.get(place), all.get_mut(place)) else { continue };
            match run(stand, balancer, kind, window / PARTS) {
                Ok(part) => total.add(&part),
                Err(reason) => all[place] = Err(reason),
            }
        }
    }
    all
}

fn run(stand: &Stand, balancer: &Balancer, kind: Kind, window: Duration) -> Result<Measured, String> {
    let load = Load::start(stand, kind, balancer.target(), 1);
    load.wait_connected(Duration::from_secs(10))?;
    pass(WARM_UP);
    load.record(true);
    let (before, usage_before, began) = (load.counts(), Usage::read(balancer), Instant::now());
    pass(window);
    let (after, usage_after, took) = (load.counts(), Usage::read(balancer), began.elapsed());
    load.record(false);
    let usage = usage_after.since(usage_before);
    let latencies = load.finish();
    let done = (after.units - before.units) as f64;
    if done == 0.0 {
        return Err("nothing came through".to_owned());
    }
    Ok(Measured {
        done,
        seconds: took.as_secs_f64(),
        busy: usage.balancer,
        errors: (after.errors - before.errors) as f64,
        latencies,
        others: usage.others(),
    })
}

/// One round of a load, with all subjects at work and one of them busy at a time.
fn loads(
    stand: &Stand,
    subjects: &[Subject],
    kind: Kind,
    window: Duration,
    round: usize,
    figures: &mut Figures,
) -> Vec<(Subject, Result<(), String>)> {
    let mut results = Vec::new();
    let mut started = Vec::new();
    for &subject in subjects {
        match subject.start(stand, Use::OnePort) {
            Ok(balancer) => started.push((subject, balancer)),
            Err(reason) => results.push((subject, Err(reason))),
        }
    }
    let balancers: Vec<&Balancer> = started.iter().map(|(_, balancer)| balancer).collect();
    let measured = alternate(stand, &balancers, kind, window);
    for ((subject, _), measured) in started.iter().zip(measured) {
        let noted = measured.map(|measured| note_load(*subject, kind, round, &measured, figures));
        results.push((*subject, noted));
    }
    results
}

fn note_load(subject: Subject, kind: Kind, round: usize, measured: &Measured, figures: &mut Figures) {
    figures.note_others(measured.others / measured.seconds / cores() as f64);
    let mut note = |metric, value| figures.note(metric, subject, round, value);
    let rate = measured.done / measured.seconds;
    note(Metric::Errors, measured.errors);
    let (rate_metric, rate, cpu_metric, cpu_unit) = match kind {
        Kind::Short | Kind::Hello => (Metric::ShortRate, rate, Metric::ShortCpu, 1e5),
        Kind::KeepAlive { connections: 64 } => (Metric::Few, rate, Metric::FewCpu, 1e5),
        Kind::KeepAlive { .. } => (Metric::Many, rate, Metric::ManyCpu, 1e5),
        Kind::Bulk { streams: 1 } => (Metric::Bulk1, rate * 8.0 / 1e9, Metric::Bulk1Cpu, 1e9),
        Kind::Bulk { .. } => (Metric::Bulk4, rate * 8.0 / 1e9, Metric::Bulk4Cpu, 1e9),
    };
    note(rate_metric, rate);
    if subject != Subject::Direct {
        note(cpu_metric, measured.cpu() * cpu_unit);
    }
    let micros = |share| measured.latencies.at(share).as_secs_f64() * 1e6;
    let (middle, high) = match kind {
        Kind::Short | Kind::Hello => (Metric::ShortP50, Metric::ShortP99),
        Kind::KeepAlive { connections: 64 } => (Metric::FewP50, Metric::FewP99),
        Kind::KeepAlive { .. } => (Metric::ManyP50, Metric::ManyP99),
        Kind::Bulk { .. } => return,
    };
    note(middle, micros(0.5));
    note(high, micros(0.99));
}

/// What a silent connection costs, in a process that has served before.
fn idle(stand: &Stand, subject: Subject, note: &mut impl FnMut(Metric, f64)) -> Result<(), String> {
    let balancer = subject.start(stand, Use::OnePort)?;
    drop(load::open_idle(stand, balancer.target(), 64)?);
    pass(SETTLE);
    let before = balancer.memory();
    let connections = load::open_idle(stand, balancer.target(), IDLE)?;
    pass(SETTLE);
    let after = balancer.memory();
    drop(connections);
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / IDLE as f64;
    note(Metric::IdleResident, each(before.resident, after.resident));
    note(Metric::IdleProportional, each(before.proportional, after.proportional));
    Ok(())
}

fn start(stand: &Stand, subject: Subject, note: &mut impl FnMut(Metric, f64)) -> Result<(), String> {
    let (balancer, start) = subject.start_range(stand)?;
    note(Metric::Start, start.all.as_secs_f64() * 1e3);
    note(Metric::Ready, (start.all - start.first).as_secs_f64() * 1e3);
    // The ports accept before the workers of some have started.
    pass(SETTLE);
    balancer.lives()?;
    note(Metric::Descriptors, balancer.descriptors() as f64);
    let memory = balancer.memory();
    note(Metric::RangeMemory, memory.proportional as f64 / 1e6);
    note(Metric::RangeOwn, memory.own as f64 / 1e6);
    Ok(())
}

/// Short connections to every port of a range in turn.
fn range(stand: &Stand, subject: Subject, window: Duration, note: &mut impl FnMut(Metric, f64)) -> Result<(), String> {
    let (balancer, _) = subject.start_range(stand)?;
    let load = Load::start(stand, Kind::Short, balancer.target(), RANGE.1 - RANGE.0 + 1);
    load.wait_connected(Duration::from_secs(10))?;
    pass(WARM_UP);
    let (before, began) = (load.counts(), Instant::now());
    pass(window);
    let (after, took) = (load.counts(), began.elapsed());
    load.finish();
    balancer.lives()?;
    note(Metric::Errors, (after.errors - before.errors) as f64);
    note(Metric::RangeRate, (after.units - before.units) as f64 / took.as_secs_f64());
    Ok(())
}

fn notes(plan: &Plan, figures: &Figures, took: Duration) -> String {
    let mut text = String::from(
        "Medians; x: median of the ratios to HAProxy within a round (smallest to largest); for HAProxy itself the spread over \
         the rounds.\nOn in each balancer: stickiness by source address (100,000 entries), a log line for every connection \
         (to /dev/null), two servers.\n",
    );
    for subject in &plan.subjects {
        let _ = writeln!(text, "{subject}: {}", subject.features());
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    if let Some((median, largest)) = figures.others() {
        let _ = writeln!(
            text,
            "Other processes took {:.0} % of the processor during the measurements (at most {:.0} %){}.",
            median * 100.0,
            largest * 100.0,
            if median > QUIET { ": the machine was not quiet, measure again when it is" } else { "" }
        );
    }
    let _ = write!(
        text,
        "Machine: {} cores, shared by client, balancer and server; {}; Linux {}; {}. {} rounds of {:?}, {:.0} s in all.",
        cores(),
        processor(),
        kernel.trim(),
        congestion.trim(),
        plan.rounds,
        plan.window,
        took.as_secs_f64()
    );
    text
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}

impl Plan {
    fn from_environment() -> Self {
        let seconds = number("VIPGATE_BENCH_SECONDS", 1.0f64).clamp(0.1, 60.0);
        let all = Subject::ALL.to_vec();
        let subjects = env::var("VIPGATE_BENCH_SUBJECTS").map_or(all, |wanted| {
            let parse = |name: &str| name.parse().unwrap_or_else(|error| panic!("VIPGATE_BENCH_SUBJECTS: {error}"));
            wanted.split(',').map(parse).collect()
        });
        let wanted = env::var("VIPGATE_BENCH_TASKS").ok();
        let wanted: Option<Vec<&str>> = wanted.as_deref().map(|words| words.split(',').collect());
        let is_known = |word: &str| word == SNIFFING || TASKS.iter().any(|task| task.word() == word);
        if let Some(unknown) = wanted.iter().flatten().find(|word| !is_known(word)) {
            panic!("VIPGATE_BENCH_TASKS: `{unknown}` is not measured");
        }
        let is_wanted = |word: &str| wanted.as_ref().is_none_or(|words| words.contains(&word));
        Self {
            rounds: number("VIPGATE_BENCH_ROUNDS", 7).clamp(1, 100),
            window: Duration::from_secs_f64(seconds),
            subjects,
            tasks: TASKS.into_iter().filter(|task| is_wanted(task.word())).collect(),
            sniffing: is_wanted(SNIFFING),
        }
    }

    /// The subjects in the order of this round: none always follows the same one's heat.
    fn in_turn(&self, round: usize) -> Vec<Subject> {
        let mut order = self.subjects.clone();
        order.rotate_left(round % self.subjects.len());
        order
    }

    /// Well above what it should take.
    fn limit(&self) -> Duration {
        // Two more measurements a round are of vipgate alone.
        let runs = self.rounds * (self.tasks.len() * self.subjects.len() + 2);
        (self.window + WARM_UP * PARTS + Duration::from_secs(3)) * u32::try_from(runs).unwrap_or(u32::MAX)
            + Duration::from_secs(60)
    }
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

impl Task {
    fn word(self) -> &'static str {
        match self {
            Self::Load(Kind::Short | Kind::Hello) => "short",
            Self::Load(Kind::KeepAlive { .. }) => "keep-alive",
            Self::Load(Kind::Bulk { .. }) => "bulk",
            Self::Idle => "idle",
            Self::Start => "start",
            Self::Range => "range",
        }
    }

    fn label(self) -> String {
        match self {
            Self::Load(Kind::Short) => "short connections".to_owned(),
            Self::Load(Kind::Hello) => "short connections of TLS".to_owned(),
            Self::Load(Kind::KeepAlive { connections }) => format!("keep-alive at {connections}"),
            Self::Load(Kind::Bulk { streams }) => format!("bulk with {streams}"),
            Self::Idle => "idle connections".to_owned(),
            Self::Start => "start of a range".to_owned(),
            Self::Range => "short connections over a range".to_owned(),
        }
    }
}
