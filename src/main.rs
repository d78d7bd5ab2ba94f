//! The `vipgate` binary: parses arguments, calls the library, maps errors to exit codes.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use vipgate::app;
use vipgate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match app::main(cli.command, &mut stdout().lock(), &mut stderr()) {
        Ok(code) => code,
        Err(failure) => {
            // In one write, so that several commands at once stay readable. Nobody may be listening; the exit code says it
            // too.
            let _ = stderr().write_all(format!("vipgate: {failure}\n").as_bytes());
            failure.exit_code()
        }
    }
}
