//! What a line of a keepalived.conf can be before it is expanded.

/// `line` up to a `!` or `#` that is not in quotes.
pub(super) fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (None, '!' | '#') => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

pub(super) fn include_of(text: &str) -> Option<(&str, &str)> {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (keyword, argument) = text.split_at(end);
    matches!(keyword, "include" | "includer" | "includem" | "includew" | "includeb" | "includea")
        .then_some((keyword, argument))
}

/// `$NAME=value`.
pub(super) fn definition_of(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    is_name(name).then_some((name, value))
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The parameter that `text`, which begins with `$`, names, and how many bytes that takes.
pub(super) fn parameter_at(text: &str) -> Option<(&str, usize)> {
    let after = &text[1..];
    if let Some(inner) = after.strip_prefix('{') {
        let end =
            inner.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '\t'))).unwrap_or(inner.len());
        let name = inner[..end].trim();
        let first = name.split_ascii_whitespace().next().unwrap_or_default();
        return (inner[end..].starts_with('}') && is_name(first)).then_some((name, end + 3));
    }
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    let delimited = after[end..].chars().next().is_none_or(char::is_whitespace);
    (is_name(&after[..end]) && delimited).then_some((&after[..end], end + 1))
}

/// A decimal or `0x` number.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value =
        value.ok().filter(|_| !digits.starts_with(['+', '-'])).ok_or_else(|| format!("`{text}` is not a number"))?;
    Ok(if negative { -value } else { value })
}

/// The items of a `~LST` header: each a value, or several in braces.
pub(super) fn items_of(header: &str) -> Result<Vec<Vec<String>>, String> {
    let mut items = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('{') {
            let (group, after) = inner.split_once('}').ok_or("a `{` is not closed")?;
            items.push(group.split(',').map(|value| value.trim().to_owned()).collect());
            rest = after.trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or("a comma was expected after `}`")?.trim_start();
            }
        } else {
            let (value, after) = rest.split_once(',').unwrap_or((rest, ""));
            items.push(vec![value.trim().to_owned()]);
            rest = after.trim_start();
        }
    }
    Ok(items)
}
