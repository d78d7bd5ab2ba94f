//! Lists that rules look something up in: what operators ask of them and change, until the configuration is read again.

use super::node::Node;
use crate::control::Reply;
use crate::control::lists::{ListAction, ListEntry, ListEntryView, ListFound, ListView};
use crate::model::list::{How, Kind, ListName};
use crate::rules::lists::{Finding, ListError, Overview, Row, Which};

impl Node {
    pub(super) fn show_lists(&self, maps: bool) -> Reply {
        let view = |list: Overview| ListView {
            number: list.number,
            file: match list.name {
                ListName::File(path) => Some(path),
                ListName::Number(_) => None,
            },
            version: list.current,
            newest: list.newest,
            entries: list.count,
        };
        Reply::Lists { lists: self.proxy.lists().overview(maps).into_iter().map(view).collect() }
    }

    pub(super) fn list(&self, maps: bool, name: &str, action: ListAction) -> Reply {
        let lists = self.proxy.lists();
        let which = |entry: ListEntry| match entry {
            ListEntry::Key(key) => Which::Key(key),
            ListEntry::Number(number) => Which::Number(number),
        };
        let done = match action {
            ListAction::Show { version } => {
                let entries = lists.entries(maps, name, version);
                entries.map(|rows| Reply::ListEntries { entries: rows.into_iter().map(entry).collect() })
            }
            ListAction::Find { key } => {
                let found = lists.find(maps, name, &key);
                found.map(|found| Reply::ListFound { found: found.into_iter().map(finding).collect() })
            }
            ListAction::Add { version, entries } => {
                let text = format!("list {name}: {} added", entries.len());
                lists.add(maps, name, version, &entries).map(|()| changed(text))
            }
            ListAction::Set { which: entry, value } => {
                let text = format!("list {name}: {} has the value {value}", in_words(&entry));
                lists.set(maps, name, &which(entry), &value).map(|()| changed(text))
            }
            ListAction::Remove { which: entry } => {
                let text = format!("list {name}: {} is gone", in_words(&entry));
                lists.remove(maps, name, &which(entry)).map(|()| changed(text))
            }
            ListAction::Clear { version } => {
                lists.clear(maps, name, version).map(|()| changed(format!("list {name} is empty")))
            }
            ListAction::Prepare => lists.prepare(maps, name).map(|version| Reply::done(version.to_string())),
            ListAction::Commit { version } => {
                let text = format!("list {name}: version {version} is in force");
                lists.commit(maps, name, version).map(|()| changed(text))
            }
        };
        done.unwrap_or_else(|error| refusal(&error, maps))
    }
}

fn changed(text: String) -> Reply {
    tracing::info!(target: "vipgate", "{text}, by an operator");
    Reply::done(text)
}

fn in_words(entry: &ListEntry) -> String {
    match entry {
        ListEntry::Key(key) => key.clone(),
        ListEntry::Number(number) => format!("entry {number}"),
    }
}

fn entry(row: Row) -> ListEntryView {
    ListEntryView { number: row.number, key: row.key, value: row.value }
}

/// In HAProxy's words.
fn finding(found: Finding) -> ListFound {
    let how = match found.how {
        How::Exact => "str",
        How::Binary => "bin",
        How::Begin => "beg",
        How::End => "end",
        How::Contains => "sub",
        How::Domain => "dom",
        How::Regex => "reg",
        How::Length => "len",
        How::Number => "int",
        How::Address => "ip",
    };
    let values = match found.values {
        Kind::Text => "str",
        Kind::Number => "int",
        Kind::Address => "ip",
    };
    ListFound {
        how: how.to_owned(),
        ignore_case: found.ignore_case,
        values: values.to_owned(),
        entry: found.row.map(entry),
    }
}

/// In HAProxy's words, which its users' tools know.
fn refusal(error: &ListError, maps: bool) -> Reply {
    let text = match error {
        ListError::Unknown => {
            format!("Unknown {} identifier. Please use #<id> or <file>.", if maps { "map" } else { "ACL" })
        }
        ListError::Pattern { how: How::Address, text, .. } => format!("'{text}' is not a valid IPv4 or IPv6 address."),
        ListError::Pattern { how: How::Number, text, .. } => {
            format!("'{text}' is not a {}.", if text.contains(':') { "valid number range" } else { "number" })
        }
        ListError::Pattern { why, .. } => why.clone(),
        ListError::Value(value) => format!("unable to parse '{value}'."),
        ListError::Version => "Version number out of range.".to_owned(),
        ListError::Future => "Version number in the future, please use 'prepare map' before.".to_owned(),
        ListError::NoEntry => "Key not found.".to_owned(),
    };
    Reply::Failed { text, remedy: None }
}
