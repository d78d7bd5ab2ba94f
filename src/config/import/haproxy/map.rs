//! `use_backend %[req.ssl_sni,lower,map(FILE,DEFAULT)]`: a backend's name that is made from the connection.

use super::Translator;
use super::proxy::Proxy;
use crate::config::acl;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::Located;
use crate::config::source::Location;
use crate::model::expression::{Converter, Map, Naming};
use crate::model::list::How;
use crate::model::rule::{Action, Condition, Rule, Stage};

impl Proxy {
    /// Whether a `use_backend` names a backend; one whose name is made may have none that is there.
    pub(super) fn leads_somewhere(&self, proxies: &[Proxy]) -> bool {
        self.rules.rules.iter().any(|rule| match &rule.value.action {
            Action::Pool(_) => true,
            Action::Named(naming) => proxies.iter().any(|proxy| proxy.is_backend() && naming.can_be(&proxy.name)),
            _ => false,
        })
    }
}

impl Translator<'_> {
    pub(super) fn named_backend(
        &mut self,
        name: &Word,
        when: Option<Condition>,
        at: Location,
        proxy: &mut Proxy,
    ) -> Result<(), Box<Diagnostic>> {
        let naming = self.in_scope(proxy, |scope| acl::naming(name, scope)).map_err(|fault| {
            Diagnostic::from(fault).help(
                "`%[req.ssl_sni,lower]` and `%[dst_port]` can be part of a name, and a map can say it: `%[req.ssl_sni,lower,map(/etc/haproxy/names.map,default)]`",
            )
        })?;
        for key in capitals(&naming) {
            let message = format!("`{key}` of the map never matches: it has a capital letter, and `lower` leaves none");
            self.push_once(Diagnostic::warning(name.at, message));
        }
        proxy.rules.all_mapped |= when.is_none();
        let rule = Rule { stage: Stage::Route, action: Action::Named(naming), when };
        proxy.rules.rules.push(Located::new(rule, at));
        Ok(())
    }
}

/// Of each map that is asked for small letters only, a key that has others.
fn capitals(naming: &Naming) -> impl Iterator<Item = &String> {
    let pairs = naming.values().flat_map(|value| value.then.windows(2));
    let maps = pairs.filter_map(|pair| match pair {
        [Converter::Lower, Converter::Map(Map { lookup, .. })] if lookup.how != How::Regex => {
            Some(&lookup.list.entries)
        }
        _ => None,
    });
    maps.filter_map(|entries| {
        entries.iter().map(|(key, _)| key).find(|key| key.contains(|c: char| c.is_ascii_uppercase()))
    })
}
