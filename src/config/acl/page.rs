//! Rules of pages: HAProxy's `http-request`, as far as a request can be answered here.

use std::path::Path;

use super::show::{condition, quoted};
use super::{Fault, Scope, split, template};
use crate::config::import::Word;
use crate::config::source::Location;
use crate::model::page::{Content, Destination, PageAction, PageRule, Redirect, Reply, Template};
use crate::model::page_standard;

/// The service of HAProxy that shows its figures.
const METRICS: &str = "prometheus-exporter";
/// The largest file that is kept to be answered.
const LARGEST_FILE: usize = 1 << 20;

/// `return status 200 content-type text/plain string ok if { path /ping }`. `at` is where it would begin.
pub(in crate::config) fn page_rule(words: &[Word], at: Location, scope: &Scope<'_>) -> Result<PageRule, Fault> {
    let (before, when) = split(words, scope)?;
    let Some((first, rest)) = before.split_first() else {
        return Err(Fault::new(at, "an action is missing here, such as `return`"));
    };
    let action = match (first.as_str(), rest) {
        ("allow", []) => PageAction::Allow,
        ("reject", []) => PageAction::Reject,
        ("use-service", [service]) if service.text == METRICS => PageAction::Metrics,
        ("use-service", [service, ..]) => {
            return Err(Fault::new(service.at, format!("`{}` is not a service here: {METRICS} is", service.text)));
        }
        ("return", rest) => PageAction::Return(reply(rest, 200, scope)?),
        ("deny", rest) => PageAction::Return(denial(rest, scope)?),
        ("redirect", rest) => PageAction::Redirect(redirect(first.at, rest, scope)?),
        ("allow" | "reject", [more, ..]) => {
            return Err(Fault::new(more.at, format!("`{}` cannot stand here: `if` or `unless` can", more.text)));
        }
        (other, _) => {
            let message =
                format!("`{other}` is not done on a page: return, deny, reject, redirect, use-service and allow are");
            return Err(Fault::new(first.at, message));
        }
    };
    Ok(PageRule { action, when })
}

/// Without anything said but its status, which is 403 otherwise, a sentence about that.
fn denial(words: &[Word], scope: &Scope<'_>) -> Result<Reply, Fault> {
    match words {
        [] => Ok(Reply { status: 403, content: Content::Standard, headers: Vec::new() }),
        [key, status] if matches!(key.as_str(), "status" | "deny_status") => {
            let code = number(status, 200, 599)?;
            standard(code, status)?;
            Ok(Reply { status: code, content: Content::Standard, headers: Vec::new() })
        }
        words => reply(words, 403, scope),
    }
}

fn standard(status: u16, word: &Word) -> Result<(), Fault> {
    if page_standard::statuses().any(|known| known == status) {
        return Ok(());
    }
    let known = page_standard::statuses().map(|status| status.to_string()).collect::<Vec<_>>().join(", ");
    let message = format!(
        "there is no standard answer for {status}: there is for {known}; or say what is answered with `string`"
    );
    Err(Fault::new(word.at, message))
}

/// The words after `return` or `deny`.
fn reply(words: &[Word], status: u16, scope: &Scope<'_>) -> Result<Reply, Fault> {
    let mut reply = Reply { status, content: Content::Empty, headers: Vec::new() };
    let mut media_type: Option<&Word> = None;
    let mut content: Option<(&Word, &Word)> = None;
    let mut by_status = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Fault::new(word.at, format!("`{}` wants a value after it", word.text)));
        match word.as_str() {
            "status" | "deny_status" => reply.status = number(value()?, 200, 599)?,
            "content-type" => media_type = Some(header_value(value()?)?),
            "string" | "lf-string" | "file" => {
                if content.is_some() || by_status.is_some() {
                    return Err(Fault::new(word.at, format!("`{}`: what is answered has been said", word.text)));
                }
                content = Some((word, value()?));
            }
            "default-errorfiles" if content.is_none() => by_status = Some(word),
            "hdr" => {
                let (name, text) = (value()?, words.next());
                let text = text.ok_or_else(|| Fault::new(name.at, "`hdr` wants a name and a value after it"))?;
                if name.text.is_empty()
                    || !name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                {
                    return Err(Fault::new(name.at, format!("`{}` cannot be the name of a header", name.text)));
                }
                reply.headers.push((name.text.clone(), template::read(header_value(text)?, scope)?));
            }
            other => {
                let message = format!(
                    "`{other}` cannot stand here: status, content-type, string, lf-string, file, default-errorfiles and hdr can"
                );
                return Err(Fault::new(word.at, message));
            }
        }
    }
    if let Some(word) = by_status {
        standard(reply.status, word)?;
        // HAProxy leaves the headers out there.
        return Ok(Reply { content: Content::Standard, headers: Vec::new(), ..reply });
    }
    if let Some((how, what)) = content {
        let media_type =
            media_type.ok_or_else(|| Fault::new(how.at, "say of which type it is, as in `content-type text/plain`"))?;
        let media_type = media_type.text.clone();
        reply.content = match how.as_str() {
            "string" => Content::Text { media_type, text: plain(&what.text) },
            "lf-string" => Content::Text { media_type, text: template::read(what, scope)? },
            _ => Content::File { media_type, path: what.text.clone(), text: file(what, scope)?.into() },
        };
    }
    Ok(reply)
}

fn plain(text: &str) -> Template {
    if text.is_empty() { Template::default() } else { Template::plain(text) }
}

fn file(path: &Word, scope: &Scope<'_>) -> Result<String, Fault> {
    let text = (scope.read)(Path::new(&path.text))
        .map_err(|error| Fault::new(path.at, format!("`{}` cannot be read: {error}", path.text)))?;
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Fault::new(path.at, format!("`{}` is not text in UTF-8", path.text)));
    }
    if text.len() > LARGEST_FILE {
        return Err(Fault::new(path.at, format!("`{}` is larger than {LARGEST_FILE} bytes", path.text)));
    }
    Ok(text)
}

/// `location URL`, `prefix URL` or `scheme NAME`, and `code 301`.
fn redirect(at: Location, words: &[Word], scope: &Scope<'_>) -> Result<Redirect, Fault> {
    let (mut to, mut status, mut drop_query) = (None, 302, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Fault::new(word.at, format!("`{}` wants a value after it", word.text)));
        let mut target =
            |how: fn(_) -> Destination| template::read(header_value(value()?)?, scope).map(|text| Some(how(text)));
        match word.as_str() {
            "location" => to = target(Destination::Location)?,
            "prefix" => to = target(Destination::Prefix)?,
            "scheme" => to = target(Destination::Scheme)?,
            "code" => {
                let code = value()?;
                status = number(code, 301, 308)?;
                if !matches!(status, 301..=303 | 307 | 308) {
                    return Err(Fault::new(code.at, "a redirect is 301, 302, 303, 307 or 308"));
                }
            }
            "drop-query" => drop_query = true,
            other => {
                let message = format!("`{other}` cannot stand here: location, prefix, scheme, code and drop-query can");
                return Err(Fault::new(word.at, message));
            }
        }
    }
    let to = to.ok_or_else(|| Fault::new(at, "say where to: `redirect location /`, `redirect scheme https`, .."))?;
    Ok(Redirect { to, status, drop_query })
}

fn number(word: &Word, first: u16, last: u16) -> Result<u16, Fault> {
    let number = word.text.parse().ok().filter(|number| (first..=last).contains(number));
    number.ok_or_else(|| Fault::new(word.at, format!("`{}` is not a status from {first} to {last}", word.text)))
}

/// A header is one line.
fn header_value(word: &Word) -> Result<&Word, Fault> {
    if word.text.is_empty() || word.text.contains(|c: char| c.is_control()) {
        return Err(Fault::new(word.at, "this cannot be in a header: it is empty, or has a control character"));
    }
    Ok(word)
}

/// A rule as text again. Reading it gives the same rule.
pub(in crate::config) fn show_page_rule(rule: &PageRule) -> String {
    let action = match &rule.action {
        PageAction::Allow => "allow".to_owned(),
        PageAction::Reject => "reject".to_owned(),
        PageAction::Metrics => format!("use-service {METRICS}"),
        PageAction::Return(reply) => show_reply(reply),
        PageAction::Redirect(redirect) => show_redirect(redirect),
    };
    match &rule.when {
        Some(when) => format!("{action} {}", condition(when)),
        None => action,
    }
}

fn show_reply(reply: &Reply) -> String {
    let typed = |media_type: &str, how: &str, what: &str| {
        format!(" content-type {} {how} {}", quoted(media_type), quoted(what))
    };
    let content = match &reply.content {
        Content::Empty => String::new(),
        Content::Standard => " default-errorfiles".to_owned(),
        Content::Text { media_type, text } => typed(media_type, "lf-string", &template::show(text)),
        Content::File { media_type, path, .. } => typed(media_type, "file", path),
    };
    let headers = reply.headers.iter().map(|(name, value)| format!(" hdr {name} {}", quoted(&template::show(value))));
    format!("return status {}{content}{}", reply.status, headers.collect::<String>())
}

fn show_redirect(redirect: &Redirect) -> String {
    let (how, to) = match &redirect.to {
        Destination::Location(to) => ("location", to),
        Destination::Prefix(to) => ("prefix", to),
        Destination::Scheme(to) => ("scheme", to),
    };
    let query = if redirect.drop_query { " drop-query" } else { "" };
    format!("redirect {how} {} code {}{query}", quoted(&template::show(to)), redirect.status)
}
