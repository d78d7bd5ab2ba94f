//! HTTP pages that the node answers itself, without a server behind them: the statistics, monitors for load balancers further
//! out, fixed answers. The terms are HAProxy's (`monitor-uri`, `http-request return`, `stats uri`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::figure::Figure;
use super::net::InterfaceName;
use super::rule::Condition;

/// Where requests come in and what they are answered, once their clients are admitted: the monitor is asked first, then the
/// rules in their order, then the statistics, then the other rules. What none of them answers is answered 503.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Unique name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<PageListen>,
    /// Concurrent connections; beyond it the oldest makes room.
    pub max_connections: u32,
    /// Who gets any answer: the first that holds allows or rejects (HAProxy's `tcp-request`).
    pub admission: Vec<PageRule>,
    /// Says whether this node should get clients.
    pub monitor: Option<Monitor>,
    /// The first whose condition holds answers.
    pub rules: Vec<PageRule>,
    /// The statistics of the process.
    pub statistics: Option<Statistics>,
    /// As the rules, for what they and the statistics have not answered.
    pub otherwise: Vec<PageRule>,
}

/// Where a page listens: on virtual addresses, too, whether they are here or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageListen {
    /// Address and port.
    pub address: SocketAddr,
    /// For `::`: whether IPv4 connections are accepted too.
    pub dual_stack: bool,
    /// Only connections that arrive on this interface.
    pub interface: Option<InterfaceName>,
}

/// One path that is answered 200 unless a condition fails it, then 503 (HAProxy's `monitor-uri`, `monitor fail`).
#[derive(Debug, Clone, PartialEq)]
pub struct Monitor {
    /// The whole of a request's target, its query included.
    pub path: String,
    /// One that holds suffices.
    pub fail: Vec<Condition>,
}

/// What requests of a kind are answered (HAProxy's `http-request`).
#[derive(Debug, Clone, PartialEq)]
pub struct PageRule {
    /// What happens.
    pub action: PageAction,
    /// To which requests; none: to every one.
    pub when: Option<Condition>,
}

/// What a rule of a page does.
#[derive(Debug, Clone, PartialEq)]
pub enum PageAction {
    /// No further rule is asked.
    Allow,
    /// The connection ends without an answer.
    Reject,
    /// It is answered this.
    Return(Reply),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered with the figures of the process, for Prometheus.
    Metrics,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Its status, 200 to 599.
    pub status: u16,
    /// What is in it.
    pub content: Content,
    /// Further headers.
    pub headers: Vec<(String, Template)>,
}

/// What is in an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Empty,
    /// A sentence about the status, in HTML.
    Standard,
    /// A text of this media type.
    Text {
        /// The media type.
        media_type: String,
        /// The text.
        text: Template,
    },
    /// A file of this media type, as it was when the configuration was read.
    File {
        /// The media type.
        media_type: String,
        /// Where it was read.
        path: String,
        /// What it held.
        text: Arc<str>,
    },
}

/// Where a client is sent instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// Where to.
    pub to: Destination,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The query of the request is left out.
    pub drop_query: bool,
}

/// What becomes of a request's address in a redirect.
#[derive(Debug, Clone, PartialEq)]
pub enum Destination {
    /// This takes its place (`redirect location`).
    Location(Template),
    /// This comes before its path (`redirect prefix`).
    Prefix(Template),
    /// This scheme takes the place of its own (`redirect scheme`).
    Scheme(Template),
}

/// A text with places that a request fills (HAProxy's `lf-string`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// This.
    Text(String),
    /// Something about the request.
    Request(Part),
    /// A number about the process.
    Figure(Figure),
}

/// Something about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its method.
    Method,
    /// Its path, without the query.
    Path,
    /// Its query.
    Query,
    /// Path and query.
    Target,
    /// The host that it asks for.
    Host,
    /// The client's address.
    Source,
    /// The address that the client connected to.
    Destination,
}

/// The statistics of the process, as pages people and programs read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// The path of the HTML page; `/` natively, HAProxy's `stats uri` from an imported file.
    /// `<path>;csv` is its CSV form.
    pub path: String,
    /// Users that may see it, as (name, password); empty: everybody that can connect.
    pub users: Vec<(String, String)>,
    /// The page reloads itself after this many seconds.
    pub refresh: Option<Duration>,
    /// Do not show the version.
    pub hide_version: bool,
    /// Show the node's name.
    pub show_node: bool,
    /// There is nothing else on the page: other paths are answered 404, and not before a password was given where one is
    /// needed. Otherwise every path that begins as its own is its own, as in HAProxy.
    pub alone: bool,
}

impl Page {
    /// One that listens nowhere yet and answers nothing.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            listen: Vec::new(),
            max_connections: 100,
            admission: Vec::new(),
            monitor: None,
            rules: Vec::new(),
            statistics: None,
            otherwise: Vec::new(),
        }
    }

    /// The conditions of its monitor and its rules.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let failing = self.monitor.iter().flat_map(|monitor| &monitor.fail);
        let rules = self.admission.iter().chain(&self.rules).chain(&self.otherwise);
        failing.chain(rules.filter_map(|rule| rule.when.as_ref()))
    }
}

impl PageListen {
    /// On this address, for its own family.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, dual_stack: false, interface: None }
    }
}

impl PageRule {
    /// The numbers about the process that it shows.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.templates().flat_map(|template| &template.0).filter_map(|piece| match piece {
            Piece::Figure(figure) => Some(figure),
            Piece::Text(_) | Piece::Request(_) => None,
        })
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let (reply, redirect) = match &self.action {
            PageAction::Return(reply) => (Some(reply), None),
            PageAction::Redirect(redirect) => (None, Some(redirect)),
            PageAction::Allow | PageAction::Reject | PageAction::Metrics => (None, None),
        };
        let text = reply.and_then(|reply| match &reply.content {
            Content::Text { text, .. } => Some(text),
            _ => None,
        });
        let headers = reply.into_iter().flat_map(|reply| reply.headers.iter().map(|(_, value)| value));
        let target = redirect.map(|redirect| match &redirect.to {
            Destination::Location(to) | Destination::Prefix(to) | Destination::Scheme(to) => to,
        });
        text.into_iter().chain(headers).chain(target)
    }
}

impl Statistics {
    /// At this path, for everybody who can connect.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            users: Vec::new(),
            refresh: None,
            hide_version: false,
            show_node: false,
            alone: false,
        }
    }
}

impl Template {
    /// Just this text.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }
}
