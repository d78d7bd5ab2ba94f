//! Scripts: of trackers, notifications and FIFOs. What cannot be run here is told and left out, as in keepalived: a
//! script that always failed would be a fault of its instances.

use std::path::Path;

use super::Translator;
use super::global::{Globals, USUAL_USER};
use super::grammar::Node;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Command, Located, Maybe, Notify};
use crate::config::source::Location;
use crate::config::syntax;
use crate::model::{COMMAND_PATH, Invalid, User};

/// A line that begins with a redirection is the shell's, whole, as in keepalived.
fn split(text: &str) -> Result<Vec<String>, Invalid> {
    if text.starts_with('<') {
        return Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()]);
    }
    syntax::words(text)
}

impl Translator<'_> {
    /// `<STRING>|<QUOTED-STRING> [username [groupname]]`: one word, which is split here.
    pub(super) fn command(&mut self, node: &Node) -> Option<Command> {
        let words = self.script(node)?;
        let user = self.user(&node.arguments()[1..])?;
        self.is_owned(&user, words.at).then_some(Command { words, user, timeout: None })
    }

    /// Whom scripts run as that name nobody, which has to be known before the first of them.
    pub(super) fn script_owner<'n>(&mut self, blocks: impl Iterator<Item = &'n Node>, globals: &mut Globals) {
        for line in blocks.flat_map(Node::children) {
            match line.keyword().as_str() {
                "script_user" => match self.user(line.arguments()) {
                    Some(user) => globals.user = user,
                    None => self.ownerless = true,
                },
                "enable_script_security" => {
                    globals.security = Some(Located::new(self.switch(line), line.at()));
                }
                _ => {}
            }
        }
        let root = globals.user.is_none() && !self.elsewhere && !self.around.has_user(USUAL_USER);
        self.ownerless |= root && globals.is_careful();
    }

    /// Whether there is somebody to run the script at `at` as; if not, that is told.
    pub(super) fn is_owned(&mut self, user: &Maybe<User>, at: Location) -> bool {
        let unowned = user.is_none() && self.ownerless;
        if unowned {
            let message = "there is no user to run this script as: ignored, as in keepalived";
            let help = format!("name one with `script_user` in `global_defs`, or add the user {USUAL_USER}");
            self.findings.push(Diagnostic::warning(at, message).help(help));
        }
        !unowned
    }

    /// The words of the first argument, which begin with a program.
    pub(super) fn script(&mut self, node: &Node) -> Option<Located<Vec<String>>> {
        let word = self.argument(node)?;
        let words = match split(word.as_str()) {
            Ok(words) => words,
            Err(error) => {
                self.findings.warning(word.at, format!("{}: the script is ignored", error.0));
                return None;
            }
        };
        let program = words.first().map_or("", String::as_str);
        if !self.is_program(program) {
            let message = format!("`{program}` is no program that can be run here: ignored, as in keepalived");
            let help = "make it executable, or write the path of one that is";
            self.findings.push(Diagnostic::warning(word.at, message).help(help));
            return None;
        }
        self.first_command.get_or_insert(word.at);
        Some(Located::new(words, word.at))
    }

    fn is_program(&self, name: &str) -> bool {
        let here = |directory: &str| self.around.is_program(&Path::new(directory).join(name));
        self.elsewhere || if name.contains('/') { here("") } else { COMMAND_PATH.split(':').any(here) }
    }

    /// `[username [groupname]]`, perhaps nobody; none when they cannot be had, which is told.
    pub(super) fn user(&mut self, words: &[Word]) -> Option<Maybe<User>> {
        let Some(name) = words.first() else { return Some(None) };
        if let Some(surplus) = words.get(2) {
            self.findings.warning(surplus.at, format!("`{}` comes after a user and a group: ignored", surplus.text));
        }
        let text = match words.get(1) {
            Some(group) => format!("{}:{}", name.text, group.text),
            None => name.text.clone(),
        };
        match syntax::user(&text) {
            Ok(user) if self.is_known(&user) => Some(Some(Located::new(user, name.at))),
            Ok(_) => {
                let message =
                    format!("`{text}` is not on this machine: what would run so is ignored, as in keepalived");
                self.findings.push(Diagnostic::warning(name.at, message).help("add that user, or name another"));
                None
            }
            Err(error) => {
                self.findings.error(name.at, error.0);
                None
            }
        }
    }

    fn is_known(&self, user: &User) -> bool {
        let group = || user.group.as_ref().is_none_or(|group| self.around.has_group(group));
        self.elsewhere || (self.around.has_user(&user.name) && group())
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
