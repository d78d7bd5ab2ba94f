//! The files of a command line to a configuration, or to a failure with its exit code.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::failure::{Failure, Findings};
use crate::cli::Files;
use crate::config::diagnostic::{self, Diagnostic, Style};
use crate::config::import::{self, System, keepalived};
use crate::config::source::{Location, Sources};
use crate::config::{self, Failed, Loading, emit, raw};
use crate::model::{Config, InterfaceName, Prefix};

/// A configuration that can run, and what is perhaps not as meant.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) sources: Sources,
    /// Addresses that do not belong on the interface of this machine which is to have them, a line each.
    pub(super) misfits: Vec<String>,
}

impl Loaded {
    /// The warnings as single lines, `file:line:column: message`, and what does not fit this machine.
    pub(super) fn warning_lines(&self) -> Vec<String> {
        let line = |warning: &Diagnostic| format!("{}: {}", self.sources.describe(warning.at), warning.message);
        self.warnings.iter().map(line).chain(self.misfits.iter().cloned()).collect()
    }
}

/// Reads, translates and validates. Names may be looked up, which can take seconds.
pub(super) fn load(files: &Files) -> Result<Loaded, Failure> {
    let loading = gather(files, false);
    let places = places(loading.raw());
    match loading.finish(&config::resolve) {
        Ok(config::Loaded { config, warnings, sources }) => {
            let misfits = config::outside_prefixes(&config, &addresses_here());
            let line = |misfit: config::Misfit<'_>| match places.get(&(misfit.router.to_owned(), misfit.address)) {
                Some(at) => format!("{}: {}", sources.describe(*at), misfit.message),
                None => misfit.message,
            };
            let misfits = misfits.into_iter().map(line).collect();
            Ok(Loaded { config, warnings, sources, misfits })
        }
        Err(failed) => Err(failure(&failed)),
    }
}

/// Where the addresses of each router are written.
fn places(raw: &raw::Config) -> HashMap<(String, IpAddr), Location> {
    let of_router = |router: &raw::VirtualRouter| {
        let name = router.name.as_ref().map_or("", |name| &name.value).to_owned();
        let written = router.addresses.iter().chain(&router.excluded_addresses).map(|address| address.prefix);
        written.map(|prefix| ((name.clone(), prefix.value.address), prefix.at)).collect::<Vec<_>>()
    };
    raw.routers.iter().flat_map(of_router).collect()
}

/// The TOML that says the same as the files.
pub(super) fn to_toml(files: &Files) -> Result<(String, Loaded), Failure> {
    let loading = gather(files, true);
    let text = emit::emit(loading.raw());
    match loading.finish(&config::resolve) {
        Ok(config::Loaded { config, warnings, sources }) => {
            // The text may be for another machine.
            Ok((text, Loaded { config, warnings, sources, misfits: Vec::new() }))
        }
        Err(failed) => Err(failure(&failed)),
    }
}

/// The machine's addresses; none where they cannot be read.
fn addresses_here() -> Vec<(InterfaceName, Prefix)> {
    let here = getifaddrs().into_iter().flatten();
    here.filter_map(|one| {
        // An IPv4 address is listed under its label.
        let name = one.interface_name.split(':').next()?.parse().ok()?;
        let length = match ip(one.netmask?)? {
            IpAddr::V4(mask) => u32::from(mask).count_ones(),
            IpAddr::V6(mask) => u128::from(mask).count_ones(),
        };
        Some((name, Prefix { address: ip(one.address?)?, length: u8::try_from(length).ok()? }))
    })
    .collect()
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// `elsewhere`: for another machine, perhaps.
fn gather(files: &Files, elsewhere: bool) -> Loading {
    let mut loading = Loading::new();
    for path in &files.config {
        loading.native(path);
    }
    if let Some(path) = &files.keepalived {
        let options = keepalived::Options { config_id: files.keepalived_id.clone(), elsewhere };
        import::load_keepalived(&mut loading, path, &options, &System);
    }
    if let Some(path) = &files.haproxy {
        import::load_haproxy(&mut loading, path, &System);
    }
    loading
}

fn failure(failed: &Failed) -> Failure {
    let text = diagnostic::render(&failed.diagnostics, &failed.sources, style()).trim_end().to_owned();
    let line = |finding: &Diagnostic| format!("{}: {}", failed.sources.describe(finding.at), finding.message);
    let first = failed.diagnostics.iter().find(|finding| finding.is_error()).map(line).unwrap_or_default();
    let findings = Findings { text, first };
    match failed.kind {
        config::Failure::NoConfiguration => Failure::NoConfiguration(findings),
        config::Failure::Invalid => Failure::Configuration(findings),
    }
}

/// Diagnostics go to standard error.
pub(super) fn style() -> Style {
    if std::io::stderr().is_terminal() { Style::Terminal } else { Style::Plain }
}
