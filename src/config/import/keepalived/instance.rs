//! `vrrp_instance`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Translator;
use super::global::{Garp, Globals};
use super::grammar::Node;
use super::track::{Kind, Known};
use super::transport::Transport;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Located, Maybe, Notify, Route, Rule, Secret, Track, VirtualAddress, VirtualRouter};
use crate::config::source::Location;
use crate::model::{Family, InitialState, InterfaceName};

/// Longest password on the wire.
const PASSWORD_BYTES: usize = 8;
/// Longest interval of version 3: 4095 centiseconds.
const LONGEST_V3: Duration = Duration::from_millis(40_950);

/// What the rest of the file says to an instance.
pub(super) struct Around<'a> {
    pub(super) globals: &'a Globals,
    pub(super) trackers: &'a Known,
    /// Instances in groups where their weights do not count.
    pub(super) members: &'a HashSet<&'a str>,
}

/// An instance as its lines say it, before what they mean together is known.
#[derive(Default)]
pub(super) struct Said {
    pub(super) state: Maybe<InitialState>,
    interface: Maybe<InterfaceName>,
    vrid: Maybe<u64>,
    pub(super) priority: Maybe<u64>,
    version: Maybe<u64>,
    interval: Maybe<Duration>,
    pub(super) pass: bool,
    pub(super) password: Option<Located<String>>,
    /// `authentication`.
    pub(super) authentication: Option<Location>,
    pub(super) strict: Maybe<bool>,
    pub(super) accept: bool,
    no_preempt: Option<Location>,
    pub(super) preempt_delay: Maybe<Duration>,
    source: Maybe<IpAddr>,
    transport: Transport,
    native_ipv6: Option<Location>,
    missed_adverts: Maybe<u64>,
    track: Vec<Track>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
    notify: Option<Notify>,
    addresses: Vec<VirtualAddress>,
    excluded: Vec<VirtualAddress>,
    pub(super) garp: Garp,
}

impl Translator<'_> {
    pub(super) fn instance(&mut self, node: &Node, around: &Around<'_>) -> Option<VirtualRouter> {
        let Some(name) = node.arguments().first() else {
            self.findings.error(node.at(), "a `vrrp_instance` wants a name");
            return None;
        };
        let mut said = Said { garp: around.globals.garp(), strict: around.globals.strict, ..Said::default() };
        let member = around.members.contains(name.as_str());
        for child in node.children() {
            let Some(keyword) = self.look_up("vrrp_instance", child) else { continue };
            let told = self.transport_line(keyword, child, &mut said.transport)
                || self.notify(keyword, child, &mut said.notify);
            match keyword {
                _ if told => {}
                "track_script" => said.track.extend(self.track(Kind::Script, child, around.trackers, member)),
                "track_file" => said.track.extend(self.track(Kind::File, child, around.trackers, member)),
                "track_process" => said.track.extend(self.track(Kind::Process, child, around.trackers, member)),
                keyword => self.instance_line(keyword, child, &mut said),
            }
        }
        self.strict(name, &mut said);
        Some(self.router(name, said, around.globals))
    }

    fn instance_line(&mut self, keyword: &str, node: &Node, said: &mut Said) {
        const DEFAULT: &str = "the default is used";
        match keyword {
            "state" => said.state = self.state(node).or(said.state),
            "interface" => said.interface = self.interface(node),
            "virtual_router_id" => said.vrid = self.vrid(node),
            "priority" => said.priority = self.number(node, 1..=255, "100 is used"),
            "version" => said.version = self.number(node, 2..=3, DEFAULT),
            "advert_int" => said.interval = self.seconds(node, 0.01..=255.0, "1 second is used"),
            "authentication" => self.authentication(node, said),
            "preempt" => said.no_preempt = None,
            "nopreempt" => said.no_preempt = Some(node.at()),
            "preempt_delay" => said.preempt_delay = self.seconds(node, 0.0..=1000.0, "no delay is used"),
            "mcast_src_ip" => said.source = self.source(node),
            "unicast_src_ip" => {
                said.source = self.source(node);
                said.transport.unicast.get_or_insert(node.at());
            }
            "strict_mode" => said.strict = Some(Located::new(self.switch(node), node.at())),
            "native_ipv6" => said.native_ipv6 = Some(node.at()),
            "track_interface" => said.track.extend(self.track_interface(node)),
            "down_timer_adverts" => said.missed_adverts = self.number(node, 1..=100, "3 is used"),
            "virtual_routes" => said.routes.extend(self.routes(node)),
            "virtual_rules" => said.rules.extend(self.rules(node)),
            "virtual_ipaddress" => said.addresses.extend(self.addresses(node)),
            "virtual_ipaddress_excluded" => said.excluded.extend(self.addresses(node)),
            // What they ask for is what is done anyway.
            "accept" => said.accept = true,
            "old_unicast_checksum" | "debug" => {}
            keyword => self.garp(keyword, node, &mut said.garp),
        }
    }

    fn state(&mut self, node: &Node) -> Maybe<InitialState> {
        let word = self.argument(node)?;
        let state = match word.as_str() {
            "MASTER" => InitialState::Master,
            "BACKUP" => InitialState::Backup,
            other => {
                self.findings.warning(
                    word.at,
                    format!("`{other}` is neither MASTER nor BACKUP: BACKUP is used, as in keepalived"),
                );
                InitialState::Backup
            }
        };
        Some(Located::new(state, word.at))
    }

    fn interface(&mut self, node: &Node) -> Maybe<InterfaceName> {
        let word = self.argument(node)?;
        self.interface_name(word)
    }

    pub(super) fn interface_name(&mut self, word: &Word) -> Maybe<InterfaceName> {
        match word.text.parse() {
            Ok(name) => Some(Located::new(name, word.at)),
            Err(error) => {
                self.findings.error(word.at, format!("{error}"));
                None
            }
        }
    }

    /// Kept as written when it is a number, so that one fault is told once, by the validation.
    fn vrid(&mut self, node: &Node) -> Maybe<u64> {
        let word = self.argument(node)?;
        match word.text.parse() {
            Ok(vrid) => Some(Located::new(vrid, word.at)),
            Err(_) => {
                self.findings.error(word.at, format!("`{}` is not a VRID: a number from 1 to 255", word.text));
                // A value that passes: its fault has been told.
                Some(Located::new(1, word.at))
            }
        }
    }

    fn source(&mut self, node: &Node) -> Maybe<IpAddr> {
        let word = self.argument(node)?;
        self.bare_address(word)
    }

    /// An address that a host has; the length of a prefix behind it has no effect, as in keepalived.
    pub(super) fn bare_address(&mut self, word: &Word) -> Maybe<IpAddr> {
        if let Some((text, _)) = word.text.split_once('/')
            && let Ok(address) = text.parse()
        {
            self.findings.warning(word.at, format!("this is one address: `{text}` is used"));
            return Some(Located::new(address, word.at));
        }
        self.ip_address(word)
    }

    pub(super) fn ip_address(&mut self, word: &Word) -> Maybe<IpAddr> {
        match word.text.parse() {
            Ok(address) => Some(Located::new(address, word.at)),
            Err(_) => {
                self.findings.error(word.at, format!("`{}` is not an IP address", word.text));
                None
            }
        }
    }

    fn authentication(&mut self, node: &Node, said: &mut Said) {
        said.authentication = Some(node.at());
        for child in self.lines(node) {
            match self.look_up("authentication", child) {
                Some("auth_type") => match self.argument(child).map(|word| (word.as_str(), word.at)) {
                    Some(("PASS", _)) => said.pass = true,
                    Some(("NONE" | "none", _)) | None => {}
                    Some(("AH", at)) => self.findings.error(
                        at,
                        "AH is not spoken: its peers would drop our adverts and both nodes would be master; use PASS on both",
                    ),
                    Some((other, at)) => {
                        self.findings.error(at, format!("`{other}` is not a kind of authentication: PASS is"));
                    }
                },
                Some("auth_pass") => {
                    said.password = self.argument(child).map(|word| self.password(word));
                }
                Some(_) | None => {}
            }
        }
        if said.pass && said.password.is_none() {
            self.findings.warning(node.at(), "authentication without `auth_pass`: ignored, as in keepalived");
        }
    }

    fn password(&mut self, word: &Word) -> Located<String> {
        let mut text = word.text.clone();
        if text.len() > PASSWORD_BYTES {
            text.truncate(text.floor_char_boundary(PASSWORD_BYTES));
            self.findings.warning(word.at, "a password has 8 bytes on the wire: cut to the first 8");
        }
        Located::new(text, word.at)
    }

    fn router(&mut self, name: &Word, said: Said, globals: &Globals) -> VirtualRouter {
        let family = family_of(&said);
        let version = self.version(&said, family, globals, name);
        if let Some(at) = said.native_ipv6.filter(|_| spoken_family(&said) != Some(Family::V6)) {
            self.findings
                .error(at, "`native_ipv6` without an IPv6 address: this node and its peer would speak past each other");
        }
        let addresses = self.of_family(said.addresses, family);
        let at = name.at;
        // keepalived: MASTER without a priority is the address owner.
        let owner = said.state.is_some_and(|state| state.value == InitialState::Master);
        let priority = said.priority.or_else(|| owner.then(|| Located::new(255, at)));
        // And who owns the addresses starts as master, unless something else is said.
        let owns = priority.is_some_and(|priority| priority.value == 255);
        let start = if owns { InitialState::Master } else { InitialState::Backup };
        let (preempt, preempt_delay) = self.preemption(said.no_preempt, said.preempt_delay, said.state, priority);
        let password = self.password_of_version(said.password.filter(|_| said.pass), version);
        if let Some(hmac) = said.transport.hmac.as_ref().filter(|_| said.pass) {
            self.findings.error(hmac.at, "`auth_hmac` and `authentication` exclude each other");
        }
        let mut router = VirtualRouter {
            name: Some(Located::new(name.text.clone(), at)),
            interface: said.interface,
            vrid: said.vrid,
            interval: said.interval.map(|interval| self.interval(interval, version)),
            addresses,
            excluded_addresses: said.excluded,
            priority,
            version: Some(version),
            start: Some(said.state.unwrap_or(Located::new(start, at))),
            preempt,
            preempt_delay,
            password,
            missed_adverts: said.missed_adverts.or(globals.missed_adverts),
            start_delay: globals.start_delay,
            routes: said.routes,
            rules: said.rules,
            track: said.track,
            notify: said.notify,
            announce: said.garp.announce(),
            ..VirtualRouter::empty(at)
        };
        self.transport(said.transport, said.source, family, globals, &mut router);
        router
    }

    /// Version 3 whatever is said when the addresses are IPv6, as in keepalived.
    fn version(&mut self, said: &Said, family: Family, globals: &Globals, name: &Word) -> Located<u64> {
        let version = said.version.or(globals.version).unwrap_or(Located::new(2, name.at));
        match family {
            Family::V6 if version.value == 2 => {
                if let Some(said) = said.version {
                    self.findings.warning(said.at, "IPv6 addresses need version 3, which is used, as in keepalived");
                }
                Located::new(3, version.at)
            }
            Family::V4 | Family::V6 => version,
        }
    }

    fn of_family(&mut self, addresses: Vec<VirtualAddress>, family: Family) -> Vec<VirtualAddress> {
        let (kept, others): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| Family::of(address.prefix.value.address) == family);
        for other in others {
            let message = format!("the instance is {family}: this address is ignored, as in keepalived");
            let warning = Diagnostic::warning(other.prefix.at, message);
            self.findings.push(warning.help("put it under `virtual_ipaddress_excluded`"));
        }
        kept
    }

    /// keepalived clears what contradicts its start.
    fn preemption(
        &mut self,
        no_preempt: Option<Location>,
        delay: Maybe<Duration>,
        state: Maybe<InitialState>,
        priority: Maybe<u64>,
    ) -> (Maybe<bool>, Maybe<Duration>) {
        let starts_master = state.is_some_and(|state| state.value == InitialState::Master);
        let owner = priority.is_some_and(|priority| priority.value == 255);
        let reason = if starts_master { "`state MASTER`" } else { "priority 255" };
        let no_preempt = no_preempt.filter(|at| {
            if starts_master || owner {
                self.findings
                    .warning(*at, format!("`nopreempt` does not work with {reason}: ignored, as in keepalived"));
            }
            !(starts_master || owner)
        });
        let delay = delay.filter(|delay| {
            if starts_master {
                self.findings
                    .warning(delay.at, "`preempt_delay` does not work with `state MASTER`: ignored, as in keepalived");
            }
            !starts_master
        });
        (no_preempt.map(|at| Located::new(false, at)), delay)
    }

    fn interval(&mut self, interval: Located<Duration>, version: Located<u64>) -> Located<Duration> {
        let centiseconds = |duration: Duration| Duration::from_millis((duration.as_millis() as u64 + 5) / 10 * 10);
        if version.value == 2 {
            let seconds = Duration::from_secs(((interval.value.as_millis() + 500) / 1000).max(1) as u64);
            if seconds != interval.value {
                let whole = seconds.as_secs();
                self.findings.warning(
                    interval.at,
                    format!("version 2 counts whole seconds: {whole} s is used, as in keepalived"),
                );
            }
            return Located::new(seconds, interval.at);
        }
        if interval.value > LONGEST_V3 {
            self.findings.warning(interval.at, "version 3 reaches 40.95 s, which is used, as in keepalived");
            return Located::new(LONGEST_V3, interval.at);
        }
        Located::new(centiseconds(interval.value).max(Duration::from_millis(10)), interval.at)
    }

    fn password_of_version(&mut self, password: Option<Located<String>>, version: Located<u64>) -> Maybe<Secret> {
        let password = password?;
        if version.value == 3 {
            self.findings.warning(password.at, "version 3 has no authentication: ignored, as in keepalived");
            return None;
        }
        Some(password.map(Secret))
    }
}

/// As keepalived decides: `native_ipv6`, else what is spoken, else IPv4.
fn family_of(said: &Said) -> Family {
    match said.native_ipv6 {
        Some(_) => Family::V6,
        None => spoken_family(said).unwrap_or(Family::V4),
    }
}

/// Of the first address, else of the peers, else of the source.
fn spoken_family(said: &Said) -> Option<Family> {
    let first = said.addresses.first().map(|address| address.prefix.value.address);
    let peer = || said.transport.peers.first().map(|peer| peer.address.value);
    let source = || said.source.map(|source| source.value);
    first.or_else(peer).or_else(source).map(Family::of)
}
