//! Commands, and who is told: `notify`, `[notify]`, `[mail]`, `[scripts]`.

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Value};
use crate::config::raw::{Command, Fifo, Located, Mail, Notify, NotifyTargets, Scripts};
use crate::config::syntax;
use crate::model::User;

impl Decoder<'_> {
    /// One text, which is split, a list of words, or a table.
    pub(super) fn command(&mut self, value: Value<'_>, key: &str) -> Option<Command> {
        if !matches!(value.value, DeValue::Table(_)) {
            let words = Located::new(self.command_words(value, key)?, value.at);
            return Some(Command { words, user: None, timeout: None });
        }
        let fields = self.table(value, key, &[&keys::COMMAND])?;
        self.require(fields, &keys::COMMAND, &["command"], "add command = \"/usr/local/bin/program\"");
        let words = self.field(fields, "command", Self::command_words);
        let user = self.field(fields, "user", Self::user);
        let timeout = self.field(fields, "timeout", Self::duration);
        Some(Command { words: words?, user, timeout })
    }

    pub(super) fn command_words(&mut self, value: Value<'_>, key: &str) -> Option<Vec<String>> {
        let words = match value.value {
            DeValue::String(text) => syntax::words(text),
            DeValue::Array(items) => {
                let words: Option<Vec<String>> = items.iter().map(|item| self.string(self.value(item), key)).collect();
                syntax::command(words?)
            }
            _ => {
                self.wrong_type(value, key, "a command: a string or a list of words");
                return None;
            }
        };
        words.map_err(|invalid| self.error(value.at, invalid.0)).ok()
    }

    pub(super) fn user(&mut self, value: Value<'_>, key: &str) -> Option<User> {
        self.parsed(value, key, syntax::user)
    }

    pub(super) fn notify(&mut self, value: Value<'_>, key: &str) -> Option<Notify> {
        let fields = self.table(value, key, &[&keys::NOTIFY])?;
        let mut on = |event: &str| self.field(fields, event, Self::command).map(|located| located.value);
        Some(Notify {
            at: value.at,
            master: on("master"),
            backup: on("backup"),
            fault: on("fault"),
            stop: on("stop"),
            any: on("any"),
            lower_priority: on("lower-priority"),
            mail: self.field(fields, "mail", Self::boolean),
        })
    }

    pub(super) fn scripts(&mut self, value: Value<'_>, key: &str) -> Option<Scripts> {
        let fields = self.table(value, key, &[&keys::SCRIPTS])?;
        Some(Scripts {
            at: value.at,
            user: self.field(fields, "user", Self::user),
            security: self.field(fields, "security", Self::boolean),
        })
    }

    pub(super) fn notify_targets(&mut self, value: Value<'_>, key: &str) -> Option<NotifyTargets> {
        let fields = self.table(value, key, &[&keys::NOTIFY_TARGETS])?;
        Some(NotifyTargets { at: value.at, fifos: self.list(fields, "fifo", Self::fifo) })
    }

    fn fifo(&mut self, value: Value<'_>, key: &str) -> Option<Fifo> {
        if !matches!(value.value, DeValue::Table(_)) {
            return Some(Fifo { path: Located::new(self.path(value, key)?, value.at), reader: None });
        }
        let fields = self.table(value, key, &[&keys::FIFO])?;
        self.require(fields, &keys::FIFO, &["path"], "add path = \"/run/vipgate/events\"");
        let path = self.field(fields, "path", Self::path);
        let reader = self.field(fields, "reader", Self::command).map(|located| located.value);
        Some(Fifo { path: path?, reader })
    }

    pub(super) fn mail(&mut self, value: Value<'_>, key: &str) -> Option<Mail> {
        let fields = self.table(value, key, &[&keys::MAIL])?;
        self.require(fields, &keys::MAIL, &["server"], "say who takes it: server = \"mail.example\"");
        self.require(fields, &keys::MAIL, &["from"], "say whom it is from: from = \"vipgate@example.org\"");
        self.require(fields, &keys::MAIL, &["to"], "say who gets it: to = [\"admin@example.org\"]");
        Some(Mail {
            at: value.at,
            server: self.field(fields, "server", |this, value, key| this.parsed(value, key, syntax::mail_server)),
            helo: self.field(fields, "helo", Self::string),
            from: self.field(fields, "from", Self::string),
            to: self.list(fields, "to", Self::located),
            timeout: self.field(fields, "timeout", Self::duration),
            routers: self.field(fields, "routers", Self::boolean),
            servers: self.field(fields, "servers", Self::boolean),
            faults: self.field(fields, "faults", Self::boolean),
            gap: self.field(fields, "gap", Self::duration),
        })
    }
}
