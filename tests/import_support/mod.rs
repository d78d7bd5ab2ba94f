//! A machine that exists in memory only, and shorthands for importing text.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::panic, reason = "a helper of tests: a configuration that does not load fails them")]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use vipgate::config::diagnostic::{Diagnostic, Style, render};
use vipgate::config::import::{Surroundings, haproxy, keepalived};
use vipgate::config::source::Sources;
use vipgate::config::{Failed, Loaded, Loading, raw};

/// The surroundings of an import.
#[derive(Debug, Default, Clone)]
pub(crate) struct World {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
    users: Vec<String>,
    missing: Vec<String>,
}

impl World {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    pub(crate) fn user(mut self, name: &str) -> Self {
        self.users.push(name.into());
        self
    }

    /// A program, a user or a group that is not there. Others are, unless they are keepalived's own.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.missing.push(name.into());
        self
    }

    fn has(&self, name: &str) -> bool {
        !self.missing.iter().any(|missing| missing == name)
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn node_name(&self) -> String {
        "gate-a.example.org".into()
    }

    fn has_user(&self, name: &str) -> bool {
        self.users.iter().any(|user| user == name) || (name != "keepalived_script" && self.has(name))
    }

    fn has_group(&self, name: &str) -> bool {
        self.has(name)
    }

    fn is_program(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.has(path))
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inside = |path: &PathBuf| {
            Some(path.strip_prefix(directory).ok()?.components().next()?.as_os_str().to_str()?.to_owned())
        };
        let mut names = self.files.keys().filter_map(inside).collect::<Vec<_>>();
        names.dedup();
        Ok(names)
    }
}

/// What an import made of a text.
pub(crate) struct Imported {
    pub(crate) raw: raw::Config,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) sources: Sources,
}

impl Imported {
    /// The findings as `error 3: message` and `warning 3: message`, by line.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut findings =
            self.diagnostics.iter().map(|finding| (finding.at, describe(finding, &self.sources))).collect::<Vec<_>>();
        findings.sort();
        findings.into_iter().map(|(_, text)| text).collect()
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.findings().into_iter().filter(|finding| finding.starts_with("error")).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.findings().into_iter().filter(|finding| finding.starts_with("warning")).collect()
    }

    #[track_caller]
    pub(crate) fn clean(self) -> Self {
        assert!(self.diagnostics.is_empty(), "{}", render(&self.diagnostics, &self.sources, Style::Plain));
        self
    }

    #[track_caller]
    pub(crate) fn without_errors(self) -> Self {
        assert!(self.errors().is_empty(), "{}", render(&self.diagnostics, &self.sources, Style::Plain));
        self
    }
}

fn describe(finding: &Diagnostic, sources: &Sources) -> String {
    let severity = if finding.is_error() { "error" } else { "warning" };
    format!("{severity} {}: {}", sources.line_column(finding.at).line, finding.message)
}

pub(crate) fn haproxy_in(world: &World, text: &str) -> Imported {
    let mut sources = Sources::new();
    let id = sources.add("/etc/haproxy/haproxy.cfg", text);
    let (raw, diagnostics) = haproxy::import(&sources, id, world);
    Imported { raw, diagnostics, sources }
}

pub(crate) fn haproxy_text(text: &str) -> Imported {
    haproxy_in(&World::default(), text)
}

pub(crate) fn keepalived_in(world: &World, text: &str) -> Imported {
    let mut sources = Sources::new();
    let id = sources.add("/etc/keepalived/keepalived.conf", text);
    let (raw, diagnostics) = keepalived::import(&mut sources, id, &keepalived::Options::default(), world);
    Imported { raw, diagnostics, sources }
}

pub(crate) fn keepalived_text(text: &str) -> Imported {
    keepalived_in(&World::default(), text)
}

/// The only names that resolve.
pub(crate) fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    match name {
        "vip" => Ok(vec![IpAddr::from([192, 168, 56, 100])]),
        "localhost" => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Both files of a node, loaded to the model.
pub(crate) fn load(keepalived_conf: Option<&str>, haproxy_cfg: Option<&str>) -> Result<Loaded, Box<Failed>> {
    loading(keepalived_conf, haproxy_cfg).finish(&resolve)
}

pub(crate) fn loading(keepalived_conf: Option<&str>, haproxy_cfg: Option<&str>) -> Loading {
    let world = World::default();
    let mut loading = Loading::new();
    if let Some(text) = keepalived_conf {
        let id = loading.sources().add("/etc/keepalived/keepalived.conf", text);
        let (raw, diagnostics) = keepalived::import(loading.sources(), id, &keepalived::Options::default(), &world);
        loading.imported(raw, diagnostics);
    }
    if let Some(text) = haproxy_cfg {
        let id = loading.sources().add("/etc/haproxy/haproxy.cfg", text);
        let (raw, diagnostics) = haproxy::import(loading.sources(), id, &world);
        loading.imported(raw, diagnostics);
    }
    loading
}

/// The model, or every finding.
#[track_caller]
pub(crate) fn model(keepalived_conf: Option<&str>, haproxy_cfg: Option<&str>) -> vipgate::model::Config {
    match load(keepalived_conf, haproxy_cfg) {
        Ok(loaded) => loaded.config,
        Err(failed) => panic!("{failed}"),
    }
}
