//! Scripts: of trackers, notifications and FIFOs.

use super::Translator;
use super::grammar::Node;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Command, Located, Maybe, Notify};
use crate::config::syntax;
use crate::model::User;

impl Translator<'_> {
    /// `<STRING>|<QUOTED-STRING> [username [groupname]]`: one word, which is split here.
    pub(super) fn command(&mut self, node: &Node) -> Option<Command> {
        let words = self.script(node)?;
        let user = self.user(&node.arguments()[1..]);
        Some(Command { words, user, timeout: None })
    }

    /// The words of the first argument.
    pub(super) fn script(&mut self, node: &Node) -> Option<Located<Vec<String>>> {
        let word = self.argument(node)?;
        match syntax::words(word.as_str()) {
            Ok(words) => {
                self.first_command.get_or_insert(word.at);
                Some(Located::new(words, word.at))
            }
            Err(error) => {
                self.findings.error(word.at, error.0);
                None
            }
        }
    }

    /// `[username [groupname]]`
    pub(super) fn user(&mut self, words: &[Word]) -> Maybe<User> {
        let name = words.first()?;
        if let Some(surplus) = words.get(2) {
            self.findings.warning(surplus.at, format!("`{}` comes after a user and a group: ignored", surplus.text));
        }
        let text = match words.get(1) {
            Some(group) => format!("{}:{}", name.text, group.text),
            None => name.text.clone(),
        };
        match syntax::user(&text) {
            Ok(user) => Some(Located::new(user, name.at)),
            Err(error) => {
                self.findings.error(name.at, error.0);
                None
            }
        }
    }

    /// `notify_*` and `smtp_alert` of an instance or a group; false for another keyword.
    pub(super) fn notify(&mut self, keyword: &str, node: &Node, notify: &mut Option<Notify>) -> bool {
        if keyword == "smtp_alert" {
            let mail = self.switch(node);
            notify.get_or_insert_with(|| Notify::silent(node.at())).mail = Some(Located::new(mail, node.at()));
            return true;
        }
        type Field = fn(&mut Notify) -> &mut Option<Command>;
        let field: Field = match keyword {
            "notify" => |notify| &mut notify.any,
            "notify_master" => |notify| &mut notify.master,
            "notify_backup" => |notify| &mut notify.backup,
            "notify_fault" => |notify| &mut notify.fault,
            "notify_stop" => |notify| &mut notify.stop,
            "notify_master_rx_lower_pri" => |notify| &mut notify.lower_priority,
            _ => return false,
        };
        if let Some(command) = self.command(node) {
            let notify = field(notify.get_or_insert_with(|| Notify::silent(node.at())));
            if let Some(first) = notify {
                let warning =
                    Diagnostic::warning(node.at(), "this script is given twice: the first is used, as in keepalived");
                self.findings.push(warning.related(first.words.at, "the first is here"));
            } else {
                *notify = Some(command);
            }
        }
        true
    }
}
