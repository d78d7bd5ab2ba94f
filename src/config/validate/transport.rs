//! How advertisements travel: to whom, from where, under which name, and how they are authenticated.

use std::collections::HashSet;
use std::net::IpAddr;

use super::findings::{Findings, Unique};
use super::router::not_a_host;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located, Maybe, Secret};
use crate::config::source::Location;
use crate::config::syntax;
use crate::model::{Family, HmacKey, InterfaceName, Password, Peer, Version, Vmac, Vrid};

pub(super) fn password(raw: &Maybe<Secret>, version: Version, findings: &mut Findings<'_>) -> Option<Password> {
    let Located { value: Secret(text), at } = raw.as_ref()?;
    if version == Version::V3 {
        let error = Diagnostic::error(*at, "version 3 has no password").secret();
        findings.push(error.help("remove it, or write version = 2"));
        return None;
    }
    let password = Password::new(text);
    if password.is_err() {
        let cause = format!("a password has 1 to 8 bytes, this one has {}", text.len());
        let error = Diagnostic::error(*at, cause).secret();
        findings.push(error.help("keepalived uses the first 8: write those on both nodes"));
    }
    password.ok()
}

/// As keepalived: 16 to 64 bytes; 32 are recommended.
pub(super) fn hmac(raw: Option<&raw::Hmac>, version: Version, findings: &mut Findings<'_>) -> Option<HmacKey> {
    let raw = raw?;
    if version == Version::V2 {
        findings.error(raw.at, "version 2 adverts have no such trailer here", "write version = 3, or remove `hmac`");
    }
    let id = findings.optional_number(&raw.key_id, "key-id", 1..=255);
    let secret = raw.secret.as_ref()?;
    let bytes = match syntax::hmac_secret(&secret.value.0) {
        Ok(bytes) => bytes,
        Err(invalid) => {
            findings.push(Diagnostic::error(secret.at, invalid.0).secret().help("make one: openssl rand -hex 32"));
            return None;
        }
    };
    if !(16..=64).contains(&bytes.len()) {
        let cause = format!("the secret of `hmac` has {} bytes, not 16 to 64", bytes.len());
        findings.push(Diagnostic::error(secret.at, cause).secret().help("make one: openssl rand -hex 32"));
    }
    Some(HmacKey { id: id?, secret: bytes })
}

/// Peers and source have addresses of their own, and keys for unicast stand beside peers.
pub(super) fn unicast(raw: &raw::VirtualRouter, family: Family, findings: &mut Findings<'_>) {
    let mut wrong = |address: IpAddr, at: Location, what: &str| {
        if Family::of(address) != family && !raw.addresses.is_empty() {
            let cause = format!("this {what} is {}, but the router's addresses are {family}", Family::of(address));
            findings.error(at, cause, format!("write an {family} address"));
        } else if let Some(kind) = not_a_host(address) {
            findings.error(at, format!("{address} is {kind}"), format!("write the address of the {what}"));
        }
    };
    raw.peers.iter().map(|peer| &peer.address).for_each(|peer| wrong(peer.value, peer.at, "peer"));
    if let Some(source) = &raw.source {
        wrong(source.value, source.at, "source");
    }
    let mut unique = Unique::new();
    for peer in raw.peers.iter().map(|peer| &peer.address) {
        if let Some(first) = unique.insert(peer.value, peer.at) {
            let warning = Diagnostic::warning(peer.at, format!("the peer {} is given twice", peer.value));
            findings.push(warning.related(first, "the first is here").help("remove one of the two"));
        }
        if let Some(source) = raw.source.filter(|source| source.value == peer.value) {
            let error = Diagnostic::error(peer.at, "a router cannot be its own peer");
            findings.push(error.related(source.at, "its own address").help("write the other node's address"));
        }
    }
    if raw.peers.is_empty() {
        let unicast_only = [
            raw.only_peers.filter(|only| only.value).map(|only| (only.at, "only-peers")),
            raw.unicast_ttl.map(|ttl| (ttl.at, "unicast-ttl")),
        ];
        for (at, key) in unicast_only.into_iter().flatten() {
            findings.warning(
                at,
                format!("`{key}` has no effect: this router has no peers"),
                "remove it, or add peers = [..]",
            );
        }
    }
}

pub(super) fn peer(raw: &raw::Peer, findings: &mut Findings<'_>) -> Peer {
    let min_ttl = findings.number(&raw.min_ttl, "min-ttl", 0..=255, 0);
    let max_ttl = findings.number(&raw.max_ttl, "max-ttl", 0..=255, u8::MAX);
    if let Some(limit) = raw.max_ttl.or(raw.min_ttl).filter(|_| min_ttl > max_ttl) {
        findings.error(limit.at, format!("no TTL is at least {min_ttl} and at most {max_ttl}"), "exchange the two");
    }
    Peer { address: raw.address.value, min_ttl, max_ttl }
}

/// An address that a host can have.
pub(super) fn host(address: &Located<IpAddr>, findings: &mut Findings<'_>) -> Option<IpAddr> {
    match not_a_host(address.value) {
        None => Some(address.value),
        Some(kind) => {
            findings.error(address.at, format!("{} is {kind}", address.value), "write the address of a host");
            None
        }
    }
}

pub(super) fn group(raw: &raw::VirtualRouter, family: Family, findings: &mut Findings<'_>) -> Option<IpAddr> {
    let group = raw.group.as_ref()?;
    let (cause, help) = if !group.value.is_multicast() {
        (format!("{} is not a multicast address", group.value), "leave it out for 224.0.0.18 and ff02::12")
    } else if Family::of(group.value) != family {
        (format!("this group is {}, but the router is {family}", Family::of(group.value)), "write one of its family")
    } else if matches!(group.value, IpAddr::V6(v6) if v6.segments()[0] & 0xf != 2) {
        (format!("{} is not of link-local scope", group.value), "write an address of ff02::/16")
    } else {
        if let Some(peer) = raw.peers.first() {
            let warning = Diagnostic::warning(group.at, "`group` has no effect: this router has peers");
            findings
                .push(warning.related(peer.address.at, "so it advertises by unicast").help("remove one of the two"));
        }
        return Some(group.value);
    };
    findings.error(group.at, cause, help);
    None
}

/// The interfaces beside its own.
pub(super) fn paths(raw: &raw::VirtualRouter, own: &InterfaceName, findings: &mut Findings<'_>) -> Vec<InterfaceName> {
    let mut seen = Unique::new();
    let mut paths = Vec::new();
    for path in &raw.paths {
        let first = if path.value == *own { raw.interface.as_ref().map(|own| own.at) } else { None };
        match first.or_else(|| seen.insert(&path.value, path.at)) {
            Some(first) => {
                let warning = Diagnostic::warning(path.at, format!("{} is one of its paths already", path.value));
                findings.push(warning.related(first, "the first is here").help("remove one of the two"));
            }
            None => paths.push(path.value.clone()),
        }
    }
    paths
}

/// Names of interfaces that are there already, and of those that routers make.
pub(super) struct Vmacs {
    existing: HashSet<InterfaceName>,
    made: Unique<InterfaceName>,
}

impl Vmacs {
    pub(super) fn new(raw: &[raw::VirtualRouter]) -> Self {
        let own = raw.iter().filter_map(|router| router.interface.as_ref());
        let existing = own.chain(raw.iter().flat_map(|router| &router.paths)).map(|name| name.value.clone()).collect();
        Self { existing, made: Unique::new() }
    }

    fn add(&mut self, name: &InterfaceName, at: Location, findings: &mut Findings<'_>) {
        let help = "give it a name of its own: vmac = \"vrrp-front\"";
        if self.existing.contains(name) {
            findings.error(at, format!("{name} is an interface that routers use already"), help);
        }
        if let Some(first) = self.made.insert(name.clone(), at) {
            let error = Diagnostic::error(at, format!("two routers would make the interface {name}"));
            findings.push(error.related(first, "the first is here").help(help));
        }
    }
}

pub(super) fn vmac(
    raw: &raw::VirtualRouter,
    family: Family,
    vrid: Vrid,
    vmacs: &mut Vmacs,
    findings: &mut Findings<'_>,
) -> Option<Vmac> {
    let vmac = raw.vmac.as_ref()?;
    let from_base = vmac.from_base.is_some_and(|from_base| from_base.value);
    if let Some(peer) = raw.peers.first().filter(|_| !from_base) {
        let error = Diagnostic::error(vmac.at, "unicast adverts leave from the router's own interface");
        let error = error.related(peer.address.at, "this router has peers");
        findings.push(error.help("write vmac = { from-base = true }"));
    }
    let name = match &vmac.name {
        Some(name) => name.value.clone(),
        None => default_vmac_name("vrrp", family, vrid.get())?,
    };
    vmacs.add(&name, vmac.at, findings);
    Some(Vmac { name, from_base })
}

/// As keepalived names them.
fn default_vmac_name(prefix: &str, family: Family, vrid: u8) -> Option<InterfaceName> {
    let version = if family == Family::V6 { "6" } else { "" };
    format!("{prefix}{version}.{vrid}").parse().ok()
}
