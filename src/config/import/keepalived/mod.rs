//! keepalived.conf. As with keepalived itself, an unknown word or a value out of range is told and the file still
//! runs, with keepalived's own default; what cannot be guessed (an address, a password's kind, a missing brace) and
//! what would be unsafe to ignore is refused.

mod address;
mod command;
mod expand;
mod glob;
mod global;
pub mod grammar;
mod group;
mod instance;
mod line;
mod routing;
mod strict;
mod track;
mod transport;
mod value;

use super::keywords::{self, Status};
use super::{Findings, Surroundings};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw;
use crate::config::source::{Location, SourceId, Sources};
use global::Globals;
use grammar::Node;
use instance::Around;
use track::{Kind, Known};

/// What can be said on keepalived's command line and matters here.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The configuration id (`-i`) that `@id` lines are compared with; the node's name up to the first dot by default.
    pub config_id: Option<String>,
    /// The configuration is for another machine: which programs and users this one has says nothing.
    pub elsewhere: bool,
}

/// Reads source `id`, and what it includes, which is added to `sources`.
pub fn import(
    sources: &mut Sources,
    id: SourceId,
    options: &Options,
    around: &dyn Surroundings,
) -> (raw::Config, Vec<Diagnostic>) {
    let mut findings = Findings::default();
    let config_id = options.config_id.clone().unwrap_or_else(|| {
        let name = around.node_name();
        name.split('.').next().unwrap_or_default().to_owned()
    });
    let roots = grammar::parse(sources, id, &config_id, around, &mut findings);
    let mut translator = Translator::new(&mut findings, around, options.elsewhere);
    let config = translator.config(&roots);
    (config, findings.into_vec())
}

/// Everything one pass over the tree needs.
struct Translator<'a> {
    findings: &'a mut Findings,
    around: &'a dyn Surroundings,
    elsewhere: bool,
    /// Nobody was found whom scripts could run as that name nobody.
    ownerless: bool,
    /// Where the first command stands that is to be run.
    first_command: Option<Location>,
    /// For the next rule without one.
    preference: u64,
}

/// What keepalived gives to rules without a preference, counting down.
const FIRST_PREFERENCE: u64 = 16_384;

impl<'a> Translator<'a> {
    fn new(findings: &'a mut Findings, around: &'a dyn Surroundings, elsewhere: bool) -> Self {
        Self { findings, around, elsewhere, ownerless: false, first_command: None, preference: FIRST_PREFERENCE }
    }
}

impl Translator<'_> {
    fn config(&mut self, roots: &[Node]) -> raw::Config {
        let mut config = raw::Config::default();
        let mut globals = Globals::default();
        // Instances take their defaults from `global_defs` wherever it stands.
        let global = || roots.iter().filter(|node| node.keyword().text == "global_defs");
        self.script_owner(global(), &mut globals);
        for node in global() {
            self.global_defs(node, &mut globals, &mut config);
        }
        let (mut trackers, mut groups, mut instances) = (Known::default(), Vec::new(), Vec::new());
        for node in roots {
            match self.look_up("root", node) {
                Some("vrrp_script") => config.trackers.extend(self.tracker(Kind::Script, node, &mut trackers)),
                Some("track_file" | "vrrp_track_file") => {
                    config.trackers.extend(self.tracker(Kind::File, node, &mut trackers));
                }
                Some("track_process" | "vrrp_track_process") => {
                    config.trackers.extend(self.tracker(Kind::Process, node, &mut trackers));
                }
                Some("static_routes") => config.routes.extend(self.routes(node)),
                Some("static_rules") => config.rules.extend(self.rules(node)),
                Some("vrrp_instance") => instances.push(node),
                Some("vrrp_sync_group") => groups.push(node),
                Some(_) | None => {}
            }
        }
        let members = group::plain_members(roots);
        let around = Around { globals: &globals, trackers: &trackers, members: &members };
        for node in &instances {
            config.routers.extend(self.instance(node, &around));
        }
        self.name_vmacs(&mut config.routers, globals.vmac_prefix.as_deref());
        let names = instances.iter().filter_map(|node| node.arguments().first());
        let mut named = names.map(|name| (name.as_str(), None)).collect();
        for node in groups {
            config.groups.extend(self.sync_group(node, &mut named, &trackers));
        }
        self.mail(&globals, &mut config);
        self.scripts(&mut globals, &mut config);
        config
    }

    /// The keyword of `node` when it is to be translated; what else there is to say about it is said.
    fn look_up(&mut self, context: &str, node: &Node) -> Option<&'static str> {
        let word = node.keyword();
        let table = keywords::keepalived();
        let Some(keyword) = table.get(context, word.as_str()) else {
            let diagnostic = Diagnostic::warning(word.at, format!("unknown word `{}`: ignored", word.text));
            let suggestion = self.findings.suggest(table, context, word.as_str());
            self.findings.push(match suggestion {
                Some(name) => diagnostic.help(format!("did you mean `{name}`?")),
                None if node.block.is_some() => diagnostic.help("its whole block is ignored"),
                None => diagnostic,
            });
            return None;
        };
        match keyword.status {
            Status::Implemented => Some(keyword.name),
            Status::Warned => {
                self.findings.push(
                    Diagnostic::warning(word.at, format!("`{}` has no effect yet", word.text)).help(keyword.reason),
                );
                None
            }
            Status::Refused => {
                self.findings.push(
                    Diagnostic::error(word.at, format!("`{}` cannot be ignored safely", word.text))
                        .help(keyword.reason),
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
