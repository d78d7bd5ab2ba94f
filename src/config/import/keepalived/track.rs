//! `vrrp_script`, `track_file`, `vrrp_track_process`, and who follows them.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::Translator;
use super::grammar::Node;
use super::line::integer;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Located, Maybe, ProcessCheck, Track, Tracked, Tracker, Watched};
use crate::config::source::Location;
use crate::model::ArgumentsMatch;

/// keepalived has names of their own for each kind; here trackers share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Script,
    File,
    Process,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::File => "file",
            Self::Process => "process",
        }
    }

    /// Weights that keepalived takes.
    fn weights(self) -> RangeInclusive<i64> {
        match self {
            Self::Script => -253..=253,
            Self::File | Self::Process => -254..=254,
        }
    }
}

/// The trackers of a file, by their kind and keepalived's name.
#[derive(Default)]
pub(super) struct Known {
    names: HashMap<(Kind, String), Entry>,
    taken: HashSet<String>,
}

/// A tracker's name here, and the weight it has by default.
struct Entry {
    name: String,
    weight: i64,
    at: Location,
}

impl Translator<'_> {
    /// `vrrp_script`, `track_file` and `vrrp_track_process`.
    pub(super) fn tracker(&mut self, kind: Kind, node: &Node, known: &mut Known) -> Option<Tracker> {
        let Some(name) = node.arguments().first() else {
            self.findings.error(node.at(), format!("a `{}` wants a name", node.keyword().text));
            return None;
        };
        let key = (kind, name.text.clone());
        if let Some(first) = known.names.get(&key) {
            let warning =
                Diagnostic::warning(name.at, format!("there are two called `{}`: the first is used", name.text));
            self.findings.push(warning.related(first.at, "the first is here"));
            return None;
        }
        let mut own = name.text.clone();
        while !known.taken.insert(own.clone()) {
            own = format!("{own}-{}", kind.word());
        }
        let mut tracker = empty(name.at, own.clone());
        match kind {
            Kind::Script if !self.script_lines(node, &mut tracker) => return None,
            Kind::Script => {}
            Kind::File => {
                // A file's number counts once unless something else is said.
                tracker.weight = Some(Located::new(1, name.at));
                node.children().iter().for_each(|line| self.file_line(line, &mut tracker));
            }
            Kind::Process => self.process(node, &mut tracker),
        }
        let weight = tracker.weight.map_or(0, |weight| weight.value);
        if tracker.watched.is_empty() {
            let message = format!("`{}` has nothing to watch: ignored, as in keepalived", name.text);
            let help = format!("give it a `{}` line that can be used", kind.word());
            self.findings.push(Diagnostic::warning(name.at, message).help(help));
            return None;
        }
        known.names.insert(key, Entry { name: own, weight, at: name.at });
        Some(tracker)
    }

    /// False when the script cannot be run, which has been told.
    fn script_lines(&mut self, node: &Node, tracker: &mut Tracker) -> bool {
        for line in node.children() {
            if !self.script_line(line, tracker) {
                return false;
            }
        }
        tracker.watched.first().is_none_or(|script| self.is_owned(&tracker.user, script.at))
    }

    /// False when what is said makes the script one that cannot be run.
    fn script_line(&mut self, line: &Node, tracker: &mut Tracker) -> bool {
        match self.look_up("vrrp_script", line) {
            Some("script") => {
                let Some(words) = self.script(line) else { return false };
                tracker.watched.push(words.map(Watched::Script));
                if let Some(surplus) = line.arguments().get(1) {
                    self.findings.warning(
                        surplus.at,
                        "only the first word is run, as in keepalived: put command and arguments in quotes",
                    );
                }
            }
            Some("interval") => tracker.interval = self.some_seconds(line, "1 second is used"),
            Some("timeout") => tracker.timeout = self.some_seconds(line, "the interval is used"),
            Some("rise") => tracker.rise = self.number(line, 1..=1_000_000, "1 is used"),
            Some("fall") => tracker.fall = self.number(line, 1..=1_000_000, "1 is used"),
            Some("weight") => self.default_weight(Kind::Script, line, tracker),
            Some("user") => match self.user(line.arguments()) {
                Some(user) => tracker.user = user,
                None => return false,
            },
            Some("init_fail") => tracker.starts_down = Some(Located::new(true, line.at())),
            Some(_) | None => {}
        }
        true
    }

    fn file_line(&mut self, line: &Node, tracker: &mut Tracker) {
        match self.look_up("track_file", line) {
            Some("file") => {
                let path = self.argument(line).map(|word| Located::new(PathBuf::from(&word.text), word.at));
                tracker.watched.extend(path.map(|path| path.map(Watched::File)));
            }
            Some("weight") => self.default_weight(Kind::File, line, tracker),
            Some("init_file") => {
                for word in line.arguments() {
                    match integer(word.as_str()) {
                        Ok(number) if number.abs() <= 254 => tracker.initial = Some(Located::new(number, word.at)),
                        Ok(_) => self.findings.warning(word.at, "no number beyond 254 counts: 0 is used"),
                        Err(_) if word.as_str() == "overwrite" => {
                            self.findings
                                .warning(word.at, "the file is not written: remove it before the start instead");
                        }
                        Err(error) => self.findings.warning(word.at, format!("{error}: 0 is used")),
                    }
                }
            }
            Some(_) | None => {}
        }
    }

    fn process(&mut self, node: &Node, tracker: &mut Tracker) {
        let mut check: Option<Located<ProcessCheck>> = None;
        let (mut matched, mut full, mut quorum, mut most) = (None, None, None, None);
        for line in node.children() {
            const SECONDS: RangeInclusive<f64> = 0.0..=3600.0;
            match self.look_up("vrrp_track_process", line) {
                Some("process") => check = self.argument(line).map(|word| process_check(word, line)),
                Some("param_match") => matched = self.param_match(line),
                Some("full_command") => full = Some(Located::new(true, line.at())),
                Some("weight") => self.default_weight(Kind::Process, line, tracker),
                Some("quorum") => quorum = self.number(line, 0..=65_535, "1 is used"),
                Some("quorum_max") => most = self.number(line, 0..=65_535, "no limit is used"),
                Some("fork_delay") => tracker.up_delay = self.seconds(line, SECONDS, "no delay is used"),
                Some("terminate_delay") => tracker.down_delay = self.seconds(line, SECONDS, "no delay is used"),
                Some("delay") => {
                    tracker.up_delay = self.seconds(line, SECONDS, "no delay is used");
                    tracker.down_delay = tracker.up_delay;
                }
                Some(_) | None => {}
            }
        }
        let Some(mut check) = check else { return };
        // Whoever names parameters names the whole command.
        let compared =
            matched.map(|matched| matched.at).or(Some(check.at).filter(|_| !check.value.arguments.is_empty()));
        check.value.whole_command = full.or(compared.map(|at| Located::new(true, at)));
        check.value.arguments_match = matched;
        check.value.at_least = quorum;
        check.value.at_most = most;
        tracker.watched.push(check.map(Watched::Process));
    }

    fn param_match(&mut self, line: &Node) -> Maybe<ArgumentsMatch> {
        let Some(word) = line.arguments().first() else {
            return Some(Located::new(ArgumentsMatch::Exact, line.at()));
        };
        match word.as_str() {
            "initial" => Some(Located::new(ArgumentsMatch::Initial, word.at)),
            "partial" => {
                self.findings.warning(word.at, "`partial` is as `initial`: the last parameter may be longer too");
                Some(Located::new(ArgumentsMatch::Initial, word.at))
            }
            other => {
                self.findings.warning(word.at, format!("`{other}` is neither initial nor partial: ignored"));
                None
            }
        }
    }

    fn default_weight(&mut self, kind: Kind, line: &Node, tracker: &mut Tracker) {
        let (weight, reverse) = self.weight(line.at(), line.arguments(), kind.weights());
        tracker.weight = weight.or(tracker.weight);
        tracker.reverse = reverse;
    }

    /// `N [reverse|noreverse]`
    fn weight(&mut self, at: Location, words: &[Word], range: RangeInclusive<i64>) -> (Maybe<i64>, Maybe<bool>) {
        let Some((number, options)) = words.split_first() else {
            self.findings.warning(at, "`weight` wants a number after it: ignored, as in keepalived");
            return (None, None);
        };
        let weight = match integer(number.as_str()) {
            Ok(weight) if range.contains(&weight) => Some(Located::new(weight, number.at)),
            Ok(_) | Err(_) => {
                let (first, last) = range.into_inner();
                let message = format!("`{}` is not a weight from {first} to {last}: ignored", number.text);
                self.findings.warning(number.at, message);
                None
            }
        };
        let mut reverse = None;
        for word in options {
            match word.as_str() {
                "reverse" => reverse = Some(Located::new(true, word.at)),
                "noreverse" | "no_reverse" => reverse = Some(Located::new(false, word.at)),
                other => self.findings.warning(word.at, format!("`{other}` is not part of a weight: ignored")),
            }
        }
        (weight, reverse)
    }

    /// `NAME [weight N [reverse|noreverse]]`, once for each name of a list.
    fn followed(&mut self, line: &Node, range: RangeInclusive<i64>) -> (Maybe<i64>, Maybe<bool>) {
        match line.arguments() {
            [] => (None, None),
            [word, rest @ ..] if word.as_str() == "weight" => self.weight(word.at, rest, range),
            [word, ..] => {
                self.findings.warning(word.at, format!("`{}` was expected to be `weight`: ignored", word.text));
                (None, None)
            }
        }
    }

    /// `track_interface`.
    pub(super) fn track_interface(&mut self, node: &Node) -> Vec<Track> {
        let mut tracks = Vec::new();
        for line in self.lines(node) {
            let (weight, reverse) = self.followed(line, -253..=253);
            let interface = self.interface_name(line.keyword());
            tracks.extend(interface.map(|name| Track { what: name.map(Tracked::Interface), weight, reverse }));
        }
        tracks
    }

    /// `track_script`, `track_file` and `track_process`. What is not defined is left out, as in keepalived. `member`: of
    /// an instance in a group without `sync_group_tracking_weight`, where scripts with weights are left out.
    pub(super) fn track(&mut self, kind: Kind, node: &Node, known: &Known, member: bool) -> Vec<Track> {
        let mut tracks = Vec::new();
        for line in self.lines(node) {
            let word = line.keyword();
            let (weight, reverse) = self.followed(line, kind.weights());
            let Some(entry) = known.names.get(&(kind, word.text.clone())) else {
                let message = format!("there is no {} called `{}`: ignored, as in keepalived", kind.word(), word.text);
                self.findings.warning(word.at, message);
                continue;
            };
            let weighted = weight.map_or(entry.weight, |weight| weight.value) != 0;
            if member && kind == Kind::Script && weighted {
                self.findings.warning(
                    word.at,
                    "a script with a weight does not count in an instance of a sync group, as in keepalived: follow it in the group",
                );
                continue;
            }
            let what = Located::new(Tracked::Tracker(entry.name.clone()), word.at);
            tracks.push(Track { what, weight, reverse });
        }
        tracks
    }
}

/// A quoted string is one element.
fn process_check(word: &Word, line: &Node) -> Located<ProcessCheck> {
    let check = ProcessCheck {
        command: Located::new(word.text.clone(), word.at),
        arguments: line.arguments().iter().skip(1).map(|word| word.text.clone()).collect(),
        arguments_match: None,
        whole_command: None,
        at_least: None,
        at_most: None,
    };
    Located::new(check, line.at())
}

fn empty(at: Location, name: String) -> Tracker {
    Tracker {
        at,
        name: Some(Located::new(name, at)),
        watched: Vec::new(),
        interval: None,
        timeout: None,
        rise: None,
        fall: None,
        up_delay: None,
        down_delay: None,
        starts_down: None,
        user: None,
        initial: None,
        weight: None,
        reverse: None,
    }
}
