//! One question to the name servers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ServerOrderingStrategy,
};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::Place;
use super::book::{Answer, Failure, Question};
use super::counting::Counting;
use super::tally::Tally;
use crate::model::{Family, NameKind, Resolver, Wanted};

/// Targets of an SRV record whose addresses are asked for; more would be an attack.
const TARGETS: usize = 256;

/// A resolver whose sockets are counted.
type Asking = hickory_resolver::Resolver<Counting>;

/// Asks until there is an answer or the retries are spent. With it comes who gave the last valid one.
pub(super) async fn ask(question: &Question, tally: &Tally) -> (Answer, Option<SocketAddr>) {
    let Resolver { timeout, retries, .. } = question.resolver;
    // Two families, over UDP and TCP, of each name server: more than the resolver takes by itself.
    let limit = timeout.saturating_mul(retries.saturating_mul(4)).saturating_add(Duration::from_secs(1));
    let sockets = Counting::new(tally.clone(), &question.resolver.name, timeout);
    let asked = async {
        let resolver = resolver(question, sockets.clone())?;
        match question.kind {
            NameKind::Host => host(&resolver, &question.name).await,
            NameKind::Service => service(&resolver, &question.name).await,
        }
    };
    let answer = match tokio::time::timeout(limit, asked).await {
        Ok(Ok((places, until))) => Answer::Places(places, until.saturating_duration_since(now())),
        Ok(Err(error)) => failed(&error),
        Err(_) => Answer::Failed(Failure::Timeout, "no name server answers".into()),
    };
    (answer, sockets.answered_by())
}

async fn host(resolver: &Asking, name: &str) -> Result<(Vec<Place>, Instant), NetError> {
    let found = resolver.lookup_ip(name).await?;
    Ok((found.iter().map(|address| Place { address, port: None, weight: None }).collect(), found.valid_until()))
}

/// The targets of an SRV record, those of the best priority first, each at its first address. Weights become HAProxy's; where
/// all are 0, which means that nothing is to be preferred, they are equal.
async fn service(resolver: &Asking, name: &str) -> Result<(Vec<Place>, Instant), NetError> {
    let found = resolver.lookup(name, RecordType::SRV).await?;
    let mut until = found.valid_until();
    let records = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(target) => Some(target),
        _ => None,
    });
    let mut targets: Vec<_> = records.take(TARGETS).collect();
    targets.sort_by_key(|target| (target.priority, u16::MAX - target.weight));
    let weighs = targets.iter().any(|target| target.weight > 0);
    let mut places = Vec::new();
    let mut last = None;
    for target in targets {
        match resolver.lookup_ip(target.target.clone()).await {
            Ok(addresses) => {
                until = until.min(addresses.valid_until());
                let weight = Some(if weighs { target.weight.div_ceil(256) } else { 1 });
                let place = |address| Place { address, port: Some(target.port), weight };
                places.extend(addresses.iter().next().map(place));
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        // A target that is not known just now does not take the others away.
        Some(error) if places.is_empty() => Err(error),
        Some(_) | None => Ok((places, until)),
    }
}

/// Made for each question: what the system is set up with may have changed.
fn resolver(question: &Question, sockets: Counting) -> Result<Asking, NetError> {
    let Resolver { servers, system, retries, timeout, payload_size, .. } = &question.resolver;
    let (mut config, mut options) = (ResolverConfig::default(), hickory_resolver::config::ResolverOpts::default());
    options.use_hosts_file = ResolveHosts::Never;
    if *system {
        let (found, system_options) = read_system_conf()?;
        if servers.is_empty() {
            (config, options) = (found, system_options);
            options.use_hosts_file = ResolveHosts::Always;
        } else {
            for server in found.name_servers() {
                config.add_name_server(server.clone());
            }
        }
    }
    for server in servers {
        config.add_name_server(name_server(server.address));
    }
    options.timeout = *timeout;
    options.attempts = usize::try_from(retries.saturating_sub(1)).unwrap_or(usize::MAX);
    options.edns_payload_len = *payload_size;
    options.edns0 = *payload_size > 512;
    options.cache_size = 0;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.ip_strategy = match question.wanted {
        Wanted::First(Family::V4) => LookupIpStrategy::Ipv4thenIpv6,
        Wanted::First(Family::V6) => LookupIpStrategy::Ipv6thenIpv4,
        Wanted::Only(Family::V4) => LookupIpStrategy::Ipv4Only,
        Wanted::Only(Family::V6) => LookupIpStrategy::Ipv6Only,
    };
    Asking::builder_with_config(config, sockets).with_options(options).build()
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.to_vec())
}

fn failed(error: &NetError) -> Answer {
    let (failure, text) = match error {
        _ if error.is_nx_domain() => (Failure::NoSuchName, "there is no such name".to_owned()),
        NetError::Timeout => (Failure::Timeout, "no name server answers".to_owned()),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            (Failure::Refused, "the name server refuses to answer".to_owned())
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::Refused => {
            (Failure::Refused, "the name server refuses to answer".to_owned())
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError => {
            (Failure::Other, "the name has no address".to_owned())
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            (Failure::Other, format!("the name server answers {}", none.response_code))
        }
        other => (Failure::Other, other.to_string()),
    };
    Answer::Failed(failure, text)
}

#[expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]
fn now() -> Instant {
    Instant::now()
}
