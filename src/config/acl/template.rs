//! Texts with places that a request fills: `lf-string "%[src] asked for %[path]"`.

use super::{Fault, Scope, figure};
use crate::config::import::Word;
use crate::model::page::{Part, Piece, Template};

/// By HAProxy's names; the first of several for one part is the one that is written.
const PARTS: &[(&str, Part)] = &[
    ("method", Part::Method),
    ("path", Part::Path),
    ("query", Part::Query),
    ("pathq", Part::Target),
    ("url", Part::Target),
    ("capture.req.uri", Part::Target),
    ("req.hdr(host)", Part::Host),
    ("hdr(host)", Part::Host),
    ("src", Part::Source),
    ("dst", Part::Destination),
];

/// Reads one: `%[..]` is something to be put in, `%%` a percent sign.
pub(super) fn read(word: &Word, scope: &Scope<'_>) -> Result<Template, Fault> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = word.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let expression = after.strip_prefix('[').and_then(|after| after.split_once(']'));
        let (expression, after) = expression.ok_or_else(|| {
            Fault::new(word.at, "after `%` there is `%` for a percent sign, or what to put in: `%[path]`")
        })?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece(expression, word, scope)?);
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(Template(pieces))
}

fn piece(expression: &str, word: &Word, scope: &Scope<'_>) -> Result<Piece, Fault> {
    if let Some((_, part)) = PARTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(expression)) {
        return Ok(Piece::Request(*part));
    }
    let (name, inside) = expression.split_once('(').unwrap_or((expression, ""));
    let arguments: Vec<&str> =
        inside.trim_end_matches(')').split(',').map(str::trim).filter(|argument| !argument.is_empty()).collect();
    match figure::read(name, &arguments, scope).map_err(|message| Fault::new(word.at, message))? {
        Some(figure) => Ok(Piece::Figure(figure)),
        None => Err(Fault::new(
            word.at,
            format!(
                "`%[{expression}]` cannot be put in: method, path, query, pathq, req.hdr(host), src, dst and figures such as nbsrv(pool) can"
            ),
        )),
    }
}

/// As it is read.
pub(super) fn show(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.replace('%', "%%"),
        Piece::Request(part) => {
            let name = PARTS.iter().find(|(_, known)| known == part).map_or("", |(name, _)| name);
            format!("%[{name}]")
        }
        Piece::Figure(figure) => format!("%[{}]", figure::show(figure)),
    };
    template.0.iter().map(piece).collect()
}
