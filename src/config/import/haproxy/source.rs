//! `source`, of a server and of a proxy.

use std::iter::Peekable;
use std::net::SocketAddr;

use super::{Translator, endpoint};
use crate::config::import::Word;
use crate::config::raw::{Host, Located, Maybe, Source};
use crate::model::{PortRange, Transparent};

impl Translator<'_> {
    /// `source <addr>[:<port>[-<port>]] [usesrc ..] [interface <name>]`, from the address on. An unspecified address is the
    /// kernel's choice.
    pub(super) fn source<'w>(
        &mut self,
        address: &Word,
        words: &mut Peekable<impl Iterator<Item = &'w Word>>,
    ) -> Maybe<Source> {
        let endpoint = self.checked(address, parse(address.as_str()));
        let (mut interface, mut transparent) = (None, None);
        while let Some(word) = words.next_if(|word| matches!(word.as_str(), "usesrc" | "interface")) {
            let Some(value) = words.next() else {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                return None;
            };
            if word.text == "usesrc" {
                transparent = Some(self.checked(value, shown(value.as_str()))?);
                continue;
            }
            interface = self.checked(value, value.text.parse().map_err(|error| format!("{error}")));
        }
        let Located { value: (host, ports), at } = endpoint?;
        match host {
            Host::Address(address) => {
                let ports = ports.map(|ports| Located::new(ports, at));
                let address = Some(Located::new(address, at)).filter(|address| !address.value.is_unspecified());
                let source = Source { address, ports, interface, transparent };
                Some(Located::new(source, at)).filter(|source| source.value != Source::default())
            }
            Host::Destination => None,
            Host::Name(name, _) => {
                self.findings.error(at, format!("`{name}` is a name: write the local address itself"));
                None
            }
        }
    }
}

/// What stands after `usesrc`.
fn shown(text: &str) -> Result<Transparent, String> {
    match text {
        "client" => Ok(Transparent::Client),
        "clientip" => Ok(Transparent::ClientIp),
        _ if text.starts_with("hdr_ip(") => {
            Err("the address in a header is HTTP's: it cannot be read in TCP mode".into())
        }
        _ => match parse(text)? {
            (Host::Address(address), None) => Ok(Transparent::Address(SocketAddr::new(address, 0))),
            (Host::Address(address), Some(ports)) if ports.len() == 1 => {
                Ok(Transparent::Address(SocketAddr::new(address, ports.first())))
            }
            (Host::Address(_), Some(_)) => Err(format!("`{text}`: one port can be shown, not a range")),
            (Host::Destination | Host::Name(..), _) => {
                Err(format!("`{text}` is neither `client`, `clientip` nor an address"))
            }
        },
    }
}

/// An address and the ports after it, none for any.
fn parse(text: &str) -> Result<(Host, Option<PortRange>), String> {
    let (family, rest) = endpoint::family(text)?;
    let (host, ports) = endpoint::split_port(rest);
    let host = if matches!(host, "" | "*") { "0.0.0.0" } else { host };
    let ports = match ports.filter(|ports| *ports != "0") {
        None => None,
        Some(ports) => Some(ports.parse().map_err(|error| format!("{error}"))?),
    };
    Ok((endpoint::host(host, family)?, ports))
}
