//! Nodes that share stick tables, and the tables that they share.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::command::absolute;
use super::duplicate;
use super::findings::{Findings, Unique};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, HostPort, Located, Maybe};
use crate::config::source::Location;
use crate::model::{
    Affinity, Algorithm, HashType, ListenAddress, Member, PeerGroup, PeerKeys, Pool, Service, TableSpec,
};

/// All groups that can be made out.
pub(super) fn groups(raw: &raw::Config, findings: &mut Findings<'_>) -> Vec<PeerGroup> {
    let mut names = Unique::new();
    let mut groups = Vec::new();
    for raw in &raw.peer_groups {
        let Some(name) = findings.required(&raw.name, "name", raw.at) else { continue };
        findings.name(name, "name");
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "peer-group", name, first);
        }
        groups.push(PeerGroup {
            name: name.value.clone(),
            local: raw.local.as_ref().map(|local| local.value.clone()),
            listen: raw.listen.as_ref().and_then(|listen| address(listen, findings)),
            members: members(raw, findings),
            keys: keys(raw, findings),
        });
    }
    for table in raw.pools.iter().filter_map(table) {
        let Some(wanted) = &table.peers else { continue };
        let known = |group: &raw::PeerGroup| group.name.as_ref().is_some_and(|name| name.value == wanted.value);
        if !raw.peer_groups.iter().any(known) {
            let message = format!("there is no group of peers `{}`", wanted.value);
            findings.missing(wanted.at, message, "add a [[peer-group]] of this name, or remove this key");
        }
    }
    groups
}

fn table(pool: &raw::Pool) -> Option<&raw::Table> {
    match &pool.affinity.as_ref()?.value {
        raw::Affinity::Table(table) => Some(table),
        raw::Affinity::None | raw::Affinity::Source | raw::Affinity::Tls(_) => None,
    }
}

/// Pools that use one table have to agree on what it is.
pub(super) fn tables(raw: &raw::Config, pools: &[Pool], findings: &mut Findings<'_>) {
    let mut known: HashMap<&str, (&TableSpec, Location)> = HashMap::new();
    for pool in pools {
        let Some(spec) = pool.affinity.table() else { continue };
        let written = raw.pools.iter().find(|raw| raw.name.as_ref().is_some_and(|name| name.value == pool.name));
        let Some(at) = written.map(|raw| raw.affinity.as_ref().map_or(raw.at, |affinity| affinity.at)) else {
            continue;
        };
        let name = spec.table_name(&pool.name);
        let (first, first_at) = *known.entry(name).or_insert((spec, at));
        let alike = TableSpec { name: None, ..first.clone() } == TableSpec { name: None, ..spec.clone() };
        if !alike {
            findings.push(
                Diagnostic::error(at, format!("the table `{name}` is not the same here"))
                    .related(first_at, "this pool uses it too")
                    .help("pools that share a table give it the same size, expire, nopurge, type and peers"),
            );
        }
    }
}

fn members(raw: &raw::PeerGroup, findings: &mut Findings<'_>) -> Vec<Member> {
    let mut names = Unique::new();
    let mut members = Vec::new();
    for member in &raw.members {
        let Some(name) = findings.required(&member.name, "name", member.at) else { continue };
        if name.value.is_empty() || name.value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            findings.error(name.at, format!("`{}` is no name of a node", name.value), "name it like its host");
        }
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "member", name, first);
        }
        if let Some(address) = address(&member.address, findings) {
            members.push(Member { name: name.value.clone(), address });
        }
    }
    members
}

fn address(raw: &Located<HostPort>, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    let host = Located::new(raw.value.host.clone(), raw.at);
    findings.address(&host).map(|address| SocketAddr::new(address, raw.value.port))
}

fn keys(raw: &raw::PeerGroup, findings: &mut Findings<'_>) -> Option<PeerKeys> {
    let (certificate, key, authority) = match (&raw.certificate, &raw.key, &raw.authority) {
        (Some(certificate), Some(key), Some(authority)) => (certificate, key, authority),
        (None, None, None) => return None,
        (certificate, key, authority) => {
            let at = [certificate, key, authority].into_iter().flatten().next().map_or(raw.at, |file| file.at);
            findings.missing(at, "certificate, key and authority go together", "give all three of them");
            return None;
        }
    };
    let certificates = pem(certificate, findings);
    let authorities = pem(authority, findings);
    absolute(key, findings);
    let key = match PrivateKeyDer::from_pem_file(&key.value) {
        Ok(private) => Some(private.secret_der().to_vec()),
        Err(error) => {
            let message = format!("`{}` cannot be used: {error}", key.value.display());
            findings.error(key.at, message, "name a file with a private key in PEM form");
            None
        }
    };
    Some(PeerKeys { certificates: certificates?, key: Arc::new(key?), authorities: authorities? })
}

fn pem(file: &Located<PathBuf>, findings: &mut Findings<'_>) -> Option<Arc<Vec<Vec<u8>>>> {
    absolute(file, findings);
    let certificates = CertificateDer::pem_file_iter(&file.value)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| error.to_string())
        .and_then(|found| if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) });
    match certificates {
        Ok(found) => Some(Arc::new(found.into_iter().map(|der| der.to_vec()).collect())),
        Err(cause) => {
            let message = format!("`{}` cannot be used: {cause}", file.value.display());
            findings.error(file.at, message, "name a file of certificates in PEM form");
            None
        }
    }
}

/// A text that may be absent.
pub(super) fn text(raw: &Maybe<String>) -> Option<String> {
    raw.as_ref().map(|text| text.value.clone())
}

/// Where several nodes serve an address in turn and do not share the table, they choose alike for clients that the table does
/// not know: who is next in turn differs from node to node, a hash of the key does not.
pub(super) fn choose_alike(services: &[Service], owned: &HashSet<IpAddr>, pools: &mut [Pool]) {
    let moves = |listen: &ListenAddress| owned.contains(&listen.address) || listen.address.is_unspecified();
    let fronts = |service: &&Service| !owned.is_empty() && service.listen.iter().any(moves);
    let names: HashSet<&str> = services.iter().filter(fronts).flat_map(Service::pools).collect();
    for pool in pools.iter_mut().filter(|pool| names.contains(pool.name.as_str())) {
        let alone = matches!(&pool.affinity, Affinity::Table(spec) if spec.peers.is_none());
        let grows = pool.servers.iter().any(|server| server.slow_start.is_some());
        if alone && pool.algorithm == Algorithm::RoundRobin && !grows {
            // Of no other use to an algorithm that takes turns.
            (pool.alike, pool.hash_type) = (true, HashType::Consistent);
        }
    }
}
