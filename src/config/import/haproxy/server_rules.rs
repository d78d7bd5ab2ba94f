//! `use-server`, `force-persist`, `ignore-persist`, and what else a backend asks before it chooses a server.

use std::time::Duration;

use super::Translator;
use super::grammar::Statement;
use super::proxy::Proxy;
use super::rules::RulesSaid;
use crate::config::acl;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Located, PoolChoice};
use crate::model::rule::{Rule, Stage};

impl Translator<'_> {
    /// `use-server NAME {if | unless} CONDITION`, `force-persist {if | unless} CONDITION` and its like.
    pub(super) fn server_rule(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let keyword = statement.keyword();
        if let Some(name) = arguments.first().filter(|name| name.text.contains("%[")) {
            let error = Diagnostic::error(name.at, "a server's name cannot be made from the connection yet");
            self.findings.push(error.help("write a `use-server` line for each server"));
            return;
        }
        let read = self.in_scope(proxy, |scope| {
            let (before, when) = acl::split(arguments, scope)?;
            Ok((acl::server_action(keyword, before)?, when))
        });
        match read {
            Ok((Some(action), when @ Some(_))) => {
                let rule = Rule { stage: Stage::Server, action, when };
                proxy.rules.of_pool.push(Located::new(rule, statement.at()));
            }
            Ok(_) => {
                let message = format!("`{}` wants a condition: `if` or `unless`, and an ACL", keyword.text);
                self.findings.error(statement.at(), message);
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// What a backend says about the choice of a server. `proxies` may lead to it.
    pub(super) fn pool_choice(&mut self, proxy: &Proxy, proxies: &[Proxy]) -> PoolChoice {
        let said = &proxy.rules;
        let choice = PoolChoice { server_state: self.state_file(proxy), ..proxy.choice.raw(proxy.balance, proxy.at) };
        let Some(first) = said.of_pool.first() else { return choice };
        let waits = proxies.iter().any(|proxy| proxy.rules.inspect_delay.is_some());
        if RulesSaid::listens(&said.of_pool) && !waits {
            let message = "rules ask for what clients say, but none of them waits for it";
            self.push_once(Diagnostic::warning(first.at, message).help("add `tcp-request inspect-delay 5s`"));
        }
        // HAProxy does not wait unless it is told to; natively rules do.
        let no_delay = Located::new(Duration::ZERO, first.at);
        PoolChoice {
            rules: said.of_pool.clone(),
            inspect_delay: Some(said.inspect_delay.unwrap_or(no_delay)),
            ..choice
        }
    }
}
