//! One virtual router at work: the core, and what the shell keeps beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::interfaces::View;
use super::routing::Routing;
use super::sight::Sight;
use super::surroundings::is_up;
use super::{HandoverOutcome, HandoverReport, RouterId};
use crate::model::{Family, InterfaceName, Priority, VirtualAddress, VirtualRouter};
use crate::stats::{self, RouterStats};
use crate::vrrp::{Event, Role, Router, Start};
use crate::wire::vrrp::Stamp;

/// What is known of the interfaces, by name.
pub(super) type Views = BTreeMap<InterfaceName, View>;

/// One virtual router at work.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: RouterId,
    pub(super) router: Router,
    pub(super) stats: Arc<RouterStats>,
    /// Told to leave for good.
    pub(super) ending: bool,
    /// Another router of its name has taken its place in status pages.
    pub(super) replaced: bool,
    /// It left: only what it had on the node is still on its way.
    pub(super) left: bool,
    /// Nothing of it is left on the node.
    pub(super) finished: bool,
    pub(super) handover: Option<PendingHandover>,
    /// Routes and rules it asked for last.
    pub(super) routing: Routing,
    /// Addresses it asked for.
    held: Vec<VirtualAddress>,
    /// Addresses it gave up that are not yet reported gone.
    lingering: Vec<VirtualAddress>,
    link_up: bool,
    local: Option<IpAddr>,
    path_addresses: Vec<Option<IpAddr>>,
    pub(super) sight: Sight,
    /// It is in a sync group.
    pub(super) grouped: bool,
    /// When an operator's freeze ends by itself.
    pub(super) frozen_until: Option<Instant>,
    /// The master it followed when that was last looked at, by its address on each path.
    follows: Vec<(usize, IpAddr)>,
    /// How the sessions with it are, in words.
    sessions: BTreeMap<IpAddr, String>,
    /// The stamp of the last sealed advert.
    stamp: Option<Stamp>,
}

/// Somebody waits for the end of a hand-over.
#[derive(Debug)]
pub(super) struct PendingHandover {
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<HandoverReport>,
}

impl Slot {
    pub(super) fn new(
        id: RouterId,
        config: &VirtualRouter,
        start: Start,
        stats: Arc<RouterStats>,
        now: Instant,
    ) -> Self {
        let Start { link_up, local, grouped, .. } = start;
        let path_addresses = start.path_addresses.clone();
        Self {
            id,
            router: Router::start_with(config, start, now),
            stats,
            ending: false,
            replaced: false,
            left: false,
            finished: false,
            handover: None,
            routing: Routing::default(),
            held: Vec::new(),
            lingering: Vec::new(),
            link_up,
            local,
            path_addresses,
            sight: Sight::default(),
            grouped,
            frozen_until: None,
            follows: Vec::new(),
            sessions: BTreeMap::new(),
            stamp: None,
        }
    }

    pub(super) fn config(&self) -> &VirtualRouter {
        self.router.config()
    }

    /// Whether it owns its addresses.
    pub(super) fn is_master(&self) -> bool {
        self.router.role() == Role::Master
    }

    /// The router's name.
    pub(super) fn name(&self) -> &str {
        &self.router.config().name
    }

    /// What changed about its links and its address since the last call.
    pub(super) fn look(&mut self, views: &Views, virtual_addresses: &[IpAddr]) -> Vec<Event> {
        let mut events = Vec::new();
        let local = local(self.config(), views, virtual_addresses);
        if local != self.local {
            self.local = local;
            // An interface that is gone has no address either: the link is the reason to tell.
            events.push(Event::LocalAddress(local));
        }
        let paths = path_addresses(self.config(), views, virtual_addresses);
        if paths != self.path_addresses {
            self.path_addresses.clone_from(&paths);
            events.push(Event::PathAddresses(paths));
        }
        let link_up = link_up(self.config(), views);
        if link_up != self.link_up {
            self.link_up = link_up;
            if link_up { events.push(Event::LinkUp) } else { events.insert(0, Event::LinkDown) }
        }
        events
    }

    /// It was told where it is now.
    pub(super) fn moved(&mut self, local: Option<IpAddr>, path_addresses: Vec<Option<IpAddr>>, link_up: bool) {
        (self.local, self.path_addresses, self.link_up) = (local, path_addresses, link_up);
    }

    /// The addresses it can send from now, each with the index of its interface. Unicast is routed: one way will do.
    pub(super) fn ways_out(&self, views: &Views) -> Vec<(IpAddr, u32)> {
        let config = self.config();
        let ways = config.channels().zip(self.sources()).filter_map(|(interface, source)| {
            let view = views.get(interface).filter(|view| view.up || config.paths.is_empty())?;
            let index = if *interface == config.interface { outgoing(config, views)? } else { view.index };
            Some((source?, index))
        });
        ways.take(if config.peers.is_empty() { usize::MAX } else { 1 }).collect()
    }

    /// The address it sends from on each path.
    pub(super) fn sources(&self) -> impl Iterator<Item = Option<IpAddr>> {
        std::iter::once(self.router.local()).chain(self.path_addresses.iter().copied())
    }

    /// The stamp of the next sealed advert; none without a key.
    pub(super) fn stamp(&mut self, since_epoch: Duration) -> Option<Stamp> {
        self.stamp = self.next_stamp(since_epoch);
        self.stamp
    }

    /// The stamp the next sealed advert would have; none without a key.
    pub(super) fn next_stamp(&self, since_epoch: Duration) -> Option<Stamp> {
        self.config().hmac.as_ref()?;
        Some(Stamp::after(self.stamp, since_epoch))
    }

    /// When a thread that goes to sleep at `now` has to wake for it: what a reload moved into the past is not late.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let pulse = self.router.pulse().map(|pulse| now + pulse);
        self.router.next_deadline().into_iter().chain(self.frozen_until).chain(pulse).min().map(|at| at.max(now))
    }

    /// Whether everything is done after it was told to leave.
    pub(super) fn is_over(&self) -> bool {
        self.left && self.finished
    }

    pub(super) fn acquired(&mut self, addresses: &[VirtualAddress]) {
        self.lingering.retain(|address| !addresses.contains(address));
        self.held.extend(addresses.iter().filter(|address| !self.held.contains(address)).cloned().collect::<Vec<_>>());
    }

    pub(super) fn releasing(&mut self, addresses: &[VirtualAddress]) {
        self.held.retain(|address| !addresses.contains(address));
        self.lingering.extend(addresses.iter().cloned());
        if self.held.is_empty() {
            // Its routes and rules go with the last of them.
            self.routing = Routing::default();
        }
    }

    pub(super) fn released(&mut self, addresses: &[VirtualAddress]) {
        self.lingering.retain(|address| !addresses.contains(address));
    }

    /// Whether it has addresses, or is about to.
    pub(super) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// The routes and rules it has with its addresses.
    pub(super) fn configured_routing(&self) -> Routing {
        let config = self.config();
        Routing { routes: config.routes.clone(), rules: config.rules.clone() }
    }

    /// The addresses that may be on this node because of it, in the order in which to remove them.
    pub(super) fn on_node(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.lingering.iter().rev().chain(self.held.iter().rev())
    }

    /// Completes a hand-over that ended in `role`.
    pub(super) fn finish_handover(&mut self, role: Role, now: Instant) {
        let outcome = match role {
            Role::Leaving => return,
            Role::Backup => HandoverOutcome::Moved { to: self.router.master().map(|(address, _)| address) },
            Role::Master => HandoverOutcome::NobodyTook,
            Role::Initialize | Role::Fault => HandoverOutcome::Interrupted(stats_role(role)),
        };
        self.reply_handover(outcome, now);
    }

    pub(super) fn reply_handover(&mut self, outcome: HandoverOutcome, now: Instant) {
        if let Some(pending) = self.handover.take() {
            let took = now.saturating_duration_since(pending.since);
            let _ = pending.reply.send(HandoverReport { router: self.name().to_owned(), outcome, took });
        }
    }

    /// Shows what changes with each advert. Whether it follows another master, or none.
    pub(super) fn show(&mut self, now: Instant) -> bool {
        let another = !self.followed().eq(self.follows.iter().copied());
        if another {
            self.follows = self.followed().collect();
            self.sessions.retain(|address, _| self.follows.iter().any(|(_, followed)| followed == address));
        }
        if self.replaced {
            return another;
        }
        self.sight.pass(self.router.config(), &self.stats, self.router.role() == Role::Master, now);
        self.stats.update_status(|status| {
            status.priority = self.router.priority();
            status.master = self.router.master();
            status.heard = self.router.heard();
            status.ready = self.router.ready();
            status.frozen = self.router.frozen();
            status.priority_override = self.router.priority_override().map(Priority::get);
            if another {
                status.session = in_words(&self.sessions);
            }
        });
        another
    }

    /// Shows what it follows.
    pub(super) fn show_tracks(&self, tracks: Vec<String>) {
        if !self.replaced {
            self.stats.update_status(|status| status.tracks = tracks);
        }
    }

    /// Shows how the session with `address` is, if that is the other node of this router.
    pub(super) fn show_session(&mut self, address: IpAddr, text: Option<&str>) {
        if self.followed().all(|(_, followed)| followed != address) {
            return;
        }
        match text {
            Some(text) => drop(self.sessions.insert(address, text.to_owned())),
            None => drop(self.sessions.remove(&address)),
        }
        if !self.replaced {
            self.stats.update_status(|status| status.session = in_words(&self.sessions));
        }
    }

    /// Shows a change of role.
    pub(super) fn show_role(&self, role: Role, reason: &str, now: Instant) {
        if role == Role::Master {
            self.stats.became_master.fetch_add(1, Ordering::Relaxed);
        }
        if self.replaced {
            return;
        }
        self.stats.update_status(|status| {
            status.role = stats_role(role);
            reason.clone_into(&mut status.reason);
            status.since = Some(now);
        });
    }
}

/// None: there is no session, nor was one tried.
fn in_words(sessions: &BTreeMap<IpAddr, String>) -> Option<String> {
    let words: Vec<String> = sessions.iter().map(|(address, text)| format!("{address}: {text}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The role as statistics name it.
pub(super) fn stats_role(role: Role) -> stats::Role {
    match role {
        Role::Initialize => stats::Role::Initialize,
        Role::Backup => stats::Role::Backup,
        Role::Master => stats::Role::Master,
        Role::Leaving => stats::Role::Leaving,
        Role::Fault => stats::Role::Fault,
    }
}

/// The index of the interface adverts on its own interface leave by: the VMAC once it is up, unless it is not to be.
fn outgoing(config: &VirtualRouter, views: &Views) -> Option<u32> {
    let vmac = config.vmac.as_ref().filter(|vmac| !vmac.from_base);
    let made = vmac.and_then(|vmac| views.get(&vmac.name)).filter(|view| view.up);
    made.or_else(|| views.get(&config.interface)).map(|view| view.index)
}

/// One of its paths is up, and so is every interface that its addresses are on: what it owns must be within reach.
/// An interface made for its virtual hardware address is there; it is up with its addresses only.
pub(super) fn link_up(config: &VirtualRouter, views: &Views) -> bool {
    let own = config.vmac.as_ref().map(|vmac| &vmac.name);
    let made = |name: &InterfaceName| views.get(name).is_some_and(|view| view.made.is_some());
    let base_is_up = own.is_none() || is_up(views, &config.interface);
    let mut addressed = config.owned().map(|address| &address.interface).filter(|name| Some(*name) != own);
    config.channels().any(|name| is_up(views, name))
        && addressed.all(|name| is_up(views, name))
        && own.is_none_or(made)
        && base_is_up
}

/// The address adverts are sent from: the configured one if this node has it, else the interface's first that is no
/// virtual address (IPv6: link-local, RFC 9568 section 5.1.2.1). The owner of an address may have no other.
pub(super) fn local(config: &VirtualRouter, views: &Views, virtual_addresses: &[IpAddr]) -> Option<IpAddr> {
    if let Some(source) = config.source {
        return views.values().any(|view| view.sources.contains(&source)).then_some(source);
    }
    address_on(&config.interface, config.family, views, virtual_addresses)
}

/// The addresses adverts are sent from on its further paths.
pub(super) fn path_addresses(
    config: &VirtualRouter,
    views: &Views,
    virtual_addresses: &[IpAddr],
) -> Vec<Option<IpAddr>> {
    config.paths.iter().map(|path| address_on(path, config.family, views, virtual_addresses)).collect()
}

fn address_on(
    interface: &InterfaceName,
    family: Family,
    views: &Views,
    virtual_addresses: &[IpAddr],
) -> Option<IpAddr> {
    let view = views.get(interface)?;
    let suits = |address: &&IpAddr| match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(address) => family == Family::V6 && address.is_unicast_link_local(),
    };
    let mut candidates = view.sources.iter().filter(suits);
    let first = candidates.clone().next();
    candidates.find(|address| !virtual_addresses.contains(address)).or(first).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Track, Tracked, VirtualAddress, Vrid};

    fn config(family: Family) -> VirtualRouter {
        let address = match family {
            Family::V4 => "192.0.2.100/24",
            Family::V6 => "fe80::100/64",
        };
        VirtualRouter {
            addresses: vec![VirtualAddress::new(address.parse().unwrap(), "eth0".parse().unwrap())],
            track: vec![Track { what: Tracked::Interface("eth1".parse().unwrap()), weight: 0, reverse: false }],
            ..VirtualRouter::new("r", "eth0".parse().unwrap(), Vrid::new(7).unwrap(), family)
        }
    }

    fn views(sources: &[&str], tracked_up: bool) -> Views {
        let view = |index, up, sources: &[&str]| View {
            index,
            up,
            mac: None,
            made: None,
            sources: sources.iter().map(|text| text.parse().unwrap()).collect(),
        };
        Views::from([
            ("eth0".parse().unwrap(), view(1, true, sources)),
            ("eth1".parse().unwrap(), view(2, tracked_up, &[])),
        ])
    }

    #[test]
    fn a_router_is_deaf_when_all_its_paths_are_down_and_useless_without_the_link_of_its_addresses() {
        let alone = config(Family::V4);
        assert!(link_up(&alone, &views(&[], false)) && !link_up(&alone, &Views::new()));
        let mut two = VirtualRouter { paths: vec!["eth1".parse().unwrap()], ..config(Family::V4) };
        two.interface = "eth9".parse().unwrap();
        assert!(link_up(&two, &views(&[], true)), "the second path is enough");
        assert!(!link_up(&two, &views(&[], false)));
        two.addresses[0].interface = "eth9".parse().unwrap();
        assert!(!link_up(&two, &views(&[], true)), "its address cannot be reached");
    }

    #[test]
    fn a_virtual_address_is_not_sent_from_unless_it_is_the_only_one() {
        let virtual_addresses = ["192.0.2.100".parse().unwrap()];
        let local = |sources: &[&str]| local(&config(Family::V4), &views(sources, true), &virtual_addresses);
        assert_eq!(local(&["192.0.2.100", "192.0.2.1"]), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(local(&["192.0.2.100"]), Some("192.0.2.100".parse().unwrap()));
        assert_eq!(local(&["fe80::1"]), None);
    }

    #[test]
    fn ipv6_sends_from_link_local() {
        let found = local(&config(Family::V6), &views(&["2001:db8::1", "fe80::1"], true), &[]);
        assert_eq!(found, Some("fe80::1".parse().unwrap()));
    }

    #[test]
    fn a_configured_source_must_be_on_this_node() {
        let mut config = config(Family::V4);
        config.source = Some("192.0.2.7".parse().unwrap());
        assert_eq!(local(&config, &views(&["192.0.2.1"], true), &[]), None);
        assert_eq!(local(&config, &views(&["192.0.2.1", "192.0.2.7"], true), &[]), config.source);
    }
}
