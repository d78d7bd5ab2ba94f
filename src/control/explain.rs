//! What `vipgate explain service` shows.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Where a connection would go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The service that the client connects to.
    pub service: String,
    /// The client's address.
    pub client: String,
    /// What came before the choice of a server, such as the rules that decided for a pool.
    #[serde(default)]
    pub steps: Vec<String>,
    /// The pool that serves it; none when it is turned away before.
    pub pool: Option<String>,
    /// The server it would get; none: it is turned away, or waits.
    pub server: Option<String>,
    /// Where that is reached.
    pub address: Option<String>,
    /// Why this one, or why none.
    pub because: String,
    /// Every server of the pool.
    #[serde(default)]
    pub servers: Vec<ExplainedServer>,
}

/// A server that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedServer {
    /// Its name.
    pub name: String,
    /// It would be chosen.
    pub chosen: bool,
    /// Whether it may be chosen, and why not.
    pub standing: String,
}

/// For people.
#[must_use]
pub fn render(explained: &Explained) -> String {
    let Explained { service, client, steps, pool, server, address, because, servers } = explained;
    let mut text = format!("{client} to service {service}\n");
    // Writing to a String cannot fail.
    for step in steps {
        let _ = writeln!(text, "  {step}");
    }
    let pool = pool.as_ref().map_or_else(String::new, |pool| format!("{pool}/"));
    let _ = match (server, address) {
        (Some(server), Some(address)) => writeln!(text, "  goes to {pool}{server} ({address}): {because}"),
        (Some(server), None) => writeln!(text, "  goes to {pool}{server}: {because}"),
        (None, _) => writeln!(text, "  gets no server now: {because}"),
    };
    let width = servers.iter().map(|server| server.name.chars().count()).max().unwrap_or(0);
    for ExplainedServer { name, chosen, standing } in servers {
        let mark = if *chosen { '>' } else { ' ' };
        let _ = writeln!(text, "  {mark} {name:width$}  {standing}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_on_a_few_lines() {
        let server = |name: &str, chosen, standing: &str| {
            let (name, standing) = (name.to_owned(), standing.to_owned());
            ExplainedServer { name, chosen, standing }
        };
        let mut explained = Explained {
            service: "web".into(),
            client: "192.0.2.7".into(),
            steps: vec!["rule 2 sends it to pool files".into()],
            pool: Some("files".into()),
            server: Some("s1".into()),
            address: Some("10.0.0.11:80".into()),
            because: "the stick table remembers it".into(),
            servers: vec![server("s1", true, "may be chosen"), server("spare", false, "a backup, not needed")],
        };
        let text = "192.0.2.7 to service web\n  rule 2 sends it to pool files\n  \
                    goes to files/s1 (10.0.0.11:80): the stick table remembers it\n  \
                    > s1     may be chosen\n    spare  a backup, not needed\n";
        assert_eq!(render(&explained), text);
        (explained.server, explained.because) = (None, "no server is up".into());
        assert!(render(&explained).contains("\n  gets no server now: no server is up\n"));
    }
}
