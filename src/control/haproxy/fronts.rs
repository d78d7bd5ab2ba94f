//! `enable`, `disable` and `shutdown frontend`, `set maxconn frontend`.

use std::sync::Arc;

use super::{Shared, change, show};
use crate::control::Request;
use crate::control::operate::ServiceChange;
use crate::stats::ServiceState;

const NAME_WANTED: &str = "A frontend name is expected.\n";
const UNKNOWN: &str = "No such frontend.\n";

/// Whether the frontend listens now; otherwise what to say.
async fn state(name: Option<&str>, shared: &Arc<Shared>) -> Result<(String, ServiceState), &'static str> {
    let name = name.ok_or(NAME_WANTED)?.to_owned();
    let wanted = name.clone();
    let found = show::see(shared, move |_, snapshot| {
        snapshot.services.iter().find(|service| service.name == wanted).map(|service| service.state)
    });
    found.await.map(|state| (name, state)).ok_or(UNKNOWN)
}

pub(super) async fn switch(arguments: &[&str], wanted: ServiceState, shared: &Arc<Shared>) -> String {
    let (service, state) = match state(arguments.first().copied(), shared).await {
        Ok(found) => found,
        Err(text) => return text.to_owned(),
    };
    let refusal = match (state, wanted) {
        (ServiceState::Stopped, ServiceState::Open) => "Frontend was previously shut down, cannot enable.\n",
        (ServiceState::Stopped, ServiceState::Paused) => "Frontend was previously shut down, cannot disable.\n",
        (ServiceState::Stopped, ServiceState::Stopped) => "Frontend was already shut down.\n",
        (ServiceState::Open, ServiceState::Open) => "All sockets are already enabled.\n",
        (ServiceState::Paused, ServiceState::Paused) => "All sockets are already disabled.\n",
        (ServiceState::Open | ServiceState::Paused, _) => {
            let change = ServiceChange::State { state: wanted };
            return change::request(shared, Request::Service { service, change }).await;
        }
    };
    refusal.to_owned()
}

/// `set maxconn frontend <frontend> <value>`; 0: no limit of its own.
pub(super) async fn limit(arguments: &[&str], shared: &Arc<Shared>) -> String {
    let service = match state(arguments.first().copied(), shared).await {
        Ok((service, _)) => service,
        Err(text) => return text.to_owned(),
    };
    match arguments.get(1).and_then(|text| text.parse::<i64>().ok()) {
        None => "Integer value expected.\n".to_owned(),
        Some(value) => match u32::try_from(value) {
            Ok(value) => {
                let change = ServiceChange::MaxConnections { value: Some(value).filter(|value| *value > 0) };
                change::request(shared, Request::Service { service, change }).await
            }
            Err(_) => "Value out of range.\n".to_owned(),
        },
    }
}
