//! `peers` sections: who shares stick tables.

use super::grammar::{Section, Statement};
use super::{Translator, endpoint};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{HostPort, Located, Maybe, Member, PeerGroup};

impl Translator<'_> {
    /// `peers <name>`
    pub(super) fn peers(&mut self, section: &Section) {
        let Some(name) = section.arguments.first() else {
            self.findings.error(section.kind.at, "`peers` wants a name");
            return;
        };
        let around = || self.around.variable("HAPROXY_LOCALPEER").unwrap_or_else(|| self.around.node_name());
        let local = self.local_peer.clone().unwrap_or_else(around);
        let mut group = PeerGroup {
            name: Some(Located::new(name.text.clone(), name.at)),
            local: Some(Located::new(local.clone(), name.at)),
            ..PeerGroup::empty(section.kind.at)
        };
        let mut disabled = false;
        for statement in &section.statements {
            let Some((keyword, arguments)) = self.keyword("peers", statement) else { continue };
            if !self.tell(keyword, statement.at()) {
                continue;
            }
            match keyword.name {
                "peer" | "server" => self.peer(statement, arguments, &local, &mut group),
                "bind" => match arguments {
                    [address] => group.listen = self.peer_address(address),
                    [_, more, ..] => {
                        self.findings
                            .error(more.at, "options of a peers' `bind` are not there yet: peers speak in the open");
                    }
                    [] => self.findings.error(statement.at(), "`bind` wants an address after it"),
                },
                "table" => {
                    let Some((table, rest)) = arguments.split_first() else {
                        self.findings.error(statement.at(), "`table` wants a name, a type and a size");
                        continue;
                    };
                    if let Some(said) = self.table_said(statement, rest) {
                        let said = said.shared_by(name);
                        self.tables.insert(format!("{}/{}", name.text, table.text), said);
                    }
                }
                "disabled" => disabled = true,
                "enabled" => disabled = false,
                _ => {}
            }
        }
        let here = |member: &Member| member.name.as_ref().is_some_and(|name| name.value == local);
        if !disabled && !group.members.is_empty() && !group.members.iter().any(here) && group.listen.is_none() {
            let text = format!("none of these peers is called `{local}`, as this node is: nobody can connect to it");
            let warning = Diagnostic::warning(section.kind.at, text);
            self.findings.push(warning.help("set the variable HAPROXY_LOCALPEER to this node's name here, or add it"));
        }
        if disabled {
            group.members.clear();
            group.listen = None;
        }
        self.config.peer_groups.push(group);
    }

    /// `peer <name> <address>:<port>`; the local one may leave out the address that `bind` gives.
    fn peer(&mut self, statement: &Statement, arguments: &[Word], local: &str, group: &mut PeerGroup) {
        match arguments {
            [name, address, rest @ ..] => {
                if let Some(more) = rest.iter().find(|word| word.text != "check" && word.text != "shard") {
                    self.findings.error(
                        more.at,
                        format!("`{}` of a peer is not there yet: peers of a haproxy.cfg speak in the open", more.text),
                    );
                }
                if let Some(address) = self.peer_address(address) {
                    let name = Some(Located::new(name.text.clone(), name.at));
                    group.members.push(Member { at: statement.at(), name, address });
                }
            }
            [name] if name.text == local => {}
            _ => self.findings.error(statement.at(), "a peer is a name and an address with a port"),
        }
    }

    fn peer_address(&mut self, word: &Word) -> Maybe<HostPort> {
        let read = |text: &str| {
            let (family, text) = endpoint::family(text)?;
            let (host, port) = endpoint::split_port(text);
            let port = port.and_then(|port| port.parse().ok()).filter(|port| *port > 0);
            let port = port.ok_or_else(|| format!("`{text}` has no port"))?;
            let host = if host.is_empty() || host == "*" { "0.0.0.0" } else { host };
            Ok(HostPort { host: endpoint::host(host, family)?, port })
        };
        let read = read(word.as_str());
        self.checked(word, read)
    }
}
