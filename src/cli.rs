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
    /// Change what a server does, until the next restart
    #[command(subcommand)]
    Server(Server),
    /// Look at stick tables and change them
    #[command(subcommand)]
    Table(Table),
    /// Look at open connections and end them
    #[command(subcommand)]
    Sessions(Sessions),
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
    /// What `@id` lines of the keepalived.conf are compared with (keepalived's -i); the host name up to its first dot
    /// when not given
    #[arg(long, value_name = "ID", requires = "keepalived")]
    pub keepalived_id: Option<String>,
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

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum Server {
    /// Set its state, its weight or where it is reached
    Set(SetServer),
}

/// Arguments of `server set`.
#[derive(Debug, Clone, Args)]
#[group(id = "change", required = true, multiple = true, args = ["state", "weight", "to"])]
pub struct SetServer {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Which
    #[arg(value_name = "POOL/SERVER", value_parser = pool_and_server)]
    pub server: (String, String),
    /// ready: serves; drain: serves the clients it has; maint: serves nobody
    #[arg(long, value_enum)]
    pub state: Option<ServerState>,
    /// 0 to 256, or percent of the configured one
    #[arg(long, value_name = "WEIGHT[%]", value_parser = weight)]
    pub weight: Option<(u16, bool)>,
    /// New address, possibly with a port: 192.0.2.1, 192.0.2.1:22, [2001:db8::1]:22
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = place)]
    pub to: Option<(std::net::IpAddr, Option<u16>)>,
}

/// What a server may do.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum ServerState {
    /// Serve
    Ready,
    /// Serve the clients that stickiness brings, and nobody new
    Drain,
    /// Serve nobody
    Maint,
}

/// What to do with stick tables.
#[derive(Debug, Subcommand)]
pub enum Table {
    /// Print which clients belong to which servers
    Show(ShowTable),
    /// Remember a server as a client's
    Set(SetTable),
    /// Forget clients
    Clear(ClearTable),
}

/// Arguments of `table show`.
#[derive(Debug, Clone, Args)]
pub struct ShowTable {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Only this pool's
    #[arg(value_name = "POOL")]
    pub pool: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `table set`.
#[derive(Debug, Clone, Args)]
pub struct SetTable {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Which
    #[arg(value_name = "POOL/SERVER", value_parser = pool_and_server)]
    pub server: (String, String),
    /// The client's address
    #[arg(value_name = "CLIENT")]
    pub key: String,
}

/// Arguments of `table clear`.
#[derive(Debug, Clone, Args)]
pub struct ClearTable {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Whose table
    #[arg(value_name = "POOL")]
    pub pool: String,
    /// Only this client
    #[arg(long, value_name = "CLIENT")]
    pub key: Option<String>,
    /// Only clients of this server
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
}

/// What to do with open connections.
#[derive(Debug, Subcommand)]
pub enum Sessions {
    /// Print them
    Show(ShowSessions),
    /// End one, or all of a server
    Shutdown(ShutdownSessions),
}

/// Arguments of `sessions show`.
#[derive(Debug, Clone, Args)]
pub struct ShowSessions {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sessions shutdown`.
#[derive(Debug, Clone, Args)]
pub struct ShutdownSessions {
    /// Directories.
    #[command(flatten)]
    pub control: Control,
    /// Its number, as `sessions show` prints it
    #[arg(value_name = "ID", required_unless_present = "server", conflicts_with = "server")]
    pub id: Option<String>,
    /// All connections to this server
    #[arg(long, value_name = "POOL/SERVER", value_parser = pool_and_server)]
    pub server: Option<(String, String)>,
}

fn pool_and_server(text: &str) -> Result<(String, String), String> {
    let (pool, server) = text.split_once('/').ok_or("it is written POOL/SERVER")?;
    Ok((pool.to_owned(), server.to_owned()))
}

fn weight(text: &str) -> Result<(u16, bool), String> {
    let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
    let most = if percent { 25_600 } else { 256 };
    let value = digits.parse().ok().filter(|value| *value <= most);
    value.map(|value| (value, percent)).ok_or_else(|| format!("a number from 0 to {most}, or percent as in 50%"))
}

fn place(text: &str) -> Result<(std::net::IpAddr, Option<u16>), String> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok((address, None));
    }
    let address: std::net::SocketAddr = text.parse().map_err(|_| "an address, possibly with a port".to_owned())?;
    Ok((address.ip(), Some(address.port())))
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
