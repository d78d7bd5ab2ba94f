//! The command line. Everything it can say is here; what it does is in [`crate::app`] and [`crate::control`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A front node in one process: VRRP, virtual addresses and TCP balancing.
#[derive(Debug, Parser)]
#[command(name = "vipgate", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run in the foreground until TERM (hand over and end) or INT (end now); HUP reloads
    Run(Run),
    /// Read and validate the configuration and print every error; needs neither root nor a free port
    Check(Files),
    /// Print the TOML that says the same as the given keepalived.conf and haproxy.cfg
    Import(Files),
    /// Print the state of the running process; exits 0 (well), 1 (degraded) or 2 (down)
    Status(Status),
    /// Move the virtual addresses to the other node now, without an outage
    Handover(Handover),
    /// Keep the virtual addresses until the last flow ended (at most drain-timeout), then move them
    Drain(Drain),
    /// Have the running process read its files again, as HUP does, and say what came of it
    Reload(Control),
    /// Look at virtual routers and change what they do, until the next restart
    #[command(subcommand)]
    Vrrp(Vrrp),
    /// Say where connections go and why, answered by the code that decides
    #[command(subcommand)]
    Explain(Explain),
    /// Print every transition from now on, as JSON, one a line
    Events(Control),
    /// Remove the addresses that a killed process left on this machine
    Cleanup(Cleanup),
    /// Undo what a killed daemon left: started by `run`, its estate arrives on standard input
    #[command(hide = true)]
    Guardian,
    /// Run commands for a daemon that has given up root: started by `run`, its requests arrive on standard input
    #[command(hide = true)]
    Spawner,
}

/// Which files configure the process.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Native configuration; may be given several times, lists append
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A keepalived.conf, unchanged
    #[arg(long, value_name = "FILE")]
    pub keepalived: Option<PathBuf>,
    /// A haproxy.cfg, unchanged
    #[arg(long, value_name = "FILE")]
    pub haproxy: Option<PathBuf>,
}

/// Where the process keeps what it shares with others.
#[derive(Debug, Clone, Args)]
pub struct Control {
    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = "/run/vipgate")]
    pub run_dir: PathBuf,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// Files.
    #[command(flatten)]
    pub files: Files,
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Directory of what is learnt and kept; a start depends on nothing in it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/vipgate")]
    pub state_dir: PathBuf,
}

/// Arguments of `cleanup`.
#[derive(Debug, Clone, Args)]
pub struct Cleanup {
    /// Files.
    #[command(flatten)]
    pub files: Files,
    /// Directories.
    #[command(flatten)]
    pub control: Control,
}

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `handover`.
#[derive(Debug, Clone, Args)]
pub struct Handover {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Only this virtual router
    #[arg(value_name = "VIRTUAL-ROUTER")]
    pub router: Option<String>,
}

/// What to do with virtual routers.
#[derive(Debug, Subcommand)]
pub enum Vrrp {
    /// Print what is known of each: role, peers, trackers, counters
    Show(ShowRouters),
    /// Move the virtual addresses to the other node now, without an outage
    Handover(Handover),
    /// Become master now, whatever priority the present master has
    Takeover(Handover),
    /// Advertise another priority than the configured one
    Priority(SetPriority),
    /// Neither take over nor give up of its own accord; a better master is still obeyed
    Freeze(Freeze),
    /// End a freeze
    Thaw(Handover),
}

/// Arguments of `vrrp show`.
#[derive(Debug, Clone, Args)]
pub struct ShowRouters {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Only this virtual router
    #[arg(value_name = "VIRTUAL-ROUTER")]
    pub router: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vrrp priority`.
#[derive(Debug, Clone, Args)]
pub struct SetPriority {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Of this virtual router
    #[arg(value_name = "VIRTUAL-ROUTER")]
    pub router: String,
    /// 1 to 254; 1 says "not ready"
    #[arg(value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=254), required_unless_present = "reset")]
    pub value: Option<u8>,
    /// The configured one again
    #[arg(long, conflicts_with = "value")]
    pub reset: bool,
}

/// Arguments of `vrrp freeze`.
#[derive(Debug, Clone, Args)]
pub struct Freeze {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Only this virtual router
    #[arg(value_name = "VIRTUAL-ROUTER")]
    pub router: Option<String>,
    /// For so long, such as 10m; until thawed when absent
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<std::time::Duration>,
}

/// What to explain.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Which server a client of a service would get now; nothing is changed by asking
    Service(ExplainService),
}

/// Arguments of `explain service`.
#[derive(Debug, Clone, Args)]
pub struct ExplainService {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The client
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub from: String,
    /// The name in its TLS hello
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `drain`.
#[derive(Debug, Clone, Args)]
pub struct Drain {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Stop draining: the addresses stay
    #[arg(long)]
    pub cancel: bool,
}

/// Where the native configuration is when no file is named.
pub const DEFAULT_CONFIG: &str = "/etc/vipgate/vipgate.toml";

impl Files {
    /// The files to read: [`DEFAULT_CONFIG`] when none is named.
    #[must_use]
    pub fn or_default(mut self) -> Self {
        if self.config.is_empty() && self.keepalived.is_none() && self.haproxy.is_none() {
            self.config.push(PathBuf::from(DEFAULT_CONFIG));
        }
        self
    }
}
