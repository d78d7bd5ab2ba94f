//! The page people read. No script; its style sheet is a resource of its own, so that the content security policy can
//! refuse everything else.

use askama::Template;

use super::registry::Health;
use super::router::Role;
use super::snapshot::{RouterSnapshot, ServerSnapshot, ServiceSnapshot, Snapshot};
use super::verdict::Verdict;

/// The page's style sheet.
pub const STYLE_SHEET: &str = include_str!("templates/vipgate.css");

/// Nothing but our own style sheet may be loaded, and no other site may frame the page.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The snapshot as a page; `path` is the page's own, for the link to its CSV form.
pub fn render(snapshot: &Snapshot, path: &str) -> Result<String, askama::Error> {
    Page { snapshot, path }.render()
}

#[derive(Template)]
#[template(path = "page.html", config = "src/stats/templates/askama.toml")]
struct Page<'a> {
    snapshot: &'a Snapshot,
    path: &'a str,
}

impl Page<'_> {
    /// Reasons connections ended for, the most frequent first; only those that occurred.
    fn ended(&self, service: &ServiceSnapshot) -> Vec<(String, u64)> {
        let mut ended: Vec<(String, u64)> = service
            .ended
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| (reason.clone(), *count))
            .collect();
        ended.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ended
    }

    fn rejected(&self, router: &RouterSnapshot) -> Vec<(String, u64)> {
        router
            .rejected
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| (reason.clone(), *count))
            .collect()
    }

    /// Badge text of a server: health, and where its counter stands while it is in between.
    fn health(&self, server: &ServerSnapshot) -> String {
        match server.counter {
            Some(counter) if counter.now > 0 && counter.now + 1 < counter.rise + counter.fall => {
                format!("{} {}/{}", server.health.label(), counter.now, counter.rise + counter.fall - 1)
            }
            Some(_) | None => server.health.label().to_owned(),
        }
    }

    /// Class of a server's badge.
    fn health_class(&self, server: &ServerSnapshot) -> &'static str {
        match server.health {
            Health::Up => match server.counter {
                Some(counter) if counter.now + 1 < counter.rise + counter.fall => "warn",
                Some(_) | None => "good",
            },
            Health::Down => "bad",
            Health::Unchecked | Health::Disabled => "dim",
        }
    }

    /// Class of a router's badge.
    fn role_class(&self, router: &RouterSnapshot) -> &'static str {
        match router.role {
            Role::Master => "good",
            Role::Backup => "calm",
            Role::Leaving | Role::Initialize => "warn",
            Role::Fault => "bad",
        }
    }

    /// Class of the verdict's banner.
    fn verdict_class(&self) -> &'static str {
        match self.snapshot.verdict {
            Verdict::Ok => "good",
            Verdict::Degraded => "warn",
            Verdict::Down => "bad",
        }
    }
}

mod filters {
    #![expect(unreachable_pub, reason = "the macro writes `pub` items of its own")]

    use crate::stats::human;

    #[askama::filter_fn]
    pub(super) fn bytes(count: &u64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(human::bytes(*count))
    }

    #[askama::filter_fn]
    pub(super) fn count(count: &u64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(human::count(*count))
    }

    #[askama::filter_fn]
    pub(super) fn duration(seconds: &f64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(human::duration(*seconds))
    }
}
