//! `bind` lines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::proxy::Proxy;
use super::{Translator, endpoint, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::import::keywords;
use crate::config::raw::{Host, Listen, ListenTuning, Located, Maybe};
use crate::config::source::Location;
use crate::model::{Descriptor, Family, InterfaceName, Invalid, PortRange, Prefix};

/// Connections whose SYN carries data and whose handshake is not over.
const FAST_OPEN_QUEUE: u64 = 4096;

/// What the words after the addresses say.
#[derive(Default)]
struct BindOptions {
    nonlocal: bool,
    interface: Maybe<InterfaceName>,
    ipv6_only: bool,
    max_connections: Maybe<u64>,
    backlog: Maybe<u64>,
    accepts_proxy: Option<Location>,
    tuning: ListenTuning,
}

impl Translator<'_> {
    /// `bind [<address>]:<port_range> [, ...] [param*]`
    pub(super) fn bind(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some((addresses, options)) = arguments.split_first() else {
            self.findings.error(statement.at(), "`bind` wants an address and a port, such as `*:443`");
            return;
        };
        let options = self.bind_options(options);
        for text in addresses.text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let inherited = text.strip_prefix("fd@").map(|descriptor| descriptor.parse::<Descriptor>());
            let listen = match &inherited {
                Some(descriptor) => self.checked(addresses, self.inherited_place(descriptor)),
                None => self.checked(addresses, listen(text)),
            };
            let Some(Located { value: (host, ports), at }) = listen else { continue };
            let any_v6 = host == Host::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
            proxy.listen.push(Listen {
                host: Located::new(host, at),
                ports: Located::new(ports, at),
                interface: options.interface.clone(),
                nonlocal: Some(Located::new(options.nonlocal, at)),
                dual_stack: any_v6.then(|| Located::new(!options.ipv6_only, at)),
                proxy_from: match options.accepts_proxy {
                    Some(at) => anybody().map(|all| Located::new(all, at)).to_vec(),
                    None => Vec::new(),
                },
                tuning: options.tuning.clone(),
                inherited: inherited.and_then(Result::ok).map(|descriptor| Located::new(descriptor, at)),
            });
        }
        proxy.bind_lines += 1;
        if let Some(limit) = options.max_connections {
            if proxy.listen_limit.is_some() {
                self.findings.warning(limit.at, "one limit a service: the first bind line's is used for all of them");
            }
            proxy.listen_limit.get_or_insert(limit);
        }
        proxy.backlog = options.backlog.or(proxy.backlog);
    }

    /// Where a socket listens that the process was started with.
    fn inherited_place(&self, descriptor: &Result<Descriptor, Invalid>) -> Result<(Host, PortRange), String> {
        let descriptor = descriptor.as_ref().map_err(ToString::to_string)?;
        let address = self.around.local_address(descriptor).map_err(|error| {
            format!(
                "`{descriptor}` cannot be listened with: {error}; the process that starts vipgate has to pass it on"
            )
        })?;
        let ports = PortRange::new(address.port(), address.port()).map_err(|error| error.to_string())?;
        Ok((Host::Address(address.ip()), ports))
    }

    fn bind_options(&mut self, words: &[Word]) -> BindOptions {
        let mut options = BindOptions::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(keyword) = keywords::haproxy().get("bind", word.as_str()) else {
                self.unknown("bind", &[word.as_str()], word.at);
                return options;
            };
            let value = if keyword.places == "+" { words.next() } else { None };
            if keyword.places == "+" && value.is_none() {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                return options;
            }
            if !self.tell(keyword, word.at) {
                continue;
            }
            match (keyword.name, value) {
                ("transparent", _) => options.nonlocal = true,
                ("v6only", _) => options.ipv6_only = true,
                ("v4v6", _) => options.ipv6_only = false,
                ("accept-proxy", _) => options.accepts_proxy = Some(word.at),
                // HAProxy's own: one second.
                ("defer-accept", _) => {
                    options.tuning.defer_accept = Some(Located::new(Duration::from_secs(1), word.at));
                }
                // As HAProxy: as many as the queue is long.
                ("tfo", _) => options.tuning.fast_open = Some(Located::new(FAST_OPEN_QUEUE, word.at)),
                ("mss", Some(value)) => {
                    options.tuning.max_segment = self.checked(value, value::number(value.as_str(), 88..=32_767));
                }
                ("tcp-ut", Some(value)) => {
                    let time = self.checked(value, value::time(value.as_str()));
                    options.tuning.user_timeout = time.filter(|time| !time.value.is_zero());
                }
                ("interface", Some(value)) => {
                    options.interface = self.checked(value, value.text.parse().map_err(|error| format!("{error}")));
                }
                ("maxconn", Some(value)) => {
                    // 0 is no limit, here and for the queue, as in HAProxy.
                    let limit = self.checked(value, value::number(value.as_str(), 0..=u64::from(u32::MAX)));
                    options.max_connections = limit.filter(|limit| limit.value > 0);
                }
                ("backlog", Some(value)) => {
                    let backlog = self.checked(value, value::number(value.as_str(), 0..=u64::from(u32::MAX)));
                    options.backlog = backlog.filter(|backlog| backlog.value > 0);
                }
                // `name`, `id`, `label`, ...: of no consequence.
                _ => {}
            }
        }
        options
    }

    /// `*:80` beside `:::80`: as the kernel prefers the socket of the client's family, each gets its own, and nothing is
    /// bound twice.
    pub(super) fn part_families(proxies: &mut [Proxy]) {
        let any_v4 = Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let served = proxies.iter().filter(|proxy| !proxy.disabled);
        let all_of_v4: Vec<(PortRange, Option<InterfaceName>)> = served
            .flat_map(|proxy| &proxy.listen)
            .filter(|listen| listen.host.value == any_v4)
            .map(|listen| (listen.ports.value, listen.interface.as_ref().map(|interface| interface.value.clone())))
            .collect();
        let named = |listen: &Listen| listen.interface.as_ref().map(|interface| interface.value.clone());
        for listen in proxies.iter_mut().flat_map(|proxy| &mut proxy.listen) {
            let ports = listen.ports.value;
            let has_own = |(v4, interface): &(PortRange, Option<InterfaceName>)| {
                v4.contains(ports.first()) && v4.contains(ports.last()) && *interface == named(listen)
            };
            if listen.dual_stack.is_some_and(|dual| dual.value) && all_of_v4.iter().any(has_own) {
                listen.dual_stack = listen.dual_stack.map(|dual| dual.map(|_| false));
            }
        }
    }

    /// What HAProxy would do with a frontend that listens nowhere: go on without it, and say so.
    pub(super) fn without_bind(&mut self, proxy: &Proxy) {
        self.findings.push(
            Diagnostic::warning(proxy.at, format!("`{}` has no `bind` line: nobody can connect to it", proxy.name))
                .help("add one, or remove the section"),
        );
    }
}

/// Every client has to begin with a PROXY header.
pub(super) fn anybody() -> [Prefix; 2] {
    [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(|address| Prefix { address, length: 0 })
}

/// One address with its ports.
fn listen(text: &str) -> Result<(Host, PortRange), String> {
    let (family, rest) = endpoint::family(text)?;
    let (host, ports) = endpoint::split_port(rest);
    let ports = ports.ok_or_else(|| format!("`{text}` names no port"))?;
    if ports.starts_with(['+', '-']) {
        return Err(format!("`{ports}` is relative to a client's port, which a listener does not have"));
    }
    let ports = ports.parse().map_err(|error| format!("{error}"))?;
    let host = match (host, family) {
        ("" | "*", Some(Family::V6)) => Host::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        ("" | "*", Some(Family::V4) | None) => Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (host, family) => endpoint::host(host, family)?,
    };
    Ok((host, ports))
}
