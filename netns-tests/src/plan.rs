//! One description of a node, written as TOML, as keepalived.conf or as haproxy.cfg.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What one node shall do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The node's name.
    pub node: String,
    /// Its virtual routers.
    pub routers: Vec<Router>,
    /// Whether its virtual routers are one sync group.
    pub synchronised: bool,
    /// Its services.
    pub services: Vec<Service>,
    /// Worker threads.
    pub workers: u32,
    /// Where the statistics listen, inside the node.
    pub stats: Option<String>,
    /// Nodes that share the stick tables, this one included.
    pub sharing: Vec<(String, IpAddr)>,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// The interface it speaks on.
    pub interface: String,
    /// Its VRID.
    pub vrid: u8,
    /// Its addresses.
    pub addresses: Vec<Vip>,
    /// Its priority.
    pub priority: u8,
    /// Its advertisement interval.
    pub interval: Duration,
    /// 2 or 3.
    pub version: u8,
    /// Whether it starts as master.
    pub start_master: bool,
    /// Whether a higher priority takes over.
    pub preempt: bool,
    /// The password of version 2.
    pub password: Option<String>,
    /// Whether the checksum of version 3 over IPv4 leaves the pseudo-header out (RFC 9568; keepalived cannot).
    pub message_only: bool,
    /// Whether its addresses have the virtual router's own hardware address.
    pub vmac: bool,
    /// Unicast peers.
    pub peers: Vec<IpAddr>,
    /// The source of its advertisements.
    pub source: Option<IpAddr>,
    /// Other interfaces it needs.
    pub track: Vec<String>,
}

/// One virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// Address and prefix length.
    pub address: String,
    /// The interface that carries it.
    pub interface: String,
    /// Its label.
    pub label: Option<String>,
}

/// One service with its servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The address it listens on.
    pub address: String,
    /// The ports it listens on.
    pub ports: RangeInclusive<u16>,
    /// Its servers; an empty port means the client's.
    pub servers: Vec<Server>,
    /// How clients stay where they were.
    pub sticky: Sticky,
    /// How servers are checked.
    pub check: Option<Check>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port; none for the client's destination port.
    pub port: Option<u16>,
}

/// Stickiness by source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sticky {
    /// None: every connection is balanced.
    No,
    /// A table (`stick on src`).
    Table,
    /// A hash of the source, the same on both nodes.
    Source,
}

/// TCP connect checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The port that is checked.
    pub port: u16,
    /// How often.
    pub interval: Duration,
    /// Successes that bring a server up.
    pub rise: u32,
    /// Failures that take it down.
    pub fall: u32,
}

impl Plan {
    /// As vipgate's own file.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = format!("[global]\nnode = \"{}\"\nworkers = {}\n", self.node, self.workers);
        if let Some(stats) = &self.stats {
            let _ = writeln!(text, "\n[stats]\nlisten = \"{stats}\"");
        }
        self.routers.iter().for_each(|router| router.toml(&mut text));
        if self.synchronised {
            let names = quoted(&self.names());
            let _ = writeln!(text, "\n[[sync-group]]\nname = \"all\"\nrouters = {names}");
        }
        if !self.sharing.is_empty() {
            let member = |(name, ip): &(String, IpAddr)| format!("{{ name = \"{name}\", address = \"{ip}:10000\" }}");
            let members: Vec<_> = self.sharing.iter().map(member).collect();
            let (node, members) = (&self.node, members.join(", "));
            let _ = writeln!(text, "\n[[peer-group]]\nname = \"nodes\"\nnode = \"{node}\"\nmembers = [{members}]");
        }
        let shares = !self.sharing.is_empty();
        self.services.iter().for_each(|service| service.toml(shares, &mut text));
        text
    }

    /// As keepalived's file.
    #[must_use]
    pub fn keepalived(&self) -> String {
        let mut text = format!("global_defs {{\n    router_id {}\n}}\n", self.node);
        if self.synchronised {
            let names = self.names().join("\n        ");
            let _ = writeln!(text, "\nvrrp_sync_group all {{\n    group {{\n        {names}\n    }}\n}}");
        }
        self.routers.iter().for_each(|router| router.keepalived(&mut text));
        text
    }

    fn names(&self) -> Vec<&str> {
        self.routers.iter().map(|router| router.name.as_str()).collect()
    }

    /// As HAProxy's file.
    #[must_use]
    pub fn haproxy(&self) -> String {
        let mut text = format!("global\n    nbthread {}\n    maxconn 9000\n", self.workers);
        if !self.sharing.is_empty() {
            let _ = writeln!(text, "    localpeer {}\n\npeers nodes", self.node);
        }
        for (name, ip) in &self.sharing {
            let _ = writeln!(text, "    peer {name} {ip}:10000");
        }
        text.push_str("\ndefaults\n    mode tcp\n    retries 3\n    option redispatch\n");
        text.push_str("    timeout connect 4s\n    timeout client 1h\n    timeout server 1h\n");
        if let Some(stats) = &self.stats {
            let _ = writeln!(
                text,
                "\nlisten stats\n    bind {stats}\n    mode http\n    maxconn 10\n    stats enable\n    stats uri /"
            );
        }
        let shares = !self.sharing.is_empty();
        self.services.iter().for_each(|service| service.haproxy(shares, &mut text));
        text
    }
}

impl Router {
    fn toml(&self, text: &mut String) {
        let _ = write!(
            text,
            "\n[[virtual-router]]\nname = \"{}\"\ninterface = \"{}\"\nvrid = {}\npriority = {}\nversion = {}\n",
            self.name, self.interface, self.vrid, self.priority, self.version
        );
        let _ = writeln!(text, "interval = \"{}ms\"", self.interval.as_millis());
        let _ = writeln!(text, "start = \"{}\"", if self.start_master { "master" } else { "backup" });
        let addresses: Vec<String> = self.addresses.iter().map(|vip| vip.toml(&self.interface)).collect();
        let _ = writeln!(text, "addresses = [{}]", addresses.join(", "));
        if !self.preempt {
            text.push_str("preempt = false\n");
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "password = \"{password}\"");
        }
        if self.vmac {
            text.push_str("vmac = true\n");
        }
        if self.message_only {
            text.push_str("checksum = \"message-only\"\n");
        }
        if let Some(source) = &self.source {
            let _ = writeln!(text, "source = \"{source}\"");
        }
        if !self.peers.is_empty() {
            let _ = writeln!(text, "peers = {}", quoted(&self.peers));
        }
        if !self.track.is_empty() {
            let _ = writeln!(text, "track = {}", quoted(&self.track));
        }
    }

    fn keepalived(&self, text: &mut String) {
        let seconds = self.interval.as_secs_f64();
        let _ = write!(
            text,
            "\nvrrp_instance {} {{\n    version {}\n    state {}\n    interface {}\n    virtual_router_id {}\n    priority {}\n    advert_int {seconds}\n",
            self.name,
            self.version,
            if self.start_master { "MASTER" } else { "BACKUP" },
            self.interface,
            self.vrid,
            self.priority
        );
        if !self.preempt {
            text.push_str("    nopreempt\n");
        }
        if let Some(password) = &self.password {
            let _ =
                writeln!(text, "    authentication {{\n        auth_type PASS\n        auth_pass {password}\n    }}");
        }
        if self.vmac {
            text.push_str("    use_vmac\n");
        }
        if let Some(source) = &self.source {
            let _ = writeln!(text, "    unicast_src_ip {source}");
        }
        block(text, "unicast_peer", self.peers.iter().map(ToString::to_string));
        block(text, "track_interface", self.track.iter().cloned());
        block(text, "virtual_ipaddress", self.addresses.iter().map(|vip| vip.keepalived(self.vmac)));
        text.push_str("}\n");
    }
}

impl Vip {
    fn toml(&self, router_interface: &str) -> String {
        let mut text = format!("{{ address = \"{}\"", self.address);
        if self.interface != router_interface {
            let _ = write!(text, ", interface = \"{}\"", self.interface);
        }
        if let Some(label) = &self.label {
            let _ = write!(text, ", label = \"{label}\"");
        }
        text.push_str(" }");
        text
    }

    /// With a `dev` it would be set there, past the VMAC's interface.
    fn keepalived(&self, vmac: bool) -> String {
        if vmac {
            return self.address.clone();
        }
        let label = self.label.as_ref().map(|label| format!(" label {label}")).unwrap_or_default();
        format!("{} dev {}{label}", self.address, self.interface)
    }

    /// The address without its prefix length.
    #[must_use]
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        let text = self.address.split('/').next().unwrap_or_default();
        text.parse().unwrap_or_else(|_| panic!("{text:?} is no address"))
    }
}

impl Service {
    fn toml(&self, shares: bool, text: &mut String) {
        let address = if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        let _ = writeln!(text, "\n[[service]]\nname = \"{}\"\nlisten = \"{address}:{}\"", self.name, self.port_text());
        match self.sticky {
            Sticky::No => {}
            Sticky::Table => {
                let peers = if shares { ", peers = \"nodes\"" } else { "" };
                let table = format!("table = \"source\", type = \"ip\", size = 10240, expire = \"300s\"{peers}");
                let _ = writeln!(text, "affinity = {{ {table} }}");
            }
            Sticky::Source => text.push_str("affinity = \"source\"\n"),
        }
        if let Some(check) = &self.check {
            let _ = writeln!(
                text,
                "check = {{ port = {}, interval = \"{}ms\", rise = {}, fall = {} }}",
                check.port,
                check.interval.as_millis(),
                check.rise,
                check.fall
            );
        }
        text.push_str("servers = [\n");
        for server in &self.servers {
            let port = server.port.map(|port| format!(", port = {port}")).unwrap_or_default();
            let _ = writeln!(text, "  {{ name = \"{}\", address = \"{}\"{port} }},", server.name, server.address);
        }
        text.push_str("]\n");
    }

    fn haproxy(&self, shares: bool, text: &mut String) {
        let _ = writeln!(
            text,
            "\nlisten {}\n    bind {}:{} transparent\n    balance {}",
            self.name,
            self.address,
            self.port_text(),
            if self.sticky == Sticky::Source { "source\n    hash-type consistent" } else { "roundrobin" }
        );
        if self.sticky == Sticky::Table {
            let peers = if shares { " peers nodes" } else { "" };
            let _ = writeln!(text, "    stick-table type ip size 10k expire 300s{peers}\n    stick on src");
        }
        for server in &self.servers {
            let port = server.port.map(|port| format!(":{port}")).unwrap_or_default();
            let _ = write!(text, "    server {} {}{port}", server.name, server.address);
            if let Some(check) = &self.check {
                let _ = write!(
                    text,
                    " check port {} inter {} rise {} fall {}",
                    check.port,
                    check.interval.as_millis(),
                    check.rise,
                    check.fall
                );
            }
            text.push('\n');
        }
    }

    fn port_text(&self) -> String {
        let (first, last) = (self.ports.start(), self.ports.end());
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    }
}

fn quoted(items: &[impl ToString]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("\"{}\"", item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

fn block(text: &mut String, word: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("        {line}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(text, "    {word} {{\n{}    }}\n", lines.concat());
    }
}
