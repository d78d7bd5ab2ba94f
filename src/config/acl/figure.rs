//! What can be asked about services, pools and servers, by HAProxy's names.

use super::Scope;
use crate::model::ServerRef;
use crate::model::figure::{Figure, PoolFigure, ServerFigure, ServiceFigure};

const OF_SERVICES: &[(&str, ServiceFigure)] =
    &[("fe_conn", ServiceFigure::Connections), ("fe_sess_rate", ServiceFigure::SessionRate)];

const OF_POOLS: &[(&str, PoolFigure)] = &[
    ("be_conn", PoolFigure::Connections),
    ("nbsrv", PoolFigure::UsableServers),
    ("be_conn_free", PoolFigure::FreePlaces),
    ("connslots", PoolFigure::FreeSlots),
    ("queue", PoolFigure::Waiting),
    ("avg_queue", PoolFigure::AverageWaiting),
    ("be_sess_rate", PoolFigure::SessionRate),
];

const OF_SERVERS: &[(&str, ServerFigure)] = &[
    ("srv_conn", ServerFigure::Connections),
    ("srv_conn_free", ServerFigure::FreePlaces),
    ("srv_queue", ServerFigure::Waiting),
];

/// The figure of this name, if there is one.
pub(super) fn read(name: &str, arguments: &[&str], scope: &Scope<'_>) -> Result<Option<Figure>, String> {
    let figure = if let Some(figure) = find(OF_SERVICES, name) {
        if arguments.first().is_some_and(|named| scope.own != Some(*named)) {
            return Err(format!("`{name}({})` asks another service, which is not there yet", arguments.join(",")));
        }
        if scope.of_requests && figure == ServiceFigure::SessionRate {
            return Err(format!("`{name}` counts the connections of services: nobody counts those of a page"));
        }
        Figure::Service(figure)
    } else if let Some(figure) = find(OF_POOLS, name) {
        let pool = arguments.first().copied().or(scope.own);
        Figure::Pool(figure, pool.ok_or_else(|| format!("`{name}` wants the name of a backend"))?.to_owned())
    } else if let Some(figure) = find(OF_SERVERS, name) {
        Figure::Server(figure, server(name, arguments, scope)?)
    } else {
        return Ok(None);
    };
    if arguments.len() > 1 {
        return Err(format!("`{name}({})` has more arguments than `{name}` takes", arguments.join(",")));
    }
    Ok(Some(figure))
}

/// `backend/server`, or a server of the own one.
pub(super) fn server(name: &str, arguments: &[&str], scope: &Scope<'_>) -> Result<ServerRef, String> {
    let Some(named) = arguments.first() else {
        return Err(format!("`{name}` wants a server, as in `{name}(files/s1)`"));
    };
    let (pool, server) = match (named.split_once('/'), scope.own) {
        (Some(both), _) => both,
        (None, Some(own)) => (own, *named),
        (None, None) => return Err(format!("`{name}` wants a backend too, as in `{name}(files/s1)`")),
    };
    Ok(ServerRef { pool: pool.to_owned(), server: server.to_owned() })
}

/// As it is read.
pub(super) fn show(figure: &Figure) -> String {
    match figure {
        Figure::Service(figure) => name_of(OF_SERVICES, figure).to_owned(),
        Figure::Pool(figure, pool) => format!("{}({pool})", name_of(OF_POOLS, figure)),
        Figure::Server(figure, of) => format!("{}({}/{})", name_of(OF_SERVERS, figure), of.pool, of.server),
    }
}

/// What has this name.
pub(super) fn find<T: Clone>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, meant)| meant.clone())
}

/// The name that it has.
pub(super) fn name_of<T: PartialEq>(names: &[(&'static str, T)], meant: &T) -> &'static str {
    names.iter().find(|(_, known)| known == meant).map_or("", |(name, _)| name)
}
