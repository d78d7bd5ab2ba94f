//! `vrrp_sync_group`.

use std::collections::{HashMap, HashSet};

use super::Translator;
use super::grammar::Node;
use super::track::{Kind, Known};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Located, Maybe, SyncGroup};
use crate::config::source::Location;

/// The instances of a file by name, and where a group named each first.
pub(super) type Instances<'n> = HashMap<&'n str, Option<Location>>;

impl Translator<'_> {
    /// A group; members that are not defined in the file are left out, as in keepalived.
    pub(super) fn sync_group(
        &mut self,
        node: &Node,
        instances: &mut Instances<'_>,
        known: &Known,
    ) -> Option<SyncGroup> {
        let Some(name) = node.arguments().first() else {
            self.findings.error(node.at(), "a `vrrp_sync_group` wants a name");
            return None;
        };
        let mut group = SyncGroup {
            at: name.at,
            name: Some(Located::new(name.text.clone(), name.at)),
            routers: Vec::new(),
            track: Vec::new(),
            member_weights: None,
            notify: None,
        };
        for line in node.children() {
            let Some(keyword) = self.look_up("vrrp_sync_group", line) else { continue };
            match keyword {
                "group" => {
                    for member in self.lines(line).iter().flat_map(|line| &line.words) {
                        group.routers.extend(self.member(member, instances));
                    }
                }
                "track_interface" => group.track.extend(self.track_interface(line)),
                "track_script" => group.track.extend(self.track(Kind::Script, line, known, false)),
                "track_file" => group.track.extend(self.track(Kind::File, line, known, false)),
                "track_process" => group.track.extend(self.track(Kind::Process, line, known, false)),
                "global_tracking" | "sync_group_tracking_weight" => {
                    group.member_weights = Some(Located::new(true, line.at()));
                }
                keyword => {
                    self.notify(keyword, line, &mut group.notify);
                }
            }
        }
        if group.routers.is_empty() {
            self.findings.warning(name.at, "a group without instances: ignored, as in keepalived");
            return None;
        }
        Some(group)
    }

    /// An instance that is there and in no group yet.
    fn member(&mut self, member: &Word, instances: &mut Instances<'_>) -> Maybe<String> {
        let Some(taken) = instances.get_mut(member.as_str()) else {
            let message = format!("there is no instance called `{}`: ignored, as in keepalived", member.text);
            self.findings.warning(member.at, message);
            return None;
        };
        if let Some(first) = *taken {
            let message = format!("`{}` is in a group already: ignored, as in keepalived", member.text);
            self.findings.push(Diagnostic::warning(member.at, message).related(first, "here"));
            return None;
        }
        *taken = Some(member.at);
        Some(Located::new(member.text.clone(), member.at))
    }
}

/// The instances of groups that do not let their members' weights count.
pub(super) fn plain_members(roots: &[Node]) -> HashSet<&str> {
    let groups = roots.iter().filter(|node| node.keyword().text == "vrrp_sync_group");
    let own_weights = |line: &Node| matches!(line.keyword().as_str(), "global_tracking" | "sync_group_tracking_weight");
    groups
        .filter(|group| !group.children().iter().any(own_weights))
        .flat_map(|group| group.children().iter().filter(|line| line.keyword().text == "group"))
        .flat_map(|line| line.children().iter().flat_map(|line| &line.words))
        .map(|member| member.as_str())
        .collect()
}
