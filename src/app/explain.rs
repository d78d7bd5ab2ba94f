//! `vipgate explain service`: the data plane's answer in words.

use crate::balance::{Explanation, Refusal, Standing, Why};
use crate::control::Reply;
use crate::control::explain::{Explained, ExplainedServer};
use crate::model::{Algorithm, Config, ServerPort};
use crate::proxy::{Proxy, ServerView};

/// Answers for the client `from`, an address with or without a port.
pub(super) fn answer(proxy: &Proxy, config: &Config, service: &str, from: &str, sni: Option<&str>) -> Reply {
    let client = from.parse().or_else(|_| from.parse().map(|ip| std::net::SocketAddr::new(ip, 0)));
    let Ok(client) = client else {
        return Reply::failed(
            format!("`{from}` is no client's address"),
            "write an address, or one with a port: 192.0.2.7, 192.0.2.7:50000, [2001:db8::7]:50000",
        );
    };
    let Some(found) = proxy.explain(service, client, sni) else {
        let known: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
        return Reply::failed(
            format!("there is no service `{service}`"),
            format!("the services are: {}", known.join(", ")),
        );
    };
    let mut explained = Explained {
        service: service.to_owned(),
        client: from.to_owned(),
        steps: found.steps,
        pool: found.pool,
        server: None,
        address: None,
        because: String::new(),
        servers: Vec::new(),
    };
    match (found.choice, &explained.pool) {
        (Some(choice), Some(pool)) => {
            explained.because = because(&choice);
            explained.server = choice.decision.as_ref().ok().map(|(server, _)| server.clone());
            let views = proxy.servers(pool).unwrap_or_default();
            let chosen = views.iter().find(|view| Some(&view.state.name) == explained.server.as_ref());
            explained.address = chosen.map(address);
            let server = |(name, standing): (String, Standing)| ExplainedServer {
                chosen: explained.server.as_ref() == Some(&name),
                name,
                standing: standing_in_words(standing).to_owned(),
            };
            explained.servers = choice.servers.into_iter().map(server).collect();
        }
        (_, _) => "rules turn it away".clone_into(&mut explained.because),
    }
    Reply::Explained { explained: Box::new(explained) }
}

fn address(view: &ServerView) -> String {
    let address = match view.address.is_unspecified() {
        true => "the address it connected to".to_owned(),
        false => view.address.to_string(),
    };
    match view.port {
        ServerPort::Fixed(port) if view.address.is_unspecified() => format!("{address}, on port {port}"),
        ServerPort::Fixed(port) => std::net::SocketAddr::new(view.address, port).to_string(),
        ServerPort::Same => format!("{address}, on the port it connected to"),
        ServerPort::Offset(offset) => format!("{address}, on the port it connected to {offset:+}"),
    }
}

fn because(choice: &Explanation) -> String {
    match &choice.decision {
        Ok((server, why)) => match why {
            Why::Rule => "a rule of its pool says so (use-server)".to_owned(),
            Why::Remembered { .. } if choice.remembered.as_ref() == Some(server) => {
                "the stick table remembers it for this client".to_owned()
            }
            Why::Remembered { .. } if choice.remembered.is_some() => {
                "the client had it first, and returns (failback = \"drain\")".to_owned()
            }
            Why::Remembered { .. } => "connections of this client are open there".to_owned(),
            Why::Ticket => "it knows the key of the client's TLS ticket".to_owned(),
            Why::Session => "it made the client's TLS session".to_owned(),
            Why::Unnamed => "the client's TLS session is of no server whose key is known".to_owned(),
            Why::Trial => "to see whether it knows the key of the client's TLS ticket, too".to_owned(),
            Why::Hash => "the hash says so".to_owned(),
            Why::Turn(algorithm) => turn(*algorithm).to_owned(),
            Why::Elsewhere => {
                let own = choice.remembered.as_deref().unwrap_or("its own");
                format!("for this once: {own} is full, and as many wait for it as may")
            }
        },
        Err(Refusal::NoneUp) => "no server is up for new clients".to_owned(),
        Err(Refusal::Excluded) => "every server has failed".to_owned(),
        Err(Refusal::Full { .. }) => match &choice.waits_for {
            Some(server) => format!("it waits for room at {server}, which it belongs to"),
            None => "it waits for a server with room".to_owned(),
        },
    }
}

fn turn(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin | Algorithm::StaticRoundRobin => "it is next in turn",
        Algorithm::LeastConnections => "it has the fewest connections for its weight",
        Algorithm::First => "it is the first with room",
        Algorithm::Random(_) => "it was drawn, and has the fewest connections of those drawn",
        Algorithm::Source | Algorithm::Sni | Algorithm::RdpUser => "nothing to hash: it is next in turn",
    }
}

fn standing_in_words(standing: Standing) -> &'static str {
    match standing {
        Standing::Usable => "may be chosen",
        Standing::Down => "is down",
        Standing::Maintenance => "is in maintenance",
        Standing::Draining => "drains: only clients that it has",
        Standing::Stopping => "its checks ask for no new clients: only those that it has",
        Standing::Weightless => "has weight 0: only clients that it has",
        Standing::Backup => "is a backup that is not needed",
        Standing::FailedOver => "waits: the backups serve on (failback = \"never\")",
        Standing::Excluded => "failed this connection",
        Standing::Full => "is full, or others wait for it",
        Standing::Overloaded => "has more than its share (hash-balance-factor)",
    }
}
