//! Lines that a named pipe has no room for. Pure.

use std::collections::{BTreeSet, VecDeque};

use super::news::Subject;

/// Whose newest line must not be lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) subject: Subject,
    /// A line about a lower priority is not newer than one about a state.
    pub(super) is_state: bool,
}

/// Lines in order. More than [`Backlog::LIMIT`] are kept only where each is the newest of its key.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    lines: VecDeque<(Key, Vec<u8>)>,
    /// The first line is partly written: it must be finished.
    begun: bool,
}

impl Backlog {
    /// Lines kept, at about 40 bytes each.
    pub(super) const LIMIT: usize = 1000;

    /// Adds a line. Whether another was given up for it: the oldest that a newer one of its key follows.
    pub(super) fn push(&mut self, key: Key, line: String) -> bool {
        self.lines.push_back((key, line.into_bytes()));
        if self.lines.len() <= Self::LIMIT {
            return false;
        }
        let outdated = self.oldest_outdated();
        outdated.is_some_and(|place| self.lines.remove(place).is_some())
    }

    fn oldest_outdated(&self) -> Option<usize> {
        let mut followed = BTreeSet::new();
        let mut oldest = None;
        for (place, (key, _)) in self.lines.iter().enumerate().rev() {
            let is_begun = place == 0 && self.begun;
            if !followed.insert(key) && !is_begun {
                oldest = Some(place);
            }
        }
        oldest
    }

    /// What is to be written next.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.lines.front().map(|(_, line)| line.as_slice())
    }

    /// So many bytes of [`Backlog::front`] are written. Whether that was the end of a line.
    pub(super) fn written(&mut self, count: usize) -> bool {
        let Some((_, line)) = self.lines.front_mut() else { return false };
        line.drain(..count.min(line.len()));
        self.begun = !line.is_empty();
        if !self.begun {
            self.lines.pop_front();
        }
        !self.begun
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::news::What;
    use super::*;

    fn key(name: &str) -> Key {
        Key { subject: Subject { what: What::Instance, name: name.into() }, is_state: true }
    }

    fn drain(backlog: &mut Backlog) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = backlog.front().map(<[u8]>::to_vec) {
            assert!(backlog.written(line.len()));
            lines.push(String::from_utf8(line).unwrap());
        }
        lines
    }

    #[test]
    fn keeps_order_and_finishes_a_line_that_was_begun() {
        let mut backlog = Backlog::default();
        backlog.push(key("a"), "first\n".into());
        backlog.push(key("a"), "second\n".into());
        assert!(!backlog.written(2));
        assert_eq!(backlog.front(), Some(&b"rst\n"[..]));
        assert!(backlog.written(4));
        assert_eq!(drain(&mut backlog), ["second\n"]);
        assert!(!backlog.written(1), "there is none");
    }

    #[test]
    fn a_full_backlog_gives_up_the_oldest_that_a_newer_line_of_its_key_follows() {
        let mut backlog = Backlog::default();
        backlog.push(key("quiet"), "quiet\n".into());
        for number in 1..Backlog::LIMIT {
            assert!(!backlog.push(key("busy"), format!("{number}\n")));
        }
        assert!(backlog.push(key("busy"), "newest\n".into()));
        assert_eq!(backlog.len(), Backlog::LIMIT);
        let lines = drain(&mut backlog);
        assert_eq!(lines[..2], ["quiet\n", "2\n"], "the only line of its key stays, the oldest of the busy one went");
        assert_eq!(lines.last().unwrap(), "newest\n");
    }

    #[test]
    fn a_line_that_was_begun_is_not_given_up() {
        let mut backlog = Backlog::default();
        for number in 0..Backlog::LIMIT {
            backlog.push(key("busy"), format!("{number}\n"));
        }
        backlog.written(1);
        assert!(backlog.push(key("busy"), "newest\n".into()));
        assert_eq!(drain(&mut backlog)[..2], ["\n", "2\n"]);
    }

    #[test]
    fn the_newest_line_of_each_stays_whatever_their_number() {
        let mut backlog = Backlog::default();
        for number in 0..Backlog::LIMIT + 50 {
            assert!(!backlog.push(key(&number.to_string()), format!("{number}\n")));
        }
        assert_eq!(backlog.len(), Backlog::LIMIT + 50);
        let mut lower = key("0");
        lower.is_state = false;
        assert!(!backlog.push(lower, "lower priority\n".into()), "it does not outdate the state");
        assert!(backlog.push(key("0"), "0 again\n".into()));
        assert_eq!(backlog.front(), Some(&b"1\n"[..]));
    }
}
