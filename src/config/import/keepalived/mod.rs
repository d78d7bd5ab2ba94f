//! keepalived.conf. As with keepalived itself, an unknown word or a value out of range is told and the file still
//! runs, with keepalived's own default; what cannot be guessed (an address, a password's kind, a missing brace) and
//! what would be unsafe to ignore is refused.

mod address;
mod expand;
mod glob;
mod global;
pub mod grammar;
mod instance;
mod value;

use super::keywords::{self, Status};
use super::{Findings, Surroundings};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw;
use crate::config::source::{SourceId, Sources};
use global::Globals;
use grammar::Node;

/// What can be said on keepalived's command line and matters here.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The configuration id (`-i`) that `@id` lines are compared with; the node's name up to the first dot by default.
    pub config_id: Option<String>,
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
    let config = Translator { findings: &mut findings }.config(&roots);
    (config, findings.into_vec())
}

/// Everything one pass over the tree needs.
struct Translator<'a> {
    findings: &'a mut Findings,
}

impl Translator<'_> {
    fn config(&mut self, roots: &[Node]) -> raw::Config {
        let mut config = raw::Config::default();
        let mut globals = Globals::default();
        // Instances take their defaults from `global_defs` wherever it stands.
        for node in roots.iter().filter(|node| node.keyword().text == "global_defs") {
            self.global_defs(node, &mut globals, &mut config);
        }
        for node in roots {
            if node.keyword().text == "vrrp_sync_group" {
                self.sync_group(node);
            } else if self.look_up("root", node) == Some("vrrp_instance") {
                config.routers.extend(self.instance(node, &globals));
            }
        }
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

    /// A group whose members are on one node whatever happens is no group; a larger one must not split.
    fn sync_group(&mut self, node: &Node) {
        let members = node
            .children()
            .iter()
            .filter(|child| child.keyword().text == "group")
            .flat_map(Node::children)
            .map(|member| member.words.len())
            .sum::<usize>();
        let word = node.keyword();
        if members > 1 {
            self.findings.push(
                Diagnostic::error(word.at, "sync groups are not there yet, and these instances may end up on different nodes")
                    .help("let one instance carry all addresses (`virtual_ipaddress_excluded` takes any number, of both families)"),
            );
        } else {
            self.findings.warning(word.at, "a sync group of one instance has no effect; its scripts are not run yet");
        }
        for child in node.children().iter().filter(|child| child.keyword().text != "group") {
            self.look_up("vrrp_sync_group", child);
        }
    }
}

#[cfg(test)]
mod tests;
