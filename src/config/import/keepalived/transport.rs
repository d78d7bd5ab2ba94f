//! How an instance's adverts travel: peers, virtual hardware address, `auth_hmac`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

use super::Translator;
use super::global::Globals;
use super::grammar::Node;
use super::routing::of;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Hmac, Located, Maybe, Peer, Secret, VirtualRouter, Vmac};
use crate::config::source::Location;
use crate::model::{Family, InterfaceName};

/// What an instance says about its transport.
#[derive(Default)]
pub(super) struct Transport {
    /// `unicast_src_ip` or `unicast_peer`.
    pub(super) unicast: Option<Location>,
    pub(super) peers: Vec<Peer>,
    pub(super) group: Maybe<IpAddr>,
    check_source: Option<Location>,
    ttl: Maybe<u64>,
    vmac: Option<Vmac>,
    from_base: Option<Location>,
    pub(super) hmac: Option<Hmac>,
}

impl Translator<'_> {
    /// A line of an instance about its transport; false for another keyword.
    pub(super) fn transport_line(&mut self, keyword: &str, node: &Node, said: &mut Transport) -> bool {
        match keyword {
            "unicast_peer" => {
                said.unicast.get_or_insert(node.at());
                let peers: Vec<_> = self.lines(node).iter().filter_map(|line| self.peer(line)).collect();
                said.peers.extend(peers);
            }
            "mcast_dst_ip" => said.group = self.argument(node).and_then(|word| self.ip_address(word)),
            "check_unicast_src" => {
                said.check_source = Some(node.at()).filter(|_| self.switch(node));
            }
            "unicast_ttl" => said.ttl = self.number(node, 1..=255, "255 is used"),
            "use_vmac" => said.vmac = Some(self.vmac(node)),
            "vmac_xmit_base" => said.from_base = Some(node.at()),
            "auth_hmac" => said.hmac = self.hmac(node),
            _ => return false,
        }
        true
    }

    /// Fills in what is known of the transport of `router`, which is of `family`.
    pub(super) fn transport(
        &mut self,
        said: Transport,
        source: Maybe<IpAddr>,
        family: Family,
        globals: &Globals,
        router: &mut VirtualRouter,
    ) {
        router.peers = self.peers_of_family(said.peers, family);
        self.drop_self(&mut router.peers, source);
        if let Some(at) = said.unicast.filter(|_| router.peers.is_empty()) {
            self.findings.warning(at, "no unicast peers: adverts are multicast, as in keepalived 2.2.3 and before");
        }
        router.source = source;
        router.hmac = said.hmac;
        if router.peers.is_empty() {
            router.group = said.group.or_else(|| globals.group(family));
            if let Some(ttl) = said.ttl {
                self.findings.warning(ttl.at, "`unicast_ttl` without peers: ignored, as in keepalived");
            }
        } else {
            let check = said.check_source.or(globals.check_source);
            router.only_peers = check.map(|at| Located::new(true, at));
            router.unicast_ttl = said.ttl;
        }
        router.vmac = said.vmac.map(|vmac| {
            let mut from_base = said.from_base;
            if from_base.is_none() && !router.peers.is_empty() {
                self.findings.warning(vmac.at, "unicast wants `vmac_xmit_base`, which is used, as in keepalived");
                from_base = Some(vmac.at);
            }
            Vmac { from_base: from_base.map(|at| Located::new(true, at)), ..vmac }
        });
    }

    fn peer(&mut self, line: &Node) -> Option<Peer> {
        let mut peer = Peer { address: self.bare_address(line.keyword())?, min_ttl: None, max_ttl: None };
        let mut words = line.arguments().iter();
        while let Some(word) = words.next() {
            let field = match word.as_str() {
                "min_ttl" => &mut peer.min_ttl,
                "max_ttl" => &mut peer.max_ttl,
                other => {
                    self.findings.warning(word.at, format!("`{other}` is not part of a peer: ignored"));
                    continue;
                }
            };
            match words.next().map(|value| (value.at, value.text.parse::<u8>())) {
                Some((at, Ok(ttl))) => *field = Some(Located::new(ttl.into(), at)),
                Some((at, Err(_))) => self.findings.error(at, "a TTL is a number from 0 to 255"),
                None => self.findings.error(word.at, format!("`{}` wants a number after it", word.text)),
            }
        }
        Some(peer)
    }

    /// One list may stand on all nodes: the node itself is none of its peers.
    fn drop_self(&mut self, peers: &mut Vec<Peer>, source: Maybe<IpAddr>) {
        let Some(source) = source else { return };
        peers.retain(|peer| {
            let other = peer.address.value != source.value;
            if !other {
                let warning = Diagnostic::warning(peer.address.at, "this is the node itself: no peer, left out");
                self.findings.push(warning.related(source.at, "its own address"));
            }
            other
        });
    }

    fn peers_of_family(&mut self, peers: Vec<Peer>, family: Family) -> Vec<Peer> {
        let (kept, others): (Vec<_>, Vec<_>) =
            peers.into_iter().partition(|peer| Family::of(peer.address.value) == family);
        for other in others {
            let message = format!("the instance is {family}: this peer is ignored, as in keepalived");
            self.findings.warning(other.address.at, message);
        }
        kept
    }

    /// `[NAME] [MAC]`
    fn vmac(&mut self, node: &Node) -> Vmac {
        let mut vmac = Vmac { at: node.at(), name: None, from_base: None };
        for word in node.arguments() {
            if word.as_str().contains(':') {
                let message = format!("`{}`: the hardware address is that of the RFC, 00:00:5e:00:01:VRID", word.text);
                self.findings.warning(word.at, message);
            } else if let Ok(name) = word.text.parse() {
                vmac.name = Some(Located::new(name, word.at));
            } else {
                let message = format!("`{}` cannot be an interface name: ignored, as in keepalived", word.text);
                self.findings.warning(word.at, message);
            }
        }
        vmac
    }

    fn hmac(&mut self, node: &Node) -> Option<Hmac> {
        let mut keys: Vec<(Located<u64>, &Word)> = Vec::new();
        let mut active: Maybe<u64> = None;
        for line in self.lines(node) {
            match self.look_up("auth_hmac", line) {
                Some("key") => {
                    let id = self.number(line, 1..=255, "the key is ignored");
                    match (id, line.arguments().get(1)) {
                        (Some(id), Some(value)) => keys.push((id, value)),
                        (Some(id), None) => self.findings.error(id.at, "a key wants its value after its number"),
                        (None, _) => {}
                    }
                }
                Some("active_key") => active = self.number(line, 1..=255, "the only key is used"),
                Some("mode") => {
                    self.only(line, "enforce", "adverts without a trailer would be dropped, and both be master")
                }
                Some("anti_replay") => {
                    self.only(line, "time", "its peers may send what is not accepted here, and both be master");
                }
                Some(_) | None => {}
            }
        }
        if let Some((second, _)) = keys.get(1) {
            let error =
                Diagnostic::error(second.at, "one key is used here: adverts signed with another would be dropped");
            self.findings.push(error.help("finish the rotation first, so that one key is left"));
            return None;
        }
        let Some((id, value)) = keys.first() else {
            self.findings.error(node.at(), "`auth_hmac` wants a key");
            return None;
        };
        if let Some(active) = active.filter(|active| active.value != id.value) {
            self.findings.error(active.at, format!("there is no key {}", active.value));
        }
        let file = value.as_str().strip_prefix("file:");
        Some(Hmac {
            at: node.at(),
            key_id: Some(*id),
            secret: file.is_none().then(|| Located::new(Secret(value.text.clone()), value.at)),
            secret_file: file.map(|path| Located::new(PathBuf::from(path), value.at)),
        })
    }

    /// An error unless the value is the one that is done here.
    fn only(&mut self, line: &Node, known: &str, danger: &str) {
        if let Some(word) = self.argument(line).filter(|word| word.as_str() != known) {
            let error = Diagnostic::error(word.at, format!("`{}` is not there: {danger}", word.text));
            self.findings.push(error.help(format!("write `{known}` on all nodes")));
        }
    }

    /// Names those interfaces that are not named, as keepalived does: `vrrp.51`, `vrrp1.51`, ..
    pub(super) fn name_vmacs(&mut self, routers: &mut [VirtualRouter], prefix: Option<&str>) {
        let prefix = prefix.unwrap_or("vrrp");
        let named = routers.iter().filter_map(|router| router.vmac.as_ref()?.name.as_ref());
        let mut taken: HashSet<InterfaceName> = named.map(|name| name.value.clone()).collect();
        let mut counts: HashMap<(&str, u64), u32> = HashMap::new();
        for router in routers {
            let six = router.addresses.first().is_some_and(|address| address.prefix.value.address.is_ipv6());
            let Some(vrid) = router.vrid else { continue };
            let Some(vmac) = router.vmac.as_mut().filter(|vmac| vmac.name.is_none()) else { continue };
            let family = if six { "6" } else { "" };
            let count = counts.entry((family, vrid.value)).or_default();
            let name = loop {
                let number = if *count == 0 { String::new() } else { count.to_string() };
                *count += 1;
                match format!("{prefix}{family}{number}.{}", vrid.value).parse::<InterfaceName>() {
                    Ok(name) if taken.contains(&name) => {}
                    parsed => break parsed,
                }
            };
            match name {
                Ok(name) => {
                    taken.insert(name.clone());
                    vmac.name = Some(Located::new(name, vmac.at));
                }
                Err(error) => self.findings.error(vmac.at, format!("{error}: name the interface here")),
            }
        }
    }
}

impl Globals {
    fn group(&self, family: Family) -> Maybe<IpAddr> {
        of(self.group4, family).or(of(self.group6, family))
    }
}
