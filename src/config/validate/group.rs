//! Sync groups.

use std::collections::HashMap;

use super::command::{Commands, Told};
use super::duplicate;
use super::findings::{Findings, Unique};
use super::track::{self, Trackers};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw;
use crate::config::source::Location;
use crate::model::{SyncGroup, VirtualRouter};

/// Which group a router is in.
pub(super) struct Members<'c>(HashMap<&'c str, &'c raw::SyncGroup>);

impl<'c> Members<'c> {
    pub(super) fn new(raw: &'c raw::Config) -> Self {
        let members = raw.groups.iter().flat_map(|group| group.routers.iter().map(move |name| (&*name.value, group)));
        Self(members.collect())
    }

    pub(super) fn group_of(&self, router: &str) -> Option<&'c raw::SyncGroup> {
        self.0.get(router).copied()
    }
}

/// All groups that can be made out.
pub(super) fn groups(
    raw: &[raw::SyncGroup],
    routers: &[VirtualRouter],
    commands: &Commands,
    trackers: &Trackers<'_>,
    findings: &mut Findings<'_>,
) -> Vec<SyncGroup> {
    let known: HashMap<&str, &VirtualRouter> = routers.iter().map(|router| (router.name.as_str(), router)).collect();
    let mut names = Unique::new();
    let mut taken: HashMap<&str, Location> = HashMap::new();
    let mut groups = Vec::new();
    for raw in raw {
        let Some(name) = findings.required(&raw.name, "name", raw.at) else { continue };
        findings.name(name, "name");
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "sync group", name, first);
        }
        let mut members = Vec::new();
        for member in &raw.routers {
            let Some(router) = known.get(member.value.as_str()) else {
                unknown(member, &known, findings);
                continue;
            };
            if let Some(first) = taken.insert(&member.value, member.at) {
                let error = Diagnostic::error(member.at, format!("`{}` is in two groups", member.value));
                findings.push(error.related(first, "the first is here").help("remove one of the two"));
                continue;
            }
            members.push(*router);
        }
        alike(raw, &members, findings);
        groups.push(SyncGroup {
            name: name.value.clone(),
            routers: members.iter().map(|router| router.name.clone()).collect(),
            track: track::of_group(&raw.track, &members, trackers, findings),
            member_weights: raw.member_weights.is_some_and(|weights| weights.value),
            notify: commands.notify(raw.notify.as_ref(), Told::Group, findings),
        });
    }
    groups
}

fn unknown(member: &raw::Located<String>, known: &HashMap<&str, &VirtualRouter>, findings: &mut Findings<'_>) {
    if findings.complete {
        let error = Diagnostic::error(member.at, format!("there is no virtual router called `{}`", member.value));
        let error = findings.suggest(error, &member.value, known.keys().copied());
        findings.push(error.help("name one of the [[virtual-router]]s"));
    }
}

/// Members that differ where they should not: the group would be moved by one of them and back by another.
fn alike(raw: &raw::SyncGroup, members: &[&VirtualRouter], findings: &mut Findings<'_>) {
    let at = raw.name.as_ref().map_or(raw.at, |name| name.at);
    match members {
        [] if raw.routers.is_empty() => {
            findings.missing(at, "this group has no router", "name them: routers = [\"inside\", \"outside\"]");
        }
        [_] if raw.routers.len() == 1 => {
            findings.warning(at, "a group of one router moves nothing together", "name further routers, or remove it");
        }
        _ => {}
    }
    let Some((first, others)) = members.split_first() else { return };
    if let Some(other) = others.iter().find(|other| other.priority != first.priority) {
        let message = format!(
            "`{}` has priority {} and `{}` {}: another node could be better at one and worse at the other",
            first.name, first.priority, other.name, other.priority
        );
        findings.warning(at, message, "give the routers of a group one priority");
    }
    if let Some(other) = others.iter().find(|other| other.preempt != first.preempt) {
        let (preempts, waits) = if first.preempt { (first, other) } else { (other, first) };
        let message = format!("`{}` preempts and `{}` does not: the group does", preempts.name, waits.name);
        findings.warning(at, message, "write the same `preempt` at all of them");
    }
}
