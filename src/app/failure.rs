//! Why a command ended without success, and the exit code that says so (keepalived's).

use std::fmt;
use std::process::ExitCode;

/// Why a command failed. The text is a whole sentence with cause and remedy.
#[derive(Debug)]
pub enum Failure {
    /// Something the machine refused. Exit code 1.
    Fatal(String),
    /// The configuration is wrong. Exit code 2.
    Configuration(Findings),
    /// `vipgate status` got no answer: the verdict is down. Exit code 2.
    Down(String),
    /// A permission is missing. Exit code 4.
    Permission(String),
    /// There is no configuration. Exit code 6.
    NoConfiguration(Findings),
    /// A fault of vipgate itself. Exit code 70.
    Internal(String),
}

/// What is wrong with a configuration.
#[derive(Debug)]
pub struct Findings {
    /// All of it, drawn.
    pub text: String,
    /// The first error as one line: `file:line:column: message`.
    pub first: String,
}

impl Failure {
    /// The cause in one line, with its place.
    #[must_use]
    pub fn headline(&self) -> &str {
        match self {
            Self::Configuration(findings) | Self::NoConfiguration(findings) => &findings.first,
            Self::Fatal(text) | Self::Down(text) | Self::Permission(text) | Self::Internal(text) => {
                text.lines().next().unwrap_or_default()
            }
        }
    }

    /// The exit code: 1 fatal, 2 configuration, 4 permission, 6 no configuration, 70 internal.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Fatal(_) => 1,
            Self::Configuration(_) | Self::Down(_) => 2,
            Self::Permission(_) => 4,
            Self::NoConfiguration(_) => 6,
            Self::Internal(_) => 70,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(findings) | Self::NoConfiguration(findings) => f.write_str(&findings.text),
            Self::Fatal(text) | Self::Down(text) | Self::Permission(text) | Self::Internal(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}
