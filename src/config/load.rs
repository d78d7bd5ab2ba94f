//! Files to one validated configuration.

use std::path::{Path, PathBuf};

use super::decode::decode;
use super::diagnostic::Diagnostic;
use super::files::{self, Encoding};
use super::merge::{Tables, merge};
use super::raw::{self, Located, Secret};
use super::source::{Location, SourceId, Sources};
use super::validate::{Resolve, validate};
use crate::model::Config;

/// A configuration that can run.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub config: Config,
    /// What is perhaps not as meant.
    pub warnings: Vec<Diagnostic>,
    /// What the warnings point into.
    pub sources: Sources,
}

/// A configuration that cannot run.
#[derive(Debug)]
pub struct Failed {
    /// Which kind of failure, for the exit code.
    pub kind: Failure,
    /// Every error and warning, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// What they point into.
    pub sources: Sources,
}

/// Why a configuration cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A file is missing, unreadable or empty: exit code 6.
    NoConfiguration,
    /// A file is wrong: exit code 2.
    Invalid,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = super::diagnostic::render(&self.diagnostics, &self.sources, super::diagnostic::Style::Plain);
        f.write_str(text.trim_end())
    }
}

impl std::error::Error for Failed {}

/// Loads native TOML files as one configuration: lists append, tables do not repeat.
pub fn load(files: &[PathBuf], resolve: &dyn Resolve) -> Result<Loaded, Box<Failed>> {
    let mut loading = Loading::new();
    for file in files {
        loading.native(file);
    }
    loading.finish(resolve)
}

/// A configuration that is being put together from several files.
#[derive(Debug, Default)]
pub struct Loading {
    sources: Sources,
    raw: raw::Config,
    diagnostics: Vec<Diagnostic>,
    absent: bool,
    /// A foreign file said something. HAProxy runs with Debian's own file, which has no proxy.
    foreign: bool,
}

impl Loading {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a native TOML file.
    pub fn native(&mut self, path: &Path) {
        if let Some(source) = self.read_as(path, Encoding::Utf8) {
            self.decoded(source);
        }
    }

    /// Adds native TOML that is not in a file; `name` stands for it in messages.
    pub fn text(&mut self, name: &str, text: &str) {
        let source = self.sources.add(name, text);
        self.decoded(source);
    }

    fn decoded(&mut self, source: SourceId) {
        let decoded = decode(&self.sources, source, &mut self.diagnostics);
        merge(&mut self.raw, decoded, Tables::OnceOnly, &mut self.diagnostics);
    }

    /// Reads a file for an importer. One that is missing, unreadable or empty is reported, and `None`. Comments of old
    /// files may be in any encoding: what is not UTF-8 is told.
    pub fn read(&mut self, path: &Path) -> Option<SourceId> {
        self.read_as(path, Encoding::Lossy)
    }

    fn read_as(&mut self, path: &Path, encoding: Encoding) -> Option<SourceId> {
        match files::read(path, encoding) {
            Ok((text, foreign)) => {
                let source = self.sources.add(path, text);
                if let Some(line) = foreign {
                    let at = Location::new(source, self.sources.line_span(source, line));
                    let warning = Diagnostic::warning(at, "this is not UTF-8: it is read with a mark for each byte");
                    self.diagnostics.push(warning.help("save the file as UTF-8"));
                }
                Some(source)
            }
            Err(files::Unreadable { absent, cause, help }) => {
                self.absent |= absent;
                let source = self.sources.add(path, "");
                self.diagnostics.push(Diagnostic::error(Location::new(source, 0..0), cause).help(help));
                None
            }
        }
    }

    /// The texts read so far; importers add those that a file includes.
    pub fn sources(&mut self) -> &mut Sources {
        &mut self.sources
    }

    /// Adds what an importer made of a file. Tables that several foreign files speak of are joined key by key: the
    /// first to set one keeps it.
    pub fn imported(&mut self, raw: raw::Config, diagnostics: Vec<Diagnostic>) {
        self.foreign |= !diagnostics.is_empty() || raw != raw::Config::default();
        self.diagnostics.extend(diagnostics);
        merge(&mut self.raw, raw, Tables::Join, &mut self.diagnostics);
    }

    /// What was written, of all files.
    #[must_use]
    pub fn raw(&self) -> &raw::Config {
        &self.raw
    }

    /// Validates all of it.
    pub fn finish(self, resolve: &dyn Resolve) -> Result<Loaded, Box<Failed>> {
        let Self { mut sources, mut raw, mut diagnostics, mut absent, foreign } = self;
        read_secrets(&mut raw, &mut diagnostics);
        let nothing = raw.routers.is_empty() && raw.services.is_empty() && raw.pages.is_empty() && !foreign;
        if nothing && !diagnostics.iter().any(Diagnostic::is_error) {
            absent = true;
            let source = sources.first().unwrap_or_else(|| sources.add("no file", ""));
            let error = Diagnostic::error(
                Location::new(source, 0..0),
                "there is neither a virtual router nor a service nor a page",
            );
            diagnostics.push(error.help("add a [[virtual-router]], a [[service]] or a [[page]]"));
        }
        let complete = !diagnostics.iter().any(Diagnostic::is_error);
        let config = validate(&raw, complete, resolve, &mut diagnostics);
        diagnostics.sort_by_key(|diagnostic| diagnostic.at);
        match config {
            Some(config) => Ok(Loaded { config, warnings: diagnostics, sources }),
            None => {
                let kind = if absent { Failure::NoConfiguration } else { Failure::Invalid };
                Err(Box::new(Failed { kind, diagnostics, sources }))
            }
        }
    }
}

/// Puts the text of each secret's file where a secret is written.
fn read_secrets(raw: &mut raw::Config, diagnostics: &mut Vec<Diagnostic>) {
    for hmac in raw.routers.iter_mut().filter_map(|router| router.hmac.as_mut()) {
        let Some(file) = hmac.secret_file.as_ref().filter(|_| hmac.secret.is_none()) else { continue };
        match files::secret(&file.value) {
            Ok(secret) => hmac.secret = Some(Located::new(Secret(secret), file.at)),
            Err(error) => {
                let message = format!("the secret cannot be read from {}: {error}", file.value.display());
                diagnostics.push(Diagnostic::error(file.at, message).help("write it there, readable by root only"));
            }
        }
    }
}
