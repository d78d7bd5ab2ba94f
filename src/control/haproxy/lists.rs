//! `show map`, `add acl` and their like: lists that rules look something up in.

use std::fmt::Write as _;

use super::Shared;
use crate::control::lists::{ListAction, ListEntry, ListEntryView, ListFound};
use crate::control::server;
use crate::control::{Reply, Request};

/// Which kind of list a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Maps,
    Acls,
}

/// What a command does with one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Add,
    Clear,
    Commit,
    Remove,
    Find,
    Prepare,
    Set,
    Show,
}

impl Of {
    /// As its commands call it.
    fn word(self) -> &'static str {
        if self == Self::Maps { "map" } else { "acl" }
    }

    /// As HAProxy's sentences call it.
    fn name(self) -> &'static str {
        if self == Self::Maps { "map" } else { "ACL" }
    }
}

/// Carries a command out.
pub(super) async fn answer(of: Of, deed: Deed, words: &[&str], payload: Option<&str>, shared: &Shared) -> String {
    let unknown = || format!("Unknown {} identifier. Please use #<id> or <file>.\n", of.name());
    let (version, words) = match words.split_first() {
        Some((first, rest)) if first.starts_with('@') && takes_version(deed) => match first[1..].parse::<u32>() {
            Ok(version) => (Some(version), rest),
            Err(_) => return "Version number out of range.\n".to_owned(),
        },
        _ => (None, words),
    };
    let Some((&name, words)) = words.split_first() else {
        return match deed {
            Deed::Show => overview(of, shared).await,
            Deed::Prepare => unknown(),
            Deed::Commit if version.is_none() => "Missing version number.\n".to_owned(),
            Deed::Clear | Deed::Commit => format!("Missing {} identifier.\n", of.name()),
            Deed::Find => missing_key(of),
            Deed::Remove => missing_parameters(of),
            Deed::Add | Deed::Set => usage(of, deed),
        };
    };
    let action = match (deed, words) {
        (Deed::Show, _) => ListAction::Show { version },
        (Deed::Clear, _) => ListAction::Clear { version },
        (Deed::Prepare, _) => ListAction::Prepare,
        (Deed::Commit, _) => match version {
            Some(version) => ListAction::Commit { version },
            None => return "Missing version number.\n".to_owned(),
        },
        (Deed::Find, [key, ..]) => ListAction::Find { key: (*key).to_owned() },
        (Deed::Find, []) => return missing_key(of),
        (Deed::Remove, [key, ..]) => ListAction::Remove { which: which(key) },
        (Deed::Remove, []) => return missing_parameters(of),
        (Deed::Set, [key, value, ..]) => ListAction::Set { which: which(key), value: (*value).to_owned() },
        (Deed::Set, _) => return usage(of, deed),
        (Deed::Add, words) => match (of, words, payload) {
            (Of::Maps, _, Some(payload)) => match lines(payload) {
                Ok(entries) => ListAction::Add { version, entries },
                Err(key) => return format!("Missing value for key '{key}'.\n"),
            },
            (Of::Maps, [key, value, ..], None) => {
                ListAction::Add { version, entries: vec![((*key).to_owned(), (*value).to_owned())] }
            }
            (Of::Acls, [key, ..], None) => {
                ListAction::Add { version, entries: vec![((*key).to_owned(), String::new())] }
            }
            _ => return usage(of, deed),
        },
    };
    let by_number = matches!(&action, ListAction::Set { which: ListEntry::Number(_), .. });
    let request = Request::List { maps: of == Of::Maps, name: name.to_owned(), action };
    match server::call(&shared.calls, request).await {
        Reply::ListEntries { entries } => entries.iter().map(|entry| line(entry, of)).collect(),
        Reply::ListFound { found } => found.iter().map(|found| self::found(found, of)).collect(),
        Reply::Done { text } => match deed {
            Deed::Prepare => format!("New version created: {text}\n"),
            _ => String::new(),
        },
        Reply::Failed { text, .. } => match (deed, text.as_str()) {
            (Deed::Set, "Key not found.") if by_number => "key or pattern not found.\n".to_owned(),
            (Deed::Set, "Key not found.") => "entry not found.\n".to_owned(),
            _ => format!("{}\n", text.replace("'prepare map'", &format!("'prepare {}'", of.word()))),
        },
        _ => String::new(),
    }
}

fn takes_version(deed: Deed) -> bool {
    matches!(deed, Deed::Add | Deed::Clear | Deed::Commit | Deed::Show)
}

fn missing_key(of: Of) -> String {
    format!("Missing {} identifier and/or key.\n", of.name())
}

fn missing_parameters(of: Of) -> String {
    format!("This command expects two parameters: {} identifier and key.\n", of.name())
}

fn usage(of: Of, deed: Deed) -> String {
    match (of, deed) {
        (_, Deed::Set) => "'set map' expects three parameters: map identifier, key and value.\n",
        (Of::Maps, _) => {
            "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload\n"
        }
        (Of::Acls, _) => "'add acl' expects two parameters: ACL identifier and pattern.\n",
    }
    .to_owned()
}

/// `#0x1a`, as entries are shown, or a pattern.
fn which(word: &str) -> ListEntry {
    match word.strip_prefix("#0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        Some(number) => ListEntry::Number(number),
        None => ListEntry::Key(word.to_owned()),
    }
}

/// A key and its value a line. The error is a key without one.
fn lines(payload: &str) -> Result<Vec<(String, String)>, &str> {
    let lines = payload.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &'_ str| {
        line.split_once([' ', '\t']).map(|(key, value)| (key.to_owned(), value.trim_start().to_owned()))
    };
    lines.map(|line| pair(line).ok_or(line)).collect()
}

/// Where it is used is not told: rules stand alone, whatever file they come from.
async fn overview(of: Of, shared: &Shared) -> String {
    let reply = server::call(&shared.calls, Request::Lists { maps: of == Of::Maps }).await;
    let Reply::Lists { lists } = reply else { return String::new() };
    let mut out = "# id (file) description\n".to_owned();
    for list in lists {
        let file = list.file.as_deref().unwrap_or_default();
        let what = match &list.file {
            Some(path) => format!("pattern loaded from file '{path}' used by {}.", of.word()),
            None => of.word().to_owned() + ".",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} ({file}) {what} curr_ver={} next_ver={} entry_cnt={}",
            list.number, list.version, list.newest, list.entries
        );
    }
    out
}

fn line(entry: &ListEntryView, of: Of) -> String {
    let ListEntryView { number, key, value } = entry;
    if of == Of::Maps { format!("{number:#x} {key} {value}\n") } else { format!("{number:#x} {key}\n") }
}

fn found(found: &ListFound, of: Of) -> String {
    let ListFound { how, ignore_case, values, entry } = found;
    let is_tree = how == "ip" || matches!(how.as_str(), "str" | "bin" | "beg") && !ignore_case;
    let (case, index) = (if *ignore_case { "insensitive" } else { "sensitive" }, if is_tree { "tree" } else { "list" });
    let begin = format!("type={how}, case={case}");
    match (of, entry) {
        (Of::Maps, None) => format!("{begin}, found=no\n"),
        (Of::Acls, None) => format!("{begin}, match=no\n"),
        (Of::Acls, Some(entry)) => format!("{begin}, match=yes, idx={index}, pattern=\"{}\"\n", entry.key),
        (Of::Maps, Some(ListEntryView { key, value, .. })) => {
            let kind = match values.as_str() {
                "int" => "sint",
                "ip" if value.contains(':') => "ipv6",
                "ip" => "ipv4",
                other => other,
            };
            format!("{begin}, found=yes, idx={index}, key=\"{key}\", value=\"{value}\", type=\"{kind}\"\n")
        }
    }
}
