//! What an operator sets of services while they run: whether they listen, and how many connections they may have. It is held
//! against the configuration, so that a reload keeps it, unless the service is configured otherwise by then.

use std::collections::BTreeMap;

use super::node::Node;
use super::reload::bind_errors;
use crate::control::Reply;
use crate::control::operate::ServiceChange;
use crate::model::Service;
use crate::stats::{Registry, ServiceState, ServiceStatus};

/// What was set, by service.
#[derive(Debug, Clone, Default)]
pub(super) struct Fronts(BTreeMap<String, Setting>);

#[derive(Debug, Clone)]
struct Setting {
    status: ServiceStatus,
    /// What the configuration said of the service.
    configured: Service,
}

impl Fronts {
    /// The services as they are to run. One that does not listen keeps its open connections.
    pub(super) fn in_force(&self, services: &[Service]) -> Vec<Service> {
        let in_force = |service: &Service| {
            let mut service = service.clone();
            if let Some(Setting { status, .. }) = self.0.get(&service.name).filter(|set| set.configured == service) {
                if status.state != ServiceState::Open {
                    service.listen.clear();
                }
                if let Some(limit) = status.limit {
                    service.max_connections = Some(limit).filter(|limit| *limit > 0);
                }
            }
            service
        };
        services.iter().map(in_force).collect()
    }

    /// Forgets what was set of services that are configured otherwise now, or gone.
    pub(super) fn retain(&mut self, services: &[Service], registry: &Registry) {
        self.0.retain(|name, set| {
            let stays = services.contains(&set.configured);
            if !stays {
                registry.service(name).set_status(ServiceStatus::default());
            }
            stays
        });
    }

    pub(super) fn is_closed(&self, service: &str) -> bool {
        self.0.get(service).is_some_and(|set| set.status.state != ServiceState::Open)
    }
}

impl Node {
    /// As a reload that changes this one service; where it cannot listen again nothing has changed.
    pub(super) fn change_service(&mut self, name: &str, change: ServiceChange) -> Reply {
        let config = self.shared.config();
        let Some(configured) = config.services.iter().find(|service| service.name == name) else {
            return Reply::failed(format!("no service is called {name}"), "`vipgate status` lists them");
        };
        let before = self.shared.registry.service(name).status();
        let (status, text) = match change {
            ServiceChange::State { .. } if before.state == ServiceState::Stopped => {
                return Reply::failed(format!("{name} was shut down"), "restart, or configure it otherwise and reload");
            }
            ServiceChange::State { state } => (ServiceStatus { state, ..before }, in_words(state).to_owned()),
            ServiceChange::MaxConnections { value } => {
                let text =
                    value.map_or_else(|| "any number of connections".into(), |most| format!("{most} connections"));
                (ServiceStatus { limit: Some(value.unwrap_or(0)), ..before }, text)
            }
        };
        let mut fronts = self.fronts.clone();
        fronts.0.insert(name.to_owned(), Setting { status, configured: configured.clone() });
        let prepared = match self.proxy.prepare(&fronts.in_force(&config.services), &config.pools) {
            Ok(prepared) => prepared,
            Err(errors) => return Reply::Failed { text: bind_errors(&errors), remedy: None },
        };
        self.proxy.commit(prepared);
        self.fronts = fronts;
        self.shared.registry.service(name).set_status(status);
        self.refresh_serving();
        // In HAProxy's words, which its users' tools know.
        match change {
            ServiceChange::State { state: ServiceState::Open } => tracing::warn!("Resumed frontend {name}."),
            ServiceChange::State { state: ServiceState::Paused } => tracing::warn!("Paused frontend {name}."),
            ServiceChange::State { state: ServiceState::Stopped } => {
                let served = self.shared.registry.service(name).accepted.load(std::sync::atomic::Ordering::Relaxed);
                tracing::warn!("Proxy {name} stopped (cumulated conns: FE: {served}, BE: 0).");
            }
            ServiceChange::MaxConnections { .. } => tracing::info!("{name}: {text}, by an operator"),
        }
        Reply::done(format!("{name}: {text}"))
    }
}

fn in_words(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Open => "listens",
        ServiceState::Paused => "does not listen for now",
        ServiceState::Stopped => "does not listen any more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ListenAddress, PortRange};

    #[test]
    fn what_was_set_holds_until_the_service_is_configured_otherwise() {
        let ports = PortRange::new(80, 80).unwrap();
        let listen = vec![ListenAddress::new([127, 0, 0, 1].into(), ports)];
        let (web, other) = (Service { listen, ..Service::new("web", "be") }, Service::new("other", "be"));
        let status = ServiceStatus { state: ServiceState::Paused, limit: Some(7) };
        let mut fronts = Fronts(BTreeMap::from([("web".to_owned(), Setting { status, configured: web.clone() })]));
        let running = fronts.in_force(&[web.clone(), other.clone()]);
        assert_eq!((running[0].listen.len(), running[0].max_connections), (0, Some(7)));
        assert_eq!(running[1], other);
        assert!(fronts.is_closed("web") && !fronts.is_closed("other"));
        let registry = Registry::default();
        registry.service("web").set_status(status);
        fronts.retain(std::slice::from_ref(&web), &registry);
        assert_eq!(registry.service("web").status(), status);
        let changed = Service { backlog: 9, ..web };
        let changed = [changed];
        assert_eq!(fronts.in_force(&changed), changed);
        fronts.retain(&changed, &registry);
        assert!(!fronts.is_closed("web") && registry.service("web").status() == ServiceStatus::default());
    }
}
