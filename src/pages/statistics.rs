//! The statistics of the process: pages for people and for programs.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use subtle::{Choice, ConstantTimeEq};

use super::House;
use super::answer::{Answer, Asked};
use crate::model::Statistics;
use crate::stats::{Snapshot, csv, html, prometheus};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Alive,
    StyleSheet,
    View(View),
}

/// What is made from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Page { refresh: bool },
    Csv,
    Json,
    Metrics,
    Ready,
}

/// Answers a request for statistics; none: it asks for something else.
pub(super) async fn answer(asked: &Asked<'_>, config: &Statistics, house: &House) -> Option<Answer> {
    Some(match admit(asked, config)? {
        Ok(Resource::Alive) => text(StatusCode::OK, "ok\n"),
        Ok(Resource::StyleSheet) => typed("text/css; charset=utf-8", html::STYLE_SHEET.to_owned()),
        Ok(Resource::View(view)) => {
            let config = config.clone();
            make(house, move |snapshot| render(view, snapshot, &config)).await
        }
        Err(refusal) => refusal.answer(),
    })
}

/// The figures of the process, for Prometheus.
pub(super) async fn metrics(house: &House) -> Answer {
    make(house, |snapshot| typed(prometheus::CONTENT_TYPE, prometheus::render(&snapshot))).await
}

/// Makes a page of a snapshot, on a thread of its own: the caller's has health checks to run.
async fn make(house: &House, render: impl FnOnce(Snapshot) -> Answer + Send + 'static) -> Answer {
    let Ok(turn) = Arc::clone(&house.rendering).acquire_owned().await else { return failure("the process ends") };
    let source = Arc::clone(&house.source);
    let making = tokio::task::spawn_blocking(move || {
        // Held to the end, even if the client is gone by then.
        let _turn = turn;
        render(source())
    });
    making.await.unwrap_or_else(|_| failure("the page could not be made"))
}

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Method,
    Credentials,
    Path,
}

impl Refusal {
    fn answer(self) -> Answer {
        match self {
            Self::Method => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                answer
            }
            Self::Credentials => {
                let mut answer = text(StatusCode::UNAUTHORIZED, "a user and a password are needed\n");
                let challenge = HeaderValue::from_static("Basic realm=\"vipgate\", charset=\"UTF-8\"");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                answer
            }
            Self::Path => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
        }
    }
}

/// None: these are not the statistics' to answer.
fn admit(asked: &Asked<'_>, config: &Statistics) -> Option<Result<Resource, Refusal>> {
    let (head, resource) = (&asked.head, resource(asked.target(), config));
    if resource.is_none() && !config.alone {
        return None;
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return config.alone.then_some(Err(Refusal::Method));
    }
    // What keeps watch over the process needs no password to ask whether it lives; the style sheet tells nothing.
    let open = matches!(resource, Some(Resource::Alive | Resource::StyleSheet));
    if !open && !authorized(head, &config.users) {
        return Some(Err(Refusal::Credentials));
    }
    Some(resource.ok_or(Refusal::Path))
}

/// The fixed paths first, then the page's own.
fn resource(target: &str, config: &Statistics) -> Option<Resource> {
    let view = match target.split('?').next().unwrap_or(target) {
        "/healthz" => return Some(Resource::Alive),
        // The page links it relative to itself, so that it is found behind a reverse proxy, too.
        path if path.ends_with("/vipgate.css") => return Some(Resource::StyleSheet),
        "/stats.json" => View::Json,
        "/metrics" => View::Metrics,
        "/readyz" => View::Ready,
        _ => page_view(target.strip_prefix(&config.path)?, config.alone)?,
    };
    Some(Resource::View(view))
}

/// What follows the page's path. As in HAProxy, that path may hold a query of its own, and options follow it after
/// semicolons: `;csv`, `;norefresh`. `strict`: nothing else may follow.
fn page_view(rest: &str, strict: bool) -> Option<View> {
    let mut parts = rest.split(';');
    let before = parts.next()?;
    if strict && !matches!(before, "" | "/") && !before.starts_with('?') {
        return None;
    }
    let options: Vec<&str> = parts.collect();
    if options.contains(&"csv") {
        Some(View::Csv)
    } else {
        Some(View::Page { refresh: !options.contains(&"norefresh") })
    }
}

/// Compares with every user, in a time that does not tell which part was wrong.
fn authorized(head: &Parts, users: &[(String, String)]) -> bool {
    if users.is_empty() {
        return true;
    }
    let Some(given) = credentials(head) else { return false };
    let mut known = Choice::from(0);
    for (user, password) in users {
        let expected = format!("{user}:{password}");
        known |= expected.as_bytes().ct_eq(&given);
    }
    known.into()
}

fn credentials(head: &Parts) -> Option<Vec<u8>> {
    let value = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64.decode(encoded.trim().as_bytes()).ok()
}

fn render(view: View, mut snapshot: Snapshot, config: &Statistics) -> Answer {
    if config.hide_version {
        snapshot.version = None;
    }
    if !config.show_node {
        snapshot.node = None;
    }
    match view {
        View::Page { refresh } => page(&snapshot, config, refresh),
        View::Csv => typed("text/plain; charset=utf-8", csv::render(&snapshot)),
        View::Json => match snapshot.to_json() {
            Ok(body) => typed("application/json", body),
            Err(error) => failure(&error.to_string()),
        },
        View::Metrics => typed(prometheus::CONTENT_TYPE, prometheus::render(&snapshot)),
        View::Ready => ready(&snapshot),
    }
}

fn page(snapshot: &Snapshot, config: &Statistics, refresh: bool) -> Answer {
    let body = match html::render(snapshot, &config.path) {
        Ok(body) => body,
        Err(error) => return failure(&error.to_string()),
    };
    let mut answer = typed("text/html; charset=utf-8", body);
    if let Some(every) = config.refresh.filter(|_| refresh) {
        answer.headers_mut().insert(header::REFRESH, HeaderValue::from(every.as_secs().max(1)));
    }
    answer
}

fn ready(snapshot: &Snapshot) -> Answer {
    let reasons = snapshot.unready();
    if reasons.is_empty() {
        text(StatusCode::OK, "ok\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n")))
    }
}

fn failure(why: &str) -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n"))
}

fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    let mut answer = typed("text/plain; charset=utf-8", body.into());
    *answer.status_mut() = status;
    answer
}

fn typed(media_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::CONTENT_SECURITY_POLICY));
    answer
}
