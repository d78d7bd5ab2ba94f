//! The examples in `config/` load without a warning, and together name every key.

#![expect(clippy::panic, reason = "a test's way to fail")]

use std::collections::HashSet;
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
    let mut seen = HashSet::new();
    collect("the file", &toml::Value::Table(written), &mut seen);
    let missing: Vec<_> = keys::ALL
        .iter()
        .flat_map(|keys| keys.keys.iter().map(|key| (keys.table, (*key).to_owned())))
        .filter(|key| !seen.contains(key))
        // The file would have to be there.
        .filter(|(_, key)| {
            !["secret-file", "ca-file", "certificate", "key", "authority"].contains(&key.as_str())
                || !text.contains(&format!("{key} = "))
        })
        .collect();
    assert!(missing.is_empty(), "not in all-options.toml: {missing:?}");
}

/// The keys of every table, with the decoder's name for such a table.
fn collect(kind: &'static str, value: &toml::Value, seen: &mut HashSet<(&'static str, String)>) {
    for item in value.as_array().into_iter().flatten() {
        collect(kind, item, seen);
    }
    for (key, value) in value.as_table().into_iter().flatten() {
        seen.insert((kind, key.clone()));
        let inner = match key.as_str() {
            "scripts" => "[scripts]",
            "notify" if kind == "the file" => "[notify]",
            "notify" => "notify",
            "mail" => "[mail]",
            "fifo" => "a fifo",
            "reader" | "master" | "backup" | "fault" | "stop" | "any" | "lower-priority" | "before-master"
            | "after-release" => "a command",
            "peers" => "a peer",
            "hmac" => "hmac",
            "vmac" => "vmac",
            "track" => "track",
            "routes" => "a route",
            "rules" => "a rule",
            "route" if kind == "the file" => "a route",
            "route" if kind == "[[service]]" => "a service's route",
            "limits" => "limits",
            "captures" => "captures",
            "source" => "a source",
            "source-table" => "[[source-table]]",
            "resolver" if kind == "the file" => "[[resolver]]",
            "hold" => "hold",
            "peer-group" => "[[peer-group]]",
            "members" => "a member",
            "route" => "a tracker's route",
            "rule" => "a rule",
            "sync-group" => "[[sync-group]]",
            "tracker" => "[[tracker]]",
            "process" => "process",
            "gateway" => "gateway",
            "global" => "[global]",
            "targets" => "a log target",
            "stats-socket" => "[[stats-socket]]",
            "log" => "[log]",
            "stats" if kind == "the file" => "[stats]",
            "stats" => "a page's stats",
            "page" => "[[page]]",
            "monitor" => "a page's monitor",
            "virtual-router" => "[[virtual-router]]",
            "service" => "[[service]]",
            "pool" => "[[pool]]",
            "addresses" | "excluded-addresses" => "a virtual address",
            "client-keepalive" | "server-keepalive" => "keep-alive probes",
            "listen" => "a listen address",
            "servers" if kind == "[[resolver]]" => "a name server",
            "servers" => "a server",
            "announce" => "announce",
            "affinity" => "affinity",
            "check" => "check",
            "agent" => "agent",
            "tls" => "a check's tls",
            "http" => "a check's http",
            "redis" => "a check's redis",
            "postgres" => "a check's postgres",
            "mysql" => "a check's mysql",
            "smtp" => "a check's smtp",
            "command" if kind == "check" => "a check's command",
            "steps" => "a check's step",
            "connect" => "a step's connect",
            "request" => "a step's request",
            "expect-header" => "a step's header",
            _ => continue,
        };
        collect(inner, value, seen);
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
