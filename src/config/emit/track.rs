//! `[[tracker]]`, and `track` of routers and groups.

use std::collections::HashSet;

use super::notify::{user, words as command_words};
use super::{Keys, display, duration, quoted, word};
use crate::config::raw::{Config, GatewayCheck, ProcessCheck, RouteCheck, Track, Tracked, Tracker, Watched};
use crate::config::words;

/// The names of all trackers: an interface called like one is not written by its name alone.
pub(super) fn names(config: &Config) -> HashSet<&str> {
    config.trackers.iter().filter_map(|tracker| tracker.name.as_ref()).map(|name| name.value.as_str()).collect()
}

pub(super) fn tracker(raw: &Tracker) -> String {
    let mut lines = Keys::new("[[tracker]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    for watched in &raw.watched {
        match &watched.value {
            Watched::Script(script) => lines.add("script", command_words(script)),
            Watched::Process(check) => lines.add("process", process(check)),
            Watched::File(path) => lines.add("file", quoted(&path.to_string_lossy())),
            Watched::Service(service) => lines.add("service", quoted(service)),
            Watched::Gateway(check) => lines.add("gateway", gateway(check)),
            Watched::Route(check) => lines.add("route", route_check(check)),
        }
    }
    lines.maybe("initial", &raw.initial, i64::to_string);
    lines.maybe("interval", &raw.interval, duration);
    lines.maybe("timeout", &raw.timeout, duration);
    lines.maybe("rise", &raw.rise, u64::to_string);
    lines.maybe("fall", &raw.fall, u64::to_string);
    lines.maybe("up-delay", &raw.up_delay, duration);
    lines.maybe("down-delay", &raw.down_delay, duration);
    lines.maybe("starts-down", &raw.starts_down, bool::to_string);
    lines.maybe("user", &raw.user, user);
    lines.maybe("weight", &raw.weight, i64::to_string);
    lines.maybe("reverse", &raw.reverse, bool::to_string);
    lines.lines()
}

fn process(raw: &ProcessCheck) -> String {
    let mut keys = Keys::new("");
    keys.list("arguments", raw.arguments.iter().map(|argument| quoted(argument)));
    keys.maybe("match", &raw.arguments_match, |matched| word(words::ARGUMENTS, matched));
    keys.maybe("whole-command", &raw.whole_command, bool::to_string);
    keys.maybe("at-least", &raw.at_least, u64::to_string);
    keys.maybe("at-most", &raw.at_most, u64::to_string);
    keys.or_inline("command", quoted(&raw.command.value))
}

fn gateway(raw: &GatewayCheck) -> String {
    let mut keys = Keys::new("");
    keys.maybe("interface", &raw.interface, display);
    keys.maybe("method", &raw.method, |method| word(words::METHODS, method));
    keys.or_inline("address", display(&raw.address.value))
}

fn route_check(raw: &RouteCheck) -> String {
    let mut keys = Keys::new("");
    keys.maybe("gateway", &raw.gateway, display);
    keys.maybe("interface", &raw.interface, display);
    keys.or_inline("destination", display(&raw.destination.value))
}

pub(super) fn track(raw: &Track, trackers: &HashSet<&str>) -> String {
    let mut keys = Keys::new("");
    keys.maybe("weight", &raw.weight, i64::to_string);
    keys.maybe("reverse", &raw.reverse, bool::to_string);
    let (key, name, plain) = match &raw.what.value {
        Tracked::Interface(name) => ("interface", name.as_str(), !trackers.contains(name.as_str())),
        Tracked::Tracker(name) => ("tracker", name.as_str(), trackers.contains(name.as_str())),
        Tracked::Either(name) => {
            (if trackers.contains(name.as_str()) { "tracker" } else { "interface" }, name.as_str(), true)
        }
    };
    if plain {
        return keys.or_inline(key, quoted(name));
    }
    keys.add(key, quoted(name));
    keys.inline()
}
