//! What haproxy.cfg's directives become, and how mistakes are told.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: they fail them")]

mod checks;
mod choice;
#[path = "../import_support/mod.rs"]
mod import_support;
mod in_use;
mod mistakes;
mod pages;
mod places;
mod sections;
mod words;

use import_support::{load, model};
use vipgate::model::Pool;

fn pool(lines: &str) -> Pool {
    let config = model(None, Some(&format!("listen l\n bind 127.0.0.1:7000\n{lines}\n")));
    config.pools.into_iter().next().unwrap()
}

/// What validation says of a file that was imported.
fn validated(text: &str) -> String {
    match load(None, Some(text)) {
        Ok(_) => String::new(),
        Err(failed) => failed.to_string(),
    }
}
