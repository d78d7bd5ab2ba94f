//! What is mailed when: at most one mail in the gap, what happens meanwhile goes into the next, failures come again
//! later. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

/// One thing to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The subject, without the node: `VRRP Instance VI_1 - Entering MASTER state`.
    pub(crate) headline: String,
    /// What that means, in one sentence.
    pub(crate) sentence: String,
    /// Why, in words.
    pub(crate) reason: String,
    pub(crate) at: SystemTime,
}

/// One mail on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) number: u64,
    /// Never empty.
    pub(super) items: Vec<Item>,
    /// Items that were too many; they came before these.
    pub(super) omitted: u64,
    /// Who does not have it yet.
    pub(super) to: Vec<String>,
    attempts: u32,
    due: Instant,
    /// The server took it for some recipient: it is the others' trouble and not the server's.
    has_arrived: bool,
}

/// How an attempt ended, recipient by recipient. With why, where it is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Report {
    pub(super) accepted: Vec<String>,
    /// To be tried again.
    pub(super) deferred: Vec<(String, String)>,
    /// For good.
    pub(super) refused: Vec<(String, String)>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send it, then call [`Gather::settle`].
    Send(Letter),
    /// Nothing, until then or until something happens.
    Wait(Option<Instant>),
}

/// What becomes of a letter after an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Everybody has it, or refused it.
    Done,
    /// It is tried again after this time.
    Again(Duration),
    /// It is not, and these do not have it.
    GivenUp(Vec<String>),
}

#[derive(Debug, Default)]
pub(super) struct Gather {
    waiting: VecDeque<Item>,
    omitted: u64,
    /// To be tried again. As long as one of them has not arrived at all, no new one is made: the server is away.
    again: VecDeque<Letter>,
    not_before: Option<Instant>,
    letters: u64,
}

impl Gather {
    /// Items a mail holds; the oldest are left out.
    pub(super) const LIMIT: usize = 500;
    /// Letters that some recipients still miss.
    const STRAGGLERS: usize = 8;
    /// With the pauses between them about a quarter of an hour.
    const ATTEMPTS: u32 = 8;
    const FIRST_PAUSE: Duration = Duration::from_secs(5);
    const LONGEST_PAUSE: Duration = Duration::from_secs(300);

    /// Adds an item. Whether another was given up for it.
    pub(super) fn push(&mut self, item: Item) -> bool {
        self.waiting.push_back(item);
        let full = self.waiting.len() > Self::LIMIT;
        if full {
            self.waiting.pop_front();
            self.omitted += 1;
        }
        full
    }

    /// What is due now. At the end (`closing`) everything is.
    pub(super) fn next(&mut self, now: Instant, gap: Duration, to: &[String], closing: bool) -> Step {
        if let Some(place) = self.again.iter().position(|letter| closing || letter.due <= now)
            && let Some(letter) = self.again.remove(place)
        {
            return Step::Send(letter);
        }
        let blocked = self.waiting.is_empty() || self.again.iter().any(|letter| !letter.has_arrived);
        let due = self.not_before.unwrap_or(now);
        if !blocked && (closing || due <= now) {
            self.not_before = Some(now + gap);
            self.letters += 1;
            return Step::Send(Letter {
                number: self.letters,
                items: std::mem::take(&mut self.waiting).into(),
                omitted: std::mem::take(&mut self.omitted),
                to: to.to_vec(),
                attempts: 0,
                due: now,
                has_arrived: false,
            });
        }
        let next = (!blocked).then_some(due);
        Step::Wait(self.again.iter().map(|letter| letter.due).chain(next).min())
    }

    /// After an attempt to send `letter`.
    pub(super) fn settle(
        &mut self,
        mut letter: Letter,
        report: &Report,
        now: Instant,
        gap: Duration,
        closing: bool,
    ) -> Fate {
        if !report.accepted.is_empty() {
            letter.has_arrived = true;
            self.not_before = Some(now + gap);
        }
        letter.to = report.deferred.iter().map(|(recipient, _)| recipient.clone()).collect();
        if letter.to.is_empty() {
            return Fate::Done;
        }
        letter.attempts += 1;
        let too_many = letter.has_arrived && self.again.len() >= Self::STRAGGLERS;
        if closing || letter.attempts >= Self::ATTEMPTS || too_many {
            return Fate::GivenUp(letter.to);
        }
        let pause = (Self::FIRST_PAUSE * 2_u32.pow(letter.attempts - 1)).min(Self::LONGEST_PAUSE);
        letter.due = now + pause;
        self.again.push_back(letter);
        Fate::Again(pause)
    }

    /// Items that wait, and letters to be tried again.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        (self.waiting.len(), self.again.len())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from; the clock stands")]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_secs(10);

    fn item(headline: &str) -> Item {
        Item { headline: headline.into(), sentence: String::new(), reason: String::new(), at: SystemTime::UNIX_EPOCH }
    }

    fn report(accepted: &[&str], deferred: &[&str], refused: &[&str]) -> Report {
        let why = |names: &[&str]| names.iter().map(|name| ((*name).into(), "why".into())).collect();
        let accepted = accepted.iter().map(|name| (*name).into()).collect();
        Report { accepted, deferred: why(deferred), refused: why(refused) }
    }

    struct Post {
        gather: Gather,
        now: Instant,
    }

    impl Post {
        fn new() -> Self {
            Self { gather: Gather::default(), now: Instant::now() }
        }

        fn next(&mut self) -> Step {
            self.gather.next(self.now, GAP, &["a".into(), "b".into()], false)
        }

        fn sent(&mut self) -> Letter {
            match self.next() {
                Step::Send(letter) => letter,
                Step::Wait(until) => panic!("waits for {until:?}"),
            }
        }

        fn settle(&mut self, letter: Letter, report: &Report) -> Fate {
            self.gather.settle(letter, report, self.now, GAP, false)
        }
    }

    fn headlines(letter: &Letter) -> Vec<&str> {
        letter.items.iter().map(|item| item.headline.as_str()).collect()
    }

    #[test]
    fn the_first_goes_at_once_and_the_gap_gathers() {
        let mut post = Post::new();
        assert_eq!(post.next(), Step::Wait(None));
        post.gather.push(item("1"));
        let first = post.sent();
        assert_eq!(headlines(&first), ["1"]);
        assert_eq!(post.settle(first, &report(&["a", "b"], &[], &[])), Fate::Done);
        post.gather.push(item("2"));
        post.now += GAP / 2;
        post.gather.push(item("3"));
        assert_eq!(post.next(), Step::Wait(Some(post.now + GAP / 2)));
        post.now += GAP / 2;
        let second = post.sent();
        assert_eq!((headlines(&second), second.number), (vec!["2", "3"], 2));
        assert_eq!(post.settle(second, &report(&["a", "b"], &[], &[])), Fate::Done);
        assert_eq!(post.next(), Step::Wait(None));
    }

    #[test]
    fn a_server_that_is_away_is_tried_again_with_pauses_and_given_up() {
        let mut post = Post::new();
        post.gather.push(item("1"));
        let mut pauses = Vec::new();
        loop {
            let letter = post.sent();
            post.gather.push(item("later"));
            match post.settle(letter, &report(&[], &["a", "b"], &[])) {
                Fate::Again(pause) => pauses.push(pause.as_secs()),
                Fate::GivenUp(missing) => {
                    assert_eq!(missing, ["a", "b"]);
                    break;
                }
                Fate::Done => panic!("it is not"),
            }
            let due = post.now + Duration::from_secs(pauses[pauses.len() - 1]);
            assert_eq!(post.next(), Step::Wait(Some(due)), "no new letter meanwhile");
            post.now = due;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300]);
        post.now += GAP;
        assert_eq!(post.sent().items.len(), 8, "what happened meanwhile is the next");
    }

    #[test]
    fn one_recipient_s_trouble_is_not_the_others_() {
        let mut post = Post::new();
        post.gather.push(item("1"));
        let letter = post.sent();
        assert_eq!(post.settle(letter, &report(&["a"], &["b"], &[])), Fate::Again(Duration::from_secs(5)));
        post.gather.push(item("2"));
        post.now += Duration::from_secs(5);
        let again = post.sent();
        assert_eq!((headlines(&again), again.to.as_slice()), (vec!["1"], &["b".to_owned()][..]));
        assert_eq!(post.settle(again, &report(&[], &["b"], &[])), Fate::Again(Duration::from_secs(10)));
        post.now += GAP / 2;
        let next = post.sent();
        assert_eq!((headlines(&next), next.to.len()), (vec!["2"], 2));
    }

    #[test]
    fn refused_is_not_tried_again() {
        let mut post = Post::new();
        post.gather.push(item("1"));
        let letter = post.sent();
        assert_eq!(post.settle(letter, &report(&[], &[], &["a", "b"])), Fate::Done);
        assert_eq!(post.next(), Step::Wait(None));
    }

    #[test]
    fn too_many_items_leave_the_oldest_out_and_say_so() {
        let mut post = Post::new();
        for number in 0..Gather::LIMIT {
            assert!(!post.gather.push(item(&number.to_string())));
        }
        assert!(post.gather.push(item("newest")));
        let letter = post.sent();
        assert_eq!((letter.items.len(), letter.omitted), (Gather::LIMIT, 1));
        assert_eq!(letter.items[0].headline, "1");
        assert_eq!(letter.items[Gather::LIMIT - 1].headline, "newest");
    }

    #[test]
    fn stragglers_are_bounded_and_no_trouble_of_a_server_that_is_away() {
        let mut post = Post::new();
        let mut attempt = |report: &Report| {
            post.gather.push(item("x"));
            let Step::Send(letter) = post.gather.next(post.now, Duration::ZERO, &["a".into(), "b".into()], false)
            else {
                panic!("it is due");
            };
            post.gather.settle(letter, report, post.now, Duration::ZERO, false)
        };
        for _ in 0..Gather::STRAGGLERS {
            assert_eq!(attempt(&report(&["a"], &["b"], &[])), Fate::Again(Duration::from_secs(5)));
        }
        assert_eq!(attempt(&report(&["a"], &["b"], &[])), Fate::GivenUp(vec!["b".into()]));
        assert_eq!(attempt(&report(&[], &["a", "b"], &[])), Fate::Again(Duration::from_secs(5)));
    }

    #[test]
    fn at_the_end_everything_is_tried_once() {
        let mut post = Post::new();
        post.gather.push(item("1"));
        let letter = post.sent();
        post.settle(letter, &report(&[], &["a"], &[]));
        post.gather.push(item("2"));
        let mut sent = Vec::new();
        while let Step::Send(letter) = post.gather.next(post.now, GAP, &["a".into()], true) {
            sent.push(letter.items[0].headline.clone());
            let fate = post.gather.settle(letter, &report(&[], &["a"], &[]), post.now, GAP, true);
            assert_eq!(fate, Fate::GivenUp(vec!["a".into()]));
        }
        assert_eq!(sent, ["1", "2"]);
        assert_eq!(post.gather.unfinished(), (0, 0));
    }
}
