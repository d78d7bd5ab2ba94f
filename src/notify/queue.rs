//! The one queue of script runs: what runs next, and what a newer state makes needless. Pure.

use std::collections::{BTreeSet, VecDeque};

use super::news::Subject;
use super::run::Job;

/// All runs that one transition asks for, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) subject: Subject,
    pub(super) kind: Kind,
    pub(super) jobs: Vec<Job>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A state: everything that still waits of its subject is history.
    State,
    /// A master heard a lower priority: a state that waits still holds.
    LowerPriority,
}

/// Waiting entries in the order they are taken. At most one state and one lower priority a subject, which bounds it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Entry>,
    running: BTreeSet<Subject>,
}

impl Queue {
    /// Adds an entry and gives back those it makes needless. It takes the place of the first of these, so that a subject
    /// that changes all the time does not wait for ever. An entry without runs only makes others needless.
    pub(super) fn push(&mut self, entry: Entry) -> Vec<Entry> {
        let needless = |old: &Entry| {
            old.subject == entry.subject && (entry.kind == Kind::State || old.kind == Kind::LowerPriority)
        };
        let place = self.waiting.iter().position(needless).unwrap_or(self.waiting.len());
        let (gone, kept): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(needless);
        self.waiting = kept.into();
        if !entry.jobs.is_empty() {
            self.waiting.insert(place, entry);
        }
        gone
    }

    /// The first entry whose subject has nothing running. It runs until [`Queue::finished`].
    pub(super) fn take(&mut self) -> Option<Entry> {
        let place = self.waiting.iter().position(|entry| !self.running.contains(&entry.subject))?;
        let entry = self.waiting.remove(place)?;
        self.running.insert(entry.subject.clone());
        Some(entry)
    }

    pub(super) fn finished(&mut self, subject: &Subject) {
        self.running.remove(subject);
    }

    /// Entries that wait or run.
    pub(super) fn unfinished(&self) -> usize {
        self.waiting.len() + self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::news::What;
    use super::*;
    use crate::model::Command;

    fn entry(seq: u64, name: &str, kind: Kind) -> Entry {
        let command = Command { program: "x".into(), arguments: vec![], user: None, timeout: Duration::from_secs(1) };
        let job = Job { command, arguments: vec![], environment: vec![] };
        Entry { seq, subject: Subject { what: What::Instance, name: name.into() }, kind, jobs: vec![job] }
    }

    /// Each row: what is told (`!`: a lower priority, `-`: nothing to run), which are made needless, in which order the
    /// rest is taken when everything taken ends at once.
    #[test]
    fn the_newest_state_of_each_is_taken_in_order() {
        for (told, needless, taken) in [
            (vec!["a", "b", "c"], vec![], vec![0, 1, 2]),
            (vec!["a", "b", "a"], vec![0], vec![2, 1]),
            (vec!["a", "a", "a", "a"], vec![0, 1, 2], vec![3]),
            (vec!["a", "a!", "b"], vec![], vec![0, 1, 2]),
            (vec!["a", "a!", "a!"], vec![1], vec![0, 2]),
            (vec!["b", "a", "a!", "a"], vec![1, 2], vec![0, 3]),
            (vec!["a", "b!", "b"], vec![1], vec![0, 2]),
            (vec!["a", "b", "a-"], vec![0], vec![1]),
            (vec!["a-"], vec![], vec![]),
        ] {
            let mut queue = Queue::default();
            let mut gone = Vec::new();
            for (seq, text) in (0..).zip(&told) {
                let kind = if text.ends_with('!') { Kind::LowerPriority } else { Kind::State };
                let mut entry = entry(seq, text.trim_end_matches(['!', '-']), kind);
                if text.ends_with('-') {
                    entry.jobs.clear();
                }
                gone.extend(queue.push(entry).into_iter().map(|old| old.seq));
            }
            assert_eq!(gone, needless, "{told:?}");
            let mut order = Vec::new();
            while let Some(entry) = queue.take() {
                queue.finished(&entry.subject);
                order.push(entry.seq);
            }
            assert_eq!(order, taken, "{told:?}");
            assert_eq!(queue.unfinished(), 0);
        }
    }

    #[test]
    fn a_subject_never_runs_twice_at_a_time_and_what_runs_is_not_replaced() {
        let mut queue = Queue::default();
        queue.push(entry(1, "a", Kind::State));
        let first = queue.take().unwrap();
        assert_eq!(queue.push(entry(2, "a", Kind::State)), []);
        queue.push(entry(3, "b", Kind::State));
        assert_eq!(queue.take().unwrap().seq, 3, "another subject goes before");
        assert_eq!(queue.take(), None, "its own does not");
        assert_eq!(queue.unfinished(), 3);
        queue.finished(&first.subject);
        assert_eq!(queue.take().unwrap().seq, 2);
    }

    #[test]
    fn a_group_and_a_router_of_one_name_are_two() {
        let mut queue = Queue::default();
        queue.push(entry(1, "a", Kind::State));
        let mut group = entry(2, "a", Kind::State);
        group.subject.what = What::Group;
        assert_eq!(queue.push(group), []);
        assert_eq!(queue.unfinished(), 2);
    }
}
