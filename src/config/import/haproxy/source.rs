//! `source`, of a server and of a proxy.

use std::iter::Peekable;

use super::{Translator, endpoint};
use crate::config::import::Word;
use crate::config::raw::{Host, Located, Maybe, Source};
use crate::model::PortRange;

impl Translator<'_> {
    /// `source <addr>[:<port>[-<port>]] [usesrc ..] [interface <name>]`, from the address on. An unspecified address is the
    /// kernel's choice.
    pub(super) fn source<'w>(
        &mut self,
        address: &Word,
        words: &mut Peekable<impl Iterator<Item = &'w Word>>,
    ) -> Maybe<Source> {
        let endpoint = self.checked(address, parse(address.as_str()));
        let mut interface = None;
        while let Some(word) = words.next_if(|word| matches!(word.as_str(), "usesrc" | "interface")) {
            let Some(value) = words.next() else {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                return None;
            };
            if word.text == "usesrc" {
                self.findings.error(
                    word.at,
                    "`usesrc` is not there: servers would be reached from this node's own address; tell them the client's by \
                     `send-proxy-v2`",
                );
                return None;
            }
            interface = self.checked(value, value.text.parse().map_err(|error| format!("{error}")));
        }
        let Located { value: (host, ports), at } = endpoint?;
        match host {
            Host::Address(address) if address.is_unspecified() && interface.is_none() => None,
            Host::Address(address) => {
                let ports = ports.map(|ports| Located::new(ports, at));
                let source = Source { address: Located::new(address, at), ports, interface };
                Some(Located::new(source, at))
            }
            Host::Name(name, _) => {
                self.findings.error(at, format!("`{name}` is a name: write the local address itself"));
                None
            }
        }
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
