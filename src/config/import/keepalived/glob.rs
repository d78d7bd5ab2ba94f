//! File names with wildcards: `*`, `?`, `[..]` and csh's `{a,b}`, as `include` takes them.

use std::path::{Path, PathBuf};

use crate::config::import::Surroundings;

/// What one alternative of a pattern stands for.
pub(super) struct Found {
    /// The pattern, its braces resolved.
    pub(super) pattern: String,
    /// Whether it has wildcards.
    pub(super) wildcard: bool,
    /// Whether it came from braces.
    pub(super) brace: bool,
    /// The files, sorted; without wildcards the named file, whether it exists or not.
    pub(super) paths: Vec<PathBuf>,
}

/// Alternatives of one pattern.
const MOST_ALTERNATIVES: usize = 1000;
/// Files of one pattern.
const MOST_PATHS: usize = 10_000;

/// What `pattern` stands for, relative to `directory`.
pub(super) fn expand(directory: &Path, pattern: &str, around: &dyn Surroundings) -> Vec<Found> {
    let alternatives = braces(pattern);
    let brace = alternatives.len() > 1;
    alternatives
        .into_iter()
        .map(|pattern| {
            let wildcard = has_wildcard(&pattern);
            let paths = if wildcard { matches(directory, &pattern, around) } else { vec![directory.join(&pattern)] };
            Found { pattern, wildcard, brace, paths }
        })
        .collect()
}

/// `a{b,c}d` as `abd`, `acd`; nested braces too.
fn braces(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut todo = vec![pattern.to_owned()];
    while let Some(pattern) = todo.pop() {
        match first_braces(&pattern).filter(|_| todo.len() + done.len() < MOST_ALTERNATIVES) {
            None => done.push(pattern),
            Some((start, end, alternatives)) => {
                let (before, after) = (&pattern[..start], &pattern[end..]);
                // Last first: the stack gives them back in the order they were written.
                todo.extend(alternatives.iter().rev().map(|alternative| format!("{before}{alternative}{after}")));
            }
        }
    }
    done
}

/// The first complete pair of braces: where it stands and what is between its commas.
fn first_braces(pattern: &str) -> Option<(usize, usize, Vec<&str>)> {
    let start = pattern.find('{')?;
    let mut depth = 0_usize;
    let mut piece = start + 1;
    let mut pieces = Vec::new();
    for (offset, c) in pattern[start..].char_indices() {
        let at = start + offset;
        match c {
            '{' => depth += 1,
            ',' if depth == 1 => {
                pieces.push(&pattern[piece..at]);
                piece = at + 1;
            }
            '}' if depth == 1 => {
                pieces.push(&pattern[piece..at]);
                return Some((start, at + 1, pieces));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn matches(directory: &Path, pattern: &str, around: &dyn Surroundings) -> Vec<PathBuf> {
    let (base, relative) = match pattern.strip_prefix('/') {
        Some(relative) => (PathBuf::from("/"), relative),
        None => (directory.to_path_buf(), pattern),
    };
    let mut found = vec![base];
    for component in relative.split('/').filter(|component| !component.is_empty()) {
        if !has_wildcard(component) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        found = found
            .iter()
            .flat_map(|path| {
                let names = around.list(path).unwrap_or_default();
                names
                    .into_iter()
                    .filter(|name| name_matches(name, component))
                    .map(|name| path.join(name))
                    .collect::<Vec<_>>()
            })
            .take(MOST_PATHS)
            .collect();
    }
    found
}

/// Shell matching of one name; a leading dot is only matched by a dot.
fn name_matches(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut n, mut p) = (0, 0);
    // The last star and the name's position it was tried at: one step back is enough, so this is not exponential.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(length) = one_matches(name[n], &pattern[p..]) {
            n += 1;
            p += length;
        } else if let Some((star_at, tried)) = star {
            star = Some((star_at, tried + 1));
            p = star_at + 1;
            n = tried + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether `c` matches the element that `pattern` begins with, and how long that element is.
fn one_matches(c: char, pattern: &[char]) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let negated = matches!(pattern.get(1), Some('!' | '^'));
            let begin = if negated { 2 } else { 1 };
            let end = (begin + 1..pattern.len()).find(|at| pattern[*at] == ']')?;
            let set = &pattern[begin..end];
            let mut at = 0;
            let mut inside = false;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == '-' {
                    inside |= (set[at]..=set[at + 2]).contains(&c);
                    at += 3;
                } else {
                    inside |= set[at] == c;
                    at += 1;
                }
            }
            (inside != negated).then_some(end + 1)
        }
        '\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        literal => (*literal == c).then_some(1),
    }
}
