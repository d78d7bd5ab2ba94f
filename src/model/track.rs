//! What virtual routers follow beside advertisements: trackers, and what their state does to a priority.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::command::Command;
use super::net::{InterfaceName, Prefix};

/// One thing that is watched, by unique name; routers and sync groups refer to it with a [`Track`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    /// Unique name.
    pub name: String,
    /// What is watched.
    pub watched: Watched,
    /// Successes in a row that make it up again; 1.
    pub rise: u32,
    /// Failures in a row that make it down; 1.
    pub fall: u32,
    /// It counts as up only after having been up for this long; zero.
    pub up_delay: Duration,
    /// It counts as down only after having been down for this long; zero.
    pub down_delay: Duration,
}

/// What a tracker watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// A command that is run again and again: exit status 0 is up (keepalived's `vrrp_script`).
    Script(ScriptCheck),
    /// Processes that have to run (keepalived's `vrrp_track_process`).
    Process(ProcessCheck),
    /// A number in a file (keepalived's `vrrp_track_file`).
    File(FileCheck),
    /// A service of this node: up while its listeners are bound and a server can be used.
    Service(String),
    /// An address that has to answer ARP, neighbour solicitations or ICMP echo requests.
    Gateway(GatewayCheck),
    /// A route that has to be in the kernel's tables.
    Route(RouteCheck),
}

/// A command that says by its exit status whether something is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptCheck {
    /// What is run; its `timeout` makes a run a failure.
    pub command: Command,
    /// From the start of one run to the start of the next; never two at once. 1 s.
    pub interval: Duration,
    /// Counts as down until `rise` runs have succeeded (keepalived's `init_fail`); otherwise nothing is known
    /// before the first run has ended.
    pub starts_down: bool,
}

/// Processes that have to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCheck {
    /// Name (`comm`), or the command with its path when `whole_command` is set.
    pub command: String,
    /// Arguments that have to follow, if any are given.
    pub arguments: Vec<String>,
    /// How `arguments` is compared.
    pub arguments_match: ArgumentsMatch,
    /// Compare with the command line's first word instead of the name.
    pub whole_command: bool,
    /// So many at least; 1.
    pub at_least: u32,
    /// No more than this.
    pub at_most: Option<u32>,
}

/// How the arguments of a process are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArgumentsMatch {
    /// Not at all.
    #[default]
    Any,
    /// All of them, in order.
    Exact,
    /// The first of them; the last given may be the beginning of one.
    Initial,
}

/// A number in a file. It is multiplied by the weight; with weight 0 any number but 0 is a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// The file. While it is absent or has no number in it, `initial` holds.
    pub path: PathBuf,
    /// The number without a file; 0.
    pub initial: i16,
}

/// An address that has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayCheck {
    /// The address.
    pub address: IpAddr,
    /// The interface to ask on; for ARP and ND the one with a matching prefix when absent.
    pub interface: Option<InterfaceName>,
    /// How it is asked.
    pub method: ProbeMethod,
    /// From one question to the next; 1 s.
    pub interval: Duration,
    /// An answer that takes longer is none; the interval.
    pub timeout: Duration,
}

/// How an address is asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProbeMethod {
    /// ARP request or neighbour solicitation: only what is on the link, and no firewall stops it.
    #[default]
    Neighbour,
    /// ICMP echo request.
    Echo,
}

/// A route that has to be in the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCheck {
    /// Its destination; length 0: the default route.
    pub destination: Prefix,
    /// Only by this gateway.
    pub gateway: Option<IpAddr>,
    /// Only out of this interface.
    pub interface: Option<InterfaceName>,
}

/// A router or a sync group follows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What it follows.
    pub what: Tracked,
    /// 0: down is a fault. Above: added to the priority while up. Below: added (that is, taken away) while down.
    /// -253 to 253; a file's number is multiplied by it.
    pub weight: i16,
    /// Up counts as down and the other way round.
    pub reverse: bool,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tracked {
    /// An interface: up while it has a carrier.
    Interface(InterfaceName),
    /// The [`Tracker`] of this name.
    Tracker(String),
}

/// What a tracker says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackState {
    /// Nothing yet: it neither faults nor counts.
    Unknown,
    /// Well.
    Up,
    /// Not well.
    Down,
    /// A file's number, -254 to 254.
    Number(i16),
}
