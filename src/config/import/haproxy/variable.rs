//! `set-var` of `global`: what variables of the process hold from the beginning on.

use std::sync::Arc;

use super::Translator;
use super::grammar::Statement;
use super::proxy::Proxy;
use crate::config::acl;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::model::value::{Scope, Value};
use crate::rules;

impl Translator<'_> {
    /// `set-var proc.NAME EXPRESSION`, which is known at once.
    pub(super) fn constant(&mut self, statement: &Statement, arguments: &[Word]) {
        let [name, value] = arguments else {
            let message = "`set-var` wants a variable of the process and a value: `set-var proc.site str(berlin)`";
            self.findings.error(statement.at(), message);
            return;
        };
        let variable = match acl::named(&name.text) {
            Ok(variable) if variable.scope == Scope::Process => variable,
            Ok(_) => {
                self.findings
                    .error(name.at, format!("`{}`: in `global` there are variables of `proc.` only", name.text));
                return;
            }
            Err(message) => {
                self.findings.error(name.at, message);
                return;
            }
        };
        let nobody = Proxy::new(statement.at());
        let expression = match self.in_scope(&nobody, |scope| acl::expression(value, scope)) {
            Ok(expression) => expression,
            Err(fault) => return self.fault(fault),
        };
        let held = rules::constant(&expression);
        match held.as_ref().map(Value::as_text) {
            Some(text) if text.iter().all(|byte| !b"(),".contains(byte)) => {
                self.constants.insert(variable, Arc::from(String::from_utf8_lossy(&text)));
            }
            Some(_) => {
                let message = format!("`{}` holds a parenthesis or a comma, which cannot be kept here", name.text);
                self.push_once(Diagnostic::error(value.at, message).help("leave them out"));
            }
            None => {
                let message = format!("`{}` is not known when the process starts", value.text);
                self.push_once(Diagnostic::error(value.at, message).help("`str(..)`, `int(..)` and `env(..)` are"));
            }
        }
    }
}
