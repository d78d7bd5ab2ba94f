//! The lines of `virtual_ipaddress` and `virtual_ipaddress_excluded`.

use std::net::{IpAddr, Ipv4Addr};

use super::Translator;
use super::grammar::Node;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::keywords::{self, Status};
use crate::config::raw::{Located, Maybe, VirtualAddress};
use crate::model::{Family, Prefix, Scope};

/// Longest label (IFNAMSIZ and its final zero).
const LABEL_BYTES: usize = 15;

impl Translator<'_> {
    pub(super) fn addresses(&mut self, block: &Node) -> Vec<VirtualAddress> {
        self.lines(block).iter().filter_map(|line| self.address(line)).collect()
    }

    /// `<IPADDR>[/<MASK>] [brd <IPADDR>] [dev <STRING>] [scope <SCOPE>] [label <LABEL>] ...`, in any order.
    fn address(&mut self, line: &Node) -> Option<VirtualAddress> {
        let mut prefix = None;
        let mut broadcast = None;
        let mut interface = None;
        let mut label: Maybe<String> = None;
        let mut scope = None;
        let mut words = line.words.iter();
        while let Some(word) = words.next() {
            let Some(keyword) = keywords::keepalived().get("virtual_ipaddress", word.as_str()) else {
                if prefix.is_none() {
                    prefix = Some(self.prefix(word)?);
                } else {
                    self.findings.warning(word.at, format!("`{}` is not part of an address: ignored", word.text));
                }
                continue;
            };
            match keyword.status {
                Status::Implemented => {}
                Status::Warned => {
                    let warning = Diagnostic::warning(word.at, format!("`{}` has no effect yet", word.text));
                    self.findings.push(warning.help(keyword.reason));
                    if keyword.example.starts_with(' ') {
                        words.next();
                    }
                    continue;
                }
                Status::Refused => {
                    let error = Diagnostic::error(word.at, format!("`{}` cannot be ignored safely", word.text));
                    self.findings.push(error.help(keyword.reason));
                    continue;
                }
            }
            if matches!(keyword.name, "-nodad" | "home" | "no_dad") {
                continue;
            }
            let Some(value) = words.next() else {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                break;
            };
            match keyword.name {
                "dev" => match value.text.parse() {
                    Ok(name) => interface = Some(Located::new(name, value.at)),
                    Err(error) => self.findings.error(value.at, format!("{error}")),
                },
                "label" => label = Some(Located::new(value.text.clone(), value.at)),
                "scope" => scope = self.scope(value),
                "brd" | "broadcast" => broadcast = Some(value),
                _ => {}
            }
        }
        let Some(prefix) = prefix else {
            self.findings.error(line.at(), "an address was expected on this line");
            return None;
        };
        let broadcast = broadcast.and_then(|word| self.broadcast(word, prefix.value));
        if let Some(long) = label.as_ref().filter(|label| label.value.len() > LABEL_BYTES) {
            let message = format!("the label `{}` has more than 15 bytes: its address is ignored", long.value);
            self.findings.warning(long.at, message + ", as in keepalived");
            return None;
        }
        if let Some(label) = label.take_if(|_| prefix.value.address.is_ipv6()) {
            self.findings.warning(label.at, "an IPv6 address has no label: ignored, as in keepalived");
        }
        Some(VirtualAddress { prefix, interface, label, scope, broadcast })
    }

    /// A mask out of range is a host's, as in keepalived.
    fn prefix(&mut self, word: &Word) -> Option<Located<Prefix>> {
        let error = match word.text.parse::<Prefix>() {
            Ok(prefix) => return Some(Located::new(prefix, word.at)),
            Err(error) => error,
        };
        let address = word.text.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
        let Some(address) = address else {
            self.findings.error(word.at, format!("{error}"));
            return None;
        };
        let length = Family::of(address).bits();
        self.findings.warning(word.at, format!("{error}: {length} is used, as in keepalived"));
        Some(Located::new(Prefix { address, length }, word.at))
    }

    pub(super) fn scope(&mut self, word: &Word) -> Option<Located<Scope>> {
        let scope = match word.as_str() {
            "global" | "0" => Scope::Global,
            "site" | "200" => Scope::Site,
            "link" | "253" => Scope::Link,
            "host" | "254" => Scope::Host,
            other => {
                self.findings
                    .warning(word.at, format!("`{other}` is none of the scopes global, site, link and host: ignored"));
                return None;
            }
        };
        Some(Located::new(scope, word.at))
    }

    /// An address, `+` (host bits set) or `-` (host bits clear).
    fn broadcast(&mut self, word: &Word, prefix: Prefix) -> Option<Located<Ipv4Addr>> {
        let IpAddr::V4(address) = prefix.address else {
            self.findings.warning(word.at, "an IPv6 address has no broadcast address: ignored");
            return None;
        };
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length)).unwrap_or(0);
        let broadcast = match word.as_str() {
            "+" => Ipv4Addr::from(u32::from(address) | !mask),
            "-" => Ipv4Addr::from(u32::from(address) & mask),
            text => match text.parse() {
                Ok(broadcast) => broadcast,
                Err(_) => {
                    self.findings.error(word.at, format!("`{text}` is not an IPv4 broadcast address"));
                    return None;
                }
            },
        };
        Some(Located::new(broadcast, word.at))
    }
}
