//! `[[virtual-router]]` and `[[sync-group]]`.

use std::collections::HashSet;

use super::notify::{command, notify};
use super::routing::{route, rule};
use super::track::track;
use super::{Keys, display, duration, list, quoted, word};
use crate::config::raw::{Announce, Hmac, Peer, SyncGroup, VirtualAddress, VirtualRouter, Vmac};
use crate::config::words;

pub(super) fn router(raw: &VirtualRouter, trackers: &HashSet<&str>) -> String {
    let mut lines = Keys::new("[[virtual-router]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.maybe("interface", &raw.interface, |interface| quoted(interface.as_str()));
    lines.maybe("vrid", &raw.vrid, u64::to_string);
    lines.maybe("version", &raw.version, u64::to_string);
    lines.maybe("priority", &raw.priority, u64::to_string);
    lines.maybe("interval", &raw.interval, duration);
    lines.maybe("start", &raw.start, |start| word(words::START, start));
    lines.maybe("preempt", &raw.preempt, bool::to_string);
    lines.maybe("preempt-delay", &raw.preempt_delay, duration);
    lines.maybe("missed-adverts", &raw.missed_adverts, u64::to_string);
    lines.maybe("start-delay", &raw.start_delay, duration);
    lines.maybe("password", &raw.password, |password| quoted(&password.0));
    lines.option("hmac", raw.hmac.as_ref().map(hmac));
    lines.maybe("source", &raw.source, display);
    lines.maybe("group", &raw.group, display);
    lines.list("peers", raw.peers.iter().map(peer));
    lines.maybe("only-peers", &raw.only_peers, bool::to_string);
    lines.maybe("unicast-ttl", &raw.unicast_ttl, u64::to_string);
    lines.list("paths", raw.paths.iter().map(|interface| display(&interface.value)));
    lines.option("vmac", raw.vmac.as_ref().map(vmac));
    lines.maybe("checksum", &raw.checksum, |checksum| word(words::CHECKSUM, checksum));
    // Required, so that nobody forgets them; keepalived runs an instance without.
    lines.add("addresses", list(raw.addresses.iter().map(virtual_address)));
    lines.list("excluded-addresses", raw.excluded_addresses.iter().map(virtual_address));
    lines.list("routes", raw.routes.iter().map(|raw| route(raw, "").inline()));
    lines.list("rules", raw.rules.iter().map(|raw| rule(raw, "").inline()));
    lines.list("track", raw.track.iter().map(|raw| track(raw, trackers)));
    if let Some(fronts) = &raw.fronts {
        lines.add("fronts", list(fronts.iter().map(|name| quoted(&name.value))));
    }
    lines.option("announce", raw.announce.as_ref().map(announce));
    lines.maybe("fight-limit", &raw.fight_limit, u64::to_string);
    lines.option("notify", raw.notify.as_ref().map(notify));
    lines.option("before-master", raw.before_master.as_ref().map(command));
    lines.option("after-release", raw.after_release.as_ref().map(command));
    lines.lines()
}

pub(super) fn group(raw: &SyncGroup, trackers: &HashSet<&str>) -> String {
    let mut lines = Keys::new("[[sync-group]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.add("routers", list(raw.routers.iter().map(|name| quoted(&name.value))));
    lines.list("track", raw.track.iter().map(|raw| track(raw, trackers)));
    lines.maybe("member-weights", &raw.member_weights, bool::to_string);
    lines.option("notify", raw.notify.as_ref().map(notify));
    lines.lines()
}

fn virtual_address(raw: &VirtualAddress) -> String {
    let mut keys = Keys::new("");
    keys.maybe("interface", &raw.interface, display);
    keys.maybe("label", &raw.label, |label| quoted(label));
    keys.maybe("scope", &raw.scope, |scope| word(words::SCOPES, scope));
    keys.maybe("broadcast", &raw.broadcast, display);
    keys.or_inline("address", display(&raw.prefix.value))
}

fn announce(raw: &Announce) -> String {
    let mut keys = Keys::new("");
    keys.maybe("count", &raw.count, u64::to_string);
    keys.maybe("repeat-after", &raw.repeat_after, duration);
    keys.maybe("repeat-count", &raw.repeat_count, u64::to_string);
    keys.maybe("refresh", &raw.refresh, duration);
    keys.maybe("refresh-count", &raw.refresh_count, u64::to_string);
    keys.maybe("lower-priority-count", &raw.lower_priority_count, u64::to_string);
    keys.list("ask", raw.ask.iter().map(|address| display(&address.value)));
    keys.inline()
}

fn peer(raw: &Peer) -> String {
    let mut keys = Keys::new("");
    keys.maybe("min-ttl", &raw.min_ttl, u64::to_string);
    keys.maybe("max-ttl", &raw.max_ttl, u64::to_string);
    keys.or_inline("address", display(&raw.address.value))
}

/// A secret that was read from a file stays in that file.
fn hmac(raw: &Hmac) -> String {
    let mut keys = Keys::new("");
    keys.maybe("key-id", &raw.key_id, u64::to_string);
    match &raw.secret_file {
        Some(file) => keys.add("secret-file", quoted(&file.value.to_string_lossy())),
        None => keys.maybe("secret", &raw.secret, |secret| quoted(&secret.0)),
    }
    keys.inline()
}

fn vmac(raw: &Vmac) -> String {
    let mut keys = Keys::new("");
    keys.maybe("from-base", &raw.from_base, bool::to_string);
    match &raw.name {
        Some(name) => keys.or_inline("name", display(&name.value)),
        None if keys.is_empty() => "true".to_owned(),
        None => keys.inline(),
    }
}
