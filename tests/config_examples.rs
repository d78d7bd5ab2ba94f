//! The examples in `config/` load without a warning, and together name every key.

use std::path::{Path, PathBuf};

use vipgate::config::decode::keys;
use vipgate::config::diagnostic::{Style, render};
use vipgate::config::{Loaded, Loading, emit, load, resolve};
use vipgate::model::Config;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn loaded(name: &str) -> Loaded {
    load(&[example(name)], &resolve).unwrap_or_else(|failed| panic!("{name}:\n{failed}"))
}

#[test]
fn every_example_loads_without_a_warning() {
    let mut seen = 0;
    for entry in std::fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let Loaded { warnings, sources, .. } = loaded(name);
            assert!(warnings.is_empty(), "{}", render(&warnings, &sources, Style::Plain));
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} examples found");
}

#[test]
fn the_pair_differs_in_its_priority_only() {
    let (a, mut b) = (loaded("pair-a.toml").config, loaded("pair-b.toml").config);
    assert_ne!(a, b);
    b.routers[0].priority = a.routers[0].priority;
    assert_eq!(a, b);
    assert_eq!(a.routers[0].fronts, ["sftp", "ftp"]);
}

#[test]
fn all_options_names_every_key() {
    let text = std::fs::read_to_string(example("all-options.toml")).unwrap();
    let written: toml::Table = text.parse().unwrap();
    let mut names = std::collections::HashSet::new();
    collect(&toml::Value::Table(written), &mut names);
    let missing: Vec<_> = keys::ALL
        .iter()
        .flat_map(|keys| keys.keys.iter().map(|key| (keys.table, *key)))
        .filter(|(_, key)| !names.contains(*key))
        .collect();
    assert!(missing.is_empty(), "not in all-options.toml: {missing:?}");
}

fn collect(value: &toml::Value, names: &mut std::collections::HashSet<String>) {
    if let Some(table) = value.as_table() {
        for (key, value) in table {
            names.insert(key.clone());
            collect(value, names);
        }
    }
    for item in value.as_array().into_iter().flatten() {
        collect(item, names);
    }
}

#[test]
fn what_is_written_out_reads_in_as_the_same_model() {
    for name in ["pair-a.toml", "single.toml", "all-options.toml"] {
        let mut loading = Loading::new();
        loading.native(&example(name));
        let emitted = emit::emit(loading.raw());
        let before = loading.finish(&resolve).unwrap().config;
        assert_eq!(before, read(&emitted), "{name}, written as:\n{emitted}");
    }
}

fn read(text: &str) -> Config {
    let mut loading = Loading::new();
    loading.text("emitted.toml", text);
    loading.finish(&resolve).unwrap_or_else(|failed| panic!("{failed}\n{text}")).config
}
