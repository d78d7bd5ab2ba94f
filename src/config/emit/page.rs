//! `[stats]` and `[[page]]`.

use super::{Keys, duration, host_port, list, listen, quoted};
use crate::config::acl;
use crate::config::raw::{Located, Monitor, Page, Statistics, Stats};
use crate::model::page::PageRule;

pub(super) fn stats(raw: &Stats) -> String {
    let mut lines = Keys::new("[stats]");
    lines.list("listen", raw.listen.iter().map(|listen| host_port(&listen.value)));
    lines.maybe("max-connections", &raw.max_connections, u64::to_string);
    statistics(&raw.statistics, &mut lines);
    lines.lines()
}

pub(super) fn page(raw: &Page) -> String {
    let mut lines = Keys::new("[[page]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.list("listen", raw.listen.iter().map(listen));
    lines.maybe("max-connections", &raw.max_connections, u64::to_string);
    rules("admission", &raw.admission, &mut lines);
    lines.option("monitor", raw.monitor.as_ref().map(monitor));
    rules("rules", &raw.rules, &mut lines);
    lines.option(
        "stats",
        raw.statistics.as_ref().map(|raw| {
            let mut keys = Keys::new("");
            statistics(raw, &mut keys);
            keys.inline()
        }),
    );
    rules("otherwise", &raw.otherwise, &mut lines);
    lines.lines()
}

fn rules(key: &str, rules: &[Located<PageRule>], lines: &mut Keys) {
    lines.line_each(key, rules.iter().map(|rule| acl::show_page_rule(&rule.value)));
}

fn monitor(raw: &Monitor) -> String {
    let mut keys = Keys::new("");
    keys.maybe("path", &raw.path, |path| quoted(path));
    let fail = raw.fail.iter().map(|condition| quoted(&acl::show_condition(&condition.value)));
    keys.option("fail", (!raw.fail.is_empty()).then(|| list(fail)));
    keys.inline()
}

fn statistics(raw: &Statistics, keys: &mut Keys) {
    keys.maybe("path", &raw.path, |path| quoted(path));
    let mut users = Keys::new("");
    for user in &raw.users {
        users.add(&quoted(&user.name.value), quoted(&user.password.value.0));
    }
    if !raw.users.is_empty() {
        keys.add("users", users.inline());
    }
    keys.maybe("refresh", &raw.refresh, duration);
    keys.maybe("hide-version", &raw.hide_version, bool::to_string);
    keys.maybe("show-node", &raw.show_node, bool::to_string);
}
