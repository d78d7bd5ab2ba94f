//! `vipgate vrrp show`: all that is known of each virtual router, a paragraph each.

use crate::stats::human;
use crate::stats::{RouterSnapshot, Snapshot};

/// The routers, or the one called `only`; none: there is no such router.
#[must_use]
pub fn render(snapshot: &Snapshot, only: Option<&str>) -> Option<String> {
    let chosen = snapshot.routers.iter().filter(|router| only.is_none_or(|name| router.name == name));
    let paragraphs: Vec<String> = chosen.map(|router| paragraph(router, snapshot)).collect();
    if paragraphs.is_empty() {
        return only.is_none().then(|| "no virtual router is configured\n".to_owned());
    }
    Some(paragraphs.join("\n"))
}

fn paragraph(router: &RouterSnapshot, snapshot: &Snapshot) -> String {
    let role = router.role.label().to_uppercase();
    let since = router.since_seconds.map_or_else(String::new, |since| format!(" for {}", human::duration(since)));
    let because = if router.reason.is_empty() { String::new() } else { format!(" ({})", router.reason) };
    let mut out = format!("{}: {role}{since}{because}\n", router.name);
    let mut line = |label: &str, text: String| {
        if !text.is_empty() {
            out.push_str(&format!("  {label:<10} {}\n", super::table::line(&text)));
        }
    };
    let interval = human::duration(router.interval_seconds);
    line(
        "speaks",
        format!("on {}, VRID {}, version {}, every {interval}", router.interface, router.vrid, router.protocol),
    );
    line("priority", priority(router));
    line("addresses", router.addresses.join(" "));
    line("group", router.group.clone().unwrap_or_default());
    line("fronts", fronts(router));
    line("follows", router.tracks.join(", "));
    line("heard", heard(router));
    line("session", router.session.clone().unwrap_or_default());
    line("adverts", adverts(router));
    line("rejected", rejected(router));
    line("trouble", trouble(router));
    let prefix = format!("router {}: ", router.name);
    for cause in snapshot.causes.iter().filter_map(|cause| cause.strip_prefix(&prefix)) {
        line("!", cause.to_owned());
    }
    out
}

fn priority(router: &RouterSnapshot) -> String {
    let mut notes = Vec::new();
    if router.priority != router.configured_priority {
        notes.push(format!("configured {}", router.configured_priority));
    }
    notes.extend(router.priority_override.map(|value| format!("set to {value} at run time")));
    notes.extend(router.frozen.then(|| "frozen".to_owned()));
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("{}{notes}", router.priority)
}

fn fronts(router: &RouterSnapshot) -> String {
    if router.fronts.is_empty() {
        return String::new();
    }
    let state = if router.ready { "can be served" } else { "cannot be served here" };
    format!("{}: {state}", router.fronts.join(", "))
}

fn heard(router: &RouterSnapshot) -> String {
    match (&router.master, router.heard_seconds) {
        (Some(master), Some(ago)) => {
            format!("{} at priority {}, {} ago", master.address, master.priority, human::duration(ago))
        }
        (_, Some(ago)) => format!("no master now; the last advertisement {} ago", human::duration(ago)),
        (_, None) => "nobody yet".to_owned(),
    }
}

fn adverts(router: &RouterSnapshot) -> String {
    let mut parts = vec![
        format!("{} sent ({} with priority 0)", router.sent, router.zero_sent),
        format!("{} heard ({} with priority 0)", router.received, router.zero_received),
    ];
    if router.send_errors > 0 {
        parts.push(format!("{} not sent, {} of them refused by the firewall", router.send_errors, router.send_refused));
    }
    parts.push(format!("{} announcements", router.announcements));
    parts.join(", ")
}

fn rejected(router: &RouterSnapshot) -> String {
    let counts = router.rejected.iter().filter(|(_, count)| **count > 0);
    let mut parts: Vec<String> = counts.map(|(reason, count)| format!("{count} {reason}")).collect();
    if let Some(last) = &router.last_rejected {
        let source = last.source.map_or_else(|| "somebody".to_owned(), |source| source.to_string());
        parts.push(format!("the last from {source} {} ago", human::duration(last.ago_seconds)));
    }
    parts.join(", ")
}

fn trouble(router: &RouterSnapshot) -> String {
    let mut parts = Vec::new();
    if router.two_masters > 0 {
        let lasted = human::duration(router.two_masters_seconds);
        parts.push(format!("two masters heard {} times, {lasted} in all", router.two_masters));
    }
    if router.none_heard > 0 {
        parts.push(format!("master {} times because nobody was heard", router.none_heard));
    }
    if router.addresses_taken > 0 {
        let by = router.suspects.as_deref().map_or_else(String::new, |suspects| format!(", perhaps {suspects}"));
        parts.push(format!("addresses taken away {} times by somebody else{by}", router.addresses_taken));
    }
    if router.two_announcers > 0 {
        parts.push(format!("addresses announced {} times by somebody else", router.two_announcers));
    }
    parts.join(", ")
}
