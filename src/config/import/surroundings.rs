//! What an import needs of the machine, behind a trait: tests and the fuzzer bring their own.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::socket::{SockaddrStorage, getsockname};

use crate::model::Descriptor;

/// No configuration is as long; a device or a wrong file may be.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What an import needs of the machine.
pub trait Surroundings {
    /// The value of an environment variable, none when it is not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The node's name: keepalived's default configuration id.
    fn node_name(&self) -> String;

    /// Whether there is a user of this name.
    fn has_user(&self, _name: &str) -> bool {
        false
    }

    /// Whether there is a group of this name.
    fn has_group(&self, _name: &str) -> bool {
        true
    }

    /// Whether this is a file that can be run.
    fn is_program(&self, _path: &Path) -> bool {
        true
    }

    /// Where a socket listens that the process was started with.
    fn local_address(&self, _descriptor: &Descriptor) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The text of a file that is included.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names in a directory, sorted, for wildcards in `include`.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// The machine itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Surroundings for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).or_else(|| match name {
            // HAProxy itself defines it at its start: the host name.
            "HAPROXY_LOCALPEER" => Some(self.node_name()),
            _ => None,
        })
    }

    fn node_name(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
    }

    fn has_user(&self, name: &str) -> bool {
        nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some())
    }

    fn has_group(&self, name: &str) -> bool {
        nix::unistd::Group::from_name(name).is_ok_and(|group| group.is_some())
    }

    fn is_program(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
    }

    fn local_address(&self, descriptor: &Descriptor) -> io::Result<SocketAddr> {
        let number = match descriptor {
            Descriptor::Number(number) => *number,
            Descriptor::Variable(name) => {
                let number = self.variable(name).and_then(|value| value.trim().parse().ok());
                number.ok_or_else(|| io::Error::other(format!("the variable {name} holds no number")))?
            }
        };
        let address: SockaddrStorage = getsockname(number)?;
        let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        let v6 = address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into()));
        v4.or(v6).ok_or_else(|| io::Error::other("it is not TCP over IPv4 or IPv6"))
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST {
            return Err(io::Error::other("it is longer than 16 MiB"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = std::fs::read_dir(directory)?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect::<Vec<_>>();
        names.sort();
        Ok(names)
    }
}
