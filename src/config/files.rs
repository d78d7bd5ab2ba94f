//! The only place that touches the world: files are read here, and names resolved.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

/// No configuration is as long; a device or a wrong file may be.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Why a file gives no text.
pub(super) struct Unreadable {
    /// There is no configuration, rather than a bad one.
    pub(super) absent: bool,
    pub(super) cause: String,
    pub(super) help: &'static str,
}

/// Text that is not what its encoding promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Is an error.
    Utf8,
    /// Is read with U+FFFD in its place, and told.
    Lossy,
}

/// The text of a file that has one, and the first line that is not UTF-8, if that is allowed.
pub(super) fn read(path: &Path, encoding: Encoding) -> Result<(String, Option<usize>), Unreadable> {
    let bytes = read_bytes(path).map_err(|error| Unreadable {
        absent: true,
        cause: format!("the configuration cannot be read: {error}"),
        help: match error.kind() {
            ErrorKind::NotFound => "create the file, or name another",
            ErrorKind::PermissionDenied => "run as a user that may read it",
            _ => "name a readable file",
        },
    })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
        let cause = "the configuration is longer than 16 MiB".to_owned();
        return Err(Unreadable { absent: false, cause, help: "name the right file" });
    }
    let (text, foreign) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
            if encoding == Encoding::Utf8 {
                let cause = format!("the configuration is not UTF-8: see line {line}");
                return Err(Unreadable { absent: false, cause, help: "save it as UTF-8" });
            }
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(line))
        }
    };
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let cause = "the configuration is empty".to_owned();
        return Err(Unreadable { absent: true, cause, help: "write one, or name another file" });
    }
    Ok((text, foreign))
}

/// A secret's file: one line of text.
pub(super) fn secret(path: &Path) -> io::Result<String> {
    let bytes = read_bytes(path)?;
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text: write hex: and digits"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A list that a rule names: text, whatever its encoding.
pub(super) fn list(path: &Path) -> io::Result<String> {
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let bytes = read_bytes(path)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The system's resolver (hosts file, DNS): what a daemon resolves names with. It may block for seconds.
pub fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}
