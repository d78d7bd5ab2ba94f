//! Who used the processor.

use std::fs;

use crate::subject::Balancer;

/// Clock ticks a second in /proc/stat: part of the kernel's interface (proc(5), `USER_HZ`).
const TICKS: f64 = 100.0;

/// Processor time in seconds, user and system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// All processes of the balancer.
    pub(crate) balancer: f64,
    /// This process: clients and server.
    own: f64,
    /// Everybody, and what the hypervisor withheld. Interrupts count for nobody.
    machine: f64,
}

impl Usage {
    /// So far.
    pub(crate) fn read(balancer: &Balancer) -> Self {
        let balancer = balancer.processes().into_iter().map(|pid| of_process(&pid.to_string())).sum();
        Self { balancer, own: of_process("self"), machine: of_machine() }
    }

    /// Between two readings.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            balancer: self.balancer - before.balancer,
            own: self.own - before.own,
            machine: self.machine - before.machine,
        }
    }

    /// Neither the balancer nor this process.
    pub(crate) fn others(self) -> f64 {
        (self.machine - self.balancer - self.own).max(0.0)
    }
}

/// Of its threads, to the nanosecond (`schedstat`, Documentation/scheduler/sched-stats): a tick is too coarse for a part of a
/// measurement. Threads that have ended do not count.
fn of_process(pid: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

fn of_machine() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user, nice, system and steal.
    [0, 1, 2, 7].into_iter().filter_map(|field| fields.get(field)).sum::<f64>() / TICKS
}
