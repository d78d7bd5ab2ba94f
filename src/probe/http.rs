//! HTTP as checks speak it: one request, one answer, over hyper.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Response, Version, body::Incoming};
use hyper_util::rt::TokioIo;
use regex::bytes::Regex;

use super::connection::Stream;
use super::matching::{self, LONGEST_ANSWER, contains};
use super::outcome::Verdict;
use crate::model::{CheckResult, HeaderPattern, HttpExpect, HttpPattern, HttpRequest, TextPattern};

/// The answer to a request.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    phrase: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Sends `request` and waits for the answer: for its body only where somebody looks at it.
pub(super) async fn ask(
    stream: Stream,
    request: &HttpRequest,
    state: Option<&str>,
    with_body: bool,
) -> Result<HttpAnswer, Verdict> {
    let request = compose(request, state).map_err(|cause| invalid().because(cause))?;
    let failed = |error: hyper::Error| invalid().because(in_words(&error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(failed)?;
        Ok(answer(response, with_body).await)
    };
    // The connection moves the bytes; the exchange ends first, or says why not when the connection has.
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        _ = &mut connection => {}
    }
    exchange.await
}

fn invalid() -> Verdict {
    Verdict::new(CheckResult::L7Response)
}

fn in_words(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    format!("{error}{source}")
}

fn compose(request: &HttpRequest, state: Option<&str>) -> Result<Request<Full<Bytes>>, String> {
    let version = if request.http11 { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut composed = Request::builder()
        .method(request.method.as_str())
        .uri(request.target.as_str())
        .version(version)
        .body(Full::new(Bytes::from(request.body.clone())))
        .map_err(|error| error.to_string())?;
    let headers = composed.headers_mut();
    for (name, value) in &request.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        let value = if name == CONNECTION { beside_closing(value) } else { value.clone() };
        // The body's length is known best here.
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING && !(name == CONNECTION && value.is_empty()) {
            headers.append(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
        }
    }
    if let Some(value) = state.filter(|_| request.send_state).and_then(|state| HeaderValue::try_from(state).ok()) {
        headers.insert("x-haproxy-server-state", value);
    }
    if !request.body.is_empty() || !BODILESS.contains(&request.method.as_str()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    }
    if let Some(closing) = closing(request) {
        headers.append(CONNECTION, HeaderValue::from_static(closing));
    }
    Ok(composed)
}

/// Methods whose requests have no body unless one is given. Of others a server may wait for one that is not said to be
/// empty (RFC 9110, section 8.6).
const BODILESS: [&str; 4] = ["OPTIONS", "GET", "HEAD", "DELETE"];

/// What a header `Connection` says.
fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn is_closing(token: &str) -> bool {
    ["close", "keep-alive"].iter().any(|known| token.eq_ignore_ascii_case(known))
}

/// What a header `Connection` says beside whether the connection stays open.
fn beside_closing(value: &str) -> String {
    tokens(value).filter(|token| !is_closing(token)).collect::<Vec<_>>().join(", ")
}

/// Whether the connection stays open, where the version does not mean it: as in HAProxy, it closes unless the request has a
/// header `Connection` that does not say so.
fn closing(request: &HttpRequest) -> Option<&'static str> {
    let said: Vec<&str> = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(CONNECTION.as_str()))
        .flat_map(|(_, value)| tokens(value))
        .collect();
    let says = |wanted: &str| said.iter().any(|token| token.eq_ignore_ascii_case(wanted));
    let closes = said.is_empty() || says("close");
    match (request.http11, closes) {
        (true, true) => Some("close"),
        (false, false) if !says("upgrade") => Some("keep-alive"),
        _ => None,
    }
}

async fn answer(response: Response<Incoming>, with_body: bool) -> HttpAnswer {
    let (head, mut incoming) = response.into_parts();
    let phrase = match head.extensions.get::<ReasonPhrase>() {
        Some(phrase) => matching::printable(phrase.as_bytes()),
        None => head.status.canonical_reason().unwrap_or_default().to_owned(),
    };
    let mut body = Vec::new();
    // A body that breaks off is judged by what came, as HAProxy does.
    while with_body && body.len() < LONGEST_ANSWER {
        let Some(Ok(frame)) = incoming.frame().await else { break };
        if let Ok(data) = frame.into_data() {
            body.extend_from_slice(&data);
        }
    }
    body.truncate(LONGEST_ANSWER);
    HttpAnswer { status: head.status.as_u16(), phrase, headers: head.headers, body }
}

/// An [`HttpExpect`], ready to be used.
#[derive(Debug)]
pub(super) struct HttpExpected {
    pub(super) expect: HttpExpect,
    regex: Option<Regex>,
    header: Option<(Text, Option<Text>)>,
}

impl HttpExpected {
    pub(super) fn new(expect: &HttpExpect) -> Self {
        let regex = match &expect.pattern {
            HttpPattern::StatusRegex(text) | HttpPattern::Regex(text) => matching::regex(text),
            HttpPattern::Status(_) | HttpPattern::Header(_) | HttpPattern::Text(_) => None,
        };
        let header = match &expect.pattern {
            HttpPattern::Header(HeaderPattern { name, value, .. }) => {
                Some((Text::new(name, true), value.as_ref().map(|value| Text::new(value, false))))
            }
            _ => None,
        };
        Self { expect: expect.clone(), regex, header }
    }

    /// Whether the body is looked at.
    pub(super) fn wants_body(&self) -> bool {
        matches!(self.expect.pattern, HttpPattern::Text(_) | HttpPattern::Regex(_))
    }

    /// What `answer` means. `comment` is told with a failure.
    pub(super) fn judge(&self, answer: &HttpAnswer, comment: Option<&str>) -> Verdict {
        let matches = |text: &[u8]| self.regex.as_ref().is_some_and(|regex| regex.is_match(text));
        let found = match &self.expect.pattern {
            HttpPattern::Status(ranges) => ranges.iter().any(|range| range.contains(&answer.status)),
            HttpPattern::StatusRegex(_) => matches(answer.status.to_string().as_bytes()),
            HttpPattern::Header(pattern) => self.has_header(&answer.headers, pattern.whole),
            HttpPattern::Text(bytes) => contains(&answer.body, bytes),
            HttpPattern::Regex(_) => matches(&answer.body),
        };
        let code = u32::from(answer.status);
        if found != self.expect.negated {
            return Verdict::new(self.expect.on_success).with_code(code);
        }
        let comment = comment.map_or_else(String::new, |comment| format!(" comment: {comment}"));
        let (result, info, cause) = match &self.expect.pattern {
            // As HAProxy: of a header, too, the status is told.
            HttpPattern::Header(_) => (CheckResult::L7Status, answer.phrase.clone(), self.unlike("header").1),
            HttpPattern::Status(_) | HttpPattern::StatusRegex(_) => {
                let cause = format!("status {code} {}", answer.phrase).trim_end().to_owned();
                (CheckResult::L7Status, answer.phrase.clone(), cause)
            }
            HttpPattern::Text(_) | HttpPattern::Regex(_) => {
                let (info, cause) = self.unlike("content");
                (CheckResult::L7Response, info, cause)
            }
        };
        let result = self.expect.on_error.unwrap_or(result);
        Verdict::saying(result, format!("{info}{comment}")).with_code(code).because(cause)
    }

    fn unlike(&self, what: &str) -> (String, String) {
        match self.expect.negated {
            true => (format!("HTTP check matched unwanted {what}"), format!("unwanted {what}")),
            false => (format!("HTTP {what} check did not match"), format!("the {what} is not as wanted")),
        }
    }

    fn has_header(&self, headers: &HeaderMap, whole: bool) -> bool {
        let Some((name, value)) = &self.header else { return false };
        headers.iter().filter(|(found, _)| name.is_in(found.as_str().as_bytes())).any(|(_, found)| match value {
            None => true,
            Some(value) if whole => value.is_in(found.as_bytes()),
            Some(value) => found.as_bytes().split(|byte| *byte == b',').any(|part| value.is_in(part.trim_ascii())),
        })
    }
}

/// A [`TextPattern`], ready to be used.
#[derive(Debug)]
struct Text {
    pattern: TextPattern,
    regex: Option<Regex>,
}

impl Text {
    /// `lower`: in lower case, as hyper has the names of headers.
    fn new(pattern: &TextPattern, lower: bool) -> Self {
        let fold = |text: &String| if lower { text.to_ascii_lowercase() } else { text.clone() };
        let (pattern, regex) = match pattern {
            TextPattern::Exactly(text) => (TextPattern::Exactly(fold(text)), None),
            TextPattern::Begins(text) => (TextPattern::Begins(fold(text)), None),
            TextPattern::Ends(text) => (TextPattern::Ends(fold(text)), None),
            TextPattern::Contains(text) => (TextPattern::Contains(fold(text)), None),
            TextPattern::Regex(text) => (pattern.clone(), matching::regex(text)),
        };
        Self { pattern, regex }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        match &self.pattern {
            TextPattern::Exactly(wanted) => text == wanted.as_bytes(),
            TextPattern::Begins(wanted) => text.starts_with(wanted.as_bytes()),
            TextPattern::Ends(wanted) => text.ends_with(wanted.as_bytes()),
            TextPattern::Contains(wanted) => contains(text, wanted.as_bytes()),
            TextPattern::Regex(_) => self.regex.as_ref().is_some_and(|regex| regex.is_match(text)),
        }
    }
}
