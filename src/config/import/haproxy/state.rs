//! `load-server-state-from-file` and the files it means.

use std::path::PathBuf;

use super::proxy::Proxy;
use super::{Statement, Translator};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Located, Maybe};
use crate::config::source::Location;

/// What a proxy says about them.
pub(super) const KEYWORDS: [&str; 2] = ["load-server-state-from-file", "server-state-file-name"];

/// What `global` says about files of states.
#[derive(Debug, Default)]
pub(super) struct StateFiles {
    base: Option<String>,
    file: Maybe<String>,
}

/// What a backend says.
#[derive(Debug, Clone, Default)]
pub(super) struct StateSaid {
    load: Maybe<Load>,
    /// Its own file; none: named as it is.
    file: Maybe<String>,
}

/// Which file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Global,
    Local,
    None,
}

impl Translator<'_> {
    /// `server-state-base <directory>`, `server-state-file <file>`
    pub(super) fn state_files(&mut self, name: &str, statement: &Statement, arguments: &[Word]) {
        let Some(word) = self.one(statement, arguments) else { return };
        match name {
            "server-state-base" => self.states.base = Some(word.text.clone()),
            _ => self.states.file = Some(Located::new(word.text.clone(), word.at)),
        }
    }

    /// `load-server-state-from-file global | local | none`, `server-state-file-name [use-backend-name | <file>]`
    pub(super) fn state_said(&mut self, name: &str, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        if name == "server-state-file-name" {
            let word = if arguments.is_empty() { None } else { self.one(statement, arguments) };
            let word = word.filter(|word| word.text != "use-backend-name");
            proxy.choice.state.file = word.map(|word| Located::new(word.text.clone(), word.at));
            return;
        }
        let Some(word) = self.one(statement, arguments) else { return };
        let load = match word.as_str() {
            "global" => Ok(Load::Global),
            "local" => Ok(Load::Local),
            "none" => Ok(Load::None),
            other => Err(format!("`{other}` is none of global, local and none")),
        };
        proxy.choice.state.load = self.checked(word, load);
    }

    /// The file that the states of a backend's servers are read from.
    pub(super) fn state_file(&mut self, proxy: &Proxy) -> Maybe<PathBuf> {
        let said = &proxy.choice.state;
        let load = said.load?;
        match load.value {
            Load::None => None,
            Load::Local => {
                let named = said.file.clone().unwrap_or_else(|| Located::new(proxy.name.clone(), load.at));
                Some(self.state_path(&named.value, named.at))
            }
            Load::Global => {
                let Some(file) = self.states.file.clone() else {
                    let message = "no state of servers is read: `server-state-file` is not set";
                    self.push_once(Diagnostic::warning(load.at, message).help("set it in the section `global`"));
                    return None;
                };
                Some(self.state_path(&file.value, file.at))
            }
        }
    }

    fn state_path(&self, file: &str, at: Location) -> Located<PathBuf> {
        let base = self.states.base.as_deref().filter(|_| !file.starts_with('/'));
        Located::new(base.map_or_else(|| PathBuf::from(file), |base| PathBuf::from(format!("{base}/{file}"))), at)
    }
}
