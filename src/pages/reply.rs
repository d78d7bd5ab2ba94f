//! Answers as they are configured.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::answer::{Answer, Asked};
use crate::model::page::{Content, Destination, Part, Piece, Redirect, Reply, Template};
use crate::model::page_standard;
use crate::rules::World;

/// What is said of a status, as HAProxy says it.
pub(super) fn standard(status: u16) -> Answer {
    let mut answer = bare(status, page_standard::standard(status));
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    answer
}

/// What a rule answers.
pub(super) fn render(reply: &Reply, asked: &Asked<'_>) -> Answer {
    let (mut answer, media_type) = match &reply.content {
        Content::Standard => (standard(reply.status), None),
        Content::Empty => (bare(reply.status, String::new()), None),
        Content::Text { media_type, text } => (bare(reply.status, fill(text, asked)), Some(media_type)),
        Content::File { media_type, text, .. } => {
            (bare(reply.status, Bytes::from_owner(Kept(Arc::clone(text)))), Some(media_type))
        }
    };
    if let Some(value) = media_type.and_then(|media_type| HeaderValue::from_str(media_type).ok()) {
        answer.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    for (name, value) in &reply.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        // What a request puts in may be more than a header can hold.
        let value = HeaderValue::from_str(&fill(value, asked)).ok();
        if let (Some(name), Some(value)) = (name, value) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

/// A redirect. As in HAProxy, it may be kept only if it is for ever.
pub(super) fn redirect(redirect: &Redirect, asked: &Asked<'_>) -> Answer {
    let target = if redirect.drop_query { asked.head.uri.path() } else { asked.target() };
    let to = match &redirect.to {
        Destination::Location(to) => fill(to, asked),
        Destination::Prefix(prefix) => fill(prefix, asked) + target,
        Destination::Scheme(scheme) => format!("{}://{}{target}", fill(scheme, asked), asked.host()),
    };
    let Ok(to) = HeaderValue::from_str(&to) else { return standard(400) };
    let mut answer = bare(redirect.status, String::new());
    answer.headers_mut().insert(header::LOCATION, to);
    if !matches!(redirect.status, 301 | 308) {
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    answer
}

/// A file's text, of which the clients that are slow to take it have no copies.
struct Kept(Arc<str>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn fill(template: &Template, asked: &Asked<'_>) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Figure(figure) => asked.figure(figure).to_string(),
        Piece::Request(part) => match part {
            Part::Method => asked.head.method.to_string(),
            Part::Path => asked.head.uri.path().to_owned(),
            Part::Query => asked.head.uri.query().unwrap_or_default().to_owned(),
            Part::Target => asked.target().to_owned(),
            Part::Host => asked.host().to_owned(),
            Part::Source => asked.ends.client.ip().to_string(),
            Part::Destination => asked.ends.local.ip().to_string(),
        },
    };
    template.0.iter().map(piece).collect()
}

fn bare(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}
