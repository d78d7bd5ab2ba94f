//! `show resolvers`.

use std::fmt::Write as _;

use super::Shared;
use crate::control::operate::{NameServerView, ResolverView};
use crate::control::{Reply, Request, server};

const NO_SECTION: &str = "Can't find that resolvers section\n";

/// All of them, or the named one.
pub(super) async fn show(arguments: &[&str], shared: &Shared) -> String {
    let reply = server::call(&shared.calls, Request::Resolvers).await;
    let resolvers = if let Reply::Resolvers { resolvers } = reply { resolvers } else { Vec::new() };
    render(arguments.first().copied(), &resolvers)
}

fn render(only: Option<&str>, resolvers: &[ResolverView]) -> String {
    let wanted = |resolver: &&ResolverView| only.is_none_or(|name| resolver.name == name);
    let mut out = String::new();
    for resolver in resolvers.iter().filter(wanted) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Resolvers section {}", resolver.name);
        for server in &resolver.servers {
            let _ = writeln!(out, " nameserver {}:", server.name);
            for (name, value) in counters(server) {
                let _ = writeln!(out, "  {:<13}{value}", format!("{name}:"));
            }
        }
    }
    if out.is_empty() && only.is_some() { NO_SECTION.to_owned() } else { out }
}

/// In HAProxy's order. What cannot happen here is 0: a name that stands for another is followed whatever that leads to
/// (`cname`, `cname_error`), and an answer that is too long is asked for again over TCP (`too_big`).
fn counters(server: &NameServerView) -> [(&'static str, u64); 15] {
    [
        ("sent", server.sent),
        ("snd_error", server.send_errors),
        ("valid", server.valid),
        ("update", server.updates),
        ("cname", 0),
        ("cname_error", 0),
        ("any_err", server.empty),
        ("nx", server.no_such_name),
        ("timeout", server.timeouts),
        ("refused", server.refused),
        ("other", server.other),
        ("invalid", server.invalid),
        ("too_big", 0),
        ("truncated", server.truncated),
        ("outdated", server.outdated),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_shown_as_by_haproxy() {
        let server = NameServerView { name: "d1".to_owned(), sent: 82, timeouts: 3, ..NameServerView::default() };
        let of = |name: &str, servers| ResolverView { name: name.to_owned(), servers };
        let all = [of("dns", vec![server]), of("empty", Vec::new())];
        let text = render(None, &all);
        assert!(
            text.starts_with("Resolvers section dns\n nameserver d1:\n  sent:        82\n  snd_error:   0\n"),
            "{text}"
        );
        assert!(
            text.contains("\n  timeout:     3\n") && text.ends_with("  outdated:    0\nResolvers section empty\n"),
            "{text}"
        );
        assert_eq!(render(Some("empty"), &all), "Resolvers section empty\n");
        assert_eq!(render(Some("other"), &all), NO_SECTION);
        assert_eq!(render(None, &[]), "");
    }
}
