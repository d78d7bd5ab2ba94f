//! Routes and rules on this node: what each router wants while it is master and what the configuration wants for the
//! life of the process, against what the kernel has.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::RouterId;
use super::addresses::{Keeper, Order, Work};
use super::clock::Clock;
use super::driver::Driver;
use super::interfaces::Interfaces;
use super::kernel::{Kernel, Refused};
use super::routes::Placed;
use super::wire::Wire;
use crate::model::{Route, Rule};

/// Routes and rules that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Routing {
    /// Set first.
    pub(super) routes: Vec<Route>,
    /// Set when the routes are there.
    pub(super) rules: Vec<Rule>,
}

impl Routing {
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }

    fn minus(&self, other: &Self) -> Self {
        Self {
            routes: self.routes.iter().filter(|route| !other.routes.contains(route)).cloned().collect(),
            rules: self.rules.iter().filter(|rule| !other.rules.contains(rule)).cloned().collect(),
        }
    }

    fn extend(&mut self, other: &Self) {
        let Self { routes, rules } = other.minus(self);
        self.routes.extend(routes);
        self.rules.extend(rules);
    }
}

/// A route or rule, in words, and what became of it.
type Outcome = (String, Result<(), Refused>);

/// Who wants a routing: a router, or nobody in particular: the configuration.
pub(super) type Owner = Option<RouterId>;

/// Everything wanted, by owner.
#[derive(Debug, Default)]
pub(super) struct Routings(BTreeMap<Owner, Routing>);

impl Routings {
    /// From now on `owner` wants this and nothing else. Returns what nobody wants any more.
    fn want(&mut self, owner: Owner, routing: Routing) -> Routing {
        let before = if routing.is_empty() { self.0.remove(&owner) } else { self.0.insert(owner, routing) };
        before.unwrap_or_default().minus(&self.all())
    }

    /// What is wanted, each once.
    fn all(&self) -> Routing {
        let mut all = Routing::default();
        for routing in self.0.values() {
            all.extend(routing);
        }
        all
    }
}

impl<K: Kernel> Keeper<K> {
    /// From now on `owner` wants this and nothing else: removes what nobody wants any more, sets what is new.
    pub(super) async fn route(&self, owner: Owner, routing: Routing) {
        if !routing.is_empty() && !self.0.watches_routing.replace(true) {
            spawn_local(self.clone().watch_routing());
        }
        // Held throughout: what is put back must not cross what is removed.
        let mut routings = self.0.routings.lock().await;
        let gone = routings.want(owner, routing.clone());
        self.remove_routing(&gone).await;
        for (what, result) in self.set_routing(&routing).await {
            match result {
                Ok(()) | Err(Refused(libc::EEXIST)) => {}
                Err(refused) => {
                    tracing::warn!(error = %std::io::Error::from(refused), "{what} not set{}", hint(refused));
                }
            }
        }
    }

    /// Puts back what somebody removed, or what the kernel dropped with a link or an address, whenever that may have
    /// happened.
    async fn watch_routing(self) {
        let mut losses = match self.0.kernel.routing_losses() {
            Ok(losses) => losses,
            Err(error) => {
                tracing::warn!(%error, "routes and rules that somebody removes are not put back");
                return;
            }
        };
        loop {
            tokio::select! {
                () = self.0.surroundings_changed.notified() => {}
                loss = losses.next() => if loss.is_none() { return },
            }
            self.restore_routing().await;
        }
    }

    async fn restore_routing(&self) {
        let routings = self.0.routings.lock().await;
        for (what, result) in self.set_routing(&routings.all()).await {
            match result {
                Ok(()) => tracing::warn!("{what} was gone, put back"),
                Err(Refused(libc::EEXIST)) => {}
                Err(refused) => tracing::debug!(error = %std::io::Error::from(refused), "{what} not put back"),
            }
        }
    }

    async fn set_routing(&self, wanted: &Routing) -> Vec<Outcome> {
        let (placed, mut results) = self.place(&wanted.routes);
        let set = self.0.kernel.set_routes(&placed).await;
        results.extend(placed.iter().map(|(route, _)| describe_route(route)).zip(set));
        for rule in &wanted.rules {
            results.push((describe_rule(rule), self.0.kernel.set_rule(rule).await));
        }
        results
    }

    async fn remove_routing(&self, unwanted: &Routing) {
        let mut results = Vec::new();
        for rule in unwanted.rules.iter().rev() {
            results.push((describe_rule(rule), self.0.kernel.remove_rule(rule).await));
        }
        // With its interface a route is gone too.
        let (mut placed, _) = self.place(&unwanted.routes);
        placed.reverse();
        let removed = self.0.kernel.remove_routes(&placed).await;
        results.extend(placed.iter().map(|(route, _)| describe_route(route)).zip(removed));
        for (what, result) in results {
            if let Err(refused) = result {
                tracing::warn!(error = %std::io::Error::from(refused), "{what} not removed");
            }
        }
    }

    /// Those whose interface is there, with its index, and the others.
    fn place(&self, routes: &[Route]) -> (Vec<Placed>, Vec<Outcome>) {
        let state = self.0.state.borrow();
        let (mut placed, mut missing) = (Vec::new(), Vec::new());
        for route in routes {
            match index(route, &state.interfaces) {
                Some(index) => placed.push((route.clone(), index)),
                None => missing.push((describe_route(route), Err(Refused(libc::ENODEV)))),
            }
        }
        (placed, missing)
    }
}

impl<W: Wire, C: Clock> Driver<W, C> {
    /// Tells what a router that has addresses wants, if that is not what it was last.
    pub(super) fn route(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.holds_any()) else { return };
        let routing = slot.configured_routing();
        if routing != slot.routing {
            slot.routing = routing.clone();
            let id = slot.id;
            self.estate_is_stale = true;
            self.publish_estate();
            self.order(Order::Work(id, Work::Route(routing)));
        }
    }

    /// Tells what is wanted for the life of the process, if that is not what it was last.
    pub(super) fn route_always(&mut self, routing: Routing) {
        if routing == self.routing {
            return;
        }
        self.routing = routing.clone();
        self.estate_is_stale = true;
        self.publish_estate();
        let (done, _) = oneshot::channel();
        self.order(Order::Static(routing, done));
    }

    /// The end: what was wanted for the life of the process goes.
    pub(super) async fn clear_routing(&mut self) {
        if self.routing.is_empty() {
            return;
        }
        let (done, is_done) = oneshot::channel();
        self.order(Order::Static(Routing::default(), done));
        // Closed without an answer: there is nobody left to do it.
        let _ = is_done.await;
    }
}

/// The index of the interface a route names, if it names one; none: there is no such interface.
fn index(route: &Route, interfaces: &Interfaces) -> Option<Option<u32>> {
    match &route.interface {
        None => Some(None),
        Some(name) => interfaces.by_name(name.as_str()).map(|(index, _)| Some(index)),
    }
}

fn describe_route(route: &Route) -> String {
    let mut text = format!("route {}", route.destination);
    if let Some(gateway) = route.gateway {
        text += &format!(" via {gateway}");
    }
    if let Some(interface) = &route.interface {
        text += &format!(" dev {interface}");
    }
    if let Some(table) = route.table {
        text += &format!(" table {table}");
    }
    text
}

fn describe_rule(rule: &Rule) -> String {
    let mut text = "rule".to_owned();
    if let Some(from) = rule.from {
        text += &format!(" from {from}");
    }
    if let Some(to) = rule.to {
        text += &format!(" to {to}");
    }
    text + &format!(" table {}", rule.table)
}

fn hint(refused: Refused) -> &'static str {
    match refused {
        Refused(libc::ENODEV) => " yet: its interface is not there",
        Refused(libc::ENETUNREACH | libc::EHOSTUNREACH) => " yet: its next hop is in no subnet of this node",
        Refused(libc::ENETDOWN) => " yet: its interface is down",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(destinations: &[&str], tables: &[u32]) -> Routing {
        let route = |destination: &&str| Route::new(destination.parse().unwrap());
        let rule = |table: &u32| Rule::new(*table);
        Routing { routes: destinations.iter().map(route).collect(), rules: tables.iter().map(rule).collect() }
    }

    #[test]
    fn what_another_wants_too_stays() {
        let mut routings = Routings::default();
        assert_eq!(routings.want(Some(1), routing(&["10.1.0.0/16", "10.2.0.0/16"], &[7])), Routing::default());
        assert_eq!(routings.want(None, routing(&["10.2.0.0/16"], &[7, 8])), Routing::default());
        assert_eq!(routings.all(), routing(&["10.2.0.0/16", "10.1.0.0/16"], &[7, 8]));
        assert_eq!(routings.want(Some(1), Routing::default()), routing(&["10.1.0.0/16"], &[]));
        assert_eq!(routings.want(None, routing(&[], &[8])), routing(&["10.2.0.0/16"], &[7]));
        assert_eq!(routings.all(), routing(&[], &[8]));
    }
}
