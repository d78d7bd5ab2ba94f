//! `resolvers` sections, `server-template`, and what servers say about their names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::grammar::{Section, Statement};
use super::proxy::Proxy;
use super::{Translator, endpoint, server, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Hold, Host, Located, Maybe, ResolveWhen, Resolver, ServerNaming, Timeout};
use crate::model::{Family, NameKind, NameServer, Prefix, Wanted};

/// HAProxy's `hold` for everything that is no good answer, when nothing is said.
const DEFAULT_HOLD: Duration = Duration::from_secs(30);

/// HAProxy's `hold valid` when nothing is said.
const DEFAULT_VALID: Duration = Duration::from_secs(10);

/// What server lines say about names.
#[derive(Debug, Clone, Default)]
pub(super) struct NamesSaid {
    resolvers: Maybe<String>,
    prefer: Maybe<Family>,
    networks: Vec<Located<Prefix>>,
    share_address: Maybe<bool>,
    ignore_weight: Maybe<bool>,
    initial: Option<Vec<Located<Initial>>>,
}

/// A method of `init-addr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Initial {
    Last,
    Libc,
    None,
    Address(IpAddr),
}

impl NamesSaid {
    pub(super) fn resolvers(&self) -> Option<&Located<String>> {
        self.resolvers.as_ref()
    }

    /// How a server called `host` is resolved: without `resolvers` once, at the start. Where HAProxy would start without an
    /// address and never find one, it is looked for.
    pub(super) fn raw(&self, host: &Located<Host>, service: bool) -> ServerNaming {
        let Host::Name(..) = host.value else { return ServerNaming::default() };
        let methods = self.initial.as_deref().unwrap_or_default();
        let may_fail = methods.iter().any(|method| method.value == Initial::None);
        let initial = methods.iter().find_map(|method| match method.value {
            Initial::Address(address) => Some(Located::new(address, method.at)),
            Initial::Last | Initial::Libc | Initial::None => None,
        });
        if self.resolvers.is_none() && !may_fail && initial.is_none() && !service {
            let resolve = Some(Located::new(ResolveWhen::AtStart, host.at));
            return ServerNaming { resolve, ..ServerNaming::default() };
        }
        ServerNaming {
            kind: service.then(|| Located::new(NameKind::Service, host.at)),
            resolver: self.resolvers.clone(),
            family: Some(
                self.prefer
                    .map_or(Located::new(Wanted::First(Family::V6), host.at), |prefer| prefer.map(Wanted::First)),
            ),
            networks: self.networks.clone(),
            share_address: self.share_address,
            ignore_weight: self.ignore_weight,
            initial,
            ..ServerNaming::default()
        }
    }
}

impl Translator<'_> {
    /// `resolvers <name>`
    pub(super) fn resolvers(&mut self, section: &Section) {
        let Some(name) = section.arguments.first() else {
            self.findings.error(section.kind.at, "`resolvers` wants a name");
            return;
        };
        let at = section.kind.at;
        let held = |time| Some(Located::new(Timeout::After(time), at));
        let mut resolver = Resolver {
            name: Some(Located::new(name.text.clone(), name.at)),
            system: Some(Located::new(false, at)),
            most_refresh: Some(Located::new(DEFAULT_VALID, at)),
            payload_size: Some(Located::new(512, at)),
            hold: Hold {
                nx: held(DEFAULT_HOLD),
                timeout: held(DEFAULT_HOLD),
                refused: held(DEFAULT_HOLD),
                other: held(DEFAULT_HOLD),
                obsolete: None,
            },
            ..Resolver::empty(at)
        };
        for statement in &section.statements {
            let Some((keyword, arguments)) = self.keyword("resolvers", statement) else { continue };
            if self.tell(keyword, statement.at()) {
                self.resolver_statement(keyword.name, statement, arguments, &mut resolver);
            }
        }
        self.config.resolvers.push(resolver);
    }

    fn resolver_statement(&mut self, name: &str, statement: &Statement, arguments: &[Word], resolver: &mut Resolver) {
        match (name, arguments) {
            ("parse-resolv-conf", []) => resolver.system = Some(Located::new(true, statement.at())),
            ("nameserver", [name, address]) => {
                let server = self.checked(address, name_server(address.as_str()));
                let named = |address| NameServer { name: name.text.clone(), address };
                resolver.servers.extend(server.map(|server| server.map(named)));
            }
            ("resolve_retries", [_]) => {
                resolver.retries = self.number(statement, arguments, 1..=100);
            }
            ("accepted_payload_size", [_]) => {
                resolver.payload_size = self.number(statement, arguments, 512..=65_535);
            }
            ("timeout", [which, time]) => {
                let time = self.checked(time, value::time(time.as_str())).filter(|time| !time.value.is_zero());
                match which.as_str() {
                    "resolve" => resolver.least_refresh = time,
                    "retry" => resolver.timeout = time,
                    other => self.findings.error(which.at, format!("`{other}` is neither `resolve` nor `retry`")),
                }
            }
            ("hold", [which, time]) => {
                let time = self.checked(time, value::time(time.as_str()));
                let hold = &mut resolver.hold;
                let field = match which.as_str() {
                    "valid" => {
                        resolver.most_refresh = time.filter(|time| !time.value.is_zero());
                        return;
                    }
                    "obsolete" => {
                        hold.obsolete = time;
                        return;
                    }
                    "nx" => &mut hold.nx,
                    "timeout" => &mut hold.timeout,
                    "refused" => &mut hold.refused,
                    "other" => &mut hold.other,
                    other => {
                        let known = "valid, obsolete, nx, timeout, refused and other";
                        self.findings.error(which.at, format!("`{other}` is none of {known}"));
                        return;
                    }
                };
                *field = time.map(|time| time.map(Timeout::After));
            }
            _ => self.findings.error(statement.at(), format!("`{name}` has too few or too many words after it")),
        }
    }

    /// `server-template <prefix> <number or range> <address>[:[port]] [param*]`: so many servers of one name.
    pub(super) fn server_template(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let [prefix, numbers, address, words @ ..] = arguments else {
            let wanted = "`server-template` wants a prefix, a number and a name, such as `s 3 www.example.org:80`";
            self.findings.error(statement.at(), wanted);
            return;
        };
        let Some(Located { value: (first, last), .. }) = self.checked(numbers, range(numbers.as_str())) else { return };
        self.name(prefix);
        let endpoint = self.checked(address, server::endpoint(address.as_str()));
        let mut options = proxy.default_server.clone();
        self.server_options(words, &mut options);
        let Some(endpoint) = endpoint else { return };
        for number in first..=last {
            let name = Located::new(format!("{}{number}", prefix.text), prefix.at);
            let server = server::ServerSaid::new(statement.at(), name, address, endpoint.clone(), options.clone());
            self.add_server(server, proxy);
        }
    }

    /// Sections that servers name although they have addresses: nobody else looks for them.
    pub(super) fn unknown_resolvers(&mut self, proxies: &[Proxy]) {
        let known = |name: &str| {
            let of = |resolver: &Resolver| resolver.name.as_ref().is_some_and(|known| known.value == name);
            name == "default" || self.config.resolvers.iter().any(of)
        };
        let named = proxies.iter().flat_map(|proxy| &proxy.servers).filter_map(server::ServerSaid::idle_resolvers);
        let unknown: Vec<_> = named.filter(|name| !known(&name.value)).cloned().collect();
        for name in unknown {
            self.push_once(Diagnostic::error(name.at, format!("there is no section `resolvers {}`", name.value)));
        }
    }

    /// What a server option about names says.
    pub(super) fn names_option(&mut self, name: &str, word: &Word, said: &mut NamesSaid) {
        let text = word.as_str();
        match name {
            "resolvers" => said.resolvers = Some(Located::new(text.to_owned(), word.at)),
            "resolve-prefer" => {
                said.prefer = self.checked(
                    word,
                    match text {
                        "ipv4" => Ok(Family::V4),
                        "ipv6" => Ok(Family::V6),
                        other => Err(format!("`{other}` is neither `ipv4` nor `ipv6`")),
                    },
                );
            }
            "resolve-net" => {
                for network in text.split(',') {
                    said.networks.extend(self.checked(word, self::network(network)));
                }
            }
            "resolve-opts" => {
                for option in text.split(',') {
                    match option {
                        "allow-dup-ip" => said.share_address = Some(Located::new(true, word.at)),
                        "prevent-dup-ip" => said.share_address = Some(Located::new(false, word.at)),
                        "ignore-weight" => said.ignore_weight = Some(Located::new(true, word.at)),
                        other => self.findings.error(word.at, format!("`{other}` is not an option of resolving")),
                    }
                }
            }
            "init-addr" => {
                let methods = text.split(',').map(|method| initial(method).map(|value| Located::new(value, word.at)));
                said.initial = self.checked(word, methods.collect::<Result<Vec<_>, _>>()).map(|methods| methods.value);
            }
            _ => {}
        }
    }
}

fn initial(text: &str) -> Result<Initial, String> {
    match text {
        "last" => Ok(Initial::Last),
        "libc" => Ok(Initial::Libc),
        "none" => Ok(Initial::None),
        address => address
            .parse()
            .map(Initial::Address)
            .map_err(|_| format!("`{address}` is none of last, libc, none and an address")),
    }
}

/// `10.0.0.0/8`; an address alone is a network of one.
fn network(text: &str) -> Result<Prefix, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => format!("{address}/{}", Family::of(address).bits()),
        Err(_) => text.to_owned(),
    };
    network.parse().map_err(|_| format!("`{text}` is not a network, such as 10.0.0.0/8"))
}

/// `[udp@|tcp@]address:port`: what is too long for UDP comes over TCP anyway.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let place = text.strip_prefix("udp@").or_else(|| text.strip_prefix("tcp@")).unwrap_or(text);
    let (family, place) = endpoint::family(place)?;
    let (host, port) = endpoint::split_port(place);
    let port = value::number(port.ok_or_else(|| format!("`{text}` wants a port, such as :53"))?, 1..=65_535)?;
    match endpoint::host(host, family)? {
        Host::Address(address) => Ok(SocketAddr::new(address, u16::try_from(port).unwrap_or_default())),
        Host::Destination | Host::Name(..) => Err(format!("`{text}` is no address: a name server cannot have a name")),
    }
}

/// `3` is 1 to 3.
fn range(text: &str) -> Result<(u64, u64), String> {
    const MOST: u64 = 1000;
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => {
            (value::number(first, 0..=u64::from(u32::MAX))?, value::number(last, 0..=u64::from(u32::MAX))?)
        }
        None => (1, value::number(text, 1..=u64::from(u32::MAX))?),
    };
    if last < first || last - first >= MOST {
        return Err(format!("`{text}` is not a range of 1 to {MOST} servers"));
    }
    Ok((first, last))
}
