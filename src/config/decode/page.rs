//! `[stats]` and `[[page]]`.

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::acl;
use crate::config::raw::{Located, Monitor, Page, Secret, Statistics, Stats, User};
use crate::config::syntax;
use crate::model::page::PageRule;
use crate::model::rule::Condition;

impl Decoder<'_> {
    pub(super) fn stats(&mut self, value: Value<'_>, key: &str) -> Option<Stats> {
        let fields = self.table(value, key, &[&keys::STATS, &keys::STATISTICS])?;
        Some(Stats {
            at: value.at,
            listen: self.list(fields, "listen", |this, value, key| {
                Some(Located::new(this.parsed(value, key, syntax::host_port)?, value.at))
            }),
            max_connections: self.field(fields, "max-connections", Self::number),
            statistics: self.statistics(fields),
        })
    }

    pub(super) fn page(&mut self, value: Value<'_>, key: &str) -> Option<Page> {
        let fields = self.table(value, key, &[&keys::PAGE])?;
        self.require(fields, &keys::PAGE, &["name"], "give it a name of your own: name = \"healthz\"");
        self.require(fields, &keys::PAGE, &["listen"], "say where it is: listen = \"0.0.0.0:8081\"");
        Some(Page {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            listen: self.list(fields, "listen", Self::listen),
            max_connections: self.field(fields, "max-connections", Self::number),
            admission: self.list(fields, "admission", Self::page_rule),
            monitor: self.field(fields, "monitor", Self::monitor).map(|located| located.value),
            rules: self.list(fields, "rules", Self::page_rule),
            statistics: self
                .field(fields, "stats", |this, value, key| {
                    let fields = this.table(value, key, &[&keys::STATISTICS])?;
                    Some(this.statistics(fields))
                })
                .map(|located| located.value),
            otherwise: self.list(fields, "otherwise", Self::page_rule),
        })
    }

    fn monitor(&mut self, value: Value<'_>, key: &str) -> Option<Monitor> {
        let fields = self.table(value, key, &[&keys::MONITOR])?;
        self.require(fields, &keys::MONITOR, &["path"], "say what is asked for: path = \"/healthz\"");
        Some(Monitor {
            at: value.at,
            path: self.field(fields, "path", Self::string),
            fail: self.list(fields, "fail", Self::failing),
        })
    }

    fn failing(&mut self, value: Value<'_>, key: &str) -> Option<Located<Condition>> {
        self.acl_text(value, key, true, acl::only_condition)
    }

    fn page_rule(&mut self, value: Value<'_>, key: &str) -> Option<Located<PageRule>> {
        self.acl_text(value, key, true, acl::page_rule)
    }

    fn statistics(&mut self, fields: Fields<'_>) -> Statistics {
        Statistics {
            at: fields.at,
            path: self.field(fields, "path", Self::string),
            users: self.field(fields, "users", Self::users).map(|located| located.value).unwrap_or_default(),
            refresh: self.field(fields, "refresh", Self::duration),
            hide_version: self.field(fields, "hide-version", Self::boolean),
            show_node: self.field(fields, "show-node", Self::boolean),
        }
    }

    fn users(&mut self, value: Value<'_>, key: &str) -> Option<Vec<User>> {
        let DeValue::Table(table) = value.value else {
            self.wrong_type(value, key, "a table such as { name = \"password\" }");
            return None;
        };
        let mut users = Vec::new();
        for (name, password) in table.iter() {
            let password = self.value(password);
            if let Some(secret) = self.text(password, name.get_ref()) {
                users.push(User {
                    name: Located::new(name.get_ref().to_string(), self.at(name.span())),
                    password: Located::new(Secret(secret.to_owned()), password.at),
                });
            }
        }
        Some(users)
    }
}
