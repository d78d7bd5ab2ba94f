//! Sessions that are silent for long by nature, and timeouts that cut them.

use std::time::Duration;

use super::by_name;
use super::findings::Findings;
use crate::config::raw;
use crate::model::{Pool, ServerPort, Service};

/// FTP and SSH: people and batch jobs that pause between two files.
const PORTS: [u16; 2] = [21, 22];
const NAMES: [&str; 2] = ["ftp", "ssh"];
/// Shorter than many pauses.
const SHORT: Duration = Duration::from_secs(300);

/// Warns of file transfer services whose idle sessions are cut soon.
pub(super) fn cut_sessions(config: &raw::Config, services: &[Service], pools: &[Pool], findings: &mut Findings<'_>) {
    let pools = by_name(pools, |pool| &pool.name);
    let services = by_name(services, |service| &service.name);
    for raw in &config.services {
        let Some(name) = &raw.name else { continue };
        let Some(service) = services.get(name.value.as_str()) else { continue };
        let Some(pool) = pools.get(service.pool.as_str()).filter(|pool| transfers(service, pool)) else { continue };
        let both = [service.client_timeout, pool.server_timeout].into_iter().flatten().min();
        if let Some(cut) = pool.tunnel_timeout.or(both).filter(|cut| *cut < SHORT) {
            findings.warning(
                name.at,
                format!("idle sessions of `{}` are cut after {}", name.value, humantime::format_duration(cut)),
                "a `tunnel-timeout` (`timeout tunnel`) of an hour lets them pause",
            );
        }
    }
}

fn transfers(service: &Service, pool: &Pool) -> bool {
    let of_clients = service.listen.iter().any(|listen| PORTS.iter().any(|port| listen.ports.contains(*port)));
    let of_servers =
        pool.servers.iter().any(|server| matches!(server.port, ServerPort::Fixed(port) if PORTS.contains(&port)));
    let name = service.name.to_lowercase();
    of_clients || of_servers || NAMES.iter().any(|part| name.contains(part))
}
