//! Whether a virtual router may be master here: when every service it fronts can be served, and no thread is stuck.

use std::collections::BTreeMap;

use crate::model::Config;

/// What each router was told last, so that only changes are told.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    told: BTreeMap<String, bool>,
}

impl Readiness {
    /// The routers whose readiness differs from what they were told last, with what to tell them now.
    /// `serves` says whether a service's listeners are bound and a server is usable.
    pub(super) fn changes(
        &mut self,
        config: &Config,
        stuck: bool,
        serves: impl Fn(&str) -> bool,
    ) -> Vec<(String, bool)> {
        self.told.retain(|name, _| config.routers.iter().any(|router| router.name == *name));
        let mut changes = Vec::new();
        for router in &config.routers {
            let ready = !stuck && config.fronted(router).all(|service| serves(&service.name));
            if self.told.insert(router.name.clone(), ready) != Some(ready) {
                changes.push((router.name.clone(), ready));
            }
        }
        changes
    }
}
