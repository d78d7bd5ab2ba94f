//! Trackers, who follows them, and what that can do to a priority.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::command::{self, Commands};
use super::duplicate;
use super::findings::{Findings, Unique};
use super::router::not_a_host;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located, Maybe};
use crate::config::source::Location;
use crate::config::syntax;
use crate::model::{
    ArgumentsMatch, Family, FileCheck, GatewayCheck, InterfaceName, Priority, ProcessCheck, RouteCheck, ScriptCheck,
    Track, Tracked, Tracker, VirtualRouter, Watched,
};

const INTERVAL: Duration = Duration::from_secs(1);
/// A file's number reaches this far.
const FILE: i32 = 254;

/// The trackers by name, as written.
pub(super) struct Trackers<'c> {
    known: HashMap<&'c str, &'c raw::Tracker>,
}

impl<'c> Trackers<'c> {
    pub(super) fn new(raw: &'c raw::Config) -> Self {
        let named = raw.trackers.iter().filter_map(|tracker| Some((tracker.name.as_ref()?.value.as_str(), tracker)));
        Self { known: named.collect() }
    }

    /// Whether what is followed is a number.
    fn is_file(&self, what: &Tracked) -> bool {
        match what {
            Tracked::Interface(_) => false,
            Tracked::Tracker(name) => self.known.get(name.as_str()).is_some_and(|tracker| is_file(tracker)),
        }
    }
}

fn is_file(tracker: &raw::Tracker) -> bool {
    tracker.watched.iter().any(|watched| matches!(watched.value, raw::Watched::File(_)))
}

/// All trackers that can be made out.
pub(super) fn trackers(raw: &raw::Config, commands: &Commands, findings: &mut Findings<'_>) -> Vec<Tracker> {
    let services: HashSet<&str> =
        raw.services.iter().filter_map(|service| service.name.as_ref()).map(|name| name.value.as_str()).collect();
    let tracks = raw.routers.iter().flat_map(|router| &router.track);
    let followed: HashSet<&str> = tracks
        .chain(raw.groups.iter().flat_map(|group| &group.track))
        .filter_map(|track| match &track.what.value {
            raw::Tracked::Tracker(name) | raw::Tracked::Either(name) => Some(name.as_str()),
            raw::Tracked::Interface(_) => None,
        })
        .collect();
    let mut names = Unique::new();
    let mut trackers = Vec::new();
    for raw in &raw.trackers {
        let Some(name) = findings.required(&raw.name, "name", raw.at) else { continue };
        findings.name(name, "name");
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "tracker", name, first);
        }
        if !followed.contains(name.value.as_str()) && findings.complete {
            let message = format!("nothing follows the tracker `{}`", name.value);
            findings.warning(name.at, message, "name it in `track` of a router or a group, or remove it");
        }
        trackers.extend(tracker(raw, name, &services, commands, findings));
    }
    trackers
}

fn tracker(
    raw: &raw::Tracker,
    name: &Located<String>,
    services: &HashSet<&str>,
    commands: &Commands,
    findings: &mut Findings<'_>,
) -> Option<Tracker> {
    let Some(watched) = raw.watched.first() else {
        findings.missing(
            name.at,
            "this tracker watches nothing",
            "add script, process, file, service, gateway or route",
        );
        return None;
    };
    if let Some(second) = raw.watched.get(1) {
        let error = Diagnostic::error(second.at, "a tracker watches one thing").related(watched.at, "this one already");
        findings.push(error.help("make a [[tracker]] of its own for it"));
    }
    without_meaning(raw, &watched.value, findings);
    let limit = weight_limit(raw);
    weight(&raw.weight, limit, findings);
    let rise = findings.number(&raw.rise, "rise", 1..=1_000_000, 1);
    let fall = findings.number(&raw.fall, "fall", 1..=1_000_000, 1);
    let up_delay = findings.duration(&raw.up_delay, "up-delay", Duration::ZERO);
    let down_delay = findings.duration(&raw.down_delay, "down-delay", Duration::ZERO);
    let interval = findings.positive(&raw.interval, "interval").unwrap_or(INTERVAL);
    let timeout = findings.positive(&raw.timeout, "timeout").unwrap_or(interval);
    let watched = match &watched.value {
        raw::Watched::Script(words) => Watched::Script(ScriptCheck {
            command: commands.words(&Located::new(words.clone(), watched.at), raw.user.as_ref(), timeout, findings),
            interval,
            starts_down: raw.starts_down.is_some_and(|down| down.value),
        }),
        raw::Watched::Process(process) => Watched::Process(process_check(process, findings)),
        raw::Watched::File(path) => {
            command::absolute(&Located::new(path.clone(), watched.at), findings);
            let initial = signed(&raw.initial, "initial", FILE.into(), findings).unwrap_or(0);
            Watched::File(FileCheck { path: path.clone(), initial })
        }
        raw::Watched::Service(service) => {
            if !services.contains(service.as_str()) && findings.complete {
                let error = Diagnostic::error(watched.at, format!("there is no service called `{service}`"));
                let error = findings.suggest(error, service, services.iter().copied());
                findings.push(error.help("name one of the services"));
            }
            Watched::Service(service.clone())
        }
        raw::Watched::Gateway(gateway) => Watched::Gateway(gateway_check(gateway, interval, timeout, findings)),
        raw::Watched::Route(route) => Watched::Route(route_check(route, findings)),
    };
    Some(Tracker { name: name.value.clone(), watched, rise, fall, up_delay, down_delay })
}

/// Keys that say nothing about what is watched.
fn without_meaning(raw: &raw::Tracker, watched: &raw::Watched, findings: &mut Findings<'_>) {
    let script = matches!(watched, raw::Watched::Script(_));
    let timed = script || matches!(watched, raw::Watched::Gateway(_));
    let file = matches!(watched, raw::Watched::File(_));
    let wrong = [
        (raw.interval.map(|key| key.at).filter(|_| !timed), "interval", "a script and a gateway have one"),
        (raw.timeout.map(|key| key.at).filter(|_| !timed), "timeout", "a script and a gateway have one"),
        (raw.starts_down.map(|key| key.at).filter(|_| !script), "starts-down", "only a script has to run first"),
        (raw.user.as_ref().map(|key| key.at).filter(|_| !script), "user", "only a script runs as one"),
        (raw.initial.map(|key| key.at).filter(|_| !file), "initial", "only a file has a number"),
    ];
    for (at, key, why) in wrong {
        if let Some(at) = at {
            findings.error(at, format!("`{key}` says nothing here"), format!("{why}: remove it"));
        }
    }
}

fn process_check(raw: &raw::ProcessCheck, findings: &mut Findings<'_>) -> ProcessCheck {
    findings.name(&raw.command, "command");
    let whole_command = raw.whole_command.is_some_and(|whole| whole.value);
    if raw.command.value.contains('/') && raw.whole_command.is_none() {
        findings.warning(
            raw.command.at,
            "a process's name has no directory: this never runs",
            "write its name alone, or add whole-command = true",
        );
    }
    let at_most: Option<u32> = findings.optional_number(&raw.at_most, "at-most", 0..=1_000_000);
    let default = at_most.map_or(1, |most| most.min(1));
    let at_least = findings.number(&raw.at_least, "at-least", 0..=1_000_000, default);
    if let Some(most) = raw.at_most.filter(|_| at_most.is_some_and(|most| most < at_least)) {
        let message = format!("no number is at least {at_least} and at most {}", most.value);
        findings.error(most.at, message, "exchange the two");
    }
    let compared = if raw.arguments.is_empty() { ArgumentsMatch::Any } else { ArgumentsMatch::Exact };
    let arguments_match = raw.arguments_match.map_or(compared, |matched| matched.value);
    if let Some(any) = raw.arguments_match.filter(|any| any.value == ArgumentsMatch::Any && !raw.arguments.is_empty()) {
        findings.warning(any.at, "`arguments` has no effect: any will do", "write match = \"exact\" or \"initial\"");
    }
    ProcessCheck {
        command: raw.command.value.clone(),
        arguments: raw.arguments.clone(),
        arguments_match,
        whole_command,
        at_least,
        at_most,
    }
}

fn gateway_check(
    raw: &raw::GatewayCheck,
    interval: Duration,
    timeout: Duration,
    findings: &mut Findings<'_>,
) -> GatewayCheck {
    let address = raw.address.value;
    if let Some(kind) = not_a_host(address) {
        findings.error(raw.address.at, format!("{address} is {kind}"), "write the address of the gateway");
    }
    if raw.interface.is_none() && matches!(address, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        let message = format!("{address} is on every link: on which one is it asked?");
        findings.error(raw.address.at, message, "add interface = \"eth0\"");
    }
    GatewayCheck {
        address,
        interface: raw.interface.as_ref().map(|interface| interface.value.clone()),
        method: raw.method.map(|method| method.value).unwrap_or_default(),
        interval,
        timeout,
    }
}

fn route_check(raw: &raw::RouteCheck, findings: &mut Findings<'_>) -> RouteCheck {
    let destination = raw.destination.value;
    let family = Family::of(destination.address);
    if let Some(gateway) = raw.gateway.filter(|gateway| Family::of(gateway.value) != family) {
        let message = format!("a route to {destination} has an {family} gateway");
        findings.error(gateway.at, message, format!("write an {family} address"));
    }
    RouteCheck {
        destination: destination.network(),
        gateway: raw.gateway.map(|gateway| gateway.value),
        interface: raw.interface.as_ref().map(|interface| interface.value.clone()),
    }
}

/// A router as far as it matters to what it follows.
pub(super) struct Follows<'r> {
    pub(super) router: &'r str,
    pub(super) own: &'r InterfaceName,
    pub(super) priority: Priority,
}

/// What a router follows beside its own interface, which is followed anyway.
pub(super) fn of_router(
    raw: &[raw::Track],
    follows: &Follows<'_>,
    group: Option<&raw::SyncGroup>,
    trackers: &Trackers<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Track> {
    let mut all = resolved(raw, trackers, findings);
    all.retain(|(track, at)| {
        let own = matches!(&track.what, Tracked::Interface(name) if name == follows.own);
        if own && track.weight != 0 {
            let message = format!("{} is this router's own interface: without it there is a fault", follows.own);
            findings.warning(*at, message, "remove it: its weight has no effect");
        }
        !own
    });
    let plain = group.filter(|group| !group.member_weights.is_some_and(|weights| weights.value));
    if let Some(group) = plain {
        for (track, at) in all.iter_mut().filter(|(track, _)| track.weight != 0) {
            let warning = Diagnostic::warning(*at, "weights of a group's routers count as 0: a fault of the group");
            let related = group.name.as_ref().map_or(group.at, |name| name.at);
            findings.push(
                warning
                    .related(related, "the group")
                    .help("follow it in the group, write weight = 0, or give the group member-weights = true"),
            );
            track.weight = 0;
        }
    }
    without_effect(&all, follows, trackers, findings);
    all.into_iter().map(|(track, _)| track).collect()
}

/// What a group follows.
pub(super) fn of_group(
    raw: &[raw::Track],
    members: &[&VirtualRouter],
    trackers: &Trackers<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Track> {
    let all = resolved(raw, trackers, findings);
    let mut seen = HashSet::new();
    // Once for each kind of member.
    for member in members.iter().filter(|member| seen.insert(member.priority)) {
        let follows = Follows { router: &member.name, own: &member.interface, priority: member.priority };
        without_effect(&all, &follows, trackers, findings);
    }
    all.into_iter().map(|(track, _)| track).collect()
}

fn resolved(raw: &[raw::Track], trackers: &Trackers<'_>, findings: &mut Findings<'_>) -> Vec<(Track, Location)> {
    let mut seen = Unique::new();
    let mut all = Vec::new();
    for raw in raw {
        let Some(what) = tracked(&raw.what, trackers, findings) else { continue };
        let tracker = match &what {
            Tracked::Interface(_) => None,
            Tracked::Tracker(name) => trackers.known.get(name.as_str()).copied(),
        };
        let limit = tracker.map_or(253, weight_limit);
        let default = tracker.and_then(|tracker| tracker.weight).map_or(0, |weight| weight.value);
        let weight = match &raw.weight {
            Some(_) => weight(&raw.weight, limit, findings).unwrap_or(0),
            None => i16::try_from(default).unwrap_or(0),
        };
        let reverse = raw.reverse.or_else(|| tracker?.reverse).is_some_and(|reverse| reverse.value);
        if let Some(first) = seen.insert(what.clone(), raw.what.at) {
            let name = match &what {
                Tracked::Interface(name) => name.as_str(),
                Tracked::Tracker(name) => name,
            };
            let warning = Diagnostic::warning(raw.what.at, format!("{name} is tracked twice"));
            findings.push(warning.related(first, "the first is here").help("remove one of the two"));
        } else {
            all.push((Track { what, weight, reverse }, raw.what.at));
        }
    }
    all
}

fn tracked(what: &Located<raw::Tracked>, trackers: &Trackers<'_>, findings: &mut Findings<'_>) -> Option<Tracked> {
    let known = || trackers.known.keys().copied();
    match &what.value {
        raw::Tracked::Interface(name) => Some(Tracked::Interface(name.clone())),
        raw::Tracked::Tracker(name) | raw::Tracked::Either(name) if trackers.known.contains_key(name.as_str()) => {
            Some(Tracked::Tracker(name.clone()))
        }
        raw::Tracked::Tracker(name) => {
            if findings.complete {
                let error = Diagnostic::error(what.at, format!("there is no tracker called `{name}`"));
                let error = findings.suggest(error, name, known());
                findings.push(error.help("add a [[tracker]] with this name"));
            }
            None
        }
        raw::Tracked::Either(name) => match name.parse() {
            Ok(interface) => {
                if let Some(near) = syntax::nearest(name, known()).filter(|_| findings.complete) {
                    let warning = Diagnostic::warning(what.at, format!("`{name}` is taken for an interface"));
                    let warning = warning.label(format!("did you mean the tracker `{near}`?"));
                    findings.push(warning.help(format!("write {{ interface = \"{name}\" }} if it is one")));
                }
                Some(Tracked::Interface(interface))
            }
            Err(_) => {
                if findings.complete {
                    let error =
                        Diagnostic::error(what.at, format!("`{name}` is neither a tracker nor can it be an interface"));
                    let error = findings.suggest(error, name, known());
                    findings.push(error.help("add a [[tracker]] with this name"));
                }
                None
            }
        },
    }
}

/// Files and processes, as in keepalived, reach one further.
fn weight_limit(tracker: &raw::Tracker) -> i64 {
    let further =
        |watched: &Located<raw::Watched>| matches!(watched.value, raw::Watched::File(_) | raw::Watched::Process(_));
    if tracker.watched.iter().any(further) { 254 } else { 253 }
}

fn weight(raw: &Maybe<i64>, limit: i64, findings: &mut Findings<'_>) -> Option<i16> {
    signed(raw, "weight", limit, findings)
}

fn signed(raw: &Maybe<i64>, key: &str, limit: i64, findings: &mut Findings<'_>) -> Option<i16> {
    let Located { value, at } = raw.as_ref()?;
    let number = i16::try_from(*value).ok().filter(|number| i64::from(number.unsigned_abs()) <= limit);
    if number.is_none() {
        findings.error(*at, format!("`{key}` cannot be {value}"), format!("it is a number from -{limit} to {limit}"));
    }
    number
}

/// Weights that cannot change who is master, whatever the other nodes are configured with.
fn without_effect(
    all: &[(Track, Location)],
    follows: &Follows<'_>,
    trackers: &Trackers<'_>,
    findings: &mut Findings<'_>,
) {
    let router = follows.router;
    let weighted: Vec<_> = all.iter().filter(|(track, _)| track.weight != 0).collect();
    let Some((_, first)) = weighted.first() else { return };
    if follows.priority == Priority::OWNER {
        let message = format!("`{router}` has priority 255, which no weight changes");
        findings.warning(*first, message, "write a priority of 254 or less, or weight = 0 for a fault");
        return;
    }
    let range = |track: &Track| {
        let weight = i32::from(track.weight);
        if trackers.is_file(&track.what) {
            (-FILE * weight.abs(), FILE * weight.abs())
        } else {
            (weight.min(0), weight.max(0))
        }
    };
    let (low, high) =
        weighted.iter().map(|(track, _)| range(track)).fold((0, 0), |(a, b), (low, high)| (a + low, b + high));
    let priority = i32::from(follows.priority.get());
    let files = weighted.iter().any(|(track, _)| trackers.is_file(&track.what));
    for (track, at) in &weighted {
        let (own_low, own_high) = range(track);
        // The others at their lowest still reach the end, or at their highest still do not leave it.
        let swallowed = (own_low == 0 && priority + low >= 254) || (own_high == 0 && priority + high <= 1);
        if swallowed {
            let ends = if own_low == 0 { 254 } else { 1 };
            let message = format!("this weight changes nothing: the priority of `{router}` is {ends} with and without");
            findings.warning(*at, message, "priorities are bounded to 1 and 254: move `priority` away from the end");
        }
    }
    if !files && (priority + high > 254 || priority + low < 1) && !all_swallowed(priority, low, high) {
        let message = format!(
            "with all its weights the priority of `{router}` would be {} to {}: it is bounded to {} to {}",
            priority + low,
            priority + high,
            (priority + low).clamp(1, 254),
            (priority + high).clamp(1, 254)
        );
        findings.warning(*first, message, "choose weights that leave it between 1 and 254");
    }
}

/// All of them were told about, one by one.
fn all_swallowed(priority: i32, low: i32, high: i32) -> bool {
    (low == 0 && priority >= 254) || (high == 0 && priority <= 1)
}
