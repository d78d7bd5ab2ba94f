//! Holds the rooms to the import table of ARCHITECTURE.md: an arrow that is not in it fails the build.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Room -> rooms it may import, read from the table under "## Rooms" so that the page cannot go stale.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../ARCHITECTURE.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| room | may import |")).skip(2);
    let mut table = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = |cell: &str| -> BTreeSet<String> {
            cell.split(',').map(|name| name.trim().to_owned()).filter(|name| name != "std").collect()
        };
        for room in names(cells[0]) {
            table.insert(room, names(cells[1]));
        }
    }
    assert!(table.len() >= 10, "the table of ARCHITECTURE.md was not found");
    table
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Rooms named after `crate::` anywhere in the text, `use` lines with braces included.
fn imported(text: &str, rooms: &BTreeSet<String>) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            for item in group.split('}').next().unwrap_or("").split(',') {
                found.insert(item.trim().split(':').next().unwrap_or("").to_owned());
            }
        }
        found.insert(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
    }
    found.intersection(rooms).cloned().collect()
}

#[test]
fn every_room_keeps_to_the_import_table() {
    let table = table();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms: BTreeSet<String> = std::fs::read_dir(&src)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let mut wrong = Vec::new();
    for room in &rooms {
        let Some(allowed) = table.get(room) else {
            wrong.push(format!("src/{room} is not in ARCHITECTURE.md's table"));
            continue;
        };
        if allowed.contains("all of them") {
            continue;
        }
        let mut files = Vec::new();
        sources(&src.join(room), &mut files);
        for file in files {
            for import in imported(&std::fs::read_to_string(&file).unwrap(), &rooms) {
                if import != *room && !allowed.contains(&import) {
                    wrong.push(format!("{} imports {import}: src/{room} may import {allowed:?}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_lives_in_os_only() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "os"))
        .filter(|file| std::fs::read_to_string(file).unwrap().lines().any(|line| line.contains("unsafe {")))
        .collect();
    assert!(wrong.is_empty(), "unsafe outside src/os: {wrong:?}");
}
