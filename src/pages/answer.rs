//! From a request to its answer: whether there is any, then the monitor, then the rules, then the statistics.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header;
use hyper::http::request::Parts;
use hyper::{Request, Response};

use super::connections::Ends;
use super::{Served, Version, reply, statistics};
use crate::model::figure::{Figure, ServiceFigure};
use crate::model::page::{Monitor, PageAction, PageRule};
use crate::model::rule::{Condition, Counted, Counter};
use crate::rules::{self, Facts, World};

pub(super) type Answer = Response<Full<Bytes>>;

/// A rule ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a rule rejects it")]
pub(super) struct Rejected;

/// A request and who asks.
pub(super) struct Asked<'a> {
    pub(super) head: Parts,
    /// As it came in, but for the headers, which no condition asks for.
    line: String,
    pub(super) ends: Ends,
    pub(super) page: &'a Served,
}

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, ends: Ends, page: &Arc<Served>) -> Result<Answer, Rejected> {
    let (head, _) = request.into_parts();
    let version = page.version();
    let line = format!("{} {} HTTP/1.1\r\n\r\n", head.method, target(&head));
    let asked = Asked { head, line, ends, page };
    if let Some(refused) = by_rules(&version.page.admission, &asked, &version).await {
        return refused;
    }
    if let Some(monitor) = &version.page.monitor
        && asked.target() == monitor.path
    {
        return Ok(health(monitor, &asked, &version));
    }
    if let Some(answer) = by_rules(&version.page.rules, &asked, &version).await {
        return answer;
    }
    if let Some(statistics) = &version.page.statistics
        && let Some(answer) = statistics::answer(&asked, statistics, &page.house).await
    {
        return Ok(answer);
    }
    by_rules(&version.page.otherwise, &asked, &version).await.unwrap_or_else(|| Ok(reply::standard(503)))
}

/// What the first rule that holds answers; none, if it lets the request pass or there is none.
async fn by_rules(rules: &[PageRule], asked: &Asked<'_>, version: &Version) -> Option<Result<Answer, Rejected>> {
    let rule = rules.iter().find(|rule| rule.when.as_ref().is_none_or(|when| asked.meets(when, version)))?;
    match &rule.action {
        PageAction::Allow => None,
        PageAction::Reject => Some(Err(Rejected)),
        PageAction::Return(wanted) => Some(Ok(reply::render(wanted, asked))),
        PageAction::Redirect(redirect) => Some(Ok(reply::redirect(redirect, asked))),
        PageAction::Metrics => Some(Ok(statistics::metrics(&asked.page.house).await)),
    }
}

fn health(monitor: &Monitor, asked: &Asked<'_>, version: &Version) -> Answer {
    let fails = monitor.fail.iter().any(|condition| asked.meets(condition, version));
    reply::standard(if fails { 503 } else { 200 })
}

fn target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |target| target.as_str())
}

impl Asked<'_> {
    /// Path and query.
    pub(super) fn target(&self) -> &str {
        target(&self.head)
    }

    /// The host that is asked for.
    pub(super) fn host(&self) -> &str {
        let header = self.head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        header.or(self.head.uri.authority().map(|authority| authority.as_str())).unwrap_or_default()
    }

    /// Whether a condition holds for this request now.
    fn meets(&self, condition: &Condition, version: &Version) -> bool {
        let facts = Facts::new(self.ends.client, self.ends.local, self.line.as_bytes(), true);
        rules::holds(condition, &facts, &version.matchers, self)
    }
}

impl World for Asked<'_> {
    fn figure(&self, figure: &Figure) -> i64 {
        match figure {
            Figure::Service(ServiceFigure::Connections) => {
                i64::try_from(self.page.connections.count()).unwrap_or(i64::MAX)
            }
            other => self.page.house.world.figure(other),
        }
    }

    fn is_up(&self, pool: &str, server: &str) -> bool {
        self.page.house.world.is_up(pool, server)
    }

    fn counter(&self, of: Counted, table: Option<&str>, counter: Counter) -> Option<u64> {
        self.page.house.world.counter(of, table, counter)
    }
}
